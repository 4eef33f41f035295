"""RoIPool (Fast R-CNN, section 2.1): the maximum of each bin of whole cells."""

from collections.abc import Sequence

import tensorflow as tf

# Regions of 7 x 7 bins that are pooled at once; fewer of more bins. Those of bins of similar size
# go together, because the largest bin tells how many cells are looked at.
REGIONS_AT_ONCE = 64


def roi_pool(
    images: tf.Tensor, regions: tf.Tensor, image_index: tf.Tensor, pool_shape: Sequence[int]
) -> tf.Tensor:
    """The maximum of the cells in each bin of each region.

    Bin i of p in a region of s cells goes from cell floor(i s / p) to ceil((i + 1) s / p), so that
    neighbours may share cells.

    Args:
        images: float32 [b, h, w, c].
        regions: int32 [n, 4] (y1, x1, y2, x2) in cells, y2 and x2 exclusive; a region has at
            least one cell, but may leave the image.
        image_index: int32 [n], the image that a region belongs to.
        pool_shape: (height, width) of the result in bins.

    Returns:
        float32 [n, pool height, pool width, c]; 0 for a bin that is outside of the image. The
        gradient of a bin goes to the first of its cells that has the maximum.
    """
    images = tf.convert_to_tensor(images)
    bins = (
        *_bins(regions[:, 0], regions[:, 2], tf.shape(images)[1], pool_shape[0]),
        *_bins(regions[:, 1], regions[:, 3], tf.shape(images)[2], pool_shape[1]),
    )

    @tf.custom_gradient
    def pool(images):
        def gradient(upstream):
            return _gradient(images, bins, image_index, upstream)

        return _in_parts(images, bins, image_index, _maxima), gradient

    return pool(images)


def _bins(start, end, size, count):
    """First and last cell of each bin on an axis of ``size`` cells: two int32 [n, count].

    In whole numbers: float32 puts the last cell of some regions, such as one of 57 cells in 7 bins,
    one too far.
    """
    bins = tf.range(count)
    start, side = start[:, tf.newaxis], (end - start)[:, tf.newaxis]
    first = start + bins * side // count
    last = start - (-(bins + 1) * side // count) - 1
    # a bin outside of the image gets its last before its first
    return tf.clip_by_value(first, 0, size), tf.clip_by_value(last, -1, size - 1)


def _in_parts(images, bins, image_index, function):
    """``function`` of so many regions at once, those with bins of similar size together."""
    top, bottom, left, right = bins
    count, (height, width) = tf.shape(top)[0], (top.shape[1], left.shape[1])
    cells = tf.reduce_max(bottom - top, axis=1) * tf.reduce_max(right - left, axis=1)
    order = tf.argsort(cells)
    at_once = max(REGIONS_AT_ONCE * 49 // (height * width), 1)
    parts = tf.maximum((count + at_once - 1) // at_once, 1)
    size = (count + parts - 1) // parts
    # filled up by copies of the first region
    order = tf.concat([order, tf.zeros([parts * size - count], tf.int32)], axis=0)

    def part(rows):
        return function(
            images, [tf.gather(part, rows) for part in bins], tf.gather(image_index, rows)
        )

    result = tf.map_fn(
        part,
        tf.reshape(order, [parts, size]),
        fn_output_signature=tf.TensorSpec(
            [None, height, width, images.shape[3]], _OUTPUT_TYPES[function]
        ),
        parallel_iterations=1,  # each uses all cores
    )
    result = tf.reshape(result, [parts * size, height, width, images.shape[3]])
    return tf.gather(result, tf.argsort(order[:count]))


def _over_cells(images, bins, image_index, step, *state):
    """Fold ``step(number, values, *state)`` over the cells of all bins, from the upper left on.

    Cells that a smaller bin does not have are its last ones again. ``values`` are [n, ph, pw, c],
    ``number`` is int32 [n, ph, pw], a cell's place in all images.
    """
    top, bottom, left, right = bins
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    channels = images.shape[3]
    cells = tf.reshape(images, [batch * height * width, channels])
    first = image_index[:, tf.newaxis, tf.newaxis] * height
    rows = tf.reduce_max(bottom - top) + 1
    columns = tf.reduce_max(right - left) + 1

    def body(turn, *state):
        row = tf.clip_by_value(tf.minimum(top + turn // columns, bottom), 0, height - 1)
        column = tf.clip_by_value(tf.minimum(left + turn % columns, right), 0, width - 1)
        number = (first + row[:, :, tf.newaxis]) * width + column[:, tf.newaxis, :]
        return turn + 1, *step(number, tf.gather(cells, number), *state)

    return tf.while_loop(
        lambda turn, *state: turn < rows * columns,
        body,
        (0, *state),
        shape_invariants=(
            tf.TensorShape([]),
            *(tf.TensorShape([None, *part.shape[1:]]) for part in state),
        ),
    )[1:]


def _start(images, bins):
    shape = [tf.shape(bins[0])[0], bins[0].shape[1], bins[2].shape[1], images.shape[3]]
    return tf.fill(shape, images.dtype.min)


def _is_empty(bins):
    top, bottom, left, right = bins
    return ((bottom < top)[:, :, tf.newaxis] | (right < left)[:, tf.newaxis, :])[..., tf.newaxis]


def _maxima(images, bins, image_index):
    (best,) = _over_cells(
        images,
        bins,
        image_index,
        lambda number, values, best: (tf.maximum(values, best),),
        _start(images, bins),
    )
    return tf.where(_is_empty(bins), 0.0, best)


def _cells_of_maxima(images, bins, image_index):
    """int32 [n, ph, pw, c]: the place in all images of the cell that a maximum is from, -1 for
    none.
    """

    def step(number, values, best, places):
        better = values > best
        return tf.maximum(values, best), tf.where(better, number[..., tf.newaxis], places)

    start = _start(images, bins)
    _, places = _over_cells(images, bins, image_index, step, start, tf.fill(tf.shape(start), -1))
    return tf.where(_is_empty(bins), -1, places)


_OUTPUT_TYPES = {_maxima: tf.float32, _cells_of_maxima: tf.int32}


def _gradient(images, bins, image_index, upstream):
    """Add [n, ph, pw, c] to the cells that the maxima are from: [b, h, w, c]."""
    places = _in_parts(images, bins, image_index, _cells_of_maxima)
    channels = images.shape[3]
    targets = tf.where(places < 0, -1, places * channels + tf.range(channels))
    # negative targets are left out
    summed = tf.math.unsorted_segment_sum(upstream, targets, tf.size(images))
    return tf.reshape(summed, tf.shape(images))

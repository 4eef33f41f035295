"""RoIAlign with several samples a bin (Mask R-CNN, section 3), by the kernel of crop_and_resize."""

from collections.abc import Sequence

import tensorflow as tf

from mrcnn.ops.crop_and_resize import sample_points, weighted_sums

# Samples of a bin on each axis: four in all, as in the paper.
SAMPLES = 2
# Regions of 7 x 7 bins that are sampled at once; fewer of more bins. The samples of a thousand
# regions of 256 channels are 200 MB; those of 64 fit in a processor's cache, and the thousand take
# 37 instead of 51 ms (AMD EPYC with AVX-512, 2 cores, TensorFlow 2.21).
REGIONS_AT_ONCE = 64


def mean_of_samples(
    images: tf.Tensor, regions: tf.Tensor, image_index: tf.Tensor, pool_shape: Sequence[int]
) -> tf.Tensor:
    """The mean of four bilinear samples in each bin of each region.

    The samples are the centres of a bin's quarters. One up to a cell outside of the image reads
    its edge, one further out 0.

    Args:
        images: float32 [b, h, w, c].
        regions: float32 [n, 4] (y1, x1, y2, x2) in cells, where 0 is the centre of the first
            cell; they get no gradient.
        image_index: int32 [n], the image that a region belongs to.
        pool_shape: (height, width) of the result in bins.

    Returns:
        float32 [n, pool height, pool width, c].
    """
    shape = tf.shape(images)
    boxes = _kernel_boxes(tf.stop_gradient(regions), shape, pool_shape)

    @tf.custom_gradient
    def pool(images):
        def gradient(upstream):
            return _gradient(upstream, tf.shape(images), boxes, image_index, pool_shape)

        return _pooled(images, boxes, image_index, pool_shape), gradient

    return pool(images)


def _kernel_boxes(regions, shape, pool_shape):
    """Boxes [n, 4] whose corner samples are the first and last samples of the regions, normalised
    as `tf.image.crop_and_resize` takes them, in images with an edge of one cell more.
    """
    size = tf.cast(tf.tile(shape[1:3], [2]), tf.float32)
    bins = tf.constant([*pool_shape] * 2, tf.float32)
    margin = tf.tile(regions[:, 2:] - regions[:, :2], [1, 2]) / (2 * SAMPLES * bins)
    corners = regions + margin * [1.0, 1.0, -1.0, -1.0]
    return (corners + 1.0) / (size + 1.0)


def _with_edge(images):
    return tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")


def _pooled(images, boxes, image_index, pool_shape):
    height, width = pool_shape
    images = _with_edge(images)
    count, channels = tf.shape(boxes)[0], images.shape[3]
    at_once = max(REGIONS_AT_ONCE * 49 // (height * width), 1)
    # parts as equal as can be, so that few regions are filled up: less than one a part
    parts = tf.maximum((count + at_once - 1) // at_once, 1)
    size = (count + parts - 1) // parts
    filled = [[0, parts * size - count]]

    def part(arguments):
        samples = tf.image.crop_and_resize(images, *arguments, (SAMPLES * height, SAMPLES * width))
        return tf.nn.avg_pool2d(samples, SAMPLES, SAMPLES, "VALID")

    pooled = tf.map_fn(
        part,
        (
            tf.reshape(tf.pad(boxes, [*filled, [0, 0]]), [parts, size, 4]),
            tf.reshape(tf.pad(image_index, filled), [parts, size]),
        ),
        fn_output_signature=tf.TensorSpec([None, height, width, channels], tf.float32),
        parallel_iterations=1,  # each uses all cores
    )
    return tf.reshape(pooled, [parts * size, height, width, channels])[:count]


def _gradient(upstream, shape, boxes, image_index, pool_shape):
    """Spread [n, ph, pw, c] over the sixteen cells that each bin is made of: [b, h, w, c]."""
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    fine = [SAMPLES * side for side in pool_shape]
    rows = sample_points(y1, y2, shape[1] + 2, fine[0])  # each a pair of [n, 2 ph], one per cell
    columns = sample_points(x1, x2, shape[2] + 2, fine[1])
    # the kernel itself says which samples are inside, as in `ops.crop_and_resize`
    inside = tf.image.crop_and_resize(
        tf.ones([shape[0], shape[1] + 2, shape[2] + 2, 1]), boxes, image_index, fine
    )[..., 0]
    cells, weights = [], []
    for row, row_weight in rows:
        for column, column_weight in columns:
            # the edge is a copy of the outermost cells
            row_cell = tf.clip_by_value(row - 1, 0, shape[1] - 1)[:, :, tf.newaxis]
            column_cell = tf.clip_by_value(column - 1, 0, shape[2] - 1)[:, tf.newaxis, :]
            first = image_index[:, tf.newaxis, tf.newaxis] * shape[1]
            cell = (first + row_cell) * shape[2] + column_cell
            weight = row_weight[:, :, tf.newaxis] * column_weight[:, tf.newaxis, :] * inside
            for y in range(SAMPLES):
                for x in range(SAMPLES):
                    cells.append(tf.reshape(cell[:, y::SAMPLES, x::SAMPLES], [-1]))
                    weights.append(tf.reshape(weight[:, y::SAMPLES, x::SAMPLES], [-1]) / SAMPLES**2)
    summed = weighted_sums(
        tf.reshape(upstream, [-1, shape[3]]), cells, weights, shape[0] * shape[1] * shape[2]
    )
    return tf.reshape(summed, shape)

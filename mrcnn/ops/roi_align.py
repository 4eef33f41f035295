"""RoIAlign with several samples a bin (Mask R-CNN, section 3), by the kernel of crop_and_resize."""

from collections.abc import Sequence

import numpy as np
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
    """Spread [n, ph, pw, c] over the cells that each bin is made of: [b, h, w, c]."""
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    rows, row_weights = _cells_of_bins(y1, y2, shape[1], pool_shape[0])
    columns, column_weights = _cells_of_bins(x1, x2, shape[2], pool_shape[1])
    rows += image_index[:, tf.newaxis, tf.newaxis] * shape[1]
    of_row = (rows * shape[2])[:, :, tf.newaxis, :, tf.newaxis]
    cells = of_row + columns[:, tf.newaxis, :, tf.newaxis]
    of_row = row_weights[:, :, tf.newaxis, :, tf.newaxis]
    weights = of_row * column_weights[:, tf.newaxis, :, tf.newaxis]
    of_a_bin = [-1, (2 * SAMPLES) ** 2]
    summed = weighted_sums(
        tf.reshape(upstream, [-1, upstream.shape[3]]),
        tf.reshape(cells, of_a_bin),
        tf.reshape(weights, of_a_bin),
        shape[0] * shape[1] * shape[2],
    )
    return tf.reshape(summed, shape)


def _cells_of_bins(start, end, size, bins):
    """What each bin is made of on one axis.

    A cell that several samples of a bin share has their whole weight in one place and 0 in the
    others, which `weighted_sums` leaves out. For 512 regions of 7 x 7 bins the gradient takes 45 to
    80 ms instead of the 200 of one entry a neighbour on one thread (an Intel Xeon with AVX-512, 2
    cores, TensorFlow 2.21).

    Returns:
        int32 and float32 [n, bins, 2 * SAMPLES]: cells of the axis, and the weights they have.
    """
    points = sample_points(start, end, size + 2, SAMPLES * bins)  # one pair a neighbour
    # the kernel itself says which samples are inside, as in `ops.crop_and_resize`
    zero = tf.zeros_like(start)
    inside = tf.image.crop_and_resize(
        tf.ones([1, size + 2, 1, 1]),
        tf.stack([start, zero, end, zero], axis=1),
        tf.cast(zero, tf.int32),
        (SAMPLES * bins, 1),
    )[..., 0]
    # the edge is a copy of the outermost cells
    cells = tf.clip_by_value(tf.stack([cell for cell, _ in points], axis=-1) - 1, 0, size - 1)
    weights = tf.stack([weight for _, weight in points], axis=-1) * inside / SAMPLES
    of_a_bin = [-1, bins, 2 * SAMPLES]
    cells, weights = tf.reshape(cells, of_a_bin), tf.reshape(weights, of_a_bin)
    same = tf.equal(cells[..., tf.newaxis], cells[..., tf.newaxis, :])
    is_repeated = tf.reduce_any(same & np.tri(2 * SAMPLES, k=-1, dtype=bool), axis=-1)
    total = tf.reduce_sum(tf.where(same, weights[..., tf.newaxis, :], 0.0), axis=-1)
    return cells, tf.where(is_repeated, 0.0, total)

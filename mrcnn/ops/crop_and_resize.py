"""``tf.image.crop_and_resize`` with a gradient that is right on several threads and on a GPU."""

from collections.abc import Sequence

import tensorflow as tf


def crop_and_resize(
    images: tf.Tensor, boxes: tf.Tensor, image_index: tf.Tensor, pool_shape: Sequence[int]
) -> tf.Tensor:
    """``tf.image.crop_and_resize`` with a gradient that adds up.

    TensorFlow's own gradient runs on several CPU threads, which overwrite each other's sums
    where two boxes meet in a pixel (seen with 2.21), and on a GPU it has no deterministic form.

    Args:
        images: float32 [b, h, w, c].
        boxes: float32 [n, 4] normalised; they get no gradient.
        image_index: int32 [n].
        pool_shape: (height, width) of the crops.

    Returns:
        float32 [n, pool height, pool width, c].
    """

    @tf.custom_gradient
    def crop(images):
        def gradient(upstream):
            return _crop_gradient(upstream, tf.shape(images), boxes, image_index, pool_shape)

        return tf.image.crop_and_resize(images, boxes, image_index, pool_shape), gradient

    return crop(images)


def _crop_gradient(upstream, shape, boxes, image_index, pool_shape):
    """Spread [n, ph, pw, c] over the four pixels that each bin was interpolated from: [b, h, w,
    c].
    """
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    rows = sample_points(y1, y2, shape[1], pool_shape[0])  # each a pair of [n, ph], one per pixel
    columns = sample_points(x1, x2, shape[2], pool_shape[1])
    # the kernel itself says which samples are inside: computed here, even in its order, the last
    # sample of a box that ends at the image's edge is rounded in another way, once the graph is
    # optimised
    inside = tf.image.crop_and_resize(
        tf.ones([*tf.unstack(shape[:3]), 1]), boxes, image_index, pool_shape
    )[..., 0]
    pixels, weights = [], []
    for row, row_weight in rows:
        for column, column_weight in columns:
            pixel = (
                image_index[:, tf.newaxis, tf.newaxis] * shape[1] + row[:, :, tf.newaxis]
            ) * shape[2]
            pixels.append(tf.reshape(pixel + column[:, tf.newaxis, :], [-1]))
            weight = row_weight[:, :, tf.newaxis] * column_weight[:, tf.newaxis, :] * inside
            weights.append(tf.reshape(weight, [-1]))
    summed = weighted_sums(
        tf.reshape(upstream, [-1, upstream.shape[3]]),
        tf.stack(pixels, axis=1),
        tf.stack(weights, axis=1),
        shape[0] * shape[1] * shape[2],
    )
    return tf.reshape(summed, shape)


def weighted_sums(values, targets, weights, count):
    """Sums of rows: each row of values [n, c], times its weights [n, k], is added to its targets
    int32 [n, k].

    Returns:
        [count, c].
    """
    if tf.config.list_physical_devices("GPU"):
        # there the sparse product has no form that gives the same bits each time
        weighted = values[:, tf.newaxis] * weights[..., tf.newaxis]
        weighted = tf.reshape(weighted, [-1, values.shape[1]])
        return tf.math.unsorted_segment_sum(weighted, tf.reshape(targets, [-1]), count)
    # on a CPU half the time, and no copies of the values
    entries = tf.where(tf.not_equal(weights, 0.0))  # in order: a row's values stay in the cache
    places = tf.stack([tf.cast(tf.gather_nd(targets, entries), tf.int64), entries[:, 0]], axis=1)
    matrix = tf.SparseTensor(
        places, tf.gather_nd(weights, entries), tf.cast([count, tf.shape(values)[0]], tf.int64)
    )
    # the product runs on one thread: two of half the channels run at once
    half = values.shape[1] // 2
    halves = tf.split(values, [half, values.shape[1] - half], axis=1)
    return tf.concat([tf.sparse.sparse_dense_matmul(matrix, part) for part in halves], axis=1)


def sample_points(start, end, size, count):
    """Where the ``count`` samples of each box lie on an axis of ``size`` pixels.

    Returns:
        Two pairs (pixel int32 [n, count], weight float32 [n, count]), of the pixel before and
        after; samples outside of the image are taken to its edge.
    """
    last = tf.cast(size - 1, tf.float32)
    if count > 1:
        steps = tf.range(count, dtype=tf.float32) / (count - 1)
        position = (start[:, tf.newaxis] + (end - start)[:, tf.newaxis] * steps) * last
    else:
        position = 0.5 * (start + end)[:, tf.newaxis] * last
    position = tf.clip_by_value(position, 0.0, last)
    before = tf.floor(position)
    after = position - before
    pixel = tf.cast(before, tf.int32)
    return (pixel, 1.0 - after), (tf.minimum(pixel + 1, size - 1), after)

"""Rows of a zero-padded batch that are real: take them out, put results back."""

import tensorflow as tf

# Numbers of rows that a head is given: from 16 on up to 3 more than are needed, from 32 on 7, from
# 128 on an eighth.
SIZES = [
    *range(1, 16),
    *range(16, 32, 4),
    *range(32, 128, 8),
    *(eighths << doubling for doubling in range(4, 20) for eighths in range(8, 16)),
]


def real_rows(class_ids: tf.Tensor) -> tf.Tensor:
    """Where a padded batch holds an object.

    Args:
        class_ids: int or float [b, n]; rows of class 0 are padding or background.

    Returns:
        int32 [m, 2] of (image, row), image by image.
    """
    return tf.cast(tf.where(class_ids > 0), tf.int32)


def head_rows(class_ids: tf.Tensor) -> tf.Tensor:
    """`real_rows`, and then the row (0, 0) until there are as many as one of `SIZES`, or as the
    batch has.

    oneDNN compiles and keeps its kernels for each number of rows that they meet, about half a MB
    for the two heads in training: where every number is allowed, memory grows for hundreds of
    batches. And it fails on none: the gradient of a convolution with bias ends in "Missing 1-th
    output" (TensorFlow 2.21).
    """
    return _filled(real_rows(class_ids), tf.size(class_ids))


def distinct_rows(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Rows of a zero-padded batch of boxes, of which padding that follows padding is taken once.

    What a head makes of one row of padding it makes of all of an image, so the others can be looked
    up.

    Args:
        boxes: float32 [b, n, 4].

    Returns:
        rows int32 [m, 2] of (image, row), filled up as `head_rows` are; index int32 [b, n], the
        place in ``rows`` of the row that stands for each row of the batch.
    """
    is_padding = tf.reduce_all(tf.equal(boxes, 0.0), axis=-1)
    after_padding = tf.concat([tf.zeros_like(is_padding[:, :1]), is_padding[:, :-1]], axis=1)
    kept = ~(is_padding & after_padding)
    index = tf.cumsum(tf.cast(tf.reshape(kept, [-1]), tf.int32)) - 1
    return _filled(tf.cast(tf.where(kept), tf.int32), tf.size(kept)), tf.reshape(
        index, tf.shape(kept)
    )


def _filled(rows, most):
    """Rows int32 [m, 2], and (0, 0) until they are as many as the next of `SIZES`, but not more
    than ``most``.
    """
    count = tf.shape(rows)[0]
    size = tf.reduce_min(tf.where(tf.constant(SIZES) >= count, SIZES, most))
    return tf.concat([rows, tf.zeros([tf.minimum(size, most) - count, 2], tf.int32)], axis=0)


def scatter_rows(values: tf.Tensor, rows: tf.Tensor, class_ids: tf.Tensor) -> tf.Tensor:
    """Put compact rows back at their place in the batch.

    Args:
        values: [m, ...] or longer; what comes after row m is left out.
        rows: int32 [m, 2] from `real_rows`.
        class_ids: [b, n], gives the batch's shape.

    Returns:
        [b, n, ...], zeros elsewhere.
    """
    values = values[: tf.shape(rows)[0]]
    return tf.scatter_nd(
        rows, values, tf.concat([tf.shape(class_ids), tf.shape(values)[1:]], axis=0)
    )

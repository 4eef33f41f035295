"""Rows of a zero-padded batch that are real: take them out, put results back."""

import tensorflow as tf


def real_rows(class_ids):
    """Where a padded batch holds an object.

    Args:
        class_ids: int or float [b, n]; rows of class 0 are padding or background.

    Returns:
        int32 [m, 2] of (image, row), image by image.
    """
    return tf.cast(tf.where(class_ids > 0), tf.int32)


def head_rows(class_ids):
    """`real_rows`, or the row (0, 0) alone where there is none.

    oneDNN's gradient of a convolution with bias fails on an empty batch (TensorFlow 2.21:
    "Missing 1-th output"), so the mask head is never given one.
    """
    rows = real_rows(class_ids)
    return tf.cond(tf.shape(rows)[0] > 0, lambda: rows, lambda: tf.zeros([1, 2], tf.int32))


def distinct_rows(boxes):
    """Rows of a zero-padded batch of boxes, of which padding that follows padding is taken once.

    What a head makes of one row of padding it makes of all of an image, so the others can be looked up.

    Args:
        boxes: float32 [b, n, 4].

    Returns:
        rows int32 [m, 2] of (image, row), never empty; index int32 [b, n], the place in ``rows`` of
        the row that stands for each row of the batch.
    """
    is_padding = tf.reduce_all(tf.equal(boxes, 0.0), axis=-1)
    after_padding = tf.concat([tf.zeros_like(is_padding[:, :1]), is_padding[:, :-1]], axis=1)
    kept = ~(is_padding & after_padding)
    index = tf.cumsum(tf.cast(tf.reshape(kept, [-1]), tf.int32)) - 1
    return tf.cast(tf.where(kept), tf.int32), tf.reshape(index, tf.shape(kept))


def scatter_rows(values, rows, class_ids):
    """Put compact rows back at their place in the batch.

    Args:
        values: [m, ...] or longer; what comes after row m is left out.
        rows: int32 [m, 2] from `real_rows`.
        class_ids: [b, n], gives the batch's shape.

    Returns:
        [b, n, ...], zeros elsewhere.
    """
    values = values[:tf.shape(rows)[0]]
    return tf.scatter_nd(rows, values, tf.concat([tf.shape(class_ids), tf.shape(values)[1:]], axis=0))

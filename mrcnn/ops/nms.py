"""Greedy non-maximum suppression over a batch, by TensorFlow's own kernels."""

from collections.abc import Callable

import tensorflow as tf


def batch_nms(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    max_count: int,
    iou_threshold: float,
    score_threshold: float = float("-inf"),
) -> tf.Tensor:
    """Suppress overlapping boxes in each image of a batch.

    Args:
        boxes: float32 [b, n, 4].
        scores: float32 [b, n].
        max_count: boxes to keep in an image, at most.
        iou_threshold: a box goes when its IoU with a better kept one is larger.
        score_threshold: boxes of this score or less take no part.

    Returns:
        int32 [b, max_count] indices by falling score, padded with -1.
    """

    def one_image(args):
        kept = tf.image.non_max_suppression(*args, max_count, iou_threshold, score_threshold)
        return _pad(kept, max_count)

    return tf.map_fn(
        one_image, (boxes, scores), fn_output_signature=tf.TensorSpec([max_count], tf.int32)
    )


def batch_class_nms(
    iou: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    class_ids: tf.Tensor,
    scores: tf.Tensor,
    keep: tf.Tensor,
    max_count: int,
    iou_threshold: float,
) -> tf.Tensor:
    """Suppress overlapping boxes of one class in each image of a batch.

    The overlaps of boxes of different classes are set to 0, which is exact; shifting the
    boxes apart by class would cost float32 digits of the IoU.

    Args:
        iou: function of boxes' row indices, int32 [k] and the image index -> float32 [k, k].
        class_ids: int [b, n].
        scores: float32 [b, n].
        keep: bool [b, n], the rows that take part.
        max_count, iou_threshold: as in `batch_nms`.

    Returns:
        int32 [b, max_count] row indices by falling score, padded with -1.
    """

    def one_image(args):
        image, image_classes, image_scores, image_keep = args
        rows = tf.cast(tf.where(image_keep)[:, 0], tf.int32)
        classes = tf.gather(image_classes, rows)
        same_class = tf.equal(classes[:, tf.newaxis], classes[tf.newaxis, :])
        kept = tf.image.non_max_suppression_overlaps(
            tf.where(same_class, iou(image, rows), 0.0),
            tf.gather(image_scores, rows),
            max_count,
            iou_threshold,
        )
        return _pad(tf.gather(rows, kept), max_count)

    images = tf.range(tf.shape(scores)[0])
    return tf.map_fn(
        one_image,
        (images, class_ids, scores, keep),
        fn_output_signature=tf.TensorSpec([max_count], tf.int32),
    )


def gather_or_zero(values: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Rows of ``values`` [b, n, ...] at ``indices`` [b, k]; zeros where an index is -1."""
    zero_row_first = [[0, 0], [1, 0]] + [[0, 0]] * (values.shape.rank - 2)
    return tf.gather(tf.pad(values, zero_row_first), indices + 1, batch_dims=1)


def _pad(indices, count):
    indices = tf.cast(indices, tf.int32)
    return tf.pad(indices, [[0, count - tf.shape(indices)[0]]], constant_values=-1)

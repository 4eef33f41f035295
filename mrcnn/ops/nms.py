"""Greedy non-maximum suppression over a batch, by TensorFlow's own kernels."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

# The score of a box that does not take part in `best_of_classes`.
LEFT_OUT = -1.0


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


class Survivors(NamedTuple):
    """The boxes that suppression leaves, by falling score, padded with -1 (scores: with 0)."""

    classes: tf.Tensor  # int32 [b, max_count], places on the axis of the classes
    rows: tf.Tensor  # int32 [b, max_count], places on the axis of the boxes
    scores: tf.Tensor  # float32 [b, max_count]


def best_of_classes(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    max_count: int,
    iou_threshold: float,
    soft_sigma: float = 0.0,
) -> Survivors:
    """Suppress overlapping boxes within each class, then keep the best of all classes.

    Class by class, so that 90 classes of a thousand boxes need neither their 90,000 x 90,000
    overlaps nor boxes shifted apart by class, which costs float32 digits of the IoU.

    Args:
        boxes: float32 [b, classes, n, 4].
        scores: float32 [b, classes, n] of at least 0, or `LEFT_OUT`.
        max_count: boxes to keep in an image, at most.
        iou_threshold: a box goes when its IoU with a better kept one of its class is larger.
        soft_sigma: above 0 no box goes; instead its score is multiplied by exp(-IoU^2 /
            soft_sigma) for each better kept one of its class, each time before the next best is
            chosen (soft-NMS, Bodla et al. 2017, equation of the Gaussian penalty).

    Returns:
        `Survivors`. Of equal scores the lower class comes first, then the lower row.
    """
    batch, classes, count = tf.unstack(tf.shape(scores))
    boxes = tf.reshape(boxes, [batch * classes, count, 4])
    scores = tf.reshape(scores, [batch * classes, count])
    if soft_sigma:
        rows, kept_scores = _batch_soft_nms(boxes, scores, max_count, soft_sigma)
    else:
        rows = batch_nms(boxes, scores, max_count, iou_threshold, LEFT_OUT / 2)
        kept_scores = gather_or_zero(scores, rows)
    kept_scores = tf.where(rows < 0, LEFT_OUT, kept_scores)
    # a class may have as many of the best as an image
    kept_scores = tf.reshape(kept_scores, [batch, classes * max_count])
    best, places = tf.math.top_k(kept_scores, max_count)
    is_box = best > LEFT_OUT
    rows = tf.gather(tf.reshape(rows, [batch, classes * max_count]), places, batch_dims=1)
    return Survivors(
        tf.where(is_box, places // max_count, -1),
        tf.where(is_box, rows, -1),
        tf.where(is_box, best, 0.0),
    )


def _batch_soft_nms(boxes, scores, max_count, sigma):
    """Rows int32 [b, max_count], padded with -1, and the scores that are left of theirs."""

    def one_image(args):
        rows, kept_scores = tf.image.non_max_suppression_with_scores(
            *args,
            max_count,
            iou_threshold=1.0,
            score_threshold=LEFT_OUT / 2,
            soft_nms_sigma=sigma / 2,  # the kernel takes exp(-IoU^2 / (2 sigma))
        )
        return _pad(rows, max_count), tf.pad(kept_scores, [[0, max_count - tf.shape(rows)[0]]])

    return tf.map_fn(
        one_image,
        (boxes, scores),
        fn_output_signature=(
            tf.TensorSpec([max_count], tf.int32),
            tf.TensorSpec([max_count], tf.float32),
        ),
    )


def gather_or_zero(values: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Rows of ``values`` [b, n, ...] at ``indices`` [b, k]; zeros where an index is -1."""
    zero_row_first = [[0, 0], [1, 0]] + [[0, 0]] * (values.shape.rank - 2)
    return tf.gather(tf.pad(values, zero_row_first), indices + 1, batch_dims=1)


def _pad(indices, count):
    indices = tf.cast(indices, tf.int32)
    return tf.pad(indices, [[0, count - tf.shape(indices)[0]]], constant_values=-1)

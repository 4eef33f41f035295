"""From classified RoIs to detections."""

from typing import NamedTuple

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.boxes_np import MAX_LOG_SCALE
from mrcnn.ops.image_meta import IMAGE_SHAPE, WINDOW
from mrcnn.ops.nms import LEFT_OUT, batch_class_nms, best_of_classes, gather_or_zero


class DetectionSteps(NamedTuple):
    """Each step from classified RoIs to detections; boxes are normalised.

    m candidates: the n RoIs, each of its most probable class; or, with DETECTION_MULTI_CLASS,
    every RoI of every class but the background, (classes - 1) * n: all RoIs of class 1, then all
    of class 2, and so on.
    """

    class_ids: tf.Tensor  # int32 [b, m] the candidate's class, 0 for background
    scores: tf.Tensor  # [b, m] its probability
    refined_rois: tf.Tensor  # [b, m, 4] moved by the deltas of that class
    clipped_rois: tf.Tensor  # [b, m, 4] cut to the window
    # bool [b, m] no background, of min_confidence, not too small; and no padding, with
    # DETECTION_MULTI_CLASS or SOFT_NMS_SIGMA
    confident: tf.Tensor
    nms_indices: tf.Tensor  # int32 [b, max_instances] rows that survived, -1 as padding
    # [b, max_instances, 6] (y1, x1, y2, x2, class id, score), zero padded; with SOFT_NMS_SIGMA the
    # scores are those that are left
    detections: tf.Tensor


def refine_detections(
    rois,
    probs,
    deltas,
    window,
    max_instances,
    min_confidence,
    nms_threshold,
    bbox_std_dev,
    **options,
):
    """Refine RoIs by the deltas of their classes, filter, suppress per class, keep the best.

    Args:
        rois: float32 [b, n, 4] normalised.
        probs: float32 [b, n, classes].
        deltas: float32 [b, n, classes, 4] in units of ``bbox_std_dev``.
        window: float32 [b, 4] normalised, the part of the image that is not padding.
        max_instances: detections per image.
        min_confidence: lowest score to keep; 0 keeps every RoI that is not background.
        nms_threshold: IoU above which the weaker of two of one class goes.
        bbox_std_dev: [4].
        options: of `detection_steps`.

    Returns:
        float32 [b, max_instances, 6] of (y1, x1, y2, x2, class id, score) by falling score,
        padded with zeros.
    """
    return detection_steps(
        rois,
        probs,
        deltas,
        window,
        max_instances,
        min_confidence,
        nms_threshold,
        bbox_std_dev,
        **options,
    ).detections


def detection_steps(
    rois,
    probs,
    deltas,
    window,
    max_instances,
    min_confidence,
    nms_threshold,
    bbox_std_dev,
    *,
    multi_class=False,
    min_size=0.0,
    image_shape=None,
    box_shift=1,
    soft_nms_sigma=0.0,
    log_scale_limit=MAX_LOG_SCALE,
):
    """`refine_detections` with every step before the end, as `DetectionSteps`.

    Further args:
        multi_class: whether each class of a RoI is a candidate, or the most probable alone.
        min_size: px, the least height and width; above 0 it needs the (height, width, ...) px of
            the molded image, ``image_shape``, and the BOX_SHIFT by which boxes are normalised.
        soft_nms_sigma: above 0 scores fall instead of ``nms_threshold`` deciding; see
            `ops.nms.best_of_classes`.
        log_scale_limit: BBOX_LOG_SCALE_LIMIT.
    """
    if probs.shape[2] == 1:  # there is nothing but background
        multi_class, soft_nms_sigma = False, 0.0
    if multi_class:
        rois, class_ids, scores, deltas = _every_class(rois, probs, deltas)
    else:
        class_ids = tf.argmax(probs, axis=-1, output_type=tf.int32)
        scores = tf.gather(probs, class_ids, batch_dims=2)
        deltas = tf.gather(deltas, class_ids, batch_dims=2)
    deltas *= tf.constant(bbox_std_dev, tf.float32)
    refined = box_ops.apply_box_deltas(rois, deltas, log_scale_limit)
    boxes = box_ops.clip_boxes(refined, window)
    keep = class_ids > 0
    if min_confidence is not None:
        keep &= scores >= min_confidence
    if min_size:
        keep &= box_ops.has_sides(boxes, min_size, image_shape, box_shift)

    if multi_class or soft_nms_sigma:
        # the original's way does not exclude them; their boxes have no area and are dropped later
        keep &= box_ops.is_box(rois)
        classes = probs.shape[2] - 1
        taking_part = tf.where(keep, scores, LEFT_OUT)
        if multi_class:
            shape = [tf.shape(probs)[0], classes, tf.shape(probs)[1]]
            by_class = tf.reshape(boxes, [*shape, 4]), tf.reshape(taking_part, shape)
        else:
            by_class = _in_classes(boxes, class_ids, taking_part, classes)
        found = best_of_classes(*by_class, max_instances, nms_threshold, soft_nms_sigma)
        kept = found.rows
        if multi_class:
            kept = tf.where(kept < 0, -1, found.classes * tf.shape(probs)[1] + kept)
        if soft_nms_sigma and min_confidence is not None:
            kept = tf.where(found.scores >= min_confidence, kept, -1)
    else:

        def iou(image, rows):
            image_boxes = tf.gather(boxes[image], rows)
            return box_ops.pairwise_iou(image_boxes, image_boxes)

        kept = batch_class_nms(iou, class_ids, scores, keep, max_instances, nms_threshold)
    detections = tf.concat(
        [boxes, tf.cast(class_ids, tf.float32)[..., tf.newaxis], scores[..., tf.newaxis]], axis=-1
    )
    detections = gather_or_zero(detections, kept)
    if soft_nms_sigma:
        left = tf.where(kept < 0, 0.0, found.scores)
        detections = tf.concat([detections[..., :5], left[..., tf.newaxis]], axis=-1)
    return DetectionSteps(class_ids, scores, refined, boxes, keep, kept, detections)


def _every_class(rois, probs, deltas):
    """RoIs, class ids, probabilities and deltas of all candidates, class by class: [b, m, ...]; see
    `DetectionSteps`.
    """
    batch, count = tf.shape(probs)[0], tf.shape(probs)[1]
    classes = probs.shape[2] - 1
    scores = tf.reshape(tf.transpose(probs[:, :, 1:], [0, 2, 1]), [batch, classes * count])
    deltas = tf.reshape(tf.transpose(deltas[:, :, 1:], [0, 2, 1, 3]), [batch, classes * count, 4])
    class_ids = tf.broadcast_to(tf.repeat(tf.range(1, classes + 1), count), tf.shape(scores))
    return tf.tile(rois, [1, classes, 1]), class_ids, scores, deltas


def _in_classes(boxes, class_ids, scores, classes):
    """Boxes [b, n, 4] and scores [b, n] of one class each as [b, classes, n, ...], where those of
    the other classes are left out.
    """
    of_class = tf.equal(class_ids[:, tf.newaxis], tf.range(1, classes + 1)[:, tf.newaxis])
    scores = tf.where(of_class, scores[:, tf.newaxis], LEFT_OUT)
    shape = [tf.shape(scores)[0], classes, tf.shape(scores)[2], 4]
    return tf.broadcast_to(boxes[:, tf.newaxis], shape), scores


@keras.saving.register_keras_serializable(PACKAGE)
class DetectionLayer(GraphLayer):
    """Turn classified RoIs into detections; see `refine_detections`.

    Args:
        config: a ``Config``, or a dict of `CONFIG_FIELDS`.

    Call arguments:
        [rois float32 [b, n, 4] normalised, probs float32 [b, n, classes],
        deltas float32 [b, n, classes, 4], image_meta [b, m]].

    Returns:
        float32 [b, DETECTION_MAX_INSTANCES, 6] of (y1, x1, y2, x2, class id, score),
        normalised, by falling score, zero padded.
    """

    CONFIG_FIELDS = (
        "DETECTION_MAX_INSTANCES",
        "DETECTION_MIN_CONFIDENCE",
        "DETECTION_NMS_THRESHOLD",
        "BBOX_STD_DEV",
        "BBOX_LOG_SCALE_LIMIT",
        "BOX_SHIFT",
        "DETECTION_MIN_SIZE",
        "DETECTION_MULTI_CLASS",
        "SOFT_NMS_SIGMA",
    )

    def steps(self, inputs, min_confidence=None):
        """The detections with every step before them, as `DetectionSteps`.

        Args:
            inputs: as of the call.
            min_confidence: float32 scalar, used instead of DETECTION_MIN_CONFIDENCE; or None.
        """
        rois, probs, deltas, image_meta = inputs
        window = box_ops.norm_boxes(
            image_meta[:, WINDOW], image_meta[0, IMAGE_SHAPE], self.settings["BOX_SHIFT"]
        )
        return detection_steps(
            rois,
            probs,
            deltas,
            window,
            self.settings["DETECTION_MAX_INSTANCES"],
            self.settings["DETECTION_MIN_CONFIDENCE"] if min_confidence is None else min_confidence,
            self.settings["DETECTION_NMS_THRESHOLD"],
            self.settings["BBOX_STD_DEV"],
            multi_class=self.settings["DETECTION_MULTI_CLASS"],
            min_size=self.settings["DETECTION_MIN_SIZE"],
            image_shape=image_meta[0, IMAGE_SHAPE],
            box_shift=self.settings["BOX_SHIFT"],
            soft_nms_sigma=self.settings["SOFT_NMS_SIGMA"],
            log_scale_limit=self.settings["BBOX_LOG_SCALE_LIMIT"],
        )

    def call(self, inputs):
        return self.steps(inputs).detections

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.settings["DETECTION_MAX_INSTANCES"], 6)

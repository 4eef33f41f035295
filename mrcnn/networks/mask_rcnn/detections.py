"""From classified RoIs to detections."""

from typing import NamedTuple

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.image_meta import IMAGE_SHAPE, WINDOW
from mrcnn.ops.nms import batch_class_nms, gather_or_zero


class DetectionSteps(NamedTuple):
    """Each step from classified RoIs to detections; boxes are normalised, n is the number of
    RoIs.
    """

    class_ids: tf.Tensor  # int32 [b, n] the most probable class, 0 for background
    scores: tf.Tensor  # [b, n] its probability
    refined_rois: tf.Tensor  # [b, n, 4] moved by the deltas of that class
    clipped_rois: tf.Tensor  # [b, n, 4] cut to the window
    confident: tf.Tensor  # bool [b, n] no background, and of min_confidence
    nms_indices: tf.Tensor  # int32 [b, max_instances] rows that survived, -1 as padding
    detections: tf.Tensor  # [b, max_instances, 6] (y1, x1, y2, x2, class id, score), zero padded


def refine_detections(
    rois, probs, deltas, window, max_instances, min_confidence, nms_threshold, bbox_std_dev
):
    """Refine RoIs by the deltas of their best class, filter, suppress per class, keep the best.

    Args:
        rois: float32 [b, n, 4] normalised.
        probs: float32 [b, n, classes].
        deltas: float32 [b, n, classes, 4] in units of ``bbox_std_dev``.
        window: float32 [b, 4] normalised, the part of the image that is not padding.
        max_instances: detections per image.
        min_confidence: lowest score to keep; 0 keeps every RoI that is not background.
        nms_threshold: IoU above which the weaker of two of one class goes.
        bbox_std_dev: [4].

    Returns:
        float32 [b, max_instances, 6] of (y1, x1, y2, x2, class id, score) by falling score,
        padded with zeros.
    """
    return detection_steps(
        rois, probs, deltas, window, max_instances, min_confidence, nms_threshold, bbox_std_dev
    ).detections


def detection_steps(
    rois, probs, deltas, window, max_instances, min_confidence, nms_threshold, bbox_std_dev
):
    """`refine_detections` with every step before the end, as `DetectionSteps`."""
    class_ids = tf.argmax(probs, axis=-1, output_type=tf.int32)
    scores = tf.gather(probs, class_ids, batch_dims=2)
    best_deltas = tf.gather(deltas, class_ids, batch_dims=2) * tf.constant(bbox_std_dev, tf.float32)
    refined = box_ops.apply_box_deltas(rois, best_deltas)
    boxes = box_ops.clip_boxes(refined, window)
    keep = class_ids > 0
    if min_confidence is not None:
        keep &= scores >= min_confidence

    def iou(image, rows):
        image_boxes = tf.gather(boxes[image], rows)
        return box_ops.pairwise_iou(image_boxes, image_boxes)

    kept = batch_class_nms(iou, class_ids, scores, keep, max_instances, nms_threshold)
    detections = tf.concat(
        [boxes, tf.cast(class_ids, tf.float32)[..., tf.newaxis], scores[..., tf.newaxis]], axis=-1
    )
    return DetectionSteps(
        class_ids, scores, refined, boxes, keep, kept, gather_or_zero(detections, kept)
    )


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
        "BOX_SHIFT",
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
        )

    def call(self, inputs):
        return self.steps(inputs).detections

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.settings["DETECTION_MAX_INSTANCES"], 6)

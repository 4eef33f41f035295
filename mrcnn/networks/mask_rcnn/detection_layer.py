"""DetectionLayer: the detections of a batch."""

import keras

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.networks.mask_rcnn.detections import detection_steps
from mrcnn.ops.boxes import norm_boxes
from mrcnn.ops.image_meta import IMAGE_SHAPE, WINDOW


@keras.saving.register_keras_serializable(PACKAGE)
class DetectionLayer(GraphLayer):
    """Turn classified RoIs into detections; see `networks.mask_rcnn.detections.refine_detections`.

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
    )

    def steps(self, inputs):
        """The detections with every step before them, as
        `networks.mask_rcnn.detections.DetectionSteps`.
        """
        rois, probs, deltas, image_meta = inputs
        window = norm_boxes(image_meta[:, WINDOW], image_meta[0, IMAGE_SHAPE])
        return detection_steps(
            rois,
            probs,
            deltas,
            window,
            self.settings["DETECTION_MAX_INSTANCES"],
            self.settings["DETECTION_MIN_CONFIDENCE"],
            self.settings["DETECTION_NMS_THRESHOLD"],
            self.settings["BBOX_STD_DEV"],
        )

    def call(self, inputs):
        return self.steps(inputs).detections

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.settings["DETECTION_MAX_INSTANCES"], 6)

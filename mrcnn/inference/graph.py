"""Detection as one object: molded images in, detections and their masks out.

`MaskRCNN.detect` runs it, and whoever exports a model traces it.
"""

import keras
import numpy as np
import tensorflow as tf

from mrcnn.common.json_files import plain
from mrcnn.distributed.strategy import split_batch
from mrcnn.networks.mask_rcnn.box_head import deltas_of_classes
from mrcnn.networks.mask_rcnn.detections import DetectionLayer
from mrcnn.networks.mask_rcnn.inputs import Anchors
from mrcnn.networks.mask_rcnn.proposals import ProposalLayer
from mrcnn.ops.image_meta import IMAGE_SHAPE, WINDOW

# Fields that the network's own layers were built with, beside those that `Detector`'s layers read.
NETWORK_FIELDS = (
    *("STRIDE_IN_3X3", "RPN_CONV_LAYERS", "POST_NMS_ROIS_INFERENCE", "RPN_NMS_THRESHOLD"),
    *("ROI_ALIGN", "ROI_LEVEL_FLOOR", "BOX_HEAD_CONVS", "BOX_HEAD_CHANNELS", "BOX_HEAD_FCS"),
    *("CLASS_AGNOSTIC_BOXES", "CLASS_AGNOSTIC_MASKS", "MASK_LOSS", "MASK_HEAD"),
    "MASK_HEAD_DECONVS",
)


class Detector:
    """The network from molded images to detections and the mask of each one's own class.

    Called with tensors it is a function of TensorFlow, for images of any size, that may stand
    inside another one. `predict` runs it on arrays, by one of two traces: one for a single image,
    for which the network may know that there is one, and one for any batch. They serve every
    confidence, every size and every thread.

    Args:
        keras_model: of `networks.mask_rcnn.build.inference_model` or ``training_model``, whose
            layers and weights it uses.
        config: its ``Config``.
        strategy: the strategy that the model was made under, whose devices of this machine share a
            batch; None: one device.
    """

    def __init__(self, keras_model: keras.Model, config, strategy=None):
        self.keras_model = keras_model
        layer = keras_model.get_layer
        self.first_stage = keras.Model(
            keras_model.inputs[0],
            [layer(name).output for name in ("rpn_class", "rpn_bbox", "rpn_class_logits")]
            + [layer(f"fpn_p{level}").output for level in range(2, 7)],
        )
        self.anchors = Anchors(config)
        self.proposals = ProposalLayer(
            config.POST_NMS_ROIS_INFERENCE, config.RPN_NMS_THRESHOLD, config
        )
        self.box_features = _like(layer("roi_align_classifier"), distinct=not config.TRAIN_BN)
        self.box_head = keras.Model(
            layer("roi_align_classifier").output[0], layer("pool_squeeze").input[0]
        )
        self.unpack = layer("pool_squeeze")
        self.class_logits, self.class_probs = layer("mrcnn_class_logits"), layer("mrcnn_class")
        self.box_deltas = layer("mrcnn_bbox_fc")
        self.detections = DetectionLayer(config)
        self.mask_features = _like(layer("roi_align_mask"), distinct=False, most=None)
        self.mask_head = keras.Model(
            layer("roi_align_mask").output[0], layer("mrcnn_mask").input[0]
        )
        self.mask_prediction = layer("mrcnn_mask")
        # by the batch's statistics a mask would depend on how many objects there are
        self.all_masks = bool(config.TRAIN_BN)
        layers = (self.anchors, self.proposals, self.detections)
        fields = {field for part in layers for field in part.CONFIG_FIELDS}
        self.built_with = {
            field: plain(getattr(config, field))
            for field in sorted(fields.union(NETWORK_FIELDS) - {"DETECTION_MIN_CONFIDENCE"})
        }
        self.min_confidence = config.DETECTION_MIN_CONFIDENCE or 0.0
        self.strategy = strategy
        channels, length = keras_model.inputs[0].shape[-1], keras_model.inputs[1].shape[-1]
        self.meta_length = length
        self._of_one, self._of_many = (
            tf.function(
                self._on_devices,
                input_signature=[
                    tf.TensorSpec([batch, None, None, channels], tf.float32),
                    tf.TensorSpec([batch, 4], tf.float32),
                    tf.TensorSpec([], tf.float32),
                ],
                autograph=False,
            )
            for batch in (1, None)
        )

    def __call__(self, molded, windows, min_confidence):
        """Detect.

        Args:
            molded: float32 [b, h, w, c]; h and w are multiples of 64, or of 32 with
                IMAGE_RESIZE_MODE "fit".
            windows: float32 [b, 4] (y1, x1, y2, x2) px, the parts of the images that are no
                padding.
            min_confidence: float32 scalar, the least score of a detection.

        Returns:
            detections float32 [b, n, 6] of (y1, x1, y2, x2, class id, score), normalised, zero
            padded; masks float32 [b, n, mask h, mask w], each of its detection's own class.
        """
        meta = self._meta(molded, windows)
        rpn_probs, rpn_deltas, rpn_logits, *pyramid = self.first_stage(molded, training=False)
        anchors = self.anchors([molded, *pyramid])
        rois = self.proposals([rpn_probs, rpn_deltas, anchors, rpn_logits, meta, *pyramid])
        features, *rows = self.box_features([rois, meta, *pyramid[:4]])
        shared = self.unpack([self.box_head(features, training=False), *rows])
        probs = self.class_probs(self.class_logits(shared))
        deltas = deltas_of_classes(self.box_deltas(shared), probs.shape[-1])
        detections = self.detections.steps([rois, probs, deltas, meta], min_confidence).detections
        boxes, class_ids = detections[..., :4], detections[..., 4]
        features, *rows = self.mask_features(
            [boxes, meta, *pyramid[:4]], class_ids=None if self.all_masks else class_ids
        )
        features = self.mask_head(features, training=False)
        return detections, self.mask_prediction.own_masks([features, *rows], class_ids)

    def predict(
        self, molded: np.ndarray, windows: np.ndarray, min_confidence: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Detect in arrays; arguments and results as of the call.

        Args:
            min_confidence: None takes DETECTION_MIN_CONFIDENCE.
        """
        # several devices get their parts of a batch by a number that a trace does not know
        run = self._of_one if len(molded) == 1 and self.strategy is None else self._of_many
        detections, masks = run(
            tf.constant(molded, tf.float32),
            tf.constant(windows, tf.float32),
            tf.constant(
                self.min_confidence if min_confidence is None else min_confidence, tf.float32
            ),
        )
        return detections.numpy(), masks.numpy()

    def check_settings(self, config):
        """Refuse a ``Config`` of which a field was changed that the detection was built with.

        DETECTION_MIN_CONFIDENCE may change, and what prepares the images.

        Raises:
            ValueError: naming the fields, their old and their new values.
        """
        changed = [
            f"{field} is {now}, but the model was made with {before}"
            for field, before in self.built_with.items()
            if (now := plain(getattr(config, field))) != before
        ]
        if changed:
            raise ValueError(
                f"{'; '.join(changed)}: set such fields before the model is made, and make it again"
            )

    def _meta(self, molded, windows):
        """Image metas [b, m] of which only the shape and the window are set."""
        batch = tf.shape(molded)[0]
        shape = tf.broadcast_to(tf.cast(tf.shape(molded)[1:], tf.float32), [batch, 3])
        before = tf.zeros([batch, IMAGE_SHAPE.start])
        after = tf.zeros([batch, self.meta_length - WINDOW.stop])
        return tf.concat([before, shape, windows, after], axis=1)

    def _on_devices(self, molded, windows, min_confidence):
        def detect(molded, windows):
            return self(molded, windows, min_confidence)

        return split_batch(self.strategy, detect)(molded, windows)


def _like(layer, **options):
    """A pooling layer with the settings of a network's own, but for some."""
    return type(layer).from_config({**layer.get_config(), **options})

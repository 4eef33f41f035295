"""Small layers between the model's inputs and its stages."""

import keras
import numpy as np
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.ops import anchors as anchor_ops
from mrcnn.ops.boxes import norm_boxes
from mrcnn.ops.boxes_np import norm_boxes as norm_boxes_np


@keras.saving.register_keras_serializable(PACKAGE)
class NormalizeBoxes(GraphLayer):
    """Pixel boxes [b, n, 4] of images [b, h, w, c] to normalised ones. Call arguments: [boxes,
    images].
    """

    def call(self, inputs):
        boxes, images = inputs
        return norm_boxes(boxes, tf.shape(images)[1:3])

    def compute_output_shape(self, input_shape):
        return input_shape[0]


@keras.saving.register_keras_serializable(PACKAGE)
class Anchors(GraphLayer):
    """The anchors of one image shape, repeated for each image of the batch.

    Args:
        config: a ``Config``; serialisation keeps the feature shapes in ``shapes``.

    Call arguments:
        images [b, h, w, c].

    Returns:
        float32 [b, anchors, 4] normalised.
    """

    CONFIG_FIELDS = (
        "RPN_ANCHOR_SCALES",
        "RPN_ANCHOR_RATIOS",
        "RPN_ANCHOR_STRIDE",
        "BACKBONE_STRIDES",
        "IMAGE_SHAPE",
    )

    def __init__(self, config, shapes=None, **kwargs):
        super().__init__(config, **kwargs)
        if shapes is None:
            shapes = anchor_ops.compute_backbone_shapes(config, config.IMAGE_SHAPE)
        self.shapes = np.asarray(shapes).tolist()
        boxes = anchor_ops.generate_pyramid_anchors(
            self.settings["RPN_ANCHOR_SCALES"],
            self.settings["RPN_ANCHOR_RATIOS"],
            self.shapes,
            self.settings["BACKBONE_STRIDES"],
            self.settings["RPN_ANCHOR_STRIDE"],
        )
        self.boxes = norm_boxes_np(boxes, self.settings["IMAGE_SHAPE"][:2])

    def call(self, images):
        return tf.broadcast_to(self.boxes[np.newaxis], [tf.shape(images)[0], *self.boxes.shape])

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.boxes.shape)

    def get_config(self):
        return {**super().get_config(), "shapes": self.shapes}

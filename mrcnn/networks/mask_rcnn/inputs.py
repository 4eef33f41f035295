"""Small layers between the model's inputs and its stages."""

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.ops.anchors import generate_anchors
from mrcnn.ops.boxes import norm_boxes


@keras.saving.register_keras_serializable(PACKAGE)
class NormalizeBoxes(GraphLayer):
    """Pixel boxes [b, n, 4] of images [b, h, w, c] to normalised ones.

    Args:
        config: a ``Config``, or a dict of `CONFIG_FIELDS`.

    Call arguments:
        [boxes, images].
    """

    CONFIG_FIELDS = ("BOX_SHIFT",)

    def call(self, inputs):
        boxes, images = inputs
        return norm_boxes(boxes, tf.shape(images)[1:3], self.settings["BOX_SHIFT"])

    def compute_output_shape(self, input_shape):
        return input_shape[0]


@keras.saving.register_keras_serializable(PACKAGE)
class Anchors(GraphLayer):
    """The anchors of images of any size, by the cells of their feature maps.

    They are those of `ops.anchors.pyramid_anchors` to the bit: computed in float64, then rounded.

    Args:
        config: a ``Config``, or a dict of `CONFIG_FIELDS`.

    Call arguments:
        [images [b, h, w, c], P2, P3, P4, P5, P6].

    Returns:
        float32 [b, anchors, 4] normalised.
    """

    CONFIG_FIELDS = (
        "RPN_ANCHOR_SCALES",
        "RPN_ANCHOR_RATIOS",
        "RPN_ANCHOR_STRIDE",
        "RPN_ANCHORS_ROUNDED",
        "RPN_STRIDES_FROM_SIZES",
        "BACKBONE_STRIDES",
        "BOX_SHIFT",
    )

    def call(self, inputs):
        images, *feature_maps = inputs
        settings, size = self.settings, tf.shape(images)[1:3]
        levels = zip(settings["RPN_ANCHOR_SCALES"], settings["BACKBONE_STRIDES"], feature_maps)
        boxes = tf.concat([self._level(*level, size) for level in levels], axis=0)
        shift = settings["BOX_SHIFT"]
        height, width = tf.unstack(tf.cast(tf.maximum(size - shift, 1), tf.float64))
        normalized = tf.cast(
            (boxes - [0, 0, shift, shift]) / [height, width, height, width], tf.float32
        )
        return tf.broadcast_to(normalized, [tf.shape(images)[0], *tf.unstack(tf.shape(boxes))])

    def _level(self, scale, stride, feature_map, image_size):
        """float64 [anchors, 4] px of one level."""
        settings, cells = self.settings, tf.shape(feature_map)[1:3]
        of_a_cell = generate_anchors(
            scale,
            settings["RPN_ANCHOR_RATIOS"],
            (1, 1),
            stride,  # of no matter: the cell is the first one
            1,
            settings["RPN_ANCHORS_ROUNDED"],
        )
        strides = image_size // cells if settings["RPN_STRIDES_FROM_SIZES"] else [stride, stride]
        rows, columns = (
            tf.cast(tf.range(0, cells[axis], settings["RPN_ANCHOR_STRIDE"]), tf.float64)
            * tf.cast(strides[axis], tf.float64)
            for axis in (0, 1)
        )
        y, x = tf.meshgrid(rows, columns, indexing="ij")
        centres = tf.stack([y, x, y, x], axis=-1)[:, :, tf.newaxis]
        return tf.reshape(centres + of_a_cell, [-1, 4])

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], None, 4)

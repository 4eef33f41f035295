"""Small layers between the model's inputs and its stages."""

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.ops.anchors import generate_anchors
from mrcnn.ops.boxes import norm_boxes


@keras.saving.register_keras_serializable(PACKAGE)
class NormalizeBoxes(GraphLayer):
    """Pixel boxes [b, n, 4] of images [b, h, w, c] to normalised ones.

    Call arguments:
        [boxes, images].
    """

    def call(self, inputs):
        boxes, images = inputs
        return norm_boxes(boxes, tf.shape(images)[1:3])

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
        "BACKBONE_STRIDES",
    )

    def call(self, inputs):
        images, *feature_maps = inputs
        settings = self.settings
        levels = zip(settings["RPN_ANCHOR_SCALES"], settings["BACKBONE_STRIDES"], feature_maps)
        boxes = tf.concat([self._level(*level) for level in levels], axis=0)
        height, width = tf.unstack(tf.cast(tf.maximum(tf.shape(images)[1:3] - 1, 1), tf.float64))
        normalized = tf.cast((boxes - [0, 0, 1, 1]) / [height, width, height, width], tf.float32)
        return tf.broadcast_to(normalized, [tf.shape(images)[0], *tf.unstack(tf.shape(boxes))])

    def _level(self, scale, stride, feature_map):
        """float64 [anchors, 4] px of one level."""
        step = self.settings["RPN_ANCHOR_STRIDE"]
        of_a_cell = generate_anchors(scale, self.settings["RPN_ANCHOR_RATIOS"], (1, 1), stride, 1)
        rows, columns = (
            tf.cast(tf.range(0, size, step) * stride, tf.float64)
            for size in tf.unstack(tf.shape(feature_map)[1:3])
        )
        y, x = tf.meshgrid(rows, columns, indexing="ij")
        centres = tf.stack([y, x, y, x], axis=-1)[:, :, tf.newaxis]
        return tf.reshape(centres + of_a_cell, [-1, 4])

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], None, 4)

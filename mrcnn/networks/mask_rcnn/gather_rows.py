"""GatherRows: results of distinct rows back in the shape of the batch."""

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class GatherRows(keras.layers.Layer):
    """The vector of every RoI, from the rows that a head ran on.

    Call arguments:
        [values [m, 1, 1, channels], index int32 [b, n] of `DistinctROIAlign`].

    Returns:
        [b, n, channels].
    """

    def call(self, inputs):
        values, index = inputs
        return tf.gather(tf.reshape(values, [-1, values.shape[-1]]), index)

    def compute_output_shape(self, input_shape):
        return (*input_shape[1], input_shape[0][-1])

"""The order in which two branches of a network are computed."""

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class ComputeAfter(keras.layers.Layer):
    """A tensor as it is, given on only when another one has been computed.

    TensorFlow computes two branches at the same time, and keeps what lies inside both. One after
    the other they need less memory and, as each operation uses all cores, no more time.

    Call arguments:
        [x, other]: tensors of any shapes.

    Returns:
        x.
    """

    def call(self, inputs):
        x, other = inputs
        with tf.control_dependencies([other]):
            return tf.identity(x)

    def compute_output_shape(self, input_shape):
        return input_shape[0]

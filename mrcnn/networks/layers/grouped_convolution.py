"""Convolutions in groups (ResNeXt) that train on every processor."""

import functools

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class GroupedConv2D(keras.layers.Conv2D):
    """Keras' Conv2D with ``groups``, whose gradient does not depend on what TensorFlow has.

    TensorFlow computes a grouped convolution in one operation everywhere, but its gradient on a CPU
    by oneDNN alone: not without it (TF_ENABLE_ONEDNN_OPTS=0, other processors), and of float16 only
    on processors that compute in it. Elsewhere as many convolutions as there are groups do it.
    Keras' own layer compiles it with XLA.

    Milliseconds of the CPU for a forward pass and for both passes, of 64 x 64 cells, 256 channels
    and 32 groups (two cores with AVX-512, TensorFlow 2.21): 3.7 and 14.9 in one operation; 7.8 and
    27.0 as 32 convolutions; 45.5 and 159 as one whose kernel has zeros between the groups; 23.2 and
    206 as a batch of matrix products; 27.9 and 4,977 by Keras' layer.
    """

    def convolution_op(self, inputs, kernel):
        padding, strides, dilations = self.padding.upper(), self.strides, self.dilation_rate
        if _has_gradient(tf.as_dtype(inputs.dtype)):
            return tf.nn.conv2d(inputs, kernel, strides, padding, dilations=dilations)
        parts = [
            tf.split(tf.convert_to_tensor(value), self.groups, -1) for value in (inputs, kernel)
        ]
        # which knows the gradient of a dilated convolution everywhere
        convolve = functools.partial(
            tf.nn.convolution, strides=strides, padding=padding, dilations=dilations
        )
        return tf.concat([convolve(x, weights) for x, weights in zip(*parts)], axis=-1)


@functools.cache
def _has_gradient(dtype):
    """Whether TensorFlow has the gradient of a grouped convolution here: it is tried."""
    with tf.init_scope():
        x, kernel = tf.ones([1, 4, 4, 4], dtype), tf.ones([3, 3, 2, 4], dtype)
        arguments = {"strides": [1] * 4, "padding": "SAME", "out_backprop": x}
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=kernel, **arguments)
            tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, **arguments)
        except tf.errors.InvalidArgumentError:
            return False
    return True

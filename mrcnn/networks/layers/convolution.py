"""The convolutions in which most of the network's arithmetic lies."""

import weakref

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE
from mrcnn.networks.layers.folding import take_over
from mrcnn.ops.cpu_convolution import (
    convolve_halves,
    convolve_whole,
    fold_normalization,
    upsample_cells,
)

# Input channels from which on two halves of an image take less time than the whole.
WIDE = 256


@keras.saving.register_keras_serializable(PACKAGE)
class Conv2D(keras.layers.Conv2D):
    """Keras' layer in the form that takes the least time: see `ops.cpu_convolution`.

    A kernel as large as the image is a matrix product. Where it does not train, a wide kernel runs
    over the halves of a single image on a CPU. Within
    `networks.layers.folding.folded_normalization` a linked BatchNorm is part of the weights.
    """

    _norm = None  # a reference that Keras does not take for a part of this layer

    def normalized_by(self, norm):
        """Link the `networks.layers.normalization.BatchNorm` that alone gets this layer's
        result.
        """
        self._norm = weakref.ref(norm)

    def call(self, inputs, training=None):
        kernel, bias = self._weights(inputs, training)
        if not training and self._takes_halves(
            inputs
        ):  # their gradient takes longer than that of the whole
            return convolve_halves(inputs, kernel, bias, self.activation)
        if self._takes_whole(inputs):
            outputs = convolve_whole(inputs, kernel, bias)
        else:
            outputs = self.convolution_op(inputs, kernel)
            outputs = outputs if bias is None else tf.nn.bias_add(outputs, bias)
        return self.activation(outputs)

    def convolution_op(self, inputs, kernel):
        if (
            set(self.kernel_size) == set(self.strides) == set(self.dilation_rate) == {1}
            and self.groups == 1
        ):
            # there is nothing to pad, but of "SAME" TensorFlow knows that the result has the
            # image's size
            return tf.nn.conv2d(inputs, kernel, 1, "SAME")
        return super().convolution_op(inputs, kernel)

    def _weights(self, inputs, training):
        """Kernel and bias, the linked normalisation's work in them where that is wanted."""
        weights = self.kernel, self.bias
        norm = self._norm and self._norm()
        folded = (
            norm is not None
            and self.compute_dtype == "float32"
            and self.activation is keras.activations.linear
            and take_over(norm, training)
        )
        if folded:
            weights = *weights, norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance
        tensors = [None if weight is None else tf.convert_to_tensor(weight) for weight in weights]
        return fold_normalization(inputs, *tensors, norm.epsilon) if folded else tensors

    def _takes_halves(self, inputs):
        return (
            isinstance(inputs, tf.Tensor)
            and inputs.shape[0] == 1
            and inputs.shape[-1] >= WIDE
            and inputs.dtype == tf.float32
            and self.padding == "same"
            and self.groups == 1
            and all(size % 2 for size in self.kernel_size)
            and max(self.kernel_size) > 1
            and set(self.strides) == set(self.dilation_rate) == {1}
            and not tf.config.list_physical_devices("GPU")
        )

    def _takes_whole(self, inputs):
        return (
            tuple(inputs.shape[1:3]) == self.kernel_size
            and self.padding == "valid"
            and self.groups == 1
            and set(self.dilation_rate) == {1}
        )


@keras.saving.register_keras_serializable(PACKAGE)
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras' layer for windows that do not overlap, without the copy that puts its pixels in order.

    Returns:
        [n, h, w, k, l, filters], the k x l pixels of each cell; see
        `ops.cpu_convolution.upsample_cells`.

    Raises:
        ValueError: the strides are not the kernel's size, or something else was asked for that
            would put pixels elsewhere.
    """

    def build(self, input_shape):
        if (
            self.strides != self.kernel_size
            or self.dilation_rate != (1, 1)
            or self.output_padding is not None
            or self.data_format != "channels_last"
        ):
            raise ValueError(
                f"layer {self.name}: strides are {self.strides}, the kernel's size "
                f"{self.kernel_size}, "
                f"dilation {self.dilation_rate}, output_padding {self.output_padding}, data_format "
                f"{self.data_format}; only windows that do not overlap, of channels_last, are "
                "known here"
            )
        super().build(input_shape)

    def call(self, inputs):
        kernel = tf.convert_to_tensor(self.kernel)
        bias = None if self.bias is None else tf.convert_to_tensor(self.bias)
        return upsample_cells(inputs, kernel, bias, self.activation)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:3], *self.kernel_size, self.filters)


def convolve_and_normalize(x, convolution, norm):
    """norm(convolution(x)) of a `Conv2D` and a `networks.layers.normalization.BatchNorm`,
    linked.
    """
    convolution.normalized_by(norm)
    return norm(convolution(x))

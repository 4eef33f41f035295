"""The 3x3 convolutions in which most of the network's arithmetic lies."""

import keras
import tensorflow as tf

from mrcnn.layers.base import PACKAGE
from mrcnn.ops.convolution import convolve_halves

# Input channels from which on two halves of an image take less time than the whole.
WIDE = 256


@keras.saving.register_keras_serializable(PACKAGE)
class Conv2D(keras.layers.Conv2D):
    """Keras' layer, which on a CPU takes `ops.convolution.convolve_halves` where it is traced for one image."""

    def convolution_op(self, inputs, kernel):
        if self._takes_halves(inputs):
            return convolve_halves(inputs, tf.convert_to_tensor(kernel))
        return super().convolution_op(inputs, kernel)

    def _takes_halves(self, inputs):
        return (isinstance(inputs, tf.Tensor) and inputs.shape[0] == 1 and inputs.shape[-1] >= WIDE
                and inputs.dtype == tf.float32 and self.padding == "same" and self.groups == 1
                and all(size % 2 for size in self.kernel_size) and max(self.kernel_size) > 1
                and set(self.strides) == set(self.dilation_rate) == {1}
                and not tf.config.list_physical_devices("GPU"))

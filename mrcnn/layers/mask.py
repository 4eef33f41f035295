"""The mask head's last convolution."""

import keras
import tensorflow as tf

from mrcnn.layers.base import PACKAGE
from mrcnn.ops.convolution import convolve_own_class
from mrcnn.ops.rows import real_rows, scatter_rows


@keras.saving.register_keras_serializable(PACKAGE)
class MaskPrediction(keras.layers.Conv2D):
    """A 1x1 convolution with a sigmoid on the RoIs that hold an object.

    Its result is put back into the batch's shape, so that the layer "mrcnn_mask" still
    has the original's output although the mask head met no padding.

    Args:
        compact: also return each row's mask of its own class alone; the loss needs no more than those.

    Call arguments:
        [features [m, h, w, c], class_ids [b, n]]; the rows of `ops.rows.head_rows`.

    Returns:
        float32 [b, n, h, w, classes], zeros for the other rows; with ``compact`` a pair of that and [m, h, w]. Each
        is computed by itself: in a function the one that is not used costs nothing.
    """

    def __init__(self, filters, kernel_size=(1, 1), activation="sigmoid", compact=False, **kwargs):
        # half precision rounds a confident sigmoid to 1, whose logarithm has no gradient
        kwargs.setdefault("dtype", "float32")
        super().__init__(filters, kernel_size, activation=activation, **kwargs)
        self.compact = compact
        self.input_spec = None  # Conv2D's allows one input
        self.supports_jit = False

    def build(self, input_shape):
        super().build(input_shape[0])
        self.input_spec = None

    def call(self, inputs):
        features, class_ids = inputs
        batch = scatter_rows(super().call(features), real_rows(class_ids), class_ids)
        if not self.compact:
            return batch
        own = tf.cast(class_ids[class_ids > 0], tf.int32)
        return batch, self._own_masks(features, tf.pad(own, [[0, tf.shape(features)[0] - tf.size(own)]]))

    def _own_masks(self, features, class_ids):
        kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
        return self.activation(convolve_own_class(features, kernel, bias, class_ids))

    def compute_output_spec(self, inputs):
        features, class_ids = inputs
        height, width = features.shape[1:3]
        batch = keras.KerasTensor((*class_ids.shape, height, width, self.filters), "float32")
        return (batch, keras.KerasTensor((features.shape[0], height, width), "float32")) if self.compact else batch

    def get_config(self):
        return {**super().get_config(), "compact": self.compact}

"""The mask head's last convolution."""

import math

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE
from mrcnn.ops.cpu_convolution import convolve_own_class, interleave_cells
from mrcnn.ops.packed_rows import real_rows, scatter_rows


@keras.saving.register_keras_serializable(PACKAGE)
class MaskPrediction(keras.layers.Conv2D):
    """A 1x1 convolution with a sigmoid on the RoIs that hold an object.

    Its result is put back into the batch's shape, so that the layer "mrcnn_mask" still
    has the original's output although the mask head met no padding.

    Args:
        compact: also return `own_masks`; the loss needs no more than those.

    Call arguments:
        [features [m, h, w, k, l, c] of `convolution.Conv2DTranspose`, class_ids [b, n]]; the rows
        of `ops.packed_rows.head_rows`.

    Returns:
        float32 [b, n, h * k, w * l, classes], zeros for the other rows; with ``compact`` a pair of
        that and [m, h * k, w * l]. Each is computed by itself: in a function the one that is not
        used costs nothing.
    """

    def __init__(self, filters, kernel_size=(1, 1), activation="sigmoid", compact=False, **kwargs):
        # half precision rounds a confident sigmoid to 1, whose logarithm has no gradient
        kwargs.setdefault("dtype", "float32")
        super().__init__(filters, kernel_size, activation=activation, **kwargs)
        self.compact = compact
        self.input_spec = None  # Conv2D's allows one input
        self.supports_jit = False

    def build(self, input_shape):
        features, _ = input_shape
        super().build((*features[:2], math.prod(features[2:5]), features[5]))
        self.input_spec = None

    def call(self, inputs):
        features, class_ids = inputs
        masks = super().call(_without_order(features))
        masks = interleave_cells(tf.reshape(masks, [-1, *features.shape[1:5], self.filters]))
        batch = scatter_rows(masks, real_rows(class_ids), class_ids)
        return (batch, self.own_masks(features, class_ids)) if self.compact else batch

    def own_masks(self, features, class_ids, classes=None):
        """Each row's mask of one class alone.

        Args:
            features, class_ids: as of the call.
            classes: [b, n], the class of each RoI; None takes ``class_ids``.

        Returns:
            float32 [m, h * k, w * l]; what comes after the RoIs that hold an object is of no use.
        """
        own = tf.cast(
            tf.gather_nd(class_ids if classes is None else classes, real_rows(class_ids)), tf.int32
        )
        own = tf.pad(own, [[0, tf.shape(features)[0] - tf.size(own)]])
        masks = self._masks_of(_without_order(tf.cast(features, self.compute_dtype)), own)
        return interleave_cells(tf.reshape(masks, [-1, *features.shape[1:5]]))

    def _masks_of(self, features, class_ids):
        kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)
        return self.activation(convolve_own_class(features, kernel, bias, class_ids))

    def compute_output_spec(self, inputs):
        features, class_ids = inputs
        height, width, rows, columns = features.shape[1:5]
        size = height * rows, width * columns
        batch = keras.KerasTensor((*class_ids.shape, *size, self.filters), "float32")
        return (
            (batch, keras.KerasTensor((features.shape[0], *size), "float32"))
            if self.compact
            else batch
        )

    def get_config(self):
        return {**super().get_config(), "compact": self.compact}


def _without_order(features):
    """[m, h, w, k, l, c] as [m, h, w * k * l, c]: a 1x1 convolution does not ask which pixel of
    which cell it meets.
    """
    _, height, *cells, channels = features.shape
    return tf.reshape(features, [-1, height, math.prod(cells), channels])

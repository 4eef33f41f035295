"""The mask head's last convolution."""

import keras

from mrcnn.layers.base import PACKAGE
from mrcnn.ops.rows import real_rows, scatter_rows


@keras.saving.register_keras_serializable(PACKAGE)
class MaskPrediction(keras.layers.Conv2D):
    """A 1x1 convolution with a sigmoid on the RoIs that hold an object.

    Its result is put back into the batch's shape, so that the layer "mrcnn_mask" still
    has the original's output although the mask head met no padding.

    Args:
        compact: also return the rows alone; the loss needs no more than those.

    Call arguments:
        [features [m, h, w, c], class_ids [b, n]]; the rows of `ops.rows.head_rows`.

    Returns:
        float32 [b, n, h, w, classes], zeros for the other rows; with ``compact`` a pair of
        that and [m, h, w, classes].
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
        rows = super().call(features)
        batch = scatter_rows(rows, real_rows(class_ids), class_ids)
        return (batch, rows) if self.compact else batch

    def compute_output_spec(self, inputs):
        features, class_ids = inputs
        rows = (features.shape[0], *features.shape[1:-1], self.filters)
        batch = keras.KerasTensor((*class_ids.shape, *rows[1:]), "float32")
        return (batch, keras.KerasTensor(rows, "float32")) if self.compact else batch

    def get_config(self):
        return {**super().get_config(), "compact": self.compact}

"""Weight decay as the original computes it."""

import keras
import tensorflow as tf

from mrcnn.common.keras_internals import all_layers
from mrcnn.networks.layers.base import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class MeanL2(keras.regularizers.Regularizer):
    """``rate`` times the mean, not the sum, of a tensor's squares: hardly any decay for a large
    kernel.
    """

    def __init__(self, rate):
        self.rate = float(rate)

    def __call__(self, weight):
        weight = tf.convert_to_tensor(weight)
        # one pass over the weights, and one for their gradient; the mean of the squares takes three
        # of each
        return self._factor(weight) * tf.nn.l2_loss(weight)

    def gradient(self, weight):
        """Gradient of the penalty: a tensor of the shape of ``weight``."""
        weight = tf.convert_to_tensor(weight)
        return self._factor(weight) * weight

    def _factor(self, weight):
        return 2.0 * self.rate / weight.shape.num_elements()

    def get_config(self):
        return {"rate": self.rate}


def add_weight_decay(model, rate):
    """Regularise every kernel and bias of a model; Keras counts those that are trainable.

    Scales and shifts of normalisation layers are left alone.
    """
    regularizer = MeanL2(rate)
    for layer in all_layers(model):
        for attribute in ("kernel", "bias"):
            variable = getattr(layer, attribute, None)
            if not isinstance(variable, keras.Variable):
                continue
            variable.regularizer = regularizer
            # the layer's own setting is what serialisation keeps
            depthwise = attribute == "kernel" and hasattr(layer, "depthwise_regularizer")
            setattr(
                layer,
                "depthwise_regularizer" if depthwise else f"{attribute}_regularizer",
                regularizer,
            )


def decay_penalty(variables):
    """Sum of the `MeanL2` penalties of variables: a scalar, 0 where none has one."""
    return sum((v.regularizer(v) for v in variables if _decays(v)), tf.zeros(()))


def decay_gradient(variable):
    """Gradient of a variable's `MeanL2` penalty, or None where it has none."""
    return variable.regularizer.gradient(variable) if _decays(variable) else None


def other_penalties(variables):
    """List of the penalties of variables whose regularizer is another one than `MeanL2`."""
    return [
        variable.regularizer(variable)
        for variable in variables
        if variable.regularizer is not None and not _decays(variable)
    ]


def _decays(variable):
    return isinstance(variable.regularizer, MeanL2)

"""Weight decay as the original computes it."""

import keras
import tensorflow as tf

from mrcnn.layers.base import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class MeanL2(keras.regularizers.Regularizer):
    """``rate`` times the mean, not the sum, of a tensor's squares: hardly any decay for a large kernel."""

    def __init__(self, rate):
        self.rate = float(rate)

    def __call__(self, weight):
        weight = tf.convert_to_tensor(weight)
        # one pass over the weights, and one for their gradient; the mean of the squares takes three of each
        return 2.0 * self.rate / tf.cast(tf.size(weight), weight.dtype) * tf.nn.l2_loss(weight)

    def get_config(self):
        return {"rate": self.rate}


def add_weight_decay(model, rate):
    """Regularise every kernel and bias of a model; Keras counts those that are trainable.

    Scales and shifts of normalisation layers are left alone.
    """
    regularizer = MeanL2(rate)
    for layer in model._flatten_layers(include_self=False):
        for attribute in ("kernel", "bias"):
            variable = getattr(layer, attribute, None)
            if not isinstance(variable, keras.Variable):
                continue
            variable.regularizer = regularizer
            # the layer's own setting is what serialisation keeps
            depthwise = attribute == "kernel" and hasattr(layer, "depthwise_regularizer")
            setattr(layer, "depthwise_regularizer" if depthwise else f"{attribute}_regularizer", regularizer)

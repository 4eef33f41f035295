"""Weight decay as the original computes it."""

import contextlib
import threading

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE

_apart = threading.local()


@contextlib.contextmanager
def decay_apart():
    """Meanwhile a `MeanL2` gives its value without a gradient, which `with_decay` adds to that of
    the other losses.

    By itself TensorFlow computes the decay's gradient before any other, since it needs nothing but
    the weights, and keeps it, as large as all weights, until theirs are there at the end of a step.
    In this thread alone.
    """
    _apart.active = True
    try:
        yield
    finally:
        _apart.active = False


def with_decay(gradient, variable):
    """The gradient of all losses for a variable, within `decay_apart`; elsewhere what is given."""
    regularizer = getattr(variable, "regularizer", None)
    if not getattr(_apart, "active", False) or not isinstance(regularizer, MeanL2):
        return gradient
    if gradient is None:
        return regularizer.gradient(variable)
    with tf.control_dependencies([gradient]):
        return gradient + regularizer.gradient(variable)


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
        penalty = self._factor(weight) * tf.nn.l2_loss(weight)
        return tf.stop_gradient(penalty) if getattr(_apart, "active", False) else penalty

    def gradient(self, weight):
        """Of the penalty."""
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
    for layer in model._flatten_layers(include_self=False):
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

"""Losses as outputs of a network."""

import keras

from mrcnn.networks.layers.base import GraphLayer


class LossLayer(GraphLayer):
    """A scalar loss as a layer; subclasses name its ``function`` of the inputs.

    Args:
        weight: ``Config.LOSS_WEIGHTS`` of this loss. The layer's output is not weighted: a training
            step multiplies it (`training.step`).

    Attributes:
        tracker: keras.metrics.Mean of the weighted losses, named like the layer, for the logs.
    """

    def __init__(self, weight=1.0, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight
        self.tracker = keras.metrics.Mean(name=self.name)

    def call(self, inputs):
        return self.function(*inputs)

    def compute_output_shape(self, input_shape):
        return ()

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


def loss_names(model: keras.Model) -> list[str]:
    """Names of the losses among a model's outputs, in their order."""
    return [name for name in model.output_names if isinstance(model.get_layer(name), LossLayer)]

"""Layers and variables under the names that they have in the original's files."""

import numpy as np

from mrcnn.weights.load import layer_weights


class LayerView:
    """A layer whose weights have the names of the original's files, such as "conv1/kernel:0".

    It passes for a layer of Keras' own class: a subclass of Conv2D made here reads "Conv2D".
    """

    def __init__(self, layer):
        object.__setattr__(self, "_layer", layer)

    @property  # type: ignore[misc]  # read-only: Keras' own class, to whoever asks
    def __class__(self):
        return next(cls for cls in type(self._layer).__mro__ if cls.__module__.startswith("keras"))

    @property
    def weights(self):
        """The variables, renamed."""
        return [WeightView(name, variable) for name, variable in layer_weights(self._layer)]

    def __getattr__(self, name):
        return getattr(self._layer, name)

    def __setattr__(self, name, value):
        setattr(self._layer, name, value)


class WeightView:
    """A variable under another name."""

    def __init__(self, name, variable):
        self.name = name
        self._variable = variable

    def __getattr__(self, name):
        return getattr(self._variable, name)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._variable, dtype)

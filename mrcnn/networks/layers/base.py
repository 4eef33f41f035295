"""What the layers that read a ``Config`` share."""

import keras
import numpy as np

PACKAGE = "mrcnn"  # the name under which Keras registers these classes


class GraphLayer(keras.layers.Layer):
    """A float32 layer without weights, around kernels that XLA does not have.

    Subclasses list in ``CONFIG_FIELDS`` the settings they need. ``config`` may be a
    ``Config`` or a dict of those fields, which is what serialisation gives back.
    """

    CONFIG_FIELDS: tuple[str, ...] = ()

    def __init__(self, config=None, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.supports_jit = False
        self.settings = {}
        for field in self.CONFIG_FIELDS:
            value = config[field] if isinstance(config, dict) else getattr(config, field)
            self.settings[field] = value.tolist() if isinstance(value, np.ndarray) else value

    def get_config(self):
        config = super().get_config()
        if self.CONFIG_FIELDS:
            config["config"] = dict(self.settings)
        return config

"""What the layers that read a ``Config`` share."""

from types import SimpleNamespace

import keras
import numpy as np

from mrcnn.config import Config

PACKAGE = "mrcnn"  # the name under which Keras registers these classes


class GraphLayer(keras.layers.Layer):
    """A float32 layer without weights, around kernels that XLA does not have.

    Subclasses list in ``CONFIG_FIELDS`` the settings they need. ``config`` may be a
    ``Config`` or a dict of those fields, which is what serialisation gives back. A field that the
    dict lacks has its default: files of earlier versions lack those that came later. One that is
    computed from others has none, and is None. So have all fields where ``config`` is None.
    """

    CONFIG_FIELDS: tuple[str, ...] = ()

    def __init__(self, config=None, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.supports_jit = False
        self.settings = {}
        if config is None or isinstance(config, dict):
            known = {**dict.fromkeys(self.CONFIG_FIELDS), **Config.field_defaults()}
            config = SimpleNamespace(**{**known, **(config or {})})
        for field in self.CONFIG_FIELDS:
            value = getattr(config, field)
            self.settings[field] = value.tolist() if isinstance(value, np.ndarray) else value

    def get_config(self):
        config = super().get_config()
        if self.CONFIG_FIELDS:
            config["config"] = dict(self.settings)
        return config

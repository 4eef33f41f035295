"""Keras' backend, which is chosen before Keras is imported: here it can be TensorFlow alone."""

import os
import warnings


def warn_of_other_backend() -> None:
    """Warn where KERAS_BACKEND names another backend than TensorFlow.

    Configurations and data need none. Importing ``mrcnn.model`` ends in Keras' own error where that
    backend is not installed, and making a network in one of `networks.dtype_policy`.
    """
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        warnings.warn(
            f"KERAS_BACKEND is {backend!r}, and the networks of mrcnn run on TensorFlow alone: set "
            "it to tensorflow, or remove it, before Keras is imported",
            stacklevel=3,
        )

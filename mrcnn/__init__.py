"""Mask R-CNN (He et al. 2017) on TensorFlow 2 and Keras 3.

Importing this package imports nothing heavy: ``mrcnn.config`` and ``mrcnn.data``
need no TensorFlow, ``mrcnn.model`` brings it in, and so does the first use of ``load_model``.
"""

from typing import TYPE_CHECKING

import lazy_loader

from mrcnn.common import keras_backend, quiet

if TYPE_CHECKING:
    from mrcnn.model import load_model as load_model

__version__ = "1.0.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"model": ["load_model"]})

keras_backend.warn_of_other_backend()
quiet.at_import_of_tensorflow()

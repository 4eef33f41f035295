"""What a trained network finds in images, files, folders, videos and cameras.

``Result`` is what `MaskRCNN.detect` returns for each image. It is loaded when it is first used, and
needs no TensorFlow.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mrcnn.inference.result import Result as Result

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"result": ["Result"]})

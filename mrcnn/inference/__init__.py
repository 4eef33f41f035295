"""What a trained network finds in images, files, folders, videos and cameras.

``Result`` is what `MaskRCNN.detect` returns for each image, ``SemanticResult`` what
`Segmenter.segment` does. They are loaded when they are first used, and need no TensorFlow.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mrcnn.inference.result import Result as Result
    from mrcnn.inference.semantic_result import SemanticResult as SemanticResult

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"result": ["Result"], "semantic_result": ["SemanticResult"]}
)

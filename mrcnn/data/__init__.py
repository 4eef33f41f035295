"""From annotated images to training batches. NumPy only: no TensorFlow, except in `data.cache`.

``Dataset``, ``open_dataset`` and ``read_image`` are loaded when they are first used, so that
reading one annotation file costs one import.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset as Dataset
    from mrcnn.data.formats import open_dataset as open_dataset
    from mrcnn.data.images import read_image as read_image

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dataset": ["Dataset"],
        "formats": ["open_dataset"],
        "images": ["read_image"],
    },
)

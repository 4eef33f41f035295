"""A data set as TFRecord files: images at training size with their masks, read by tf.data.

Use it for data sets whose ``load_image`` and ``load_mask`` take longer than the network.
``write_records`` writes a cache, ``RecordDataset`` is a ``Dataset`` to train on. This is the only
part of ``mrcnn.data`` that needs TensorFlow, and it is loaded when one of them is first used.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mrcnn.data.cache.dataset import RecordDataset as RecordDataset
    from mrcnn.data.cache.write import write_records as write_records

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"dataset": ["RecordDataset"], "write": ["write_records"]}
)

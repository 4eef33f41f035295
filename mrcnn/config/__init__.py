"""Which settings: ``Config`` and ``SegmentationConfig`` with every field and its reason, the rules
of the fields, and config.json.

No module of this room imports TensorFlow.
"""

from mrcnn.config.derived import DERIVED_FIELDS
from mrcnn.config.fields import Config
from mrcnn.config.presets import ModernConfig, TorchvisionV1Config, TorchvisionV2Config
from mrcnn.config.segmentation import SegmentationConfig

__all__ = [
    "DERIVED_FIELDS",
    "Config",
    "ModernConfig",
    "SegmentationConfig",
    "TorchvisionV1Config",
    "TorchvisionV2Config",
]

"""Fields of `Config` that belong together, as classes to use or to subclass.

A preset holds nothing but fields. `Config` itself is matterport's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mrcnn.config.coco_names import COCO_NAMES_BY_ID
from mrcnn.config.fields import Config

_NAMES = [
    f"N/A {number}" if name == "N/A" else name for number, name in enumerate(COCO_NAMES_BY_ID)
]


class TorchvisionV1Config(Config):
    """torchvision's ``maskrcnn_resnet50_fpn``, whose weights reach 37.9 box and 34.6 mask AP on
    COCO val2017 by its authors' figures.

    With its file every stage computes what torchvision 0.29 computes, but for the last digits of
    float32; tests/torchvision compares them.
    """

    NAME = PRESET = "torchvision_v1"
    BACKBONE = "resnet50"
    STRIDE_IN_3X3 = True
    # 1 to 90 are COCO's ids, of which ten have no category; a name tells one class from another
    NUM_CLASSES = 91
    CLASS_NAMES = _NAMES

    # of the values 0..1, by which torchvision divides and subtracts: (0.485, 0.456, 0.406) * 255
    MEAN_PIXEL = np.array([123.675, 116.28, 103.53])
    IMAGE_RESIZE_MODE = "fit"
    IMAGE_MIN_DIM = 800
    IMAGE_MAX_DIM = 1333

    RPN_CONV_CHANNELS = 256
    # width / height; torchvision's are height / width, in rising order
    RPN_ANCHOR_RATIOS = (2, 1, 0.5)
    RPN_ANCHORS_ROUNDED = True
    RPN_STRIDES_FROM_SIZES = True
    RPN_BBOX_STD_DEV = np.array([1.0, 1.0, 1.0, 1.0])
    BOX_SHIFT = 0
    BBOX_LOG_SCALE_LIMIT = math.log(1000 / 16)
    PROPOSALS_PER_LEVEL = True
    PRE_NMS_LIMIT = 1000
    PRE_NMS_LIMIT_TRAINING = 2000
    PROPOSAL_MIN_SIZE = 0.001
    CLIP_PROPOSALS_TO_WINDOW = True

    ROI_LEVEL_FLOOR = True
    ROI_ALIGN = "sampled"

    DETECTION_MULTI_CLASS = True
    DETECTION_MIN_CONFIDENCE = 0.05
    DETECTION_NMS_THRESHOLD = 0.5
    DETECTION_MIN_SIZE = 0.01
    MASK_PASTE = "padded"

    TRAIN_ROIS_PER_IMAGE = 512
    ROI_POSITIVE_RATIO = 0.25
    ROI_FILL_NEGATIVES = True
    ROI_ADD_GT = True
    MASK_TARGETS = "soft"
    SMOOTH_L1_BETA = 1 / 9


class TorchvisionV2Config(TorchvisionV1Config):
    """torchvision's ``maskrcnn_resnet50_fpn_v2``, whose weights reach 47.4 box and 41.8 mask AP on
    COCO val2017 by its authors' figures (Li et al. 2021, "Benchmarking Detection Transfer Learning
    with Vision Transformers", has the recipe).
    """

    NAME = PRESET = "torchvision_v2"
    RPN_CONV_LAYERS = 2
    BOX_HEAD_CONVS = 4
    BOX_HEAD_FCS = 1


class ModernConfig(Config):
    """For trainings from ImageNet's weights or from none: the papers' RoIAlign and pyramid levels,
    He's initial weights, objects among proposals, mask targets at the centres of cells, and AdamW
    with a falling rate.

    It fits the layers of matterport's files. docs/accuracy.md says what each field brings.
    """

    NAME = PRESET = "modern"
    HEAD_INIT = "torchvision"
    ROI_ALIGN = "aligned"
    ROI_LEVEL_FLOOR = True
    ROI_ADD_GT = True
    MASK_TARGETS = "sampled"
    MASK_PASTE = "padded"
    OPTIMIZER = "AdamW"
    OPTIMIZER_OPTIONS = {"weight_decay": 0.05}
    WEIGHT_DECAY = 0.0
    LEARNING_RATE = 0.0005
    LEARNING_RATE_SCHEDULE = "cosine"
    # without it AdamW's first steps spoil the backbone: mask AP75 falls from .42 to .21 (one run)
    LEARNING_RATE_WARMUP_STEPS = 50


# Words for presets, as commands take them.
PRESETS: dict[str, type[Config]] = {
    "matterport": Config,
    "modern": ModernConfig,
    "torchvision_v1": TorchvisionV1Config,
    "torchvision_v2": TorchvisionV2Config,
}


def preset_fields(preset: type[Config]) -> dict[str, Any]:
    """The fields that a preset sets, its NAME aside; of `Config` itself none."""
    fields: dict[str, Any] = {}
    for kind in reversed(preset.__mro__[: preset.__mro__.index(Config)]):
        fields.update({name: value for name, value in vars(kind).items() if name.isupper()})
    fields.pop("NAME", None)
    return fields

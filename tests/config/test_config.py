"""Config: the original's defaults, derived fields, validation, display, dicts."""

import inspect
import json
import subprocess
import sys
import warnings

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.config.choices import APPLICATIONS, MISFITS
from mrcnn.config.rules import TABLE
from mrcnn.config.rules_of_several import RULES_OF_SEVERAL
from mrcnn.ops.boxes_np import MAX_LOG_SCALE
from tests.paths import ROOT


def build(**fields):
    """A Config subclass with the given fields, instantiated."""
    return type("SomeConfig", (Config,), fields)()


def shapes_of(image_shape):
    return np.array([[image_shape[0] // s, image_shape[1] // s] for s in (4, 8, 16, 32, 64)])


def graph_of(image, architecture, stage5=False, train_bn=None):
    raise NotImplementedError("only its name is used here")


# === Defaults and derived fields ===

# The original's, from its documentation of Config.
ORIGINAL = {
    "NAME": None,
    "GPU_COUNT": 1,
    "IMAGES_PER_GPU": 2,
    "STEPS_PER_EPOCH": 1000,
    "VALIDATION_STEPS": 50,
    "BACKBONE": "resnet101",
    "COMPUTE_BACKBONE_SHAPE": None,
    "BACKBONE_STRIDES": [4, 8, 16, 32, 64],
    "FPN_CLASSIF_FC_LAYERS_SIZE": 1024,
    "TOP_DOWN_PYRAMID_SIZE": 256,
    "NUM_CLASSES": 1,
    "RPN_ANCHOR_SCALES": (32, 64, 128, 256, 512),
    "RPN_ANCHOR_RATIOS": [0.5, 1, 2],
    "RPN_ANCHOR_STRIDE": 1,
    "RPN_NMS_THRESHOLD": 0.7,
    "RPN_TRAIN_ANCHORS_PER_IMAGE": 256,
    "PRE_NMS_LIMIT": 6000,
    "POST_NMS_ROIS_TRAINING": 2000,
    "POST_NMS_ROIS_INFERENCE": 1000,
    "USE_MINI_MASK": True,
    "MINI_MASK_SHAPE": (56, 56),
    "IMAGE_RESIZE_MODE": "square",
    "IMAGE_MIN_DIM": 800,
    "IMAGE_MAX_DIM": 1024,
    "IMAGE_MIN_SCALE": 0,
    "IMAGE_CHANNEL_COUNT": 3,
    "TRAIN_ROIS_PER_IMAGE": 200,
    "ROI_POSITIVE_RATIO": 0.33,
    "POOL_SIZE": 7,
    "MASK_POOL_SIZE": 14,
    "MASK_SHAPE": [28, 28],
    "MAX_GT_INSTANCES": 100,
    "DETECTION_MAX_INSTANCES": 100,
    "DETECTION_MIN_CONFIDENCE": 0.7,
    "DETECTION_NMS_THRESHOLD": 0.3,
    "LEARNING_RATE": 0.001,
    "LEARNING_MOMENTUM": 0.9,
    "WEIGHT_DECAY": 0.0001,
    "USE_RPN_ROIS": True,
    "TRAIN_BN": False,
    "GRADIENT_CLIP_NORM": 5.0,
    "BATCH_SIZE": 2,
    "IMAGE_META_SIZE": 13,
    "LOSS_WEIGHTS": {
        name: 1.0
        for name in (
            "rpn_class_loss",
            "rpn_bbox_loss",
            "mrcnn_class_loss",
            "mrcnn_bbox_loss",
            "mrcnn_mask_loss",
        )
    },
}
ORIGINAL_ARRAYS = {
    "MEAN_PIXEL": [123.7, 116.8, 103.9],
    "RPN_BBOX_STD_DEV": [0.1, 0.1, 0.2, 0.2],
    "BBOX_STD_DEV": [0.1, 0.1, 0.2, 0.2],
    "IMAGE_SHAPE": [1024, 1024, 3],
}
TRAINING_DATA = {
    "CLASS_WEIGHTS": None,
    "IMAGE_SAMPLING": None,
    "REPEAT_THRESHOLD": None,
    "KEEP_EMPTY_IMAGES": False,
    "SCALE_JITTER": None,
    "COPY_PASTE": 0.0,
}
OPTIMIZER = {
    "OPTIMIZER": "SGD",
    "OPTIMIZER_OPTIONS": {},
    "LEARNING_RATE_SCHEDULE": None,
    "LEARNING_RATE_WARMUP_STEPS": 0,
    "LEARNING_RATE_WARMUP_FACTOR": 0.001,
    "LEARNING_RATE_DROP_EPOCHS": (),
    "LEARNING_RATE_DROP_FACTOR": 0.1,
    "LEARNING_RATE_END_FACTOR": 0.0,
    "EMA_MOMENTUM": None,
    "GRADIENT_ACCUMULATION_STEPS": 1,
    "DTYPE_POLICY": "float32",
    "FREEZE_BACKBONE_STAGES": 0,
}
MODERN = {
    "STRIDE_IN_3X3": False,
    "RPN_CONV_LAYERS": 1,
    "RPN_ANCHORS_ROUNDED": False,
    "RPN_STRIDES_FROM_SIZES": False,
    "BOX_SHIFT": 1,
    "BBOX_LOG_SCALE_LIMIT": MAX_LOG_SCALE,
    "PROPOSALS_PER_LEVEL": False,
    "PRE_NMS_LIMIT_TRAINING": None,
    "PROPOSAL_MIN_SIZE": 0.0,
    "CLIP_PROPOSALS_TO_WINDOW": False,
    "ROI_LEVEL_FLOOR": False,
    "ROI_ALIGN": "crop",
    "BOX_HEAD_CONVS": 0,
    "BOX_HEAD_CHANNELS": 256,
    "BOX_HEAD_FCS": 2,
    "DETECTION_MULTI_CLASS": False,
    "DETECTION_MIN_SIZE": 0.0,
    "SOFT_NMS_SIGMA": 0.0,
    "MASK_PASTE": "resize",
    "RPN_IGNORE_CROSSING": False,
    "ROI_ADD_GT": False,
    "ROI_FILL_NEGATIVES": False,
    "MASK_TARGETS": "crop",
    "PRESET": "matterport",
    "HEAD_INIT": "glorot",
    "BBOX_LOSS": "smooth_l1",
    "SMOOTH_L1_BETA": 1.0,
    "RESNEXT_GROUPS": 32,
    "RESNEXT_WIDTH": 4,
    "TEST_FLIPS": False,
    "TEST_SCALES": (),
    "CLASS_AGNOSTIC_BOXES": False,
    "CLASS_AGNOSTIC_MASKS": False,
    "MASK_LOSS": "sigmoid",
    "MASK_HEAD": "fcn",
    "MASK_HEAD_DECONVS": 1,
    "HARD_EXAMPLES": 0,
}
ADDED = {
    **TRAINING_DATA,
    **OPTIMIZER,
    **MODERN,
    "BACKBONE_WIDTH": 64,
    "RPN_CONV_CHANNELS": 512,
    "MASK_HEAD_CHANNELS": 256,
    "STOP_PROPOSAL_GRADIENT": False,
    "FIRST_IMAGE_RULES_CLASSES": False,
    "RPN_POSITIVE_IOU": 0.7,
    "RPN_NEGATIVE_IOU": 0.3,
    "ROI_POSITIVE_IOU": 0.5,
    "SEED": None,
    "REMATERIALIZE": False,
    "CLASS_NAMES": None,
    "STATES_KEPT": 2,
    "IMAGE_RANGE": None,
    "IMAGE_MAX_PIXELS": 178_956_970,
}


def test_defaults_are_the_originals():
    config = Config()
    for field, value in {**ORIGINAL, **ADDED}.items():
        assert getattr(config, field) == value, field
        assert type(getattr(config, field)) is type(value), field
    for field, value in ORIGINAL_ARRAYS.items():
        assert isinstance(getattr(config, field), np.ndarray), field
        assert getattr(config, field).tolist() == value, field
    fields = {name for name in dir(config) if name.isupper()}
    assert fields == set(ORIGINAL) | set(ORIGINAL_ARRAYS) | set(ADDED)


@pytest.mark.parametrize(
    "mode, side", [("square", 640), ("pad64", 640), ("none", 640), ("crop", 128), ("fit", 640)]
)
def test_derived_fields(mode, side):
    config = build(
        IMAGE_RESIZE_MODE=mode,
        IMAGE_MIN_DIM=128,
        IMAGE_MAX_DIM=640,
        GPU_COUNT=3,
        IMAGES_PER_GPU=4,
        NUM_CLASSES=7,
        IMAGE_CHANNEL_COUNT=4,
        MEAN_PIXEL=np.zeros(4),
    )
    assert config.IMAGE_SHAPE.tolist() == [side, side, 4]
    assert config.BATCH_SIZE == 12
    assert config.IMAGE_META_SIZE == 12 + 7


def test_images_that_fit_are_trained_on_in_squares_of_multiples_of_64():
    assert build(IMAGE_RESIZE_MODE="fit", IMAGE_MAX_DIM=1333).IMAGE_SHAPE.tolist() == [
        1344,
        1344,
        3,
    ]


def test_fractional_steps_round_up_as_they_ran_in_the_original():
    config = build(STEPS_PER_EPOCH=61 / 2, VALIDATION_STEPS=4.0)
    assert (config.STEPS_PER_EPOCH, config.VALIDATION_STEPS) == (31, 4)
    assert type(config.VALIDATION_STEPS) is int


# === Validation ===

WRONG = [
    # fields, words of the message
    ({"BOX_SHIFT": 2}, ["BOX_SHIFT is 2", "0 or 1"]),
    ({"ROI_ALIGN": "align"}, ["ROI_ALIGN is 'align'", "crop, sampled, aligned, pool, warp"]),
    ({"MASK_PASTE": None}, ["MASK_PASTE is None", "resize, padded"]),
    ({"MASK_TARGETS": "full"}, ["MASK_TARGETS is 'full'", "crop, sampled, soft"]),
    ({"PRESET": "best"}, ["PRESET is 'best'", "matterport, modern, torchvision_v1"]),
    ({"HEAD_INIT": "he"}, ["HEAD_INIT is 'he'", "glorot, torchvision, detectron2"]),
    ({"BBOX_LOSS": "iou"}, ["BBOX_LOSS is 'iou'", "smooth_l1, giou"]),
    ({"SMOOTH_L1_BETA": 0}, ["SMOOTH_L1_BETA is 0", "positive"]),
    ({"BBOX_LOG_SCALE_LIMIT": -1.0}, ["BBOX_LOG_SCALE_LIMIT is -1.0", "positive"]),
    ({"BOX_HEAD_CONVS": -1}, ["BOX_HEAD_CONVS is -1", "at least 0"]),
    ({"BOX_HEAD_FCS": 0}, ["BOX_HEAD_FCS is 0", "at least 1"]),
    ({"RPN_CONV_LAYERS": 0}, ["RPN_CONV_LAYERS is 0", "at least 1"]),
    ({"PRE_NMS_LIMIT_TRAINING": 0}, ["PRE_NMS_LIMIT_TRAINING is 0", "None or an int"]),
    ({"PROPOSAL_MIN_SIZE": -0.1}, ["PROPOSAL_MIN_SIZE is -0.1", "at least 0"]),
    ({"DETECTION_MIN_SIZE": None}, ["DETECTION_MIN_SIZE is None", "at least 0"]),
    ({"SOFT_NMS_SIGMA": float("nan")}, ["SOFT_NMS_SIGMA is nan", "at least 0"]),
    ({"ROI_ADD_GT": 1.5}, ["ROI_ADD_GT is 1.5", "True or False"]),
    ({"SCALE_JITTER": 2.0}, ["SCALE_JITTER is 2.0", "(0.8, 1.25)"]),
    ({"LEARNING_RATE": 10**400}, ["LEARNING_RATE is 1000", "a finite number"]),
    ({"IMAGE_CHANNEL_COUNT": 10**30}, ["MEAN_PIXEL is", "one mean per channel"]),
    ({"SCALE_JITTER": (2, 1)}, ["SCALE_JITTER is (2, 1)"]),
    ({"SCALE_JITTER": (0, 1)}, ["SCALE_JITTER is (0, 1)"]),
    ({"SCALE_JITTER": (0.1, 1, 2)}, ["SCALE_JITTER is"]),
    ({"IMAGE_RANGE": (4095, 0)}, ["IMAGE_RANGE is (4095, 0)", "such as (0, 4095)"]),
    ({"IMAGE_RANGE": 4095}, ["IMAGE_RANGE is 4095"]),
    ({"IMAGE_RANGE": (0, float("nan"))}, ["IMAGE_RANGE is"]),
    ({"COPY_PASTE": 1.5}, ["COPY_PASTE is 1.5", "from 0 to 1"]),
    ({"COPY_PASTE": True}, ["COPY_PASTE is True"]),
    ({"KEEP_EMPTY_IMAGES": None}, ["KEEP_EMPTY_IMAGES is None", "True or False"]),
    ({"IMAGE_SAMPLING": "rare"}, ["IMAGE_SAMPLING is 'rare'", "'balanced' or a callable"]),
    ({"IMAGE_SAMPLING": [1, 2]}, ["IMAGE_SAMPLING is [1, 2]"]),
    ({"REPEAT_THRESHOLD": 0}, ["REPEAT_THRESHOLD is 0"]),
    ({"REPEAT_THRESHOLD": 2}, ["REPEAT_THRESHOLD is 2"]),
    (
        {"CLASS_WEIGHTS": {7: 1}, "NUM_CLASSES": 3},
        ["CLASS_WEIGHTS has the key 7", "ids go from 0 to 2"],
    ),
    ({"CLASS_WEIGHTS": {"cat": 1}}, ["CLASS_WEIGHTS has the key 'cat'", "set CLASS_NAMES"]),
    (
        {"CLASS_NAMES": ["BG", "cat", "dog"], "NUM_CLASSES": 2},
        ["CLASS_NAMES has 3 names", "NUM_CLASSES is 2"],
    ),
    ({"CLASS_NAMES": "BG"}, ["CLASS_NAMES is 'BG'", "list of str"]),
    ({"CLASS_NAMES": [0]}, ["CLASS_NAMES is [0]", "list of str"]),
    ({"IMAGE_MAX_DIM": 1000}, ["IMAGE_MAX_DIM is 1000", "multiple of 64", "960 or 1024"]),
    ({"IMAGE_MAX_DIM": 32, "IMAGE_MIN_DIM": 0}, ["IMAGE_MAX_DIM is 32", "times: 64"]),
    ({"IMAGE_MAX_DIM": 512.0}, ["IMAGE_MAX_DIM is 512.0", "positive int"]),
    ({"IMAGE_RESIZE_MODE": "crop", "IMAGE_MIN_DIM": 500}, ["IMAGE_MIN_DIM is 500", "448 or 512"]),
    ({"IMAGE_RESIZE_MODE": "crop", "IMAGE_MIN_DIM": 0}, ["IMAGE_MIN_DIM is 0", "crop"]),
    ({"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 500}, ["IMAGE_MIN_DIM is 500", "pad64"]),
    ({"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": None}, ["IMAGE_MIN_DIM is None", "pad64"]),
    ({"IMAGE_MIN_DIM": -1}, ["IMAGE_MIN_DIM is -1"]),
    ({"IMAGE_MIN_DIM": 1088}, ["IMAGE_MIN_DIM is 1088 and IMAGE_MAX_DIM is 1024"]),
    (
        {"IMAGE_RESIZE_MODE": "pad"},
        ["IMAGE_RESIZE_MODE is 'pad'", "square, rect, pad64, crop, fit, none"],
    ),
    ({"IMAGE_MIN_SCALE": -2}, ["IMAGE_MIN_SCALE is -2"]),
    ({"MEAN_PIXEL": np.array([1.0, 2.0])}, ["MEAN_PIXEL", "3 finite numbers"]),
    ({"MEAN_PIXEL": [1.0, 2.0, float("nan")]}, ["MEAN_PIXEL", "finite"]),
    (
        {"IMAGE_CHANNEL_COUNT": 1},
        [
            "MEAN_PIXEL is array([123.7, 116.8, 103.9]) but IMAGE_CHANNEL_COUNT is 1",
            "IMAGE_CHANNEL_COUNT = 1\n",
            "MEAN_PIXEL = np.array([123.7])",
        ],
    ),
    ({"NUM_CLASSES": 0}, ["NUM_CLASSES is 0", "background"]),
    ({"NUM_CLASSES": 2.0}, ["NUM_CLASSES is 2.0", "int"]),
    ({"NUM_CLASSES": True}, ["NUM_CLASSES is True"]),
    ({"NAME": 5}, ["NAME is 5"]),
    ({"GPU_COUNT": 0}, ["GPU_COUNT is 0", "at least 1"]),
    ({"IMAGES_PER_GPU": 0}, ["IMAGES_PER_GPU is 0"]),
    ({"STEPS_PER_EPOCH": float("nan")}, ["STEPS_PER_EPOCH is nan"]),
    ({"VALIDATION_STEPS": 0}, ["VALIDATION_STEPS is 0"]),
    ({"TRAIN_ROIS_PER_IMAGE": "200"}, ["TRAIN_ROIS_PER_IMAGE is '200'"]),
    ({"BACKBONE_WIDTH": 0}, ["BACKBONE_WIDTH is 0"]),
    ({"DETECTION_MIN_CONFIDENCE": 70}, ["DETECTION_MIN_CONFIDENCE is 70", "from 0 to 1"]),
    ({"DETECTION_NMS_THRESHOLD": None}, ["DETECTION_NMS_THRESHOLD is None"]),
    ({"RPN_NMS_THRESHOLD": -0.1}, ["RPN_NMS_THRESHOLD is -0.1"]),
    ({"ROI_POSITIVE_RATIO": 0}, ["ROI_POSITIVE_RATIO is 0"]),
    ({"ROI_POSITIVE_IOU": 0}, ["ROI_POSITIVE_IOU is 0", "above 0"]),
    ({"RPN_POSITIVE_IOU": 1.5}, ["RPN_POSITIVE_IOU is 1.5"]),
    ({"RPN_NEGATIVE_IOU": None}, ["RPN_NEGATIVE_IOU is None"]),
    ({"RPN_POSITIVE_IOU": 0.2}, ["RPN_NEGATIVE_IOU is 0.3 and RPN_POSITIVE_IOU is 0.2"]),
    ({"LOSS_WEIGHTS": {"mask_loss": 1.0}}, ["'mask_loss'", "mrcnn_mask_loss"]),
    ({"LOSS_WEIGHTS": {"rpn_bbox_loss": -1}}, ["LOSS_WEIGHTS['rpn_bbox_loss'] is -1"]),
    ({"LOSS_WEIGHTS": [1, 1]}, ["LOSS_WEIGHTS is [1, 1]", "dict"]),
    ({"BACKBONE": "Resnet-50"}, ["BACKBONE is 'Resnet-50'", "did you mean", "resnet50"]),
    ({"BACKBONE": "mobilenetv2"}, ["did you mean MobileNetV2"]),
    ({"BACKBONE": "zzz"}, ["BACKBONE is 'zzz'", "resnet101", "EfficientNetV2S"]),
    ({"BACKBONE": "Xception"}, ["stem", "ConvNeXtTiny"]),
    ({"BACKBONE": "my.module:graph"}, ["never imports code"]),
    ({"BACKBONE": None}, ["BACKBONE is None", "callable"]),
    ({"BACKBONE": staticmethod(graph_of)}, ["COMPUTE_BACKBONE_SHAPE is None", "[5, 2]"]),
    ({"BACKBONE_STRIDES": [4, 8, 16, 32]}, ["BACKBONE_STRIDES is [4, 8, 16, 32]", "do not fall"]),
    ({"BACKBONE_STRIDES": [4, 8, 8, 16, 32]}, ["BACKBONE_STRIDES"]),
    (
        {"BACKBONE_STRIDES": [2, 4, 8, 16, 32]},
        ["levels of resnet101 have the strides [4, 8, 16, 32, 64] or, dilated, [4, 8, 16, 16, 32]"],
    ),
    (
        {"BACKBONE_STRIDES": [4, 8, 16, 16, 32], "BACKBONE": "MobileNetV2"},
        ["levels of MobileNetV2 have the strides [4, 8, 16, 32, 64]; others"],
    ),
    ({"BACKBONE_STRIDES": [4, 8, 32, 16, 64]}, ["do not fall"]),
    ({"RPN_ANCHOR_SCALES": (32, 64, 128)}, ["RPN_ANCHOR_SCALES is (32, 64, 128)", "5 positive"]),
    ({"RPN_ANCHOR_RATIOS": []}, ["RPN_ANCHOR_RATIOS is []"]),
    ({"RPN_ANCHOR_STRIDE": 0}, ["RPN_ANCHOR_STRIDE is 0"]),
    ({"BBOX_STD_DEV": np.array([0.1, 0.1, 0.2])}, ["BBOX_STD_DEV", "4 positive numbers"]),
    ({"RPN_BBOX_STD_DEV": [0.1, 0.1, 0.2, 0]}, ["RPN_BBOX_STD_DEV", "4 positive numbers"]),
    ({"TRAIN_BN": "yes"}, ["TRAIN_BN is 'yes'"]),
    ({"USE_RPN_ROIS": None}, ["USE_RPN_ROIS is None", "True or False"]),
    ({"MASK_SHAPE": [56, 56]}, ["MASK_SHAPE is [56, 56]", "[28, 28]"]),
    ({"MASK_SHAPE": (28,)}, ["MASK_SHAPE is (28,)", "2 positive ints"]),
    (
        {"MASK_HEAD_DECONVS": 2},
        ["MASK_SHAPE is [28, 28] but", "MASK_HEAD_DECONVS is 2", "it must be [56, 56]"],
    ),
    ({"MASK_HEAD_DECONVS": 5}, ["MASK_HEAD_DECONVS is 5", "from 0 to 4"]),
    ({"MASK_HEAD_DECONVS": True}, ["MASK_HEAD_DECONVS is True"]),
    ({"MASK_HEAD": "conv"}, ["MASK_HEAD is 'conv'", "fcn, mlp"]),
    ({"MASK_LOSS": "dice"}, ["MASK_LOSS is 'dice'", "sigmoid, softmax"]),
    (
        {"MASK_LOSS": "softmax", "CLASS_AGNOSTIC_MASKS": True},
        ['MASK_LOSS is "softmax" and CLASS_AGNOSTIC_MASKS is True', "several classes"],
    ),
    ({"CLASS_AGNOSTIC_BOXES": "no"}, ["CLASS_AGNOSTIC_BOXES is 'no'", "True or False"]),
    ({"HARD_EXAMPLES": -1}, ["HARD_EXAMPLES is -1", "at least 0"]),
    ({"HARD_EXAMPLES": 201}, ["HARD_EXAMPLES is 201", "TRAIN_ROIS_PER_IMAGE is 200"]),
    ({"MINI_MASK_SHAPE": (56, 0)}, ["MINI_MASK_SHAPE is (56, 0)"]),
    ({"LEARNING_RATE": float("inf")}, ["LEARNING_RATE is inf"]),
    ({"LEARNING_MOMENTUM": None}, ["LEARNING_MOMENTUM is None"]),
    ({"WEIGHT_DECAY": -1e-4}, ["WEIGHT_DECAY is -0.0001"]),
    ({"GRADIENT_CLIP_NORM": 0}, ["GRADIENT_CLIP_NORM is 0", "None"]),
    ({"SEED": -1}, ["SEED is -1"]),
    ({"SEED": 1.5}, ["SEED is 1.5"]),
]


@pytest.mark.parametrize(
    "fields, words", WRONG, ids=[f"{next(iter(f))}-{i}" for i, (f, _) in enumerate(WRONG)]
)
def test_wrong_field_is_named_with_its_value_and_a_remedy(fields, words):
    with pytest.raises(ValueError) as error:
        build(**fields)
    for word in words:
        assert word in str(error.value)
    assert "SomeConfig has 1 wrong field:" in str(error.value)


def test_every_field_has_a_rule():
    known = [name for rule in TABLE for name in rule.fields.split()]
    assert len(known) == len(set(known))
    known += [name for names, _ in RULES_OF_SEVERAL for name in names.split()]
    assert set(known) == {name for name in vars(Config) if name.isupper()}


def test_all_problems_come_in_one_message():
    with pytest.raises(ValueError, match="3 wrong fields") as error:
        build(NUM_CLASSES=0, IMAGE_MAX_DIM=100, IMAGE_MIN_DIM=0, TRAIN_BN=2)
    for field in ("NUM_CLASSES is 0", "IMAGE_MAX_DIM is 100", "TRAIN_BN is 2"):
        assert field in str(error.value)


RIGHT = [
    {"IMAGE_MIN_DIM": 0},
    {"IMAGE_MIN_DIM": None},
    {"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 0, "IMAGE_MAX_DIM": 1000},
    {"IMAGE_RESIZE_MODE": "crop", "IMAGE_MIN_DIM": 512, "IMAGE_MAX_DIM": 500},
    {"IMAGE_RESIZE_MODE": "none", "IMAGE_MAX_DIM": 500, "IMAGE_MIN_DIM": 700},
    {"IMAGE_CHANNEL_COUNT": 1, "MEAN_PIXEL": 127.5},
    {"IMAGE_CHANNEL_COUNT": 6, "MEAN_PIXEL": np.float32(0)},
    {"IMAGE_CHANNEL_COUNT": 1, "MEAN_PIXEL": [127]},
    {"NUM_CLASSES": np.int64(3)},
    {"RPN_ANCHOR_SCALES": np.array([8, 16, 32, 64, 128])},
    {"BACKBONE": "resnet50"},
    {"BACKBONE": "EfficientNetV2B0"},
    {"BACKBONE": staticmethod(graph_of), "COMPUTE_BACKBONE_SHAPE": staticmethod(shapes_of)},
    {"MASK_POOL_SIZE": 7, "MASK_SHAPE": (14, 14)},
    {"MASK_HEAD_DECONVS": 2, "MASK_SHAPE": [56, 56]},
    {"MASK_HEAD_DECONVS": 0, "MASK_SHAPE": [14, 14]},
    {"MASK_HEAD": "mlp", "MASK_SHAPE": [20, 24]},
    {"HARD_EXAMPLES": 200},
    {"USE_MINI_MASK": False, "MINI_MASK_SHAPE": None},
    {"DETECTION_MIN_CONFIDENCE": None},
    {"DETECTION_MIN_CONFIDENCE": 0},
    {"TRAIN_BN": None},
    {"TRAIN_BN": True},
    {"GRADIENT_CLIP_NORM": None},
    {"LOSS_WEIGHTS": {"rpn_class_loss": 2}},
    {"SEED": 0},
    {"USE_MINI_MASK": np.bool_(True)},
]


@pytest.mark.parametrize("fields", RIGHT, ids=[f"{next(iter(f))}-{i}" for i, f in enumerate(RIGHT)])
def test_right_fields_pass_without_a_warning(fields):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = build(**fields)
    for name in fields:
        assert hasattr(config, name)


def test_validate_sees_later_changes():
    config = Config()
    config.NUM_CLASSES = -4
    with pytest.raises(ValueError, match="NUM_CLASSES is -4"):
        config.validate()


@pytest.mark.parametrize(
    "typed, meant",
    [
        ("IMAGE_MIN_DIMM", "IMAGE_MIN_DIM"),
        ("IMAGE_PER_GPU", "IMAGES_PER_GPU"),
        ("NUM_CLASS", "NUM_CLASSES"),
        ("LEARNIG_RATE", "LEARNING_RATE"),
        ("STEPS_PER_EPOCHS", "STEPS_PER_EPOCH"),
        ("RPN_ANCHORSCALES", "RPN_ANCHOR_SCALES"),
    ],
)
def test_misspelt_field_warns(typed, meant):
    with pytest.warns(UserWarning, match=f"{typed} is not a field.* did you mean {meant}"):
        build(**{typed: 3})


@pytest.mark.parametrize(
    "own",
    ["TEST_ROIS_PER_IMAGE", "DETECTION_MASK_THRESHOLD", "SPEED", "DATASET_DIR", "image_min_dimm"],
)
def test_own_fields_pass_without_a_warning(own):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert getattr(build(**{own: 3}), own) == 3


@pytest.mark.parametrize("value", [0, np.False_, False])
def test_train_bn_is_a_bool(value):
    assert build(TRAIN_BN=value, REMATERIALIZE=True).TRAIN_BN is False


def test_a_batch_that_was_changed_on_the_instance():
    config = build(IMAGES_PER_GPU=2)
    config.IMAGES_PER_GPU = 1
    with pytest.raises(
        ValueError, match="BATCH_SIZE is still 2, though IMAGES_PER_GPU is now 1.*call __init__"
    ):
        config.validate()
    config.LEARNING_RATE = -1
    with pytest.raises(ValueError, match="(?s)LEARNING_RATE is -1.*BATCH_SIZE is still 2"):
        config.validate()
    config.LEARNING_RATE = 0.1
    config.BATCH_SIZE = 1  # by the user's own hand
    config.validate()
    config.__init__()
    assert config.BATCH_SIZE == 1


@pytest.mark.parametrize("field", ["IMAGE_PADDING", "BACKBONE_SHAPES"])
def test_field_of_the_first_version_warns(field):
    with pytest.warns(UserWarning, match=f"{field} does nothing"):
        build(**{field: True})


def test_applications_are_those_of_keras():
    from keras import applications

    there = {name for name in dir(applications) if inspect.isfunction(getattr(applications, name))}
    assert set(APPLICATIONS) <= there
    assert there == set(APPLICATIONS) | set(MISFITS)


def test_import_is_light():
    code = (
        "import sys; import mrcnn.config; print([m for m in ('tensorflow', 'keras', 'matplotlib', "
        "'skimage') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.strip() == "[]"


# === display, to_dict, from_dict ===


def test_display_lists_every_field_and_no_callable(capsys):
    config = build(
        OWN_FIELD="mine",
        BACKBONE=staticmethod(graph_of),
        COMPUTE_BACKBONE_SHAPE=staticmethod(shapes_of),
    )
    config.display()
    lines = capsys.readouterr().out.split("\n")
    assert lines[:2] == ["", "Configurations:"]
    assert "{:30} {}".format("NUM_CLASSES", 1) in lines
    assert "{:30} {}".format("IMAGE_SHAPE", "[1024 1024    3]") in lines
    assert "{:30} {}".format("OWN_FIELD", "mine") in lines
    names = [line.split()[0] for line in lines[2:] if line]
    assert names == sorted(names)
    assert not {"BACKBONE", "COMPUTE_BACKBONE_SHAPE", "display", "validate"} & set(names)


def test_dict_survives_json():
    config = build(
        NAME="toy",
        NUM_CLASSES=np.int64(5),
        RPN_ANCHOR_SCALES=(8, 16, 32, 64, 128),
        MEAN_PIXEL=np.array([1.0, 2.0, 3.0]),
        OWN_FIELD={"a": (1, np.float32(0.5))},
        FUNCTIONLESS=complex(1, 2),
        IMAGES_PER_GPU=1,
    )
    fields = json.loads(json.dumps(config.to_dict()))
    assert fields["MEAN_PIXEL"] == [1.0, 2.0, 3.0]
    assert fields["IMAGE_SHAPE"] == [1024, 1024, 3]
    assert fields["OWN_FIELD"] == {"a": [1, 0.5]}
    assert fields["FUNCTIONLESS"] == "(1+2j)"
    again = Config.from_dict(fields)
    assert again.to_dict() == fields
    assert isinstance(again.MEAN_PIXEL, np.ndarray)
    assert again.RPN_ANCHOR_SCALES == (8, 16, 32, 64, 128)
    assert again.BATCH_SIZE == 1


def test_from_dict_computes_derived_fields_again():
    fields = {**Config().to_dict(), "IMAGES_PER_GPU": 5, "NUM_CLASSES": 4}
    config = Config.from_dict(fields)
    assert (config.BATCH_SIZE, config.IMAGE_META_SIZE) == (5, 16)
    assert Config.IMAGES_PER_GPU == 2


def test_callable_backbone_becomes_a_name_and_comes_back_as_a_callable():
    config = build(BACKBONE=staticmethod(graph_of), COMPUTE_BACKBONE_SHAPE=staticmethod(shapes_of))
    fields = config.to_dict()
    assert fields["BACKBONE"] == f"{__name__}:graph_of"
    with pytest.raises(ValueError, match="never imports code"):
        Config.from_dict(fields)
    again = Config.from_dict({**fields, "BACKBONE": graph_of, "COMPUTE_BACKBONE_SHAPE": shapes_of})
    assert again.BACKBONE is graph_of
    assert again.COMPUTE_BACKBONE_SHAPE((512, 512, 3)).tolist() == shapes_of((512, 512)).tolist()


def test_from_dict_validates_and_wants_a_dict():
    with pytest.raises(ValueError, match="NUM_CLASSES is 0"):
        Config.from_dict({"NUM_CLASSES": 0})
    with pytest.raises(TypeError, match="got list"):
        Config.from_dict([("NUM_CLASSES", 2)])
    with pytest.raises(TypeError):
        Config.from_dict({1: 2})

"""SegmentationConfig: its fields, their rules, and settings as files and text."""

import json

import numpy as np
import pytest

from mrcnn.config import Config, SegmentationConfig
from mrcnn.config.file import parse_settings, read_config, save_config
from mrcnn.config.rules_of_segmentation import RULES_OF_SEVERAL, TABLE
from mrcnn.config.segmentation import is_binary, output_channels

OWN = {name for name in vars(SegmentationConfig) if name.isupper()}
CHANGED = {"BACKBONE", "LOSS_WEIGHTS", "USE_MINI_MASK", "KEEP_EMPTY_IMAGES"}


def build(**fields):
    return type("SomeConfig", (SegmentationConfig,), fields)()


def test_it_is_a_config_with_more_fields():
    config = SegmentationConfig()
    assert isinstance(config, Config)
    assert set(config.field_defaults()) == {*OWN, *Config.field_defaults()}
    assert OWN & set(Config.field_defaults()) == CHANGED
    for name, value in Config.field_defaults().items():
        if name not in CHANGED:
            assert np.array_equal(getattr(config, name), value), name
    assert Config.field_defaults()["BACKBONE"] == "resnet101"


def test_every_field_has_a_rule():
    known = [name for rule in TABLE for name in rule.fields.split()]
    assert len(known) == len(set(known))
    known += [name for names, _ in RULES_OF_SEVERAL for name in names.split()]
    assert set(known) == set(SegmentationConfig.field_defaults())


WRONG = [
    ({"NETWORK": "fcn"}, ["NETWORK is 'fcn'", "fcn32s, fcn16s, fcn8s"]),
    ({"VGG_WIDTHS": (8, 16)}, ["VGG_WIDTHS is (8, 16)", "5 positive ints"]),
    ({"VGG_CONVOLUTIONS": (2, 2, 3, 3, 0)}, ["VGG_CONVOLUTIONS"]),
    ({"UNET_WIDTHS": (8,)}, ["UNET_WIDTHS is (8,)", "2 or more"]),
    ({"UNET_WIDTHS": 8}, ["UNET_WIDTHS is 8"]),
    ({"UNET_WIDTHS": (8, 16, 32), "BACKBONE": "resnet50"}, ["UNET_WIDTHS", "4 levels"]),
    ({"UNET_PADDING": "full"}, ["UNET_PADDING is 'full'", "same or valid"]),
    ({"UNET_PADDING": "valid", "BACKBONE": "resnet50"}, ['UNET_PADDING is "valid"', "'resnet50'"]),
    ({"UPSAMPLING": "deconvolution"}, ["UPSAMPLING is 'deconvolution'", "bed_of_nails"]),
    ({"UPSAMPLING": "unpool"}, ["UPSAMPLING is 'unpool'", "'unet' can have any but unpool"]),
    ({"UPSAMPLING": "bilinear", "NETWORK": "segnet"}, ["UPSAMPLING is 'bilinear'", "have unpool"]),
    ({"UPSAMPLING": "bilinear", "NETWORK": "plain"}, ["'plain' can have none"]),
    ({"SKIP_SCALES": (0.01,)}, ["SKIP_SCALES is (0.01,)", "(0.01, 0.0001)"]),
    ({"OUTPUT_STRIDE": 4}, ["OUTPUT_STRIDE is 4", "8, 16 or 32"]),
    ({"OUTPUT_STRIDE": 8}, ["OUTPUT_STRIDE is 8", "NETWORK is 'unet'", "pspnet and deeplab"]),
    (
        {"OUTPUT_STRIDE": 8, "NETWORK": "deeplab", "BACKBONE": "VGG16"},
        ["BACKBONE is 'VGG16'", "'resnet50' or 'resnet101'"],
    ),
    ({"ATROUS_RATES": ()}, ["ATROUS_RATES is ()"]),
    ({"PSP_BINS": (0,)}, ["PSP_BINS is (0,)"]),
    ({"DROPOUT": 1}, ["DROPOUT is 1", "below 1"]),
    ({"BATCH_NORM": None}, ["BATCH_NORM is None", "True or False"]),
    ({"BATCH_NORM_MOMENTUM": 1}, ["BATCH_NORM_MOMENTUM is 1", "below 1"]),
    ({"LOSS_OPTIONS": {1: 2}}, ["LOSS_OPTIONS is {1: 2}"]),
    ({"LOSS_OPTIONS": {"focal": {}}}, ["LOSS_OPTIONS has 'focal'", "no loss of LOSS = 'ce+dice'"]),
    (
        {"LOSS": "focal", "LOSS_OPTIONS": {"focal": {"gamma": -1}}},
        ["LOSS_OPTIONS: gamma of loss 'focal' is -1; it must be a finite number of at least 0"],
    ),
    (
        {"LOSS": "weighted_ce", "LOSS_OPTIONS": {"weighted_ce": {"weights": [1, 2, 3]}}},
        ["LOSS_OPTIONS: weights of loss 'weighted_ce' has 3 factors; there are 2 classes"],
    ),
    ({"LOSS_OPTIONS": {"dice": 1}}, ["LOSS_OPTIONS: loss 'dice' has 1; it must be a dict"]),
    ({"LOSS": "ce+dise"}, ["LOSS: 'ce+dise'", "did you mean 'dice'"]),
    ({"LOSS": "-1*ce"}, ["LOSS: '-1*ce'", "above 0"]),
    ({"LOSS": None}, ["LOSS is None", "'ce+dice'"]),
    ({"IGNORE_LABEL": None}, ["IGNORE_LABEL is None"]),
    ({"IGNORE_LABEL": 2, "NUM_CLASSES": 3}, ["IGNORE_LABEL is 2, which is a class"]),
    ({"NUM_CLASSES": 256}, ["IGNORE_LABEL is 255", "such as 65535"]),
    ({"OVERLAP": "first"}, ["OVERLAP is 'first'", "smaller, last, ignore"]),
    ({"CROWDS": "drop"}, ["CROWDS is 'drop'"]),
    ({"BINARY": True, "NUM_CLASSES": 3}, ["BINARY is True", "NUM_CLASSES is 3"]),
    ({"TILE": 0}, ["TILE is 0"]),
    ({"TILE_OVERLAP": 1}, ["TILE_OVERLAP is 1"]),
    ({"TEST_FLIPS": 2}, ["TEST_FLIPS is 2"]),
    ({"TEST_SCALES": (1, 2), "TILE": 64}, ["TEST_SCALES is (1, 2), but TILE is 64"]),
    ({"TEST_SCALES": (2,), "IMAGE_RESIZE_MODE": "none"}, ['"none" the sides do not set']),
    ({"TEST_SCALES": (2,), "IMAGE_RESIZE_MODE": "crop"}, ['"crop" the sides do not set']),
    ({"MERGE_SOURCES": "yes"}, ["MERGE_SOURCES is 'yes'"]),
    ({"BACKBONE": "resnet50", "NETWORK": "segnet"}, ["BACKBONE is 'resnet50'", "of its own"]),
    ({"BACKBONE": "resnet"}, ["BACKBONE is 'resnet'", "did you mean", "resnet50"]),
    ({"NUM_CLASSES": 0}, ["NUM_CLASSES is 0"]),
    ({"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 100}, ["IMAGE_MIN_DIM is 100", "64 or 128"]),
    ({"IMAGE_RESIZE_MODE": "crop", "IMAGE_MIN_DIM": 0}, ["IMAGE_MIN_DIM is 0", "crop"]),
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


def graph(image, stage5=False, train_bn=None):
    raise NotImplementedError("only its name is used here")


@pytest.mark.parametrize(
    "fields",
    [
        {"IMAGE_MAX_DIM": 100, "IMAGE_MIN_DIM": 84},  # no multiple of 64: networks pad
        {"IMAGE_RESIZE_MODE": "crop", "IMAGE_MIN_DIM": 100},
        {"NETWORK": "deeplab", "BACKBONE": "resnet101", "OUTPUT_STRIDE": 16},
        {"NETWORK": "fcn8s", "BACKBONE": "VGG16", "SKIP_SCALES": (0.01, 0.0001)},
        {"NETWORK": "fcn8s", "BACKBONE": graph},  # which needs no COMPUTE_BACKBONE_SHAPE
        {"NETWORK": "segnet", "UPSAMPLING": "unpool"},
        {"NUM_CLASSES": 256, "IGNORE_LABEL": 65535},
        {"LOSS": "my.module:loss", "LOSS_OPTIONS": {"mine": 1}},  # the name of a function
    ],
)
def test_right_fields(fields):
    build(**fields)


def test_numbers_of_numpy_become_pythons():
    config = build(UNET_WIDTHS=np.array([4, 8]), DROPOUT=np.float32(0.5), TILE=np.int64(512))
    assert config.UNET_WIDTHS == (4, 8) and type(config.UNET_WIDTHS[0]) is int
    assert type(config.DROPOUT) is float and type(config.TILE) is int


def test_misspelt_fields_are_warned_of():
    with pytest.warns(UserWarning, match="did you mean UNET_WIDTHS"):
        build(UNET_WIDTH=(4, 8))
    with pytest.warns(UserWarning, match="did you mean IMAGE_MAX_DIM"):
        build(IMAGE_MAX_DIMM=64)


@pytest.mark.parametrize(
    "classes, binary, expected, channels",
    [(2, None, True, 1), (2, False, False, 2), (2, True, True, 1), (3, None, False, 3)],
)
def test_binary(classes, binary, expected, channels):
    config = build(NUM_CLASSES=classes, BINARY=binary)
    assert is_binary(config) is expected and output_channels(config) == channels


# === Files and text ===


def test_every_field_comes_back(tmp_path):
    config = build(
        NAME="own", NUM_CLASSES=3, NETWORK="fcn8s", SKIP_SCALES=(0.5, 0.25), VGG_WIDTHS=(4,) * 5
    )
    again = SegmentationConfig.from_dict(read_config(save_config(tmp_path, config, ["BG", "a"])))
    assert again.to_dict() == config.to_dict()
    assert again.VGG_WIDTHS == (4,) * 5 and again.NETWORK == "fcn8s"
    json.dumps(config.to_dict())
    # Config keeps what it does not know
    fields = {**config.to_dict(), "BACKBONE": "resnet50", "IMAGE_MAX_DIM": 64, "IMAGE_MIN_DIM": 64}
    assert Config.from_dict({**fields, "LOSS_WEIGHTS": {}}).NETWORK == "fcn8s"


@pytest.mark.parametrize(
    "text, field, value",
    [
        ("NETWORK=segnet", "NETWORK", "segnet"),
        ("UNET_WIDTHS=8,16,32", "UNET_WIDTHS", (8, 16, 32)),
        ("BACKBONE=resnet50", "BACKBONE", "resnet50"),
        ("BACKBONE=none", "BACKBONE", None),
        ("SKIP_SCALES=0.01,0.0001", "SKIP_SCALES", [0.01, 0.0001]),
        ("UPSAMPLING=bilinear", "UPSAMPLING", "bilinear"),
        ("LEARN_UPSAMPLING=false", "LEARN_UPSAMPLING", False),
        ("LOSS=0.5*focal+dice", "LOSS", "0.5*focal+dice"),
        ('LOSS_OPTIONS={"dice": {"squared": false}}', "LOSS_OPTIONS", {"dice": {"squared": False}}),
        ("DROPOUT=0.25", "DROPOUT", 0.25),
        ("IMAGE_MAX_DIM=100", "IMAGE_MAX_DIM", 100),
    ],
)
def test_settings_as_text(text, field, value):
    found = parse_settings([text], SegmentationConfig)
    assert found == {field: value} and type(found[field]) is type(value)
    network = "fcn8s" if field == "BACKBONE" else "unet"
    fields = {"NETWORK": network, "IMAGE_MIN_DIM": 0, **found}
    assert getattr(SegmentationConfig.from_dict(fields), field) == value


def test_the_two_kinds_of_settings_are_told_apart():
    with pytest.raises(ValueError, match="there is no field 'NETWORK'"):
        parse_settings(["NETWORK=unet"])
    with pytest.raises(ValueError, match="did you mean NETWORK"):
        parse_settings(["NETWORKS=unet"], SegmentationConfig)

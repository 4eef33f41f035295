"""Presets are valid, hold fields alone, and give only what differs from the defaults."""

import numpy as np
import pytest

from mrcnn.config import Config, ModernConfig, TorchvisionV1Config, TorchvisionV2Config
from mrcnn.config.choices import PRESET_NAMES
from mrcnn.config.coco_names import COCO_NAMES_BY_ID
from mrcnn.config.presets import PRESETS, preset_fields
from mrcnn.data.coco_classes import COCO_CLASSES


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_valid_and_holds_nothing_but_fields(name):
    preset = PRESETS[name]
    config = preset()
    defaults = Config.field_defaults()
    for kind in preset.__mro__[: preset.__mro__.index(Config)]:
        assert {field for field in vars(kind) if not field.startswith("__")} <= defaults.keys()
    for field, value in preset_fields(preset).items():
        np.testing.assert_array_equal(getattr(config, field), value)
        # 800 is said for the sake of 1333 beside it
        assert field == "IMAGE_MIN_DIM" or not np.array_equal(value, defaults[field]), field


def test_the_fields_of_a_preset_are_those_of_its_bases_too():
    first, second = preset_fields(TorchvisionV1Config), preset_fields(TorchvisionV2Config)
    own = {"PRESET": "torchvision_v2", "RPN_CONV_LAYERS": 2, "BOX_HEAD_CONVS": 4, "BOX_HEAD_FCS": 1}
    assert {name: second[name] for name in own} == own
    assert first.pop("PRESET") == "torchvision_v1"
    assert {name: second[name] for name in second.keys() - own} == first
    assert "NAME" not in second and preset_fields(Config) == {}


def test_names():
    assert tuple(PRESETS) == PRESET_NAMES
    assert [preset.PRESET for preset in PRESETS.values()] == list(PRESETS)


def test_a_preset_serves_a_config_of_ones_own():
    class Balloon(ModernConfig):
        NAME = "balloon"
        NUM_CLASSES = 2

    assert Balloon().ROI_ALIGN == "aligned" and Balloon().NAME == "balloon"


def test_the_names_of_coco_by_its_ids():
    """Ten of the 90 ids were never used."""
    assert len(COCO_NAMES_BY_ID) == 91 and len(COCO_CLASSES) == 81
    assert COCO_NAMES_BY_ID.count("N/A") == 10
    assert [COCO_NAMES_BY_ID[number] for number in (1, 13, 44, 90)] == [
        "person",
        "stop sign",
        "bottle",
        "toothbrush",
    ]
    assert [name for name in COCO_NAMES_BY_ID if name != "N/A"] == COCO_CLASSES

"""Settings as a file beside the weights, and as text."""

import json
import sys

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.config.file import config_beside, parse_settings, read_config, save_config
from tests.tiny import TinyConfig


class OwnConfig(Config):
    NAME = "own"
    NUM_CLASSES = 3
    IMAGE_MAX_DIM = 512
    IMAGE_MIN_DIM = 320
    MEAN_PIXEL = np.array([1.5, 2, 3])
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    OWN_FIELD = {"depth": [1, 2]}


# === The file ===


def test_every_field_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--epochs=3"])
    path = save_config(tmp_path, OwnConfig(), ["BG", "ä", "b"])
    fields = read_config(path)
    again = Config.from_dict(fields)
    assert again.to_dict() == {**OwnConfig().to_dict(), "CLASS_NAMES": ["BG", "ä", "b"]}
    assert isinstance(again.MEAN_PIXEL, np.ndarray) and isinstance(again.RPN_ANCHOR_SCALES, tuple)
    content = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (use,) = content["uses"]
    assert use["command"] == ["train.py", "--epochs=3"] and use["time"][:2] == "20"
    assert set(use["versions"]) == {"python", "mrcnn", "tensorflow", "keras", "numpy"}
    assert use["versions"]["numpy"] == np.__version__


def test_a_run_that_goes_on_keeps_the_list_of_its_uses(tmp_path):
    save_config(tmp_path, OwnConfig())
    other = OwnConfig()
    other.LEARNING_RATE = 0.5
    save_config(tmp_path, other)
    assert read_config(tmp_path / "config.json")["LEARNING_RATE"] == 0.5
    assert len(json.loads((tmp_path / "config.json").read_text())["uses"]) == 2
    # nothing temporary is left
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_the_configs_own_class_names_stay(tmp_path):
    class Named(OwnConfig):
        CLASS_NAMES = ("BG", "x", "y")

    assert read_config(save_config(tmp_path, Named(), ["BG", "a", "b"]))["CLASS_NAMES"] == [
        "BG",
        "x",
        "y",
    ]
    # of other data
    assert read_config(save_config(tmp_path, OwnConfig(), ["BG"]))["CLASS_NAMES"] is None


def test_a_function_is_kept_by_name_and_must_be_given_again(tmp_path):
    fields = read_config(save_config(tmp_path, TinyConfig()))
    assert fields["BACKBONE"] == "tests.tiny:backbone"
    with pytest.raises(ValueError, match="never imports code"):
        Config.from_dict(fields)
    assert (
        Config.from_dict(
            {
                **fields,
                "BACKBONE": TinyConfig.BACKBONE,
                "COMPUTE_BACKBONE_SHAPE": TinyConfig.COMPUTE_BACKBONE_SHAPE,
            }
        ).NAME
        == "tiny"
    )


def test_settings_of_a_weights_file(tmp_path):
    weights = tmp_path / "mask_rcnn_own_0001.h5"
    assert config_beside(weights) is None
    save_config(tmp_path, OwnConfig())
    assert config_beside(weights) == str(tmp_path / "config.json")
    (tmp_path / "config.json").rename(tmp_path / "mask_rcnn_own_0001.json")
    save_config(tmp_path, OwnConfig())
    assert config_beside(weights) == str(tmp_path / "mask_rcnn_own_0001.json")
    assert config_beside(tmp_path / "other.h5") == str(tmp_path / "config.json")


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "is not JSON"),
        ("[]", "'config' and 'uses'"),
        ('{"config": {}}', "'config' and 'uses'"),
    ],
)
def test_what_is_no_file_of_settings(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"config.json.*{message}"):
        read_config(path)
    with pytest.raises(FileNotFoundError):
        read_config(tmp_path / "missing.json")


# === Text ===


@pytest.mark.parametrize(
    "text, field, value",
    [
        ("IMAGE_MAX_DIM=512", "IMAGE_MAX_DIM", 512),
        ("LEARNING_RATE = 1e-4", "LEARNING_RATE", 1e-4),
        ("RPN_ANCHOR_SCALES=8,16,32,64,128", "RPN_ANCHOR_SCALES", (8, 16, 32, 64, 128)),
        ("RPN_ANCHOR_RATIOS=1", "RPN_ANCHOR_RATIOS", [1]),
        ("RPN_ANCHOR_RATIOS=[0.5, 1]", "RPN_ANCHOR_RATIOS", [0.5, 1]),
        ("MASK_SHAPE=56,56", "MASK_SHAPE", [56, 56]),
        ("USE_MINI_MASK=False", "USE_MINI_MASK", False),
        ("TRAIN_BN=none", "TRAIN_BN", None),
        ("IMAGE_MIN_DIM=None", "IMAGE_MIN_DIM", None),
        ("NAME=2024", "NAME", "2024"),
        ("BACKBONE=resnet50", "BACKBONE", "resnet50"),
        ("SEED=7", "SEED", 7),
        ("CLASS_NAMES=BG,traffic light,1", "CLASS_NAMES", ["BG", "traffic light", "1"]),
        ('LOSS_WEIGHTS={"mrcnn_mask_loss": 2}', "LOSS_WEIGHTS", {"mrcnn_mask_loss": 2}),
    ],
)
def test_text_becomes_the_kind_of_the_field(text, field, value):
    found = parse_settings([text])
    assert found == {field: value} and type(found[field]) is type(value)
    Config.from_dict(
        {
            **found,
            **({"NUM_CLASSES": 3} if field == "CLASS_NAMES" else {}),
            **({"MASK_POOL_SIZE": 28} if field == "MASK_SHAPE" else {}),
            **({"IMAGE_MIN_DIM": 320} if field == "IMAGE_MAX_DIM" else {}),
        }
    )


def test_arrays():
    found = parse_settings(["MEAN_PIXEL=1,2,3", "BBOX_STD_DEV=0.1,0.1,0.2,0.2"])
    assert found["MEAN_PIXEL"].tolist() == [1, 2, 3] and isinstance(
        found["BBOX_STD_DEV"], np.ndarray
    )
    assert parse_settings([]) == {}
    assert (
        parse_settings(["TEST_SCALES=()"])
        == parse_settings(["TEST_SCALES="])
        == {"TEST_SCALES": ()}
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ("IMAGE_MAX_DIM", "not a setting: write FIELD=VALUE"),
        ("IMAGE_MAXDIM=3", "did you mean IMAGE_MAX_DIM"),
        ("image_max_dim=3", "did you mean IMAGE_MAX_DIM"),
        ("BATCH_SIZE=3", "computed"),
        ("QQQ=1", "no field 'QQQ'"),
        ("LOSS_WEIGHTS={", "not JSON"),
        ("COMPUTE_BACKBONE_SHAPE=x", "no field"),
    ],
)
def test_bad_settings(text, message):
    with pytest.raises(ValueError, match=message):
        parse_settings([text])


@pytest.mark.parametrize(
    "text, message",
    [
        ("IMAGE_MAX_DIM=big", "IMAGE_MAX_DIM is 'big'; it must be a positive int"),
        ("RPN_ANCHOR_SCALES=8,16", "RPN_ANCHOR_SCALES is .8, 16.; it must be 5"),
        ("USE_MINI_MASK=perhaps", "USE_MINI_MASK is 'perhaps'; it must be True or False"),
        ("MEAN_PIXEL=a,b,c", "MEAN_PIXEL"),
    ],
)
def test_wrong_values_are_named_by_the_config(text, message):
    with pytest.raises(ValueError, match=message):
        Config.from_dict(parse_settings([text]))

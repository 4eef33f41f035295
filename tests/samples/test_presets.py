"""--preset of the samples: the settings that go with weights."""

import pytest

from mrcnn.config.file import save_config
from mrcnn.config.presets import PRESETS
from mrcnn.weights.read import preset_for
from mrcnn.weights.torch_writer import write_torch
from tests.samples.scripts import load
from tests.torchvision.test_weights import resnet_of, small

SAMPLES = {
    "penn_fudan": ["train", "--dataset", "data"],
    "balloon": ["train", "--dataset", "data"],
    "nucleus": ["train", "--dataset", "data"],
}


def made(name, *options, weights=None):
    """The config of a sample's ``train`` with these options."""
    module = load(name)
    args = module.parse_args([*SAMPLES[name], *options])
    further = {"penn_fudan": (), "balloon": (False,), "nucleus": ("training",)}[name]
    return module.make_config(args, *further, weights=weights)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize(
    "options, preset",
    [
        (["--model", "imagenet"], "modern"),
        (["--model", "none"], "modern"),
        (["--model", "coco"], "matterport"),
        (["--model", "resnet50.h5"], "matterport"),
        (["--model", "resnet50.h5", "--preset", "modern"], "modern"),
        (["--model", "imagenet", "--preset", "matterport"], "matterport"),
        (["--model", "torchvision_v2"], "torchvision_v2"),
        (["--model", "torchvision_v1", "--preset", "modern"], "modern"),
    ],
)
def test_presets_of_weights(name, options, preset):
    config = made(name, *options)
    assert config.PRESET == preset and config.NUM_CLASSES == len(config.CLASS_NAMES) == 2
    for field in ("HEAD_INIT", "ROI_ALIGN", "MASK_PASTE", "RPN_CONV_LAYERS", "BOX_SHIFT"):
        assert getattr(config, field) == getattr(PRESETS[preset], field), field


@pytest.mark.parametrize("name", SAMPLES)
def test_the_preset_of_a_run_is_found_beside_its_weights(name, tmp_path):
    weights = str(tmp_path / "mask_rcnn_toy_0001.h5")
    options = ["--model", "last"]
    assert made(name, *options, weights=weights).PRESET == "matterport"  # nothing beside it
    save_config(str(tmp_path), made(name, *options, "--preset", "modern"))
    assert made(name, *options, weights=weights).PRESET == "modern"
    assert made(name, *options, "--preset", "matterport", weights=weights).PRESET == "matterport"


@pytest.mark.parametrize("name", ["penn_fudan", "nucleus"])
def test_presets_are_of_mask_rcnn(name):
    with pytest.raises(ValueError, match="--preset is of Mask R-CNN"):
        made(name, "--model", "none", "--semantic", "--preset", "modern")


def test_a_preset_of_another_version_is_told(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"config": {"PRESET": "torchvision_v3"}, "uses": []}')
    with pytest.raises(ValueError, match="PRESET is 'torchvision_v3', which this version"):
        preset_for("last", str(tmp_path / "weights.h5"))


def test_a_file_of_torchvisions_has_its_preset(tmp_path):
    write_torch(tmp_path / "mine.pth", small("v2"))
    config = made("balloon", "--model", "mine.pth", weights=tmp_path / "mine.pth")
    assert config.PRESET == "torchvision_v2" and config.BOX_HEAD_CONVS == 4


@pytest.mark.parametrize("name", SAMPLES)
def test_torchvisions_resnet_keeps_its_network(name, tmp_path):
    """ImageNet's weights, with the strides where torchvision has them."""
    path = tmp_path / "resnet50.pth"
    write_torch(path, resnet_of(small("v1")))
    config = made(name, "--model", str(path), weights=path)
    assert (config.PRESET, config.BACKBONE, config.STRIDE_IN_3X3) == ("modern", "resnet50", True)
    own = load(name).NucleusConfig.MEAN_PIXEL if name == "nucleus" else [123.675, 116.28, 103.53]
    assert list(config.MEAN_PIXEL) == list(own)


@pytest.mark.parametrize("name", ["balloon", "penn_fudan"])
def test_torchvisions_anchors_keep_their_sizes(name):
    """Of a photo of 3 by 4 the shorter side is what sets the scale."""
    config = made(name, "--model", "torchvision_v2", "--size", "1024")
    assert (config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM) == (800, 1024)
    assert config.RPN_ANCHOR_SCALES == (32, 64, 128, 256, 512)
    assert made(name, "--model", "none", "--size", "512").RPN_ANCHOR_SCALES[0] == 16


def test_a_nucleus_is_one_by_more_than_half():
    """Also where the preset counts each class of a region."""
    config = made("nucleus", "--model", "torchvision_v2")
    assert config.DETECTION_MULTI_CLASS and config.DETECTION_MIN_CONFIDENCE == 0.5


def test_a_run_of_before_the_presets(tmp_path):
    (tmp_path / "config.json").write_text('{"config": {"NAME": "old"}, "uses": []}')
    assert preset_for("last", str(tmp_path / "weights.h5")) == "matterport"

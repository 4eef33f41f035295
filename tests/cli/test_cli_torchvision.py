"""The commands with torchvision's files: settings come from the file alone."""

import json

import numpy as np
import pytest

from mrcnn.cli.weights_fields import told_by_weights
from mrcnn.config.presets import TorchvisionV2Config
from mrcnn.weights import published
from mrcnn.weights.torch_writer import write_torch
from tests.cli.test_cli import checkpoint, chosen_fields, code_of, write_via
from tests.torchvision.test_weights import moderate, resnet_of

SMALL = [
    *("--size", 128, "--batch", 1, "--steps", 1, "--verbose", 0),
    *("--set", "POST_NMS_ROIS_TRAINING=30", "POST_NMS_ROIS_INFERENCE=20", "SEED=0"),
    *("TRAIN_ROIS_PER_IMAGE=16", "DETECTION_MIN_CONFIDENCE=0", "DETECTION_MAX_INSTANCES=5"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "photos"
    write_via(folder / "train", 2, 0)
    write_via(folder / "val", 1, 1)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A narrow v2 for COCO's 91 classes, under the name that torchvision publishes it by."""
    home = tmp_path_factory.mktemp("home")
    path = home / "models" / published.TORCHVISION_WEIGHTS["torchvision_v2"].name
    path.parent.mkdir()
    write_torch(path, moderate("v2", classes=91))
    return path


@pytest.fixture
def with_word(weights, monkeypatch):
    """``torchvision_v2`` stands for the narrow file."""
    name = weights.name
    file = published.RemoteFile(name, f"https://localhost:9/{name}")
    monkeypatch.setitem(published.TORCHVISION_WEIGHTS, "torchvision_v2", file)
    monkeypatch.setenv("KERAS_HOME", str(weights.parent.parent))


def test_published_files_are_told_by_the_beginning_of_their_hash(tmp_path):
    for word, start in (("torchvision_v1", "bf2d0c1e"), ("torchvision_v2", "73cbd019")):
        file = published.TORCHVISION_WEIGHTS[word]
        assert file.sha256 == start and file.url.startswith("https://download.pytorch.org/models/")
        (tmp_path / file.name).write_bytes(b"something else")
        with pytest.raises(OSError, match=f"its sha256 is .*, expected was {start}"):
            published.torchvision_weights(word, tmp_path / file.name)
    with pytest.raises(ValueError, match="no weights 'v3' here, only torchvision_v1"):
        published.torchvision_weights("v3")


@pytest.mark.filterwarnings("error::UserWarning")
def test_settings_come_from_the_file(weights):
    fields = chosen_fields(str(weights))
    for name in ("ROI_ALIGN", "BOX_SHIFT", "MASK_PASTE", "RPN_CONV_LAYERS", "CLASS_NAMES"):
        assert fields[name] == getattr(TorchvisionV2Config, name)
    assert told_by_weights(str(weights))["BACKBONE_WIDTH"] == 4


def test_train_then_evaluate_and_predict(photos, weights, with_word, tmp_path, capsys):
    """New class layers, torchvision's settings, and nothing else to say afterwards."""
    logs = tmp_path / "logs"
    command = ("train", photos, "--weights", "torchvision_v2", "--logs", logs, "--epochs", 1)
    assert code_of(*command, *SMALL) in (0, None)
    said = capsys.readouterr().out
    assert "is for 91 classes, the data have 3: the class layers are trained from scratch" in said
    config = json.loads((checkpoint(logs).parent / "config.json").read_text())["config"]
    assert config["CLASS_NAMES"] == ["BG", "blue", "red"] and config["NUM_CLASSES"] == 3
    for name in ("ROI_ALIGN", "STRIDE_IN_3X3", "PROPOSALS_PER_LEVEL", "IMAGE_RESIZE_MODE"):
        assert config[name] == getattr(TorchvisionV2Config, name)
    assert config["IMAGE_MAX_DIM"] == 128 and config["NAME"] == "photos"
    again = ("--weights", "last", "--name", "photos", "--logs", logs)
    assert code_of("evaluate", photos, "--subset", "val", *again) == 0
    found = tmp_path / "found"
    image = next((photos / "val").glob("*.png"))
    assert code_of("predict", image, *again, "--output", found) == 0
    assert list(found.iterdir())


def test_predict_with_the_word(photos, with_word, tmp_path):
    image = next((photos / "val").glob("*.png"))
    small_images = ("--set", "IMAGE_MIN_DIM=96", "IMAGE_MAX_DIM=128", "POST_NMS_ROIS_INFERENCE=20")
    line = ("--weights", "TORCHVISION_V2", *small_images)
    assert code_of("predict", image, *line, "--output", tmp_path, "--save", "coco") == 0
    categories = json.loads(next(tmp_path.glob("*.json")).read_text())["categories"]
    assert {one["id"]: one["name"] for one in categories}[18] == "dog"


def test_fine_tuned_files_have_numbered_classes_or_those_of_the_user(tmp_path):
    path = tmp_path / "mine.pth"
    write_torch(path, moderate("v1", classes=3))
    fields = chosen_fields(str(path))
    assert fields["NUM_CLASSES"] == 3 and fields.get("CLASS_NAMES") is None
    np.testing.assert_array_equal(fields["MEAN_PIXEL"], TorchvisionV2Config.MEAN_PIXEL)


def test_other_network_takes_the_backbone(photos, weights, tmp_path):
    """A network that labels pixels begins with the backbone of torchvision's detector."""
    logs = tmp_path / "logs"
    line = ("train", photos, "--weights", weights, "--network", "unet", "--logs", logs)
    options = ("--epochs", 1, "--steps", 1, "--batch", 1, "--size", 64, "--verbose", 0)
    assert code_of(*line, *options, "--set", "SEED=0") in (0, None)
    config = json.loads(next(logs.glob("*/config.json")).read_text())["config"]
    assert config["STRIDE_IN_3X3"] is True and config["BACKBONE_WIDTH"] == 4
    assert config["IMAGE_RESIZE_MODE"] == "square"


def test_a_resnet_detects_nothing(photos, tmp_path):
    write_torch(tmp_path / "resnet50.pth", resnet_of(moderate("v2")))
    image = next((photos / "val").glob("*.png"))
    line = ("--weights", tmp_path / "resnet50.pth", "--size", 128, "--output", tmp_path / "found")
    said = str(code_of("predict", image, *line))
    assert "lacks" in said and "layers of the model" in said
    assert "the backbone alone" in said and "train starts from it" in said
    assert "--config" not in said

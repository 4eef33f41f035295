"""``mrcnn predict`` with a network that labels pixels."""

import numpy as np
import pytest
from PIL import Image

from mrcnn.config.file import save_config
from mrcnn.inference import SemanticResult
from mrcnn.segmenter import Segmenter
from tests.cli.test_paths import code_of
from tests.networks.segmentation.tiny import config_of
from tests.tiny import image

NAMES = ["BG", "cat", "dog"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network of random weights that finds all three classes, and its folder."""
    folder = tmp_path_factory.mktemp("run")
    config = config_of(
        "plain",
        CLASS_NAMES=NAMES,
        IMAGE_RESIZE_MODE="none",
        IMAGE_CHANNEL_COUNT=3,
        MEAN_PIXEL=np.array([120.0] * 3),
    )
    model = Segmenter("inference", config, str(folder))
    rng = np.random.RandomState(0)
    for variable in model.keras_model.weights:
        if "kernel" in variable.path:
            variable.assign(rng.normal(0, 0.15, variable.shape))
    score = model.keras_model.layers[-2]
    score.set_weights([3 * score.get_weights()[0], score.get_weights()[1]])
    model.save_weights(folder / "weights.h5")
    save_config(folder, config)
    Image.fromarray(image(70, 90)).save(folder / "photo.png")
    return model


def predict(model, output, *arguments):
    """The exit code, and the label map."""
    folder = model.model_dir
    line = ["predict", f"{folder}/photo.png", "--weights", f"{folder}/weights.h5"]
    code = code_of(*line, "--output", output, "--save", "labels", *arguments)
    path = output / "labels" / "photo.png"
    return code, np.array(Image.open(path)) if path.exists() else None


def found(model, **fields) -> SemanticResult:
    before = {name: getattr(model.config, name) for name in fields}
    for name, value in fields.items():
        setattr(model.config, name, value)
    (result,) = model.segment([image(70, 90)])
    for name, value in before.items():
        setattr(model.config, name, value)
    return result


@pytest.mark.parametrize("background", ["background", "BG", "0"])
def test_the_background_is_a_class_to_keep(model, tmp_path, background):
    code, labels = predict(model, tmp_path, "--classes", background, "dog")
    assert code == 0
    np.testing.assert_array_equal(labels, found(model).filter([0, "dog"]).labels)


def test_labels_are_those_of_segment(model, tmp_path, capsys):
    code, labels = predict(model, tmp_path)
    result = found(model)
    assert code == 0 and len(set(np.unique(result.labels))) > 1
    np.testing.assert_array_equal(labels, result.labels)
    said = capsys.readouterr().out
    assert "1 images in" in said and "pixels: " in said and "cat" in said


def test_tiles(model, tmp_path):
    code, labels = predict(model, tmp_path, "--tiles", 32, "--overlap", 0.25)
    tiled, whole = found(model, TILE=32, TILE_OVERLAP=0.25), found(model)
    np.testing.assert_array_equal(labels, tiled.labels)
    assert code == 0 and (whole.confidence != tiled.confidence).any()
    (tmp_path / "more").mkdir()
    assert "--overlap is of tiles" in predict(model, tmp_path / "more", "--overlap", 0.25)[0]
    said = predict(model, tmp_path / "more", "--tiles", 32, "--overlap", 1)[0]
    assert "TILE_OVERLAP" in said and "--overlap" in said


def test_classes_and_confidence(model, tmp_path):
    code, labels = predict(model, tmp_path, "--classes", "dog", "--min-confidence", 0.6)
    result = found(model).filter("dog", 0.6)
    np.testing.assert_array_equal(labels, result.labels)
    assert code == 0 and 255 in labels and 1 not in labels
    assert "did you mean 'dog'" in predict(model, tmp_path, "--classes", "dgo")[0]
    assert "min_confidence" in predict(model, tmp_path, "--min-confidence", 2)[0].lower()


def test_tiles_of_mask_rcnn_are_refused(tmp_path, detector):
    detector.save_weights(tmp_path / "weights.h5")
    save_config(tmp_path, detector.config)
    Image.fromarray(image(64, 64)).save(tmp_path / "photo.png")
    line = ["predict", tmp_path / "photo.png", "--weights", tmp_path / "weights.h5"]
    said = code_of(*line, "--output", tmp_path / "found", "--tiles", 64)
    assert "networks that label pixels alone read this" in said and "--tiles" in said

"""Messages name options of the command where a command is run, and arguments elsewhere."""

import argparse
import re
from collections import Counter

import numpy as np
import pytest

from mrcnn.cli import make_parser
from mrcnn.cli.settings import ARGUMENTS, name_options, settings_of
from mrcnn.common.words import naming_options, option_or_argument
from mrcnn.config import SegmentationConfig
from mrcnn.data.cache.example import encode
from mrcnn.data.cache.write import write_records
from mrcnn.data.class_checks import check_classes
from mrcnn.data.formats import open_dataset
from mrcnn.data.image_range import FewBits
from mrcnn.data.images import as_uint8_range
from mrcnn.data.load import prepare
from mrcnn.evaluation.evaluator import evaluate
from mrcnn.inference.predict import Summary, predict
from mrcnn.weights.h5_format import read_h5
from mrcnn.weights.load import load_h5
from tests.cli.test_cli import SQUARE, code_of, write_coco, write_via
from tests.tiny import Rectangles, tiny_config


def test_options_are_named_inside_of_a_command_alone():
    def said():
        return option_or_argument("--skip-missing", "skip_missing=True")

    assert said() == "skip_missing=True"
    with naming_options():
        with naming_options():
            pass
        assert said() == "--skip-missing"
    with pytest.raises(ValueError), naming_options():
        raise ValueError
    assert said() == "skip_missing=True"


class Broken(Rectangles):
    def load_image(self, image_id):
        raise OSError("no such photo")


def _two_channels(folder):
    config = tiny_config(IMAGE_CHANNEL_COUNT=2, MEAN_PIXEL=[100.0, 100.0])
    dataset = Rectangles(1)
    dataset.load_image = lambda image_id: np.zeros((64, 64, 2), np.uint8)
    encode(prepare(dataset, config, 0), "s", 0, "png")


def _few_bits(folder):
    few = FewBits()
    few.look_at(np.full((2, 2), 4000, np.uint16), "a")
    raise ValueError(str(few))


def _full(folder):
    raise ValueError(str(Summary("out", counts=Counter(), at_limit=1, most=100)))


def _keras_3(folder):
    import h5py

    with h5py.File(folder / "a.weights.h5", "w") as file:
        file.create_group("layers")
    read_h5(folder / "a.weights.h5")


def _other_weights(folder):
    import keras

    from mrcnn.weights.load import save_h5

    inputs = keras.Input((4,))
    small = keras.Model(inputs, keras.layers.Dense(3, name="mrcnn_class_logits")(inputs))
    save_h5(small, folder / "a.h5")
    load_h5(
        keras.Model(inputs, keras.layers.Dense(5, name="mrcnn_class_logits")(inputs)),
        folder / "a.h5",
    )


def _fewer_layers(folder):
    import keras

    from mrcnn.weights.load import save_h5

    inputs = keras.Input((4,))
    first = keras.layers.Dense(3, name="first")(inputs)
    save_h5(keras.Model(inputs, first), folder / "a.h5")
    both = keras.Model(inputs, keras.layers.Dense(5, name="second")(first))
    load_h5(both, folder / "a.h5", by_name=False)


def _without_images(folder):
    predict(argparse.Namespace(config=tiny_config()), [folder], folder / "out")


def _open(folder, missing=(), **options):
    """Open COCO json of two images of red objects, of which some are missing."""
    write_coco(folder, [SQUARE], ("red",), count=2)
    for name in missing:
        (folder / name).unlink()
    open_dataset(folder, **options)


def _two_attributes(folder):
    write_via(folder / "v", 1, 0)
    path = folder / "v" / "via_region_data.json"
    path.write_text(path.read_text().replace('{"color":', '{"grade": "first", "color":'))
    open_dataset(folder / "v")


@pytest.mark.parametrize(
    "fail, argument, option",
    [
        (lambda folder: _open(folder / "c", classes=["x"]), "class_ids", "the list of classes is"),
        (lambda folder: _open(folder / "c", ["1.png"]), "skip_missing=True", "--skip-missing"),
        (lambda folder: _open(folder / "c", ["1.png"]), "image_dir", "with --images"),
        (_two_attributes, "class_attribute=", "--class-attribute which"),
        (
            lambda folder: [_open(folder / "x" / "val"), open_dataset(folder / "x")],
            "give a subset",
            "give --subset",
        ),
        (_two_channels, "encoding='raw'", "--encoding raw"),
        (
            lambda folder: write_records(Broken(2), tiny_config(), folder, progress=False),
            "skip_bad=True",
            "--skip-bad",
        ),
        (
            lambda folder: check_classes(Rectangles(1), tiny_config(NUM_CLASSES=9)),
            "Give the dataset the network's classes",
            "--set CLASS_NAMES=BG,",
        ),
        (_few_bits, "IMAGE_RANGE = (0, 4095)", "--image-range 0 4095"),
        (lambda folder: as_uint8_range(np.full((2, 2), -1)), "IMAGE_RANGE", "--image-range"),
        (
            lambda folder: evaluate(Rectangles(1), list, min_score=2),
            "min_score is 2",
            "--min-score is 2",
        ),
        (_full, "DETECTION_MAX_INSTANCES=200", "--set DETECTION_MAX_INSTANCES=200"),
        (_without_images, "recursive=True", "--recursive"),
        (_keras_3, "keras_model.load_weights(path)", "the .h5 file of a training"),
        (_other_weights, "exclude=[", "--config"),
        (_fewer_layers, "by_name=True", "--config"),
    ],
)
def test_each_message_in_both_worlds(tmp_path, fail, argument, option):
    (tmp_path / "again").mkdir()
    with pytest.raises((ValueError, OSError)) as error:
        fail(tmp_path)
    assert argument in str(error.value) and "--" not in str(error.value)
    with pytest.raises((ValueError, OSError)) as error, naming_options():
        fail(tmp_path / "again")
    said = str(error.value)
    assert option in said and not re.search(r"\b[a-z]+_[a-z]+( is|=|\()", said)


# === Fields of Config that have options ===


def test_settings_are_those_of_the_options_of_each_command():
    line = "train x --weights none --size 64 --learning-rate 0.1 --seed 3 --steps 5 --set SEED=4"
    assert settings_of(make_parser().parse_args(line.split())) == {
        "IMAGE_MAX_DIM": 64,
        "LEARNING_RATE": 0.1,
        "SEED": 4,  # --set wins
        "STEPS_PER_EPOCH": 5,
    }
    line = "predict x --weights coco --output y --min-confidence 0.5"
    assert settings_of(make_parser().parse_args(line.split())) == {"DETECTION_MIN_CONFIDENCE": 0.5}
    assert settings_of(make_parser().parse_args(["check", "x", "--max-pixels", "9"])) == {
        "IMAGE_MAX_PIXELS": 9
    }
    assert all(hasattr(SegmentationConfig, field) for field in ARGUMENTS)


def test_errors_of_fields_name_the_options_that_set_them():
    said = code_of("cache", "x", "--output", "y", "--set", "IMAGE_MAXDIM=3")
    assert "IMAGE_MAX_DIM is set with --size" in said
    args = argparse.Namespace(size=3, image_range=None)
    assert name_options("IMAGE_MAX_DIM is 3, --size was given", args).count("--size") == 1
    assert name_options("CLASS_NAMES, NAME", args) == "CLASS_NAMES, NAME"  # has no --name
    assert name_options("IMAGE_RANGE, IMAGE_MAX_DIM", args).endswith(
        "\n(IMAGE_MAX_DIM is set with --size; IMAGE_RANGE is set with --image-range)"
    )

"""samples/shapes.py: its pictures, and its commands on a tiny network."""

import os

import numpy as np
import pytest
from PIL import Image

from tests.samples.scripts import TINY, load
from tests.tiny import backbone, backbone_shapes


@pytest.fixture
def shapes(monkeypatch):
    """The sample with a network of 64 px that trains in seconds."""
    module = load("shapes")
    fields = {
        **TINY,
        "BACKBONE": staticmethod(backbone),
        "COMPUTE_BACKBONE_SHAPE": staticmethod(backbone_shapes),
        "IMAGE_MIN_DIM": 64,
        "IMAGE_MAX_DIM": 64,
    }
    for field, value in fields.items():
        monkeypatch.setattr(module.ShapesConfig, field, value)
    return module


# === Data ===


def test_images_follow_from_the_seed_and_are_drawn_when_loaded():
    module = load("shapes")
    dataset, again, other = (module.make_dataset(5, seed) for seed in (7, 7, 8))
    for index in dataset.image_ids:
        image = dataset.load_image(index)
        assert image.shape == (128, 128, 3) and image.dtype == np.uint8
        np.testing.assert_array_equal(image, again.load_image(index))
        assert not np.array_equal(image, other.load_image(index))
    assert dataset.class_names == ["BG", "square", "circle", "triangle"]
    # more images do not change the first ones
    np.testing.assert_array_equal(module.make_dataset(9, 7).load_image(3), dataset.load_image(3))


def test_masks_are_the_visible_parts_of_what_is_drawn():
    module = load("shapes")
    dataset = module.make_dataset(40, 3)
    overlapping = 0
    for index in dataset.image_ids:
        masks, class_ids = dataset.load_mask(index)
        shapes = dataset.image_reference(index)
        assert masks.shape == (128, 128, len(shapes)) and masks.dtype == bool
        assert [dataset.class_names[class_id] for class_id in class_ids] == [
            shape for shape, _, _ in shapes
        ]
        assert masks.sum(axis=-1).max() == 1  # no pixel belongs to two
        image = dataset.load_image(index).astype(float)
        for number, (shape, color, (x, y, size)) in enumerate(shapes):
            visible = masks[..., number]
            # the noise has a spread of 15; the color of a visible part is the shape's
            limits = np.clip(np.array(color), 15, 240)
            if visible.sum() > 50:
                np.testing.assert_allclose(image[visible].mean(axis=0), limits, atol=18)
            whole = {
                "square": (2 * size + 1) ** 2,
                "circle": np.pi * size**2,
                "triangle": 2 * size * size / np.sin(np.pi / 3),
            }[shape]
            inside = size < min(x, y, 127 - x, 127 - y) * np.sin(np.pi / 3) - 1
            overlapping += inside and visible.sum() < 0.8 * whole
            if number == len(shapes) - 1 and inside:  # drawn last, so whole
                assert visible.sum() == pytest.approx(whole, rel=0.15)
    assert overlapping > 0


def test_other_sizes():
    dataset = load("shapes").ShapesDataset()
    dataset.load_shapes(2, height=96, width=160)
    dataset.prepare()
    assert dataset.load_image(1).shape == (96, 160, 3) and dataset.load_mask(1)[0].shape[:2] == (
        96,
        160,
    )


# === Commands ===


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--help"], ["train", "detect", "evaluate"]),
        (["train", "--help"], ["--weights", "--epochs", "--steps", "default: 24"]),
        (["detect", "--help"], ["--output", "shapes.png", "--images", "default: 50"]),
    ],
)
def test_help(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        load("shapes").main(arguments)
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(word in text for word in words)


@pytest.mark.parametrize("arguments", [[], ["paint"], ["train", "--epochs", "many"]])
def test_wrong_command_lines(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        load("shapes").main(arguments)
    assert caught.value.code == 2 and "usage:" in capsys.readouterr().err


def test_train_then_detect_and_evaluate(shapes, tmp_path, eagerly, capsys):
    logs = str(tmp_path / "logs")
    shapes.main(
        [
            "train",
            "--images",
            "6",
            "--epochs",
            "2",
            "--steps",
            "2",
            "--logs",
            logs,
            "--verbose",
            "0",
        ]
    )
    text = capsys.readouterr().out
    (run,) = os.listdir(logs)
    assert sorted(name for name in os.listdir(os.path.join(logs, run)) if name.endswith(".h5")) == [
        "mask_rcnn_shapes_0001.h5",
        "mask_rcnn_shapes_0002.h5",
    ]
    # the learning rate falls on the way
    assert "learning rate 0.01:" in text and "learning rate 0.002:" in text
    assert text.splitlines()[-1].endswith("mask_rcnn_shapes_0002.h5")

    picture = tmp_path / "found.png"
    shapes.main(
        ["detect", "--weights", "last", "--logs", logs, "--images", "6", "--output", str(picture)]
    )
    text = capsys.readouterr().out
    assert "mask_rcnn_shapes_0002.h5: loaded" in text and "AP" in text and str(picture) in text
    with Image.open(picture) as image:
        assert image.size == (4 * 128, 2 * 128)  # six of 64 px, doubled, in rows of four
        pixels = np.asarray(image)
    dataset = shapes.make_dataset(1, shapes.HELD_OUT_SEED)
    # the first, but for what is drawn on it
    assert np.mean(pixels[:128:2, :128:2] == dataset.load_image(0)) > 0.3
    assert (pixels[128:, 256:] == 255).all()

    shapes.main(["evaluate", "--weights", "last", "--logs", logs, "--images", "2"])
    assert "AP" in capsys.readouterr().out

    # on from the last checkpoint: epoch 3 alone is left
    shapes.main(
        [
            "train",
            "--weights",
            "last",
            "--images",
            "6",
            "--epochs",
            "3",
            "--steps",
            "1",
            "--logs",
            logs,
            "--verbose",
            "0",
        ]
    )
    assert capsys.readouterr().out.count("Training all to epoch") == 1
    assert os.path.exists(os.path.join(logs, run, "mask_rcnn_shapes_0003.h5"))


@pytest.mark.parametrize(
    "weights, message", [("nowhere.h5", "nowhere.h5"), ("last", "no run of 'shapes'")]
)
def test_missing_weights_end_in_one_line(shapes, tmp_path, monkeypatch, weights, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        shapes.main(["detect", "--weights", weights, "--logs", str(tmp_path), "--images", "2"])
    assert list(tmp_path.iterdir()) == []


def test_grid_of_pictures(tmp_path):
    module = load("shapes")
    images = [np.full((2, 3, 3), value, np.uint8) for value in (10, 20, 30)]
    module.save_grid(tmp_path / "grid.png", images, columns=2)
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (4, 6, 3)
    assert [grid[0, 0, 0], grid[0, 3, 0], grid[2, 0, 0], grid[2, 3, 0]] == [10, 20, 30, 255]
    assert module.enlarge(np.array([[1, 2]]), 2).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]

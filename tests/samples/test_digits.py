"""samples/digits.py: its scenes, the files it writes, and its commands on a tiny network."""

import dataclasses
import json
import os
import sys

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mrcnn.data.formats.coco import CocoJson
from mrcnn.data.masks import extract_bboxes
from tests.samples.scripts import TINY, load
from tests.tiny import backbone, backbone_shapes

pytest.importorskip("sklearn", reason="the digits come with scikit-learn")


@pytest.fixture
def digits(monkeypatch):
    """The sample with a network of 64 px that trains in seconds."""
    module = load("digits")
    fields = {
        **TINY,
        "BACKBONE": staticmethod(backbone),
        "COMPUTE_BACKBONE_SHAPE": staticmethod(backbone_shapes),
        "IMAGE_MIN_DIM": 64,
        "IMAGE_MAX_DIM": 64,
    }
    for field, value in fields.items():
        monkeypatch.setattr(module.DigitsConfig, field, value)
    return module


def make(module, count=20, **settings):
    dataset = module.DigitsDataset()
    dataset.load_digits(count, settings=module.SceneSettings(**settings))
    dataset.prepare()
    return dataset


# === Digits ===


def test_training_and_held_out_digits_are_others():
    glyphs = load("digits").load_glyphs()
    (train, train_labels), (val, val_labels) = glyphs["train"], glyphs["val"]
    assert train.shape == (1437, 8, 8) and val.shape == (360, 8, 8) and train.dtype == np.uint8
    assert (
        set(train_labels) == set(val_labels) == set(range(10))
        and train.max() == 255
        and train.min() == 0
    )
    assert not {one.tobytes() for one in train} & {one.tobytes() for one in val}


def test_mnist_file(tmp_path):
    path, rng = tmp_path / "mnist.npz", np.random.RandomState(0)
    arrays = {
        "x_train": rng.randint(0, 256, (5, 28, 28), np.uint8),
        "y_train": np.arange(5, dtype=np.uint8),
        "x_test": rng.randint(0, 256, (3, 28, 28), np.uint8),
        "y_test": np.arange(3, dtype=np.uint8),
    }
    np.savez(path, **arrays)
    module = load("digits")
    glyphs = module.load_glyphs(str(path))
    np.testing.assert_array_equal(glyphs["val"][0], arrays["x_test"])
    dataset = module.DigitsDataset()
    dataset.load_digits(3, "val", mnist=str(path))
    assert set(dataset.draw(0)[2]) <= {0, 1, 2}

    for change, message in (
        ({"x_test": None}, "not an mnist.npz.*x_test"),
        ({"y_train": np.arange(4)}, r"got uint8 \(5, 28, 28\) and \(4,\)"),
        ({"y_train": np.arange(5) + 8}, "labels other than 0 to 9"),
        ({"x_train": np.zeros((5, 28, 28), np.uint8)}, "without ink"),
        ({"x_train": np.zeros((5, 28, 28))}, "float64"),
    ):
        wrong = tmp_path / "wrong.npz"
        np.savez(
            wrong,
            **{key: value for key, value in {**arrays, **change}.items() if value is not None},
        )
        with pytest.raises(ValueError, match=f"wrong.npz.*{message}"):
            load("digits").load_glyphs(str(wrong))
    wrong.write_bytes(b"no npz")
    with pytest.raises(ValueError, match="wrong.npz is not an mnist.npz"):
        load("digits").load_glyphs(str(wrong))
    with pytest.raises(FileNotFoundError, match="gone.npz is missing"):
        load("digits").load_glyphs("gone.npz")


def test_missing_scikit_learn(monkeypatch):
    for name in list(sys.modules):
        if name.split(".")[0] == "sklearn":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(
        SystemExit,
        match="error: the digits come with scikit-learn.*pip install scikit-learn.*--mnist",
    ):
        load("digits").main(["generate", "--dataset", "nowhere"])


def test_a_digit_has_the_height_asked_for():
    module = load("digits")
    glyph = np.zeros((28, 28), np.uint8)
    glyph[4:24, 8:18] = 255
    cover = module.draw_digit(glyph, 40, 1, 0)
    assert (
        cover.dtype == np.float32
        and abs(cover.shape[0] - 40) <= 2
        and abs(cover.shape[1] - 20) <= 2
    )
    assert cover.min() >= 0 and cover.max() == 1 and cover[5:-5, 5:-5].min() == 1
    wide, turned = module.draw_digit(glyph, 40, 1.5, 0), module.draw_digit(glyph, 40, 1, 90)
    assert abs(wide.shape[1] - 30) <= 2 and abs(wide.shape[0] - 40) <= 2
    assert abs(turned.shape[0] - 20) <= 2 and abs(turned.shape[1] - 40) <= 2
    for seed in range(20):  # cut to the ink, whatever the digit
        glyphs, _ = module.load_glyphs()["train"]
        ink = module.draw_digit(glyphs[seed], 18, 0.9, 10) >= 0.5
        assert ink[0].any() and ink[-1].any() and ink[:, 0].any() and ink[:, -1].any()


# === Scenes ===


def test_scenes_follow_from_the_seed_and_their_number():
    module = load("digits")
    datasets = []
    for count, seed in ((5, 7), (9, 7), (5, 8)):
        dataset = module.DigitsDataset()
        dataset.load_digits(count, seed=seed)
        dataset.prepare()
        datasets.append(dataset)
    first, more, other = datasets
    assert first.class_names == ["BG", *"0123456789"]
    for number in range(5):
        scene = first.load_image(number)
        assert scene.shape == (128, 128, 3) and scene.dtype == np.uint8
        # more scenes do not change the first ones
        np.testing.assert_array_equal(scene, more.load_image(number))
        assert not np.array_equal(scene, other.load_image(number))
        masks, class_ids = first.load_mask(number)
        assert (
            masks.dtype == bool
            and class_ids.dtype == np.int32
            and masks.shape == (128, 128, len(class_ids))
        )
        assert " ".join(str(class_id - 1) for class_id in class_ids) == first.image_reference(
            number
        )


def test_masks_are_the_ink():
    dataset = make(load("digits"), 30, noise=0.0, contrast=80.0)
    luma = np.array([0.299, 0.587, 0.114])
    for number in dataset.image_ids:
        image, masks, digits = dataset.draw(number)
        assert masks.sum(axis=-1).max() == 1 and len(digits)  # no pixel belongs to two
        bright, ink = image @ luma, masks.any(axis=-1)
        for mask in np.moveaxis(masks, -1, 0):
            # an edge pixel that is half covered is half as dark
            assert bright[mask].max() <= bright[~ink].max() - 35
            core = bright[mask] <= np.percentile(bright[mask], 50)
            assert bright[mask][core].max() <= 255 - 70
        # far from any ink there is only paper, which is bright
        near = np.zeros_like(ink)
        for dy in range(-3, 4):
            for dx in range(-3, 4):
                near |= np.roll(ink, (dy, dx), (0, 1))
        assert bright[~near].min() >= 105


def test_overlap_is_limited():
    module = load("digits")
    crowded = dict(least_digits=6, most_digits=6, least_size=30, noise=0.0)
    touching = {}
    for limit in (0.0, 0.5):
        count = 0
        dataset = make(module, 20, max_overlap=limit, **crowded)
        for number in dataset.image_ids:
            boxes = extract_bboxes(dataset.load_mask(number)[0]).tolist()
            shares = [module.covered_share(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
            count += sum(share > 0 for share in shares)
        touching[limit] = count
    assert touching[0.0] == 0 and touching[0.5] > 20


def test_covered_share():
    share = load("digits").covered_share
    assert (
        share((0, 0, 10, 10), (0, 0, 10, 10)) == 1 and share((0, 0, 10, 10), (10, 0, 20, 10)) == 0
    )
    assert share((0, 0, 10, 10), (5, 5, 10, 10)) == 1  # the smaller one is covered altogether
    assert share((0, 0, 10, 10), (0, 5, 10, 25)) == 0.5 and share((0, 0, 4, 4), (9, 9, 12, 12)) == 0


def test_sizes_and_numbers_of_digits():
    module = load("digits")
    dataset = make(
        module,
        40,
        height=96,
        width=160,
        least_digits=2,
        most_digits=3,
        least_size=20,
        most_size=24,
        turn=0.0,
    )
    counts = set()
    for number in dataset.image_ids:
        masks, class_ids = dataset.load_mask(number)
        assert masks.shape[:2] == (96, 160)
        counts.add(len(class_ids))
        boxes = extract_bboxes(masks)
        # the visible part may be less
        assert (boxes[:, 2] - boxes[:, 0]).max() <= 27 and np.median(
            boxes[:, 2] - boxes[:, 0]
        ) >= 18
    assert counts == {2, 3}


def test_a_scene_without_room_has_no_digit():
    module = load("digits")
    wide = np.full((8, 40), 255, np.uint8)[np.newaxis]
    image, masks, digits = module.random_scene(
        wide, np.array([1]), module.SceneSettings(64, 64, 1, 2, 40, 48), np.random.default_rng(0)
    )
    assert image.shape == (64, 64, 3) and masks.shape == (64, 64, 0) and digits.shape == (0,)


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(least_digits=0), "least_digits is 0"),
        (dict(least_digits=7), "least_digits is 7 and most_digits is 6"),
        (dict(most_size=200), "at most 96 px"),
        (dict(turn=90.0), "turn is 90.0; it must be 0 to 45"),
        (dict(max_overlap=-0.1), "max_overlap"),
        (dict(contrast=200.0), "contrast"),
    ],
)
def test_settings_that_make_no_scene(settings, message):
    with pytest.raises(ValueError, match=message):
        load("digits").SceneSettings(**settings)


# === Files ===


def test_generated_files(tmp_path, capsys):
    module, folder = load("digits"), tmp_path / "data"
    arguments = [
        "generate",
        "--images",
        "4",
        "--val-images",
        "3",
        "--seed",
        "5",
        "--height",
        "96",
        "--most-digits",
        "3",
    ]
    module.main([*arguments, "--dataset", str(folder)])
    assert "4 scenes in" in capsys.readouterr().out
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["digits"] == "scikit-learn" and settings["images"] == {"train": 4, "val": 3}
    assert settings["scenes"] == {
        **dataclasses.asdict(module.SceneSettings()),
        "height": 96,
        "most_digits": 3,
    }

    for subset, count in (("train", 4), ("val", 3)):
        # the settings are enough to draw the same scenes again
        drawn = module.DigitsDataset()
        drawn.load_digits(
            count,
            subset,
            settings["seeds"][subset],
            settings=module.SceneSettings(**settings["scenes"]),
        )
        drawn.prepare()
        annotations = folder / subset / "annotations.json"
        read = CocoJson()
        read.load_coco_json(annotations, folder / subset / "images")
        read.prepare()
        assert read.num_images == count and read.class_names == drawn.class_names
        assert sorted(os.listdir(folder / subset / "images")) == [
            f"{number:06d}.png" for number in range(count)
        ]
        for number in range(count):
            np.testing.assert_array_equal(read.load_image(number), drawn.load_image(number))
            for one, other in zip(read.load_mask(number), drawn.load_mask(number), strict=True):
                np.testing.assert_array_equal(one, other)
        index = COCO(str(annotations))
        for ann in index.anns.values():
            mask = index.annToMask(ann)
            y1, x1, y2, x2 = extract_bboxes(mask[..., np.newaxis])[0]
            assert (
                ann["area"] == mask.sum()
                and ann["bbox"] == [x1, y1, x2 - x1, y2 - y1]
                and ann["iscrowd"] == 0
            )

    again = tmp_path / "again"
    module.main([*arguments, "--dataset", str(again)])
    for path in folder.rglob("*.*"):
        assert path.read_bytes() == (again / path.relative_to(folder)).read_bytes()
    with pytest.raises(SystemExit, match="error: .*data is not empty"):
        module.main([*arguments, "--dataset", str(folder)])


# === Commands ===


def test_pretrained_backbone_goes_into_the_detector(digits, tmp_path, eagerly, capsys):
    from mrcnn.model import MaskRCNN
    from mrcnn.weights import load_h5

    path = str(tmp_path / "new" / "backbone.h5")
    digits.main(["pretrain", "--images", "64", "--epochs", "1", "--output", path, "--verbose", "0"])
    assert "of 8 held-out digits are named rightly" in capsys.readouterr().out
    detector = MaskRCNN("training", digits.DigitsConfig(), str(tmp_path))
    report = detector.load_weights(path, by_name=True)
    assert {"conv1", "bn_conv1", "res5a_branch2a", "bn5a_branch2a"} <= set(report.loaded)
    assert report.skipped_in_file == ["digit_class"] and "fpn_c5p5" in report.initial
    classifier = digits.classifier(digits.DigitsConfig())
    load_h5(classifier, path)
    for name in ("conv1", "res5a_branch2a"):
        np.testing.assert_array_equal(
            classifier.get_layer(name).kernel, detector.keras_model.get_layer(name).kernel
        )
    probabilities = classifier.predict(np.zeros((2, 64, 64, 3), np.uint8), verbose=0)
    assert probabilities.shape == (2, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_single_digits_are_those_of_the_labels():
    module = load("digits")

    class Args:
        mnist = None

    images, labels = module.single_digits(Args, "train", 300)
    assert (
        images.shape == (300, 64, 64, 3)
        and images.dtype == np.uint8
        and set(labels) == set(range(10))
    )
    # zeros are hollow and ones are not: the darkest quarter of a zero leaves its middle free
    dark = images.sum(axis=-1) < np.percentile(images.sum(axis=-1), 5, axis=(1, 2), keepdims=True)
    hollow = []
    for mask in dark:
        y, x = np.nonzero(mask)
        hollow.append(
            mask[
                round(y.mean()) - 1 : round(y.mean()) + 2, round(x.mean()) - 1 : round(x.mean()) + 2
            ].mean()
        )
    assert (
        np.mean(np.array(hollow)[labels == 0]) < 0.2 < 0.6 < np.mean(np.array(hollow)[labels == 1])
    )


@pytest.mark.parametrize("stored", [False, True], ids=["drawn", "from files"])
def test_train_then_detect_and_evaluate(digits, tmp_path, eagerly, capsys, stored):
    logs, data = str(tmp_path / "logs"), []
    if stored:
        folder = str(tmp_path / "data")
        digits.main(["generate", "--dataset", folder, "--images", "6", "--val-images", "5"])
        data = ["--dataset", folder]
    digits.main(
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
            *data,
        ]
    )
    text = capsys.readouterr().out
    assert "learning rate 0.01:" in text and "learning rate 0.002:" in text  # it falls on the way
    assert text.splitlines()[-1].endswith("mask_rcnn_digits_0002.h5")

    picture = tmp_path / "found.png"
    digits.main(
        [
            "detect",
            "--weights",
            "last",
            "--logs",
            logs,
            "--images",
            "5",
            "--output",
            str(picture),
            *data,
        ]
    )
    text = capsys.readouterr().out
    assert (
        "mask_rcnn_digits_0002.h5: loaded" in text
        and "AP50" in text
        and "5 images" in text
        and str(picture) in text
    )
    with Image.open(picture) as image:
        assert image.size == (4 * 256, 2 * 256)  # five of 128 px, doubled, in rows of four
    digits.main(["evaluate", "--model", "last", "--logs", logs, "--images", "2", *data])
    assert ("5 images" if stored else "2 images") in capsys.readouterr().out

    own = tmp_path / "own.png"
    Image.fromarray(np.full((50, 70), 200, np.uint8)).save(own)
    digits.main(
        [
            "detect",
            "--weights",
            "last",
            "--logs",
            logs,
            "--image",
            str(own),
            "--output",
            str(picture),
        ]
    )
    with Image.open(picture) as image:
        assert image.size == (140, 100)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["detect", "--weights", "nowhere.h5"], "nowhere.h5"),
        (["evaluate", "--weights", "last"], "no run of 'digits'"),
        (["train", "--dataset", "gone"], "gone"),
        (["detect", "--image", "gone.png"], "gone.png"),
        (["evaluate", "--mnist", "gone.npz"], "gone.npz is missing"),
        (["generate", "--dataset", "new", "--least-size", "200"], "least_size is 200"),
    ],
)
def test_mistakes_end_in_one_line(digits, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    logs = [] if arguments[0] == "generate" else ["--logs", str(tmp_path)]
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        digits.main([*arguments, *logs])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--help"], ["generate", "pretrain", "train", "evaluate", "detect", "scikit-learn"]),
        (
            ["generate", "--help"],
            ["--dataset", "--val-images", "--max-overlap", "--least-size", "default: 2000"],
        ),
        (["train", "--help"], ["--weights", "--model", "--mnist", "--epochs", "--dataset"]),
        (["detect", "--help"], ["--output", "digits.png", "--image "]),
    ],
)
def test_help(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        load("digits").main(arguments)
    text = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0 and all(word in text for word in words)


@pytest.mark.parametrize(
    "words, expected", [([], None), (["--mnist"], "keras"), (["--mnist", "a.npz"], "a.npz")]
)
def test_where_the_digits_come_from(words, expected):
    assert load("digits").parse_args(["evaluate", *words]).mnist == expected


@pytest.mark.slow
def test_the_kept_weights(capsys):
    """weights/README.md says AP50 0.92 on 200 scenes."""
    module = load("digits")
    if not os.path.exists(module.DEFAULT_WEIGHTS):
        pytest.skip(f"{module.DEFAULT_WEIGHTS} is missing")
    module.main(["evaluate", "--images", "40"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("AP50"))
    boxes, masks = map(float, line.split()[1:])
    assert boxes > 0.88 and masks > 0.88

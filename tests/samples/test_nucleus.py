"""samples/nucleus.py: run lengths against a second writing of Kaggle's rule, the layout, and its
commands.
"""

import csv
import os

import numpy as np
import pytest
from PIL import Image

from mrcnn.model import MaskRCNN
from tests.samples.scripts import TINY, load
from tests.tiny import backbone, backbone_shapes, image, randomize

IDS = [f"{number:02d}{'ab' * 31}" for number in range(4)]
SHAPES = {IDS[0]: (48, 64), IDS[1]: (70, 52), IDS[2]: (64, 64), IDS[3]: (33, 40)}


def nuclei(shape):
    """Two masks."""
    masks = np.zeros((*shape, 2), bool)
    masks[4:20, 6:18, 0] = True
    masks[15:30, 20:33, 1] = True
    return masks


def write(folder, image_ids, masked=True):
    for seed, image_id in enumerate(image_ids):
        (folder / image_id / "images").mkdir(parents=True)
        alpha = np.full((*SHAPES[image_id], 1), 255, np.uint8)  # these files are RGBA
        Image.fromarray(np.concatenate([image(*SHAPES[image_id], seed), alpha], axis=-1)).save(
            folder / image_id / "images" / f"{image_id}.png"
        )
        if masked:
            (folder / image_id / "masks").mkdir()
            for number, mask in enumerate(np.moveaxis(nuclei(SHAPES[image_id]), -1, 0)):
                Image.fromarray(mask.astype(np.uint8) * 255).save(
                    folder / image_id / "masks" / f"{number}.png"
                )


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "dsb" / "stage1_train", IDS[:3])
    write(tmp_path / "dsb" / "stage1_test", IDS[2:], masked=False)
    return str(tmp_path / "dsb")


@pytest.fixture
def nucleus(monkeypatch, tmp_path):
    """The sample with a tiny network, one validation image and its results in a temporary
    folder.
    """
    module = load("nucleus")
    fields = {
        **TINY,
        "BACKBONE": staticmethod(backbone),
        "COMPUTE_BACKBONE_SHAPE": staticmethod(backbone_shapes),
        "IMAGE_MIN_DIM": 64,
        "IMAGE_MAX_DIM": 64,
        "IMAGE_MIN_SCALE": 1.5,
    }
    for field, value in fields.items():
        monkeypatch.setattr(module.NucleusConfig, field, value)
    monkeypatch.setattr(module.NucleusInferenceConfig, "IMAGE_MIN_DIM", 64)
    monkeypatch.setattr(module, "VAL_IMAGE_IDS", IDS[1:2])
    monkeypatch.setattr(module, "RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)
    model = MaskRCNN("inference", module.NucleusInferenceConfig(), "logs")
    randomize(model.keras_model)
    model.keras_model.get_layer("mrcnn_mask").bias.assign([2, 2])  # so that masks are not empty
    model.save_weights("start.h5")
    return module


# === Run lengths ===


def by_the_rule(mask):
    """Kaggle's rule in words: walk down the columns, count pixels from 1, note where a run starts
    and its length.
    """
    pairs, length, number = [], 0, 0
    for column in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            number += 1
            if mask[row, column]:
                length += 1
            elif length:
                pairs += [number - length, length]
                length = 0
    if length:
        pairs += [number - length + 1, length]
    return " ".join(map(str, pairs))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 8), (31, 17)])
@pytest.mark.parametrize("density", [0, 0.1, 0.5, 1])
def test_run_lengths(shape, density):
    module = load("nucleus")
    mask = np.random.RandomState(3).rand(*shape) < density
    rle = module.rle_encode(mask)
    assert rle == by_the_rule(mask) == module.rle_encode(mask.astype(np.uint8) * 255)
    decoded = module.rle_decode(rle, shape)
    assert decoded.dtype == bool
    np.testing.assert_array_equal(decoded, mask)


def test_the_example_of_the_competition():
    # "1 3 10 5": pixels 1 to 3 and 10 to 14
    mask = load("nucleus").rle_decode("1 3 10 5", (5, 4))
    assert (np.flatnonzero(mask.ravel(order="F")) + 1).tolist() == [1, 2, 3, 10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    "rle, message",
    [
        ("1 2 3", "pairs"),
        ("0 2", "pixels are 1 to 20"),
        ("19 3", "leaves an image"),
        ("4 0", "leaves an image"),
        ("a 2", "invalid literal"),
    ],
)
def test_wrong_run_lengths(rle, message):
    with pytest.raises(ValueError, match=message):
        load("nucleus").rle_decode(rle, (5, 4))
    with pytest.raises(ValueError, match="height, width"):
        load("nucleus").rle_encode(np.zeros((2, 2, 2)))


@pytest.mark.parametrize(
    "scores", [[0.9, 0.8, 0.7], [0.7, 0.9, 0.8], [0.8, 0.7, 0.9], [0.5, 0.5, 0.5]]
)
def test_overlaps_go_to_the_better_score(scores):
    """The original took argsort for the rank, which is right only for scores that are sorted."""
    module = load("nucleus")
    masks = np.zeros((6, 9, 3), bool)
    masks[:4, :5, 0] = masks[2:, 3:8, 1] = masks[1:5, 4:, 2] = True
    lines = module.mask_to_rle("x", masks, scores).splitlines()
    order = sorted(range(3), key=lambda index: -scores[index])
    owner = np.full((6, 9), -1)
    for index in reversed(order):
        owner[masks[..., index]] = index
    assert [line.split(",")[0] for line in lines] == ["x"] * 3
    for line, index in zip(lines, order, strict=True):
        np.testing.assert_array_equal(module.rle_decode(line.split(",")[1], (6, 9)), owner == index)


def test_images_without_a_nucleus_and_hidden_ones():
    module = load("nucleus")
    assert module.mask_to_rle("x", np.zeros((4, 5, 0)), []) == "x,"
    assert module.mask_to_rle("x", np.zeros((4, 5, 2), bool), [0.5, 0.6]) == "x,"
    masks = np.zeros((4, 5, 2), bool)
    masks[1, 1, 0] = masks[:3, :3, 1] = True
    assert len(module.mask_to_rle("x", masks, [0.5, 0.6]).splitlines()) == 1
    with pytest.raises(ValueError, match="3 scores"):
        module.mask_to_rle("x", masks, [1, 2, 3])


# === Data ===


def test_hidden_folders_are_no_images(nucleus, folder):
    os.makedirs(os.path.join(folder, "stage1_train", ".ipynb_checkpoints"))
    assert [
        nucleus.make_dataset(folder, subset).num_images
        for subset in ("train", "val", "stage1_train")
    ] == [2, 1, 3]


def test_subsets(nucleus, folder):
    ids = {
        subset: [info["id"] for info in nucleus.make_dataset(folder, subset).image_info]
        for subset in ("train", "val", "stage1_train", "stage1_test")
    }
    assert ids == {
        "train": [IDS[0], IDS[2]],
        "val": [IDS[1]],
        "stage1_train": IDS[:3],
        "stage1_test": IDS[2:],
    }
    dataset = nucleus.make_dataset(folder, "val")
    masks, class_ids = dataset.load_mask(0)
    np.testing.assert_array_equal(masks, nuclei(SHAPES[IDS[1]]))
    assert class_ids.tolist() == [1, 1] and dataset.class_names == ["BG", "nucleus"]
    assert dataset.load_image(0).shape == (*SHAPES[IDS[1]], 3)
    assert (
        dataset.image_reference(0) == IDS[1]
        and dataset.image_from_source_map[f"nucleus.{IDS[1]}"] == 0
    )
    masks, class_ids = nucleus.make_dataset(folder, "stage1_test").load_mask(0)
    assert masks.shape == (*SHAPES[IDS[2]], 0) and class_ids.shape == (0,)


def test_the_originals_numbers():
    module = load("nucleus")
    assert len(module.VAL_IMAGE_IDS) == len(set(module.VAL_IMAGE_IDS)) == 25
    assert {len(name) for name in module.VAL_IMAGE_IDS} == {64}
    config = module.NucleusConfig()
    assert (config.STEPS_PER_EPOCH, config.VALIDATION_STEPS, config.BATCH_SIZE) == (105, 4, 6)
    assert config.IMAGE_SHAPE.tolist() == [512, 512, 3] and config.IMAGE_RESIZE_MODE == "crop"
    inference = module.NucleusInferenceConfig()
    assert (inference.IMAGE_RESIZE_MODE, inference.RPN_NMS_THRESHOLD, inference.BATCH_SIZE) == (
        "pad64",
        0.7,
        1,
    )


# === Commands ===


def test_train_then_detect(nucleus, folder, tmp_path, eagerly, capsys):
    common = ["--dataset", folder, "--logs", "logs"]
    nucleus.main(
        [
            "train",
            "--weights",
            "start.h5",
            *common,
            "--epochs",
            "2",
            "--steps",
            "1",
            "--no-augmentation",
            "--verbose",
            "0",
            "--seed",
            "0",
        ]
    )
    text = capsys.readouterr().out
    assert "Training heads to epoch 1" in text and "Training all to epoch 2" in text
    assert text.splitlines()[-1].endswith("mask_rcnn_nucleus_0002.h5")

    nucleus.main(["detect", "--weights", "start.h5", "--subset", "stage1_test", *common])
    (submission,) = (tmp_path / "results").iterdir()
    assert sorted(os.listdir(submission)) == sorted(
        [*(f"{image_id}.png" for image_id in IDS[2:]), "submit.csv"]
    )
    with open(submission / "submit.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert (
        rows[0] == ["ImageId", "EncodedPixels"]
        and list(dict.fromkeys(row[0] for row in rows[1:])) == IDS[2:]
    )
    # what is in the file is what detect finds, and no pixel is there twice
    model = MaskRCNN("inference", nucleus.NucleusInferenceConfig(), "logs")
    model.load_weights("start.h5", by_name=True)
    dataset = nucleus.make_dataset(folder, "stage1_test")
    for number, image_id in enumerate(IDS[2:]):
        (found,) = model.detect([dataset.load_image(number)])
        written = [
            nucleus.rle_decode(row[1], SHAPES[image_id])
            for row in rows[1:]
            if row[0] == image_id and row[1]
        ]
        assert found["masks"].any() and np.sum(written, axis=0).max() == 1
        np.testing.assert_array_equal(np.any(written, axis=0), found["masks"].any(axis=-1))


def test_evaluate(nucleus, folder, capsys):
    nucleus.main(["evaluate", "--weights", "start.h5", "--dataset", folder, "--logs", "logs"])
    text = capsys.readouterr().out
    assert "AP50" in text and "1 images" in text


def test_semantic(nucleus, folder, tmp_path, eagerly, capsys, monkeypatch):
    for field, value in {
        "UNET_WIDTHS": (4, 8),
        "IMAGES_PER_GPU": 2,
        "IMAGE_MIN_DIM": 64,
        "IMAGE_MAX_DIM": 64,
    }.items():
        monkeypatch.setattr(nucleus.NucleusLabelsConfig, field, value)
    common = ["--semantic", "--dataset", folder, "--logs", "logs"]
    nucleus.main(
        [
            *("train", *common, "--epochs", "1", "--steps", "1", "--no-augmentation"),
            *("--verbose", "0", "--seed", "0"),
        ]
    )
    text = capsys.readouterr().out
    assert "Training all to epoch 1" in text and "Training heads" not in text
    assert text.splitlines()[-1].endswith("segmenter_nucleus_labels_0001.h5")
    nucleus.main(["evaluate", "--weights", "last", *common])
    text = capsys.readouterr().out
    assert "mIoU" in text and "\nnucleus " in text and "1 images" in text

    nucleus.main(["detect", "--weights", "last", "--subset", "stage1_test", *common])
    (submission,) = (tmp_path / "results").iterdir()
    # the runs of all regions of an image are the pixels that are labelled nucleus
    from mrcnn.segmenter import Segmenter

    model = Segmenter("inference", nucleus.NucleusLabelsInferenceConfig(), "logs")
    model.load_weights(model.find_last(), by_name=True)
    dataset = nucleus.make_dataset(folder, "stage1_test")
    with open(submission / "submit.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    for number, image_id in enumerate(IDS[2:]):
        written = np.zeros(SHAPES[image_id], bool)
        for row in rows:
            if row[0] == image_id and row[1]:
                written |= nucleus.rle_decode(row[1], SHAPES[image_id])
        (found,) = model.segment([dataset.load_image(number)])
        np.testing.assert_array_equal(written, found.labels == 1)


@pytest.mark.slow
def test_half_a_minute_teaches_a_unet_drawn_cells(nucleus, tmp_path, monkeypatch, capsys):
    """Disks of two sizes and a shade of noise, on black."""
    rng, ids = np.random.default_rng(0), [f"{number:04d}" for number in range(40)]
    rows, columns = np.mgrid[:64, :64]
    for image_id in ids:
        folder = tmp_path / "cells" / "stage1_train" / image_id
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        picture = rng.normal(30, 10, (64, 64, 3))
        for number in range(rng.integers(2, 6)):
            (y, x), radius = rng.integers(6, 58, 2), rng.integers(4, 10)
            mask = np.hypot(rows - y, columns - x) <= radius
            picture[mask] += rng.uniform(30, 90)
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{number}.png")
        picture = np.clip(picture, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"{image_id}.png")
    monkeypatch.setattr(nucleus, "VAL_IMAGE_IDS", ids[::5])
    for field, value in {
        "UNET_WIDTHS": (8, 16, 32),
        "IMAGE_MIN_DIM": 64,
        "IMAGE_MAX_DIM": 64,
    }.items():
        monkeypatch.setattr(nucleus.NucleusLabelsConfig, field, value)
    common = ["--semantic", "--dataset", str(tmp_path / "cells"), "--logs", "logs"]
    nucleus.main(
        ["train", *common, "--epochs", "8", "--steps", "40", "--seed", "0", "--verbose", "0"]
    )
    nucleus.main(["evaluate", "--weights", "last", *common])
    text = capsys.readouterr().out
    assert float(text.partition("\nnucleus ")[2].split()[0]) > 0.85


def test_augmentation_moves_masks_with_the_image(nucleus):
    from mrcnn.data.augment.user import augment

    try:
        augmentation = nucleus.make_augmentation()
    except ImportError as error:
        pytest.skip(f"needs imgaug: {error}")
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[5:20, 10:50] = 200
    mask = picture[..., :1] > 100
    for seed in range(12):
        changed, moved = augment(picture, mask, augmentation, np.random.RandomState(seed))
        inside, outside = changed[moved[..., 0]].mean(), changed[~moved[..., 0]].mean()
        assert inside > outside + 50


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["detect", "--weights", "start.h5", "--subset", "stage2", "--dataset", "dsb"],
            "stage2 is missing",
        ),
        (
            ["detect", "--weights", "gone.h5", "--subset", "stage1_test", "--dataset", "dsb"],
            "gone.h5",
        ),
        (
            ["train", "--weights", "last", "--no-augmentation", "--dataset", "dsb"],
            "no run of 'nucleus'",
        ),
    ],
)
def test_mistakes_end_in_one_line(nucleus, folder, arguments, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        nucleus.main([*arguments, "--logs", "logs"])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--help"], ["train", "detect", "submit.csv"]),
        (["train", "--help"], ["--dataset", "--subset", "--weights", "--model", "default: 40"]),
        (["detect", "--help"], ["--subset", "stage1_test"]),
    ],
)
def test_help(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        load("nucleus").main(arguments)
    text = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0 and all(word in text for word in words)

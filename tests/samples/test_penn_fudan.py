"""samples/penn_fudan.py: the division, the download, and its commands on a tiny network and photos
made here.
"""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrcnn.model import MaskRCNN
from tests.paths import DATA
from tests.samples.scripts import load, make_tiny
from tests.tiny import image, randomize

COMMON = ["--size", "64", "--logs", "logs"]
REAL = Path(os.environ.get("MASKRCNN_PENN_FUDAN", DATA / "PennFudanPed"))


def write(folder, count=7):
    """Photos with 1 + number % 2 people, in the names and the layout of the data set."""
    for name in ("PNGImages", "PedMasks", "Annotation"):
        (folder / name).mkdir(parents=True)
    for number in range(1, count + 1):
        ids = np.zeros((60, 80), np.uint8)
        ids[10:50, 5:30] = 1
        if number % 2:
            ids[20:55, 40:70] = 2
        Image.fromarray(image(60, 80, number)).save(
            folder / "PNGImages" / f"FudanPed{number:05d}.png"
        )
        Image.fromarray(ids).save(folder / "PedMasks" / f"FudanPed{number:05d}_mask.png")
        (folder / "Annotation" / f"FudanPed{number:05d}.txt").write_text(
            "# Compatible with PASCAL Annotation"
        )
    return str(folder)


@pytest.fixture
def penn_fudan(monkeypatch, tmp_path):
    """The sample with a tiny network, in a folder with data/PennFudanPed and start.h5."""
    module = load("penn_fudan")
    make_tiny(
        monkeypatch,
        module,
        module.PennFudanConfig,
        RPN_ANCHOR_SCALES=module.PennFudanConfig.RPN_ANCHOR_SCALES,
        DETECTION_MIN_CONFIDENCE=0.0,
    )
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data" / "PennFudanPed")
    model = MaskRCNN(
        "inference",
        module.make_config(module.parse_args(["detect", "--model", "x", *COMMON])),
        "logs",
    )
    randomize(model.keras_model)
    model.save_weights("start.h5")
    return module


# === Data ===


def test_the_division_is_by_name(tmp_path):
    module, folder = load("penn_fudan"), write(tmp_path / "PennFudanPed", 11)
    ids = {
        subset: [int(info["id"][-5:]) for info in module.make_dataset(folder, subset).image_info]
        for subset in ("train", "val", "all")
    }
    assert (
        ids["val"] == [1, 6, 11]
        and ids["train"] == [2, 3, 4, 5, 7, 8, 9, 10]
        and ids["all"] == [*range(1, 12)]
    )
    dataset = module.make_dataset(folder, "train")
    masks, class_ids = dataset.load_mask(1)  # photo 3
    assert (
        masks.shape == (60, 80, 2)
        and class_ids.tolist() == [1, 1]
        and dataset.class_names == ["BG", "person"]
    )
    assert masks.sum(axis=(0, 1)).tolist() == [40 * 25, 35 * 30]
    assert dataset.load_image(1).shape == (60, 80, 3) and dataset.image_reference(1).endswith(
        "FudanPed00003.png"
    )


def test_wrong_folders(tmp_path):
    module = load("penn_fudan")
    with pytest.raises(FileNotFoundError, match="PNGImages is missing: --dataset is the folder"):
        module.make_dataset(str(tmp_path), "val")
    with pytest.raises(ValueError, match="subset is 'test'"):
        module.make_dataset(str(tmp_path), "test")
    folder = write(tmp_path / "PennFudanPed")
    os.remove(os.path.join(folder, "PedMasks", "FudanPed00003_mask.png"))
    with pytest.raises(FileNotFoundError, match="FudanPed00003.png"):
        module.make_dataset(folder, "val")


# === Download ===


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The sample with an archive of 7 photos in place of the network; returns it and the list of
    what was fetched.
    """
    module, fetched = load("penn_fudan"), []
    source = Path(write(tmp_path / "published" / "PennFudanPed"))
    with zipfile.ZipFile(tmp_path / "published.zip", "w") as archive:
        for path in source.rglob("*"):
            archive.write(path, path.relative_to(source.parent))

    def fetch(url, path):
        fetched.append(url)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return shutil.copy(tmp_path / "published.zip", path)

    monkeypatch.setattr("mrcnn.common.download.download", fetch)
    monkeypatch.setattr(module, "PHOTOS", 7)
    monkeypatch.setattr(module, "PEOPLE", 11)
    return module, fetched


def test_download_counts_what_came(published, tmp_path, capsys):
    module, fetched = published
    folder = str(tmp_path / "new" / "PennFudanPed")
    module.download_penn_fudan(folder)
    assert fetched == [
        module.URL
    ] and "no hash is published; its 7 photos open and have 11 people" in (capsys.readouterr().out)
    module.download_penn_fudan(folder)
    assert len(fetched) == 1  # all is there
    os.remove(os.path.join(folder, "PedMasks", "FudanPed00003_mask.png"))
    module.download_penn_fudan(folder + os.sep)
    assert len(fetched) == 2 and len(os.listdir(os.path.join(folder, "PedMasks"))) == 7


def test_download_of_something_else(published, tmp_path, monkeypatch):
    module, _ = published
    with pytest.raises(ValueError, match="pass --dataset=.*other.PennFudanPed"):
        module.download_penn_fudan(str(tmp_path / "other"))
    monkeypatch.setattr(module, "PEOPLE", 423)
    with pytest.raises(ValueError, match="7 photos and 11 people, not 7 and 423"):
        module.download_penn_fudan(str(tmp_path / "PennFudanPed"))


# === Commands ===


def test_train_evaluate_and_detect(penn_fudan, eagerly, capsys):
    data = ["--dataset", "data/PennFudanPed", *COMMON]
    penn_fudan.main(
        [
            "train",
            "--weights",
            "start.h5",
            *data,
            "--epochs",
            "1",
            "--steps",
            "1",
            "--flip",
            "--seed",
            "0",
            "--verbose",
            "0",
        ]
    )
    assert capsys.readouterr().out.splitlines()[-1].endswith("mask_rcnn_penn_fudan_0001.h5")
    penn_fudan.main(["evaluate", "--model", "last", *data])
    text = capsys.readouterr().out
    assert "AP50" in text and "2 images" in text
    penn_fudan.main(["detect", "--model", "start.h5", *data])
    assert sorted(os.listdir("results/penn_fudan")) == ["FudanPed00001.png", "FudanPed00006.png"]
    assert "people, scores [0." in capsys.readouterr().out
    photo = "data/PennFudanPed/PNGImages/FudanPed00003.png"
    penn_fudan.main(
        ["detect", "--model", "start.h5", "--image", photo, "--output", "mine", *COMMON]
    )
    drawn, original = (np.asarray(Image.open(path)) for path in ("mine/FudanPed00003.png", photo))
    assert drawn.shape == original.shape and (drawn != original).any()


def test_a_run_keeps_its_preset(penn_fudan, eagerly):
    data = ["--dataset", "data/PennFudanPed", *COMMON]
    options = ["--epochs", "1", "--steps", "1", "--verbose", "0"]
    penn_fudan.main(["train", "--model", "none", *data, *options])
    args = penn_fudan.parse_args(["evaluate", "--model", "last", *data])
    config = penn_fudan.make_model(args, "inference").config
    assert config.PRESET == "modern" and config.ROI_ALIGN == "aligned"


def test_semantic(penn_fudan, eagerly, capsys, monkeypatch):
    for field, value in {
        "UNET_WIDTHS": (4, 4, 8, 8, 8),
        "IMAGES_PER_GPU": 2,
        "VALIDATION_STEPS": 1,
    }.items():
        monkeypatch.setattr(penn_fudan.PennFudanLabelsConfig, field, value)
    data = ["--semantic", "--dataset", "data/PennFudanPed", *COMMON]
    # the backbone is that of a Mask R-CNN
    penn_fudan.main(
        [
            *("train", "--model", "start.h5", *data, "--epochs", "1", "--steps", "1", "--flip"),
            *("--seed", "0", "--verbose", "0"),
        ]
    )
    text = capsys.readouterr().out
    assert "Training decoder to epoch 1" in text
    assert text.splitlines()[-1].endswith("segmenter_penn_fudan_labels_0001.h5")
    penn_fudan.main(["evaluate", "--model", "last", *data])
    text = capsys.readouterr().out
    assert "mIoU" in text and "\nperson " in text and "2 images" in text
    penn_fudan.main(["detect", "--model", "last", *data])
    assert sorted(os.listdir("results/penn_fudan")) == ["FudanPed00001.png", "FudanPed00006.png"]
    assert "% of the pixels are of people" in capsys.readouterr().out
    assert Image.open("results/penn_fudan/FudanPed00001.png").size == (80, 60)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["detect", "--model", "start.h5"], "pass --image, or --dataset"),
        (["detect", "--model", "start.h5", "--image", "gone.jpg"], "gone.jpg is missing"),
        (["evaluate", "--model", "gone.h5", "--dataset", "data/PennFudanPed"], "gone.h5"),
        (["train", "--model", "last", "--dataset", "data/PennFudanPed"], "no run of 'penn_fudan'"),
        (["train", "--model", "start.h5", "--dataset", "data"], "PNGImages is missing"),
    ],
)
def test_mistakes_end_in_one_line(penn_fudan, arguments, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        penn_fudan.main([*arguments, *COMMON])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--help"], ["train", "evaluate", "detect", "Every fifth photo"]),
        (
            ["train", "--help"],
            ["--dataset", "--model", "--weights", "--download", "--flip", "default: 20"],
        ),
        (["detect", "--help"], ["--image", "--output", "--trained-at"]),
    ],
)
def test_help(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        load("penn_fudan").main(arguments)
    text = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0 and all(word in text for word in words)


def test_two_photos_of_one_name(penn_fudan, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
    with pytest.raises(SystemExit, match="error: two photos have the same name"):
        penn_fudan.main(
            [
                "detect",
                "--model",
                "start.h5",
                "--image",
                str(tmp_path / "one" / "1.jpg"),
                str(tmp_path / "two" / "1.jpg"),
            ]
        )


# === Real data ===


@pytest.mark.slow
def test_all_photos_and_people():
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is missing; MASKRCNN_PENN_FUDAN names the folder of the data set")
    module = load("penn_fudan")
    people, photos = {}, {}
    for subset in ("train", "val"):
        dataset = module.make_dataset(str(REAL), subset)
        photos[subset] = {info["id"] for info in dataset.image_info}
        people[subset] = 0
        for image_id in dataset.image_ids:
            masks, _ = dataset.load_mask(image_id)
            people[subset] += masks.shape[-1]
            # Annotation/<id>.txt says how many there are
            text = (REAL / "Annotation" / f"{dataset.image_info[image_id]['id']}.txt").read_text(
                encoding="latin-1"
            )
            assert (
                f"Objects with ground truth : {masks.shape[-1]} " in text
                and masks.any(axis=(0, 1)).all()
            )
    assert (len(photos["train"]), len(photos["val"]), sum(people.values())) == (136, 34, 423)
    assert not photos["train"] & photos["val"]

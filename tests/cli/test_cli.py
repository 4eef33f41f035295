"""``python -m mrcnn``, each command from its arguments to its files, on a few small images."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mrcnn.cli import main, make_parser, model_options, settings, starting_weights, train
from mrcnn.cli.predict import class_choices
from mrcnn.cli.train import add_arguments, flip, open_both, run_name, split, stage
from mrcnn.cli.weights_fields import (
    GUESSED,
    GUESSED_FOR_TRAINING,
    fields_of_weights,
    told_by_weights,
)
from mrcnn.common import json_files
from mrcnn.common.download import DownloadError
from mrcnn.config import Config
from mrcnn.config.file import read_config, save_config
from mrcnn.config.presets import TorchvisionV2Config, preset_fields
from mrcnn.data.cache.dataset import RecordDataset
from mrcnn.data.formats import open_dataset
from mrcnn.weights import CLASS_LAYERS
from mrcnn.weights.h5_format import write_h5
from tests.tiny import Rectangles, image

SMALL = [
    "--size",
    "64",
    "--batch",
    "2",
    "--backbone",
    "resnet50",
    "--set",
    "BACKBONE_WIDTH=4",
    "TOP_DOWN_PYRAMID_SIZE=8",
    "RPN_CONV_CHANNELS=8",
    "FPN_CLASSIF_FC_LAYERS_SIZE=16",
    "MASK_HEAD_CHANNELS=8",
    "RPN_ANCHOR_SCALES=8,16,32,48,64",
    "POST_NMS_ROIS_TRAINING=40",
    "POST_NMS_ROIS_INFERENCE=20",
    "TRAIN_ROIS_PER_IMAGE=10",
    "DETECTION_MAX_INSTANCES=5",
    "DETECTION_MIN_CONFIDENCE=0",
    "SEED=0",
]


def write_via(folder, count, seed):
    """Rectangles as VIA polygons, with the class in the attribute "color"."""
    folder.mkdir(parents=True)
    data, entries = Rectangles(count, seed=seed), {}
    for image_id in data.image_ids:
        name = f"picture{image_id}.png"
        Image.fromarray(data.load_image(image_id)).save(folder / name)
        regions = [
            {
                "shape_attributes": {
                    "name": "rect",
                    "x": x1,
                    "y": y1,
                    "width": x2 - x1,
                    "height": y2 - y1,
                },
                "region_attributes": {"color": ("red", "blue")[class_id - 1]},
            }
            for class_id, y1, x1, y2, x2 in np.array(data.image_info[image_id]["objects"]).tolist()
        ]
        entries[name] = {"filename": name, "size": 1, "regions": regions, "file_attributes": {}}
    (folder / "via_region_data.json").write_text(json.dumps(entries))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """photos/train with 4 images and photos/val with 2."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    write_via(folder / "train", 4, 0)
    write_via(folder / "val", 2, 1)
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """The logs of a run of two epochs."""
    logs = tmp_path_factory.mktemp("logs")
    assert (
        code_of(
            "train",
            photos,
            "--weights",
            "none",
            "--logs",
            logs,
            "--epochs",
            2,
            "--layers",
            "all",
            "--verbose",
            0,
            *SMALL,
        )
        == 0
    )
    return logs


def code_of(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


def checkpoint(logs):
    return sorted(logs.glob("*/mask_rcnn_*.h5"))[-1]


# === check ===


def test_check(photos, capsys):
    assert code_of("check", photos, "--subset", "train") == 0
    out = capsys.readouterr().out
    assert "red" in out and "blue" in out and "4" in out


def test_check_finds_a_broken_image(photos, tmp_path, capsys):
    write_via(tmp_path / "photos", 3, 0)
    (tmp_path / "photos" / "picture1.png").write_bytes(b"broken")
    code = code_of("check", tmp_path / "photos" / "via_region_data.json")
    out = capsys.readouterr()
    assert code not in (0, None) and "picture1.png" in out.out + str(code)


def test_check_lists_all_bad_masks(tmp_path, capsys):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        Image.new("RGB", (20, 10), (90, 9, number)).save(tmp_path / "images" / f"{number}.png")
        Image.new("L", (20, 10 + number % 2), 1).save(tmp_path / "masks" / f"{number}.png")
    (tmp_path / "masks" / "2.png").write_bytes(b"broken")
    assert code_of("check", tmp_path) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "masks cannot be drawn 3 " in out
        and "Not counted: 3 images whose objects cannot be read (first: " in out
    )


def test_class_attribute(photos, tmp_path, capsys):
    """VIA regions with several attributes need to be told which is the class; other formats have
    none.
    """
    write_via(tmp_path / "photos", 3, 0)
    path = tmp_path / "photos" / "via_region_data.json"
    path.write_text(path.read_text().replace('{"color":', '{"grade": "first", "color":'))
    assert "--class-attribute" in code_of("check", tmp_path / "photos")
    assert code_of("check", tmp_path / "photos", "--class-attribute", "color") == 0
    out = capsys.readouterr().out
    assert "red" in out and "blue" in out and "first" not in out
    for name in ("images", "masks"):
        (tmp_path / "of_masks" / name).mkdir(parents=True)
    assert "is of the format id_masks" in code_of(
        "check", tmp_path / "of_masks", "--class-attribute", "color"
    )


def write_coco(folder, annotations, categories=("cat", "dog"), count=1):
    """``count`` images of 64 px, of which the first has the annotations; see `SQUARE`."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(image(64, 64, number)).save(folder / f"{number}.png")
    contents = {
        "images": [
            {"id": number, "file_name": f"{number}.png", "height": 64, "width": 64}
            for number in range(count)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, 1)],
        "annotations": [
            {"id": number, "image_id": 0, "category_id": 1, **record}
            for number, record in enumerate(annotations, 1)
        ],
    }
    (folder / "c.json").write_text(json.dumps(contents))


SQUARE = {"segmentation": [[5, 5, 40, 5, 40, 30, 5, 30]], "bbox": [5, 5, 35, 25]}


@pytest.mark.parametrize(
    "annotations, option, message",
    [
        ([], None, "none of the 1 images of CocoJson has an object"),
        ([{**SQUARE, "segmentation": []}], ["--boxes-as-masks"], "a box is no mask"),
        ([{**SQUARE, "iscrowd": 1}], ["--crowds", "objects"], "all 1 objects are crowds"),
    ],
    ids=["nothing", "boxes", "crowds"],
)
def test_nothing_to_learn(tmp_path, capsys, annotations, option, message):
    write_coco(tmp_path / "data", annotations)
    assert code_of("check", tmp_path / "data") == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "not fit for training" in out and message in out
    assert "fit for training" not in out.replace("not fit for training", "")
    said = code_of("train", tmp_path / "data", "--weights", "none", "--logs", tmp_path / "logs")
    assert said.startswith("error: there is nothing to learn: ") and message in said
    assert said == code_of("cache", tmp_path / "data", "--output", tmp_path / "cache")
    assert not (tmp_path / "logs").exists() and not (tmp_path / "cache").exists()
    if option:
        assert code_of("check", tmp_path / "data", *option) == 0
        assert " 1 objects: fit for training" in capsys.readouterr().out


def test_options_of_coco_json_are_refused_with_other_data(photos):
    for option in (["--crowds", "objects"], ["--boxes-as-masks"]):
        said = code_of("check", photos / "train", *option)
        assert f"{option[0]} is of COCO json, and " in said and "of the format via" in said


def broken_coco(folder):
    """Four images: one is not there, one is damaged, one is of another size than annotated; and two
    objects that make no sense, on the image that is whole.
    """
    write_coco(
        folder,
        [
            {**SQUARE, "segmentation": [[1, 2, 3]]},
            {**SQUARE, "iscrowd": "0"},
            SQUARE,
            *({**SQUARE, "image_id": number} for number in (1, 2, 3)),
        ],
        count=4,
    )
    (folder / "1.png").unlink()
    (folder / "2.png").write_bytes(b"no image")
    Image.fromarray(image(32, 64)).save(folder / "3.png")


def broken_via(folder):
    write_via(folder, 4, 0)
    path = folder / "via_region_data.json"
    entries = json.loads(path.read_text())
    for entry, shape in zip(list(entries.values())[:2], ({"name": "blob"}, {"name": "circle"})):
        regions = entry["regions"]
        regions = regions.values() if isinstance(regions, dict) else regions
        next(iter(regions))["shape_attributes"] = shape
    names = [entry["filename"] for entry in entries.values()]
    (folder / names[2]).unlink()
    (folder / names[3]).write_bytes(b"no image")
    path.write_text(json.dumps(entries))


@pytest.mark.parametrize(
    "broken, counts",
    [
        (broken_coco, {"objects": 2, "images": 1, "image": 2}),
        (broken_via, {"objects": 2, "images": 2}),
    ],
)
def test_check_reports_all_that_is_wrong_at_once(tmp_path, capsys, broken, counts):
    broken(tmp_path / "data")
    assert code_of("check", tmp_path / "data", "--json", tmp_path / "found.json") == 1
    written = json.loads((tmp_path / "found.json").read_text())
    errors = [each["kind"] for each in written["findings"] if each["severity"] == "error"]
    assert not written["ok"] and len(errors) >= sum(counts.values())
    out = capsys.readouterr().out
    said = {
        "objects": "left out: objects that cannot be read",
        "images": "left out: images that cannot be used",
        "image": "image cannot be read",
    }
    found = {kind: re.search(rf"^error +{text} +(\d+) ", out, re.M) for kind, text in said.items()}
    assert {kind: int(match[1]) for kind, match in found.items() if match} == counts
    background = written["pixels"]["classes"][0]
    row = re.search(r"^background +([0-9,]+) +[0-9.]+ %", out, re.M)
    assert int(row[1].replace(",", "")) == background["pixels"] > 0
    assert isinstance(code_of("train", tmp_path / "data", "--weights", "none"), str)


def test_a_large_file_is_parsed_once_by_a_command_and_told(tmp_path, capsys, monkeypatch):
    write_coco(tmp_path / "images", [SQUARE], count=2)
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "instances_train.json"
    (tmp_path / "images" / "c.json").rename(path)
    parsed, load = [], json.load
    monkeypatch.setattr(
        json, "load", lambda file, **options: parsed.append(file.name) or load(file, **options)
    )
    monkeypatch.setattr(json_files, "LARGE", 100)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args([str(tmp_path), "--weights", "none"])
    train_set, val_set = open_both(args)
    assert len(train_set.image_info) == 2 and val_set is None
    assert parsed == [str(path)] and capsys.readouterr().err.count("Reading ") == 1
    open_both(args)  # nothing of it was kept
    assert parsed == [str(path)] * 2
    findings = tmp_path / "findings.json"
    for count in (3, 4):  # the second looks whether it would write over the data
        assert code_of("check", path, "--images", tmp_path / "images", "--json", findings) == 0
        assert parsed == [str(path)] * count


def test_images_that_are_not_there_may_be_left_out(tmp_path, capsys):
    write_coco(tmp_path / "data", [SQUARE, {**SQUARE, "image_id": 1}], count=2)
    (tmp_path / "data" / "1.png").unlink()
    output = tmp_path / "cache"
    said = code_of("cache", tmp_path / "data", "--output", output, "--size", 64)
    assert "1.png is missing" in said and "--skip-missing" in said
    line = ("cache", tmp_path / "data", "--output", output, "--size", 64, "--skip-missing")
    assert code_of(*line) in (0, None)
    assert len(RecordDataset(output).image_info) == 1
    for name in ("images", "masks"):  # of which one image has no mask
        (tmp_path / "other" / name).mkdir(parents=True)
        Image.new("L", (20, 10), 1).save(tmp_path / "other" / name / "a.png")
    Image.new("L", (20, 10), 9).save(tmp_path / "other" / "images" / "b.png")
    capsys.readouterr()
    assert code_of("check", tmp_path / "other") == 1
    assert "--skip-missing" in capsys.readouterr().out
    assert code_of("check", tmp_path / "other", "--skip-missing") == 0
    assert "is a cache: give it to the command" in code_of("check", output, "--skip-missing")


def test_image_range(tmp_path, capsys):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    pixels = (np.arange(200).reshape(10, 20) * 20).astype(np.uint16)  # up to 3980
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    Image.new("L", (20, 10), 1).save(tmp_path / "masks" / "a.png")
    assert code_of("check", tmp_path) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "image nearly black" in out and "--image-range 0 4095" in out
    assert code_of("check", tmp_path, "--image-range", 0, 4095) == 0
    assert "nearly black" not in capsys.readouterr().out
    assert "IMAGE_RANGE is [9.0, 9.0]; it must be" in code_of(
        "check", tmp_path, "--image-range", 9, 9
    )
    output = tmp_path / "cache"
    code = code_of("cache", tmp_path, "--output", output, "--size", 64, "--image-range", 0, 4095)
    assert code in (0, None)
    assert RecordDataset(output).settings["IMAGE_RANGE"] == [0, 4095]
    assert RecordDataset(output).load_image(0).max() >= 240
    for command in ("train", "evaluate", "predict"):
        line = [command, "x", "--weights", "none", "--image-range", "0", "4095"]
        args = make_parser().parse_args(line + (["--output", "y"] if command == "predict" else []))
        assert settings.settings_of(args)["IMAGE_RANGE"] == [0, 4095]


def test_split_pieces(tmp_path, capsys):
    for name in ("images", "masks"):
        (tmp_path / "of_masks" / name).mkdir(parents=True)
    Image.new("RGB", (20, 10), (90, 9, 50)).save(tmp_path / "of_masks" / "images" / "a.png")
    mask = Image.new("L", (20, 10))
    mask.paste(255, (2, 2, 6, 6))
    mask.paste(255, (10, 2, 16, 8))
    mask.save(tmp_path / "of_masks" / "masks" / "a.png")
    assert code_of("check", tmp_path / "of_masks") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "with 1 objects" in out and "object in separate pieces" in out
    assert "--split-pieces" in out
    assert code_of("check", tmp_path / "of_masks", "--split-pieces") == 0
    out = capsys.readouterr().out
    assert "with 2 objects" in out and "pieces" not in out
    cache = tmp_path / "cache"
    line = ("cache", tmp_path / "of_masks", "--output", cache, "--size", 64, "--split-pieces")
    assert code_of(*line) in (0, None) and "with 2 objects" in capsys.readouterr().out
    assert "is a cache: give it to the command" in code_of("check", cache, "--split-pieces")
    write_via(tmp_path / "photos", 3, 0)
    assert "--split-pieces is of mask files, and " in code_of(
        "check", tmp_path / "photos", "--split-pieces"
    )


# === train ===


def test_train_keeps_its_settings_beside_the_weights(trained):
    folder = checkpoint(trained).parent
    assert folder.name.startswith("photos20") and {path.name for path in folder.glob("*.h5")} == {
        "mask_rcnn_photos_0001.h5",
        "mask_rcnn_photos_0002.h5",
    }
    fields = read_config(folder / "config.json")
    assert fields["CLASS_NAMES"][0] == "BG" and set(fields["CLASS_NAMES"]) == {"BG", "red", "blue"}
    assert (
        fields["NUM_CLASSES"],
        fields["IMAGE_MAX_DIM"],
        fields["IMAGE_MIN_DIM"],
        fields["BACKBONE_WIDTH"],
    ) == (3, 64, 64, 4)
    # every image once, two at a time
    assert (fields["STEPS_PER_EPOCH"], fields["VALIDATION_STEPS"]) == (
        2,
        1,
    )
    assert "val_loss" in (folder / "losses.csv").read_text()


def test_a_preset_comes_before_other_settings(photos):
    """Its classes are those of the data, its NAME is the run's."""
    given = chosen_settings(
        photos, "--preset", "modern", "--size", "128", "--set", "MASK_PASTE=resize"
    )
    assert given["ROI_ALIGN"] == "aligned" and given["HEAD_INIT"] == "torchvision"
    assert given["MASK_PASTE"] == "resize" and given["IMAGE_MAX_DIM"] == 128
    assert "NAME" not in given
    given = chosen_settings(photos, "--preset", "torchvision_v2")
    assert given["BOX_HEAD_CONVS"] == 4 and given["STRIDE_IN_3X3"] is True
    assert not {"NUM_CLASSES", "CLASS_NAMES", "NAME"} & given.keys()
    assert chosen_settings(photos, "--preset", "matterport") == {"PRESET": "matterport"}
    assert chosen_settings(photos) == {}


def test_presets_are_not_mixed():
    of_v2 = preset_fields(TorchvisionV2Config)
    for name in ("matterport", "modern", "torchvision_v1"):
        with pytest.raises(ValueError, match=f"of the preset 'torchvision_v2', on which '{name}'"):
            settings.make_config(of_v2, {"PRESET": name})
    assert settings.make_config(of_v2, {"PRESET": "torchvision_v2"}).BOX_HEAD_CONVS == 4
    assert settings.make_config({"PRESET": "matterport"}, {"PRESET": "modern"}).PRESET == "modern"


def test_a_preset_that_heads_were_not_trained_with(tmp_path, recwarn):
    heads, backbone = weights_file(tmp_path / "some.h5"), str(tmp_path / "backbone.h5")
    write_h5(backbone, [("conv1", [("conv1/kernel:0", np.zeros((7, 7, 3, 4)))])])
    modern = {"PRESET": "modern", "ROI_ALIGN": "aligned", "BOX_SHIFT": 1}
    for arguments in (
        (heads, {}, {}, "coco"),  # no preset
        (heads, {"ROI_ALIGN": "aligned"}, modern, "some.h5"),
        (heads, {}, modern, "last"),
        (backbone, {}, modern, "backbone.h5"),
        (None, {}, modern, "none"),
    ):
        starting_weights.warn_of_preset(*arguments)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="'modern', and have to learn from scratch .*: ROI_ALIGN"):
        starting_weights.warn_of_preset(heads, {}, modern, "coco")


def chosen_settings(photos, *options):
    """The settings that `train` with some options is given."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return settings.settings_of(parser.parse_args([str(photos), "--weights", "none", *options]))


def test_a_preset_is_of_mask_rcnn(photos, tmp_path):
    options = ["train", photos, "--weights", "none", "--logs", tmp_path, "--preset", "modern"]
    message = code_of(*options, "--network", "unet")
    assert "ROI_ALIGN" in message and "Mask R-CNN alone reads this" in message


def test_train_goes_on_with_last(photos, trained, tmp_path, capsys):
    logs = tmp_path / "logs"
    shutil.copytree(trained, logs)
    assert (
        code_of(
            "train",
            photos,
            "--weights",
            "last",
            "--logs",
            logs,
            "--stages",
            "all:2",
            "heads:3:0.001",
            "--verbose",
            0,
            "--learning-rate",
            0.002,
        )
        == 0
    )
    assert checkpoint(logs).name == "mask_rcnn_photos_0003.h5" and len(list(logs.iterdir())) == 1
    fields = read_config(checkpoint(logs).parent / "config.json")
    # the settings of the run, but for what was given
    assert (
        fields["LEARNING_RATE"] == 0.002
        and fields["BACKBONE_WIDTH"] == 4
        and fields["IMAGES_PER_GPU"] == 2
    )
    assert len(json.loads((checkpoint(logs).parent / "config.json").read_text())["uses"]) == 2


def test_train_on_other_classes_from_a_path_is_a_new_run(photos, trained, tmp_path, capsys):
    logs = tmp_path / "logs"
    assert (
        code_of(
            "train",
            photos / "train",
            "--weights",
            checkpoint(trained),
            "--logs",
            logs,
            "--epochs",
            1,
            "--classes",
            "red",
            "--val-share",
            0.3,
            "--name",
            "red",
            "--verbose",
            0,
            "--steps",
            1,
            "--flip",
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "is for 3 classes, the data have 2: the class layers are trained from scratch" in out
    assert checkpoint(logs).name == "mask_rcnn_red_0001.h5"
    assert read_config(checkpoint(logs).parent / "config.json")["CLASS_NAMES"] == ["BG", "red"]


def test_weights_of_as_many_other_classes(photos, trained, tmp_path, capsys, monkeypatch):
    """The row of one class must not become that of another; nor its weight in the loss."""

    def loaded(self, path, by_name, exclude=None):
        found.append((exclude, self.config.CLASS_WEIGHTS))
        raise ValueError("enough")

    found: list = []
    monkeypatch.setattr("mrcnn.model.MaskRCNN.load_weights", loaded)
    shutil.copytree(trained, tmp_path / "logs")
    path = checkpoint(tmp_path / "logs")
    settings_file = path.parent / "config.json"
    contents = json.loads(settings_file.read_text())
    contents["config"]["CLASS_WEIGHTS"] = {"blue": 3}
    settings_file.write_text(json.dumps(contents))
    write_via(tmp_path / "photos", 2, 0)
    via = tmp_path / "photos" / "via_region_data.json"
    via.write_text(via.read_text().replace('"blue"', '"cat"').replace('"red"', '"blue"'))
    logs = ["--logs", tmp_path / "logs", "--name", "photos"]
    for weights in (path, "last"):
        code = code_of("train", tmp_path / "photos", "--weights", weights, *logs)
        assert "enough" in code
        out = capsys.readouterr().out
        assert "is for the classes blue, red, the data have blue, cat: the class layers are" in out
        assert f"CLASS_WEIGHTS of {path} are left out" in out
        assert found.pop() == (CLASS_LAYERS, None)
        # the same classes in the order of the file
        code_of("train", photos, "--weights", weights, *logs)
        assert "class" not in capsys.readouterr().out
        assert found.pop() == (None, {"blue": 3})
        code = code_of("train", photos, "--weights", weights, *logs, "--classes", "red", "blue")
        assert "classes blue, red, in this order, and the data have red, blue: choose" in code
        assert "--classes blue red" in code and not found


def test_the_class_of_masks_is_that_of_the_weights(monkeypatch):
    monkeypatch.setattr(starting_weights, "told_by_weights", lambda path: {"NUM_CLASSES": 2})
    for names in (["BG", "nucleus"], ["BG", "object"], None):
        assert not starting_weights.has_other_classes("a.h5", names, ["BG", "object"])
        assert starting_weights.has_other_classes("a.h5", names, ["BG", "cell"]) == (
            names == ["BG", "nucleus"]
        )


def test_validation_images_are_set_aside(photos):
    data = open_dataset(photos / "train")
    train, val = split(data, 0.25)
    names = [[info["id"] for info in part.image_info] for part in (train, val)]
    assert (train.num_images, val.num_images) == (3, 1)
    assert sorted(sum(names, [])) == sorted(info["id"] for info in data.image_info)
    again = split(data, 0.25)
    assert [info["id"] for info in again[1].image_info] == names[1]
    for part in (train, val):
        for image_id, info in enumerate(part.image_info):
            whole = [other["id"] for other in data.image_info].index(info["id"])
            np.testing.assert_array_equal(part.load_mask(image_id)[0], data.load_mask(whole)[0])
            np.testing.assert_array_equal(part.load_image(image_id), data.load_image(whole))
    assert (
        data.num_images == 4
        and split(data, 0.001)[1].num_images == split(data, 0.999)[0].num_images == 1
    )
    with pytest.raises(ValueError, match="between 0 and 1"):
        split(data, 1)
    with pytest.raises(ValueError, match="1 image cannot be divided"):
        split(val, 0.5)


@pytest.mark.parametrize(
    "path, name", [("data/photos", "photos"), ("data/My Photos (2)/", "my_photos_2"), ("/", "run")]
)
def test_the_run_is_called_after_the_data(path, name):
    assert run_name(path) == name


def test_the_name_of_a_long_folder_is_cut():
    assert run_name("ä" * 120) == "ä" * 105


@pytest.mark.parametrize(
    "options",
    [
        ["--name", "a/b"],
        ["--name", "../x"],
        ["--name", ""],
        ["--name", "a\nb"],
        ["--name", "a" * 300],
        ["--set", "NAME=a/b"],
        ["--set", "NAME=none"],
    ],
    ids=ascii,
)
def test_a_name_is_refused_before_data_are_read(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    code = code_of("train", "no data", "--weights", "none", *options)
    assert code.startswith("error: NAME is ") and not list(tmp_path.iterdir())


def test_the_run_is_called_after_the_folder_of_a_file(photos):
    assert run_name(photos / "train" / "via_region_data.json") == "train"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("heads:20", ("heads", 20)),
        ("all:40:1e-4", ("all", 40, 1e-4)),
        ("(?:rpn.*):3", ("(?:rpn.*)", 3)),
    ],
)
def test_stages(text, expected):
    assert stage(text) == expected


def test_half_of_the_images_are_mirrored():
    image, masks = np.arange(24).reshape(2, 4, 3), np.arange(16).reshape(2, 4, 2)
    rng, mirrored = np.random.RandomState(0), 0
    for _ in range(200):
        new_image, new_masks = flip(image, masks, rng)
        changed = new_image[0, 0, 0] != 0
        np.testing.assert_array_equal(new_image, np.flip(image, 1) if changed else image)
        np.testing.assert_array_equal(new_masks, np.flip(masks, 1) if changed else masks)
        mirrored += changed
    assert 70 < mirrored < 130


# === cache ===


def test_train_on_a_cache_is_train_on_the_data(photos, tmp_path, capsys):
    for part in ("train", "val"):
        assert (
            code_of(
                "cache",
                photos,
                "--subset",
                part,
                "--output",
                tmp_path / "cache" / part,
                "--size",
                64,
                "--shards",
                2,
            )
            == 0
        )
    assert "4 images" in capsys.readouterr().out
    assert (
        code_of(
            "cache",
            photos,
            "--subset",
            "train",
            "--output",
            tmp_path / "cache" / "train",
            "--size",
            96,
        )
        != 0
    )
    losses = []
    for data in (photos, tmp_path / "cache"):
        logs = tmp_path / f"logs_{data.name}"
        assert (
            code_of(
                "train",
                data,
                "--name",
                "both",
                "--weights",
                "none",
                "--logs",
                logs,
                "--epochs",
                1,
                "--verbose",
                0,
                *SMALL,
            )
            == 0
        )
        losses.append(next(logs.glob("*/losses.csv")).read_text())
    rows = [[row.split(",") for row in text.splitlines()] for text in losses]
    same = [place for place, name in enumerate(rows[0][0]) if "loss" in name]
    assert rows[0][0] == rows[1][0] and len(same) >= 12  # six and six of validation
    assert [[row[place] for place in same] for row in rows[0]] == [
        [row[place] for place in same] for row in rows[1]
    ]
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "train",
                str(tmp_path / "cache"),
                "--weights",
                "none",
                "--size",
                "128",
                "--logs",
                str(tmp_path / "logs"),
            ]
        )
    assert "64" in str(ended.value.code)


# === evaluate ===


def opened(*arguments):
    """The ids of the training and validation images of ``train``'s arguments, and its classes."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    both = open_both(parser.parse_args([*map(str, arguments), "--weights", "none"]), seed=0)
    return *([info["id"] for info in part.image_info] for part in both), both[0].class_names


def test_validation_data_in_another_place(photos, tmp_path):
    """--subset, and the part "train" that is found without it, say nothing of the data of --val."""
    write_via(tmp_path / "other", 3, 5)
    write_via(tmp_path / "both" / "train", 5, 6)
    write_via(tmp_path / "both" / "test", 1, 7)
    for subset in ([], ["--subset", "train"]):
        assert [len(ids) for ids in opened(photos, *subset, "--val", tmp_path / "other")[:2]] == [
            4,
            3,
        ]
    found = opened(photos, "--val", tmp_path / "both", "--val-subset", "test")
    assert [len(ids) for ids in found[:2]] == [4, 1]
    assert len(opened(photos, "--val-subset", "val")[1]) == 2


def test_a_run_that_goes_on_keeps_its_classes(tmp_path):
    """Where the data have no others; its class layers would be trained from scratch."""
    square = {**SQUARE, "category_id": 2}
    write_coco(tmp_path / "data", [square, {**square, "image_id": 1}], ("fish", "fish"), 2)
    path = tmp_path / "data" / "c.json"
    contents = json.loads(path.read_text())
    for category, above in zip(contents["categories"], ("none", "fish")):
        category["supercategory"] = above  # as Roboflow writes its project
    path.write_text(json.dumps(contents))

    def classes(*names):
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        arguments = [str(tmp_path / "data"), "--val-share", "0.5", "--weights", "last"]
        both = open_both(parser.parse_args(arguments), 0, ["BG", *names] if names else None)
        assert both[0].class_names == both[1].class_names
        return [
            both[0].class_names[1:],
            [int(one) for part in both for one in part.load_mask(0)[1]],
        ]

    assert classes() == classes("fish") == [["fish"], [1, 1]]
    for names in (["fish (1)", "fish (2)"], ["fish", "fish"]):  # when the project was a class
        assert classes(*names) == [["fish (1)", "fish (2)"], [2, 2]]
    assert classes("crab", "fish") == [["crab", "fish"], [2, 2]]
    assert classes("crab") == [["fish"], [1, 1]]


def test_the_class_of_masks_has_any_name(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for number in range(2):
            Image.new("L", (20, 10), 1).save(tmp_path / folder / f"{number}.png")
    assert opened(tmp_path, "--val-share", "0.5", "--classes", "nucleus")[2] == ["BG", "nucleus"]


def test_a_run_that_goes_on_keeps_its_validation_images(tmp_path, monkeypatch):
    """Also where they were drawn with a --seed that is not given again."""
    write_via(tmp_path / "photos", 8, 0)
    monkeypatch.chdir(tmp_path)
    drawn, names, both = [], [], train.open_both

    def noted(*arguments):
        names.append(arguments[2])
        sets = both(*arguments)
        drawn.append([info["id"] for info in sets[1].image_info])
        return sets

    monkeypatch.setattr(train, "open_both", noted)
    small = [value for value in SMALL if value != "SEED=0"]
    common = [
        "photos",
        "--val-share",
        0.25,
        "--steps",
        1,
        "--layers",
        "heads",
        "--verbose",
        0,
        *small,
    ]
    assert code_of("train", *common, "--weights", "none", "--epochs", 1, "--seed", 5) == 0
    assert code_of("train", *common, "--weights", "last", "--epochs", 2) == 0
    assert names == [None, ["BG", "blue", "red"]]
    assert drawn[0] == drawn[1] and drawn[0] != [
        info["id"] for info in split(open_dataset("photos"), 0.25)[1].image_info
    ]


def test_evaluate(photos, trained, tmp_path, capsys):
    assert (
        code_of(
            "evaluate",
            photos,
            "--subset",
            "val",
            "--weights",
            "last",
            "--name",
            "photos",
            "--logs",
            trained,
            "--report",
            tmp_path / "report",
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "AP50" in out and "red" in out and "blue" in out and (tmp_path / "report").is_dir()


def test_evaluate_some(photos, trained, capsys):
    assert (
        code_of(
            "evaluate", photos, "--subset", "train", "--weights", checkpoint(trained), "--limit", 1
        )
        == 0
    )
    assert "1 image" in capsys.readouterr().out


def test_evaluate_where_nothing_is_to_be_found(trained, tmp_path):
    write_coco(tmp_path / "data", [{**SQUARE, "iscrowd": 1}], ("red", "blue"))
    common = ["evaluate", tmp_path / "data", "--weights", checkpoint(trained)]
    said = code_of(*common)
    assert said.startswith("error: there is nothing to find: all 1 objects are crowds")
    assert code_of(*common, "--crowds", "objects") == 0


def test_evaluate_where_the_model_and_the_data_lack_a_class(trained, tmp_path, capsys):
    """The model knows red and blue, the data red and green."""
    green = {"segmentation": [[45, 45, 60, 45, 60, 60, 45, 60]], "category_id": 2}
    write_coco(tmp_path / "data", [SQUARE, green, green], ("red", "green"))
    common = ["evaluate", tmp_path / "data", "--weights", checkpoint(trained), "--min-score", 0]

    def measured(*options):
        assert code_of(*common, "--report", tmp_path / "report", *options) == 0
        found = json.loads((tmp_path / "report" / "evaluation.json").read_text())
        return capsys.readouterr().out, found

    out, found = measured()
    assert "whose objects count as missed: green (2 objects)" in out
    assert found["metrics"]["objects"] == 3 and found["per_class"]["green"]["segm_AP"] == 0
    blue = found["left_out"]["unlabelled_detections"].get("blue", 0)
    assert blue + found["metrics"]["detections"] == 5  # the rows that there are
    assert found["per_class"]["blue"]["detections"] == 0
    out, found = measured("--own-classes")
    assert found["metrics"]["objects"] == 1 and "green" not in found["per_class"]
    assert "1 categories that the classes do not list" in out


def test_evaluate_a_cache_is_evaluate_its_source(trained, tmp_path, capsys):
    """Also where it has a class that the model lacks, and its image files are gone."""
    green = {"segmentation": [[45, 45, 60, 45, 60, 60, 45, 60]], "category_id": 1}
    data, cache = tmp_path / "data", tmp_path / "cache"
    write_coco(data, [green, {**SQUARE, "category_id": 2}, green], ("green", "red"))
    assert code_of("cache", data, "--output", cache, "--size", 64) in (0, None)

    def measured(place, *options):
        line = ["--weights", checkpoint(trained), "--min-score", 0, "--report", tmp_path / "report"]
        assert code_of("evaluate", place, *line, *options) == 0
        found = json.loads((tmp_path / "report" / "evaluation.json").read_text())
        timed = ("images_per_second", "detect_seconds", "seconds")
        metrics = {key: value for key, value in found["metrics"].items() if key not in timed}
        return metrics, found["per_class"], found["left_out"]["unlabelled_detections"]

    options = ([], ["--own-classes"])
    expected = [measured(data, *each) for each in options]
    shutil.rmtree(data)
    assert [measured(cache, *each) for each in options] == expected
    assert [metrics["objects"] for metrics, _, _ in expected] == [3, 1]


def test_evaluate_where_an_image_cannot_be_read(trained, tmp_path, capsys):
    write_coco(tmp_path / "data", [SQUARE], ("red", "blue"), count=2)
    (tmp_path / "data" / "1.png").write_bytes(b"broken")
    line = ["evaluate", tmp_path / "data", "--weights", checkpoint(trained)]
    with pytest.warns(UserWarning, match="1 images cannot be read"):
        assert code_of(*line) == 1
    assert "AP50" in capsys.readouterr().out


# === predict ===


def test_predict_needs_no_flags(photos, trained, tmp_path, capsys):
    output = tmp_path / "found"
    assert (
        code_of(
            "predict", photos, "--recursive", "--weights", checkpoint(trained), "--output", output
        )
        == 0
    )
    content = json.loads((output / "predictions.json").read_text())
    assert len(content["images"]) == 6 and {each["name"] for each in content["categories"]} == {
        "red",
        "blue",
    }
    assert (output / "train" / "picture0.png").exists() and "6 images in" in capsys.readouterr().out


def test_predict_chooses(photos, trained, tmp_path):
    output = tmp_path / "found"
    assert (
        code_of(
            "predict",
            photos / "val",
            "--weights",
            checkpoint(trained),
            "--output",
            output,
            "--classes",
            "red",
            "--min-confidence",
            0.01,
            "--save",
            "coco",
            "labelme",
            "--polygons",
            "--limit",
            1,
        )
        == 0
    )
    content = json.loads((output / "predictions.json").read_text())
    assert len(content["images"]) == 1 and len(list((output / "labelme").iterdir())) == 1
    names = {each["id"]: each["name"] for each in content["categories"]}
    assert {names[each["category_id"]] for each in content["annotations"]} <= {"red"}


def test_predict_where_nothing_can_be_read(trained, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"broken")
    assert (
        code_of(
            "predict",
            tmp_path / "a.png",
            "--weights",
            checkpoint(trained),
            "--output",
            tmp_path / "found",
        )
        == 1
    )
    assert "1 could not be read" in capsys.readouterr().out


def test_predict_interrupted(photos, trained, tmp_path, monkeypatch):
    from mrcnn.model import MaskRCNN

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(MaskRCNN, "detect", stop)
    output = tmp_path / "found"
    assert (
        code_of("predict", photos / "val", "--weights", checkpoint(trained), "--output", output)
        == 130
    )
    assert json.loads((output / "predictions.json").read_text())["info"]["complete"] is False


# === Weights and settings ===


def test_what_weights_without_settings_tell(trained, tmp_path):
    fields = told_by_weights(checkpoint(trained))
    assert fields == {
        "BACKBONE_WIDTH": 4,
        "TOP_DOWN_PYRAMID_SIZE": 8,
        "RPN_CONV_CHANNELS": 8,
        "MASK_HEAD_CHANNELS": 8,
        "FPN_CLASSIF_FC_LAYERS_SIZE": 16,
        "NUM_CLASSES": 3,
        "POOL_SIZE": 7,
        "BACKBONE": "resnet50",
    }


def test_predict_with_weights_alone(photos, trained, tmp_path):
    """As of a file that somebody else made: sizes of the layers come from the tensors."""
    alone = tmp_path / "alone.h5"
    alone.write_bytes(checkpoint(trained).read_bytes())
    output = tmp_path / "found"
    with pytest.warns(UserWarning, match="are guesses") as told:
        assert (
            code_of(
                "predict",
                photos / "val",
                "--weights",
                alone,
                "--output",
                output,
                "--size",
                64,
                "--set",
                "RPN_ANCHOR_SCALES=8,16,32,48,64",
                "DETECTION_MIN_CONFIDENCE=0",
            )
            == 0
        )
    (message,) = [str(each.message) for each in told if "guesses" in str(each.message)]
    assert f"{alone} has no settings beside it (alone.json and config.json are missing)" in message
    assert (
        "IMAGE_RESIZE_MODE = square, MEAN_PIXEL = [123.7, 116.8, 103.9], BACKBONE_STRIDES"
        in message
    )
    assert "_DIM" not in message and "SCALES" not in message  # they are given
    content = json.loads((output / "predictions.json").read_text())
    assert [each["name"] for each in content["categories"]] == ["class 1", "class 2"]


def weights_file(path, anchors=3, channels=3, backbone=True):
    """The layers of a detector that tell something, without its values."""
    shapes = {
        "conv1": (7, 7, channels, 4),
        **({"res4f_branch2a": (1, 1, 4, 4)} if backbone else {}),
        "fpn_c5p5": (1, 1, 4, 8),
        "mrcnn_class_conv1": (5, 5, 8, 16),
        "mrcnn_class_logits": (16, 3),
    }
    layers = [(name, [(f"{name}/kernel:0", np.zeros(shape))]) for name, shape in shapes.items()]
    rpn = [
        ("rpn_conv_shared/kernel:0", np.zeros((3, 3, 8, 8))),
        ("rpn_class_raw/kernel:0", np.zeros((1, 1, 8, 2 * anchors))),
    ]
    write_h5(path, [*layers, ("rpn_model", rpn)])
    return str(path)


def chosen_fields(path, given=None, to_train=False, config=None, weights=None):
    args = argparse.Namespace(config=config, weights=weights or path)
    return fields_of_weights(args, path, given or {}, to_train)


def test_a_training_chooses_the_sizes_itself(tmp_path, recwarn):
    """Guesses are what the file's input and outputs mean, unless that is given too."""
    path = weights_file(tmp_path / "some.h5")
    fields = chosen_fields(path, to_train=True)
    assert (fields["BACKBONE"], fields["POOL_SIZE"], fields["NUM_CLASSES"]) == ("resnet50", 5, 3)
    (told,) = [str(each.message) for each in recwarn]
    assert "guesses, the defaults: MEAN_PIXEL = [123.7, 116.8, 103.9], BACKBONE_STRIDES" in told
    for word in (
        *("RPN_ANCHOR_SCALES = [32, 64, 128, 256, 512]", "RPN_BBOX_STD_DEV = [0.1, 0.1, 0.2, 0.2]"),
        *("STRIDE_IN_3X3 = False", "BOX_SHIFT = 1", "ROI_ALIGN = crop", "MASK_LOSS = sigmoid."),
    ):
        assert word in told
    assert "IMAGE_" not in told and "size" not in told and "missed" not in told
    recwarn.clear()
    given = dict.fromkeys(GUESSED_FOR_TRAINING, 1) | {"RPN_ANCHOR_RATIOS": [1, 2, 3]}
    chosen_fields(path, given, to_train=True)
    assert not recwarn.list


def test_fields_that_a_file_does_not_tell_are_guesses(tmp_path, recwarn):
    path = weights_file(tmp_path / "some.h5")
    fields = chosen_fields(path)
    assert (fields["BACKBONE"], fields["POOL_SIZE"], fields["NUM_CLASSES"]) == ("resnet50", 5, 3)
    (told,) = [str(each.message) for each in recwarn]
    for word in (
        "some.h5 has no settings beside it (some.json and config.json are missing)",
        "IMAGE_RESIZE_MODE = square, IMAGE_MIN_DIM = 800, IMAGE_MAX_DIM = 1024, MEAN_PIXEL",
        "RPN_ANCHOR_SCALES = [32, 64, 128, 256, 512], RPN_ANCHOR_RATIOS = [0.5, 1, 2]",
    ):
        assert word in told
    recwarn.clear()
    # nothing is guessed
    chosen_fields(path, dict.fromkeys(GUESSED, 1) | {"RPN_ANCHOR_RATIOS": [1, 2, 3]})
    chosen_fields(path, weights="coco")
    save_config(tmp_path, Config())
    assert chosen_fields(path)["IMAGE_MIN_DIM"] == 800
    chosen_fields(path, config=str(tmp_path / "config.json"))
    # nor of a backbone alone, whose images and anchors are the training's own
    (tmp_path / "alone").mkdir()
    write_h5(tmp_path / "alone" / "b.h5", [("conv1", [("kernel:0", np.zeros((7, 7, 3, 4)))])])
    assert chosen_fields(str(tmp_path / "alone" / "b.h5")) == {}
    assert not recwarn.list


@pytest.mark.parametrize(
    "options, given, words",
    [
        ({"anchors": 5}, {}, ["5 anchors a cell", "RPN_ANCHOR_RATIOS has 3", "--config"]),
        ({"anchors": 3}, {"RPN_ANCHOR_RATIOS": 1}, ["3 anchors a cell", "RATIOS has 1"]),
        ({"backbone": False}, {}, ["neither resnet50's nor resnet101's", "--backbone"]),
        ({"channels": 4}, {}, ["images of 4 channels", "MEAN_PIXEL"]),
        ({"channels": 1}, {}, ["images of 1 channels"]),
    ],
)
def test_files_that_contradict_the_defaults(tmp_path, options, given, words):
    path = weights_file(tmp_path / "some.h5", **options)
    with pytest.raises(ValueError) as error:
        chosen_fields(path, given)
    for word in ["some.h5 has no settings beside it", *words]:
        assert word in str(error.value)


def test_settings_of_a_file_that_are_wrong_name_it(tmp_path):
    path = save_config(tmp_path, Config())
    content = json.loads((tmp_path / "config.json").read_text())
    content["config"]["IMAGE_MAX_DIM"] = 1000
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"(?s)config\.json with .*: Config has .*IMAGE_MAX_DIM is"
    ):
        chosen_fields(str(tmp_path / "some.h5"), config=path)
    chosen_fields(str(tmp_path / "some.h5"), {"IMAGE_MAX_DIM": 1024}, config=path)


@pytest.mark.filterwarnings("ignore:.*are guesses")
def test_files_that_do_not_contradict_what_is_given(tmp_path):
    five = weights_file(tmp_path / "five.h5", anchors=5, backbone=False)
    chosen_fields(five, {"RPN_ANCHOR_RATIOS": [1, 2, 3, 4, 5], "BACKBONE": "MobileNet"})
    grey = weights_file(tmp_path / "grey.h5", channels=1)
    chosen_fields(grey, {"IMAGE_CHANNEL_COUNT": 1, "MEAN_PIXEL": 127})
    chosen_fields(grey, to_train=True)  # the first convolution is adapted


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "PHOTOS", "--weights", "missing.h5"], "no weights file missing.h5"),
        (["train", "nowhere", "--weights", "none"], "nowhere"),
        (
            ["train", "PHOTOS", "--weights", "none", "--size", "100"],
            "IMAGE_MAX_DIM is 100.*multiple of 64",
        ),
        (
            ["train", "PHOTOS", "--weights", "none", "--set", "IMAGE_MAXDIM=64"],
            "did you mean IMAGE_MAX_DIM",
        ),
        (
            ["train", "PHOTOS", "--weights", "none", "--set", "RPN_ANCHOR_SCALES=1,2"],
            "must be 5 positive",
        ),
        (["train", "PHOTOS", "--weights", "last", "--logs", "empty"], "no run of 'photos'"),
        (
            ["train", "PHOTOS", "--weights", "none", "--val-share", "0.5", "--val-subset", "val"],
            "give one of",
        ),
        (["train", "PHOTOS", "--weights", "none", "--classes", "green"], "green"),
        (["evaluate", "PHOTOS/val", "--weights", "last"], "needs --name"),
        (["evaluate", "PHOTOS/val", "--weights", "none"], "finds nothing"),
        (
            ["predict", "missing.jpg", "--weights", "coco", "--output", "x"],
            "no file, folder or camera missing.jpg",
        ),
        (
            ["predict", "PHOTOS/val", "--weights", "PHOTOS/val/picture0.png", "--output", "x"],
            "not an HDF5 file",
        ),
        (
            [
                "predict",
                "PHOTOS/val",
                "--weights",
                "w.h5",
                "--config",
                "missing.json",
                "--output",
                "x",
            ],
            "w.h5",
        ),
        (["check", "PHOTOS", "--subset", "test"], "test"),
    ],
)
def test_errors_are_one_line(photos, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code = code_of(*(text.replace("PHOTOS", str(photos)) for text in arguments))
    assert (
        isinstance(code, str) and code.startswith("error: ") and re.search(message, code, re.DOTALL)
    ), code


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["predict", "a.jpg"],
        ["train", "data"],
        ["check"],
        ["predict", "a", "--weights", "coco", "--output", "x", "--save", "everything"],
        ["train", "data", "--weights", "coco", "--stages", "heads"],
        ["train", "data", "--weights", "coco", "--epochs", "0"],
        ["check", "data", "--limit", "-3"],
        ["evaluate", "data", "--weights", "coco", "--limit", "0"],
        ["predict", "a", "--weights", "coco", "--output", "x", "--every", "0"],
        ["predict", "a", "--weights", "coco", "--output", "x", "--limit", "half"],
    ],
)
def test_wrong_arguments(arguments, capsys):
    assert code_of(*arguments) == 2
    assert "usage: mrcnn" in capsys.readouterr().err


def test_coco_weights_are_asked_for(photos, monkeypatch, tmp_path):
    """Without a network the error of the download is told."""

    def fail(*args, **kwargs):
        raise DownloadError("no connection")

    monkeypatch.setattr(model_options, "coco_weights", fail)
    assert code_of("train", photos, "--weights", "coco") == "error: no connection"


@pytest.mark.parametrize(
    "texts, names, choices",
    [
        (["1", "cat"], ["BG", "cat", "dog"], [1, "cat"]),
        (["7"], None, [7]),
        (["7", "10"], ["BG", *"0123456789"], ["7", 10]),
    ],
)
def test_a_number_is_a_class_id_unless_it_is_a_name(texts, names, choices):
    assert class_choices(texts, names) == choices


def test_names_that_the_terminal_has_not(tmp_path):
    """As on a Windows console, or with the output in a file: told with an escape, no error."""
    write_via(tmp_path / "photos", 1, 0)
    path = tmp_path / "photos" / "via_region_data.json"
    path.write_text(path.read_text().replace('"red"', '"r\u00f6d"'), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mrcnn", "check", str(tmp_path / "photos")],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0 and "r\\xf6d" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "command, done, not_done",
    [
        ("check", "without an error", "there are errors"),
        ("cache", "is whole", "the cache is not whole"),
        ("train", "trained to its end", "it ended before"),
        ("evaluate", "all images were measured", "some could not be read"),
        ("predict", "all images and videos were searched", "some could not be read"),
    ],
)
def test_help_has_examples_and_exit_codes(command, done, not_done, capsys):
    assert code_of(command, "--help") == 0
    out = capsys.readouterr().out
    assert "examples:\n  mrcnn " + command in out
    codes = " ".join(out.partition("exit codes:\n")[2].split())
    assert codes.startswith("0 ") and codes.endswith("2 wrong arguments 130 ended by Ctrl-C")
    assert done in codes.partition(" 1 ")[0] and not_done in codes.partition(" 1 ")[2]


def test_help_is_quick_and_needs_no_tensorflow():
    script = (
        "import sys\nfrom mrcnn.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n  "
        "  pass\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "COMMAND" in done.stdout, done.stderr
    module = subprocess.run(
        [sys.executable, "-m", "mrcnn", "--version"], capture_output=True, text=True, timeout=120
    )
    assert module.returncode == 0 and module.stdout.startswith("mrcnn ")

"""Paths that the commands are given: folders of masks, and what is wrong told before long work."""

import argparse
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mrcnn.cli import main, train
from mrcnn.cli.data_options import open_data
from mrcnn.common.files import require_writable


def picture(path, value=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8), value, np.uint8)).save(path)


def code_of(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


def arguments_of_train(*arguments):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return parser.parse_args([*map(str, arguments), "--weights", "none"])


def ids(dataset):
    return sorted(info["id"] for info in dataset.image_info)


# === Masks ===


def test_check_of_a_folder_of_masks(tmp_path, capsys):
    picture(tmp_path / "photos" / "a.png", 90)
    picture(tmp_path / "truth" / "a_gt.png")
    assert code_of("check", tmp_path / "photos", "--masks", tmp_path / "truth") == 0
    assert "Checked 1 images with 1 objects" in capsys.readouterr().out


def test_masks_of_training_and_validation(tmp_path):
    for part in ("train", "val"):
        picture(tmp_path / f"{part}_in" / f"{part}.png")
        picture(tmp_path / f"{part}_out" / f"{part}_label.png")
    line = [tmp_path / "train_in", "--masks", tmp_path / "train_out", "--val", tmp_path / "val_in"]
    args = arguments_of_train(*line, "--val-masks", tmp_path / "val_out")
    train_set, val_set = train.open_both(args)
    assert ids(train_set) == ["train"] and ids(val_set) == ["val"]
    assert val_set.load_mask(0)[0].all()
    with pytest.raises(ValueError, match="val_in has no annotations"):
        train.open_both(arguments_of_train(*line))
    with pytest.raises(ValueError, match="--val-masks goes with --val"):
        train.open_both(arguments_of_train(*line[:3], "--val-masks", tmp_path / "val_out"))


@pytest.mark.parametrize("masks", ["masks", "truth"])
def test_parts_of_images_and_of_masks(tmp_path, masks):
    for part in ("train", "val"):
        picture(tmp_path / "images" / part / f"{part}.png")
        picture(tmp_path / masks / part / f"{part}.png")
    named = [] if masks == "masks" else ["--masks", tmp_path / masks]
    train_set, val_set = train.open_both(arguments_of_train(tmp_path, *named))
    assert ids(train_set) == ["train"] and ids(val_set) == ["val"]
    only_val = arguments_of_train(tmp_path, "--subset", "val", *named)
    assert ids(open_data(only_val)) == ["val"]


def test_masks_that_the_data_do_not_take(tmp_path):
    picture(tmp_path / "photos" / "a.png", 90)
    (tmp_path / "cached").mkdir()
    (tmp_path / "cached" / "records.json").write_text("{}")
    said = code_of("check", tmp_path / "cached", "--masks", tmp_path / "photos")
    assert said.startswith("error: --masks is of mask files, and ") and "is a cache" in said
    for command in (["check"], ["train", "--weights", "none"], ["evaluate", "--weights", "none"]):
        said = code_of(*command, tmp_path / "photos", "--masks", tmp_path / "gone")
        assert "--masks" in said and f"{tmp_path / 'gone'}, which is no folder" in said


# === Before long work ===


def test_a_wrong_path_is_told_before_weights_and_tensorflow_are_loaded(tmp_path):
    for folder in ("empty", "photos", "images", "masks"):
        (tmp_path / folder).mkdir()
    picture(tmp_path / "photos" / "a.png", 90)
    for name in ("images", "masks"):
        picture(tmp_path / name / "a.png")
    (tmp_path / "file").write_text("")
    expected = {
        "check empty": "empty has no annotations",
        "check . --json file/found.json": "the folder of --json must be a folder",
        "cache empty --output x": "empty has no annotations",
        "cache gone --output x": "gone is missing",
        "cache . --output file": "--output must be a folder",
        "cache . --output file/x": "--output must be a folder",
        "train empty --weights coco": "empty has no annotations",
        "train gone --weights coco": "gone is missing",
        "train . --weights coco --val gone": "gone is missing",
        "train . --weights coco --logs file": "--logs must be a folder",
        "evaluate empty --weights coco": "empty has no annotations",
        "evaluate gone --weights coco": "gone is missing",
        "evaluate . --weights coco --report file": "--report must be a folder",
        "predict empty --weights coco --output x": "empty has no image and no video",
        "predict gone --weights coco --output x": "no file, folder or camera gone",
        "predict photos --weights coco --output file": "--output must be a folder",
        "predict photos --weights coco --output file/x": "--output must be a folder",
    }
    script = (
        "import sys\n"
        "from mrcnn.cli import main, model_options\n"
        "def download(): raise AssertionError('weights are downloaded first')\n"
        "model_options.coco_weights = download\n"
        f"for line, words in {expected!r}.items():\n"
        "    try:\n"
        "        main(line.split())\n"
        "    except SystemExit as ended:\n"
        "        assert words in str(ended.code), (line, ended.code)\n"
        "    heavy = {'tensorflow', 'keras'} & set(sys.modules)\n"
        "    assert not heavy, (line, heavy)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["empty", "file", "images", "masks", "photos"]


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    require_writable(tmp_path / "new" / "deep", "--output")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(os, "access", lambda place, mode: place != str(tmp_path))
    with pytest.raises(
        PermissionError, match="--output is .*deep, but nothing may be written into"
    ):
        require_writable(tmp_path / "new" / "deep", "--output")

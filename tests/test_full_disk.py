"""A full disk is an OSError, the older file is kept and nothing else is left; for every writer."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mrcnn.common.json_files import write_json
from mrcnn.data.cache import write_records
from mrcnn.data.drawing import write_picture
from mrcnn.inference.predict import predict
from mrcnn.inference.result import Result
from mrcnn.training.run_state import RunState, save_state
from mrcnn.weights.h5_format import write_h5
from tests.full_disk import files_of_at_most, small_disk
from tests.inference.videos import write_video
from tests.paths import ROOT
from tests.tiny import Rectangles, image, tiny_config


def layers(count, value):
    return [(f"l{n}", [("k:0", np.full((100, 100), value, np.float32))]) for n in range(count)]


def state(seed):
    optimizer = {"momentum": np.random.RandomState(seed).rand(100, 100)}
    return RunState(1, 1, {}, {}, False, [], {}, [], {}, "", {}, optimizer, {})


def result(seed):
    masks = np.zeros((64, 64, 1), bool)
    masks[8 * seed : 40, 8:40] = True
    return Result(
        np.array([[8 * seed, 8, 40, 40]]), np.array([1]), np.array([0.9], np.float32), masks
    )


class Finds:
    """Finds one object, which moves with ``seed``."""

    def __init__(self, seed):
        self.config = tiny_config(CLASS_NAMES=["BG", "red", "blue"], BATCH_SIZE=1)
        self.seed = seed

    def detect(self, images, **options):
        return [result(self.seed) for _ in images]


def detect(folder, seed, *save):
    predict(Finds(seed), folder.parent / "source", folder, save=save, progress=False)


def cache(folder, seed):
    dataset = Rectangles(3, seed=seed)
    dataset.prepare()
    write_records(dataset, tiny_config(), folder, progress=False)


# name -> function of (folder, seed) that writes into the folder; seeds have other contents
WRITERS = {
    "weights": lambda folder, seed: write_h5(folder / "a.h5", layers(3, seed)),
    "state": lambda folder, seed: save_state(folder / "a.state.npz", state(seed)),
    "json": lambda folder, seed: write_json(folder / "a.json", list(range(seed, 3000))),
    "picture": lambda folder, seed: write_picture(folder / "a.png", image(64, 64, seed)),
    "saved result": lambda folder, seed: result(seed).save(folder / "a.jpg", image(64, 64)),
    "pictures": lambda folder, seed: detect(folder, seed, "pictures"),
    "coco": lambda folder, seed: detect(folder, seed, "coco"),
    "crops": lambda folder, seed: detect(folder, seed, "crops"),
    "video": lambda folder, seed: detect(folder, seed, "video"),
    "frames": lambda folder, seed: detect(folder, seed, "frames"),
}


@pytest.fixture
def folder(tmp_path):
    """A folder to write to, beside a folder "source" with a photo and a video."""
    for name in ("source", "written"):
        (tmp_path / name).mkdir()
    Image.fromarray(image(64, 64)).save(tmp_path / "source" / "photo.png")
    write_video(tmp_path / "source" / "clip.avi", 3, (64, 64))
    return tmp_path / "written"


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_the_older_file_is_kept(folder, write):
    new = folder.parent / "new"
    new.mkdir()
    write(folder, 1)
    write(new, 2)
    older, newer = contents(folder), contents(new)
    assert older.keys() == newer.keys() and all(older[name] != newer[name] for name in older)
    for share in (0, 0.3, 0.9):
        with files_of_at_most(int(share * min(map(len, newer.values())))), pytest.raises(OSError):
            write(folder, 2)
        assert contents(folder) == older
    write(folder, 2)
    assert contents(folder) == newer


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_cache(folder, share):
    cache(folder.parent / "whole", 1)
    size = max(map(len, contents(folder.parent / "whole").values()))
    with files_of_at_most(int(share * size)), pytest.raises(OSError, match="written"):
        cache(folder, 1)
    assert not contents(folder)
    cache(folder, 1)
    assert contents(folder) == contents(folder.parent / "whole")


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5", "model.h5"])
def test_a_model(folder, detector, name):
    network = detector.keras_model
    save = network.save if name.endswith(".keras") else network.save_weights
    save(folder / name)
    older = contents(folder)
    size = len(older[name])
    for share in (0, 0.3, 0.9):
        with files_of_at_most(int(share * size)), pytest.raises(OSError):
            save(folder / name)
        assert contents(folder) == older


def test_weights_on_a_disk_that_is_full(tmp_path):
    """HDF5 that writes to such a disk itself ends the process."""
    code = """
import sys
from tests.test_full_disk import layers
from mrcnn.weights.h5_format import read_h5, write_h5
path = sys.argv[1] + "/a.h5"
write_h5(path, layers(3, 1.0))
for count in (11, 12, 13, 20):
    try:
        write_h5(path, layers(count, 2.0))
        assert len(read_h5(path)) == count
    except OSError as error:
        print(count, len(read_h5(path)), error)
"""
    with small_disk(tmp_path, kilobytes=600):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        assert os.listdir(tmp_path) == ["a.h5"]
    lines = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert lines[0][0] == "12" and [line[0] for line in lines] == ["12", "13", "20"]
    for _, found, error in lines:
        assert found == "11" and "No space left on device" in error

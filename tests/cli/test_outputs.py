"""Files that the commands write: what they never replace, and what is told before long work."""

import json
import os
import subprocess
import sys
import threading

import pytest

from mrcnn.cli import check, evaluate
from mrcnn.common.json_files import write_json
from mrcnn.config import Config
from mrcnn.data.cache.layout import require_own_folder
from tests.cli.test_paths import code_of, picture
from tests.full_disk import files_of_at_most
from tests.paths import ROOT

CHECK = [sys.executable, "-u", "-m", "mrcnn", "check"]


def write_labelme(folder):
    picture(folder / "a.png", 90)
    shape = {"label": "cat", "points": [[1, 1], [5, 4]], "shape_type": "rectangle"}
    content = {"imagePath": "a.png", "shapes": [shape], "imageHeight": 6, "imageWidth": 8}
    (folder / "a.json").write_text(json.dumps(content))


def write_coco(folder):
    picture(folder / "a.png", 90)
    picture(folder / "unlisted.png", 90)
    box = {"bbox": [1, 1, 4, 3], "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]]}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, **box}],
    }
    (folder / "c.json").write_text(json.dumps(content))


def write_masks(folder):
    picture(folder / "images" / "a.png", 90)
    picture(folder / "masks" / "a.png")


def write_object_masks(folder):
    picture(folder / "a" / "images" / "a.png", 90)
    picture(folder / "a" / "masks" / "0.png")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# === Data are not replaced ===


@pytest.mark.parametrize(
    "write, name",
    [
        (write_labelme, "a.json"),
        (write_labelme, "a.png"),
        (write_coco, "c.json"),
        (write_coco, "a.png"),
        (write_coco, "unlisted.png"),
        (write_masks, "images/a.png"),
        (write_masks, "masks/a.png"),
        (write_object_masks, "a/masks/0.png"),
        (write_object_masks, "a/images/a.png"),
    ],
)
@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_no_file_of_the_data_is_replaced_by_findings(tmp_path, capsys, write, name, link):
    write(tmp_path / "data")
    before = contents(tmp_path / "data")
    output = tmp_path / "data" / name
    if link:
        link(output, tmp_path / "found.json")
        output = tmp_path / "found.json"
    said = code_of("check", tmp_path / "data", "--json", output)
    assert said.startswith(f"error: --json would replace {output}, which is a file of the data")
    assert contents(tmp_path / "data") == before and not capsys.readouterr().out


def test_findings_replace_findings(tmp_path):
    write_coco(tmp_path / "data")
    for _ in range(2):
        assert code_of("check", tmp_path / "data", "--json", tmp_path / "new" / "f.json") == 0
    assert json.loads((tmp_path / "new" / "f.json").read_text())["objects"] == 1


def test_no_file_of_the_data_is_replaced_by_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "inference_config", lambda args: (Config(), None))
    write_coco(tmp_path / "data")
    (tmp_path / "data" / "c.json").rename(tmp_path / "data" / "ground_truth.json")
    before = contents(tmp_path / "data")
    said = code_of("evaluate", tmp_path / "data", "--weights", "x", "--report", tmp_path / "data")
    assert contents(tmp_path / "data") == before
    assert "--report would replace" in said and "ground_truth.json, which is a file of" in said


def test_a_cache_is_written_into_no_folder_of_data(tmp_path):
    for write, folder in ((write_coco, "coco"), (write_masks, "masks")):
        write(tmp_path / folder)
        before = contents(tmp_path / folder)
        said = code_of("cache", tmp_path / folder, "--output", tmp_path / folder)
        assert "has other files than those of a cache" in said
        assert contents(tmp_path / folder) == before


def test_a_folder_for_a_cache(tmp_path):
    require_own_folder(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "records.json").touch()
    for name in (".DS_Store", "part-00000-of-00002.json", "part-00000-of-00002.tfrecord"):
        (tmp_path / name).touch()
    require_own_folder(tmp_path)  # of a writing that was stopped
    (tmp_path / "empty" / "a.png").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="other files than those of a cache, empty, notes.txt,"):
        require_own_folder(tmp_path)


def test_no_photo_is_replaced_before_weights_are_loaded(tmp_path):
    for folder in ("photos", "others"):
        picture(tmp_path / folder / "a.png")
    said = code_of(
        *("predict", tmp_path / "photos", "--output", tmp_path / "others", "--weights", "gone.h5")
    )
    assert f"{tmp_path / 'others' / 'a.png'} is there and would be replaced" in said


# === Pipes and devices ===


def test_findings_go_into_a_pipe(tmp_path):
    write_coco(tmp_path / "data")
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(
        target=lambda: read.append((tmp_path / "pipe").read_text()), daemon=True
    )
    reader.start()
    assert code_of("check", tmp_path / "data", "--json", tmp_path / "pipe") == 0
    reader.join(10)
    assert json.loads(read[0])["ok"] and (tmp_path / "pipe").is_fifo()


def test_findings_go_to_a_descriptor(tmp_path):
    """As of the shell's >(jq)."""
    write_coco(tmp_path / "data")
    ours, theirs = os.pipe()
    done = subprocess.run(
        [*CHECK, tmp_path / "data", "--json", f"/dev/fd/{theirs}"],
        cwd=ROOT,
        pass_fds=[theirs],
        capture_output=True,
    )
    os.close(theirs)
    with open(ours) as file:
        written = file.read()
    assert done.returncode == 0, done.stderr
    assert json.loads(written)["ok"]


def test_annotations_that_are_a_device(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    for place in (tmp_path / "a.json", "/dev/null"):
        assert f"{place} is a device or a pipe, and annotations" in code_of("check", place)


# === Errors ===


@pytest.mark.parametrize(
    "path, said",
    [
        ("", "--json must be the path of a file, it is empty"),
        ("data", "--json must be the path of a file, it is the folder data"),
        ("new/", "--json must be the path of a file, it is the folder new/"),
        ("data/a.png/f.json", "the folder of --json must be a folder"),
    ],
)
def test_a_wrong_path_is_told_before_the_work(tmp_path, monkeypatch, capsys, path, said):
    write_coco(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert said in code_of("check", "data", "--json", path)
    assert not capsys.readouterr().out


def test_a_full_disk_is_told_with_the_file(tmp_path, monkeypatch):
    def write(*args, **options):
        with files_of_at_most(10):
            write_json(*args, **options)

    write_coco(tmp_path / "data")
    monkeypatch.setattr(check, "write_json", write)
    said = code_of("check", tmp_path / "data", "--json", tmp_path / "f.json")
    assert said == f"error: [Errno 27] File too large: '{tmp_path / 'f.json'}'"


def test_findings_are_written_also_where_nobody_reads_what_is_printed(tmp_path):
    write_coco(tmp_path / "data")
    ours, theirs = os.pipe()
    os.close(ours)
    subprocess.run(
        [*CHECK, tmp_path / "data", "--json", tmp_path / "f.json"],
        cwd=ROOT,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    assert json.loads((tmp_path / "f.json").read_text())["ok"]

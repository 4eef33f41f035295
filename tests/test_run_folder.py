"""Names of runs and checkpoints: made, recognised, and the newest found."""

import datetime
import errno
import os

import pytest

from mrcnn.run_folder import find_last_checkpoint, run_folder

NOW = datetime.datetime(2017, 10, 29, 7, 5, 59)


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_new_run():
    run = run_folder("logs", "Balloon", now=NOW)
    assert run.log_dir == os.path.join("logs", "balloon20171029T0705")
    assert run.epoch == 0
    assert run.checkpoint_path.format(epoch=12) == os.path.join(run.log_dir, "mask_rcnn_balloon_0012.h5")


def test_clock_names_a_run():
    before = datetime.datetime.now().replace(second=0, microsecond=0)
    stamp = run_folder("logs", "a").log_dir[-13:]
    assert before <= datetime.datetime.strptime(stamp, "%Y%m%dT%H%M") <= datetime.datetime.now()


@pytest.mark.parametrize("path, epoch", [
    ("/logs/coco20171029T2315/mask_rcnn_coco_0007.h5", 7),
    ("coco20171029T2315/mask_rcnn_coco_0120.h5", 120),
    ("C:\\runs\\coco20171029T2315\\mask_rcnn_coco_0003.h5", 3),
    # the original began again at epoch 0 where a folder had a space in its name
    ("/my runs/big cells20171029T2315/mask_rcnn_big cells_0002.h5", 2),
])
def test_checkpoint_gives_the_time_and_epoch_of_the_run(path, epoch):
    run = run_folder("/logs", "Coco", path, now=NOW)
    assert (run.log_dir, run.epoch) == (os.path.join("/logs", "coco20171029T2315"), epoch)
    assert os.path.basename(run.checkpoint_path) == "mask_rcnn_coco_{epoch:04d}.h5"


@pytest.mark.parametrize("path", [
    "mask_rcnn_coco.h5", "/logs/coco20171029T2315/best.h5", "/logs/coco/mask_rcnn_coco_0007.h5",
    "/logs/coco20171029T2315/mask_rcnn_coco_0007.h5.bak"])
def test_other_files_start_a_new_run(path):
    run = run_folder("logs", "coco", path, now=NOW)
    assert (run.log_dir, run.epoch) == (os.path.join("logs", "coco20171029T0705"), 0)


def test_path_objects(tmp_path):
    run = run_folder(tmp_path, "a", tmp_path / "a20200101T0000" / "mask_rcnn_a_0004.h5")
    assert (run.log_dir, run.epoch) == (str(tmp_path / "a20200101T0000"), 4)


def test_nothing_is_made_on_disk(tmp_path):
    run_folder(str(tmp_path / "logs"), "a")
    assert list(tmp_path.iterdir()) == []


def test_last_checkpoint_of_the_newest_run(tmp_path):
    make(tmp_path, "coco20200101T0000/mask_rcnn_coco_0009.h5", "coco20200102T0000/mask_rcnn_coco_0002.h5",
         "coco20200102T0000/mask_rcnn_coco_0010.h5", "coco20200102T0000/z.txt", "coco20200102T0000/mask_rcnn_coco.csv",
         "zebra20300101T0000/mask_rcnn_zebra_0001.h5")
    assert find_last_checkpoint(str(tmp_path), "COCO") == str(tmp_path / "coco20200102T0000/mask_rcnn_coco_0010.h5")


def test_run_that_died_in_its_first_epoch_is_passed_over(tmp_path):
    make(tmp_path, "coco20200101T0000/mask_rcnn_coco_0001.h5", "coco20200102T0000/events.out")
    assert find_last_checkpoint(str(tmp_path), "coco").endswith("coco20200101T0000/mask_rcnn_coco_0001.h5")


def test_a_name_that_starts_another(tmp_path):
    make(tmp_path, "coco20200101T0000/mask_rcnn_coco_0001.h5",
         "coco_people20250101T0000/mask_rcnn_coco_people_0001.h5", "coco220250101T0000/mask_rcnn_coco2_0001.h5")
    assert "coco20200101T0000" in find_last_checkpoint(str(tmp_path), "coco")


def test_renamed_folder_is_found(tmp_path):
    make(tmp_path, "coco_best/mask_rcnn_coco_0005.h5")
    assert find_last_checkpoint(str(tmp_path), "coco").endswith("mask_rcnn_coco_0005.h5")


def test_file_named_like_a_run_is_no_run(tmp_path):
    make(tmp_path, "coco20200101T0000", "coco20190101T0000/mask_rcnn_coco_0005.h5")
    assert "coco20190101T0000" in find_last_checkpoint(str(tmp_path), "coco")


@pytest.mark.parametrize("files, message", [
    ((), "no run of 'coco' was found"),
    (("coco20200101T0000/x.txt",), "1 runs of 'coco' have no checkpoint")])
def test_no_checkpoint(tmp_path, files, message):
    make(tmp_path, *files)
    with pytest.raises(FileNotFoundError, match=message) as caught:
        find_last_checkpoint(str(tmp_path), "coco")
    assert caught.value.errno == errno.ENOENT and str(tmp_path) in str(caught.value)


def test_missing_folder_of_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run"):
        find_last_checkpoint(str(tmp_path / "never"), "coco")

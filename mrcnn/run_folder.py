"""Where a training run keeps its files: ``<model_dir>/<name><date>T<time>/mask_rcnn_<name>_<epoch>.h5``."""

import datetime
import errno
import os
import re
from typing import NamedTuple

_TIME = r"(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})"
_CHECKPOINT = re.compile(r"(?P<folder>.*[/\\]?[^/\\]+?" + _TIME + r")[/\\]mask_rcnn_[^/\\]+?(?P<epoch>\d{4})\.h5")


class RunFolder(NamedTuple):
    """A run's place on disk."""

    log_dir: str          # folder of the run
    checkpoint_path: str  # pattern with "{epoch:04d}" in place of the epoch
    epoch: int            # epochs already trained


def run_folder(model_dir, name, weights_path=None, now=None):
    """The folder of a new run, or of the run that a checkpoint comes from.

    Args:
        model_dir: parent of all runs.
        name: ``Config.NAME``.
        weights_path: a checkpoint; one under a run's usual name continues that run,
            any other starts a new one.
        now: datetime of a new run, in place of the clock.

    Returns:
        `RunFolder`. Nothing is created on disk.
    """
    found = _CHECKPOINT.fullmatch(str(weights_path)) if weights_path else None
    if found:
        log_dir, epoch = found["folder"], int(found["epoch"])
    else:
        time = (now or datetime.datetime.now()).strftime("%Y%m%dT%H%M")
        log_dir, epoch = os.path.join(model_dir, f"{name.lower()}{time}"), 0
    return RunFolder(log_dir, os.path.join(log_dir, f"mask_rcnn_{name.lower()}_{{epoch:04d}}.h5"), epoch)


def find_last_checkpoint(model_dir, name):
    """Path of the newest checkpoint of the newest run of this name that has one.

    Runs without a checkpoint, such as one that died in its first epoch, are passed over.

    Raises:
        FileNotFoundError: ``model_dir`` has no run of this name, or no run has a checkpoint.
    """
    key = name.lower()
    folders = sorted(entry for entry in (os.listdir(model_dir) if os.path.isdir(model_dir) else ())
                     if entry.startswith(key) and os.path.isdir(os.path.join(model_dir, entry)))
    # a run of "coco" is not one of "coco_people", unless somebody renamed its folder
    dated = [folder for folder in folders if re.fullmatch(re.escape(key) + _TIME, folder)]
    for folder in reversed(dated or folders):
        checkpoints = sorted(file for file in os.listdir(os.path.join(model_dir, folder))
                             if file.startswith("mask_rcnn") and file.endswith(".h5"))
        if checkpoints:
            return os.path.join(model_dir, folder, checkpoints[-1])
    what = f"{len(dated or folders)} runs of {name!r} have no checkpoint" if folders else f"no run of {name!r} was found"
    raise FileNotFoundError(errno.ENOENT, f"{what}: expected {key}<date>T<time>/mask_rcnn_*.h5 in", str(model_dir))

"""Where a training run keeps its files: ``<model_dir>/<name><date>T<time>/mask_rcnn_<name>_<epoch>.h5``."""

import datetime
import errno
import os
import re
from typing import NamedTuple

_CHECKPOINT = re.compile(r"(?:.*[/\\])?[^/\\]+?(?P<time>\d{8}T\d{4})[/\\]mask_rcnn_[^/\\]+?(?P<epoch>\d{4})\.h5")


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
        weights_path: a checkpoint; the time and epoch in its usual path are those of the run
            that goes on, any other path starts a new run.
        now: datetime of a new run, in place of the clock.

    Returns:
        `RunFolder`. Nothing is created on disk.
    """
    found = _CHECKPOINT.fullmatch(str(weights_path)) if weights_path else None
    if found:
        time, epoch = found["time"], int(found["epoch"])
    else:
        time, epoch = (now or datetime.datetime.now()).strftime("%Y%m%dT%H%M"), 0
    log_dir = os.path.join(model_dir, f"{name.lower()}{time}")
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
    runs = [folder for folder in folders
            if re.fullmatch(re.escape(key) + r"\d{8}T\d{4}", folder) or not re.search(r"\d{8}T\d{4}$", folder)]
    for folder in reversed(runs):
        checkpoints = sorted(file for file in os.listdir(os.path.join(model_dir, folder))
                             if file.startswith("mask_rcnn") and file.endswith(".h5"))
        if checkpoints:
            return os.path.join(model_dir, folder, checkpoints[-1])
    what = f"{len(runs)} runs of {name!r} have no checkpoint" if runs else f"no run of {name!r} was found"
    raise FileNotFoundError(errno.ENOENT, f"{what}: expected {key}<date>T<time>/mask_rcnn_*.h5 in", str(model_dir))

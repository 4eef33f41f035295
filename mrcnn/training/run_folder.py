"""Where a training run keeps its files:
``<model_dir>/<name><date>T<time>/mask_rcnn_<name>_<epoch>.h5``.
"""

import datetime
import errno
import os
import re
import warnings
from typing import NamedTuple

from mrcnn.config.file import FILE_NAME
from mrcnn.training.run_state import file_facts, load_state, state_path
from mrcnn.weights.h5_format import read_h5
from mrcnn.weights.load import require_numbers

_CHECKPOINT = re.compile(
    r"(?:.*[/\\])?[^/\\]+?(?P<time>\d{8}T\d{4})[/\\]mask_rcnn_[^/\\]*?(?P<epoch>(?<!\d)\d{4,})\.h5"
)

BEST = "_best.h5"  # end of the name of a run's best weights, which are no checkpoint of an epoch


class RunFolder(NamedTuple):
    """A run's place on disk."""

    log_dir: str  # folder of the run
    checkpoint_path: str  # pattern with "{epoch:04d}" in place of the epoch
    epoch: int  # epochs already trained


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
    return RunFolder(
        log_dir, os.path.join(log_dir, f"mask_rcnn_{name.lower()}_{{epoch:04d}}.h5"), epoch
    )


def find_last_checkpoint(model_dir, name, with_state=False):
    """Path of the newest whole checkpoint of the newest run of this name that has one.

    Runs without a checkpoint, such as one that died in its first epoch, are passed over, and so
    is, with a warning that says why, a checkpoint that is damaged or cut short.

    Args:
        model_dir: parent of all runs.
        name: ``Config.NAME``.
        with_state: find a checkpoint from which the run goes on as if it had never ended, which
            takes a state file (see `training.run_state`). The newest one without it was written in
            an epoch that did not end.

    Raises:
        FileNotFoundError: ``model_dir`` has no run of this name, or no run has a whole checkpoint.
    """
    key = name.lower()
    folders = sorted(
        entry
        for entry in (os.listdir(model_dir) if os.path.isdir(model_dir) else ())
        if entry.startswith(key) and os.path.isdir(os.path.join(model_dir, entry))
    )
    # a run of "coco" is not one of "coco_people", unless somebody renamed its folder
    runs = [
        folder
        for folder in folders
        if re.fullmatch(re.escape(key) + r"\d{8}T\d{4}", folder)
        or not re.search(r"\d{8}T\d{4}$", folder)
    ]
    for folder in reversed(runs):
        path = _newest_whole(checkpoints(os.path.join(model_dir, folder)), with_state)
        if path:
            return path
    what = (
        f"{len(runs)} runs of {name!r} have no whole checkpoint"
        if runs
        else f"no run of {name!r} was found"
    )
    raise FileNotFoundError(
        errno.ENOENT, f"{what}: expected {key}<date>T<time>/mask_rcnn_*.h5 in", str(model_dir)
    )


def checkpoints(log_dir):
    """Paths of the checkpoints in a run's folder, oldest first; the best weights are none of
    them.
    """

    def age(file):
        number = re.search(r"(?<!\d)\d{4,}(?=\.h5$)", file)
        return (int(number[0]) if number else -1, file)

    files = [
        file
        for file in os.listdir(log_dir)
        if file.startswith("mask_rcnn") and file.endswith(".h5") and not file.endswith(BEST)
    ]
    return [os.path.join(log_dir, file) for file in sorted(files, key=age)]


def what_is_wrong(checkpoint):
    """Words for what keeps a checkpoint from being read, or None where it is whole.

    A file whose state file is there is compared with the size and hash that this one recorded;
    of another one all tensors are read, which finds a file that is cut short, most damage, and
    values that are NaN or infinite.
    """
    try:
        expected = load_state(state_path(checkpoint)).checkpoint
    except (FileNotFoundError, ValueError):
        expected = None
    try:
        if expected is None:
            layers = read_h5(checkpoint)
            require_numbers(checkpoint, (pair for pairs in layers.values() for pair in pairs))
        elif os.path.getsize(checkpoint) != expected.get("size"):
            return (
                f"it has {os.path.getsize(checkpoint):,} bytes, but {expected.get('size')} were "
                "written"
            )
        elif file_facts(checkpoint) != expected:
            return "its content is not what was written: its hash differs"
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _newest_whole(paths, with_state):
    """The last of ``paths`` that is whole, or None; warns of those that it passes over."""
    # a run that has a file of settings writes a state file after each epoch; one of the original
    # does not
    with_state = with_state and any(
        os.path.exists(os.path.join(os.path.dirname(path), FILE_NAME)) for path in paths[-1:]
    )
    # newest whole weights of an epoch that ended: better than nothing where every state is damaged
    spare = None
    for path in reversed(paths):
        problem = what_is_wrong(path)
        if problem is None and with_state:
            problem = _no_state(path)
            unfinished = path == paths[-1] and not os.path.exists(state_path(path))
            spare = spare or (None if unfinished else path)
        if problem is None:
            return path
        warnings.warn(f"{path} is passed over: {problem}", stacklevel=4)
    if spare:
        warnings.warn(
            f"{spare} is taken all the same, because no epoch of this run has a whole state file: "
            "its weights go on, with a new optimizer",
            stacklevel=4,
        )
    return spare


def _no_state(checkpoint):
    """Words for a checkpoint without a whole state file, or None."""
    try:
        load_state(state_path(checkpoint))
    except FileNotFoundError:
        return (
            "it has no state file, so it ends no epoch, or the file was deleted; to go on from it, "
            "load it by its path"
        )
    except ValueError as error:
        return str(error)
    return None

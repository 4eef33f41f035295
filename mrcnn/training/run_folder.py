"""Where a training run keeps its files:
``<model_dir>/<name><date>T<time>/mask_rcnn_<name>_<epoch>.h5``, or ``segmenter_...``.
"""

import datetime
import errno
import os
import re
import warnings
from typing import NamedTuple

from mrcnn.config.file import FILE_NAME, read_beginning
from mrcnn.config.run_name import name_problem
from mrcnn.training.run_state import file_facts, load_state, state_path
from mrcnn.weights.h5_format import read_h5
from mrcnn.weights.load import require_numbers

# What the names of checkpoints begin with: of `MaskRCNN`, as in the original, and of `Segmenter`.
PREFIXES = ("mask_rcnn", "segmenter")
_CHECKPOINT = re.compile(
    r"(?:.*[/\\])?[^/\\]+?(?P<time>\d{8}T\d{4})[/\\](?P<prefix>mask_rcnn|segmenter)_[^/\\]*?"
    r"(?P<epoch>(?<!\d)\d{4,})\.h5"
)

BEST = "_best.h5"  # end of the name of a run's best weights, which are no checkpoint of an epoch
_MINUTE = "%Y%m%dT%H%M"


class RunFolder(NamedTuple):
    """A run's place on disk."""

    model_dir: str | os.PathLike  # parent of all runs
    key: str  # ``Config.NAME`` in lower case
    time: str  # in its name, to the minute
    epoch: int  # epochs already trained
    is_new: bool  # whether the folder is still to be made, see `claim`
    prefix: str = PREFIXES[0]

    @property
    def log_dir(self):
        """The folder of the run."""
        return os.path.join(self.model_dir, f"{self.key}{self.time}")

    @property
    def checkpoint_path(self):
        """Pattern of the checkpoints' paths, with "{epoch:04d}" in place of the epoch."""
        path = os.path.join(self.log_dir, f"{self.prefix}_{self.key}_")
        return path.replace("{", "{{").replace("}", "}}") + "{epoch:04d}.h5"

    def later(self):
        """The same a minute later."""
        try:
            time = datetime.datetime.strptime(self.time, _MINUTE)
        except ValueError:  # of a folder that somebody named
            time = datetime.datetime.now()
        return self._replace(time=(time + datetime.timedelta(minutes=1)).strftime(_MINUTE))


def run_folder(model_dir, name, weights_path=None, now=None, prefix=PREFIXES[0]):
    """The folder of a new run, or of the run that a checkpoint comes from.

    Args:
        model_dir: parent of all runs.
        name: ``Config.NAME``.
        weights_path: a checkpoint; the time and epoch in its usual path are those of the run
            that goes on, any other path starts a new run.
        now: datetime of a new run, instead of the clock's.
        prefix: one of `PREFIXES`. A checkpoint with the other one starts a new run.

    Returns:
        `RunFolder`. Nothing is created on disk. A run goes on in the folder of its checkpoint; any
        other one has the first free minute.
    """
    found = _CHECKPOINT.fullmatch(str(weights_path)) if weights_path else None
    if found and found["prefix"] != prefix:
        found = None
    if found:
        time, epoch = found["time"], int(found["epoch"])
    else:
        time, epoch = (now or datetime.datetime.now()).strftime(_MINUTE), 0
    folder = RunFolder(model_dir, name.lower(), time, epoch, is_new=True, prefix=prefix)
    if found and _is_same(os.path.dirname(os.path.abspath(weights_path)), folder.log_dir):
        return folder._replace(is_new=False)
    while os.path.lexists(folder.log_dir):
        folder = folder.later()
    return folder


def check_name(model_dir, name):
    """Refuse a NAME that no run can have, before anything is made or loaded.

    Args:
        model_dir: parent of all runs; it need not exist.
        name: ``Config.NAME``.

    Raises:
        ValueError: it is None, is no part of a file's name, or the file system refuses it.
    """
    if name is None:
        raise ValueError(
            "NAME is None: give the config a NAME, after which the run's folder is called"
        )
    problem = name_problem(name)
    if problem:
        raise ValueError(problem)
    folder = RunFolder(model_dir, name.lower(), "00000000T0000", 0, is_new=True)
    file = os.path.basename(state_path(folder.checkpoint_path))  # the longest name of a file
    place = os.path.abspath(model_dir)
    whole = os.path.join(place, os.path.basename(folder.log_dir), file)
    while not os.path.isdir(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    for path in (
        os.path.join(place, os.path.basename(folder.log_dir)),
        os.path.join(place, file),
        whole,
    ):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            pass  # not the name: the folder is missing or closed, which training reports
        except (OSError, ValueError) as error:
            raise ValueError(
                f"NAME is {name!r}, which the file system of {place} refuses as a part of the "
                f"file name {os.path.basename(path)!r} ({error}): take another one"
            ) from error


def claim(folder):
    """Make the folder of a new run, which no other process, thread or model can then get.

    Args:
        folder: `RunFolder`.

    Returns:
        `RunFolder` of the folder that was made: a minute that another run has taken meanwhile
        gives way to the next free one.

    Raises:
        OSError: the folder cannot be made.
    """
    os.makedirs(folder.model_dir, exist_ok=True)
    while True:
        try:
            os.mkdir(folder.log_dir)
        except FileExistsError:
            folder = folder.later()
        else:
            return folder._replace(is_new=False)


def _is_same(first, second):
    if os.path.exists(first) and os.path.exists(second):
        return os.path.samefile(first, second)
    return os.path.abspath(first) == os.path.abspath(second)


# === Which run is the last ===


def next_beginning(model_dir, name):
    """When a run begins that begins now: a datetime in UTC, after that of every other run of this
    name, whatever the clock says.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    return max([now, *(began + _AFTER for began, _ in _runs(model_dir, name))])


_AFTER = datetime.timedelta(microseconds=1)
_NEVER = datetime.datetime.min.replace(tzinfo=datetime.timezone.utc)


def _runs(model_dir, name):
    """(datetime at which it began, folder's name) of each run of a name, in that order.

    What a run has recorded in its file of settings counts. The others, such as those of the
    original, are in the order of their names, as the original has them.
    """
    key = name.lower()
    folders = sorted(
        entry
        for entry in (os.listdir(model_dir) if os.path.isdir(model_dir) else ())
        if entry.startswith(key) and os.path.isdir(os.path.join(model_dir, entry))
    )
    # a run of "coco" is not one of "coco_people", unless somebody renamed its folder
    folders = [
        folder
        for folder in folders
        if re.fullmatch(re.escape(key) + r"\d{8}T\d{4}", folder)
        or not re.search(r"\d{8}T\d{4}$", folder)
    ]
    recorded, named, latest = [], [], _NEVER
    for folder in folders:
        began = read_beginning(os.path.join(model_dir, folder))
        if began is not None:
            recorded.append((began, folder))
        else:
            latest = max(latest, _time_in(folder))
            named.append((latest, folder))
    return sorted([*named, *recorded], key=lambda run: run[0])


def _time_in(folder):
    """The datetime in a folder's name, `_NEVER` where there is none."""
    try:
        return datetime.datetime.strptime(folder[-13:], _MINUTE).astimezone(datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return _NEVER


def find_last_checkpoint(model_dir, name, with_state=False, prefix=None):
    """Path of the newest whole checkpoint of the newest run of this name that has one.

    The newest run is the one that began last, see `next_beginning`: neither a clock that was set
    back nor a copied or renamed folder changes that. The newest checkpoint has the most epochs.
    Runs without a checkpoint, such as one that died in its first epoch, are passed over, and so
    is, with a warning that says why, a checkpoint that is damaged or cut short.

    Args:
        model_dir: parent of all runs.
        name: ``Config.NAME``.
        with_state: find a checkpoint from which the run goes on as if it had never ended, which
            takes a state file (see `training.run_state`). The newest one without it was written in
            an epoch that did not end.
        prefix: one of `PREFIXES`; None: any.

    Raises:
        FileNotFoundError: ``model_dir`` has no run of this name, or no run has a whole checkpoint.
    """
    runs = _runs(model_dir, name)
    for _, folder in reversed(runs):
        paths = checkpoints(os.path.join(model_dir, folder), prefix)
        path = _newest_whole(paths, with_state)
        if path:
            return path
    what = (
        f"{len(runs)} runs of {name!r} have no whole checkpoint"
        if runs
        else f"no run of {name!r} was found"
    )
    raise FileNotFoundError(
        errno.ENOENT,
        f"{what}: expected {name.lower()}<date>T<time>/{prefix or PREFIXES[0]}_*.h5 in",
        str(model_dir),
    )


def checkpoints(log_dir, prefix=None):
    """Paths of the checkpoints in a run's folder, oldest first; the best weights are none of
    them. With a prefix, one of `PREFIXES`, those whose names begin with it.
    """

    def age(file):
        number = re.search(r"(?<!\d)\d{4,}(?=\.h5$)", file)
        return (int(number[0]) if number else -1, file)

    files = [
        file
        for file in os.listdir(log_dir)
        if file.startswith(prefix or PREFIXES) and file.endswith(".h5") and not file.endswith(BEST)
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

"""The state file of a training run: what a checkpoint's weights lack for going on as if nothing had
happened.

    mask_rcnn_<name>_0007.h5           the weights, for people, in the original's layout
    mask_rcnn_<name>_0007.state.npz    this: optimizer, random numbers, position in the data, ...

An epoch is over when its state file is there: it is written last, and names the weights by their
hash. Knows NumPy only.
"""

import dataclasses
import hashlib
import json
import os

import numpy as np

from mrcnn.common.files import file_hash, whole_file
from mrcnn.common.json_files import plain
from mrcnn.weights.load import require_numbers

FORMAT = 2

SUM = "_gradient_sum"  # end of the name of a sum of gradients, see `training.gradient_sum`


@dataclasses.dataclass
class RunState:
    """A training run at the end of an epoch.

    Attributes:
        epoch: epochs trained.
        batches: training batches consumed since the run began.
        data: seed, images and batch_size of the training set's `data.batches.TrainingBatches`.
        stage: the stage of this epoch, as `training.stages.Stage.key` gives it.
        stage_ended: whether that stage is over; then only the slots of the optimizer are of use.
        stages: the stages that are over, in order, each a key.
        best: {metric: best value so far}.
        callbacks: per custom callback its class name and its plain attributes.
        config: ``Config.to_dict`` of the run.
        weights: `fingerprint` of the model.
        checkpoint: "size" in bytes and "sha256" of the .h5 file of this epoch.
        optimizer: name -> array of every variable of the optimizer, of the gradients that are added
            up for its next update, and of the moving average of the weights.
        random: name -> array of the state of every random generator in the model.
        stage_begun: the epoch that the stage began with, from which its schedule of the learning
            rate counts.
    """

    epoch: int
    batches: int
    data: dict
    stage: dict
    stage_ended: bool
    stages: list
    best: dict
    callbacks: list
    config: dict
    weights: str
    checkpoint: dict
    optimizer: dict
    random: dict
    stage_begun: int = 0


_ARRAYS = ("optimizer", "random")


def state_path(checkpoint):
    """Path of the state file that belongs to a checkpoint ``*.h5``."""
    return os.path.splitext(checkpoint)[0] + ".state.npz"


def save_state(path, state):
    """Write a `RunState`, whole or not at all.

    Raises:
        OSError: nothing is written then.
    """
    facts = dataclasses.asdict(dataclasses.replace(state, optimizer={}, random={}))
    text = json.dumps({"format": FORMAT, **plain(facts)})
    arrays = {
        f"{group}/{name}": _storable(value)
        for group in _ARRAYS
        for name, value in getattr(state, group).items()
    }
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **{"state": np.frombuffer(text.encode("utf8"), np.uint8)}, **arrays)


def load_state(path):
    """Read a `RunState`; a checksum of every part is tested.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, cut short, or of another version of this package, or has NaN or
            infinite values.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            facts = json.loads(file["state"].tobytes().decode("utf8"))
            groups = {
                group: {
                    name.partition("/")[2]: file[name]
                    for name in file.files
                    if name.startswith(group + "/")
                }
                for group in _ARRAYS
            }
        known = facts.pop("format", None) == FORMAT
        state = RunState(**{**facts, **groups}) if known else None
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no state file {path}") from None
    except Exception as error:  # of which zipfile, zlib, NumPy and JSON have a dozen kinds
        raise ValueError(f"the state file {path} is damaged or cut short ({error})") from error
    if state is None:
        raise ValueError(
            f"the state file {path} was written by another version of this package: load the .h5 "
            "file beside it by its path, and its weights go on with a new optimizer"
        )
    for field in dataclasses.fields(RunState):
        if not isinstance(getattr(state, field.name), field.type):
            raise ValueError(
                f"the state file {path} is damaged: {field.name} is "
                f"{getattr(state, field.name)!r}, not of the type {field.type.__name__}"
            )
    require_numbers(
        f"the state file {path}",
        (
            (name, value)
            for name, value in state.optimizer.items()
            # of float16 an unfinished sum may be infinite: its update is then skipped
            if not name.endswith(SUM)
        ),
    )
    return state


def _storable(value):
    value = np.asarray(value)
    # NumPy stores no bfloat16; this is exact
    return value.astype(np.float32) if value.dtype.kind == "V" else value


def fingerprint(variables):
    """Hash of the values of a model's variables, in order: equal for equal bits only."""
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(np.asarray(variable).tobytes())
    return digest.hexdigest()


def file_facts(path):
    """The "size" in bytes and "sha256" of a file."""
    return {"size": os.path.getsize(path), "sha256": file_hash(path)}

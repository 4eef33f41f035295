"""Files of which bytes were changed, cut off or lost: read as they are, or refused by name.

The bytes are drawn by a seed. A few dozen files of each kind are tried in every run, thousands by
``-m slow``. What is read wrongly without a complaint cannot be seen from here: a .h5 file has no
checksum, and a changed number in it is a number.
"""

import os
import shutil
import signal

import keras
import numpy as np
import pytest

from mrcnn.config.file import save_config
from mrcnn.data.cache.dataset import RecordDataset
from mrcnn.data.cache.write import write_records
from mrcnn.training.run_folder import find_last_checkpoint
from mrcnn.training.run_state import RunState, file_facts, load_state, save_state, state_path
from mrcnn.weights.h5_format import read_h5, write_h5
from mrcnn.weights.keras_file import check_keras_file, whole_or_not
from tests.cli.test_cli import chosen_fields
from tests.damage import damaged
from tests.tiny import Rectangles, tiny_config

CHECKPOINT = "toy20200102T0000/mask_rcnn_toy_{:04d}.h5"


def layers():
    rng = np.random.RandomState(0)
    return [
        ("conv1", [("conv1/kernel:0", rng.randn(3, 3, 3, 4)), ("conv1/bias:0", rng.randn(4))]),
        ("pool", []),
        ("rpn_model", [("rpn_class_raw/kernel:0", rng.randn(1, 1, 4, 6))]),
    ]


def state(checkpoint):
    return RunState(
        epoch=1,
        batches=2,
        data={"seed": 5, "images": 3, "batch_size": 2},
        stage={"layers": "heads"},
        stage_ended=False,
        stages=[],
        best={},
        callbacks=[],
        config={"NAME": "toy"},
        weights="00",
        checkpoint=file_facts(checkpoint),
        optimizer={"conv1_kernel_momentum": np.random.RandomState(0).randn(30, 4)},
        random={"drop": np.array([3, 4])},
    )


def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((8,))
    return keras.Model(image, keras.layers.Dense(3)(keras.layers.Dense(5)(image)))


class H5:
    """A file in the original's layout."""

    def write(self, folder):
        write_h5(folder / "weights.h5", layers())
        return folder / "weights.h5"

    def read(self, path):
        read_h5(path)


class KerasWeights:
    """A file of Keras' own; of one that is refused the model has nothing."""

    def write(self, folder):
        self.model = network()
        self.model.save_weights(folder / "own.weights.h5")
        return folder / "own.weights.h5"

    def read(self, path):
        before = self.model.get_weights()
        try:
            with whole_or_not(self.model, path):
                self.model.load_weights(path)
        except Exception:
            for value, other in zip(before, self.model.get_weights(), strict=True):
                np.testing.assert_array_equal(value, other)
            raise
        self.model.set_weights(before)


class KerasModel:
    """A whole model of Keras'; `mrcnn.load_model` checks it before Keras reads it."""

    def write(self, folder):
        network().save(folder / "model.keras")
        return folder / "model.keras"

    def read(self, path):
        check_keras_file(path)


class State:
    """The state file of a run."""

    def write(self, folder):
        write_h5(folder / "a.h5", layers())
        save_state(folder / "a.state.npz", state(folder / "a.h5"))
        return folder / "a.state.npz"

    def read(self, path):
        load_state(path)


class Settings:
    """A config.json, as the commands read it."""

    def write(self, folder):
        save_config(folder, tiny_config(BACKBONE="resnet50", COMPUTE_BACKBONE_SHAPE=None))
        return folder / "config.json"

    def read(self, path):
        chosen_fields(str(path.with_name("weights.h5")), config=str(path))


class Cache:
    """One of the files of a cache; all of its images are read."""

    def __init__(self, name):
        self.name = name

    def write(self, folder):
        write_records(Rectangles(3), tiny_config(), folder / "cache", progress=False)
        return folder / "cache" / self.name

    def read(self, path):
        dataset = RecordDataset(path.parent)
        for image_id in dataset.image_ids:
            found = dataset.load_prepared(image_id, tiny_config())
            original = Rectangles(3).load_image(int(dataset.image_info[image_id]["id"][-1]))
            np.testing.assert_array_equal(found.image, original)


KINDS = {
    "h5": H5(),
    "weights.h5": KerasWeights(),
    "keras": KerasModel(),
    "state": State(),
    "settings": Settings(),
    "records.json": Cache("records.json"),
    "part.json": Cache("part-00000-of-00001.json"),
    "tfrecord": Cache("part-00000-of-00001.tfrecord"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("cases", [40, pytest.param(3000, marks=pytest.mark.slow)])
def test_damaged_files_are_read_or_refused_by_name(tmp_path, name, cases):
    kind = KINDS[name]
    path = kind.write(tmp_path)
    whole = path.read_bytes()
    refused = 0
    for seed in range(cases):
        path.write_bytes(damaged(whole, seed))
        signal.alarm(60)  # a reader that hangs ends the tests
        try:
            kind.read(path)
        except (ValueError, OSError) as error:
            refused += 1
            place = str(path.parent) if isinstance(kind, Cache) else str(path)
            assert place in str(error), (seed, error)
        finally:
            signal.alarm(0)
    assert refused > cases // 4
    path.write_bytes(whole)
    kind.read(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cases", [40, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("ending", [".h5", ".state.npz"])
def test_the_last_checkpoint_that_is_whole_is_found(tmp_path, ending, with_state, cases):
    """Whatever has become of the newest one's weights or state."""
    paths = [tmp_path / CHECKPOINT.format(epoch) for epoch in (1, 2)]
    paths[0].parent.mkdir()
    save_config(paths[0].parent, tiny_config())
    for path in paths:
        write_h5(path, layers())
        save_state(state_path(path), state(path))
    newest = (
        paths[1] if ending == ".h5" else paths[1].parent / os.path.basename(state_path(paths[1]))
    )
    whole = newest.read_bytes()
    for seed in range(cases):
        newest.write_bytes(damaged(whole, seed))
        found = find_last_checkpoint(tmp_path, "toy", with_state)
        damage_shows = newest.read_bytes() != whole and (ending == ".h5" or with_state)
        if ending == ".h5":
            assert found == str(paths[0] if damage_shows else paths[1])
        else:
            assert found in map(str, paths)
    shutil.copy(paths[0], paths[1])

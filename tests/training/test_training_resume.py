"""A run that stops and goes on is the run that never stopped; what is in the way is told."""

import csv
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from mrcnn.config.file import read_config
from mrcnn.data.batches import TrainingBatches
from mrcnn.model import MaskRCNN
from mrcnn.training import loop
from mrcnn.training.checkpoint import Run, StateCheckpoint, random_states
from mrcnn.training.optimizer import arrays, keep_slots, optimizer_variables, restore, slots
from mrcnn.training.run_state import load_state, save_state, state_path
from tests.tiny import Rectangles, tiny_config, values

STAGES = [("heads", 2), ("all", 4, 0.005)]


def new(folder, **fields):
    return MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=2, **fields), str(folder))


def train(model, epochs=None, layers=STAGES, **options):
    return model.train(
        Rectangles(5), Rectangles(2, seed=1), 0.01, epochs, layers, verbose=0, **options
    )


def same(first, second):
    return all(np.array_equal(value, second[name]) for name, value in first.items())


@pytest.fixture
def never_stopped(tmp_path, eagerly):
    model = new(tmp_path / "whole")
    train(model)
    return model


class Stop(keras.callbacks.Callback):
    """End as a kill would, at a step of an epoch."""

    def __init__(self, epoch, step):
        super().__init__()
        self.at, self.epoch = (epoch, step), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


def rows(model):
    with open(os.path.join(model.log_dir, "losses.csv")) as file:
        return list(csv.DictReader(file))


# === Going on ===


def test_going_on_in_the_same_process(never_stopped, tmp_path):
    """What the interrupted epoch left of momentum, learning rate and random numbers is not taken
    along.
    """
    model = new(tmp_path / "stopped")
    for epoch, step in ((1, 0), (3, 1)):
        with pytest.raises(KeyboardInterrupt):
            train(model, custom_callbacks=[Stop(epoch, step)])
        model.resume()
    train(model)
    assert same(values(never_stopped.keras_model), values(model.keras_model))


def test_a_good_checkpoint_after_nan(tmp_path, eagerly):
    model = new(tmp_path)
    train(model, 1, "all")
    with pytest.raises(FloatingPointError, match="last good checkpoint is"):
        model.train(Rectangles(5), None, 1e30, 3, "all", verbose=0)
    model.resume()
    assert np.isfinite(train(model, 3, "all").history["loss"]).all()


def test_weights_of_another_run_bring_no_momentum(tmp_path, eagerly):
    ends = []
    for folder, before in (("one", False), ("two", True)):
        model = new(tmp_path / folder, SEED=0)
        if not ends:
            model.save_weights(str(tmp_path / "start.h5"))
        if before:
            train(model, 1, "all")
        model.load_weights(str(tmp_path / "start.h5"))
        assert model.run is None
        model.compile(0.01, 0.9)
        ends.append(arrays(optimizer_variables(model.keras_model.optimizer)))
    assert all(not value.any() for name, value in ends[1].items() if "momentum" in name)
    assert {name: value.shape for name, value in ends[0].items()} == {
        name: value.shape for name, value in ends[1].items()
    }


def test_all_stages_validate_on_the_same_images(tmp_path, eagerly, monkeypatch):
    """Also without a SEED, and when the run goes on."""
    seen = []
    batch = TrainingBatches.batch

    def noted(batches, index, *at_hand):
        if isinstance(batches.dataset, Validation):
            seen.append(batches.image_ids(index))
        return batch(batches, index, *at_hand)

    class Validation(Rectangles):
        pass

    monkeypatch.setattr(TrainingBatches, "batch", noted)
    for epochs in (2, 3):
        model = new(tmp_path, SEED=None)
        model.resume()
        model.train(
            Rectangles(5), Validation(40), 0.01, None, [("heads", 1), ("all", epochs)], verbose=0
        )
    assert len(seen) >= 3 and all(ids == seen[0] for ids in seen)


def test_going_on_is_not_having_stopped(never_stopped, tmp_path, capsys):
    for epoch, step in ((0, 1), (1, 0), (2, 1), (3, 0)):
        model = new(tmp_path / "stopped")
        model.resume()
        with pytest.raises(KeyboardInterrupt):
            train(model, custom_callbacks=[Stop(epoch, step)])
        assert model.epoch == epoch
    model = new(tmp_path / "stopped")
    assert model.resume().endswith("mask_rcnn_tiny_0003.h5")
    capsys.readouterr()
    history = train(model)
    said = capsys.readouterr().out
    assert "optimizer, random numbers and order of the data are those of epoch 3" in said
    assert (
        "learning rate 0.005" in said
        and "2 is the epoch to end with, and 3 are trained already" in said
    )
    assert history.epoch == [3] and same(
        values(never_stopped.keras_model), values(model.keras_model)
    )
    for ours, theirs in zip(rows(never_stopped), rows(model), strict=True):  # no epoch twice
        assert {name: value for name, value in ours.items() if name != "images_per_second"} == {
            name: value for name, value in theirs.items() if name != "images_per_second"
        }


def test_calls_of_single_stages_go_on_too(never_stopped, tmp_path):
    for _ in range(2):  # the script dies in its second stage, and is run again
        model = new(tmp_path / "stopped")
        model.resume()
        try:
            train(model, 2, "heads")
            model.train(
                Rectangles(5),
                Rectangles(2, seed=1),
                0.005,
                4,
                "all",
                verbose=0,
                custom_callbacks=[] if model.epoch == 3 else [Stop(3, 0)],
            )
        except KeyboardInterrupt:
            continue
    assert same(values(never_stopped.keras_model), values(model.keras_model))


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_epoch_whose_state_is_not_there_is_trained_again(
    never_stopped, tmp_path, monkeypatch, epoch
):
    """As after a kill when the weights are written and the state is not; the first epoch has no
    state before it.
    """

    def interrupt(self, ended):
        if self.run.epoch == epoch:
            raise KeyboardInterrupt
        write(self, ended)

    write = StateCheckpoint._write
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StateCheckpoint, "_write", interrupt)
        train(new(tmp_path / "stopped"))
    model = new(tmp_path / "stopped")
    with pytest.warns(
        UserWarning,
        match=f"000{epoch}.h5 is passed over: it has no state file, so it ends no epoch",
    ):
        model.resume()
    assert model.epoch == epoch - 1
    train(model)
    assert same(values(never_stopped.keras_model), values(model.keras_model))


def test_a_run_without_a_seed_goes_on_with_its_own(tmp_path, eagerly):
    whole = new(tmp_path / "whole", SEED=None)
    start = values(whole.keras_model)
    whole.train(Rectangles(5), None, 0.01, 1, "all", verbose=0)
    first = whole.run.path()
    whole.train(Rectangles(5), None, 0.01, 2, "all", verbose=0)
    assert not same(start, values(whole.keras_model))
    again = new(tmp_path / "whole", SEED=None)
    again.load_weights(first)
    again.train(Rectangles(5), None, 0.01, 2, "all", verbose=0)
    assert same(values(whole.keras_model), values(again.keras_model))


@pytest.mark.slow
def test_a_learning_rate_that_was_lowered_stays_low(tmp_path, eagerly):
    def reduce():
        return keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=1e9)

    whole = new(tmp_path / "whole")
    train(whole, 4, "all", custom_callbacks=[reduce()])
    stopped = new(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        train(stopped, 4, "all", custom_callbacks=[reduce(), Stop(2, 0)])
    model = new(tmp_path / "stopped")
    model.resume()
    assert load_state(state_path(model.find_last())).callbacks[0]["class"] == "ReduceLROnPlateau"
    train(model, 4, "all", custom_callbacks=[reduce()])
    assert [row["learning_rate"] for row in rows(model)] == [
        row["learning_rate"] for row in rows(whole)
    ]
    assert float(rows(whole)[-1]["learning_rate"]) < 0.001
    assert same(values(whole.keras_model), values(model.keras_model))


@pytest.mark.slow
def test_a_stage_that_ended_early_is_not_begun_again(tmp_path, eagerly, capsys):
    def early(patience):
        return [
            keras.callbacks.EarlyStopping(
                "loss", min_delta=1e9, patience=patience, restore_best_weights=True
            )
        ]

    first = new(tmp_path)
    assert train(first, 5, "heads", custom_callbacks=early(1)).epoch == [0, 1]
    with pytest.raises(KeyboardInterrupt):
        train(first, 7, "all", custom_callbacks=[Stop(3, 0)])
    model = new(tmp_path)
    model.resume()
    capsys.readouterr()
    assert train(model, 5, "heads", custom_callbacks=early(1)).epoch == []
    assert "heads to epoch 5 ended early" in capsys.readouterr().out
    assert train(model, 7, "all").epoch == [3, 4, 5, 6]


@pytest.mark.slow
def test_weights_put_back_at_the_end_are_those_of_the_checkpoint(tmp_path, eagerly):
    model = new(tmp_path)
    best = keras.callbacks.EarlyStopping(
        "loss", min_delta=1e9, patience=1, restore_best_weights=True
    )
    train(model, 5, "heads", custom_callbacks=[best])
    again = new(tmp_path)
    assert again.resume().endswith("0002.h5")
    assert same(values(model.keras_model), values(again.keras_model))


# === Numbers of NumPy ===


def as_numpy(value):
    """The same with NumPy's numbers."""
    if isinstance(value, (list, tuple)):
        return np.array(value)
    if isinstance(value, dict):
        return {np.str_(key): as_numpy(item) for key, item in value.items()}
    kinds = {bool: np.bool_, int: np.int64, float: np.float64, str: np.str_}
    return kinds[type(value)](value) if type(value) in kinds else value


def test_numbers_of_numpy_train_save_and_resume_as_pythons(never_stopped, tmp_path, eagerly):
    """In every field, in the user's own ones, in a property, and in what `train` is given."""
    fields = {
        name: as_numpy(value)
        for name, value in vars(never_stopped.config.__class__.__mro__[1]).items()
        if name.isupper()
    }
    fields |= {"STEPS_PER_EPOCH": np.int64(2), "OWN": (np.float32(0.5), [np.int8(1)])}
    fields["STATES_KEPT"] = property(lambda config: np.int64(2))
    stages = [(np.str_("heads"), np.int64(2)), ("all", np.int64(4), np.float64(0.005))]
    config = type("NumpyConfig", (never_stopped.config.__class__,), fields)()
    config.VALIDATION_STEPS = np.int64(1)  # set on the instance
    for until in (np.int64(2), None):
        model = MaskRCNN("training", config, str(tmp_path / "numpy"))
        model.config.GPU_COUNT = np.int64(1)  # and once the model is there
        model.resume()
        model.train(
            Rectangles(5),
            Rectangles(2, seed=1),
            np.float64(0.01),
            until,
            stages,
            workers=np.int64(1),
            verbose=np.int64(0),
            evaluate_every=np.int64(4),
        )
    assert same(values(never_stopped.keras_model), values(model.keras_model))
    ours, theirs = (load_state(state_path(run.run.path())) for run in (model, never_stopped))
    own = ours.config.pop("OWN")
    assert own == [0.5, [1]]
    assert ours.config == theirs.config and ours.stages == theirs.stages
    assert ours.data == theirs.data and ours.batches == theirs.batches
    saved, expected = (
        read_config(Path(run.log_dir) / "config.json") for run in (model, never_stopped)
    )
    assert saved.pop("OWN") == own and saved == expected


# === Runs of one name ===


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def test_models_of_one_minute_have_a_folder_each(tmp_path, eagerly, capsys):
    """As the folds of a cross-validation: two that were made before either trained, and a third."""
    models = [new(tmp_path, SEED=seed) for seed in (1, 2)]
    train(models[0], 1, "heads")
    capsys.readouterr()
    before = files(models[0].log_dir)
    train(models[1], 1, "heads")
    assert f"{models[0].log_dir} is of another run: this one goes to {models[1].log_dir}" in (
        capsys.readouterr().out
    )
    models.append(new(tmp_path, SEED=3))
    place = models[2].log_dir
    train(models[2], 1, "heads")
    assert models[2].log_dir == place and files(models[0].log_dir) == before
    assert sorted(model.log_dir for model in models) == sorted(map(str, tmp_path.iterdir()))
    for model in models:
        assert model.run.path() == os.path.join(model.log_dir, "mask_rcnn_tiny_0001.h5")
        again = new(tmp_path / "other")
        again.load_weights(model.run.path())
        assert same(values(model.keras_model), values(again.keras_model))
        assert len(rows(model)) == 1
    assert new(tmp_path).find_last() == models[2].run.path()

    train(models[0], 2, "heads")  # goes on in its own
    assert {"mask_rcnn_tiny_0001.h5", "mask_rcnn_tiny_0002.h5"} <= set(files(models[0].log_dir))
    assert new(tmp_path).find_last() == models[2].run.path()
    models[0].set_log_dir()
    train(models[0], 1, "heads")  # a new run of the same model
    assert len(list(tmp_path.iterdir())) == 4


def test_a_run_that_failed_at_once_begins_again_in_its_folder(tmp_path, eagerly):
    model = new(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(model, custom_callbacks=[Stop(0, 0)])
    train(model, 1, "heads")
    assert [Path(model.log_dir)] == list(tmp_path.iterdir())


def test_a_folder_that_the_user_names_is_the_users(tmp_path, eagerly):
    model = new(tmp_path)
    model.log_dir = str(tmp_path / "mine")
    model.checkpoint_path = str(tmp_path / "mine" / "fold3_{epoch:04d}.h5")
    (tmp_path / "mine").mkdir()
    train(model, 1, "heads")
    assert {"fold3_0001.h5", "losses.csv"} <= set(files(tmp_path / "mine"))
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]


def test_all_machines_know_the_folder_of_the_chief(tmp_path, monkeypatch):
    """Whatever their own clocks said; the others make nothing."""
    model = new(tmp_path)
    model.run = Run(model.checkpoint_path)
    monkeypatch.setattr(loop, "is_chief", lambda strategy: False)
    monkeypatch.setattr(loop, "of_chief", lambda strategy, values: np.array([202610250259.0]))
    loop._prepare_folder(model, ["BG", "a", "b"])
    assert model.log_dir == str(tmp_path / "tiny20261025T0259")
    assert model.run.path(3) == os.path.join(model.log_dir, "mask_rcnn_tiny_0003.h5")
    assert model.checkpoint_path == model.run.pattern and not list(tmp_path.iterdir())


# === What is in the state ===


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Lion", "Ftrl", "Nadam", "Adafactor"]
)
def test_every_optimizer_goes_to_disk_and_back(name, tmp_path):
    def make():
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")],
            name="net",
        )
        for number, variable in enumerate(model.weights):
            variable.assign(np.random.RandomState(number).randn(*variable.shape))
        options = {"momentum": 0.9} if name == "SGD" else {}
        optimizer = getattr(keras.optimizers, name)(0.01, **options)
        optimizer.build(model.trainable_variables)
        return model, optimizer

    def steps(model, optimizer, numbers):
        for number in numbers:
            rng = np.random.RandomState(number)
            optimizer.apply(
                [
                    keras.ops.convert_to_tensor(rng.randn(*variable.shape), "float32")
                    for variable in model.trainable_variables
                ]
            )

    model, optimizer = make()
    steps(model, optimizer, range(3))
    at_three = [variable.numpy() for variable in model.weights]
    state = arrays(optimizer_variables(optimizer))
    assert len(state) == len(optimizer.variables) and state["iteration"] == 3
    np.savez(tmp_path / "state.npz", **state)
    steps(model, optimizer, range(3, 7))

    other, fresh = make()
    for variable, value in zip(other.weights, at_three):
        variable.assign(value)
    assert restore(optimizer_variables(fresh), dict(np.load(tmp_path / "state.npz"))) == len(state)
    steps(other, fresh, range(3, 7))
    for ours, theirs in zip(model.weights, other.weights):
        np.testing.assert_array_equal(ours, theirs)


def test_a_scaled_optimizer_has_two_counters():
    variable = keras.Variable(np.ones(3, np.float32), name="w")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1), initial_scale=8.0)
    optimizer.build([variable])
    variables = optimizer_variables(optimizer)
    assert len(variables) == len(optimizer.variables) and "iteration#2" in variables
    assert set(variables) - set(slots(optimizer)) == {
        "iteration",
        "iteration#2",
        "learning_rate",
        "learning_rate#2",
    }


def test_slots_are_kept_by_name_and_shape():
    a, b = (
        keras.Variable(np.ones(3, np.float32), name="a"),
        keras.Variable(np.ones(2, np.float32), name="b"),
    )
    old = keras.optimizers.SGD(0.5, momentum=0.9)
    old.build([a])
    old.apply([np.ones(3, np.float32)])
    new_one = keras.optimizers.SGD(0.25, momentum=0.9)
    keep_slots(old, new_one, [b, a])
    assert int(new_one.iterations) == 0 and float(new_one.learning_rate) == 0.25
    np.testing.assert_array_equal(new_one.momentums[1], old.momentums[0])
    assert not np.any(new_one.momentums[0])


def test_slots_of_another_class_are_not_kept():
    """Adam's average of gradients as SGD's momentum would be a step a thousand times too long."""
    weight = keras.Variable(np.ones(3, np.float32), name="a")
    old = keras.optimizers.AdamW(0.5)
    old.build([weight])
    old.apply([np.ones(3, np.float32)])
    sgd = keras.optimizers.SGD(0.25, momentum=0.9)
    keep_slots(old, sgd, [weight])
    assert not np.any(sgd.momentums[0])
    # a wrapper, of half precision, is not a class of its own
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(0.25))
    keep_slots(old, scaled, [weight])
    np.testing.assert_array_equal(scaled.inner_optimizer._momentums[0], old._momentums[0])


def test_another_optimizer_begins_without_momentum(tmp_path, eagerly, capsys):
    """At no rate, momentum would be all that moves the weights."""
    model = new(tmp_path, OPTIMIZER="AdamW", WEIGHT_DECAY=0.0)
    model.train(Rectangles(5), None, 1e-4, 1, "all", verbose=0)
    going_on = new(tmp_path)
    going_on.resume()
    before = values(going_on.keras_model)
    going_on.train(Rectangles(5), None, 1e-20, 2, "all", verbose=0)
    for name, value in values(going_on.keras_model).items():
        np.testing.assert_allclose(value, before[name], rtol=0, atol=1e-12)
    assert (
        "another optimizer begins without momentum, and its stage begins again"
        in capsys.readouterr().out
    )


def test_state_of_every_random_generator():
    image = keras.Input((4,))
    x = keras.layers.Dropout(0.5, name="first")(image)
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dropout(0.5, name="first")], name="inner"
    )
    model = keras.Model(image, inner(x))
    before = {name: variable.numpy() for name, variable in random_states(model).items()}
    assert sorted(before) == ["first", "inner"]
    model(np.ones((1, 4)), training=True)
    assert all(
        (variable.numpy() != before[name]).any() for name, variable in random_states(model).items()
    )


def test_choice_of_rois_follows_the_state(tmp_path):
    model = new(tmp_path).keras_model
    assert list(random_states(model)) == ["proposal_targets"]


# === What is in the way ===


def test_other_weights_than_the_states(tmp_path, eagerly, capsys):
    train(new(tmp_path), 1)
    model = new(tmp_path)
    model.resume()
    model.keras_model.get_layer("conv1").bias.assign_add(np.ones(8, np.float32))
    capsys.readouterr()
    train(model, 2)
    assert (
        "Going on from epoch 1 with a new optimizer, without momentum: the model's weights are not "
        "those" in (capsys.readouterr().out)
    )


def test_a_damaged_state_is_told(tmp_path, eagerly, capsys):
    first = new(tmp_path)
    train(first, 2)
    path = state_path(first.run.path())
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) // 2)
    model = new(tmp_path)
    with pytest.warns(
        UserWarning, match="0002.h5 is passed over: the state file .* is damaged or cut short"
    ):
        assert model.resume().endswith("0001.h5")
    assert train(model, 2).epoch == [1]
    assert same(values(first.keras_model), values(model.keras_model))


def test_a_state_file_of_an_earlier_version_is_refused():
    with pytest.raises(
        ValueError,
        match=r"before_the_move\.state\.npz was written by another version of this package: "
        r"load the \.h5 file beside it by its path, and its weights go on with a new optimizer",
    ):
        load_state(Path(__file__).parent / "before_the_move.state.npz")


@pytest.mark.slow
def test_changes_are_told(tmp_path, eagerly, capsys):
    train(new(tmp_path), 1)
    model = new(tmp_path, WEIGHT_DECAY=0.5)
    model.resume()
    model.train(Rectangles(7), None, 0.01, 2, "all", verbose=0)
    said = capsys.readouterr().out
    assert "the config has changed: WEIGHT_DECAY = 0.5 (was 0.0001)" in said
    assert (
        "The order of the training images is not the run's, because of its images 7 (was 5)" in said
    )


def full_disk(after):
    """An os.fsync that fails from some call on."""
    calls = []
    real = os.fsync

    def fsync(descriptor):
        calls.append(descriptor)
        if after <= len(calls):
            raise OSError(28, "No space left on device")
        return real(descriptor)

    return fsync


def test_a_full_disk_is_told_and_the_last_whole_epoch_is_there(tmp_path, eagerly, monkeypatch):
    model = new(tmp_path)
    train(model, 1)
    kept = model.run.path()
    monkeypatch.setattr(os, "fsync", full_disk(after=3))  # the probe of the folder still fits
    with pytest.warns(
        UserWarning, match="0002.h5 could not be written; training goes on.*No space left"
    ):
        with pytest.raises(
            OSError, match=r"epoch 3 could not be written.*last whole checkpoint is .*0001\.h5"
        ):
            train(model, 3)
    monkeypatch.undo()
    assert model.find_last() == kept and not [
        name for name in os.listdir(model.log_dir) if ".tmp" in name
    ]
    assert model.epoch == 3  # in memory: save_weights still has them
    again = new(tmp_path)
    again.resume()
    train(again, 3)
    assert same(values(model.keras_model), values(again.keras_model))


def test_a_disk_that_is_full_for_a_while(tmp_path, eagerly, monkeypatch):
    class Emptied(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                monkeypatch.setattr(os, "fsync", full_disk(after=1))
            elif epoch == 2:
                monkeypatch.undo()

    model = new(tmp_path)
    with pytest.warns(UserWarning, match="tries again after the next epoch"):
        train(model, 4, custom_callbacks=[Emptied()])
    assert [os.path.basename(path)[-7:-3] for path in model.run.checkpoints()] == [
        "0001",
        "0003",
        "0004",
    ]
    assert model.find_last() == model.run.path(4)


def test_a_folder_that_cannot_be_written_to_shows_at_once(tmp_path, eagerly, monkeypatch):
    model = new(tmp_path)
    monkeypatch.setattr(os, "fsync", full_disk(after=1))
    with pytest.raises(
        OSError, match="cannot write to .*tiny20.*disk full, the folder read-only.*No space left"
    ):
        train(model)
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    blocked = new(tmp_path / "file")
    with pytest.raises(OSError, match="cannot write to"):
        train(blocked)


def test_old_states_are_removed(tmp_path, eagerly):
    model = new(tmp_path, STATES_KEPT=2)
    train(model)
    states = [name for name in sorted(os.listdir(model.log_dir)) if name.endswith(".npz")]
    assert states == ["mask_rcnn_tiny_0003.state.npz", "mask_rcnn_tiny_0004.state.npz"]


def test_going_back_keeps_the_new_states_and_tells_of_the_old_files(tmp_path, eagerly, capsys):
    first = new(tmp_path, STATES_KEPT=4)
    train(first)
    model = new(tmp_path, STATES_KEPT=1)
    model.load_weights(first.run.path(1))
    capsys.readouterr()
    train(model, 2)
    assert "0002.h5, mask_rcnn_tiny_0003.h5, mask_rcnn_tiny_0004.h5" in capsys.readouterr().out
    assert load_state(state_path(model.run.path(2))).epoch == 2
    assert [row["epoch"] for row in rows(model)] == ["0", "1"]


def test_bfloat16_slots_are_stored(tmp_path):
    import ml_dtypes

    from mrcnn.training.run_state import RunState

    slot = np.arange(5).astype(ml_dtypes.bfloat16)
    empty = {name: field.type() for name, field in RunState.__dataclass_fields__.items()}
    save_state(
        tmp_path / "a.state.npz",
        RunState(**{**empty, "optimizer": {"momentum": slot}, "random": {}}),
    )
    np.testing.assert_array_equal(
        load_state(tmp_path / "a.state.npz").optimizer["momentum"], slot.astype(np.float32)
    )

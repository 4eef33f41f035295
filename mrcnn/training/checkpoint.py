"""A run that can be left alone: what it writes after each epoch, and how it goes on from there."""

import contextlib
import dataclasses
import inspect
import os
import shutil
import warnings

import keras
import numpy as np

from mrcnn.common.files import whole_file
from mrcnn.common.keras_internals import learning_rate
from mrcnn.distributed.cluster import worker_count
from mrcnn.training.optimizer import arrays, numbered, restore, slots
from mrcnn.training.run_folder import BEST, checkpoints
from mrcnn.training.run_state import (
    RunState,
    file_facts,
    fingerprint,
    load_state,
    save_state,
    state_path,
)
from mrcnn.training.weight_average import shown
from mrcnn.weights.load import save_h5

# Words in the names of metrics of which more is better; of a "loss" less is.
MORE_IS_BETTER = ("AP", "acc", "precision", "recall", "F1", "IoU", "Dice")


@dataclasses.dataclass
class Run:
    """What a training run carries from one stage, and from one call of ``train``, to the next.

    Attributes:
        pattern: path of its checkpoints with "{epoch:04d}".
        epoch: epochs trained.
        begun: the epoch that the stage in training began with.
        seed: of the order of the training data; None before the first stage.
        images: training images consumed.
        best: {metric: best value so far}.
        stages: keys of the stages that are over.
        over: those of them that a resumed script will ask for once more, to be passed over.
        state: `RunState` that the next stage begins with, of a run that goes on from the disk.
        saved: `fingerprint` of the weights of the newest checkpoint that this process wrote.
        unsaved: the newest epoch that could not be written, or None.
    """

    pattern: str
    epoch: int = 0
    begun: int = 0
    seed: int | None = None
    images: int = 0
    best: dict = dataclasses.field(default_factory=dict)
    stages: list = dataclasses.field(default_factory=list)
    over: list = dataclasses.field(default_factory=list)
    state: RunState | None = None
    saved: str | None = None
    unsaved: int | None = None

    def path(self, epoch=None):
        """The checkpoint of an epoch; of the last one where it is None."""
        return self.pattern.format(epoch=self.epoch if epoch is None else epoch)

    def checkpoints(self):
        """Paths of the checkpoints of the epochs up to this one that are on the disk, oldest
        first.
        """
        folder = os.path.dirname(self.path())
        known = set(map(self.path, range(1, self.epoch + 1)))
        return [
            path for path in (checkpoints(folder) if os.path.isdir(folder) else ()) if path in known
        ]

    def last_checkpoint(self):
        """Path of the newest of them, or None."""
        return (self.checkpoints() or [None])[-1]

    def is_over(self, stage):
        """Whether a resumed script asks for a stage that ended before, perhaps early."""
        if stage.key not in self.over:
            return False
        del self.over[: self.over.index(stage.key) + 1]
        return True


def find_run(pattern, epoch, keras_model, config):
    """The run that a model's weights belong to.

    Args:
        pattern: path of its checkpoints with "{epoch:04d}".
        epoch: epochs trained; 0 for a new run.
        keras_model: the model, with the weights of that epoch loaded.
        config: its ``Config``; what differs from the run's is printed.

    Returns:
        `Run`. Its ``state`` is None, and it is printed why, where there is no whole state file of
        this epoch, or where it is not of these weights.
    """
    images_per_step = config.BATCH_SIZE * worker_count()
    run = Run(pattern, epoch, images=epoch * config.STEPS_PER_EPOCH * images_per_step)
    if not epoch:
        return run
    path = state_path(run.path())
    try:
        state = load_state(path)
        problem = None
    except (FileNotFoundError, ValueError) as error:
        state, problem = None, str(error)
    if state and state.weights != fingerprint(keras_model.weights):
        problem = f"the model's weights are not those that {path} belongs to"
    if problem:
        print(f"Going on from epoch {epoch} with a new optimizer, without momentum: {problem}")
        return run
    fields = config.to_dict()
    changes = _changes(state.config, fields)
    of_another = state.config.get("OPTIMIZER", fields["OPTIMIZER"]) != fields["OPTIMIZER"]
    if of_another:  # Adam's average of gradients has the name of SGD's momentum, not its unit
        state = dataclasses.replace(state, optimizer={}, stage_ended=True)
    print(
        f"Going on from {path}: {'' if of_another else 'optimizer, '}random numbers and order of "
        f"the data are those of epoch {epoch}"
        + (f"; the config has changed: {', '.join(changes)}" if changes else "")
        + (
            "; another optimizer begins without momentum, and its stage begins again"
            if of_another
            else ""
        )
    )
    return dataclasses.replace(
        run,
        seed=state.data["seed"],
        images=state.batches * state.data["batch_size"],
        best=dict(state.best),
        stages=list(state.stages),
        over=list(state.stages),
        state=state,
    )


def _changes(before, now):
    return [
        f"{name} = {now.get(name)!r} (was {before.get(name)!r})"
        for name in sorted({*before, *now})
        if name.isupper() and before.get(name) != now.get(name)
    ]


def _goes_on(state, stage):
    """Whether a stage was under way when a `RunState` was written."""
    return (
        state is not None
        and not state.stage_ended
        and {**state.stage, "epochs": 0} == {**stage.key, "epochs": 0}
    )


def stage_begun(run, stage):
    """The epoch that a stage begins with: this one, or an earlier one where the stage was under way
    on the disk.
    """
    return run.state.stage_begun if _goes_on(run.state, stage) else run.epoch


def begin_stage(run, stage, keras_model):
    """Give a compiled model what the run's state on the disk holds.

    A stage that was under way goes on with its learning rate and number of steps; a new one takes
    over the momentum of the variables that were trained before.

    Returns:
        The `RunState` if this stage was under way, else None.
    """
    state, run.state = run.state, None
    if state is None:
        return None
    goes_on = _goes_on(state, stage)
    variables = keras_model.state_variables() if goes_on else slots(keras_model.optimizer)
    restored = restore(variables, state.optimizer)
    if goes_on:
        keras_model.count_updates_of(state.config.get("GRADIENT_ACCUMULATION_STEPS", 1))
    generators = random_states(keras_model)
    if set(generators) != set(state.random):
        print(
            "The random generators of the model changed since the run was saved; random choices "
            f"will differ: {sorted(set(generators) ^ set(state.random))[:5]}"
        )
    restore(generators, state.random)
    rate = (
        f", learning rate {learning_rate(keras_model.optimizer):g}"
        if goes_on
        else "; this stage was not under way, so its learning rate and count of steps begin again"
    )
    print(f"Restored {restored} of the optimizer's {len(variables)} variables{rate}")
    return state if goes_on else None


def random_states(keras_model):
    """name of a model's layer -> variable: the state of every random generator, as of a Dropout."""
    weights = {id(variable) for variable in keras_model.weights}
    return dict(
        numbered(
            (layer.name, variable)
            for layer in keras_model.layers
            for variable in layer.variables  # Keras counts the states of generators among these
            if id(variable) not in weights
        )
    )


# === After each epoch ===


def better_sign(monitor):
    """1 where more of a metric is better, -1 where less is.

    Raises:
        ValueError: its name tells neither.
    """
    if "loss" in monitor:
        return -1
    if any(word in monitor for word in MORE_IS_BETTER):
        return 1
    raise ValueError(
        f"monitor is {monitor!r}, whose name does not tell whether more or less is better: log it "
        f"under one with 'loss' (less) or {', '.join(map(repr, MORE_IS_BETTER))} (more)"
    )


class WeightsCheckpoint(keras.callbacks.Callback):
    """Write the weights after every epoch, in the layout of the published files, and keep the best
    ones.

    They are written when the last step is made, before the validation and all else that may fail.
    A file that cannot be written is told, and training goes on: the next epoch tries again.

    Args:
        run: `Run`.
        monitor: name of a logged metric, or None. Its best epoch's weights are also found as
            ``mask_rcnn_<name>_best.h5`` or ``segmenter_<name>_best.h5``. Of an "AP", "acc" and so
            on more is better, of a "loss" less.

    Raises:
        ValueError: the name does not tell which is better.
    """

    def __init__(self, run, monitor=None):
        super().__init__()
        self.run = run
        self.monitor = monitor
        self.sign = None if monitor is None else better_sign(monitor)
        self.logged = None  # names of the metrics, where the monitored one never was among them
        self.epoch = 0  # in training, from 1
        self.written = 0  # the newest that is

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        # Keras reads the first validation images before on_test_begin
        if batch + 1 == self.params["steps"]:
            with shown(self.model.average):
                self._write()

    def on_test_begin(self, logs=None):  # of an epoch that a callback cut short
        self._write()

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch + 1
        self._write()
        path = self.run.path(self.epoch)
        value = (logs or {}).get(self.monitor)
        if self.monitor is not None and self.run.best.get(self.monitor) is None:
            self.logged = sorted(logs or {}) if value is None else None
        if not self.run.unsaved and value is not None and self._is_best(value):
            best = path[: path.rindex("_")] + BEST
            with _told(best), whole_file(best) as temporary:
                _link(path, temporary)
            self.run.best[self.monitor] = float(value)

    def _write(self):
        """Write the weights of this epoch, if they are not written yet."""
        if self.written == self.epoch:
            return
        path = self.run.path(self.epoch)
        self.run.unsaved = self.epoch
        with _told(path):
            save_h5(self.model, path)
            self.run.saved = fingerprint(self.model.weights)
            self.run.unsaved = None
            self.written = self.epoch

    def on_train_end(self, logs=None):
        if self.logged is not None:
            print(
                f"No best weights were kept: monitor is {self.monitor!r}, and logged were "
                f"{', '.join(self.logged)}"
            )

    def _is_best(self, value):
        known = self.run.best.get(self.monitor)
        return not np.isnan(value) and (known is None or self.sign * value > self.sign * known)


class StateCheckpoint(keras.callbacks.Callback):
    """Write the state file that ends an epoch; the last of all callbacks.

    Args:
        run: `Run`.
        stage: the `Stage` in training.
        data: the `TrainingData` being trained on.
        config: its ``Config``; the newest STATES_KEPT state files are kept.
        custom: the user's callbacks, whose counters are part of the state.
        resumed: `RunState` of this stage where it was under way, or None.
        writes: False keeps count of the run and leaves the file to another machine.
    """

    def __init__(self, run, stage, data, config, custom=(), resumed=None, writes=True):
        super().__init__()
        self.run, self.stage, self.data, self.config = run, stage, data, config
        self.custom = custom
        self.resumed = resumed
        self.writes = writes
        self.begun = []  # the custom callbacks' attributes as training began

    def on_train_begin(self, logs=None):
        self.begun = [_attributes(callback) for callback in self.custom]
        for callback, saved in zip(self.custom, self.resumed.callbacks if self.resumed else ()):
            if saved["class"] == type(callback).__name__:
                vars(callback).update(saved["attributes"])

    def on_epoch_end(self, epoch, logs=None):
        run = self.run
        run.epoch = epoch + 1
        run.images += len(self.data) * self.data.batch_size
        ended = run.epoch >= self.stage.epochs or self.model.stop_training
        if ended:
            run.stages.append(self.stage.key)
        self._write(ended)

    def on_train_end(self, logs=None):
        # weights that are put back as training ends, as by EarlyStopping(restore_best_weights=True)
        if self.run.saved and fingerprint(self.model.weights) != self.run.saved:
            self._write(ended=True)

    def _write(self, ended):
        run = self.run
        if run.unsaved or not self.writes:
            return
        run.unsaved = run.epoch
        with _told(state_path(run.path())):
            weights = fingerprint(self.model.weights)
            if weights != run.saved:  # a callback of the user's changed them
                save_h5(self.model, run.path())
                run.saved = weights
            save_state(state_path(run.path()), self._state(ended))
            run.unsaved = None
            for path in run.checkpoints()[: -self.config.STATES_KEPT]:
                if os.path.exists(state_path(path)):
                    os.remove(state_path(path))

    def _state(self, ended):
        run, data = self.run, self.data
        return RunState(
            epoch=run.epoch,
            batches=run.images // data.batch_size,
            data={
                "seed": data.batches.seed,
                "images": len(data.batches.dataset.image_ids),
                "batch_size": data.batch_size,
            },
            stage=self.stage.key,
            stage_ended=bool(ended),
            stages=run.stages,
            best=run.best,
            callbacks=[
                {"class": type(callback).__name__, "attributes": _changed(callback, before)}
                for callback, before in zip(self.custom, self.begun)
            ],
            config=self.config.to_dict(),
            weights=run.saved,
            checkpoint=file_facts(run.path()),
            optimizer=arrays(self.model.state_variables()),
            stage_begun=run.begun,
            random=arrays(random_states(self.model)),
        )


@contextlib.contextmanager
def _told(path):
    """Turn an error of writing into a warning: a disk that is full now may be emptied by the next
    epoch.
    """
    try:
        yield
    except OSError as error:
        warnings.warn(
            f"{path} could not be written; training goes on and tries again after the next epoch: "
            f"{error}",
            stacklevel=2,
        )


def _link(path, name):
    """A second name for a file, or a copy where the file system has no such thing."""
    try:
        os.link(path, name)
    except OSError:
        shutil.copyfile(path, name)


def _attributes(callback):
    """The numbers, strings and so on among a callback's attributes, but for its settings: arguments
    of its class.
    """
    settings = inspect.signature(type(callback)).parameters
    values = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in vars(callback).items()
        if name not in settings
    }
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, (bool, int, float, str, type(None)))
    }


def _changed(callback, before):
    return {
        name: value
        for name, value in _attributes(callback).items()
        if name not in before or before[name] != value
    }

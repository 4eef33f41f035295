"""Training: the stages one after the other, each a ``fit`` of Keras with what belongs around it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import keras
import numpy as np

from mrcnn.common.files import remove_temporary_files
from mrcnn.common.words import option_or_argument
from mrcnn.config.file import save_config
from mrcnn.config.python_values import python_value
from mrcnn.data.augment.user import Augmentation
from mrcnn.data.class_checks import check_same_classes
from mrcnn.distributed.cluster import worker_count
from mrcnn.distributed.strategy import check_workers_agree, is_chief, of_chief, over_machines
from mrcnn.networks.layers.loss import loss_names
from mrcnn.training.bad_loss import StopOnBadLoss, TellWhatIsLeftOut
from mrcnn.training.checkpoint import (
    Run,
    StateCheckpoint,
    WeightsCheckpoint,
    begin_stage,
    find_run,
    stage_begun,
)
from mrcnn.training.data import CountEpochs, as_training_data, own_errors
from mrcnn.training.logs import ImagesPerSecond, LossTable, Pictures, tensorboard_is_installed
from mrcnn.training.run_folder import RunFolder, check_name, checkpoints, claim, next_beginning
from mrcnn.training.run_state import fingerprint
from mrcnn.training.schedules import check_callbacks, in_words, stage_rate
from mrcnn.training.stages import Stage, as_stages, set_losses, trainable_layers
from mrcnn.training.validation import Evaluate
from mrcnn.training.weight_average import ShowAverage

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset
    from mrcnn.data.numbered_batches import NumberedBatches


class Trainable(Protocol):
    """A `MaskRCNN` or a `Segmenter`; `training.learner.Learner` says what its members are."""

    stages: ClassVar[dict[str, str]]
    measures: ClassVar[tuple[str, ...]]
    best_measure: ClassVar[str]
    keras_model: keras.Model
    config: Config
    mode: str
    epoch: int
    log_dir: str
    checkpoint_path: str
    folder: RunFolder
    run: Run | None

    @property
    def loss_weights(self) -> dict[str, float]: ...

    def batches(self, dataset: Dataset, *, training: bool, **options: Any) -> NumberedBatches: ...

    def require_data(self, train_dataset: Dataset, val_dataset: Dataset | None) -> None: ...

    def not_learned(self, dataset: Dataset) -> list[str]: ...

    def set_trainable(self, layer_regex: str, *, verbose: int = 1) -> None: ...

    def compile(self, learning_rate: Any, momentum: float) -> None: ...

    def detector(self) -> Any: ...


def train(
    model: Trainable,
    train_dataset: Dataset,
    val_dataset: Dataset | None,
    learning_rate: Any,
    epochs: int | None,
    layers: str | Iterable[Stage | tuple],
    *,
    augmentation: Augmentation | None = None,
    custom_callbacks: Sequence[keras.callbacks.Callback] | keras.callbacks.Callback | None = None,
    no_augmentation_sources: Collection[str] | None = None,
    workers: int = 1,
    verbose: int | str = "auto",
    evaluate_every: int = 0,
    monitor: str | None = None,
) -> keras.callbacks.History:
    """Train a model; its ``train`` says what the arguments are.

    Args:
        model: a `Trainable`. Its epoch, run and places on disk are kept up.

    Returns:
        keras.callbacks.History of all stages.
    """
    config = model.config
    if model.mode != "training":
        raise ValueError(f"the model was made in mode {model.mode!r}; train needs mode='training'")
    check_name(model.folder.model_dir, config.NAME)
    if evaluate_every and val_dataset is None:
        raise ValueError(
            option_or_argument("--evaluate-every", "evaluate_every")
            + f" is {evaluate_every}, but there is no "
            + option_or_argument(
                "image to evaluate on: give --val, --val-subset or --val-share",
                "val_dataset to evaluate on",
            )
        )
    config.settle()  # fields may have been set since the model was built
    layers, epochs, learning_rate = map(python_value, (layers, epochs, learning_rate))
    stages = as_stages(layers, epochs, learning_rate, loss_names(model.keras_model))
    custom = _as_callbacks(custom_callbacks)
    for stage in stages:  # a misspelt last stage should show now, not after two days
        if not any(
            train
            for _, train in trainable_layers(
                model.keras_model,
                model.stages.get(stage.layers, stage.layers),
                config.FREEZE_BACKBONE_STAGES,
            )
        ):
            model.set_trainable(stage.layers, verbose=0)  # which raises, and says what there is
    model.require_data(train_dataset, val_dataset)

    if model.run is None or (model.run.pattern, model.run.epoch) != (
        model.checkpoint_path,
        model.epoch,
    ):
        model.run = find_run(model.checkpoint_path, model.epoch, model.keras_model, config)
    strategy = model.keras_model.distribute_strategy
    if over_machines(strategy):
        check_workers_agree(
            strategy, _facts(model.run, train_dataset, val_dataset, config, model.keras_model)
        )
    begun = None
    for stage in stages:  # what its learning rate cannot do should show now, too
        if model.run.epoch < stage.epochs:
            begun = stage_begun(model.run, stage) if begun is None else begun
            check_callbacks(stage_rate(config, stage, begun), custom)
            begun = stage.epochs
    monitor = monitor or (f"val_{model.best_measure}" if evaluate_every else None)
    history = None
    for stage in stages:
        if model.run.epoch >= stage.epochs or model.run.is_over(stage):
            # a script of several stages that goes on from a checkpoint passes its first stages like
            # this
            print(
                f"Nothing to train: {stage.epochs} is the epoch to end with, and "
                f"{model.epoch} are trained already"
                if model.run.epoch >= stage.epochs
                else f"Nothing to train: {stage.layers} to epoch {stage.epochs} ended early in the "
                "run that goes on"
            )
            continue
        model.run.over = []
        if history is None and is_chief(strategy):
            for sentence in model.not_learned(train_dataset):
                print(f"Of the training data, {sentence}")
        found = _train_stage(
            model,
            stage,
            train_dataset,
            val_dataset,
            dict(augmentation=augmentation, no_augmentation_sources=no_augmentation_sources),
            custom,
            workers,
            verbose,
            evaluate_every,
            monitor,
            first=history is None,
            last=stage is stages[-1],
        )
        history = _joined(history, found)
    # the others wait until the chief, without which they cannot be, has written all
    of_chief(strategy, [0])
    if model.run.unsaved:
        raise OSError(
            f"the weights of epoch {model.run.unsaved} could not be written to {model.log_dir}: "
            "make room, and "
            + option_or_argument("train on with --weights last", "write them with save_weights")
            + f". The last whole checkpoint is {model.run.last_checkpoint()}"
        )
    if history is None:
        history = keras.callbacks.History()
        history.on_train_begin()
    return history


def _as_callbacks(callbacks):
    """A list of Keras callbacks, of such a list, of a single one, or of None."""
    callback = keras.callbacks.Callback
    callbacks = [callbacks] if isinstance(callbacks, callback) else list(callbacks or ())
    wrong = [each for each in callbacks if not isinstance(each, callback)]
    if wrong:
        raise TypeError(
            f"custom_callbacks has {wrong[0]!r}, which is no keras.callbacks.Callback"
            + (": make an object of the class" if isinstance(wrong[0], type) else "")
        )
    return callbacks


def _train_stage(
    model,
    stage,
    train_dataset,
    val_dataset,
    augmentation,
    custom,
    workers,
    verbose,
    evaluate_every,
    monitor,
    first,
    last,
):
    """One `Stage`; returns its History."""
    config, keras_model, run = model.config, model.keras_model, model.run
    strategy = keras_model.distribute_strategy
    chief = is_chief(strategy)
    images_per_step = config.BATCH_SIZE * worker_count()
    seed = run.seed if config.SEED is None else config.SEED
    if seed is None and over_machines(strategy):
        seed = int(of_chief(strategy, [np.random.randint(2**31 - 1)])[0])
    data = as_training_data(
        keras_model,
        model.batches(train_dataset, training=True, seed=seed, **augmentation),
        config.STEPS_PER_EPOCH,
        epoch=run.epoch,
        workers=workers,
        start=run.images // images_per_step,
    )
    run.seed = data.batches.seed
    validation = None
    if val_dataset is not None:
        check_same_classes(train_dataset, val_dataset)
        validation = as_training_data(
            keras_model,
            model.batches(val_dataset, training=False, seed=data.batches.seed),
            config.VALIDATION_STEPS,
            repeat=True,
            workers=workers,
        )
    if first:
        _prepare_folder(model, train_dataset.class_names)
        if validation is not None:
            validation.check(workers, progress=chief and verbose != 0)
    run.begun = stage_begun(run, stage)
    rate = stage_rate(config, stage, run.begun)
    print(
        f"Training {stage.layers} to epoch {stage.epochs}, from epoch {run.epoch}, learning rate "
        f"{in_words(rate, (stage.epochs - run.begun) * config.STEPS_PER_EPOCH)}: {run.pattern}"
    )
    _tell_of_data(run.state, data)
    model.set_trainable(model.stages.get(stage.layers, stage.layers), verbose=0)
    set_losses(keras_model, model.loss_weights, stage.losses)
    model.compile(rate, config.LEARNING_MOMENTUM)
    resumed = begin_stage(run, stage, keras_model)

    def is_due(epoch):
        return (epoch + 1) % evaluate_every == 0 or (last and epoch + 1 == stage.epochs)

    speed = ImagesPerSecond(images_per_step)
    files = [LossTable(os.path.join(model.log_dir, "losses.csv"), speed)]
    if tensorboard_is_installed():
        files.append(keras.callbacks.TensorBoard(model.log_dir, write_graph=False))
    callbacks = [
        CountEpochs(data),
        *([ShowAverage(keras_model.average, resumed)] if keras_model.average else ()),
        StopOnBadLoss(data, run.last_checkpoint),
        TellWhatIsLeftOut(data, validation),
        speed,
        # before all that monitors a metric
        *(
            [Evaluate(model.detector, val_dataset, is_due, model.measures, chief and verbose != 0)]
            if evaluate_every
            else ()
        ),
        *(
            [Pictures(model.detector, val_dataset, model.log_dir, is_due)]
            if evaluate_every and chief
            else ()
        ),
        *([WeightsCheckpoint(run, monitor)] if chief else ()),
        *custom,
        *(files if chief else ()),
        # what it writes ends the epoch
        StateCheckpoint(run, stage, data, config, custom, resumed, writes=chief),
    ]
    try:
        with own_errors(data, validation):
            # the data set shuffles its images; Keras would shuffle the batches once more, without
            # the seed
            history = keras_model.fit(
                data.feed(strategy),
                initial_epoch=run.epoch,
                epochs=stage.epochs,
                callbacks=callbacks,
                validation_data=None if validation is None else validation.feed(strategy),
                shuffle=False,
                verbose=verbose if chief else 0,
            )
    finally:
        model.epoch = run.epoch  # fewer than asked for where a callback, or an error, stopped early
    return history


def _facts(run, train_dataset, val_dataset, config, keras_model):
    """What must be equal on all machines that train together, for `check_workers_agree`."""
    return {
        "the epoch trained last": run.epoch,
        "whether there is an optimizer's state": run.state is not None,
        "the checksum of the weights": int(fingerprint(keras_model.weights)[:8], 16),
        "the number of training images": len(train_dataset.image_ids),
        "the number of validation images": 0 if val_dataset is None else len(val_dataset.image_ids),
        "BATCH_SIZE": config.BATCH_SIZE,
        "STEPS_PER_EPOCH": config.STEPS_PER_EPOCH,
        "VALIDATION_STEPS": config.VALIDATION_STEPS,
        "SEED": -1 if config.SEED is None else config.SEED,
    }


def _prepare_folder(model, class_names):
    """Make a run's folder with its config, and see now, not after the first epoch, whether it can
    be written to.

    A new run gets a folder that no other run has. Of several machines the chief alone writes, and
    the name of its folder holds on all.

    Raises:
        OSError: it cannot.
    """
    strategy, folder = model.keras_model.distribute_strategy, model.folder
    # checkpoints that the user has sent elsewhere go there
    is_new = folder.is_new and folder.checkpoint_path == model.checkpoint_path
    began = None
    if is_new and is_chief(strategy):
        with _writing_to(folder.log_dir):
            began = next_beginning(folder.model_dir, folder.key)
            folder = claim(folder)
    minute = f"{int(of_chief(strategy, [int(folder.time.replace('T', ''))])[0]):012}"
    if is_new:
        _move(model, folder._replace(time=f"{minute[:8]}T{minute[8:]}", is_new=False))
    if not is_chief(strategy):
        return
    log_dir, run = model.log_dir, model.run
    with _writing_to(log_dir):
        os.makedirs(log_dir, exist_ok=True)
        for name in remove_temporary_files(log_dir):
            print(f"Removed {name}, which a run that was killed left in {log_dir}")
        save_config(log_dir, model.config, class_names, began)
    later = [
        os.path.basename(path) for path in checkpoints(log_dir) if path not in run.checkpoints()
    ]
    if later:
        print(
            f"{log_dir} has checkpoints that are not of the epochs before {run.epoch + 1}; those "
            "of the same name will be written over: "
            f"{', '.join(later[:5])}{' ...' if len(later) > 5 else ''}"
        )


def _move(model, folder):
    """Give a model's run a `RunFolder` that it has to itself."""
    if folder.log_dir != model.folder.log_dir:
        print(f"{model.folder.log_dir} is of another run: this one goes to {folder.log_dir}")
    if model.log_dir == model.folder.log_dir:
        model.log_dir = folder.log_dir
    model.folder = folder
    model.checkpoint_path = model.run.pattern = folder.checkpoint_path


@contextlib.contextmanager
def _writing_to(log_dir):
    """Name a run's folder in an error of writing to it."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot write to {log_dir}, where the checkpoints go (is the disk full, the folder "
            f"read-only?): {error}"
        ) from error


def _tell_of_data(state, data):
    """Print what has changed of the training data since a run's state was written."""
    batches = data.batches
    now = {
        "seed": batches.seed,
        "images": len(batches.dataset.image_ids),
        "batch_size": data.batch_size,
    }
    changed = (
        [
            f"{name} {now[name]} (was {state.data.get(name)})"
            for name in now
            if now[name] != state.data.get(name)
        ]
        if state
        else []
    )
    if changed:
        print(
            "The order of the training images is not the run's, because of its "
            f"{', '.join(changed)}"
        )


def _joined(first, second):
    """The History of two stages as one."""
    if first is None:
        return second
    first.epoch += second.epoch
    for name, values in second.history.items():
        first.history.setdefault(name, []).extend(values)
    return first

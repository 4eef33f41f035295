"""The learning rate over the steps of a stage.

A schedule counts the batches of its stage: every call of ``train``, or stage of its list, begins
with the learning rate that it is given, and warms up to it. A run that is resumed goes on where its
stage was. Batches count, not updates, so GRADIENT_ACCUMULATION_STEPS changes no schedule.
"""

import warnings

import keras
from keras.optimizers.schedules import (
    CosineDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

from mrcnn.config.choices import ADAMS
from mrcnn.networks.layers.base import PACKAGE

# Adam's steps are as large as the rate, whatever the gradient: above this nothing is learned.
_HIGH_FOR_ADAM = 0.003
# Callbacks of Keras that set the learning rate, which a schedule does not allow.
SETTERS = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)


def stage_rate(config, stage, begun):
    """The learning rate of a stage, as LEARNING_RATE_SCHEDULE and the fields after it say.

    Args:
        config: a ``Config``.
        stage: `stages.Stage`. Where its learning_rate is a schedule of Keras, or a callable(step),
            that is taken as it is, and no field counts.
        begun: the epoch that the stage began with.

    Returns:
        The stage's number where nothing changes it, else a
        `keras.optimizers.schedules.LearningRateSchedule`.

    Warns:
        of a rate that is too high for Adam and its kin, and of a stage that is over before its
        warm-up, which then takes half of it.
    """
    if callable(stage.learning_rate):
        return as_schedule(stage.learning_rate)
    rate, schedule = float(stage.learning_rate), config.LEARNING_RATE_SCHEDULE
    warmup, factor = config.LEARNING_RATE_WARMUP_STEPS, float(config.LEARNING_RATE_WARMUP_FACTOR)
    steps = (stage.epochs - begun) * config.STEPS_PER_EPOCH
    if config.OPTIMIZER in ADAMS and rate > _HIGH_FOR_ADAM:
        warnings.warn(
            f"the learning rate of stage {stage.layers!r} is {rate}, which suits SGD; OPTIMIZER is "
            f"{config.OPTIMIZER!r}, whose steps are as large as the rate whatever the gradient: "
            "0.0001 to 0.001 is usual",
            stacklevel=2,
        )
    if warmup and warmup >= steps:
        warmup = steps // 2
        warnings.warn(
            f"LEARNING_RATE_WARMUP_STEPS is {config.LEARNING_RATE_WARMUP_STEPS}, but stage "
            f"{stage.layers!r} ends after {steps} steps (epochs {begun + 1} to {stage.epochs} of "
            f"{config.STEPS_PER_EPOCH}): it warms up for {warmup}",
            stacklevel=2,
        )
    if schedule == "cosine":
        return CosineDecay(
            rate * factor if warmup else rate,
            steps - warmup,
            alpha=float(config.LEARNING_RATE_END_FACTOR),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if callable(schedule):
        schedule = as_schedule(schedule)
    elif schedule == "multistep":
        schedule = _multistep(config, rate, stage, begun)
    elif schedule is not None:
        raise ValueError(
            f"LEARNING_RATE_SCHEDULE is {schedule!r}, the name that a file of settings keeps of a "
            "callable; settings import no code: set it to the callable itself"
        )
    if schedule is None:
        return PolynomialDecay(rate * factor, warmup, rate) if warmup else rate
    return WarmUp(schedule, warmup, factor) if warmup else schedule


def _multistep(config, rate, stage, begun):
    epochs = [epoch for epoch in config.LEARNING_RATE_DROP_EPOCHS if begun < epoch < stage.epochs]
    if not epochs:
        return None
    # the last step that has the rate before
    boundaries = [int((epoch - begun) * config.STEPS_PER_EPOCH - 1) for epoch in epochs]
    return PiecewiseConstantDecay(
        boundaries,
        [rate * config.LEARNING_RATE_DROP_FACTOR**drops for drops in range(len(epochs) + 1)],
    )


def in_words(rate, steps):
    """A learning rate of ``steps`` steps, to be printed."""
    if not callable(rate):
        return f"{rate}"
    first, last = (
        float(keras.ops.convert_to_numpy(rate(keras.ops.convert_to_tensor(step, "int64"))))
        for step in (0, max(steps - 1, 0))
    )
    return f"{first:g} at its first step, {last:g} at its last ({type(rate).__name__})"


def check_callbacks(rate, callbacks):
    """Refuse callbacks that set a learning rate which a schedule gives: Keras would, when they
    first do, after days.

    Raises:
        ValueError: there is one.
    """
    for callback in callbacks if callable(rate) else ():
        if isinstance(callback, SETTERS):
            raise ValueError(
                f"{type(callback).__name__} sets the learning rate, which a {type(rate).__name__} "
                "gives already: leave the callback out, or set LEARNING_RATE_SCHEDULE to None and "
                "LEARNING_RATE_WARMUP_STEPS to 0, and let the learning rate of the stage be a "
                "number"
            )


def of_updates(rate, steps):
    """A learning rate by the number of batches, as one by the number of updates.

    An optimizer counts its updates, to each of which the batch that completes it gives the rate.

    Args:
        rate: a number, or a Keras schedule of the batches.
        steps: GRADIENT_ACCUMULATION_STEPS, the batches of an update.
    """
    return OfUpdates(rate, steps) if callable(rate) and steps > 1 else rate


def as_schedule(rate):
    """A Keras schedule as it is, or one made of a callable(step)."""
    return rate if isinstance(rate, LearningRateSchedule) else FromFunction(rate)


@keras.saving.register_keras_serializable(PACKAGE)
class FromFunction(LearningRateSchedule):
    """A schedule of Keras made of a function of the step, a float32 scalar tensor, that gives a
    float or a tensor.
    """

    def __init__(self, function):
        super().__init__()
        self.function = function

    def __call__(self, step):
        return keras.ops.cast(self.function(keras.ops.cast(step, "float32")), "float32")

    def get_config(self):
        return {"function": keras.saving.serialize_keras_object(self.function)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["function"]))


@keras.saving.register_keras_serializable(PACKAGE)
class OfUpdates(LearningRateSchedule):
    """The schedule of updates that `of_updates` makes of one of batches."""

    def __init__(self, schedule, steps):
        self.schedule, self.steps = schedule, steps

    def __call__(self, step):
        return self.schedule((step + 1) * self.steps - 1)

    def get_config(self):
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "steps": self.steps,
        }

    @classmethod
    def from_config(cls, config):
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["steps"])


@keras.saving.register_keras_serializable(PACKAGE)
class WarmUp(LearningRateSchedule):
    """Another schedule, times a factor that rises on a line from ``factor`` to 1 over the first
    ``steps`` steps.
    """

    def __init__(self, schedule, steps, factor):
        super().__init__()
        self.schedule, self.steps, self.factor = schedule, steps, factor
        self._ramp = PolynomialDecay(factor, steps, 1.0)

    def __call__(self, step):
        return self.schedule(step) * self._ramp(step)

    def get_config(self):
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "steps": self.steps,
            "factor": self.factor,
        }

    @classmethod
    def from_config(cls, config):
        return cls(
            **{**config, "schedule": keras.saving.deserialize_keras_object(config["schedule"])}
        )

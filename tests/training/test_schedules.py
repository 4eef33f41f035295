"""The learning rate over a stage, against formulas; and a run that is resumed goes on at its
rate.
"""

import csv
import math
import os
import warnings

import keras
import numpy as np
import pytest

from mrcnn.common.keras_internals import learning_rate
from mrcnn.model import MaskRCNN
from mrcnn.training import Stage
from mrcnn.training.optimizer import make_optimizer
from mrcnn.training.schedules import FromFunction, WarmUp, in_words, stage_rate
from tests.tiny import Rectangles, tiny_config, values

S = 10  # steps of an epoch


def rates(stage, begun=0, steps=None, **fields):
    """The learning rate of every step of a stage."""
    rate = stage_rate(tiny_config(STEPS_PER_EPOCH=S, **fields), stage, begun)
    return [
        float(rate(keras.ops.convert_to_tensor(step, "int64")))
        for step in range((stage.epochs - begun) * S if steps is None else steps)
    ]


def test_the_default_is_the_number():
    rate = stage_rate(tiny_config(), Stage("all", 3, 0.02), 0)
    assert rate == 0.02 and isinstance(rate, float)
    optimizer = make_optimizer(tiny_config(), rate, 0.9)
    assert isinstance(optimizer.learning_rate, keras.Variable)


def test_multistep_drops_after_the_epochs_of_the_run():
    fields = dict(
        LEARNING_RATE_SCHEDULE="multistep",
        LEARNING_RATE_DROP_EPOCHS=(2, 5, 6, 9),
        LEARNING_RATE_DROP_FACTOR=0.5,
    )
    found = rates(Stage("all", 8, 0.4), **fields)
    np.testing.assert_allclose(
        found, [0.4] * 2 * S + [0.2] * 3 * S + [0.1] * S + [0.05] * 2 * S, rtol=1e-6
    )
    # a stage begins with the rate that it is given: what dropped before it counts no more
    found = rates(Stage("all", 8, 0.4), begun=5, **fields)
    np.testing.assert_allclose(found, [0.4] * S + [0.2] * 2 * S, rtol=1e-6)
    assert stage_rate(tiny_config(**fields), Stage("all", 8, 0.4), 6) == 0.4


def test_cosine_ends_where_the_stage_does():
    found = rates(
        Stage("all", 7, 0.4),
        begun=3,
        steps=45,
        LEARNING_RATE_SCHEDULE="cosine",
        LEARNING_RATE_END_FACTOR=0.1,
    )
    expected = [
        0.4 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(step, 40) / 40))) for step in range(45)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[0] == pytest.approx(0.4) and found[40] == found[44] == pytest.approx(0.04)


@pytest.mark.parametrize("schedule", [None, "multistep", "cosine"])
def test_warm_up(schedule):
    found = rates(
        Stage("all", 4, 0.4),
        LEARNING_RATE_SCHEDULE=schedule,
        LEARNING_RATE_DROP_EPOCHS=(3,),
        LEARNING_RATE_WARMUP_STEPS=5,
        LEARNING_RATE_WARMUP_FACTOR=0.2,
    )
    np.testing.assert_allclose(
        found[:5], [0.4 * (0.2 + 0.8 * step / 5) for step in range(5)], rtol=1e-6
    )
    after = {
        None: [0.4] * 35,
        "multistep": [0.4] * 25 + [0.04] * 10,
        "cosine": [0.2 * (1 + math.cos(math.pi * step / 35)) for step in range(35)],
    }[schedule]
    np.testing.assert_allclose(found[5:], after, rtol=1e-5, atol=1e-8)


def test_a_schedule_of_ones_own():
    def halving(self, step):
        return 0.1 * 0.5 ** (step // S)

    np.testing.assert_allclose(
        rates(Stage("all", 2, 9.0), LEARNING_RATE_SCHEDULE=halving),
        [0.1] * S + [0.05] * S,
        rtol=1e-6,
    )
    warmed = rates(
        Stage("all", 1, 9.0),
        LEARNING_RATE_SCHEDULE=halving,
        LEARNING_RATE_WARMUP_STEPS=4,
        LEARNING_RATE_WARMUP_FACTOR=0.0,
    )
    np.testing.assert_allclose(warmed, [0, 0.025, 0.05, 0.075] + [0.1] * 6, atol=1e-8)
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, S, 0.5)
    assert stage_rate(tiny_config(LEARNING_RATE_SCHEDULE=decay), Stage("all", 1, 9.0), 0) is decay


def test_a_stages_own_schedule_is_taken_as_it_is():
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, S, 0.5)
    fields = dict(LEARNING_RATE_SCHEDULE="cosine", LEARNING_RATE_WARMUP_STEPS=500)
    assert stage_rate(tiny_config(**fields), Stage("all", 1, decay), 0) is decay
    found = stage_rate(tiny_config(**fields), Stage("all", 1, lambda step: step + 1), 0)
    assert float(found(3)) == 4
    assert Stage("all", 1, decay).key["learning_rate"].startswith("ExponentialDecay {")
    assert "lambda" in Stage("all", 1, lambda step: step).key["learning_rate"]


def test_a_warm_up_longer_than_the_stage():
    words = r"STEPS is 20, but stage 'all' ends after 20 steps \(epochs 3 to 4 of 10\): .* for 10"
    fields = dict(LEARNING_RATE_WARMUP_FACTOR=0.2)
    with pytest.warns(UserWarning, match=words):
        found = rates(Stage("all", 4, 0.4), begun=2, LEARNING_RATE_WARMUP_STEPS=20, **fields)
    expected = rates(Stage("all", 4, 0.4), begun=2, LEARNING_RATE_WARMUP_STEPS=10, **fields)
    assert found == expected
    with pytest.warns(UserWarning, match="it warms up for 0"):
        config = tiny_config(STEPS_PER_EPOCH=1, LEARNING_RATE_WARMUP_STEPS=1)
        assert stage_rate(config, Stage("all", 1, 0.4), 0) == 0.4


def test_a_schedule_by_name_only():
    with pytest.raises(
        ValueError, match="LEARNING_RATE_SCHEDULE is 'mine:fall', the name that a file of settings"
    ):
        stage_rate(tiny_config(LEARNING_RATE_SCHEDULE="mine:fall"), Stage("all", 4, 0.4), 0)


@pytest.mark.parametrize(
    "schedule",
    [
        WarmUp(keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.1, 0.01]), 2, 0.5),
        WarmUp(FromFunction(keras.activations.relu), 2, 0.5),
    ],
    ids=["warm-up", "function"],
)
def test_schedules_can_be_saved(schedule):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert [float(again(step)) for step in range(6)] == [float(schedule(step)) for step in range(6)]


def test_in_words():
    assert in_words(0.02, 10) == "0.02"
    cosine = keras.optimizers.schedules.CosineDecay(0.02, 10)
    assert in_words(cosine, 11) == "0.02 at its first step, 0 at its last (CosineDecay)"


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_the_rate_of_the_step_before(policy):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.5, 0.25])
    optimizer = make_optimizer(tiny_config(), schedule, 0.9, policy)
    optimizer.build([keras.Variable(np.ones(2, np.float32))])
    optimizer.iterations.assign(3)
    assert (learning_rate(optimizer, updates_ago=1), learning_rate(optimizer)) == (0.5, 0.25)
    constant = make_optimizer(tiny_config(), 0.125, 0.9, policy)
    assert learning_rate(constant, updates_ago=1) == 0.125


# === In training ===

COSINE = dict(
    LEARNING_RATE_SCHEDULE="cosine",
    LEARNING_RATE_WARMUP_STEPS=1,
    LEARNING_RATE_END_FACTOR=0.1,
    LEARNING_RATE_WARMUP_FACTOR=0.5,
)


def train(
    folder,
    epochs=None,
    layers=(("heads", 1), ("all", 4, 0.005)),
    resume=False,
    callbacks=(),
    **fields,
):
    model = MaskRCNN(
        "training", tiny_config(STEPS_PER_EPOCH=2, **{**COSINE, **fields}), str(folder)
    )
    if resume:
        model.resume()
    model.train(
        Rectangles(4), None, 0.01, epochs, list(layers), verbose=0, custom_callbacks=list(callbacks)
    )
    return model


def logged(model):
    with open(os.path.join(model.log_dir, "losses.csv")) as file:
        return [float(row["learning_rate"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    return MaskRCNN("training", tiny_config(), str(tmp_path_factory.mktemp("logs")))


class Stop(keras.callbacks.Callback):
    """End as a kill would, in an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_resumed_run_goes_on_at_its_rate(tmp_path, eagerly):
    whole = train(tmp_path / "whole")
    # every stage warms up; then six steps of "all", the first of which is the warm-up's
    expected = [0.01] + [
        0.005 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / 5))) for step in (0, 2, 4)
    ]
    np.testing.assert_allclose(logged(whole), expected, rtol=1e-5)
    for epoch in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "stopped", resume=True, callbacks=[Stop(epoch)])
    model = train(tmp_path / "stopped", resume=True)
    assert logged(model) == logged(whole)
    for name, value in values(whole.keras_model).items():
        np.testing.assert_array_equal(value, values(model.keras_model)[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("before, after", [(1, 2), (2, 1)])
def test_a_run_resumed_with_other_updates_goes_on_at_its_rate(tmp_path, eagerly, before, after):
    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        stop = [Stop(3)]
        train(tmp_path / "stopped", callbacks=stop, GRADIENT_ACCUMULATION_STEPS=before)
    model = train(tmp_path / "stopped", resume=True, GRADIENT_ACCUMULATION_STEPS=after)
    np.testing.assert_allclose(logged(model), logged(whole), rtol=1e-6)


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.ReduceLROnPlateau("loss"),
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
    ],
)
def test_callbacks_that_set_the_rate_are_refused_before_training(untrained, callback):
    # also where only a later stage has a schedule
    for rate, name in (
        (lambda step: 0.1, "FromFunction"),
        (WarmUp(lambda step: 0.1, 2, 0.5), "WarmUp"),
    ):
        with pytest.raises(
            ValueError, match=f"sets the learning rate, which a {name} gives already"
        ):
            untrained.train(
                Rectangles(4),
                None,
                0.01,
                None,
                [("heads", 1), ("all", 2, rate)],
                verbose=0,
                custom_callbacks=[callback],
            )
    assert untrained.epoch == 0


@pytest.mark.parametrize("optimizer, rate", [("AdamW", 0.006), ("Adam", 0.02)])
def test_rates_of_sgd_are_too_high_for_adam(optimizer, rate):
    with pytest.warns(UserWarning, match=f"rate of stage 'all' is {rate}.*'{optimizer}'"):
        stage_rate(tiny_config(OPTIMIZER=optimizer), Stage("all", 3, rate), 0)


@pytest.mark.parametrize("optimizer, rate", [("AdamW", 0.001), ("SGD", 0.02)])
def test_usual_rates_are_not_warned_of(optimizer, rate):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stage_rate(tiny_config(OPTIMIZER=optimizer), Stage("all", 3, rate), 0)

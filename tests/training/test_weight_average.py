"""EMA_MOMENTUM: what is shown is the average, what trains are the weights, and a stop changes
nothing.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.model import MaskRCNN
from mrcnn.training.run_state import load_state, state_path
from mrcnn.training.weight_average import ShowAverage, WeightAverage
from mrcnn.weights.h5_format import read_h5
from tests.tiny import Rectangles, tiny_config, values

STAGES = [("heads", 2), ("all", 4, 0.005)]
KERNEL = "mrcnn_class_logits/kernel"


def new(folder, **fields):
    return MaskRCNN(
        "training", tiny_config(STEPS_PER_EPOCH=2, **{"EMA_MOMENTUM": 0.75, **fields}), str(folder)
    )


def train(model, layers=STAGES, epochs=None, **options):
    return model.train(
        Rectangles(5), Rectangles(2, seed=1), 0.01, epochs, layers, verbose=0, **options
    )


def kernel(model):
    return next(variable for variable in model.weights if variable.path == KERNEL).numpy()


class Watch(keras.callbacks.Callback):
    """A kernel after every step, in validation and as an epoch ends; and a stop as by a kill."""

    def __init__(self, stop=None):
        super().__init__()
        self.stop, self.steps, self.validation, self.ends = stop, [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(kernel(self.model))
        if len(self.steps) == self.stop:
            raise KeyboardInterrupt

    def on_test_batch_end(self, batch, logs=None):
        self.validation.append(kernel(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(kernel(self.model))


def same(first, second):
    return all(np.array_equal(value, second[name]) for name, value in first.items())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two stages that was never stopped, and what it showed."""
    tf.config.run_functions_eagerly(True)
    model, watch = new(tmp_path_factory.mktemp("whole")), Watch()
    train(model, custom_callbacks=[watch])
    tf.config.run_functions_eagerly(False)
    return model, watch


def test_the_average_is_shown_and_the_weights_train(whole):
    model, watch = whole
    expected, raw = [], None
    for number, weights in enumerate(watch.steps):
        first = number in (0, 4)  # of a stage, whose average begins with it
        raw = weights.astype(np.float64) if first else 0.75 * raw + 0.25 * weights
        if number % 2:
            expected.append(raw)
    for shown in (watch.validation, watch.ends):
        np.testing.assert_allclose(shown, expected, rtol=1e-5, atol=1e-7)
    assert not np.allclose(watch.steps[3], expected[1], rtol=1e-4)
    for epoch, end in enumerate(watch.ends, 1):
        stored = dict(read_h5(model.run.path(epoch))["mrcnn_class_logits"])
        np.testing.assert_array_equal(stored[KERNEL + ":0"], end)
    np.testing.assert_array_equal(kernel(model.keras_model), watch.ends[-1])


def test_an_exchange_rounds_nothing():
    """Adding and subtracting would lose the small one of 1 and 1e-10."""
    weight = keras.Variable(np.float32([1, 1e-10, np.pi]))
    held = WeightAverage([weight], 0.9)
    show = ShowAverage(held)
    weight.assign(np.float32([1e-10, 1, -7.7]))
    average = held.pairs[0][1]
    before = weight.numpy(), average.numpy()
    # it begins as the weights
    np.testing.assert_array_equal(before[1], np.float32([1, 1e-10, np.pi]))
    show.on_test_begin()
    show.on_epoch_end(0)
    np.testing.assert_array_equal((weight.numpy(), average.numpy()), before[::-1])
    show.on_epoch_begin(1)
    np.testing.assert_array_equal((weight.numpy(), average.numpy()), before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"GRADIENT_ACCUMULATION_STEPS": 3, "OPTIMIZER": "AdamW"},
        {"DTYPE_POLICY": "mixed_float16"},
    ],
    ids=["SGD", "AdamW, accumulated", "float16"],
)
def test_going_on_is_not_having_stopped(fields, whole, tmp_path, eagerly):
    model, watch = whole
    if fields:
        model, watch = new(tmp_path / "whole", **fields), Watch()
        train(model, custom_callbacks=[watch])
    for stop in (3, 3, 3):  # in the first stage, in the second, and in its last epoch
        stopped = new(tmp_path / "stopped", **fields)
        stopped.resume()
        with pytest.raises(KeyboardInterrupt):
            train(stopped, custom_callbacks=[Watch(stop)])
    assert stopped.epoch == 3
    last, seen = new(tmp_path / "stopped", **fields), Watch()
    last.resume()
    train(last, custom_callbacks=[seen])
    assert same(values(model.keras_model), values(last.keras_model))
    for ours, theirs in zip(watch.steps[-len(seen.steps) :], seen.steps, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_state_file_has_the_weights(whole):
    model, watch = whole
    state = load_state(state_path(model.run.path(3)))
    name = KERNEL.replace("/", "_") + "_average"
    np.testing.assert_array_equal(state.optimizer[name], watch.steps[5])


@pytest.mark.slow
def test_best_weights_that_are_put_back_stay(tmp_path, eagerly):
    model, watch = new(tmp_path), Watch()
    early = keras.callbacks.EarlyStopping(
        "loss", min_delta=1e9, patience=1, restore_best_weights=True
    )
    train(model, [("all", 5)], custom_callbacks=[watch, early])
    assert len(watch.ends) == 2
    np.testing.assert_array_equal(kernel(model.keras_model), watch.ends[0])
    again = new(tmp_path)
    again.resume()
    np.testing.assert_array_equal(kernel(again.keras_model), watch.ends[0])


def test_a_stage_that_is_stopped_ends_with_its_average(tmp_path, eagerly):
    class Enough(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    model, watch = new(tmp_path), Watch()
    train(model, [("all", 5)], custom_callbacks=[watch, Enough()])
    assert model.epoch == 1
    np.testing.assert_array_equal(kernel(model.keras_model), watch.ends[0])


@pytest.mark.slow
def test_an_average_begins_where_a_run_without_one_goes_on(tmp_path, eagerly):
    with pytest.raises(KeyboardInterrupt):
        train(new(tmp_path, EMA_MOMENTUM=None), [("all", 3)], custom_callbacks=[Watch(stop=3)])
    model, watch = new(tmp_path), Watch()
    model.resume()
    start = kernel(model.keras_model)
    train(model, [("all", 3)], custom_callbacks=[watch])
    expected = start
    for weights in watch.steps[:2]:
        expected = 0.75 * expected + 0.25 * weights
    np.testing.assert_allclose(watch.ends[0], expected, rtol=1e-5, atol=1e-7)


def test_without_the_field_nothing_is_exchanged(tmp_path, eagerly):
    model, watch = new(tmp_path, EMA_MOMENTUM=None), Watch()
    train(model, [("heads", 1)], custom_callbacks=[watch])
    np.testing.assert_array_equal(watch.ends[0], watch.steps[-1])
    assert not any(
        name.endswith("_average") for name in load_state(state_path(model.run.path())).optimizer
    )

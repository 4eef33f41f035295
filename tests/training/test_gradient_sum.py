"""GRADIENT_ACCUMULATION_STEPS: the mean gradient of several batches makes one update."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.data.batches import TrainingBatches
from mrcnn.model import MaskRCNN
from mrcnn.training.optimizer import (
    arrays,
    keep_slots,
    make_optimizer,
    optimizer_variables,
    restore,
)
from mrcnn.training.schedules import of_updates
from mrcnn.training.step import TrainingModel
from tests.tiny import Rectangles, tiny_config, values
from tests.training.toy_trainer import gradients, toy_trainer, weights

SCHEDULE = keras.optimizers.schedules.PiecewiseConstantDecay([0, 2, 4], [0.3, 0.2, 0.1, 0.05])


def learn(model, numbers):
    """Do with gradients of one's own what a train_step does with its batch's."""
    for number in numbers:
        model.gradient_sum.add(gradients(number), model.update)


def test_gradients_are_averaged_and_then_clipped():
    model = toy_trainer(tiny_config(GRADIENT_ACCUMULATION_STEPS=3, LEARNING_MOMENTUM=0.0))
    model.optimizer.momentum = 0.0
    before = weights(model)
    learn(model, range(2))
    for value, start in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(value, start)
    learn(model, [2])
    mean = [
        np.mean([np.asarray(gradients(number)[index]) for number in range(3)], axis=0)
        for index in range(4)
    ]
    norm = np.sqrt(sum(np.square(gradient).sum() for gradient in mean))
    assert norm > 5
    for start, value, gradient in zip(before, weights(model), mean, strict=True):
        np.testing.assert_allclose(value, start - 0.1 * gradient * 5 / norm, rtol=1e-4, atol=1e-6)


def keras_own(config):
    """A model whose optimizer accumulates by itself."""

    def make(config, rate, momentum, policy):
        optimizer = make_optimizer(config, rate, momentum, policy)
        optimizer.gradient_accumulation_steps = 2
        return optimizer

    return toy_trainer(config, make=make, rate=SCHEDULE)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Nadam", "Lamb"])
def test_it_is_keras_own_accumulation(name):
    """With schedules that count batches, and moments that count updates."""
    config = tiny_config(OPTIMIZER=name)
    theirs = keras_own(config)
    config.GRADIENT_ACCUMULATION_STEPS = 2
    ours = toy_trainer(config, rate=of_updates(SCHEDULE, 2))
    learn(ours, range(6))
    for number in range(6):
        theirs.update(gradients(number))
    for value, other in zip(weights(ours), weights(theirs), strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-5, atol=1e-7)


def test_in_a_graph_as_without_one():
    eager, traced = (toy_trainer(tiny_config(GRADIENT_ACCUMULATION_STEPS=2)) for _ in range(2))
    learn(eager, range(5))
    step = tf.function(lambda *own: traced.gradient_sum.add(list(own), traced.update))
    for number in range(5):
        step(*gradients(number))
    for one, other in zip(weights(eager), weights(traced), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert int(traced.gradient_sum.batches) == 1 and int(traced.optimizer.iterations) == 2


def test_a_sum_that_is_not_finite_is_skipped_and_a_new_one_begins():
    model = toy_trainer(tiny_config(GRADIENT_ACCUMULATION_STEPS=2), "mixed_float16")
    before = weights(model)
    model.gradient_sum.add([gradient * np.inf for gradient in gradients(0)], model.update)
    model.gradient_sum.add(gradients(1), model.update)
    for start, value in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(start, value)
    assert float(model.optimizer.dynamic_scale) == 2.0**14
    learn(model, range(2))
    assert all(np.isfinite(value).all() for value in weights(model))
    assert not np.array_equal(before[0], weights(model)[0])


def test_a_batch_more_than_a_whole_update_goes_to_disk_but_not_to_the_next_stage():
    config = tiny_config(GRADIENT_ACCUMULATION_STEPS=2, OPTIMIZER="Adam")
    first = toy_trainer(config)
    learn(first, range(3))
    state = arrays(first.state_variables())
    left = state["a_kernel_gradient_sum"]
    assert left.any() and state["iteration"] == 1 and state["gradient_sum_batches"] == 1

    again = toy_trainer(config)
    restore(again.state_variables(), state)
    for variable, value in zip(again.trainable_variables, weights(first), strict=True):
        variable.assign(value)
    learn(first, [3])
    learn(again, [3])
    for one, other in zip(weights(first), weights(again), strict=True):
        np.testing.assert_array_equal(one, other)

    following = make_optimizer(config, 0.1, 0.9)
    keep_slots(first.optimizer, following, first.trainable_variables)
    kept = arrays(optimizer_variables(following))
    assert kept["iteration"] == 0 and not any("gradient_sum" in name for name in kept)
    velocity = optimizer_variables(first.optimizer)["a_kernel_velocity"].numpy()
    np.testing.assert_array_equal(kept["a_kernel_velocity"], velocity)


def test_a_variable_that_no_loss_meets_is_no_part_of_an_update():
    """A zero in its place would move it, by the momentum of updates before."""
    config = tiny_config(GRADIENT_ACCUMULATION_STEPS=2, OPTIMIZER="Adam")
    model = toy_trainer(config)
    learn(model, range(2))
    before = weights(model)
    for number in range(2):
        kernel, bias, _, beta = gradients(number)  # kernel and bias decay
        model.gradient_sum.add([kernel, bias, None, beta], model.update)
    moved = [not np.array_equal(*pair) for pair in zip(before, weights(model), strict=True)]
    assert moved == [True, True, False, True]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("before, now", [(1, 4), (4, 1), (4, 2)])
def test_a_state_of_other_updates_goes_on_at_the_same_batch(before, now, policy):
    def trainer(steps):
        config = tiny_config(GRADIENT_ACCUMULATION_STEPS=steps)
        return toy_trainer(config, policy, rate=of_updates(SCHEDULE, steps))

    model = trainer(now)
    restore(model.state_variables(), arrays(trainer(before).state_variables()))
    batches = 24
    model.optimizer.iterations.assign(batches // before)
    if now > 1:
        model.gradient_sum.add(gradients(0), model.update)
    model.count_updates_of(before)
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    assert int(inner.iterations) == batches // now  # which schedules are asked for
    if now > 1:
        assert int(model.gradient_sum.batches) == 0
        assert not any(total.numpy().any() for total in model.gradient_sum.sums)


def test_layers_of_the_same_name_have_each_their_sum_and_average():
    """Two nested models may both have a layer "a"."""
    image = keras.Input((3,))
    one, other = (
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="a")], name=name)
        for name in ("one", "other")
    )
    model = TrainingModel(image, other(one(image)))
    model.compile("sgd", accumulation=2, average_momentum=0.5, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    kept = {id(variable) for variable in model.state_variables().values()}
    for holder in (model.gradient_sum, model.average):
        assert {id(variable) for variable in holder.variables} <= kept


@pytest.mark.parametrize("steps", [1, 3])
def test_the_average_moves_with_every_update(steps):
    model = toy_trainer(tiny_config(GRADIENT_ACCUMULATION_STEPS=steps, EMA_MOMENTUM=0.75))
    expected = None
    for number in range(7 * steps):
        if steps == 1:
            model.update(gradients(number))
        else:
            model.gradient_sum.add(gradients(number), model.update)
        if (number + 1) % steps == 0:
            now = weights(model)[0].astype(np.float64)
            expected = now if expected is None else 0.75 * expected + 0.25 * now
    np.testing.assert_allclose(model.average.pairs[0][1].numpy(), expected, rtol=1e-5)
    assert not np.allclose(weights(model)[0], expected, rtol=1e-2)


def test_two_small_batches_are_one_of_twice_the_size(tmp_path, eagerly):
    """On the whole network, of one image seen twice: each batch averages over its own RoIs."""
    after = []
    for batch_size, fields in ((2, {}), (1, {"GRADIENT_ACCUMULATION_STEPS": 2})):
        # with so many proposals some are positive, and every weight moves
        config = tiny_config(IMAGES_PER_GPU=batch_size, POST_NMS_ROIS_TRAINING=300, **fields)
        model = MaskRCNN("training", config, str(tmp_path))
        before = values(model.keras_model)
        model.keras_model.get_layer("proposal_targets").shuffle = False
        model.set_trainable(".*", verbose=0)
        model.compile(0.01, 0.9)
        one = load_training_batch(Rectangles(3), model.config)
        for step in range(2 // batch_size):
            if step:
                assert all(
                    np.array_equal(value, before[path])
                    for path, value in values(model.keras_model).items()
                )
            model.keras_model.train_on_batch(one)
        after.append(values(model.keras_model))
    moved = {path: np.abs(value - before[path]).max() for path, value in after[0].items()}
    trained = {weight.path for weight in model.keras_model.trainable_weights}
    assert {path for path, distance in moved.items() if distance} == trained
    for path, value in after[0].items():
        np.testing.assert_allclose(
            after[1][path], value, rtol=0, atol=1e-3 * moved[path] + 1e-7, err_msg=path
        )


def load_training_batch(dataset, config):
    """The inputs of the first image, as often as the batch has images."""
    arrays = TrainingBatches(dataset, config, 1, shuffle=False).batch(0)
    return tuple(np.repeat(array, config.IMAGES_PER_GPU, axis=0) for array in arrays)

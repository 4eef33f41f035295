"""Updates in place are those of Keras' own optimizers, to the last bit or two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.training.updates_in_place import updates_in_place
from tests.tiny import tiny_config
from tests.training.toy_trainer import gradients, toy_trainer, weights

SCHEDULE = keras.optimizers.schedules.PolynomialDecay(0.3, 5, 0.01)


def updated(optimizer, dtype="float32", in_graph=False):
    """A variable after five updates."""
    variable = keras.Variable(np.arange(6).reshape(2, 3), dtype=dtype)
    optimizer.build([variable])

    def update(gradient):
        optimizer.apply([gradient], [variable])

    update = tf.function(update) if in_graph else update
    for number in range(5):
        random = np.random.RandomState(number)
        update(tf.constant(random.normal(size=(2, 3)) * 3, dtype))
    return keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rate", [0.1, SCHEDULE], ids=["number", "schedule"])
@pytest.mark.parametrize(
    "make",
    [
        lambda **options: keras.optimizers.SGD(momentum=0.9, **options),
        lambda **options: keras.optimizers.SGD(momentum=0.9, nesterov=True, **options),
        lambda **options: keras.optimizers.Adam(beta_1=0.8, epsilon=0.01, **options),
        lambda **options: keras.optimizers.AdamW(weight_decay=0.1, **options),
    ],
    ids=["momentum", "nesterov", "Adam", "AdamW"],
)
def test_it_is_keras_own(make, rate, dtype, in_graph):
    own, ours = (make(learning_rate=rate, global_clipnorm=2.0) for _ in range(2))
    assert updates_in_place(ours) is ours and "update_step" in vars(ours)
    np.testing.assert_allclose(
        updated(ours, dtype, in_graph),
        updated(own, dtype, in_graph),
        rtol=1e-5 if dtype == "float32" else 0.02,
        atol=1e-5 if dtype == "float32" else 0.02,
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.SGD(0.1),
        lambda: keras.optimizers.AdamW(0.1, amsgrad=True),
        lambda: keras.optimizers.Nadam(0.1),
        lambda: type("Mine", (keras.optimizers.SGD,), {})(0.1, 0.9),
    ],
    ids=["no momentum", "AMSGrad", "Nadam", "a subclass"],
)
def test_others_stay_as_they_are(make):
    assert "update_step" not in vars(updates_in_place(make()))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_training_model_has_it(policy):
    model = toy_trainer(tiny_config(), policy)
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    assert "update_step" in vars(optimizer)
    before = weights(model)
    model.update(gradients(0))
    assert not np.array_equal(before[0], weights(model)[0])


def test_a_model_from_a_file_has_it(tmp_path):
    toy_trainer(tiny_config()).save(tmp_path / "model.keras")
    optimizer = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert "update_step" in vars(optimizer) and optimizer.momentum == 0.9

"""Private names of Keras and TensorFlow: a test here fails where a new version moves one."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.common import keras_internals
from mrcnn.common.keras_internals import (
    BuiltModel,
    added_losses,
    all_layers,
    apply_reduced,
    layers_before,
    learning_rate,
    not_tuned,
    own_rows,
    report_error_to_cluster,
    variable_index,
    weights_file,
)


def moved(name, function):
    """What a failure should say."""
    return (
        f"Keras {keras.__version__} or TensorFlow {tf.__version__} no longer has {name}: adapt "
        f"mrcnn.common.keras_internals.{function} and the bounds in pyproject.toml"
    )


def nested_model():
    image = keras.Input((4,))
    inner = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(4, name="deep", activity_regularizer=keras.regularizers.L2(1.0)),
        ],
        name="inner",
    )
    outer = keras.layers.Dense(2, name="outer", kernel_regularizer=keras.regularizers.L2(1.0))
    return keras.Model(image, outer(inner(image)))


def test_all_layers():
    assert hasattr(keras.Model, "_flatten_layers"), moved("Layer._flatten_layers", "all_layers")
    model = nested_model()
    found = all_layers(model)
    assert {"inner", "deep", "outer"} <= {layer.name for layer in found} and model not in found


def test_weights_file(tmp_path):
    from keras.src.saving import saving_lib

    for name in ("H5IOStore", "_save_state"):
        assert hasattr(saving_lib, name), moved(f"saving_lib.{name}", "weights_file")
    model, other = nested_model(), nested_model()
    (tmp_path / "own.weights.h5").write_bytes(weights_file(model).getbuffer())
    other.load_weights(tmp_path / "own.weights.h5")
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_layers_before():
    one, other = keras.Input((4,), name="one"), keras.Input((4,), name="other")
    assert hasattr(one, "_keras_history"), moved("KerasTensor._keras_history", "layers_before")
    shared = keras.layers.Dense(4, name="shared")
    assert hasattr(shared, "_inbound_nodes"), moved("Operation._inbound_nodes", "layers_before")
    first, second = shared(one), shared(keras.layers.ReLU(name="relu")(other))
    assert {layer.name for layer in layers_before(first)} == {"shared", "one"}
    assert {layer.name for layer in layers_before(second)} == {"shared", "relu", "other"}


def test_added_losses():
    assert hasattr(keras.Layer, "_get_own_losses"), moved("Layer._get_own_losses", "added_losses")
    model, inputs = nested_model(), np.ones((3, 4), np.float32)
    outputs = model.get_layer("inner")(inputs)
    model(inputs)
    (loss,) = added_losses(model)
    # from 3.14 on Keras divides what an activity gives by the size of the batch
    divided = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 14)
    expected = np.square(outputs).sum() / (3 if divided else 1)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert len(model.losses) == 2  # this one and the penalty of outer


@pytest.mark.parametrize("scaled", [False, True])
def test_apply_reduced(scaled, monkeypatch):
    optimizer = keras.optimizers.SGD(0.5)
    assert hasattr(optimizer, "_all_reduce_sum_gradients"), moved(
        "Optimizer._all_reduce_sum_gradients", "apply_reduced"
    )
    calls = []
    monkeypatch.setattr(
        keras_internals, "_unchanged", lambda pairs: calls.append(len(pairs)) or pairs
    )
    around = keras.optimizers.LossScaleOptimizer(optimizer, 2.0) if scaled else optimizer
    variables = [keras.Variable(np.ones(2, np.float32)) for _ in range(2)]
    apply_reduced(around, [tf.ones(2) * (2.0 if scaled else 1.0)] * 2, variables)
    assert calls == [2], moved("a call of _all_reduce_sum_gradients in apply", "apply_reduced")
    np.testing.assert_allclose(variables[0].numpy(), 0.5)


def test_apply_reduced_refuses_what_it_does_not_know():
    with pytest.raises(NotImplementedError, match="must be adapted"):
        apply_reduced(object(), [], [])


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="this version of Keras has none"
)
def test_apply_reduced_reaches_the_parts_of_a_multi_optimizer():
    inside = [keras.optimizers.SGD(0.5), keras.optimizers.Adam(0.5)]
    several = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(inside[0], {"a": inside[1]})
    )
    variables = [keras.Variable(np.ones(2, np.float32), name=name) for name in "ab"]
    several.build(variables)
    assert hasattr(several, "_inner_optimizers"), moved(
        "MultiOptimizer._inner_optimizers", "apply_reduced"
    )
    assert set(inside) < set(keras_internals._optimizers(several))


def test_variable_index():
    assert hasattr(keras.optimizers.Optimizer, "_get_variable_index"), moved(
        "Optimizer._get_variable_index", "variable_index"
    )
    variables = [keras.Variable(np.zeros(3)) for _ in range(3)]
    optimizer = keras.optimizers.SGD(0.1, 0.9)
    optimizer.build(variables)
    assert [variable_index(optimizer, each.value) for each in variables] == [0, 1, 2]


def test_learning_rate():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.5, 0.25])
    for rate, last, now in ((schedule, 0.5, 0.25), (0.125, 0.125, 0.125)):
        optimizer = keras.optimizers.SGD(rate)
        for name in ("_learning_rate", "_iterations"):
            assert hasattr(optimizer, name), moved(f"Optimizer.{name}", "learning_rate")
        optimizer.iterations.assign(3)
        scaled = keras.optimizers.LossScaleOptimizer(optimizer)
        for one in (optimizer, scaled):
            assert (learning_rate(one, updates_ago=1), learning_rate(one)) == (last, now)


def test_a_built_model_needs_no_batch():
    assert hasattr(keras.Model, "_maybe_symbolic_build"), moved(
        "Model._maybe_symbolic_build", "BuiltModel"
    )

    class Built(BuiltModel, keras.Model):
        pass

    image = keras.Input((4,))
    model = Built(image, keras.layers.Dense(1)(image))
    model.compile("adam", "mse")
    assert not model.optimizer.built
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 1)))
    assert model.optimizer.built


@pytest.mark.parametrize("workers", [1, 2])
def test_not_tuned(workers):
    name = "keras.src.trainers.data_adapters"
    module = importlib.import_module(name)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, step):
            return (np.full((2, 1), step, np.float32),)

    feed = not_tuned(Batches(workers=workers))
    assert module.get_data_adapter(feed) is feed, moved("a custom DataAdapter", "not_tuned")
    assert feed.num_batches == 3
    dataset = feed.get_tf_dataset()
    assert dataset.options().autotune.enabled is False
    feed.on_epoch_begin()
    np.testing.assert_array_equal([batch[0, 0] for (batch,) in dataset.take(3)], [0, 1, 2])
    feed.on_epoch_end()


def test_own_rows():
    name = "keras.src.trainers.data_adapters"
    try:
        module = importlib.import_module(name)
    except ImportError:
        pytest.fail(moved(name, "own_rows"))
    assert hasattr(module, "get_data_adapter"), moved(f"{name}.get_data_adapter", "own_rows")

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return (np.full((4, 1), index, np.float32),)

    class Strategy:
        def distribute_datasets_from_function(self, make):
            return make(None)

    rows = own_rows(Batches(), Strategy(), 2)
    assert module.get_data_adapter(rows) is rows, moved("a custom DataAdapter", "own_rows")
    assert rows.num_batches == 3
    assert [batch[0].shape for batch in rows.get_tf_dataset().take(2)] == [(2, 1), (2, 1)]


def test_report_error_to_cluster(monkeypatch):
    from tensorflow.python.eager import context

    name = "tensorflow.python.eager.context.Context.report_error_to_cluster"
    assert hasattr(context.Context, "report_error_to_cluster"), moved(
        name, "report_error_to_cluster"
    )
    seen = []
    monkeypatch.setattr(
        context.Context, "report_error_to_cluster", lambda self, *error: seen.append(error)
    )
    report_error_to_cluster("worker 1 stopped")
    assert seen == [(tf.errors.ABORTED, "worker 1 stopped")]

"""What every layer keeps: shapes, serialisation, precision, one graph for any batch."""

import contextlib
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.layers.base import GraphLayer
from mrcnn.ops.packed_rows import PackedRows
from tests.networks import layer_cases as cases

EVERY_LAYER = pytest.mark.parametrize("name", list(cases.ALL_LAYERS))
EVERY_GRAPH_LAYER = pytest.mark.parametrize("name", list(cases.GRAPH_LAYERS))


@contextlib.contextmanager
def dtype_policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def assert_same(actual, expected, **tolerance):
    actual, expected = keras.tree.flatten(actual), keras.tree.flatten(expected)
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_allclose(one, other, **{"rtol": 1e-6, "atol": 1e-6, **tolerance})


def with_weights_of(layer, inputs, source):
    layer(inputs)
    layer.set_weights(source.get_weights())
    return layer


@EVERY_LAYER
def test_the_output_is_as_announced(name):
    case = cases.ALL_LAYERS[name]
    inputs = case.inputs(2)
    announced = keras.tree.flatten(case.make()(cases.symbolic(inputs)))
    actual = keras.tree.flatten(case.make()(inputs))
    assert len(announced) == len(actual)
    for symbol, tensor in zip(announced, actual):
        assert symbol.dtype == tensor.dtype
        tf.TensorShape(symbol.shape).assert_is_compatible_with(tensor.shape)
        assert len(symbol.shape) == len(tensor.shape)
        assert any(np.asarray(tensor).ravel() != 0)


@EVERY_LAYER
def test_serialisation_through_json(name):
    case = cases.ALL_LAYERS[name]
    inputs, layer = case.inputs(2), case.make()
    expected = layer(inputs)
    clone = type(layer).from_config(layer.get_config())
    assert clone.get_config() == layer.get_config()
    assert_same(with_weights_of(clone, inputs, layer)(inputs), expected)

    stored = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert stored["registered_name"] == f"mrcnn>{type(layer).__name__}"
    restored = keras.saving.deserialize_keras_object(stored)
    assert type(restored) is type(layer) and restored.name == layer.name
    assert_same(with_weights_of(restored, inputs, layer)(inputs), expected)


@EVERY_LAYER
def test_serialisation_within_a_model(name):
    case = cases.ALL_LAYERS[name]
    inputs = case.inputs(2)
    tensors = cases.symbolic(inputs)
    model = keras.Model(tensors, case.make()(tensors))
    restored = keras.models.model_from_json(model.to_json())
    restored.set_weights(model.get_weights())
    assert_same(restored(inputs), model(inputs))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@EVERY_GRAPH_LAYER
def test_boxes_and_losses_stay_float32(name, policy):
    case = cases.GRAPH_LAYERS[name]
    inputs = case.inputs(2)
    expected = case.make()(inputs)
    with dtype_policy(policy):
        layer, tensors = case.make(), cases.symbolic(inputs)
        model = keras.Model(tensors, case.make()(tensors))
        assert layer.compute_dtype == "float32"
        assert_same(layer(inputs), expected, rtol=0, atol=0)
        assert_same(model(inputs), expected)


@pytest.mark.parametrize("policy, tolerance", [("mixed_bfloat16", 0.03), ("mixed_float16", 0.004)])
@pytest.mark.parametrize("name", list(cases.OTHER_LAYERS))
def test_other_layers_follow_the_policy(name, policy, tolerance):
    case = cases.OTHER_LAYERS[name]
    inputs, layer = case.inputs(2), case.make()
    expected = keras.tree.flatten(layer(inputs))
    with dtype_policy(policy):
        actual = keras.tree.flatten(with_weights_of(case.make(), inputs, layer)(inputs))
    for half, full in zip(actual, expected):
        if full.dtype != "float32":
            assert half.dtype == full.dtype  # places stay whole numbers
            continue
        assert half.dtype == (
            "float32" if name.startswith("MaskPrediction") else policy[len("mixed_") :]
        )
        np.testing.assert_allclose(tf.cast(half, tf.float32), full, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", cases.WITHOUT_XLA)
def test_keras_does_not_compile_them_with_xla(name):
    case = cases.ALL_LAYERS[name]
    tensors = cases.symbolic(case.inputs(1))
    model = keras.Model(tensors, case.make()(tensors))
    with pytest.warns(UserWarning, match="jit_compile"):
        model.compile("sgd", jit_compile=True)
    assert model.jit_compile is False


def specs(inputs, batch=None):
    return keras.tree.map_structure(
        lambda part: tf.TensorSpec([batch, *part.shape[1:]], part.dtype), inputs
    )


@EVERY_LAYER
def test_one_graph_serves_any_batch_size(name):
    case = cases.ALL_LAYERS[name]
    layer = case.make()
    layer(case.inputs(1))
    traced = tf.function(lambda inputs: layer(inputs), input_signature=[specs(case.inputs(1))])
    for batch in (1, 2, 3):
        inputs = case.inputs(batch)
        assert_same(traced(keras.tree.map_structure(tf.constant, inputs)), layer(inputs))
    assert traced.experimental_get_tracing_count() == 1


def graph_size(layer, inputs):
    """Nodes of the layer's graph for inputs of these fixed shapes."""
    signature = keras.tree.map_structure(lambda part: tf.TensorSpec(part.shape, part.dtype), inputs)
    graph = (
        tf.function(lambda values: layer(values))
        .get_concrete_function(signature)
        .graph.as_graph_def()
    )
    return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)


@EVERY_LAYER
def test_the_graph_does_not_grow_with_images_or_regions(name):
    case = cases.ALL_LAYERS[name]
    layer = case.make()
    layer(case.inputs(1))
    assert graph_size(layer, case.inputs(2, 6)) == graph_size(layer, case.inputs(5, 40))


def unpacked(outputs):
    pooled, rows, index = outputs
    return PackedRows(rows, index).unpack(pooled)


@pytest.mark.parametrize("batch", [1, 2, 3])
@EVERY_GRAPH_LAYER
def test_images_of_a_batch_do_not_touch_each_other(name, batch):
    """Losses are means over the batch, all other layers work image by image."""
    case = cases.GRAPH_LAYERS[name]
    inputs, layer = case.inputs(batch), case.make()
    together = keras.tree.flatten(layer(inputs))
    single = [
        keras.tree.flatten(
            layer(keras.tree.map_structure(lambda part, i=i: part[i : i + 1], inputs))
        )
        for i in range(batch)
    ]
    if name == "PackedROIAlign":  # its places count over the batch: put the rows back
        together, single = [unpacked(together)], [[unpacked(parts)] for parts in single]
    for output, parts in zip(together, zip(*single)):
        if output.shape.rank:
            np.testing.assert_allclose(output, np.concatenate(parts), atol=1e-6)
        else:
            assert min(parts) - 1e-6 <= output <= max(parts) + 1e-6


# bases of layers, which are none themselves
ABSTRACT = {"GraphLayer", "LossLayer", "_LossOfBoxes"}


def test_the_table_names_every_graph_layer():
    def leaves(layer_class):
        below = [sub for sub in layer_class.__subclasses__() if sub.__module__.startswith("mrcnn.")]
        return {layer_class.__name__}.union(*map(leaves, below)) - ABSTRACT

    assert leaves(GraphLayer) == set(cases.GRAPH_LAYERS)

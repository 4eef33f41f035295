"""MaskPrediction: a 1x1 convolution on the real rows, put back into the batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.mask_head import MaskPrediction
from mrcnn.ops.packed_rows import head_rows
from tests.networks import layer_cases as cases

SIZE, DEPTH = (6, 4), 3  # of the masks that `cases.CELLS` make


def built_layer(compact=False):
    layer = MaskPrediction(cases.CLASSES, compact=compact)
    layer.build([(None, *cases.CELLS, DEPTH), (None, None)])
    random = np.random.RandomState(0)
    layer.set_weights(
        [cases.normal(random, 1, 1, DEPTH, cases.CLASSES), cases.normal(random, cases.CLASSES)]
    )
    return layer


def in_order(features):
    """The pixels of all cells as images [m, h, w, c]."""
    return features.astype(np.float64).transpose(0, 1, 3, 2, 4, 5).reshape(-1, *SIZE, DEPTH)


def predict(layer, features):
    kernel, bias = layer.get_weights()
    return 1 / (1 + np.exp(-(in_order(features) @ kernel[0, 0] + bias)))


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_against_the_formula(batch, dtype):
    features, ids = cases.mask_inputs(np.random.RandomState(batch), batch, 5)
    layer = built_layer()
    expected = np.zeros((batch, 5, *SIZE, cases.CLASSES))
    expected[ids > 0] = predict(layer, features)
    np.testing.assert_allclose(layer([features, ids.astype(dtype)]), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_compact_rows_are_the_batchs_of_their_own_class(dtype):
    features, ids = cases.mask_inputs(np.random.RandomState(1), 2, 5)
    layer = built_layer(compact=True)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(features := tf.constant(features))
        batch, rows = layer([features, ids.astype(dtype)])
        own = tf.gather(tf.transpose(batch[ids > 0], [0, 3, 1, 2]), ids[ids > 0], batch_dims=1)
        totals = [tf.reduce_sum(tf.sin(values)) for values in (rows, own)]
    np.testing.assert_allclose(rows, own, rtol=1e-6)
    for variable in (features, layer.kernel.value, layer.bias.value):
        ours, expected = (tape.gradient(total, variable) for total in totals)
        assert isinstance(ours, tf.Tensor)  # not the slices of a gather
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(batch, built_layer()([features, ids]))


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("bfloat16", 0.03)])
def test_masks_of_other_classes_than_those_that_choose_the_rows(batch, dtype, tolerance):
    features, ids = cases.mask_inputs(np.random.RandomState(batch), batch, 5)
    classes = (ids + 1) % cases.CLASSES
    layer = built_layer()
    masks = layer.own_masks(tf.cast(features, dtype), ids, classes.astype(np.float32))
    assert masks.dtype == tf.float32
    expected = predict(layer, features)[np.arange(len(features)), :, :, classes[ids > 0]]
    np.testing.assert_allclose(masks, expected, atol=tolerance)


@pytest.mark.parametrize("compact", [False, True])
def test_no_object_at_all(compact):
    """`head_rows` then gives one row, so that the head is never empty; its mask goes nowhere."""
    ids = np.zeros((2, 5), np.int32)
    features = tf.Variable(np.ones((len(head_rows(ids)), *cases.CELLS, DEPTH), np.float32))
    layer = built_layer(compact)
    with tf.GradientTape() as tape:
        output = layer([features, ids])
        batch = output[0] if compact else output
        total = tf.reduce_sum(batch)
    np.testing.assert_array_equal(batch, np.zeros((2, 5, *SIZE, cases.CLASSES)))
    for gradient in tape.gradient(total, [features, layer.kernel.value, layer.bias.value]):
        assert not tf.convert_to_tensor(gradient).numpy().any()
    if compact:
        np.testing.assert_allclose(output[1], predict(layer, features.numpy())[..., 0], atol=1e-6)


def test_every_row_an_object():
    features = cases.normal(np.random.RandomState(2), 6, *cases.CELLS, DEPTH)
    layer = built_layer()
    masks = layer([features, np.ones((2, 3), np.int32)])
    np.testing.assert_allclose(masks, predict(layer, features).reshape(masks.shape), atol=1e-6)


def test_weights_are_a_convolutions():
    layer = built_layer()
    assert isinstance(layer, keras.layers.Conv2D)
    assert [variable.name for variable in layer.weights] == ["kernel", "bias"]
    assert layer.supports_jit is False


def test_it_trains():
    layer, tensors = (
        built_layer(),
        cases.symbolic(cases.mask_inputs(np.random.RandomState(3), 2, 5)),
    )
    features, ids = cases.mask_inputs(np.random.RandomState(3), 2, 5)
    assert layer(tensors).shape == (None, 5, *SIZE, cases.CLASSES)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer([features, ids]))
    chance = predict(layer, features)
    slope = chance * (1 - chance)
    kernel, bias = tape.gradient(total, [layer.kernel.value, layer.bias.value])
    np.testing.assert_allclose(
        kernel[0, 0], np.einsum("nhwd,nhwc->dc", in_order(features), slope), atol=1e-4
    )
    np.testing.assert_allclose(bias, slope.sum(axis=(0, 1, 2)), atol=1e-4)

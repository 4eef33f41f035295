"""Grouped convolutions against loops, and their gradients by both ways."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.layers import grouped_convolution
from mrcnn.networks.layers.grouped_convolution import GroupedConv2D

RNG = np.random.RandomState(0)


def convolved(x, kernel, bias, groups, stride=1, dilation=1, pad=0):
    """[h, w, c] by kernel [k, k, c / groups, d], group by group and cell by cell."""
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    size = (kernel.shape[0] - 1) * dilation + 1
    rows, columns = ((side - size) // stride + 1 for side in x.shape[:2])
    depth, filters = kernel.shape[2], kernel.shape[3] // groups
    out = np.zeros((rows, columns, kernel.shape[3]))
    for group in range(groups):
        own = slice(group * filters, (group + 1) * filters)
        part = x[..., group * depth : (group + 1) * depth]
        for row in range(rows):
            for column in range(columns):
                y, z = row * stride, column * stride
                patch = part[y : y + size : dilation, z : z + size : dilation]
                out[row, column, own] = np.tensordot(patch, kernel[..., own], 3)
    return out + bias


@pytest.fixture(params=["one operation", "group by group"])
def way(request, monkeypatch):
    """Both ways to a gradient, whichever this machine would take."""
    if request.param == "group by group":
        monkeypatch.setattr(grouped_convolution, "_has_gradient", lambda dtype: False)
    elif not grouped_convolution._has_gradient(tf.float32):
        pytest.skip("TensorFlow has no gradient of a grouped convolution here")
    return request.param


CASES = [
    # groups, channels, filters, options, padding of the twin
    (4, 8, 12, {"padding": "same"}, 1),
    (2, 6, 4, {"strides": 2, "padding": "valid"}, 0),
    (8, 8, 8, {"padding": "same", "dilation_rate": 2}, 2),
    (3, 6, 6, {"padding": "same", "dilation_rate": (4, 4)}, 4),
]


@pytest.mark.parametrize("groups, channels, filters, options, pad", CASES)
@pytest.mark.parametrize("size", [(9, 8), (3, 3)])
def test_against_loops(way, groups, channels, filters, options, pad, size):
    layer = GroupedConv2D(filters, 3, groups=groups, bias_initializer="normal", **options)
    x = RNG.normal(size=(2, *size, channels)).astype(np.float32)
    found = layer(x).numpy()
    kernel, bias = (weight.numpy() for weight in layer.weights)
    assert kernel.shape == (3, 3, channels // groups, filters) and bias.any()
    stride, dilation = layer.strides[0], layer.dilation_rate[0]
    for one, image in zip(found, x):
        expected = convolved(image, kernel, bias, groups, stride, dilation, pad)
        np.testing.assert_allclose(one, expected, atol=1e-5)


@pytest.mark.parametrize("groups, channels, filters, options, pad", CASES)
@pytest.mark.parametrize("traced", [False, True])
def test_gradients_are_those_of_a_kernel_with_zeros(
    way, groups, channels, filters, options, pad, traced
):
    layer = GroupedConv2D(filters, 3, groups=groups, **options)
    x = tf.constant(RNG.normal(size=(3, 7, 9, channels)), tf.float32)
    layer(x)
    dense = keras.layers.Conv2D(filters, 3, **options)
    dense(x)
    part, own = channels // groups, filters // groups
    kernel = np.zeros((3, 3, channels, filters), np.float32)
    for group in range(groups):
        columns = slice(group * own, (group + 1) * own)
        kernel[:, :, group * part : (group + 1) * part, columns] = layer.kernel.numpy()[
            ..., columns
        ]
    dense.set_weights([kernel, layer.bias.numpy()])

    def gradients(of):
        with tf.GradientTape() as tape:
            tape.watch(x)
            found = of(x)
            total = tf.reduce_sum(found * tf.sin(found))
        return found, *tape.gradient(total, [x, *of.trainable_weights])

    def of_layer():
        return gradients(layer)

    found, of_x, of_kernel, of_bias = tf.function(of_layer)() if traced else of_layer()
    expected, expected_x, whole, expected_bias = gradients(dense)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(of_x, expected_x, atol=1e-4)
    np.testing.assert_allclose(of_bias, expected_bias, rtol=1e-4, atol=1e-3)
    for group in range(groups):
        columns = slice(group * own, (group + 1) * own)
        rows = slice(group * part, (group + 1) * part)
        np.testing.assert_allclose(
            of_kernel.numpy()[..., columns], whole.numpy()[:, :, rows, columns], atol=1e-3
        )
    assert np.abs(of_kernel).max() > 1


def test_float16_trains_on_every_processor():
    """By one operation or by groups, as `_has_gradient` finds: oneDNN has it on some of them."""
    layer = GroupedConv2D(8, 3, groups=4, padding="same", dtype="mixed_float16")
    x = tf.constant(RNG.normal(size=(1, 5, 6, 8)), tf.float16)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.cast(layer(x), tf.float32))
    (of_kernel, of_bias) = tape.gradient(total, layer.trainable_weights)
    assert of_kernel.dtype == tf.float32 and np.abs(of_kernel).max() > 0
    np.testing.assert_allclose(of_bias, np.full(8, 30), rtol=1e-3)


@pytest.mark.parametrize("without", ["Conv2DBackpropInput", "Conv2DBackpropFilter"])
def test_it_is_tried_whether_there_is_a_gradient(without, monkeypatch):
    has_gradient = grouped_convolution._has_gradient.__wrapped__  # which remembers nothing
    if not has_gradient(tf.float32):
        pytest.skip("oneDNN is off or has none for this processor")

    def fails(**_):
        raise tf.errors.InvalidArgumentError(None, None, "no grouped convolution")

    monkeypatch.setattr(tf.raw_ops, without, fails)
    assert not has_gradient(tf.float32)


def test_a_saved_model_has_it_again(tmp_path):
    image = keras.Input((None, None, 6))
    model = keras.Model(image, GroupedConv2D(9, 3, groups=3, padding="same")(image))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.layers[1]) is GroupedConv2D and again.layers[1].groups == 3
    x = RNG.normal(size=(2, 5, 4, 6)).astype(np.float32)
    np.testing.assert_array_equal(again(x), model(x))

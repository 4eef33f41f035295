"""BatchNorm: what normalises, what trains and what is stored, for each meaning of TRAIN_BN."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.layers.normalization import BatchNorm
from tests import twins

EPSILON, MOMENTUM, CHANNELS = 1e-3, 0.99, 3  # the original's
MEANINGS = list(itertools.product([False, None, True], [False, True], [False, True]))
EVERY_MEANING = pytest.mark.parametrize("train_bn, training, trainable", MEANINGS)


def images(seed=0, batch=2, side=4):
    return (
        np.random.RandomState(seed).normal(1, 2, (batch, side, side, CHANNELS)).astype(np.float32)
    )


def built_layer(train_bn, trainable=True, **arguments):
    """With gamma, beta, mean and variance that are not those of a new layer."""
    layer = BatchNorm(train_bn, **arguments)
    layer.trainable = trainable
    layer.build((None, None, None, CHANNELS))
    layer.set_weights(weights())
    return layer


def weights():
    random = np.random.RandomState(1)
    return [random.uniform(0.5, 2, CHANNELS).astype(np.float32) for _ in range(4)]


def normalise(x, train_bn, training, values=None):
    gamma, beta, mean, variance = weights() if values is None else values
    if training if train_bn is None else train_bn:
        mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    return (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta


@EVERY_MEANING
def test_against_the_formula(train_bn, training, trainable):
    x = images()
    actual = built_layer(train_bn, trainable)(x, training=training)
    np.testing.assert_allclose(actual, normalise(x, train_bn, training), atol=5e-6)


@EVERY_MEANING
def test_which_statistics_are_stored(train_bn, training, trainable):
    """Only those of the batch, only in training, and not of a frozen layer."""
    x, layer = images(), built_layer(train_bn, trainable)
    layer(x, training=training)
    gamma, beta, mean, variance = weights()
    if train_bn is not False and training and trainable:
        count = x.size // CHANNELS
        mean = mean * MOMENTUM + x.mean(axis=(0, 1, 2)) * (1 - MOMENTUM)
        # the fused kernel stores the unbiased variance
        variance = variance * MOMENTUM + x.var(axis=(0, 1, 2)) * count / (count - 1) * (
            1 - MOMENTUM
        )
    for stored, expected in zip(layer.get_weights(), (gamma, beta, mean, variance)):
        np.testing.assert_allclose(stored, expected, rtol=1e-5)


@pytest.mark.parametrize("train_bn", [False, None, True])
def test_gradients_by_finite_differences(train_bn):
    x, layer = images(side=2), built_layer(train_bn)
    factors = np.random.RandomState(2).normal(size=x.shape)
    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(variable, training=True) * factors.astype(np.float32))
    gradients = tape.gradient(total, [variable, layer.gamma.value, layer.beta.value])
    _, _, mean, variance = weights()

    def loss(position):
        def moved(value):
            inputs, gamma, beta = [
                value if i == position else part
                for i, part in enumerate((np.float64(x), *weights()[:2]))
            ]
            return np.sum(
                normalise(inputs, train_bn, True, (gamma, beta, mean, variance)) * factors
            )

        return moved

    for position, (gradient, value) in enumerate(zip(gradients, (x, *weights()))):
        np.testing.assert_allclose(
            gradient, twins.numeric_gradient(loss(position), value), rtol=1e-3, atol=1e-4
        )


def trained(train_bn, trainable):
    """Weights after one step of SGD on the sum of squares of the output."""
    layer = built_layer(train_bn, trainable)
    tensor = keras.Input((4, 4, CHANNELS))
    outputs = keras.layers.Conv2D(2, 1, kernel_initializer="ones")(layer(tensor))
    model = keras.Model(tensor, outputs)
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    model.fit(images(), np.zeros((2, 4, 4, 2), np.float32), batch_size=2, epochs=1, verbose=0)
    return [not np.array_equal(new, old) for new, old in zip(layer.get_weights(), weights())]


@pytest.mark.parametrize(
    "train_bn, trainable, changed",
    [
        # gamma and beta train although the statistics are frozen
        (
            False,
            True,
            [True, True, False, False],
        ),
        (False, False, [False, False, False, False]),
        (None, True, [True, True, True, True]),
        (None, False, [False, False, False, False]),
        (True, True, [True, True, True, True]),
        (True, False, [False, False, False, False]),
    ],
)
def test_what_fit_changes(train_bn, trainable, changed):
    assert trained(train_bn, trainable) == changed


def test_prediction_leaves_everything_and_uses_what_is_stored():
    layer = built_layer(None)
    tensor = keras.Input((4, 4, CHANNELS))
    model = keras.Model(tensor, layer(tensor))
    np.testing.assert_allclose(
        model.predict(images(), verbose=0), normalise(images(), None, False), atol=5e-6
    )
    for stored, expected in zip(layer.get_weights(), weights()):
        np.testing.assert_array_equal(stored, expected)


def test_equals_keras_layer_at_inference():
    ours, theirs = built_layer(False), keras.layers.BatchNormalization()
    theirs.build((None, None, None, CHANNELS))
    theirs.set_weights(weights())
    np.testing.assert_allclose(ours(images()), theirs(images(), training=False), atol=5e-6)


def test_order_and_names_of_the_weights():
    layer = BatchNorm(name="bn_conv1")
    layer.build((None, 4, 4, CHANNELS))
    assert [variable.name for variable in layer.weights] == [
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    ]
    assert (layer.epsilon, layer.momentum, layer.train_bn) == (EPSILON, MOMENTUM, None)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 3), (7, 2, 9)])
def test_any_size_of_features(shape):
    x = np.random.RandomState(3).normal(size=(*shape, CHANNELS)).astype(np.float32)
    np.testing.assert_allclose(built_layer(False)(x), normalise(x, False, False), atol=5e-6)


def test_mixed_precision_keeps_statistics_in_float32():
    layer = built_layer(True, dtype="mixed_bfloat16")
    outputs = layer(images(), training=True)
    assert outputs.dtype == "bfloat16"
    assert {variable.dtype for variable in layer.weights} == {"float32"}
    expected = weights()[2] * MOMENTUM + images().mean(axis=(0, 1, 2)) * (1 - MOMENTUM)
    # bfloat16 inputs: 3 digits of 1 %
    np.testing.assert_allclose(layer.get_weights()[2], expected, atol=2e-4)
    np.testing.assert_allclose(
        tf.cast(outputs, tf.float32), normalise(images(), True, True), atol=0.05
    )


@pytest.mark.parametrize("given", [True, False])
def test_training_given_to_a_functional_model_stays(given):
    """Backbones of users say BatchNorm(...)(x, training=train_bn), as the original's did."""
    image = keras.Input((4, 4, CHANNELS))
    layer = BatchNorm(name="given")
    model = keras.Model(image, layer(image, training=given))
    images = np.random.RandomState(0).normal(5, 2, (3, 4, 4, CHANNELS)).astype(np.float32)
    for training in (True, False):
        normalized = np.asarray(model(images, training=training))
        assert (abs(normalized.mean()) < 0.1) == given
    again = keras.Model.from_config(model.get_config(), custom_objects={"BatchNorm": BatchNorm})
    assert again.get_layer("given").train_bn is given

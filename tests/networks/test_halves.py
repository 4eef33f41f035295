"""Each form of a convolution is the convolution, and is taken where it is meant to be."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks import halves
from mrcnn.networks.halves import convolve_in_halves

RNG = np.random.RandomState(0)


def normal(*shape):
    return tf.constant(RNG.randn(*shape), tf.float32)


@pytest.mark.parametrize("height", [1, 2, 3, 7, 8])
@pytest.mark.parametrize(
    "width, kernel", [(6, (3, 3)), (1, (3, 3)), (9, (5, 1)), (7, (1, 3)), (3, (7, 7))]
)
def test_halves_are_the_whole(height, width, kernel):
    image, weights, bias = normal(1, height, width, 4), normal(*kernel, 4, 3), normal(3)
    whole = tf.nn.conv2d(image, weights, 1, "SAME")
    for bias_, activation, expected in (
        (None, None, whole),
        (bias, None, whole + bias),
        (bias, tf.nn.sigmoid, tf.nn.sigmoid(whole + bias)),  # which makes something of zeros
    ):
        found = halves._convolve_halves(image, weights, bias_, activation)
        assert found.shape == (1, height, width, 3)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def model(channels=256, batch=None, **options):
    options = {"kernel_size": 3, "padding": "same", "activation": "relu", **options}
    image = keras.Input((None, None, channels), batch_size=batch)
    return keras.Model(image, keras.layers.Conv2D(4, **options)(image))


@pytest.fixture
def taken(monkeypatch):
    """The shapes of the images whose convolutions were done in halves."""
    shapes, convolve = [], halves._convolve_halves
    monkeypatch.setattr(
        halves,
        "_convolve_halves",
        lambda image, *rest: shapes.append(image.shape) or convolve(image, *rest),
    )
    return shapes


@pytest.mark.parametrize(
    "batch, options, expected",
    [
        (1, {}, True),
        (1, {"use_bias": False}, True),
        (1, {"activation": "sigmoid"}, True),  # which makes something of zeros
        (2, {}, False),
        (None, {}, False),
        (1, {"channels": 128}, False),
        (1, {"strides": 2}, False),
        (1, {"padding": "valid"}, False),
        (1, {"dilation_rate": 2}, False),
        (1, {"kernel_size": 1}, False),
        (1, {"kernel_size": 2}, False),
        (1, {"groups": 2}, False),
        (1, {"dtype": "mixed_bfloat16"}, False),
    ],
    ids=str,
)
def test_only_where_it_takes_less_time(taken, batch, options, expected):
    network = model(**options)
    images = normal(batch or 1, 6, 7, options.get("channels", 256))
    whole = network(images)
    assert convolve_in_halves(network) is network
    run = tf.function(
        lambda values: network(values, training=False),
        input_signature=[tf.TensorSpec([batch, None, None, images.shape[-1]])],
    )
    np.testing.assert_allclose(
        tf.cast(run(images), tf.float32), tf.cast(whole, tf.float32), rtol=1e-4, atol=1e-4
    )
    assert bool(taken) == expected


def test_one_function_for_images_of_all_sizes(taken):
    network = convolve_in_halves(model())
    plain = model()
    plain.set_weights(network.get_weights())
    run = tf.function(network, input_signature=[tf.TensorSpec([1, None, None, 256])])
    for size in [(height, 3) for height in range(1, 8)] + [(4, 1)]:
        image = normal(1, *size, 256)
        np.testing.assert_allclose(run(image), plain(image), rtol=1e-4, atol=1e-4)
    assert len(taken) == 1


def test_nested_models_too(taken):
    image = keras.Input((None, None, 256))
    network = convolve_in_halves(keras.Model(image, model()(image)))
    network(normal(1, 4, 4, 256))
    assert taken


def test_weights_and_files_are_those_of_keras(tmp_path):
    network = convolve_in_halves(model())
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[1]) is keras.layers.Conv2D
    image = normal(1, 5, 5, 256)
    np.testing.assert_allclose(loaded(image), network(image), rtol=1e-4, atol=1e-4)


def test_where_there_is_a_gpu_nothing_changes(monkeypatch, taken):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU:0"])
    convolve_in_halves(model())(normal(1, 4, 4, 256))
    assert not taken

"""A convolution in two halves is the convolution, of one image on a CPU alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.layers import convolution
from mrcnn.layers.convolution import Conv2D
from mrcnn.ops.convolution import convolve_halves


@pytest.mark.parametrize("height, width, kernel", [
    (8, 6, (3, 3)), (7, 5, (3, 3)), (1, 4, (3, 3)), (2, 1, (3, 3)), (9, 9, (5, 1)), (6, 7, (1, 3)), (3, 3, (7, 7))])
def test_halves_are_the_whole(height, width, kernel):
    rng = np.random.RandomState(0)
    image, weights = (tf.constant(rng.randn(*shape), tf.float32) for shape in ((1, height, width, 4), (*kernel, 4, 3)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([image, weights])
        found, expected = convolve_halves(image, weights), tf.nn.conv2d(image, weights, 1, "SAME")
        totals = [tf.reduce_sum(tf.sin(values)) for values in (found, expected)]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for variable in (image, weights):
        np.testing.assert_allclose(*(tape.gradient(total, variable) for total in totals), rtol=1e-4, atol=1e-5)


@pytest.fixture
def halves_taken(monkeypatch):
    taken = []
    monkeypatch.setattr(convolution, "convolve_halves",
                        lambda image, kernel: taken.append(image.shape) or convolve_halves(image, kernel))
    return taken


@pytest.mark.parametrize("batch, options, taken", [
    (1, {}, True), (2, {}, False), (None, {}, False), (1, {"strides": 2}, False), (1, {"padding": "valid"}, False),
    (1, {"dilation_rate": 2}, False), (1, {"kernel_size": 1}, False), (1, {"kernel_size": 2}, False),
    (1, {"groups": 2}, False), (1, {"dtype": "mixed_bfloat16"}, False)])
def test_only_where_it_takes_less_time(halves_taken, batch, options, taken):
    options = {"filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu", **options}
    ours, theirs = Conv2D(**options), keras.layers.Conv2D(**options)
    image = np.random.RandomState(1).randn(batch or 1, 6, 7, 256).astype(np.float32)
    theirs(image)
    ours(np.repeat(image, 2, axis=0))
    ours.set_weights(theirs.get_weights())

    @tf.function(input_signature=[tf.TensorSpec([batch, None, None, 256])])
    def run(images):
        return ours(images)

    halves_taken.clear()
    np.testing.assert_allclose(tf.cast(run(image), tf.float32), tf.cast(theirs(image), tf.float32), rtol=1e-4,
                               atol=1e-4)
    assert bool(halves_taken) == taken


def test_narrow_ones_are_left_whole(halves_taken):
    layer = Conv2D(4, 3, padding="same")
    layer(np.zeros((1, 6, 6, 128), np.float32))
    assert not halves_taken


def test_layer_is_saved_as_what_it_is(tmp_path):
    image = keras.Input((None, None, 256))
    model = keras.Model(image, Conv2D(2, 3, padding="same", name="wide")(image))
    model.save(tmp_path / "model.keras")
    assert type(keras.models.load_model(tmp_path / "model.keras").get_layer("wide")) is Conv2D

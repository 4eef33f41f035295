"""A classifier of patches as a network for images of any size."""

import keras
import numpy as np
import pytest

from mrcnn.networks.segmentation.patches import convolutionalize, patch_classifier
from tests.tiny import randomize


def pixels(*shape):
    return np.random.RandomState(0).uniform(-120, 130, shape).astype(np.float32)


def sliding_window(model, image, size, stride):
    """What the classifier gives for every patch, [rows, columns, n]."""
    rows, columns = ((side - size) // stride + 1 for side in image.shape[:2])
    patches = np.stack(
        [
            image[stride * row : stride * row + size, stride * column : stride * column + size]
            for row in range(rows)
            for column in range(columns)
        ]
    )
    return np.asarray(model(patches)).reshape(rows, columns, -1)


@pytest.mark.parametrize("size", [16, 32])
def test_it_gives_what_the_classifier_gives_for_every_patch(size):
    classifier = patch_classifier(size, 3, width=4, hidden=8)
    randomize(classifier)
    network = convolutionalize(classifier)
    image = pixels(size + 11, size + 24, 3)
    found = network(image[None]).numpy()[0]
    expected = sliding_window(classifier, image, size, 4)
    assert found.shape == expected.shape == (3, 7, 3) and expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-6 * max(1, np.abs(expected).max()))


def test_the_map_of_a_photo_is_about_a_quarter_of_it():
    """scikit-learn's flower.jpg has 427 x 640 pixels."""
    network = convolutionalize(patch_classifier())
    assert network.compute_output_shape((1, 427, 640, 3)) == (1, 99, 153, 2)
    assert network.compute_output_shape((1, 32, 32, 3)) == (1, 1, 1, 2)


def test_weights_and_names_are_the_classifiers():
    classifier = patch_classifier(16, width=4, hidden=8)
    network = convolutionalize(classifier)
    assert network.name == classifier.name and network.count_params() == classifier.count_params()
    assert [weight.path for weight in network.weights] == [
        weight.path for weight in classifier.weights
    ]
    assert network.get_layer("patch_dense").kernel.shape == (1, 1, 8, 8)
    again = keras.Model.from_config(network.get_config())
    again.set_weights(network.get_weights())
    x = pixels(2, 20, 30, 3)
    np.testing.assert_array_equal(again(x), network(x))


def test_a_sequential_model_with_batch_norm_and_two_dense_layers():
    classifier = keras.Sequential(
        [
            keras.Input((11, 9, 2)),
            keras.layers.Conv2D(3, 3, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.AveragePooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="tanh", use_bias=False),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    randomize(classifier)
    image = pixels(15, 9, 2) / 100
    found = convolutionalize(classifier)(image[None]).numpy()[0]
    expected = [np.asarray(classifier(image[None, row : row + 11]))[0] for row in (0, 2, 4)]
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-6)


def test_padding_makes_a_difference_at_the_borders_of_patches():
    """Why the classifier's convolutions are "valid"."""
    patch = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 3, padding="same")(patch)
    classifier = keras.Model(patch, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    image = pixels(10, 12, 1) / 100
    found = convolutionalize(classifier)(image[None]).numpy()[0]
    assert np.abs(found - sliding_window(classifier, image, 8, 1)).max() > 1e-3


@pytest.mark.parametrize(
    "layer", [keras.layers.GlobalAveragePooling2D(), keras.layers.Reshape((4, 16))]
)
def test_a_layer_that_mixes_places_is_refused(layer):
    patch = keras.Input((8, 8, 1))
    model = keras.Model(patch, keras.layers.Dense(2)(keras.layers.Flatten()(layer(patch))))
    with pytest.raises(ValueError, match=f"{layer.name!r} is a {type(layer).__name__}.*Flatten"):
        convolutionalize(model)


def test_what_follows_flatten():
    patch = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(patch)
    with pytest.raises(ValueError, match="'flat_model' has no dense layer after Flatten"):
        convolutionalize(keras.Model(patch, flat, name="flat_model"))
    normed = keras.layers.Dense(2)(keras.layers.BatchNormalization(name="norm")(flat))
    with pytest.raises(ValueError, match="'norm' is a BatchNormalization"):
        convolutionalize(keras.Model(patch, normed))


def test_a_dense_layer_is_a_convolution_of_one_pixel():
    """Network in Network."""
    dense = keras.layers.Dense(4)
    x = keras.Input((5, 6, 3))
    network = convolutionalize(keras.Model(x, dense(x)))
    image = pixels(2, 7, 4, 3)
    np.testing.assert_allclose(network(image), dense(image), rtol=1e-6, atol=1e-4)


def test_branches_are_refused():
    patch = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(1, 1, name="one")(patch)
    model = keras.Model(patch, keras.layers.Add(name="sum")([x, patch]), name="two_ways")
    with pytest.raises(ValueError, match="'two_ways' is no single row.*'sum'.*'one'"):
        convolutionalize(model)


def test_a_patch_that_is_too_small():
    with pytest.raises(ValueError, match="patch of 15 px is too small.*at least 16"):
        patch_classifier(15)

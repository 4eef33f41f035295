"""Each form of a convolution is the convolution, and is taken where it is meant to be."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.layers import convolution
from mrcnn.networks.layers.convolution import Conv2D, Conv2DTranspose, convolve_and_normalize
from mrcnn.networks.layers.folding import folded_normalization
from mrcnn.networks.layers.normalization import BatchNorm
from mrcnn.ops.cpu_convolution import (
    convolve_halves,
    convolve_whole,
    fold_normalization,
    interleave_cells,
    upsample_cells,
)


@pytest.mark.parametrize(
    "height, width, kernel",
    [
        (8, 6, (3, 3)),
        (7, 5, (3, 3)),
        (1, 4, (3, 3)),
        (2, 1, (3, 3)),
        (9, 9, (5, 1)),
        (6, 7, (1, 3)),
        (3, 3, (7, 7)),
    ],
)
def test_halves_are_the_whole(height, width, kernel):
    rng = np.random.RandomState(0)
    _compare(convolve_halves, _whole, *_normal(rng, (1, height, width, 4), (*kernel, 4, 3), (3,)))


@pytest.mark.parametrize("height", [1, 2, 3, 5])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (1, 3)])
@pytest.mark.parametrize(
    "activation", [None, tf.nn.relu, tf.sigmoid]
)  # of which one makes something of zeros
def test_halves_of_flat_images_with_an_activation(height, kernel, activation):
    _compare(
        lambda *args: convolve_halves(*args, activation),
        lambda *args: (activation or tf.identity)(_whole(*args)),
        *_normal(np.random.RandomState(0), (1, height, 4, 2), (*kernel, 2, 3), (3,)),
    )


def test_halves_in_one_function_for_all_sizes():
    rng = np.random.RandomState(0)
    kernel, bias = _normal(rng, (5, 3, 2, 3), (3,))
    halves = tf.function(
        lambda image: convolve_halves(image, kernel, bias, tf.nn.relu),
        input_signature=[tf.TensorSpec([1, None, None, 2])],
    )
    for size in [(height, 3) for height in range(1, 8)] + [(4, 1)]:
        (image,) = _normal(rng, (1, *size, 2))
        np.testing.assert_allclose(
            halves(image), tf.nn.relu(_whole(image, kernel, bias)), rtol=1e-5, atol=1e-5
        )


def _whole(image, kernel, bias):
    return tf.nn.bias_add(tf.nn.conv2d(image, kernel, 1, "SAME"), bias)


@pytest.mark.parametrize("images", [0, 1, 2, 3])
@pytest.mark.parametrize("kernel", [(7, 7), (1, 1), (2, 3)])
def test_kernel_as_large_as_the_image_is_a_product(images, kernel):
    rng = np.random.RandomState(1)
    # an empty batch has another shape in tf.nn.conv2d with oneDNN
    _compare(
        convolve_whole,
        lambda images, kernel, bias: (
            tf.einsum("nklc,klcf->nf", images, kernel)[:, tf.newaxis, tf.newaxis] + bias
        ),
        *_normal(rng, (images, *kernel, 5), (*kernel, 5, 4), (4,)),
    )


def test_forms_without_bias():
    image, kernel = _normal(np.random.RandomState(2), (1, 3, 3, 4), (3, 3, 4, 2))
    np.testing.assert_allclose(
        convolve_halves(image, kernel, None), tf.nn.conv2d(image, kernel, 1, "SAME"), atol=1e-5
    )
    np.testing.assert_allclose(
        convolve_whole(image, kernel, None), tf.nn.conv2d(image, kernel, 1, "VALID"), atol=1e-5
    )


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (2, 3)])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_cells_put_in_order_are_a_transposed_convolution(images, kernel, use_bias, activation):
    inputs = _normal(
        np.random.RandomState(10), (images, 3, 2, 5), (*kernel, 4, 5), *[(4,)] * use_bias
    )
    layer = keras.layers.Conv2DTranspose(
        4, kernel, strides=kernel, use_bias=use_bias, activation=activation
    )
    layer.build(inputs[0].shape)

    def ours(images, kernel, bias=None):
        return interleave_cells(upsample_cells(images, kernel, bias, layer.activation))

    def theirs(images, *weights):
        return layer.stateless_call(weights, [], images)[0]

    _compare(ours, theirs, *inputs)


def test_cells_of_no_image():
    """Of an empty batch TensorFlow's transposed convolution has a gradient of another shape."""
    inputs = _normal(np.random.RandomState(10), (0, 3, 2, 5), (2, 3, 4, 5), (4,))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        found = interleave_cells(upsample_cells(*inputs, tf.nn.relu))
    assert found.shape == (0, 6, 6, 4)
    for gradient, part in zip(tape.gradient(found, inputs), inputs):
        np.testing.assert_array_equal(gradient, tf.zeros_like(part))


@pytest.mark.parametrize(
    "options", [{}, {"activation": "relu"}, {"use_bias": False}, {"padding": "same"}]
)
def test_layer_of_cells_takes_the_weights_of_keras(tmp_path, options):
    options = {
        "kernel_size": (2, 3),
        "strides": (2, 3),
        "bias_initializer": "uniform",
        "name": "deconv",
        **options,
    }
    image = keras.Input((3, 4, 5))
    theirs, ours = (
        keras.Model(image, kind(4, **options)(image))
        for kind in (keras.layers.Conv2DTranspose, Conv2DTranspose)
    )
    assert ours.output.shape == (None, 3, 4, 2, 3, 4)
    assert [(weight.path, weight.shape) for weight in ours.weights] == [
        (weight.path, weight.shape) for weight in theirs.weights
    ]
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours.load_weights(tmp_path / "theirs.weights.h5")
    (images,) = _normal(np.random.RandomState(11), (2, 3, 4, 5))
    np.testing.assert_allclose(interleave_cells(ours(images)), theirs(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options, found",
    [
        ({"strides": 1}, r"strides are \(1, 1\), the kernel's size \(2, 2\), dilation \(1, 1\)"),
        ({"strides": (2, 3)}, r"strides are \(2, 3\)"),
        ({"strides": 3}, r"strides are \(3, 3\)"),
        ({"strides": 1, "dilation_rate": 2}, r"dilation \(2, 2\)"),
    ],
)
def test_windows_that_overlap_are_refused(options, found):
    with pytest.raises(
        ValueError, match=f"layer deconv: .*{found}.*only windows that do not overlap"
    ):
        Conv2DTranspose(4, 2, name="deconv", **options)(np.zeros((1, 3, 3, 5), np.float32))


def _normal(rng, *shapes):
    return [tf.constant(rng.randn(*shape), tf.float32) for shape in shapes]


def _compare(ours, theirs, *inputs):
    """Values and all gradients of two functions."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        found, expected = ours(*inputs), theirs(*inputs)
        totals = [tf.reduce_sum(tf.sin(values)) for values in (found, expected)]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for variable in inputs:
        np.testing.assert_allclose(
            *(tape.gradient(total, variable) for total in totals), rtol=1e-4, atol=1e-5
        )


@pytest.fixture
def halves_taken(monkeypatch):
    taken = []
    monkeypatch.setattr(
        convolution,
        "convolve_halves",
        lambda image, *weights: taken.append(image.shape) or convolve_halves(image, *weights),
    )
    return taken


@pytest.mark.parametrize(
    "batch, options, taken",
    [
        (1, {}, True),
        (2, {}, False),
        (None, {}, False),
        (1, {"strides": 2}, False),
        (1, {"padding": "valid"}, False),
        (1, {"dilation_rate": 2}, False),
        (1, {"kernel_size": 1}, False),
        (1, {"kernel_size": 2}, False),
        (1, {"groups": 2}, False),
        (1, {"dtype": "mixed_bfloat16"}, False),
    ],
)
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
    np.testing.assert_allclose(
        tf.cast(run(image), tf.float32), tf.cast(theirs(image), tf.float32), rtol=1e-4, atol=1e-4
    )
    assert bool(halves_taken) == taken


def test_halves_are_not_for_training(halves_taken):
    layer = Conv2D(4, 3, padding="same")
    images = np.ones((1, 6, 6, 256), np.float32)
    layer(images, training=True)
    assert not halves_taken
    layer(images)
    assert halves_taken


def test_narrow_ones_are_left_whole(halves_taken):
    layer = Conv2D(4, 3, padding="same")
    layer(np.zeros((1, 6, 6, 128), np.float32))
    assert not halves_taken


@pytest.mark.parametrize(
    "size, options, taken",
    [
        (5, {}, True),
        (5, {"strides": 2}, True),
        (6, {}, False),
        (5, {"padding": "same"}, False),
        (5, {"groups": 2}, False),
        (9, {"dilation_rate": 2}, False),
        (None, {}, False),
    ],
)
@pytest.mark.parametrize("use_bias", [True, False])
def test_product_only_of_a_kernel_as_large_as_the_image(
    monkeypatch, size, options, taken, use_bias
):
    products = []
    monkeypatch.setattr(
        convolution, "convolve_whole", lambda *args: products.append(1) or convolve_whole(*args)
    )
    options = {
        "filters": 4,
        "kernel_size": 5,
        "activation": "relu",
        "use_bias": use_bias,
        "bias_initializer": "uniform",
        **options,
    }
    ours, theirs = Conv2D(**options), keras.layers.Conv2D(**options)
    images = np.random.RandomState(3).randn(3, size or 5, size or 5, 6).astype(np.float32)
    ours.build(images.shape)
    theirs.build(images.shape)
    theirs.set_weights(ours.get_weights())
    run = tf.function(ours, input_signature=[tf.TensorSpec([None, size, size, 6])])
    np.testing.assert_allclose(run(images), theirs(images), atol=1e-5)
    assert bool(products) == taken


def test_folded_weights_do_both():
    rng = np.random.RandomState(4)
    image, kernel, bias, beta, mean = _normal(rng, (2, 5, 6, 3), (3, 3, 3, 4), (4,), (4,), (4,))
    gamma, variance = (tf.constant(rng.uniform(0.5, 2, 4), tf.float32) for _ in range(2))
    for offset in (bias, None):
        values = tf.nn.conv2d(image, kernel, 1, "SAME") + (0 if offset is None else offset)
        expected = tf.nn.batch_normalization(values, mean, variance, beta, gamma, 1e-3)
        folded, shift = fold_normalization(image, kernel, offset, gamma, beta, mean, variance, 1e-3)
        np.testing.assert_allclose(
            tf.nn.conv2d(image, folded, 1, "SAME") + shift, expected, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("filters", [1, 4, 100])
def test_folding_in_a_function_of_images_of_any_size(filters):
    """Also of fewer values than there are filters, and of none."""
    rng = np.random.RandomState(4)
    kernel, bias, beta, mean = _normal(rng, (3, 3, 2, filters), (filters,), (filters,), (filters,))
    gamma, variance = (tf.constant(rng.uniform(0.5, 2, filters), tf.float32) for _ in range(2))
    sizes = [tf.TensorSpec([None, None, None, 2])]

    @tf.function(input_signature=sizes)
    def weights(images):
        return fold_normalization(images, kernel, bias, gamma, beta, mean, variance, 1e-3)

    @tf.function(input_signature=sizes)
    def folded(images):
        folded_kernel, shift = weights(images)
        return tf.nn.conv2d(images, folded_kernel, 1, "SAME") + shift

    for size in [(2, 9, 7), (1, 1, 1), (1, 1, 2), (3, 2, 1)]:
        (images,) = _normal(rng, (*size, 2))
        values = tf.nn.conv2d(images, kernel, 1, "SAME") + bias
        np.testing.assert_allclose(
            folded(images),
            tf.nn.batch_normalization(values, mean, variance, beta, gamma, 1e-3),
            rtol=1e-4,
            atol=1e-4,
        )
    for size in [(1, 0, 5), (0, 4, 4)]:
        np.testing.assert_allclose(
            weights(tf.zeros([*size, 2]))[0], kernel * gamma / tf.sqrt(variance + 1e-3), rtol=1e-5
        )


def _normalized_model(train_bn=False, **options):
    keras.utils.set_random_seed(5)
    image = keras.Input((None, None, 3))
    norm = BatchNorm(train_bn, name="norm")
    model = keras.Model(
        image, convolve_and_normalize(image, Conv2D(4, 3, name="conv", **options), norm)
    )
    _shuffle_statistics(norm, 6)
    return model


def _shuffle_statistics(norm, seed):
    rng = np.random.RandomState(seed)
    norm.set_weights([rng.uniform(0.5, 2, weight.shape) for weight in norm.weights])


def test_normalization_is_folded_only_where_asked_and_follows_its_weights():
    model = _normalized_model()
    image = np.random.RandomState(7).randn(2, 8, 9, 3).astype(np.float32)

    @tf.function
    def folded(images):
        with folded_normalization():
            return model(images, training=False)

    plain = tf.function(lambda images: model(images, training=False))
    for seed in (8, 9):  # weights that change after tracing count
        _shuffle_statistics(model.get_layer("norm"), seed)
        model.get_layer("conv").bias.assign(np.arange(4) + seed)
        np.testing.assert_allclose(folded(image), plain(image), rtol=1e-4, atol=1e-5)
    assert "FusedBatchNormV3" not in _operations(folded, image)
    assert "FusedBatchNormV3" in _operations(plain, image)


@pytest.mark.parametrize("options", [{"train_bn": True}, {"activation": "relu"}])
def test_what_cannot_be_folded_is_left(options):
    model = _normalized_model(**options)
    image = np.random.RandomState(7).randn(2, 8, 9, 3).astype(np.float32)

    @tf.function
    def folded(images):
        with folded_normalization():
            return model(images, training=False)

    np.testing.assert_allclose(folded(image), model(image, training=False), rtol=1e-5, atol=1e-5)
    assert "FusedBatchNormV3" in _operations(folded, image)


def _operations(function, *args):
    return {
        operation.type for operation in function.get_concrete_function(*args).graph.get_operations()
    }


def test_link_adds_no_weights():
    model = _normalized_model()
    assert [weight.name for weight in model.get_layer("conv").weights] == ["kernel", "bias"]
    assert len(model.weights) == 6


def test_layer_is_saved_as_what_it_is(tmp_path):
    image = keras.Input((None, None, 256))
    model = keras.Model(image, Conv2D(2, 3, padding="same", name="wide")(image))
    model.save(tmp_path / "model.keras")
    assert type(keras.models.load_model(tmp_path / "model.keras").get_layer("wide")) is Conv2D

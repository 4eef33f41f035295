"""Upsampling: the textbook examples, what equals what, and that nothing tilts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.config.choices import UPSAMPLINGS
from mrcnn.networks.layers.upsampling import (
    BedOfNails,
    Bilinear,
    BilinearFilter,
    MaxPoolIndices,
    MaxUnpool,
    bilinear_filter,
    upsample,
)


def grid(values):
    """[h, w] as float32 [1, h, w, 1]."""
    return np.float32(values)[None, :, :, None]


def flat(tensor):
    """[1, h, w, 1] as [h, w]."""
    return np.asarray(tensor)[0, :, :, 0]


def model_of(factor, how, channels=1, **options):
    x = keras.Input((None, None, channels))
    return keras.Model(x, upsample(x, factor, how, **options))


# === Textbook examples ===


def test_nearest():
    expected = [[1, 1, 3, 3], [1, 1, 3, 3], [2, 2, 0, 0], [2, 2, 0, 0]]
    np.testing.assert_array_equal(flat(model_of(2, "nearest")(grid([[1, 3], [2, 0]]))), expected)


def test_bed_of_nails():
    expected = [[1, 0, 4, 0], [0, 0, 0, 0], [3, 0, 2, 0], [0, 0, 0, 0]]
    found = model_of(2, "bed_of_nails")(grid([[1, 4], [3, 2]]))
    np.testing.assert_array_equal(flat(found), expected)
    x = np.random.RandomState(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    found = BedOfNails(3)(x).numpy()
    assert found.shape == (2, 9, 12, 5)
    np.testing.assert_array_equal(found[:, ::3, ::3], x)
    assert np.count_nonzero(found) == x.size


def test_max_unpooling():
    image = grid([[1, 4, 4, 8], [7, 0, 3, 2], [3, 1, 2, 1], [2, 0, 3, 5]])
    pooled, indices = MaxPoolIndices()(image)
    np.testing.assert_array_equal(flat(pooled), [[7, 8], [3, 5]])
    np.testing.assert_array_equal(flat(indices), [[4, 3], [8, 15]])
    found = MaxUnpool()([grid([[1, 3], [2, 4]]), indices, image])
    expected = [[0, 0, 0, 3], [1, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 4]]
    np.testing.assert_array_equal(flat(found), expected)


@pytest.mark.parametrize(
    "image, stride, expected",
    [
        ([[0, 2], [3, 1]], 1, [[0, 0, 2], [0, 7, 7], [6, 11, 3]]),
        ([[0, 1], [2, 3]], 1, [[0, 0, 1], [0, 4, 6], [4, 12, 9]]),
        ([[0, 1], [2, 3]], 2, [[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]]),
    ],
)
def test_transposed_convolution(image, stride, expected):
    layer = keras.layers.Conv2DTranspose(1, 2, strides=stride, use_bias=False)
    layer.build((None, None, None, 1))
    layer.set_weights([np.float32([[0, 1], [2, 3]])[:, :, None, None]])
    np.testing.assert_array_equal(flat(layer(grid(image))), expected)


def test_bilinear_and_bicubic():
    image = grid([[1, 4], [3, 2]])
    expected = [[1, 1.75, 3.25, 4], [1.5, 2, 3, 3.5], [2.5] * 4, [3, 2.75, 2.25, 2]]
    np.testing.assert_allclose(flat(model_of(2, "bilinear")(image)), expected, atol=1e-6)
    assert flat(model_of(2, "bicubic")(image))[0, 0] == pytest.approx(0.5277, abs=1e-4)


# === Transposed convolutions ===


@pytest.mark.parametrize(
    "size, weights",
    [(2, [0.5, 0.5]), (4, [0.25, 0.75, 0.75, 0.25]), (5, np.float32([1, 2, 3, 2, 1]) / 3)],
)
def test_bilinear_filter(size, weights):
    kernel = bilinear_filter(size, 3)
    for one in range(3):
        for other in range(3):
            expected = np.outer(weights, weights) * (one == other)
            np.testing.assert_allclose(kernel[:, :, one, other], expected, atol=1e-7)


def test_bilinear_filter_of_other_channels():
    kernel = np.asarray(BilinearFilter()((4, 4, 3, 2)))
    np.testing.assert_array_equal(kernel[:, :, :2, :2], bilinear_filter(4, 2))
    assert not kernel[:, :, 2].any()
    with pytest.raises(ValueError, match="square, got a kernel of 4 x 2"):
        BilinearFilter()((4, 2, 1, 1))


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("factor", [2, 3, 8, 16, 32])
def test_it_begins_as_bilinear_interpolation(factor, learned):
    x = np.random.RandomState(0).uniform(size=(2, 5, 4, 3)).astype(np.float32)
    found = model_of(factor, "transposed", 3, learned=learned)(x).numpy()
    expected = tf.image.resize(x, (5 * factor, 4 * factor)).numpy()
    inside = slice(factor // 2, -(factor // 2))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found[:, inside, inside], expected[:, inside, inside], atol=1e-6)
    assert np.abs(found - expected).max() > 0.1  # zeros outside of the map


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_fixed_filters_are_the_convolution_without_weights(factor):
    x = np.random.RandomState(0).uniform(size=(2, 5, 4, 3)).astype(np.float32)
    learned, fixed = (model_of(factor, "transposed", 3, learned=flag) for flag in (True, False))
    np.testing.assert_allclose(fixed(x), learned(x), atol=1e-6)
    assert len(learned.trainable_weights) == 1 and not fixed.weights


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 32])
@pytest.mark.parametrize("how", [how for how in UPSAMPLINGS if how != "unpool"])
def test_it_is_exactly_so_many_times_larger(how, factor):
    x = np.ones((1, 5, 3, 2), np.float32)
    model = model_of(factor, how, 2)
    assert model(x).shape == (1, 5 * factor, 3 * factor, 2)
    assert model.compute_output_shape((1, 5, 3, 2)) == (1, 5 * factor, 3 * factor, 2)


def test_the_size_is_that_whose_convolution_has_the_inputs_size():
    """d2l's FCN: 10 x 15 to 320 x 480 with a kernel of 64 and a stride of 32."""
    large = model_of(32, "transposed")(np.ones((1, 10, 15, 1), np.float32))
    assert large.shape == (1, 320, 480, 1)
    again = keras.layers.Conv2D(1, 64, strides=32, padding="same")(large)
    assert again.shape == (1, 10, 15, 1)


def test_transposed_is_the_transposed_matrix():
    """Of the convolution as a matrix W, [2 * 3 values, 4 * 6 pixels]."""
    random = np.random.RandomState(0)
    kernel = random.normal(size=(4, 4, 1, 1)).astype(np.float32)
    pixels = np.eye(24, dtype=np.float32).reshape(24, 4, 6, 1)
    matrix = np.asarray(tf.nn.conv2d(pixels, kernel, 2, "SAME")).reshape(24, 6).T
    layer = keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same", use_bias=False)
    layer.build((None, None, None, 1))
    layer.set_weights([kernel])
    y = random.normal(size=(2, 3)).astype(np.float32)
    np.testing.assert_allclose(
        flat(layer(y[None, :, :, None])), (matrix.T @ y.ravel()).reshape(4, 6), atol=1e-5
    )


def checkerboard(model, stride):
    """Share of the variance of the output of a constant that repeats with the stride."""
    inside = flat(model(np.ones((1, 8, 8, 1), np.float32)))[2 * stride : -2 * stride, :]
    inside = inside[:, 2 * stride : -2 * stride]
    phases = inside.reshape(-1, stride, inside.shape[1] // stride, stride).mean((0, 2))
    return phases.std() / np.abs(inside).mean()


def test_bilinear_draws_no_checkerboard():
    random = model_of(2, "transposed")
    random.set_weights([np.random.RandomState(0).normal(size=(4, 4, 1, 1))])
    assert checkerboard(random, 2) > 0.1
    for how in ("bilinear", "bicubic", "nearest"):
        assert checkerboard(model_of(2, how), 2) < 1e-6
    x = keras.Input((None, None, 1))
    convolved = keras.layers.Conv2D(1, 3, padding="same", kernel_initializer="he_normal")(x)
    assert checkerboard(keras.Model(x, upsample(convolved, 2, "bilinear")), 2) < 1e-6


def test_a_convolution_makes_the_channels_where_there_are_no_weights():
    model = model_of(2, "nearest", 3, filters=5, name="seg_up")
    assert [layer.name for layer in model.layers[1:]] == ["seg_up_conv", "seg_up"]
    assert model.output.shape == (None, None, None, 5)
    x = np.random.RandomState(0).normal(size=(1, 2, 2, 3)).astype(np.float32)
    convolved = model.get_layer("seg_up_conv")(x).numpy()
    np.testing.assert_array_equal(model(x), convolved.repeat(2, 1).repeat(2, 2))


def test_an_unknown_way():
    with pytest.raises(ValueError, match="no way 'bilinaer'.*did you mean bilinear"):
        upsample(keras.Input((4, 4, 1)), 2, "bilinaer")
    with pytest.raises(ValueError, match="known: transposed, bilinear"):
        upsample(keras.Input((4, 4, 1)), 2, "zzz")


# === Max unpooling ===


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 7), (6, 3)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_each_maximum_goes_back_to_its_place(size, batch, dtype):
    x = np.random.RandomState(0).permutation(batch * size[0] * size[1] * 3) + 1.0
    x = tf.cast(x.reshape(batch, *size, 3) / 4, dtype)
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"
    pooled, indices = MaxPoolIndices(dtype=policy)(x)
    found = MaxUnpool(dtype=policy)([pooled, indices, x])
    assert pooled.shape == (batch, -(-size[0] // 2), -(-size[1] // 2), 3)
    assert (pooled.dtype, indices.dtype, found.dtype) == (dtype, "int64", dtype)
    kept = np.asarray(tf.cast(found, tf.float32))
    whole = np.asarray(tf.cast(x, tf.float32))
    assert (kept[kept != 0] == whole[kept != 0]).all()
    again, places = MaxPoolIndices(dtype=policy)(found)
    np.testing.assert_array_equal(tf.cast(again, tf.float32), tf.cast(pooled, tf.float32))
    np.testing.assert_array_equal(places, indices)


def test_the_gradient_flows_through_the_maxima_alone():
    x = tf.Variable(np.random.RandomState(0).permutation(2 * 5 * 3 * 2).reshape(2, 5, 3, 2) * 1.0)
    x = tf.Variable(tf.cast(x, tf.float32))
    factors = np.random.RandomState(1).normal(size=x.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        pooled, indices = MaxPoolIndices()(x)
        found = MaxUnpool()([pooled, indices, x])
        total = tf.reduce_sum(found * factors)
    is_maximum = np.isin(np.arange(x.numpy().size).reshape(x.shape), indices)
    np.testing.assert_array_equal(tape.gradient(total, x), factors * is_maximum)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 2)])
def test_bilinear_to_the_size_of_another_map(size):
    x = np.random.RandomState(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    found = Bilinear()([x, np.zeros((2, *size, 1), np.float32)])
    np.testing.assert_allclose(found, tf.image.resize(x, size), atol=1e-6)
    half = Bilinear(dtype="mixed_bfloat16")([x, np.zeros((2, *size, 1), np.float32)])
    assert half.dtype == "bfloat16"


# === Graphs ===


@pytest.mark.parametrize("how", [how for how in UPSAMPLINGS if how != "unpool"])
@pytest.mark.parametrize("learned", [True, False])
def test_a_graph_that_does_not_know_the_sides(how, learned):
    """Keras' UpSampling2D cannot interpolate in one."""
    model = model_of(2, how, channels=3, learned=learned)
    run = tf.function(
        lambda x: model(x, training=False),
        input_signature=[tf.TensorSpec([None, None, None, 3])],
        autograph=False,
    )
    x = np.random.RandomState(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(run(x), model(x), atol=1e-6)

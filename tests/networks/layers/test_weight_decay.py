"""Weight decay: the mean of squares of every trainable kernel and bias, and nothing else."""

import keras
import numpy as np
import pytest

from mrcnn.networks.layers.normalization import BatchNorm
from mrcnn.networks.layers.weight_decay import MeanL2, add_weight_decay
from mrcnn.networks.mask_rcnn.mask_head import MaskPrediction
from tests.networks import layer_cases as cases

RATE = 0.01


def mean_square(layer):
    """Of the layer's kernel plus of its bias."""
    return sum(
        np.sum(np.square(part.astype(np.float64))) / part.size for part in layer.get_weights()
    )


@pytest.fixture
def model():
    image = keras.Input((8, 8, 3))
    rows, index = keras.Input((2,), dtype="int32"), keras.Input((2,), dtype="int32")
    x = keras.layers.Conv2D(4, 3, name="conv", bias_initializer="random_normal")(image)
    x = BatchNorm(name="bn", gamma_initializer="random_normal", beta_initializer="random_normal")(x)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise", bias_initializer="random_normal")(x)
    nested = keras.Sequential(
        [
            keras.Input((4, 4, 4)),
            keras.layers.Conv2DTranspose(
                2, 2, strides=2, name="deconv", bias_initializer="random_normal"
            ),
        ],
        name="nested",
    )
    masks = MaskPrediction(3, name="mask", bias_initializer="random_normal")(
        [nested(x), rows, index]
    )
    dense = keras.layers.Dense(5, use_bias=False, name="dense")(keras.layers.Flatten()(x))
    return keras.Model([image, rows, index], [masks, dense])


def layer_of(model, name):
    return {layer.name: layer for layer in model._flatten_layers()}[name]


REGULARISED = ("conv", "depthwise", "deconv", "mask", "dense")


def test_the_penalty_is_rate_times_sum_of_squares_over_size():
    weight = np.random.RandomState(0).normal(size=(3, 3, 4, 8)).astype(np.float32)
    expected = RATE * np.sum(np.square(weight, dtype=np.float64)) / weight.size
    np.testing.assert_allclose(MeanL2(RATE)(weight), expected, rtol=1e-6)


def test_kernels_and_biases_of_all_layers_and_no_scales(model):
    assert model.losses == []
    add_weight_decay(model, RATE)
    assert len(model.losses) == 9  # five kernels and four biases
    expected = RATE * sum(mean_square(layer_of(model, name)) for name in REGULARISED)
    np.testing.assert_allclose(sum(model.losses), expected, rtol=1e-5)


@pytest.mark.parametrize("frozen", [["conv"], ["deconv", "mask"], ["bn"], list(REGULARISED)])
def test_only_trainable_weights_count(model, frozen):
    add_weight_decay(model, RATE)
    for name in frozen:
        layer_of(model, name).trainable = False
    expected = RATE * sum(
        mean_square(layer_of(model, name)) for name in REGULARISED if name not in frozen
    )
    np.testing.assert_allclose(sum(map(float, model.losses)), expected, rtol=1e-5)
    for name in frozen:
        layer_of(model, name).trainable = True
    assert len(model.losses) == 9


def test_no_decay(model):
    add_weight_decay(model, 0)
    assert sum(map(float, model.losses)) == 0


def test_it_survives_serialisation(model):
    add_weight_decay(model, RATE)
    restored = keras.models.model_from_json(model.to_json())
    restored.set_weights(model.get_weights())
    assert len(restored.losses) == 9
    np.testing.assert_allclose(sum(restored.losses), sum(model.losses), rtol=1e-6)
    regularizer = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(MeanL2(0.5))
    )
    assert isinstance(regularizer, MeanL2) and regularizer.rate == 0.5


def test_its_gradient_is_twice_the_weight_over_its_size():
    """Decay of one SGD step of a model whose only loss it is."""
    image = keras.Input((4, 4, 2))
    layer = keras.layers.Conv2D(3, 3, bias_initializer="ones")
    model = keras.Model(image, layer(image))
    add_weight_decay(model, RATE)
    model.compile(keras.optimizers.SGD(1.0), jit_compile=False)
    before = model.get_weights()
    model.fit(np.zeros((2, 4, 4, 2), np.float32), batch_size=2, verbose=0)
    for new, old in zip(model.get_weights(), before):
        np.testing.assert_allclose(new, old * (1 - 2 * RATE / old.size), rtol=1e-6)


def test_layers_without_kernel_are_left_alone():
    tensors = cases.symbolic(cases.GRAPH_LAYERS["BoxLoss"].inputs(1))
    model = keras.Model(tensors, cases.GRAPH_LAYERS["BoxLoss"].make()(tensors))
    add_weight_decay(model, RATE)
    assert not model.trainable_variables

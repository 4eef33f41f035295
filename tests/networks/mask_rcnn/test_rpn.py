"""RPN against a few lines of NumPy on the same weights."""

import keras
import numpy as np
import pytest

from mrcnn.networks.mask_rcnn.rpn import build_rpn_model, rpn_over_pyramid
from tests.networks.backbones.test_resnet import convolve
from tests.tiny import randomize, tiny_config

RNG = np.random.RandomState(0)


def weights(model, name):
    return [weight.numpy() for weight in model.get_layer(name).weights]


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def rpn_in_numpy(model, feature_map, stride, further=()):
    shared = np.maximum(
        convolve(feature_map, *weights(model, "rpn_conv_shared"), stride=stride, pad=1), 0
    )
    for name in further:
        shared = np.maximum(convolve(shared, *weights(model, name), pad=1), 0)
    logits = convolve(shared, *weights(model, "rpn_class_raw")).reshape(-1, 2)
    return (
        logits,
        softmax(logits),
        convolve(shared, *weights(model, "rpn_bbox_pred")).reshape(-1, 4),
    )


def test_rpn_on_one_level_in_numpy():
    model = build_rpn_model(1, 3, depth=4, filters=6)
    randomize(model)
    feature_map = RNG.randn(2, 5, 7, 4).astype(np.float32)
    found = model(feature_map)
    assert [tensor.shape for tensor in found] == [(2, 105, 2), (2, 105, 2), (2, 105, 4)]
    for image in range(2):
        for values, expected in zip(found, rpn_in_numpy(model, feature_map[image], 1)):
            np.testing.assert_allclose(values[image], expected, rtol=1e-4, atol=1e-4)
    assert model.get_layer("rpn_class_xxx") and model.name == "rpn_model"


def test_rpn_with_anchors_on_every_other_cell():
    model = build_rpn_model(2, 3, depth=4, filters=6)
    logits, _, bbox = model(np.zeros((1, 6, 8, 4), np.float32))
    assert logits.shape == (1, 3 * 4 * 3, 2) and bbox.shape == (1, 3 * 4 * 3, 4)


@pytest.mark.parametrize("stride", [1, 2])
def test_several_convolutions_in_numpy(stride):
    """TensorFlow pads a strided convolution of an odd map evenly, as this NumPy one does."""
    model = build_rpn_model(stride, 2, depth=4, filters=6, convolutions=3)
    randomize(model)
    further = ("rpn_conv_shared2", "rpn_conv_shared3")
    assert [layer.name for layer in model.layers if layer.weights] == [
        "rpn_conv_shared",
        *further,
        "rpn_class_raw",
        "rpn_bbox_pred",
    ]
    feature_map = RNG.randn(2, 5, 7, 4).astype(np.float32)
    for image in range(2):
        expected = rpn_in_numpy(model, feature_map[image], stride, further)
        assert len(expected[0]) == (70 if stride == 1 else 24)
        for values, wanted in zip(model(feature_map), expected):
            np.testing.assert_allclose(values[image], wanted, rtol=1e-4, atol=1e-4)


def test_the_number_of_convolutions_is_a_field():
    for count in (1, 2):
        config = tiny_config(TOP_DOWN_PYRAMID_SIZE=4, RPN_CONV_CHANNELS=6, RPN_CONV_LAYERS=count)
        inputs = [keras.Input((side, side, 4)) for side in (8, 4, 2, 2, 1)]
        rpn = keras.Model(inputs, rpn_over_pyramid(inputs, config)).get_layer("rpn_model")
        names = [layer.name for layer in rpn.layers if layer.name.startswith("rpn_conv")]
        assert names == ["rpn_conv_shared", "rpn_conv_shared2"][:count]


def test_rpn_is_one_model_over_all_levels_finest_first():
    config = tiny_config(TOP_DOWN_PYRAMID_SIZE=4, RPN_CONV_CHANNELS=6)
    inputs = [keras.Input((side, side, 4)) for side in (8, 4, 2, 2, 1)]
    outputs = rpn_over_pyramid(inputs, config)
    model = keras.Model(inputs, outputs)
    randomize(model)
    assert model.output_names == ["rpn_class_logits", "rpn_class", "rpn_bbox"]
    assert [layer.name for layer in model.layers if layer.weights] == ["rpn_model"]
    levels = [RNG.randn(1, side, side, 4).astype(np.float32) for side in (8, 4, 2, 2, 1)]
    for position, values in enumerate(model(levels)):
        expected = np.concatenate(
            [model.get_layer("rpn_model")(level)[position] for level in levels], axis=1
        )
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)

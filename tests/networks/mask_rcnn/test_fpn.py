"""FPN against a few lines of NumPy on the same weights."""

import keras
import numpy as np

from mrcnn.networks.mask_rcnn.fpn import fpn_graph
from tests.networks.backbones.test_resnet import convolve
from tests.tiny import randomize

RNG = np.random.RandomState(0)


def weights(model, name):
    return [weight.numpy() for weight in model.get_layer(name).weights]


def test_fpn_in_numpy():
    sides = {level: (2 * 2 ** (5 - level), 4 * 2 ** (5 - level)) for level in (2, 3, 4, 5)}
    inputs = [keras.Input((*sides[level], level)) for level in (2, 3, 4, 5)]
    model = keras.Model(inputs, fpn_graph(inputs, 3))
    randomize(model)
    stages = {level: RNG.randn(1, *sides[level], level).astype(np.float32) for level in sides}
    found = [np.array(level)[0] for level in model(list(stages.values()))]

    merged = convolve(stages[5][0], *weights(model, "fpn_c5p5"))
    pyramid = {5: convolve(merged, *weights(model, "fpn_p5"), pad=1)}
    for level in (4, 3, 2):
        above = merged.repeat(2, axis=0).repeat(2, axis=1)  # nearest neighbour
        merged = above + convolve(stages[level][0], *weights(model, f"fpn_c{level}p{level}"))
        pyramid[level] = convolve(merged, *weights(model, f"fpn_p{level}"), pad=1)
    pyramid[6] = pyramid[5][::2, ::2]
    for level, values in zip(range(2, 7), found):
        np.testing.assert_allclose(
            values, pyramid[level], rtol=1e-4, atol=1e-4, err_msg=f"P{level}"
        )


def test_fpn_layer_names():
    inputs = [keras.Input((64 // 2**level, 64 // 2**level, 2)) for level in range(4)]
    model = keras.Model(inputs, fpn_graph(inputs, 3))
    assert {
        "fpn_p5upsampled",
        "fpn_p4upsampled",
        "fpn_p3upsampled",
        "fpn_p4add",
        "fpn_p3add",
        "fpn_p2add",
        "fpn_p6",
    } <= {layer.name for layer in model.layers}

"""FPN against a few lines of NumPy on the same weights."""

import keras
import numpy as np
import pytest

from mrcnn.inference.graph import Detector
from mrcnn.networks.mask_rcnn.build import inference_model
from mrcnn.networks.mask_rcnn.fpn import fpn_graph
from mrcnn.ops.anchors import compute_backbone_shapes
from tests.networks.backbones.test_resnet import convolve
from tests.tiny import Rectangles, image, randomize, tiny_config

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


@pytest.mark.parametrize("strides", [[4, 8, 16, 16, 32], [4, 8, 8, 8, 16]])
def test_dilated_stages(strides):
    """The maps have the sizes that the anchors are made for, and the weights those of the network
    that halves them.
    """
    small = dict(BACKBONE="resnet50", IMAGE_MIN_DIM=128, IMAGE_MAX_DIM=128)
    config = tiny_config(BACKBONE_STRIDES=strides, **small)
    model = inference_model(config)
    levels = [model.get_layer(f"fpn_p{level}").output for level in range(2, 7)]
    found = keras.Model(model.inputs[0], levels).compute_output_shape((1, 128, 128, 3))
    sides = [shape[1] for shape in found]
    assert sides == compute_backbone_shapes(config, (128, 128))[:, 0].tolist()
    halving = inference_model(tiny_config(**small))
    assert {weight.path: weight.shape for weight in model.weights} == {
        weight.path: weight.shape for weight in halving.weights
    }
    randomize(model, 1)
    images = image(128, 192, 0)[np.newaxis].astype(np.float32) - 120
    detections, masks = Detector(model, config).predict(images, np.float32([(0, 0, 128, 192)]))
    assert (detections[..., 5] > 0).any() and np.isfinite(masks).all()


def test_training_with_a_dilated_stage(tmp_path):
    from mrcnn.model import MaskRCNN

    small = dict(BACKBONE="resnet50", IMAGE_MIN_DIM=64, IMAGE_MAX_DIM=64, REMATERIALIZE=True)
    steps = dict(STEPS_PER_EPOCH=1, VALIDATION_STEPS=1)
    config = tiny_config(BACKBONE_STRIDES=[4, 8, 16, 16, 32], **small, **steps)
    model = MaskRCNN("training", config, str(tmp_path))
    history = model.train(Rectangles(4), Rectangles(2), 0.001, 1, "all", workers=1, verbose=0)
    del history
    assert np.isfinite(model.keras_model.get_layer("fpn_c5p5").get_weights()[0]).all()

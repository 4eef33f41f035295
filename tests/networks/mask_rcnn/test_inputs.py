"""NormalizeBoxes and Anchors, against the formula and the NumPy anchors."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.inputs import Anchors, NormalizeBoxes
from mrcnn.ops.anchors import pyramid_anchors
from mrcnn.ops.boxes_np import norm_boxes
from tests.networks import layer_cases as cases


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_boxes_are_normalised_by_the_images_they_come_with(batch):
    boxes = np.random.RandomState(0).randint(0, 60, (batch, 5, 4))
    normalised = NormalizeBoxes()([boxes, np.zeros((batch, 64, 128, 3), np.float32)])
    assert normalised.dtype == "float32"
    expected = (boxes - np.array([0, 0, 1, 1])) / np.array([63, 127, 63, 127])
    np.testing.assert_allclose(normalised, expected, rtol=1e-6, atol=1e-7)


def test_boxes_are_normalised_by_their_edges():
    boxes = np.random.RandomState(0).randint(0, 60, (2, 5, 4))
    layer = NormalizeBoxes({"BOX_SHIFT": 0})
    normalised = layer([boxes, np.zeros((2, 64, 128, 3), np.float32)])
    np.testing.assert_allclose(normalised, boxes / np.array([64, 128, 64, 128]), rtol=1e-6)
    again = NormalizeBoxes.from_config(layer.get_config())
    assert again.settings == {"BOX_SHIFT": 0}


def test_no_boxes():
    assert NormalizeBoxes()([np.zeros((2, 0, 4)), np.zeros((2, 64, 64, 3))]).shape == (2, 0, 4)


def feature_maps(batch, height, width):
    """Images and P2 to P6 of a ResNet."""
    sides = [(height // stride, width // stride) for stride in (1, 4, 8, 16, 32, 64)]
    return [np.zeros((batch, *side, 3), np.float32) for side in sides]


@pytest.mark.parametrize("batch, height, width", [(1, 64, 64), (3, 64, 64), (2, 128, 320)])
@pytest.mark.parametrize("stride", [1, 2])
def test_anchors_are_those_of_numpy_to_the_bit(batch, height, width, stride):
    config = type("Settings", (cases.TinyConfig,), {"RPN_ANCHOR_STRIDE": stride})()
    pixels = pyramid_anchors(config, (height, width, 3))
    layer = Anchors(config)
    traced = tf.function(layer, input_signature=[[tf.TensorSpec([None] * 4)] * 6])
    for found in (
        layer(feature_maps(batch, height, width)),
        traced(feature_maps(batch, height, width)),
    ):
        assert found.shape == (batch, len(pixels), 4) and found.dtype == tf.float32
        for anchors in found:
            np.testing.assert_array_equal(anchors, norm_boxes(pixels, (height, width)))


def test_a_backbone_of_ones_own_has_the_cells_that_it_has():
    maps = [np.zeros((1, side, side, 3), np.float32) for side in (64, 9, 5, 3, 2, 1)]
    layer = Anchors(cases.CONFIG)
    assert layer(maps).shape == (1, 3 * (81 + 25 + 9 + 4 + 1), 4)
    clone = Anchors.from_config(layer.get_config())
    np.testing.assert_array_equal(clone(maps), layer(maps))


def ceil_maps(batch, height, width):
    """Images and P2 to P6 where P6 has half of the cells of P5, rounded up."""
    sides = [(-(-height // stride), -(-width // stride)) for stride in (1, 4, 8, 16, 32, 64)]
    return [np.zeros((batch, *side, 3), np.float32) for side in sides]


@pytest.mark.parametrize("batch, height, width", [(1, 96, 160), (2, 800, 64), (3, 32, 352)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shift", [0, 1])
def test_anchors_of_torchvision_to_the_bit(batch, height, width, stride, shift):
    fields = {
        "RPN_ANCHOR_STRIDE": stride,
        "RPN_ANCHOR_RATIOS": (2, 1, 0.5),
        "RPN_ANCHORS_ROUNDED": True,
        "RPN_STRIDES_FROM_SIZES": True,
        "BOX_SHIFT": shift,
    }
    config = type("Settings", (cases.TinyConfig,), fields)()
    pixels = pyramid_anchors(config, (height, width, 3))
    layer, maps = Anchors(config), ceil_maps(batch, height, width)
    traced = tf.function(layer, input_signature=[[tf.TensorSpec([None] * 4)] * 6])
    for found in (layer(maps), traced(maps)):
        assert found.shape == (batch, len(pixels), 4)
        for anchors in found:
            np.testing.assert_array_equal(anchors, norm_boxes(pixels, (height, width), shift))
    # each of the fields makes a difference here
    for field, other in (
        ("RPN_ANCHORS_ROUNDED", False),
        ("RPN_STRIDES_FROM_SIZES", False),
        ("BOX_SHIFT", 1 - shift),
    ):
        changed = Anchors(type("Changed", (type(config),), {field: other})())
        assert not np.array_equal(changed(maps)[0], found[0]), field


def test_settings_of_a_file_of_an_earlier_version():
    stored = Anchors(cases.CONFIG).get_config()
    old = ("RPN_ANCHOR_SCALES", "RPN_ANCHOR_RATIOS", "RPN_ANCHOR_STRIDE", "BACKBONE_STRIDES")
    stored["config"] = {field: stored["config"][field] for field in old}
    layer = Anchors.from_config(stored)
    assert layer.settings == Anchors(cases.CONFIG).settings
    stored = NormalizeBoxes().get_config()
    del stored["config"]
    assert NormalizeBoxes.from_config(stored).settings == {"BOX_SHIFT": 1}

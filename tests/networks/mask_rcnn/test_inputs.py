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

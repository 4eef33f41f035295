"""NormalizeBoxes and Anchors, against the formula and the NumPy anchors."""

import numpy as np
import pytest

from mrcnn.networks.mask_rcnn.inputs import Anchors, NormalizeBoxes
from mrcnn.ops.anchors import pyramid_anchors
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


@pytest.mark.parametrize("batch", [1, 3])
def test_anchors_are_the_normalised_anchors_of_the_config(batch):
    anchors = Anchors(cases.CONFIG)(np.zeros((batch, 64, 64, 3), np.float32))
    pixels = pyramid_anchors(cases.CONFIG, cases.CONFIG.IMAGE_SHAPE)
    assert anchors.shape == (batch, len(pixels), 4)
    for image in range(batch):
        np.testing.assert_allclose(
            anchors[image], (pixels - [0, 0, 1, 1]) / 63, rtol=1e-6, atol=1e-7
        )


def test_a_backbone_of_ones_own_survives_serialisation():
    """The callable itself cannot be stored; the shapes it gave can."""

    class Settings(cases.TinyConfig):
        BACKBONE = staticmethod(lambda *_, **__: None)
        COMPUTE_BACKBONE_SHAPE = staticmethod(
            lambda shape: np.array([[9, 9], [5, 5], [3, 3], [2, 2], [1, 1]])
        )

    layer = Anchors(Settings())
    images = np.zeros((1, 64, 64, 3), np.float32)
    clone = Anchors.from_config(layer.get_config())
    assert clone.shapes == [[9, 9], [5, 5], [3, 3], [2, 2], [1, 1]]
    assert layer(images).shape == (1, 3 * (81 + 25 + 9 + 4 + 1), 4)
    np.testing.assert_array_equal(clone(images), layer(images))

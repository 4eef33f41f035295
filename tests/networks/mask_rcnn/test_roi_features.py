"""PyramidROIAlign and its variant for selected RoIs: the original's numbers, loops, rows."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.roi_features import PyramidROIAlign, SelectedROIAlign
from tests import twins
from tests.networks import layer_cases as cases
from tests.paths import PARITY as PARITY_FOLDER

PARITY = np.load(PARITY_FOLDER / "layers_roi_align.npz")


@pytest.mark.parametrize("side, step", [(7, 1), (14, 3)])
def test_pooled_features_are_the_originals(side, step):
    """Two of its eight channels; ten boxes of the first image are zeros."""
    boxes = PARITY["boxes"][:, ::step]
    assert not boxes[0, -1].any()
    pooled = PyramidROIAlign([side, side])(
        [boxes, PARITY["meta"], *(PARITY[f"p{level}"] for level in range(2, 6))]
    )
    np.testing.assert_allclose(pooled, PARITY[f"out_{side}"], atol=2e-6)


@pytest.mark.parametrize("batch, rois", [(1, 1), (2, 6), (3, 9)])
def test_against_loops(batch, rois):
    boxes, meta, *maps = cases.align_inputs(np.random.RandomState(1), batch, rois)
    pooled = PyramidROIAlign([3, 2])([boxes, meta, *maps])
    for image in range(batch):
        expected = twins.roi_align(
            boxes[image], cases.IMAGE_SHAPE, [level[image] for level in maps], (3, 2)
        )
        np.testing.assert_allclose(pooled[image], expected, atol=2e-5)


def test_the_level_depends_on_the_images_size():
    box = np.float32([[[0.1, 0.1, 0.4, 0.4]]])
    maps = [np.full((1, 8, 8, 1), level, np.float32) for level in range(2, 6)]
    for side, level in ((64, 2), (768, 4), (2048, 5)):
        pooled = PyramidROIAlign([2, 2])([box, cases.meta(1, (side, side, 3)), *maps])
        np.testing.assert_array_equal(pooled, np.full((1, 1, 2, 2, 1), level))


def test_selected_rois_are_rows_of_all_rois():
    boxes, ids, meta, *maps = cases.selected_inputs(np.random.RandomState(2), 3, 8)
    everything = PyramidROIAlign([3, 3])([boxes, meta, *maps]).numpy()
    selected = SelectedROIAlign([3, 3])([boxes, ids, meta, *maps])
    assert 3 <= len(selected) < 24
    np.testing.assert_array_equal(selected, everything[ids > 0])


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_with_no_object_the_first_roi_stands_in(dtype):
    boxes, ids, meta, *maps = cases.selected_inputs(np.random.RandomState(3), 2, 4)
    selected = SelectedROIAlign([3, 3])([boxes, np.zeros_like(ids, dtype), meta, *maps])
    np.testing.assert_array_equal(selected, PyramidROIAlign([3, 3])([boxes, meta, *maps])[0, :1])


@pytest.mark.parametrize("layer_class", [PyramidROIAlign, SelectedROIAlign])
def test_gradients_reach_the_features_and_not_the_boxes(layer_class):
    boxes, ids, meta, *maps = cases.selected_inputs(np.random.RandomState(4), 2, 4)
    boxes[:, 0], boxes[:, 1] = [0, 0, 3, 3.5], [0, 0, 1, 1]  # large ones, for the upper levels
    boxes, maps = tf.Variable(boxes), [tf.Variable(level) for level in maps]
    inputs = (
        [boxes, meta, *maps]
        if layer_class is PyramidROIAlign
        else [boxes, np.ones_like(ids), meta, *maps]
    )
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer_class([3, 3])(inputs))
    *gradients, none = tape.gradient(total, [*maps, boxes])
    assert none is None
    levels = {twins.roi_level(box, cases.IMAGE_SHAPE) - 2 for box in boxes.numpy().reshape(-1, 4)}
    assert levels == {0, 1, 2}
    for level, gradient in enumerate(gradients):
        assert tf.convert_to_tensor(gradient).numpy().any() == (level in levels)

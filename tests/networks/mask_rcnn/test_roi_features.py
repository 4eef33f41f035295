"""PyramidROIAlign and its packed form: the original's numbers, loops, rows."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.roi_features import PackedROIAlign, PyramidROIAlign, UnpackRows
from mrcnn.ops.packed_rows import PackedRows
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


def with_class_ids(seed, batch, rois):
    random = np.random.RandomState(seed)
    boxes, meta, *maps = cases.align_inputs(random, batch, rois)
    return [boxes, meta, *maps], cases.class_ids(random, batch, rois)


def test_objects_are_rows_of_all_rois():
    inputs, ids = with_class_ids(2, 3, 8)
    everything = PyramidROIAlign([3, 3])(inputs).numpy()
    pooled, rows, index = PackedROIAlign([3, 3])(inputs, class_ids=ids)
    count = np.count_nonzero(ids)
    assert 3 <= count < 24
    np.testing.assert_array_equal(pooled[:count], everything[ids > 0])
    back = PackedRows(rows, index).unpack(pooled)
    np.testing.assert_array_equal(back, everything * (ids > 0)[..., None, None, None])


@pytest.mark.parametrize("distinct", [False, True])
def test_without_class_ids_every_roi_is_there(distinct):
    inputs, _ = with_class_ids(3, 2, 6)
    inputs[0][:, 4:] = 0
    pooled, rows, index = PackedROIAlign([3, 3], distinct=distinct)(inputs)
    assert len(pooled) == (10 if distinct else 12)
    everything = PyramidROIAlign([3, 3])(inputs)
    np.testing.assert_array_equal(PackedRows(rows, index).unpack(pooled), everything)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_with_no_object_the_first_roi_stands_in(dtype):
    inputs, ids = with_class_ids(3, 2, 4)
    pooled, _, index = PackedROIAlign([3, 3])(inputs, class_ids=np.zeros_like(ids, dtype))
    np.testing.assert_array_equal(pooled, PyramidROIAlign([3, 3])(inputs)[0, :1])
    assert not index.numpy().any()


def test_vectors_are_put_back():
    rows, index = (np.int32(part) for part in ([[0, 1], [1, 0]], [[0, 1], [2, 2]]))
    values = np.float32([[1, 2], [3, 4]]).reshape(2, 1, 1, 2)
    expected = [[[0, 0], [1, 2]], [[3, 4], [3, 4]]]
    np.testing.assert_array_equal(UnpackRows()([values, rows, index]), expected)


@pytest.mark.parametrize("layer_class", [PyramidROIAlign, PackedROIAlign])
def test_gradients_reach_the_features_and_not_the_boxes(layer_class):
    (boxes, meta, *maps), _ = with_class_ids(4, 2, 4)
    boxes[:, 0], boxes[:, 1] = [0, 0, 3, 3.5], [0, 0, 1, 1]  # large ones, for the upper levels
    boxes, maps = tf.Variable(boxes), [tf.Variable(level) for level in maps]
    with tf.GradientTape() as tape:
        pooled = layer_class([3, 3])([boxes, meta, *maps])
        total = tf.reduce_sum(pooled[0] if isinstance(pooled, tuple) else pooled)
    *gradients, none = tape.gradient(total, [*maps, boxes])
    assert none is None
    levels = {twins.roi_level(box, cases.IMAGE_SHAPE) - 2 for box in boxes.numpy().reshape(-1, 4)}
    assert levels == {0, 1, 2}
    for level, gradient in enumerate(gradients):
        assert tf.convert_to_tensor(gradient).numpy().any() == (level in levels)

"""Boxes in NumPy: the original's numbers, and slow twins in plain Python."""

import math

import numpy as np
import pytest

from mrcnn.ops import boxes_np
from tests.paths import PARITY as PARITY_FOLDER

PARITY = np.load(PARITY_FOLDER / "utils_boxes.npz")


def random_boxes(seed, count, side=100, dtype=np.float64):
    random = np.random.RandomState(seed)
    low = random.randint(0, side, (count, 2))
    size = random.randint(0, side // 2, (count, 2))  # some without area
    return np.concatenate([low, low + size], axis=1).astype(dtype)


def slow_iou(a, b):
    height = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    width = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - height * width
    return height * width / union if union else 0.0


def assert_same(actual, expected):
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


# === The original's numbers ===


def test_overlaps_are_the_originals():
    assert_same(boxes_np.compute_overlaps(PARITY["boxes1"], PARITY["boxes2"]), PARITY["overlaps"])


@pytest.mark.parametrize("threshold", ["0.1", "0.3"])
def test_suppression_is_the_originals(threshold):
    kept = boxes_np.non_max_suppression(PARITY["boxes1"], PARITY["nms_scores"], float(threshold))
    assert_same(kept, PARITY["nms_" + threshold])


def test_deltas_are_the_originals():
    assert_same(boxes_np.apply_box_deltas(PARITY["boxes1"], PARITY["deltas"]), PARITY["applied"])
    assert_same(boxes_np.box_refinement(PARITY["boxes1"][:30], PARITY["boxes2"]), PARITY["refine"])


def test_normalised_boxes_are_the_originals():
    assert_same(boxes_np.norm_boxes(PARITY["boxes1"], (512, 640)), PARITY["norm"])
    assert_same(boxes_np.denorm_boxes(PARITY["norm"], (512, 640)), PARITY["denorm"])


# === Overlaps ===


@pytest.mark.parametrize("count1, count2", [(1, 1), (7, 13), (40, 3), (5, 9000)])
def test_overlaps_against_loops(count1, count2):
    boxes1, boxes2 = random_boxes(1, count1), random_boxes(2, count2)
    overlaps = boxes_np.compute_overlaps(boxes1, boxes2)
    chosen = np.random.RandomState(0).randint(0, count2, 50)
    for i in range(count1):
        for j in chosen:
            assert overlaps[i, j] == pytest.approx(slow_iou(boxes1[i], boxes2[j]), abs=1e-12)


def test_overlaps_do_not_depend_on_the_block_size(monkeypatch):
    boxes1, boxes2 = random_boxes(3, 101), random_boxes(4, 17)
    whole = boxes_np.compute_overlaps(boxes1, boxes2)
    monkeypatch.setattr(boxes_np, "_BLOCK_CELLS", 50)
    np.testing.assert_array_equal(boxes_np.compute_overlaps(boxes1, boxes2), whole)
    monkeypatch.setattr(boxes_np, "_BLOCK_CELLS", 1)
    np.testing.assert_array_equal(boxes_np.compute_overlaps(boxes1, boxes2), whole)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
def test_overlaps_are_float64_of_iou(dtype):
    boxes = random_boxes(5, 20, dtype=dtype)
    overlaps = boxes_np.compute_overlaps(boxes, boxes[:6])
    assert overlaps.dtype == np.float64
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for j in range(6):
        column = boxes_np.compute_iou(boxes[j], boxes, area[j], area)
        assert column.dtype == (np.float32 if dtype == np.float32 else np.float64)
        np.testing.assert_array_equal(overlaps[:, j], column)


@pytest.mark.parametrize("count1, count2", [(0, 4), (4, 0), (0, 0)])
def test_overlaps_of_no_boxes(count1, count2):
    overlaps = boxes_np.compute_overlaps(random_boxes(1, count1), random_boxes(2, count2))
    assert overlaps.shape == (count1, count2)
    assert overlaps.dtype == np.float64


def test_boxes_without_area_overlap_nothing():
    boxes = np.array([[5, 5, 5, 5], [0, 0, 10, 10], [3, 3, 3, 9]])
    overlaps = boxes_np.compute_overlaps(boxes, boxes)
    np.testing.assert_array_equal(overlaps, [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


# === Suppression ===


def slow_suppression(boxes, scores, threshold):
    left = sorted(range(len(boxes)), key=lambda i: -scores[i])
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if slow_iou(boxes[best], boxes[i]) <= threshold]
    return kept


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.0, 0.31, 0.7])
def test_suppression_against_loops(seed, threshold):
    boxes = random_boxes(seed, 60)
    scores = np.random.RandomState(seed).permutation(60) / 60  # no ties
    kept = boxes_np.non_max_suppression(boxes, scores, threshold)
    assert kept.tolist() == slow_suppression(boxes, scores, threshold)


def test_suppression_keeps_boxes_at_the_threshold():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)  # IoU exactly 0.5
    scores = np.array([0.9, 0.8])
    assert boxes_np.non_max_suppression(boxes, scores, 0.5).tolist() == [0, 1]
    assert boxes_np.non_max_suppression(boxes, scores, 0.49).tolist() == [0]


def test_suppression_of_one_box_and_of_none():
    assert boxes_np.non_max_suppression(np.array([[0, 0, 1, 1]]), [0.5], 0.3).tolist() == [0]
    none = boxes_np.non_max_suppression(np.zeros((0, 4)), np.zeros(0), 0.3)
    assert none.shape == (0,) and none.dtype == np.int32


# === Deltas ===


def test_deltas_and_refinement_undo_each_other():
    boxes = random_boxes(6, 50) + np.array([0, 0, 1, 1])
    targets = random_boxes(7, 50) + np.array([0, 0, 1, 1])
    deltas = boxes_np.box_refinement(boxes, targets)
    for box, target, delta in zip(boxes, targets, deltas):
        height, width = box[2] - box[0], box[3] - box[1]
        assert delta[0] == pytest.approx(
            ((target[0] + target[2]) / 2 - (box[0] + box[2]) / 2) / height, abs=1e-4
        )
        assert delta[3] == pytest.approx(math.log((target[3] - target[1]) / width), abs=1e-5)
    np.testing.assert_allclose(boxes_np.apply_box_deltas(boxes, deltas), targets, atol=1e-3)


def test_arguments_are_not_written_to():
    boxes = random_boxes(8, 9, dtype=np.float32)
    deltas = np.full((9, 4), 0.3, np.float32)
    before = boxes.copy(), deltas.copy()
    boxes_np.apply_box_deltas(boxes, deltas)
    boxes_np.box_refinement(boxes, boxes)
    np.testing.assert_array_equal(boxes, before[0])
    np.testing.assert_array_equal(deltas, before[1])


def test_refinement_of_boxes_without_area_is_zero_and_silent():
    boxes = np.array([[0, 0, 0, 5], [0, 0, 10, 10], [0, 0, 10, 10]])
    targets = np.array([[0, 0, 5, 5], [4, 4, 4, 4], [10, 0, 30, 10]])
    with np.errstate(all="raise"):
        deltas = boxes_np.box_refinement(boxes, targets)
    np.testing.assert_array_equal(deltas[:2], 0)
    np.testing.assert_allclose(deltas[2], [1.5, 0, math.log(2), 0], rtol=1e-6)


# === Normalised coordinates ===


def test_whole_image_is_zero_to_one():
    normalised = boxes_np.norm_boxes(np.array([[0, 0, 48, 63]]), (48, 63))
    assert normalised.dtype == np.float32
    np.testing.assert_array_equal(normalised, [[0, 0, 1, 1]])


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (17, 1001)])
def test_normalising_and_back(shape):
    boxes = np.array([[0, 0, shape[0], shape[1]], [0, 0, 1, 1]])
    normalised = boxes_np.norm_boxes(boxes, shape)
    assert np.isfinite(normalised).all()
    np.testing.assert_array_equal(boxes_np.denorm_boxes(normalised, shape), boxes)
    batch = boxes_np.norm_boxes(boxes[np.newaxis], shape)
    np.testing.assert_array_equal(batch[0], normalised)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1)])
def test_a_box_stays_inside_of_an_image_of_one_pixel(shape):
    """Whatever part of it the network found: a mask is pasted there."""
    boxes = boxes_np.denorm_boxes(np.random.RandomState(0).rand(50, 4), shape)
    for axis in (0, 1):
        if shape[axis] == 1:
            np.testing.assert_array_equal(boxes[:, [axis, axis + 2]], [[0, 1]] * 50)


# === Padding ===


def test_trim_zeros():
    rows = np.array([[0, 0], [0, 1], [0, 0], [-1, 0]])
    np.testing.assert_array_equal(boxes_np.trim_zeros(rows), [[0, 1], [-1, 0]])
    assert boxes_np.trim_zeros(np.zeros((3, 4))).shape == (0, 4)
    with pytest.raises(ValueError, match=r"\[rows, columns\].*\(3,\)"):
        boxes_np.trim_zeros(np.zeros(3))

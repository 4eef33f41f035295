"""The functions of ops.boxes and of ops.boxes_np agree, where nothing can be computed too."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.ops import boxes, boxes_np
from mrcnn.ops.boxes_np import MAX_LOG_SCALE

# a box, a line, a point, padding, a box turned over, and one far away
ODD = np.float32(
    [
        [2, 3, 12, 9],
        [2, 3, 2, 9],
        [5, 5, 5, 5],
        [0, 0, 0, 0],
        [9, 9, 4, 4],
        [-50, 200, 30, 900],
    ]
)
PAIRS = np.repeat(ODD, len(ODD), axis=0), np.tile(ODD, (len(ODD), 1))


def random_boxes(seed, count=60):
    random = np.random.RandomState(seed)
    low = random.uniform(0, 60, (count, 2))
    return np.hstack([low, low + random.uniform(0.5, 50, (count, 2))]).astype(np.float32)


def deltas(*log_scales):
    random = np.random.RandomState(3)
    shifts = random.uniform(-0.5, 0.5, (len(log_scales), 2))
    return np.hstack([shifts, np.array(log_scales)[:, None].repeat(2, 1)]).astype(np.float32)


@pytest.mark.parametrize(
    "first, second",
    [(random_boxes(0), random_boxes(1, 7)), (ODD, ODD), (ODD[:0], ODD), (ODD, ODD[:0])],
    ids=["boxes", "odd", "none", "of none"],
)
def test_overlaps(first, second):
    expected = boxes_np.compute_overlaps(first, second)
    np.testing.assert_allclose(boxes.pairwise_iou(first, second), expected, atol=1e-6)


@pytest.mark.parametrize(
    "first, second", [(random_boxes(0), random_boxes(1)), PAIRS], ids=["boxes", "odd"]
)
def test_refinement(first, second):
    expected = boxes_np.box_refinement(first, second)
    with tf.GradientTape() as tape:
        tape.watch(moved := tf.constant(first))
        found = boxes.box_refinement(moved, second)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.isfinite(expected).all() and np.isfinite(tape.gradient(found, moved)).all()


@pytest.mark.parametrize(
    "first, moves",
    [
        (random_boxes(0, 3), deltas(-2, 0, 0.7)),
        (ODD[:5], deltas(0, 1, -1, 0, 1)),
        (ODD[:3], deltas(MAX_LOG_SCALE, 50, 1000)),
    ],
    ids=["boxes", "odd", "huge"],
)
def test_moves(first, moves):
    expected = boxes_np.apply_box_deltas(first, moves)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(boxes.apply_box_deltas(first, moves), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(512, 640), (2, 7), (1, 40), (1, 1)])
def test_normalised_and_back(shape):
    pixels = np.random.RandomState(5).randint(0, 640, (3, 11, 4))
    expected = boxes_np.norm_boxes(pixels, shape)
    found = boxes.norm_boxes(pixels, shape)
    assert found.dtype == tf.float32 and np.isfinite(expected).all()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(
        boxes.denorm_boxes(found, shape), boxes_np.denorm_boxes(expected, shape)
    )


@pytest.mark.parametrize("limit", [0.5, 4.135])
def test_moves_with_a_limit(limit):
    first, moves = random_boxes(0, 4), deltas(-2, 0, 0.7, 5)
    expected = boxes_np.apply_box_deltas(first, moves, limit)
    assert not np.array_equal(expected, boxes_np.apply_box_deltas(first, moves))
    found = boxes.apply_box_deltas(first, moves, limit)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(512, 640), (2, 7), (1, 1)])
def test_normalised_by_edges_and_back(shape):
    pixels = np.random.RandomState(6).randint(0, 640, (3, 11, 4))
    expected = boxes_np.norm_boxes(pixels, shape, 0)
    np.testing.assert_allclose(expected * np.array([*shape, *shape]), pixels, rtol=1e-6)
    found = boxes.norm_boxes(pixels, shape, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    for denormalised in (
        boxes.denorm_boxes(found, shape, 0),
        boxes_np.denorm_boxes(expected, shape, 0),
    ):
        np.testing.assert_array_equal(denormalised, pixels)

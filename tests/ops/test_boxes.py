"""Boxes as tensors, against loops and against their NumPy twins."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.ops import boxes as box_ops
from tests import twins


def random_deltas(random, *shape):
    return random.uniform(-0.5, 0.5, (*shape, 4)).astype(np.float32)


@pytest.mark.parametrize("shape", [(9,), (2, 7), (3, 2, 5), (0,), (2, 0)])
def test_deltas_against_loops(shape):
    random = np.random.RandomState(1)
    boxes, deltas = twins.random_boxes(random, *shape), random_deltas(random, *shape)
    actual = box_ops.apply_box_deltas(boxes, deltas)
    assert actual.dtype == tf.float32 and actual.shape == boxes.shape
    for index in np.ndindex(*shape):
        np.testing.assert_allclose(
            actual[index], twins.apply_deltas(boxes[index], deltas[index]), atol=2e-6
        )


@pytest.mark.parametrize("shape", [(9,), (2, 7), (0,)])
def test_refinement_against_loops_and_back(shape):
    random = np.random.RandomState(2)
    boxes, gt_boxes = twins.random_boxes(random, *shape), twins.random_boxes(random, *shape)
    deltas = box_ops.box_refinement(boxes, gt_boxes)
    for index in np.ndindex(*shape):
        np.testing.assert_allclose(
            deltas[index], twins.refinement(boxes[index], gt_boxes[index]), atol=1e-5
        )
    np.testing.assert_allclose(box_ops.apply_box_deltas(boxes, deltas), gt_boxes, atol=1e-6)


def test_refinement_of_integer_pixels_is_float32():
    deltas = box_ops.box_refinement(tf.constant([[0, 0, 10, 20]]), tf.constant([[5, 0, 15, 40]]))
    assert deltas.dtype == tf.float32
    np.testing.assert_allclose(deltas, [[0.5, 0.5, 0.0, np.log(2)]], rtol=1e-6)


@pytest.mark.parametrize("delta", [50.0, 100.0, 1000.0])
def test_a_huge_size_neither_overflows_nor_spoils_the_gradient(delta):
    boxes, deltas = tf.constant([[0.4, 0.4, 0.6, 0.6]]), tf.Variable([[0.0, 0.0, delta, delta]])
    with tf.GradientTape() as tape:
        clipped = box_ops.clip_boxes(box_ops.apply_box_deltas(boxes, deltas), [0.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(clipped, [[0, 0, 1, 1]])
    assert np.isfinite(tape.gradient(clipped, deltas)).all()


@pytest.mark.parametrize("batched", [False, True])
def test_clipping_against_loops(batched):
    random = np.random.RandomState(3)
    boxes = random.uniform(-0.5, 1.5, (3, 8, 4)).astype(np.float32)
    windows = np.array([[0, 0, 1, 1], [0.1, 0.2, 0.8, 0.7], [0, 0.25, 1, 0.75]], np.float32)
    if not batched:
        windows = np.repeat(windows[1:2], 3, axis=0)
    actual = box_ops.clip_boxes(tf.constant(boxes), windows if batched else windows[0])
    for image, row in np.ndindex(3, 8):
        np.testing.assert_array_equal(
            actual[image, row], twins.clip(boxes[image, row], windows[image])
        )


@pytest.mark.parametrize(
    "shape1, shape2", [((6,), (4,)), ((2, 6), (2, 4)), ((1,), (1,)), ((0,), (4,)), ((6,), (0,))]
)
def test_overlaps_against_loops(shape1, shape2):
    random = np.random.RandomState(4)
    first, second = twins.random_boxes(random, *shape1), twins.random_boxes(random, *shape2)
    actual = box_ops.pairwise_iou(first, second)
    assert actual.shape == (*shape1, shape2[-1])
    for index in np.ndindex(*actual.shape):
        expected = twins.iou(first[index[:-1]], second[(*index[:-2], index[-1])])
        np.testing.assert_allclose(actual[index], expected, atol=1e-6)


def test_overlaps_of_boxes_without_area_are_zero_and_so_are_their_gradients():
    boxes = tf.Variable(
        [[0.2, 0.2, 0.2, 0.2], [0.0, 0.0, 0.0, 0.0], [0.1, 0.1, 0.5, 0.1], [0.1, 0.1, 0.5, 0.5]]
    )
    with tf.GradientTape() as tape:
        overlaps = box_ops.pairwise_iou(boxes, boxes)
    np.testing.assert_array_equal(overlaps, np.diag([0, 0, 0, 1]))
    assert np.isfinite(tape.gradient(overlaps, boxes)).all()


def test_touching_boxes_do_not_overlap():
    overlaps = box_ops.pairwise_iou(
        tf.constant([[0, 0, 0.5, 0.5]]), tf.constant([[0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1]])
    )
    np.testing.assert_array_equal(overlaps, [[0, 0]])


def test_the_whole_image_is_the_unit_square():
    np.testing.assert_array_equal(
        box_ops.norm_boxes([[0, 0, 480, 640]], (480, 640)), [[0, 0, 1, 1]]
    )


def test_halves_of_pixels_round_to_even():
    # in units of a 2 px image: no scale, y2 and x2 shifted by 1
    boxes = tf.constant([[0.5, 1.5, 2.5, 3.5]])
    np.testing.assert_array_equal(box_ops.denorm_boxes(boxes, (2, 2)), [[0, 2, 4, 4]])


@pytest.mark.parametrize("shift", [0, 1])
def test_normalised_by_pixel_edges_or_centres(shift):
    boxes = np.array([[[0, 0, 480, 640], [12, 7, 13, 300]]], np.float32)
    normalised = box_ops.norm_boxes(boxes, (480, 640), shift)
    expected = [
        [
            (y1 / (480 - shift)),
            x1 / (640 - shift),
            (y2 - shift) / (480 - shift),
            (x2 - shift) / (640 - shift),
        ]
        for y1, x1, y2, x2 in boxes[0]
    ]
    np.testing.assert_allclose(normalised[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(normalised[0, 0], [0, 0, 1, 1])
    np.testing.assert_allclose(box_ops.pixel_boxes(normalised, (480, 640), shift), boxes, rtol=1e-6)
    np.testing.assert_array_equal(box_ops.denorm_boxes(normalised, (480, 640), shift), boxes)


@pytest.mark.parametrize("shift", [0, 1])
def test_sides_in_pixels(shift):
    boxes = np.array([[10, 10, 14, 20], [10, 10, 13, 20], [10, 10, 20, 13], [9, 9, 9, 9]])
    normalised = box_ops.norm_boxes(boxes, (100, 50), shift)
    found = box_ops.has_sides(normalised, 3.5, (100, 50), shift)
    np.testing.assert_array_equal(found, [True, False, False, False])
    assert np.all(box_ops.has_sides(normalised[:3], 2.5, (100, 50), shift))
    assert box_ops.has_sides(tf.zeros([2, 0, 4]), 1.0, (100, 50), shift).shape == (2, 0)


def test_sides_grow_up_to_a_limit():
    box, deltas = [[0.0, 0.0, 2.0, 4.0]], [[0.0, 0.5, 3.0, -9.0]]
    limit = float(np.log(1000 / 16))
    expected = [1 - 62.5, 4 - 2 * np.exp(-9), 1 + 62.5, 4 + 2 * np.exp(-9)]
    np.testing.assert_allclose(
        box_ops.apply_box_deltas(box, [[0, 0.5, 5, -9.0]], limit), [expected], rtol=1e-5
    )
    np.testing.assert_array_equal(
        box_ops.apply_box_deltas(box, deltas, limit), box_ops.apply_box_deltas(box, deltas)
    )


def test_padding_is_told_from_boxes():
    boxes = [[[0, 0, 0, 0], [0, 0, 1, 1.0]], [[-0.1, 0, 0, 0], [0, 0, 0, 0]]]
    np.testing.assert_array_equal(box_ops.is_box(boxes), [[False, True], [True, False]])

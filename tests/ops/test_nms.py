"""Suppression over a batch, against a greedy loop."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.ops import boxes as box_ops
from mrcnn.ops import nms
from tests import twins


def padded(indices, count):
    return np.array(indices + [-1] * (count - len(indices)))


def overlap_function(boxes):
    boxes = tf.constant(boxes)
    return lambda image, rows: box_ops.pairwise_iou(
        tf.gather(boxes[image], rows), tf.gather(boxes[image], rows)
    )


@pytest.mark.parametrize(
    "batch, count, max_count, threshold",
    [
        (1, 60, 60, 0.7),
        (2, 60, 20, 0.5),
        (3, 60, 100, 0.0),
        (2, 60, 1, 0.3),
        (2, 1, 5, 0.3),
        (3, 60, 60, 1.0),
    ],
)
def test_suppression_against_loops(batch, count, max_count, threshold):
    random = np.random.RandomState(batch)
    boxes = twins.random_boxes(random, batch, count, smallest=0.2)
    scores = random.uniform(size=(batch, count)).astype(np.float32)
    kept = nms.batch_nms(tf.constant(boxes), tf.constant(scores), max_count, threshold)
    assert kept.dtype == tf.int32 and kept.shape == (batch, max_count)
    for image in range(batch):
        expected = twins.suppress(boxes[image], scores[image], max_count, threshold)
        np.testing.assert_array_equal(kept[image], padded(expected, max_count))


def test_no_boxes_give_padding_only():
    kept = nms.batch_nms(tf.zeros([2, 0, 4]), tf.zeros([2, 0]), 3, 0.5)
    np.testing.assert_array_equal(kept, np.full((2, 3), -1))


def test_no_images_give_no_rows():
    assert nms.batch_nms(tf.zeros([0, 5, 4]), tf.zeros([0, 5]), 3, 0.5).shape == (0, 3)


# Two boxes of area 3 that share an area of 2: an IoU of exactly 1/2
HALVES = np.array([[[0, 0, 1, 3], [0, 1, 1, 4]]], np.float32)


@pytest.mark.parametrize("threshold, expected", [(0.5, [0, 1]), (0.49, [0, -1])])
def test_a_box_at_the_threshold_stays(threshold, expected):
    scores = tf.constant([[0.9, 0.8]])
    np.testing.assert_array_equal(
        nms.batch_nms(tf.constant(HALVES), scores, 2, threshold), [expected]
    )
    kept = nms.batch_class_nms(
        overlap_function(HALVES),
        tf.ones([1, 2], tf.int32),
        scores,
        tf.ones([1, 2], tf.bool),
        2,
        threshold,
    )
    np.testing.assert_array_equal(kept, [expected])


def test_the_lower_index_wins_a_tie():
    boxes, scores = tf.constant(np.repeat(HALVES[:, :1], 4, axis=1)), tf.fill([1, 4], 0.5)
    np.testing.assert_array_equal(nms.batch_nms(boxes, scores, 2, 0.5), [[0, -1]])


@pytest.mark.parametrize("batch, max_count, threshold", [(1, 50, 0.3), (2, 10, 0.5), (3, 80, 0.0)])
def test_suppression_per_class_against_loops(batch, max_count, threshold):
    random = np.random.RandomState(10 + batch)
    boxes = twins.random_boxes(random, batch, 70, smallest=0.2)
    class_ids = random.randint(1, 4, (batch, 70))
    scores = random.uniform(size=(batch, 70)).astype(np.float32)
    keep = random.uniform(size=(batch, 70)) < 0.7
    kept = nms.batch_class_nms(
        overlap_function(boxes),
        tf.constant(class_ids),
        tf.constant(scores),
        tf.constant(keep),
        max_count,
        threshold,
    )
    assert kept.dtype == tf.int32 and kept.shape == (batch, max_count)
    for image in range(batch):
        expected = []
        for class_id in range(1, 4):
            rows = np.flatnonzero(keep[image] & (class_ids[image] == class_id))
            expected += list(
                rows[twins.suppress(boxes[image, rows], scores[image, rows], 70, threshold)]
            )
        expected = sorted(expected, key=lambda row: -scores[image, row])[:max_count]
        np.testing.assert_array_equal(kept[image], padded(expected, max_count))


def test_boxes_of_different_classes_do_not_suppress_each_other():
    boxes = np.repeat(HALVES[:, :1], 3, axis=1)
    kept = nms.batch_class_nms(
        overlap_function(boxes),
        tf.constant([[1, 2, 1]]),
        tf.constant([[0.7, 0.9, 0.8]]),
        tf.ones([1, 3], tf.bool),
        3,
        0.3,
    )
    np.testing.assert_array_equal(kept, [[1, 2, -1]])


def test_nothing_to_keep_in_one_image_of_two():
    boxes = np.repeat(HALVES, 2, axis=0)
    kept = nms.batch_class_nms(
        overlap_function(boxes),
        tf.ones([2, 2], tf.int32),
        tf.constant([[0.9, 0.8]] * 2),
        tf.constant([[False, False], [False, True]]),
        2,
        0.3,
    )
    np.testing.assert_array_equal(kept, [[-1, -1], [1, -1]])


# === The best of many classes ===


def of_classes(seed, batch, classes, count, share=0.7):
    """Boxes [b, classes, n, 4] and scores [b, classes, n], some of them left out."""
    random = np.random.RandomState(seed)
    boxes = twins.random_boxes(random, batch, classes, count, smallest=0.2)
    scores = random.uniform(size=(batch, classes, count)).astype(np.float32)
    taking_part = random.uniform(size=scores.shape) < share
    return boxes, np.where(taking_part, scores, np.float32(nms.LEFT_OUT))


def expected_best(boxes, scores, max_count, threshold, sigma):
    """(class, row, score) of one image, by falling score."""
    found = []
    for class_id, (class_boxes, class_scores) in enumerate(zip(boxes, scores)):
        rows = np.flatnonzero(class_scores >= 0)
        part = class_boxes[rows], class_scores[rows], len(rows)
        if sigma:
            kept = twins.soft_suppress(*part, sigma)
        else:
            kept = [(i, class_scores[rows[i]]) for i in twins.suppress(*part, threshold)]
        found += [(class_id, rows[i], score) for i, score in kept]
    return sorted(found, key=lambda row: -row[2])[:max_count]


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize(
    "batch, classes, count, max_count", [(1, 5, 40, 200), (2, 3, 40, 10), (3, 1, 30, 1)]
)
@pytest.mark.parametrize("threshold, sigma", [(0.3, 0), (0.0, 0), (1.0, 0), (0.3, 0.5), (0.3, 0.1)])
def test_the_best_of_classes_against_loops(
    batch, classes, count, max_count, threshold, sigma, in_graph
):
    boxes, scores = of_classes(batch, batch, classes, count)
    function = nms.best_of_classes
    if in_graph:
        function = tf.function(function, autograph=False)
    found = function(tf.constant(boxes), tf.constant(scores), max_count, threshold, sigma)
    assert found.rows.dtype == found.classes.dtype == tf.int32
    assert all(part.shape == (batch, max_count) for part in found)
    for image in range(batch):
        expected = expected_best(boxes[image], scores[image], max_count, threshold, sigma)
        kept = len(expected)
        assert kept > 1 or max_count == 1
        class_ids, rows, left = zip(*expected)
        np.testing.assert_array_equal(found.classes[image], padded(list(class_ids), max_count))
        np.testing.assert_array_equal(found.rows[image], padded(list(rows), max_count))
        np.testing.assert_allclose(found.scores[image][:kept], left, rtol=1e-5)
        np.testing.assert_array_equal(found.scores[image][kept:], 0)


@pytest.mark.parametrize("sigma", [0, 0.5])
@pytest.mark.parametrize("count, share", [(0, 1), (4, 0)])
def test_the_best_of_nothing(count, share, sigma):
    boxes, scores = of_classes(0, 2, 3, count, share)
    found = nms.best_of_classes(tf.constant(boxes), tf.constant(scores), 3, 0.5, sigma)
    np.testing.assert_array_equal(found.rows, np.full((2, 3), -1))
    np.testing.assert_array_equal(found.classes, np.full((2, 3), -1))
    np.testing.assert_array_equal(found.scores, np.zeros((2, 3)))


def test_one_class_may_have_all_of_the_best():
    boxes, scores = of_classes(4, 1, 3, 30, 1)
    scores[:, 1] += 1
    found = nms.best_of_classes(tf.constant(boxes), tf.constant(scores), 20, 1.0)
    np.testing.assert_array_equal(found.classes, np.ones((1, 20)))
    np.testing.assert_array_equal(found.rows[0], np.argsort(-scores[0, 1])[:20])


def test_of_equal_scores_the_lower_class_and_row_come_first():
    boxes = np.tile(np.float32([[0, 0, 1, 1], [2, 2, 3, 3]]), (1, 3, 1, 1))
    found = nms.best_of_classes(tf.constant(boxes), tf.fill([1, 3, 2], 0.5), 4, 0.5)
    np.testing.assert_array_equal(found.classes, [[0, 0, 1, 1]])
    np.testing.assert_array_equal(found.rows, [[0, 1, 0, 1]])


@pytest.mark.parametrize("class_id", [0, 500])
def test_the_overlaps_of_the_last_class_are_as_exact_as_those_of_the_first(class_id):
    """An IoU of 0.5 + 1e-6, which boxes shifted by 500 would not have."""
    boxes = np.zeros((1, 501, 2, 4), np.float32)
    scores = np.full((1, 501, 2), nms.LEFT_OUT, np.float32)
    boxes[0, class_id] = [[0, 0, 1, 1], [0, 0, 1, 0.500001]]
    scores[0, class_id] = [0.9, 0.8]
    best_of_classes = tf.function(nms.best_of_classes, autograph=False)
    for threshold, expected in ((0.5, [0, -1]), (0.500002, [0, 1])):
        found = best_of_classes(tf.constant(boxes), tf.constant(scores), 2, threshold)
        np.testing.assert_array_equal(found.rows, [expected])


def test_soft_suppression_by_hand():
    """Bodla et al.: 0.8 exp(-0.5^2 / 0.5), and the box of the same place is not lost."""
    boxes = np.concatenate([HALVES, HALVES[:, :1]], axis=1)[:, np.newaxis]
    scores = tf.constant([[[0.9, 0.8, 0.6]]])
    found = nms.best_of_classes(tf.constant(boxes), scores, 5, 0.3, 0.5)
    np.testing.assert_array_equal(found.rows, [[0, 1, 2, -1, -1]])
    second, third = 0.8 * np.exp(-0.25 / 0.5), 0.6 * np.exp(-1 / 0.5) * np.exp(-0.25 / 0.5)
    np.testing.assert_allclose(found.scores, [[0.9, second, third, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_gathering_puts_zeros_at_empty_slots(shape):
    values = np.random.RandomState(6).uniform(1, 2, (2, 5, *shape)).astype(np.float32)
    actual = nms.gather_or_zero(tf.constant(values), tf.constant([[3, -1, 0], [-1, -1, 4]]))
    zero = np.zeros(shape)
    expected = [[values[0, 3], zero, values[0, 0]], [zero, zero, values[1, 4]]]
    np.testing.assert_array_equal(actual, np.array(expected, np.float32))


def test_empty_slots_have_no_gradient():
    values = tf.Variable([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(nms.gather_or_zero(values, tf.constant([[1, -1, -1]])))
    np.testing.assert_array_equal(tf.convert_to_tensor(tape.gradient(total, values)), [[0, 1]])

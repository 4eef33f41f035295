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

"""Rows of a padded batch: out and back."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.ops import packed_rows as rows

IDS = [[0, 2, 0], [1, 0, 3]]


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.float32])
def test_real_rows_are_found_image_by_image(dtype):
    found = rows.real_rows(tf.constant(IDS, dtype))
    assert found.dtype == tf.int32
    np.testing.assert_array_equal(found, [[0, 1], [1, 0], [1, 2]])
    np.testing.assert_array_equal(rows.head_rows(tf.constant(IDS, dtype)), found)


def test_crowds_are_not_real_rows():
    np.testing.assert_array_equal(rows.real_rows(tf.constant([[-1, 1]])), [[0, 1]])


def test_without_a_row_the_heads_get_the_first():
    empty = tf.zeros([2, 3], tf.int32)
    assert rows.real_rows(empty).shape == (0, 2)
    np.testing.assert_array_equal(rows.head_rows(empty), [[0, 0]])


def test_heads_meet_few_numbers_of_rows():
    """Each number is a shape that oneDNN compiles for and keeps."""
    lengths = {}
    for count in range(201):
        ids = tf.cast(tf.reshape(tf.range(200) >= 200 - count, [2, 100]), tf.int32)
        found, real = rows.head_rows(ids).numpy(), rows.real_rows(ids).numpy()
        np.testing.assert_array_equal(found[:count], real)
        assert not found[count:].any()
        lengths[count] = len(found)
    for count, length in lengths.items():
        most = (
            count
            if count < 16
            else count + 3
            if count < 32
            else count + 7
            if count < 128
            else count * 9 / 8
        )
        assert count <= length <= max(1, most)
    assert len(set(lengths.values())) == 37 and lengths[199] == lengths[200] == 200


def test_distinct_rows_are_filled_up_to_the_batch():
    batch = tf.constant(np.random.RandomState(0).uniform(0.1, 1, (2, 10, 4)), tf.float32)
    for kept in range(1, 11):
        boxes = batch * tf.cast(tf.range(10) < kept, tf.float32)[:, tf.newaxis]
        found, places = rows.distinct_rows(boxes)
        assert len(found) in rows.SIZES and len(found) <= 20
        np.testing.assert_array_equal(tf.gather(tf.gather_nd(boxes, found), places), boxes)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_rows_come_back_to_their_place(shape):
    values = np.random.RandomState(0).uniform(1, 2, (3, *shape)).astype(np.float32)
    class_ids = tf.constant(IDS)
    expected = np.zeros((2, 3, *shape), np.float32)
    expected[0, 1], expected[1, 0], expected[1, 2] = values
    np.testing.assert_array_equal(
        rows.scatter_rows(tf.constant(values), rows.real_rows(class_ids), class_ids), expected
    )


def test_values_beyond_the_rows_are_left_out():
    empty = tf.zeros([2, 3], tf.int32)
    back = rows.scatter_rows(tf.ones([1, 4]), rows.real_rows(empty), empty)
    np.testing.assert_array_equal(back, np.zeros((2, 3, 4)))


def boxes(*pattern):
    """[images, rows, 4] of which "0" is padding."""
    return tf.constant(
        [
            [[0.0] * 4 if row == "0" else [0.1, 0.1, 0.1 * int(row), 0.5] for row in image]
            for image in pattern
        ]
    )


@pytest.mark.parametrize(
    "pattern, kept, index",
    [
        (["123"], [[0, 0], [0, 1], [0, 2]], [[0, 1, 2]]),
        (["100", "230"], [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]], [[0, 1, 1], [2, 3, 4]]),
        (["000", "000"], [[0, 0], [1, 0]], [[0, 0, 0], [1, 1, 1]]),
        # padding in the middle is padding too
        (
            ["10020", "00300"],
            [[0, 0], [0, 1], [0, 3], [0, 4], [1, 0], [1, 2], [1, 3]],
            [[0, 1, 1, 2, 3], [4, 4, 5, 6, 6]],
        ),
    ],
)
def test_padding_is_taken_once_an_image(pattern, kept, index):
    batch = boxes(*pattern)
    found, places = rows.distinct_rows(batch)
    np.testing.assert_array_equal(found, kept)
    np.testing.assert_array_equal(places, index)
    np.testing.assert_array_equal(tf.gather(tf.gather_nd(batch, found), places), batch)

"""Rows of a padded batch: packed, filled up, and put back."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.ops.packed_rows import SIZES, PackedRows

IDS = [[0, 2, 0], [1, 0, 3]]


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.float32])
@pytest.mark.parametrize("filled", [True, False])
def test_objects_are_found_image_by_image(dtype, filled):
    packed = PackedRows.objects(tf.constant(IDS, dtype), filled=filled)
    assert packed.rows.dtype == packed.index.dtype == tf.int32
    np.testing.assert_array_equal(packed.rows, [[0, 1], [1, 0], [1, 2]])
    np.testing.assert_array_equal(packed.index, [[0, 1, 0], [2, 0, 3]])


def test_crowds_are_no_objects():
    np.testing.assert_array_equal(PackedRows.objects(tf.constant([[-1, 1]])).rows, [[0, 1]])


def test_without_an_object_the_heads_get_the_first_row():
    empty = tf.zeros([2, 3], tf.int32)
    assert PackedRows.objects(empty, filled=False).rows.shape == (0, 2)
    np.testing.assert_array_equal(PackedRows.objects(empty).rows, [[0, 0]])


def test_heads_meet_few_numbers_of_rows():
    """Each number is a shape that oneDNN compiles for and keeps."""
    lengths = {}
    for count in range(201):
        ids = tf.cast(tf.reshape(tf.range(200) >= 200 - count, [2, 100]), tf.int32)
        found = PackedRows.objects(ids).rows.numpy()
        real = PackedRows.objects(ids, filled=False).rows.numpy()
        np.testing.assert_array_equal(found[:count], real)
        assert not found[count:].any()
        lengths[count] = len(found)
    for count, length in lengths.items():
        extra = 0 if count < 16 else 3 if count < 32 else 7 if count < 128 else count // 8
        assert count <= length <= max(1, count + extra)
    assert len(set(lengths.values())) == 37 and lengths[199] == lengths[200] == 200


@pytest.mark.parametrize("most, length", [(None, 144), (70, 140), (66, 132), (500, 144)])
def test_no_more_rows_are_filled_up_than_images_may_have_objects(most, length):
    ids = tf.cast(tf.range(100) < 66, tf.int32)[tf.newaxis] * tf.ones([2, 1], tf.int32)
    packed = PackedRows.objects(ids, most)
    assert len(packed.rows) == length
    np.testing.assert_array_equal(packed.unpack(packed.pack(ids)), ids)


def test_distinct_rows_are_filled_up_to_the_batch():
    batch = tf.constant(np.random.RandomState(0).uniform(0.1, 1, (2, 10, 4)), tf.float32)
    for kept in range(1, 11):
        boxes = batch * tf.cast(tf.range(10) < kept, tf.float32)[:, tf.newaxis]
        packed = PackedRows.distinct(boxes)
        assert len(packed.rows) in SIZES and len(packed.rows) <= 20
        np.testing.assert_array_equal(packed.unpack(packed.pack(boxes)), boxes)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_rows_come_back_to_their_place(shape):
    values = np.random.RandomState(0).uniform(1, 2, (3, *shape)).astype(np.float32)
    expected = np.zeros((2, 3, *shape), np.float32)
    expected[0, 1], expected[1, 0], expected[1, 2] = values
    packed = PackedRows.objects(tf.constant(IDS))
    np.testing.assert_array_equal(packed.unpack(tf.constant(values)), expected)
    np.testing.assert_array_equal(packed.pack(tf.constant(expected)), values)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_values_of_rows_that_fill_up_are_left_out(count):
    empty = tf.zeros([2, 3], tf.int32)
    back = PackedRows.objects(empty, filled=count > 0).unpack(tf.ones([count, 4]))
    np.testing.assert_array_equal(back, np.zeros((2, 3, 4)))


def test_every_row():
    batch = tf.constant(np.random.RandomState(0).randn(3, 5, 2))
    packed = PackedRows.every(batch)
    assert packed.rows.shape == (15, 2)
    np.testing.assert_array_equal(packed.pack(batch), tf.reshape(batch, [15, 2]))
    np.testing.assert_array_equal(packed.unpack(packed.pack(batch)), batch)


def test_gradients_go_through_pack_and_unpack():
    batch = tf.Variable(np.random.RandomState(0).randn(2, 3, 4).astype(np.float32))
    packed = PackedRows.objects(tf.constant(IDS))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(packed.unpack(packed.pack(batch) ** 2))
    expected = 2 * batch.numpy() * (np.array(IDS) > 0)[..., np.newaxis]
    np.testing.assert_allclose(tf.convert_to_tensor(tape.gradient(total, batch)), expected)


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
        (["123"], [[0, 0], [0, 1], [0, 2]], [[1, 2, 3]]),
        (["100", "230"], [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]], [[1, 2, 2], [3, 4, 5]]),
        (["000", "000"], [[0, 0], [1, 0]], [[1, 1, 1], [2, 2, 2]]),
        # padding in the middle is padding too
        (
            ["10020", "00300"],
            [[0, 0], [0, 1], [0, 3], [0, 4], [1, 0], [1, 2], [1, 3]],
            [[1, 2, 2, 3, 4], [5, 5, 6, 7, 7]],
        ),
    ],
)
def test_padding_is_taken_once_an_image(pattern, kept, index):
    batch = boxes(*pattern)
    packed = PackedRows.distinct(batch)
    np.testing.assert_array_equal(packed.rows, kept)
    np.testing.assert_array_equal(packed.index, index)
    np.testing.assert_array_equal(packed.unpack(packed.pack(batch)), batch)

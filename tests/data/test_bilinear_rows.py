"""Bilinear resizing that ends as the image does, against TensorFlow's."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.data.bilinear import bilinear_rows

VALUES = np.random.RandomState(0).rand(9, 14, 3).astype(np.float32)


@pytest.mark.parametrize("size", [(9, 14), (18, 28), (31, 14), (9, 50), (100, 3), (1, 1), (4, 5)])
def test_equals_tensorflow(size):
    found = bilinear_rows(VALUES, *size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, tf.image.resize(VALUES, size), atol=2e-6)


def test_some_rows_equal_the_whole():
    whole = bilinear_rows(VALUES, 33, 20)
    for rows in (slice(0, 5), slice(30, 40), slice(7, 8)):
        np.testing.assert_array_equal(bilinear_rows(VALUES, 33, 20, rows), whole[rows])
    np.testing.assert_array_equal(bilinear_rows(VALUES, 9, 14, slice(2, 4)), VALUES[2:4])


def test_one_pixel_fills_everything():
    np.testing.assert_array_equal(
        bilinear_rows(VALUES[:1, :1], 3, 2), VALUES[:1, :1] + np.zeros((3, 2, 1))
    )

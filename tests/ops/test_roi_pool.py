"""RoIPool: loops, torchvision's numbers, gradients, any number at once."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.ops import roi_pool as module
from mrcnn.ops.roi_pool import roi_pool
from tests import twins
from tests.ops import pooling_cases as cases


def material(seed, batch, size, count, channels=3):
    random = np.random.RandomState(seed)
    images = random.normal(size=(batch, *size, channels)).astype(np.float32)
    regions = np.floor(cases.random_regions(random, count, size)).astype(np.int32)
    regions[:, 2:] = np.maximum(regions[:, 2:], regions[:, :2] + 1)
    return images, regions, random.randint(0, batch, count).astype(np.int32)


@pytest.mark.parametrize(
    "batch, size, pool", [(1, (8, 8), (7, 7)), (2, (5, 9), (3, 2)), (3, (1, 4), (2, 2))]
)
@pytest.mark.parametrize("count", [1, 40])
def test_against_loops(batch, size, pool, count):
    images, regions, index = material(count, batch, size, count)
    pooled = roi_pool(images, regions, index, pool)
    assert pooled.dtype == tf.float32 and pooled.shape == (count, *pool, 3)
    expected = [
        twins.roi_pool(images[image], region, pool) for image, region in zip(index, regions)
    ]
    np.testing.assert_array_equal(pooled, np.float32(expected))


def test_torchvisions_numbers():
    corners = np.sign(cases.REGIONS) * np.floor(np.abs(cases.REGIONS) + 0.5)
    regions = (corners + np.array([0, 0, 1, 1])).astype(np.int32)
    pooled = roi_pool(cases.MAP, regions, np.zeros(6, np.int32), (2, 3))
    np.testing.assert_allclose(pooled[..., 0], cases.POOL, atol=1e-5)


def test_bins_of_neighbours_share_cells():
    """Five cells in three bins: 0 and 1, 1 to 3, 3 and 4."""
    ramp = np.arange(5, dtype=np.float32).reshape(1, 1, 5, 1)
    pooled = roi_pool(-ramp, np.int32([[0, 0, 1, 5]]), [0], (1, 3))
    np.testing.assert_array_equal(pooled[0, 0, :, 0], [0, -1, -3])


def test_a_bin_ends_with_its_region():
    """57 / 7 * 7 is more than 57 in float32."""
    image = np.zeros((1, 1, 60, 1), np.float32)
    image[0, 0, 57] = 1
    assert not roi_pool(image, np.int32([[0, 0, 1, 57]]), [0], (1, 7)).numpy().any()
    assert roi_pool(image, np.int32([[0, 0, 1, 58]]), [0], (1, 7))[0, 0, 6, 0] == 1


def test_no_regions():
    nothing = np.zeros((0, 4), np.int32)
    assert roi_pool(cases.MAP, nothing, np.zeros(0, np.int32), (7, 7)).shape == (0, 7, 7, 1)


def test_regions_outside_are_zero_and_have_no_gradient():
    image = tf.Variable(np.ones((1, 4, 4, 2), np.float32))
    regions = np.int32([[4, 0, 6, 2], [-3, -3, 0, 0], [0, 9, 2, 12]])
    with tf.GradientTape() as tape:
        pooled = roi_pool(image, regions, np.zeros(3, np.int32), (2, 2))
    assert not pooled.numpy().any()
    assert not tf.convert_to_tensor(tape.gradient(pooled, image)).numpy().any()


@pytest.mark.parametrize("at_once, pool", [(7, (7, 7)), (10, (14, 14))])
@pytest.mark.parametrize("count", [0, 1, 23])
def test_the_number_at_once_changes_nothing(monkeypatch, at_once, pool, count):
    images, regions, index = material(4, 2, (6, 5), count)

    def compute():
        values = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(values)
            pooled = roi_pool(values, regions, index, pool)
        return pooled, tape.gradient(pooled, values)

    expected = compute()
    monkeypatch.setattr(module, "REGIONS_AT_ONCE", at_once)
    found = compute()
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
def test_gradient_by_finite_differences(in_graph):
    images, regions, index = material(5, 2, (5, 4), 12, channels=2)
    upstream = np.random.RandomState(6).normal(size=(12, 2, 3, 2)).astype(np.float32)

    def compute(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            pooled = roi_pool(values, regions, index, (2, 3))
        return tape.gradient(pooled, values, upstream)

    compute = tf.function(compute) if in_graph else compute
    gradient = compute(tf.constant(images)).numpy()

    def total(moved):
        return sum(
            np.sum(twins.roi_pool(moved[image], region, (2, 3)) * weight)
            for image, region, weight in zip(index, regions, upstream)
        )

    expected = twins.numeric_gradient(total, images, 1e-4)  # less than any two values' distance
    assert expected.any()
    np.testing.assert_allclose(gradient, expected, atol=1e-4)
    np.testing.assert_array_equal(compute(tf.constant(images)), gradient)


def test_the_first_of_equal_cells_gets_the_gradient():
    image = tf.Variable(np.zeros((1, 3, 3, 1), np.float32))
    with tf.GradientTape() as tape:
        pooled = roi_pool(image, np.int32([[0, 0, 3, 3]]), [0], (1, 1))
    expected = np.zeros((3, 3))
    expected[0, 0] = 1
    np.testing.assert_array_equal(tape.gradient(pooled, image)[0, :, :, 0], expected)

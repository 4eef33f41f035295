"""The mean of four samples a bin: loops, torchvision's numbers, gradients, any number at once."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.ops import roi_align
from mrcnn.ops.roi_align import mean_of_samples
from tests import twins
from tests.ops import pooling_cases as cases


def material(seed, batch, size, count, channels=3):
    random = np.random.RandomState(seed)
    images = random.normal(size=(batch, *size, channels)).astype(np.float32)
    regions = cases.random_regions(random, count, size)
    return images, regions, random.randint(0, batch, count).astype(np.int32)


@pytest.mark.parametrize("batch, size, pool", [(1, (8, 8), (7, 7)), (2, (5, 9), (3, 2))])
@pytest.mark.parametrize("count", [1, 40])
def test_against_loops(batch, size, pool, count):
    images, regions, index = material(count, batch, size, count)
    pooled = mean_of_samples(images, regions, index, pool)
    assert pooled.dtype == tf.float32 and pooled.shape == (count, *pool, 3)
    for row, region in enumerate(regions):
        expected = twins.mean_of_samples(images[index[row]], region, pool)
        np.testing.assert_allclose(pooled[row], expected, atol=2e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (3, 3)])
def test_small_maps(size):
    images, regions, index = material(1, 3, size, 20)
    pooled = mean_of_samples(images, regions, index, (2, 2))
    expected = [
        twins.mean_of_samples(images[image], region, (2, 2))
        for image, region in zip(index, regions)
    ]
    assert np.any(expected)
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


@pytest.mark.parametrize("aligned", [False, True])
def test_torchvisions_numbers(aligned):
    regions = cases.REGIONS - 0.5
    if not aligned:
        start, end = cases.REGIONS[:, :2], cases.REGIONS[:, 2:]
        regions = np.concatenate([start, start + np.maximum(end - start, 1)], axis=1)
    pooled = mean_of_samples(cases.MAP, regions, np.zeros(6, np.int32), (2, 3))
    np.testing.assert_allclose(
        pooled[..., 0], cases.ALIGNED if aligned else cases.SAMPLED, atol=2e-5
    )


def test_up_to_a_cell_outside_reads_the_edge():
    """One bin of one cell, whose four samples are 0.25 cells around its centre."""
    ones = np.ones((1, 4, 4, 1), np.float32)
    for center, expected in ((-0.7, 1), (-0.9, 0.5), (-1.3, 0), (3.7, 1), (3.9, 0.5), (5, 0)):
        region = np.float32([[center - 0.5, 1, center + 0.5, 2]])
        assert mean_of_samples(ones, region, [0], (1, 1)) == expected


def test_no_regions():
    nothing = np.zeros((0, 4), np.float32)
    pooled = mean_of_samples(cases.MAP, nothing, np.zeros(0, np.int32), (7, 7))
    assert pooled.shape == (0, 7, 7, 1)


@pytest.mark.parametrize("at_once, pool", [(1, (7, 7)), (10, (14, 14))])
@pytest.mark.parametrize("count", [0, 1, 23])
def test_the_number_at_once_changes_nothing(monkeypatch, at_once, pool, count):
    arguments = (*material(4, 2, (6, 5), count), pool)
    expected = mean_of_samples(*arguments)
    monkeypatch.setattr(roi_align, "REGIONS_AT_ONCE", at_once)
    np.testing.assert_array_equal(mean_of_samples(*arguments), expected)


def gradients(images, regions, index, pool, upstream):
    images, regions = tf.Variable(images), tf.Variable(regions)
    with tf.GradientTape() as tape:
        pooled = mean_of_samples(images, regions, index, pool)
    return tape.gradient(pooled, [images, regions], upstream)


@pytest.mark.parametrize("size, pool", [((4, 5), (2, 3)), ((1, 3), (2, 2)), ((6, 6), (1, 1))])
def test_gradient_by_finite_differences(size, pool):
    images, regions, index = material(5, 2, size, 12, channels=1)
    upstream = np.random.RandomState(6).normal(size=(12, *pool, 1)).astype(np.float32)
    gradient, none = gradients(images, regions, index, pool, upstream)
    assert none is None

    def total(moved):
        return sum(
            np.sum(twins.mean_of_samples(moved[image], region, pool) * weight)
            for image, region, weight in zip(index, regions, upstream)
        )

    # linear, so that any step is exact
    expected = twins.numeric_gradient(total, images, 0.5)
    assert expected.any()
    np.testing.assert_allclose(gradient, expected, atol=1e-4)


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
def test_the_gradient_loses_nothing_where_many_regions_meet(in_graph):
    """Within the map the weights of a bin are 1 together, whatever runs on which thread."""
    regions = np.tile(np.float32([[1, 1, 4, 5], [0.3, 2, 3, 2.5]]), (600, 1))
    upstream = np.ones((1200, 3, 3, 4), np.float32)
    index = np.zeros(1200, np.int32)
    images = np.random.RandomState(7).normal(size=(1, 8, 8, 4)).astype(np.float32)

    def compute():
        with tf.GradientTape() as tape:
            values = tf.convert_to_tensor(images)
            tape.watch(values)
            pooled = mean_of_samples(values, regions, index, (3, 3))
        return tape.gradient(pooled, values, upstream)

    compute = tf.function(compute) if in_graph else compute
    first = compute().numpy()
    np.testing.assert_allclose(first.sum(dtype=float), upstream.sum(dtype=float), rtol=1e-5)
    for _ in range(3):
        np.testing.assert_array_equal(compute(), first)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_gradient_is_the_same_where_there_is_a_gpu(monkeypatch, count):
    arguments = (*material(8, 2, (9, 7), count), (4, 3))
    upstream = np.random.RandomState(9).normal(size=(count, 4, 3, 3)).astype(np.float32)
    on_cpu, _ = gradients(*arguments, upstream)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["a GPU"])
    np.testing.assert_array_equal(on_cpu, gradients(*arguments, upstream)[0])
    assert on_cpu.numpy().any() == (count > 0)

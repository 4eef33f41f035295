"""The pixels near borders: drawn by hand, and pair by pair."""

import numpy as np
import pytest

from mrcnn.evaluation.confusion import ConfusionMatrix
from mrcnn.evaluation.trimap import near_border, trimap_matrix


def pair_by_pair(truth, distance, void=255):
    """Whether some pixel of another class is within the distance, for each pixel."""
    places = [place for place in np.ndindex(truth.shape) if truth[place] != void]
    near = np.zeros(truth.shape, bool)
    for y, x in places:
        near[y, x] = any(
            truth[y, x] != truth[v, u] and (y - v) ** 2 + (x - u) ** 2 <= distance**2
            for v, u in places
        )
    return near


def test_a_straight_border_has_as_many_rows_on_each_side():
    truth = np.zeros((20, 6), np.uint8)
    truth[10:] = 1
    for distance in (1, 3, 3.9, 100):
        rows = np.flatnonzero(near_border(truth, distance).all(axis=1))
        reach = min(int(distance), 10)
        np.testing.assert_array_equal(rows, np.arange(10 - reach, 10 + reach))
    np.testing.assert_array_equal(near_border(truth), near_border(truth, 3))


def test_distances_are_euclidean():
    truth = np.zeros((9, 9), np.uint8)
    truth[4, 4] = 2
    near = near_border(truth, 3)
    assert near[4, 1] and near[2, 2] and near[4, 4]  # 3 and 2.83 px
    assert not near[4, 0] and not near[1, 2]  # 4 and 3.6 px


@pytest.mark.parametrize("distance", [1, 2.5, 4])
@pytest.mark.parametrize("shape", [(12, 17), (1, 9), (9, 1), (3, 2)])
def test_it_is_that_of_all_pairs(shape, distance):
    rng = np.random.default_rng(3)
    truth = np.kron(rng.integers(0, 3, (3, 4)), np.ones((4, 5), int))[: shape[0], : shape[1]]
    truth = truth.astype(np.uint8)
    truth[rng.random(shape) < 0.1] = 255
    np.testing.assert_array_equal(near_border(truth, distance), pair_by_pair(truth, distance))


def test_void_and_the_edge_of_the_image_are_no_border():
    truth = np.zeros((12, 12), np.uint8)
    truth[:4], truth[8:, :6] = 255, 255
    assert not near_border(truth).any()
    # a rim of void between two classes counts with its width
    truth = np.zeros((4, 20), np.uint8)
    truth[:, 8:10], truth[:, 10:] = 255, 1
    assert not near_border(truth, 2).any()
    np.testing.assert_array_equal(np.flatnonzero(near_border(truth, 4)[0]), [6, 7, 10, 11])


def test_it_takes_a_batch_and_masks():
    rng = np.random.default_rng(0)
    truth = np.kron(rng.integers(0, 2, (3, 2, 2)), np.ones((1, 6, 6), int)).astype(np.uint8)
    each = np.stack([near_border(one, 2) for one in truth])
    np.testing.assert_array_equal(near_border(truth, 2), each)
    np.testing.assert_array_equal(near_border(truth > 0, 2), each)


def test_the_matrix_is_of_these_pixels_alone():
    truth = np.zeros((10, 30), np.uint8)
    truth[:, 15:], truth[5, 15] = 1, 255
    found = truth.copy()
    found[truth == 255] = 0
    found[:, :5] = 1  # far from the border
    found[:, 14] = 1  # beside it
    matrix = trimap_matrix(truth, found, 2, 3)
    # of the row with void, the pixel at 12 has no other class within 3 px
    np.testing.assert_array_equal(matrix.matrix, [[19, 10], [0, 29]])
    expected = ConfusionMatrix(2)
    expected.add(np.where(pair_by_pair(truth, 3), truth, 255), found)
    np.testing.assert_array_equal(matrix.matrix, expected.matrix)
    assert matrix.mean_iou == pytest.approx((19 / 29 + 29 / 39) / 2)


def test_wrong_input_is_named():
    truth = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="distance of a trimap is 0 px; it must be at least 1"):
        near_border(truth, 0)
    with pytest.raises(ValueError, match="they must be equal"):
        trimap_matrix(truth, truth[:2], 2)
    # one class: there is no border, so nothing to measure
    with pytest.raises(ValueError, match="no pixel has a label"):
        print(trimap_matrix(truth, truth, 2).mean_iou)

"""Masks as polygons: exact, against rasterising by hand, pycocotools and counting pixels."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.data.contours import mask_polygons, polygon_area

RNG = np.random.RandomState(0)


def drawn(polygons, shape):
    """Pixels whose centre is inside one of the polygons, by counting crossings."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    mask = np.zeros(shape, bool)
    for polygon in polygons:
        inside = np.zeros(shape, bool)
        for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0)):
            if y1 != y2:
                inside ^= ((y1 > rows) != (y2 > rows)) & (
                    columns < x1 + (rows - y1) * (x2 - x1) / (y2 - y1)
                )
        mask |= inside
    return mask


def drawn_by_coco(polygons, shape):
    rle = coco_mask.merge(
        coco_mask.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *shape)
    )
    return coco_mask.decode(rle).astype(bool)


def disc(size, radius, hole=0):
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    distance = np.hypot(rows, columns)
    return (distance <= radius) & (distance >= hole)


@pytest.mark.parametrize("case", range(60))
def test_noise_comes_back_exactly(case):
    shape = tuple(int(side) for side in RNG.randint(1, 24, 2))
    mask = RNG.rand(*shape) < RNG.rand()
    mask.flat[0] = True
    polygons = mask_polygons(mask)
    assert sum(map(polygon_area, polygons)) == mask.sum()
    np.testing.assert_array_equal(drawn(polygons, shape), mask)
    np.testing.assert_array_equal(drawn_by_coco(polygons, shape), mask)


def test_one_pixel():
    mask = np.zeros((5, 7))
    mask[2, 4] = 1
    (polygon,) = mask_polygons(mask)
    assert {tuple(point) for point in polygon} == {
        (4, 2),
        (5, 2),
        (5, 3),
        (4, 3),
    } and polygon.dtype == np.float64
    assert len(polygon) == 4


def test_a_rectangle_has_four_corners_wherever_it_lies():
    for box in ((0, 0, 6, 9), (0, 3, 2, 9), (5, 8, 6, 9), (1, 1, 5, 8)):
        mask = np.zeros((6, 9), bool)
        y1, x1, y2, x2 = box
        mask[y1:y2, x1:x2] = True
        (polygon,) = mask_polygons(mask)
        assert len(polygon) == 4 and polygon_area(polygon) == (y2 - y1) * (x2 - x1)
        assert (*polygon.min(axis=0), *polygon.max(axis=0)) == (x1, y1, x2, y2)


@pytest.mark.parametrize("shape", [(0, 0), (4, 0), (3, 5)])
def test_no_pixels_no_polygons(shape):
    assert mask_polygons(np.zeros(shape, bool)) == []


def test_parts_are_in_the_order_of_their_rows():
    mask = np.zeros((9, 9), bool)
    mask[5:8, 0:2] = mask[0:2, 6:9] = mask[2, 2] = True
    assert [polygon_area(polygon) for polygon in mask_polygons(mask)] == [6, 1, 6]


def test_pixels_that_touch_at_a_corner_are_two_parts():
    assert len(mask_polygons(np.eye(3))) == 3


@pytest.mark.parametrize("holes, area", [("bridge", 10 * 10 - 2 * 4), ("fill", 10 * 10)])
def test_holes(holes, area):
    mask = np.ones((10, 10), bool)
    mask[2:4, 2:4] = mask[6:8, 5:7] = False
    (polygon,) = mask_polygons(mask, holes=holes)
    assert polygon_area(polygon) == area == drawn([polygon], mask.shape).sum()


def test_an_island_in_a_hole_is_a_part():
    mask = disc(31, 14, 8) | disc(31, 3)
    ring, island = mask_polygons(mask)
    assert polygon_area(ring) == disc(31, 14, 8).sum() and polygon_area(island) == disc(31, 3).sum()
    assert (
        sum(map(polygon_area, mask_polygons(mask, holes="fill")))
        == disc(31, 14).sum() + disc(31, 3).sum()
    )


@pytest.mark.parametrize("tolerance", [0.5, 1, 3])
def test_simplified_polygons_stay_within_the_tolerance(tolerance):
    mask = disc(101, 45, 20)
    (exact,) = mask_polygons(mask)
    (simple,) = mask_polygons(mask, tolerance)
    assert 8 <= len(simple) < len(exact) * 0.9
    assert {tuple(point) for point in simple} <= {tuple(point) for point in exact}
    off = drawn([simple], mask.shape) != mask
    # a pixel that changed sides lies no farther than the tolerance from the edge of the mask
    edge = np.hypot(*(np.mgrid[:101, :101] - 50))
    assert np.minimum(abs(edge - 45), abs(edge - 20))[off].max(initial=0) <= tolerance + 1
    assert off.sum() < mask.sum() * 0.05 * tolerance


def test_a_hole_below_the_tolerance_goes():
    mask = np.ones((30, 30), bool)
    mask[10, 10] = False
    # a hole of four corners is kept: nothing of it can be left out
    assert polygon_area(mask_polygons(mask, 5)[0]) == 899
    assert len(mask_polygons(disc(30, 2.5), 50)[0]) >= 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros((3, 3, 1)),), r"\(3, 3, 1\)"),
        ((np.zeros((3, 3)), -1), "tolerance is -1"),
        ((np.zeros((3, 3)), 0, "cut"), "'bridge' or 'fill'"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        mask_polygons(*arguments)

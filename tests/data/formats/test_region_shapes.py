"""Outlines to pixels: against scikit-image, formulas and counting by hand."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from skimage import draw

from mrcnn.data.formats import shapes

QUICK = settings(deadline=None, database=None, max_examples=200)
# eighths, so that scikit-image's arithmetic and ours are both exact
coordinate = st.integers(-80, 240).map(lambda value: value / 8) | st.integers(-10, 30).map(float)


def whole(part, height, width):
    """The mask of a part."""
    pixels, top, left = part
    mask = np.zeros((height, width), bool)
    mask[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    assert mask.sum() == pixels.sum()  # all of it lies inside
    return mask


# === Polygon ===


@QUICK
@given(
    points=st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=9),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
)
@example([(2, 2), (9, 2), (9, 2), (9, 7), (2, 7), (2, 2)], 12, 12)  # closed, a corner twice
@example([(2, 2), (9, 9), (9, 2), (2, 9)], 12, 12)  # crosses itself
@example([(2, 3), (9, 3), (5, 3)], 12, 12)  # all on a line
@example([(3, 1), (3, 8), (3, 4)], 12, 12)
@example([(-50, -50), (80, -50), (80, 80), (-50, 80)], 12, 12)  # around the image
def test_polygon_is_scikit_images(points, height, width):
    xs, ys = np.array(points, float).T
    expected = np.zeros((height, width), bool)
    expected[draw.polygon(ys, xs, expected.shape)] = True
    np.testing.assert_array_equal(
        whole(shapes.polygon(xs, ys, height, width), height, width), expected
    )


def test_polygon_by_hand():
    square = shapes.polygon([2, 6, 6, 2], [1, 1, 3, 3], 10, 10)  # on its edge is inside: 5 x 3
    np.testing.assert_array_equal(np.argwhere(whole(square, 10, 10)).min(axis=0), [1, 2])
    assert square[0].shape == (3, 5) and square[0].all() and square[1:] == (1, 2)
    assert shapes.polygon([1.6, 5.4, 5.4, 1.6], [0.6, 0.6, 2.4, 2.4], 10, 10)[0].sum() == 4 * 2


def test_polygon_far_away_takes_no_memory():
    part, top, left = shapes.polygon([-1e6, 1e6, 1e6, -1e6], [-1e6, -1e6, 1e6, 1e6], 20, 30)
    assert part.shape == (20, 30) and part.all() and (top, left) == (0, 0)


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(-9, 3), (-2, 3), (-2, 8)],
        [(3, 40), (9, 40), (9, 50)],
        [(2.2, 2.2), (2.8, 2.2), (2.8, 2.8)],
    ],
    ids=["none", "left", "below", "between pixels"],
)
def test_polygon_without_a_pixel(points):
    xs, ys = np.array(points, float).reshape(-1, 2).T
    assert not shapes.polygon(xs, ys, 20, 20)[0].any()


# === Others ===


@pytest.mark.parametrize(
    "corners, box",
    [
        ((3, 2, 8, 6), (2, 3, 6, 8)),
        ((8, 6, 3, 2), (2, 3, 6, 8)),  # corners in another order
        ((-5, -5, 4, 3), (0, 0, 3, 4)),  # cut off
        ((3.4, 2.6, 7.5, 5.2), (3, 4, 6, 8)),  # pixels 4..7 and 3..5
        ((0, 0, 99, 99), (0, 0, 10, 12)),
    ],
)
def test_rectangle(corners, box):
    expected = np.zeros((10, 12), bool)
    expected[box[0] : box[2], box[1] : box[3]] = True
    np.testing.assert_array_equal(whole(shapes.rectangle(*corners, 10, 12), 10, 12), expected)


@pytest.mark.parametrize("corners", [(3, 2, 3, 6), (20, 2, 25, 6), (-9, 2, 0, 6), (3.2, 2, 3.8, 6)])
def test_rectangle_without_a_pixel(corners):
    assert not shapes.rectangle(*corners, 10, 12)[0].size


@pytest.mark.parametrize("theta", [0, 0.4, np.pi / 2, -1.1, 2.6, 7.0])
@pytest.mark.parametrize("centre", [(20.3, 14.2), (-2.0, 1.5), (38.5, 29.0)])
def test_ellipse_by_its_equation(theta, centre):
    rx, ry = 12.3, 4.6
    y, x = np.mgrid[:30, :40]
    dx, dy = x - centre[0], y - centre[1]
    along, across = dx * np.cos(theta) + dy * np.sin(theta), dy * np.cos(theta) - dx * np.sin(theta)
    expected = (along / rx) ** 2 + (across / ry) ** 2 < 1
    np.testing.assert_array_equal(
        whole(shapes.ellipse(*centre, rx, ry, theta, 30, 40), 30, 40), expected
    )


@pytest.mark.parametrize("cx, cy, r", [(10, 8, 5), (0, 0, 3), (10.5, 7.25, 2.6), (19, 15, 4)])
def test_circle_is_scikit_images_disk(cx, cy, r):
    expected = np.zeros((16, 20), bool)
    expected[draw.disk((cy, cx), r, shape=expected.shape)] = True
    np.testing.assert_array_equal(
        whole(shapes.ellipse(cx, cy, r, r, 0.0, 16, 20), 16, 20), expected
    )


@pytest.mark.parametrize("ellipse", [(5, 5, 0, 3), (5, 5, -2, 3), (50, 5, 3, 3), (5, -9, 3, 3)])
def test_ellipse_without_a_pixel(ellipse):
    assert not shapes.ellipse(*ellipse, 0.0, 20, 20)[0].size


@pytest.mark.parametrize("x1, y1", [(0, 0), (5, 3), (-2, -1), (9, 8), (-50, 0), (3, 50)])
def test_bitmap_is_cut_off(x1, y1):
    pixels = np.random.RandomState(0).rand(4, 5) > 0.4
    canvas = np.zeros((200, 200), bool)
    canvas[100 + y1 : 104 + y1, 100 + x1 : 105 + x1] = pixels
    expected = canvas[100:110, 100:112]
    np.testing.assert_array_equal(whole(shapes.bitmap(pixels, x1, y1, 10, 12), 10, 12), expected)


# === Numbers ===


@pytest.mark.parametrize(
    "values", ["12", None, [[1, 2]], ["a"], ["1"], [1, None], {"0": 1}, [True], [[1], 2]]
)
def test_no_list_of_numbers(values):
    with pytest.raises(ValueError, match="xs must be numbers, not"):
        shapes.coordinates(values, "xs")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -2e6, 10**30])
def test_numbers_that_cannot_be(value):
    with pytest.raises(ValueError, match="xs must be "):
        shapes.coordinates([1, value], "xs")


def test_numbers():
    np.testing.assert_array_equal(shapes.coordinates([1, 2.5, -3], "xs"), [1, 2.5, -3])
    assert shapes.coordinates([], "xs").shape == (0,)


# === Numbers ===


@pytest.mark.parametrize("values", [[True], [1.5, False, 2], [1, True]])
def test_true_is_no_coordinate(values):
    """NumPy takes it for 1."""
    with pytest.raises(ValueError, match=r"x must be numbers, not \["):
        shapes.coordinates(values, "x")


def test_the_length_of_an_outline():
    square = np.array([0, 0, 1e6, 0, 1e6, 1e6, 0, 1e6])
    shapes.check_length(square)
    shapes.check_length(np.tile(square, 2))
    with pytest.raises(ValueError, match="12000000 px long; it must be 10000000 px at most"):
        shapes.check_length(np.tile(square, 3))

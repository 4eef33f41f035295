"""Outlines to pixels: polygon, rectangle, circle and ellipse.

Coordinates are those of pixel centres: (x, y) = (3, 2) is the middle of the pixel in column 3 and
row 2, as in scikit-image and in matterport's samples. Each function returns the part of the image
that the shape touches, cut off at the image's edges, and where that part lies: what
`data.rle.encode_parts` takes. Shapes of no pixel give a part of no pixel; none of them is an error.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.data.rle import Part

# Further away than any image is large: a coordinate beyond it is a slip, and pycocotools would
# take memory in proportion to it.
FARTHEST = 1e6
# pycocotools takes 40 bytes for each px of an outline.
LONGEST = 1e7

_NUMBERS = {int, float}  # not bool

NO_PART = (np.zeros((0, 0), bool), 0, 0)


def reach(values: Any) -> float:
    """The norm of a list of numbers, which no absolute value among them exceeds; infinite or NaN
    where one is, infinite for anything but such a list.

    A large file has a million such lists, and the norm is one call: it takes a fifth of the time of
    a largest, a smallest and a sum, for NaN.
    """
    if type(values) is not list or not values or not set(map(type, values)) <= _NUMBERS:
        return math.inf
    try:
        return math.hypot(*values)
    except OverflowError:  # an int that is no float
        return math.inf


def coordinates(values: Sequence[float], what: str) -> NDArray[np.float64]:
    """Numbers from an annotation file as float64 [n].

    Raises:
        ValueError: not a list, or not of finite numbers of at most a million; says which, after
            ``what``.
    """
    if reach(values) <= FARTHEST:
        return np.array(values, np.float64)
    try:
        numbers = np.asarray(values)
        # NumPy takes true for 1 among numbers
        numeric = (numbers.dtype.kind in "iuf" or not numbers.size) and bool not in map(
            type, values
        )
        numbers = numbers.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        numeric = False
    if not numeric or numbers.ndim != 1:
        raise ValueError(f"{what} must be numbers, not {str(values)[:60]}")
    wrong = ~(np.abs(numbers) <= FARTHEST)  # so that NaN is wrong too
    if wrong.any():
        raise ValueError(
            f"{what} must be numbers of at most {FARTHEST:.0f} px, got {numbers[wrong][0]}"
        )
    return numbers


def check_length(values: Sequence[float]) -> None:
    """Refuse a polygon [x, y, x, y, ...] for which pycocotools would take gigabytes.

    Raises:
        ValueError: its outline is longer than any around an object of an image.
    """
    points = np.reshape(values, (-1, 2))
    length = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum()
    if length > LONGEST:
        raise ValueError(
            f"a polygon's outline is {length:.0f} px long; it must be {LONGEST:.0f} px at most"
        )


def polygon(xs: ArrayLike, ys: ArrayLike, height: int, width: int) -> Part:
    """The pixels of a polygon: those whose centre is inside, on an edge or on a corner.

    The same pixels as scikit-image's ``draw.polygon``, from which matterport's samples made their
    masks (even-odd rule, O'Rourke 1998, Computational Geometry in C, 7.4: a pixel is inside where
    the rays to the right or to the left of it cross the outline an odd number of times). That one
    tests every pixel against every edge; this finds where each edge crosses each row.

    Args:
        xs, ys: float [n] px, in order; the last point is joined to the first.
        height, width: of the image in pixels.

    Returns:
        part: bool [h, w]; top and left: its first row and column in the image.
    """
    xs, ys = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
    if not len(xs):
        return NO_PART
    left, right = max(int(np.ceil(xs.min())), 0), min(int(np.floor(xs.max())), width - 1)
    top, bottom = max(int(np.ceil(ys.min())), 0), min(int(np.floor(ys.max())), height - 1)
    if left > right or top > bottom:
        return NO_PART
    # [w, h]: adding up rows of it is fast
    inside = np.zeros((right - left + 1, bottom - top + 1), bool)
    x0, y0, x1, y1 = xs, ys, np.roll(xs, 1), np.roll(ys, 1)
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)
    # rows between the ends of each edge: the lower end belongs to the edge for the rays to the
    # right, the upper for those to the left, so that a corner is crossed once by either
    for first, last, to_the_right in (
        (np.ceil(low), np.ceil(high) - 1, True),
        (np.floor(low) + 1, np.floor(high), False),
    ):
        first, last = np.maximum(first, top).astype(int), np.minimum(last, bottom).astype(int)
        count = np.maximum(last - first + 1, 0)
        edge = np.repeat(np.arange(len(xs)), count)
        rows = np.arange(len(edge)) + np.repeat(first - count.cumsum() + count, count)
        above, below = y0[edge] - rows, y1[edge] - rows
        crossings = (x0[edge] * below - x1[edge] * above) / (below - above)
        # the first column that the crossing is not to the right of, or that it is to the left of
        columns = np.ceil(crossings) if to_the_right else np.floor(crossings) + 1
        columns = np.clip(columns, left, right + 1).astype(int) - left
        changes = np.zeros((inside.shape[0] + 1, inside.shape[1]), np.uint8)
        np.bitwise_xor.at(changes, (columns, rows - top), 1)
        odd = np.bitwise_xor.accumulate(changes, axis=0)
        inside |= (odd[:-1] ^ (odd[-1] if to_the_right else 0)).astype(bool)
    corner_x, corner_y = np.rint(xs), np.rint(ys)
    corner = (
        (np.abs(corner_x - xs) < 1e-12)
        & (np.abs(corner_y - ys) < 1e-12)
        & (corner_x >= left)
        & (corner_x <= right)
        & (corner_y >= top)
        & (corner_y <= bottom)
    )
    inside[corner_x[corner].astype(int) - left, corner_y[corner].astype(int) - top] = True
    return inside.T, top, left


def rectangle(x1: float, y1: float, x2: float, y2: float, height: int, width: int) -> Part:
    """The pixels of a rectangle: those whose centre is at x1 <= x < x2 and y1 <= y < y2.

    A rectangle of whole numbers has (x2 - x1) * (y2 - y1) pixels, as this project's boxes do.

    Args and returns as in `polygon`; the corners may come in any order.
    """
    (x1, x2), (y1, y2) = sorted((x1, x2)), sorted((y1, y2))
    left, right = max(int(np.ceil(x1)), 0), min(int(np.ceil(x2)), width)
    top, bottom = max(int(np.ceil(y1)), 0), min(int(np.ceil(y2)), height)
    if left >= right or top >= bottom:
        return NO_PART
    return np.ones((bottom - top, right - left), bool), top, left


def ellipse(
    cx: float, cy: float, rx: float, ry: float, theta: float, height: int, width: int
) -> Part:
    """The pixels of an ellipse: those whose centre is inside, by scikit-image's ``draw.ellipse``.

    Args:
        cx, cy: centre, px.
        rx, ry: half axes, px; a circle has rx = ry, and is then scikit-image's ``draw.disk``.
        theta: radians that the rx axis is turned from x towards y, which is clockwise on the
            screen.
        height, width: of the image in pixels.

    Returns:
        as `polygon`.
    """
    from skimage.draw import ellipse as ellipse_pixels

    if not (rx > 0 and ry > 0):
        return NO_PART
    # of the turned ellipse, so that nothing outside of the image is computed
    reach_x = np.hypot(rx * np.cos(theta), ry * np.sin(theta))
    reach_y = np.hypot(rx * np.sin(theta), ry * np.cos(theta))
    left, right = max(int(np.ceil(cx - reach_x)), 0), min(int(np.floor(cx + reach_x)), width - 1)
    top, bottom = max(int(np.ceil(cy - reach_y)), 0), min(int(np.floor(cy + reach_y)), height - 1)
    if left > right or top > bottom:
        return NO_PART
    part = np.zeros((bottom - top + 1, right - left + 1), bool)
    # scikit-image turns the other way
    rows, columns = ellipse_pixels(cy - top, cx - left, ry, rx, part.shape, rotation=-theta)
    part[rows, columns] = True
    return part, top, left


def bitmap(pixels: np.ndarray, x1: int, y1: int, height: int, width: int) -> Part:
    """A mask whose top left pixel is (x1, y1) of the image, cut off at the image's edges.

    Args:
        pixels: [h, w], foreground where > 0.
        x1, y1: int px, also outside the image.
        height, width: of the image in pixels.

    Returns:
        as `polygon`.
    """
    top, left = max(y1, 0), max(x1, 0)
    part = pixels[top - y1 : max(height - y1, 0), left - x1 : max(width - x1, 0)] > 0
    return (part, top, left) if part.size else NO_PART

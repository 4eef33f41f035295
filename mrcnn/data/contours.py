"""From a mask to polygons, exactly.

Points are (x, y) in pixels from the top left corner of the image, as COCO and labelme have
them: the pixel of column 0 and row 0 is the square from (0, 0) to (1, 1), its centre (0.5, 0.5).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.data.masks import extract_bboxes


def mask_polygons(
    mask: ArrayLike, tolerance: float = 0.0, holes: str = "bridge"
) -> list[NDArray[np.float64]]:
    """The outlines of a mask, one polygon for each part.

    Pixels that touch at a corner only are two parts. With ``tolerance`` 0 the polygons run along
    the edges of the pixels, so that their area is the number of pixels and that drawing them (a
    pixel is inside where its centre is) gives the mask back.

    Args:
        mask: [height, width], foreground where > 0.
        tolerance: px; points that lie closer than this to the line without them are left out
            (Douglas and Peucker 1973). 1 turns the stairs of a slanted edge into a line.
        holes: "bridge" joins the outline of a hole to that of its part by a line there and back,
            of no area, since neither COCO's nor labelme's polygons know holes; "fill" leaves
            holes out.

    Returns:
        list of float64 [points, 2] of (x, y) px, not closed (the first point is not repeated),
        parts in the order of their topmost row; empty for an empty mask.

    Raises:
        ValueError: a mask of another shape, a negative tolerance, or another word for ``holes``.
    """
    from skimage.measure import label, regionprops

    mask = np.asarray(mask) > 0
    if mask.ndim != 2:
        raise ValueError(f"a mask must be [height, width], got shape {mask.shape}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance!r}; it must be 0 or a positive number of pixels")
    if holes not in ("bridge", "fill"):
        raise ValueError(f"holes is {holes!r}; use 'bridge' or 'fill'")
    y1, x1, y2, x2 = extract_bboxes(mask[..., np.newaxis])[0]
    if y1 == y2:
        return []
    polygons = []
    for part in regionprops(label(mask[y1:y2, x1:x2], connectivity=1)):
        outline, *inner = _rings(part.image)
        outline = _simplified(outline, tolerance)
        if holes == "bridge":
            for ring in inner:
                ring = _simplified(ring, tolerance)
                if len(ring) > 2:  # simplified away otherwise
                    outline = _bridged(outline, ring)
        polygons.append(outline + np.array([x1 + part.bbox[1], y1 + part.bbox[0]]))
    return polygons


def polygon_area(polygon: ArrayLike) -> float:
    """Area of [points, 2] in px, positive for a polygon that goes clockwise on the screen."""
    x, y = np.asarray(polygon, np.float64).T
    return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _rings(part):
    """Closed lines around one connected part: its outline first, then its holes, which go the other
    way.
    """
    from skimage.measure import find_contours

    # "low" twice: pixels that touch at a corner are not connected, and the outline is the one ring
    # of positive area
    lines = find_contours(
        np.pad(part, 1).astype(np.uint8), 0.5, fully_connected="low", positive_orientation="low"
    )
    return sorted((_along_pixels(line[:-1]) for line in lines), key=polygon_area, reverse=True)


def _along_pixels(line):
    """A line of `find_contours`, which cuts corners, as one along the edges of the pixels.

    line: [points, 2] of (row, column) of the padded part; each point lies in the middle of an
    edge of a pixel, so one of its numbers is whole and the other is not.
    """
    following = np.roll(line, -1, axis=0)
    half = line != np.floor(line)
    # where the line turns from an edge to one across, the corner has the broken number of both
    corners = np.where(half, line, following)
    turns = (half != (following != np.floor(following))).any(axis=1)
    # the padding moves by a pixel, the centre of a pixel lies half a pixel inside: x = column - 1 +
    # 0.5
    return corners[turns][:, ::-1] - 0.5


def _simplified(ring, tolerance):
    """A ring with fewer points; its two farthest points stay, so that it does not depend on the
    start.
    """
    if not tolerance or len(ring) <= 4:
        return ring
    from skimage.measure import approximate_polygon

    first = np.argmax(((ring - ring.mean(axis=0)) ** 2).sum(axis=1))
    ring = np.roll(ring, -first, axis=0)
    middle = max(int(np.argmax(((ring - ring[0]) ** 2).sum(axis=1))), 1)
    halves = ring[: middle + 1], np.concatenate([ring[middle:], ring[:1]])
    simple = np.concatenate([approximate_polygon(half, tolerance)[:-1] for half in halves])
    return simple if len(simple) > 2 else ring


def _bridged(outline, ring):
    """Go along the outline, over to the ring at the nearest pair of points, round it, and back."""
    distances = ((outline[:, np.newaxis] - ring) ** 2).sum(axis=-1)
    start, entry = np.unravel_index(distances.argmin(), distances.shape)
    ring = np.roll(ring, -entry, axis=0)
    return np.concatenate([outline[: start + 1], ring, ring[:1], outline[start:]])

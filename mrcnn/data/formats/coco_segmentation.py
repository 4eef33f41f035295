"""Segmentations of COCO json: polygons and run lengths."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable
from typing import Any

from mrcnn.common.words import option_or_argument
from mrcnn.data.formats.regions import FEW_POINTS, NO_PIXEL, Outline
from mrcnn.data.formats.shapes import FARTHEST, LONGEST, check_length, coordinates, reach
from mrcnn.data.rle import run_lengths

logger = logging.getLogger(__name__)


def no_mask() -> str:
    """Words for an annotation without a segmentation."""
    option = option_or_argument("--boxes-as-masks", "boxes_as_masks=True")
    return f"without a segmentation (a box is no mask; {option} takes it for one)"


def is_empty(segmentation: Any) -> bool:
    """Whether an annotation has no segmentation; tools write none, [] or [[]] for a box."""
    return not segmentation or segmentation == [[]]


def box_outline(box: Any) -> list[list[float]] | None:
    """The polygon around a bbox [x, y, width, height] px, or None where there is none.

    Raises:
        ValueError: other than four numbers.
    """
    if box is None:
        return None
    sides = coordinates(box, "its bbox")
    if len(sides) != 4:
        raise ValueError(f"its bbox must be [x, y, width, height], got {str(box)[:60]}")
    x, y, width, height = sides.tolist()
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def read_segmentation(
    segmentation: Any, height: int, width: int, crowd: bool, place: Callable[[], str]
) -> tuple[Outline | None, str | None]:
    """The run lengths or the polygons of a segmentation, or None and why it has none.

    Args:
        segmentation: of an annotation: polygons or run lengths.
        height, width: of the image in pixels.
        crowd: whether it is a region of many objects, whose run lengths may be of another size.
        place: returns file, image and annotation, for a warning.

    Raises:
        ValueError: a segmentation that makes no sense; the message has no place.
    """
    if is_empty(segmentation):
        return None, no_mask()
    if isinstance(segmentation, list):
        rings = _rings(segmentation)
        return (tuple(rings), None) if rings else (None, FEW_POINTS)
    if isinstance(segmentation, dict):
        from pycocotools import mask as coco_mask

        runs = _checked_runs(segmentation, height, width, crowd, place)
        if not sum(runs[1::2]):
            return None, NO_PIXEL
        rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
        return {"size": [height, width], "counts": rle["counts"].decode("ascii")}, None
    raise ValueError(
        "its segmentation must be a list of polygons or an RLE of 'counts' and 'size', not "
        f"{type(segmentation).__name__}"
    )


def _rings(segmentation):
    """The bytes of float64 [x, y, x, y ...] of each polygon of three points or more; a single
    polygon may be given without its outer list.
    """
    if not isinstance(segmentation[0], list):
        segmentation = [segmentation]
    rings = []
    for ring in segmentation:
        far = reach(ring)
        if not far <= FARTHEST or len(ring) == 2:  # NaN too
            _refuse_points(segmentation)
            ring = coordinates(ring, "a polygon").tolist()
        if len(ring) % 2:
            raise ValueError(f"a polygon has {len(ring)} numbers; it must be x, y, x, y, ...")
        if far * len(ring) > LONGEST:  # an edge is at most twice as long as its ends are far away
            check_length(ring)
        if len(ring) >= 6:
            rings.append(array("d", ring).tobytes())
    return rings


def _refuse_points(segmentation):
    """Refuse polygons whose points are lists of their own."""
    lists = [ring for ring in segmentation if isinstance(ring, list)]
    nested = any(isinstance(number, list) for ring in lists for number in ring[:1])
    pairs = len(lists) == len(segmentation) and all(len(ring) == 2 for ring in lists)
    if nested or (pairs and len(segmentation) > 2):
        raise ValueError(
            "its segmentation has points of their own, [[x, y], [x, y], ...]; a polygon must be "
            "one flat list, and the segmentation a list of these: [[x, y, x, y, ...]]"
        )


def _checked_runs(rle, height, width, crowd, place):
    """The run lengths of an RLE, which fill its size: else pycocotools reads beyond their end."""
    size, counts = rle.get("size"), rle.get("counts")
    if (
        not isinstance(size, (list, tuple))
        or len(size) != 2
        or not all(isinstance(side, int) and not isinstance(side, bool) for side in size)
        or not isinstance(counts, (list, str, bytes))
    ):
        raise ValueError(
            f"an RLE must have 'counts' and 'size' [height, width], got {str(rle)[:60]}"
        )
    if list(size) != [height, width]:
        if not crowd:
            raise ValueError(
                f"its RLE has the size {list(size)}, the image is [{height}, {width}] (height, "
                "width)"
            )
        logger.warning(
            "%s: a crowd's RLE has the size %s, the image is %s (height, width): all of the image "
            "is taken as the crowd, as in the original",
            place(),
            list(size),
            [height, width],
        )
        return [0, height * width]
    return run_lengths(rle).tolist()

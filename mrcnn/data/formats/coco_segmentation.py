"""Segmentations of COCO json, polygons and run lengths, as `data.rle.Rle`s."""

import logging
from typing import Any

from mrcnn.data.formats.regions import FEW_POINTS
from mrcnn.data.formats.shapes import check_length, coordinates
from mrcnn.data.rle import Rle, merge_rles, run_lengths

logger = logging.getLogger(__name__)

NO_MASK = "without a segmentation (a box is no mask; --boxes-as-masks takes it for one)"


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


def outline_rle(
    segmentation: Any, height: int, width: int, crowd: bool, place: str
) -> tuple[Rle | None, str | None]:
    """The run lengths of a segmentation, or None and why it has none.

    Args:
        segmentation: of an annotation: polygons or run lengths.
        height, width: of the image in pixels.
        crowd: whether it is a region of many objects, whose run lengths may be of another size.
        place: file, image and annotation, for messages.

    Raises:
        ValueError: a segmentation that makes no sense; the message has no place.
    """
    from pycocotools import mask as coco_mask

    if is_empty(segmentation):
        return None, NO_MASK
    if isinstance(segmentation, dict):
        rle = _checked_rle(segmentation, height, width, crowd, place)
    elif isinstance(segmentation, list):
        rings = _rings(segmentation)
        if not rings:
            return None, FEW_POINTS
        rle = merge_rles(coco_mask.frPyObjects(rings, height, width))
    else:
        raise ValueError(
            "its segmentation must be a list of polygons or an RLE of 'counts' and 'size', not "
            f"{type(segmentation).__name__}"
        )
    counts = rle["counts"]
    return {
        "size": [height, width],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }, None


def _rings(segmentation):
    """float64 [[x, y, x, y ...], ...] of three points or more; a single polygon may be given
    without its outer list.
    """
    if not isinstance(segmentation[0], list):
        segmentation = [segmentation]
    rings = []
    lists = [ring for ring in segmentation if isinstance(ring, list)]
    nested = any(isinstance(number, list) for ring in lists for number in ring[:1])
    pairs = len(lists) == len(segmentation) and all(len(ring) == 2 for ring in lists)
    if nested or (pairs and len(segmentation) > 2):
        raise ValueError(
            "its segmentation has points of their own, [[x, y], [x, y], ...]; a polygon must be "
            "one flat list, and the segmentation a list of these: [[x, y, x, y, ...]]"
        )
    for ring in segmentation:
        numbers = coordinates(ring, "a polygon")
        if len(numbers) % 2:
            raise ValueError(f"a polygon has {len(numbers)} numbers; it must be x, y, x, y, ...")
        check_length(numbers)
        if len(numbers) >= 6:
            rings.append(numbers)
    return rings


def _checked_rle(rle, height, width, crowd, place):
    """The RLE packed; pycocotools reads beyond the end of one whose runs do not fill its size."""
    from pycocotools import mask as coco_mask

    size, counts = rle.get("size"), rle.get("counts")
    if (
        not isinstance(size, (list, tuple))
        or len(size) != 2
        or not all(isinstance(side, int) for side in size)
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
            place,
            list(size),
            [height, width],
        )
        return coco_mask.frPyObjects(
            {"size": [height, width], "counts": [0, height * width]}, height, width
        )
    runs = run_lengths(rle)
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)

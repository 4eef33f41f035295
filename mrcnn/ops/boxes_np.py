"""Boxes in NumPy: overlap, suppression, deltas and normalised coordinates.

Every box is (y1, x1, y2, x2) with y2 and x2 exclusive. The functions take any
unit unless they say pixels, and never write into their arguments.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Log sizes count up to here. exp of a larger one may be infinite, and then its gradient is NaN even
# where the box is clipped afterwards. A box this much larger than its anchor fills the image either
# way.
MAX_LOG_SCALE = 10.0
# Numbers per block of compute_overlaps.
_BLOCK_CELLS = 2**15


def _areas(boxes):
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _ratio(part, whole):
    """part / whole, and 0 where whole is 0 (two boxes without area)."""
    out = np.zeros(np.shape(whole), np.result_type(part, whole, np.float32))
    return np.divide(part, whole, out=out, where=whole != 0)


def compute_iou(
    box: np.ndarray, boxes: np.ndarray, box_area: float | np.number, boxes_area: np.ndarray
) -> NDArray[np.floating]:
    """Intersection over union of one box with many.

    Args:
        box: [4], one box.
        boxes: [N, 4].
        box_area: area of `box`, passed in so that callers compute it once.
        boxes_area: [N], areas of `boxes`.

    Returns:
        [N] in 0..1, of the inputs' float type (float64 for integer boxes).
        Two boxes without area have an IoU of 0.
    """
    top = np.maximum(box[0], boxes[:, 0])
    left = np.maximum(box[1], boxes[:, 1])
    bottom = np.minimum(box[2], boxes[:, 2])
    right = np.minimum(box[3], boxes[:, 3])
    intersection = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    return _ratio(intersection, box_area + boxes_area - intersection)


def compute_overlaps(boxes1: ArrayLike, boxes2: ArrayLike) -> NDArray[np.float64]:
    """IoU of every box of one set with every box of another: `ops.boxes.pairwise_iou` in NumPy, by
    the original's name.

    Args:
        boxes1: [N1, 4].
        boxes2: [N2, 4], in the same unit.

    Returns:
        float64 [N1, N2]. Either set may be empty.
    """
    boxes1, boxes2 = np.asarray(boxes1), np.asarray(boxes2)
    overlaps = np.zeros((len(boxes1), len(boxes2)))
    if overlaps.size == 0:
        return overlaps
    area1, area2 = _areas(boxes1), _areas(boxes2)
    top, left, bottom, right = boxes2.T
    # Blocks that stay in the cache: three times faster than all 260,000
    # anchors of a large image at once.
    step = max(_BLOCK_CELLS // len(boxes2), 1)
    for start in range(0, len(boxes1), step):
        rows = slice(start, start + step)
        y1, x1, y2, x2 = boxes1[rows].T[:, :, np.newaxis]  # each [block, 1]
        height = np.maximum(np.minimum(y2, bottom) - np.maximum(y1, top), 0)
        width = np.maximum(np.minimum(x2, right) - np.maximum(x1, left), 0)
        intersection = height * width  # [block, N2]
        union = area1[rows, np.newaxis] + area2 - intersection
        np.divide(intersection, union, out=overlaps[rows], where=union != 0)
    return overlaps


def non_max_suppression(boxes: ArrayLike, scores: ArrayLike, threshold: float) -> NDArray[np.int32]:
    """Keep the best box of every group of boxes that overlap.

    Args:
        boxes: [N, 4]. Integers are taken as float32.
        scores: [N].
        threshold: a box is dropped when its IoU with a better one is above this.

    Returns:
        int32 [K], indices of the boxes kept, best score first; empty for no boxes.
    """
    boxes, scores = np.asarray(boxes), np.asarray(scores)
    if boxes.dtype.kind in "iu":
        boxes = boxes.astype(np.float32)
    area = _areas(boxes)
    order = scores.argsort()[::-1]
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        iou = compute_iou(boxes[best], boxes[rest], area[best], area[rest])
        order = rest[iou <= threshold]
    return np.array(kept, dtype=np.int32)


def apply_box_deltas(
    boxes: ArrayLike, deltas: ArrayLike, limit: float = MAX_LOG_SCALE
) -> NDArray[np.float32]:
    """Move and scale boxes (the inverse of `box_refinement`).

    Args:
        boxes: [N, 4].
        deltas: [N, (dy, dx, log dh, log dw)], already multiplied by their
            standard deviation.
        limit: log dh and log dw count up to here, ``Config.BBOX_LOG_SCALE_LIMIT``.

    Returns:
        float32 [N, 4]: the centre moves by dy * height and dx * width, the
        sides grow by exp(dh) and exp(dw) (R-CNN, Girshick 2014, appendix C).
    """
    boxes, deltas = np.asarray(boxes, dtype=np.float32), np.asarray(deltas)
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + 0.5 * size
    # float64 deltas count in full, but every step is stored as float32.
    centre = (centre + deltas[:, :2] * size).astype(np.float32)
    size = (size * np.exp(np.minimum(deltas[:, 2:], limit))).astype(np.float32)
    low = centre - 0.5 * size
    return np.concatenate([low, low + size], axis=1)


def box_refinement(
    box: ArrayLike, gt_box: ArrayLike, dtype: type[np.floating] = np.float32
) -> NDArray[np.floating]:
    """The deltas that turn `box` into `gt_box`.

    Args:
        box: [N, 4].
        gt_box: [N, 4], in the same unit.
        dtype: of the calculation; the RPN's targets are float64 in the original,
            all others float32.

    Returns:
        [N, (dy, dx, log dh, log dw)] of that dtype. Where either box has no height
        or no width nothing can be refined, and the row is 0.
    """
    box, gt_box = np.asarray(box, dtype), np.asarray(gt_box, dtype)
    size, gt_size = box[:, 2:] - box[:, :2], gt_box[:, 2:] - gt_box[:, :2]
    centre, gt_centre = box[:, :2] + 0.5 * size, gt_box[:, :2] + 0.5 * gt_size
    usable = ((size > 0) & (gt_size > 0)).all(axis=1, keepdims=True)
    divisor = np.where(usable, size, dtype(1))
    shift = np.where(usable, (gt_centre - centre) / divisor, dtype(0))
    growth = np.log(np.where(usable, gt_size / divisor, dtype(1)))
    return np.concatenate([shift, growth], axis=1)


def norm_boxes(boxes: ArrayLike, shape: Sequence[int], shift: int = 1) -> NDArray[np.float32]:
    """Pixel boxes to normalised ones: the last pixel, not its far edge, is 1.

    Args:
        boxes: [..., 4] in pixels.
        shape: (height, width) of the image in pixels.
        shift: ``Config.BOX_SHIFT``; with 0 the last pixel's far edge is 1.

    Returns:
        float32 [..., 4], (box - (0, 0, shift, shift)) / (height - shift, width - shift, ...).
    """
    height, width = shape
    # An image one pixel high would divide by 0.
    scale = np.maximum(np.array([height, width, height, width]) - shift, 1)
    return np.divide(np.asarray(boxes) - [0, 0, shift, shift], scale).astype(np.float32)


def pixel_boxes(boxes: ArrayLike, shape: Sequence[int], shift: int = 1) -> NDArray[np.float64]:
    """Normalised boxes to pixels that are not rounded (the inverse of `norm_boxes`).

    Args:
        boxes: [..., 4], normalised.
        shape: (height, width) of the image in pixels.
        shift: ``Config.BOX_SHIFT``.

    Returns:
        float64 [..., 4] in pixels.
    """
    height, width = shape
    # unlike in norm_boxes, 0 is right for a side of one pixel: the box stays inside
    scale = np.array([height, width, height, width]) - shift
    return np.multiply(boxes, scale) + np.array([0, 0, shift, shift])


def denorm_boxes(boxes: ArrayLike, shape: Sequence[int], shift: int = 1) -> NDArray[np.int32]:
    """`pixel_boxes` rounded half to even, int32 [..., 4]."""
    return np.around(pixel_boxes(boxes, shape, shift)).astype(np.int32)


def trim_zeros(x: np.ndarray) -> np.ndarray:
    """Drop the rows that are all zero: the padding of fixed-size arrays.

    Args:
        x: [rows, columns].

    Returns:
        [kept rows, columns], same dtype.
    """
    if np.ndim(x) != 2:
        raise ValueError(f"trim_zeros needs [rows, columns], got shape {np.shape(x)}")
    return x[(x != 0).any(axis=1)]


def has_area(boxes: np.ndarray) -> NDArray[np.bool_]:
    """Which boxes are more than a line or a point: bool [N] for boxes [N, 4]."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])

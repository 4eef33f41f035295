"""What the region proposal network shall answer for one image.

Anchors are matched to objects as in Faster R-CNN (Ren et al. 2015, section
3.1.2), with a random subset of both sides entering the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.ops.boxes_np import box_refinement, compute_iou, has_area

if TYPE_CHECKING:
    from mrcnn.config import Config


# An anchor that touches a crowd this much may hold an object nobody annotated.
CROWD_IOU = 0.001


def build_rpn_targets(
    image_shape: Sequence[int],
    anchors: ArrayLike,
    gt_class_ids: ArrayLike,
    gt_boxes: ArrayLike,
    config: Config,
    rng: np.random.RandomState | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Match anchors to objects and draw the ones that are trained on.

    Args:
        image_shape: (height, width, channels) in pixels, for RPN_IGNORE_CROSSING.
        anchors: [A, (y1, x1, y2, x2)] in pixels; in Fortran's order, side by side, they need not be
            copied.
        gt_class_ids: [N] integers; below 0 marks a crowd.
        gt_boxes: [N, (y1, x1, y2, x2)] in pixels. Boxes without area match
            nothing (in the original they gave infinite targets).
        config: RPN_POSITIVE_IOU, RPN_NEGATIVE_IOU, RPN_TRAIN_ANCHORS_PER_IMAGE,
            RPN_BBOX_STD_DEV and RPN_IGNORE_CROSSING are read.
        rng: np.random.RandomState; None draws from the global np.random.

    Returns:
        rpn_match: int32 [A]. 1 positive, -1 negative, 0 not trained on.
        rpn_bbox: float64 [RPN_TRAIN_ANCHORS_PER_IMAGE, (dy, dx, log dh, log dw)],
            divided by RPN_BBOX_STD_DEV: a row per positive anchor in the order
            of `anchors`, then zeros. It leads to the object that the anchor
            overlaps most, also where another object made the anchor positive.

    Raises:
        ValueError: anchors and gt_boxes are not [*, 4], or ids and boxes differ in number.
    """
    anchors = np.asarray(anchors)
    boxes = np.asarray(gt_boxes, dtype=np.float64)
    class_ids = np.asarray(gt_class_ids)
    for name, value in (("anchors", anchors), ("gt_boxes", boxes)):
        if value.ndim != 2 or value.shape[1] != 4:
            raise ValueError(f"{name} must be [count, 4], got shape {value.shape}")
    if class_ids.shape != boxes.shape[:1]:
        raise ValueError(
            f"gt_class_ids must have one id per box of gt_boxes: got shapes "
            f"{class_ids.shape} and {boxes.shape}"
        )
    draw = np.random if rng is None else rng

    real = has_area(boxes)
    objects, crowds = boxes[real & (class_ids >= 0)], boxes[real & (class_ids < 0)]
    sides = np.ascontiguousarray(anchors.T)
    if config.RPN_IGNORE_CROSSING:
        y1, x1, y2, x2 = sides
        crossing = (y1 < 0) | (x1 < 0) | (y2 > image_shape[0]) | (x2 > image_shape[1])
        sides = np.where(crossing, 0.0, sides)  # without an area they match nothing
    best_iou, best_object, fitting = _match(sides, objects)

    negative = best_iou < config.RPN_NEGATIVE_IOU
    for touching, iou in _overlapping(sides, crowds):
        negative[touching[iou >= CROWD_IOU]] = False
    match = np.zeros(len(anchors), dtype=np.int32)
    match[negative] = -1
    match[fitting] = 1  # however badly they fit
    match[best_iou >= config.RPN_POSITIVE_IOU] = 1
    if config.RPN_IGNORE_CROSSING:
        match[crossing] = 0

    total = config.RPN_TRAIN_ANCHORS_PER_IMAGE
    _drop_surplus(match, 1, total // 2, draw)
    _drop_surplus(match, -1, total - np.count_nonzero(match == 1), draw)

    positive = np.flatnonzero(match == 1)
    rpn_bbox = np.zeros((total, 4))
    matched = objects[best_object[positive]]
    rpn_bbox[: len(positive)] = (
        box_refinement(anchors[positive], matched, np.float64) / config.RPN_BBOX_STD_DEV
    )
    return match, rpn_bbox


def _overlapping(sides, boxes):
    """For each box: the indices of the anchors it overlaps, and their IoU.

    Nearly all of the 260,000 anchors of a 1024 px image miss a given object;
    finding the few that do not is ten times cheaper than all IoUs.
    """
    y1, x1, y2, x2 = sides
    areas = (y2 - y1) * (x2 - x1)
    for box in boxes:
        near = np.flatnonzero((y1 < box[2]) & (y2 > box[0]) & (x1 < box[3]) & (x2 > box[1]))
        area = (box[2] - box[0]) * (box[3] - box[1])
        # each side in one piece, which takes two thirds of the time that rows take
        yield near, compute_iou(box, sides.take(near, axis=1).T, area, areas[near])


def _match(sides, objects):
    """Best IoU [A] and best object [A] per anchor; anchors that fit some object best.

    Of equal objects the first wins; of equal anchors all are taken.
    """
    best_iou = np.zeros(sides.shape[1])
    best_object = np.zeros(sides.shape[1], dtype=np.intp)
    fitting = [np.zeros(0, dtype=np.intp)]
    for index, (near, iou) in enumerate(_overlapping(sides, objects)):
        better = iou > best_iou[near]
        best_iou[near[better]] = iou[better]
        best_object[near[better]] = index
        # An object out of reach of every anchor matches none: at IoU 0 all would tie.
        if len(near):
            fitting.append(near[iou == iou.max()])
    return best_iou, best_object, np.concatenate(fitting)


def _drop_surplus(match, value, limit, draw):
    """Set random entries that equal `value` to 0 until at most `limit` are left."""
    found = np.flatnonzero(match == value)
    if len(found) > limit:
        match[draw.choice(found, len(found) - limit, replace=False)] = 0

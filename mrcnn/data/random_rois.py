"""Random regions, and what the heads shall answer for them.

The NumPy twin of the training graph's target layer. Training uses the layer;
this one feeds `data_generator(random_rois=...)`, with which the heads can be
studied (and trained) without a region proposal network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.data.masks import expand_mask
from mrcnn.data.resize import resize
from mrcnn.ops.boxes_np import box_refinement, compute_overlaps, has_area

if TYPE_CHECKING:
    from mrcnn.config import Config


# Share of random regions that is drawn around the objects.
NEAR_SHARE = 0.9


def generate_random_rois(
    image_shape: Sequence[int],
    count: int,
    gt_class_ids: ArrayLike,
    gt_boxes: ArrayLike,
    rng: np.random.RandomState | None = None,
) -> NDArray[np.int32]:
    """Draw random boxes, nine tenths of them around the objects.

    Args:
        image_shape: (height, width, ...) in pixels, at least 2 x 2.
        count: number of boxes.
        gt_class_ids: [N]. Not used; kept for the original's signature.
        gt_boxes: [N, (y1, x1, y2, x2)] in pixels. An object's boxes have their
            corners within its own height and width of it. Objects without area
            in the image get none.
        rng: np.random.RandomState; None draws from the global np.random.

    Returns:
        int32 [count, (y1, x1, y2, x2)] in pixels: those near each object in
        turn, then those from anywhere in the image. Every side is at least 1.

    Raises:
        ValueError: the image is too small to hold two different corners.
    """
    height, width = int(image_shape[0]), int(image_shape[1])
    if min(height, width) < 2:
        raise ValueError(
            f"generate_random_rois needs an image of at least 2 x 2 pixels, got {height} x {width}"
        )
    draw = np.random if rng is None else rng
    frame = [height, width, height, width]
    boxes = np.clip(np.asarray(gt_boxes).reshape(-1, 4), 0, frame)
    boxes = boxes[has_area(boxes)]
    rois = np.zeros((count, 4), dtype=np.int32)
    share = int(NEAR_SHARE * count / len(boxes)) if len(boxes) else 0
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        rows = max(y1 - (y2 - y1), 0), min(y2 + (y2 - y1), height)
        columns = max(x1 - (x2 - x1), 0), min(x2 + (x2 - x1), width)
        rois[share * i : share * (i + 1)] = _random_boxes(rows, columns, share, draw)
    near = share * len(boxes)
    rois[near:] = _random_boxes((0, height), (0, width), count - near, draw)
    return rois


def _random_boxes(rows, columns, count, draw):
    """[count, 4] boxes whose corners lie in half-open ranges of at least two numbers."""
    # Twice the number at once: at worst every second pair has two equal ends, so
    # that a few rounds are always enough.
    while True:
        spans = []
        for low, high in (rows, columns):
            pairs = draw.randint(low, high, (count * 2, 2))
            spans.append(np.sort(pairs[pairs[:, 0] != pairs[:, 1]][:count], axis=1))
        ys, xs = spans
        if len(ys) == len(xs) == count:
            return np.stack([ys[:, 0], xs[:, 0], ys[:, 1], xs[:, 1]], axis=1)


def build_detection_targets(
    rpn_rois: ArrayLike,
    gt_class_ids: ArrayLike,
    gt_boxes: ArrayLike,
    gt_masks: np.ndarray,
    config: Config,
    rng: np.random.RandomState | None = None,
) -> tuple[np.ndarray, NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Draw the regions that the heads train on, and their targets.

    Differs from the training graph as the original does: positive means an IoU
    above ROI_POSITIVE_IOU and negative one below it (equal is neither), too few
    negatives are repeated to fill the rows, boxes are given per class, and mask
    targets are not rounded.

    Args:
        rpn_rois: [N, (y1, x1, y2, x2)] in pixels.
        gt_class_ids: int [M]; crowds (below 0) and padding (0) are left out.
        gt_boxes: [M, 4] in pixels; boxes without area are left out.
        gt_masks: bool [height, width, M], or mini masks if USE_MINI_MASK.
        config: TRAIN_ROIS_PER_IMAGE (T), ROI_POSITIVE_RATIO, ROI_POSITIVE_IOU, NUM_CLASSES (K),
            BBOX_STD_DEV, MASK_SHAPE (h, w), USE_MINI_MASK and IMAGE_SHAPE are read.
        rng: np.random.RandomState; None draws from the global np.random.

    Returns:
        rois: [T, 4] of rpn_rois' dtype. Positives, then negatives; where there
            is no negative to repeat, rows of zeros.
        class_ids: int32 [T], 0 for negatives.
        bboxes: float32 [T, K, (dy, dx, log dh, log dw)] / BBOX_STD_DEV, not 0 only
            for the class of the region's object.
        masks: float32 [T, h, w, K] in 0..1, likewise.
    """
    rpn_rois = np.asarray(rpn_rois)
    gt_class_ids, gt_boxes = np.asarray(gt_class_ids), np.asarray(gt_boxes)
    objects = np.flatnonzero((gt_class_ids > 0) & has_area(gt_boxes))
    draw = np.random if rng is None else rng

    overlaps = compute_overlaps(rpn_rois, gt_boxes[objects])
    if len(objects):
        nearest, iou = objects[overlaps.argmax(axis=1)], overlaps.max(axis=1)
    else:
        nearest, iou = np.zeros(len(rpn_rois), dtype=np.intp), np.zeros(len(rpn_rois))
    total = config.TRAIN_ROIS_PER_IMAGE
    positive = _at_most(
        np.flatnonzero(iou > config.ROI_POSITIVE_IOU), int(total * config.ROI_POSITIVE_RATIO), draw
    )
    negative = _at_most(np.flatnonzero(iou < config.ROI_POSITIVE_IOU), total - len(positive), draw)
    keep = np.concatenate([positive, negative])
    if len(negative) and len(keep) < total:
        keep = np.concatenate([keep, draw.choice(negative, total - len(keep), replace=True)])

    rois = np.zeros((total, 4), dtype=rpn_rois.dtype)
    rois[: len(keep)] = rpn_rois[keep]
    rows, owners = np.arange(len(positive)), nearest[positive]
    class_ids = np.zeros(total, dtype=np.int32)
    class_ids[rows] = gt_class_ids[owners]
    bboxes = np.zeros((total, config.NUM_CLASSES, 4), dtype=np.float32)
    bboxes[rows, class_ids[rows]] = box_refinement(rois[rows], gt_boxes[owners])
    bboxes /= config.BBOX_STD_DEV
    masks = np.zeros((total, *config.MASK_SHAPE, config.NUM_CLASSES), dtype=np.float32)
    full_masks = {
        owner: _full_mask(gt_masks[:, :, owner], gt_boxes[owner], config)
        for owner in np.unique(owners)
    }
    for row, owner in zip(rows, owners):
        masks[row, :, :, class_ids[row]] = _cut(full_masks[owner], rois[row], config.MASK_SHAPE)
    return rois, class_ids, bboxes, masks


def _at_most(indices, limit, draw):
    """All indices, or `limit` random ones where there are more."""
    return draw.choice(indices, limit, replace=False) if len(indices) > limit else indices


def _full_mask(mask, box, config):
    """The object's mask in the whole image, whichever way it is stored."""
    if not config.USE_MINI_MASK:
        return mask
    shape = tuple(config.IMAGE_SHAPE[:2])
    return expand_mask(box[np.newaxis], mask[:, :, np.newaxis], shape)[:, :, 0]


def _cut(mask, roi, shape):
    """The part of a mask inside a region, float [h, w] in 0..1."""
    y1, x1, y2, x2 = np.maximum(roi, 0).astype(np.int32)
    part = mask[y1:y2, x1:x2]
    # Less than a pixel of a float region may remain after rounding down.
    return resize(part.astype(float), shape) if part.size else np.zeros(shape)

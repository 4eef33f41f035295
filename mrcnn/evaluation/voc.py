"""VOC-style AP of one image, as the original computes it: all classes pooled, mask IoU."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.data.masks import compute_overlaps_masks
from mrcnn.ops.boxes_np import compute_overlaps, trim_zeros


def score_order(pred_boxes: ArrayLike, pred_scores: ArrayLike) -> NDArray[np.intp]:
    """Indices of the predictions whose box is not all zero, best score first.

    Row i of what ``compute_matches`` returns is prediction ``score_order(...)[i]``.
    """
    count = trim_zeros(np.asarray(pred_boxes)).shape[0]
    return np.argsort(np.asarray(pred_scores)[:count])[::-1]


def _overlaps_by_score(gt_boxes, gt_masks, pred_boxes, pred_class_ids, pred_scores, pred_masks):
    """Class ids of the predictions, best score first, and their mask IoU with each object."""
    gt_count = trim_zeros(np.asarray(gt_boxes)).shape[0]
    gt_masks = np.asarray(gt_masks)[..., :gt_count]
    order = score_order(pred_boxes, pred_scores)
    pred_masks = np.asarray(pred_masks)[..., : len(order)]
    if gt_count and len(order) and gt_masks.shape[:2] != pred_masks.shape[:2]:
        raise ValueError(
            f"gt_masks are {gt_masks.shape[0]}x{gt_masks.shape[1]} and pred_masks "
            f"{pred_masks.shape[0]}x{pred_masks.shape[1]} pixels; both must have the size of the "
            "image (mini masks: load the ground truth with use_mini_mask=False)"
        )
    # the overlaps are put in order, not the masks, which are large
    return np.asarray(pred_class_ids)[order], compute_overlaps_masks(pred_masks, gt_masks)[order]


def _match(overlaps, gt_class_ids, pred_class_ids, iou_threshold, score_threshold=0.0):
    """Greedy matching: each prediction takes the free object of its class it overlaps most."""
    pred_count, gt_count = overlaps.shape
    gt_match = -1 * np.ones([gt_count])
    pred_match = -1 * np.ones([pred_count])
    for i in range(pred_count):
        for j in np.argsort(overlaps[i])[::-1]:
            # The original compares its score threshold with the IoU, not with the score.
            if overlaps[i, j] < score_threshold:
                break
            if gt_match[j] > -1:
                continue
            if overlaps[i, j] < iou_threshold:
                break
            if pred_class_ids[i] == gt_class_ids[j]:
                gt_match[j] = i
                pred_match[i] = j
                break
    return gt_match, pred_match


def _average_precision(gt_match, pred_match):
    """Area under the interpolated precision-recall curve (VOC 2010 and later)."""
    hits = np.cumsum(pred_match > -1)
    precisions = hits / (np.arange(len(pred_match)) + 1)
    with np.errstate(invalid="ignore"):  # no object: recall is 0 / 0, NaN on purpose
        recalls = hits.astype(np.float32) / len(gt_match)
    precisions = np.concatenate([[0], precisions, [0]])
    recalls = np.concatenate([[0], recalls, [1]])
    # Precision at a recall is the best precision at that recall or any higher one.
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    steps = np.where(recalls[:-1] != recalls[1:])[0] + 1
    average = np.sum((recalls[steps] - recalls[steps - 1]) * precisions[steps])
    return average, precisions, recalls


def compute_matches(
    gt_boxes: ArrayLike,
    gt_class_ids: Sequence[int] | np.ndarray,
    gt_masks: ArrayLike,
    pred_boxes: ArrayLike,
    pred_class_ids: ArrayLike,
    pred_scores: ArrayLike,
    pred_masks: ArrayLike,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.floating]]:
    """Match the predictions of one image to its objects by mask IoU.

    Args:
        gt_boxes: [G, 4] (y1, x1, y2, x2) px; rows of zeros are padding and dropped.
        gt_class_ids: [G] int.
        gt_masks: [H, W, G] bool, of the image's size.
        pred_boxes, pred_class_ids, pred_scores, pred_masks: the same for P predictions.
        iou_threshold: least mask IoU of a match.
        score_threshold: pairs of a lower IoU are not looked at (as in the original,
            which compares it with the IoU).

    Returns:
        gt_match: float [G], row of the matched prediction or -1.
        pred_match: float [P], index of the matched object or -1; best score first.
        overlaps: [P, G] mask IoU, rows best score first (see ``score_order``).

    Raises:
        ValueError: the masks of the two sides differ in height or width.
    """
    class_ids, overlaps = _overlaps_by_score(
        gt_boxes, gt_masks, pred_boxes, pred_class_ids, pred_scores, pred_masks
    )
    gt_match, pred_match = _match(overlaps, gt_class_ids, class_ids, iou_threshold, score_threshold)
    return gt_match, pred_match, overlaps


def compute_ap(
    gt_boxes: ArrayLike,
    gt_class_ids: Sequence[int] | np.ndarray,
    gt_masks: ArrayLike,
    pred_boxes: ArrayLike,
    pred_class_ids: ArrayLike,
    pred_scores: ArrayLike,
    pred_masks: ArrayLike,
    iou_threshold: float = 0.5,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.floating]]:
    """VOC average precision of one image, all classes pooled. Arguments: ``compute_matches``.

    Returns:
        mAP: float in [0, 1]; 0.0 without predictions; NaN with predictions but no object.
        precisions, recalls: float64 [P + 2], the interpolated curve with both end points.
        overlaps: [P, G] mask IoU, rows best score first.
    """
    gt_match, pred_match, overlaps = compute_matches(
        gt_boxes,
        gt_class_ids,
        gt_masks,
        pred_boxes,
        pred_class_ids,
        pred_scores,
        pred_masks,
        iou_threshold,
    )
    average, precisions, recalls = _average_precision(gt_match, pred_match)
    return average, precisions, recalls, overlaps


def compute_ap_range(
    gt_box: ArrayLike,
    gt_class_id: Sequence[int] | np.ndarray,
    gt_mask: ArrayLike,
    pred_box: ArrayLike,
    pred_class_id: ArrayLike,
    pred_score: ArrayLike,
    pred_mask: ArrayLike,
    iou_thresholds: Sequence[float] | np.ndarray | None = None,
    verbose: int = 1,
) -> float:
    """Mean of ``compute_ap`` over IoU thresholds; mask overlaps are computed once for all.

    Args:
        iou_thresholds: list or array of thresholds; None or empty: 0.5, 0.55 .. 0.95.
        verbose: 1 prints the AP of each threshold and the mean.

    Returns:
        float, NaN where ``compute_ap`` gives NaN.
    """
    if iou_thresholds is None or len(iou_thresholds) == 0:
        iou_thresholds = np.arange(0.5, 1.0, 0.05)
    class_ids, overlaps = _overlaps_by_score(
        gt_box, gt_mask, pred_box, pred_class_id, pred_score, pred_mask
    )
    averages = []
    for threshold in iou_thresholds:
        average, _, _ = _average_precision(*_match(overlaps, gt_class_id, class_ids, threshold))
        if verbose:
            print(f"AP @{threshold:.2f}:\t {average:.3f}")
        averages.append(average)
    mean = np.array(averages).mean()
    if verbose:
        print(f"AP @{iou_thresholds[0]:.2f}-{iou_thresholds[-1]:.2f}:\t {mean:.3f}")
    return mean


def compute_recall(
    pred_boxes: ArrayLike, gt_boxes: ArrayLike, iou: float
) -> tuple[float, NDArray[np.intp]]:
    """Share of the objects that are the best overlap of some predicted box.

    Args:
        pred_boxes: [P, 4], gt_boxes: [G, 4], both (y1, x1, y2, x2) in the same unit.
        iou: least box IoU.

    Returns:
        recall: float, NaN if there is no object.
        positive_ids: int [M], the predictions that reach ``iou`` with some object.
    """
    overlaps = compute_overlaps(pred_boxes, gt_boxes)
    if overlaps.shape[1] == 0:
        return float("nan"), np.zeros([0], np.int64)
    positive_ids = np.where(overlaps.max(axis=1) >= iou)[0]
    found = np.unique(overlaps.argmax(axis=1)[positive_ids])
    return len(found) / overlaps.shape[1], positive_ids

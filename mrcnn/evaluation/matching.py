"""Detections matched to objects at one IoU: precision, recall, F1 and confusions."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What a detection met that is not the index of an object.
FALSE_ALARM, IN_CROWD = -1, -2


def overlaps(
    annotations: Sequence[dict[str, Any]], detections: Sequence[dict[str, Any]], iou_type: str
) -> NDArray[np.float64]:
    """IoU of every detection with every object; for a crowd, the share of the detection inside it.

    Returns:
        float64 [detections, annotations].
    """
    from pycocotools import mask as coco_mask

    if not (annotations and detections):
        return np.zeros((len(detections), len(annotations)))
    key = "segmentation" if iou_type == "segm" else "bbox"
    return np.asarray(
        coco_mask.iou(
            [detection[key] for detection in detections],
            [annotation[key] for annotation in annotations],
            [annotation["iscrowd"] for annotation in annotations],
        )
    )


def coco_matches(
    overlaps: NDArray[np.floating],
    thresholds: Sequence[float],
    ignored: Sequence[int] | np.ndarray,
    crowd: Sequence[int] | np.ndarray,
) -> Iterator[tuple[int, int, int]]:
    """COCO's rule for the detections and objects of one class in one image.

    Each detection takes the free object that it overlaps most; an ignored one only where no other
    will do. A crowd stays free.

    Args:
        overlaps: float [D, G], the IoU of each detection, best score first, with each object, the
            ignored ones last.
        thresholds: least IoUs of a match, each of which is a matching of its own.
        ignored, crowd: [G] of bool or 0 and 1.

    Yields:
        (index of the threshold, of the detection, of the object) of every match.
    """
    # as pycocotools: an IoU of 1 reaches every threshold
    limits = [min(threshold, 1 - 1e-10) for threshold in thresholds]
    near = overlaps >= min(limits)
    candidates = [
        (row, np.flatnonzero(near[row]).tolist())
        for row in np.flatnonzero(near.any(axis=1)).tolist()
    ]
    overlaps = overlaps.tolist()
    for index, limit in enumerate(limits):
        taken = set()
        for row, columns in candidates:
            best, chosen = limit, None
            for column in columns:
                if column in taken and not crowd[column]:
                    continue
                if chosen is not None and ignored[column] and not ignored[chosen]:
                    break
                if overlaps[row][column] >= best:
                    best, chosen = overlaps[row][column], column
            if chosen is not None:
                taken.add(chosen)
                yield index, row, chosen


def match(
    ious: NDArray[np.floating],
    detections: Sequence[dict[str, Any]],
    annotations: Sequence[dict[str, Any]],
    threshold: float,
) -> NDArray[np.integer]:
    """COCO's matching: by falling score, each detection takes the free object of its class it
    overlaps most.

    Which detections of low score there are changes nothing for those above, so one matching
    serves every score threshold.

    Args:
        ious: [D, G] of ``overlaps``.
        detections, annotations: COCO dicts, D and G of them.
        threshold: least IoU of a match.

    Returns:
        int [D]: index of the object, FALSE_ALARM, or IN_CROWD for one inside a crowd of its
        class, which is neither right nor wrong.
    """
    met = np.full(len(detections), FALSE_ALARM)
    by_score = sorted(range(len(detections)), key=lambda row: -detections[row]["score"])
    for category in {detection["category_id"] for detection in detections}:
        rows = [row for row in by_score if detections[row]["category_id"] == category]
        columns = [
            column
            for column, annotation in enumerate(annotations)
            if annotation["category_id"] == category
        ]
        columns.sort(key=lambda column: annotations[column]["iscrowd"])
        crowd = [annotations[column]["iscrowd"] for column in columns]
        own = ious[np.ix_(rows, columns)]
        for _, row, chosen in coco_matches(own, [threshold], crowd, crowd):
            met[rows[row]] = IN_CROWD if crowd[chosen] else columns[chosen]
    return met


def taken_for_another(
    ious: NDArray[np.floating],
    annotations: Sequence[dict[str, Any]],
    met: NDArray[np.integer],
    threshold: float,
) -> list[tuple[int, int]]:
    """Pair what ``match`` left over: a detection with an object that it overlaps, of another class.

    The pairs that overlap most come first; each detection and each object is in one pair at most.

    Args:
        ious, annotations, threshold: as for ``match``.
        met: what it returned.

    Returns:
        list of (index of the detection, index of the object).
    """
    missed = np.array([not annotation["iscrowd"] for annotation in annotations], bool)
    missed[met[met >= 0]] = False
    left = np.where((met == FALSE_ALARM)[:, np.newaxis] & missed, ious, 0.0)
    pairs = []
    while left.size and left.max() >= max(min(threshold, 1 - 1e-10), 1e-10):
        row, column = (int(index) for index in np.unravel_index(left.argmax(), left.shape))
        pairs.append((row, column))
        left[row] = left[:, column] = 0
    return pairs


def confusion_of(
    detections: Sequence[dict[str, Any]],
    annotations: Sequence[dict[str, Any]],
    met: NDArray[np.integer],
    pairs: Sequence[tuple[int, int]],
    classes: int,
) -> NDArray[np.integer]:
    """Count which class was taken for which, in one image.

    Args:
        detections, annotations, met: as for ``match``.
        pairs: of ``taken_for_another``.
        classes: number of classes with the background.

    Returns:
        int [classes, classes]: rows are the true class, columns the detected one; row 0 counts
        false alarms, column 0 missed objects. The diagonal are the right detections of ``match``.
    """
    detected = [detection["category_id"] for detection in detections]
    true = [annotation["category_id"] for annotation in annotations]
    partner = {
        **{row: column for row, column in enumerate(met.tolist()) if column >= 0},
        **dict(pairs),
    }
    counts = np.zeros((classes, classes), int)
    for row, column in partner.items():
        counts[true[column], detected[row]] += 1
    for row, column in enumerate(met):
        counts[0, detected[row]] += column == FALSE_ALARM and row not in partner
    found = set(partner.values())
    for column, annotation in enumerate(annotations):
        counts[true[column], 0] += not annotation["iscrowd"] and column not in found
    return counts


def confused_pairs(confusion: NDArray[np.integer]) -> list[tuple[int, int, int]]:
    """(true class, detected class, times) of every two classes that were confused, most often
    first.
    """
    pairs = [
        (true, seen, int(count))
        for (true, seen), count in np.ndenumerate(confusion)
        if count and true and seen and true != seen
    ]
    return sorted(pairs, key=lambda pair: -pair[2])


def ratio(part: float, whole: float) -> float:
    """part / whole, NaN where there is nothing to measure."""
    return float(part) / float(whole) if whole else float("nan")


def precision_recall_f1(hits: int, false_alarms: int, objects: int) -> dict[str, float]:
    """Precision, recall and F1 of counts.

    F1 = 2 hits / (detections + objects), the harmonic mean of precision and recall.

    Returns:
        dict of floats; NaN where the denominator is 0: precision without a detection, recall
        without an object.
    """
    return {
        "precision": ratio(hits, hits + false_alarms),
        "recall": ratio(hits, objects),
        "F1": ratio(2 * hits, hits + false_alarms + objects),
    }


def best_f1(
    scores: Sequence[float] | np.ndarray, hits: Sequence[bool] | np.ndarray, objects: int
) -> tuple[float, float]:
    """The score threshold with the highest F1.

    Args:
        scores: float [D] of the detections that are right or wrong.
        hits: bool [D].
        objects: number of objects to find.

    Returns:
        (F1, score): keep detections with this score or a higher one. F1 is NaN without objects,
        the score is NaN without objects or without detections.
    """
    if not (objects and len(scores)):
        return 0.0 if objects else float("nan"), float("nan")
    order = np.argsort(-np.asarray(scores), kind="stable")
    scores, found = np.asarray(scores)[order], np.cumsum(np.asarray(hits)[order])
    f1 = 2 * found / (np.arange(1, len(found) + 1) + objects)
    # a threshold takes all detections of one score or none
    f1[:-1][scores[:-1] == scores[1:]] = -1
    best = int(np.argmax(f1))
    return float(f1[best]), float(scores[best])

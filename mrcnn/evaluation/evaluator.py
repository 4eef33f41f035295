"""Measure a detector on a dataset: everything that an ``Evaluation`` tells."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.common.files import AnyPath
from mrcnn.common.progress import track
from mrcnn.common.words import option_or_argument
from mrcnn.data.coco_json import coco_index
from mrcnn.evaluation.coco_ap import (
    COCO_MAX_DETECTIONS,
    COCO_METRICS,
    class_labels,
    precision_curves,
    run_coco_eval,
    summary_of,
)
from mrcnn.evaluation.collect import Detect, Scene, collect, warn_of_left_out
from mrcnn.evaluation.matching import (
    FALSE_ALARM,
    best_f1,
    confusion_of,
    match,
    overlaps,
    precision_recall_f1,
    taken_for_another,
)
from mrcnn.evaluation.result import Evaluation

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset


# IoU thresholds whose precision-recall curves are kept, and their place among COCO's ten.
CURVES = {"0.50": 0, "0.75": 5}


def evaluate(
    dataset: Dataset,
    detect: Detect,
    image_ids: Iterable[int] | None = None,
    *,
    batch_size: int = 1,
    min_score: float = 0.5,
    iou: float = 0.5,
    worst: int = 8,
    workers: int = 1,
    report: AnyPath | None = None,
    verbose: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Measure a detector on a dataset.

    AP and AR are COCO's, of boxes and of masks, over all detections. Precision, recall, F1 and the
    confusion matrix look at the detections that score at least ``min_score`` and match
    them at one IoU: of masks, or of boxes where the detector gives no masks.

    Args:
        dataset: a prepared Dataset. A negative class id is a crowd: what is found in it is neither
            right nor wrong.
        detect: callable, list of images (as ``load_image`` gives them) -> list of result dicts
            (rois, class_ids, scores and, unless the detector has none, masks), down to low scores:
            AP needs them.
        image_ids: list of ids; None: all.
        batch_size: images per call of ``detect``.
        min_score: least score of a detection for precision, recall, F1 and confusions.
        iou: least IoU of a match for the same.
        worst: number of images with the lowest F1 to name, and to show in the report.
        workers: threads that load the next images while ``detect`` runs.
        report: folder to write the report to (``Evaluation.save``), or None.
        verbose: 0 is silent, 1 shows progress on stderr and prints the result.
        settings: dict of further things that the report should tell.

    Returns:
        ``Evaluation``.

    Raises:
        ValueError: a min_score or an iou outside 0..1, or what ``collect`` refuses.
        OSError: the folder of the report cannot be made.
    """
    for name, value in (
        (option_or_argument("--min-score", "min_score"), min_score),
        ("iou", iou),
    ):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; it must lie in 0..1")
    if report is not None:  # now, not after hours, shows whether it can be made
        os.makedirs(report, exist_ok=True)
    start = time.perf_counter()
    found = collect(dataset, detect, image_ids, batch_size, workers, progress=bool(verbose))
    ground_truth, detections = coco_index(**found.objects()), found.detections
    coco_evals = {
        kind: run_coco_eval(ground_truth, detections, kind)
        for kind in track(found.iou_types, "Scoring", bool(verbose))
    }
    kind = found.iou_types[-1]
    tally = Tally(kind, iou, min_score, len(found.categories) + 1)
    for scene in found.scenes:
        tally.add(scene)

    names = class_labels(ground_truth, [category["id"] for category in found.categories])
    summaries = {kind: summary_of(coco_eval) for kind, coco_eval in coco_evals.items()}
    metrics = {
        f"{kind}_{name}": summary[name]
        for kind, summary in summaries.items()
        for name in COCO_METRICS
    }
    metrics.update(tally.scores(), images=len(found.scenes), crowds=tally.crowds)
    per_class = {
        name: {
            "class_id": category["id"],
            **{
                f"{kind}_{metric}": summary[f"{metric}_per_class"][name]
                for kind, summary in summaries.items()
                for metric in ("AP", "AP50")
            },
            **tally.scores(category["id"]),
        }
        for name, category in zip(names, found.categories)
    }
    metrics.update(_speed(found), seconds=time.perf_counter() - start)
    evaluation = Evaluation(
        metrics,
        per_class,
        tally.confusion,
        ["background", *names],
        {kind: _curves(coco_eval, names) for kind, coco_eval in coco_evals.items()},
        tally.worst(worst),
        {
            "unreadable_images": found.unreadable,
            "empty_objects": found.empty,
            "surplus_detections": tally.surplus,
            "unlabelled_detections": {
                dataset.class_names[class_id]: count for class_id, count in found.unlabelled.items()
            },
            "images_at_limit": found.at_limit,
            "images_beyond_limit": _beyond(found, (settings or {}).get("most_detections")),
            "when_loaded": _left_out_by_reader(dataset),
        },
        {
            "dataset": type(dataset).__name__,
            "iou_type": kind,
            "iou": iou,
            "min_score": min_score,
            **(settings or {}),
        },
        found,
        dataset,
    )
    warn_of_left_out(found)
    evaluation.publish(verbose, report)
    return evaluation


class Tally:
    """Right and wrong detections at one IoU, added up over images.

    Args:
        iou_type: "bbox" or "segm".
        iou: least IoU of a match.
        min_score: least score of a detection that counts.
        classes: number of classes with the background.

    Attributes:
        confusion: int [classes, classes], see ``matching.confusion_of``.
        crowds: number of crowd regions.
        surplus: number of detections that COCO's AP does not look at: those of one class in one
            image after the best hundred.
    """

    def __init__(self, iou_type: str, iou: float, min_score: float, classes: int) -> None:
        self.iou_type, self.iou, self.min_score = iou_type, iou, min_score
        self.confusion = np.zeros((classes, classes), int)
        self.crowds = self.surplus = 0
        self._objects = np.zeros(classes, int)
        # (class id, score, hit) of those that are right or wrong
        self._detections: list[tuple[int, float, bool]] = []
        self._images: list[tuple[dict[str, Any], NDArray[np.integer]]] = []

    def add(self, scene: Scene) -> None:
        """Match the detections of an image, a ``collect.Scene``."""
        ious = overlaps(scene.annotations, scene.detections, self.iou_type)
        met = match(ious, scene.detections, scene.annotations, self.iou)
        for annotation in scene.annotations:
            self._objects[annotation["category_id"]] += not annotation["iscrowd"]
        # a region of several classes is a crowd of each
        self.crowds += len(
            {str(one["segmentation"]) for one in scene.annotations if one["iscrowd"]}
        )
        classes = [detection["category_id"] for detection in scene.detections]
        self.surplus += int(np.maximum(np.bincount(classes or [0]) - COCO_MAX_DETECTIONS, 0).sum())
        self._detections += [
            (detection["category_id"], detection["score"], row >= 0)
            for detection, row in zip(scene.detections, met)
            if row >= FALSE_ALARM
        ]

        sure = [
            index
            for index, detection in enumerate(scene.detections)
            if detection["score"] >= self.min_score
        ]
        ious, met = ious[sure], met[sure]
        pairs = taken_for_another(ious, scene.annotations, met, self.iou)
        confusion = confusion_of(
            [scene.detections[index] for index in sure],
            scene.annotations,
            met,
            pairs,
            len(self.confusion),
        )
        self.confusion += confusion
        self._images.append((scene.image, confusion))

    def scores(self, class_id: int | None = None) -> dict[str, float]:
        """Counts, precision, recall and F1 of a class, or of all objects together.

        Returns:
            dict: objects, detections (of at least min_score), hits, precision, recall, F1, best_F1
            and best_F1_score, the threshold that gives it.
        """
        rows = [row for row in self._detections if class_id in (None, row[0])]
        scores = np.array([score for _, score, _ in rows])
        hits = np.array([hit for *_, hit in rows], bool)
        objects = int(self._objects.sum() if class_id is None else self._objects[class_id])
        sure = scores >= self.min_score
        right, wrong = int(np.count_nonzero(hits & sure)), int(np.count_nonzero(~hits & sure))
        f1, score = best_f1(scores, hits, objects)
        return {
            "objects": objects,
            "detections": right + wrong,
            "hits": right,
            **precision_recall_f1(right, wrong, objects),
            "best_F1": f1,
            "best_F1_score": score,
        }

    def worst(self, count: int) -> list[dict[str, Any]]:
        """The images with the lowest F1, and of equals those with most mistakes; at most ``count``.

        Returns:
            list of dicts: image_id, name, F1, hits, missed, false_alarms, confused (objects taken
            for another class).
        """
        images = []
        for image, confusion in self._images:
            hits = int(np.trace(confusion))
            missed, false_alarms = int(confusion[1:, 0].sum()), int(confusion[0, 1:].sum())
            confused = int(confusion[1:, 1:].sum()) - hits
            if missed or false_alarms or confused:
                f1 = 2 * hits / (2 * hits + missed + false_alarms + 2 * confused)
                images.append(
                    {
                        "image_id": image["id"],
                        "name": image["file_name"],
                        "F1": f1,
                        "hits": hits,
                        "missed": missed,
                        "false_alarms": false_alarms,
                        "confused": confused,
                    }
                )
        images.sort(
            key=lambda row: (row["F1"], -row["missed"] - row["false_alarms"] - row["confused"])
        )
        return images[:count]


def _curves(coco_eval, names):
    """{"0.50": {"mean": [101], class name: [101]}, "0.75": ...}, precision at the recalls 0, 0.01
    .. 1.
    """
    precision = precision_curves(coco_eval)
    there = ~np.isnan(precision[0, 0])
    curves = {}
    for label, index in CURVES.items():
        by_class = precision[index]
        mean = by_class[:, there].mean(axis=1) if there.any() else np.full(len(by_class), np.nan)
        curves[label] = {"mean": mean.tolist(), **dict(zip(names, by_class.T.tolist()))}
    return curves


def _speed(found):
    """Images per second of the detector; without its first call, where there are more, which builds
    the graph.
    """
    steady = found.timings[1:] or found.timings
    images, seconds = (sum(values) for values in zip(*steady))
    return {
        "images_per_second": images / seconds if seconds else float("inf"),
        "detect_seconds": found.seconds,
    }


def _beyond(found, most):
    """[{image_id, name, objects}] of the images with more objects than detections at most, or than
    None.
    """
    rows = [
        {
            "image_id": scene.image["id"],
            "name": scene.image["file_name"],
            "objects": sum(not one["iscrowd"] for one in scene.annotations),
        }
        for scene in found.scenes
    ]
    return [row for row in rows if most is not None and row["objects"] > most]


def _left_out_by_reader(dataset):
    """{why: number} of what a reader of ``data.formats`` left out; other datasets do not say."""
    return {
        why: len(places)
        for why, places in getattr(getattr(dataset, "left_out", None), "places", {}).items()
    }

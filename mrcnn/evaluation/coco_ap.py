"""COCO's average precision and recall, by pycocotools."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.data.class_labels import distinct_labels
from mrcnn.data.coco_json import coco_index
from mrcnn.evaluation.coco_matching import evaluate_image

if TYPE_CHECKING:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval


# The order of pycocotools' COCOeval.stats.
COCO_METRICS = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR_1",
    "AR_10",
    "AR_100",
    "AR_small",
    "AR_medium",
    "AR_large",
)
# Detections of one class in one image that COCO's AP looks at, the best first.
COCO_MAX_DETECTIONS = 100


def _results_index(ground_truth, detections, iou_type):
    """The detections as a COCO object; pycocotools' own loadRes fails on an empty list."""
    if not detections:
        return coco_index(ground_truth.dataset["images"], [], ground_truth.dataset["categories"])
    if iou_type == "segm":
        if any("segmentation" not in detection for detection in detections):
            raise ValueError("iou_type 'segm' needs a segmentation in every detection")
        # With a box present loadRes takes the box's area for the mask's, which moves objects
        # between small, medium and large.
        detections = [
            {key: value for key, value in detection.items() if key != "bbox"}
            for detection in detections
        ]
    else:
        detections = [dict(detection) for detection in detections]
    unknown = {d["image_id"] for d in detections} - set(ground_truth.getImgIds())
    if unknown:
        raise ValueError(f"detections of images {sorted(unknown)[:5]} that the ground truth lacks")
    foreign = {d["category_id"] for d in detections} - set(ground_truth.getCatIds())
    if foreign:
        warnings.warn(
            f"detections of the category ids {sorted(foreign)[:5]}, which the ground "
            "truth lacks, are not counted",
            stacklevel=4,
        )
    with contextlib.redirect_stdout(io.StringIO()):
        return ground_truth.loadRes(detections)


def class_labels(ground_truth: COCO, category_ids: Sequence[int]) -> list[str]:
    """Names of categories; a name used twice gets its id added."""
    names = [category["name"] for category in ground_truth.loadCats(category_ids)]
    return distinct_labels(names, category_ids)


def run_coco_eval(
    ground_truth: COCO,
    detections: list[dict[str, Any]],
    iou_type: str,
    image_ids: Iterable[int] | None = None,
) -> COCOeval:
    """pycocotools' ``COCOeval`` after evaluate, accumulate and summarize, whose printing is held
    back.

    Args, Raises: those of ``coco_summary``.
    """
    if iou_type not in ("bbox", "segm"):
        raise ValueError(f"iou_type is {iou_type!r}; it must be 'bbox' or 'segm'")
    from pycocotools.cocoeval import COCOeval

    coco_eval = COCOeval(ground_truth, _results_index(ground_truth, detections, iou_type), iou_type)
    coco_eval.evaluateImg = partial(evaluate_image, coco_eval)
    if image_ids is not None:
        coco_eval.params.imgIds = sorted(int(i) for i in image_ids)
    with contextlib.redirect_stdout(io.StringIO()):
        coco_eval.evaluate()
        # which refers to its object: a cycle that would keep all arrays until the next full garbage
        # collection
        del coco_eval.evaluateImg
        coco_eval.accumulate()
        coco_eval.summarize()
    return coco_eval


def precision_curves(coco_eval: COCOeval) -> NDArray[np.float64]:
    """Precision at COCO's 101 recalls, over objects of all sizes.

    Returns:
        float [IoU thresholds, 101, classes], NaN for classes without an object.
    """
    precision = coco_eval.eval["precision"][:, :, :, 0, -1]
    return np.where(precision > -1, precision, np.nan)


def summary_of(coco_eval: COCOeval) -> dict[str, Any]:
    """The twelve COCO numbers, and AP and AP50 of each class; see ``coco_summary``."""
    # pycocotools writes -1 where nothing could be measured.
    summary: dict[str, Any] = {
        name: float("nan") if value < 0 else float(value)
        for name, value in zip(COCO_METRICS, coco_eval.stats)
    }
    by_class = precision_curves(coco_eval)
    names = class_labels(coco_eval.cocoGt, coco_eval.params.catIds)
    summary["AP_per_class"] = dict(zip(names, by_class.mean(axis=(0, 1)).tolist()))
    summary["AP50_per_class"] = dict(zip(names, by_class[0].mean(axis=0).tolist()))
    return summary


def coco_summary(
    ground_truth: COCO,
    detections: list[dict[str, Any]],
    iou_type: str,
    image_ids: Iterable[int] | None = None,
) -> dict[str, Any]:
    """The twelve COCO numbers and the AP of each class, by pycocotools.

    Args:
        ground_truth: pycocotools ``COCO``: ``coco_ground_truth`` or an annotation file.
        detections: list of COCO result dicts (``coco_detections``); may be empty.
        iou_type: "bbox" or "segm".
        image_ids: images to look at; None: all of the ground truth.

    Returns:
        dict of the names in ``COCO_METRICS`` -> float in [0, 1], NaN where there is no
        object to find, and ``AP_per_class``, ``AP50_per_class`` {class name: AP}.

    Raises:
        ValueError: unknown iou_type, detections without masks for "segm", or detections of
            images that the ground truth does not have.
    """
    return summary_of(run_coco_eval(ground_truth, detections, iou_type, image_ids))


def format_value(value: float, width: int = 8) -> str:
    """A number in 0..1 with three digits, "-" for NaN, right aligned."""
    return f"{'-':>{width}}" if np.isnan(value) else f"{value:{width}.3f}"


def format_summary(summary: Mapping[str, Any]) -> str:
    """A text table of what ``evaluate_detections`` returns: metrics, then AP by class."""
    kinds = [kind for kind in ("bbox", "segm") if kind in summary]
    classes = list(summary[kinds[0]]["AP_per_class"])
    rows = [(name, [summary[kind][name] for kind in kinds]) for name in COCO_METRICS]
    rows += [
        (f"AP {name}", [summary[kind]["AP_per_class"][name] for kind in kinds]) for name in classes
    ]
    width = max(len(name) for name, _ in rows)
    lines = [" " * width + "".join(f"{kind:>8}" for kind in kinds)]
    lines += [f"{name:<{width}}" + "".join(map(format_value, values)) for name, values in rows]
    lines.append(
        f"{summary['images']} images, {summary['seconds']:.1f} s in detect, "
        f"{summary['images_per_second']:.2f} images/s"
    )
    return "\n".join(lines)

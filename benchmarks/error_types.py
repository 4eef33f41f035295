"""What is wrong with detections: how many objects are missed, found twice, found with a wrong box
or a rough border.

    python benchmarks/error_types.py --weights mask_rcnn_penn_fudan_0016.h5 --dataset PennFudanPed

Counts detections of a score of at least ``--min-score``, best first. One is right where its mask
overlaps a free object of its class with an IoU of ``--iou``. Of the others one that overlaps an
object so much that another detection has is a duplicate; one whose box overlaps an object of its
class by that IoU has a rough border, one whose mask overlaps it at all (0.1) is a wrong box; one
whose mask overlaps an object of another class by that IoU has a wrong class, and what is left is
background. Then AP at each IoU of COCO's, of boxes and of masks, and how far the sides of boxes
lie from those of their objects.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

KINDS = ("right", "duplicate", "border", "box", "class", "background", "missed")
TOUCHED = 0.1


def error_types(scenes: Sequence[Any], min_score: float = 0.5, iou: float = 0.75) -> dict[str, int]:
    """{kind: number} for `KINDS`, and the number of "objects".

    Args:
        scenes: of `mrcnn.evaluation.collect`; crowds and what lies in them do not count.
        min_score: least score of a detection.
        iou: of masks, from which on a detection is right.
    """
    from mrcnn.evaluation.matching import FALSE_ALARM, match, overlaps

    counts = dict.fromkeys((*KINDS, "objects"), 0)
    for scene in scenes:
        found = [one for one in scene.detections if one["score"] >= min_score]
        found.sort(key=lambda one: -one["score"])
        truth = scene.annotations
        masks, boxes = (overlaps(truth, found, kind) for kind in ("segm", "bbox"))
        met = match(masks, found, truth, iou)
        single = np.array([not one["iscrowd"] for one in truth], bool)
        counts["objects"] += int(single.sum())
        counts["missed"] += int(single.sum()) - len(set(met[met >= 0].tolist()))
        counts["right"] += int((met >= 0).sum())
        for row in np.flatnonzero(met == FALSE_ALARM):
            category = found[row]["category_id"]
            own = single & np.array([one["category_id"] == category for one in truth], bool)
            counts[_kind(masks[row], boxes[row], own, single, iou)] += 1
    return counts


def _kind(masks, boxes, own, single, iou):
    """What is wrong with a detection, by its IoU with all objects of the image."""
    if (masks[own] >= iou).any():
        return "duplicate"
    if (boxes[own] >= iou).any():
        return "border"
    if (masks[own] >= TOUCHED).any():
        return "box"
    if (masks[single & ~own] >= iou).any():
        return "class"
    return "background"


def side_errors(scenes: Sequence[Any], min_score: float = 0.5) -> dict[str, list[float]]:
    """{side: [median, spread]} of the distances between the sides of objects' boxes and those of
    the detections that overlap them with an IoU of 0.5: to the right and down, in shares of the
    object's width and height. The spread is the median distance from the median.
    """
    from mrcnn.evaluation.matching import match, overlaps

    errors = []
    for scene in scenes:
        found = [one for one in scene.detections if one["score"] >= min_score]
        met = match(overlaps(scene.annotations, found, "bbox"), found, scene.annotations, 0.5)
        for one, index in zip(found, met):
            if index >= 0:
                x, y, width, height = scene.annotations[index]["bbox"]
                left, top, wide, high = one["bbox"]
                right, bottom = left + wide - x - width, top + high - y - height
                errors.append(
                    [(left - x) / width, right / width, (top - y) / height, bottom / height]
                )
    middle = np.median(errors, axis=0)
    spread = np.median(np.abs(errors - middle), axis=0)
    sides = ("left", "right", "top", "bottom")
    return {side: np.round(pair, 3).tolist() for side, *pair in zip(sides, middle, spread)}


def precision_by_iou(found: Any) -> dict[str, list[float]]:
    """{"bbox" and "segm": AP at the IoU of 0.5, 0.55 and on to 0.95} of what
    `mrcnn.evaluation.collect` returns.
    """
    from mrcnn.data.coco_json import coco_index
    from mrcnn.evaluation.coco_ap import precision_curves, run_coco_eval

    truth = coco_index(**found.objects())
    return {
        kind: np.round(
            np.nanmean(precision_curves(run_coco_eval(truth, found.detections, kind)), axis=(1, 2)),
            3,
        ).tolist()
        for kind in found.iou_types
    }


def main() -> int:
    """Detect in Penn-Fudan's validation photos and print what is wrong."""
    from ladder import sample

    from mrcnn.config import Config
    from mrcnn.config.file import config_beside, read_config
    from mrcnn.evaluation.collect import collect
    from mrcnn.model import MaskRCNN

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", required=True, metavar="FILE", help="of a training")
    parser.add_argument("--dataset", required=True, metavar="FOLDER", help="PennFudanPed")
    parser.add_argument(
        "--size", type=int, metavar="PX", help="of the photos (that of the training)"
    )
    parser.add_argument("--min-score", type=float, default=0.5, metavar="P")
    parser.add_argument("--iou", type=float, default=0.75)
    args = parser.parse_args()
    settings = config_beside(args.weights)
    if settings is None:
        parser.error(f"{args.weights} has no config.json beside it, as a training writes it")
    fields = read_config(settings)
    fields |= {"IMAGES_PER_GPU": 1, "DETECTION_MIN_CONFIDENCE": 0.05}
    if args.size:
        fields |= {"IMAGE_MIN_DIM": args.size, "IMAGE_MAX_DIM": args.size}
    config = Config.from_dict(fields)
    model = MaskRCNN("inference", config, "logs")
    model.load_weights(args.weights)
    found = collect(sample("penn_fudan").make_dataset(args.dataset, "val"), model.detect)
    print(json.dumps(error_types(found.scenes, args.min_score, args.iou)))
    print(json.dumps(precision_by_iou(found)))
    print(json.dumps(side_errors(found.scenes, args.min_score)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

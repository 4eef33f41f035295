"""The COCO part of `mrcnn.evaluation`, under the name by which scripts import it."""

from mrcnn.evaluation import (  # noqa: F401
    COCO_METRICS, coco_detections, coco_ground_truth, coco_summary, evaluate_detections, format_summary)

"""How good the detections are.

``evaluate`` measures a detector on a whole ``Dataset`` and returns an ``Evaluation``: COCO AP of
boxes and masks by pycocotools, precision, recall and F1, confusions, curves and a report.
``evaluate_detections`` returns the COCO numbers alone, and ``compute_*`` are matterport's measures
of one image. ``evaluate_labels`` measures label maps, a class for each pixel, from any source, and
returns a ``LabelEvaluation``: IoU, Dice and accuracy of each class, from a ``ConfusionMatrix``.
This room knows no network and imports no TensorFlow; pycocotools and matplotlib are imported when
they are first needed.
"""

from mrcnn.data.coco_json import coco_detections, coco_ground_truth
from mrcnn.evaluation.coco_ap import COCO_METRICS, coco_summary, format_summary
from mrcnn.evaluation.collect import evaluate_detections
from mrcnn.evaluation.confusion import ConfusionMatrix
from mrcnn.evaluation.evaluator import evaluate
from mrcnn.evaluation.label_evaluation import LabelEvaluation, evaluate_labels
from mrcnn.evaluation.result import Evaluation
from mrcnn.evaluation.voc import (
    compute_ap,
    compute_ap_range,
    compute_matches,
    compute_recall,
    score_order,
)

__all__ = [
    "COCO_METRICS",
    "ConfusionMatrix",
    "Evaluation",
    "LabelEvaluation",
    "coco_detections",
    "coco_ground_truth",
    "coco_summary",
    "compute_ap",
    "compute_ap_range",
    "compute_matches",
    "compute_recall",
    "evaluate",
    "evaluate_detections",
    "evaluate_labels",
    "format_summary",
    "score_order",
]

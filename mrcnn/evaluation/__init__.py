"""How good are the detections.

``evaluate`` measures a detector on a whole ``Dataset`` and returns an ``Evaluation``: COCO AP of
boxes and masks by pycocotools, precision, recall and F1, confusions, curves and a report.
``evaluate_detections`` gives the COCO numbers alone, and ``compute_*`` are the original's measures
of one image. pycocotools and matplotlib are imported when they are needed.
"""

from mrcnn.data.coco_json import coco_detections, coco_ground_truth  # noqa: F401
from mrcnn.evaluation.coco_ap import COCO_METRICS, coco_summary, format_summary  # noqa: F401
from mrcnn.evaluation.collect import evaluate_detections  # noqa: F401
from mrcnn.evaluation.evaluator import evaluate  # noqa: F401
from mrcnn.evaluation.result import Evaluation  # noqa: F401
from mrcnn.evaluation.voc import (  # noqa: F401
    compute_ap,
    compute_ap_range,
    compute_matches,
    compute_recall,
    score_order,
)

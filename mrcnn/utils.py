"""The names of the original's ``utils`` module, taken from where they are now."""

from mrcnn.data.masks import (
    compute_overlaps_masks,
    expand_mask,
    extract_bboxes,
    minimize_mask,
    resize_mask,
    unmold_mask,
)
from mrcnn.data.resize import resize, resize_image
from mrcnn.evaluation import compute_ap, compute_ap_range, compute_matches, compute_recall
from mrcnn.matterport.dataset import Dataset
from mrcnn.matterport.graph_functions import batch_slice, box_refinement_graph
from mrcnn.ops.anchors import generate_anchors, generate_pyramid_anchors
from mrcnn.ops.boxes_np import (
    apply_box_deltas,
    box_refinement,
    compute_iou,
    compute_overlaps,
    denorm_boxes,
    non_max_suppression,
    norm_boxes,
    trim_zeros,
)
from mrcnn.weights.published import COCO_WEIGHTS, coco_weights

__all__ = [
    "COCO_MODEL_URL",
    "Dataset",
    "apply_box_deltas",
    "batch_slice",
    "box_refinement",
    "box_refinement_graph",
    "compute_ap",
    "compute_ap_range",
    "compute_iou",
    "compute_matches",
    "compute_overlaps",
    "compute_overlaps_masks",
    "compute_recall",
    "denorm_boxes",
    "download_trained_weights",
    "expand_mask",
    "extract_bboxes",
    "generate_anchors",
    "generate_pyramid_anchors",
    "minimize_mask",
    "mold_mask",
    "non_max_suppression",
    "norm_boxes",
    "resize",
    "resize_image",
    "resize_mask",
    "trim_zeros",
    "unmold_mask",
]

COCO_MODEL_URL = COCO_WEIGHTS.url


def mold_mask(mask, config):
    """Nothing: the original announced this function and never wrote it; code may still name it."""
    del mask, config


def download_trained_weights(coco_model_path, verbose=1):
    """Download COCO weights to a path; see `weights.published.coco_weights`."""
    coco_weights(coco_model_path, verbose)

"""The names of the original's ``utils`` module, taken from where they are now."""

from mrcnn.data.dataset import Dataset  # noqa: F401
from mrcnn.data.images import resize, resize_image  # noqa: F401
from mrcnn.data.masks import (  # noqa: F401
    compute_overlaps_masks,
    expand_mask,
    extract_bboxes,
    minimize_mask,
    resize_mask,
    unmold_mask,
)
from mrcnn.evaluation import compute_ap, compute_ap_range, compute_matches, compute_recall  # noqa: F401
from mrcnn.matterport.graph_functions import batch_slice, box_refinement_graph  # noqa: F401
from mrcnn.ops.anchors import generate_anchors, generate_pyramid_anchors  # noqa: F401
from mrcnn.ops.boxes_np import (  # noqa: F401
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

COCO_MODEL_URL = COCO_WEIGHTS.url


def mold_mask(mask, config):
    """Nothing: the original announced this function and never wrote it; code may still name it."""
    del mask, config


def download_trained_weights(coco_model_path, verbose=1):
    """Download COCO weights to a path; see `weights.published.coco_weights`."""
    coco_weights(coco_model_path, verbose)

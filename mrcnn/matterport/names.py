"""What the original's ``model`` module has beside ``MaskRCNN``, taken from where it is now.

``mrcnn.model`` imports this module with the first of these names that it is asked for. A notebook
for the original begins with one of them, so that is when ``tf.identity`` starts to take what the
notebook gives it. The names of ``utils`` are in ``mrcnn/utils.py``.
"""

from mrcnn.common.keras_internals import let_identity_take_keras_tensors
from mrcnn.data.batches import data_generator
from mrcnn.data.images import mold_image, unmold_image
from mrcnn.data.load import load_image_gt
from mrcnn.data.random_rois import build_detection_targets, generate_random_rois
from mrcnn.data.rpn_targets import build_rpn_targets
from mrcnn.matterport.graph_functions import (
    apply_box_deltas_graph,
    batch_pack_graph,
    clip_boxes_graph,
    denorm_boxes_graph,
    detection_targets_graph,
    log2_graph,
    mrcnn_bbox_loss_graph,
    mrcnn_class_loss_graph,
    mrcnn_mask_loss_graph,
    norm_boxes_graph,
    overlaps_graph,
    parse_image_meta_graph,
    refine_detections_graph,
    rpn_bbox_loss_graph,
    rpn_class_loss_graph,
    smooth_l1_loss,
    trim_zeros_graph,
)
from mrcnn.matterport.methods import log
from mrcnn.networks.backbones.resnet import conv_block, identity_block, resnet_graph
from mrcnn.networks.layers.normalization import BatchNorm
from mrcnn.networks.mask_rcnn.box_head import fpn_classifier_graph
from mrcnn.networks.mask_rcnn.detections import DetectionLayer
from mrcnn.networks.mask_rcnn.mask_head import build_fpn_mask_graph
from mrcnn.networks.mask_rcnn.proposals import ProposalLayer
from mrcnn.networks.mask_rcnn.roi_features import PyramidROIAlign
from mrcnn.networks.mask_rcnn.rpn import build_rpn_model, rpn_graph
from mrcnn.networks.mask_rcnn.targets import DetectionTargetLayer
from mrcnn.ops.anchors import compute_backbone_shapes
from mrcnn.ops.image_meta import compose_image_meta, parse_image_meta

__all__ = [
    "BatchNorm",
    "DetectionLayer",
    "DetectionTargetLayer",
    "ProposalLayer",
    "PyramidROIAlign",
    "apply_box_deltas_graph",
    "batch_pack_graph",
    "build_detection_targets",
    "build_fpn_mask_graph",
    "build_rpn_model",
    "build_rpn_targets",
    "clip_boxes_graph",
    "compose_image_meta",
    "compute_backbone_shapes",
    "conv_block",
    "data_generator",
    "denorm_boxes_graph",
    "detection_targets_graph",
    "fpn_classifier_graph",
    "generate_random_rois",
    "identity_block",
    "load_image_gt",
    "log",
    "log2_graph",
    "mold_image",
    "mrcnn_bbox_loss_graph",
    "mrcnn_class_loss_graph",
    "mrcnn_mask_loss_graph",
    "norm_boxes_graph",
    "overlaps_graph",
    "parse_image_meta",
    "parse_image_meta_graph",
    "refine_detections_graph",
    "resnet_graph",
    "rpn_bbox_loss_graph",
    "rpn_class_loss_graph",
    "rpn_graph",
    "smooth_l1_loss",
    "trim_zeros_graph",
    "unmold_image",
]

let_identity_take_keras_tensors()

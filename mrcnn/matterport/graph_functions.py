"""The original's graph functions under their names and signatures.

Each works on TensorFlow tensors and calls what took its place in ``mrcnn.ops`` or
``mrcnn.networks.mask_rcnn``. Where the original worked on one image, so does the function here.
"""

import tensorflow as tf

from mrcnn.networks.mask_rcnn import losses
from mrcnn.networks.mask_rcnn.detections import refine_detections
from mrcnn.networks.mask_rcnn.losses import smooth_l1 as smooth_l1_loss
from mrcnn.networks.mask_rcnn.targets import detection_targets
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.boxes import apply_box_deltas as apply_box_deltas_graph
from mrcnn.ops.boxes import denorm_boxes as denorm_boxes_graph
from mrcnn.ops.boxes import norm_boxes as norm_boxes_graph
from mrcnn.ops.boxes import pairwise_iou as overlaps_graph
from mrcnn.ops.image_meta import meta_parts as parse_image_meta_graph

__all__ = [
    "apply_box_deltas_graph",
    "batch_pack_graph",
    "batch_slice",
    "box_refinement_graph",
    "clip_boxes_graph",
    "denorm_boxes_graph",
    "detection_targets_graph",
    "log2_graph",
    "mrcnn_bbox_loss_graph",
    "mrcnn_class_loss_graph",
    "mrcnn_mask_loss_graph",
    "norm_boxes_graph",
    "overlaps_graph",
    "parse_image_meta_graph",
    "refine_detections_graph",
    "rpn_bbox_loss_graph",
    "rpn_class_loss_graph",
    "smooth_l1_loss",
    "trim_zeros_graph",
]


def box_refinement_graph(box, gt_box):
    """See `ops.boxes.box_refinement`."""
    return box_ops.box_refinement(box, gt_box)


def clip_boxes_graph(boxes, window):
    """Clip boxes [n, 4] to a window [4]."""
    return box_ops.clip_boxes(boxes, window)


def log2_graph(x):
    """Logarithm to base 2."""
    return tf.math.log(x) / tf.math.log(2.0)


def trim_zeros_graph(boxes, name="trim_zeros"):
    """Rows of [n, 4] that are not all zero, and bool [n] that says which they are."""
    non_zeros = box_ops.is_box(boxes)
    return tf.boolean_mask(boxes, non_zeros, name=name), non_zeros


def batch_pack_graph(x, counts, num_rows):
    """The first ``counts[i]`` rows of each of the ``num_rows`` images of x [b, n, ...], one after
    the other.
    """
    return tf.concat([x[image, : counts[image]] for image in range(num_rows)], axis=0)


def batch_slice(inputs, graph_fn, batch_size, names=None):
    """Run a function of one image on each image of a batch and stack its results.

    Args:
        inputs: tensor or list of tensors [b, ...].
        graph_fn: function of the same number of tensors without their batch axis; returns a
            tensor or several.
        batch_size: b.
        names: of the stacked tensors.

    Returns:
        A tensor, or a list of tensors where ``graph_fn`` returns several.
    """
    inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    rows = []
    for image in range(batch_size):
        result = graph_fn(*(tensor[image] for tensor in inputs))
        rows.append(list(result) if isinstance(result, (list, tuple)) else [result])
    columns = list(zip(*rows))
    stacked = [
        tf.stack(column, axis=0, name=name)
        for column, name in zip(columns, names or [None] * len(columns))
    ]
    return stacked[0] if len(stacked) == 1 else stacked


def detection_targets_graph(proposals, gt_class_ids, gt_boxes, gt_masks, config):
    """`networks.mask_rcnn.targets.detection_targets` of one image: rois, class ids, deltas,
    masks.
    """
    targets = detection_targets(
        proposals[tf.newaxis],
        gt_class_ids[tf.newaxis],
        gt_boxes[tf.newaxis],
        gt_masks[tf.newaxis],
        count=config.TRAIN_ROIS_PER_IMAGE,
        positive_ratio=config.ROI_POSITIVE_RATIO,
        positive_iou=config.ROI_POSITIVE_IOU,
        bbox_std_dev=config.BBOX_STD_DEV,
        mask_shape=tuple(config.MASK_SHAPE),
        mini_masks=config.USE_MINI_MASK,
        add_gt=config.ROI_ADD_GT,
        mask_targets=config.MASK_TARGETS,
        image_shape=config.IMAGE_SHAPE,
        box_shift=config.BOX_SHIFT,
        negatives_alone=config.KEEP_EMPTY_IMAGES,
        fill_negatives=config.ROI_FILL_NEGATIVES,
    )
    return tuple(tensor[0] for tensor in targets)


def refine_detections_graph(rois, probs, deltas, window, config):
    """`networks.mask_rcnn.detections.refine_detections` of one image: [DETECTION_MAX_INSTANCES,
    6].

    DETECTION_MIN_SIZE has no effect: the image's size, which it needs, is not among the arguments.
    """
    return refine_detections(
        rois[tf.newaxis],
        probs[tf.newaxis],
        deltas[tf.newaxis],
        tf.convert_to_tensor(window)[tf.newaxis],
        config.DETECTION_MAX_INSTANCES,
        config.DETECTION_MIN_CONFIDENCE,
        config.DETECTION_NMS_THRESHOLD,
        config.BBOX_STD_DEV,
        multi_class=config.DETECTION_MULTI_CLASS,
        soft_nms_sigma=config.SOFT_NMS_SIGMA,
        log_scale_limit=config.BBOX_LOG_SCALE_LIMIT,
    )[0]


def rpn_class_loss_graph(rpn_match, rpn_class_logits):
    """See `networks.mask_rcnn.losses.rpn_class_loss`."""
    return losses.rpn_class_loss(rpn_match, rpn_class_logits)


def rpn_bbox_loss_graph(config, target_bbox, rpn_match, rpn_bbox):
    """See `networks.mask_rcnn.losses.rpn_bbox_loss`; the config, which the original needed, is not
    used.
    """
    return losses.rpn_bbox_loss(target_bbox, rpn_match, rpn_bbox)


def mrcnn_class_loss_graph(target_class_ids, pred_class_logits, active_class_ids):
    """See `networks.mask_rcnn.losses.mrcnn_class_loss`; by the original's rule, which takes the
    first image's active classes for the whole batch.
    """
    return losses.mrcnn_class_loss(
        target_class_ids, pred_class_logits, active_class_ids, first_image_rules=True
    )


def mrcnn_bbox_loss_graph(target_bbox, target_class_ids, pred_bbox):
    """See `networks.mask_rcnn.losses.mrcnn_bbox_loss`."""
    return losses.mrcnn_bbox_loss(target_bbox, target_class_ids, pred_bbox)


def mrcnn_mask_loss_graph(target_masks, target_class_ids, pred_masks):
    """See `networks.mask_rcnn.losses.mrcnn_mask_loss`."""
    return losses.mrcnn_mask_loss(target_masks, target_class_ids, pred_masks)

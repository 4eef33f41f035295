"""The two models: one to train, one to detect."""

import keras
import numpy as np

from mrcnn.config.class_weights import class_weights
from mrcnn.networks.backbones.build import backbone_graph
from mrcnn.networks.dtype_policy import under_policy
from mrcnn.networks.h5_model import H5Model
from mrcnn.networks.layers.weight_decay import add_weight_decay
from mrcnn.networks.mask_rcnn.box_head import fpn_classifier_graph
from mrcnn.networks.mask_rcnn.detections import DetectionLayer
from mrcnn.networks.mask_rcnn.fpn import fpn_graph
from mrcnn.networks.mask_rcnn.hard_examples import HardExamples
from mrcnn.networks.mask_rcnn.initial_values import initialize_heads
from mrcnn.networks.mask_rcnn.inputs import Anchors, NormalizeBoxes
from mrcnn.networks.mask_rcnn.losses import (
    BoxLoss,
    ClassLoss,
    MaskLoss,
    MaskSoftmaxLoss,
    RPNBoxLoss,
    RPNClassLoss,
)
from mrcnn.networks.mask_rcnn.mask_head import build_fpn_mask_graph
from mrcnn.networks.mask_rcnn.proposals import ProposalLayer
from mrcnn.networks.mask_rcnn.rpn import rpn_over_pyramid
from mrcnn.networks.mask_rcnn.targets import DetectionTargetLayer
from mrcnn.networks.rematerialization import Rematerialized
from mrcnn.ops.anchors import compute_backbone_shapes
from mrcnn.ops.image_meta import ACTIVE_CLASS_IDS


@under_policy
def training_model(config, model_class=H5Model):
    """Build the training model.

    Args:
        config: a ``Config``. The batch size is free; images have ``config.IMAGE_SHAPE``.
        model_class: `H5Model`, or a subclass that can be trained: `training.step` has it.

    Returns:
        keras.Model "mask_rcnn". Inputs, in order: input_image float32 [b, h, w, c],
        input_image_meta float32 [b, m], input_rpn_match int32 [b, anchors, 1], input_rpn_bbox
        float32 [b, RPN_TRAIN_ANCHORS_PER_IMAGE, 4], input_gt_class_ids int32 [b, g],
        input_gt_boxes float32 [b, g, 4] px, input_gt_masks bool [b, mask h, mask w, g]; and
        input_roi int32 [b, POST_NMS_ROIS_TRAINING, 4] px where USE_RPN_ROIS is False.
        Outputs: rpn_class_logits, rpn_class, rpn_bbox, mrcnn_class_logits, mrcnn_class,
        mrcnn_bbox, mrcnn_mask, the proposals, output_rois and the five scalar losses, not
        weighted. Their weights are attributes of their layers, the weight decay of the variables.
    """
    sides = [int(side) for side in config.IMAGE_SHAPE[:2]]
    if any(side % 64 for side in sides):  # IMAGE_RESIZE_MODE "none" and "pad64" allow any
        raise ValueError(
            f"images of {sides[0]} x {sides[1]} px (IMAGE_MAX_DIM) cannot be trained on: the sides "
            "must be multiples of 64, because the pyramid halves the image six times"
        )
    image, meta = _image_inputs(config)
    rpn_match = keras.Input((None, 1), name="input_rpn_match", dtype="int32")
    rpn_target = keras.Input((None, 4), name="input_rpn_bbox", dtype="float32")
    gt_class_ids = keras.Input((None,), name="input_gt_class_ids", dtype="int32")
    gt_boxes = keras.Input((None, 4), name="input_gt_boxes", dtype="float32")
    mask_shape = config.MINI_MASK_SHAPE if config.USE_MINI_MASK else config.IMAGE_SHAPE[:2]
    gt_masks = keras.Input((*map(int, mask_shape), None), name="input_gt_masks", dtype="bool")
    inputs = [image, meta, rpn_match, rpn_target, gt_class_ids, gt_boxes, gt_masks]

    pyramid, (rpn_logits, rpn_probs, rpn_bbox) = _first_stage(image, config)
    if callable(config.BACKBONE):
        check_backbone_shapes(image, pyramid, config)
    anchors = Anchors(config, name="anchors")([image, *pyramid])
    proposals = ProposalLayer(
        config.POST_NMS_ROIS_TRAINING,
        config.RPN_NMS_THRESHOLD,
        config,
        config.PRE_NMS_LIMIT_TRAINING,
        name="ROI",
    )([rpn_probs, rpn_bbox, anchors, rpn_logits, meta, *pyramid])
    candidates = proposals
    if not config.USE_RPN_ROIS:
        given = keras.Input((config.POST_NMS_ROIS_TRAINING, 4), name="input_roi", dtype="int32")
        inputs.append(given)
        candidates = NormalizeBoxes(config, name="normalize_rois")([given, image])

    normalized_gt = NormalizeBoxes(config, name="normalize_gt_boxes")([gt_boxes, image])
    rois, class_ids, target_bbox, target_masks = DetectionTargetLayer(
        config, name="proposal_targets"
    )([candidates, gt_class_ids, normalized_gt, gt_masks])
    # By stored statistics a row's result depends on no other row, so padding need not be computed,
    # nor the masks of RoIs without an object, which enter no loss. By the batch's statistics the
    # original's numbers are those of all rows.
    apart = config.TRAIN_BN is False
    logits, probs, deltas = _classifier(rois, pyramid, meta, config, distinct=apart)
    most = max(int(config.TRAIN_ROIS_PER_IMAGE * config.ROI_POSITIVE_RATIO), 1)
    masks, own_masks = _masks(
        rois,
        pyramid,
        meta,
        config,
        class_ids=class_ids if apart else None,
        most=most,
        own_classes=class_ids,
    )
    output_rois = keras.layers.Identity(name="output_rois", dtype="float32")(rois)

    weights = config.LOSS_WEIGHTS

    def loss(layer, name, tensors, **options):
        return layer(weights.get(name, 1.0), name=name, **options)(tensors)

    active = meta[:, ACTIVE_CLASS_IDS]
    of_boxes = {"kind": config.BBOX_LOSS, "beta": config.SMOOTH_L1_BETA}
    of_head_boxes = {**of_boxes, "std_dev": config.BBOX_STD_DEV}
    of_classes = {
        "class_weights": class_weights(config),
        "first_image_rules": config.FIRST_IMAGE_RULES_CLASSES,
    }
    counted = []  # the RoIs that count in the losses of classes and boxes, where not all do
    if config.HARD_EXAMPLES:
        hard = HardExamples(
            config.HARD_EXAMPLES, **of_classes, **of_head_boxes, name="hard_examples"
        )
        counted.append(hard([rois, class_ids, logits, active, target_bbox, deltas]))
    mask_loss = MaskSoftmaxLoss if config.MASK_LOSS == "softmax" else MaskLoss
    losses = [
        loss(RPNClassLoss, "rpn_class_loss", [rpn_match, rpn_logits]),
        loss(
            RPNBoxLoss,
            "rpn_bbox_loss",
            [rpn_target, rpn_match, rpn_bbox],
            std_dev=config.RPN_BBOX_STD_DEV,
            **of_boxes,
        ),
        loss(
            ClassLoss,
            "mrcnn_class_loss",
            [class_ids, logits, active, *counted],
            **of_classes,
        ),
        loss(
            BoxLoss,
            "mrcnn_bbox_loss",
            [target_bbox, class_ids, deltas, *counted],
            **of_head_boxes,
        ),
        loss(mask_loss, "mrcnn_mask_loss", [target_masks, class_ids, own_masks]),
    ]
    outputs = [
        rpn_logits,
        rpn_probs,
        rpn_bbox,
        logits,
        probs,
        deltas,
        masks,
        proposals,
        output_rois,
        *losses,
    ]
    model = model_class(inputs, outputs, name="mask_rcnn")
    if config.HEAD_INIT != "glorot":
        initialize_heads(model, config.HEAD_INIT)
    add_weight_decay(model, config.WEIGHT_DECAY)
    if config.REMATERIALIZE:
        model.rematerialized = Rematerialized(model)
    return model


@under_policy
def inference_model(config):
    """Build the inference model.

    Args:
        config: a ``Config``. Batch size and image size are free; the sides of the images are
            multiples of 64 (32 with IMAGE_RESIZE_MODE "fit") and equal within a batch.

    Returns:
        keras.Model "mask_rcnn". Inputs: input_image float32 [b, h, w, c], input_image_meta
        float32 [b, m], input_anchors float32 [b, anchors, 4] normalised. Outputs:
        mrcnn_detection [b, DETECTION_MAX_INSTANCES, 6], mrcnn_class [b, n, classes], mrcnn_bbox
        [b, n, classes, 4], mrcnn_mask [b, DETECTION_MAX_INSTANCES, h, w, classes], ROI [b, n, 4],
        rpn_class [b, anchors, 2], rpn_bbox [b, anchors, 4]; n = POST_NMS_ROIS_INFERENCE.
        The masks of padding rows are 0 (unless TRAIN_BN is True).
    """
    image, meta = _image_inputs(config)
    anchors = keras.Input((None, 4), name="input_anchors", dtype="float32")
    pyramid, (rpn_logits, rpn_probs, rpn_bbox) = _first_stage(image, config)
    rois = ProposalLayer(
        config.POST_NMS_ROIS_INFERENCE, config.RPN_NMS_THRESHOLD, config, name="ROI"
    )([rpn_probs, rpn_bbox, anchors, rpn_logits, meta, *pyramid])
    _, probs, deltas = _classifier(rois, pyramid, meta, config, distinct=not config.TRAIN_BN)
    detections = DetectionLayer(config, name="mrcnn_detection")([rois, probs, deltas, meta])
    # by the batch's statistics a mask would depend on how many objects there are
    class_ids = None if config.TRAIN_BN else detections[..., 4]
    masks = _masks(detections[..., :4], pyramid, meta, config, class_ids=class_ids)
    return H5Model(
        [image, meta, anchors],
        [detections, probs, deltas, masks, rois, rpn_probs, rpn_bbox],
        name="mask_rcnn",
    )


def check_backbone_shapes(image, pyramid, config):
    """Refuse a COMPUTE_BACKBONE_SHAPE that does not fit the network: its anchors, which the
    training data are made of, would be others than the network's.

    Args:
        image: KerasTensor [b, h, w, c], the network's input.
        pyramid: [P2, P3, P4, P5, P6], KerasTensors.
        config: a ``Config``; images have its IMAGE_SHAPE.

    Raises:
        ValueError: it names the levels that differ.
    """
    size = tuple(map(int, config.IMAGE_SHAPE))
    found = keras.Model(image, pyramid).compute_output_shape((1, *size))
    shapes = [tuple(shape[1:3]) for shape in found]
    # of objects, so that rows of different lengths get the message below
    given = np.asarray(compute_backbone_shapes(config, config.IMAGE_SHAPE), object)
    what = f"COMPUTE_BACKBONE_SHAPE, for images of {size[0]} x {size[1]} px, gives"
    if given.shape != (len(shapes), 2):
        raise ValueError(
            f"{what} {given.tolist()}; it must give [height, width] of each of the levels P2 to "
            f"P6, which are {[list(shape) for shape in shapes]}"
        )
    wrong = [
        f"{height} x {width} cells to P{level}, which has {shape[0]} x {shape[1]}"
        for level, (height, width), shape in zip(range(2, 7), given.tolist(), shapes)
        if shape != (height, width) and None not in shape  # a layer of the user's may not tell
    ]
    if wrong:
        raise ValueError(f"{what} {'; '.join(wrong)} in the network of BACKBONE")


def _image_inputs(config):
    channels = int(config.IMAGE_SHAPE[2])
    image = keras.Input((None, None, channels), name="input_image", dtype="float32")
    meta = keras.Input((config.IMAGE_META_SIZE,), name="input_image_meta", dtype="float32")
    return image, meta


def _first_stage(image, config):
    """P2 to P6, and the RPN's outputs for them."""
    strides = None if callable(config.BACKBONE) else list(config.BACKBONE_STRIDES)
    stages = backbone_graph(image, config, strides[3] if strides else 32)
    pyramid = fpn_graph(stages, config.TOP_DOWN_PYRAMID_SIZE, strides)
    return pyramid, rpn_over_pyramid(pyramid, config)


def _classifier(rois, pyramid, meta, config, distinct):
    return fpn_classifier_graph(
        rois,
        pyramid[:4],
        meta,
        config.POOL_SIZE,
        config.NUM_CLASSES,
        config.TRAIN_BN,
        config.FPN_CLASSIF_FC_LAYERS_SIZE,
        distinct=distinct,
        convs=config.BOX_HEAD_CONVS,
        conv_channels=config.BOX_HEAD_CHANNELS,
        fcs=config.BOX_HEAD_FCS,
        class_agnostic=config.CLASS_AGNOSTIC_BOXES,
        config=config,
    )


def _masks(rois, pyramid, meta, config, **options):
    is_mlp = config.MASK_HEAD == "mlp"
    return build_fpn_mask_graph(
        rois,
        pyramid[:4],
        meta,
        config.MASK_POOL_SIZE,
        config.NUM_CLASSES,
        config.TRAIN_BN,
        filters=config.MASK_HEAD_CHANNELS,
        deconvs=config.MASK_HEAD_DECONVS,
        fully_connected=(config.FPN_CLASSIF_FC_LAYERS_SIZE, config.MASK_SHAPE) if is_mlp else None,
        class_agnostic=config.CLASS_AGNOSTIC_MASKS,
        activation=config.MASK_LOSS,
        config=config,
        **options,
    )

"""Weights of the original's layer names as a state dict of torchvision's Mask R-CNN."""

from __future__ import annotations

import numpy as np

from mrcnn.common.json_files import plain
from mrcnn.config import Config
from mrcnn.config.presets import TorchvisionV1Config, TorchvisionV2Config
from mrcnn.config.resnets import blocks_of
from mrcnn.weights.h5_format import Layers
from mrcnn.weights.torchvision_names import (
    KERAS_EPSILON,
    PIXEL_STD,
    TORCH_EPSILON,
    blocks,
    fully_connected_names,
    pyramid_names,
    reordered,
)

# Fields that torchvision's networks have no argument for; they must be as in the presets.
_FIXED = (
    *("STRIDE_IN_3X3", "BACKBONE_WIDTH", "BACKBONE_STRIDES", "MEAN_PIXEL", "IMAGE_RESIZE_MODE"),
    *("TOP_DOWN_PYRAMID_SIZE", "RPN_CONV_CHANNELS", "RPN_ANCHOR_SCALES", "RPN_ANCHOR_RATIOS"),
    *("RPN_ANCHOR_STRIDE", "RPN_ANCHORS_ROUNDED", "RPN_STRIDES_FROM_SIZES", "RPN_BBOX_STD_DEV"),
    *("BBOX_STD_DEV", "BOX_SHIFT", "BBOX_LOG_SCALE_LIMIT", "PROPOSALS_PER_LEVEL"),
    *("PROPOSAL_MIN_SIZE", "CLIP_PROPOSALS_TO_WINDOW", "ROI_LEVEL_FLOOR", "ROI_ALIGN"),
    *("POOL_SIZE", "MASK_POOL_SIZE", "FPN_CLASSIF_FC_LAYERS_SIZE", "BOX_HEAD_CHANNELS"),
    *("MASK_HEAD_CHANNELS", "DETECTION_MULTI_CLASS", "DETECTION_MIN_SIZE", "SOFT_NMS_SIGMA"),
    *("MASK_PASTE", "CLASS_AGNOSTIC_BOXES", "CLASS_AGNOSTIC_MASKS", "MASK_LOSS", "MASK_HEAD"),
    *("MASK_HEAD_DECONVS", "IMAGE_MIN_SCALE", "IMAGE_RANGE", "TEST_SCALES", "TEST_FLIPS"),
)
# Those that tell v1 from v2.
_OF_HEADS = ("RPN_CONV_LAYERS", "BOX_HEAD_CONVS", "BOX_HEAD_FCS")
# Fields that are arguments of torchvision's builders.
_ARGUMENTS = {
    "NUM_CLASSES": "num_classes",
    "IMAGE_MIN_DIM": "min_size",
    "IMAGE_MAX_DIM": "max_size",
    "PRE_NMS_LIMIT": "rpn_pre_nms_top_n_test",
    "POST_NMS_ROIS_INFERENCE": "rpn_post_nms_top_n_test",
    "RPN_NMS_THRESHOLD": "rpn_nms_thresh",
    "DETECTION_MIN_CONFIDENCE": "box_score_thresh",
    "DETECTION_NMS_THRESHOLD": "box_nms_thresh",
    "DETECTION_MAX_INSTANCES": "box_detections_per_img",
}


def torchvision_builder(config: Config) -> str:
    """The call of torchvision that builds the network of a config, to load its state dict into.

    Raises:
        ValueError: torchvision has no such network; the message names the fields.
    """
    preset = _preset(config)
    problems = [
        f"{field} is {plain(getattr(config, field))}, and must be {plain(getattr(preset, field))}"
        for field in _FIXED
        if plain(getattr(config, field)) != plain(getattr(preset, field))
    ]
    if config.BACKBONE != "resnet50":
        problems.append(f"BACKBONE is {config.BACKBONE!r}, and must be 'resnet50'")
    if config.TRAIN_BN:
        problems.append("TRAIN_BN is True, and batch norms must detect by stored statistics")
    if problems:
        raise ValueError(
            f"torchvision's Mask R-CNN cannot be that of {config.NAME or 'this config'}: "
            + "; ".join(problems)
        )
    name = "maskrcnn_resnet50_fpn" + ("_v2" if preset is TorchvisionV2Config else "")
    defaults = {field: plain(getattr(preset, field)) for field in _ARGUMENTS}
    arguments = [
        f"{argument}={plain(getattr(config, field)) or 0}"  # None is no threshold
        for field, argument in _ARGUMENTS.items()
        if plain(getattr(config, field)) != defaults[field]
    ]
    return f"{name}({', '.join(['weights=None', 'weights_backbone=None', *arguments])})"


def _preset(config):
    """The preset of torchvision's whose heads a config has."""
    presets = TorchvisionV1Config, TorchvisionV2Config
    own = [getattr(config, field) for field in _OF_HEADS]
    for preset in presets:
        if own == [getattr(preset, field) for field in _OF_HEADS]:
            return preset
    choices = " or ".join(
        str(tuple(getattr(preset, field) for field in _OF_HEADS)) for preset in presets
    )
    raise ValueError(
        f"torchvision's Mask R-CNN cannot be that of {config.NAME or 'this config'}: "
        f"{', '.join(_OF_HEADS)} are {tuple(own)}, and must be {choices}"
    )


def torchvision_state_dict(layers: Layers, config: Config) -> dict[str, np.ndarray]:
    """Convert weights to torchvision's names, as `torchvision.read_torchvision` reads them.

    The state dict fits the network that `torchvision_builder` names. Batch norms that are not
    torchvision's are folded into the convolutions before them, and those of v2's pyramid change
    nothing.

    Args:
        layers: as of `h5_format.read_h5`.
        config: of the network.

    Returns:
        {name: float32 array, or int64 for counts of batches}, in torchvision's order.

    Raises:
        ValueError: as `torchvision_builder`; also where a layer is missing.
    """
    torchvision_builder(config)
    newer = _preset(config) is TorchvisionV2Config
    target = _Target(layers)
    for conv, norm, our_conv, our_norm in blocks(blocks_of(str(config.BACKBONE))):
        factor = 255 * PIXEL_STD[:, np.newaxis] if conv == "conv1" else 1.0
        body = "backbone.body."
        target.with_norm(body + conv, body + norm, our_conv, our_norm, factor)
    for theirs, ours in sorted(pyramid_names()):
        target.pyramid(theirs, ours, newer)
    target.first_stage(config.RPN_CONV_LAYERS)
    for number in range(config.BOX_HEAD_CONVS):
        theirs = f"roi_heads.box_head.{number}."
        units = f"mrcnn_box_conv{number + 1}", f"mrcnn_box_bn{number + 1}"
        target.with_norm(f"{theirs}0", f"{theirs}1", *units)
    names = fully_connected_names(config.BOX_HEAD_CONVS, config.BOX_HEAD_FCS)
    for number, theirs in enumerate(names, 1):
        kernel, bias = target.folded(f"mrcnn_class_conv{number}", f"mrcnn_class_bn{number}")
        target.put(theirs, kernel.transpose(3, 2, 0, 1).reshape(len(bias), -1), bias)
    kernel, bias = target.plain("mrcnn_class_logits")
    target.put("roi_heads.box_predictor.cls_score", kernel.T, bias)
    kernel, bias = target.plain("mrcnn_bbox_fc")
    target.put("roi_heads.box_predictor.bbox_pred", reordered(kernel).T, reordered(bias))
    for number in range(4):
        theirs = f"roi_heads.mask_head.{number}."
        units = f"mrcnn_mask_conv{number + 1}", f"mrcnn_mask_bn{number + 1}"
        if newer:
            target.with_norm(f"{theirs}0", f"{theirs}1", *units)
        else:
            target.convolution(f"{theirs}0", *target.folded(*units))
    for theirs, ours in (("conv5_mask", "mrcnn_mask_deconv"), ("mask_fcn_logits", "mrcnn_mask")):
        target.convolution(f"roi_heads.mask_predictor.{theirs}", *target.plain(ours))
    return target.tensors


class _Target:
    """The state dict that is being made of layers."""

    def __init__(self, layers: Layers):
        self.layers = layers
        self.tensors: dict[str, np.ndarray] = {}

    def values(self, name: str, count: int) -> list[np.ndarray]:
        """The tensors of a layer in float64."""
        weights = self.layers.get(name, ())
        if len(weights) != count:
            raise ValueError(
                f"the layer {name} of {count} tensors is "
                + (f"of {len(weights)}" if weights else "missing")
            )
        return [np.asarray(value, np.float64) for _, value in weights]

    def plain(self, name: str) -> list[np.ndarray]:
        """Kernel and bias of a layer."""
        return self.values(name, 2)

    def folded(self, conv: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias of a convolution with its batch norm."""
        kernel, bias = self.plain(conv)
        gamma, beta, mean, variance = self.values(norm, 4)
        scale = gamma / np.sqrt(variance + KERAS_EPSILON)
        return kernel * scale, (bias - mean) * scale + beta

    def put(self, name: str, weight: np.ndarray, bias: np.ndarray | None = None) -> None:
        """Store a layer's weight and bias under torchvision's name."""
        self.tensors[f"{name}.weight"] = np.ascontiguousarray(weight, np.float32)
        if bias is not None:
            self.tensors[f"{name}.bias"] = np.ascontiguousarray(bias, np.float32)

    def convolution(self, name: str, kernel: np.ndarray, bias: np.ndarray | None = None) -> None:
        """Store a convolution; a transposed one likewise."""
        self.put(name, kernel.transpose(3, 2, 0, 1), bias)

    def norm(
        self,
        name: str,
        gamma: np.ndarray,
        beta: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
    ) -> None:
        """Store a batch norm."""
        self.put(name, gamma, beta)
        self.tensors[f"{name}.running_mean"] = mean.astype(np.float32)
        self.tensors[f"{name}.running_var"] = variance.astype(np.float32)
        self.tensors[f"{name}.num_batches_tracked"] = np.array(0, np.int64)

    def with_norm(
        self, conv: str, norm: str, our_conv: str, our_norm: str, factor: np.ndarray | float = 1.0
    ) -> None:
        """Store a convolution without bias and its batch norm, whose mean takes our bias."""
        kernel, bias = self.plain(our_conv)
        gamma, beta, mean, variance = self.values(our_norm, 4)
        self.convolution(conv, kernel * factor)
        gamma = gamma * np.sqrt((variance + TORCH_EPSILON) / (variance + KERAS_EPSILON))
        self.norm(norm, gamma, beta, mean - bias, variance)

    def pyramid(self, theirs: str, ours: str, with_norm: bool) -> None:
        """Store a convolution of the pyramid, in v2 with a batch norm that adds its bias alone."""
        kernel, bias = self.plain(ours)
        if not with_norm:
            self.convolution(f"{theirs}.0", kernel, bias)
            return
        ones, zeros = np.ones_like(bias), np.zeros_like(bias)
        self.convolution(f"{theirs}.0", kernel)
        self.norm(f"{theirs}.1", ones, bias, zeros, ones - TORCH_EPSILON)

    def first_stage(self, convolutions: int) -> None:
        """Store the RPN: a logit of torchvision is the difference of our two."""
        *shared, logits, deltas = _pairs(self.values("rpn_model", 2 * convolutions + 4))
        for number, values in enumerate(shared):
            self.convolution(f"rpn.head.conv.{number}.0", *values)
        logits = [value[..., 1::2] - value[..., ::2] for value in logits]
        self.convolution("rpn.head.cls_logits", *logits)
        self.convolution("rpn.head.bbox_pred", *map(reordered, deltas))


def _pairs(values):
    """[first and second, third and fourth, ...]"""
    return list(zip(values[::2], values[1::2]))

"""torchvision's Mask R-CNN: its state dicts as layers of the original's names.

What differs between the two is folded into the weights, so that the network that the presets
``torchvision_v1`` and ``torchvision_v2`` describe gives torchvision's numbers:

- torchvision divides images by 255 and by a standard deviation: both go into the first kernel.
- Its batch norm has an epsilon of 1e-5 or 0, Keras' 1e-3: gamma is scaled. Layers that have a
  batch norm here alone get one that changes nothing, and one that torchvision has alone goes into
  the convolution before it.
- An anchor has one logit z there, two here: (0, z).
- Boxes are (x, y, width, height) there: rows are exchanged.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mrcnn.common.files import AnyPath
from mrcnn.common.words import some
from mrcnn.config.presets import TorchvisionV1Config, TorchvisionV2Config, preset_fields
from mrcnn.config.resnets import BLOCKS
from mrcnn.weights.backbone_fields import resnet_fields
from mrcnn.weights.h5_format import Layers
from mrcnn.weights.torchvision_names import (
    KERAS_EPSILON,
    MASK_RCNN,
    PIXEL_STD,
    RESNET,
    TORCH_EPSILON,
    blocks,
    detect_kind,
    epsilon_of,
    fully_connected_names,
    pyramid_names,
    reordered,
    state_dict,
)


@dataclasses.dataclass(frozen=True)
class TorchWeights:
    """A state dict of torchvision's as layers.

    Attributes:
        kind: `MASK_RCNN` or `RESNET`.
        layers: as of `h5_format.read_h5`; tensors that have no place here are layers of their own
            names.
        fields: of ``Config``, by which the network gives torchvision's numbers.
        epsilon: of the batch norms of its backbone.
        remarks: what should be said of the file, a sentence each.
    """

    kind: str
    layers: Layers
    fields: dict[str, Any]
    epsilon: float
    remarks: list[str]


def read_torchvision(path: AnyPath, epsilon: float | None = None) -> TorchWeights:
    """Read a state dict of torchvision's Mask R-CNN (v1 or v2, any number of classes) or ResNet.

    Args:
        path: a file as of `torch_file.read_torch`, of a state dict or of a training checkpoint
            with one.
        epsilon: of the backbone's batch norms. The file does not say it. None takes `epsilon_of`.

    Raises:
        FileNotFoundError, ValueError: as of `read_torch`; also where the file is of another
            network or lacks tensors.
    """
    tensors, remarks = state_dict(path)
    kind = detect_kind(tensors)
    try:
        if kind not in (MASK_RCNN, RESNET):
            raise ValueError(
                f"it holds {f'a {kind}' if kind else 'tensors of an unknown network'}"
                f" ({some(tensors, 4)})"
            )
        epsilon = epsilon_of(tensors, kind) if epsilon is None else epsilon
        source = _Source(tensors)
        layers = dict(_body(source, "backbone.body." if kind == MASK_RCNN else "", epsilon))
        if kind == MASK_RCNN:
            layers.update(_pyramid(source))
            layers.update(_first_stage(source))
            layers.update(_box_head(source))
            layers.update(_mask_head(source))
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be loaded: {error}. A state dict of torchvision's "
            "maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2 or resnet50 would fit"
        ) from None
    fields = _fields(tensors, layers, kind)
    layers.update({name: [(name, tensors[name])] for name in source.left()})
    remarks.append(f"{_title(kind, fields)} of torchvision's, batch-norm epsilon {epsilon:g}")
    return TorchWeights(kind, layers, fields, epsilon, remarks)


# === Layers ===


class _Source:
    """A state dict of which is noted what was taken."""

    def __init__(self, tensors):
        self.tensors = tensors
        self.taken = set()

    def __contains__(self, name):
        return name in self.tensors

    def take(self, name, ndim):
        """A tensor of so many axes as float32."""
        if name not in self.tensors:
            raise ValueError(f"it lacks {name}")
        value = self.tensors[name]
        if value.ndim != ndim or value.dtype.kind != "f":
            raise ValueError(
                f"{name} is {value.dtype} of shape {value.shape}, expected were {ndim} axes of "
                "floating-point numbers"
            )
        if not value.size:
            raise ValueError(f"{name} is of shape {value.shape}, so it has no numbers")
        self.taken.add(name)
        return np.asarray(value, np.float32)

    def kernel(self, name):
        """[out, in, h, w] as Keras has it, [h, w, in, out]; of a transposed convolution likewise,
        whose first two axes both have the other way round.
        """
        return self.take(f"{name}.weight", 4).transpose(2, 3, 1, 0)

    def vector(self, name, channels, of):
        """A vector of as many numbers as another tensor has channels."""
        value = self.take(name, 1)
        if len(value) != channels:
            raise ValueError(
                f"{name} is of {len(value)} numbers, and {of}.weight of {channels} channels"
            )
        return value

    def linear(self, name):
        """Weight [out, in] and bias of a fully connected layer."""
        weight = self.take(f"{name}.weight", 2)
        return weight, self.vector(f"{name}.bias", len(weight), name)

    def convolution(self, name, axis=-1):
        """`kernel` and bias; `axis` of the kernel is that of the output's channels."""
        kernel = self.kernel(name)
        return kernel, self.vector(f"{name}.bias", kernel.shape[axis], name)

    def normed(self, conv, norm):
        """`kernel` of a convolution, and gamma, beta, mean and variance of its batch norm."""
        kernel = self.kernel(conv)
        parts = ("weight", "bias", "running_mean", "running_var")
        return kernel, [self.vector(f"{norm}.{part}", kernel.shape[-1], conv) for part in parts]

    def count(self, pattern):
        """How many names there are of a pattern with a number, from 0 on without a gap."""
        number = 0
        while pattern.format(number) in self:
            number += 1
        return number

    def left(self):
        """Names that were not taken, without counts of batches."""
        return [
            name
            for name in self.tensors
            if name not in self.taken and not name.endswith("num_batches_tracked")
        ]


def _body(source, prefix, epsilon):
    """The layers of a ResNet."""
    counts = [source.count(prefix + f"layer{stage}.{{}}.conv1.weight") for stage in range(1, 5)]
    if f"{prefix}layer1.0.conv3.weight" not in source:
        raise ValueError(
            f"its backbone {prefix}* is no ResNet of bottlenecks, such as resnet50 or resnet101"
        )
    if tuple(counts) not in BLOCKS.values():
        raise ValueError(
            f"its backbone has stages of {counts} blocks, and those of ResNet-"
            f"{' and '.join(BLOCKS)} are {' and '.join(map(str, map(list, BLOCKS.values())))}"
        )
    for conv, norm, our_conv, our_norm in blocks(counts):
        kernel, bias, values = _with_norm(source, prefix + conv, prefix + norm, epsilon)
        if conv == "conv1":
            if kernel.shape[2] != len(PIXEL_STD):
                raise ValueError(
                    f"its first convolution is for images of {kernel.shape[2]} channels, and how "
                    "they are normalised is known for RGB alone"
                )
            kernel = kernel / (255 * PIXEL_STD[:, np.newaxis])
        yield from _named(our_conv, our_norm, kernel, bias, values)


def _with_norm(source, conv, norm, epsilon=TORCH_EPSILON):
    """Kernel, bias of 0 and batch norm of a convolution without bias."""
    kernel, (gamma, beta, mean, variance) = source.normed(conv, norm)
    wide = variance.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # what is not finite is refused later
        gamma = (gamma * np.sqrt((wide + KERAS_EPSILON) / (wide + epsilon))).astype(np.float32)
    return kernel, np.zeros(len(gamma), np.float32), [gamma, beta, mean, variance]


def _identity(channels):
    """A batch norm that changes nothing."""
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    return [ones, zeros, zeros, np.full(channels, 1 - KERAS_EPSILON, np.float32)]


def _named(conv, norm, kernel, bias, values):
    """The two layers of a convolution and its batch norm."""
    yield plain_layer(conv, kernel, bias)
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    yield norm, [(f"{norm}/{name}:0", value) for name, value in zip(names, values)]


def plain_layer(
    name: str, kernel: np.ndarray, bias: np.ndarray
) -> tuple[str, list[tuple[str, np.ndarray]]]:
    """A layer of a kernel and a bias as `Layers` has it."""
    return name, [
        (f"{name}/kernel:0", np.asarray(kernel, np.float32)),
        (f"{name}/bias:0", np.asarray(bias, np.float32)),
    ]


def _unit(source, conv, norm, our_conv, our_norm):
    """A convolution of a head with its batch norm, which v1 does not have."""
    if f"{norm}.running_mean" in source:
        values = _with_norm(source, conv, norm)
    else:
        kernel, bias = source.convolution(conv)
        values = kernel, bias, _identity(len(bias))
    return _named(our_conv, our_norm, *values)


def _pyramid(source):
    for theirs, ours in pyramid_names():
        if f"{theirs}.1.running_mean" in source:
            kernel, values = source.normed(f"{theirs}.0", f"{theirs}.1")
            gamma, beta, mean, variance = (value.astype(np.float64) for value in values)
            scale = gamma / np.sqrt(variance + TORCH_EPSILON)
            yield plain_layer(ours, kernel * scale, beta - mean * scale)
        else:
            yield plain_layer(ours, *source.convolution(f"{theirs}.0"))


def _first_stage(source):
    tensors = []
    for number in range(max(source.count("rpn.head.conv.{}.0.weight"), 1)):
        theirs = f"rpn.head.conv.{number}.0"
        ours = "rpn_conv_shared" + (str(number + 1) if number else "")
        tensors += plain_layer(ours, *source.convolution(theirs))[1]
    kernel, bias = source.convolution("rpn.head.cls_logits")
    anchors = len(bias)
    kernel, bias = (
        np.stack([np.zeros_like(value), value], axis=-1).reshape(*value.shape[:-1], -1)
        for value in (kernel, bias)
    )
    tensors += plain_layer("rpn_class_raw", kernel, bias)[1]
    kernel, bias = source.convolution("rpn.head.bbox_pred")
    if len(bias) != 4 * anchors:
        raise ValueError(
            f"rpn.head.bbox_pred is of {len(bias)} numbers, and rpn.head.cls_logits of {anchors} "
            "anchors, each of which has a box"
        )
    tensors += plain_layer("rpn_bbox_pred", reordered(kernel), reordered(bias))[1]
    yield "rpn_model", tensors


def _head_shape(source):
    """Numbers of convolutions and of fully connected layers of the box head."""
    convolutions = source.count("roi_heads.box_head.{}.0.weight")
    count = 0
    while f"{fully_connected_names(convolutions, count + 1)[-1]}.weight" in source:
        count += 1
    return convolutions, max(count, 1)


def _box_head(source):
    convolutions, count = _head_shape(source)
    channels = source.take("backbone.fpn.layer_blocks.0.0.weight", 4).shape[0]
    for number in range(convolutions):
        theirs = f"roi_heads.box_head.{number}"
        ours = f"mrcnn_box_conv{number + 1}", f"mrcnn_box_bn{number + 1}"
        yield from _unit(source, f"{theirs}.0", f"{theirs}.1", *ours)
        channels = source.take(f"{theirs}.0.weight", 4).shape[0]
    for number, name in enumerate(fully_connected_names(convolutions, count), 1):
        weight, bias = source.linear(name)
        side = round(np.sqrt(weight.shape[1] / channels)) if number == 1 else 1
        if weight.shape[1] != channels * side * side:
            raise ValueError(
                f"{name}.weight is of {weight.shape[1]} inputs, which are no square of "
                f"{channels} channels"
            )
        # the inputs are flattened as channels, rows, columns
        kernel = weight.reshape(-1, channels, side, side).transpose(2, 3, 1, 0)
        ours = f"mrcnn_class_conv{number}", f"mrcnn_class_bn{number}"
        yield from _named(*ours, kernel, bias, _identity(len(bias)))
        channels = len(bias)
    name = "roi_heads.box_predictor.cls_score"
    weight, classes = source.linear(name)
    yield plain_layer("mrcnn_class_logits", weight.T, classes)
    name = "roi_heads.box_predictor.bbox_pred"
    boxes = source.take(f"{name}.bias", 1)
    if len(boxes) != 4 * len(classes):
        raise ValueError(
            f"{name} is of {len(boxes)} numbers, and cls_score of {len(classes)} classes, each of "
            "which has a box"
        )
    weight, boxes = source.linear(name)
    yield plain_layer("mrcnn_bbox_fc", reordered(weight.T), reordered(boxes))


def _mask_head(source):
    count = source.count("roi_heads.mask_head.{}.0.weight")
    if count != 4:
        raise ValueError(f"its mask head has {count} convolutions, and must have 4")
    for number in range(4):
        theirs = f"roi_heads.mask_head.{number}"
        ours = f"mrcnn_mask_conv{number + 1}", f"mrcnn_mask_bn{number + 1}"
        yield from _unit(source, f"{theirs}.0", f"{theirs}.1", *ours)
    name = "roi_heads.mask_predictor"
    # of a transposed convolution the output's channels are the last but one here
    yield plain_layer("mrcnn_mask_deconv", *source.convolution(f"{name}.conv5_mask", -2))
    yield plain_layer("mrcnn_mask", *source.convolution(f"{name}.mask_fcn_logits"))


# === Settings ===


def _fields(tensors, layers, kind):
    """Fields of ``Config`` of a file, those that differ from its defaults."""

    def last_side(name):
        return int(layers[name][0][1].shape[-1])

    fields = {
        **resnet_fields(layers),
        "BACKBONE_WIDTH": last_side("conv1"),
    }
    if kind == RESNET:
        # a ResNeXt has its strides in the 3x3 convolutions whatever the field is
        stride = {} if "RESNEXT_GROUPS" in fields else {"STRIDE_IN_3X3": True}
        return {**stride, "MEAN_PIXEL": TorchvisionV1Config.MEAN_PIXEL, **fields}
    source = _Source(tensors)
    convolutions, fully_connected = _head_shape(source)
    preset = TorchvisionV2Config if convolutions else TorchvisionV1Config
    fields = {
        **preset_fields(preset),
        **fields,
        "TOP_DOWN_PYRAMID_SIZE": last_side("fpn_c5p5"),
        "RPN_CONV_CHANNELS": last_side("rpn_model"),
        "RPN_CONV_LAYERS": source.count("rpn.head.conv.{}.0.weight"),
        "BOX_HEAD_CONVS": convolutions,
        "BOX_HEAD_FCS": fully_connected,
        "FPN_CLASSIF_FC_LAYERS_SIZE": last_side("mrcnn_class_conv1"),
        "POOL_SIZE": int(layers["mrcnn_class_conv1"][0][1].shape[0]),
        "MASK_HEAD_CHANNELS": last_side("mrcnn_mask_conv1"),
        "NUM_CLASSES": last_side("mrcnn_class_logits"),
    }
    if convolutions:
        fields["BOX_HEAD_CHANNELS"] = last_side("mrcnn_box_conv1")
    if fields["NUM_CLASSES"] != preset.NUM_CLASSES:
        del fields["CLASS_NAMES"]  # a fine-tuned file does not say its own
    return fields


def _title(kind, fields):
    if kind == RESNET:
        groups = ""
        if "RESNEXT_GROUPS" in fields:
            groups = f" ({fields['RESNEXT_GROUPS']}x{fields['RESNEXT_WIDTH']}d)"
        return f"{fields['BACKBONE']}{groups} of ImageNet, the backbone alone"
    number = "v2" if fields["BOX_HEAD_CONVS"] else "v1"
    return f"{MASK_RCNN} {number} with {fields['NUM_CLASSES']} classes"

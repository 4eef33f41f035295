"""What the layers of a file tell of the network that labels pixels which they are of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from mrcnn.weights.backbone_fields import resnet_fields
from mrcnn.weights.h5_format import Layers

# What the names of the networks' own layers begin with, but for those of their own encoders.
PREFIX = "seg_"
# Layers that one network has alone, the first that fits; see `networks.segmentation`.
_SIGNS = (
    ("fcn8s", r"seg_score_pool3"),
    ("fcn16s", r"seg_score_pool4"),
    ("fcn32s", r"seg_score_fr"),
    ("deeplab", r"seg_aspp0"),
    ("pspnet", r"seg_bins\d+"),
    ("unet", r"seg_dec1_conv1"),  # or "segnet", see `label_network`
    ("plain", r"seg_conv1"),
)


def label_network(layers: Layers) -> str | None:
    """The NETWORK whose layers these are; None for those of another kind, as of Mask R-CNN.

    Args:
        layers: of `h5_format.read_h5`, those with weights.
    """
    own = [name for name in layers if name.startswith(PREFIX)]
    for network, sign in _SIGNS:
        if any(re.fullmatch(sign, name) for name in own):
            return "segnet" if network == "unet" and _is_segnet(layers) else network
    return None


def _is_segnet(layers):
    """Whether the decoder is SegNet's: its last level reads a map as wide as the encoder's first,
    where U-Net's reads that map and another one.
    """
    return "enc1_conv1" in layers and _channels(layers, "enc1_conv1") == _channels(
        layers, "seg_dec1_conv1", side=-2
    )


def label_class_layers(names: Iterable[str]) -> list[str]:
    """Of the layers with weights of a network that labels pixels, those whose shape depends on the
    number of classes: the first one of scores and all that follow.

    Args:
        names: of layers, in the order of the model.
    """
    names = list(names)
    first = next(
        (place for place, name in enumerate(names) if name.startswith("seg_score")), len(names)
    )
    return names[first:]


def told_by_label_layers(layers: Layers) -> dict[str, Any]:
    """Fields of a ``SegmentationConfig`` that the tensors of a file tell.

    They do not tell sizes of images, dilation rates, nor how feature maps grow where no weights do
    it.

    Args:
        layers: of `h5_format.read_h5`, those with weights, under the original's names.

    Returns:
        dict of fields; an empty one for a file of another kind. Without BACKBONE where that is
        neither a ResNet of the original's names nor the network's own encoder.
    """
    network = label_network(layers)
    if network is None:
        return {}
    fields: dict[str, Any] = {
        "NETWORK": network,
        "BATCH_NORM": any(name.startswith(PREFIX) and name.endswith("_bn") for name in layers),
    }
    if "res4f_branch2a" in layers:
        fields.update(resnet_fields(layers))
        fields["BACKBONE_WIDTH"] = _channels(layers, "conv1")
    elif network == "plain" or "enc1_conv1" in layers:
        fields["BACKBONE"] = None
    if network == "unet":
        # beside a backbone the decoder's widths
        pattern = "enc{}_conv1" if "enc1_conv1" in layers else "seg_dec{}_conv1"
        fields["UNET_WIDTHS"] = tuple(_widths(layers, pattern))
    elif "enc1_conv1" in layers:
        fields["VGG_WIDTHS"] = tuple(_widths(layers, "enc{}_conv1"))
        fields["VGG_CONVOLUTIONS"] = tuple(
            sum(re.fullmatch(rf"enc{block}_conv\d+", name) is not None for name in layers)
            for block in range(1, 6)
        )
    if network.startswith("fcn"):
        fields["FC_CHANNELS"] = _channels(layers, "seg_fc6")
    elif network == "deeplab":
        fields["ASPP_CHANNELS"] = _channels(layers, "seg_aspp0")
    elif network == "pspnet":
        bins = (re.fullmatch(r"seg_bins(\d+)", name) for name in layers)
        fields["PSP_BINS"] = tuple(sorted(int(found[1]) for found in bins if found))
    scores = label_class_layers(layers)
    if scores:
        channels = _channels(layers, scores[0])
        fields["NUM_CLASSES"] = max(channels, 2)
        # FCN-32s has two channels for a single one, see `networks.segmentation.blocks`
        if channels == 2 and not (network == "fcn32s" and "seg_up32" in layers):
            fields["BINARY"] = False
    return fields


def _channels(layers, name, side=-1):
    """The last side of a layer's first tensor, or another one."""
    return int(layers[name][0][1].shape[side])


def _widths(layers, pattern):
    """Channels of the layers of a pattern, numbered from 1 on without a gap."""
    number = 1
    while (name := pattern.format(number)) in layers:
        yield _channels(layers, name)
        number += 1

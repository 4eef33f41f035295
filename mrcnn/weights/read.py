"""The layers of a file of weights, whichever kind of file it is."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument
from mrcnn.config.choices import PRESET_NAMES
from mrcnn.config.file import config_beside, read_config
from mrcnn.weights.h5_format import Layers, read_h5
from mrcnn.weights.torch_file import is_torch_file
from mrcnn.weights.torchvision import read_torchvision
from mrcnn.weights.torchvision_names import MASK_RCNN


@dataclasses.dataclass
class WeightsFile:
    """A file's layers that have weights, under the names that they have in the file.

    Attributes:
        layers: {name: [(weight name, array)]}.
        fields: of ``Config`` that the kind of file tells by itself; None of a .h5 file, whose
            tensors tell some of them.
        remarks: what should be said of the file, a sentence each.
        hint: what else to say where the file does not fit a model, or "".
    """

    layers: Layers
    fields: dict[str, Any] | None = None
    remarks: list[str] = dataclasses.field(default_factory=list)
    hint: str = ""


def preset_for(word: str, weights: AnyPath | None = None) -> str:
    """The name of the preset that goes with the weights that a training or a detection starts from:
    torchvision's own settings with its files, "modern" with ImageNet's or random weights, what the
    ``config.json`` beside a file says, and else "matterport".

    Args:
        word: "torchvision_v1", "torchvision_v2", "imagenet", "none"; another word or a path means
            the file.
        weights: path of the weights file.

    Raises:
        ValueError: the ``config.json`` is not a run's, or of a preset that is not known here; a
            .pth file is none of torchvision's.
    """
    if word.lower() in PRESET_NAMES:
        return word.lower()
    if word.lower() in ("imagenet", "none"):
        return "modern"
    path = None if weights is None else config_beside(os.fspath(weights))
    if path is None:
        fields = _torch_fields(weights)
        if fields and "NUM_CLASSES" not in fields:  # a ResNet of ImageNet
            return "modern"
    else:
        fields = read_config(path)
    preset = fields.get("PRESET", "matterport")
    if preset not in PRESET_NAMES:
        raise ValueError(
            f"{path}: PRESET is {preset!r}, which this version does not know; it knows "
            f"{', '.join(PRESET_NAMES)}"
        )
    return preset


def backbone_fields(weights: AnyPath | None) -> dict[str, Any]:
    """What a .pth file of torchvision's ResNet tells of the network: BACKBONE, where its strides
    are, and the mean of its images. Of other files, and of None, nothing: {}.

    Raises:
        FileNotFoundError, ValueError: as `read_weights`.
    """
    fields = _torch_fields(weights)
    return {} if "NUM_CLASSES" in fields else fields


def _torch_fields(weights):
    """The fields that a .pth file tells; {} of other files and of None."""
    if weights is None or not is_torch_file(weights):
        return {}
    return read_weights(weights).fields or {}


def read_weights(path: AnyPath, epsilon: float | None = None) -> WeightsFile:
    """Read a .h5 file in the original's layout, or a .pth file of torchvision's.

    Args:
        path: of the file.
        epsilon: see `torchvision.read_torchvision`.

    Raises:
        FileNotFoundError, ValueError: as `h5_format.read_h5` or `read_torchvision`.
    """
    if not is_torch_file(path):
        layers = {name: weights for name, weights in read_h5(path).items() if weights}
        for layer, weights in layers.items():
            for name, value in weights:
                if not value.size:
                    raise ValueError(
                        f"{path} cannot be loaded: {layer}: {name} is of shape {value.shape}, so "
                        "it has no numbers"
                    )
        return WeightsFile(layers)
    found = read_torchvision(path, epsilon)
    if found.kind == MASK_RCNN:
        preset = "TorchvisionV2Config" if found.fields["BOX_HEAD_CONVS"] else "TorchvisionV1Config"
        hint = (
            f"The file is of the network of mrcnn.config.presets.{preset}: "
            + option_or_argument(
                "omit --config, --preset and what else changes that network",
                "make the model with that config, or a subclass of it",
            )
        )
    else:
        hint = (
            f"The file is a {found.fields['BACKBONE']} of ImageNet, the backbone alone, which "
            "detects nothing by itself: "
            + option_or_argument(
                "train starts from it, and what train writes detects",
                "load it with by_name=True, then train",
            )
        )
    return WeightsFile(found.layers, found.fields, found.remarks, hint)

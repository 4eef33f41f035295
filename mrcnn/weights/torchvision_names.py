"""Names of torchvision's tensors: what network they are of, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mrcnn.common.files import AnyPath
from mrcnn.common.words import some
from mrcnn.config.resnets import block_name
from mrcnn.weights.torch_file import read_torch

Tensors = Mapping[str, np.ndarray]

# By which torchvision divides images of the values 0..1, after their mean is subtracted.
PIXEL_STD = np.array([0.229, 0.224, 0.225])
# Of Keras' BatchNormalization, and of PyTorch's.
KERAS_EPSILON = 1e-3
TORCH_EPSILON = 1e-5
# Places of (dy, dx, dh, dw) in (dx, dy, dw, dh), and the other way round.
BOX_ORDER = [1, 0, 3, 2]
# Entries of a training checkpoint that may hold the state dict.
_ENTRIES = ("model", "state_dict", "model_state_dict", "model_state")

MASK_RCNN = "Mask R-CNN"
RESNET = "ResNet"
# Kinds of files by a name of a tensor; the first that fits.
_KINDS = (
    (MASK_RCNN, r"roi_heads\.mask_predictor\..*"),
    ("Keypoint R-CNN", r"roi_heads\.keypoint_predictor\..*"),
    ("Faster R-CNN", r"roi_heads\.box_predictor\..*"),
    ("RetinaNet or FCOS", r"head\.(classification|regression)_head\..*"),
    ("DeepLabV3", r"classifier\.0\.convs\..*"),
    ("FCN", r"classifier\.4\.(weight|bias)"),
    ("Detectron2's network", r"backbone\.bottom_up\..*|proposal_generator\..*"),
    (RESNET, r"layer4\.0\.conv1\.weight"),
)


# === Files ===


def state_dict(path: AnyPath) -> tuple[dict[str, np.ndarray], list[str]]:
    """The tensors of a file under torchvision's names of today, and remarks on where they were.

    Raises:
        FileNotFoundError, ValueError: as of `read_torch`; also where the file has no state dict.
    """
    content, remarks = read_torch(path), []
    if isinstance(content, dict) and not _is_state_dict(content):
        for entry in _ENTRIES:
            if _is_state_dict(content.get(entry)):
                remarks.append(f"a training checkpoint, of which {entry!r} was taken")
                content = content[entry]
                break
    if not _is_state_dict(content):
        what = "no dict"
        if isinstance(content, dict):
            what = f"a dict of {some(content, 6)}" if content else "an empty dict"
        raise ValueError(
            f"{path} holds {what}, not a state dict of tensors: in PyTorch save "
            'torch.save(model.state_dict(), "weights.pth")'
        )
    if all(name.startswith("module.") for name in content):  # of DataParallel
        content = {name.removeprefix("module."): value for name, value in content.items()}
    return {_current_name(name): value for name, value in content.items()}, remarks


def detect_kind(names: Mapping[str, Any]) -> str | None:
    """What network a state dict is of, by its names; None for an unknown one."""
    for kind, pattern in _KINDS:
        if any(re.fullmatch(pattern, name) for name in names):
            return kind
    return None


def epsilon_of(tensors: Tensors, kind: str) -> float:
    """The epsilon of a backbone's batch norms.

    torchvision's ``maskrcnn_resnet50_fpn`` has frozen batch norms, which count no batches. With
    COCO's weights, and so in what is fine-tuned from them, their epsilon is set to 0. All others
    have PyTorch's 1e-5. (Frozen ones that began with ImageNet's weights alone have it too; their
    files look alike.)
    """
    frozen = not any(name.endswith("num_batches_tracked") for name in tensors)
    return 0.0 if kind == MASK_RCNN and frozen else TORCH_EPSILON


def _is_state_dict(value):
    """Whether a value is a dict of tensors alone, with names."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(
            isinstance(name, str) and isinstance(tensor, np.ndarray)
            for name, tensor in value.items()
        )
    )


def _current_name(name):
    """Today's name of a tensor, of which older versions had others."""
    name = re.sub(r"(roi_heads\.mask_head)\.mask_fcn(\d+)\.", _numbered_from_0, name)
    name = re.sub(r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1", name)
    return re.sub(
        r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2", name
    )


def _numbered_from_0(found):
    return f"{found[1]}.{int(found[2]) - 1}.0."


# === Names ===


def blocks(counts: Sequence[int]) -> Iterator[tuple[str, str, str, str]]:
    """Names of a ResNet's convolutions and their batch norms, torchvision's and ours.

    Args:
        counts: numbers of blocks of the stages 1 to 4.

    Yields:
        (torchvision's convolution, its batch norm, our convolution, our batch norm).
    """
    yield "conv1", "bn1", "conv1", "bn_conv1"
    for stage, count in enumerate(counts, 1):
        for block in range(count):
            theirs = f"layer{stage}.{block}"
            ours = f"{stage + 1}{block_name(block)}_branch"
            for number, letter in enumerate("abc", 1):
                yield (
                    f"{theirs}.conv{number}",
                    f"{theirs}.bn{number}",
                    f"res{ours}2{letter}",
                    f"bn{ours}2{letter}",
                )
            if block == 0:
                yield (
                    f"{theirs}.downsample.0",
                    f"{theirs}.downsample.1",
                    f"res{ours}1",
                    f"bn{ours}1",
                )


def pyramid_names() -> Iterator[tuple[str, str]]:
    """Names of the pyramid's convolutions without their last part, torchvision's and ours."""
    for level in range(2, 6):
        yield (
            f"backbone.fpn.inner_blocks.{level - 2}",
            "fpn_c5p5" if level == 5 else f"fpn_c{level}p{level}",
        )
        yield f"backbone.fpn.layer_blocks.{level - 2}", f"fpn_p{level}"


def fully_connected_names(convolutions: int, count: int) -> list[str]:
    """torchvision's names of the box head's fully connected layers.

    Args:
        convolutions: before them; a layer that flattens stands between.
        count: of the layers; between them stands a ReLU.
    """
    if not convolutions:
        return [f"roi_heads.box_head.fc{number}" for number in range(6, 6 + count)]
    first = convolutions + 1
    return [f"roi_heads.box_head.{first + 2 * number}" for number in range(count)]


def reordered(value: np.ndarray) -> np.ndarray:
    """(dx, dy, dw, dh) of each anchor or class to (dy, dx, dh, dw) along the last axis, or back."""
    if value.shape[-1] % 4:
        raise ValueError(f"boxes of {value.shape[-1]} numbers, which is no multiple of 4")
    by_box = value.reshape(*value.shape[:-1], -1, 4)
    return by_box[..., BOX_ORDER].reshape(value.shape)

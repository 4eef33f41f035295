"""What a training begins with: which layers of a weights file it takes."""

from __future__ import annotations

import contextlib
import shlex
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mrcnn.cli.weights_fields import told_by_weights
from mrcnn.common.json_files import plain
from mrcnn.common.words import some
from mrcnn.config import Config, SegmentationConfig
from mrcnn.config.file import OUTPUT_FIELDS, config_beside, read_config
from mrcnn.config.rules_of_segmentation import WITH_BACKBONE
from mrcnn.data.formats.regions import CLASS_OF_ALL
from mrcnn.weights import CLASS_LAYERS
from mrcnn.weights.label_layers import PREFIX, label_class_layers, label_network
from mrcnn.weights.read import read_weights

if TYPE_CHECKING:
    from mrcnn.model import MaskRCNN
    from mrcnn.segmenter import Segmenter


def names_of_weights(path: str | None, fields: dict[str, Any]) -> list[str] | None:
    """The classes of a weights file, background first; None where they are not known.

    Args:
        path: of the file, or None.
        fields: of `fields_of_weights`; where no settings are beside the file, its classes are
            those of --config or those that its tensors tell.
    """
    beside = None if path is None else config_beside(path)
    if beside is not None:
        with contextlib.suppress(ValueError):  # a damaged one, which --config stands in for
            return read_config(beside).get("CLASS_NAMES")
    return fields.get("CLASS_NAMES")


def has_other_classes(
    path: str | None,
    in_file: Sequence[str] | None,
    in_data: Sequence[str],
    network: str | None = None,
) -> bool:
    """Whether a weights file is for other classes than the data, which is told: each row of its
    class layers is of one class, and would be taken for another.

    Args:
        path: of the file; None: there is none.
        in_file: its classes, background first; None: not known, and their number alone counts.
        in_data: those of the data.
        network: NETWORK that begins with the file, None of Mask R-CNN. Of a file of another one the
            class layers are not taken anyway.

    Raises:
        ValueError: they are the same in another order. New class layers would lose what the file
            has learned of them, and the order of a run is not changed on its way.
    """
    if path is None:
        return False
    told = told_by_weights(path)
    if told.get("NETWORK") != network:
        return False
    count = told.get("NUM_CLASSES")
    if count not in (None, len(in_data)):
        what, has = f"{count} classes", str(len(in_data))
    elif in_file is None or count is None or _are_alike(in_file[1:], in_data[1:]):
        return False
    elif sorted(in_file) == sorted(in_data):
        raise ValueError(
            f"{path} is for the classes {', '.join(in_file[1:])}, in this order, and the data have "
            f"{', '.join(in_data[1:])}: choose its order with --classes "
            + " ".join(map(shlex.quote, in_file[1:]))
        )
    else:
        what, has = f"the classes {some(in_file[1:])}", some(in_data[1:])
    print(f"{path} is for {what}, the data have {has}: the class layers are trained from scratch")
    return True


def _are_alike(names, others):
    """Whether two lists of classes are one; the class of all masks stands for any other."""
    return list(names) == list(others) or (
        len(names) == len(others) == 1 and CLASS_OF_ALL in (*names, *others)
    )


def require_encoder(weights: str, config: SegmentationConfig) -> None:
    """Refuse ImageNet's weights for a network without a backbone.

    Args:
        weights: of --weights.
        config: of the network.
    """
    if weights.lower() == "imagenet" and config.BACKBONE is None:
        take = "--backbone, such as resnet50, or " if config.NETWORK in WITH_BACKBONE else ""
        raise ValueError(
            f"--weights imagenet are those of a backbone, and the encoder of NETWORK "
            f"{config.NETWORK!r} is its own: give {take}--weights none"
        )


def load_start(
    model: MaskRCNN | Segmenter, choice: str, path: str | None, new_classes: bool
) -> None:
    """Load the starting weights; without the class layers if these are to be new."""
    if choice.lower() == "imagenet":
        path = model.get_imagenet_weights()
    if path is not None:
        model.load_weights(path, by_name=True, exclude=excluded(path, model.config, new_classes))
    if choice.lower() != "last":
        model.set_log_dir()  # a run of its own, also where the path is a checkpoint of another one


def warn_of_preset(
    path: str | None, fields: dict[str, Any], given: dict[str, Any], choice: str
) -> None:
    """Warn where a preset gives the heads of a weights file other inputs than they have learned on.

    Args:
        path: of the file, or None.
        fields: of `fields_of_weights`.
        given: settings of the command line.
        choice: of --weights. A run that goes on tells what has changed by itself.
    """
    if path is None or given.get("PRESET") is None or choice.lower() == "last":
        return
    if "NUM_CLASSES" not in told_by_weights(path):  # a backbone alone
        return
    others = [
        f"{name} = {plain(given[name])} (there {plain(known)})"
        for name in OUTPUT_FIELDS
        for known in (fields.get(name, getattr(Config, name)),)
        if name in given and plain(given[name]) != plain(known)
    ]
    if others:
        warnings.warn(
            f"the heads of {path} were trained with other settings than those of the preset "
            f"{given['PRESET']!r}, and have to learn from scratch what these change: "
            f"{', '.join(others)}. Without --preset a training keeps the settings of its weights",
            stacklevel=2,
        )


def excluded(path: str, config: Config, new_classes: bool) -> Sequence[str] | None:
    """The layers of a weights file that a training does not begin with, None for none: those of
    other classes, and of another network that labels pixels all but its encoder.
    """
    if not isinstance(config, SegmentationConfig):
        return CLASS_LAYERS if new_classes else None
    layers = read_weights(path).layers
    if new_classes:
        return label_class_layers(layers)
    if label_network(layers) == config.NETWORK:
        return None
    return [name for name in layers if name.startswith(PREFIX)] or None

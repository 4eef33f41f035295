"""Which settings a weights file wants: those saved beside it, or what its tensors tell."""

from __future__ import annotations

import argparse
import math
import warnings
from typing import Any

import numpy as np

from mrcnn.cli.settings import make_config
from mrcnn.common.json_files import plain
from mrcnn.config import Config
from mrcnn.config.file import OUTPUT_FIELDS, config_beside, read_config, settings_names
from mrcnn.config.rules_of_segmentation import WITH_BACKBONE
from mrcnn.config.segmentation import NOT_READ
from mrcnn.data.coco_classes import COCO_CLASSES
from mrcnn.weights.backbone_fields import resnet_fields
from mrcnn.weights.conversions import rename_keras_resnet
from mrcnn.weights.label_layers import told_by_label_layers
from mrcnn.weights.read import read_weights


def fields_of_weights(
    args: argparse.Namespace, path: str | None, given: dict[str, Any], to_train: bool = False
) -> dict[str, Any]:
    """Settings that fit a weights file: those saved beside it, or what its tensors tell.

    Where nothing is saved, a warning names the fields that are then guesses: the defaults, which
    those of the published COCO weights are. A .pth file of torchvision's Mask R-CNN leaves nothing
    to guess.

    Args:
        args: with those of `add_model`.
        path: .h5 or .pth file, or None.
        given: settings of the command line, which are no guesses.
        to_train: whether a training begins with the weights. Its images may have other channels,
            see `weights.conversions.adapt_channels`.

    Returns:
        dict of fields of `Config`, or of ``SegmentationConfig`` where NETWORK is among them or is
        given.

    Raises:
        ValueError: the tensors contradict the defaults or what is given.
    """
    config_path = args.config
    if config_path is None and path is not None:
        config_path = config_beside(path)
        if config_path is None:
            return _fields_of_tensors(args, path, given, to_train)
    if config_path is None:
        return {}
    fields = read_config(config_path)
    if path is not None and _is_another(fields, given):
        fields = _of_encoder(args, path, fields, given, to_train)
    # a training takes the classes of its data
    of_classes = ("NUM_CLASSES", "CLASS_NAMES", "CLASS_WEIGHTS", "LOSS_OPTIONS")
    classes = of_classes if to_train else ()
    try:
        make_config(
            {name: value for name, value in fields.items() if name not in classes},
            {name: value for name, value in given.items() if name not in classes},
        )
    except ValueError as error:
        raise ValueError(f"{config_path} with the settings of the command line: {error}") from None
    return fields


# Fields that a training of another network takes over: of the encoder and of its images.
_ENCODER_FIELDS = (
    *("BACKBONE", "BACKBONE_WIDTH", "STRIDE_IN_3X3", "VGG_WIDTHS", "VGG_CONVOLUTIONS"),
    *("MEAN_PIXEL", "RESNEXT_GROUPS", "RESNEXT_WIDTH"),
    *("IMAGE_RESIZE_MODE", "IMAGE_MIN_DIM", "IMAGE_MAX_DIM", "IMAGE_MIN_SCALE", "IMAGE_RANGE"),
    *("IMAGE_CHANNEL_COUNT", "IMAGE_MAX_PIXELS"),
)


def _is_another(fields, given):
    """Whether the command line asks for another network than that of the fields."""
    return given.get("NETWORK") not in (None, fields.get("NETWORK"))


def _of_encoder(args, path, fields, given, to_train):
    """What a training of another network takes over from the fields of a file.

    Raises:
        ValueError: there is no training, the run is to go on, or there is no use for a backbone.
    """
    asked = given["NETWORK"]
    said = f"{path} is of {network_name(fields)}, and --network asks for {asked!r}: "
    if not to_train:
        if fields.get("NETWORK") is None:
            said += (
                f"train --network {asked} makes such a network, beginning with this backbone, and "
                "predict --save labels writes the objects of Mask R-CNN as label maps; here "
            )
        raise ValueError(f"{said}omit --network")
    if args.weights.lower() == "last":
        raise ValueError(
            f"{said}omit --network to resume this run, the newest of its name; for a new run that "
            "begins with its encoder, give this path with --weights"
        )
    if fields.get("BACKBONE") is not None and asked not in WITH_BACKBONE:
        raise ValueError(
            f"{path} has the backbone {fields['BACKBONE']!r}, and NETWORK {asked!r} has an encoder "
            f"of its own: take --weights none, or one of {', '.join(WITH_BACKBONE)}"
        )
    return {name: fields[name] for name in _ENCODER_FIELDS if name in fields}


def network_name(fields: dict[str, Any]) -> str:
    """What a message calls the network of some fields."""
    network = fields.get("NETWORK")
    return "Mask R-CNN" if network is None else f"the network {network!r}"


def _fields_of_tensors(args, path, given, to_train):
    """`fields_of_weights` of a file that has no settings beside it."""
    file = read_weights(path)
    if file.fields is not None:
        return _fields_of_torch(args, path, file.fields, given, to_train)
    layers = rename_keras_resnet(file.layers)
    fields = _told(layers)
    is_whole = "NETWORK" in fields or _anchors_per_cell(layers) is not None
    guesses: tuple[str, ...] = GUESSED_FOR_TRAINING if to_train else GUESSED
    if "NETWORK" in fields or "NETWORK" in given:
        guesses = tuple(field for field in guesses if field not in NOT_READ)
    if _is_another(fields, given) and (is_whole or to_train):
        fields = _of_encoder(args, path, fields, given, to_train)
    if is_whole and args.weights.lower() != "coco":
        _check_tensors(path, layers, given, to_train)
        _warn_of_guesses(path, {**fields, **given}, to_train, guesses)
    return fields


def _fields_of_torch(args, path, fields, given, to_train):
    """`fields_of_weights` of a file of torchvision's."""
    if _is_another(fields, given) and ("NUM_CLASSES" in fields or to_train):
        # how a detector sees its images is no matter of a network that labels pixels
        fields = _of_encoder(args, path, fields, given, to_train)
        return {name: value for name, value in fields.items() if not name.startswith("IMAGE_")}
    return fields


# Fields that the tensors of a file do not tell: the sizes that detection depends on, and what the
# network's input and outputs mean. A training chooses the sizes itself.
GUESSED_FOR_TRAINING = OUTPUT_FIELDS
GUESSED = ("IMAGE_RESIZE_MODE", "IMAGE_MIN_DIM", "IMAGE_MAX_DIM", *OUTPUT_FIELDS)


def _warn_of_guesses(path, known, to_train, fields):
    known = {*known, *(("IMAGE_MIN_DIM",) if "IMAGE_MAX_DIM" in known else ())}
    guesses = [
        f"{field} = {plain(getattr(Config, field))}" for field in fields if field not in known
    ]
    if not guesses:
        return
    if to_train:
        what = (
            "If it was trained with others, training has to learn from scratch what they mean: put "
            "its config.json beside it, or give that with --config, or the fields with --set"
        )
    else:
        of_objects = "RPN_ANCHOR_SCALES" in fields
        what = (
            "If it was trained with other sizes"
            + (" or anchors, objects will be missed" if of_objects else ", labels will be wrong")
            + ": put its "
            "config.json beside it, or give that with --config, or the fields with --size and --set"
        )
    warnings.warn(
        f"{path} has no settings beside it ({' and '.join(settings_names(path))} are missing), "
        f"so these are guesses, the defaults: {', '.join(guesses)}. {what}",
        stacklevel=4,
    )


def _check_tensors(path, layers, given, to_train):
    """Raise where the tensors of a file without settings contradict what the model would be."""
    alone = f"{path} has no settings beside it"
    anchors = _anchors_per_cell(layers)
    ratios = list(np.atleast_1d(given.get("RPN_ANCHOR_RATIOS", Config.RPN_ANCHOR_RATIOS)))
    if anchors is not None and "NETWORK" not in given and len(ratios) != anchors:
        raise ValueError(
            f"{alone}, and its tensors are of {anchors} anchors a cell, where RPN_ANCHOR_RATIOS "
            f"has {len(ratios)}: give all of its ratios with --set RPN_ANCHOR_RATIOS=..., or its "
            "config.json with --config"
        )
    if "BACKBONE" not in given and "BACKBONE" not in _told(layers):
        raise ValueError(
            f"{alone}, and its layers are neither resnet50's nor resnet101's, nor "
            "another ResNet's: name its network "
            "with --backbone, or give its config.json with --config"
        )
    channels = _image_channels(layers)
    if not to_train and channels not in (None, 3) and "MEAN_PIXEL" not in given:
        raise ValueError(
            f"{alone}, and its tensors are of images of {channels} channels: give IMAGE_CHANNEL_"
            f"COUNT={channels} and the mean of each channel, MEAN_PIXEL=..., with --set, or its "
            "config.json with --config"
        )


# Fields that are the last side of a layer's first tensor.
_TOLD = {
    "BACKBONE_WIDTH": "conv1",
    "TOP_DOWN_PYRAMID_SIZE": "fpn_c5p5",
    "RPN_CONV_CHANNELS": "rpn_model",
    "FPN_CLASSIF_FC_LAYERS_SIZE": "mrcnn_class_conv1",
    "MASK_HEAD_CHANNELS": "mrcnn_mask_conv1",
    "NUM_CLASSES": "mrcnn_class_logits",
}


def told_by_weights(path: str) -> dict[str, Any]:
    """What the tensors of a weights file tell of its settings: classes, sizes of layers, which
    ResNet, and NETWORK of a network that labels pixels.

    A file of 81 classes is taken for one of COCO. Sizes of images and anchors are not in the
    weights.
    """
    file = read_weights(path)
    return _told(rename_keras_resnet(file.layers)) if file.fields is None else file.fields


def _anchors_per_cell(layers):
    """How many anchors the RPN of a file has a cell, or None of a file without an RPN."""
    return next(
        (
            value.shape[-1] // 2
            for layer in ("rpn_model", "rpn_class_raw")
            for name, value in layers.get(layer, ())
            if "rpn_class_raw" in name and value.ndim == 4
        ),
        None,
    )


def _image_channels(layers):
    """Channels of the images of a file whose first convolution has a name of ours, or None."""
    first = next((name for name in ("conv1", "enc1_conv1", "seg_conv1") if name in layers), None)
    kernel = None if first is None else layers[first][0][1]
    return kernel.shape[2] if kernel is not None and kernel.ndim == 4 else None


def _told_of_masks_and_boxes(layers, classes):
    """How the heads of a file differ from the default ones, as fields."""
    sides = {name: layers[name][0][1].shape for name in layers if name.startswith("mrcnn_")}
    fields: dict[str, Any] = {}
    if classes > 1 and sides.get("mrcnn_bbox_fc", ())[-1:] == (4,):
        fields["CLASS_AGNOSTIC_BOXES"] = True
    fields |= _told_of_depth(layers)
    if not sides.get("mrcnn_mask"):
        return fields
    filters = sides["mrcnn_mask"][-1]
    if len(first := sides.get("mrcnn_mask_fc1", ())) == 4:
        usual = Config.MASK_SHAPE[0] * Config.MASK_SHAPE[1]
        of_classes = filters % classes == 0 and _is_square(filters // classes)
        # 784 may be one mask of 28 px, or of 14 px for each of 4 classes
        masks = classes if of_classes and filters != usual else 1
        side = math.isqrt(filters // masks)
        fields |= {"MASK_HEAD": "mlp", "MASK_POOL_SIZE": int(first[0]), "MASK_SHAPE": [side, side]}
    else:
        masks = filters
        deconvs = sum(name.startswith("mrcnn_mask_deconv") for name in sides)
        if deconvs != 1 and "mrcnn_mask_conv1" in sides:
            side = Config.MASK_POOL_SIZE * 2**deconvs
            fields |= {"MASK_HEAD_DECONVS": deconvs, "MASK_SHAPE": [side, side]}
    if classes > 1 and masks == 1:
        fields["CLASS_AGNOSTIC_MASKS"] = True
    return fields


def _told_of_depth(layers):
    """How many layers the RPN and the box head have, where it is another number than the default;
    of v2 of torchvision's Mask R-CNN it is.
    """
    convs, dense = (
        [name for name in layers if name.startswith(start) and layers[name]]
        for start in ("mrcnn_box_conv", "mrcnn_class_conv")
    )
    shared = {
        part
        for layer in layers
        if layer.startswith("rpn_")
        for name, _ in layers[layer]
        for part in (layer, *name.split("/"))
        if part.startswith("rpn_conv_shared")
    }
    fields: dict[str, Any] = {}
    if convs:
        channels = int(layers[convs[0]][0][1].shape[-1])
        fields |= {"BOX_HEAD_CONVS": len(convs), "BOX_HEAD_CHANNELS": channels}
    if dense and len(dense) != Config.BOX_HEAD_FCS:
        fields["BOX_HEAD_FCS"] = len(dense)
    if len(shared) > 1:
        fields["RPN_CONV_LAYERS"] = len(shared)
    return fields


def _is_square(number):
    return math.isqrt(number) ** 2 == number


def _told(layers):
    if fields := told_by_label_layers(layers):
        return fields
    fields = {
        field: int(layers[name][0][1].shape[-1])
        for field, name in _TOLD.items()
        if name in layers and layers[name][0][1].ndim
    }
    if "mrcnn_class_conv1" in layers and layers["mrcnn_class_conv1"][0][1].ndim == 4:
        fields["POOL_SIZE"] = int(layers["mrcnn_class_conv1"][0][1].shape[0])
    fields |= _told_of_masks_and_boxes(layers, fields.get("NUM_CLASSES", 1))
    if fields.get("NUM_CLASSES") == len(COCO_CLASSES):
        fields["CLASS_NAMES"] = COCO_CLASSES
    if "res4f_branch2a" in layers:
        fields.update(resnet_fields(layers))
    else:
        fields.pop("BACKBONE_WIDTH", None)
    return fields

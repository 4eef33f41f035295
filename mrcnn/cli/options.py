"""Arguments that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.common.json_files import parse_once
from mrcnn.config import Config
from mrcnn.config.file import config_beside, parse_settings, read_config, settings_names
from mrcnn.data.cache.layout import is_cache
from mrcnn.data.coco_classes import COCO_CLASSES
from mrcnn.data.formats import FORMATS, find_format, open_dataset
from mrcnn.data.formats.coco import CROWDS
from mrcnn.data.images import limit_pixels
from mrcnn.training.run_folder import find_last_checkpoint
from mrcnn.weights.h5_format import read_h5
from mrcnn.weights.load import rename_keras_resnet
from mrcnn.weights.published import coco_weights

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset
    from mrcnn.model import MaskRCNN


WORDS = ("coco", "imagenet", "last", "none")


def positive(text: str) -> int:
    """An int of at least 1, of an argument that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


# === Data ===


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """The annotated images."""
    parser.add_argument(
        "dataset", help="annotation file, or folder with annotations and images, or of a cache"
    )
    parser.add_argument(
        "--format",
        default="auto",
        choices=("auto", *FORMATS),
        help="of the annotations (default: told by their contents)",
    )
    parser.add_argument(
        "--subset",
        metavar="NAME",
        help="part of the data: a folder of this name in DATASET, or the "
        "annotation file that has it in its name, such as train or val",
    )
    parser.add_argument(
        "--class-attribute",
        metavar="NAME",
        help="region attribute of VIA json that holds the class, where there are several",
    )
    parser.add_argument(
        "--crowds",
        choices=CROWDS,
        help="what the annotations of COCO json with iscrowd 1 are: ignored, neither learned nor "
        "missed, or objects like all others; CVAT writes iscrowd 1 for every brush mask "
        "(default: ignored)",
    )
    parser.add_argument(
        "--boxes-as-masks",
        action="store_true",
        default=None,
        help="take the box of an annotation of COCO json that has no segmentation as its mask "
        "(default: such annotations are left out)",
    )
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        help="folder of the images, where COCO, VIA or labelme json does not lie beside them, or "
        "of --masks, where DATASET is not this folder",
    )
    parser.add_argument(
        "--masks",
        metavar="FOLDER",
        help="folder of mask files, one of ids for each image of DATASET, where it has another "
        "name than those that are found: images and masks, img and label and their like; a mask "
        "has the name of its image, or that with _mask, _gt, _label or the like",
    )
    parser.add_argument(
        "--skip-missing",
        action="store_true",
        help="leave out images that are not there, or that have no mask file, with a count "
        "(default: an error)",
    )
    parser.add_argument(
        "--split-pieces",
        action="store_true",
        help="of mask files: make an object of each connected piece, where all objects of a mask "
        "have one value",
    )


@parse_once()
def open_data(
    args: argparse.Namespace,
    classes: Sequence[str] | None = None,
    path: str | None = None,
    subset: str | None = None,
    other_classes: bool = False,
    collect_errors: bool = False,
) -> Dataset:
    """The prepared Dataset of `add_dataset`'s arguments.

    Args:
        args: of the command line.
        classes: names, or None for all.
        path: other data, of which ``subset`` is a part; --subset and --masks say nothing of them,
            but --val-masks does.
        subset: of the arguments' own data, in place of --subset.
        other_classes: whether classes that ``classes`` lacks follow them; else they are left out.
        collect_errors: whether images and objects that cannot be read are counted, where the
            format can; else the first one is an error.
    """
    args, path, subset = _place(args, path, subset)
    options = {
        name: value
        for name in _FORMATS_OF
        if (value := getattr(args, name, None)) not in (None, False)
    }
    if is_cache(os.path.join(path, subset or "")):
        _check_options(options, "cache", os.path.join(path, subset or ""))
        return _open_cache(os.path.join(path, subset or ""), classes)
    if options or collect_errors:
        found, place, _ = find_format(path, args.format, subset, args.masks, args.images)
        _check_options(options, found, place)
        if collect_errors and found in ("coco", "via", "labelme"):
            options["collect_errors"] = True
    return open_dataset(
        path,
        format=args.format,
        subset=subset,
        image_dir=args.images,
        mask_dir=options.pop("masks", None),
        classes=classes,
        other_classes=other_classes,
        **options,
    )


def require_data(
    args: argparse.Namespace, path: str | None = None, subset: str | None = None
) -> None:
    """Make sure that there are data of a known format, before weights are downloaded.

    Args:
        args, path, subset: as of `open_data`.

    Raises:
        FileNotFoundError, ValueError: as `find_format`.
    """
    args, path, subset = _place(args, path, subset)
    if not is_cache(os.path.join(path, subset or "")):
        find_format(path, args.format, subset, args.masks, args.images)


def _place(args, path, subset):
    """The arguments, path and subset of the arguments' own data or of other data."""
    if path is None:
        return args, args.dataset, subset or args.subset
    if args.masks is not None or args.val_masks is not None:
        # a folder of images and that of their masks belong to one set
        args = argparse.Namespace(**{**vars(args), "images": None, "masks": args.val_masks})
    return args, path, subset


# The arguments that some formats have alone: {name: (formats, what they are)}.
_FORMATS_OF = {
    "class_attribute": (("via",), "VIA json"),
    "crowds": (("coco",), "COCO json"),
    "boxes_as_masks": (("coco",), "COCO json"),
    "masks": (("id_masks",), "mask files"),
    "split_pieces": (("id_masks", "object_masks"), "mask files"),
    "skip_missing": (tuple(FORMATS), "the formats with files of their own"),
}


def _check_options(options, found, place):
    """Refuse arguments of another format than the data have."""
    for name in options:
        formats, what = _FORMATS_OF[name]
        if found not in formats:
            raise ValueError(
                f"--{name.replace('_', '-')} is of {what}, and {place} is "
                + (
                    "a cache: give it to the command that writes the cache"
                    if found == "cache"
                    else f"of the format {found}"
                )
            )


def _open_cache(folder, classes):
    from mrcnn.data.cache.dataset import RecordDataset

    dataset = RecordDataset(folder)
    if classes is not None and list(classes) != list(dataset.class_names[1:]):
        raise ValueError(
            f"the cache {folder} is of the classes {', '.join(dataset.class_names[1:])}, not of "
            f"{', '.join(classes)}: write it again with --classes"
        )
    return dataset


# === Model ===


def add_model(parser: argparse.ArgumentParser, weights_help: str) -> None:
    """Weights and settings."""
    parser.add_argument("--weights", required=True, metavar="FILE", help=weights_help)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="config.json to take the settings from (default: the one "
        "beside the weights, where there is one)",
    )
    parser.add_argument(
        "--logs", default="logs", metavar="FOLDER", help="folder of training runs (default: logs)"
    )
    parser.add_argument(
        "--name",
        help="NAME of the run, by which 'last' finds it (train: by default that of the "
        "data's folder)",
    )
    parser.add_argument(
        "--size",
        type=positive,
        metavar="PX",
        help="longest side that images are scaled and padded to, a multiple of 64: IMAGE_MAX_DIM, "
        "and IMAGE_MIN_DIM where that is larger (default: of the settings, else 1024)",
    )
    parser.add_argument(
        "--batch",
        type=positive,
        metavar="N",
        help="images at a time: IMAGES_PER_GPU (default: 1; train: of the settings, else 2)",
    )
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="resnet50, resnet101 or a class of keras.applications "
        "(default: that of the settings or the weights, else resnet101)",
    )
    add_image_range(parser)
    add_max_pixels(parser)
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="FIELD=VALUE",
        help="any fields of Config, such as DETECTION_MAX_INSTANCES=200 "
        "RPN_ANCHOR_SCALES=8,16,32,64,128; mrcnn/config/fields.py explains each",
    )


def add_image_range(parser: argparse.ArgumentParser) -> None:
    """What is black and white in images of more than 8 bits."""
    parser.add_argument(
        "--image-range",
        nargs=2,
        type=float,
        metavar=("BLACK", "WHITE"),
        help="values of black and white in images of more than 8 bits, such as 0 4095 for 12 bits "
        "in 16: IMAGE_RANGE (default: of the settings, else what the file says or the whole 16 "
        "bits)",
    )


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """The largest image files that are read."""
    parser.add_argument(
        "--max-pixels",
        type=positive,
        metavar="N",
        help="most pixels of an image file, against files that claim to be huge: IMAGE_MAX_PIXELS "
        f"(default: {Config.IMAGE_MAX_PIXELS:,})",
    )


def use_max_pixels(settings: dict[str, Any]) -> None:
    """Let the data be opened with IMAGE_MAX_PIXELS, before there is a Config."""
    count = settings.get("IMAGE_MAX_PIXELS", Config.IMAGE_MAX_PIXELS)
    if isinstance(count, int) and count > 0:  # else the Config refuses it
        limit_pixels(count)


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that the arguments of `add_model` make, as a dict of fields; ``--set`` comes
    last.
    """
    settings = {}
    for field, value in (
        ("NAME", args.name),
        ("IMAGE_MAX_DIM", args.size),
        ("IMAGES_PER_GPU", args.batch),
        ("BACKBONE", args.backbone),
        ("IMAGE_RANGE", args.image_range),
        ("IMAGE_MAX_PIXELS", args.max_pixels),
    ):
        if value is not None:
            settings[field] = value
    return {**settings, **parse_settings(args.set)}


def make_config(fields: dict[str, Any], settings: dict[str, Any]) -> Config:
    """A `Config` of the fields of a file and the settings of the command line, which go before.

    Raises:
        ValueError: naming every wrong field.
    """
    fields = {**fields, **settings}
    largest = fields.get("IMAGE_MAX_DIM")
    smallest = fields.get("IMAGE_MIN_DIM", Config.IMAGE_MIN_DIM)
    if (
        "IMAGE_MAX_DIM" in settings
        and "IMAGE_MIN_DIM" not in settings
        and isinstance(largest, int)
        and smallest
    ):
        fields["IMAGE_MIN_DIM"] = min(smallest, largest)
    return Config.from_dict(fields)


def weights_path(choice: str, logs: str, name: str | None, to_train: bool = False) -> str | None:
    """The file of "coco", "last" or a path; None for "imagenet", which depends on the model, and
    for "none".

    Raises:
        FileNotFoundError: no such file or run.
        ValueError: "last" without a name.
    """
    word = choice.lower()
    if word in ("imagenet", "none"):
        return None
    if word == "coco":
        return coco_weights()
    if word == "last":
        if not name:
            raise ValueError("--weights last needs --name, the NAME of the run")
        return find_last_checkpoint(logs, name, with_state=to_train)
    if not os.path.isfile(choice):
        raise FileNotFoundError(
            f"there is no weights file {choice}; --weights takes a path or one of "
            f"{', '.join(WORDS)}"
        )
    return choice


def fields_of_weights(
    args: argparse.Namespace, path: str | None, given: dict[str, Any], to_train: bool = False
) -> dict[str, Any]:
    """Settings that fit a weights file: those saved beside it, or what its tensors tell.

    Where nothing is saved, a warning names the fields that are then guesses: the defaults, which
    those of the published COCO weights are.

    Args:
        args: with those of `add_model`.
        path: .h5 file, or None.
        given: settings of the command line, which are no guesses.
        to_train: whether a training begins with the weights. Its images may have other channels,
            see `weights.load.adapt_channels`.

    Returns:
        dict of fields of `Config`.

    Raises:
        ValueError: the tensors contradict the defaults or what is given.
    """
    config_path = args.config
    if config_path is None and path is not None:
        config_path = config_beside(path)
        if config_path is None:
            layers = _layers(path)
            if _anchors_per_cell(layers) is not None and args.weights.lower() != "coco":
                _check_tensors(path, layers, given, to_train)
                _warn_of_guesses(path, given)
            return _told(layers)
    if config_path is None:
        return {}
    fields = read_config(config_path)
    # a training takes the classes of its data
    classes = ("NUM_CLASSES", "CLASS_NAMES", "CLASS_WEIGHTS") if to_train else ()
    try:
        make_config(
            {name: value for name, value in fields.items() if name not in classes},
            {name: value for name, value in given.items() if name not in classes},
        )
    except ValueError as error:
        raise ValueError(f"{config_path} with the settings of the command line: {error}") from None
    return fields


# Fields that detection depends on and the tensors of a file do not tell.
GUESSED = (
    "IMAGE_RESIZE_MODE",
    "IMAGE_MIN_DIM",
    "IMAGE_MAX_DIM",
    "MEAN_PIXEL",
    "RPN_ANCHOR_SCALES",
    "RPN_ANCHOR_RATIOS",
    "RPN_ANCHOR_STRIDE",
)


def _warn_of_guesses(path, given):
    known = {*given, *(("IMAGE_MIN_DIM",) if "IMAGE_MAX_DIM" in given else ())}
    guesses = [f"{field} = {getattr(Config, field)}" for field in GUESSED if field not in known]
    if guesses:
        warnings.warn(
            f"{path} has no settings beside it ({' and '.join(settings_names(path))} are missing), "
            f"so these are guesses, the defaults: {', '.join(guesses)}. If it was trained with "
            "other sizes or anchors, objects will be missed: put its config.json beside it, or "
            "give that with --config, or the fields with --size and --set",
            stacklevel=3,
        )


def _check_tensors(path, layers, given, to_train):
    """Raise where the tensors of a file without settings contradict what the model would be."""
    alone = f"{path} has no settings beside it"
    anchors = _anchors_per_cell(layers)
    ratios = list(np.atleast_1d(given.get("RPN_ANCHOR_RATIOS", Config.RPN_ANCHOR_RATIOS)))
    if len(ratios) != anchors:
        raise ValueError(
            f"{alone}, and its tensors are of {anchors} anchors a cell, where RPN_ANCHOR_RATIOS "
            f"has {len(ratios)}: give all of its ratios with --set RPN_ANCHOR_RATIOS=..., or its "
            "config.json with --config"
        )
    if "BACKBONE" not in given and "BACKBONE" not in _told(layers):
        raise ValueError(
            f"{alone}, and its layers are neither resnet50's nor resnet101's: name its network "
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
    ResNet.

    A file of 81 classes is taken for one of COCO. Sizes of images and anchors are not in the
    weights.
    """
    return _told(_layers(path))


def _layers(path):
    """The layers of a file that have weights, under the original's names."""
    layers = {name: weights for name, weights in read_h5(path).items() if weights}
    return rename_keras_resnet(layers)


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
    """Channels of the images of a ResNet's file, or None."""
    kernel = layers["conv1"][0][1] if "conv1" in layers else None
    return kernel.shape[2] if kernel is not None and kernel.ndim == 4 else None


def _told(layers):
    fields: dict[str, Any] = {
        field: int(layers[name][0][1].shape[-1])
        for field, name in _TOLD.items()
        if name in layers and layers[name][0][1].ndim
    }
    if "mrcnn_class_conv1" in layers and layers["mrcnn_class_conv1"][0][1].ndim == 4:
        fields["POOL_SIZE"] = int(layers["mrcnn_class_conv1"][0][1].shape[0])
    if fields.get("NUM_CLASSES") == len(COCO_CLASSES):
        fields["CLASS_NAMES"] = COCO_CLASSES
    if "res4f_branch2a" in layers:
        fields["BACKBONE"] = "resnet101" if "res4w_branch2a" in layers else "resnet50"
    else:
        fields.pop("BACKBONE_WIDTH", None)
    return fields


# === A model that detects ===


def inference_config(args: argparse.Namespace, **settings: Any) -> tuple[Config, str]:
    """The config of a model for evaluate and predict, and the path of its weights.

    Args:
        args: with those of `add_model`.
        settings: defaults that come before those of the command line.
    """
    given = settings_of(args)
    path = weights_path(args.weights, args.logs, given.get("NAME"))
    if path is None:
        raise ValueError(
            f"--weights {args.weights} gives a model that finds nothing: take trained weights"
        )
    fields = {
        **fields_of_weights(args, path, given),
        "GPU_COUNT": 1,
        "IMAGES_PER_GPU": 1,
        **settings,
    }
    if fields.get("IMAGE_RESIZE_MODE") == "crop" and "IMAGE_RESIZE_MODE" not in given:
        print(
            "The model was trained on crops (IMAGE_RESIZE_MODE 'crop'): it now detects with "
            "'pad64' in whole images"
        )
        fields["IMAGE_RESIZE_MODE"] = "pad64"
    return make_config(fields, given), path


def load_model(config: Config, weights: str, logs: str) -> MaskRCNN:
    """The `MaskRCNN` of mode "inference" of an `inference_config`."""
    from mrcnn.model import MaskRCNN  # takes seconds; wrong settings should show at once

    model = MaskRCNN("inference", config, logs)
    model.load_weights(weights)  # every layer must be in the file
    return model

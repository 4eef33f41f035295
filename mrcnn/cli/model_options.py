"""Arguments about the model: its weights and settings, and the model that they make."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from mrcnn.cli.data_options import add_image_range, add_max_pixels, positive
from mrcnn.cli.settings import make_config, settings_of
from mrcnn.cli.weights_fields import fields_of_weights, network_name, told_by_weights
from mrcnn.config import SegmentationConfig
from mrcnn.config.choices import SEGMENTATION_NETWORKS
from mrcnn.training.run_folder import find_last_checkpoint
from mrcnn.weights.published import TORCHVISION_WEIGHTS, coco_weights, torchvision_weights

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.model import MaskRCNN
    from mrcnn.segmenter import Segmenter


WORDS = ("coco", *TORCHVISION_WEIGHTS, "imagenet", "last", "none")


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
        "--network",
        choices=SEGMENTATION_NETWORKS,
        metavar="NAME",
        help=f"a network that labels pixels: {', '.join(SEGMENTATION_NETWORKS)} (default: that of "
        "the settings or the weights, else Mask R-CNN)",
    )
    parser.add_argument(
        "--size",
        type=positive,
        metavar="PX",
        help="longest side that images are scaled and padded to, of Mask R-CNN a multiple of 64: "
        "IMAGE_MAX_DIM, and IMAGE_MIN_DIM where that is larger (default: of the settings, else "
        "1024)",
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
        help="resnet50, 101 or 152, resnext50, 101 or 152, or a class of keras.applications "
        "(default: that of the settings or the weights, else resnet101; with --network the "
        "network's own encoder)",
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
        "RPN_ANCHOR_SCALES=8,16,32,64,128; mrcnn/config/fields.py explains each, and "
        "mrcnn/config/segmentation.py those of the networks that label pixels",
    )


def weights_path(choice: str, logs: str, name: str | None, to_train: bool = False) -> str | None:
    """The file of "coco", "torchvision_v1", "torchvision_v2", "last" or a path; None for
    "imagenet", which depends on the model, and for "none".

    Raises:
        FileNotFoundError: no such file or run.
        ValueError: "last" without a name.
    """
    word = choice.lower()
    if word in ("imagenet", "none"):
        return None
    if word == "coco":
        return coco_weights()
    if word in TORCHVISION_WEIGHTS:
        return torchvision_weights(word)
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


def inference_config(args: argparse.Namespace) -> tuple[Config, str]:
    """The config of a model for evaluate and predict, and the path of its weights.

    Args:
        args: with those of `add_model`.

    Returns:
        (`SegmentationConfig` of a network that labels pixels, else `Config`; path).
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
    }
    if args.config is not None:
        _check_kind(path, args.config, fields)
    if fields.get("IMAGE_RESIZE_MODE") == "crop" and "IMAGE_RESIZE_MODE" not in given:
        print(
            "The model was trained on crops (IMAGE_RESIZE_MODE 'crop'): it now detects with "
            "'pad64' in whole images"
        )
        fields["IMAGE_RESIZE_MODE"] = "pad64"
    return make_config(fields, given), path


def _check_kind(path, config_path, fields):
    """Raise where the settings of --config are not of the kind of network that a file is of."""
    found = told_by_weights(path)
    if (found.get("NETWORK") is None) != (fields.get("NETWORK") is None):
        raise ValueError(
            f"{path} is of {network_name(found)}, and {config_path} is of {network_name(fields)}: "
            "give the config.json that was written with the weights"
        )


def new_model(mode: str, config: Config, logs: str) -> MaskRCNN | Segmenter:
    """The model that a config is of.

    Args:
        mode: "training" or "inference".
        config: of `make_config`.
        logs: folder of training runs.
    """
    # TensorFlow takes seconds; wrong settings should show at once
    if isinstance(config, SegmentationConfig):
        from mrcnn.segmenter import Segmenter

        return Segmenter(mode, config, logs)
    from mrcnn.model import MaskRCNN

    return MaskRCNN(mode, config, logs)


def load_model(config: Config, weights: str, logs: str) -> MaskRCNN | Segmenter:
    """The model of mode "inference" of an `inference_config`, with its weights."""
    model = new_model("inference", config, logs)
    model.load_weights(weights)  # every layer must be in the file
    return model

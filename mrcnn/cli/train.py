"""Train on annotated images, from published weights or your own.

Mask R-CNN finds objects; with --network another network is trained, which gives each pixel a class.

DATASET with the parts train and val (folders of these names, or instances_train*.json and
instances_val*.json in annotations/) trains on the one and validates on the other; a part that is
there but cannot be opened is an error. Of data in one piece, --val-share sets a part aside. Each
epoch writes a checkpoint to a folder under --logs, and config.json beside it keeps the settings, so
that evaluate and predict need none.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.cli.data_options import (
    Place,
    add_dataset,
    add_val,
    find_annotations,
    open_asked,
    open_place,
    own_place,
    own_val_place,
    positive,
    require_data,
    use_max_pixels,
    val_place,
)
from mrcnn.cli.model_options import add_model, new_model, weights_path
from mrcnn.cli.settings import config_class, make_config, settings_of
from mrcnn.cli.starting_weights import (
    has_other_classes,
    load_start,
    names_of_weights,
    require_encoder,
    warn_of_preset,
)
from mrcnn.cli.weights_fields import fields_of_weights
from mrcnn.common.files import require_writable
from mrcnn.common.json_files import parse_once
from mrcnn.common.words import some
from mrcnn.config import SegmentationConfig
from mrcnn.config.label_losses import LABEL_LOSSES
from mrcnn.config.presets import PRESETS
from mrcnn.config.run_name import LONGEST
from mrcnn.data.formats.registry import MissingPart
from mrcnn.data.labels import void_label
from mrcnn.data.survey.objects import require_labels, require_masks, require_objects
from mrcnn.distributed.cluster import worker_count
from mrcnn.training.run_folder import check_name

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset


# Most validation batches of an epoch, if the user sets none.
VALIDATION_STEPS = 50


EXIT_CODES = {
    0: "trained to its end",
    1: "an error: it ended before, and --weights last goes on from the last whole checkpoint",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``train``."""
    add_dataset(parser)
    add_model(
        parser,
        "where to start: 'coco' (its class layers are left out unless the data have COCO's 80 "
        "classes), 'torchvision_v1' or 'torchvision_v2' (torchvision's for COCO, with its "
        "settings), 'imagenet' (the backbone alone), 'last' (go on with the newest run of --name), "
        "'none' (random) or the path of a .h5 file, or of a .pth file of torchvision's, for a new "
        "run; class layers of other classes "
        "are left out; a network that labels pixels takes the backbone of Mask R-CNN's file, so of "
        "'coco', and the encoder of another network's",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        metavar="NAME",
        help="settings of Mask R-CNN that belong together, before --set: 'modern' (for trainings "
        "from 'imagenet' or 'none': AdamW with a falling rate after a warm-up, the papers' "
        "RoIAlign, He's initial weights, mask targets at the centres of cells), 'torchvision_v1' "
        "or 'torchvision_v2', which their weights bring along (default: the settings of the "
        "weights, else 'matterport')",
    )
    parser.add_argument(
        "--loss",
        metavar="SUM",
        help=f"LOSS of a network that labels pixels, a sum of {', '.join(LABEL_LOSSES)}, such as "
        "0.5*focal+dice (default: ce+dice)",
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="train on these classes only, in this order"
    )
    add_val(parser)
    parser.add_argument(
        "--val-share",
        type=float,
        metavar="P",
        help="share of the images to validate on, drawn by lot, such as 0.1",
    )
    parser.add_argument(
        "--epochs", type=positive, default=30, metavar="N", help="epoch to end with (default: 30)"
    )
    parser.add_argument(
        "--steps", type=positive, metavar="N", help="batches of an epoch (default: each image once)"
    )
    parser.add_argument(
        "--layers",
        help="heads, 3+, 4+, 5+, all or a regular expression of layer names; of a network that "
        "labels pixels decoder instead of heads (default: all with --weights none and where there "
        "is no backbone, else heads or decoder)",
    )
    parser.add_argument(
        "--stages",
        nargs="+",
        type=stage,
        metavar="LAYERS:EPOCHS[:RATE]",
        help="several stages in place of --layers and --epochs: the layers, the epoch to end with "
        "and the learning rate of each",
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help="LEARNING_RATE (default: that of the settings, 0.001 without any, which suits "
        "pretrained weights, and 0.0005 of --preset modern; from random ones a "
        "network that labels pixels learns far faster with --set OPTIMIZER=Adam, or with SGD at "
        "0.01)",
    )
    parser.add_argument(
        "--evaluate-every",
        type=int,
        default=0,
        metavar="N",
        help="measure COCO AP, or mIoU with --network, on the validation images after every N "
        "epochs (default: never)",
    )
    parser.add_argument("--flip", action="store_true", help="mirror half of the images at random")
    parser.add_argument("--seed", type=int, metavar="N", help="SEED: makes two runs alike")
    parser.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="threads that prepare images (default: 1)",
    )
    parser.add_argument(
        "--verbose",
        type=int,
        choices=(0, 1, 2),
        help="progress: 0 none, 1 a bar, 2 a line an epoch",
    )
    parser.epilog = """examples:
  mrcnn train photos --weights coco --epochs 20
  mrcnn train photos --weights torchvision_v2 --epochs 20 --learning-rate 0.005
  mrcnn train labelled --val-share 0.1 --weights imagenet --backbone resnet50 \\
      --size 512 --layers all --flip --preset modern
  mrcnn train photos --weights last --name photos --layers all --learning-rate 0.0001 \\
      --epochs 40
  mrcnn train photos --weights coco --stages heads:10 4+:20 all:30:0.0001 \\
      --evaluate-every 5
  mrcnn train photos --weights coco --layers all \\
      --set OPTIMIZER=AdamW WEIGHT_DECAY=0 EMA_MOMENTUM=0.999
  mrcnn train photos --weights coco \\
      --set LEARNING_RATE_SCHEDULE=cosine LEARNING_RATE_WARMUP_STEPS=200
  mrcnn train photos --weights coco \\
      --set RPN_ANCHOR_SCALES=8,16,32,64,128 TRAIN_ROIS_PER_IMAGE=100
  mrcnn train cells --network unet --weights none --size 256 --flip \\
      --set OPTIMIZER=Adam LEARNING_RATE_SCHEDULE=cosine
  mrcnn train streets --network deeplab --backbone resnet50 --weights imagenet --size 512 \\
      --stages decoder:10 4+:30:0.0001 --evaluate-every 5
  mrcnn train lesions --network fcn8s --weights coco --loss 0.5*focal+dice \\
      --set LOSS_OPTIONS='{"focal": {"gamma": 3}}'

networks that label pixels (--network), for images of any size:
  unet     U-Net: joins every level of its encoder; the first to try, also on few images
  fcn8s    FCN, which adds up scores at strides 32, 16 and 8; fcn16s and fcn32s end before,
           with coarser borders
  deeplab  DeepLab v3+: sees at several rates of dilation; for scenes, on a backbone
  pspnet   PSPNet: averages over parts of the image; for scenes, on a backbone
  segnet   SegNet: its decoder puts each maximum back in its place; little memory; no --backbone
  plain    ten convolutions without downsampling; a baseline for small images; no --backbone
  Without --backbone the encoder is the network's own and starts at random (--weights none).
"""


def run(args: argparse.Namespace) -> None:
    """Train; prints where the last checkpoint is."""
    given = settings_of(args)
    given.setdefault("NAME", run_name(args.dataset))
    check_name(args.logs, given["NAME"])
    require_writable(args.logs, "--logs")
    with parse_once():
        require_data(args, find_places(args))
        path = weights_path(args.weights, args.logs, given["NAME"], to_train=True)
        fields = fields_of_weights(args, path, given, to_train=True)
        use_max_pixels({**fields, **given})
        # of a run that goes on, its own seed and classes: the same images must be set aside
        names = fields.get("CLASS_NAMES") if args.weights.lower() == "last" else None
        seed = given.get("SEED", fields.get("SEED"))
        labels = config_class({**fields, **given}) is SegmentationConfig
        train_set, val_set = open_both(args, seed, names, labels)
    names = names_of_weights(path, fields)
    warn_of_preset(path, fields, given, args.weights)
    network = given.get("NETWORK", fields.get("NETWORK"))
    new_classes = has_other_classes(path, names, train_set.class_names, network)
    if new_classes and args.config is None and fields.pop("CLASS_WEIGHTS", None) is not None:
        print(f"CLASS_WEIGHTS of {path} are left out: they are of its own classes")
    config = training_config(fields, given, train_set, val_set)
    if isinstance(config, SegmentationConfig):
        require_labels(train_set, config)
        require_encoder(args.weights, config)

    from mrcnn.distributed.strategy import is_chief

    model = new_model("training", config, args.logs)
    load_start(model, args.weights, path, new_classes)
    layers, epochs = (
        (args.stages, None)
        if args.stages
        else (args.layers or default_layers(args.weights, config), args.epochs)
    )
    model.train(
        train_set,
        val_set,
        config.LEARNING_RATE,
        epochs,
        layers,
        augmentation=flip if args.flip else None,
        workers=args.workers,
        evaluate_every=args.evaluate_every,
        verbose="auto" if args.verbose is None else args.verbose,
    )
    if is_chief(model.keras_model.distribute_strategy):  # other machines may not see its folder
        # not those that find_last gives: another run of this name may have begun meanwhile
        print(f"Last weights: {model.checkpoint_path.format(epoch=model.epoch)}")


def default_layers(weights: str, config: Config) -> str:
    """The layers that train where --layers says nothing.

    Args:
        weights: of --weights. A backbone that starts at random has to learn too.
        config: of the network.
    """
    if config.BACKBONE is None or weights.lower() == "none":
        return "all"
    return "decoder" if isinstance(config, SegmentationConfig) else "heads"


def stage(text: str) -> tuple[str, int] | tuple[str, int, float]:
    """("all", 40, 0.0001) of "all:40:0.0001", or ("heads", 20) of "heads:20"; layers may have
    colons of their own.
    """
    found = re.fullmatch(r"(.+?):(\d+)(?::([\d.eE+-]+))?", text)
    if not found:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no stage: write LAYERS:EPOCHS or LAYERS:EPOCHS:RATE"
        )
    layers, epochs, rate = found.groups()
    return (layers, int(epochs)) if rate is None else (layers, int(epochs), float(rate))


def flip(
    image: np.ndarray, masks: np.ndarray, rng: np.random.RandomState | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mirror every other image, by lot: an augmentation for `MaskRCNN.train`."""
    return (
        (image, masks)
        if (rng or np.random).random_sample() < 0.5
        else (image[:, ::-1], masks[:, ::-1])
    )


def run_name(dataset: str) -> str:
    """A NAME from the path of the data: "photos" of "data/photos" or of "data/photos/via.json"."""
    path = os.path.abspath(dataset)
    folder = os.path.dirname(path) if os.path.isfile(path) else path
    name = re.sub(r"\W+", "_", os.path.basename(folder)).strip("_").lower()
    return name.encode()[:LONGEST].decode(errors="ignore") or "run"


# === Data ===


@parse_once()
def find_places(args: argparse.Namespace) -> list[Place]:
    """Where the training data of the arguments are and, of validation data apart, where these are.

    Raises:
        ValueError: options that name the validation data and do not go together.
    """
    if args.val_share is not None and (args.val or args.val_subset):
        raise ValueError("give one of --val-share and --val or --val-subset")
    for name in ("images", "masks"):
        if getattr(args, f"val_{name}") is not None and args.val is None:
            raise ValueError(
                f"--val-{name} goes with --val, the validation data; for a part of the data that "
                f"--val-subset names, --{name} is the folder of its {name} too"
            )
    place = own_place(args)
    parts: tuple[str, ...] = ()
    if not args.subset and args.val_share is None:
        train_part = own_place(args, "train")
        if is_there(args, train_part):
            place, parts = train_part, ("val", "valid", "validation")  # the second is Roboflow's
    if args.val is not None:
        return [place, val_place(args)]
    if args.val_subset:
        return [place, own_val_place(args, args.val_subset)]
    val_parts = (own_val_place(args, name) for name in parts)
    return [place, *itertools.islice((part for part in val_parts if is_there(args, part)), 1)]


@parse_once()
def open_both(
    args: argparse.Namespace,
    seed: int | None = None,
    names: Sequence[str] | None = None,
    labels: bool = False,
) -> tuple[Dataset, Dataset | None]:
    """Training and validation data of the arguments; the second is None where there are none, which
    is told.

    Args:
        args: of the command line.
        seed: of ``split``.
        names: the classes of the run that goes on, background first; None: of the data. The data
            have them where they have no others.
        labels: whether pixels are labelled, of which `require_labels` knows whether there are some.
    """
    places = find_places(args)
    require_data(args, places)
    train_place, *val_places = places
    train_set = open_asked(args, train_place)
    if names and not args.classes:
        train_set = _with_classes(train_set, names, args, train_place)
    if not labels:
        require_objects(train_set)
    names = list(train_set.class_names[1:])
    if args.val_share is not None:
        train_set, val_set = split(train_set, args.val_share, seed)
    elif val_places:
        val_set = open_place(args, val_places[0], names)
        require_masks(val_set)
    else:
        val_set = None
    print(
        f"Training on {train_set.num_images} images of {some(names)}; "
        + (
            f"validating on {val_set.num_images}"
            if val_set
            else "no validation: --val-share sets some images aside"
        )
    )
    return train_set, val_set


def _with_classes(train_set, names, args, place):
    """The training data with the classes of a run, or as they are where they have others."""
    if list(train_set.class_names) == list(names):
        return train_set
    try:
        known = open_place(args, place, names[1:], other_classes=True)
    except ValueError:  # none of them is a class of the data
        return train_set
    return known if known.num_classes == len(names) else train_set


def is_there(args: argparse.Namespace, part: Place) -> bool:
    """Whether the data have this part.

    Raises:
        OSError, ValueError: there is one, but it cannot be opened; else a training would go on
            without its images, which nobody would notice.
    """
    if not os.path.isdir(args.dataset):
        return False
    try:
        find_annotations(args, part)
    except MissingPart:
        return False
    return True


def split(dataset: Dataset, share: float, seed: int | None = None) -> tuple[Dataset, Dataset]:
    """Two datasets of the images of one, drawn by lot.

    Args:
        dataset: a prepared `Dataset`.
        share: of the images in the second, above 0 and below 1; at least one image is in each.
        seed: of the lot; None is 0, so that a run that goes on keeps its validation images.

    Raises:
        ValueError: another share, or fewer than two images.
    """
    count = dataset.num_images
    if not 0 < share < 1:
        raise ValueError(f"--val-share is {share}; it must lie between 0 and 1")
    if count < 2:
        raise ValueError(f"{count} image cannot be divided into training and validation images")
    order = np.random.RandomState(seed or 0).permutation(count)
    held_out = min(max(round(count * share), 1), count - 1)
    return _part(dataset, order[held_out:]), _part(dataset, order[:held_out])


def _part(dataset, image_ids):
    part = copy.copy(dataset)
    part.image_info = [dataset.image_info[image_id] for image_id in sorted(image_ids)]
    part.prepare()
    return part


# === Settings ===


def training_config(
    fields: dict[str, Any], given: dict[str, Any], train_set: Dataset, val_set: Dataset | None
) -> Config:
    """The config: settings of the starting weights, then what follows from the data, then those
    given.

    More classes than a byte holds need another value of void.
    """
    fields = {
        **fields,
        "NUM_CLASSES": train_set.num_classes,
        "CLASS_NAMES": list(train_set.class_names),
        "IMAGES_PER_GPU": given.get("IMAGES_PER_GPU", fields.get("IMAGES_PER_GPU", 2)),
    }
    if config_class({**fields, **given}) is SegmentationConfig:
        void = fields.get("IGNORE_LABEL", SegmentationConfig.IGNORE_LABEL)
        fields["IGNORE_LABEL"] = max(void, void_label(train_set.num_classes))
    config = make_config(fields, given)
    images_per_step = config.BATCH_SIZE * worker_count()
    steps = {"STEPS_PER_EPOCH": math.ceil(train_set.num_images / images_per_step)}
    if val_set is not None:
        steps["VALIDATION_STEPS"] = min(
            math.ceil(val_set.num_images / images_per_step), VALIDATION_STEPS
        )
    return make_config({**fields, **steps}, given)

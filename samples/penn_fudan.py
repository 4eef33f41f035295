r"""Mask R-CNN on the pedestrians of Penn-Fudan: 170 photos of streets with 423 people, masks as PNG
files.

    python samples/penn_fudan.py train    --dataset=/path/to/PennFudanPed --model=coco --download
    python samples/penn_fudan.py train    --dataset=/path/to/PennFudanPed --model=last \
        --layers=4+ --flip --epochs=40
    python samples/penn_fudan.py evaluate --dataset=/path/to/PennFudanPed --model=last
    python samples/penn_fudan.py detect   --dataset=/path/to/PennFudanPed --model=last
    python samples/penn_fudan.py detect   --model=last --image street1.jpg street2.jpg

    # label the pixels of people instead of finding each person: U-Net, or --network fcn8s ...
    python samples/penn_fudan.py train    --dataset=/path/to/PennFudanPed --model=imagenet \
        --semantic --backbone=resnet50 --size=256 --epochs=12 --flip
    python samples/penn_fudan.py evaluate --dataset=/path/to/PennFudanPed --model=last \
        --semantic --backbone=resnet50 --size=256

The data set is the folder with PNGImages/ and PedMasks/, in which a pixel's value is the number of
its person; the same layout serves for masks of your own. Every fifth photo in the order of their
names, from the first on, is for validation (34), the others for training (136), so that figures of
different runs can be compared. Its authors ask not to repost it; --download fetches it from them.

Made to be copied: a Config, a Dataset and a small command line.
"""

import argparse
import os
import sys

import numpy as np

ROOT_DIR = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.append(ROOT_DIR)  # so that the sample also runs from a checkout that is not installed

from mrcnn.config import Config, SegmentationConfig
from mrcnn.config.presets import PRESETS
from mrcnn.data.formats.mask_png import MaskPng
from mrcnn.weights.read import backbone_fields, preset_for
from mrcnn.weights.torch_file import is_torch_file

DEFAULT_LOGS = os.path.join(ROOT_DIR, "logs")
URL = "https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip"
PHOTOS, PEOPLE = 170, 423
VAL_EVERY = 5


class PennFudanConfig(Config):
    """Two images of 1024 px a step fit a GPU of 12 GB; ``--size`` makes them smaller."""

    NAME = "penn_fudan"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 1
    CLASS_NAMES = ("BG", "person")
    STEPS_PER_EPOCH = 68  # the 136 training photos once
    VALIDATION_STEPS = 17


class PennFudanLabelsConfig(SegmentationConfig):
    """For ``--semantic``: a decoder on the backbone gives each pixel a class."""

    NAME = "penn_fudan_labels"
    IMAGES_PER_GPU = 4  # of 256 px
    NUM_CLASSES = 1 + 1
    CLASS_NAMES = ("BG", "person")
    STEPS_PER_EPOCH = 34  # the 136 training photos once
    VALIDATION_STEPS = 9
    UNET_WIDTHS = (64, 96, 128, 128, 256)
    UPSAMPLING = "bilinear"
    SCALE_JITTER = (0.75, 1.5)  # 136 photos are few
    TEST_FLIPS = True
    OPTIMIZER = "Adam"
    LEARNING_RATE_SCHEDULE = "cosine"
    WEIGHT_DECAY = 0.0


class PennFudanDataset(MaskPng):
    """Photos and masks as the authors published them."""

    def load_penn_fudan(self, dataset_dir, subset):
        """Add the photos of "train", "val" or "all"; see the division at the top of this file.

        Raises:
            FileNotFoundError: the folders, or the mask of a photo, are missing.
            ValueError: another subset.
        """
        if subset not in ("train", "val", "all"):
            raise ValueError(f"subset is {subset!r}; it must be 'train', 'val' or 'all'")
        image_dir = os.path.join(dataset_dir, "PNGImages")
        if not os.path.isdir(image_dir):
            raise FileNotFoundError(
                f"{image_dir} is missing: --dataset is the folder with PNGImages/ and PedMasks/, "
                "which --download fetches"
            )
        self.load_id_masks(
            image_dir, os.path.join(dataset_dir, "PedMasks"), "person", source="penn_fudan"
        )
        if subset != "all":
            # they are sorted by name
            self.image_info = [
                info
                for number, info in enumerate(self.image_info)
                if (number % VAL_EVERY == 0) == (subset == "val")
            ]


def make_dataset(dataset_dir, subset):
    """A prepared `PennFudanDataset`."""
    dataset = PennFudanDataset()
    dataset.load_penn_fudan(dataset_dir, subset)
    dataset.prepare()
    return dataset


def download_penn_fudan(dataset_dir):
    """Fetch and unpack the data set where it is missing, and count what came.

    No hash of the archive is published, so that the photos, masks and people are counted instead.

    Raises:
        ValueError: the folder has another name than that in the archive, or the counts are wrong.
        OSError: the download failed.
    """
    from mrcnn.common.archives import unpack
    from mrcnn.common.download import download

    dataset_dir = os.path.abspath(dataset_dir)
    folders = [os.path.join(dataset_dir, name) for name in ("PNGImages", "PedMasks")]
    if all(os.path.isdir(folder) and len(os.listdir(folder)) >= PHOTOS for folder in folders):
        return
    parent, name = os.path.split(dataset_dir)
    if name != "PennFudanPed":
        raise ValueError(
            "the archive unpacks to a folder of its own: pass --dataset="
            f"{os.path.join(dataset_dir, 'PennFudanPed')}"
        )
    archive = download(URL, os.path.join(parent, "PennFudanPed.zip"))
    unpack(archive, parent)
    dataset = make_dataset(dataset_dir, "all")
    people = sum(dataset.load_mask(image_id)[0].shape[-1] for image_id in dataset.image_ids)
    if (dataset.num_images, people) != (PHOTOS, PEOPLE):
        raise ValueError(
            f"{dataset_dir} has {dataset.num_images} photos and {people} people, not {PHOTOS} and "
            f"{PEOPLE}: {archive} is not the whole data set"
        )
    print(
        f"{URL}: no hash is published; its {PHOTOS} photos open and have {PEOPLE} people. "
        f"{archive} may be deleted"
    )


# === Commands ===


def make_config(args, weights=None):
    """The config of the command line's ``--backbone``, ``--size`` and so on.

    Args:
        args: of the command line.
        weights: path of the starting weights, whose run's preset is taken without ``--preset``.
    """
    if args.semantic:
        return make_labels_config(args)
    preset = PRESETS[args.preset or preset_for(args.model, weights)]
    default = type("Default", (PennFudanConfig, preset), backbone_fields(weights))
    size = args.size or default.IMAGE_MAX_DIM
    trained_at = getattr(args, "trained_at", None) or size

    class Chosen(default):
        if args.backbone:
            BACKBONE = args.backbone
        IMAGE_MAX_DIM = size
        IMAGE_MIN_DIM = min(default.IMAGE_MIN_DIM, size)
        # people shrink with the images, so anchors must too
        if default.IMAGE_RESIZE_MODE == "square":  # with "fit" the shorter side sets their size
            RPN_ANCHOR_SCALES = tuple(
                scale * trained_at // default.IMAGE_MAX_DIM for scale in default.RPN_ANCHOR_SCALES
            )
        SEED = getattr(args, "seed", None)
        STEPS_PER_EPOCH = getattr(args, "steps", None) or PennFudanConfig.STEPS_PER_EPOCH
        if args.command != "train":
            IMAGES_PER_GPU = 1
        if args.command == "evaluate":
            DETECTION_MIN_CONFIDENCE = 0.05  # AP counts low scores too

    return Chosen()


def make_labels_config(args):
    """`make_config` for ``--semantic``."""
    if args.preset:
        raise ValueError("--preset is of Mask R-CNN, and --semantic of another network")

    class Chosen(PennFudanLabelsConfig):
        NETWORK = args.network
        BACKBONE = args.backbone or PennFudanConfig.BACKBONE
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = args.size or PennFudanConfig.IMAGE_MAX_DIM
        SEED = getattr(args, "seed", None)
        STEPS_PER_EPOCH = getattr(args, "steps", None) or PennFudanLabelsConfig.STEPS_PER_EPOCH

    return Chosen()


def make_model(args, mode):
    """The model with the weights of ``--model``: `MaskRCNN`, or `Segmenter` for ``--semantic``."""
    from mrcnn.cli.model_options import weights_path
    from mrcnn.weights import CLASS_LAYERS

    if args.semantic:
        from mrcnn.segmenter import Segmenter as Model
    else:
        from mrcnn.model import MaskRCNN as Model

    word = args.model.lower()
    name = (PennFudanLabelsConfig if args.semantic else PennFudanConfig).NAME
    path = weights_path(args.model, args.logs, name, to_train=mode == "training")
    model = Model(mode, make_config(args, path), args.logs)
    if word == "imagenet":
        path = model.get_imagenet_weights()
    if path:
        # other data's classes do not fit these 2
        others = word == "coco" or (mode == "training" and is_torch_file(path))
        model.load_weights(path, by_name=True, exclude=CLASS_LAYERS if others else None)
    return model


def flip_half(image, masks, rng):
    """Mirror half of the photos, with their masks."""
    return (image[:, ::-1], masks[:, ::-1]) if (rng or np.random).random() < 0.5 else (image, masks)


def train(args):
    """Train on 136 photos."""
    if args.download:
        download_penn_fudan(args.dataset)
    # before the model, which takes longer: a wrong path should show at once
    train_set, val_set = make_dataset(args.dataset, "train"), make_dataset(args.dataset, "val")
    model = make_model(args, "training")
    model.train(
        train_set,
        val_set,
        args.learning_rate or model.config.LEARNING_RATE,
        args.epochs,
        args.layers or ("decoder" if args.semantic else "heads"),
        augmentation=flip_half if args.flip else None,
        workers=args.workers,
        verbose=args.verbose,
    )
    print(f"Last weights: {model.find_last()}")


def evaluate(args):
    """COCO AP of boxes and masks on the 34 validation photos; with --semantic the IoU of people."""
    from mrcnn.evaluation import evaluate_detections, format_summary

    if args.download:
        download_penn_fudan(args.dataset)
    dataset = make_dataset(args.dataset, "val")
    model = make_model(args, "inference")
    if args.semantic:
        model.evaluate(dataset)  # which prints it
        return
    print(format_summary(evaluate_detections(dataset, model.detect)))


def detect(args):
    """Draw the people that are found in photos of your own, or in the validation photos."""
    from mrcnn.data.images import as_uint8_range, fit_channels, read_image
    from mrcnn.visualize import save_instances

    if not (args.image or args.dataset):
        raise ValueError(
            "detect needs photos: pass --image, or --dataset for its validation photos"
        )
    paths = args.image or [info["path"] for info in make_dataset(args.dataset, "val").image_info]
    for path in paths:
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{path} is missing")
    pictures = [
        os.path.join(args.output, os.path.splitext(os.path.basename(path))[0] + ".png")
        for path in paths
    ]
    if len(set(pictures)) < len(pictures):
        raise ValueError(
            "two photos have the same name, so that the picture of the first would be lost: rename "
            "one, or give each an --output of its own"
        )
    model = make_model(args, "inference")
    os.makedirs(args.output, exist_ok=True)
    for path, picture in zip(paths, pictures):
        image = fit_channels(as_uint8_range(read_image(path)), 3)
        found = model.detect([image])[0]
        if args.semantic:
            found.save(picture)
            print(f"{picture}: {found.share('person'):.1%} of the pixels are of people")
            continue
        save_instances(
            picture,
            image,
            found["rois"],
            found["masks"],
            found["class_ids"],
            ["BG", "person"],
            found["scores"],
        )
        print(
            f"{picture}: {len(found['scores'])} people, scores "
            f"{np.round(found['scores'], 3).tolist()}"
        )


def parse_args(argv=None):
    """The command line; see ``--help``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(function, dataset_required=True):
        sub = commands.add_parser(
            function.__name__,
            help=function.__doc__,
            description=function.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        sub.add_argument(
            "--dataset",
            required=dataset_required,
            metavar="FOLDER",
            help="folder with PNGImages/ and PedMasks/",
        )
        sub.add_argument(
            "--model",
            "--weights",
            required=True,
            metavar="FILE",
            help="where to start from: 'coco', 'torchvision_v1', 'torchvision_v2', 'imagenet', "
            "'last' (the newest checkpoint under --logs), "
            "'none' or the path of a .h5 file, or of a .pth file of torchvision's",
        )
        sub.add_argument(
            "--preset",
            choices=PRESETS,
            metavar="NAME",
            help=f"settings that belong together: {', '.join(PRESETS)} (without it: those that the "
            "weights were trained with; 'modern' with 'imagenet' and 'none'; else 'matterport')",
        )
        sub.add_argument(
            "--logs", default=DEFAULT_LOGS, metavar="FOLDER", help="folder of training runs"
        )
        sub.add_argument(
            "--backbone",
            metavar="NAME",
            help="resnet50, resnet101 or a class of keras.applications (without it: the preset's, "
            "resnet101 or torchvision's resnet50)",
        )
        sub.add_argument(
            "--size",
            type=int,
            metavar="PX",
            help="side that images are scaled and padded to, a multiple of 64; with torchvision's "
            "presets their longest side (without it: the preset's, 1024 or 1333)",
        )
        sub.add_argument(
            "--semantic",
            action="store_true",
            help="label the pixels of people with --network, instead of finding each person",
        )
        sub.add_argument(
            "--network",
            default=PennFudanLabelsConfig.NETWORK,
            metavar="NAME",
            help="of --semantic: unet, fcn32s, fcn16s, fcn8s, pspnet or deeplab",
        )
        sub.set_defaults(run=function)
        return sub

    download = dict(action="store_true", help=f"fetch the data set from {URL} where it is missing")
    trained_at = dict(type=int, metavar="PX", help="--size of the training, where it was another")
    sub = command(train)
    sub.add_argument("--download", **download)
    sub.add_argument("--epochs", type=int, default=20, metavar="N", help="epoch to end with")
    sub.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="steps of an epoch, in place of as many as take each photo once",
    )
    sub.add_argument(
        "--layers",
        help="heads (with --semantic: decoder), 3+, 4+, 5+, all or a regular expression of layer "
        "names; without it the first",
    )
    sub.add_argument("--learning-rate", type=float, metavar="RATE", help="in place of the config's")
    sub.add_argument("--flip", action="store_true", help="mirror half of the photos at random")
    sub.add_argument("--seed", type=int, metavar="N", help="makes two runs alike")
    sub.add_argument(
        "--workers", type=int, default=1, metavar="N", help="threads that prepare images"
    )
    sub.add_argument(
        "--verbose",
        default="auto",
        help="progress bar: 'auto', 0 none, 1 bar, 2 a line an epoch",
        type=lambda text: text if text == "auto" else int(text),
    )
    sub = command(evaluate)
    sub.add_argument("--download", **download)
    sub.add_argument("--trained-at", **trained_at)
    sub = command(detect, dataset_required=False)
    sub.add_argument("--trained-at", **trained_at)
    sub.add_argument("--image", nargs="+", metavar="FILE", help="photos of your own")
    sub.add_argument(
        "--output",
        default=os.path.join("results", "penn_fudan"),
        metavar="FOLDER",
        help="folder for the pictures",
    )
    return parser.parse_args(argv)


def main(argv=None):
    """Run a command; errors of the user's input end in one line."""
    args = parse_args(argv)
    try:
        args.run(args)
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""Mask R-CNN on cell nuclei in microscope images: the Data Science Bowl 2018, with its submission
file.

    python samples/nucleus.py train  --dataset=/path/to/dsb2018 --subset=train --weights=imagenet
    python samples/nucleus.py train  --dataset=/path/to/dsb2018 --subset=stage1_train --weights=last
    python samples/nucleus.py detect --dataset=/path/to/dsb2018 --subset=stage1_test --weights=last

    # label the pixels of nuclei instead of finding each nucleus: a U-Net from random weights
    python samples/nucleus.py train    --dataset=/path/to/dsb2018 --semantic
    python samples/nucleus.py evaluate --dataset=/path/to/dsb2018 --semantic --weights=last

The data set is a folder with stage1_train and other subsets, each with a folder for every image:
<id>/images/<id>.png and <id>/masks/*.png, a file for each nucleus. It is published as BBBC038
(https://bbbc.broadinstitute.org/BBBC038) and at https://www.kaggle.com/c/data-science-bowl-2018.
"train" is stage1_train without the 25 validation images, "val" is these.

`detect` writes a picture of each image and submit.csv to results/nucleus/submit_<time>/. With
--semantic each region of nucleus pixels counts as one nucleus, so that nuclei that touch are one.

Made to be copied: a Config, a Dataset and a small command line.
"""

import argparse
import datetime
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
RESULTS_DIR = os.path.join(ROOT_DIR, "results", "nucleus")

# Images of stage1_train to validate on; the same as the original's, so that figures can be
# compared.
VAL_IMAGE_IDS = [
    "0c2550a23b8a0f29a7575de8c61690d3c31bc897dd5ba66caec201d201a278c2",
    "92f31f591929a30e4309ab75185c96ff4314ce0a7ead2ed2c2171897ad1da0c7",
    "1e488c42eb1a54a3e8412b1f12cde530f950f238d71078f2ede6a85a02168e1f",
    "c901794d1a421d52e5734500c0a2a8ca84651fb93b19cec2f411855e70cae339",
    "8e507d58f4c27cd2a82bee79fe27b069befd62a46fdaed20970a95a2ba819c7b",
    "60cb718759bff13f81c4055a7679e81326f78b6a193a2d856546097c949b20ff",
    "da5f98f2b8a64eee735a398de48ed42cd31bf17a6063db46a9e0783ac13cd844",
    "9ebcfaf2322932d464f15b5662cae4d669b2d785b8299556d73fffcae8365d32",
    "1b44d22643830cd4f23c9deadb0bd499fb392fb2cd9526d81547d93077d983df",
    "97126a9791f0c1176e4563ad679a301dac27c59011f579e808bbd6e9f4cd1034",
    "e81c758e1ca177b0942ecad62cf8d321ffc315376135bcbed3df932a6e5b40c0",
    "f29fd9c52e04403cd2c7d43b6fe2479292e53b2f61969d25256d2d2aca7c6a81",
    "0ea221716cf13710214dcd331a61cea48308c3940df1d28cfc7fd817c83714e1",
    "3ab9cab6212fabd723a2c5a1949c2ded19980398b56e6080978e796f45cbbc90",
    "ebc18868864ad075548cc1784f4f9a237bb98335f9645ee727dac8332a3e3716",
    "bb61fc17daf8bdd4e16fdcf50137a8d7762bec486ede9249d92e511fcb693676",
    "e1bcb583985325d0ef5f3ef52957d0371c96d4af767b13e48102bca9d5351a9b",
    "947c0d94c8213ac7aaa41c4efc95d854246550298259cf1bb489654d0e969050",
    "cbca32daaae36a872a11da4eaff65d1068ff3f154eedc9d3fc0c214a4e5d32bd",
    "f4c4db3df4ff0de90f44b027fc2e28c16bf7e5c75ea75b0a9762bbb7ac86e7a3",
    "4193474b2f1c72f735b13633b219d9cabdd43c21d9c2bb4dfc4809f104ba4c06",
    "f73e37957c74f554be132986f38b6f1d75339f636dfe2b681a0cf3f88d2733af",
    "a4c44fc5f5bf213e2be6091ccaed49d8bf039d78f6fbd9c4d7b7428cfcb2eda4",
    "cab4875269f44a701c5e58190a1d2f6fcb577ea79d842522dcab20ccb39b7ad2",
    "8ecdb93582b2d5270457b36651b62776256ade3aaa2d7432ae65c14f07432d49",
]


class NucleusConfig(Config):
    """Crops of 512 px of images that are at least doubled; six a step fit a GPU of 12 GB."""

    NAME = "nucleus"
    IMAGES_PER_GPU = 6
    NUM_CLASSES = 1 + 1
    CLASS_NAMES = ("BG", "nucleus")
    STEPS_PER_EPOCH = (657 - 25) // 6  # the images of "train" once, as the original counted them
    VALIDATION_STEPS = 25 // 6
    BACKBONE = "resnet50"
    IMAGE_RESIZE_MODE = "crop"
    IMAGE_MIN_DIM = 512
    IMAGE_MAX_DIM = 512
    IMAGE_MIN_SCALE = 2.0
    # mean color of these images, many of which are dark
    MEAN_PIXEL = np.array([43.53, 39.56, 48.22])
    # nuclei are small and many
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    RPN_NMS_THRESHOLD = 0.9
    RPN_TRAIN_ANCHORS_PER_IMAGE = 64
    POST_NMS_ROIS_TRAINING = 1000
    POST_NMS_ROIS_INFERENCE = 2000
    TRAIN_ROIS_PER_IMAGE = 128
    MAX_GT_INSTANCES = 200
    DETECTION_MAX_INSTANCES = 400
    # with one class, a nucleus is what is more likely a nucleus than background; the original's 0
    # means that too, but not where each class of a region counts (torchvision's presets)
    DETECTION_MIN_CONFIDENCE = 0.5


class NucleusInferenceConfig(NucleusConfig):
    """Whole images, doubled and padded to multiples of 64 px, one at a time."""

    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    IMAGE_RESIZE_MODE = "pad64"
    RPN_NMS_THRESHOLD = 0.7


class NucleusLabelsConfig(SegmentationConfig):
    """For ``--semantic``: a U-Net of 1.3 million weights on crops of 256 px."""

    NAME = "nucleus_labels"
    IMAGES_PER_GPU = 8
    NUM_CLASSES = 1 + 1
    CLASS_NAMES = ("BG", "nucleus")
    STEPS_PER_EPOCH = (657 - 25) // 8
    VALIDATION_STEPS = 25 // 8
    IMAGE_RESIZE_MODE = "crop"
    IMAGE_MIN_DIM = 256
    IMAGE_MAX_DIM = 256
    MEAN_PIXEL = NucleusConfig.MEAN_PIXEL
    UNET_WIDTHS = (16, 32, 64, 128, 128)
    LOSS = "0.5*ce+dice"
    OPTIMIZER = "Adam"
    LEARNING_RATE_SCHEDULE = "cosine"
    WEIGHT_DECAY = 0.0


class NucleusLabelsInferenceConfig(NucleusLabelsConfig):
    """Whole images at their own size, one at a time."""

    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    IMAGE_RESIZE_MODE = "none"


class NucleusDataset(MaskPng):
    """Images with a mask file for each nucleus."""

    def load_nucleus(self, dataset_dir, subset):
        """Add the images of a subset.

        Args:
            dataset_dir: folder of the subsets.
            subset: name of a folder, such as "stage1_test"; or "train" or "val", the two parts of
                stage1_train.

        Raises:
            FileNotFoundError: there is no such folder, or an image is missing.
            ValueError: "train" would have no image.
        """
        folder = os.path.join(dataset_dir, "stage1_train" if subset in ("train", "val") else subset)
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"{folder} is missing: --dataset is the folder of the subsets, and --subset one of "
                "them, or 'train' or 'val' for the two parts of stage1_train"
            )
        image_ids = None
        if subset == "val":
            image_ids = VAL_IMAGE_IDS
        elif subset == "train":
            image_ids = [
                name
                for name in sorted(set(os.listdir(folder)) - set(VAL_IMAGE_IDS))
                if os.path.isdir(os.path.join(folder, name)) and not name.startswith(".")
            ]
            if not image_ids:
                raise ValueError(f"{folder} has no images besides those of VAL_IMAGE_IDS")
        self.load_object_masks(folder, "nucleus", source="nucleus", image_ids=image_ids)

    def image_reference(self, image_id):
        """The id that the data set gave the image."""
        info = self.image_info[image_id]
        return info["id"] if info["source"] == "nucleus" else super().image_reference(image_id)


def make_dataset(dataset_dir, subset):
    """A prepared `NucleusDataset`."""
    dataset = NucleusDataset()
    dataset.load_nucleus(dataset_dir, subset)
    dataset.prepare()
    return dataset


# === Run lengths of the submission file ===


def rle_encode(mask):
    """The run lengths of one mask, as Kaggle wants them.

    Args:
        mask: [height, width], foreground where not 0.

    Returns:
        str "start length start length ..."; pixels are counted from 1, down the columns.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"a mask is [height, width], this one has the shape {mask.shape}")
    pixels = (mask != 0).ravel(order="F").astype(np.int8)
    # +1 where a run starts, -1 behind its end
    changes = np.diff(pixels, prepend=0, append=0)
    starts, ends = np.flatnonzero(changes == 1), np.flatnonzero(changes == -1)
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(starts, ends))


def rle_decode(rle, shape):
    """The mask of run lengths, the reverse of `rle_encode`.

    Args:
        rle: str.
        shape: (height, width) px.

    Returns:
        bool [height, width].

    Raises:
        ValueError: not pairs of whole numbers, or a run that leaves the image.
    """
    numbers = np.array(rle.split(), dtype=np.int64)
    if len(numbers) % 2:
        raise ValueError(
            f"run lengths are pairs of start and length, these are {len(numbers)} numbers"
        )
    height, width = shape[:2]
    mask = np.zeros(height * width, bool)
    for start, length in numbers.reshape(-1, 2).tolist():
        if start < 1 or length < 1 or start - 1 + length > len(mask):
            raise ValueError(
                f"the run of {length} px from pixel {start} on leaves an image of {height} x "
                f"{width} px (height x width), whose pixels are 1 to {len(mask)}"
            )
        mask[start - 1 : start - 1 + length] = True
    return mask.reshape(height, width, order="F")


def mask_to_rle(image_id, mask, scores):
    """The lines of one image in the submission file.

    A pixel may belong to one nucleus only: where masks overlap, it goes to the one of the higher
    score.

    Args:
        image_id: id in the data set.
        mask: [height, width, n], foreground where not 0.
        scores: [n].

    Returns:
        str, a line "id,run lengths" for each nucleus that keeps a pixel, best score first; "id,"
        where none does.
    """
    mask = np.asarray(mask)
    if mask.ndim != 3 or mask.shape[2] != len(scores):
        raise ValueError(
            f"masks are [height, width, n] with n scores; these have the shape {mask.shape} and "
            f"there are {len(scores)} scores"
        )
    taken = np.zeros(mask.shape[:2], bool)
    lines = []
    for index in np.argsort(-np.asarray(scores), kind="stable"):
        own = (mask[..., index] != 0) & ~taken
        if own.any():
            taken |= own
            lines.append(f"{image_id},{rle_encode(own)}")
    return "\n".join(lines or [f"{image_id},"])


def detect(model, dataset_dir, subset):
    """Find the nuclei of a subset, and write pictures and the submission file.

    Args:
        model: `MaskRCNN` in inference mode, or `Segmenter`.
        dataset_dir, subset: see `NucleusDataset.load_nucleus`.

    Returns:
        The folder that was written, RESULTS_DIR/submit_<time>.
    """
    from mrcnn.common.progress import track
    from mrcnn.visualize import save_instances

    dataset = make_dataset(dataset_dir, subset)
    folder = os.path.join(RESULTS_DIR, f"submit_{datetime.datetime.now():%Y%m%dT%H%M%S}")
    os.makedirs(folder)
    path, count = os.path.join(folder, "submit.csv"), 0
    with open(path, "w", encoding="utf-8") as file:
        file.write("ImageId,EncodedPixels\n")
        for image_id in track(dataset.image_ids, "Detecting"):
            source_id, image = dataset.image_info[image_id]["id"], dataset.load_image(image_id)
            found = model.detect([image])[0]
            if isinstance(model.config, SegmentationConfig):
                found = found.to_result()  # a nucleus for each region
            file.write(mask_to_rle(source_id, found["masks"], found["scores"]) + "\n")
            save_instances(
                os.path.join(folder, f"{source_id}.png"),
                image,
                found["rois"],
                found["masks"],
                found["class_ids"],
                dataset.class_names,
            )
            count += len(found["scores"])
    print(f"{count} nuclei in {dataset.num_images} images. Saved to {folder}")
    return folder


# === Commands ===


def make_config(args, mode, weights=None):
    """The config of the command line.

    Args:
        args: of the command line.
        mode: "training" or "inference".
        weights: path of the starting weights, whose run's preset is taken without ``--preset``.
    """
    if args.semantic:
        if args.preset:
            raise ValueError("--preset is of Mask R-CNN, and --semantic of another network")
        kinds = (NucleusLabelsConfig if mode == "training" else NucleusLabelsInferenceConfig,)
    else:
        own = NucleusConfig if mode == "training" else NucleusInferenceConfig
        kinds = own, PRESETS[args.preset or preset_for(args.weights or "none", weights)]

    # with the mean of the nuclei's images, whatever the backbone was trained with
    network = {} if args.semantic else {**backbone_fields(weights), "MEAN_PIXEL": own.MEAN_PIXEL}
    config = type("Chosen", kinds, network)()
    config.SEED = getattr(args, "seed", None)
    config.STEPS_PER_EPOCH = getattr(args, "steps", None) or config.STEPS_PER_EPOCH
    return config


def make_model(args, mode):
    """The model with the weights of ``--weights``: `MaskRCNN`, for ``--semantic`` `Segmenter`."""
    from mrcnn.cli.model_options import weights_path
    from mrcnn.weights import CLASS_LAYERS

    if args.semantic:
        from mrcnn.segmenter import Segmenter as Model
    else:
        from mrcnn.model import MaskRCNN as Model

    word = (args.weights or "none").lower()
    name = (NucleusLabelsConfig if args.semantic else NucleusConfig).NAME
    path = weights_path(args.weights or "none", args.logs, name, to_train=mode == "training")
    model = Model(mode, make_config(args, mode, path), args.logs)
    if word == "imagenet":
        path = model.get_imagenet_weights()
    if path:
        # other data's classes do not fit these 2
        others = word == "coco" or (mode == "training" and is_torch_file(path))
        model.load_weights(path, by_name=True, exclude=CLASS_LAYERS if others else None)
    return model


def make_augmentation():
    """At random none, one or two of: mirrored, turned by quarters, darker or brighter, blurred
    (imgaug).
    """
    from mrcnn.data.augment.user import import_imgaug

    iaa = import_imgaug().augmenters
    return iaa.SomeOf(
        (0, 2),
        [
            iaa.Fliplr(0.5),
            iaa.Flipud(0.5),
            iaa.OneOf([iaa.Affine(rotate=angle) for angle in (90, 180, 270)]),
            iaa.Multiply((0.8, 1.5)),
            iaa.GaussianBlur((0.0, 5.0)),
        ],
    )


def train_command(args):
    """Train the heads for the first half of the epochs, then all layers; with --semantic all layers
    at once.
    """
    # before the model, which takes longer: a wrong path should show at once
    train_set, val_set = make_dataset(args.dataset, args.subset), make_dataset(args.dataset, "val")
    augmentation = None if args.no_augmentation else make_augmentation()
    model = make_model(args, "training")
    rate = args.learning_rate or model.config.LEARNING_RATE
    stages = [("all", args.epochs)]
    if not args.semantic:
        stages.insert(0, ("heads", args.epochs // 2))
    for layers, epochs in stages:
        if epochs > model.epoch:
            model.train(
                train_set,
                val_set,
                rate,
                epochs,
                layers,
                augmentation=augmentation,
                workers=args.workers,
                verbose=args.verbose,
            )
    print(f"Last weights: {model.find_last()}")


def evaluate_command(args):
    """COCO AP of boxes and masks on a subset with masks; with --semantic the IoU of nuclei."""
    from mrcnn.evaluation import evaluate_detections, format_summary

    dataset = make_dataset(args.dataset, args.subset)
    model = make_model(args, "inference")
    if args.semantic:
        model.evaluate(dataset)  # which prints it
    else:
        print(format_summary(evaluate_detections(dataset, model.detect)))


def detect_command(args):
    """Write pictures and the submission file of a subset."""
    make_dataset(args.dataset, args.subset)  # before the model: a wrong path should show at once
    detect(make_model(args, "inference"), args.dataset, args.subset)


def parse_args(argv=None):
    """The command line; see ``--help``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, function, subset):
        sub = commands.add_parser(
            name,
            help=function.__doc__,
            description=function.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        sub.add_argument("--dataset", required=True, metavar="FOLDER", help="folder of the subsets")
        sub.add_argument(
            "--subset",
            metavar="NAME",
            **subset,
            help="train, val, or the name of a folder such as stage1_test",
        )
        sub.add_argument(
            "--weights",
            "--model",
            metavar="FILE",
            help="where to start from: 'coco', 'torchvision_v1', 'torchvision_v2', 'imagenet', "
            "'last' (the newest checkpoint under --logs), 'none' (train --semantic: without it) or "
            "the path of a .h5 file, or of a .pth file of torchvision's",
        )
        sub.add_argument(
            "--semantic",
            action="store_true",
            help="label the pixels of nuclei, instead of finding each nucleus",
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
        sub.set_defaults(run=function)
        return sub

    sub = command("train", train_command, dict(default="train"))
    sub.add_argument("--epochs", type=int, default=40, metavar="N", help="epoch to end with")
    sub.add_argument(
        "--steps", type=int, metavar="N", help="steps of an epoch, in place of the config's"
    )
    sub.add_argument("--learning-rate", type=float, metavar="RATE", help="in place of the config's")
    sub.add_argument("--no-augmentation", action="store_true", help="leave the images as they are")
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
    command("evaluate", evaluate_command, dict(default="val"))
    command("detect", detect_command, dict(required=True))
    args = parser.parse_args(argv)
    if args.weights is None and not (args.semantic and args.command == "train"):
        parser.error("the following arguments are required: --weights/--model")
    return args


def main(argv=None):
    """Run a command; errors of the user's input end in one line."""
    args = parse_args(argv)
    try:
        args.run(args)
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""Mask R-CNN on photos of balloons: train on a few polygons, splash colour on the balloons only.

    python samples/balloon.py train    --dataset=/path/to/balloon --model=coco
    python samples/balloon.py train    --dataset=/path/to/balloon --model=imagenet
    python samples/balloon.py evaluate --dataset=/path/to/balloon --model=last
    python samples/balloon.py splash   --model=last --image=photo.jpg
    python samples/balloon.py splash   --model=/path/to/weights.h5 --video=clip.mp4

The data set is a folder with ``train`` and ``val``, each holding photos and the
``via_region_data.json`` that the VGG Image Annotator wrote. Made to be copied: a Config,
a Dataset and a small command line.
"""

import argparse
import datetime
import os
import sys

import numpy as np

ROOT_DIR = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.append(ROOT_DIR)  # so that the sample also runs from a checkout that is not installed

from mrcnn.config import Config
from mrcnn.config.presets import PRESETS
from mrcnn.data.formats.via import Via
from mrcnn.weights.read import backbone_fields, preset_for
from mrcnn.weights.torch_file import is_torch_file

DEFAULT_LOGS = os.path.join(ROOT_DIR, "logs")


class BalloonConfig(Config):
    """Two images of 1024 px a step fit a GPU of 12 GB; ``--size`` makes them smaller."""

    NAME = "balloon"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 1
    CLASS_NAMES = ("BG", "balloon")
    STEPS_PER_EPOCH = 100
    VALIDATION_STEPS = 6
    # a splash of colour on something else is worse than a balloon left grey
    DETECTION_MIN_CONFIDENCE = 0.9


class BalloonDataset(Via):
    """Balloons outlined in the VGG Image Annotator (version 1 or 2), by polygons or any other shape
    with an area.
    """

    def load_balloon(self, dataset_dir, subset):
        """Add the images of ``dataset_dir``/``subset``, "train" or "val".

        Raises:
            FileNotFoundError: the annotations or an annotated image are not there.
            ValueError: the annotations are not VIA's, or a region makes no sense.
        """
        path = os.path.join(dataset_dir, subset, "via_region_data.json")
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"{path} is missing: --dataset must be a folder with train/ and val/, each with "
                "photos and VIA's via_region_data.json"
            )
        # without an attribute all regions are of one class; for several, name the one that holds
        # the class
        self.load_via(path, class_attribute="", classes=["balloon"], source="balloon")


def make_dataset(dataset_dir, subset):
    """A prepared `BalloonDataset`."""
    dataset = BalloonDataset()
    dataset.load_balloon(dataset_dir, subset)
    dataset.prepare()
    return dataset


def color_splash(image, mask):
    """Keep the colours where the masks are and turn the rest grey.

    Args:
        image: uint8 [height, width, 3].
        mask: bool [height, width, n].

    Returns:
        uint8 [height, width, 3].
    """
    from skimage.color import gray2rgb, rgb2gray

    gray = (gray2rgb(rgb2gray(image)) * 255).astype(np.uint8)
    return np.where(mask.any(axis=-1, keepdims=True), image, gray).astype(np.uint8)


def detect_and_color_splash(model, image_path=None, video_path=None):
    """Splash one photo or a whole video; writes ``splash_<time>.png`` or ``.avi`` here.

    Returns:
        Name of the file written.
    """
    if not (image_path or video_path):
        raise ValueError("splash needs an image or a video: pass --image or --video")
    name = f"splash_{datetime.datetime.now():%Y%m%dT%H%M%S}"
    if image_path:
        from PIL import Image

        from mrcnn.data.images import as_uint8_range, fit_channels, read_image

        image = fit_channels(as_uint8_range(read_image(image_path)), 3)
        result = model.detect([image], verbose=1)[0]
        print(f"{len(result['scores'])} balloons, scores {np.round(result['scores'], 3).tolist()}")
        name += ".png"
        Image.fromarray(color_splash(image, result["masks"])).save(name)
    else:
        name += ".avi"
        splash_video(model, video_path, name)
    print("Saved to", name)
    return name


def splash_video(model, video_path, output):
    """Splash a video frame by frame; memory does not grow with its length."""
    try:
        import cv2
    except ImportError as error:
        raise ValueError(f"video needs OpenCV ({error}): pip install opencv-python") from error
    if not os.path.isfile(video_path):
        raise FileNotFoundError(f"{video_path} is missing")
    video = cv2.VideoCapture(video_path)
    size = int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if not video.isOpened() or not all(size):
        raise ValueError(f"{video_path} is not a video that OpenCV can read")
    total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    writer = cv2.VideoWriter(
        output, cv2.VideoWriter_fourcc(*"MJPG"), video.get(cv2.CAP_PROP_FPS) or 25, size
    )
    if not writer.isOpened():
        raise OSError(
            f"{output} cannot be written: is its folder there and may be written to, and has "
            "OpenCV MJPG?"
        )
    count = 0
    while True:
        success, frame = video.read()
        if not success:
            break
        masks = model.detect([frame[..., ::-1]])[0]["masks"]  # OpenCV has BGR
        writer.write(color_splash(frame[..., ::-1], masks)[..., ::-1])
        count += 1
        print(f"\rframe {count}" + (f" of {total}" if total > 0 else ""), end="", flush=True)
    print()
    if count < total:
        print(f"{video_path}: only {count} of the {total} frames that it states can be read")
    writer.release()
    video.release()


# === Commands ===


def make_config(args, detecting, weights=None):
    """The config of the command line's ``--backbone``, ``--size`` and so on.

    Args:
        args: of the command line.
        detecting: whether it is for inference.
        weights: path of the starting weights, whose run's preset is taken without ``--preset``.
    """
    preset = PRESETS[args.preset or preset_for(args.weights, weights)]
    default = type("Default", (BalloonConfig, preset), backbone_fields(weights))
    size = args.size or default.IMAGE_MAX_DIM
    trained_at = getattr(args, "trained_at", None) or size

    class Chosen(default):
        if args.backbone:
            BACKBONE = args.backbone
        IMAGE_MAX_DIM = size
        IMAGE_MIN_DIM = min(default.IMAGE_MIN_DIM, size)
        # objects shrink with the images, so anchors must too
        if default.IMAGE_RESIZE_MODE == "square":  # with "fit" the shorter side sets their size
            RPN_ANCHOR_SCALES = tuple(
                scale * trained_at // default.IMAGE_MAX_DIM for scale in default.RPN_ANCHOR_SCALES
            )
        SEED = getattr(args, "seed", None)
        STEPS_PER_EPOCH = getattr(args, "steps", BalloonConfig.STEPS_PER_EPOCH)
        if detecting:
            IMAGES_PER_GPU = 1
        if args.command == "evaluate":
            DETECTION_MIN_CONFIDENCE = 0.05  # AP counts low scores too

    return Chosen()


def make_model(args, mode):
    """The model with the weights of ``--weights``."""
    from mrcnn.cli.model_options import weights_path
    from mrcnn.model import MaskRCNN
    from mrcnn.weights import CLASS_LAYERS

    word, name = args.weights.lower(), BalloonConfig.NAME
    path = weights_path(args.weights, args.logs, name, to_train=mode == "training")
    model = MaskRCNN(mode, make_config(args, mode == "inference", path), args.logs)
    if word == "imagenet":
        path = model.get_imagenet_weights()
    if path:
        # other data's classes do not fit these 2
        others = word == "coco" or (mode == "training" and is_torch_file(path))
        model.load_weights(path, by_name=True, exclude=CLASS_LAYERS if others else None)
    return model


def train(args):
    """Train on photos with polygons."""
    # before the model, which takes longer: a wrong path should show at once
    train_set, val_set = make_dataset(args.dataset, "train"), make_dataset(args.dataset, "val")
    augmentation = None
    if args.flip:
        from mrcnn.data.augment.user import import_imgaug

        augmentation = import_imgaug().augmenters.Fliplr(0.5)
    model = make_model(args, "training")
    model.train(
        train_set,
        val_set,
        args.learning_rate or model.config.LEARNING_RATE,
        args.epochs,
        args.layers,
        augmentation=augmentation,
        workers=args.workers,
        verbose=args.verbose,
    )
    print(f"Last weights: {model.find_last()}")


def splash(args):
    """Grey out everything but the balloons of a photo or a video."""
    for path in (args.image, args.video):
        if path and not os.path.isfile(path):
            raise FileNotFoundError(f"{path} is missing")
    if not (args.image or args.video):
        raise ValueError("splash needs an image or a video: pass --image or --video")
    detect_and_color_splash(make_model(args, "inference"), args.image, args.video)


def evaluate(args):
    """COCO AP of boxes and masks on the photos in ``val``."""
    from mrcnn.evaluation import evaluate_detections, format_summary

    dataset = make_dataset(args.dataset, "val")
    model = make_model(args, "inference")
    print(format_summary(evaluate_detections(dataset, model.detect)))


def parse_args(argv=None):
    """The command line; see ``--help``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(function):
        sub = commands.add_parser(
            function.__name__,
            help=function.__doc__,
            description=function.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        sub.add_argument(
            "--weights",
            "--model",
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
        sub.set_defaults(run=function)
        return sub

    sub = command(train)
    sub.add_argument(
        "--dataset", required=True, metavar="FOLDER", help="folder with train/ and val/"
    )
    sub.add_argument("--epochs", type=int, default=30, metavar="N", help="epoch to end with")
    sub.add_argument(
        "--steps",
        type=int,
        default=BalloonConfig.STEPS_PER_EPOCH,
        metavar="N",
        help="steps of an epoch",
    )
    sub.add_argument(
        "--layers",
        default="heads",
        help="heads, 3+, 4+, 5+, all or a regular expression of layer names",
    )
    sub.add_argument("--learning-rate", type=float, metavar="RATE", help="in place of the config's")
    sub.add_argument(
        "--flip", action="store_true", help="mirror half of the images at random (imgaug)"
    )
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
    trained_at = dict(
        type=int,
        metavar="PX",
        help="--size of the training, where it was another: weights trained on "
        "small images find small balloons in large ones",
    )
    sub = command(splash)
    sub.add_argument("--trained-at", **trained_at)
    sub.add_argument("--image", metavar="FILE", help="photo to splash")
    sub.add_argument("--video", metavar="FILE", help="video to splash")
    sub = command(evaluate)
    sub.add_argument("--trained-at", **trained_at)
    sub.add_argument("--dataset", required=True, metavar="FOLDER", help="folder with val/")
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

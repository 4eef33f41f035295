"""Mask R-CNN on generated images of circles, squares and triangles: no data to download.

    python samples/shapes.py detect       # find shapes in held-out images, with the kept weights
    python samples/shapes.py evaluate     # COCO AP on 200 held-out images
    python samples/shapes.py train        # train from scratch on a CPU

Made to be copied: a Config, a Dataset and a small command line.
"""

import argparse
import os
import sys

import numpy as np

ROOT_DIR = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.append(ROOT_DIR)  # so that the sample also runs from a checkout that is not installed

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset

DEFAULT_WEIGHTS = os.path.join(ROOT_DIR, "weights", "mask_rcnn_shapes.h5")
DEFAULT_LOGS = os.path.join(ROOT_DIR, "logs")
TRAIN_SEED, HELD_OUT_SEED = 1, 2


class ShapesConfig(Config):
    """A narrow network for small images: 2 CPU cores train it in half an hour."""

    NAME = "shapes"
    IMAGES_PER_GPU = 8
    NUM_CLASSES = 1 + 3  # background, square, circle, triangle
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128
    # the original's network has 44 million parameters, this one 2.7 million
    BACKBONE = "resnet50"
    BACKBONE_WIDTH = 16
    TOP_DOWN_PYRAMID_SIZE = 64
    RPN_CONV_CHANNELS = 128
    FPN_CLASSIF_FC_LAYERS_SIZE = 256
    MASK_HEAD_CHANNELS = 32
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    TRAIN_ROIS_PER_IMAGE = 32
    POST_NMS_ROIS_TRAINING = 500
    POST_NMS_ROIS_INFERENCE = 100
    DETECTION_MAX_INSTANCES = 20
    MAX_GT_INSTANCES = 10
    # starting from random weights, batches of 8 images: normalise by the batch
    TRAIN_BN = None
    LEARNING_RATE = 0.01
    # at this rate the original's gradient from the heads through the proposals may diverge
    STOP_PROPOSAL_GRADIENT = True
    STEPS_PER_EPOCH = 250
    VALIDATION_STEPS = 5
    SEED = 0


class ShapesDetectConfig(ShapesConfig):
    """For detection: COCO AP counts low scores too."""

    DETECTION_MIN_CONFIDENCE = 0.05


class ShapesDataset(Dataset):
    """Images of up to four overlapping shapes on a noisy background.

    An image is drawn when it is loaded; what is on it follows from the seed alone.
    """

    def load_shapes(self, count, height=128, width=128, seed=TRAIN_SEED):
        """Add ``count`` images of height x width px; other seeds give other images."""
        for class_id, name in enumerate(("square", "circle", "triangle"), 1):
            self.add_class("shapes", class_id, name)
        for number in range(count):
            rng = np.random.default_rng((seed, number))
            background, shapes = self.random_image(height, width, rng)
            self.add_image(
                "shapes",
                image_id=number,
                path=None,
                width=width,
                height=height,
                background=background,
                shapes=shapes,
                noise_seed=(seed, number, 1),
            )

    def image_reference(self, image_id):
        """What is on the image: [(shape, color, (x, y, half size)), ...]."""
        return self.image_info[image_id]["shapes"]

    def load_image(self, image_id):
        """Draw an image: uint8 [height, width, 3]."""
        info = self.image_info[image_id]
        image = np.empty((info["height"], info["width"], 3), np.uint8)
        image[:] = info["background"]
        for shape, color, dims in info["shapes"]:
            image = self.draw_shape(image, shape, dims, color)
        noise = np.random.default_rng(info["noise_seed"]).normal(0, 15, image.shape)
        return np.clip(image + noise, 0, 255).astype(np.uint8)

    def load_mask(self, image_id):
        """The visible part of each shape: bool [height, width, n] and class ids int32 [n]."""
        info = self.image_info[image_id]
        masks = np.zeros((info["height"], info["width"], len(info["shapes"])), np.uint8)
        for index, (shape, _, dims) in enumerate(info["shapes"]):
            masks[..., index] = self.draw_shape(np.zeros(masks.shape[:2], np.uint8), shape, dims, 1)
        # a shape hides those that were drawn before it
        above = np.cumsum(masks[..., ::-1], axis=-1)[..., ::-1] - masks
        visible = (masks > 0) & (above == 0)
        class_ids = np.array(
            [self.class_names.index(shape) for shape, _, _ in info["shapes"]], np.int32
        )
        in_sight = visible.any(axis=(0, 1))  # a shape may be hidden altogether
        return visible[..., in_sight], class_ids[in_sight]

    def draw_shape(self, image, shape, dims, color):
        """``image`` with a shape on it; dims = (center x, center y, half size) px."""
        from PIL import Image, ImageDraw

        x, y, s = dims
        canvas = Image.fromarray(image)
        draw = ImageDraw.Draw(canvas)
        if shape == "square":
            draw.rectangle((x - s, y - s, x + s, y + s), fill=color)
        elif shape == "circle":
            draw.ellipse((x - s, y - s, x + s, y + s), fill=color)
        else:
            half_base = s / np.sin(np.radians(60))
            draw.polygon([(x, y - s), (x - half_base, y + s), (x + half_base, y + s)], fill=color)
        return np.asarray(canvas)

    def random_shape(self, height, width, rng=None):
        """A random (shape, color, dims)."""
        rng = rng or np.random.default_rng()
        shape = str(rng.choice(["square", "circle", "triangle"]))
        color = tuple(int(value) for value in rng.integers(0, 256, 3))
        margin = 20
        y, x = rng.integers(margin, height - margin), rng.integers(margin, width - margin)
        return shape, color, (int(x), int(y), int(rng.integers(height // 10, height // 4)))

    def random_image(self, height, width, rng=None):
        """A random (background color, shapes); no two shapes' boxes overlap by an IoU above 0.3."""
        from mrcnn.ops.boxes_np import non_max_suppression

        rng = rng or np.random.default_rng()
        background = tuple(int(value) for value in rng.integers(0, 256, 3))
        shapes = [self.random_shape(height, width, rng) for _ in range(rng.integers(1, 5))]
        boxes = np.array([[y - s, x - s, y + s, x + s] for _, _, (x, y, s) in shapes])
        keep = non_max_suppression(boxes, np.arange(len(shapes)), 0.3)
        return background, [shape for index, shape in enumerate(shapes) if index in keep]


def make_dataset(count, seed):
    """A prepared `ShapesDataset`."""
    dataset = ShapesDataset()
    dataset.load_shapes(count, ShapesConfig.IMAGE_MAX_DIM, ShapesConfig.IMAGE_MAX_DIM, seed)
    dataset.prepare()
    return dataset


# === Commands ===


def train(args):
    """Train from scratch, or go on from weights, at three falling learning rates."""
    from mrcnn.model import MaskRCNN

    config = ShapesConfig()
    if args.steps:
        config.STEPS_PER_EPOCH = args.steps
    model = MaskRCNN("training", config, args.logs)
    if args.weights:
        model.load_weights(
            model.find_last() if args.weights.lower() == "last" else args.weights, by_name=True
        )
    train_set = make_dataset(args.images, TRAIN_SEED)
    val_set = make_dataset(config.VALIDATION_STEPS * config.BATCH_SIZE, HELD_OUT_SEED + 1)
    for share, rate in (
        (0.7, config.LEARNING_RATE),
        (0.9, config.LEARNING_RATE / 5),
        (1, config.LEARNING_RATE / 25),
    ):
        epochs = round(args.epochs * share)
        if epochs > model.epoch:
            model.train(train_set, val_set, rate, epochs, "all", workers=1, verbose=args.verbose)
    print(f"Last weights: {model.find_last()}")


def detect(args):
    """Find the shapes in held-out images: prints COCO AP and writes a picture of the first
    twelve.
    """
    from mrcnn.visualize import draw_instances

    model, dataset = evaluate(args)
    images = [dataset.load_image(image_id) for image_id in dataset.image_ids[:12]]
    tiles = []
    for image, result in zip(images, model.detect(images)):
        sure = result["scores"] >= 0.7
        tiles.append(
            draw_instances(
                enlarge(image, 2),
                result["rois"][sure] * 2,
                enlarge(result["masks"][..., sure], 2),
                result["class_ids"][sure],
                dataset.class_names,
                result["scores"][sure],
            )
        )
    save_grid(args.output, tiles, columns=4)
    print(f"Picture: {os.path.abspath(args.output)}")


def evaluate(args):
    """Print COCO AP of boxes and masks on held-out images."""
    from mrcnn.evaluation import evaluate_detections, format_summary

    model = load_model(args)
    dataset = make_dataset(args.images, HELD_OUT_SEED)
    print(
        format_summary(
            evaluate_detections(dataset, model.detect, batch_size=model.config.BATCH_SIZE)
        )
    )
    return model, dataset


def load_model(args):
    """The inference model with weights."""
    from mrcnn.model import MaskRCNN

    model = MaskRCNN("inference", ShapesDetectConfig(), args.logs)
    weights = model.find_last() if args.weights.lower() == "last" else args.weights
    model.load_weights(weights, by_name=True)
    return model


def enlarge(array, factor):
    """Repeat each pixel ``factor`` times in both directions."""
    return array.repeat(factor, axis=0).repeat(factor, axis=1)


def save_grid(path, images, columns):
    """Write images of one size to one file, in rows of ``columns``."""
    from PIL import Image

    images = images + [np.full_like(images[0], 255)] * (-len(images) % columns)
    rows = [
        np.concatenate(images[start : start + columns], axis=1)
        for start in range(0, len(images), columns)
    ]
    Image.fromarray(np.concatenate(rows, axis=0)).save(path)


def parse_args(argv=None):
    """The command line; see ``--help``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(function, weights, images):
        sub = commands.add_parser(
            function.__name__,
            help=function.__doc__,
            description=function.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        sub.add_argument(
            "--weights",
            "--model",
            default=weights,
            metavar="FILE",
            help="a .h5 file, or 'last' for the newest checkpoint under --logs",
        )
        sub.add_argument(
            "--logs", default=DEFAULT_LOGS, metavar="FOLDER", help="folder of training runs"
        )
        sub.add_argument(
            "--images", type=int, default=images, metavar="N", help="number of generated images"
        )
        sub.set_defaults(run=function)
        return sub

    sub = command(train, None, 20000)
    sub.add_argument("--epochs", type=int, default=24, metavar="N", help="epoch to end with")
    sub.add_argument(
        "--steps", type=int, metavar="N", help="steps of an epoch, in place of the config's"
    )
    sub.add_argument(
        "--verbose",
        default="auto",
        help="progress bar: 'auto', 0 none, 1 bar, 2 a line an epoch",
        type=lambda text: text if text == "auto" else int(text),
    )
    sub = command(detect, DEFAULT_WEIGHTS, 50)
    sub.add_argument("--output", default="shapes.png", metavar="FILE", help="picture to write")
    command(evaluate, DEFAULT_WEIGHTS, 200)
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

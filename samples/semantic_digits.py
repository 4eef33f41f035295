"""Handwritten digits pixel by pixel: a U-Net, an FCN or another network labels the ink of MNIST
digits in small scenes.

    python samples/semantic_digits.py detect     # label test scenes, with the kept weights
    python samples/semantic_digits.py evaluate   # IoU of each digit on 500 test scenes
    python samples/semantic_digits.py train      # train on a CPU, from random weights

    # FCN-32s against FCN-8s, and cross-entropy alone
    python samples/semantic_digits.py train --network fcn32s
    python samples/semantic_digits.py train --network fcn8s
    python samples/semantic_digits.py train --loss ce

    # the other recipe
    python samples/semantic_digits.py train --recipe extended

Two recipes make the scenes. "m2nist" is that of M2NIST: 64 x 84 px with one to three digits, whose
boxes do not overlap. "extended" is MNIST-extended of awaywithideas: 60 x 60 px with two to four of
the digits 0 to 2, whose boxes may overlap a little. A pixel with any ink is of its digit's class,
all others are background. Scenes are drawn when they are loaded and follow from their number alone;
digits of test scenes were never in a training scene.

What these commands reached from seed 0, with the first 12,000 and 2,000 digits of MNIST, on shared
cores of an Intel Xeon (seconds of CPU time of the training, all that it does):

    train                           mean IoU 0.942     435 s
    train --epochs 2                mean IoU 0.870     149 s
    train --epochs 2 --loss ce      mean IoU 0.740     137 s
    train --recipe extended         precision 0.994, recall 0.990 of all ink     302 s

Training needs MNIST: Keras downloads it, or --mnist FILE takes an mnist.npz that you have. The test
scenes of "m2nist" are kept beside its weights, so that detect and evaluate need neither.

Made to be copied: a Config, a Dataset and a small command line.
"""

import argparse
import os
import sys

import numpy as np

ROOT_DIR = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.append(ROOT_DIR)  # so that the sample also runs from a checkout that is not installed

from mrcnn.config import SegmentationConfig
from mrcnn.data.dataset import Dataset
from samples.digits import load_glyphs

DEFAULT_WEIGHTS = os.path.join(ROOT_DIR, "weights", "segmenter_digits.h5")
DEFAULT_SCENES = os.path.join(ROOT_DIR, "weights", "segmenter_digits_scenes.npz")
DEFAULT_LOGS = os.path.join(ROOT_DIR, "logs")
SEEDS = {"train": 1, "val": 2}
SIDE = 28  # of an image of MNIST, px


class SemanticDigitsConfig(SegmentationConfig):
    """Small networks for small scenes: 2 CPU cores train one in six minutes."""

    NAME = "semantic_digits"
    NUM_CLASSES = 1 + 10
    CLASS_NAMES = ("BG", *"0123456789")
    IMAGE_CHANNEL_COUNT = 1
    MEAN_PIXEL = np.array([0.0])  # paper stays 0, as what convolutions see beyond the edge
    IMAGE_RESIZE_MODE = "none"  # all scenes have one size
    IMAGES_PER_GPU = 8
    VALIDATION_STEPS = 25
    # U-Net: 0.5 million weights
    UNET_WIDTHS = (16, 32, 64, 128)
    # FCN: 0.7 million weights. FCN-8s errs in where ink ends and seldom in which digit it is, so
    # the blocks up to stride 8 are the larger part.
    VGG_WIDTHS = (16, 32, 96, 96, 96)
    VGG_CONVOLUTIONS = (2, 2, 3, 2, 1)
    FC_CHANNELS = 32
    DROPOUT = 0.0
    BATCH_NORM_MOMENTUM = 0.99  # there are thousands of steps
    OPTIMIZER = "Adam"
    LEARNING_RATE = 0.003
    LEARNING_RATE_SCHEDULE = "cosine"
    LEARNING_RATE_WARMUP_STEPS = 100
    WEIGHT_DECAY = 0.0
    SEED = 0


class ExtendedConfig(SemanticDigitsConfig):
    """For MNIST-extended, which has the digits 0 to 2."""

    NAME = "semantic_digits_extended"
    NUM_CLASSES = 1 + 3
    CLASS_NAMES = ("BG", *"012")


# === Scenes ===


class Scenes(Dataset):
    """Scenes of MNIST digits; a subclass is a recipe."""

    config: type[SemanticDigitsConfig]
    epochs: int  # of a training
    counts: dict[str, int]  # of scenes of "train" and "val"
    digits: int  # this many of the digits from 0 on
    shape: tuple[int, int]  # height and width of a scene, px
    least: int  # number of digits of a scene
    most: int
    max_iou: float  # of the 28 x 28 px of two digits of a scene

    def load_scenes(self, subset, count=None, mnist="keras"):
        """Add scenes.

        Args:
            subset: "train" or "val", of MNIST's training or test digits.
            count: number of scenes; None: as many as the recipe has.
            mnist: see `samples.digits.load_glyphs`.
        """
        for digit in range(self.digits):
            self.add_class("mnist", digit + 1, str(digit))
        glyphs, labels = load_glyphs(mnist)[subset]
        known = labels < self.digits
        self.glyphs, self.labels = glyphs[known], labels[known]
        height, width = self.shape
        for number in range(self.counts[subset] if count is None else count):
            self.add_image(
                "mnist",
                image_id=number,
                path=None,
                width=width,
                height=height,
                seed=(SEEDS[subset], number),
            )

    def draw(self, image_id):
        """Draw a scene.

        Returns:
            image uint8 [height, width]; masks bool [height, width, n], the ink of each digit;
            digits int [n].
        """
        rng = np.random.default_rng(self.image_info[image_id]["seed"])
        chosen = rng.integers(len(self.labels), size=rng.integers(self.least, self.most + 1))
        image = np.zeros(self.shape, np.uint8)
        masks = np.zeros((*self.shape, len(chosen)), bool)
        for number, (y, x) in enumerate(random_places(len(chosen), self.shape, self.max_iou, rng)):
            glyph, part = self.glyphs[chosen[number]], np.s_[y : y + SIDE, x : x + SIDE]
            image[part] += np.minimum(glyph, 255 - image[part])
            masks[part][..., number] = glyph > 0
        return image, masks, self.labels[chosen]

    def load_image(self, image_id):
        """uint8 [height, width, 1], ink is 255 on 0."""
        return self.draw(image_id)[0][..., np.newaxis]

    def load_mask(self, image_id):
        """The ink of each digit: bool [height, width, n] and class ids int32 [n], the digit plus 1.
        ``load_labels`` makes the label map of it.
        """
        _, masks, digits = self.draw(image_id)
        return masks, (digits + 1).astype(np.int32)

    def image_reference(self, image_id):
        """The digits of the scene, such as "3 1 4"."""
        return " ".join(map(str, self.draw(image_id)[2]))


class M2nist(Scenes):
    """M2NIST (Farhad Khatun's multi-digit MNIST): digits apart from each other."""

    config, epochs, counts = SemanticDigitsConfig, 6, {"train": 4000, "val": 500}
    digits, shape, least, most, max_iou = 10, (64, 84), 1, 3, 0.0


class MnistExtended(Scenes):
    """MNIST-extended (LukeTonin/simple-deep-learning): digits that may lie upon each other."""

    config, epochs, counts = ExtendedConfig, 20, {"train": 1000, "val": 200}
    digits, shape, least, most, max_iou = 3, (60, 60), 2, 4, 0.2


RECIPES = {"m2nist": M2nist, "extended": MnistExtended}


def random_places(count, shape, max_iou, rng):
    """Random corners of digits in a scene, such that no two boxes have a larger IoU.

    Args:
        count: of digits.
        shape: (height, width) of the scene in px.

    Returns:
        int [count, 2], the y and x of each digit's first pixel.
    """
    while True:
        places = rng.integers(0, np.array(shape) - SIDE + 1, (100, count, 2))  # a hundred tries
        offsets = np.abs(places[:, :, np.newaxis] - places[:, np.newaxis])
        overlaps = np.maximum(SIDE - offsets, 0).prod(axis=-1)
        ious = np.triu(overlaps / (2 * SIDE**2 - overlaps), 1)
        fits = ious.max(axis=(1, 2)) <= max_iou
        if fits.any():
            return places[fits.argmax()]


class StoredScenes(Dataset):
    """The scenes of a file that ``generate`` wrote."""

    def load_file(self, path, count=None, digits=10):
        """Add the first ``count`` scenes of an npz, or all; its labels are up to ``digits``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file has no images with label maps.
        """
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{path} is missing: --scenes takes a file that generate wrote")
        try:
            with np.load(path, allow_pickle=False) as data:
                self.images, self.labels = data["images"], data["labels"]
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path} has no images and labels of scenes: {error}") from None
        if (
            self.images.ndim != 3
            or self.images.shape != self.labels.shape
            or not self.images.dtype == self.labels.dtype == np.uint8
            or self.labels.max(initial=0) > digits
        ):
            raise ValueError(
                f"{path}: expected images and labels uint8 [scenes, height, width] with labels up "
                f"to {digits}, got {self.images.dtype} {self.images.shape} and {self.labels.dtype} "
                f"{self.labels.shape}"
            )
        for digit in range(digits):
            self.add_class("mnist", digit + 1, str(digit))
        height, width = self.images.shape[1:]
        for number in range(len(self.images[:count])):
            self.add_image("mnist", number, path=None, height=height, width=width)

    def load_image(self, image_id):
        """uint8 [height, width, 1], ink is 255 on 0."""
        return self.images[image_id][..., np.newaxis]

    def load_labels(self, image_id, overlap="smaller", crowds="ignore"):
        """uint8 [height, width], the digit plus 1, and 0 where there is no ink."""
        return self.labels[image_id]


# === Commands ===


def make_dataset(args, subset):
    """A prepared data set: scenes that are drawn when they are loaded, or those of a file, which
    evaluate and detect take for ``--scenes``, and where neither it nor ``--mnist`` says otherwise.
    """
    recipe, path = RECIPES[args.recipe], None
    if args.command in ("evaluate", "detect"):
        kept = args.recipe == "m2nist" and not args.mnist
        path = args.scenes or (DEFAULT_SCENES if kept else None)
    if path:
        dataset = StoredScenes()
        dataset.load_file(path, args.images, recipe.digits)
    else:
        dataset = recipe()
        count = args.images if subset == "train" or args.command != "train" else None
        dataset.load_scenes(subset, count, args.mnist or "keras")
    dataset.prepare()
    return dataset


def make_config(args):
    """The config of the command line's ``--recipe``, ``--network``, ``--loss`` and ``--seed``."""
    recipe = RECIPES[args.recipe]
    scenes = getattr(args, "images", None) or recipe.counts["train"]

    class Chosen(recipe.config):
        NAME = f"{recipe.config.NAME}_{args.network}"  # so that "last" is of this network
        NETWORK = args.network
        LOSS = getattr(args, "loss", recipe.config.LOSS)
        SEED = getattr(args, "seed", recipe.config.SEED)
        # an epoch is every scene once
        STEPS_PER_EPOCH = -(-scenes // recipe.config.IMAGES_PER_GPU)

    return Chosen()


def train(args):
    """Train from random weights, or go on from --weights, at a rate that falls to 0."""
    from mrcnn.segmenter import Segmenter

    # before the model, which takes longer: a wrong path should show at once
    train_set, val_set = make_dataset(args, "train"), make_dataset(args, "val")
    model = Segmenter("training", make_config(args), args.logs)
    if args.weights:
        load_weights(model, args.weights)
    model.train(
        train_set,
        val_set,
        model.config.LEARNING_RATE,
        args.epochs or RECIPES[args.recipe].epochs,
        "all",
        workers=1,
        verbose=args.verbose,
    )
    print(f"Last weights: {model.find_last()}")


def load_model(args):
    """The inference model with weights."""
    from mrcnn.segmenter import Segmenter

    kept = args.recipe == "m2nist" and args.network == SemanticDigitsConfig.NETWORK
    if not (args.weights or kept):
        raise ValueError(
            f"no weights of --recipe {args.recipe} --network {args.network} are kept: train some, "
            "then pass --weights last"
        )
    model = Segmenter("inference", make_config(args), args.logs)
    load_weights(model, args.weights or DEFAULT_WEIGHTS)
    return model


def load_weights(model, choice):
    """Load a file, or where ``choice`` is "last" the newest checkpoint of the config's runs."""
    model.load_weights(model.find_last() if choice.lower() == "last" else choice, by_name=True)


def evaluate(args):
    """Print the IoU of each digit, and precision and recall of all ink, on test scenes."""
    dataset = make_dataset(args, "val")
    model = load_model(args)
    evaluation = model.evaluate(dataset, report=args.report)
    precision, recall = ink_measures(evaluation.confusion)
    print(f"Ink of all digits together: precision {precision:.4f}, recall {recall:.4f}")
    return model, dataset


def ink_measures(confusion):
    """Precision and recall of the pixels of all digits together, as MNIST-extended has them.

    Args:
        confusion: int [classes, classes], pixels by true class (row) and found class (column).

    Returns:
        The share of the pixels found to be of a digit that are of this digit, and the share of the
        digits' pixels that were found so; NaN of none.
    """
    right = np.trace(confusion) - confusion[0, 0]
    with np.errstate(invalid="ignore"):
        return right / confusion[:, 1:].sum(), right / confusion[1:].sum()


def detect(args):
    """Label the pixels of test scenes, whose IoU is printed and the first twelve drawn, or of
    --image.
    """
    from mrcnn.data.images import as_uint8_range, fit_channels, read_image

    if args.image:
        images = [fit_channels(as_uint8_range(read_image(args.image)), 1)]
        model, truths = load_model(args), None
    else:
        model, dataset = evaluate(args)
        chosen = dataset.image_ids[:12]
        images = [dataset.load_image(image_id) for image_id in chosen]
        truths = [dataset.load_labels(image_id) for image_id in chosen]
    found = [result.labels for result in model.segment(images)]
    save_picture(args.output, images, found, truths, model.config.NUM_CLASSES)
    print(f"Picture: {os.path.abspath(args.output)}")


def save_picture(path, images, found, truths, num_classes):
    """Write images of one size, each with what was found and, where it is known, the truth on its
    right, to one file in two columns.
    """
    from PIL import Image

    from mrcnn.data.label_drawing import paint_labels

    tiles = []
    for number, image in enumerate(images):
        maps = [found[number]] if truths is None else [found[number], truths[number]]
        parts = [np.repeat(image, 3, axis=-1), *(paint_labels(map, num_classes) for map in maps)]
        tile = np.concatenate([np.pad(part, ((1, 1), (1, 1), (0, 0))) for part in parts], axis=1)
        tiles.append(tile.repeat(2, axis=0).repeat(2, axis=1))
    columns = min(len(tiles), 2)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [
        np.concatenate(tiles[at : at + columns], axis=1) for at in range(0, len(tiles), columns)
    ]
    Image.fromarray(np.concatenate(rows, axis=0)).save(path)


def generate(args):
    """Write the test scenes to an npz file, for --scenes."""
    dataset = make_dataset(args, "val")
    arrays = {
        "images": np.stack([dataset.draw(image_id)[0] for image_id in dataset.image_ids]),
        "labels": np.stack([dataset.load_labels(image_id) for image_id in dataset.image_ids]),
    }
    if os.path.exists(args.output):
        raise ValueError(f"{args.output} exists: give --output another name")
    np.savez_compressed(args.output, **arrays)
    print(f"{dataset.num_images} scenes in {args.output}")


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
        sub.add_argument("--recipe", choices=RECIPES, default="m2nist", help="of the scenes")
        sub.add_argument(
            "--images",
            type=int,
            metavar="N",
            help="number of scenes, in place of the recipe's",
        )
        sub.add_argument(
            "--mnist",
            metavar="FILE",
            help="digits of an mnist.npz, in place of Keras' download; tests then draw their "
            "scenes too",
        )
        sub.set_defaults(run=function)
        return sub

    def model_command(function, weights):
        sub = command(function)
        sub.add_argument(
            "--network",
            default=SemanticDigitsConfig.NETWORK,
            metavar="NAME",
            help="plain, fcn32s, fcn16s, fcn8s, unet, segnet, pspnet or deeplab",
        )
        sub.add_argument(
            "--weights",
            "--model",
            metavar="FILE",
            help=f"a .h5 file, or 'last' for the newest checkpoint under --logs{weights}",
        )
        sub.add_argument(
            "--logs", default=DEFAULT_LOGS, metavar="FOLDER", help="folder of training runs"
        )
        return sub

    def test_command(function):
        sub = model_command(function, "; without it the kept U-Net")
        sub.add_argument(
            "--scenes",
            metavar="FILE",
            help="scenes that generate wrote; without it the kept ones of m2nist",
        )
        sub.add_argument("--report", metavar="FOLDER", help="also write the result as a page")
        return sub

    sub = model_command(train, " to go on from")
    sub.add_argument(
        "--loss",
        default=SemanticDigitsConfig.LOSS,
        metavar="NAME",
        help="a loss or a sum of several, such as ce, dice or 0.5*focal+dice",
    )
    sub.add_argument(
        "--epochs", type=int, metavar="N", help="epoch to end with, in place of the recipe's"
    )
    sub.add_argument(
        "--seed",
        type=int,
        default=SemanticDigitsConfig.SEED,
        metavar="N",
        help="of weights and order; another one makes another run",
    )
    sub.add_argument(
        "--verbose",
        default="auto",
        type=lambda text: text if text == "auto" else int(text),
        help="progress bar: 'auto', 0 none, 1 bar, 2 a line an epoch",
    )
    test_command(evaluate)
    sub = test_command(detect)
    sub.add_argument("--image", metavar="FILE", help="an image of your own, light ink on black")
    sub.add_argument(
        "--output", default="semantic_digits.png", metavar="FILE", help="picture to write"
    )
    sub = command(generate)
    sub.add_argument("--output", required=True, metavar="FILE", help="new npz file to write")
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

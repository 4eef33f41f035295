"""Mask R-CNN on generated scenes of handwritten digits: which digit is where, and which pixels are
its ink.

    python samples/digits.py detect      # find digits in held-out scenes, with the kept weights
    python samples/digits.py evaluate    # COCO AP on 200 held-out scenes
    python samples/digits.py train       # train on a CPU, from random weights

    # write scenes as images and COCO json
    python samples/digits.py generate --dataset digits_data --images 2000

    # teach the backbone single digits first, and the detector from there
    python samples/digits.py pretrain
    python samples/digits.py train --weights logs/digits_backbone.h5

The digits are the 1797 that come with scikit-learn (pip install scikit-learn), or MNIST: --mnist
FILE for an mnist.npz that you have, --mnist alone to let Keras download it. Scenes are drawn when
they are loaded and follow from their seed alone; digits of held-out scenes were never in a training
scene. With --dataset, train, evaluate and detect read the scenes that generate wrote.

Made to be copied: a Config, a Dataset and a small command line.
"""

import argparse
import dataclasses
import functools
import json
import os
import sys

import numpy as np

ROOT_DIR = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.append(ROOT_DIR)  # so that the sample also runs from a checkout that is not installed

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset

DEFAULT_WEIGHTS = os.path.join(ROOT_DIR, "weights", "mask_rcnn_digits.h5")
DEFAULT_LOGS = os.path.join(ROOT_DIR, "logs")
SEEDS = {"train": 1, "val": 2}


class DigitsConfig(Config):
    """A narrow network for small scenes: 2 CPU cores train it in half an hour."""

    NAME = "digits"
    IMAGES_PER_GPU = 8
    NUM_CLASSES = 1 + 10  # background, 0 to 9
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128
    # the original's network has 44 million parameters, this one 2.7 million
    BACKBONE = "resnet50"
    BACKBONE_WIDTH = 16
    TOP_DOWN_PYRAMID_SIZE = 64
    RPN_CONV_CHANNELS = 128
    FPN_CLASSIF_FC_LAYERS_SIZE = 256
    MASK_HEAD_CHANNELS = 32
    # digits are 17 to 50 px high, and most are higher than wide
    RPN_ANCHOR_SCALES = (16, 24, 36, 64, 128)
    RPN_ANCHOR_RATIOS = [0.35, 0.6, 1]
    TRAIN_ROIS_PER_IMAGE = 32
    POST_NMS_ROIS_TRAINING = 500
    POST_NMS_ROIS_INFERENCE = 100
    DETECTION_MAX_INSTANCES = 20
    MAX_GT_INSTANCES = 10
    # starting from random weights, batches of 8 scenes: normalise by the batch
    TRAIN_BN = None
    LEARNING_RATE = 0.01
    # at this rate the original's gradient from the heads through the proposals may diverge
    STOP_PROPOSAL_GRADIENT = True
    STEPS_PER_EPOCH = 250
    VALIDATION_STEPS = 5
    SEED = 0


class DigitsDetectConfig(DigitsConfig):
    """For detection: COCO AP counts low scores too."""

    DETECTION_MIN_CONFIDENCE = 0.05


# === Scenes ===


def setting(default, text):
    """A field of `SceneSettings`; the text is also the help of ``generate``'s option."""
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class SceneSettings:
    """What scenes look like; `generate` keeps them in settings.json beside the scenes."""

    height: int = setting(128, "of a scene in px")
    width: int = setting(128, "of a scene in px")
    least_digits: int = setting(1, "least number of digits of a scene")
    most_digits: int = setting(6, "most; one that finds no place in 50 tries is left out")
    least_size: int = setting(18, "least height of a digit in px, before it is turned")
    most_size: int = setting(46, "greatest height")
    stretch: float = setting(0.15, "up to this share a digit is made wider or narrower")
    turn: float = setting(12.0, "up to so many degrees a digit is turned to either side")
    max_overlap: float = setting(0.15, "most of a digit's box that another digit's box may cover")
    contrast: float = setting(70.0, "how much darker than paper ink is at least, of 255")
    noise: float = setting(6.0, "standard deviation of the noise of each pixel, of 255")

    def __post_init__(self):
        for least, most, limit in (
            ("least_digits", "most_digits", np.inf),
            ("least_size", "most_size", 0.75 * min(self.height, self.width)),
        ):
            if not 1 <= getattr(self, least) <= getattr(self, most) <= limit:
                size = f", and at most {limit:g} px" if limit < np.inf else ""
                raise ValueError(
                    f"{least} is {getattr(self, least)} and {most} is {getattr(self, most)}: they "
                    f"must be at least 1, in this order{size}"
                )
        for field, limit in (
            ("stretch", 0.5),
            ("turn", 45),
            ("max_overlap", 0.5),
            ("contrast", 110),
            ("noise", 60),
        ):
            if not 0 <= getattr(self, field) <= limit:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be 0 to {limit}")


@functools.lru_cache(maxsize=2)
def load_glyphs(mnist=None):
    """Handwritten digits to make scenes of.

    Args:
        mnist: None for scikit-learn's digits, "keras" for MNIST as Keras downloads it, or the path
            of an mnist.npz with x_train, y_train, x_test and y_test.

    Returns:
        {"train": (glyphs, labels), "val": (glyphs, labels)}; glyphs uint8 [n, side, side] with ink
        of 255 on 0, labels int [n]. "val" is MNIST's test set, or the last fifth of scikit-learn's.

    Raises:
        ValueError: scikit-learn is missing, or the file is not MNIST.
        FileNotFoundError: there is no such file.
    """
    if mnist is None:
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise ValueError(
                f"the digits come with scikit-learn ({error}): pip install scikit-learn, "
                "or pass --mnist"
            ) from error
        data = load_digits()
        glyphs, labels = np.round(data.images * (255 / 16)).astype(np.uint8), data.target
        # its rows are sorted by writer, so that the last ones are by other hands
        start = len(labels) * 4 // 5
        return {"train": (glyphs[:start], labels[:start]), "val": (glyphs[start:], labels[start:])}
    if mnist == "keras":
        import keras

        train, val = keras.datasets.mnist.load_data()
        return {"train": train, "val": val}
    if not os.path.isfile(mnist):
        raise FileNotFoundError(f"{mnist} is missing: --mnist takes the path of an mnist.npz")
    try:
        with np.load(mnist, allow_pickle=False) as data:
            sets = {
                subset: (data[f"x_{key}"], data[f"y_{key}"])
                for subset, key in (("train", "train"), ("val", "test"))
            }
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{mnist} is not an mnist.npz with x_train, y_train, x_test and y_test: {error}"
        ) from None
    for glyphs, labels in sets.values():
        if (
            glyphs.ndim != 3
            or glyphs.dtype != np.uint8
            or len(glyphs) != len(labels)
            or not len(labels)
        ):
            raise ValueError(
                f"{mnist}: expected uint8 images [n, height, width] and n labels, got "
                f"{glyphs.dtype} {glyphs.shape} and {labels.shape}"
            )
        if not (glyphs >= 128).any(axis=(1, 2)).all() or not np.isin(labels, range(10)).all():
            raise ValueError(
                f"{mnist} has images without ink (a value of 128 or more) or labels other than 0 "
                "to 9"
            )
    return sets


def draw_digit(glyph, height, stretch, turn):
    """A digit at its size in a scene.

    Args:
        glyph: uint8 [side, side], ink is 255.
        height: of its ink in px, before it is turned.
        stretch: factor of its width.
        turn: degrees, counter-clockwise.

    Returns:
        float32 [h, w] in 0..1, how much ink covers each pixel; cut to the pixels that are half
        covered or more.
    """
    from PIL import Image

    ink = _cut(glyph, glyph >= 128)
    scale = height / ink.shape[0]
    ink = np.pad(ink, 2)  # so that strokes fade out at the edge too
    size = [
        max(round(side * scale * factor), 1) for side, factor in zip(ink.shape[::-1], (stretch, 1))
    ]
    picture = Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC)
    picture = picture.rotate(turn, Image.Resampling.BICUBIC, expand=True)
    # enlarged strokes are blurred: make their edges a pixel or two wide again
    cover = np.asarray(picture, np.float32)
    cover = np.clip((cover / cover.max() - 0.3) / 0.25, 0, 1)
    return _cut(cover, cover >= 0.5)


def _cut(image, inside):
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def random_paper(settings, rng):
    """A light background: plain, shaded from one side to the other, or clouded; float32 [height,
    width, 3].
    """
    from PIL import Image

    first = rng.uniform(130, 255, 3)
    second = np.clip(first + rng.normal(0, 30, 3), 110, 255)
    kind = rng.integers(3)
    if kind == 0:
        share = np.zeros((settings.height, settings.width))
    elif kind == 1:
        y, x = np.mgrid[-0.5 : 0.5 : settings.height * 1j, -0.5 : 0.5 : settings.width * 1j]
        angle = rng.uniform(0, 2 * np.pi)
        share = y * np.sin(angle) + x * np.cos(angle) + 0.5
    else:
        clouds = Image.fromarray(rng.uniform(0, 1, (8, 8)).astype(np.float32))
        share = np.asarray(
            clouds.resize((settings.width, settings.height), Image.Resampling.BILINEAR)
        )
    share = np.clip(share, 0, 1)[..., np.newaxis]
    return (first + share * (second - first)).astype(np.float32)


def random_ink(paper, contrast, rng):
    """A color that is darker than the paper by at least ``contrast`` of 255; black where there is
    none.
    """
    limit = brightness(paper).min() - contrast
    colors = rng.uniform(0, 160, (50, 3))
    dark = colors[brightness(colors) <= limit]
    return dark[0] if len(dark) else np.zeros(3)


def brightness(colors):
    """Rec. 601 luma of [..., (r, g, b)], 0..255."""
    return np.dot(colors, (0.299, 0.587, 0.114))


def random_scene(glyphs, labels, settings, rng):
    """Draw a scene.

    Returns:
        image uint8 [height, width, 3]; masks bool [height, width, n], the visible ink of each
        digit; digits int [n].
    """
    paper = random_paper(settings, rng)
    canvas = paper.copy()
    boxes, masks, digits = [], [], []
    for _ in range(rng.integers(settings.least_digits, settings.most_digits + 1)):
        index = rng.integers(len(labels))
        cover = draw_digit(
            glyphs[index],
            rng.uniform(settings.least_size, settings.most_size),
            1 + rng.uniform(-settings.stretch, settings.stretch),
            rng.uniform(-settings.turn, settings.turn),
        )[..., np.newaxis]
        color, (height, width) = random_ink(paper, settings.contrast, rng), cover.shape[:2]
        box = free_place(boxes, height, width, settings, rng)
        if box is None:
            continue
        part = np.s_[box[0] : box[2], box[1] : box[3]]
        canvas[part] += cover * (color - canvas[part])
        mask = np.zeros((settings.height, settings.width), bool)
        mask[part] = cover[..., 0] >= 0.5
        for earlier in masks:
            earlier &= ~mask
        boxes.append(box)
        masks.append(mask)
        digits.append(int(labels[index]))
    canvas += rng.normal(0, settings.noise, canvas.shape)
    masks = np.array(masks, bool).reshape(-1, settings.height, settings.width).transpose(1, 2, 0)
    return np.clip(canvas, 0, 255).astype(np.uint8), masks, np.array(digits, int)


def free_place(boxes, height, width, settings, rng):
    """A random (y1, x1, y2, x2) in the scene that overlaps no box by more than is allowed; None
    after 50 tries.
    """
    if height > settings.height or width > settings.width:
        return None
    for _ in range(50):
        y, x = rng.integers(settings.height - height + 1), rng.integers(settings.width - width + 1)
        box = (int(y), int(x), int(y) + height, int(x) + width)
        if all(covered_share(box, other) <= settings.max_overlap for other in boxes):
            return box
    return None


def covered_share(first, second):
    """Intersection of two boxes over the area of the smaller one."""
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    smaller = min((y2 - y1) * (x2 - x1) for y1, x1, y2, x2 in (first, second))
    return max(height, 0) * max(width, 0) / smaller


class DigitsDataset(Dataset):
    """Scenes that are drawn when they are loaded; what is on one follows from the seed and its
    number alone.
    """

    def load_digits(self, count, subset="train", seed=None, mnist=None, settings=SceneSettings()):
        """Add ``count`` scenes of the digits of ``subset``, "train" or "val"; see `load_glyphs`."""
        for digit in range(10):
            self.add_class("digits", digit + 1, str(digit))
        self.glyphs, self.labels = load_glyphs(mnist)[subset]
        self.settings = settings
        for number in range(count):
            self.add_image(
                "digits",
                image_id=number,
                path=None,
                width=settings.width,
                height=settings.height,
                seed=(SEEDS[subset] if seed is None else seed, number),
            )

    def draw(self, image_id):
        """See `random_scene`."""
        rng = np.random.default_rng(self.image_info[image_id]["seed"])
        return random_scene(self.glyphs, self.labels, self.settings, rng)

    def load_image(self, image_id):
        """uint8 [height, width, 3]."""
        return self.draw(image_id)[0]

    def load_mask(self, image_id):
        """The visible ink of each digit: bool [height, width, n] and class ids int32 [n], the digit
        plus 1.
        """
        _, masks, digits = self.draw(image_id)
        return masks, (digits + 1).astype(np.int32)

    def image_reference(self, image_id):
        """The digits on the scene, such as "3 1 4"."""
        return " ".join(map(str, self.draw(image_id)[2]))


# === Commands ===


def make_dataset(args, subset, count):
    """A prepared data set: the scenes in ``--dataset``, or ``count`` scenes that are drawn when
    they are loaded.
    """
    if getattr(args, "dataset", None):
        from mrcnn.data.formats.coco import CocoJson

        folder = os.path.join(args.dataset, subset)
        dataset = CocoJson()
        dataset.load_coco_json(
            os.path.join(folder, "annotations.json"),
            os.path.join(folder, "images"),
            source="digits",
        )
    else:
        dataset = DigitsDataset()
        dataset.load_digits(count, subset, mnist=args.mnist)
    dataset.prepare()
    return dataset


def generate(args):
    """Write scenes: images, COCO json, and the settings that they were made with."""
    fields = [field.name for field in dataclasses.fields(SceneSettings)]
    settings = SceneSettings(**{name: getattr(args, name) for name in fields})
    if os.path.exists(args.dataset) and os.listdir(args.dataset):
        raise ValueError(f"{args.dataset} is not empty: give --dataset another folder")
    counts = {"train": args.images, "val": args.val_images}
    seeds = {subset: [args.seed, SEEDS[subset]] for subset in counts}
    for subset, count in counts.items():
        dataset = DigitsDataset()
        dataset.load_digits(count, subset, seeds[subset], args.mnist, settings)
        dataset.prepare()
        write_scenes(dataset, os.path.join(args.dataset, subset))
        print(f"{count} scenes in {os.path.join(args.dataset, subset)}")
    made_with = {
        "digits": args.mnist or "scikit-learn",
        "images": counts,
        "seeds": seeds,
        "scenes": dataclasses.asdict(settings),
    }
    with open(os.path.join(args.dataset, "settings.json"), "w", encoding="utf-8") as file:
        json.dump(made_with, file, indent=2)


def write_scenes(dataset, folder):
    """``images/<number>.png`` and ``annotations.json`` with boxes, run-length masks and classes, in
    a new folder.
    """
    from PIL import Image

    from mrcnn.common.progress import track
    from mrcnn.evaluation import coco_ground_truth

    os.makedirs(os.path.join(folder, "images"))
    annotations = coco_ground_truth(dataset).dataset
    for info in track(annotations["images"], "Writing scenes"):
        info["file_name"] = f"{info['id']:06d}.png"
        Image.fromarray(dataset.load_image(info["id"])).save(
            os.path.join(folder, "images", info["file_name"])
        )
    with open(os.path.join(folder, "annotations.json"), "w", encoding="utf-8") as file:
        json.dump(annotations, file)


def pretrain(args):
    """Train the backbone as a classifier of single digits; ``train --weights`` takes the file."""
    import keras

    from mrcnn.weights import save_h5

    config = DigitsConfig()
    keras.utils.set_random_seed(config.SEED)
    (images, labels), validation = (
        single_digits(args, subset, count)
        for subset, count in (("train", args.images), ("val", args.images // 8))
    )
    model = classifier(config)
    model.compile(
        keras.optimizers.SGD(args.learning_rate, 0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    model.fit(
        images,
        labels,
        batch_size=32,
        epochs=args.epochs,
        validation_data=validation,
        verbose=args.verbose,
    )
    _, accuracy = model.evaluate(*validation, verbose=0)
    os.makedirs(os.path.dirname(os.path.abspath(args.output)), exist_ok=True)
    save_h5(model, args.output)
    print(
        f"{accuracy:.1%} of {len(validation[1])} held-out digits are named rightly. Backbone: "
        f"{args.output}"
    )


def classifier(config):
    """A Keras model: images uint8 [b, h, w, 3] through the detector's backbone to probabilities [b,
    10].
    """
    import keras

    from mrcnn.networks.backbones.build import backbone_graph

    image = keras.Input((None, None, 3), dtype="uint8", name="input_image")
    x = keras.layers.Rescaling(1.0, (-config.MEAN_PIXEL).tolist(), name="subtract_mean")(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(backbone_graph(x, config)[-1])
    return keras.Model(
        image, keras.layers.Dense(10, "softmax", name="digit_class")(x), name="classifier"
    )


def single_digits(args, subset, count):
    """Images uint8 [count, 64, 64, 3] with a digit each, and the digits int [count]."""
    dataset = DigitsDataset()
    dataset.load_digits(
        count, subset, mnist=args.mnist, settings=SceneSettings(64, 64, 1, 1, least_size=24)
    )
    images, _, digits = zip(*(dataset.draw(number) for number in range(count)))
    return np.stack(images), np.concatenate(digits)


def train(args):
    """Train from scratch, or go on from weights, at three falling learning rates."""
    from mrcnn.model import MaskRCNN

    config = DigitsConfig()
    if args.steps:
        config.STEPS_PER_EPOCH = args.steps
    # before the model, which takes longer: a wrong path should show at once
    train_set = make_dataset(args, "train", args.images)
    val_set = make_dataset(args, "val", config.VALIDATION_STEPS * config.BATCH_SIZE)
    model = MaskRCNN("training", config, args.logs)
    if args.weights:
        model.load_weights(
            model.find_last() if args.weights.lower() == "last" else args.weights, by_name=True
        )
    for share, rate in (
        (0.7, config.LEARNING_RATE),
        (0.9, config.LEARNING_RATE / 5),
        (1, config.LEARNING_RATE / 25),
    ):
        epochs = round(args.epochs * share)
        if epochs > model.epoch:
            model.train(train_set, val_set, rate, epochs, "all", workers=1, verbose=args.verbose)
    print(f"Last weights: {model.find_last()}")


def load_model(args):
    """The inference model with weights."""
    from mrcnn.model import MaskRCNN

    model = MaskRCNN("inference", DigitsDetectConfig(), args.logs)
    model.load_weights(
        model.find_last() if args.weights.lower() == "last" else args.weights, by_name=True
    )
    return model


def evaluate(args):
    """Print COCO AP of boxes and masks on held-out scenes."""
    from mrcnn.evaluation import evaluate_detections, format_summary

    dataset = make_dataset(args, "val", args.images)
    model = load_model(args)
    print(
        format_summary(
            evaluate_detections(dataset, model.detect, batch_size=model.config.BATCH_SIZE)
        )
    )
    return model, dataset


def detect(args):
    """Find digits: in held-out scenes, whose COCO AP is printed and the first twelve drawn, or in
    --image.
    """
    from mrcnn.data.images import as_uint8_range, fit_channels, read_image

    if args.image:
        images, model = [fit_channels(as_uint8_range(read_image(args.image)), 3)], load_model(args)
    else:
        model, dataset = evaluate(args)
        images = [dataset.load_image(image_id) for image_id in dataset.image_ids[:12]]
    save_picture(args.output, images, model.detect(images))
    print(f"Picture: {os.path.abspath(args.output)}")


def save_picture(path, images, results):
    """Write images of one size, doubled and with what was found in them, to one file in rows of
    four.
    """
    from PIL import Image

    from mrcnn.visualize import draw_instances

    names = ["BG", *map(str, range(10))]
    tiles = []
    for image, result in zip(images, results):
        sure = result["scores"] >= 0.5
        image, masks = (
            array.repeat(2, axis=0).repeat(2, axis=1)
            for array in (image, result["masks"][..., sure])
        )
        tiles.append(
            draw_instances(
                image,
                result["rois"][sure] * 2,
                masks,
                result["class_ids"][sure],
                names,
                result["scores"][sure],
            )
        )
    columns = min(len(tiles), 4)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [
        np.concatenate(tiles[start : start + columns], axis=1)
        for start in range(0, len(tiles), columns)
    ]
    Image.fromarray(np.concatenate(rows, axis=0)).save(path)


def parse_args(argv=None):
    """The command line; see ``--help``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(function, images, weights=False):
        sub = commands.add_parser(
            function.__name__,
            help=function.__doc__,
            description=function.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        sub.add_argument(
            "--images", type=int, default=images, metavar="N", help="number of scenes to draw"
        )
        sub.add_argument(
            "--mnist",
            nargs="?",
            const="keras",
            metavar="FILE",
            help="digits of an mnist.npz, or of Keras' download where no file is named",
        )
        if weights is not False:
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
            sub.add_argument("--dataset", metavar="FOLDER", help="scenes that generate wrote")
        sub.set_defaults(run=function)
        return sub

    verbose = dict(
        default="auto",
        type=lambda text: text if text == "auto" else int(text),
        help="progress bar: 'auto', 0 none, 1 bar, 2 a line an epoch",
    )
    sub = command(generate, 2000)
    sub.add_argument("--dataset", required=True, metavar="FOLDER", help="new folder to write")
    sub.add_argument(
        "--val-images", type=int, default=200, metavar="N", help="number of held-out scenes"
    )
    sub.add_argument(
        "--seed", type=int, default=0, metavar="N", help="other seeds give other scenes"
    )
    for field in dataclasses.fields(SceneSettings):
        sub.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=field.type,
            default=field.default,
            metavar="N",
            help=field.metadata["help"],
        )
    sub = command(pretrain, 8000)
    sub.add_argument("--epochs", type=int, default=10, metavar="N", help="number of epochs")
    sub.add_argument("--learning-rate", type=float, default=0.01, metavar="RATE", help="of SGD")
    sub.add_argument(
        "--output",
        default=os.path.join(DEFAULT_LOGS, "digits_backbone.h5"),
        metavar="FILE",
        help="weights to write",
    )
    sub.add_argument("--verbose", **verbose)
    sub = command(train, 20000, None)
    sub.add_argument("--epochs", type=int, default=24, metavar="N", help="epoch to end with")
    sub.add_argument(
        "--steps", type=int, metavar="N", help="steps of an epoch, in place of the config's"
    )
    sub.add_argument("--verbose", **verbose)
    command(evaluate, 200, DEFAULT_WEIGHTS)
    sub = command(detect, 50, DEFAULT_WEIGHTS)
    sub.add_argument("--image", metavar="FILE", help="an image of your own")
    sub.add_argument("--output", default="digits.png", metavar="FILE", help="picture to write")
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

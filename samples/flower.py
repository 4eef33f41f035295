"""A classifier of patches becomes a network that labels a whole photo: flower or background.

    python samples/flower.py                         # train, and write flower.png
    python samples/flower.py --image mine.jpg --circle 220 310 130

A small classifier learns from crops of 32 x 32 px, half of them from inside a circle that is drawn
around a flower, half from outside. Its dense layers are then taken for convolutions ("fully
convolutional"), so that it runs over the whole photo at once: the map that it gives has, every
4 px, what the classifier would say of the patch that begins there.

The photo is flower.jpg of scikit-learn (pip install scikit-learn; by vultilion on Flickr, CC BY
2.0). Its second flower, at the bottom, is in no crop: the map shows whether it is found.
"""

import argparse
import os
import sys

import numpy as np

ROOT_DIR = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.append(ROOT_DIR)  # so that the sample also runs from a checkout that is not installed

from mrcnn.config import Config

PATCH = 32  # side of a crop, px
STRIDE = 4  # of the map, px
# y and x of the middle and the radius of scikit-learn's flower, px
CIRCLE = (222, 307, 130)
# (y1, x1, y2, x2) of the second one, px: no crop touches it
LEFT_OUT = (352, 270, 427, 490)


def load_photo(path=None):
    """uint8 [height, width, 3]: a file, or scikit-learn's flower.jpg.

    Raises:
        ValueError: scikit-learn is missing, or the file cannot be read.
        FileNotFoundError: there is no such file.
    """
    if path is not None:
        from mrcnn.data.images import as_uint8_range, fit_channels, read_image

        return fit_channels(as_uint8_range(read_image(path)), 3)
    try:
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise ValueError(
            f"flower.jpg comes with scikit-learn ({error}): pip install scikit-learn, or pass "
            "--image and --circle"
        ) from error
    return load_sample_image("flower.jpg")


def random_corners(shape, circle, left_out, count, rng):
    """Where to crop patches of the two classes.

    Args:
        shape: (height, width, ...) of the photo in px.
        circle: (y, x, radius) of the flower in px.
        left_out: (y1, x1, y2, x2) in px of a box that no patch touches, or None.
        count: number of patches of each class.
        rng: np.random.Generator.

    Returns:
        corners int [2 * count, 2], the y and x of the first pixel of each patch; labels int
        [2 * count]: 0 for patches wholly outside of the circle, 1 for those wholly inside.

    Raises:
        ValueError: a class has no place for a patch.
    """
    rows, columns = np.mgrid[: shape[0] - PATCH + 1, : shape[1] - PATCH + 1]
    y, x, radius = circle
    # the points of a patch that are nearest to the middle of the circle and farthest from it
    near = [np.clip(c, at, at + PATCH - 1) - c for c, at in ((y, rows), (x, columns))]
    far = [np.maximum(abs(at - c), abs(at + PATCH - 1 - c)) for c, at in ((y, rows), (x, columns))]
    inside, outside = np.hypot(*far) <= radius, np.hypot(*near) > radius
    if left_out is not None:
        y1, x1, y2, x2 = left_out
        touches = (rows < y2) & (rows + PATCH > y1) & (columns < x2) & (columns + PATCH > x1)
        inside, outside = inside & ~touches, outside & ~touches
    corners = []
    for name, free in (("outside", outside), ("inside", inside)):
        places = np.argwhere(free)
        if not len(places):
            raise ValueError(
                f"no patch of {PATCH} px lies {name} of the circle at y = {y}, x = {x} with a "
                f"radius of {radius} px in a photo of {shape[0]} x {shape[1]} px (height x width)"
            )
        corners.append(places[rng.integers(len(places), size=count)])
    return np.concatenate(corners), np.repeat([0, 1], count)


def crop(pixels, corners):
    """The patches [n, 32, 32, 3] of an array [height, width, 3]."""
    return np.stack([pixels[y : y + PATCH, x : x + PATCH] for y, x in corners])


def train(pixels, corners, labels, epochs, verbose):
    """Train a classifier of patches.

    Args:
        pixels: float32 [height, width, 3], minus MEAN_PIXEL.
        corners, labels: as `random_corners` gives them.

    Returns:
        keras.Model, see `mrcnn.networks.segmentation.patches.patch_classifier`.
    """
    import keras

    from mrcnn.networks.segmentation.patches import patch_classifier

    model = patch_classifier(PATCH)
    model.compile(
        keras.optimizers.Adam(0.001),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    model.fit(crop(pixels, corners), labels, batch_size=32, epochs=epochs, verbose=verbose)
    return model


def probability(logits):
    """The second class's probability, float64 [...], of logits [..., 2]."""
    logits = np.asarray(logits, np.float64)
    return 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))


def at_photo_size(scores, shape):
    """A map [rows, columns] with a value every 4 px as one of the photo's size; each value stands
    in the middle of its patch, and the rim has that of the nearest patch.

    Returns:
        [height, width].
    """
    rows, columns = (
        np.clip((np.arange(side) - PATCH // 2 + STRIDE // 2) // STRIDE, 0, count - 1)
        for side, count in zip(shape, scores.shape)
    )
    return scores[rows[:, np.newaxis], columns]


def save_picture(path, photo, found):
    """Write the photo beside the map (white is flower) and beside what the map says is flower."""
    from PIL import Image

    grey = np.repeat(np.round(255 * found).astype(np.uint8)[..., np.newaxis], 3, axis=-1)
    cut = np.where(found[..., np.newaxis] > 0.5, photo, photo // 5)
    Image.fromarray(np.concatenate([photo, grey, cut], axis=1)).save(path)


def run(args):
    """Train on crops, label the photo, compare the two, write a picture."""
    import keras

    from mrcnn.networks.segmentation.patches import convolutionalize

    if args.image and not args.circle:
        raise ValueError("--image needs --circle Y X RADIUS: where its flower is")
    photo = load_photo(args.image)
    rng = np.random.default_rng(args.seed)
    corners, labels = random_corners(
        photo.shape, args.circle or CIRCLE, None if args.image else LEFT_OUT, args.crops, rng
    )
    keras.utils.set_random_seed(args.seed)
    pixels = photo.astype(np.float32) - Config.MEAN_PIXEL.astype(np.float32)
    classifier = train(pixels, corners, labels, args.epochs, args.verbose)

    network = convolutionalize(classifier)
    logits = np.asarray(network(pixels[np.newaxis]))[0]
    height, width = logits.shape[:2]
    print(f"Map of a photo of {photo.shape[0]} x {photo.shape[1]} px: {height} x {width}")
    cells = rng.integers((height, width), size=(200, 2))
    patches = classifier.predict(crop(pixels, cells * STRIDE), verbose=0)
    difference = np.abs(logits[cells[:, 0], cells[:, 1]] - patches).max()
    print(f"Largest difference from the classifier, of {len(cells)} patches: {difference:.1e}")

    found = at_photo_size(probability(logits), photo.shape)
    print(f"Flower: {(found > 0.5).mean():.1%} of the pixels")
    if not args.image:
        y1, x1, y2, x2 = LEFT_OUT
        share = (found[y1:y2, x1:x2] > 0.5).mean()
        print(f"Of the box with the second flower, which no crop showed: {share:.1%}")
    save_picture(args.output, photo, found)
    print(f"Picture: {os.path.abspath(args.output)}")


def parse_args(argv=None):
    """The command line; see ``--help``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", metavar="FILE", help="a photo of your own; needs --circle")
    parser.add_argument(
        "--circle",
        type=float,
        nargs=3,
        metavar=("Y", "X", "RADIUS"),
        help="px: patches inside it are flower, those outside are not",
    )
    parser.add_argument(
        "--crops", type=int, default=500, metavar="N", help="of each class (default: 500)"
    )
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="(default: 3)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    parser.add_argument(
        "--output", default="flower.png", metavar="FILE", help="(default: flower.png)"
    )
    parser.add_argument(
        "--verbose", type=int, default=2, help="2 a line an epoch, 1 a bar, 0 nothing (default: 2)"
    )
    return parser.parse_args(argv)


def main(argv=None):
    """Run it; errors of the user's input end in one line."""
    args = parse_args(argv)
    try:
        run(args)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""An image and its label map, as a network that labels pixels is trained on them.

In here a label map is "codes": 0 is void and k + 1 is class k. So whatever comes from outside of an
image, by padding, by scale jitter or by an augmentation that turns it, is void without more ado.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mrcnn.config.network_sides import input_side, is_valid, output_side, valid_margin
from mrcnn.data.augment.copy_paste import choose_objects
from mrcnn.data.augment.jitter import place_image, place_labels, random_placement
from mrcnn.data.augment.user import Augmentation
from mrcnn.data.augment.user import augment as apply_augmentation
from mrcnn.data.images import fit_channels, mold_image
from mrcnn.data.labels import call_load_labels, is_void
from mrcnn.data.load import load_pixels, naming_image
from mrcnn.data.resize import resize_for_training, resize_labels, resized_sides

if TYPE_CHECKING:
    from mrcnn.config import SegmentationConfig
    from mrcnn.data.dataset import Dataset

logger = logging.getLogger(__name__)


class LabelSample(NamedTuple):
    """One image's part of a batch."""

    image_id: int
    image: np.ndarray  # float32 [H, W, C], minus MEAN_PIXEL, padded to what the network takes
    labels: np.ndarray  # int32 [h, w] of the network's output; IGNORE_LABEL for void


class _View(NamedTuple):
    """An image with its labels before padding."""

    image: np.ndarray  # [h, w, C], values 0..255
    codes: np.ndarray  # uint8 or uint16 [h, w]


def make_label_sample(
    dataset: Dataset,
    config: SegmentationConfig,
    image_id: int,
    augment: bool = False,
    augmentation: Augmentation | None = None,
    no_augmentation_sources: Collection[str] | None = None,
    rng: np.random.RandomState | None = None,
    training: bool = True,
) -> LabelSample | None:
    """Load an image and its label map as training needs them.

    Args:
        dataset: a prepared Dataset; its `load_labels` is given OVERLAP and CROWDS.
        config: the IMAGE_* fields and those of labels are read; with ``training`` also SCALE_JITTER
            and COPY_PASTE, which pastes the pixels of some of the other image's classes (as Olsson
            et al. 2021, "ClassMix", do with half of them).
        image_id: number of the image in the dataset.
        augment: deprecated, use `augmentation`; True mirrors every second image.
        augmentation: as of `augment.user.augment`; the masks that it is given, and moves, are one
            for each class that the image shows, the background included, and last of all one of
            void where there is some. Pixels that come from outside of the image are void.
        no_augmentation_sources: sources whose images `augmentation`, SCALE_JITTER and COPY_PASTE
            leave alone.
        rng: np.random.RandomState for all random choices; None: the global states.
        training: False leaves out SCALE_JITTER and COPY_PASTE.

    Returns:
        `LabelSample`; or None where all of the image is void, or with KEEP_EMPTY_IMAGES False also
        where the rest is background.

    Raises:
        SampleError (a ValueError): the image or its labels cannot be loaded or augmented, or are
            wrong: sizes that differ, a value that is neither a class nor void.
    """

    def load(number):
        varies = dataset.image_info[number]["source"] not in (no_augmentation_sources or ())
        with naming_image(dataset, number):
            view = _load(dataset, config, number)
            jittered = training and varies and config.SCALE_JITTER is not None
            view = _jittered(view, config, rng) if jittered else _resized(view, config, rng)
            if augment:
                logger.warning("'augment' is deprecated. Use 'augmentation' instead.")
                if random.randint(0, 1) if rng is None else rng.randint(0, 2):
                    view = _View(*map(np.fliplr, view))
            if varies and augmentation is not None:
                view = _augmented(view, augmentation, rng)
        return view, varies

    view, varies = load(image_id)
    if view.codes.max() <= (0 if config.KEEP_EMPTY_IMAGES else 1):
        return None
    if training and config.COPY_PASTE and varies:
        view = _with_pasted_classes(view, dataset, config, image_id, load, rng)
    return LabelSample(
        int(image_id),
        pad_image(mold_image(view.image, config, np.float32), config),
        _padded_labels(view.codes, config),
    )


# === Loading ===


def _load(dataset, config, image_id):
    """What the dataset returns, checked."""
    image = fit_channels(load_pixels(dataset, config, image_id), config.IMAGE_CHANNEL_COUNT)
    labels = call_load_labels(dataset, image_id, config.OVERLAP, config.CROWDS)
    if labels.shape != image.shape[:2]:
        raise ValueError(
            f"the labels are {labels.shape[0]} x {labels.shape[1]} pixels (height x width) but the "
            f"image is {image.shape[0]} x {image.shape[1]}"
        )
    return _View(image, _codes(labels, config))


def _codes(labels, config):
    count = config.NUM_CLASSES
    empty = is_void(labels, count, config.IGNORE_LABEL)
    wrong = ((labels < 0) | (labels >= count)) & ~empty
    if wrong.any():
        y, x = map(int, np.unravel_index(wrong.argmax(), labels.shape))
        raise ValueError(
            f"the labels have the value {labels[y, x]} at (y, x) = ({y}, {x}): they may have 0 to "
            f"{count - 1}, as NUM_CLASSES is {count}, and {config.IGNORE_LABEL} for void "
            "(IGNORE_LABEL)"
        )
    codes = labels.astype(np.uint8 if count <= np.iinfo(np.uint8).max else np.uint16)
    codes += 1
    codes[empty] = 0
    return codes


def _resized(view, config, rng):
    image, (y1, x1, y2, x2), scale, _, crop = resize_for_training(view.image, config, rng)
    codes = np.zeros(image.shape[:2], view.codes.dtype)
    if crop is None:
        codes[y1:y2, x1:x2] = resize_labels(view.codes, (y2 - y1, x2 - x1))
    else:
        y, x, height, width = crop
        whole = resized_sides(
            view.codes.shape[0], view.codes.shape[1], scale, config.IMAGE_RESIZE_MODE
        )
        codes[:] = resize_labels(view.codes, whole, (y, x, y + height, x + width))
    return _View(image, codes)


# === Changing ===


def _jittered(view, config, rng):
    height, width = view.codes.shape
    placement = random_placement(height, width, config, rng)
    image = place_image(view.image, placement, config.MEAN_PIXEL)
    return _View(image, place_labels(view.codes, placement))


def _augmented(view, augmentation, rng):
    """The view after a user's augmentation, whose masks are one for each code."""
    present = np.flatnonzero(np.bincount(view.codes.ravel()))
    # void last: what is void and something else, as between the two when turned, is not sure
    present = np.concatenate([present[present > 0], present[present == 0]])
    masks = np.moveaxis(view.codes == present[:, np.newaxis, np.newaxis], 0, -1)
    image, masks = apply_augmentation(view.image, masks, augmentation, rng)
    codes = np.zeros_like(view.codes)
    for number, code in enumerate(present.tolist()):
        codes[masks[..., number]] = code
    return _View(image, codes)


def _with_pasted_classes(view, dataset, config, image_id, load, rng):
    """With the probability COPY_PASTE, the view with the pixels of some classes of another random
    image of the dataset.
    """
    draw = np.random if rng is None else rng
    count = len(dataset.image_ids)
    if draw.random_sample() >= config.COPY_PASTE or count < 2:
        return view
    # any but the image itself
    other_id = dataset.image_ids[(int(image_id) + 1 + draw.randint(count - 1)) % count]
    other, _ = load(other_id)
    if other.image.shape != view.image.shape:
        raise ValueError(
            f"COPY_PASTE needs images of one size, but after IMAGE_RESIZE_MODE "
            f"{config.IMAGE_RESIZE_MODE!r} image {image_id} has the shape {view.image.shape} and "
            f"image {other_id} {other.image.shape}: use mode 'square' or 'crop'"
        )
    present = np.flatnonzero(np.bincount(other.codes.ravel()))
    classes = present[present > 1] - 1
    chosen = choose_objects(classes, np.ones(config.NUM_CLASSES), len(classes), rng)
    pasted = np.isin(other.codes, classes[chosen] + 1)
    return _View(
        np.where(pasted[..., np.newaxis], other.image, view.image),
        np.where(pasted, other.codes, view.codes),
    )


# === Padding ===


def pad_image(image: NDArray[np.float32], config: SegmentationConfig) -> NDArray[np.float32]:
    """An image with the sides that the network takes, for training and prediction alike.

    Pixel (0, 0) of the network's output belongs to pixel (0, 0) of the image. What is more, at the
    bottom and the right, is zeros, which is the mean pixel. A U-Net without padding loses a margin
    all round, so its input is the image with its mirror images around it (Ronneberger et al. 2015,
    "overlap-tile").

    Args:
        image: float32 [h, w, C], minus MEAN_PIXEL.
        config: what `network_sides.input_side` reads.

    Returns:
        float32 [H, W, C].
    """
    height, width, channels = image.shape
    sides = input_side(config, height), input_side(config, width)
    if is_valid(config):
        margin = valid_margin(len(config.UNET_WIDTHS))
        ends = [(margin, side - margin - size) for side, size in zip(sides, (height, width))]
        # "reflect" is not defined for a side of one pixel
        return np.pad(image, [*ends, (0, 0)], "symmetric")
    if sides == (height, width):
        return image
    padded = np.zeros((*sides, channels), image.dtype)
    padded[:height, :width] = image
    return padded


def _padded_labels(codes, config):
    """Labels int32 [h, w] of the network's output, for an image that is given to `pad_image`."""
    height, width = codes.shape
    sides = [output_side(config, input_side(config, side)) for side in codes.shape]
    labels = np.full(sides, config.IGNORE_LABEL, np.int32)
    np.subtract(codes, 1, out=labels[:height, :width], where=codes > 0, dtype=np.int32)
    return labels


def stack_label_samples(samples: Sequence[LabelSample]) -> list[np.ndarray]:
    """The arrays of a batch: images float32 [b, H, W, C] and labels int32 [b, h, w].

    Raises:
        ValueError: images of several sizes.
    """
    shapes = {sample.image.shape: sample.image_id for sample in samples}
    if len(shapes) > 1:
        (one, first), (other, second) = list(shapes.items())[:2]
        raise ValueError(
            f"the images of a batch must have one size, but image {first} has the shape {one} and "
            f"image {second} {other} after resizing: use IMAGE_RESIZE_MODE 'square' or 'crop', or "
            "one image per batch"
        )
    return [
        np.stack([sample.image for sample in samples]),
        np.stack([sample.labels for sample in samples]),
    ]

"""One image of a dataset with its objects: loaded, checked, resized, augmented."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mrcnn.data.augment.jitter import jitter
from mrcnn.data.augment.user import Augmentation
from mrcnn.data.augment.user import augment as apply_augmentation
from mrcnn.data.image_range import use_image_range, used_bits
from mrcnn.data.images import as_uint8_range, fit_channels
from mrcnn.data.masks import (
    binary_masks,
    each_in_one_piece,
    extract_bboxes,
    minimize_mask,
    resize_mask,
)
from mrcnn.data.resize import resize_for_training
from mrcnn.ops.image_meta import compose_image_meta

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset


logger = logging.getLogger(__name__)


class SampleError(ValueError):
    """An image or its annotation cannot be used; the message names the image."""


def describe_image(dataset: Dataset, image_id: int) -> str:
    """The image's number, source, id and path, as one phrase for messages."""
    if not 0 <= image_id < len(dataset.image_info):
        return f"image {image_id} of {len(dataset.image_info)}"
    info = dataset.image_info[image_id]
    return (
        f"image {image_id} (source {info['source']!r}, id {info['id']!r}, "
        f"path {info.get('path')!r})"
    )


def describe_error(error):
    """An error as text, with its kind where that says more than the text does."""
    kind = "" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: "
    return f"{kind}{error}"


class Prepared(NamedTuple):
    """An image with its objects at the size that the network takes, before augmentation."""

    image: np.ndarray  # [H, W, C], values 0..255
    mask: np.ndarray  # bool [H, W, N]
    class_ids: np.ndarray  # int32 [N], below 0 for crowds
    original_shape: tuple[int, ...]  # (height, width, channels) as loaded
    window: tuple[int, int, int, int]  # (y1, x1, y2, x2) px of what is not padding
    scale: float  # of the resize


class View(NamedTuple):
    """An image with its objects as it is trained on, before targets are made of them."""

    image: np.ndarray  # [H, W, C], values 0..255
    image_meta: np.ndarray  # float64 [12 + classes of the dataset]
    class_ids: np.ndarray  # int32 [N], below 0 for crowds
    masks: np.ndarray  # bool [H, W, N]


@contextlib.contextmanager
def naming_image(dataset: Dataset, image_id: int) -> Iterator[None]:
    """Raise what goes wrong as a `SampleError` that names the image."""
    try:
        yield
    except SampleError:
        raise
    except Exception as error:
        raise SampleError(
            f"Cannot load {describe_image(dataset, image_id)}: {describe_error(error)}"
        ) from error


def prepare(
    dataset: Dataset, config: Config, image_id: int, rng: np.random.RandomState | None = None
) -> Prepared:
    """Load an image with its objects, check it, and resize it as IMAGE_RESIZE_MODE says.

    Args, Raises:
        as of `load_image_gt`.

    Returns:
        `Prepared`; its objects may be without a pixel.
    """
    with naming_image(dataset, image_id):
        image, mask, class_ids = _load(dataset, config, image_id)
        resized, window, scale, padding, crop = resize_for_training(image, config, rng)
        mask = resize_mask(mask, scale, padding, crop, config.IMAGE_RESIZE_MODE)
        return Prepared(resized, mask, class_ids, image.shape, window, scale)


def prepare_jittered(
    dataset: Dataset,
    config: Config,
    image_id: int,
    rng: np.random.RandomState | None = None,
    prepared: Prepared | None = None,
) -> Prepared:
    """`prepare`, with a scale and a place that SCALE_JITTER lets be drawn.

    Args:
        prepared: the `Prepared` of this image, which is then resized once more; None: it is loaded.
    """
    with naming_image(dataset, image_id):
        if prepared is None:
            image, mask, class_ids = _load(dataset, config, image_id)
            original_shape, scale, base = image.shape, 1.0, None
        else:
            y1, x1, y2, x2 = prepared.window
            image, mask = prepared.image[y1:y2, x1:x2], prepared.mask[y1:y2, x1:x2]
            class_ids, original_shape = prepared.class_ids, prepared.original_shape
            scale, base = prepared.scale, 1
        image, mask, class_ids, placement = jitter(image, mask, class_ids, config, rng, base)
        return Prepared(
            image, mask, class_ids, original_shape, placement.window, scale * placement.scale
        )


def load_view(
    dataset: Dataset,
    config: Config,
    image_id: int,
    augment: bool = False,
    augmentation: Augmentation | None = None,
    rng: np.random.RandomState | None = None,
    prepared: Prepared | None = None,
    jittered: bool = False,
) -> View:
    """Load an image with its objects, bring it to the size that the network takes, and augment it.

    Args:
        jittered: apply SCALE_JITTER, where it is set.
        (others): as of `load_image_gt`.

    Returns:
        `View`; objects without a pixel are left out.

    Raises:
        SampleError: as `load_image_gt`.
    """
    if prepared is None and hasattr(dataset, "load_prepared"):  # a cache: `mrcnn.data.cache`
        with naming_image(dataset, image_id):
            prepared = dataset.load_prepared(image_id, config)
    if jittered and config.SCALE_JITTER is not None:
        prepared = prepare_jittered(dataset, config, image_id, rng, prepared)
    elif prepared is None:
        prepared = prepare(dataset, config, image_id, rng)
    image, mask, class_ids, original_shape, window, scale = prepared
    with naming_image(dataset, image_id):
        if augment:
            logger.warning("'augment' is deprecated. Use 'augmentation' instead.")
            if random.randint(0, 1) if rng is None else rng.randint(0, 2):
                image, mask = np.fliplr(image), np.fliplr(mask)
        if augmentation is not None:
            image, mask = apply_augmentation(image, mask, augmentation, rng)
        active = _active_classes(dataset, image_id)

    left = mask.any(axis=(0, 1))
    meta = compose_image_meta(image_id, original_shape, image.shape, window, scale, active)
    # all are there nearly always, and masks are large
    return View(image, meta, class_ids[left], mask if left.all() else mask[:, :, left])


def boxes_and_masks(
    view: View, config: Config, use_mini_mask: bool
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Boxes int32 [N, 4] px of a `View`, and its masks bool [H, W, N], or [*MINI_MASK_SHAPE, N]."""
    boxes = extract_bboxes(view.masks)
    return boxes, minimize_mask(
        boxes, view.masks, config.MINI_MASK_SHAPE
    ) if use_mini_mask else view.masks


def load_image_gt(
    dataset: Dataset,
    config: Config,
    image_id: int,
    augment: bool = False,
    augmentation: Augmentation | None = None,
    use_mini_mask: bool = False,
    rng: np.random.RandomState | None = None,
    prepared: Prepared | None = None,
) -> tuple[
    np.ndarray, NDArray[np.float64], NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]
]:
    """Load an image with its ground truth, at the size the network takes.

    SCALE_JITTER and COPY_PASTE, which are for training alone, are not applied.

    Args:
        dataset: a prepared Dataset.
        config: the IMAGE_* fields, NUM_CLASSES and MINI_MASK_SHAPE are read.
        image_id: number of the image in the dataset.
        augment: deprecated, use `augmentation`; True mirrors every second image.
        augmentation: imgaug augmenter or function (image, masks) -> (image, masks),
            applied after resizing; see mrcnn.data.augment.user.augment.
        use_mini_mask: cut the masks to their boxes and shrink them to MINI_MASK_SHAPE.
        rng: np.random.RandomState for all random choices; None uses Python's `random`
            (mirroring and random crops) and the augmenter's own state.
        prepared: the `Prepared` of this image where it is at hand; None: it is made.

    Returns:
        image: [H, W, IMAGE_CHANNEL_COUNT], values 0..255, mean not subtracted; uint8
            unless the dataset returned floats, or IMAGE_RESIZE_MODE is "fit": float32.
        image_meta: float64 [12 + classes of the dataset].
        class_ids: int32 [N], below 0 for crowds.
        bbox: int32 [N, (y1, x1, y2, x2)] in pixels, from the final masks.
        mask: bool [H, W, N], or [*MINI_MASK_SHAPE, N].
        Objects of which no pixel is left after resizing and augmentation are dropped.

    Raises:
        SampleError (a ValueError): the image or its masks cannot be loaded or
            augmented, or are wrong: sizes that differ, an id per mask missing, class
            ids out of range, NaN.
    """
    view = load_view(dataset, config, image_id, augment, augmentation, rng, prepared)
    boxes, masks = boxes_and_masks(view, config, use_mini_mask)
    return view.image, view.image_meta, view.class_ids, boxes, masks


def _load(dataset, config, image_id):
    """What the dataset returns, checked: image [h, w, C], bool [h, w, N], int32 [N]."""
    image = fit_channels(load_pixels(dataset, config, image_id), config.IMAGE_CHANNEL_COUNT)
    mask, class_ids = call_load_mask(dataset, image_id)
    limit = min(dataset.num_classes, config.NUM_CLASSES)
    return image, checked_mask(mask, class_ids, image.shape), checked_class_ids(class_ids, limit)


def load_pixels(dataset: Dataset, config: Config, image_id: int) -> np.ndarray:
    """What ``dataset.load_image`` returns, in the range 0..255 by IMAGE_RANGE.

    Without that, the first image that may hold fewer bits than it is taken for is warned of.
    """
    if config.IMAGE_RANGE is not None:
        use_image_range(dataset, config)
    image = call_load_image(dataset, image_id)
    if config.IMAGE_RANGE is None and used_bits(image) is not None:  # of a load_image of the user's
        few_bits = dataset.few_bits
        few_bits.look_at(image, describe_image(dataset, image_id))
        if not few_bits.reported:
            few_bits.reported = True
            logger.warning("Found %s", few_bits)
    return as_uint8_range(image, config.IMAGE_RANGE)


def call_load_image(dataset: Dataset, image_id: int) -> np.ndarray:
    """What ``dataset.load_image`` returns, as an array; a ValueError says that it is None."""
    image = dataset.load_image(image_id)
    if image is None:
        raise ValueError("load_image must return an array, got None")
    return np.asarray(image)


def call_load_mask(dataset: Dataset, image_id: int) -> tuple[np.ndarray, np.ndarray]:
    """What ``dataset.load_mask`` returns, as two arrays.

    Raises:
        ValueError: it returned something else.
        IndexError: of load_mask; it says what its cause usually is.
    """
    try:
        loaded = dataset.load_mask(image_id)
    except IndexError as error:
        raise IndexError(
            f"{error} (an outline that leaves the image? "
            "skimage.draw.polygon(..., shape=mask.shape[:2]) cuts it at the edge)"
        ) from error
    if not isinstance(loaded, (tuple, list)) or len(loaded) != 2:
        raise ValueError(f"load_mask must return (masks, class_ids), got {type(loaded).__name__}")
    return np.asarray(loaded[0]), np.asarray(loaded[1])


def checked_mask(
    mask: np.ndarray, class_ids: np.ndarray, image_shape: Sequence[int]
) -> NDArray[np.bool_]:
    """What load_mask returned as masks, as bool [height, width, N]; a ValueError says what is wrong
    with it.
    """
    if mask.ndim != 3:
        raise ValueError(
            f"load_mask returned masks of shape {mask.shape}; it must be [height, width, objects]"
        )
    if class_ids.ndim != 1 or len(class_ids) != mask.shape[2]:
        raise ValueError(
            f"load_mask returned {mask.shape[2]} masks but class ids of shape "
            f"{class_ids.shape}; there must be one id per mask"
        )
    if not mask.shape[2]:
        # Dataset.load_mask says "no objects" with [0, 0, 0], whatever the image's size.
        return np.zeros((*image_shape[:2], 0), dtype=bool)
    if mask.shape[:2] != image_shape[:2]:
        raise ValueError(
            f"the masks are {mask.shape[0]} x {mask.shape[1]} pixels (height x "
            f"width) but the image is {image_shape[0]} x {image_shape[1]}"
        )
    if mask.dtype.kind not in "biuf":
        raise ValueError(f"masks must be bool or numbers, got dtype {mask.dtype}")
    if mask.dtype.kind == "f" and not np.isfinite(mask).all():
        raise ValueError("the masks have values that are not finite")
    return each_in_one_piece(binary_masks(mask))


def checked_class_ids(class_ids: np.ndarray, limit: int | None) -> NDArray[np.int32]:
    """What load_mask returned as class ids, as int32 [N] of 1 .. limit - 1, or below 0 for
    crowds; with a limit of None any integers.
    """
    if not len(class_ids):
        return np.zeros(0, dtype=np.int32)
    if class_ids.dtype.kind not in "iuf" or (class_ids != np.floor(class_ids)).any():
        raise ValueError(
            f"class ids must be integers, got {class_ids.dtype} {class_ids.tolist()[:10]}"
        )
    if limit is None:
        return class_ids.astype(np.int32)
    wrong = (class_ids == 0) | (np.abs(class_ids) >= limit)
    if wrong.any():
        raise ValueError(
            f"class id {class_ids[wrong][0]} is out of range: objects have ids 1 to {limit - 1} "
            f"(0 is the background, negative ids are crowds); NUM_CLASSES and the dataset's "
            f"classes count the background"
        )
    return class_ids.astype(np.int32)


def _active_classes(dataset, image_id):
    """int32 [classes of the dataset]: 1 for those that the image's source annotates."""
    source = dataset.image_info[image_id]["source"]
    if source not in dataset.source_class_ids:
        raise ValueError(
            f"its source {source!r} has no classes: add_class is needed for "
            f"each source, then prepare()"
        )
    active = np.zeros(dataset.num_classes, dtype=np.int32)
    active[dataset.source_class_ids[source]] = 1
    return active

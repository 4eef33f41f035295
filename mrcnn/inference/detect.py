"""From images to the network's inputs, through the network, and to results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from mrcnn.config.classes import class_ids as ids_of
from mrcnn.data.image_range import FewBits
from mrcnn.data.images import as_uint8_range, fit_channels, mold_image
from mrcnn.data.resize import FIT_STEP, resize_image
from mrcnn.inference.result import Classes, Result
from mrcnn.inference.unmold import Located, locate, paste, result
from mrcnn.inference.views import merged, views
from mrcnn.ops.image_meta import compose_image_meta

if TYPE_CHECKING:
    from mrcnn.config import Config


class LimitReached(UserWarning):
    """There are as many detections on an image as DETECTION_MAX_INSTANCES allows."""


Made = TypeVar("Made")


def mold(
    image: ArrayLike, config: Config, dtype: DTypeLike = np.float64, factor: float = 1
) -> tuple[np.ndarray, NDArray[np.float64], tuple[int, int, int, int]]:
    """Resize, pad and centre one image.

    Args:
        image: [h, w] or [h, w, c], any number type: see `data.images.as_uint8_range`.
        config: a ``Config``.
        dtype: of the molded image; the network takes float32.
        factor: of the size that the config gives the image.

    Returns:
        (molded [H, W, c], image_meta [12 + classes], window (y1, x1, y2, x2) px).

    Raises:
        ValueError: the image is not an image, its molded sides are not multiples of 64 (in mode
            "fit" of 32), or IMAGE_RESIZE_MODE is "crop", which would look at a random part of it.
    """
    image = pixels_for(config, image)
    molded, window, scale = resize_as(config, image, factor)
    # P6 of "fit" may have a cell more than half of those of P5
    step = FIT_STEP if config.IMAGE_RESIZE_MODE == "fit" else 64
    if molded.shape[0] % step or molded.shape[1] % step:
        raise ValueError(
            f"IMAGE_RESIZE_MODE {config.IMAGE_RESIZE_MODE!r} gives an image of {molded.shape[:2]} "
            f"px, whose sides are not multiples of {step}: use 'square' or 'pad64'"
        )
    meta = compose_image_meta(
        0, image.shape, molded.shape, window, scale, np.zeros([config.NUM_CLASSES], np.int32)
    )
    return mold_image(molded, config, dtype), meta, window


def pixels_for(config: Config, image: ArrayLike) -> np.ndarray:
    """An image [h, w] or [h, w, c] of any number type as the network's own were: 0..255, with
    IMAGE_CHANNEL_COUNT channels.
    """
    return fit_channels(as_uint8_range(image, config.IMAGE_RANGE), config.IMAGE_CHANNEL_COUNT)


def resize_as(
    config: Config, image: np.ndarray, factor: float = 1
) -> tuple[np.ndarray, tuple[int, int, int, int], float]:
    """`resize_image` by the settings of a config, ``factor`` times as large: the image, its window
    and the scale.

    Raises:
        ValueError: IMAGE_RESIZE_MODE is "crop", which would look at a random part of the image.
    """
    if config.IMAGE_RESIZE_MODE == "crop":
        raise ValueError(
            "IMAGE_RESIZE_MODE 'crop' cuts a random part out of an image, which is for training: "
            "detect with 'square' or 'pad64'"
        )
    resized, window, scale, _, _ = resize_image(
        image,
        min_dim=config.IMAGE_MIN_DIM,
        max_dim=config.IMAGE_MAX_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        mode=config.IMAGE_RESIZE_MODE,
        fill=config.MEAN_PIXEL,
        factor=factor,
    )
    return resized, window, scale


def mold_inputs(
    images: Sequence[ArrayLike], config: Config
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.integer]]:
    """`mold` a list of images that come out at one size.

    Returns:
        (molded float64 [b, H, W, c], image_metas [b, 12 + classes], windows [b, 4]).

    Raises:
        ValueError: no image, or images of different molded sizes.
    """
    molded, metas, windows = (
        zip(*(mold(image, config) for image in images)) if len(images) else ((), (), ())
    )
    shapes = {image.shape for image in molded}
    if len(shapes) != 1:
        raise ValueError(
            f"IMAGE_RESIZE_MODE {config.IMAGE_RESIZE_MODE!r} gives images of {sorted(shapes)}: "
            "a batch needs images of one size"
            if shapes
            else "no image was given"
        )
    return np.stack(molded), np.stack(metas), np.stack(windows)


def detect(
    predict: Callable[..., tuple[np.ndarray, np.ndarray]],
    images: Sequence[np.ndarray] | np.ndarray,
    config: Config,
    classes: Classes | None = None,
    min_confidence: float | None = None,
    log: Callable[..., object] | None = None,
) -> list[Result]:
    """Find the objects in images, BATCH_SIZE of them at a time.

    With TEST_FLIPS or TEST_SCALES each image is looked at in several `views`, whose detections are
    merged.

    Args:
        predict: callable (molded [b, H, W, c], image_metas [b, 12 + classes], min_confidence=None)
            -> detections [b, n, 6] and masks [b, n, mask h, mask w], as `unmold` takes
            them; ``min_confidence`` is given where it is below DETECTION_MIN_CONFIDENCE.
        images: sequence of [h, w] or [h, w, c], of any sizes and number types.
        config: a ``Config``.
        classes, min_confidence: which objects to return; see `MaskRCNN.detect`.
        log: callable (text, array=None) for the shapes of what goes in, or None.

    Returns:
        A `Result` per image, in order.

    Raises:
        ValueError: an unknown class, a ``min_confidence`` that is no probability, or what is wrong
            with an image, by its place in the list.
    """
    check_list(images, "detect")
    wanted = _wanted(config, classes, min_confidence)
    if min_confidence is not None and min_confidence < (config.DETECTION_MIN_CONFIDENCE or 0):
        predict = partial(predict, min_confidence=min_confidence)
    if log:
        log(f"Processing {len(images)} images")
    if config.IMAGE_RANGE is None:
        warn_of_few_bits(images, "detect")
    ways = views(config)
    least = config.DETECTION_MIN_CONFIDENCE or 0.0
    if min_confidence is not None:
        least = min(least, min_confidence)
    found: list[Result] = []
    # one batch at a time, so that memory does not grow with the number of images
    for start in range(0, len(images), config.BATCH_SIZE):
        group = images[start : start + config.BATCH_SIZE]
        seen: list[list[Located]] = [[] for _ in group]
        full = [False] * len(group)
        for view in ways:
            molded, metas, windows = zip(
                *each_named(
                    partial(_molded_view, view, config),
                    group,
                    start,
                    len(images),
                )
            )
            for indices in batches_of_one_shape(molded, config.BATCH_SIZE):
                batch = np.stack([molded[index] for index in indices])
                batch_metas = np.stack([metas[index] for index in indices])
                if log:
                    log("molded_images", batch)
                    log("image_metas", batch_metas)
                for index, rows, masks in zip(indices, *predict(batch, batch_metas)):
                    shape = np.shape(group[index])
                    shapes = shape, batch.shape[1:], windows[index]
                    located = locate(rows, masks, *shapes, config.BOX_SHIFT)
                    seen[index].append(view.undone(located, shape[1]))
                    full[index] |= _is_full(rows, min_confidence)
        for image, parts, cut_off in zip(group, seen, full):
            located = parts[0]
            if len(parts) > 1:
                located = merged(parts, config, least)
                cut_off |= len(located.scores) == config.DETECTION_MAX_INSTANCES and bool(
                    (located.scores >= (min_confidence or 0)).all()
                )
            # chosen before their masks are pasted, which takes time
            located = located.take(wanted(located))
            one = result(paste(located, np.shape(image), config.MASK_PASTE), config.CLASS_NAMES)
            one.image, one.at_limit = as_seen(config, image), cut_off
            found.append(one)
    return found


def _molded_view(view, config, image):
    """`mold` of an image as a view has it, in float32."""
    return mold(view.of(np.asarray(image)), config, np.float32, view.scale)


def check_list(images: Sequence[np.ndarray] | np.ndarray, method: str) -> None:
    """Refuse a single image where a list of them is meant; ``method`` is the name of what is asked.

    Raises:
        ValueError: it is one.
    """
    if isinstance(images, np.ndarray) and images.ndim < 4:
        raise ValueError(
            f"{method} takes a list of images, got one array of shape {images.shape}: "
            f"write {method}([image])"
        )


def check_min_confidence(min_confidence: float | None) -> None:
    """Raise a ValueError for what is neither None nor a probability."""
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise ValueError(f"min_confidence is {min_confidence!r}; it must be a number from 0 to 1")


def as_seen(config: Config, image: np.ndarray) -> np.ndarray:
    """An image as it is to be drawn: in its IMAGE_RANGE, where there is one."""
    return image if config.IMAGE_RANGE is None else as_uint8_range(image, config.IMAGE_RANGE)


def _is_full(detections, min_confidence):
    """Whether detections [n, 6] leave no row free, so that others of a score as high as theirs, and
    of at least ``min_confidence``, may have been cut off.
    """
    return bool((detections[:, 4] != 0).all() and (detections[:, 5] >= (min_confidence or 0)).all())


def warn_of_limit(results: Sequence[Result], config: Config) -> None:
    """Say on how many images DETECTION_MAX_INSTANCES was reached, if on any."""
    count = sum(result.at_limit for result in results)
    if count:
        warnings.warn(
            f"on {count} of {len(results)} images there are as many detections as "
            f"DETECTION_MAX_INSTANCES = {config.DETECTION_MAX_INSTANCES} allows: more may be cut "
            "off; raise it to get them",
            LimitReached,
            stacklevel=3,
        )


def warn_of_few_bits(images: Sequence[np.ndarray] | np.ndarray, method: str) -> None:
    """Warn of images that may hold fewer bits than they are taken for; the caller of whoever called
    ``method`` is named.
    """
    few_bits = FewBits()
    for number, image in enumerate(images, 1):
        few_bits.look_at(np.asarray(image), f"image {number} of {len(images)}")
    if len(few_bits):
        warnings.warn(f"{method} got {few_bits}", stacklevel=4)


def each_named(
    function: Callable[[np.ndarray], Made],
    images: Sequence[np.ndarray] | np.ndarray,
    start: int,
    count: int,
) -> Iterator[Made]:
    """``function(image)`` of every image.

    Args:
        function: of an image.
        images: some of those that were given.
        start: place of the first of them in the list of all.
        count: length of that list.

    Raises:
        ValueError: what ``function`` raises, with the image's place in the list of all.
    """
    for number, image in enumerate(images, start + 1):
        try:
            yield function(image)
        except ValueError as error:
            raise ValueError(f"image {number} of {count}: {error}") from error


def _wanted(config, classes, min_confidence):
    """A function from `Located` detections to an index of the rows asked for."""
    check_min_confidence(min_confidence)
    class_ids = None if classes is None else ids_of(classes, config.CLASS_NAMES, config.NUM_CLASSES)

    def wanted(located):
        keep = np.ones(len(located.scores), bool)
        if class_ids is not None:
            keep &= np.isin(located.class_ids, class_ids)
        if min_confidence is not None:
            keep &= located.scores >= min_confidence
        return keep

    return wanted


def batches_of_one_shape(molded: Sequence[np.ndarray], batch_size: int) -> Iterator[list[int]]:
    """Indices of images of equal shape, at most ``batch_size`` together, in the order given."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(molded):
        by_shape.setdefault(image.shape, []).append(index)
    for indices in by_shape.values():
        for start in range(0, len(indices), batch_size):
            yield indices[start : start + batch_size]

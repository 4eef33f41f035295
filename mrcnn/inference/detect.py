"""From images to the network's inputs, and from its outputs to results in the images' pixels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from mrcnn.config.classes import class_ids as ids_of
from mrcnn.data.image_range import FewBits
from mrcnn.data.images import as_uint8_range, fit_channels, mold_image
from mrcnn.data.masks import unmold_masks
from mrcnn.data.paste import paste_masks
from mrcnn.data.resize import FIT_STEP, resize_image
from mrcnn.inference.result import Classes, Result
from mrcnn.ops.boxes_np import has_area, norm_boxes
from mrcnn.ops.image_meta import compose_image_meta

if TYPE_CHECKING:
    from mrcnn.config import Config


class LimitReached(UserWarning):
    """There are as many detections on an image as DETECTION_MAX_INSTANCES allows."""


Made = TypeVar("Made")
# The detections of one image: boxes [n, 4] px, class ids, scores, and masks [h, w, n].
Unmolded = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], np.ndarray]


class Found(NamedTuple):
    """The detections of one image, in its pixels."""

    rois: NDArray[np.int32]  # [n, 4]
    class_ids: NDArray[np.int32]  # [n]
    scores: NDArray[np.float32]  # [n]
    masks: np.ndarray  # bool [h, w, n]
    boxes: NDArray[np.float32]  # [n, 4], the rois before they are rounded


def mold(
    image: ArrayLike, config: Config, dtype: DTypeLike = np.float64
) -> tuple[np.ndarray, NDArray[np.float64], tuple[int, int, int, int]]:
    """Resize, pad and centre one image.

    Args:
        image: [h, w] or [h, w, c], any number type: see `data.images.as_uint8_range`.
        config: a ``Config``.
        dtype: of the molded image; the network takes float32.

    Returns:
        (molded [H, W, c], image_meta [12 + classes], window (y1, x1, y2, x2) px).

    Raises:
        ValueError: the image is not an image, its molded sides are not multiples of 64 (in mode
            "fit" of 32), or IMAGE_RESIZE_MODE is "crop", which would look at a random part of it.
    """
    image = pixels_for(config, image)
    molded, window, scale = resize_as(config, image)
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
    config: Config, image: np.ndarray
) -> tuple[np.ndarray, tuple[int, int, int, int], float]:
    """`resize_image` by the settings of a config: the image, its window and the scale.

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


def unmold_detections(
    detections: np.ndarray,
    mrcnn_mask: np.ndarray,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int] | np.ndarray,
    box_shift: int = 1,
    mask_paste: str = "resize",
) -> Unmolded:
    """Detections of one image in the pixels of the image as it was before molding.

    Args:
        detections: [n, 6] of (y1, x1, y2, x2, class id, score), normalised; a class id of 0
            ends the list.
        mrcnn_mask: [n, mask h, mask w, classes] probabilities.
        original_image_shape: (h, w, ...) px.
        image_shape: (H, W, ...) px of the molded image.
        window: (y1, x1, y2, x2) px, the part of the molded image that is not padding.
        box_shift, mask_paste: BOX_SHIFT and MASK_PASTE of the config.

    Returns:
        boxes int32 [m, 4] px, class ids int32 [m], scores float32 [m],
        masks bool [h, w, m] (float64 where m is 0, as the original has it).
    """
    detections = _real(detections)
    own_masks = mrcnn_mask[np.arange(len(detections)), :, :, detections[:, 4].astype(np.int32)]
    shapes = original_image_shape, image_shape, window
    return unmold_own_masks(detections, own_masks, *shapes, box_shift, mask_paste)


def unmold_own_masks(
    detections: np.ndarray,
    masks: np.ndarray,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int] | np.ndarray,
    box_shift: int = 1,
    mask_paste: str = "resize",
) -> Unmolded:
    """`unmold_detections` of masks [n, mask h, mask w], each of its detection's own class."""
    shapes = original_image_shape, image_shape, window
    return unmold(detections, masks, *shapes, box_shift, mask_paste)[:4]


def unmold(
    detections: np.ndarray,
    masks: np.ndarray,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int] | np.ndarray,
    box_shift: int = 1,
    mask_paste: str = "resize",
) -> Found:
    """`unmold_own_masks`, with the boxes as they are before they are rounded.

    With MASK_PASTE "resize" a detection whose rounded box has no area is dropped. With "padded"
    none is: its box is rounded to at least one pixel.
    """
    detections = _real(detections)
    boxes, class_ids, scores = (
        detections[:, :4],
        detections[:, 4].astype(np.int32),
        detections[:, 5],
    )
    masks = masks[: len(detections)]

    window = norm_boxes(window, image_shape[:2], box_shift)
    origin, size = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
    size[size == 0] = 1  # of one pixel
    height, width = original_image_shape[:2]
    # 0 is right for a side of one pixel, unlike in `norm_boxes`: the box stays inside
    sides = np.tile([height - box_shift, width - box_shift], 2)
    exact = (boxes - origin) / size * sides + [0, 0, box_shift, box_shift]
    rois, boxes = np.around(exact).astype(np.int32), exact.astype(np.float32)
    if mask_paste == "padded":
        rois[:, :2] = np.clip(rois[:, :2], 0, [height - 1, width - 1])
        rois[:, 2:] = np.clip(rois[:, 2:], rois[:, :2] + 1, [height, width])
    else:
        real = has_area(rois)
        rois, boxes, masks = rois[real], boxes[real], masks[real]
        class_ids, scores = class_ids[real], scores[real]
    if not len(rois):
        return Found(rois, class_ids, scores, np.empty((height, width, 0)), boxes)
    pasted = (
        paste_masks(masks, boxes, original_image_shape)
        if mask_paste == "padded"
        else unmold_masks(masks, rois, original_image_shape)
    )
    return Found(rois, class_ids, scores, pasted, boxes)


def _real(detections):
    """What comes before the first row of class 0."""
    padding = np.flatnonzero(detections[:, 4] == 0)
    return detections[: padding[0]] if len(padding) else detections


def results(
    detections: Sequence[np.ndarray] | np.ndarray,
    masks: Sequence[np.ndarray] | np.ndarray,
    originals: Sequence[Sequence[int]],
    molded_shape: Sequence[int],
    windows: Sequence[Sequence[int]] | np.ndarray,
    class_names: Sequence[str] | None = None,
    box_shift: int = 1,
    mask_paste: str = "resize",
) -> list[Result]:
    """`unmold` for a batch.

    Args:
        detections: [b, n, 6].
        masks: [b, n, mask h, mask w].
        originals: shape of each image as given.
        molded_shape: (H, W, ...) of the batch.
        windows: [b, 4] px.
        class_names: list of names by class id, or None.
        box_shift, mask_paste: BOX_SHIFT and MASK_PASTE of the config.

    Returns:
        A `Result` per image: rois int32 [m, 4], class_ids int32 [m], scores float32 [m],
        masks as `unmold_detections` gives them.
    """
    unmolded = (
        unmold(rows, own, shape, molded_shape, window, box_shift, mask_paste)
        for rows, own, shape, window in zip(detections, masks, originals, windows)
    )
    return [Result(*found[:4], class_names=class_names, boxes=found.boxes) for found in unmolded]


def detect(
    predict: Callable[..., tuple[np.ndarray, np.ndarray]],
    images: Sequence[np.ndarray] | np.ndarray,
    config: Config,
    classes: Classes | None = None,
    min_confidence: float | None = None,
    log: Callable[..., object] | None = None,
) -> list[Result]:
    """Find the objects in images, BATCH_SIZE of them at a time.

    Args:
        predict: callable (molded [b, H, W, c], image_metas [b, 12 + classes], min_confidence=None)
            -> detections [b, n, 6] and masks [b, n, mask h, mask w], as `unmold_own_masks` takes
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
    found: dict[int, Result] = {}
    # molded one batch at a time, so that memory does not grow with the number of images
    for start in range(0, len(images), config.BATCH_SIZE):
        group = images[start : start + config.BATCH_SIZE]
        molded, metas, windows = zip(
            *each_named(partial(mold, config=config, dtype=np.float32), group, start, len(images))
        )
        for indices in batches_of_one_shape(molded, config.BATCH_SIZE):
            batch = np.stack([molded[index] for index in indices])
            batch_metas = np.stack([metas[index] for index in indices])
            if log:
                log("molded_images", batch)
                log("image_metas", batch_metas)
            detections, masks = predict(batch, batch_metas)
            # chosen before their masks are pasted, which takes time
            rows = [wanted(each) for each in detections]
            for index, result in zip(
                indices,
                results(
                    [each[keep] for each, keep in zip(detections, rows)],
                    [each[keep] for each, keep in zip(masks, rows)],
                    [np.shape(group[index]) for index in indices],
                    batch.shape[1:],
                    [windows[index] for index in indices],
                    config.CLASS_NAMES,
                    config.BOX_SHIFT,
                    config.MASK_PASTE,
                ),
            ):
                result.image = as_seen(config, group[index])
                found[start + index] = result
            for index, each in zip(indices, detections):
                found[start + index].at_limit = _is_full(each, min_confidence)
    return [found[index] for index in range(len(images))]


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
    """A function from detections [n, 6] to an index of the rows asked for (padding may be among
    them).
    """
    check_min_confidence(min_confidence)
    class_ids = None if classes is None else ids_of(classes, config.CLASS_NAMES, config.NUM_CLASSES)

    def wanted(detections):
        keep = np.ones(len(detections), bool)
        if class_ids is not None:
            keep &= np.isin(detections[:, 4], class_ids)
        if min_confidence is not None:
            keep &= detections[:, 5] >= min_confidence
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

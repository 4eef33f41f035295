"""Scale jitter: each time an image is trained on it has another size, and lies elsewhere in the
input.

Ghiasi et al. 2021, "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
Segmentation", section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.data.bilinear import bilinear, bilinear_within
from mrcnn.data.masks import boxed_masks, ignore_left_overs
from mrcnn.data.resize import resize_labels, resize_scale, resized_sides, sources

if TYPE_CHECKING:
    from mrcnn.config import Config


class Placement(NamedTuple):
    """Where a resized image lies in the input of the network, px."""

    scale: float  # of the resize
    size: tuple[int, int]  # (height, width) of the resized image
    offset: tuple[int, int]  # (y, x) of its corner in the input; below 0 where it is cut off
    shape: tuple[int, int]  # (height, width) of the input
    mode: str = "square"  # IMAGE_RESIZE_MODE: "fit" resizes in its own way

    @property
    def window(self) -> tuple[int, int, int, int]:
        """(y1, x1, y2, x2) of the part of the input that is not padding."""
        top, left = (max(offset, 0) for offset in self.offset)
        bottom, right = (
            min(offset + length, side)
            for offset, length, side in zip(self.offset, self.size, self.shape)
        )
        return top, left, bottom, right

    @property
    def part(self) -> tuple[int, int, int, int]:
        """(y1, x1, y2, x2) of the part of the resized image that is in the input."""
        y, x = self.offset
        y1, x1, y2, x2 = self.window
        return y1 - y, x1 - x, y2 - y, x2 - x


def random_placement(
    height: int,
    width: int,
    config: Config,
    rng: np.random.RandomState | None = None,
    base: float | None = None,
) -> Placement:
    """Draw a size and a place for an image.

    Args:
        height, width: of the image, px.
        config: SCALE_JITTER, IMAGE_SHAPE and what decides the scale without jitter are read.
        rng: np.random.RandomState; None draws from the global np.random.
        base: the scale without jitter; None: the one that IMAGE_RESIZE_MODE gives.

    Returns:
        `Placement`: that scale times a factor from SCALE_JITTER; what is larger than the input is
        cut to it at random, what is smaller lies anywhere in it.
    """
    draw = np.random if rng is None else rng
    if base is None:
        base = resize_scale(
            height,
            width,
            config.IMAGE_MIN_DIM,
            config.IMAGE_MAX_DIM,
            config.IMAGE_MIN_SCALE,
            config.IMAGE_RESIZE_MODE,
        )
    low, high = (1, 1) if config.SCALE_JITTER is None else config.SCALE_JITTER
    scale = base * draw.uniform(low, high)
    size = resized_sides(height, width, scale, config.IMAGE_RESIZE_MODE)
    shape = int(config.IMAGE_SHAPE[0]), int(config.IMAGE_SHAPE[1])
    y, x = (
        int(np.sign(room) * draw.randint(abs(room) + 1))
        for room in (shape[0] - size[0], shape[1] - size[1])
    )
    return Placement(scale, size, (y, x), shape, config.IMAGE_RESIZE_MODE)


def place_image(image: np.ndarray, placement: Placement, mean: ArrayLike = 0) -> np.ndarray:
    """The image at its place in the input, zeros around it; in mode "fit" the mean.

    Args:
        image: [height, width, C].
        placement: `Placement`.
        mean: MEAN_PIXEL.

    Returns:
        [*placement.shape, C] of the image's dtype, and of float32 in mode "fit", resized as by
        `data.resize.resize_image`.
    """
    if placement.mode == "fit":
        fitted = np.empty((*placement.shape, image.shape[2]), np.float32)
        fitted[:] = mean
        y1, x1, y2, x2 = placement.window
        fitted[y1:y2, x1:x2] = bilinear_within(image, *placement.size, placement.part)
        return fitted
    placed = np.zeros((*placement.shape, image.shape[2]), image.dtype)
    y1, x1, y2, x2 = placement.window
    placed[y1:y2, x1:x2] = bilinear(image, *placement.size, placement.part, placed.dtype)
    return placed


def place_masks(
    mask: NDArray[np.bool_], placement: Placement
) -> tuple[NDArray[np.bool_], NDArray[np.integer], NDArray[np.float64]]:
    """The masks at their place in the input, resized as by `masks.resize_mask`, each inside its box
    only.

    Args:
        mask: bool [height, width, N].
        placement: `Placement`.

    Returns:
        placed: bool [*placement.shape, N].
        left: int [N], pixels of each object there.
        whole: float [N], pixels that it would have there if nothing were cut off.
    """
    count = mask.shape[2]
    boxes, parts = boxed_masks(mask)
    placed = np.zeros((count, *placement.shape), bool)
    left, whole = np.zeros(count, int), np.zeros(count)
    axes = _visible_axes(mask.shape, placement)
    for index, (box, part) in enumerate(zip(boxes, parts)):
        whole[index] = np.count_nonzero(part) * placement.scale**2
        # the rows, then the columns of the input whose source lies in the object's box
        spans = [np.searchsorted(source, box[axis::2]) for axis, source in enumerate(axes)]
        for axis, ((start, end), source) in enumerate(zip(spans, axes)):
            part = part.take(source[start:end] - box[axis], axis=axis)
        y, x = placement.window[:2]
        (y1, y2), (x1, x2) = spans
        placed[index, y + y1 : y + y2, x + x1 : x + x2] = part
        left[index] = np.count_nonzero(part)
    return np.moveaxis(placed, 0, -1), left, whole


def place_labels(labels: np.ndarray, placement: Placement) -> np.ndarray:
    """A label map at its place in the input, zeros around it.

    Args:
        labels: [height, width], integers.
        placement: `Placement`.

    Returns:
        [*placement.shape] of the same dtype, resized by `resize_labels`.
    """
    placed = np.zeros(placement.shape, labels.dtype)
    y1, x1, y2, x2 = placement.window
    placed[y1:y2, x1:x2] = resize_labels(labels, placement.size, placement.part)
    return placed


def _visible_axes(shape, placement):
    """The source index, rising, of the input's rows where the image lies, and of its columns."""
    axes = []
    chosen = sources(shape[0], shape[1], placement.scale, placement.mode)
    for (source, inside), start, end in zip(chosen, placement.part[:2], placement.part[2:]):
        axes.append(source[start : min(end, inside)])
    return axes


def jitter(
    image: np.ndarray,
    mask: NDArray[np.bool_],
    class_ids: NDArray[np.integer],
    config: Config,
    rng: np.random.RandomState | None = None,
    base: float | None = None,
) -> tuple[np.ndarray, NDArray[np.bool_], NDArray[np.integer], Placement]:
    """An image and its objects at a random size and place.

    Args:
        image: [height, width, C].
        mask: bool [height, width, N].
        class_ids: int32 [N].
        config, rng, base: as of `random_placement`.

    Returns:
        image: [*IMAGE_SHAPE], same dtype; float32 in mode "fit".
        mask: bool [H, W, N]; without a pixel where an object is cut off.
        class_ids: int32 [N]; of objects of which little is left see `masks.ignore_left_overs`.
        placement: `Placement`.
    """
    placement = random_placement(image.shape[0], image.shape[1], config, rng, base)
    mask, left, whole = place_masks(mask, placement)
    image = place_image(image, placement, config.MEAN_PIXEL)
    return image, mask, ignore_left_overs(class_ids, left, whole), placement

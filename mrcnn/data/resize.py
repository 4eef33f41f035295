"""Images at the size that the network takes, with the original's numbers."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from mrcnn.config.choices import RESIZE_MODES
from mrcnn.data.bilinear import bilinear, bilinear_within

if TYPE_CHECKING:
    from mrcnn.config import Config

# image, window, scale, padding, crop: see `resize_image`.
Resized: TypeAlias = tuple[
    np.ndarray,
    tuple[int, int, int, int],
    float,
    list[tuple[int, int]],
    tuple[int, int, int, int] | None,
]
# What the sides of an image in mode "fit" are padded to multiples of, px.
FIT_STEP = 32


def resize(
    image: ArrayLike,
    output_shape: Sequence[int],
    order: int = 1,
    mode: str = "constant",
    cval: float = 0,
    clip: bool = True,
    preserve_range: bool = False,
    anti_aliasing: bool = False,
    anti_aliasing_sigma: float | Sequence[float] | None = None,
    dtype: DTypeLike | None = None,
) -> np.ndarray:
    """`skimage.transform.resize` with this project's defaults: bilinear, no smoothing.

    With mode "constant", enlarging blends the outermost pixels with `cval`
    (0 darkens the edges of an image and thins a mask, though never below the
    least value of the input), as the original does: trained weights and the
    size of the masks depend on it.

    Args:
        image: [height, width] or [height, width, channels]; bool counts as 0.0 and 1.0.
        output_shape: (height, width) in pixels.
        dtype: of the result, integers cut off, not rounded; None: float64, and float32 for float32
            input.
        the rest: as in scikit-image. The defaults take a faster way to the
            same numbers; anything else goes to scikit-image.

    Returns:
        Of `output_shape` (plus channels).
        Integers are scaled to 0..1 unless `preserve_range`.

    Raises:
        ValueError: an image or a result without pixels.
    """
    image = np.asarray(image)
    if 0 in image.shape or min(output_shape) < 1:
        raise ValueError(
            f"Cannot resize an image of shape {image.shape} to {tuple(output_shape)}: "
            "both need at least one pixel"
        )
    if image.dtype == bool and order > 0:
        image = image.astype(np.float64)  # scikit-image >= 0.19 refuses bool
    plain = (
        order == 1
        and mode == "constant"
        and cval == 0
        and clip
        and not anti_aliasing
        and image.ndim in (2, 3)
        and len(output_shape) == 2
    )
    in_range = image.dtype in (np.float32, np.float64) or preserve_range
    if plain and in_range and image.dtype.kind in "iuf" and image.dtype != np.float16:
        return bilinear(image, int(output_shape[0]), int(output_shape[1]), dtype=dtype)
    from skimage.transform import resize as skimage_resize

    resized = skimage_resize(
        image,
        output_shape,
        order=order,
        mode=mode,
        cval=cval,
        clip=clip,
        preserve_range=preserve_range,
        anti_aliasing=anti_aliasing,
        anti_aliasing_sigma=anti_aliasing_sigma,
    )
    return resized if dtype is None else resized.astype(dtype)


def resize_image(
    image: ArrayLike,
    min_dim: int | None = None,
    max_dim: int | None = None,
    min_scale: float | None = None,
    mode: str = "square",
    rng: np.random.RandomState | None = None,
    fill: ArrayLike = 0,
    factor: float = 1,
) -> Resized:
    """Resize an image and pad or crop it, as `IMAGE_RESIZE_MODE` says.

    Args:
        image: [height, width, channels].
        min_dim: the shorter side is enlarged to this many pixels; only "fit" shrinks it to them.
        max_dim: "square", "rect" and "fit" only: the longer side is shrunk to this many
            pixels, which wins over `min_dim` and `min_scale`.
        min_scale: enlarge at least by this factor, also beyond `min_dim`.
        mode: "none" returns the image as it is. "square" pads with zeros to
            [max_dim, max_dim]. "rect" scales as "square" does and leaves out whole
            64 px of its padding, so that the network's grid meets the same pixels.
            "pad64" pads both sides to multiples of 64.
            "crop" cuts a random [min_dim, min_dim] out of the resized image.
            "fit" scales as torchvision's Mask R-CNN does, by the smaller of min_dim / shorter side
            and max_dim / longer side, cuts the sides off to whole pixels, and pads on the right and
            below to multiples of FIT_STEP.
        rng: np.random.RandomState for "crop"; None uses Python's `random`,
            as the original does.
        fill: "fit" only: what to pad with, a number or one for each channel. With MEAN_PIXEL
            `images.mold_image` makes exactly 0 of it.
        factor: "square", "rect" and "fit" only: the image is this many times as large as the others
            say, and so is max_dim; where that is a multiple of 64, the next one to the factor.

    Returns:
        image: same dtype; what is not an integer is cut off, not rounded. "fit" always gives
            float32, and cuts nothing off.
        window: (y1, x1, y2, x2) in pixels of the part that is not padding.
        scale: the factor of the resize, the int 1 where there was none. `resized_sides` are the
            sides that it gives.
        padding: [(top, bottom), (left, right), (0, 0)].
        crop: (y, x, height, width) in "crop", else None.

    Raises:
        ValueError: unknown mode, an image that is not 3-D or has no pixels, or
            a min_dim or max_dim that the mode cannot do with.
    """
    image = np.asarray(image)
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(
            f"resize_image needs [height, width, channels] with pixels, got shape {image.shape}"
        )
    _check_dims(mode, min_dim, max_dim)
    height, width = image.shape[:2]
    padding = [(0, 0), (0, 0), (0, 0)]
    if mode == "none":
        return image, (0, 0, height, width), 1, padding, None

    dtype = image.dtype
    scale = resize_scale(height, width, min_dim, max_dim, min_scale, mode) * factor
    if factor != 1 and mode in ("square", "rect") and max_dim:
        step = 1 if max_dim % 64 else 64
        max_dim = max(round(max_dim * factor / step), 1) * step
        scale = min(scale, max_dim / max(height, width))
    height, width = resized_sides(height, width, scale, mode)
    if mode == "fit":
        sides = [-(-side // FIT_STEP) * FIT_STEP for side in (height, width)]
        padding = [(0, sides[0] - height), (0, sides[1] - width), (0, 0)]
        padded = padded_with(fill, bilinear_within(image, height, width), padding)
        return padded, (0, 0, height, width), scale, padding, None
    if scale != 1:
        image = resize(image, (height, width), preserve_range=True, dtype=dtype)

    if mode == "crop" and min_dim:
        draw = random.randint if rng is None else lambda low, high: int(rng.randint(low, high + 1))
        y, x = draw(0, height - min_dim), draw(0, width - min_dim)
        image = image[y : y + min_dim, x : x + min_dim]
        window, crop = (0, 0, min_dim, min_dim), (y, x, min_dim, min_dim)
        return image.astype(dtype), window, scale, padding, crop

    if mode == "pad64":
        full_height, full_width = _next_64(height), _next_64(width)
    else:
        full_height = full_width = max_dim
    top, left = (full_height - height) // 2, (full_width - width) // 2
    if mode == "rect":
        top, left = top % 64, left % 64
        full_height, full_width = _next_64(top + height), _next_64(left + width)
    padding = [(top, full_height - height - top), (left, full_width - width - left), (0, 0)]
    padded = np.zeros((full_height, full_width, image.shape[2]), dtype)
    padded[top : top + height, left : left + width] = image
    return padded, (top, left, top + height, left + width), scale, padding, None


def resize_for_training(
    image: np.ndarray, config: Config, rng: np.random.RandomState | None = None
) -> Resized:
    """`resize_image` by the settings of a config, for a batch of training: the modes that give
    images of many shapes, each as little padded as can be, pad to IMAGE_SHAPE.

    Args:
        image: [height, width, IMAGE_CHANNEL_COUNT], values 0..255.
        config: the IMAGE_* fields and MEAN_PIXEL are read.
        rng: as of `resize_image`.
    """
    mode = config.IMAGE_RESIZE_MODE
    resized, window, scale, padding, crop = resize_image(
        image,
        min_dim=config.IMAGE_MIN_DIM,
        max_dim=config.IMAGE_MAX_DIM,
        min_scale=config.IMAGE_MIN_SCALE,
        mode="square" if mode == "rect" else mode,
        rng=rng,
        fill=config.MEAN_PIXEL,
    )
    if mode == "fit":
        _, _, height, width = window
        full_height, full_width = (int(side) for side in config.IMAGE_SHAPE[:2])
        padding = [(0, full_height - height), (0, full_width - width), (0, 0)]
        resized = padded_with(config.MEAN_PIXEL, resized[:height, :width], padding)
    return resized, window, scale, padding, crop


def padded_with(
    fill: ArrayLike, image: np.ndarray, padding: Sequence[tuple[int, int]]
) -> np.ndarray:
    """An image with pixels of one colour around it.

    Args:
        fill: a number, or one for each channel.
        image: [height, width, channels].
        padding: [(top, bottom), (left, right), ...], px.

    Returns:
        [top + height + bottom, left + width + right, channels], same dtype.
    """
    (top, bottom), (left, right) = padding[:2]
    height, width, channels = image.shape
    padded = np.empty((top + height + bottom, left + width + right, channels), image.dtype)
    for border in (
        padded[:top],
        padded[top + height :],
        padded[top : top + height, :left],
        padded[top : top + height, left + width :],
    ):
        border[:] = fill
    padded[top : top + height, left : left + width] = image
    return padded


def resize_labels(
    labels: np.ndarray,
    size: tuple[int, int],
    part: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """Resize a label map as `resize_image` resizes its image: each pixel has the label of the pixel
    that its centre lies in.

    `masks.resize_mask` has matterport's mapping, of aligned corners, which is up to half a pixel of
    the larger map off towards the image's edges. Mask R-CNN keeps it for its numbers' sake.

    Args:
        labels: [height, width], integers.
        size: (height, width) to resize to, px.
        part: (y1, x1, y2, x2) of the resized map to return, px; None: all.

    Returns:
        [y2 - y1, x2 - x1] of the same dtype.
    """
    y1, x1, y2, x2 = (0, 0, *size) if part is None else part
    rows = nearest_centres(len(labels), size[0])[y1:y2]
    columns = nearest_centres(labels.shape[1], size[1])[x1:x2]
    return labels[np.ix_(rows, columns)]


def nearest_centres(length: int, size: int) -> NDArray[np.intp]:
    """The source index of each of ``size`` pixels of an axis of ``length`` px that is resized: that
    of the pixel that its centre lies in.
    """
    return ((np.arange(size) + 0.5) * length / size).astype(np.intp)


def _next_64(size):
    return -(-size // 64) * 64


def _check_dims(mode, min_dim, max_dim):
    if mode not in RESIZE_MODES:
        raise ValueError(
            f"IMAGE_RESIZE_MODE {mode!r} is unknown: use one of {', '.join(RESIZE_MODES)}"
        )
    if mode in ("square", "rect", "fit") and not max_dim:
        raise ValueError(f'Resize mode "{mode}" needs IMAGE_MAX_DIM in pixels, got {max_dim}')
    if mode in ("crop", "fit") and not min_dim:
        raise ValueError(f'Resize mode "{mode}" needs IMAGE_MIN_DIM in pixels, got {min_dim}')
    if mode == "pad64" and min_dim and min_dim % 64:
        raise ValueError(
            f'Resize mode "pad64" needs an IMAGE_MIN_DIM divisible by 64, got {min_dim}'
        )


def resize_scale(
    height: int,
    width: int,
    min_dim: int | None,
    max_dim: int | None,
    min_scale: float | None,
    mode: str,
) -> float:
    """The factor by which `resize_image`, whose arguments these are, resizes an image of height and
    width.
    """
    scale: float = 1
    if mode == "none":
        return scale
    if mode == "fit":
        assert min_dim and max_dim  # `_check_dims`, and a rule of the config
        return min(max(min_dim / min(height, width), min_scale or 0), max_dim / max(height, width))
    if min_dim:
        scale = max(1, min_dim / min(height, width))
    if min_scale and scale < min_scale:
        scale = min_scale
    if mode in ("square", "rect") and max_dim and round(max(height, width) * scale) > max_dim:
        scale = max_dim / max(height, width)
    return scale


def resized_sides(height: int, width: int, scale: float, mode: str) -> tuple[int, int]:
    """The sides that an image has after its resize by a scale, px: "fit" cuts fractions off, the
    other modes round.
    """
    whole = math.floor if mode == "fit" else round
    return max(whole(height * scale), 1), max(whole(width * scale), 1)


# === Masks ===


def nearest(length: int, scale: float) -> tuple[NDArray[np.intp], int]:
    """The source index of every index of a zoomed axis, and how many lie inside.

    As scipy's zoom of order 0 does: first goes to first and last to last, but
    where rounding puts the last one a hair past the end scipy takes it as
    outside and leaves a 0 there.
    """
    size = max(round(length * scale), min(length, 1))
    step = (length - 1) / (size - 1) if size > 1 else 1.0
    position = np.arange(size) * step
    inside = int(np.count_nonzero(position <= length - 1))
    return np.minimum(np.floor(position + 0.5), length - 1).astype(np.intp), inside


def sources(height: int, width: int, scale: float, mode: str) -> list[tuple[NDArray[np.intp], int]]:
    """For the rows and for the columns of resized masks, what `nearest` gives.

    Args:
        height, width: of the masks before, px.
        scale: as `resize_image` returned it.
        mode: as `resize_image` was given it.
    """
    if mode != "fit":
        return [nearest(length, scale) for length in (height, width)]
    sides = resized_sides(height, width, scale, mode)
    return [(nearest_centres(length, side), side) for length, side in zip((height, width), sides)]

"""Image files and image geometry: read, bring to uint8 and to N channels, resize, pad.

An image is [height, width, channels], RGB order, values 0..255.
"""

from __future__ import annotations

import logging
import os
import random
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from mrcnn.common.files import AnyPath
from mrcnn.config.choices import RESIZE_MODES
from mrcnn.data.bilinear import bilinear

if TYPE_CHECKING:
    from mrcnn.config import Config


logger = logging.getLogger(__name__)

# ITU-R BT.601 luma, what Pillow and OpenCV use to turn RGB into grey.
LUMA = np.array([0.299, 0.587, 0.114])

# What image files are called, where a folder is looked through.
IMAGE_TYPES = (
    ".bmp",
    ".gif",
    ".jp2",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)

# What Pillow raises for damaged files; the last two come of damaged EXIF blocks.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, TypeError, struct.error)


# === Files ===


def read_image(path: AnyPath) -> np.ndarray:
    """Read an image file: any format that Pillow reads, and every TIFF.

    The EXIF orientation is applied, so that the pixels lie as people see and
    annotate them. Palettes become RGB or RGBA, CMYK and other colour spaces
    become RGB. The bit depth stays as stored where Pillow can keep it (it
    gives 16-bit RGB as 8-bit RGB): see `as_uint8_range`. Of a file with
    several frames or pages the first is read, with a warning.

    Args:
        path: str or path-like.

    Returns:
        [height, width] for grey (bool for 1-bit images), else [height, width,
        channels] with 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels, in
        a TIFF any number; uint8, uint16, int32, float32 or bool, in a TIFF any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, damaged, cut short or no image.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"An image path must be a string or a path, got {path!r}")
    if not os.path.exists(path):
        raise FileNotFoundError(f"Image file not found: {path}")
    if os.path.isdir(path):
        raise ValueError(f"Expected an image file, this is a folder: {path}")
    if os.path.getsize(path) == 0:
        raise ValueError(f"Image file is empty (0 bytes): {path}")
    try:
        with Image.open(path) as file:
            frames = getattr(file, "n_frames", 1)
            array = _pixels(ImageOps.exif_transpose(file), file.format)
    except UnidentifiedImageError as err:
        array, frames = _read_tiff(path, err), 1
    except (*UNREADABLE, Image.DecompressionBombError) as err:
        raise ValueError(f"Image file cannot be read: {path} ({err})") from err
    if frames > 1:
        logger.warning("%s holds %d frames: only the first is read", path, frames)
    return array


def image_size(path: AnyPath) -> tuple[int, int]:
    """The size that `read_image` gives an image file, mostly without decoding its pixels.

    Args:
        path: str or path-like.

    Returns:
        (height, width) in pixels, of the image as its EXIF orientation turns it.

    Raises:
        FileNotFoundError, ValueError: as `read_image`.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            width, height = file.size
            turned = (
                _may_have_exif(path, file.format) and file.getexif().get(0x0112, 1) >= 5
            )  # by a quarter
            if not (
                turned and file.format == "TIFF"
            ):  # some versions of Pillow have turned its size already
                return (width, height) if turned else (height, width)
    except (*UNREADABLE, Image.DecompressionBombError):
        pass
    return read_image(path).shape[:2]


def _may_have_exif(path, file_format):
    """False for a PNG without EXIF, which Pillow would decode to its end to look for it there."""
    if file_format != "PNG":
        return True
    with open(path, "rb") as file:
        content = file.read()
    return any(name in content for name in (b"eXIf", b"exif", b"adobe.xmp"))


def _read_tiff(path, pillow_error):
    """The TIFFs that Pillow does not know: many channels, float RGB, float64."""
    import tifffile  # comes with scikit-image

    try:
        return tifffile.imread(path, key=0)
    except Exception as err:  # a damaged tag can end in any exception
        cause = pillow_error if isinstance(err, tifffile.TiffFileError) else err
        raise ValueError(f"Image file cannot be read, it is damaged or no image: {path}") from cause


def _pixels(image, file_format):
    """A Pillow image as an array: grey, grey + alpha, RGB or RGB + alpha."""
    if image.mode in ("P", "PA"):
        transparent = image.mode == "PA" or "transparency" in image.info
        image = image.convert("RGBA" if transparent else "RGB")
    elif image.mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)
    elif image.mode not in ("1", "L", "LA", "RGB", "RGBA", "I", "F"):
        image = image.convert("RGB")
    array = np.array(image)
    # Pillow before 11 gives a 16-bit grey PNG as int32.
    return array.astype(np.uint16) if file_format == "PNG" and image.mode == "I" else array


# === Values and channels ===


def as_uint8_range(image: ArrayLike) -> np.ndarray:
    """Bring pixel values of any type to the range 0..255.

    =====================  ==================================================
    uint8                  unchanged
    uint16                 / 257, rounded, to uint8 (65535 becomes 255)
    other integers         to uint8: as they are where all lie in 0..255,
                           else / 257 where all lie in 0..65535
    bool                   0 and 255, uint8
    float, all in 0..1     * 255, stays float
    float, all in 0..255   unchanged
    =====================  ==================================================

    Args:
        image: array of any shape with at least one pixel.

    Returns:
        array of the same shape, uint8 or the float type given.

    Raises:
        ValueError: no pixels, NaN, infinite or out of range values, or a type
            that is no number.
    """
    image = np.asarray(image)
    if image.dtype == np.uint8:
        return image
    if image.size == 0:
        raise ValueError(f"Image has no pixels: shape {image.shape}")
    kind = image.dtype.kind
    if kind == "b":
        return image.astype(np.uint8) * np.uint8(255)
    if kind not in "iuf":
        raise ValueError(f"Image values must be numbers or bool, got dtype {image.dtype}")
    low, high = image.min(), image.max()
    limit = 255 if kind == "f" else 65535
    if not (low >= 0 and high <= limit):  # written so that NaN fails too
        raise ValueError(
            f"Image values of dtype {image.dtype} must lie in 0..{limit} and not be NaN, "
            f"got {low}..{high}"
        )
    if kind == "f":
        return image * image.dtype.type(255) if high <= 1 else image
    if image.dtype != np.uint16 and high <= 255:
        return image.astype(np.uint8)
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def fit_channels(image: ArrayLike, count: int) -> np.ndarray:
    """Give an image the number of channels that the model expects.

    Grey becomes RGB by repetition, RGB becomes grey by luminance (ITU-R
    BT.601), the alpha of grey + alpha or RGBA is dropped.

    Args:
        image: [height, width] or [height, width, channels].
        count: channels wanted, `IMAGE_CHANNEL_COUNT`.

    Returns:
        [height, width, count], same dtype.

    Raises:
        ValueError: there is no such conversion, or `image` is no image.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., np.newaxis]
    if image.ndim != 3:
        raise ValueError(
            f"An image must be [height, width] or [height, width, channels], "
            f"got shape {image.shape}"
        )
    channels = image.shape[2]
    if channels == count:
        return image
    if count in (1, 3) and channels in (1, 2, 3, 4):
        colours = image[..., :3] if channels > 2 else image[..., :1]
        if colours.shape[2] == count:
            return colours
        return np.repeat(colours, 3, axis=2) if count == 3 else _luminance(colours)
    raise ValueError(
        f"Image has {channels} channels, the model expects IMAGE_CHANNEL_COUNT = {count}: "
        f"set IMAGE_CHANNEL_COUNT = {channels} (and a MEAN_PIXEL of that length), or "
        f"return {count} channels from load_image"
    )


def _luminance(rgb):
    grey = (rgb @ LUMA)[..., np.newaxis]
    return (np.rint(grey) if rgb.dtype.kind in "iu" else grey).astype(rgb.dtype)


# === Geometry ===


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
) -> tuple[
    np.ndarray,
    tuple[int, int, int, int],
    float,
    list[tuple[int, int]],
    tuple[int, int, int, int] | None,
]:
    """Resize an image and pad or crop it, as `IMAGE_RESIZE_MODE` says.

    Args:
        image: [height, width, channels].
        min_dim: the shorter side is enlarged to this many pixels, never shrunk.
        max_dim: "square" and "rect" only: the longer side is shrunk to this many
            pixels, which wins over `min_dim` and `min_scale`.
        min_scale: enlarge at least by this factor, also beyond `min_dim`.
        mode: "none" returns the image as it is. "square" pads with zeros to
            [max_dim, max_dim]. "rect" scales as "square" does and leaves out whole
            64 px of its padding, so that the network's grid meets the same pixels.
            "pad64" pads both sides to multiples of 64.
            "crop" cuts a random [min_dim, min_dim] out of the resized image.
        rng: np.random.RandomState for "crop"; None uses Python's `random`,
            as the original does.

    Returns:
        image: same dtype; what is not an integer is cut off, not rounded.
        window: (y1, x1, y2, x2) in pixels of the part that is not padding.
        scale: the factor of the resize, the int 1 where there was none.
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
    scale = resize_scale(height, width, min_dim, max_dim, min_scale, mode)
    if scale != 1:
        height, width = max(round(height * scale), 1), max(round(width * scale), 1)
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


def _next_64(size):
    return -(-size // 64) * 64


def _check_dims(mode, min_dim, max_dim):
    if mode not in RESIZE_MODES:
        raise ValueError(
            f"IMAGE_RESIZE_MODE {mode!r} is unknown: use one of {', '.join(RESIZE_MODES)}"
        )
    if mode in ("square", "rect") and not max_dim:
        raise ValueError(f'Resize mode "{mode}" needs IMAGE_MAX_DIM in pixels, got {max_dim}')
    if mode == "crop" and not min_dim:
        raise ValueError(f'Resize mode "crop" needs IMAGE_MIN_DIM in pixels, got {min_dim}')
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
    if min_dim:
        scale = max(1, min_dim / min(height, width))
    if min_scale and scale < min_scale:
        scale = min_scale
    if mode in ("square", "rect") and max_dim and round(max(height, width) * scale) > max_dim:
        scale = max_dim / max(height, width)
    return scale


# === Mean pixel ===


def mold_image(images: ArrayLike, config: Config, dtype: DTypeLike = np.float64) -> np.ndarray:
    """Subtract the mean pixel: what goes into the network.

    Args:
        images: [..., channels], RGB, 0..255.
        config: MEAN_PIXEL is read.
        dtype: of the result, to which the float64 difference is rounded.

    Returns:
        float32 pixels minus a float64 mean, same shape.

    Raises:
        ValueError: MEAN_PIXEL has another length than the image has channels.
    """
    images = np.asarray(images).astype(np.float32)
    mean = np.asarray(config.MEAN_PIXEL, dtype=np.float64)
    if mean.size not in (1, images.shape[-1]):
        raise ValueError(
            f"MEAN_PIXEL has {mean.size} values for images of {images.shape[-1]} channels: "
            "give one value per channel (IMAGE_CHANNEL_COUNT of them)"
        )
    # a mean for a whole row: three values at a time take NumPy four times as long
    return np.subtract(
        images,
        np.resize(mean, images.shape[-2:]),
        out=np.empty(images.shape, dtype),
        casting="same_kind",
    )


def unmold_image(normalized_images: np.ndarray, config: Config) -> NDArray[np.uint8]:
    """Add the mean pixel back: the inverse of `mold_image`, cut off to uint8."""
    return (normalized_images + config.MEAN_PIXEL).astype(np.uint8)

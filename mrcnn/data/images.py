"""Image files and pixel values: read, bring to uint8 and to N channels, subtract the mean.

An image is [height, width, channels], RGB order, values 0..255.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from mrcnn.common.files import AnyPath, what_else
from mrcnn.common.words import option_or_argument
from mrcnn.data.tiff import (
    UnknownTiffError,
    as_stored,
    check_whole,
    layout,
    loses_in_pillow,
    read_tiff,
)

if TYPE_CHECKING:
    from mrcnn.config import Config


logger = logging.getLogger(__name__)

# ITU-R BT.601 luma, what Pillow and OpenCV use to turn RGB into grey.
LUMA = np.array([0.299, 0.587, 0.114])

# What image files are called, where a folder is looked through.
IMAGE_TYPES = (
    ".avif",
    ".bmp",
    ".gif",
    ".jp2",
    ".jfif",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)


# === Files ===


def read_image(
    path: AnyPath, as_stored: bool = False, indices: bool = False, mask: bool = False
) -> np.ndarray:
    """Read an image file: any format that Pillow reads, and every TIFF.

    The EXIF orientation is applied, so that the pixels lie as people see and
    annotate them. Palettes become RGB or RGBA, CMYK and other colour spaces
    become RGB, and black is 0. The bit depth stays as stored where it can be
    kept (Pillow gives 16-bit RGB other than TIFF as 8-bit RGB): see
    `as_uint8_range`. Values of 9 to 15 bits, where the file says that it has
    such (BitsPerSample or MaxSampleValue of a TIFF, sBIT of a PNG), are
    widened to 16. Of a file with several frames or pages the first is read,
    with a warning.

    Args:
        path: str or path-like.
        as_stored: leave the values of 9 to 15 bits as they are.
        indices: give the numbers of a palette's colours, as masks of ids have them.
        mask: the values are no brightness: a TIFF in which 0 is white gives them as they are
            stored, and several frames or pages, which may be an object each, are an error.

    Returns:
        [height, width] for grey (bool for 1-bit images), else [height, width,
        channels] with 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) channels, in
        a TIFF any number; uint8, uint16, int32, float32 or bool, in a TIFF any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, damaged, cut short or no image.
    """
    _require_file(path)
    return _decode(path, path, as_stored, indices, mask)


def _require_file(path):
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"An image path must be a string or a path, got {path!r}")
    if not os.path.exists(path):
        raise FileNotFoundError(f"Image file not found: {path}")
    if os.path.isdir(path):
        raise ValueError(f"Expected an image file, this is a folder: {path}")
    if not os.path.isfile(path):  # a pipe would be waited for
        raise ValueError(f"Expected an image file, this is a pipe or a device: {path}")
    if os.path.getsize(path) == 0:
        raise ValueError(f"Image file is empty (0 bytes): {path}")


def decode_image(content: bytes, what: str, as_stored: bool = False) -> np.ndarray:
    """As `read_image`, of a file's bytes; ``what`` names them in errors, a ValueError each."""
    return _decode(io.BytesIO(content), what, as_stored)


def _decode(
    file: AnyPath | IO[bytes],
    what: AnyPath,
    as_stored: bool,
    indices: bool = False,
    mask: bool = False,
) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with _stream(file) as stream, Image.open(stream) as image:
            array, frames, white = _opened(image, file, indices, mask)
    except UnidentifiedImageError as err:
        # there are TIFFs that Pillow does not know: of many channels, float RGB, float64
        try:
            array, frames, white = read_tiff(file, _most_pixels(), mask)
        except UnknownTiffError as tiff_error:
            raise ValueError(f"Image file cannot be read: {what} ({tiff_error})") from err
        except ValueError:
            known = what_else(what) if file is what else ""
            raise ValueError(
                f"Image file cannot be read, {known or 'it is damaged or no image'}: {what}"
            ) from err
    except Image.DecompressionBombError as err:
        raise ValueError(
            f"Image file has more pixels than are allowed: {what} ({err}). "
            f"{option_or_argument('--max-pixels', 'IMAGE_MAX_PIXELS')} allows more"
        ) from err
    except Exception as err:  # Pillow raises nearly any for damaged files
        raise ValueError(
            f"Image file cannot be read: {what} ({type(err).__name__}: {err})"
        ) from err
    if array.ndim not in (2, 3) or not array.size:
        raise ValueError(f"Image file has no pixels, its shape is {array.shape}: {what}")
    if frames > 1 and mask:
        raise ValueError(
            f"{what} holds {frames} frames or pages, and a mask has one: save it as one image of "
            "ids, or each object in a file of its own"
        )
    if frames > 1:
        logger.warning("%s holds %d frames: only the first is read", what, frames)
    if white is None or as_stored or array.max(initial=0) > white:
        return array
    return np.rint(array * (65535 / white)).astype(np.uint16)


def _stream(file):
    """An open file: of a path, Pillow maps uncompressed pixels into memory without the checks of
    its decoders, so that rows of a wrong length lie across each other.
    """
    return contextlib.nullcontext(file) if isinstance(file, io.BytesIO) else open(file, "rb")


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

    _require_file(path)
    try:
        with Image.open(path) as file:
            width, height = file.size
            # by a quarter turn
            turned = _may_have_exif(path, file.format) and _is_turned(file.getexif())
            # some versions of Pillow have turned its size already
            if width and height and not (turned and file.format == "TIFF"):
                return (width, height) if turned else (height, width)
    except Exception:  # Pillow raises nearly any; reading the file says what is wrong
        pass
    return read_image(path).shape[:2]


def _is_turned(exif):
    return exif.get(0x0112) in (5, 6, 7, 8)  # what is beyond 8 means nothing


def check_pixels(height: int, width: int, what: str) -> None:
    """Refuse an image by the size that an annotation file has for it; see `limit_pixels`.

    Raises:
        ValueError: naming ``what``.
    """
    if height * width > _most_pixels():
        raise ValueError(
            f"{what} has {height} x {width} px (height x width), and {_most_pixels():,} px are "
            f"allowed: {option_or_argument('--max-pixels', 'IMAGE_MAX_PIXELS')} allows more"
        )


def _most_pixels():
    """What `limit_pixels` set; infinite where somebody has set Pillow's own limit to None."""
    from PIL import Image

    return 2 * (Image.MAX_IMAGE_PIXELS or math.inf)


def limit_pixels(count: int) -> None:
    """Refuse image files of more pixels, from now on, in this process.

    Pillow, which reads them, has one limit for all, against small files that claim to be huge.

    Args:
        count: `Config.IMAGE_MAX_PIXELS`.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = -(-count // 2)  # beyond it Pillow warns, beyond twice that it raises


def _may_have_exif(path, file_format):
    """False for a PNG without EXIF, which Pillow would decode to its end to look for it there."""
    if file_format != "PNG":
        return True
    with open(path, "rb") as file:
        content = file.read()
    return any(name in content for name in (b"eXIf", b"exif", b"adobe.xmp"))


def _opened(image, file, indices, mask):
    """(pixels, number of frames, white) of a file that Pillow has opened, as `read_tiff`."""
    of_tiff = layout(image) if image.format == "TIFF" else None
    if of_tiff is not None and loses_in_pillow(image):
        try:
            return read_tiff(image.fp, _most_pixels(), mask)
        except UnknownTiffError:
            # of 16 bits the upper 8 are better than none
            if image.mode not in ("RGB", "RGBA") or of_tiff.samples != len(image.getbands()):
                raise
    if of_tiff is not None:
        check_whole(image)
    frames = getattr(image, "n_frames", 1)
    pixels = _pixels(image, indices, mask)
    if image.format == "PNG" and pixels.dtype == np.uint16:
        return pixels, frames, _white_of_png(file, pixels)
    return pixels, frames, None if of_tiff is None else of_tiff.white


def _white_of_png(file, array):
    """The largest value that the bits of a 16-bit PNG can have that its sBIT block calls
    significant; None where it says nothing, or where they are the upper ones, as they should be.
    """
    if isinstance(file, io.BytesIO):
        content = file.getvalue()
    else:
        with open(file, "rb") as stream:
            content = stream.read(2**16)
    head = content.partition(b"IDAT")[0]
    at = head.find(b"sBIT")
    bits = max(head[at + 4 : at + 4 + int.from_bytes(head[at - 4 : at], "big")], default=16)
    if at < 0 or not 8 <= bits < 16 or not (array & (2 ** (16 - bits) - 1)).any():
        return None
    return 2**bits - 1


def _pixels(image, indices, mask):
    """A Pillow image as an upright array: grey or ``indices``, grey + alpha, RGB or RGB + alpha."""
    from PIL import ImageOps

    of_tiff = layout(image) if image.format == "TIFF" else None
    whole_numbers = image.format in ("PNG", "PPM") and image.mode == "I"
    ImageOps.exif_transpose(image, in_place=True)  # without a copy of what is upright
    if indices and image.mode == "P":
        pass
    elif image.mode in ("P", "PA"):
        transparent = image.mode == "PA" or "transparency" in image.info
        image = image.convert("RGBA" if transparent else "RGB")
    elif image.mode not in ("1", "L", "LA", "RGB", "RGBA", "RGBX", "I", "F") and not (
        image.mode.startswith("I;16")
    ):
        image = image.convert("RGB")
    array = np.array(image)
    # Pillow gives a 16-bit PGM as int32, and so did it PNG before 11
    if whole_numbers or image.mode.startswith("I;16"):
        array = array.astype(np.uint16)
    return array if of_tiff is None else as_stored(array, of_tiff, mask)


# === Values and channels ===


def as_uint8_range(image: ArrayLike, image_range: Sequence[float] | None = None) -> np.ndarray:
    """Bring pixel values of any type to the range 0..255.

    With an ``image_range`` of (black, white), its ends become 0 and 255, and
    what lies beyond is cut off. Without it:

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
        image_range: `Config.IMAGE_RANGE`; uint8 and bool do not follow it.

    Returns:
        array of the same shape, uint8 or, without an ``image_range``, the float
        type given.

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
    if image_range is not None:
        return _from_range(image, image_range)
    low, high = image.min(), image.max()
    limit = 255 if kind == "f" else 65535
    if not (low >= 0 and high <= limit):  # written so that NaN fails too
        raise ValueError(
            f"Image values of dtype {image.dtype} must lie in 0..{limit} and not be NaN, "
            f"got {low}..{high}; "
            f"{option_or_argument('--image-range', 'IMAGE_RANGE')} gives another range"
        )
    if kind == "f":
        return image * image.dtype.type(255) if high <= 1 else image
    if image.dtype != np.uint16 and high <= 255:
        return image.astype(np.uint8)
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _from_range(image, image_range):
    """uint8: 0 for the first of two values, 255 for the second, rounded and cut off."""
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError("Image values must not be NaN or infinite")
    black, white = image_range
    # float64 holds the integers of 32 bits
    scaled = (image.astype(np.float64) - black) * 255 / (white - black)
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


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
        f"give images of {count} channels"
    )


def _luminance(rgb):
    grey = (rgb @ LUMA)[..., np.newaxis]
    return (np.rint(grey) if rgb.dtype.kind in "iu" else grey).astype(rgb.dtype)


# === Mean pixel ===


def mold_image(images: ArrayLike, config: Config, dtype: DTypeLike = np.float64) -> np.ndarray:
    """Subtract the mean pixel: what goes into the network.

    Args:
        images: [..., channels], RGB, 0..255.
        config: MEAN_PIXEL is read, and IMAGE_RESIZE_MODE where there is one.
        dtype: of the result, to which the float64 difference is rounded.

    Returns:
        float32 pixels minus a float64 mean, same shape; in mode "fit" a float32 mean, so that what
        it pads with, float32 as well, becomes 0.

    Raises:
        ValueError: MEAN_PIXEL has another length than the image has channels.
    """
    images = np.asarray(images).astype(np.float32)
    fits = getattr(config, "IMAGE_RESIZE_MODE", None) == "fit"
    mean = np.asarray(config.MEAN_PIXEL, np.float32 if fits else np.float64)
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

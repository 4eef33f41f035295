"""TIFF files that Pillow does not read, or not as they were written.

Pillow decodes every compression, but only some kinds of pixels: it refuses floats of 64 bits and
many channels, loses bands that it takes for extra ones, gives 16-bit RGB as 8-bit, and inverts
white-is-zero only in images of 8 bits. tifffile reads every kind of pixels, but needs the package
imagecodecs for some compressions.
"""

from __future__ import annotations

import math
import os
from typing import IO, TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument

if TYPE_CHECKING:
    from PIL import Image

# Numbers of tags and their values, as TIFF 6.0 has them.
WHITE_IS_ZERO, PALETTE, CMYK = 0, 3, 5
OTHER_COLOURS = {6: "YCbCr", 8: "CIELAB", 9: "ICCLAB", 10: "ITULAB"}
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
SEPARATE = 2  # planes, one after the other

# What turns pixels upright, by the orientation tag; the same as in EXIF.
TURNS = {
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: np.swapaxes(array, 0, 1),
    6: lambda array: np.rot90(array, -1),
    7: lambda array: np.swapaxes(array[::-1, ::-1], 0, 1),
    8: lambda array: np.rot90(array),
}


# Without these the same pixels are other ones.
OF_PIXELS = {256, 257, 258, 259, 262, 266, 274, 277, 278, 284, 317, 320, 322, 323, 339}


class Layout(NamedTuple):
    """What a TIFF says of its pixels."""

    photometric: int
    bits: int  # of a sample; the most, where they differ
    format: int  # of a sample
    samples: int  # of a pixel
    planar: int
    largest: int  # MaxSampleValue

    @property
    def dtype(self) -> np.dtype | None:
        """The dtype of the samples; None where NumPy has none, as of 12 bits."""
        kind = {SIGNED: "i", FLOAT: "f"}.get(self.format, "u")
        return np.dtype(f"{kind}{self.bits // 8}") if self.bits in (8, 16, 32, 64) else None

    @property
    def white(self) -> int | None:
        """The largest value of samples of 9 to 15 bits, by themselves or in 16; else None.

        MaxSampleValue is taken for a depth where it is the end of one: some programs write the
        largest value of the image there, which says nothing of white.
        """
        if self.format != UNSIGNED:
            return None
        depths = range(8, 16) if self.bits == 16 else ()
        stated = self.largest if self.largest in [2**bits - 1 for bits in depths] else None
        return 2**self.bits - 1 if 8 < self.bits < 16 else stated


def layout(image: Image.Image) -> Layout:
    """The `Layout` of a TIFF that Pillow has opened."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    numbers = {258: 1, 262: 1, 277: 1, 281: 0, 284: 1, 339: 1}
    found = {tag: int(np.max(tags.get(tag, default))) for tag, default in numbers.items()}
    return Layout(found[262], found[258], found[339], found[277], found[284], found[281])


def check_whole(image: Image.Image) -> None:
    """Refuse what Pillow reads of a damaged TIFF: it passes over all tags behind one that it cannot
    read, and leaves black what no strip or tile covers.

    Raises:
        ValueError: a tag that says how the pixels are stored is lost, or a part of them.
    """
    lost = (_stored_tags(image.fp) & OF_PIXELS) - set(image.tag_v2)  # type: ignore[attr-defined]
    if lost:
        raise ValueError(f"its tags {sorted(lost)} cannot be read")
    tiles = image.tile  # type: ignore[attr-defined]
    covered = sum(
        (x2 - x1) * (y2 - y1)
        for codec, (x1, y1, x2, y2), place, _ in tiles
        if codec != "raw" or place >= 8  # what lies before is the head of the file
    )
    if covered < image.width * image.height:
        raise ValueError("strips or tiles are missing")


def _stored_tags(file):
    """The numbers of the tags of the first page."""
    file.seek(0)
    head = file.read(16)
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    big = int.from_bytes(head[2:4], order) == 43
    file.seek(int.from_bytes(head[8:16] if big else head[4:8], order))
    count = int.from_bytes(file.read(8 if big else 2), order)
    size = 20 if big else 12
    entries = file.read(size * min(count, 65535))
    return {int.from_bytes(entries[at : at + 2], order) for at in range(0, len(entries), size)}


def loses_in_pillow(image: Image.Image) -> bool:
    """Whether Pillow drops or rounds something of a TIFF of several samples a pixel."""
    of_file = layout(image)
    return of_file.samples > 1 and (
        of_file.samples != len(image.getbands())
        or of_file.bits > 8
        or of_file.format != UNSIGNED
        or of_file.planar == SEPARATE
        or of_file.photometric == WHITE_IS_ZERO
    )


def as_stored(array: np.ndarray, of_file: Layout, mask: bool = False) -> np.ndarray:
    """The pixels of a TIFF of one sample a pixel, from what Pillow gives; ``mask`` as `read_tiff`.

    It gives int8 as uint8, int16 and uint32 as int32, and inverts white-is-zero of up to 8 bits.
    """
    if of_file.samples > 1 or of_file.photometric == PALETTE:
        return array
    if of_file.dtype is not None:
        array = array.astype(of_file.dtype)
    inverted = of_file.format == UNSIGNED and of_file.bits <= 8
    if inverted != mask:
        return array
    # of fewer bits than 8 Pillow makes 8
    bits = 8 if inverted else of_file.bits
    return black_is_zero(array, of_file.photometric, bits)


def black_is_zero(array: np.ndarray, photometric: int, bits: int) -> np.ndarray:
    """The pixels with 0 for black, of an image where 0 may be white."""
    if photometric != WHITE_IS_ZERO:
        return array
    if array.dtype.kind == "f":
        return array.dtype.type(1 if array.max() <= 1 else 255) - array
    if array.dtype.kind == "b":
        return ~array
    return array.dtype.type(2 ** (bits - (array.dtype.kind == "i")) - 1) - array


class UnknownTiffError(ValueError):
    """A whole file of a kind that is not read here; the message says what to do."""


def read_tiff(
    file: AnyPath | IO[bytes], most_pixels: float = math.inf, mask: bool = False
) -> tuple[np.ndarray, int, int | None]:
    """Read the first page of a TIFF of any kind of pixels.

    Args:
        file: path, or a file that is open.
        most_pixels: height x width that are allowed.
        mask: leave the values as they are stored where 0 is white: those of a mask are numbers, not
            brightness. tifffile writes every bool array as white-is-zero, with 1 for True.

    Returns:
        (upright pixels [height, width] or [height, width, channels], black at 0 unless it is a
        ``mask``, of the dtype that is stored; number of pages; `Layout.white`).

    Raises:
        UnknownTiffError: a compression for which a package is missing, colours that nobody
            converts, more axes than an image has, or more pixels than are allowed.
        ValueError: a damaged file or no TIFF.
    """
    try:
        return _first_page(file, most_pixels, mask)
    except UnknownTiffError:
        raise
    except Exception as error:  # a damaged tag can end in any exception
        raise ValueError(f"damaged or no TIFF ({error})") from error


def _first_page(file, most_pixels, mask):
    import tifffile  # comes with scikit-image

    if not isinstance(file, (str, os.PathLike)):
        file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        if page.imagelength * page.imagewidth > most_pixels:
            raise UnknownTiffError(
                f"it has {page.imagelength} x {page.imagewidth} px (height x width), and "
                f"{most_pixels:,} px are allowed: "
                + option_or_argument("--max-pixels", "IMAGE_MAX_PIXELS")
                + " allows more"
            )
        ends = np.add(page.dataoffsets, page.databytecounts)
        if len(ends) and max(ends) > tiff.filehandle.size:
            raise ValueError("it is cut short")
        # a part of which both are 0 is empty, as GDAL writes it
        half = np.equal(page.dataoffsets, 0) != np.equal(page.databytecounts, 0)
        if len(ends) != math.prod(page.chunked) or half.any():
            raise ValueError("strips or tiles are missing")
        depths = page.tags.valueof(258, default=1)
        if np.size(depths) not in (1, page.samplesperpixel):
            raise ValueError(
                f"it has the bits of {np.size(depths)} samples a pixel, and {page.samplesperpixel}"
            )
        if page.photometric in OTHER_COLOURS:
            raise UnknownTiffError(
                f"its colours are {OTHER_COLOURS[page.photometric]} of {page.bitspersample} bits; "
                "save it as RGB"
            )
        try:
            array = page.asarray()
        except ValueError as error:
            if "imagecodecs" in str(error):
                raise UnknownTiffError(
                    f"its compression needs a package: pip install imagecodecs ({error})"
                ) from error
            raise
        array = _channels_last(array, page.axes)
        if not mask:
            array = black_is_zero(array, page.photometric, page.bitspersample)
        if page.photometric == PALETTE:
            array = np.moveaxis(page.colormap[:, array], 0, -1)
        elif page.photometric == CMYK:
            array = _cmyk_to_rgb(array, page.bitspersample)
        orientation = page.tags.valueof(274, default=1)
        upright = TURNS.get(orientation, lambda array: array)(array)
        return upright, len(tiff.pages), _layout_of_page(page).white


def _layout_of_page(page):
    """The `Layout` of a page of tifffile."""
    return Layout(
        page.photometric,
        page.bitspersample,
        page.sampleformat,
        page.samplesperpixel,
        page.planarconfig,
        int(np.max(page.tags.valueof(281, default=0))),
    )


def _channels_last(array, axes):
    """An array whose axes are named as tifffile does: S for samples, Y and X."""
    if set(axes) - set("SYX"):
        raise UnknownTiffError(
            f"a page has the axes {axes}; it must have height, width and channels"
        )
    return np.moveaxis(array, axes.index("S"), -1) if "S" in axes else array


def _cmyk_to_rgb(array, bits):
    """The colours as Pillow computes them; further channels stay."""
    white = 2**bits - 1
    inks = white - array[..., :4].astype(np.int64)
    rgb = np.rint(inks[..., :3] * inks[..., 3:] / white).astype(array.dtype)
    return np.concatenate([rgb, array[..., 4:]], axis=-1)

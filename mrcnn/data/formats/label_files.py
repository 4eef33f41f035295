"""Files of label maps: values or colours, read and written."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.files import AnyPath, write_whole
from mrcnn.common.words import option_or_argument
from mrcnn.data.formats.label_layouts import Colour
from mrcnn.data.formats.mask_files import read_ids
from mrcnn.data.images import as_uint8_range, fit_channels, read_image
from mrcnn.data.labels import LARGE_VOID, VOID

# What Pascal VOC draws void in.
VOID_COLOUR = (224, 224, 192)


def read_values(path: str) -> NDArray[np.integer]:
    """The values of a file, int [height, width]."""
    colours = option_or_argument("a file", "palette or a file")
    return read_ids(
        path,
        f"that of its class, or a colour for each class, which {colours} class_dict.csv beside the "
        "label maps lists (name,r,g,b)",
    )


def read_colours(path: AnyPath) -> NDArray[np.int32]:
    """The colours of a file, int32 [height, width], each as one number."""
    pixels = fit_channels(as_uint8_range(read_image(path, mask=True)), 3).astype(np.int32)
    return (pixels[..., 0] << 16) + (pixels[..., 1] << 8) + pixels[..., 2]


def colour_of(code: int) -> Colour:
    """(red, green, blue) of a number of `read_colours`."""
    return code >> 16, (code >> 8) & 255, code & 255


# === Writing ===


def write_labels(
    path: AnyPath,
    labels: ArrayLike,
    palette: ArrayLike | None = None,
    *,
    software: str | None = None,
    durable: bool = True,
) -> None:
    """Write a label map as PNG, whole or not at all.

    Args:
        path: .png file.
        labels: [height, width], whole numbers of 0 to 65535, as `Dataset.load_labels` gives them.
        palette: uint8 [K, 3], the red, green and blue of each class from 0 on: the file then has
            the same values and, for the eye, these colours; void has Pascal VOC's. None: grey.
        software: what made it, for the file to say, or None.
        durable: as of `files.write_whole`.

    Raises:
        ValueError: no label map, another ending, or a palette for more than 256 values.
        OSError: it could not be written.
    """
    from PIL import Image, PngImagePlugin

    labels = np.asarray(labels)
    if labels.ndim != 2 or not labels.size or labels.dtype.kind not in "iu":
        raise ValueError(
            f"a label map is [height, width] of whole numbers, got {labels.dtype} of shape "
            f"{labels.shape}"
        )
    if labels.min() < 0 or labels.max() > LARGE_VOID:
        raise ValueError(
            f"a label map has 0 to {LARGE_VOID}, got {labels.min()} and {labels.max()}"
        )
    if os.path.splitext(path)[1].lower() != ".png":
        raise ValueError(f"label maps are written as .png, not as {os.fspath(path)}")
    small = labels.dtype != np.uint16 and labels.max() <= VOID
    image = Image.fromarray(labels.astype(np.uint8 if small else np.uint16))
    if palette is not None:
        image.putpalette(_palette(palette, small))
    options: dict[str, Any] = {}
    if software is not None:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Software", software)
    content = io.BytesIO()  # Pillow that writes to a full disk may cut a file off and say nothing
    image.save(content, "PNG", **options)
    write_whole(path, content.getbuffer(), durable=durable)


def _palette(palette, small):
    """The bytes of a palette of 256 colours: what is not given is grey."""
    given = np.asarray(palette)
    if not small or given.ndim != 2 or given.shape[1] != 3 or len(given) > 256:
        raise ValueError(
            "a palette has a colour, (red, green, blue), for each of 256 values at most, and label "
            f"maps of uint16 have more; got the shape {given.shape}"
        )
    table = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1)
    table[VOID] = VOID_COLOUR
    table[: len(given)] = given
    return table.tobytes()

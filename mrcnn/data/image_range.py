"""Images that hold fewer bits than their type, 10, 12 or 14 of 16, or 8: found and read."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import numpy as np

from mrcnn.common.words import option_or_argument
from mrcnn.data.images import limit_pixels, read_image

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset


logger = logging.getLogger(__name__)

# Images that are looked at before training; `Dataset.check` looks at all.
LOOKED_AT = 10
EIGHT_BIT_TYPES = (".bmp", ".gif", ".jpeg", ".jpg", ".json", ".webp")
# What cameras and microscopes give, of 16 bits.
DEPTHS = (8, 10, 12, 14)


def used_bits(pixels: np.ndarray) -> int | None:
    """The depth that would hold all values of an image that is taken for one of 16 bits.

    A dark image of 16 bits looks like an image of 12, so that this is no reason to scale it, only
    to ask.

    Args:
        pixels: of any shape, bool or numbers.

    Returns:
        8, 10, 12 or 14; None where some value needs more, where all are 0, and of types that
        `images.as_uint8_range` does not take for 16 bits.
    """
    if pixels.dtype.kind not in "iu" or pixels.dtype.itemsize < 2 or not pixels.size:
        return None
    largest = int(pixels.max())
    if largest < 1 or (pixels.dtype != np.uint16 and largest <= 255):
        return None
    return next((bits for bits in DEPTHS if largest < 2**bits), None)


class FewBits:
    """The images of a run that may hold fewer bits than they are taken for; `str()` is one line.

    Attributes:
        images: {name: `used_bits`}, each image once however often it is met.
        reported: whether a warning was given, or there was nothing to warn of.
    """

    def __init__(self) -> None:
        self.images: dict[str, int] = {}
        self.reported = False

    def look_at(self, pixels: np.ndarray, name: str) -> None:
        """Count an image if it is one of them."""
        bits = used_bits(pixels)
        if bits is not None:
            self.images[name] = bits

    def update(self, other: FewBits) -> None:
        """Count the images of another one."""
        self.images.update(other.images)

    def __len__(self) -> int:
        return len(self.images)

    def __str__(self) -> str:
        largest = 2 ** max(self.images.values(), default=8) - 1
        return (
            f"images of 16 bits without a value above {largest}: {len(self)} (first: "
            f"{next(iter(self.images), None)}). They are taken as dark; if {largest} is white, say "
            "so with "
            + option_or_argument(f"--image-range 0 {largest}", f"IMAGE_RANGE = (0, {largest})")
        )


def use_image_range(dataset: Dataset, config: Config) -> None:
    """Let the files of a dataset be read in the range of IMAGE_RANGE, up to IMAGE_MAX_PIXELS.

    Where that is None, some of the files are looked at once, and a warning says which may hold
    fewer bits than they are taken for. The images of a cache (`mrcnn.data.cache`) were read when it
    was written, and only what it was written with is compared.

    Raises:
        ValueError: the dataset has another ``image_range`` of its own, which the network would not
            know of, or is a cache of another IMAGE_RANGE.
    """
    check_settings = getattr(dataset, "check_settings", None)
    if check_settings is not None:
        check_settings(config, ["IMAGE_RANGE"])
        return
    limit_pixels(config.IMAGE_MAX_PIXELS)
    own = dataset.own_image_range
    wanted = None if config.IMAGE_RANGE is None else tuple(config.IMAGE_RANGE)
    if own is not None and (wanted is None or tuple(own) != wanted):
        raise ValueError(
            f"{type(dataset).__name__} has the image_range {tuple(own)} and the config has "
            f"IMAGE_RANGE {wanted}: set IMAGE_RANGE = {tuple(own)}, so that the network finds "
            "objects in images as it has learned them, or image_range = None to read them again"
        )
    dataset.config_image_range = wanted
    # a load_image of the user's may scale, or draw at random
    if wanted is None and type(dataset).load_image.__module__.startswith("mrcnn."):
        _warn_of_few_bits(dataset)


def _warn_of_few_bits(dataset):
    if dataset.few_bits.reported:
        return
    dataset.few_bits.reported = True
    paths = [str(info["path"]) for info in dataset.image_info if info.get("path") is not None]
    paths = [path for path in paths if not path.lower().endswith(EIGHT_BIT_TYPES)]
    looked_at = paths[:: -(-len(paths) // LOOKED_AT) or 1]
    found = FewBits()
    for path in looked_at:
        with contextlib.suppress(OSError, ValueError):  # raised where the image is wanted
            found.look_at(read_image(path), path)
    if len(found):
        logger.warning("Of %d images looked at, %s", len(looked_at), found)

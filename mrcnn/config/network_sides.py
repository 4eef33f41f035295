"""The sizes of images that the network of a ``SegmentationConfig`` takes and gives, in pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mrcnn.config.segmentation import SegmentationConfig


def stride_of(config: SegmentationConfig) -> int:
    """What the sides of an image must be multiples of, in pixels.

    For a U-Net without padding it is the step from one possible side to the next instead; see
    `input_side`.
    """
    if config.NETWORK in ("plain", "segnet"):
        return 1
    if config.NETWORK == "unet" and config.BACKBONE is None:
        return 2 ** (len(config.UNET_WIDTHS) - 1)
    return config.OUTPUT_STRIDE


def input_side(config: SegmentationConfig, side: int) -> int:
    """The least side of an input whose output covers so many pixels of an image.

    What is more than the image is padding. `output_side` says which part of it the output has: the
    middle, since as much is missing at either end.
    """
    if is_valid(config):
        return valid_input_side(side, len(config.UNET_WIDTHS))
    stride = stride_of(config)
    return -(-side // stride) * stride


def output_side(config: SegmentationConfig, side: int) -> int:
    """The side of the output for an input of so many pixels: the same, but for a U-Net without
    padding.
    """
    return side - 2 * valid_margin(len(config.UNET_WIDTHS)) if is_valid(config) else side


# === U-Net without padding ===


def is_valid(config: SegmentationConfig) -> bool:
    """Whether the network is a U-Net without padding, whose output is smaller than its input."""
    return config.NETWORK == "unet" and config.UNET_PADDING == "valid"


def skip_margin(below: int) -> int:
    """Pixels that a skip connection of a U-Net without padding loses at each end, to fit what comes
    from the levels below it.

    Each level loses two pixels at each end on the way down and on the way up, and what the levels
    below lose counts twice.
    """
    return 4 if below == 1 else 2 * (skip_margin(below - 1) + 4)


def valid_margin(levels: int) -> int:
    """Pixels that the output of a U-Net without padding lacks at each end of a side: 92 for the
    paper's five levels, whose 572 become 388.
    """
    return skip_margin(levels - 1) + 4


def valid_input_side(output_side: int, levels: int) -> int:
    """The least side that a U-Net without padding can take whose output has output_side pixels or
    more.

    Every pooling must meet an even side, so the sides are a row of steps of 2 to the number of
    levels less one: 188, 204, ... 572 ... for five levels.
    """
    step = 2 ** (levels - 1)
    least = output_side + 2 * valid_margin(levels)
    first = 4 * (step - 1)  # nothing is left at the bottom
    return first + -(-(least - first) // step) * step

"""The settings that the arguments of a command make, and the configuration of them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

from mrcnn.config import Config, SegmentationConfig
from mrcnn.config.choices import SEGMENTATION_NETWORKS
from mrcnn.config.file import parse_settings
from mrcnn.config.presets import PRESETS, preset_fields
from mrcnn.config.segmentation import NOT_READ

# The fields that have options of their own, and the names of these in the arguments; a
# command has some of them.
ARGUMENTS = {
    "NAME": "name",
    "IMAGE_MAX_DIM": "size",
    "IMAGES_PER_GPU": "batch",
    "NETWORK": "network",
    "BACKBONE": "backbone",
    "LOSS": "loss",
    "IMAGE_RANGE": "image_range",
    "IMAGE_MAX_PIXELS": "max_pixels",
    "LEARNING_RATE": "learning_rate",
    "SEED": "seed",
    "STEPS_PER_EPOCH": "steps",
    "DETECTION_MIN_CONFIDENCE": "min_confidence",
    "TILE": "tiles",
    "TILE_OVERLAP": "overlap",
}


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that the arguments of a command make, as a dict of fields: those of ``--preset``
    come first, ``--set`` comes last.
    """
    given = {field: getattr(args, argument, None) for field, argument in ARGUMENTS.items()}
    return {
        **_of_preset(getattr(args, "preset", None)),
        **{field: value for field, value in given.items() if value is not None},
        **parse_settings(getattr(args, "set", ()), SegmentationConfig),
    }


def _of_preset(name):
    """The fields of a preset but its classes, which are those of the data."""
    fields = {} if name is None else {"PRESET": name, **preset_fields(PRESETS[name])}
    return {
        field: value
        for field, value in fields.items()
        if field not in ("NUM_CLASSES", "CLASS_NAMES")
    }


def name_options(message: str, args: argparse.Namespace) -> str:
    """A message with the options of the command that set the fields which it names."""
    options = {
        field: f"--{argument.replace('_', '-')}"
        for field, argument in ARGUMENTS.items()
        if hasattr(args, argument) and re.search(rf"\b{field}\b", message)
    }
    said = [
        f"{field} is set with {option}"
        for field, option in options.items()
        if not re.search(rf"{option}\b", message)
    ]
    return f"{message}\n({'; '.join(said)})" if said else message


def config_class(fields: Mapping[str, Any]) -> type[Config]:
    """`SegmentationConfig` where the fields have a NETWORK, else `Config`: what settings are of a
    network that labels pixels, and what of Mask R-CNN.
    """
    return Config if fields.get("NETWORK") is None else SegmentationConfig


def make_config(fields: dict[str, Any], settings: dict[str, Any]) -> Config:
    """A `Config`, or `SegmentationConfig`, of the fields of a file and the settings of the command
    line, which go before.

    Raises:
        ValueError: naming every wrong field, or settings that the network does not read; or a
            preset where the fields are of another one.
    """
    made_with, preset = fields.get("PRESET", "matterport"), settings.get("PRESET")
    if preset is not None and made_with not in ("matterport", preset):
        raise ValueError(
            f"the weights' settings are of the preset {made_with!r}, on which {preset!r} would "
            "leave a mixture of both: leave --preset out, and change fields with --set"
        )
    fields = {**fields, **settings}
    kind = config_class(fields)
    _refuse_unread(kind, fields.get("NETWORK"), settings)
    largest = fields.get("IMAGE_MAX_DIM")
    smallest = fields.get("IMAGE_MIN_DIM", Config.IMAGE_MIN_DIM)
    if (
        "IMAGE_MAX_DIM" in settings
        and "IMAGE_MIN_DIM" not in settings
        and isinstance(largest, int)
        and smallest
    ):
        fields["IMAGE_MIN_DIM"] = min(smallest, largest)
    return kind.from_dict(fields)


def _refuse_unread(kind, network, settings):
    """Raise where settings are of the other kind of network."""
    if kind is SegmentationConfig:
        unread = [field for field in settings if field in NOT_READ]
        why = f"Mask R-CNN alone reads this, and NETWORK is {network!r}"
    else:
        own = SegmentationConfig.field_defaults().keys() - Config.field_defaults()
        unread = [field for field in settings if field in own]
        why = (
            "networks that label pixels alone read this: name one with --network, such as "
            f"{' or '.join(SEGMENTATION_NETWORKS)}"
        )
    if unread:
        raise ValueError(f"{', '.join(unread)}: {why}")

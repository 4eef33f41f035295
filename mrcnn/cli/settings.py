"""The settings that the arguments of a command make, and the Config of them."""

from __future__ import annotations

import argparse
import re
from typing import Any

from mrcnn.config import Config
from mrcnn.config.file import parse_settings

# The fields of Config that have options of their own, and the names of these in the arguments; a
# command has some of them.
ARGUMENTS = {
    "NAME": "name",
    "IMAGE_MAX_DIM": "size",
    "IMAGES_PER_GPU": "batch",
    "BACKBONE": "backbone",
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
    """The settings that the arguments of a command make, as a dict of fields; ``--set`` comes
    last.
    """
    given = {field: getattr(args, argument, None) for field, argument in ARGUMENTS.items()}
    return {
        **{field: value for field, value in given.items() if value is not None},
        **parse_settings(getattr(args, "set", ())),
    }


def name_options(message: str, args: argparse.Namespace) -> str:
    """A message with the options of the command that set the fields of Config which it names."""
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


def make_config(fields: dict[str, Any], settings: dict[str, Any]) -> Config:
    """A `Config` of the fields of a file and the settings of the command line, which go before.

    Raises:
        ValueError: naming every wrong field.
    """
    fields = {**fields, **settings}
    largest = fields.get("IMAGE_MAX_DIM")
    smallest = fields.get("IMAGE_MIN_DIM", Config.IMAGE_MIN_DIM)
    if (
        "IMAGE_MAX_DIM" in settings
        and "IMAGE_MIN_DIM" not in settings
        and isinstance(largest, int)
        and smallest
    ):
        fields["IMAGE_MIN_DIM"] = min(smallest, largest)
    return Config.from_dict(fields)

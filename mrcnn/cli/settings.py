"""The settings that the arguments of a command make, and the Config of them."""

from __future__ import annotations

import argparse
from typing import Any

from mrcnn.config import Config
from mrcnn.config.file import parse_settings


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that the arguments of `add_model` make, as a dict of fields; ``--set`` comes
    last.
    """
    settings = {}
    for field, value in (
        ("NAME", args.name),
        ("IMAGE_MAX_DIM", args.size),
        ("IMAGES_PER_GPU", args.batch),
        ("BACKBONE", args.backbone),
        ("IMAGE_RANGE", args.image_range),
        ("IMAGE_MAX_PIXELS", args.max_pixels),
    ):
        if value is not None:
            settings[field] = value
    return {**settings, **parse_settings(args.set)}


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

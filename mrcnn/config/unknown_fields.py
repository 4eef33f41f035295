"""Warnings of upper-case attributes that the model does not read."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from typing import Any

# Fields of the original's first version, and what took their place.
RETIRED_FIELDS = {
    "IMAGE_PADDING": 'IMAGE_RESIZE_MODE = "square" pads, "none" does not',
    "BACKBONE_SHAPES": "the shapes follow from BACKBONE_STRIDES, "
    "or from COMPUTE_BACKBONE_SHAPE for a callable BACKBONE",
}


def warn_unknown_fields(config: Any, known: Sequence[str]) -> None:
    """Warn of retired fields and of those that look like a misspelt one.

    Args:
        config: instance of `Config`.
        known: names of its fields. Other upper-case names belong to the user and pass.
    """
    for name in dir(config):
        if not name.isupper() or name.startswith("_") or name in known:
            continue
        owner = type(config).__name__
        if name in RETIRED_FIELDS:
            warnings.warn(f"{owner}.{name} does nothing: {RETIRED_FIELDS[name]}", stacklevel=4)
            continue
        meant = [field for field in known if _looks_like(name, field)]
        if meant:
            warnings.warn(
                f"{owner}.{name} is not a field that the model reads; "
                f"did you mean {' or '.join(meant)}?",
                stacklevel=4,
            )


def _looks_like(name: str, field: str) -> bool:
    """True for a typing error, word by word: "TEST_ROIS" is not a misspelt "TRAIN_ROIS".

    `common.words.closest` compares whole names, which is too generous where nothing says that the
    name was meant to be a known one.
    """
    if name.replace("_", "") == field.replace("_", ""):
        return True
    words, field_words = name.split("_"), field.split("_")
    if len(words) != len(field_words) or len(name) < 7:
        return False
    return all(
        difflib.SequenceMatcher(None, a, b).ratio() > 0.7 for a, b in zip(words, field_words)
    )

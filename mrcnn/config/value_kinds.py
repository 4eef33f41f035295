"""Kinds of values that the fields of a `Config` have: predicates, and what makes new ones."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Kind = Callable[[Any], bool]


def is_int(value: Any) -> bool:
    """Whether it is a whole number; True and False are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    """Whether it is a whole number of at least 1."""
    return is_int(value) and value >= 1


def is_number(value: Any) -> bool:
    """Whether it is a finite number; True and False are not."""
    try:
        return (
            isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
        )
    except OverflowError:  # an int that no float can hold
        return False


def is_positive(value: Any) -> bool:
    """Whether it is a finite number above 0."""
    return is_number(value) and value > 0


def is_not_negative(value: Any) -> bool:
    """Whether it is a finite number of at least 0."""
    return is_number(value) and value >= 0


def is_share(value: Any) -> bool:
    """Whether it is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1


def is_positive_share(value: Any) -> bool:
    """Whether it is a number above 0 and at most 1."""
    return is_share(value) and value > 0


def is_switch(value: Any) -> bool:
    """Whether it is True or False, or 0 or 1, which equal them and ran in the original."""
    return isinstance(value, (numbers.Integral, np.bool_)) and value in (0, 1)


def is_text(value: Any) -> bool:
    """Whether it is a str."""
    return isinstance(value, str)


def is_options(value: Any) -> bool:
    """Whether it is a dict whose keys are str."""
    return isinstance(value, dict) and all(map(is_text, value))


def numbers_in(value: Any) -> list | None:
    """`value` as a list when it is a flat sequence of finite numbers, else None."""
    if not isinstance(value, (list, tuple, np.ndarray)):
        return None
    items = list(value)
    return items if all(is_number(item) for item in items) else None


def is_rising(value: Any) -> bool:
    """Whether it is a flat sequence of numbers, each above the one before; it may be empty."""
    items = numbers_in(value)
    return items is not None and sorted(set(items)) == items


def optional(kind: Kind) -> Kind:
    """None, or a value of a kind."""
    return lambda value: value is None or kind(value)


def int_between(low: int, high: float) -> Kind:
    """A whole number, both ends included."""
    return lambda value: is_int(value) and low <= value <= high


def several(kind: Kind, length: int | None = None) -> Kind:
    """A sequence of numbers of a kind: ``length`` of them, or at least one."""

    def holds(value: Any) -> bool:
        items = numbers_in(value)
        return (
            items is not None
            and len(items) > 0
            and (length is None or len(items) == length)
            and all(kind(item) for item in items)
        )

    return holds


def one_of(names: Sequence[str]) -> Kind:
    """One of some names."""
    return lambda value: is_text(value) and value in names


def function_or(names: Sequence[str]) -> Kind:
    """A callable or one of some names.

    A text with a colon passes too: it is what config.json keeps of a callable, whose settings can
    be read, but not trained with, until the callable itself is given again.
    """
    return lambda value: callable(value) or (is_text(value) and (value in names or ":" in value))

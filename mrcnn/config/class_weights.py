"""CLASS_WEIGHTS as one factor per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mrcnn.config.classes import class_ids
from mrcnn.config.value_kinds import is_not_negative


def class_weights(config: Any) -> list[float] | None:
    """The factor of each class in the heads' class loss.

    Args:
        config: a `Config`; CLASS_WEIGHTS, CLASS_NAMES and NUM_CLASSES are read.

    Returns:
        list of NUM_CLASSES floats; None where CLASS_WEIGHTS is None.
    """
    return class_factors(config.CLASS_WEIGHTS, config.CLASS_NAMES, config.NUM_CLASSES)


def class_factors(
    weights: dict[int | str, float] | None, names: Sequence[str] | None, count: int
) -> list[float] | None:
    """The same, from the three fields.

    Raises:
        ValueError: ``weights`` is no dict, names a class that does not exist, or one twice, or a
            factor is wrong.
    """
    if weights is None:
        return None
    if not isinstance(weights, dict):
        raise ValueError(
            f"CLASS_WEIGHTS is {weights!r}; it must be None or a dict of class ids or names and "
            "factors"
        )
    factors: dict[int, float] = {}
    for key, factor in weights.items():
        choice = key
        # JSON has ids as text; a name that is a number stays the name
        if isinstance(key, str) and key.isdecimal() and key not in (names or ()):
            choice = int(key)
        try:
            chosen = class_ids([choice], names, count, first=0)
        except ValueError as error:
            raise ValueError(f"CLASS_WEIGHTS has the key {key!r}: {error}") from None
        if not is_not_negative(factor):
            raise ValueError(
                f"CLASS_WEIGHTS[{key!r}] is {factor!r}; it must be a finite number of at least 0"
            )
        for found in chosen:
            if found in factors:
                raise ValueError(f"CLASS_WEIGHTS has class {found} twice, once as {key!r}")
            factors[found] = float(factor)
    return [factors.get(found, 1.0) for found in range(count)]

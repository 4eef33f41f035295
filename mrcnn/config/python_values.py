"""Python's numbers in place of NumPy's, which neither JSON nor Keras' files take."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np


def python_value(value: Any) -> Any:
    """A value with Python's own numbers, bools and texts, those in containers included.

    Args:
        value: anything. Numbers of other packages, such as a `fractions.Fraction`, are converted
            too; arrays with axes and all else stay as they are.

    Returns:
        ``value`` itself where there is nothing to convert.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.str_):
        return str(value)
    if isinstance(value, np.generic) or not isinstance(value, (int, float)):
        if isinstance(value, numbers.Integral):
            return int(value)
        if isinstance(value, numbers.Real):
            return float(value)
    if isinstance(value, dict):
        pairs = {python_value(key): python_value(item) for key, item in value.items()}
        changed = any(
            key is not old_key or item is not old
            for (key, item), (old_key, old) in zip(pairs.items(), value.items())
        )
        return pairs if changed else value
    if isinstance(value, (list, tuple)):
        items = [python_value(item) for item in value]
        if any(item is not old for item, old in zip(items, value)):
            return items if isinstance(value, list) else tuple(items)
    return value


def convert_attributes(config: Any, defaults: dict[str, Any]) -> None:
    """Give an object the `python_value` of each of its public attributes.

    Its classes and what it has of them stay as they are, and so do properties and arrays, but for
    the array of a field whose default is none: it becomes a list, or a tuple where the default is
    one.

    Args:
        config: a `Config`, also with attributes of the user's own.
        defaults: of the fields, by name.
    """
    attributes: dict[str, Any] = {}
    for owner in reversed(type(config).__mro__):
        attributes.update(vars(owner))
    attributes.update(vars(config))
    for name, value in attributes.items():
        if name.startswith("_"):
            continue
        new = python_value(value)
        if isinstance(new, np.ndarray) and name in defaults:
            default = defaults[name]
            if not isinstance(default, np.ndarray):
                new = python_value(new.tolist())
                new = tuple(new) if isinstance(default, tuple) else new
        if new is not value:
            setattr(config, name, new)

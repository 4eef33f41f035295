"""Kinds of values that the fields of a `Config` have."""

import math
import numbers

import numpy as np


def is_int(value):
    """Whether it is a whole number; True and False are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_count(value):
    """Whether it is a whole number of at least 1."""
    return is_int(value) and value >= 1


def is_number(value):
    """Whether it is a finite number."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def numbers_in(value):
    """`value` as a list when it is a flat sequence of finite numbers, else None."""
    if not isinstance(value, (list, tuple, np.ndarray)):
        return None
    items = list(value)
    return items if all(is_number(item) for item in items) else None

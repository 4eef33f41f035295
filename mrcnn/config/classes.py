"""Classes by id and by name."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence

from mrcnn.common.words import closest
from mrcnn.config.value_kinds import is_int


def numbered_names(count: int) -> list[str]:
    """Names for ``count`` classes without names, the background's first."""
    return ["BG", *(f"class {number}" for number in range(1, count))]


# What the background may be called, whatever its name, where it may be asked for.
_BACKGROUND = ("background", "bg")


def class_ids(
    classes: int | str | Iterable[int | str],
    names: Sequence[str] | None = None,
    count: int | None = None,
    first: int = 1,
) -> list[int]:
    """The ids of a class or of several, given by id or by name.

    Args:
        classes: id or name, or several of them; a name stands for all classes that have it.
        names: of the classes by id, background first; None: only ids are known.
        count: number of classes with the background, where ``names`` is None; None: unknown.
        first: least id that may be given; 0 allows the background, "background" or "BG".

    Returns:
        list of ids, in the order given.

    Raises:
        ValueError: an unknown class, with the names that come near it, or a name where none are
            known.
    """
    several = [classes] if isinstance(classes, (str, int, numbers.Integral)) else classes
    return [
        found
        for choice in several
        for found in (
            _called(choice, names, first)
            if isinstance(choice, str)
            else [_checked(choice, count if names is None else len(names), first)]
        )
    ]


def _called(name, names, first):
    """The ids of the classes of a name."""
    if first == 0 and name.lower() in _BACKGROUND and name not in (names or ()):
        return [0]
    if names is None:
        raise ValueError(
            f"class {name!r}: the names of the classes are not known; give class ids, or set "
            "CLASS_NAMES in the config"
        )
    known = list(names[first:])
    if name in known:
        return [number for number, other in enumerate(known, first) if other == name]
    near = closest(name, known)
    raise ValueError(
        f"there is no class {name!r}; "
        + (
            f"did you mean {' or '.join(map(repr, near))}?"
            if near
            else f"the classes are {', '.join(known)}"
        )
    )


def _checked(number, count, first):
    """A class id that exists."""
    if not is_int(number):
        raise ValueError(f"a class is an id or a name, got {number!r}")
    if number < first or (count is not None and number >= count):
        last = "" if count is None else f" to {count - 1}"
        raise ValueError(
            f"there is no class {number}: class ids go from {first}{last}, 0 is the background"
        )
    return int(number)

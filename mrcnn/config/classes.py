"""Classes by id and by name."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence

from mrcnn.common.words import closest
from mrcnn.config.value_kinds import is_int


def numbered_names(count: int) -> list[str]:
    """Names for ``count`` classes without names, the background's first."""
    return ["BG", *(f"class {number}" for number in range(1, count))]


def class_id(
    choice: int | str,
    names: Sequence[str] | None = None,
    count: int | None = None,
    first: int = 1,
) -> int:
    """The id of a class given by id or by name.

    Args:
        choice: id or name.
        names: of the classes by id, background first; None: only ids are known.
        count: number of classes with the background, where ``names`` is None; None: unknown.
        first: least id that may be given; 0 allows the background.

    Raises:
        ValueError: an unknown class, with the names that come near it, or a name where none are
            known.
    """
    if isinstance(choice, str):
        if names is None:
            raise ValueError(
                f"class {choice!r}: the names of the classes are not known; give class ids, or set "
                "CLASS_NAMES in the config"
            )
        known = list(names[first:])
        if choice in known:
            return known.index(choice) + first
        near = closest(choice, known)
        raise ValueError(
            f"there is no class {choice!r}; "
            + (
                f"did you mean {' or '.join(map(repr, near))}?"
                if near
                else f"the classes are {', '.join(known)}"
            )
        )
    if not is_int(choice):
        raise ValueError(f"a class is an id or a name, got {choice!r}")
    count = count if names is None else len(names)
    if choice < first or (count is not None and choice >= count):
        last = "" if count is None else f" to {count - 1}"
        raise ValueError(
            f"there is no class {choice}: class ids go from {first}{last}, 0 is the background"
        )
    return int(choice)


def class_ids(
    classes: int | str | Iterable[int | str],
    names: Sequence[str] | None = None,
    count: int | None = None,
) -> list[int]:
    """The ids of a class or of several, given by id or by name; see `class_id`."""
    several = [classes] if isinstance(classes, (str, int, numbers.Integral)) else classes
    return [class_id(choice, names, count) for choice in several]

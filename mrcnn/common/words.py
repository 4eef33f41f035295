"""Words for messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that look like a misspelt one, best first, whatever their case."""
    by_lower: dict[str, list[str]] = {}
    for candidate in known:
        by_lower.setdefault(candidate.lower(), []).append(candidate)
    near = difflib.get_close_matches(name.lower(), by_lower)
    return [candidate for lower in near for candidate in by_lower[lower]]


def some(names: Iterable[object], limit: int = 10) -> str:
    """The first names with commas between, and how many more there are."""
    shown = [str(name) for name in names]
    more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + more

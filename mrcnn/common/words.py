"""Words for messages."""

from __future__ import annotations

import contextlib
import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

# Whether who reads the messages has run a command, and knows its options.
_options_are_named = False
# Of these options, those that others stand in for: see `renamed_options`.
_renamed: Mapping[str, str] = {}


@contextlib.contextmanager
def naming_options() -> Iterator[None]:
    """Inside of it `option_or_argument` gives options, as in a command."""
    global _options_are_named
    outer, _options_are_named = _options_are_named, True
    try:
        yield
    finally:
        _options_are_named = outer


@contextlib.contextmanager
def renamed_options(names: Mapping[str, str]) -> Iterator[None]:
    """Inside of it `option_or_argument` gives other options in place of some.

    Args:
        names: {option: the one in its place}, such as {"--masks": "--val-masks"} while the second
            data set of a command is opened.
    """
    global _renamed
    outer, _renamed = _renamed, names
    try:
        yield
    finally:
        _renamed = outer


def option_or_argument(option: str, argument: str) -> str:
    """What a message calls something that the user chooses.

    Args:
        option: for who has run a command, such as "--skip-missing".
        argument: for who has called a function, such as "skip_missing=True".
    """
    if not _options_are_named:
        return argument
    return re.sub(r"--[\w-]+", lambda found: _renamed.get(found[0], found[0]), option)


def closest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that look like a misspelt one, best first, whatever their case."""
    by_lower: dict[str, list[str]] = {}
    for candidate in known:
        by_lower.setdefault(candidate.lower(), []).append(candidate)
    near = difflib.get_close_matches(name.lower(), by_lower)
    return [candidate for lower in near for candidate in by_lower[lower]]


def some(names: Iterable[object], limit: int = 10) -> str:
    """The first names with commas between, and how many more there are."""
    shown = [on_one_line(str(name)) for name in names]
    more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + more


def on_one_line(text: str) -> str:
    """A name as it may be shown: line ends, escape characters and what else has no picture of its
    own come out as Python writes them, such as ``\\n``.

    A terminal would obey them, and no font can draw them.
    """
    return "".join(letter if _has_picture(letter) else _escaped(letter) for letter in text)


def without_escapes(text: str) -> str:
    """A text of several lines with each as `on_one_line` gives it."""
    return "\n".join(map(on_one_line, text.split("\n")))


def _has_picture(letter):
    # beside spaces other than " " the joiners that Arabic, Indic scripts and emoji are written with
    return letter.isprintable() or unicodedata.category(letter) == "Zs" or letter in "\u200c\u200d"


def _escaped(letter):
    return letter.encode("unicode_escape").decode("ascii")

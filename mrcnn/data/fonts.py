"""Fonts that have the characters of a text: names of classes come in every script.

DejaVu Sans has Latin, Greek, Cyrillic, Arabic and more. For what it lacks, such as Chinese,
Japanese and Korean, the fonts that are installed are looked through, as matplotlib lists them.
"""

from __future__ import annotations

import functools
import os
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from PIL.ImageFont import FreeTypeFont

DEFAULT = "DejaVuSans.ttf"
# Words in the names of fonts that are made to be read on a screen; earlier ones are preferred.
PREFERRED = ("noto sans", "source han sans", "wenquanyi", "yahei", "pingfang", "gothic", "sans")


def load_font(size: int, path: str | None = None) -> FreeTypeFont:
    """A font of Pillow's.

    Args:
        size: in px.
        path: of its file; None: DejaVu Sans, the system's or matplotlib's own.
    """
    from PIL import ImageFont

    try:
        return ImageFont.truetype(path or DEFAULT, size)
    except OSError:
        return ImageFont.truetype(_file_of_matplotlib(), size)


def font_file(text: str) -> tuple[str | None, bool]:
    """The file of a font for a text.

    Returns:
        (path, whether the font has all characters of the text); the path is None for the default
        font, which is taken too where no font has them.
    """
    characters = frozenset(text)
    if text.isascii() or characters <= _of_default(characters):
        return None, True
    found = _installed(characters)
    return found and found[0], found is not None


def use_fonts_that_show(artist: Artist) -> None:
    """Give the texts of a matplotlib figure, or of a part of one, fonts with their characters."""
    from matplotlib.text import Text

    for text in artist.findobj(Text):
        if not text.get_text().isascii():
            text.set_fontfamily(_families(text.get_text()))


def drawable(text: str, instead: str) -> str:
    """``text``, or ``instead`` where no font has its characters, which is told once a text."""
    if font_file(text)[1]:
        return text
    _warn(text, instead)
    return instead


@functools.cache
def _warn(text, instead):
    warnings.warn(
        f"no font on this machine has the characters of {text!r}: pictures say {instead!r}. "
        "Install one that has them, such as Noto Sans CJK for Chinese, Japanese and Korean",
        stacklevel=3,
    )


def _of_default(characters):
    """Those that the default font has."""
    return frozenset(character for character in characters if _default_has(character))


@functools.cache
def _default_has(character):
    font = _default()
    return character.isspace() or bytes(font.getmask(character)) != _box()


@functools.cache
def _default():
    return load_font(16)


@functools.cache
def _box():
    """What is drawn for a character that the default font lacks."""
    return bytes(_default().getmask("\U0010fffd"))


def _families(text):
    """Names of fonts for matplotlib, which takes what the first lacks from the next."""
    lacking = frozenset(text) - _characters(_file_of_matplotlib())
    found = _installed(lacking) if lacking else None
    return ["DejaVu Sans", *([found[1]] if found else [])]


def _file_of_matplotlib():
    """DejaVu Sans, which matplotlib brings along."""
    import matplotlib

    return os.path.join(matplotlib.get_data_path(), "fonts", "ttf", DEFAULT)


@functools.cache
def _characters(path):
    """All characters of a font's file."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):  # a file that is damaged, or has gone
        return frozenset()


@functools.cache
def _installed(characters):
    """(path, family) of an installed font that has the characters; None without one."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    def rank(entry):
        name = entry.name.lower()
        words = [number for number, word in enumerate(PREFERRED) if word in name]
        return (
            min(words, default=len(PREFERRED)),
            entry.style != "normal",
            abs(_weight(entry) - 400),
        )

    def search():
        for entry in sorted(fontManager.ttflist, key=rank):
            # a font whose pictures say of which script a character is
            if "last resort" not in entry.name.lower() and wanted <= _characters(entry.fname):
                return entry.fname, entry.name
        return None

    wanted = frozenset(character for character in characters if not character.isspace())
    found = search()
    if found is None:  # the list is kept on the disk: it may be older than a font
        for path in set(findSystemFonts()) - {entry.fname for entry in fontManager.ttflist}:
            if wanted <= _characters(path):
                fontManager.addfont(path)
        found = search()
    return found


def _weight(entry):
    from matplotlib.font_manager import weight_dict

    return entry.weight if isinstance(entry.weight, int) else weight_dict.get(entry.weight, 400)

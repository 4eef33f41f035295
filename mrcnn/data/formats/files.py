"""Annotation files and the images that they name: where they are, or what is there instead."""

import functools
import os
import unicodedata
from collections.abc import Callable, Sequence

from mrcnn.common.files import AnyPath
from mrcnn.common.words import some
from mrcnn.data.images import IMAGE_TYPES


def json_files(folder: AnyPath) -> list[str]:
    """Paths of the json files in a folder, sorted; none where there is no such folder."""
    if not os.path.isdir(folder):
        return []
    return sorted(
        os.path.join(folder, name)
        for name in os.listdir(folder)
        if name.lower().endswith(".json") and not name.startswith(".")
    )


def image_files(folder: AnyPath) -> list[str]:
    """Names of the image files in a folder, sorted; files that start with a dot are not.

    Raises:
        FileNotFoundError: it is no folder.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder} is no folder; it should have image files")
    return sorted(
        name
        for name in os.listdir(folder)
        if os.path.splitext(name)[1].lower() in IMAGE_TYPES and not name.startswith(".")
    )


def find_image(folders: Sequence[AnyPath], name: str) -> str | None:
    """The path of an image that an annotation file names.

    Tools write names as they find them: with the folders of another machine, with backslashes or
    as an URL. The name is looked for as it is, then without its folders, then as `normal_form`
    has it where one file alone has that.

    Args:
        folders: list of folders to look in, in this order.
        name: str.

    Returns:
        The path of the first that exists, else None.
    """
    for candidate in _as_written(name):
        for folder in folders:
            path = os.path.join(folder, candidate)
            if os.path.isfile(path):
                return path
    if not name.isascii():
        for candidate in _as_written(name):
            for folder in folders:
                found = [path for path in _alike(folder, candidate) if os.path.isfile(path)]
                if len(found) == 1:
                    return found[0]
    return None


def _as_written(name):
    """What a name may be in a folder: as it is, with slashes, and without its folders."""
    plain = name.replace("\\", "/")
    return list(dict.fromkeys((name, plain, plain.rsplit("/", 1)[-1])))


# === Names that are nearly the same ===


def normal_form(name: str) -> str:
    """A name in Unicode's NFC, in which an accented letter is one character.

    macOS writes it as a letter and an accent (NFD), most tools write NFC. Both are the same text
    to whoever reads it, and a copy made on the way changes the one into the other: so a single
    file that fits is taken, without a warning. Upper and lower case are two texts, of which a
    folder may have both: they get a hint (`near_miss`), and nothing is taken.
    """
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """The `normal_form` of a name without the difference of upper and lower case."""
    return normal_form(normal_form(name).casefold())


def _folded_stem(name):
    """The `folded` name without its ending, of an image file; of another it is the whole name."""
    stem, ending = os.path.splitext(name)
    return folded(stem if ending.lower() in IMAGE_TYPES else name)


def near_miss(folders: Sequence[AnyPath], name: str, advice: str = "") -> str:
    """Words that go on after a message about a missing file: what is there by nearly its name.

    Args:
        folders: in which it was looked for.
        name: of the file, with or without folders.
        advice: what to do about it, to follow after a colon.

    Returns:
        ``. There is PATH, which differs in ...`` or, where nothing is near, "".
    """
    for same, what in (
        (normal_form, "the Unicode normal form"),
        (folded, "upper and lower case"),
        (_folded_stem, "its ending"),
    ):
        found: dict[str, None] = {}
        for candidate in _as_written(name):
            for folder in folders:
                found.update(dict.fromkeys(_alike(folder, candidate, same)))
        if found:
            return (
                f". There is {some(found, 3)}, which differs in {what}"
                f"{f': {advice}' if advice else ''}"
            )
    return ""


def _alike(folder: AnyPath, name: str, same: Callable[[str], str] = normal_form) -> list[str]:
    """Paths in a folder that are the name to ``same``, in each of their parts."""
    found = [os.fspath(folder)]
    for part in name.split("/"):
        if part in ("", os.curdir, os.pardir):
            found = [os.path.join(place, part) for place in found]
            continue
        found = [
            os.path.join(place, entry)
            for place in found
            for entry in _entries(place).get(same, {}).get(same(part), ())
        ]
    return found


def _entries(folder):
    try:
        return _entries_at(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return {}


@functools.lru_cache(maxsize=8)
def _entries_at(folder, time):
    """{function: {what it makes of a name: [names]}} of a folder as it is at a time; a file may
    lack thousands of images.
    """
    names = sorted(os.listdir(folder))
    by_function: dict[Callable[[str], str], dict[str, list[str]]] = {}
    for same in (normal_form, folded, _folded_stem):
        by_function[same] = {}
        for name in names:
            by_function[same].setdefault(same(name), []).append(name)
    return by_function

"""Files of JSON: read with errors that name the file, written whole or not at all."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import operator
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from mrcnn.common.files import what_else, whole_file


def read_json(path: str | os.PathLike, expected: str, keys: Iterable[str] = ()) -> Any:
    """The contents of a JSON file.

    Args:
        path: of the file, UTF-8.
        expected: what the file should be, for the messages, such as "a COCO annotation file".
        keys: that the object in the file must have; none: any JSON will do.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or no object with these keys; or it is a pipe or a device, which
            is not opened.
    """
    # a pipe would be waited for, and a device may have no end
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise ValueError(f"{path} is a pipe or a device, so it cannot be {expected}")
    try:
        content = _parsed(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; it should be {expected}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not JSON, so it cannot be {expected}: {what_else(path) or error}"
        ) from None
    keys = list(keys)
    if keys and not (isinstance(content, dict) and set(keys) <= set(content)):
        raise ValueError(
            f"{path} is not {expected}: it must be an object with " + " and ".join(map(repr, keys))
        )
    return content


# {(path, size, time of change): contents} of the files that `parse_once` keeps; None outside of it.
_kept: dict[tuple[str, int, int], Any] | None = None
KEPT = 2  # files of training and validation
LARGE = 20_000_000  # bytes of a file that takes a while


@contextlib.contextmanager
def parse_once() -> Iterator[None]:
    """Keep what `read_json` read last until the end, and say of large files that they are read.

    A command asks a file several times: of which format it is, whether it has a part, what is in
    it. The contents must not be changed.
    """
    global _kept
    outer = _kept
    _kept = {} if outer is None else outer
    try:
        yield
    finally:
        _kept = outer


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Let Python look for no cycles while millions of objects are made, all of which stay.

    It would go through all of them time and again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _parsed(path):
    facts = os.stat(path)
    key = os.path.realpath(path), facts.st_size, facts.st_mtime_ns
    if _kept is not None and key in _kept:
        return _kept[key]
    if _kept is not None and facts.st_size >= LARGE:
        print(f"Reading {path} ({facts.st_size / 1e6:.0f} MB)", file=sys.stderr, flush=True)
    # some editors on Windows write a byte order mark first
    with open(path, encoding="utf-8-sig") as file:
        content = json.load(file, object_pairs_hook=_unambiguous)
    if _kept is not None:
        _kept[key] = content
        while len(_kept) > KEPT:  # of labelme's thousands of files, each with its image
            del _kept[next(iter(_kept))]
    return content


def _unambiguous(pairs):
    """The dict of an object's keys and values; json takes the last of a key that is there twice."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    for key, value in pairs:
        if found[key] != value:
            raise ValueError(f"an object has the key {key!r} twice, with different values")
    return found


def write_json(
    path: str | os.PathLike, content: Any, indent: int | None = None, durable: bool = True
) -> None:
    """Write a JSON file, whole or not at all; in a file name that is no text the bytes that are
    none come out as JSON's \\udcff.

    Args:
        path: file to write or replace.
        content: what it holds.
        indent: spaces of each level; None: one line.
        durable: as of `common.files.whole_file`.
    """
    with (
        whole_file(path, durable) as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        json.dump(content, file, ensure_ascii=False, indent=indent)


def as_parsed(value: Any) -> Any:
    """A value as `read_json` would give it: NumPy's numbers as Python's, arrays and tuples as
    lists, those in containers too; ``value`` itself where there is nothing to convert.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return as_parsed(value.tolist())
    if isinstance(value, dict):
        items = {key: as_parsed(item) for key, item in value.items()}
        return items if any(items[key] is not item for key, item in value.items()) else value
    if isinstance(value, (list, tuple)):
        if isinstance(value, list) and set(map(type, value)) <= {int, float, str}:
            return value  # the numbers of a polygon, one by one, would take long
        found = [as_parsed(item) for item in value]
        same = isinstance(value, list) and all(map(operator.is_, found, value))
        return value if same else found
    return value


def plain(value: Any, digits: int | None = None) -> Any:
    """``value`` with types that JSON knows, containers included; others become their ``repr``.

    Args:
        value: anything.
        digits: decimals that floats are rounded to; NaN and infinity, which JSON lacks, become
            None then. None: floats stay as they are.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        return {str(key): plain(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, digits) for item in value]
    if isinstance(value, float) and digits is not None:
        return round(value, digits) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)

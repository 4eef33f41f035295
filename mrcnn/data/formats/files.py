"""Annotation files and the images that they name."""

import json
import os
from collections.abc import Iterable
from typing import Any

from mrcnn.common.files import AnyPath


def read_json(path: AnyPath, expected: str) -> Any:
    """The contents of a json file.

    Args:
        path: str or path-like.
        expected: what the file should be, for the messages, such as "a COCO annotation file".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not json.
    """
    try:
        with open(
            path, encoding="utf-8-sig"
        ) as file:  # some editors on Windows write the mark first
            return json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; it should be {expected}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON, so it cannot be {expected}: {error}") from None


def json_files(folder: AnyPath) -> list[str]:
    """Paths of the json files in a folder, sorted; none where there is no such folder."""
    if not os.path.isdir(folder):
        return []
    return sorted(
        os.path.join(folder, name)
        for name in os.listdir(folder)
        if name.lower().endswith(".json") and not name.startswith(".")
    )


def find_image(folders: Iterable[AnyPath], name: str) -> str | None:
    """The path of an image that an annotation file names.

    Tools write names as they find them: with the folders of another machine, with backslashes or
    as an URL. The name is looked for as it is, then without its folders.

    Args:
        folders: list of folders to look in, in this order.
        name: str.

    Returns:
        The path of the first that exists, else None.
    """
    plain = name.replace("\\", "/")
    for candidate in dict.fromkeys((name, plain, plain.rsplit("/", 1)[-1])):
        for folder in folders:
            path = os.path.join(folder, candidate)
            if os.path.isfile(path):
                return path
    return None

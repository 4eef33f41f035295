"""Annotation files and the images that they name."""

import os
from collections.abc import Sequence

from mrcnn.common.files import AnyPath


def json_files(folder: AnyPath) -> list[str]:
    """Paths of the json files in a folder, sorted; none where there is no such folder."""
    if not os.path.isdir(folder):
        return []
    return sorted(
        os.path.join(folder, name)
        for name in os.listdir(folder)
        if name.lower().endswith(".json") and not name.startswith(".")
    )


def find_image(folders: Sequence[AnyPath], name: str) -> str | None:
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

"""Which classes of a cache are asked for, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrcnn.data.class_labels import class_labels
from mrcnn.data.formats.regions import CLASS_OF_ALL


def chosen_classes(
    infos: Sequence[Mapping[str, Any]], classes: Sequence[str] | None, other_classes: bool
) -> list[tuple[dict[str, Any], int | None]]:
    """The classes in the order of their new class ids, which count from 1.

    Args:
        infos: the classes of the cache, the background first.
        classes: names as `class_labels` gives them, whole or cut at the comma; None: all of the
            cache. A single name is that of a cache of masks without classes, whatever it is.
        other_classes: add the classes of the cache that the list lacks after those that it has.

    Returns:
        list of (info, class id in the cache). A class that the cache lacks has the info
        "labelled": False, for it may have been left out when the cache was written, and the class
        id None.
    """
    labels = class_labels(infos)
    spellings = (
        labels,
        [info["name"] for info in infos],
        [info["name"].split(",")[0] for info in infos],
    )
    numbers = range(1, len(infos))
    if classes is not None and len(classes) == 1 and labels[1:] == [CLASS_OF_ALL]:
        return [({**infos[1], "name": classes[0]}, 1)]
    chosen: list[tuple[dict[str, Any], int | None]] = []
    left = list(numbers)
    for name in classes or ():
        number = next((one for spelt in spellings for one in left if spelt[one] == name), None)
        if number is None:
            info = {"source": infos[1]["source"], "id": name, "labelled": False}
        else:
            left.remove(number)
            info = dict(infos[number])
        chosen.append(({**info, "name": name, "whole_name": True}, number))
    if classes is None or other_classes:
        chosen += [(dict(infos[number]), number) for number in left]
    return chosen

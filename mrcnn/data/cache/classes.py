"""Which classes of a cache are asked for, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrcnn.data.class_labels import class_labels, class_spellings, classes_called
from mrcnn.data.formats.regions import CLASS_OF_ALL


def chosen_classes(
    infos: Sequence[Mapping[str, Any]], classes: Sequence[str] | None, other_classes: bool
) -> list[tuple[dict[str, Any], int | None]]:
    """The classes in the order of their new class ids, which count from 1.

    Args:
        infos: the classes of the cache, the background first.
        classes: names as `class_labels` gives them, whole, with their ids or cut at the comma, or
            ids that are text; None: all of the cache. One that several classes have stands for all
            of them or, where the list has it more than once, for another of them each time. A
            single name is that of a cache of masks without classes, whatever it is.
        other_classes: add the classes of the cache that the list lacks after those that it has.

    Returns:
        list of (info, class id in the cache). A class that the cache lacks has the info
        "labelled": False, for it may have been left out when the cache was written, and the class
        id None.
    """
    labels = class_labels(infos)
    if classes is not None and len(classes) == 1 and labels[1:] == [CLASS_OF_ALL]:
        return [({**infos[1], "name": classes[0]}, 1)]
    asked = list(classes or ())
    chosen: list[tuple[dict[str, Any], int | None]] = []
    left = list(range(1, len(infos)))
    spellings = {
        number: [*class_spellings(info, label), [info["id"]]]
        for number, (info, label) in enumerate(zip(infos, labels))
        if number  # the background is none
    }
    for name, (found, _) in zip(asked, classes_called(asked, spellings)):
        if not found and all(info["name"] != name for info, _ in chosen):
            source = infos[-1]["source"] or "cache"  # the background has none
            info = {"source": source, "id": name, "labelled": False}
            chosen.append(({**info, "name": name, "whole_name": True}, None))
        new = [number for number in found if number in left]
        for number in new[:1] if asked.count(name) > 1 else new:
            left.remove(number)
            # an id is no name, and several classes keep those that tell them apart
            own = name if len(found) == 1 and name != infos[number]["id"] else labels[number]
            chosen.append(({**infos[number], "name": own, "whole_name": True}, number))
    if classes is None or other_classes:
        chosen += [(dict(infos[number]), number) for number in left]
    return chosen

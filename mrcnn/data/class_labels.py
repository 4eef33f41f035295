"""Names that tell the classes of a data set apart."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


def class_labels(infos: Iterable[Mapping[str, Any]]) -> list[str]:
    """A name for each class; no two classes of a source have the same.

    The name is what stands before the first comma, as in the original; where several classes of a
    source have that, the whole name, and where several have that too, the whole name and the id:
    "Bottle, glass" and "Bottle, plastic", "fish (0)" and "fish (1)". A class has the same name in
    every data set that has the same others. Equal names in several sources stay, as in the
    original.

    Args:
        infos: of `Dataset.class_info`.
    """
    infos = list(infos)
    spellings = (
        lambda info, label: info["name"],
        *[lambda info, label: f"{label} ({info['id']})"] * 3,  # "fish (1)" may be a name of its own
    )
    labels = [
        info["name"] if info.get("whole_name") else info["name"].split(",")[0] for info in infos
    ]
    for spell in spellings:
        count = Counter((info["source"], label) for info, label in zip(infos, labels))
        labels = [
            spell(info, label) if count[info["source"], label] > 1 else label
            for info, label in zip(infos, labels)
        ]
    return labels

"""Names that tell the classes of a data set apart, and which classes a list of names asks for."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

Class = TypeVar("Class", bound=Hashable)


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


def distinct_labels(names: Sequence[str], ids: Iterable[int]) -> list[str]:
    """Names of classes, where one that is used twice gets its id added: "fish (3)"."""
    count = Counter(names)
    return [name if count[name] == 1 else f"{name} ({one})" for name, one in zip(names, ids)]


def class_spellings(info: Mapping[str, Any], label: str) -> list[list[str]]:
    """What a class can be called, in ranks for `classes_called`: its label, unless that is the
    beginning of its name; its name; its name and id; the beginning of its name.

    Args:
        info: of `Dataset.class_info`.
        label: of it, as `class_labels` gives it.
    """
    name = info["name"]
    beginning = name.split(",")[0]
    return [
        [label] if label != beginning else [],
        [name],
        [f"{name} ({info['id']})"],
        [beginning],
    ]


def classes_called(
    asked: Sequence[Hashable], spellings: Mapping[Class, Sequence[Iterable[Hashable]]]
) -> list[tuple[list[Class], int]]:
    """The classes that each name of a list stands for, and the rank of the spelling that it is.

    A name stands for the classes that have it at the lowest rank, less those that another name of
    the list has at a lower one: in ["Bottle", "Bottle, glass"] the first stands for
    "Bottle, plastic", and for every other "Bottle", but not for "Bottle, glass".

    Args:
        asked: names or ids.
        spellings: {class: what it can be called, the most exact first, in ranks}.

    Returns:
        (classes in the order of ``spellings``, rank from 0) for each name; ([], -1) for one that no
        class is called.
    """
    tables: defaultdict[int, defaultdict[Hashable, list[Class]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for one, ranks in spellings.items():
        for rank, names in enumerate(ranks):
            for name in dict.fromkeys(names):
                tables[rank][name].append(one)
    lowest: dict[Class, int] = {}
    for rank in sorted(tables):
        for name in asked:
            for one in tables[rank].get(name, ()):
                lowest.setdefault(one, rank)
    called = []
    for name in asked:
        by_rank = (
            ([one for one in tables[rank].get(name, ()) if lowest[one] == rank], rank)
            for rank in sorted(tables)
        )
        called.append(next((found for found in by_rank if found[0]), ([], -1)))
    return called

"""Which categories of a COCO json are classes, and which a list of ids and names stands for."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from mrcnn.common.words import option_or_argument
from mrcnn.config.python_values import python_value
from mrcnn.data.class_labels import class_spellings, classes_called


def id_text(number: int | float | str) -> str:
    """What ids are compared by: some tools write 5 in one place and "5" or 5.0 in another.

    VIA and PyLabel did so: dbolya/yolact#156, pylabel-project/pylabel#46.
    """
    return str(int(number) if isinstance(number, float) and number.is_integer() else number)


def root_of(
    categories: Mapping[int | str, Mapping[str, Any]], annotations: Iterable[Any]
) -> int | str | None:
    """The id of a category that is there to group the others and is no class, or None.

    Roboflow writes the name of its project so: {"id": 0, "name": "fish", "supercategory": "none"},
    under which all other categories have the supercategory "fish", see
    roboflow/roboflow-100-benchmark#45.

    Args:
        categories: {id: category} of a file.
        annotations: of the file; one of them that has the category makes it a class.
    """
    roots = [one for one, category in categories.items() if category.get("supercategory") == "none"]
    if len(roots) != 1 or len(categories) < 2:
        return None
    name = categories[roots[0]]["name"]
    if any(
        category.get("supercategory") != name
        for one, category in categories.items()
        if one != roots[0]
    ):
        return None
    used = any(
        isinstance(one, dict) and id_text(one.get("category_id", "")) == id_text(roots[0])
        for one in annotations
    )
    return None if used else roots[0]


def is_asked_for(
    category_id: int | str, categories: Mapping[int | str, str], asked: Iterable[int | str] | None
) -> bool:
    """Whether ids and names mean this category, and not only another of its name.

    Args:
        category_id: of one of the categories.
        categories: {id: name} of a file.
        asked: ids and names; None: none.
    """
    asked = list(asked or ())
    name = categories[category_id]
    if category_id in asked or f"{name} ({category_id})" in asked:
        return True
    others = [other for one, other in categories.items() if one != category_id]
    return any(
        asked.count(spelling) > sum(spelling in (other, other.split(",")[0]) for other in others)
        for spelling in {name, name.split(",")[0]}
    )


def categories_asked(
    class_ids: list[int | str],
    categories: Mapping[int | str, str],
    labels: Mapping[int | str, str],
    mapped: Mapping[int | str, str | None],
    allow_absent: bool,
    where: object,
) -> tuple[list[Any], dict[int | str, str]]:
    """The ids of the categories of a list of ids and names, and {id: the name that it is asked for
    by}. Names that are no category are among the ids, where they are allowed.

    A class of another dataset is called by its label (`class_labels`), which may have an id that
    this file does not need, or be cut at the comma.

    Args:
        class_ids: the list.
        categories: {id: name} of a file.
        labels: {id: its `data.class_labels.class_labels`}.
        mapped: {id: the class that a ``class_map`` makes it a part of, or None}.
        allow_absent: whether a name may be that of no category.
        where: the file, for messages.

    Raises:
        ValueError: an id or a name that the file does not have, or a list of nothing but such.
    """
    spellings: dict[int | str, list[list[Any]]] = {}
    for one, name in categories.items():
        exact, *others = class_spellings({"name": name, "id": one}, labels[one])
        of_map = [] if mapped[one] is None else [mapped[one]]
        spellings[one] = [[*exact, one, *of_map], *others]
    order: list[Any] = []
    called: dict[int | str, str] = {}
    hashable = [one for one in class_ids if isinstance(one, Hashable)]
    meant = dict(zip(hashable, classes_called(hashable, spellings)))
    for asked in class_ids:
        found, rank = meant[asked] if isinstance(asked, Hashable) else ([], -1)
        if not found:
            named = [one for one, name in categories.items() if asked == name and one in class_ids]
            if named:
                raise ValueError(
                    f"{_list()} has {asked!r} and {named[0]!r}, which are one "
                    f"{category_of(categories, where)}"
                )
            if not (allow_absent and isinstance(asked, str)):
                raise ValueError(
                    f"{_list()} has {asked!r}, which is no {category_of(categories, where)}"
                )
            order.append(asked)
        elif class_ids.count(asked) > 1:  # each stands for another category of this name
            order += [one for one in found if one not in order][:1]
        else:
            order += found
            # an id is no name, and neither is the beginning of one, unless it tells the class apart
            if len(found) == 1 and isinstance(asked, str) and asked not in found:
                if rank < 3 or asked == labels[found[0]]:
                    called[found[0]] = asked
    if not set(order) & set(categories):
        raise ValueError(
            f"{_list()} is {class_ids[:100]}, none of which is a {category_of(categories, where)}"
        )
    return order, called


def list_of_classes(class_ids: Iterable[int | str] | None) -> list[int | str] | None:
    """A list of category ids and names with Python's own numbers; None where it is empty or None,
    which means all classes, as in the original.

    Raises:
        ValueError: it is no list, or a text, of which each letter would be a name.
    """
    if isinstance(class_ids, (str, bytes)) or not isinstance(class_ids, (Iterable, type(None))):
        raise ValueError(f"{_list()} must be a list of category ids and names, got {class_ids!r}")
    return None if class_ids is None else python_value(list(class_ids)) or None


def category_of(categories: Mapping[int | str, str], where: object) -> str:
    """Words that end a message on a category that a file does not have."""
    return f"category of {where}: the categories are {dict(list(categories.items())[:100])}"


def _list():
    return option_or_argument("the list of classes", "class_ids")

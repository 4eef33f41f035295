"""Whether the classes of data sets and of a network are the same."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from mrcnn.common.words import option_or_argument, some

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset


def check_classes(dataset: Dataset, config: Config, more: bool = False) -> None:
    """Refuse a dataset whose class ids do not mean what they mean to the network.

    Args:
        dataset: a prepared Dataset.
        config: NUM_CLASSES and CLASS_NAMES are read.
        more: allow further classes of the dataset after those of CLASS_NAMES.

    Raises:
        ValueError: another number of classes than NUM_CLASSES, or other names than CLASS_NAMES,
            where those are known.
    """
    names = list(getattr(dataset, "class_names", ()))
    if not names:
        raise ValueError(f"{type(dataset).__name__} has no class_names: call its prepare() first")
    if more and config.CLASS_NAMES:
        names = names[: config.NUM_CLASSES]
    if len(names) != config.NUM_CLASSES:
        raise ValueError(
            f"{type(dataset).__name__} has {len(names)} classes with the background "
            f"({some(names[1:], 5)}), but the network has NUM_CLASSES "
            f"{config.NUM_CLASSES}: a class id must mean the same to both. "
            + option_or_argument(
                "Name the network's classes, all of them and in their order, with --set "
                "CLASS_NAMES=BG,..., or give its config.json with --config",
                "Give the dataset the network's classes, all of them and in their order, also "
                "those that none of its images shows",
            )
        )
    known = list(config.CLASS_NAMES or names)

    def is_called(number, name):
        """Whether that is its name or was, before equal names were told apart."""
        info = dataset.class_info[number]
        before = (
            info["name"],
            info["name"].split(",")[0],
            info["name"].removesuffix(f" ({info['id']})"),
        )
        return name == names[number] or (known.count(name) > 1 and name in before)

    different = [
        f"{number} is {names[number]!r} in the dataset and {ours!r} in CLASS_NAMES"
        for number, ours in enumerate(known)
        if number and not is_called(number, ours)
    ]
    if different:
        raise ValueError(
            f"the classes of {type(dataset).__name__} are not the network's: "
            f"{'; '.join(different[:3])}"
        )


def check_same_classes(train_dataset: Dataset, val_dataset: Dataset) -> None:
    """Refuse validation data that number their classes in another way than the training data.

    Raises:
        ValueError: naming the first classes that differ.
    """
    train, val = list(train_dataset.class_names), list(val_dataset.class_names)
    different = [
        f"{number} is {first!r} in one and {second!r} in the other"
        for number, (first, second) in enumerate(zip_longest(train, val))
        if number and first != second
    ]
    if different:
        raise ValueError(
            "training and validation data have other classes, or another order of them: "
            f"{'; '.join(different[:3])}. Add the same classes to both, also those that no image "
            "shows (open_dataset(..., classes=train_set.class_names[1:]))"
        )

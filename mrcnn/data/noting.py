"""What loading images notes in a data set, brought from a forked process to the one it was forked
from.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Made = TypeVar("Made")


class Noting:
    """The part of a Dataset that `survey.each_image` asks.

    Attributes:
        noted: names of the attributes that loading an image adds to. A subclass whose
            ``load_image`` or ``load_mask`` adds to others names them too: dicts, sets, Counters, or
            what else has a length, an ``update`` and a class without arguments.

    Example:
        >>> class Cells(Dataset):
        ...     noted = (*Dataset.noted, "dark")  # a set of image ids that load_image adds to
    """

    noted: tuple[str, ...] = ("few_bits",)

    def noting(self, function: Callable[[int], Made], image_id: int) -> tuple[Made, dict[str, Any]]:
        """Call a function that loads an image, and give what that notes in this dataset.

        `Dataset.summary` and `Dataset.check` do so in forked processes, which share no memory.

        Args:
            function: of an image id.
            image_id: 0 to num_images - 1.

        Returns:
            made: what the function returns.
            notes: {name of an attribute: what was added to it}; the dataset is as it was.
        """
        before = {name: getattr(self, name) for name in self.noted}
        vars(self).update((name, type(value)()) for name, value in before.items())
        made = function(image_id)
        notes = {name: value for name in self.noted if len(value := getattr(self, name))}
        vars(self).update(before)
        return made, notes

    def add_notes(self, image_id: int, notes: dict[str, Any]) -> None:
        """Add what `noting` gave of an image."""
        for name, more in notes.items():
            getattr(self, name).update(more)

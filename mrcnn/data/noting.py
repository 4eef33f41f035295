"""What loading images notes in a data set, brought from a forked process to the one it was forked
from.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

Made = TypeVar("Made")


class Noting:
    """The part of a Dataset that `survey.each_image` asks.

    Attributes:
        noted: names of the attributes that loading an image adds to. A subclass whose
            ``load_image`` or ``load_mask`` adds to others names them too: dicts, sets, lists,
            Counters, defaultdicts (whose numbers and collections grow), or what else has a length,
            an ``update`` or ``extend``, and a class without arguments.

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

        Raises:
            TypeError: an attribute is no such collection.
        """
        before = {name: getattr(self, name) for name in self.noted}
        vars(self).update((name, self._empty(name, value)) for name, value in before.items())
        made = function(image_id)
        notes = {name: _plain(value) for name in self.noted if len(value := getattr(self, name))}
        vars(self).update(before)
        return made, notes

    def add_notes(self, image_id: int, notes: dict[str, Any]) -> None:
        """Add what `noting` gave of an image."""
        for name, more in notes.items():
            _add(getattr(self, name), more)

    def _empty(self, name, value):
        """A collection like that of an attribute, with nothing in it."""
        if isinstance(value, defaultdict):
            return type(value)(value.default_factory)
        able = hasattr(value, "__len__") and (hasattr(value, "update") or hasattr(value, "extend"))
        try:
            if able:
                return type(value)()
        except TypeError:  # its class wants arguments
            pass
        raise TypeError(
            f"`noted` of {type(self).__name__} names {name!r}, which is a {type(value).__name__}: "
            "it must be a dict, set, list, Counter or defaultdict, or have a length, an update or "
            "extend, and a class without arguments"
        )


def _plain(value):
    """Dicts for defaultdicts, which may make their values by what cannot be pickled."""
    if isinstance(value, defaultdict):
        return {key: _plain(one) for key, one in value.items()}
    return value


def _add(known, more):
    """Add to a collection what one like it got."""
    if isinstance(known, defaultdict) and known.default_factory is not None:
        for key, value in more.items():
            if hasattr(value, "update") or hasattr(value, "extend"):
                _add(known[key], value)
            elif isinstance(value, (int, float)):
                known[key] += value
            else:
                known[key] = value
    elif hasattr(known, "update"):
        known.update(more)
    else:
        known.extend(more)

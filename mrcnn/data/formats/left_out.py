"""What readers leave out: counted with the reason and the place, and reported."""

import logging

from mrcnn.common.words import on_one_line
from mrcnn.data.dataset import Dataset

logger = logging.getLogger(__name__)

UNREADABLE_IMAGE = "images that cannot be used"


class LeftOut:
    """What a reader left out and why; `str()` is one line.

    Attributes:
        places: {reason: {where: None, ...}}, both in the order in which they were met.
        spoiling: set of those reasons that leave objects in the images for background.
    """

    def __init__(self) -> None:
        self.places: dict[str, dict[str, None]] = {}
        self.spoiling: set[str] = set()

    def add(self, reason: str, place: str, spoils: bool = False) -> None:
        """Count one thing at ``place`` (file, image, region), once however often it is met."""
        self.places.setdefault(reason, {})[on_one_line(place)] = None
        if spoils:
            self.spoiling.add(reason)

    def update(self, other: "LeftOut") -> None:
        """Count what another one counted."""
        for reason, places in other.places.items():
            self.places.setdefault(reason, {}).update(places)
        self.spoiling |= other.spoiling

    def __len__(self) -> int:
        return sum(map(len, self.places.values()))

    def __str__(self) -> str:
        return "; ".join(
            f"{reason}: {len(places)} (first: {min(places)})"  # threads meet them in any order
            for reason, places in self.places.items()
        )


def report_loaded(place: object, what: str, left_out: LeftOut) -> None:
    """Log one line on what was loaded, a warning where something was left out.

    Args:
        place: the annotations or folder.
        what: such as "3 images".
        left_out: of the dataset.
    """
    skipped = f"; left out so far: {left_out}" if len(left_out) else ""
    logger.log(logging.WARNING if skipped else logging.INFO, "%s: %s%s", place, what, skipped)


class _Counting:
    """What `Reader._counting` returns; a generator takes three times as long."""

    def __init__(self, dataset, what):
        self.dataset, self.what = dataset, what

    def __enter__(self):
        pass

    def __exit__(self, kind, error, traceback):
        counts = isinstance(error, (ValueError, OSError)) and self.dataset.collects_errors
        if counts:
            self.dataset.left_out.add(self.what, str(error), spoils=True)
        return counts


class Reader(Dataset):
    """A `Dataset` that annotation files are read into.

    Attributes:
        left_out: `LeftOut`, over all files that were loaded.
        collects_errors: whether what cannot be read is counted there, instead of ending the
            loading.
    """

    noted = (*Dataset.noted, "left_out")

    def __init__(self, class_map: None = None) -> None:
        super().__init__(class_map)
        self.left_out = LeftOut()
        self.collects_errors = False

    def image_reference(self, image_id: int) -> str:
        """The path of the image."""
        return str(self._info(image_id)["path"])

    def _counting(self, what=UNREADABLE_IMAGE):
        """Count an error under ``what``, where errors are collected: a context manager."""
        return _Counting(self, what)

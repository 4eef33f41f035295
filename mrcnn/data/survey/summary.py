"""What is in a data set, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mrcnn.common.tables import format_table
from mrcnn.data.load import describe_error, describe_image
from mrcnn.data.survey.each_image import each_image

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset


# COCO's small, medium and large objects: area in px.
SMALL, MEDIUM = 32**2, 96**2


class Summary(NamedTuple):
    """The numbers of `Dataset.summary`; ``str()`` of it is a table."""

    class_names: list[str]  # of the dataset, BG first
    heights: np.ndarray  # int [images] px; 0 where an image without objects does not tell
    widths: np.ndarray
    counts: np.ndarray  # int [images], objects on each
    class_ids: np.ndarray  # int [objects], negative for a crowd
    areas: np.ndarray  # int [objects] px
    image_index: np.ndarray  # int [objects], the image that each is on, as in `counts`
    left_out: str  # what a reader left out, "" for nothing
    unread: list[str]  # images whose objects cannot be measured, and why; they are in no number

    def classes(self) -> dict[str, tuple[int, int, float]]:
        """{name: (objects, images with one, median area in px)}; names met twice get their id
        added.
        """
        found = {}
        for class_id, name in enumerate(self.class_names):
            if class_id == 0:
                continue
            chosen = np.abs(self.class_ids) == class_id
            area = float(np.median(self.areas[chosen])) if chosen.any() else float("nan")
            key = name if name not in found else f"{name} ({class_id})"
            found[key] = int(chosen.sum()), len(np.unique(self.image_index[chosen])), area
        return found

    def __str__(self) -> str:
        objects = len(self.areas)
        sizes = [int((self.areas < SMALL).sum()), 0, int((self.areas >= MEDIUM).sum())]
        sizes[1] = objects - sizes[0] - sizes[2]
        known = self.heights > 0
        rows: list[list[object]] = [
            ["images", len(self.counts), f"{int((self.counts == 0).sum())} without objects"],
            ["objects", objects, f"{int((self.class_ids < 0).sum())} of them crowds"],
            ["classes", len(self.class_names) - 1, ""],
        ]
        rows += [
            [name, *_spread(values)]
            for name, values in (
                ("image width, px", self.widths[known]),
                ("image height, px", self.heights[known]),
                ("objects on an image", self.counts),
                ("area of an object, px", self.areas),
            )
        ]
        rows += [
            [f"{name} objects", size, f"{_share(size, objects)}, {limits}"]
            for name, size, limits in zip(
                ("small", "medium", "large"),
                sizes,
                ("under 32 x 32 px", "between", "96 x 96 px and more"),
            )
        ]
        classes: list[list[object]] = [["class", "objects", "share", "images", "median area, px"]]
        classes += [
            [name, count, _share(count, objects), images, "-" if np.isnan(area) else f"{area:.0f}"]
            for name, (count, images, area) in self.classes().items()
        ]
        parts = [format_table(rows), format_table(classes)]
        if self.unread:
            parts.append(
                f"Not counted: {len(self.unread)} images whose objects cannot be read (first: "
                f"{self.unread[0]})"
            )
        if self.left_out:
            parts.append(f"Left out while loading: {self.left_out}")
        return "\n\n".join(parts)


def summarize(
    dataset: Dataset, image_ids: Sequence[int], progress: bool = True, workers: int = 1
) -> Summary:
    """The `Summary` of a prepared Dataset; see `Dataset.summary`."""

    def measure(image_id):
        """The size, class ids and areas of an image, or why it has none."""
        try:
            return dataset.measure_objects(image_id)
        except Exception as error:  # a user's load_mask can raise any
            return f"{describe_image(dataset, image_id)}: {describe_error(error)}"

    sizes, class_ids, areas, unread = [], [], [], []
    for measured in each_image(dataset, measure, image_ids, "Measuring", progress, workers):
        if isinstance(measured, str):
            unread.append(measured)
            continue
        size, ids, found = measured
        sizes.append(size)
        class_ids.append(ids)
        areas.append(found)
    counts = np.array([len(ids) for ids in class_ids], int)
    heights, widths = np.array(sizes, int).reshape(-1, 2).T
    return Summary(
        list(dataset.class_names),
        heights,
        widths,
        counts,
        _joined(class_ids),
        _joined(areas),
        np.repeat(np.arange(len(counts)), counts),
        str(getattr(dataset, "left_out", "")),
        unread,
    )


def _joined(arrays):
    return np.concatenate([np.zeros(0, np.int64), *arrays]).astype(np.int64)


def _spread(values):
    """The median of an array and a note of its least and most, as texts."""
    if not len(values):
        return "-", ""
    return f"{np.median(values):.0f}", f"the median, of {values.min()} to {values.max()}"


def _share(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else "-"

"""How many pixels each class of a data set has, and how many are void."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mrcnn.common.tables import format_table
from mrcnn.common.words import some
from mrcnn.data.labels import pixel_counts


class PixelShares(NamedTuple):
    """Pixels of each class; ``str()`` of it is a table, and names the classes without a pixel."""

    class_names: list[str]  # the background first
    pixels: list[int]  # of each class
    images: list[int]  # that show each class
    void: int  # pixels without a label
    void_images: int  # the images that have such

    @property
    def labelled(self) -> int:
        """Pixels that have a class, the background included."""
        return sum(self.pixels)

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON takes it: labelled, void, void_images, and classes, a list of dicts of
        name, pixels, share (of the labelled pixels, 0 to 1; None without any) and images.
        """
        return {
            "labelled": self.labelled,
            "void": self.void,
            "void_images": self.void_images,
            "classes": [
                {
                    "name": name,
                    "pixels": pixels,
                    "share": pixels / self.labelled if self.labelled else None,
                    "images": images,
                }
                for name, pixels, images in zip(self.class_names, self.pixels, self.images)
            ],
        }

    def __str__(self) -> str:
        rows: list[list[object]] = [["class of pixels", "pixels", "share", "images"]]
        rows += [
            [one["name"], f"{one['pixels']:,}", _percent(one["share"]), one["images"]]
            for one in self.to_dict()["classes"]
        ]
        if self.void:
            share = _percent(self.void / (self.labelled + self.void))
            rows.append(["void", f"{self.void:,}", f"{share} of all", self.void_images])
        said = [format_table(rows)]
        absent = [name for name, pixels in zip(self.class_names, self.pixels) if not pixels]
        if absent:
            said.append(f"Classes without a pixel: {some(absent)}")
        return "\n".join(said)


def counts_with_void(labels: np.ndarray, num_classes: int) -> NDArray[np.int64]:
    """The pixels of each class in a label map and, last, those that are void: int64
    [num_classes + 1].

    Raises:
        ValueError: a value that is neither a class nor void.
    """
    counts = pixel_counts(labels, num_classes)
    return np.append(counts, labels.size - counts.sum())


def shares_of_counts(
    class_names: Sequence[str], counts: Sequence[NDArray[np.integer]]
) -> PixelShares:
    """The `PixelShares` of images of each of which the `counts_with_void` are known."""
    rows = np.reshape(np.array([*counts], np.int64), (len(counts), len(class_names) + 1))
    *pixels, void = rows.sum(axis=0).tolist()
    *images, void_images = np.count_nonzero(rows, axis=0).tolist()
    return PixelShares(
        ["background", *class_names[1:]],
        pixels,
        images,
        void,
        void_images,
    )


def _percent(share):
    if share is None:
        return "-"
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"

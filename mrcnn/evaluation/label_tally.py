"""Label maps counted image by image, and the measures and worst images that result."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.evaluation.confusion import ConfusionMatrix, PerImageIoU, label_maps, mean_of_known
from mrcnn.evaluation.page import nearest, shown_size
from mrcnn.evaluation.trimap import check_distance, near_border

# The measures of all classes together, in the order of the tables.
LABEL_METRICS = (
    "mIoU",
    "foreground_mIoU",
    "Dice",
    "pixel_accuracy",
    "mean_accuracy",
    "frequency_weighted_IoU",
    "per_image_IoU",
    "trimap_IoU",
)
# Measures that a class has as well as the mean of all.
CLASS_MEASURES = ("IoU", "Dice", "accuracy", "precision", "per_image_IoU", "trimap_IoU")


class Shown(NamedTuple):
    """The label maps of an image, no larger than its picture, and the size that they had."""

    truth: np.ndarray
    found: np.ndarray
    size: tuple[int, int]


class LabelTally:
    """Pairs of label maps, added up.

    Args:
        num_classes: with the background.
        void: label of pixels without a class.
        trimap: distance for trimap_IoU in px, or None.
        worst: number of images to keep as the worst.

    Attributes:
        total: ``ConfusionMatrix`` of all pixels.
        trimap: that of the pixels near a true border.
        per_image: ``PerImageIoU``.
        pairs: how many were added.
        void_pixels: how many pixels are void in the truth.
        void_images: names of the images that are nothing else.
        worst: list of dicts: image (its number from 0), name, mIoU, pixel_accuracy, wrong_pixels;
            the lowest mIoU first, and of equals the most wrong pixels.
        shown: {image: ``Shown``} of the same images.

    Raises:
        ValueError: what ``ConfusionMatrix`` or ``check_distance`` refuses.
    """

    def __init__(self, num_classes: int, void: int, trimap: float | None, worst: int) -> None:
        if trimap is not None:
            check_distance(trimap)
        self.total = ConfusionMatrix(num_classes, void)
        self.trimap = ConfusionMatrix(num_classes, void)
        self.per_image = PerImageIoU(num_classes)
        self.pairs = self.void_pixels = 0
        self.void_images: list[str] = []
        self.worst: list[dict[str, Any]] = []
        self.shown: dict[int, Shown] = {}
        self._distance, self._most = trimap, worst

    def add(self, name: str, truth: ArrayLike, found: ArrayLike) -> None:
        """Count the pixels of one image.

        Args:
            name: of the image.
            truth: labels [h, w].
            found: labels [h, w].

        Raises:
            ValueError: what ``ConfusionMatrix.add`` or `near_border` refuses, or another number of
                axes.
        """
        truth, found = label_maps(truth, found)
        if truth.ndim != 2:
            raise ValueError(f"a label map has the shape {truth.shape}; it must be [h, w]")
        image = ConfusionMatrix(self.total.num_classes, self.total.void)
        image.add(truth, found)
        number, self.pairs = self.pairs, self.pairs + 1
        self.void_pixels += truth.size - image.pixels
        if not image.pixels:
            self.void_images.append(name)
            return
        self.total += image
        self.per_image.add(image)
        if self._distance is not None:
            near = near_border(truth, self._distance, self.total.void)
            self.trimap.add(truth[near], found[near])
        wrong = image.pixels - int(image.hits.sum())
        if wrong:
            row = {
                "image": number,
                "name": name,
                "mIoU": image.mean_iou,
                "pixel_accuracy": image.pixel_accuracy,
                "wrong_pixels": wrong,
            }
            self._keep(row, truth, found)

    def _keep(self, row, truth, found):
        self.worst.append(row)
        self.worst.sort(key=lambda row: (row["mIoU"], -row["wrong_pixels"]))
        best = self.worst.pop() if len(self.worst) > self._most else None
        if best is row:
            return
        if best is not None:
            del self.shown[best["image"]]
        height, width, scale = shown_size(truth)
        # a copy in any case: whoever gave the maps may use their memory again
        height, width = (height, width) if scale < 1 else truth.shape
        self.shown[row["image"]] = Shown(
            nearest(truth, height, width), nearest(found, height, width), truth.shape
        )

    def metrics(self) -> dict[str, float]:
        """The measures of all classes together.

        Raises:
            ValueError: no pixel was counted.
        """
        total = self.total
        return {
            "mIoU": total.mean_iou,
            "foreground_mIoU": total.foreground_mean_iou,
            "Dice": mean_of_known(total.dice),
            "pixel_accuracy": total.pixel_accuracy,
            "mean_accuracy": total.mean_accuracy,
            "frequency_weighted_IoU": total.frequency_weighted_iou,
            "per_image_IoU": self.per_image.mean_iou,
            "trimap_IoU": mean_of_known(self._trimap_iou()),
        }

    def _trimap_iou(self):
        near = self.trimap
        return near.iou if near.pixels else np.full(near.num_classes, np.nan)

    def of_classes(self) -> list[dict[str, float]]:
        """The measures of each class: class_id, `CLASS_MEASURES`, images whose truth has it,
        true_pixels, found_pixels, true_share, found_share.
        """
        total = self.total
        columns = {
            "IoU": total.iou,
            "Dice": total.dice,
            "accuracy": total.class_accuracy,
            "precision": total.precision,
            "per_image_IoU": self.per_image.iou,
            "trimap_IoU": self._trimap_iou(),
            "images": self.per_image.images,
            "true_pixels": total.true_pixels,
            "found_pixels": total.found_pixels,
            "true_share": total.true_pixels / total.pixels,
            "found_share": total.found_pixels / total.pixels,
        }
        rows = zip(*(column.tolist() for column in columns.values()))
        return [
            {"class_id": class_id, **dict(zip(columns, row))} for class_id, row in enumerate(rows)
        ]

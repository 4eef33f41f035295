"""How well labels of pixels agree: the confusion matrix of label maps, and what follows from it.

A label map holds a class for each pixel, 0 the background, or void where no label is known. The
measures are those of FCN (Long et al. 2015, score.py) and PASCAL VOC, taken over the pixels of all
images together, never averaged over images or batches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.words import some

# Pixels that are counted at once: NumPy counts in integers of 8 bytes.
BLOCK = 1 << 20


class ConfusionMatrix:
    """Counts of pixels by true and found class, and the measures of them.

    Pixels whose truth is void count nowhere. A labelled pixel that is found void is wrong: it
    belongs to its class in the truth and was found as none, so that it lowers IoU, Dice and
    accuracy of its class and no precision.

    A measure of a class is NaN where nothing could have been right or wrong, such as the IoU of a
    class in neither truth nor prediction; such classes are not in the means. The IoU of a class
    that was found and is nowhere is 0.

    Args:
        num_classes: K, with the background.
        void: label of pixels without a class.

    Attributes:
        matrix: int64 [K, K], pixels of each true class (row) found as each class (column).
        unfound: int64 [K], pixels of each true class found void.

    Raises:
        ValueError: no class, or a void that is one. Measures raise it where no pixel was counted.

    Example:
        >>> confusion = ConfusionMatrix(3)
        >>> confusion.add(np.array([0, 0, 1, 1, 255]), np.array([0, 1, 1, 1, 0]))
        >>> confusion.mean_iou  # of 0.5, 0.667 and NaN: 0.583
    """

    def __init__(self, num_classes: int, void: int = 255) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        if void < num_classes:
            raise ValueError(
                f"void is {void}, which is a class: labels are 0 to {num_classes - 1}. "
                f"Give another, such as {255 if num_classes <= 255 else 65535}"
            )
        self.num_classes, self.void = num_classes, void
        self.matrix: NDArray[np.int64] = np.zeros((num_classes, num_classes), np.int64)
        self.unfound: NDArray[np.int64] = np.zeros(num_classes, np.int64)

    def __repr__(self) -> str:
        return f"<ConfusionMatrix of {self.num_classes} classes, {self.pixels:,} pixels>"

    # === Counting ===

    def add(self, truth: ArrayLike, found: ArrayLike) -> None:
        """Count the pixels of one image, or of several.

        Args:
            truth: labels 0 to K - 1 or void, of any integer type or bool; [h, w], [b, h, w] or
                any other shape.
            found: labels likewise, of the same shape.

        Raises:
            ValueError: naming shapes or types that are wrong, or a label that is none; nothing is
                counted then.
        """
        truth, found = label_maps(truth, found)
        truth, found = truth.reshape(-1), found.reshape(-1)
        counts = np.zeros((self.num_classes + 1,) * 2, np.int64)
        for start in range(0, truth.size, BLOCK):
            block = slice(start, start + BLOCK)
            counts += self._count(truth[block], found[block])
        # the last row is void in the truth
        self.matrix += counts[:-1, :-1]
        self.unfound += counts[:-1, -1]

    def _count(self, truth, found):
        """int64 [K + 1, K + 1] of flat labels; the last row and column are void."""
        side = self.num_classes + 1
        codes = self._ranks(truth, "true")  # smallest type that holds all pairs
        codes *= side
        codes += self._ranks(found, "found")
        counts = np.bincount(codes, minlength=side**2).reshape(side, side)
        for labels, which, void in (
            (truth, "true", counts[-1].sum()),
            (found, "found", counts[:, -1].sum()),
        ):
            if void != np.count_nonzero(labels == self.void):
                self._refuse(labels, which)
        return counts

    def _ranks(self, labels, which):
        """Labels with all above K - 1 as K, in a type with room for ``_count``."""
        if labels.dtype.kind == "b":
            labels = labels.view(np.uint8)
        if labels.dtype.kind == "i" and labels.min(initial=0) < 0:
            self._refuse(labels, which)
        if np.iinfo(labels.dtype).max > self.num_classes:
            labels = np.minimum(labels, self.num_classes)
        return labels.astype(np.min_scalar_type((self.num_classes + 1) ** 2 - 1))

    def _refuse(self, labels, which):
        wrong = np.unique(labels)
        wrong = wrong[((wrong < 0) | (wrong >= self.num_classes)) & (wrong != self.void)]
        raise ValueError(
            f"the {which} label map has the label{'s' * (len(wrong) > 1)} {some(wrong, 5)}; labels "
            f"are 0 to {self.num_classes - 1}, and {self.void} for void"
        )

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """The matrix of the pixels of both.

        Raises:
            ValueError: they differ in classes or void.
        """
        if not isinstance(other, ConfusionMatrix):
            return NotImplemented
        if (self.num_classes, self.void) != (other.num_classes, other.void):
            raise ValueError(
                f"matrices of {self.num_classes} and {other.num_classes} classes with void "
                f"{self.void} and {other.void} cannot be added"
            )
        total = ConfusionMatrix(self.num_classes, self.void)
        total.matrix = self.matrix + other.matrix
        total.unfound = self.unfound + other.unfound
        return total

    # === Counts ===

    @property
    def pixels(self) -> int:
        """Number of pixels counted."""
        return int(self.matrix.sum() + self.unfound.sum())

    @property
    def true_pixels(self) -> NDArray[np.int64]:
        """Pixels of each class in the truth, int64 [K]."""
        return self.matrix.sum(axis=1) + self.unfound

    @property
    def found_pixels(self) -> NDArray[np.int64]:
        """Pixels found as each class, where the truth is not void, int64 [K]."""
        return self.matrix.sum(axis=0)

    @property
    def hits(self) -> NDArray[np.int64]:
        """Pixels of each class that were found as it, int64 [K].

        Raises:
            ValueError: no pixel was counted.
        """
        if not self.pixels:
            raise ValueError(
                f"no pixel has a label: nothing was added, or the truth is all void ({self.void})"
            )
        return np.diagonal(self.matrix)

    # === Measures ===

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each class, [K]."""
        hits = self.hits
        return _ratio(hits, self.true_pixels + self.found_pixels - hits)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of all classes, with the background."""
        return mean_of_known(self.iou)

    @property
    def foreground_mean_iou(self) -> float:
        """Mean IoU of all classes but the background."""
        return mean_of_known(self.iou[1:])

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice coefficient of each class, which is the F1 of its pixels, [K]."""
        return _ratio(2 * self.hits, self.true_pixels + self.found_pixels)

    @property
    def class_accuracy(self) -> NDArray[np.float64]:
        """Share of the pixels of each class that were found as it: recall, [K]."""
        return _ratio(self.hits, self.true_pixels)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of the pixels found as each class that are of it, [K]."""
        return _ratio(self.hits, self.found_pixels)

    @property
    def pixel_accuracy(self) -> float:
        """Share of all pixels whose class was found."""
        return float(self.hits.sum() / self.pixels)

    @property
    def mean_accuracy(self) -> float:
        """Mean of `class_accuracy`, over the classes in the truth."""
        return mean_of_known(self.class_accuracy)

    @property
    def frequency_weighted_iou(self) -> float:
        """Mean IoU, each class weighted with its pixels in the truth."""
        there = self.true_pixels > 0
        return float(np.average(self.iou[there], weights=self.true_pixels[there]))


class PerImageIoU:
    """IoU of each class in each image, mean of the images whose truth has the class.

    A small object weighs as much as a large one, unlike in the IoU of all pixels together.

    Args:
        num_classes: K, with the background.

    Attributes:
        images: int64 [K], number of images whose truth has each class.
    """

    def __init__(self, num_classes: int) -> None:
        self.images = np.zeros(num_classes, np.int64)
        self._sums = np.zeros(num_classes)

    def add(self, image: ConfusionMatrix) -> None:
        """Add the matrix of one image.

        Raises:
            ValueError: it has no pixel.
        """
        there = image.true_pixels > 0
        self._sums[there] += image.iou[there]
        self.images += there

    @property
    def iou(self) -> NDArray[np.float64]:
        """[K], NaN for a class that no image has."""
        return _ratio(self._sums, self.images)

    @property
    def mean_iou(self) -> float:
        """Mean of the classes."""
        return mean_of_known(self.iou)


def label_maps(truth: ArrayLike, found: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two label maps as arrays.

    Raises:
        ValueError: they differ in shape, or are not of integers or bool.
    """
    truth, found = np.asarray(truth), np.asarray(found)
    if truth.shape != found.shape:
        raise ValueError(
            f"the true label map has the shape {truth.shape}, the one found {found.shape}; "
            "they must be equal"
        )
    for labels, which in ((truth, "true"), (found, "found")):
        if labels.dtype.kind not in "biu":
            raise ValueError(
                f"the {which} labels are of type {labels.dtype}; they must be integers: of "
                "scores take the argmax over the classes"
            )
    return truth, found


def mean_of_known(values: NDArray[np.float64]) -> float:
    """Mean without the NaN; NaN where there is nothing else."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _ratio(part, whole):
    """part / whole, NaN where whole is 0."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)

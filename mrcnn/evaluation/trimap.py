"""Agreement of label maps near the borders of the classes, where the pixels are hard to label.

Most pixels of an image lie far from any border, and a network that blurs every outline still has
most of them right. The trimap (Kohli et al. 2009) leaves a narrow band around the true borders.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.evaluation.confusion import ConfusionMatrix, label_maps

# Width of the band on each side of a border, px.
DISTANCE = 3


def check_distance(distance: float) -> None:
    """Raise a ValueError for a distance below 1 px, within which there is no other pixel."""
    if distance < 1:
        raise ValueError(f"the distance of a trimap is {distance} px; it must be at least 1")


def near_border(truth: ArrayLike, distance: float = DISTANCE, void: int = 255) -> NDArray[np.bool_]:
    """Which pixels lie within some pixels of another class.

    The distance is Euclidean, between the centres of pixels: 1 gives one row of pixels on either
    side of a straight border. Void is no class, so that its edge is no border, and neither is the
    edge of the image. A rim of void between two classes, as PASCAL VOC has it, counts with its
    width: pixels beside one of 5 px are 6 px from the other class.

    The time grows with the square of the distance: about 1 ms for 512 x 512 px and 3 px, 10 ms for
    10 px.

    Args:
        truth: labels, integers [..., h, w].
        distance: px, at least 1.
        void: label of pixels without a class.

    Returns:
        bool [..., h, w]; False for void.

    Raises:
        ValueError: a distance below 1.
    """
    check_distance(distance)
    truth = np.asarray(truth)
    labelled = truth != void
    some_void = not labelled.all()
    near = np.zeros(truth.shape, bool)
    # Comparing shifted maps, one half of the disk for both pixels of a pair, is 15 times as fast as
    # a Euclidean distance transform for 3 px, and exact for any number of classes.
    height, width = truth.shape[-2:]
    reach = int(distance)
    for down in range(min(reach, height - 1) + 1):
        for right in range(-min(reach, width - 1), min(reach, width - 1) + 1):
            if down**2 + right**2 > distance**2 or (down == 0 and right <= 0):
                continue
            left, end = max(right, 0), width + min(right, 0)
            here = (..., slice(down, height), slice(left, end))
            there = (..., slice(0, height - down), slice(left - right, end - right))
            differ = truth[here] != truth[there]
            if some_void:
                differ &= labelled[here] & labelled[there]
            near[here] |= differ
            near[there] |= differ
    return near


def trimap_matrix(
    truth: ArrayLike,
    found: ArrayLike,
    num_classes: int,
    distance: float = DISTANCE,
    void: int = 255,
) -> ConfusionMatrix:
    """The confusion matrix of the pixels near a true border; its ``mean_iou`` is the trimap IoU.

    Args:
        truth: labels [..., h, w].
        found: labels of the same shape.
        num_classes: with the background.
        distance: as of `near_border`.
        void: label of pixels without a class.

    Raises:
        ValueError: those of `near_border` and of `ConfusionMatrix.add`.
    """
    truth, found = label_maps(truth, found)
    near = near_border(truth, distance, void)
    matrix = ConfusionMatrix(num_classes, void)
    matrix.add(truth[near], found[near])
    return matrix

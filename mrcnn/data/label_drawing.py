"""Label maps as pictures: a colour for each class, void hatched."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.data.drawing import class_colors

# Grey values of the stripes of void, and their width in px.
VOID_STRIPES, STRIPE = (255, 185), 4


def paint_labels(labels: ArrayLike, num_classes: int, void: int = 255) -> NDArray[np.uint8]:
    """A label map in the colours of its classes, those of `drawing.class_colors`.

    The background is grey, void has diagonal stripes of two light greys.

    Args:
        labels: integers [h, w], 0 to num_classes - 1 or void.
        num_classes: with the background.
        void: label of pixels without a class.

    Returns:
        uint8 [h, w, 3].

    Raises:
        ValueError: a label that is neither a class nor void.
    """
    labels = np.asarray(labels)
    empty = labels == void
    shown = np.where(empty, 0, labels)
    if shown.size and not 0 <= shown.min() <= shown.max() < num_classes:
        wrong = shown[(shown < 0) | (shown >= num_classes)][0]
        raise ValueError(
            f"the label map has the label {wrong}; labels are 0 to {num_classes - 1}, and {void} "
            "for void"
        )
    palette = np.rint(255 * np.array(class_colors(num_classes))).astype(np.uint8)
    picture = palette[shown]
    paint_void(picture, empty)
    return picture


def paint_void(picture: NDArray[np.uint8], where: NDArray[np.bool_]) -> None:
    """Stripe the pixels of a uint8 [h, w, 3] picture where a bool [h, w] says so, in place."""
    rows, columns = np.nonzero(where)
    picture[rows, columns] = np.array(VOID_STRIPES, np.uint8)[(rows + columns) // STRIPE % 2, None]

"""Label maps as pictures: a colour for each class, void hatched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.words import on_one_line
from mrcnn.config.classes import numbered_names
from mrcnn.data.drawing import class_colors
from mrcnn.data.fonts import drawable, font_file, load_font
from mrcnn.data.images import LUMA

# Grey values of the stripes of void, and their width in px.
VOID_STRIPES, STRIPE = (255, 185), 4
# Height of the letters of names, px.
TEXT = 12


def paint_labels(labels: ArrayLike, num_classes: int, void: int = 255) -> NDArray[np.uint8]:
    """A label map in the colours of its classes, those of `drawing.class_colors`.

    The background is grey, void has diagonal stripes of two light greys. Between two labels there
    is a line of a darker shade, 1 px wide.

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
    picture[_borders(labels)] //= 2  # neighbours of many classes may have nearly the same colour
    paint_void(picture, empty)
    return picture


def _borders(labels):
    """Pixels whose label differs from that of the pixel below or to the right."""
    borders = np.zeros(labels.shape, bool)
    borders[:-1] |= labels[:-1] != labels[1:]
    borders[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return borders


def write_class_names(
    picture: NDArray[np.uint8], labels: NDArray[np.integer], class_names: Sequence[str]
) -> NDArray[np.uint8]:
    """Write the name of each class into a region of it, where there is one with room for it.

    Args:
        picture: of `paint_labels`.
        labels: integers [h, w]; those without a name are void.
        class_names: of the labels from 0 on.

    Returns:
        uint8 [h, w, 3].
    """
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    numbers = numbered_names(len(class_names))
    for label in np.unique(labels).tolist():
        if label >= len(class_names):
            continue
        text = drawable(on_one_line(class_names[label]), instead=numbers[label])
        font = load_font(TEXT, font_file(text)[0])
        width, height = int(np.ceil(font.getlength(text))) + 4, sum(font.getmetrics()) + 2
        place = _room(labels == label, height, width)
        if place is not None:
            row, column = place
            # black on light colours, white on dark ones
            light = picture[row, column] @ LUMA > 128
            color = (0, 0, 0) if light else (255, 255, 255)
            draw.text((column + 2, row + 1), text, fill=color, font=font)
    return np.array(canvas)


def _room(mask, height, width):
    """(row, column) of the corner of a box inside a mask, in the middle of the longest run of such
    boxes; None where the mask has no room for one.
    """
    # sums over boxes, by the sums of everything above and to the left
    sums = np.pad(mask, ((1, 0), (1, 0))).cumsum(0, np.int64).cumsum(1)
    if mask.shape[0] < height or mask.shape[1] < width:
        return None
    boxes = (
        sums[height:, width:]
        - sums[:-height, width:]
        - sums[height:, :-width]
        + sums[:-height, :-width]
    ) == height * width
    if not boxes.any():
        return None
    starts = np.flatnonzero(np.diff(np.pad(boxes, ((0, 0), (1, 1))).ravel().astype(np.int8)))
    first, end = starts[::2], starts[1::2]
    longest = np.argmax(end - first)
    middle = (first[longest] + end[longest]) // 2 + 1
    row, column = divmod(int(middle), boxes.shape[1] + 2)
    return row, column - 1


def paint_void(picture: NDArray[np.uint8], where: NDArray[np.bool_]) -> None:
    """Stripe the pixels of a uint8 [h, w, 3] picture where a bool [h, w] says so, in place."""
    rows, columns = np.nonzero(where)
    picture[rows, columns] = np.array(VOID_STRIPES, np.uint8)[(rows + columns) // STRIPE % 2, None]

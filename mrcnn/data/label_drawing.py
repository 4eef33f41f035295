"""Label maps as pictures, alone or on their image: a colour for each class, void hatched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.words import on_one_line
from mrcnn.config.classes import numbered_names
from mrcnn.data.drawing import as_rgb, check_color_by, class_colors
from mrcnn.data.fonts import drawable, font_file, load_font
from mrcnn.data.images import LUMA
from mrcnn.data.labels import void_of
from mrcnn.data.masks import number_pieces

# Grey values of the stripes of void, and their width in px.
VOID_STRIPES, STRIPE = (255, 185), 4
# Height of the letters of names, px.
TEXT = 12


def palette_of(count: int) -> NDArray[np.uint8]:
    """`drawing.class_colors` as uint8 [count, 3]."""
    return np.rint(255 * np.array(class_colors(count))).astype(np.uint8)


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
    picture = palette_of(num_classes)[shown]
    picture[_borders(labels)] //= 2  # neighbours of many classes may have nearly the same colour
    paint_void(picture, empty)
    return picture


def _borders(labels):
    """Pixels whose label differs from that of the pixel below or to the right."""
    borders = np.zeros(labels.shape, bool)
    borders[:-1] |= labels[:-1] != labels[1:]
    borders[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return borders


def draw_labels(
    image: ArrayLike,
    labels: np.ndarray,
    class_names: Sequence[str],
    alpha: float = 0.5,
    color_by: str = "class",
    names: bool = True,
) -> NDArray[np.uint8]:
    """Paint a label map into a copy of its image, which the background shows as it is.

    Void has diagonal stripes. Regions have a line along their inner side.

    Args:
        image: [h, w], [h, w, 1], [h, w, 3] or [h, w, 4].
        labels: label map [h, w].
        class_names: of the labels from 0 on.
        alpha: weight of the colours, 0..1.
        color_by: "class" for `drawing.class_colors`, or "object": each region another colour.
        names: whether the name of each class is written into a region of it with room for it.

    Returns:
        uint8 [h, w, 3].

    Raises:
        ValueError: the sizes differ, or another ``color_by``.
    """
    check_color_by(color_by)
    canvas, labels = as_rgb(image), np.asarray(labels)
    if labels.shape != canvas.shape[:2]:
        raise ValueError(
            f"the label map is {' x '.join(map(str, labels.shape))} pixels, the image is "
            f"{canvas.shape[0]} x {canvas.shape[1]}"
        )
    empty = labels == void_of(labels)
    colored = np.where(empty, 0, labels)
    if color_by == "object":
        colored, _ = number_pieces(colored.astype(np.int32))
    palette = palette_of(max(int(colored.max()) + 1, len(class_names)))
    inside = colored > 0
    colors = palette[colored[inside]]
    canvas[inside] = np.rint(canvas[inside] * (1 - alpha) + alpha * colors).astype(np.uint8)
    rims = _rims(labels, max(1, round(max(labels.shape) / 450))) & inside
    canvas[rims] = palette[colored[rims]]
    paint_void(canvas, empty)
    if not names:
        return canvas
    named = np.where(inside, labels, len(class_names))
    return write_class_names(canvas, named, class_names, palette if color_by == "class" else None)


def _rims(labels, width):
    """Pixels that are less than ``width`` steps along a row or a column from another label."""
    rims = np.zeros(labels.shape, bool)
    for step in range(1, width + 1):
        below = labels[step:] != labels[:-step]
        rims[step:] |= below
        rims[:-step] |= below
        right = labels[:, step:] != labels[:, :-step]
        rims[:, step:] |= right
        rims[:, :-step] |= right
    return rims


def write_class_names(
    picture: NDArray[np.uint8],
    labels: NDArray[np.integer],
    class_names: Sequence[str],
    palette: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Write the name of each class into a region of it, where there is one with room for it.

    Args:
        picture: of `paint_labels` or `draw_labels`.
        labels: integers [h, w]; those without a name are void.
        class_names: of the labels from 0 on.
        palette: uint8 [classes, 3] of the ground that names are written on; None: the picture.

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
            ground = picture[row, column] if palette is None else palette[label]
            if palette is not None:
                corner = column + width - 1, row + height - 1
                draw.rectangle((column, row, *corner), fill=tuple(ground.tolist()))
            # black on light colours, white on dark ones
            color = (0, 0, 0) if ground @ LUMA > 128 else (255, 255, 255)
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

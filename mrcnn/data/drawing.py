"""Drawing into arrays: masks, outlines, boxes and labels as pixels, without matplotlib.

Colours are (red, green, blue) in 0..1. Boxes are (y1, x1, y2, x2) in pixels, y2 and x2
exclusive. Pillow is imported only where text is drawn or a file is written.
"""

import colorsys
import io
import os
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.files import AnyPath, write_whole
from mrcnn.common.words import on_one_line
from mrcnn.config.classes import numbered_names
from mrcnn.data.fonts import drawable, font_file, load_font
from mrcnn.data.images import LUMA, as_uint8_range, fit_channels

Color = tuple[float, float, float]  # (red, green, blue) in 0..1
_FILE_TYPES = (".png", ".jpg", ".jpeg")
COLOR_BY = ("class", "object")
# What the pictures that are written say of themselves, so that they can be told from photos.
MADE_BY = "Made by mrcnn"


# === Colours ===


def random_colors(N: int, bright: bool = True) -> list[Color]:
    """N colours of evenly spaced hue in random order (Python's ``random``).

    Args:
        N: how many.
        bright: full brightness, else 0.7 of it.

    Returns:
        list of N (r, g, b) in 0..1.
    """
    value = 1.0 if bright else 0.7
    colors = [colorsys.hsv_to_rgb(i / N, 1, value) for i in range(N)]
    random.shuffle(colors)
    return colors


def class_colors(count: int) -> list[Color]:
    """A fixed colour for each class id: the same one in every picture and for every count.

    Returns:
        list of ``count`` (r, g, b) in 0..1; index 0, the background, is grey.
    """
    colors = [(0.5, 0.5, 0.5)]
    for i in range(count - 1):
        # Steps of the golden ratio keep hues apart however many classes there are.
        hue = (0.02 + i * 0.618033988749895) % 1
        colors.append(colorsys.hsv_to_rgb(hue, (0.95, 0.65)[i // 12 % 2], (1.0, 0.8)[i // 6 % 2]))
    return colors[:count]


def check_color_by(color_by: str) -> None:
    """Raise a ValueError for what `instance_colors` does not know."""
    if color_by not in COLOR_BY:
        raise ValueError(f"color_by is {color_by!r}; it must be one of {', '.join(COLOR_BY)}")


def instance_colors(
    class_ids: Sequence[int] | np.ndarray, classes: int, color_by: str = "class"
) -> list[Color]:
    """A colour for each object of an image.

    Args:
        class_ids: [N] int, negative for crowds.
        classes: number of classes, with the background.
        color_by: "class": the fixed colour of its class (`class_colors`); "object": each another
            one, so that objects of one class that touch can be told apart.

    Raises:
        ValueError: another ``color_by``.
    """
    check_color_by(color_by)
    if color_by == "object":
        return class_colors(len(class_ids) + 1)[1:]
    palette = class_colors(classes)
    return [palette[abs(int(class_id)) % classes] for class_id in class_ids]


def _to_uint8_color(color):
    return tuple(round(255 * channel) for channel in color[:3])


# === Pixels ===


def as_rgb(image: ArrayLike) -> NDArray[np.uint8]:
    """Any image as a new uint8 [H, W, 3]: grey is repeated, alpha dropped, 16 bit scaled.

    Of more than four channels the first three are shown.

    Raises:
        ValueError: not an image, or values that are no pixels (``as_uint8_range``).
    """
    image = as_uint8_range(image)
    if image.ndim == 3 and image.shape[2] > 4:
        image = image[..., :3]
    return np.array(fit_channels(image, 3), dtype=np.uint8)


def apply_mask(
    image: np.ndarray, mask: ArrayLike, color: Sequence[float], alpha: float = 0.5
) -> np.ndarray:
    """Blend a colour into an image where ``mask`` is 1, in place.

    Args:
        image: [H, W, 3 or more], values 0..255.
        mask: [H, W], bool or 0/1.
        color: (r, g, b) in 0..1.
        alpha: weight of the colour, 0..1.

    Returns:
        ``image``.
    """
    inside = np.asarray(mask) == 1
    for channel in range(3):
        values = image[inside, channel] * (1 - alpha) + alpha * color[channel] * 255
        image[inside, channel] = values
    return image


def draw_box(
    image: np.ndarray, box: Sequence[float] | np.ndarray, color: float | Sequence[float]
) -> np.ndarray:
    """Draw the outline of a box, 2 pixels wide, in place.

    Args:
        image: [H, W, C] array.
        box: (y1, x1, y2, x2) in pixels; what lies outside the image is not drawn.
        color: value of the pixels (a number, or C of them), in the unit of the image.

    Returns:
        ``image``.
    """
    y1, x1, y2, x2 = (int(value) for value in box)

    def fill(top, left, bottom, right):
        # A negative start would wrap round to the other side of the image.
        image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = color

    fill(y1, x1, y1 + 2, x2)
    fill(y2, x1, y2 + 2, x2)
    fill(y1, x1, y2, x1 + 2)
    fill(y1, x2, y2, x2 + 2)
    return image


def mask_outline(mask: ArrayLike, width: int = 1) -> NDArray[np.bool_]:
    """The rim of a mask: its pixels less than ``width`` steps from the outside. Bool [H, W]."""
    mask = np.asarray(mask, dtype=bool)
    outline = np.zeros_like(mask)
    part = _extent(mask)
    if not part:
        return outline
    inner = mask[part]
    for _ in range(width):
        padded = np.pad(inner, 1)
        inner = (
            padded[1:-1, 1:-1]
            & padded[:-2, 1:-1]
            & padded[2:, 1:-1]
            & padded[1:-1, :-2]
            & padded[1:-1, 2:]
        )
    outline[part] = mask[part] & ~inner
    return outline


def _extent(mask):
    """The slices (rows, columns) that hold a mask's pixels, or None where it has none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if len(rows) else None


# === Labels ===


def instance_label(class_id: int, class_names: Sequence[str], score: float | None = None) -> str:
    """ "name" or "name 0.987", on one line; a negative class id is a crowd of that class.

    Raises:
        ValueError: ``class_names`` has no such class.
    """
    class_id = int(class_id)
    if abs(class_id) >= len(class_names):
        raise ValueError(
            f"class id {class_id} has no name: class_names has {len(class_names)} "
            "names, the first of them for the background"
        )
    name = on_one_line(class_names[abs(class_id)]) + (" crowd" if class_id < 0 else "")
    return name if score is None else f"{name} {score:.3f}"


def _fitting_text(text, size, width, height):
    """The text with a font and box size (w, h) such that it fits into the image."""
    path, _ = font_file(text)
    while True:
        font = load_font(size, path)
        ascent, descent = font.getmetrics()
        text_width, text_height = int(np.ceil(font.getlength(text))) + 4, ascent + descent + 2
        if text_width <= width and text_height <= height:
            return text, font, text_width, text_height
        if size > 7:
            size -= 1
        elif text:
            text = text[:-1]
        else:
            return text, font, 0, 0


def _label_place(box, text_width, text_height, width, height, taken):
    """Top left corner (x, y) of a label near its box, inside the image, on no other label."""
    y1, x1, y2, x2 = box
    rows = (y1 - text_height, y1, y2 - text_height, y2)
    places = [
        (min(max(x, 0), width - text_width), min(max(y, 0), height - text_height))
        for x in (x1, x2 - text_width)
        for y in rows
    ]
    for x, y in places:
        if not any(
            x < right and left < x + text_width and y < bottom and top < y + text_height
            for left, top, right, bottom in taken
        ):
            return x, y
    return places[0]


# === Instances ===


def check_instances(
    image: np.ndarray,
    boxes: np.ndarray,
    masks: np.ndarray | None,
    class_ids: Sequence[int] | np.ndarray,
    scores: Sequence[float] | np.ndarray | None = None,
    colors: Sequence[Sequence[float]] | None = None,
) -> None:
    """Check that the arrays of one image agree.

    Raises:
        ValueError: naming what disagrees, with the shapes.
    """
    count = len(boxes)
    lengths = {"boxes": count, "class_ids": len(class_ids)}
    if masks is not None:
        lengths["masks"] = masks.shape[-1]
    if scores is not None:
        lengths["scores"] = len(scores)
    if len(set(lengths.values())) > 1:
        raise ValueError(f"one image, but different numbers of instances: {lengths}")
    if colors is not None and len(colors) < count:
        raise ValueError(f"{len(colors)} colors for {count} instances; give one for each")
    if masks is not None and count and tuple(masks.shape[:2]) != tuple(image.shape[:2]):
        raise ValueError(
            f"masks are {masks.shape[0]}x{masks.shape[1]} pixels, the image is "
            f"{image.shape[0]}x{image.shape[1]}"
        )


def draw_instances(
    image: ArrayLike,
    boxes: np.ndarray,
    masks: np.ndarray | None,
    class_ids: Sequence[int] | np.ndarray,
    class_names: Sequence[str],
    scores: Sequence[float] | np.ndarray | None = None,
    colors: Sequence[Sequence[float]] | None = None,
    alpha: float = 0.5,
    color_by: str = "class",
    labels: bool = True,
) -> NDArray[np.uint8]:
    """Paint detections or objects into a copy of the image.

    Args:
        image: [H, W], [H, W, 1], [H, W, 3] or [H, W, 4].
        boxes: [N, (y1, x1, y2, x2)] px; rows of zeros are padding and not drawn.
        masks: [H, W, N] bool, or None.
        class_ids: [N] int.
        class_names: list of names by class id.
        scores: [N], or None for labels without a score.
        colors: N (r, g, b) in 0..1; None: by ``color_by``.
        alpha: weight of the colour inside a mask, 0..1.
        color_by: "class" or "object"; see `instance_colors`.
        labels: False leaves out names and scores, which hide small objects.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: the arrays disagree, or a class has no name.
    """
    from PIL import Image, ImageDraw

    canvas = as_rgb(image)
    check_instances(canvas, boxes, masks, class_ids, scores, colors)
    if colors is None:
        colors = instance_colors(class_ids, len(class_names), color_by)
    height, width = canvas.shape[:2]
    line = max(1, round(max(height, width) / 450))
    # The best instance is painted last, on top of the others.
    order = [
        i for i in (range(len(boxes)) if scores is None else np.argsort(scores)) if np.any(boxes[i])
    ]
    if masks is not None:
        for i in order:
            mask = masks[:, :, i] > 0
            part = _extent(mask)
            if part:
                mask, painted = np.ascontiguousarray(mask[part]), canvas[part]
                apply_mask(painted, mask, colors[i], alpha)
                painted[mask_outline(mask, line)] = _to_uint8_color(colors[i])

    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    pixel_boxes = {i: tuple(round(float(value)) for value in boxes[i]) for i in order}
    for i in order:
        y1, x1, y2, x2 = pixel_boxes[i]
        draw.rectangle(
            [x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)],
            outline=_to_uint8_color(colors[i]),
            width=line,
        )
    taken: list[tuple[int, int, int, int]] = []
    numbers = numbered_names(len(class_names))
    for i in reversed(order) if labels else ():  # the best label has the first choice of place
        score = None if scores is None else scores[i]
        text = instance_label(class_ids[i], class_names, score)
        text = drawable(text, instead=instance_label(class_ids[i], numbers, score))
        size = int(np.clip(round(max(height, width) / 45), 10, 28))
        text, font, text_width, text_height = _fitting_text(text, size, width, height)
        if not text:
            continue
        x, y = _label_place(pixel_boxes[i], text_width, text_height, width, height, taken)
        taken.append((x, y, x + text_width, y + text_height))
        color = _to_uint8_color(colors[i])
        draw.rectangle([x, y, x + text_width - 1, y + text_height - 1], fill=color)
        # Black on light colours, white on dark ones (luma of ITU-R BT.601).
        light = np.dot(color, LUMA) > 128
        draw.text((x + 2, y + 1), text, fill=(0, 0, 0) if light else (255, 255, 255), font=font)
    return np.array(picture)


def save_instances(
    path: AnyPath,
    image: ArrayLike,
    boxes: np.ndarray,
    masks: np.ndarray | None,
    class_ids: Sequence[int] | np.ndarray,
    class_names: Sequence[str],
    scores: Sequence[float] | np.ndarray | None = None,
    colors: Sequence[Sequence[float]] | None = None,
    alpha: float = 0.5,
    color_by: str = "class",
    labels: bool = True,
) -> str:
    """Write the picture of ``draw_instances`` to a .png, .jpg or .jpeg file.

    Returns:
        the path, as str.

    Raises:
        ValueError: another extension, or what ``draw_instances`` raises.
        FileNotFoundError: the folder does not exist.
    """
    path = picture_path(path)
    what = image, boxes, masks, class_ids, class_names, scores, colors
    write_picture(path, draw_instances(*what, alpha, color_by, labels))
    return path


def picture_path(path: AnyPath) -> str:
    """The path of a picture to write, as str.

    Raises:
        ValueError: another extension than .png, .jpg or .jpeg.
        FileNotFoundError: the folder does not exist.
    """
    path = os.fspath(path)
    extension = os.path.splitext(path)[1].lower()
    if extension not in _FILE_TYPES:
        raise ValueError(
            f"{path}: cannot write a {extension or 'nameless'} picture; the name must "
            f"end in one of {', '.join(_FILE_TYPES)}"
        )
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{path}: the folder {folder} does not exist; create it first")
    return path


def write_picture(path: AnyPath, picture: np.ndarray) -> None:
    """Write uint8 [h, w], [h, w, 3] or [h, w, 4] to a .png, .jpg or .jpeg file, whole or not at
    all. It begins with `MADE_BY`, as a comment.
    """
    from PIL import Image, PngImagePlugin

    content = io.BytesIO()  # Pillow that writes to a full disk may cut a file off and say nothing
    image = Image.fromarray(picture)
    if os.fspath(path).lower().endswith(".png"):
        comments = PngImagePlugin.PngInfo()
        comments.add_text("Software", MADE_BY)
        image.save(content, "PNG", pnginfo=comments)
    else:
        image.save(content, "JPEG", quality=95, comment=MADE_BY)
    write_whole(path, content.getbuffer(), durable=False)  # it can be drawn again

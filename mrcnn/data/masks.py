"""Instance masks: their boxes, their resizing, and the small masks of training.

Masks are [height, width, instances]; boxes are (y1, x1, y2, x2) in pixels with
y2 and x2 exclusive.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.data.resize import resize, sources

# Share of an object's pixels of which less is no object to learn from: see `ignore_left_overs`.
LEAST_LEFT = 0.1
# Rows of an image that are worked on at once: of a hundred masks of 1024 px these fit a processor's
# cache.
BLOCK = 16


def each_in_one_piece(mask: np.ndarray) -> np.ndarray:
    """The same masks [height, width, N], each of them in one piece of memory, as readers return
    them.

    Masks that were stacked along the last axis lie beside each other pixel by pixel. To resize
    them, and to find their boxes, then takes ten times as long.
    """
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(mask, -1, 0)), 0, -1)


def foreground(values: np.ndarray) -> NDArray[np.bool_]:
    """Where the values of a mask mean its object.

    Floats up to 1 are the object from 0.5 on. Of other values, a mask of 0 and one more, whichever
    it is, is the object where it is not 0. A mask of several has soft edges, as anti-aliasing,
    resizing and JPEG leave them: the object is where at least half of the range is reached, which
    ends at 255 or, with larger ones, at 65535 or the dtype's largest value. Values that all lie
    below half of it are no soft edges: the object is where they are not 0.

    Args:
        values: of any shape, bool or numbers.

    Returns:
        bool of the same shape.
    """
    if values.dtype == bool:
        return values
    largest = values.max(initial=0)
    if values.dtype.kind == "f" and largest < 2:  # a resize can go a little beyond 1
        return values >= 0.5
    on = values != 0
    half = _end_of_range(values.dtype, largest) / 2
    one_value = largest <= 1 or not (on & (values != largest)).any()
    return on if one_value or largest < half else values >= half


def _end_of_range(dtype, largest):
    """The value of a soft mask's inside, where ``largest`` is the greatest that occurs."""
    end = next((end for end in (255, 65535) if largest <= end), np.inf)
    return min(end, np.iinfo(dtype).max) if dtype.kind in "iu" else end


def binary_masks(masks: np.ndarray) -> NDArray[np.bool_]:
    """The `foreground` of each mask, bool [height, width, N], of masks of that shape."""
    if masks.dtype == bool or not masks.size:
        return masks.astype(bool, copy=False)
    layers = np.moveaxis(each_in_one_piece(masks), -1, 0)
    return np.moveaxis(np.stack([foreground(layer) for layer in layers]), 0, -1)


def mask_of_picture(pixels: np.ndarray) -> NDArray[np.bool_]:
    """The mask that an image file of one object shows: `foreground` of how white it is.

    What is transparent is black. Where the colours alone show nothing, as in a cut-out of one
    colour, the object is what is opaque.

    Args:
        pixels: [height, width] or [height, width, channels], as `images.read_image` gives them.

    Returns:
        bool [height, width].
    """
    return foreground(_whiteness(pixels))


def has_soft_edges(pixels: np.ndarray) -> bool:
    """Whether an image file of one object has values between its inside and its outside."""
    white = _whiteness(pixels)
    inside = white[mask_of_picture(pixels)]
    return bool(inside.size and ((white != 0) & (white != inside.max())).any())


def _whiteness(pixels):
    if pixels.ndim == 2:
        return pixels
    white = pixels[..., : 1 if pixels.shape[2] < 3 else 3].max(axis=-1)
    alpha = pixels[..., -1]
    if pixels.shape[2] not in (2, 4) or (alpha == alpha[:1, :1]).all():
        return white
    seen = white * (alpha / np.iinfo(alpha.dtype).max)
    if (white == white[:1, :1]).all() or not seen.any():
        return alpha
    return np.rint(seen).astype(white.dtype)


def number_pieces(mask: np.ndarray) -> tuple[NDArray[np.integer], int]:
    """Number the parts of a mask that do not touch, not even by a corner.

    Args:
        mask: bool [height, width]; or int, of which each value but 0 is a mask.

    Returns:
        int [height, width], 0 for the background and from 1 on for the pieces, and their number.
    """
    from skimage.measure import label

    return label(mask, connectivity=2, return_num=True)


def extract_bboxes(mask: ArrayLike) -> NDArray[np.int32]:
    """The tight box around every mask.

    Args:
        mask: [height, width, N], bool or 0 / not 0.

    Returns:
        int32 [N, (y1, x1, y2, x2)], y2 and x2 exclusive; zeros for an empty mask.
    """
    mask = np.asarray(mask)
    if mask.ndim != 3:
        raise ValueError(f"extract_bboxes needs masks [height, width, N], got shape {mask.shape}")
    height, width, count = mask.shape
    if mask.size == 0:
        return np.zeros((count, 4), dtype=np.int32)
    rows, columns = _any_in_rows_and_columns(mask)
    boxes = np.stack(
        [
            rows.argmax(axis=0),
            columns.argmax(axis=0),
            height - rows[::-1].argmax(axis=0),
            width - columns[::-1].argmax(axis=0),
        ],
        axis=1,
    )
    boxes[~rows.any(axis=0)] = 0
    return boxes.astype(np.int32)


def _any_in_rows_and_columns(masks):
    """``masks.any(axis=1)``, bool [height, N], and ``masks.any(axis=0)``, bool [width, N]."""
    height, width, count = masks.shape
    if not _side_by_side(masks):
        return masks.any(axis=1), masks.any(axis=0)
    rows, columns = np.empty((height, count), bool), np.zeros((width, count), bool)
    for start in range(0, height, BLOCK):
        part = masks[start : start + BLOCK]
        part = part if part.dtype == bool else part != 0
        rows[start : start + BLOCK] = _any_in_row(part)
        columns |= part.any(axis=0)
    return rows, columns


def _side_by_side(masks):
    """Whether the pixels of different masks lie beside each other in memory, not each mask in one
    piece.
    """
    return masks.shape[-1] > 1 and abs(masks.strides[2]) < abs(masks.strides[1])


def _any_in_row(masks):
    """``masks.any(axis=1)`` of bool [rows, width, N], in half the time: its two halves are laid on
    each other.
    """
    while masks.shape[1] > 8:
        half = masks.shape[1] // 2
        folded = masks[:, :half] | masks[:, half : 2 * half]
        if masks.shape[1] % 2:
            folded[:, 0] |= masks[:, -1]
        masks = folded
    return masks.any(axis=1)


def resize_mask(
    mask: ArrayLike,
    scale: float,
    padding: Sequence[tuple[int, int]],
    crop: tuple[int, int, int, int] | None = None,
    mode: str = "square",
) -> np.ndarray:
    """Resize masks the way `resize_image` resized their image.

    Nearest neighbour with aligned corners, unlike the image's bilinear mapping
    of pixel centres: scipy.ndimage.zoom(mask, [scale, scale, 1], order=0). In mode
    "fit" a pixel of the result is that of the mask in which its upper left corner lies, as
    torchvision takes it.

    Args:
        mask: [height, width, N].
        scale, padding, crop: as `resize_image` returned them.
        mode: as `resize_image` was given it; all but "fit" are one here.

    Returns:
        [new height, new width, N], a copy of the same dtype and order in memory.

    Raises:
        ValueError: mask is not [height, width, N].
    """
    mask = np.asarray(mask)
    if mask.ndim != 3:
        raise ValueError(f"resize_mask needs masks [height, width, N], got shape {mask.shape}")
    # ten times as fast along the memory: readers return each mask in one piece, others N beside
    # each other
    in_pieces = mask.strides[2] > mask.strides[0]
    parts = np.moveaxis(mask, -1, 0) if in_pieces else mask[np.newaxis]
    rows, columns = sources(mask.shape[0], mask.shape[1], scale, mode)
    y, x, height, width = (0, 0, len(rows[0]), len(columns[0])) if crop is None else crop
    (top, bottom), (left, right) = padding[:2] if crop is None else ((0, 0), (0, 0))
    resized = np.zeros(
        (len(parts), top + height + bottom, left + width + right, *parts.shape[3:]), mask.dtype
    )
    # one by one, so that what lies between stays in the processor's cache
    for part, target in zip(parts, resized):
        zoomed = part if scale == 1 else _zoom(part, rows, columns)
        target[top : top + height, left : left + width] = zoomed[y : y + height, x : x + width]
    return np.moveaxis(resized, 0, -1) if in_pieces else resized[0]


def _zoom(mask, rows, columns):
    """The rows and columns of a mask [height, width, ...] that `nearest` chose."""
    (rows, rows_inside), (columns, columns_inside) = rows, columns
    mask = mask.take(rows, axis=0).take(columns, axis=1)
    mask[rows_inside:] = 0
    mask[:, columns_inside:] = 0
    return mask


def ignore_left_overs(
    class_ids: NDArray[np.integer], left: np.ndarray, whole: np.ndarray
) -> NDArray[np.integer]:
    """Make crowds of objects of which a random cut, or another object, leaves less than LEAST_LEFT
    of the pixels.

    A hand at the image's edge is a poor example of a person, and no example of background: anchors
    and regions on a crowd are neither.

    Args:
        class_ids: int [N].
        left: [N], pixels that are left of each object.
        whole: [N], pixels that it had, at the same scale.

    Returns:
        int [N], below 0 for crowds, those of before included.
    """
    return np.where(left < LEAST_LEFT * whole, -np.abs(class_ids), class_ids)


def minimize_mask(
    bbox: np.ndarray, mask: np.ndarray, mini_shape: Sequence[int]
) -> NDArray[np.bool_]:
    """Cut masks to their boxes and shrink them to one small size, to save memory.

    Args:
        bbox: [N, (y1, x1, y2, x2)] in pixels, inside the mask.
        mask: [height, width, N], bool or 0 / not 0.
        mini_shape: (height, width) of the small masks, `MINI_MASK_SHAPE`.

    Returns:
        bool [mini height, mini width, N]: bilinear, 0.5 rounds to 0.

    Raises:
        ValueError: a box has no area.
    """
    mini_mask = np.zeros((*mini_shape, mask.shape[-1]), dtype=bool)
    for i in range(mask.shape[-1]):
        y1, x1, y2, x2 = bbox[i][:4]
        part = mask[y1:y2, x1:x2, i].astype(bool)
        if part.size == 0:
            raise ValueError(
                f"Invalid bounding box with area of zero: instance {i} has "
                f"(y1, x1, y2, x2) = {(int(y1), int(x1), int(y2), int(x2))} on a mask of "
                f"{mask.shape[0]} x {mask.shape[1]} pixels"
            )
        mini_mask[:, :, i] = np.around(resize(part, mini_shape)).astype(bool)
    return mini_mask


def expand_mask(
    bbox: np.ndarray, mini_mask: np.ndarray, image_shape: Sequence[int]
) -> NDArray[np.bool_]:
    """Put small masks back at their boxes (the inverse of `minimize_mask`, with loss).

    Args:
        bbox: [N, (y1, x1, y2, x2)] in pixels, inside the image.
        mini_mask: [mini height, mini width, N].
        image_shape: (height, width, ...) of the result in pixels.

    Returns:
        bool [height, width, N].
    """
    mask = np.zeros((*image_shape[:2], mini_mask.shape[-1]), dtype=bool)
    for i in range(mini_mask.shape[-1]):
        y1, x1, y2, x2 = bbox[i][:4]
        if y2 > y1 and x2 > x1:
            small = resize(mini_mask[:, :, i], (y2 - y1, x2 - x1))
            mask[y1:y2, x1:x2, i] = np.around(small).astype(bool)
    return mask


def unmold_mask(
    mask: np.ndarray, bbox: Sequence[int] | np.ndarray, image_shape: Sequence[int]
) -> NDArray[np.bool_]:
    """Put one mask of the network at its place in the image.

    Args:
        mask: [height, width], float32 in 0..1, such as 28 x 28.
        bbox: (y1, x1, y2, x2) in whole pixels, inside the image.
        image_shape: (height, width, ...) of the image in pixels.

    Returns:
        bool [height, width]: bilinear, then >= 0.5.
    """
    return unmold_masks([mask], [bbox], image_shape)[..., 0]


def unmold_masks(
    masks: Sequence[np.ndarray] | np.ndarray,
    boxes: Sequence[Sequence[int] | np.ndarray] | np.ndarray,
    image_shape: Sequence[int],
) -> NDArray[np.bool_]:
    """Put masks of the network at their places in the image, like `unmold_mask`.

    Args:
        masks: [N, height, width], float32 in 0..1.
        boxes: [N, (y1, x1, y2, x2)] in whole pixels, inside the image.
        image_shape: (height, width, ...) of the image in pixels.

    Returns:
        bool [height, width, N]; each mask lies in one piece in memory, so
        that filling and reading masks[:, :, i] is fast.
    """
    full_masks = np.zeros((len(masks), *image_shape[:2]), dtype=bool)
    for full_mask, mask, (y1, x1, y2, x2) in zip(full_masks, masks, boxes):
        full_mask[y1:y2, x1:x2] = resize(mask, (y2 - y1, x2 - x1)) >= 0.5
    return np.moveaxis(full_masks, 0, -1)


def compute_overlaps_masks(masks1: np.ndarray, masks2: np.ndarray) -> NDArray[np.floating]:
    """IoU of every mask of one set with every mask of another.

    Args:
        masks1: [height, width, N1], foreground where > 0.5.
        masks2: [height, width, N2].

    Returns:
        [N1, N2], float32 (float64 zeros where a set has no masks). Two empty
        masks have an IoU of 0.
    """
    count1, count2 = masks1.shape[-1], masks2.shape[-1]
    if count1 == 0 or count2 == 0:
        return np.zeros((count1, count2))
    if masks1.shape[:2] != masks2.shape[:2]:
        raise ValueError(
            "compute_overlaps_masks needs masks of one size, got "
            f"{masks1.shape[:2]} and {masks2.shape[:2]} (height, width)"
        )
    boxes1, parts1 = boxed_masks(masks1)
    boxes2, parts2 = boxed_masks(masks2)
    intersections = np.zeros((count1, count2), np.float32)
    # pixels are counted only where the boxes of two masks meet
    top, left = (np.maximum(boxes1[:, np.newaxis, side], boxes2[:, side]) for side in (0, 1))
    bottom, right = (np.minimum(boxes1[:, np.newaxis, side], boxes2[:, side]) for side in (2, 3))
    for i, j in zip(*np.nonzero((bottom > top) & (right > left))):
        first, second = (
            part[
                top[i, j] - box[0] : bottom[i, j] - box[0],
                left[i, j] - box[1] : right[i, j] - box[1],
            ]
            for part, box in ((parts1[i], boxes1[i]), (parts2[j], boxes2[j]))
        )
        intersections[i, j] = np.count_nonzero(first & second)
    areas1, areas2 = (
        np.array([np.count_nonzero(part) for part in parts], np.float32)
        for parts in (parts1, parts2)
    )
    unions = areas1[:, np.newaxis] + areas2 - intersections
    return np.divide(intersections, unions, out=np.zeros_like(unions), where=unions > 0)


def boxed_masks(masks: np.ndarray) -> tuple[NDArray[np.int32], list[NDArray[np.bool_]]]:
    """Boxes int32 [N, 4] of masks [height, width, N], and a list of each mask inside its box as a
    bool array.
    """
    masks = masks > 0.5 if masks.dtype != bool else masks
    boxes = extract_bboxes(masks)
    corners = boxes.tolist()
    if not _side_by_side(masks):
        return boxes, [
            np.ascontiguousarray(masks[y1:y2, x1:x2, index])
            for index, (y1, x1, y2, x2) in enumerate(corners)
        ]
    parts = [np.empty((y2 - y1, x2 - x1), bool) for y1, x1, y2, x2 in corners]
    for start in range(0, masks.shape[0], BLOCK):  # a few rows of all masks at a time
        for index, (y1, x1, y2, x2) in enumerate(corners):
            top, bottom = max(y1, start), min(y2, start + BLOCK)
            if top < bottom:
                parts[index][top - y1 : bottom - y1] = masks[top:bottom, x1:x2, index]
    return boxes, parts

"""From the network's outputs to results in the images' pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mrcnn.data.masks import unmold_masks
from mrcnn.data.paste import paste_masks
from mrcnn.inference.result import Result
from mrcnn.ops.boxes_np import has_area, norm_boxes, pixel_boxes

# The detections of one image: boxes [n, 4] px, class ids, scores, and masks [h, w, n].
Unmolded = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], np.ndarray]


class Found(NamedTuple):
    """The detections of one image, in its pixels."""

    rois: NDArray[np.int32]  # [n, 4]
    class_ids: NDArray[np.int32]  # [n]
    scores: NDArray[np.float32]  # [n]
    masks: np.ndarray  # bool [h, w, n]
    boxes: NDArray[np.float32]  # [n, 4], the rois before they are rounded


class Located(NamedTuple):
    """The detections of one image in its pixels, their masks not yet pasted."""

    boxes: NDArray[np.float64]  # [n, 4] px, not rounded
    class_ids: NDArray[np.int32]  # [n]
    scores: NDArray[np.float32]  # [n]
    masks: np.ndarray  # [n, mask h, mask w], each of its detection's own class

    def take(self, rows: np.ndarray) -> Located:
        """Some of them, by an index of the rows."""
        return Located(*(part[rows] for part in self))


def unmold_detections(
    detections: np.ndarray,
    mrcnn_mask: np.ndarray,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int] | np.ndarray,
    box_shift: int = 1,
    mask_paste: str = "resize",
) -> Unmolded:
    """Detections of one image in the pixels of the image as it was before molding.

    Args:
        detections: [n, 6] of (y1, x1, y2, x2, class id, score), normalised; a class id of 0
            ends the list.
        mrcnn_mask: [n, mask h, mask w, classes] probabilities.
        original_image_shape: (h, w, ...) px.
        image_shape: (H, W, ...) px of the molded image.
        window: (y1, x1, y2, x2) px, the part of the molded image that is not padding.
        box_shift, mask_paste: BOX_SHIFT and MASK_PASTE of the config.

    Returns:
        boxes int32 [m, 4] px, class ids int32 [m], scores float32 [m],
        masks bool [h, w, m] (float64 where m is 0, as the original has it).
    """
    detections = _real(detections)
    own_masks = mrcnn_mask[np.arange(len(detections)), :, :, detections[:, 4].astype(np.int32)]
    shapes = original_image_shape, image_shape, window
    return unmold(detections, own_masks, *shapes, box_shift, mask_paste)[:4]


def unmold(
    detections: np.ndarray,
    masks: np.ndarray,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int] | np.ndarray,
    box_shift: int = 1,
    mask_paste: str = "resize",
) -> Found:
    """`unmold_detections` of masks [n, mask h, mask w], each of its detection's own class, with the
    boxes as they are before they are rounded.
    """
    located = locate(detections, masks, original_image_shape, image_shape, window, box_shift)
    return paste(located, original_image_shape, mask_paste)


def locate(
    detections: np.ndarray,
    masks: np.ndarray,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int] | np.ndarray,
    box_shift: int = 1,
) -> Located:
    """The first half of `unmold`: boxes in pixels of the image, without the rows of padding."""
    detections = _real(detections)
    window = norm_boxes(window, image_shape[:2], box_shift)
    origin, size = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
    size[size == 0] = 1  # of one pixel
    height, width = original_image_shape[:2]
    boxes = pixel_boxes((detections[:, :4] - origin) / size, (height, width), box_shift)
    class_ids, scores = detections[:, 4].astype(np.int32), detections[:, 5]
    return Located(boxes, class_ids, scores, masks[: len(detections)])


def paste(
    located: Located, original_image_shape: Sequence[int], mask_paste: str = "resize"
) -> Found:
    """The second half of `unmold`: masks at their places in the image.

    With MASK_PASTE "resize" a detection whose rounded box has no area is dropped. With "padded"
    none is: its box is rounded to at least one pixel.
    """
    exact, class_ids, scores, masks = located
    height, width = original_image_shape[:2]
    rois, boxes = np.around(exact).astype(np.int32), exact.astype(np.float32)
    if mask_paste == "padded":
        rois[:, :2] = np.clip(rois[:, :2], 0, [height - 1, width - 1])
        rois[:, 2:] = np.clip(rois[:, 2:], rois[:, :2] + 1, [height, width])
    else:
        real = has_area(rois)
        rois, boxes, masks = rois[real], boxes[real], masks[real]
        class_ids, scores = class_ids[real], scores[real]
    if not len(rois):
        return Found(rois, class_ids, scores, np.empty((height, width, 0)), boxes)
    pasted = (
        paste_masks(masks, boxes, original_image_shape)
        if mask_paste == "padded"
        else unmold_masks(masks, rois, original_image_shape)
    )
    return Found(rois, class_ids, scores, pasted, boxes)


def _real(detections):
    """What comes before the first row of class 0."""
    padding = np.flatnonzero(detections[:, 4] == 0)
    return detections[: padding[0]] if len(padding) else detections


def results(
    detections: Sequence[np.ndarray] | np.ndarray,
    masks: Sequence[np.ndarray] | np.ndarray,
    originals: Sequence[Sequence[int]],
    molded_shape: Sequence[int],
    windows: Sequence[Sequence[int]] | np.ndarray,
    class_names: Sequence[str] | None = None,
    box_shift: int = 1,
    mask_paste: str = "resize",
) -> list[Result]:
    """`unmold` for a batch.

    Args:
        detections: [b, n, 6].
        masks: [b, n, mask h, mask w].
        originals: shape of each image as given.
        molded_shape: (H, W, ...) of the batch.
        windows: [b, 4] px.
        class_names: list of names by class id, or None.
        box_shift, mask_paste: BOX_SHIFT and MASK_PASTE of the config.

    Returns:
        A `Result` per image: rois int32 [m, 4], class_ids int32 [m], scores float32 [m],
        masks as `unmold_detections` gives them.
    """
    unmolded = (
        unmold(rows, own, shape, molded_shape, window, box_shift, mask_paste)
        for rows, own, shape, window in zip(detections, masks, originals, windows)
    )
    return [result(found, class_names) for found in unmolded]


def result(found: Found, class_names: Sequence[str] | None = None) -> Result:
    """The detections of one image as a `Result`."""
    return Result(*found[:4], class_names=class_names, boxes=found.boxes)

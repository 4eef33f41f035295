"""Pictures of RoIs and boxes, with matterport's names and signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.data.drawing import apply_mask, as_rgb, instance_label, random_colors
from mrcnn.data.masks import unmold_mask
from mrcnn.visualize.figures import (
    contours,
    frame_image,
    join_corners,
    keep_inside,
    label,
    new_figure,
    rectangle,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_rois(
    image: ArrayLike,
    rois: np.ndarray,
    refined_rois: np.ndarray,
    mask: np.ndarray,
    class_ids: ArrayLike,
    class_names: Sequence[str],
    limit: int = 10,
) -> None:
    """Show RoIs (dashed), their refined boxes (solid) and masks; prints how many are positive.

    Args:
        image: [H, W, 3] uint8.
        rois, refined_rois: [N, (y1, x1, y2, x2)] px.
        mask: [N, h, w] in 0..1, the small mask of each RoI's class.
        class_ids: [N], 0 for negative RoIs (grey).
        class_names: list of names by class id.
        limit: at most this many, drawn by lot with ``np.random``.
    """
    count, class_ids = len(rois), np.asarray(class_ids)
    shown: np.ndarray = np.arange(count)
    title = f"{count} ROIs"
    if count > limit:
        shown = np.random.choice(shown, limit, replace=False)
        title = f"Showing {limit} random ROIs out of {count}"
    image = as_rgb(image)
    _, figure = new_figure((12, 12))
    ax = figure.add_subplot()
    frame_image(ax, image, 20, 50, title)
    texts = []
    for i in shown:
        color, positive = tuple(np.random.rand(3).tolist()), class_ids[i] != 0
        rectangle(ax, rois[i], edgecolor=color if positive else "gray", linestyle="dashed")
        if not positive:
            continue
        rectangle(ax, refined_rois[i], edgecolor=color)
        join_corners(ax, rois[i], refined_rois[i], color)
        name = instance_label(class_ids[i], class_names)
        texts.append(label(ax, refined_rois[i][1], refined_rois[i][0], name, color))
        apply_mask(image, _place_mask(mask[i], rois[i], image.shape), color)
    ax.imshow(image)
    keep_inside(ax, texts, image)
    positive = int(np.sum(class_ids > 0))
    print("Positive ROIs: ", positive)
    print("Negative ROIs: ", int(np.sum(class_ids == 0)))
    print(f"Positive Ratio: {positive / max(count, 1):.2f}")


def _place_mask(mask, roi, image_shape):
    """The small mask of a RoI at its place; the part outside the image is cut off."""
    y1, x1, y2, x2 = (int(value) for value in roi[:4])
    height, width = image_shape[:2]
    if y2 <= y1 or x2 <= x1:
        return np.zeros((height, width), bool)
    before = max(0, -y1, -x1)
    size = max(height, width, y2, x2) + before
    placed = unmold_mask(mask, (y1 + before, x1 + before, y2 + before, x2 + before), (size, size))
    return placed[before : before + height, before : before + width]


def draw_boxes(
    image: ArrayLike,
    boxes: np.ndarray | None = None,
    refined_boxes: np.ndarray | None = None,
    masks: np.ndarray | None = None,
    captions: Sequence[str] | None = None,
    visibilities: Sequence[int] | np.ndarray | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> None:
    """Draw boxes, and what they were refined to, over an image.

    Args:
        image: [H, W, 3].
        boxes: [N, (y1, x1, y2, x2)] px, dotted; rows of zeros and their instance are left out.
        refined_boxes: [N, 4], solid, joined to ``boxes`` at the corner.
        masks: [H, W, N].
        captions: N str.
        visibilities: N of 0 (grey, dotted), 1 (coloured, dotted) or 2 (coloured, solid).
        title: str; ax: axes to draw into, None makes a figure.

    Raises:
        ValueError: neither ``boxes`` nor ``refined_boxes``.
    """
    if boxes is not None:
        count = len(boxes)
    elif refined_boxes is not None:
        count = len(refined_boxes)
    else:
        raise ValueError("draw_boxes needs boxes or refined_boxes")
    image = as_rgb(image)
    if ax is None:
        _, figure = new_figure((12, 12))
        ax = figure.add_subplot()
    margin = image.shape[0] // 10
    frame_image(ax, image, margin, margin, title)
    painted, texts = image.astype(np.uint32), []
    for i, color in enumerate(random_colors(count)):
        visibility = 1 if visibilities is None else visibilities[i]
        style: dict[str, Any] = {
            "edgecolor": color,
            "linestyle": "solid" if visibility == 2 else "dotted",
        }
        if visibility == 0:
            style.update(edgecolor="gray", alpha=0.5)
        corner = None
        if boxes is not None:
            if not np.any(boxes[i]):
                continue
            rectangle(ax, boxes[i], **style)
            corner = boxes[i]
        if refined_boxes is not None and visibility > 0:
            refined = np.asarray(refined_boxes[i]).astype(np.int32)
            rectangle(ax, refined, edgecolor=style["edgecolor"])
            if boxes is not None:
                join_corners(ax, boxes[i], refined, style["edgecolor"])
            corner = refined
        if captions is not None and corner is not None:
            texts.append(label(ax, corner[1], corner[0], captions[i], style["edgecolor"]))
        if masks is not None:
            # A grey box has a mask in its own colour, as there is no RGB for it in the style.
            apply_mask(painted, masks[:, :, i], color)
            contours(ax, masks[:, :, i], color)
    ax.imshow(painted.astype(np.uint8))
    keep_inside(ax, texts, image)

"""Pictures of images and their instances, with matterport's names and signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.data.drawing import apply_mask, as_rgb, check_instances, instance_label, random_colors
from mrcnn.evaluation import compute_matches, score_order
from mrcnn.ops.boxes_np import trim_zeros
from mrcnn.visualize.figures import (
    contours,
    frame_image,
    keep_inside,
    label,
    new_figure,
    rectangle,
    show,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize


# === Images ===


def display_images(
    images: Sequence[ArrayLike],
    titles: Sequence[str] | None = None,
    cols: int = 4,
    cmap: str | Colormap | None = None,
    norm: Normalize | None = None,
    interpolation: str | None = None,
) -> None:
    """Show images side by side.

    Args:
        images: list of [H, W] or [H, W, C]; values are cast to uint8.
        titles: list of str, or None.
        cols: images per row.
        cmap, norm, interpolation: passed to ``imshow``.
    """
    titles = titles if titles is not None else [""] * len(images)
    rows = max(1, -(-len(images) // cols))
    plt, figure = new_figure((14, max(1, 14 * rows // cols)))
    for position, (image, title) in enumerate(zip(images, titles), start=1):
        ax = figure.add_subplot(rows, cols, position)
        ax.set_title(title, fontsize=9)
        ax.axis("off")
        ax.imshow(
            np.asarray(image).astype(np.uint8), cmap=cmap, norm=norm, interpolation=interpolation
        )
    show(plt)


def display_top_masks(
    image: np.ndarray,
    mask: ArrayLike,
    class_ids: ArrayLike,
    class_names: Sequence[str],
    limit: int = 4,
) -> None:
    """Show an image and the masks of the ``limit`` classes that cover most of it.

    Args:
        image: [H, W, 3].
        mask: [H, W, N].
        class_ids: [N].
        class_names: list of names by class id.
    """
    mask, class_ids = np.asarray(mask), np.asarray(class_ids)
    areas = {
        class_id: np.sum(mask[:, :, class_ids == class_id])
        for class_id in np.unique(class_ids).tolist()
    }
    top = sorted((c for c in areas if areas[c] > 0), key=lambda c: areas[c], reverse=True)[:limit]
    pictures, titles = [image], [f"H x W={image.shape[0]}x{image.shape[1]}"]
    for class_id in top:
        own = mask[:, :, class_ids == class_id]
        pictures.append(np.sum(own * np.arange(1, own.shape[-1] + 1), axis=-1))
        titles.append(instance_label(class_id, class_names))
    for _ in range(limit - len(top)):
        pictures.append(np.zeros(image.shape[:2]))
        titles.append("-")
    display_images(pictures, titles=titles, cols=limit + 1, cmap="Blues_r")


# === Instances ===


def display_instances(
    image: ArrayLike,
    boxes: np.ndarray,
    masks: np.ndarray | None,
    class_ids: Sequence[int] | np.ndarray,
    class_names: Sequence[str],
    scores: Sequence[float] | np.ndarray | None = None,
    title: str = "",
    figsize: tuple[float, float] = (16, 16),
    ax: Axes | None = None,
    show_mask: bool = True,
    show_bbox: bool = True,
    colors: Sequence[Sequence[float]] | None = None,
    captions: Sequence[str] | None = None,
) -> None:
    """Show the instances of an image: masks, outlines, boxes, names and scores.

    Args:
        image: [H, W], [H, W, 1], [H, W, 3] or [H, W, 4].
        boxes: [N, (y1, x1, y2, x2)] px; rows of zeros are padding and not shown.
        masks: [H, W, N] bool, or None.
        class_ids: [N]; class_names: list of names by class id.
        scores: [N], or None.
        title: str over the picture; figsize: inches, for a figure of its own.
        ax: axes to draw into; None makes a figure and shows it.
        show_mask: fill the masks (outlines are always drawn); show_bbox: draw the boxes.
        colors: one matplotlib colour per instance as (r, g, b[, a]) in 0..1; None: random.
        captions: one str per instance instead of name and score.

    Raises:
        ValueError: the arrays disagree on N or on the image's size, or a class has no name.
    """
    if not len(boxes):
        print("\n*** No instances to display *** \n")
    if colors is not None and len(colors) == 0:
        colors = None
    image = as_rgb(image)
    check_instances(image, boxes, masks, class_ids, scores, colors)
    colors = random_colors(len(boxes)) if colors is None else colors
    plt = None
    if ax is None:
        plt, figure = new_figure(figsize)
        ax = figure.add_subplot()
    frame_image(ax, image, 10, 10, title)
    painted, texts = image.astype(np.uint32), []
    for i, box in enumerate(boxes):
        if not np.any(box):
            continue
        color = colors[i]
        if show_bbox:
            rectangle(ax, box, alpha=0.7, linestyle="dashed", edgecolor=color)
        if captions:
            caption = captions[i]
        else:
            caption = instance_label(
                class_ids[i], class_names, None if scores is None else scores[i]
            )
        if caption:
            texts.append(label(ax, box[1] + 2, box[0] + 2, caption, color))
        if masks is not None:
            if show_mask:
                apply_mask(painted, masks[:, :, i], color)
            contours(ax, masks[:, :, i], color)
    ax.imshow(painted.astype(np.uint8))
    keep_inside(ax, texts, image)
    if plt is not None:
        show(plt)


def display_differences(
    image: ArrayLike,
    gt_box: np.ndarray,
    gt_class_id: np.ndarray,
    gt_mask: np.ndarray,
    pred_box: np.ndarray,
    pred_class_id: np.ndarray,
    pred_score: np.ndarray,
    pred_mask: np.ndarray,
    class_names: Sequence[str],
    title: str = "",
    ax: Axes | None = None,
    show_mask: bool = True,
    show_box: bool = True,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.5,
) -> None:
    """Show objects (green) and predictions (red) with "score / IoU" at each prediction.

    The IoU is that with the matched object, or the best one where none was matched.
    Arguments are those of ``compute_matches`` and ``display_instances``.
    """
    _, pred_match, overlaps = compute_matches(
        gt_box,
        gt_class_id,
        gt_mask,
        pred_box,
        pred_class_id,
        pred_score,
        pred_mask,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
    )
    gt_count, pred_count = len(trim_zeros(np.asarray(gt_box))), len(pred_match)
    captions = [""] * (gt_count + pred_count)
    for row, index in enumerate(score_order(pred_box, pred_score)):
        best = overlaps[row].max(initial=0)
        iou = overlaps[row, int(pred_match[row])] if pred_match[row] > -1 else best
        captions[gt_count + index] = f"{pred_score[index]:.2f} / {iou:.2f}"

    def joined(of_objects, of_predictions, axis=0):
        parts = [np.asarray(of_objects), np.asarray(of_predictions)]
        counts = (gt_count, pred_count)
        parts = [part.take(range(count), axis=axis) for part, count in zip(parts, counts) if count]
        return np.concatenate(parts, axis=axis) if parts else np.asarray(of_objects)

    display_instances(
        image,
        joined(gt_box, pred_box),
        joined(gt_mask, pred_mask, axis=-1),
        joined(gt_class_id, pred_class_id),
        class_names,
        ax=ax,
        show_bbox=show_box,
        show_mask=show_mask,
        captions=captions,
        colors=[(0, 1, 0, 0.8)] * gt_count + [(1, 0, 0, 1)] * pred_count,
        title=title or "Ground Truth and Detections\n GT=green, pred=red, captions: score/IoU",
    )


# === Plots ===


def plot_precision_recall(AP: float, precisions: ArrayLike, recalls: ArrayLike) -> None:
    """Plot the curve of ``compute_ap``. AP: float; precisions, recalls: [M]."""
    _, figure = new_figure()
    ax = figure.add_subplot()
    ax.set_title(f"Precision-Recall Curve. AP@50 = {AP:.3f}")
    ax.set_xlabel("Recall")
    ax.set_ylabel("Precision")
    ax.set_ylim(0, 1.1)
    ax.set_xlim(0, 1.1)
    ax.plot(recalls, precisions)


def plot_overlaps(
    gt_class_ids: ArrayLike,
    pred_class_ids: ArrayLike,
    pred_scores: Sequence[float] | np.ndarray,
    overlaps: np.ndarray,
    class_names: Sequence[str],
    threshold: float = 0.5,
) -> None:
    """Plot the IoU of each prediction (row) with each object (column).

    Args:
        gt_class_ids: [G]; pred_class_ids: [P], zeros are padding; pred_scores: [P].
        overlaps: [P, G], as ``compute_matches`` returns it.
        class_names: list of names by class id.
        threshold: pairs above it are marked "match" or "wrong" by their classes.
    """
    true, found = np.asarray(gt_class_ids), np.asarray(pred_class_ids)
    true, found = true[true != 0], found[found != 0]
    plt, figure = new_figure((12, 10))
    ax = figure.add_subplot()
    ax.imshow(overlaps, interpolation="nearest", cmap=plt.cm.Blues)
    ax.set_yticks(
        np.arange(len(found)),
        [
            f"{class_names[int(class_id)]} ({pred_scores[i]:.2f})"
            for i, class_id in enumerate(found)
        ],
    )
    ax.set_xticks(
        np.arange(len(true)),
        [class_names[int(class_id)] for class_id in true],
        rotation=90,
    )
    dark = overlaps.max(initial=0) / 2
    for (i, j), overlap in np.ndenumerate(overlaps):
        verdict = ""
        if overlap > threshold:
            verdict = "match" if true[j] == found[i] else "wrong"
        color = "white" if overlap > dark else "black" if overlap > 0 else "grey"
        ax.text(
            j,
            i,
            f"{overlap:.3f}\n{verdict}",
            horizontalalignment="center",
            verticalalignment="center",
            fontsize=9,
            color=color,
        )
    ax.set_xlabel("Ground truth")
    ax.set_ylabel("Predictions")
    figure.tight_layout()

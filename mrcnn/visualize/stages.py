"""Pictures of what goes on between an image and its detections.

The values come from ``MaskRCNN.run_graph``. Boxes are (y1, x1, y2, x2) in pixels of the molded
image; ``ops.boxes_np.denorm_boxes`` makes them of the network's normalised ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.data.drawing import as_rgb, instance_label
from mrcnn.visualize.figures import frame_image, new_figure, rectangle, show


def plot_activations(
    activation: ArrayLike, title: str = "", limit: int = 16, cols: int = 8
) -> None:
    """The channels of a feature map that vary most, each scaled to its own range.

    Args:
        activation: [h, w, channels] of one image.
        title: str; the number of channels that are the same everywhere is added to it.
        limit: channels to show; cols: per row.
    """
    activation = np.asarray(activation, np.float32)
    spread = activation.std(axis=(0, 1))
    constant = int(np.count_nonzero(spread == 0))
    chosen = np.argsort(-spread, kind="stable")[:limit]
    cols = min(cols, len(chosen))
    rows = -(-len(chosen) // cols)
    plt, figure = new_figure((1.8 * cols, 2 * rows + 0.5))
    for position, channel in enumerate(chosen, start=1):
        ax = figure.add_subplot(rows, cols, position)
        ax.imshow(activation[:, :, channel], cmap="viridis")
        ax.set_title(f"channel {channel}", fontsize=8)
        ax.axis("off")
    height, width, channels = activation.shape
    figure.suptitle(
        f"{title} {height} x {width} x {channels}".strip() + f", {constant} constant channels"
    )
    figure.tight_layout()
    show(plt)


def draw_boxes_by_level(
    image: ArrayLike, boxes: ArrayLike, levels: ArrayLike, limit: int = 30
) -> None:
    """Boxes over the image, a panel per pyramid level that has some.

    Args:
        image: [H, W, 3].
        boxes: [N, 4] px, best first.
        levels: [N] int, such as of `networks.mask_rcnn.roi_features.roi_levels`.
        limit: boxes of a panel, the first ones.
    """
    image, levels = as_rgb(image), np.asarray(levels)
    present = np.unique(levels)
    plt, figure = new_figure((4 * max(len(present), 1), 4.3))
    for ax, level in zip(np.ravel(figure.subplots(1, max(len(present), 1))), present):
        own = np.asarray(boxes)[levels == level]
        frame_image(
            ax,
            image,
            0,
            0,
            f"P{level}: {len(own)} boxes"
            + (f", {limit} of them drawn" if len(own) > limit else ""),
        )
        ax.imshow(image)
        for box in own[:limit]:
            rectangle(ax, box, edgecolor=f"C{level % 10}", alpha=0.7)
    figure.tight_layout()
    show(plt)


def display_roi_features(
    image: ArrayLike, rois: np.ndarray, features: np.ndarray, titles: Sequence[str] | None = None
) -> None:
    """Each RoI as it is in the image, and below it what RoIAlign made of it.

    The feature is shown as its length over the channels: bright where much was found.

    Args:
        image: [H, W, 3].
        rois: [N, 4] px, with an area inside the image.
        features: [N, h, w, channels].
        titles: N str, or None.
    """
    image = as_rgb(image)
    plt, figure = new_figure((1.8 * len(rois), 4.2))
    panels = figure.subplots(2, len(rois), squeeze=False)
    for number, (roi, feature) in enumerate(zip(rois, features)):
        y1, x1, y2, x2 = np.round(roi).astype(int)
        crop = image[max(y1, 0) : max(y2, y1 + 1), max(x1, 0) : max(x2, x1 + 1)]
        panels[0, number].imshow(crop, aspect="auto")
        panels[0, number].set_title(
            titles[number] if titles else f"{y2 - y1} x {x2 - x1} px", fontsize=8
        )
        panels[1, number].imshow(np.linalg.norm(feature, axis=-1), cmap="magma")
        for ax in panels[:, number]:
            ax.set_box_aspect(1)
            ax.set_xticks([])
            ax.set_yticks([])
    height, width = features.shape[1:3]
    panels[0, 0].set_ylabel("image")
    panels[1, 0].set_ylabel(f"{height} x {width} feature")
    figure.tight_layout()
    show(plt)


def plot_class_probabilities(
    probs: ArrayLike, class_names: Sequence[str], titles: Sequence[str] | None = None
) -> None:
    """The probability of every class for some RoIs.

    Args:
        probs: [N, classes].
        class_names: list of names by class id.
        titles: N str for the rows; None: their numbers.
    """
    probs = np.asarray(probs)
    plt, figure = new_figure((max(5, 0.7 * len(class_names) + 2), max(2, 0.32 * len(probs) + 1.4)))
    ax = figure.add_subplot()
    ax.imshow(probs, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(
        np.arange(len(class_names)), class_names, rotation=0 if len(class_names) < 8 else 90
    )
    ax.set_yticks(np.arange(len(probs)), titles if titles is not None else np.arange(len(probs)))
    if len(class_names) <= 20:
        for (row, column), value in np.ndenumerate(probs):
            ax.text(
                column,
                row,
                f"{value:.3f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if value > 0.5 else "black",
            )
    ax.set_title("class probabilities")
    figure.tight_layout()
    show(plt)


def display_roi_masks(
    targets: Sequence[np.ndarray] | np.ndarray,
    predictions: Sequence[np.ndarray] | np.ndarray,
    class_ids: Sequence[int] | np.ndarray,
    class_names: Sequence[str],
) -> None:
    """Small masks in pairs: what a RoI's mask shall be, and what the network says.

    Args:
        targets: [N, h, w] of 0 and 1.
        predictions: [N, h, w] in 0..1, of the class of each RoI.
        class_ids: [N].
        class_names: list of names by class id.
    """
    plt, figure = new_figure((1.8 * max(len(targets), 2), 4.2))
    panels = figure.subplots(2, max(len(targets), 1), squeeze=False)
    for ax in panels.ravel():
        ax.set_xticks([])
        ax.set_yticks([])
    for number, (target, prediction) in enumerate(zip(targets, predictions)):
        panels[0, number].imshow(target, cmap="gray", vmin=0, vmax=1)
        panels[1, number].imshow(prediction, cmap="gray", vmin=0, vmax=1)
        both = (target >= 0.5) & (prediction >= 0.5)
        either = (target >= 0.5) | (prediction >= 0.5)
        panels[0, number].set_title(instance_label(class_ids[number], class_names), fontsize=9)
        panels[1, number].set_title(f"IoU {both.sum() / max(either.sum(), 1):.2f}", fontsize=9)
    panels[0, 0].set_ylabel("target")
    panels[1, 0].set_ylabel("prediction")
    figure.tight_layout()
    show(plt)


def plot_deltas(deltas: ArrayLike, title: str = "") -> None:
    """Histograms of box refinements: they should lie around 0 with a spread near 1.

    Args:
        deltas: [N, (dy, dx, log dh, log dw)] in units of the config's ``*_BBOX_STD_DEV``.
        title: str.
    """
    plt, figure = new_figure((13, 3))
    for ax, name, values in zip(
        figure.subplots(1, 4), ("dy", "dx", "log dh", "log dw"), np.asarray(deltas).T
    ):
        ax.hist(values, 40)
        ax.set_title(
            f"{name}: mean {values.mean():.2f}, std {values.std():.2f}" if len(values) else name,
            fontsize=10,
        )
    figure.suptitle(title)
    figure.tight_layout()
    show(plt)


def plot_lost(counts: Mapping[str, int]) -> None:
    """How many objects get past each stage, and how many each loses.

    Args:
        counts: dict of stage -> number of objects, of `inference.diagnosis.count_stages`.
    """
    total = left = sum(counts.values())
    plt, figure = new_figure((8, 3.2))
    ax = figure.add_subplot()
    for place, (stage, count) in enumerate(counts.items()):
        if stage == "found":
            ax.barh(place, count, color="tab:green")
        else:
            ax.barh(place, left - count, color="tab:blue")
            ax.barh(place, count, left=left - count, color="tab:red")
            left -= count
        text = f" {count}" if stage == "found" else f" {count} lost" if count else ""
        ax.text(total, place, text, va="center", fontsize=9)
    ax.set_yticks(range(len(counts)), list(counts))
    ax.set_xlim(0, max(total, 1) * 1.12)
    ax.invert_yaxis()
    ax.set_xlabel("objects")
    ax.set_title(
        f"what becomes of {total} objects: past the stage (blue), lost there (red)",
        fontsize=10,
    )
    figure.tight_layout()
    show(plt)

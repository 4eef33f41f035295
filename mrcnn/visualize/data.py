"""Pictures of a whole data set: how its objects are spread, and how well anchors fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.words import on_one_line
from mrcnn.data.drawing import as_rgb, draw_instances
from mrcnn.data.images import unmold_image
from mrcnn.data.masks import expand_mask
from mrcnn.data.survey.anchor_coverage import box_sides
from mrcnn.ops.anchors import anchor_strides, compute_backbone_shapes, generate_anchors
from mrcnn.visualize.figures import new_figure, rectangle, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mrcnn.config import Config
    from mrcnn.data.sample import Sample
    from mrcnn.data.survey.anchor_coverage import Objects


# In classes beyond it the bars would be too thin to be read.
_MOST_CLASSES = 25
# Cells along a side whose centres are dotted.
_MOST_DOTS = 32


def plot_objects(
    objects: Objects, class_names: Sequence[str], image_count: int | None = None
) -> None:
    """Objects per class, objects per image, their sizes and their shapes.

    Args:
        objects: `anchor_coverage.Objects`.
        class_names: list of names by class id.
        image_count: number of images that the objects are from, so that those without an object
            count too; None: only images with one.
    """
    plt, figure = new_figure((15, 3.8))
    classes, per_image, sizes, shapes = figure.subplots(1, 4)
    counts = np.bincount(objects.class_ids, minlength=len(class_names))
    shown = sorted(np.argsort(-counts[1:], kind="stable")[:_MOST_CLASSES] + 1, reverse=True)
    classes.barh(range(len(shown)), counts[shown])
    names = [on_one_line(class_names[class_id]) for class_id in shown]
    classes.set_yticks(range(len(shown)), names, parse_math=False)
    left_out = len(class_names) - 1 - len(shown)
    classes.set_title(
        "objects per class" + (f" ({left_out} rarer ones not shown)" if left_out else "")
    )
    classes.tick_params(axis="y", labelsize=8)

    numbers = np.unique(objects.image_ids, return_counts=True)[1]
    numbers = np.concatenate([numbers, np.zeros(max((image_count or 0) - len(numbers), 0), int)])
    highest = numbers.max(initial=1)
    per_image.hist(numbers, np.arange(-0.5, highest + 1, max(1, highest // 30)))
    per_image.set_title("objects per image")
    per_image.set_ylabel("images")

    sides = np.maximum(box_sides(objects.boxes), 1)
    lowest, highest = (np.log2(limit) for limit in (sides.min(initial=2**15), sides.max(initial=2)))
    sizes.hist(sides, 2.0 ** np.arange(np.floor(min(lowest, highest)), highest + 0.5, 0.25))
    sizes.set_xscale("log", base=2)
    sizes.xaxis.set_major_formatter("{x:g}")
    sizes.set_title("side = sqrt(height * width), px")
    sizes.set_ylabel("objects")

    height, width = np.maximum(objects.boxes[:, 2:] - objects.boxes[:, :2], 1).T
    shapes.hist(np.clip(width / height, 2.0**-4, 2.0**4), 2.0 ** np.arange(-4, 4.01, 0.25))
    shapes.set_xscale("log", base=2)
    shapes.xaxis.set_major_formatter("{x:g}")
    shapes.set_title("shape = width / height")
    figure.tight_layout()
    show(plt)


def draw_sample(sample: Sample, config: Config, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """A training image as the network is given it, augmentations, jitter and pasted objects
    included.

    Args:
        sample: `data.sample.Sample`, such as of ``TrainingBatches(dataset, config).samples(0)``.
        config: that of the batches.
        class_names: list of names by class id.

    Returns:
        uint8 [H, W, 3] with the objects drawn in.

    Example:
        >>> names = dataset.class_names
        >>> visualize.display_images([draw_sample(sample, config, names) for sample in samples])
    """
    image = unmold_image(sample.image, config)
    masks = (
        expand_mask(sample.boxes, sample.masks, image.shape)
        if config.USE_MINI_MASK
        else sample.masks
    )
    return draw_instances(image, sample.boxes, masks, sample.class_ids, class_names)


def draw_anchor_levels(image: ArrayLike, config: Config) -> None:
    """The anchors of one cell of each pyramid level over an image, a panel per level.

    The cell is the one nearest to the middle; dots mark the centres of all cells, unless they are
    too many to be told apart. A dotted frame is the border of the image: anchors may leave it.

    Args:
        image: [H, W, 3], of the size that the network takes.
        config: what `ops.anchors.pyramid_anchors` reads.
    """
    image = as_rgb(image)
    shapes = compute_backbone_shapes(config, image.shape)
    plt, figure = new_figure((16, 3.8))
    panels = figure.subplots(1, len(shapes))
    height, width = image.shape[:2]
    strides = anchor_strides(config, image.shape)
    for level, (ax, shape, stride, scale) in enumerate(
        zip(panels, shapes, strides, config.RPN_ANCHOR_SCALES), start=2
    ):
        anchors = generate_anchors(
            scale,
            config.RPN_ANCHOR_RATIOS,
            shape,
            stride,
            config.RPN_ANCHOR_STRIDE,
            config.RPN_ANCHORS_ROUNDED,
        )
        centres = (anchors[:, :2] + anchors[:, 2:]) / 2
        distance = np.abs(centres - (height / 2, width / 2)).sum(axis=1)
        ax.imshow(image, alpha=0.6)
        if max(shape) <= _MOST_DOTS:
            ax.plot(
                *np.unique(centres, axis=0).T[::-1],
                ".",
                color="black",
                markersize=3 if max(shape) < 16 else 1.5,
            )
        # of more than one cell, if they are as near
        nearest = anchors[np.isclose(distance, distance.min())]
        for number, anchor in enumerate(nearest[: np.size(config.RPN_ANCHOR_RATIOS)]):
            rectangle(ax, anchor, edgecolor=f"C{number}")
        rectangle(ax, (0, 0, height - 1, width - 1), edgecolor="grey", linestyle="dotted")
        margin = 0.35 * max(height, width)
        ax.set_xlim(-margin, width + margin)
        ax.set_ylim(height + margin, -margin)
        ax.axis("off")
        pixels = " x ".join(dict.fromkeys(map(str, stride)))  # one number, unless the axes differ
        ax.set_title(
            f"P{level}: stride {pixels}, scale {scale} px\n{len(anchors)} anchors",
            fontsize=10,
        )
    figure.tight_layout()
    show(plt)


def plot_coverage(boxes: ArrayLike, best: Mapping[str, np.ndarray], config: Config) -> None:
    """The best IoU of each object with an anchor, over its size, and the share of objects above any
    IoU.

    Args:
        boxes: [N, 4] px.
        best: dict of name -> [N] of `best_anchor_iou`, such as of one config and another.
        config: RPN_POSITIVE_IOU and RPN_NEGATIVE_IOU are drawn.
    """
    plt, figure = new_figure((14, 4.5))
    scatter, recall = figure.subplots(1, 2)
    sides = np.maximum(box_sides(boxes), 1)
    for name, ious in best.items():
        scatter.plot(sides, ious, ".", markersize=4, alpha=0.5, label=name)
    scatter.set_xscale("log", base=2)
    scatter.xaxis.set_major_formatter("{x:g}")
    scatter.set_ylim(0, 1)
    for limit, text in (
        (config.RPN_POSITIVE_IOU, "positive from here"),
        (config.RPN_NEGATIVE_IOU, "missed below"),
    ):
        scatter.axhline(limit, color="grey", linestyle="dashed")
        scatter.text(0.01, limit + 0.01, text, fontsize=8, transform=scatter.get_yaxis_transform())
    scatter.set_xlabel("side of the object, px")
    scatter.set_ylabel("best IoU with an anchor")
    scatter.legend(loc="lower right", markerscale=3)
    draw_recall(recall, best)
    figure.tight_layout()
    show(plt)


def plot_recall(best: Mapping[str, ArrayLike], title: str = "") -> None:
    """The share of objects that are covered at least so well, for every IoU.

    Args:
        best: dict of name -> [N], the best IoU of each object with the boxes of that name, such as
            those of a step of the RPN.
        title: str.
    """
    plt, figure = new_figure((7, 4.5))
    ax = figure.add_subplot()
    draw_recall(ax, best)
    ax.set_title(title)
    show(plt)


def draw_recall(ax: Axes, best: Mapping[str, ArrayLike]) -> None:
    """Draw the curves of `plot_recall` into axes."""
    for name, ious in best.items():
        ious = np.sort(np.asarray(ious, np.float64))
        shares = 1 - np.arange(len(ious)) / max(len(ious), 1)
        half = np.mean(ious >= 0.5) if len(ious) else np.nan
        ax.step([0, *ious, 1], [1, *shares, 0], where="pre", label=f"{name}: {half:.0%} at IoU 0.5")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("IoU")
    ax.set_ylabel("share of the objects covered (recall)")
    ax.grid(alpha=0.3)
    ax.legend(loc="lower left")

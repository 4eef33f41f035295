"""How well the anchors fit the objects of a data set, and anchors that would fit better.

An object that no anchor overlaps well is learned badly: training pairs it with the one anchor
that fits it best, however badly that is (see `data.rpn_targets`). All boxes here are
(y1, x1, y2, x2) in pixels of the image as the network gets it, resized and padded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.progress import track
from mrcnn.data.load import load_image_gt
from mrcnn.ops.anchors import anchor_strides, compute_backbone_shapes

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset


# COCO's small, medium and large, split once more: side = sqrt(height * width) in px.
SIDES = (0, 16, 32, 64, 96, 192, 384, np.inf)
# The search looks at this many objects, and leaves be what a change would better by less than this.
_SEARCH_LIMIT = 2000
_LEAST_GAIN = 0.01
# An IoU below this is no worse than it, so that a few slivers out of reach do not decide.
_LEAST_IOU = 0.2
# What it tries. Scales grow by a constant factor from level to level, ratios lie evenly around one
# of them: more freedom gains little IoU, and gathers all levels at the commonest size.
_GROWTHS = 2.0 ** np.arange(0.25, 1.51, 0.125)
_RATIO_CENTRES = 2.0 ** np.arange(-2, 2.01, 0.25)
_RATIO_FACTORS = 2.0 ** np.arange(0.25, 2.01, 0.25)


class Objects(NamedTuple):
    """The objects of a data set; N rows."""

    boxes: np.ndarray  # int32 [N, 4] px of the molded image
    class_ids: np.ndarray  # int32 [N]
    image_ids: np.ndarray  # int [N], the image that each is on


class SizeRange(NamedTuple):
    """The coverage of the objects of one size; the shares are of these objects."""

    low: float  # px, side = sqrt(height * width), inclusive
    high: float  # px, exclusive
    count: int  # type: ignore[assignment]  # objects; hides tuple.count, which nobody calls
    mean: float  # mean of their best IoU
    positive: float  # share with an anchor of RPN_POSITIVE_IOU or more, positive by that alone
    half: float  # share with an anchor of IoU 0.5 or more
    missed: float  # share without an anchor of RPN_NEGATIVE_IOU: only their best anchors are left


class Suggestion(NamedTuple):
    """Scales and ratios for a config; ``str()`` of it is what to write there."""

    scales: tuple[float, ...]  # RPN_ANCHOR_SCALES, px
    ratios: tuple[float, ...]  # RPN_ANCHOR_RATIOS, width / height
    before: float  # the fit of the config's own, 0..limit, see `suggest_anchors`
    after: float  # and of these
    limit: float  # RPN_POSITIVE_IOU, the most that an IoU counts

    def __str__(self) -> str:
        return (
            f"RPN_ANCHOR_SCALES = {self.scales}\nRPN_ANCHOR_RATIOS = {list(self.ratios)}\n"
            f"# fit {self.before:.3f} -> {self.after:.3f} (geometric mean of the best IoUs, each "
            f"at most {self.limit:g})"
        )


def load_objects(
    dataset: Dataset, config: Config, image_ids: Iterable[int] | None = None, progress: bool = False
) -> Objects:
    """The boxes of a data set's objects as training sees them; crowds are left out, as there.

    Args:
        dataset: a prepared Dataset.
        config: as for `load_image_gt`.
        image_ids: list of ids; None: all images.
        progress: show a progress bar on stderr.

    Returns:
        `Objects`.

    Raises:
        SampleError: an image cannot be used; see `load_image_gt`.
    """
    boxes: list[np.ndarray] = [np.zeros((0, 4), np.int32)]
    class_ids: list[np.ndarray] = [np.zeros(0, np.int32)]
    owners: list[np.ndarray] = [np.zeros(0, int)]
    for image_id in track(
        dataset.image_ids if image_ids is None else image_ids, "Objects", progress
    ):
        _, _, ids, found, _ = load_image_gt(dataset, config, image_id)
        own = ids > 0
        boxes.append(found[own])
        class_ids.append(ids[own])
        owners.append(np.full(own.sum(), image_id))
    return Objects(np.concatenate(boxes), np.concatenate(class_ids), np.concatenate(owners))


def best_anchor_iou(
    boxes: ArrayLike,
    config: Config,
    image_shape: Sequence[int] | np.ndarray | None = None,
    scales: Sequence[ArrayLike] | None = None,
    ratios: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """The IoU of each box with the anchor that fits it best.

    No anchor is made for it: of the anchors of one level and ratio the one whose centre is
    nearest overlaps most, since the overlap falls with the distance along either axis.

    Args:
        boxes: [N, 4] px.
        config: RPN_ANCHOR_STRIDE and what `pyramid_anchors` reads.
        image_shape: (height, width, ...) px; None: IMAGE_SHAPE.
        scales, ratios: in place of the config's.

    Returns:
        float64 [N] in 0..1, the maximum over `ops.anchors.pyramid_anchors` (0 without area).
    """
    scales = config.RPN_ANCHOR_SCALES if scales is None else scales
    ratios = config.RPN_ANCHOR_RATIOS if ratios is None else ratios
    image_shape = config.IMAGE_SHAPE if image_shape is None else image_shape
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    shapes = compute_backbone_shapes(config, image_shape)
    best = np.zeros(len(boxes))
    strides = anchor_strides(config, image_shape)
    for scale, shape, stride in zip(scales, shapes, strides):
        for ratio in np.ravel(ratios):
            for side in np.ravel(scale):
                size = side / np.sqrt(ratio), side * np.sqrt(ratio)
                if config.RPN_ANCHORS_ROUNDED:
                    size = 2 * np.round(0.5 * size[0]), 2 * np.round(0.5 * size[1])
                best = np.maximum(
                    best, _nearest_iou(boxes, size, shape, stride, config.RPN_ANCHOR_STRIDE)
                )
    return best


def _nearest_iou(boxes, size, shape, stride, anchor_stride):
    """IoU of boxes with the nearest anchor of one size, float64 [N]."""
    shared, area = np.ones(len(boxes)), np.ones(len(boxes))
    for axis in (0, 1):
        low, high = boxes[:, axis], boxes[:, axis + 2]
        spacing, count = stride[axis] * anchor_stride, -(-int(shape[axis]) // anchor_stride)
        centre = np.clip(np.round((low + high) / (2 * spacing)), 0, count - 1) * spacing
        inside = np.minimum(high, centre + size[axis] / 2) - np.maximum(
            low, centre - size[axis] / 2
        )
        shared *= np.maximum(inside, 0)
        area *= high - low
    return np.where(area > 0, shared / (area + size[0] * size[1] - shared), 0.0)


def coverage_by_size(
    boxes: ArrayLike, best: ArrayLike, config: Config, sides: Sequence[float] = SIDES
) -> list[SizeRange]:
    """Sum up the best IoUs by the size of the objects.

    Args:
        boxes: [N, 4] px; best: [N], of `best_anchor_iou`.
        config: RPN_POSITIVE_IOU and RPN_NEGATIVE_IOU are read.
        sides: limits of the ranges, px, rising.

    Returns:
        list of `SizeRange`, empty ranges left out; the last one is that of all objects.
    """
    boxes, best = np.asarray(boxes).reshape(-1, 4), np.asarray(best)
    side = box_sides(boxes)
    ranges = []
    for low, high in [*itertools.pairwise(sides), (sides[0], sides[-1])]:
        own = best[(side >= low) & (side < high)]
        if len(own):
            ranges.append(
                SizeRange(
                    low,
                    high,
                    len(own),
                    *map(
                        float,
                        (
                            own.mean(),
                            np.mean(own >= config.RPN_POSITIVE_IOU),
                            np.mean(own >= 0.5),
                            np.mean(own < config.RPN_NEGATIVE_IOU),
                        ),
                    ),
                )
            )
    return ranges


def box_sides(boxes: ArrayLike) -> NDArray[np.float64]:
    """sqrt(height * width) of boxes [N, 4]: float64 [N], in their unit."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    return np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def suggest_anchors(boxes: ArrayLike, config: Config, ratio_count: int | None = None) -> Suggestion:
    """Anchor scales and ratios that cover the objects better.

    The measure is the mean best IoU (as for YOLOv2's dimension clusters: Redmon and Farhadi 2017,
    section 2) at the places where the anchors really are, with two changes: the mean is geometric,
    since a better fit of some objects does not make up for losing others, and an IoU counts up to
    RPN_POSITIVE_IOU, from where on an anchor is positive anyway.

    With weights that were trained on other anchors, such as COCO's, other scales need some
    training of the RPN, and another number of ratios a new RPN head.

    Args:
        boxes: [N, 4] px, such as `load_objects` gives.
        config: as of `best_anchor_iou`, and RPN_POSITIVE_IOU; the number of scales is that of its
            levels.
        ratio_count: number of ratios; None: as many as the config has.

    Returns:
        `Suggestion`: scales in whole px, each the one before times a constant; ratios of 2 digits
        around one of them. The config's own where these gain nothing.

    Raises:
        ValueError: no box has an area.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    boxes = boxes[box_sides(boxes) > 0]
    if not len(boxes):
        raise ValueError("suggest_anchors needs at least one box with an area, got none")
    boxes = boxes[:: -(-len(boxes) // _SEARCH_LIMIT)]
    sides = box_sides(boxes)

    def fit(scales, ratios):
        best = best_anchor_iou(boxes, config, scales=scales, ratios=ratios)
        return np.exp(np.log(np.clip(best, _LEAST_IOU, config.RPN_POSITIVE_IOU)).mean())

    levels = np.arange(len(config.RPN_ANCHOR_SCALES))
    ratio_count = ratio_count or np.size(config.RPN_ANCHOR_RATIOS)
    steps = np.arange(ratio_count) - (ratio_count - 1) / 2
    lowest = 2.0 ** np.arange(np.log2(sides.min()) - 0.5, np.log2(sides.max()) + 0.01, 0.125)
    all_scales = [_rising(np.round(low * growth**levels)) for low in lowest for growth in _GROWTHS]
    factors = _RATIO_FACTORS if ratio_count > 1 else [1]
    all_ratios = [
        tuple(np.round(centre * factor**steps, 2).tolist())
        for centre in _RATIO_CENTRES
        for factor in factors
    ]

    scales, ratios = config.RPN_ANCHOR_SCALES, tuple(np.ravel(config.RPN_ANCHOR_RATIOS).tolist())
    before = after = fit(scales, ratios)
    if len(ratios) != ratio_count:  # not a choice: the best of the number that is asked for
        ratios = max(all_ratios, key=lambda tried: fit(scales, tried))
        after = fit(scales, ratios)
    while True:
        new_scales = max(all_scales, key=lambda tried: fit(tried, ratios))
        new_ratios = max(all_ratios, key=lambda tried: fit(new_scales, tried))
        if fit(new_scales, new_ratios) < after + _LEAST_GAIN:
            return Suggestion(
                tuple(scales), ratios, float(before), float(after), config.RPN_POSITIVE_IOU
            )
        scales, ratios, after = new_scales, new_ratios, fit(new_scales, new_ratios)


def _rising(scales):
    """Scales as whole numbers from 1, each greater than the one before."""
    rising = [max(int(scales[0]), 1)]
    for scale in scales[1:]:
        rising.append(max(int(scale), rising[-1] + 1))
    return tuple(rising)

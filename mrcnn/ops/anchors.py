"""Anchors: the boxes that the region proposal network scores and refines.

Kept from matterport's code, because trained weights depend on it: the ratio
is width / height (0.5 is tall), centres lie on multiples of the stride
without a half-stride offset, and the order is level, row, column, ratio.
torchvision's anchors are these in the order of its ratios, with rounded corners
and strides from the sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from mrcnn.config import Config


def generate_anchors(
    scales: ArrayLike,
    ratios: ArrayLike,
    shape: Sequence[int] | np.ndarray,
    feature_stride: int | Sequence[int] | np.ndarray,
    anchor_stride: int,
    rounded: bool = False,
) -> NDArray[np.float64]:
    """Anchors of one pyramid level.

    Args:
        scales: side in pixels of the square anchor, a number or [S].
        ratios: width / height, a number or [R].
        shape: (height, width) of the feature map in cells.
        feature_stride: pixels of the image per cell, or (along y, along x).
        anchor_stride: cells between two anchor centres.
        rounded: ``Config.RPN_ANCHORS_ROUNDED``: the corners relative to the centre are rounded to
            whole pixels, half to even.

    Returns:
        float64 [A, (y1, x1, y2, x2)] in pixels, ordered by row, column, ratio,
        scale. All ratios of a scale have the same area, unless they are rounded.
    """
    side_grid, ratio_grid = np.meshgrid(np.array(scales), np.array(ratios))
    sides, root = side_grid.ravel(), np.sqrt(ratio_grid.ravel())
    half = 0.5 * np.stack([sides / root, sides * root], axis=1)  # [S*R, 2]
    if rounded:
        half = np.round(half)
    stride_y, stride_x = np.broadcast_to(feature_stride, 2)
    ys = np.arange(0, shape[0], anchor_stride) * stride_y
    xs = np.arange(0, shape[1], anchor_stride) * stride_x
    centre = np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1)[:, :, np.newaxis]
    boxes = np.concatenate([centre - half, centre + half], axis=-1)
    return boxes.reshape(-1, 4)


def generate_pyramid_anchors(
    scales: Sequence[ArrayLike],
    ratios: ArrayLike,
    feature_shapes: Sequence[Sequence[int]] | np.ndarray,
    feature_strides: Sequence[int] | np.ndarray,
    anchor_stride: int,
    rounded: bool = False,
) -> NDArray[np.float64]:
    """Anchors of all levels, finest first; one scale (or list of scales) per level.

    Args:
        scales: [levels], pixels.
        ratios: width / height, the same at every level.
        feature_shapes: [levels, (height, width)] in cells.
        feature_strides: [levels] or [levels, (y, x)], pixels per cell.
        anchor_stride: cells between two anchor centres.
        rounded: see `generate_anchors`.

    Returns:
        float64 [A, (y1, x1, y2, x2)] in pixels.

    Raises:
        ValueError: scales, feature_shapes and feature_strides differ in length.
    """
    if not len(scales) == len(feature_shapes) == len(feature_strides):
        raise ValueError(
            "One anchor scale and one stride are needed per pyramid level: got "
            f"{len(scales)} RPN_ANCHOR_SCALES and {len(feature_strides)} "
            f"BACKBONE_STRIDES for {len(feature_shapes)} feature maps"
        )
    levels = zip(scales, feature_shapes, feature_strides)
    return np.concatenate(
        [
            generate_anchors(scale, ratios, shape, stride, anchor_stride, rounded)
            for scale, shape, stride in levels
        ]
    )


def compute_backbone_shapes(
    config: Config, image_shape: Sequence[int] | np.ndarray
) -> NDArray[np.integer]:
    """Height and width of the feature maps P2..P6.

    Args:
        config: BACKBONE, BACKBONE_STRIDES and, for a callable BACKBONE,
            COMPUTE_BACKBONE_SHAPE(image_shape) are read.
        image_shape: (height, width, ...) in pixels.

    Returns:
        int [levels, (height, width)]: ceil(side / stride).

    Raises:
        ValueError: BACKBONE is callable and COMPUTE_BACKBONE_SHAPE is not.
    """
    if callable(config.BACKBONE):
        if not callable(config.COMPUTE_BACKBONE_SHAPE):
            raise ValueError(
                "BACKBONE is a function, so COMPUTE_BACKBONE_SHAPE must be a function "
                "too: it takes the image shape and returns the shapes of P2..P6"
            )
        return config.COMPUTE_BACKBONE_SHAPE(image_shape)
    height, width = image_shape[0], image_shape[1]
    return np.array(
        [
            [math.ceil(height / stride), math.ceil(width / stride)]
            for stride in config.BACKBONE_STRIDES
        ]
    )


def anchor_strides(config: Config, image_shape: Sequence[int] | np.ndarray) -> NDArray[np.integer]:
    """Pixels of an image per cell of P2..P6, as the anchors are placed.

    Args:
        config: RPN_STRIDES_FROM_SIZES, BACKBONE_STRIDES and what `compute_backbone_shapes` reads.
        image_shape: (height, width, ...) in pixels of the molded image.

    Returns:
        int [levels, (y, x)]: BACKBONE_STRIDES; or, with RPN_STRIDES_FROM_SIZES, the image's side
        // the map's side.
    """
    if config.RPN_STRIDES_FROM_SIZES:
        cells = np.asarray(compute_backbone_shapes(config, image_shape))
        return np.asarray(image_shape[:2]) // cells
    return np.stack([config.BACKBONE_STRIDES, config.BACKBONE_STRIDES], axis=1)


def pyramid_anchors(config: Config, image_shape: Sequence[int] | np.ndarray) -> NDArray[np.float64]:
    """The anchors of an image, as the configuration describes them.

    Args:
        config: RPN_ANCHOR_SCALES, RPN_ANCHOR_RATIOS, RPN_ANCHOR_STRIDE,
            RPN_ANCHORS_ROUNDED and what `anchor_strides` reads.
        image_shape: (height, width, ...) in pixels of the molded image.

    Returns:
        float64 [A, (y1, x1, y2, x2)] in pixels.
    """
    return generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES,
        config.RPN_ANCHOR_RATIOS,
        compute_backbone_shapes(config, image_shape),
        anchor_strides(config, image_shape),
        config.RPN_ANCHOR_STRIDE,
        config.RPN_ANCHORS_ROUNDED,
    )

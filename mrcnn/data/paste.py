"""Masks of the network at their places in the image, as Detectron and torchvision paste them.

`masks.unmold_masks` is the original's way. MASK_PASTE chooses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.data.bilinear import bilinear_within


def paste_masks(
    masks: np.ndarray, boxes: ArrayLike, image_shape: Sequence[int]
) -> NDArray[np.bool_]:
    """Put masks of the network at their places in the image.

    A mask is a grid of samples at the centres of its cells, so that half a cell of its box lies
    beyond the outermost of them. A cell of nothing around the mask, and a box larger by as much,
    let the object end there as it ends elsewhere, between two samples.

    Args:
        masks: [N, height, width], float32 in 0..1.
        boxes: [N, (y1, x1, y2, x2)] px, not rounded.
        image_shape: (height, width, ...) of the image in pixels.

    Returns:
        bool [height, width, N]: bilinear, then >= 0.5; each mask lies in one piece in memory.
    """
    height, width = image_shape[:2]
    full_masks = np.zeros((len(masks), height, width), bool)
    padded = np.pad(masks, [(0, 0), (1, 1), (1, 1)])[..., np.newaxis]
    corners = _grown(np.asarray(boxes, np.float32).reshape(-1, 4), masks.shape[1:]).tolist()
    for full_mask, mask, (y1, x1, y2, x2) in zip(full_masks, padded, corners):
        # the last pixel is in the box
        size = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        top, left = max(y1, 0), max(x1, 0)
        bottom, right = min(y1 + size[0], height), min(x1 + size[1], width)
        if bottom <= top or right <= left:
            continue
        part = top - y1, left - x1, bottom - y1, right - x1
        values = bilinear_within(mask, *size, part)[..., 0]
        np.greater_equal(values, 0.5, out=full_mask[top:bottom, left:right])
    return np.moveaxis(full_masks, 0, -1)


def _grown(boxes, shape):
    """Boxes float32 [N, 4] larger by a cell of their masks on each side, int64, cut towards 0."""
    low, high = boxes[:, :2], boxes[:, 2:]
    growth = np.array([(side + 2) / side for side in shape], np.float32)
    centre, half = (low + high) * np.float32(0.5), (high - low) * np.float32(0.5) * growth
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.int64)

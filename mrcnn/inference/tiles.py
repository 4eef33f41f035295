"""Large images piece by piece: windows that overlap, and what was found in them put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Window: TypeAlias = tuple[int, int, int, int]  # (y1, x1, y2, x2) px, y2 and x2 exclusive


def tiles(shape: Sequence[int], tile: int, overlap: float = 0.5, step: int = 1) -> list[Window]:
    """Windows that cover an image, row after row.

    They are evenly spread, each next one at least ``overlap`` of a tile into the one before, as far
    as ``step`` allows.

    Args:
        shape: (height, width, ...) of the image, px.
        tile: side of a window, px, at least ``step``; a smaller one becomes that.
        overlap: share of a tile, from 0 to below 1.
        step: windows begin at multiples of this, px. With a network's stride each pixel lies in its
            grid as in the whole image. The last windows are then shorter, where the image ends.

    Returns:
        list of (y1, x1, y2, x2), all inside the image.
    """
    rows, columns = (_ends(side, max(tile, step), overlap, step) for side in shape[:2])
    return [(y1, x1, y2, x2) for y1, y2 in rows for x1, x2 in columns]


def _ends(side, tile, overlap, step):
    """(start, end) of each window along a side."""
    last = -(-max(side - tile, 0) // step) * step  # start of the last one
    stride = max(int(tile * (1 - overlap)) // step, 1) * step
    count = -(-last // stride) + 1
    starts = [number * last // max(count - 1, 1) // step * step for number in range(count)]
    return [(start, min(start + tile, side)) for start in starts]


def tile_weights(height: int, width: int) -> NDArray[np.float32]:
    """How much each pixel of a window counts where windows overlap: a ramp from each end to the
    middle, since a network sees least of what surrounds the outermost pixels.

    Returns:
        float32 [height, width], above 0 and up to 1.
    """

    def ramp(side):
        steps = np.arange(1, side + 1)
        return np.minimum(steps, steps[::-1]) / ((side + 1) // 2)

    return np.outer(ramp(height), ramp(width)).astype(np.float32)


def blend(
    windows: Sequence[Window], found: Iterable[NDArray[np.float32]]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The mean of what was found in windows that overlap, weighted by `tile_weights`.

    No more than the rows of one row of windows are in memory.

    Args:
        windows: as of `tiles`.
        found: float32 [y2 - y1, x2 - x1, K] of each of them, in their order.

    Yields:
        (y, float32 [rows, width, K]): rows of the image that are finished, from y on, from top to
        bottom. The array is used again for the next ones.
    """
    height = max(y2 - y1 for y1, _, y2, _ in windows)
    width = max(x2 for _, _, _, x2 in windows)
    sums, weights = np.zeros((0, 0, 0), np.float32), np.zeros((height, width), np.float32)
    top = bottom = 0
    for (y1, x1, y2, x2), scores in zip(windows, found, strict=True):
        if not sums.size:
            sums = np.zeros((height, width, scores.shape[-1]), np.float32)
        if y1 > top:
            done = y1 - top
            yield top, _mean(sums[:done], weights[:done])
            for buffer in (sums, weights):
                buffer[: height - done] = buffer[done:]
                buffer[height - done :] = 0
            top = y1
        weight = tile_weights(y2 - y1, x2 - x1)
        part = slice(y1 - top, y2 - top), slice(x1, x2)
        sums[part] += scores * weight[..., np.newaxis]
        weights[part] += weight
        bottom = y2
    yield top, _mean(sums[: bottom - top], weights[: bottom - top])


def _mean(sums, weights):
    return np.divide(sums, weights[..., np.newaxis], out=sums)

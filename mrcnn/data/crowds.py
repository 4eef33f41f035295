"""Crowds, the regions that are neither learned nor background: each counted once."""

import numpy as np
from numpy.typing import NDArray

# Stands for the class of a crowd of several classes, where it is counted once. It is negative, as
# the class id of every crowd is.
SEVERAL_CLASSES = -(2**31) + 1


def distinct_regions(
    masks: NDArray[np.bool_], class_ids: NDArray[np.integer]
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """The objects and crowds of an image without the repetitions of crowds of several classes.

    `Dataset.load_mask` gives a crowd of several classes, such as a region to ignore, once for each
    of them, so that no detection in it counts as false. Crowds of one mask and different classes
    are therefore one region.

    Args:
        masks: bool [height, width, N].
        class_ids: int [N], negative for crowds.

    Returns:
        rows: int [M], ascending, of the objects and of the first crowd of each region.
        class_ids: int [M], theirs; `SEVERAL_CLASSES` for a region of several.
    """
    crowds = np.flatnonzero(class_ids < 0)
    if len(crowds) < 2:
        return np.arange(len(class_ids)), class_ids
    regions: dict[tuple[bytes, int], list[int]] = {}  # {(mask, how often a class had it): rows}
    seen: dict[tuple[bytes, int], int] = {}
    for row in crowds.tolist():
        mask = np.packbits(masks[..., row]).tobytes()
        key = mask, int(class_ids[row])
        seen[key] = seen.get(key, 0) + 1
        regions.setdefault((mask, seen[key]), []).append(row)
    class_ids, kept = class_ids.astype(np.int64), class_ids >= 0
    for first, *others in regions.values():
        kept[first] = True
        if others:
            class_ids[first] = SEVERAL_CLASSES
    return np.flatnonzero(kept), class_ids[kept]

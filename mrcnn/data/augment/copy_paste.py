"""Copy-paste: objects of one training image are put onto another.

Ghiasi et al. 2021, "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
Segmentation", section 3. As the paper found it to do as well, the objects' edges are not blended.
"""

import numpy as np
from numpy.typing import NDArray

from mrcnn.data.masks import ignore_left_overs


def choose_objects(
    class_ids: NDArray[np.integer],
    active_class_ids: np.ndarray,
    room: int,
    rng: np.random.RandomState | None = None,
) -> NDArray[np.integer]:
    """Draw the objects to paste: how many, at least one, then which.

    Args:
        class_ids: int [N] of the image that they are from; crowds (below 0) are not taken.
        active_class_ids: [classes], 1 for those that the source of the other image annotates;
            objects of other classes are not taken, for those of the other image have no masks.
        room: the most objects to take.
        rng: np.random.RandomState; None draws from the global np.random.

    Returns:
        int [n], indices in rising order; empty where there are none to take.
    """
    draw = np.random if rng is None else rng
    candidates = np.flatnonzero(
        (class_ids > 0) & (np.take(active_class_ids, np.abs(class_ids)) > 0)
    )
    most = min(len(candidates), room)
    if most < 1:
        return candidates[:0]
    return np.sort(draw.choice(candidates, draw.randint(1, most + 1), replace=False))


def paste_objects(
    image: np.ndarray,
    mask: NDArray[np.bool_],
    class_ids: NDArray[np.integer],
    other_image: np.ndarray,
    other_mask: NDArray[np.bool_],
    other_class_ids: NDArray[np.integer],
) -> tuple[np.ndarray, NDArray[np.bool_], NDArray[np.integer]]:
    """Put all objects of one image onto another, each at its place.

    Args:
        image: [H, W, C].
        mask: bool [H, W, N].
        class_ids: int32 [N].
        other_image: [H, W, C], whose pixels under other_mask are pasted.
        other_mask: bool [H, W, M].
        other_class_ids: int32 [M].

    Returns:
        image: a copy of the dtype of `image`.
        mask: bool [H, W, K], each mask in one piece: the objects of `image` less what is hidden
            now, then the pasted ones. Objects that are hidden altogether are left out.
        class_ids: int32 [K]; of objects of which little is left see `masks.ignore_left_overs`.

    Raises:
        ValueError: the images differ in size.
    """
    if image.shape != other_image.shape:
        raise ValueError(
            f"objects of an image of shape {other_image.shape} cannot be pasted onto one of shape "
            f"{image.shape}"
        )
    pasted = np.moveaxis(other_mask, -1, 0)
    below = np.moveaxis(mask, -1, 0)
    hidden = np.any(pasted, axis=0)
    rows, columns = (np.flatnonzero(np.any(hidden, axis=axis)) for axis in (1, 0))
    if not len(rows):
        return image, mask, class_ids
    region = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    image = image.copy()
    image[region][hidden[region]] = other_image[region][hidden[region]]
    masks = np.concatenate([below, pasted])
    count = len(below)
    whole = np.array([np.count_nonzero(part) for part in masks[:count]], int)
    masks[:count, region[0], region[1]] &= ~hidden[region]
    left = np.array([np.count_nonzero(part) for part in masks[:count]], int)
    kept = np.concatenate([left > 0, np.ones(len(pasted), bool)])
    class_ids = np.concatenate([ignore_left_overs(class_ids, left, whole), other_class_ids])
    return image, np.moveaxis(masks[kept], 0, -1), class_ids[kept]

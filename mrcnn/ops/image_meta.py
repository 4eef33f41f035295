"""The image meta vector: what the network must know of an image beside its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import tensorflow as tf

from mrcnn.config.derived import META_LENGTH as LENGTH

# id (1), original shape (3), molded shape (3), window (4), scale (1), then one flag per class
IMAGE_SHAPE, WINDOW, ACTIVE_CLASS_IDS = slice(4, 7), slice(7, 11), slice(LENGTH, None)
PARTS: dict[str, int | slice] = {
    "image_id": 0,
    "original_image_shape": slice(1, 4),
    "image_shape": IMAGE_SHAPE,
    "window": WINDOW,
    "scale": 11,
    "active_class_ids": ACTIVE_CLASS_IDS,
}

Meta = TypeVar("Meta", np.ndarray, "tf.Tensor")


def meta_parts(meta: Meta) -> dict[str, Meta]:
    """The parts of meta vectors [batch, LENGTH + classes], an array or a tensor, by name."""
    return {name: meta[:, part] for name, part in PARTS.items()}


def compose_image_meta(
    image_id: int,
    original_image_shape: Sequence[int],
    image_shape: Sequence[int],
    window: Sequence[int],
    scale: float,
    active_class_ids: Sequence[int] | np.ndarray,
) -> NDArray[np.float64]:
    """Pack the facts of one image into one vector.

    Args:
        image_id: number of the image in its dataset.
        original_image_shape: (height, width, channels) as read.
        image_shape: (height, width, channels) after resizing and padding.
        window: (y1, x1, y2, x2) in pixels, the part that is not padding.
        scale: molded size / original size.
        active_class_ids: [NUM_CLASSES], 1 for the classes that the image's
            source annotates, 0 for the others.

    Returns:
        float64 [LENGTH + NUM_CLASSES]. Always float64: integers (a scale that is
        the int 1) made the original cut off the scales of the rest of a batch.

    Raises:
        ValueError: a shape has not 3 numbers, or the window has not 4.
    """
    for name, value, length in (
        ("original_image_shape", original_image_shape, 3),
        ("image_shape", image_shape, 3),
        ("window", window, 4),
    ):
        if len(value) != length:
            raise ValueError(
                f"compose_image_meta: {name} must have {length} numbers, got {tuple(value)}"
            )
    return np.array(
        [image_id, *original_image_shape, *image_shape, *window, scale, *active_class_ids],
        dtype=np.float64,
    )


def parse_image_meta(meta: ArrayLike) -> dict[str, np.ndarray]:
    """Unpack the meta vectors of a batch.

    Args:
        meta: [batch, LENGTH + NUM_CLASSES].

    Returns:
        dict of image_id int32 [batch], original_image_shape and image_shape
        int32 [batch, 3], window int32 [batch, 4] in pixels, scale float32
        [batch], active_class_ids int32 [batch, NUM_CLASSES].

    Raises:
        ValueError: `meta` is not a batch of such vectors.
    """
    meta = np.asarray(meta)
    if meta.ndim != 2 or meta.shape[1] < LENGTH:
        raise ValueError(
            f"parse_image_meta needs [batch, {LENGTH} + NUM_CLASSES], got shape {meta.shape}; "
            "a single vector goes in as meta[np.newaxis]"
        )
    return {
        name: part.astype(np.float32 if name == "scale" else np.int32)
        for name, part in meta_parts(meta).items()
    }

"""The attributes of a `Config` that its __init__ computes from the fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

# Never read back from a dict.
DERIVED_FIELDS = ("BATCH_SIZE", "IMAGE_SHAPE", "IMAGE_META_SIZE")
# What they are computed from.
SOURCE_FIELDS = (
    "NUM_CLASSES",
    "IMAGES_PER_GPU",
    "GPU_COUNT",
    "IMAGE_MIN_DIM",
    "IMAGE_MAX_DIM",
    "IMAGE_CHANNEL_COUNT",
    "IMAGE_RESIZE_MODE",
)
# Numbers of a row of image meta data before the flags of the classes, see `ops.image_meta.PARTS`.
META_LENGTH = 12


def derive(config: Any) -> dict[str, Any]:
    """The attributes by name, of a config whose fields are right."""
    side = config.IMAGE_MIN_DIM if config.IMAGE_RESIZE_MODE == "crop" else config.IMAGE_MAX_DIM
    if config.IMAGE_RESIZE_MODE == "fit":  # MAX is any number there
        side = -(-side // 64) * 64
    return {
        "BATCH_SIZE": config.IMAGES_PER_GPU * config.GPU_COUNT,
        "IMAGE_SHAPE": np.array([side, side, config.IMAGE_CHANNEL_COUNT]),
        "IMAGE_META_SIZE": META_LENGTH + config.NUM_CLASSES,
    }


def changed_fields(config: Any) -> Iterator[str]:
    """A sentence for each attribute that no longer fits the fields it was computed from."""
    remedy = ": change fields in the class, or call __init__() again afterwards"
    now, computed = derive(config), vars(config)
    size, shape = computed.get("IMAGE_META_SIZE"), computed.get("IMAGE_SHAPE")
    if size is not None and size != now["IMAGE_META_SIZE"]:
        yield (
            f"IMAGE_META_SIZE is {size}, but NUM_CLASSES = {config.NUM_CLASSES} makes it "
            f"{now['IMAGE_META_SIZE']}{remedy}"
        )
    # the other modes have images of many shapes
    if shape is not None and config.IMAGE_RESIZE_MODE in ("square", "rect", "crop", "fit"):
        given, expected = tuple(map(int, shape)), tuple(map(int, now["IMAGE_SHAPE"]))
        if given != expected:
            yield f"IMAGE_SHAPE is {given}, but the fields make it {expected}{remedy}"
    # a BATCH_SIZE that the user set is the user's
    images, devices, batch = computed.get("_batch", (None,) * 3)
    if computed.get("BATCH_SIZE", 0) == batch and (images, devices) != (
        config.IMAGES_PER_GPU,
        config.GPU_COUNT,
    ):
        yield (
            f"BATCH_SIZE is still {batch}, though IMAGES_PER_GPU is now {config.IMAGES_PER_GPU} "
            f"and GPU_COUNT {config.GPU_COUNT}{remedy}"
        )

"""The ``Dataset`` of ``mrcnn.utils``: outlines may leave their image, as the original's data did.

New code subclasses `mrcnn.data.Dataset`, which runs ``load_mask`` once and as it is.
"""

import copy
import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from mrcnn.data.dataset import Dataset as PlainDataset

# Pixels to add below and to the right until the drawing fits. skimage.draw.polygon draws the far
# edges of an outline too since 0.18, so that a vertex at x = width, which annotation tools write
# and which used to be harmless, is one pixel out.
_MARGINS = (1, 100, 1000)


class Dataset(PlainDataset):
    """A `mrcnn.data.Dataset` that cuts off what a subclass's ``load_mask`` draws beyond the image.

    Of the balloon photos of the original, seven need it.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if inspect.isfunction(vars(cls).get("load_mask")):
            cls.load_mask = cut_at_edge(cls.load_mask)  # type: ignore[method-assign]  # on purpose


def cut_at_edge(
    load_mask: Callable[..., tuple[np.ndarray, np.ndarray]],
) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Let a `Dataset.load_mask` draw beyond the image.

    Scripts for polygons make an array of the image's height and width, which they gave to
    `add_image`, and set the pixels inside each outline; a vertex out of the image is an
    IndexError there. Then they are asked again, for an image that is larger to the bottom and
    to the right, and the masks are cut to the image.

    Args:
        load_mask: method (dataset, image_id) -> (masks [height, width, objects], class ids).

    Returns:
        A method of the same kind, which warns once for each image where it had to cut.

    Raises:
        IndexError: of load_mask, where the image's info has no height and width or a larger
            image does not help.
    """

    @functools.wraps(load_mask)
    def load(dataset, image_id):
        try:
            return load_mask(dataset, image_id)
        except IndexError:
            cut = _cut(load_mask, dataset, image_id)
            if cut is None:
                raise
            info = dataset.image_info[image_id]
            warnings.warn(
                f"Image {info['source']}.{info['id']}: an outline leaves the image of "
                f"{info['height']} x {info['width']} pixels (height x width) and was cut at its "
                "edge; skimage.draw.polygon(..., shape=mask.shape[:2]) in load_mask does so too",
                stacklevel=2,
            )
            return cut

    return load


def _cut(load_mask, dataset, image_id):
    """(masks, class ids) drawn on a larger image and cut to the real one, or None."""
    if not 0 <= image_id < len(dataset.image_info):
        return None
    info = dataset.image_info[image_id]
    size = info.get("height"), info.get("width")
    if not all(isinstance(side, (int, np.integer)) for side in size):
        return None
    for margin in _MARGINS:
        # a copy: other threads may be loading the same image
        larger = copy.copy(dataset)
        larger.image_info = list(dataset.image_info)
        larger.image_info[image_id] = {
            **info,
            "height": size[0] + margin,
            "width": size[1] + margin,
        }
        try:
            masks, class_ids = load_mask(larger, image_id)
        except IndexError:
            continue
        masks = np.asarray(masks)
        drawn = masks.ndim == 3 and masks.shape[:2] == (size[0] + margin, size[1] + margin)
        return (masks[: size[0], : size[1]], class_ids) if drawn else None
    return None

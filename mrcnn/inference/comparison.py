"""What is found beside the truth, as one picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mrcnn.data.dataset import Dataset
from mrcnn.data.drawing import draw_instances
from mrcnn.data.masks import binary_masks, extract_bboxes
from mrcnn.inference.result import Result

# A network that has just begun finds something everywhere.
MOST = 20


def found_and_true(
    detect: Callable[[Sequence[np.ndarray]], list[Result]], dataset: Dataset, image_id: int
) -> NDArray[np.uint8]:
    """The best detections in an image, and beside them its objects.

    Args:
        detect: `MaskRCNN.detect`.
        dataset: a prepared Dataset.
        image_id: number of the image.

    Returns:
        [height, 2 * width, 3].
    """
    image, (masks, class_ids) = dataset.load_image(image_id), dataset.load_mask(image_id)
    found, names = detect([image])[0], dataset.class_names
    best = np.argsort(-found["scores"])[:MOST]
    sides = [
        draw_instances(
            image,
            found["rois"][best],
            found["masks"][..., best],
            found["class_ids"][best],
            names,
            found["scores"][best],
        )
    ]
    masks = binary_masks(masks) if len(class_ids) else np.zeros((*image.shape[:2], 0), bool)
    sides.append(draw_instances(image, extract_bboxes(masks), masks, np.abs(class_ids), names))
    return np.concatenate(sides, axis=1)

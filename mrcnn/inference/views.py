"""Test-time augmentation: an image looked at in several sizes, and in a mirror.

The detections of all views are put together as Mask R-CNN's authors do (He et al. 2017, appendix
B): their union is suppressed class by class, and the best are kept. Each detection has the mask of
the view that it is from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mrcnn.inference.unmold import Located
from mrcnn.ops.boxes_np import compute_iou

if TYPE_CHECKING:
    from mrcnn.config import Config


class View(NamedTuple):
    """One way to look at an image."""

    scale: float = 1  # factor of the size that the network takes the image at
    mirrored: bool = False  # left and right exchanged

    def of(self, image: np.ndarray) -> np.ndarray:
        """An image [h, w] or [h, w, c] as the view has it, at the size it has."""
        # what is no image is refused by whoever molds it
        return image[:, ::-1] if self.mirrored and image.ndim > 1 else image

    def undone(self, located: Located, width: int) -> Located:
        """Detections in the pixels of the view, in those of the image, ``width`` px wide."""
        if not self.mirrored:
            return located
        y1, x1, y2, x2 = located.boxes.T
        return located._replace(
            boxes=np.stack([y1, width - x2, y2, width - x1], axis=1),
            masks=np.ascontiguousarray(located.masks[:, :, ::-1]),
        )


def views(config: Config) -> list[View]:
    """The views of TEST_SCALES and TEST_FLIPS, each size followed by its mirror image; without
    them one, of the image as it is.
    """
    mirrors = (False, True) if config.TEST_FLIPS else (False,)
    return [View(scale, mirror) for scale in config.TEST_SCALES or (1,) for mirror in mirrors]


def merged(parts: Sequence[Located], config: Config, min_confidence: float = 0.0) -> Located:
    """The detections of all views of an image as one list.

    They are taken by falling score. One that is taken suppresses those of its class that overlap
    with it in the other views, as DETECTION_NMS_THRESHOLD and SOFT_NMS_SIGMA say; within a view the
    network has done so.

    Args:
        parts: of each view, in pixels of the image.
        config: a ``Config``.
        min_confidence: least score that soft-NMS may leave.

    Returns:
        At most DETECTION_MAX_INSTANCES detections. Of equal scores that of the earlier view comes
        first.
    """
    union = Located(*map(np.concatenate, zip(*parts)))
    view = np.repeat(np.arange(len(parts)), [len(part.scores) for part in parts])
    sizes = union.boxes[:, 2:] - union.boxes[:, :2]
    areas = sizes[:, 0] * sizes[:, 1]
    left = union.scores.copy()
    waiting = np.ones(len(left), bool)
    rows: list[int] = []
    scores: list[float] = []
    while len(rows) < config.DETECTION_MAX_INSTANCES and waiting.any():
        best = int(np.where(waiting, left, -1).argmax())
        if config.SOFT_NMS_SIGMA and left[best] < min_confidence:
            break
        rows.append(best)
        scores.append(left[best])
        waiting[best] = False
        rivals = np.flatnonzero(
            waiting & (view != view[best]) & (union.class_ids == union.class_ids[best])
        )
        overlaps = compute_iou(union.boxes[best], union.boxes[rivals], areas[best], areas[rivals])
        if config.SOFT_NMS_SIGMA:
            left[rivals] *= np.exp(-(overlaps**2) / config.SOFT_NMS_SIGMA)
        else:
            waiting[rivals[overlaps > config.DETECTION_NMS_THRESHOLD]] = False
    return union.take(np.array(rows, int))._replace(scores=np.array(scores, np.float32))

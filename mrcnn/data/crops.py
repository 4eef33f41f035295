"""Crops of single objects, to train a backbone as a classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mrcnn.data.batches import TrainingBatches
from mrcnn.data.images import fit_channels, mold_image
from mrcnn.data.load import load_pixels
from mrcnn.data.masks import binary_masks, extract_bboxes
from mrcnn.data.resize import resize

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset


class ObjectCrops:
    """Batches by number of the objects of a Dataset, each cut out with some of what is around it.

    As in `data.batches.TrainingBatches` batch i depends on the seed and i alone, and an image
    without objects is replaced by the next; of each image a random object is taken.

    Args:
        dataset: a prepared Dataset; crowds are left out.
        config: NUM_CLASSES, IMAGE_CHANNEL_COUNT, MEAN_PIXEL and SEED are read.
        size: side of a crop in pixels.
        batch_size: crops per batch.
        context: how much wider and higher than the object's box a crop is, as a share of the box;
            drawn from 0 to twice that where ``augment`` is True.
        augment: also mirror half of the crops.
        seed: int from 0; None as in `TrainingBatches`.
        training: whether IMAGE_SAMPLING chooses the images.

    Raises:
        ValueError: a dataset without images, or whose classes are not the config's.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: Config,
        size: int,
        batch_size: int,
        context: float = 0.25,
        augment: bool = False,
        seed: int | None = None,
        training: bool = True,
    ) -> None:
        self.dataset, self.config = dataset, config
        self.size, self.batch_size, self.context, self.augment = size, batch_size, context, augment
        self._order = TrainingBatches(dataset, config, batch_size, seed=seed, training=training)
        self.seed = self._order.seed

    def batch(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Crops float32 [batch_size, size, size, channels], mean subtracted, and classes int32
        [batch_size] from 0.

        Raises:
            ValueError: no image has an object.
        """
        first = index * self.batch_size
        crops, classes = zip(
            *(self._crop(number) for number in range(first, first + self.batch_size))
        )
        return np.stack(crops), np.array(classes, np.int32)

    def _crop(self, number):
        for image_id, rng in self._order.candidates(number):
            masks, class_ids = self.dataset.load_mask(image_id)
            boxes = (
                extract_bboxes(binary_masks(np.asarray(masks)))
                if len(class_ids)
                else np.zeros((0, 4), np.int32)
            )
            objects = np.flatnonzero((np.asarray(class_ids) > 0) & (boxes[:, 2] > boxes[:, 0]))
            if len(objects):
                chosen = objects[rng.randint(len(objects))]
                image = fit_channels(
                    load_pixels(self.dataset, self.config, image_id),
                    self.config.IMAGE_CHANNEL_COUNT,
                )
                # class 0 is the background, which no crop shows
                return self._cut(image, boxes[chosen], rng), int(class_ids[chosen]) - 1
        raise ValueError(f"No image of {type(self.dataset).__name__} has an object to cut out")

    def _cut(self, image, box, rng):
        """The object's box, widened and kept within the image, at the crops' size."""
        share = self.context * (2 * rng.rand() if self.augment else 1)
        y1, x1, y2, x2 = (int(value) for value in box)
        margin_y, margin_x = round((y2 - y1) * share / 2), round((x2 - x1) * share / 2)
        crop = image[max(y1 - margin_y, 0) : y2 + margin_y, max(x1 - margin_x, 0) : x2 + margin_x]
        crop = resize(crop, (self.size, self.size), preserve_range=True)
        if self.augment and rng.rand() < 0.5:
            crop = crop[:, ::-1]
        return mold_image(crop, self.config).astype(np.float32)

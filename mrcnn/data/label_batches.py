"""Batches of images and label maps, for networks that label pixels."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.data.augment.user import Augmentation
from mrcnn.data.label_sample import LabelSample, make_label_sample, stack_label_samples
from mrcnn.data.labels import check_one_source
from mrcnn.data.numbered_batches import NumberedBatches

if TYPE_CHECKING:
    from mrcnn.config import SegmentationConfig
    from mrcnn.data.dataset import Dataset
    from mrcnn.data.load import Prepared


class LabelBatches(NumberedBatches[LabelSample]):
    """Batches by number of images and the classes of their pixels.

    The arrays are the images float32 [b, H, W, C], minus MEAN_PIXEL and padded to what the network
    takes, and the labels int32 [b, h, w] of its output, with IGNORE_LABEL for void. An image that
    is void everywhere is replaced by the next; with KEEP_EMPTY_IMAGES False so is one without any
    class but the background.

    Args:
        config: a ``SegmentationConfig``.
        augment, augmentation, no_augmentation_sources, training: as of
            `label_sample.make_label_sample`.
        (others): as of `NumberedBatches`; the dataset's load_image and load_labels are called.

    Raises:
        ValueError: as of `NumberedBatches`; or the dataset is a cache, or has sources with
            different classes.
    """

    annotations = "labels"
    config: SegmentationConfig

    def __init__(
        self,
        dataset: Dataset,
        config: SegmentationConfig,
        batch_size: int | None = None,
        shuffle: bool = True,
        augmentation: Augmentation | None = None,
        no_augmentation_sources: Collection[str] | None = None,
        augment: bool = False,
        seed: int | None = None,
        training: bool = True,
    ) -> None:
        if hasattr(dataset, "load_prepared"):
            raise ValueError(
                f"{type(dataset).__name__} is a cache, which holds masks of objects and no labels "
                "of pixels: train on the data set that the cache was made of"
            )
        super().__init__(dataset, config, batch_size, shuffle, augmentation, seed, training)
        check_one_source(dataset, config.MERGE_SOURCES)
        self._options: dict[str, Any] = {
            "augment": augment,
            "augmentation": augmentation,
            "no_augmentation_sources": no_augmentation_sources,
            "training": training,
        }

    def make(
        self, image_id: int, rng: np.random.RandomState, prepared: Prepared | None
    ) -> LabelSample | None:
        return make_label_sample(self.dataset, self.config, image_id, rng=rng, **self._options)

    def stack(self, samples: list[LabelSample]) -> list[np.ndarray]:
        return stack_label_samples(samples)

    def describe(self, sample: LabelSample) -> str:
        """Shares of all pixels of the network's output, its padding included, which is void."""
        values, counts = np.unique(sample.labels, return_counts=True)
        names = {0: "background", self.config.IGNORE_LABEL: "void"}
        return ", ".join(
            f"{names.get(value, '') or self.dataset.class_names[value]} "
            f"{100 * count / sample.labels.size:.1f} %"
            for value, count in zip(values.tolist(), counts.tolist())
        )

    def passed_over(self) -> list[str]:
        if not self.skipped:
            return []
        if self.config.KEEP_EMPTY_IMAGES:
            lacked, remedy = "was void everywhere", ""
        else:
            lacked = "had no class but the background"
            remedy = " (KEEP_EMPTY_IMAGES = True trains on such images)"
        return [
            f"{self.skipped} times an image, or the part of it that was cut out, {lacked} and was "
            f"replaced by the next one{remedy}"
        ]

    def nothing_to_learn(self, tries: int) -> ValueError:
        lacking = (
            "a pixel that is not void"
            if self.config.KEEP_EMPTY_IMAGES
            else "a pixel of a class but the background; KEEP_EMPTY_IMAGES = True trains on images "
            "without any"
        )
        return ValueError(
            f"No image of {type(self.dataset).__name__} has {lacking}: {tries} in a row had none. "
            "Look at what load_labels returns, and whether resizing, cropping or augmentation "
            "removes what is labelled"
        )

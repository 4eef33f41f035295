"""Batches for training: matterport's generator, and batches by number for `fit`.

Both make an image's arrays with `make_sample` and stack them with `stack_samples`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from mrcnn.data.augment.user import Augmentation
from mrcnn.data.numbered_batches import NumberedBatches, check_source, most_tries
from mrcnn.data.order import image_weights, weighted_pass
from mrcnn.data.sample import Sample, make_sample, stack_samples
from mrcnn.ops.anchors import pyramid_anchors

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset
    from mrcnn.data.load import Prepared


logger = logging.getLogger(__name__)


def _anchors(config):
    """The anchors of every image, in the order in which `build_rpn_targets` need not copy them."""
    return np.asfortranarray(pyramid_anchors(config, config.IMAGE_SHAPE))


def _no_objects(dataset, tries):
    return ValueError(
        f"No image of {type(dataset).__name__} has an object: {tries} in a row gave no mask with "
        f"a class id above 0. Look at what load_mask returns, and whether resizing, cropping or "
        f"augmentation removes the objects; KEEP_EMPTY_IMAGES = True trains on images without any"
    )


def data_generator(
    dataset: Dataset,
    config: Config,
    shuffle: bool = True,
    augment: bool = False,
    augmentation: Augmentation | None = None,
    random_rois: int = 0,
    batch_size: int = 1,
    detection_targets: bool = False,
    no_augmentation_sources: Collection[str] | None = None,
    *,
    training: bool = True,
) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """An endless generator of batches, with the global random state.

    Args:
        dataset: a prepared Dataset.
        shuffle: a new order for each pass.
        augment, augmentation: see `load_image_gt`.
        random_rois: number of random regions per image, for training the heads
            without a region proposal network.
        batch_size: images per batch, b below.
        detection_targets: with random_rois, give the heads' targets too.
        no_augmentation_sources: sources whose images `augmentation`, SCALE_JITTER and
            COPY_PASTE leave alone.
        training: False leaves out what config has for training alone, for validation:
            SCALE_JITTER, COPY_PASTE and IMAGE_SAMPLING.

    Returns:
        Generator of (inputs, outputs). With A anchors, M = MAX_GT_INSTANCES,
        T = TRAIN_ROIS_PER_IMAGE, K = NUM_CLASSES, inputs are

        - images float32 [b, H, W, C], mean subtracted
        - image_meta float64 [b, 12 + K]
        - rpn_match int32 [b, A, 1]
        - rpn_bbox float64 [b, RPN_TRAIN_ANCHORS_PER_IMAGE, 4]
        - gt_class_ids int32 [b, M], zero-padded like all that follow
        - gt_boxes int32 [b, M, 4] in pixels
        - gt_masks bool [b, H, W, M], or MINI_MASK_SHAPE for H, W with USE_MINI_MASK
        - with random_rois: rpn_rois int32 [b, random_rois, 4] in pixels
        - with detection_targets: rois int32 [b, T, 4]

        and outputs are [], or with detection_targets class ids int32 [b, T, 1],
        deltas float32 [b, T, K, 4], masks float32 [b, T, *MASK_SHAPE, K].

        Images without objects are left out unless KEEP_EMPTY_IMAGES is True, and of
        images with more than M objects M random ones are taken; both are logged after
        each pass.

    Raises:
        ValueError: a dataset without images or objects, NUM_CLASSES that differ, an augmentation
            that masks cannot follow;
            SampleError, a ValueError, names an image that cannot be used.
    """
    check_source(dataset, config, batch_size, augmentation)
    if detection_targets and not random_rois:
        raise ValueError(
            "detection_targets=True needs random_rois > 0: the targets are those "
            "of the random regions"
        )
    anchors = _anchors(config)
    samples = _endless_samples(
        dataset,
        config,
        shuffle,
        image_weights(dataset, config) if training else None,
        anchors=anchors,
        augment=augment,
        augmentation=augmentation,
        random_rois=random_rois,
        training=training,
        detection_targets=detection_targets,
        no_augmentation_sources=no_augmentation_sources,
    )

    def batches():
        while True:
            yield stack_samples([next(samples) for _ in range(batch_size)], config)

    return batches()


def _endless_samples(dataset, config, shuffle, weights, augmentation, training, **options):
    """Samples in passes over the dataset; weights as in `weighted_pass`, options as in
    `make_sample`.
    """
    image_ids = np.copy(dataset.image_ids)
    empty_in_a_row = 0
    while True:
        if weights is not None:
            image_ids = dataset.image_ids[weighted_pass(weights, np.random, shuffle)]
        elif shuffle:
            np.random.shuffle(image_ids)
        tries = most_tries(len(image_ids), config, augmentation, training)
        skipped = dropped = 0
        for image_id in image_ids:
            sample = make_sample(
                dataset, config, image_id, augmentation=augmentation, training=training, **options
            )
            if sample is None:
                skipped += 1
                empty_in_a_row += 1
                if empty_in_a_row >= tries:
                    raise _no_objects(dataset, tries)
                continue
            empty_in_a_row = 0
            dropped += sample.dropped
            yield sample
        if skipped or dropped:
            logger.warning(
                "Of %d images of %s, %d were left out because they have no object; %d objects "
                "were left out because an image had more than MAX_GT_INSTANCES = %d",
                len(image_ids),
                type(dataset).__name__,
                skipped,
                dropped,
                config.MAX_GT_INSTANCES,
            )


class TrainingBatches(NumberedBatches[Sample]):
    """Batches by number of images with their objects; the arrays are those of `data_generator`.

    They are seven, or eight with POST_NMS_ROIS_TRAINING random regions where USE_RPN_ROIS is False.
    An image without objects is replaced by the next, unless KEEP_EMPTY_IMAGES is True.

    Args:
        no_augmentation_sources, augment, training: as in `data_generator`.
        (others): as of `NumberedBatches`; the dataset's load_image and load_mask are called.
    """

    annotations = "boxes and masks"

    def __init__(
        self,
        dataset: Dataset,
        config: Config,
        batch_size: int | None = None,
        shuffle: bool = True,
        augmentation: Augmentation | None = None,
        no_augmentation_sources: Collection[str] | None = None,
        augment: bool = False,
        seed: int | None = None,
        training: bool = True,
    ) -> None:
        super().__init__(dataset, config, batch_size, shuffle, augmentation, seed, training)
        self._options = {
            "anchors": _anchors(config),
            "augment": augment,
            # the model then has an input for them, of this size
            "random_rois": 0 if config.USE_RPN_ROIS else config.POST_NMS_ROIS_TRAINING,
            "augmentation": augmentation,
            "no_augmentation_sources": no_augmentation_sources,
            "training": training,
        }

    def make(
        self, image_id: int, rng: np.random.RandomState, prepared: Prepared | None
    ) -> Sample | None:
        return make_sample(
            self.dataset, self.config, image_id, rng=rng, prepared=prepared, **self._options
        )

    def stack(self, samples: list[Sample]) -> list[np.ndarray]:
        return stack_samples(samples, self.config)[0]

    def describe(self, sample: Sample) -> str:
        objects = [
            f"{self.dataset.class_names[abs(class_id)]} {tuple(map(int, box))}"
            for class_id, box in zip(sample.class_ids, sample.boxes)
        ]
        return "(y1, x1, y2, x2) px of the resized image: " + (", ".join(objects) or "no object")

    def passed_over(self) -> list[str]:
        said = []
        if self.skipped:
            said.append(
                f"{self.skipped} times an image, or the part of it that was cut out, had no object "
                "and was replaced by the next one (KEEP_EMPTY_IMAGES = True trains on such images)"
            )
        if self.dropped:
            said.append(
                f"{self.dropped} objects were left out of {len(self.crowded)} images with more "
                f"than MAX_GT_INSTANCES = {self.config.MAX_GT_INSTANCES}, up to "
                f"{max(self.crowded.values(), default=0)}"
            )
        return said

    def nothing_to_learn(self, tries: int) -> ValueError:
        return _no_objects(self.dataset, tries)

    def _count(self, samples):
        self.dropped += sum(sample.dropped for sample in samples)
        for sample in samples:
            if sample.dropped:
                count = self.config.MAX_GT_INSTANCES + sample.dropped
                self.crowded[sample.image_id] = max(count, self.crowded.get(sample.image_id, 0))

"""Batches for training: matterport's generator, and batches by number for `fit`.

Both make an image's arrays with `make_sample` and stack them with `stack_samples`.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mrcnn.data.augment.user import Augmentation, check_augmentation
from mrcnn.data.class_checks import check_classes
from mrcnn.data.image_range import use_image_range
from mrcnn.data.order import Passes, image_weights, random_state, weighted_pass
from mrcnn.data.sample import make_sample, stack_samples
from mrcnn.ops.anchors import pyramid_anchors

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset
    from mrcnn.data.load import Prepared
    from mrcnn.data.sample import Sample


logger = logging.getLogger(__name__)

# A random crop or augmentation may remove all objects of an image that has some, so a
# small dataset gets this many tries before it is called empty.
RANDOM_TRIES = 50
# Batches whose image ids TrainingBatches remembers.
REMEMBERED_BATCHES = 256


def _check(dataset, config, batch_size, augmentation):
    """Refuse what no batch can be made of."""
    check_augmentation(augmentation)
    if not len(dataset.image_ids):
        raise ValueError(
            f"{type(dataset).__name__} has no images: add_image is needed for each, then prepare()"
        )
    check_classes(dataset, config)
    use_image_range(dataset, config)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def _tries(length, config, augmentation, training):
    """Images without an object in a row after which a dataset of passes of this length counts as
    empty.
    """
    random_view = (
        augmentation is not None
        or config.IMAGE_RESIZE_MODE == "crop"
        or (training and config.SCALE_JITTER is not None)
    )
    return max(length, RANDOM_TRIES if random_view else 1)


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
    _check(dataset, config, batch_size, augmentation)
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
        tries = _tries(len(image_ids), config, augmentation, training)
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


class TrainingBatches:
    """Batches by number: batch(i) depends on the seed and i alone.

    So several threads may ask for them in any order, and a resumed run goes on with
    the data that it would have had. Sample g = i * batch_size + j is image g % n of
    the seeded permutation g // n of the n images (of the n images of a weighted pass
    with IMAGE_SAMPLING, see mrcnn.data.order), and all its random choices come
    from a RandomState of (seed, g); imgaug augmenters are copied and seeded from it
    for each sample (see mrcnn.data.augment.user.augment).

    An image without objects is replaced by the next of the same pass that has some
    (the pass is a ring), unless KEEP_EMPTY_IMAGES is True.

    Args:
        dataset: a prepared Dataset; its load_image and load_mask must be thread-safe
            and not random.
        batch_size: images per batch; None takes config.BATCH_SIZE.
        shuffle: False keeps the order of dataset.image_ids in every pass.
        augmentation, no_augmentation_sources, augment, training: as in `data_generator`.
        seed: int from 0; None takes config.SEED, and if that is None too, draws one
            from np.random.

    Attributes:
        seed: the int in use.
        skipped: how often an image was replaced because it has no object.
        dropped: number of objects left out beyond MAX_GT_INSTANCES per image.
        crowded: {image id: its objects} of the images with more than MAX_GT_INSTANCES.

    Raises:
        ValueError: a dataset without images, or whose classes are not the config's, or an
            augmentation that masks cannot follow.
    """

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
        self.batch_size = config.BATCH_SIZE if batch_size is None else batch_size
        _check(dataset, config, self.batch_size, augmentation)
        self.dataset, self.config, self.shuffle = dataset, config, shuffle
        seed = config.SEED if seed is None else seed
        self.seed = int(np.random.randint(2**31 - 1) if seed is None else seed)
        self._lock = threading.Lock()
        self.start_counting()
        self._options = {
            "anchors": _anchors(config),
            "augment": augment,
            # the model then has an input for them, of this size
            "random_rois": 0 if config.USE_RPN_ROIS else config.POST_NMS_ROIS_TRAINING,
            "augmentation": augmentation,
            "no_augmentation_sources": no_augmentation_sources,
            "training": training,
        }
        weights = image_weights(dataset, config) if training else None
        self._passes = Passes(dataset.image_ids, self.seed, shuffle, weights)
        self._tries = _tries(self._passes.length, config, augmentation, training)
        self._recent: OrderedDict[int, list[int]] = OrderedDict()

    def start_counting(self) -> None:
        """Set skipped, dropped and crowded to nothing, at once for the threads that count."""
        with self._lock:
            self.skipped, self.dropped = 0, 0
            self.crowded: dict[int, int] = {}

    def batch(self, index: int, at_hand: Mapping[int, Prepared] | None = None) -> list[np.ndarray]:
        """The input arrays of batch `index` (0, 1, ...), as in `data_generator`.

        They are seven, or eight with POST_NMS_ROIS_TRAINING random regions where
        USE_RPN_ROIS is False.

        Args:
            at_hand: {image id: `data.load.Prepared`} of images that need not be loaded.

        Raises:
            ValueError: no image has an object; SampleError, a ValueError, names an
                image that cannot be used.
        """
        samples, skipped = self._samples(index, at_hand or {})
        with self._lock:
            self.skipped += skipped
            self.dropped += sum(sample.dropped for sample in samples)
            for sample in samples:
                if sample.dropped:
                    count = self.config.MAX_GT_INSTANCES + sample.dropped
                    self.crowded[sample.image_id] = max(count, self.crowded.get(sample.image_id, 0))
            self._recent[index] = [sample.image_id for sample in samples]
            if len(self._recent) > REMEMBERED_BATCHES:
                self._recent.popitem(last=False)
        return stack_samples(samples, self.config)[0]

    def image_ids(self, index: int) -> list[int]:
        """The images of batch `index`: a list of batch_size ids.

        Batches asked for long ago, or never, are loaded again to find out.
        """
        with self._lock:
            known = self._recent.get(index)
        if known is None:
            known = [sample.image_id for sample in self.samples(index)]
        return list(known)

    def samples(self, index: int) -> list[Sample]:
        """The `Sample`s that batch `index` is stacked of, loaded anew."""
        return self._samples(index, {})[0]

    def with_new_images(self, indices: Iterable[int]) -> Iterator[int]:
        """Those of some batches that have an image which is in none before them; images without
        objects count, those that replace them do not.
        """
        known: set[int] = set()
        for index in indices:
            first = index * self.batch_size
            images = {
                int(next(self.candidates(number))[0])
                for number in range(first, first + self.batch_size)
            }
            if not images <= known:
                yield index
            known |= images

    def _samples(self, index, at_hand):
        """The samples of a batch, and the number of images replaced."""
        first = index * self.batch_size
        chosen = [self._sample(number, at_hand) for number in range(first, first + self.batch_size)]
        return [sample for sample, _ in chosen], sum(skipped for _, skipped in chosen)

    def _sample(self, number, at_hand):
        for skipped, (image_id, rng) in enumerate(self.candidates(number)):
            sample = make_sample(
                self.dataset,
                self.config,
                image_id,
                rng=rng,
                prepared=at_hand.get(image_id),
                **self._options,
            )
            if sample is not None:
                return sample, skipped
        raise _no_objects(self.dataset, self._tries)

    def candidates(self, number: int) -> Iterator[tuple[int, np.random.RandomState]]:
        """(image id, RandomState) of sample `number`, then of the images that replace it where it
        has no object.
        """
        rng = random_state(self.seed, 1, number)
        for skipped in range(self._tries):
            yield self._passes.image(number, skipped), rng

"""Batches for training: matterport's generator, and batches by number for `fit`.

Both make an image's arrays with `make_sample` and stack them with `stack_samples`.
"""

import logging
import threading
from collections import OrderedDict
from functools import lru_cache
from typing import NamedTuple, Optional

import numpy as np

from mrcnn.data.detection_targets import build_detection_targets, generate_random_rois
from mrcnn.data.images import mold_image
from mrcnn.data.rpn_targets import build_rpn_targets
from mrcnn.data.samples import SampleError, describe_image, load_image_gt
from mrcnn.ops.anchors import pyramid_anchors

logger = logging.getLogger(__name__)

# A random crop or augmentation may remove all objects of an image that has some, so a
# small dataset gets this many tries before it is called empty.
RANDOM_TRIES = 50
# Batches whose image ids TrainingBatches remembers.
REMEMBERED_BATCHES = 256


class Sample(NamedTuple):
    """One image's part of a batch; shapes as in `data_generator`, without the batch axis."""

    image_id: int
    image: np.ndarray
    image_meta: np.ndarray
    rpn_match: np.ndarray
    rpn_bbox: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray
    dropped: int  # objects beyond MAX_GT_INSTANCES
    rpn_rois: Optional[np.ndarray] = None
    targets: Optional[tuple] = None  # of build_detection_targets


def make_sample(dataset, config, image_id, anchors, augment=False, augmentation=None,
                no_augmentation_sources=None, random_rois=0, detection_targets=False, rng=None):
    """Load an image and compute all that training needs of it.

    The random numbers are drawn in the original's order.

    Args:
        anchors: [A, 4] in pixels, of config.IMAGE_SHAPE.
        rng: np.random.RandomState; None as in `load_image_gt`, and np.random.
        (others): as in `data_generator`.

    Returns:
        Sample, or None if the image has no object (crowds are none).

    Raises:
        SampleError: see `load_image_gt`; or the image's size is not IMAGE_SHAPE.
    """
    source = dataset.image_info[image_id]["source"]
    image, meta, class_ids, boxes, masks = load_image_gt(
        dataset, config, image_id, augment=augment,
        augmentation=None if source in (no_augmentation_sources or ()) else augmentation,
        use_mini_mask=config.USE_MINI_MASK, rng=rng)
    if not (class_ids > 0).any():
        return None
    if image.shape != tuple(config.IMAGE_SHAPE):
        raise SampleError(
            f"{describe_image(dataset, image_id)} has shape {image.shape} after IMAGE_RESIZE_MODE "
            f"{config.IMAGE_RESIZE_MODE!r}, but training needs IMAGE_SHAPE "
            f"{tuple(map(int, config.IMAGE_SHAPE))} for all: use mode 'square' or 'crop'")
    rpn_match, rpn_bbox = build_rpn_targets(image.shape, anchors, class_ids, boxes, config, rng)
    rois = targets = None
    if random_rois:
        rois = generate_random_rois(image.shape, random_rois, class_ids, boxes, rng)
        if detection_targets:
            targets = build_detection_targets(rois, class_ids, boxes, masks, config, rng)
    dropped = max(len(class_ids) - config.MAX_GT_INSTANCES, 0)
    if dropped:
        draw = np.random if rng is None else rng
        kept = draw.choice(np.arange(len(class_ids)), config.MAX_GT_INSTANCES, replace=False)
        class_ids, boxes, masks = class_ids[kept], boxes[kept], masks[:, :, kept]
    return Sample(int(image_id), mold_image(image, config).astype(np.float32),
                  meta, rpn_match, rpn_bbox, class_ids, boxes, masks, dropped, rois, targets)


def stack_samples(samples, config):
    """Stack samples to the arrays of a batch, objects padded to MAX_GT_INSTANCES.

    Returns:
        (inputs, outputs), lists of arrays as `data_generator` yields them.
    """
    limit = config.MAX_GT_INSTANCES
    masks = np.zeros((len(samples), *samples[0].masks.shape[:2], limit), dtype=bool)
    for row, sample in zip(masks, samples):
        row[:, :, :sample.masks.shape[2]] = sample.masks
    inputs = [
        np.stack([sample.image for sample in samples]),
        np.stack([sample.image_meta for sample in samples]),
        np.stack([sample.rpn_match for sample in samples])[:, :, np.newaxis],
        np.stack([sample.rpn_bbox for sample in samples]),
        np.stack([_pad_rows(sample.class_ids, limit) for sample in samples]),
        np.stack([_pad_rows(sample.boxes, limit) for sample in samples]),
        masks,
    ]
    outputs = []
    if samples[0].rpn_rois is not None:
        inputs.append(np.stack([sample.rpn_rois for sample in samples]))
    if samples[0].targets is not None:
        rois, class_ids, bboxes, roi_masks = map(
            np.stack, zip(*(sample.targets for sample in samples)))
        inputs.append(rois)
        outputs = [class_ids[:, :, np.newaxis], bboxes, roi_masks]
    return inputs, outputs


def _pad_rows(array, count):
    padded = np.zeros((count, *array.shape[1:]), dtype=array.dtype)
    padded[:len(array)] = array
    return padded


def _check(dataset, config, batch_size):
    """Refuse what no batch can be made of."""
    if not len(dataset.image_ids):
        raise ValueError(f"{type(dataset).__name__} has no images: add_image is needed for each, "
                         f"then prepare()")
    if dataset.num_classes != config.NUM_CLASSES:
        raise ValueError(f"NUM_CLASSES is {config.NUM_CLASSES} but {type(dataset).__name__} has "
                         f"{dataset.num_classes} classes; both count the background")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def _tries(dataset, config, augmentation):
    """Images without an object in a row after which a dataset counts as empty."""
    random_view = augmentation is not None or config.IMAGE_RESIZE_MODE == "crop"
    return max(len(dataset.image_ids), RANDOM_TRIES if random_view else 1)


def _no_objects(dataset, tries):
    return ValueError(
        f"No image of {type(dataset).__name__} has an object: {tries} in a row gave no mask with "
        f"a class id above 0. Look at what load_mask returns, and whether resizing, cropping or "
        f"augmentation removes the objects")


def data_generator(dataset, config, shuffle=True, augment=False, augmentation=None,
                   random_rois=0, batch_size=1, detection_targets=False,
                   no_augmentation_sources=None):
    """An endless generator of batches, with the global random state.

    Args:
        dataset: a prepared Dataset.
        shuffle: a new order for each pass.
        augment, augmentation: see `load_image_gt`.
        random_rois: number of random regions per image, for training the heads
            without a region proposal network.
        batch_size: images per batch, b below.
        detection_targets: with random_rois, give the heads' targets too.
        no_augmentation_sources: sources whose images `augmentation` leaves alone.

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

        Images without objects are left out, and of images with more than M objects
        M random ones are taken; both are logged after each pass.

    Raises:
        ValueError: a dataset without images or objects, NUM_CLASSES that differ;
            SampleError, a ValueError, names an image that cannot be used.
    """
    _check(dataset, config, batch_size)
    if detection_targets and not random_rois:
        raise ValueError("detection_targets=True needs random_rois > 0: the targets are those "
                         "of the random regions")
    anchors = pyramid_anchors(config, config.IMAGE_SHAPE)
    samples = _endless_samples(
        dataset, config, shuffle, _tries(dataset, config, augmentation), anchors=anchors,
        augment=augment, augmentation=augmentation, random_rois=random_rois,
        detection_targets=detection_targets, no_augmentation_sources=no_augmentation_sources)

    def batches():
        while True:
            yield stack_samples([next(samples) for _ in range(batch_size)], config)

    return batches()


def _endless_samples(dataset, config, shuffle, tries, **options):
    """Samples in passes over the dataset; options as in `make_sample`."""
    image_ids = np.copy(dataset.image_ids)
    empty_in_a_row = 0
    while True:
        if shuffle:
            np.random.shuffle(image_ids)
        skipped = dropped = 0
        for image_id in image_ids:
            sample = make_sample(dataset, config, image_id, **options)
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
                len(image_ids), type(dataset).__name__, skipped, dropped, config.MAX_GT_INSTANCES)


@lru_cache(maxsize=16)
def _permutation(seed, count, number):
    order = np.random.RandomState(_bits(seed, 0, number)).permutation(count)
    order.setflags(write=False)
    return order


def _bits(seed, stream, number):
    """A bit generator of its own for each (seed, stream, number)."""
    return np.random.MT19937(np.random.SeedSequence((seed, stream, number)))


class TrainingBatches:
    """Batches by number: batch(i) depends on the seed and i alone.

    So several threads may ask for them in any order, and a resumed run goes on with
    the data that it would have had. Sample g = i * batch_size + j is image g % n of
    the seeded permutation g // n of the n images, and all its random choices come
    from a RandomState of (seed, g); imgaug augmenters are copied and seeded from it
    for each sample (see mrcnn.data.augmentation.augment).

    An image without objects is replaced by the next of the same permutation that has
    some (the pass is a ring).

    Args:
        dataset: a prepared Dataset; its load_image and load_mask must be thread-safe
            and not random.
        batch_size: images per batch; None takes config.BATCH_SIZE.
        shuffle: False keeps the order of dataset.image_ids in every pass.
        augmentation, no_augmentation_sources, augment: as in `data_generator`.
        seed: int from 0; None takes config.SEED, and if that is None too, draws one
            from np.random.

    Attributes:
        seed: the int in use.
        skipped: how often an image was replaced because it has no object.
        dropped: number of objects left out beyond MAX_GT_INSTANCES per image.

    Raises:
        ValueError: a dataset without images, NUM_CLASSES that differ.
    """

    def __init__(self, dataset, config, batch_size=None, shuffle=True, augmentation=None,
                 no_augmentation_sources=None, augment=False, seed=None):
        self.batch_size = config.BATCH_SIZE if batch_size is None else batch_size
        _check(dataset, config, self.batch_size)
        self.dataset, self.config, self.shuffle = dataset, config, shuffle
        seed = config.SEED if seed is None else seed
        self.seed = int(np.random.randint(2**31 - 1) if seed is None else seed)
        self.skipped = self.dropped = 0
        self._options = {
            "anchors": pyramid_anchors(config, config.IMAGE_SHAPE), "augment": augment,
            # the model then has an input for them, of this size
            "random_rois": 0 if config.USE_RPN_ROIS else config.POST_NMS_ROIS_TRAINING,
            "augmentation": augmentation, "no_augmentation_sources": no_augmentation_sources}
        self._tries = _tries(dataset, config, augmentation)
        self._recent = OrderedDict()
        self._lock = threading.Lock()

    def batch(self, index):
        """The input arrays of batch `index` (0, 1, ...), as in `data_generator`.

        They are seven, or eight with POST_NMS_ROIS_TRAINING random regions where
        USE_RPN_ROIS is False.

        Raises:
            ValueError: no image has an object; SampleError, a ValueError, names an
                image that cannot be used.
        """
        samples, skipped = self._samples(index)
        with self._lock:
            self.skipped += skipped
            self.dropped += sum(sample.dropped for sample in samples)
            self._recent[index] = [sample.image_id for sample in samples]
            if len(self._recent) > REMEMBERED_BATCHES:
                self._recent.popitem(last=False)
        return stack_samples(samples, self.config)[0]

    def image_ids(self, index):
        """The images of batch `index`: a list of batch_size ids.

        Batches asked for long ago, or never, are loaded again to find out.
        """
        with self._lock:
            known = self._recent.get(index)
        if known is None:
            known = [sample.image_id for sample in self.samples(index)]
        return list(known)

    def samples(self, index):
        """The `Sample`s that batch `index` is stacked of, loaded anew."""
        return self._samples(index)[0]

    def _samples(self, index):
        """The samples of a batch, and the number of images replaced."""
        first = index * self.batch_size
        chosen = [self._sample(number) for number in range(first, first + self.batch_size)]
        return [sample for sample, _ in chosen], sum(skipped for _, skipped in chosen)

    def _sample(self, number):
        for skipped, (image_id, rng) in enumerate(self.candidates(number)):
            sample = make_sample(self.dataset, self.config, image_id, rng=rng, **self._options)
            if sample is not None:
                return sample, skipped
        raise _no_objects(self.dataset, self._tries)

    def candidates(self, number):
        """(image id, RandomState) of sample `number`, then of the images that replace it where it has no object."""
        image_ids = self.dataset.image_ids
        count = len(image_ids)
        rng = np.random.RandomState(_bits(self.seed, 1, number))
        order = _permutation(self.seed, count, number // count) if self.shuffle else range(count)
        for skipped in range(self._tries):
            yield image_ids[order[(number + skipped) % count]], rng

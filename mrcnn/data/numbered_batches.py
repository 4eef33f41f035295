"""Batches by number: what they have in common whatever is learned, objects or pixels."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from mrcnn.data.augment.user import Augmentation, check_augmentation
from mrcnn.data.class_checks import check_classes
from mrcnn.data.image_range import use_image_range
from mrcnn.data.order import Passes, image_weights, random_state

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset
    from mrcnn.data.load import Prepared

# A random crop or augmentation may remove all objects of an image that has some, so a
# small dataset gets this many tries before it is called empty.
RANDOM_TRIES = 50
# Batches whose image ids NumberedBatches remembers.
REMEMBERED_BATCHES = 256


def check_source(
    dataset: Dataset, config: Config, batch_size: int, augmentation: Augmentation | None
) -> None:
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


def most_tries(
    length: int, config: Config, augmentation: Augmentation | None, training: bool
) -> int:
    """Images without an object in a row after which a dataset of passes of this length counts as
    empty.
    """
    random_view = (
        augmentation is not None
        or config.IMAGE_RESIZE_MODE == "crop"
        or (training and config.SCALE_JITTER is not None)
    )
    return max(length, RANDOM_TRIES if random_view else 1)


class _OfAnImage(Protocol):
    @property
    def image_id(self) -> int: ...


AnySample = TypeVar("AnySample", bound=_OfAnImage)


class NumberedBatches(Generic[AnySample]):
    """Batches by number: batch(i) depends on the seed and i alone.

    So several threads may ask for them in any order, and a resumed run goes on with
    the data that it would have had. Sample g = i * batch_size + j is image g % n of
    the seeded permutation g // n of the n images (of the n images of a weighted pass
    with IMAGE_SAMPLING, see mrcnn.data.order), and all its random choices come
    from a RandomState of (seed, g); imgaug augmenters are copied and seeded from it
    for each sample (see mrcnn.data.augment.user.augment).

    An image that nothing can be learned from is replaced by the next of the same pass that has
    something (the pass is a ring). A subclass says what a sample is: it has `make`, `stack`,
    `describe`, `passed_over` and `nothing_to_learn`.

    Args:
        dataset: a prepared Dataset; what it loads images with must be thread-safe and not random.
        batch_size: images per batch; None takes config.BATCH_SIZE.
        shuffle: False keeps the order of dataset.image_ids in every pass.
        augmentation: as in `data_generator`.
        seed: int from 0; None takes config.SEED, and if that is None too, draws one
            from np.random.
        training: False leaves IMAGE_SAMPLING out, for validation.

    Attributes:
        seed: the int in use.
        skipped: how often an image was replaced.
        dropped: number of objects left out beyond MAX_GT_INSTANCES per image.
        crowded: {image id: its objects} of the images with more than MAX_GT_INSTANCES.

    Raises:
        ValueError: a dataset without images, or whose classes are not the config's, or an
            augmentation that masks cannot follow.
    """

    # What a user should look at where the loss of a batch is not finite.
    annotations = "annotations"

    def __init__(
        self,
        dataset: Dataset,
        config: Config,
        batch_size: int | None = None,
        shuffle: bool = True,
        augmentation: Augmentation | None = None,
        seed: int | None = None,
        training: bool = True,
    ) -> None:
        self.batch_size = config.BATCH_SIZE if batch_size is None else batch_size
        check_source(dataset, config, self.batch_size, augmentation)
        self.dataset, self.config, self.shuffle = dataset, config, shuffle
        seed = config.SEED if seed is None else seed
        self.seed = int(np.random.randint(2**31 - 1) if seed is None else seed)
        self._lock = threading.Lock()
        self.start_counting()
        weights = image_weights(dataset, config) if training else None
        self._passes = Passes(dataset.image_ids, self.seed, shuffle, weights)
        self._tries = most_tries(self._passes.length, config, augmentation, training)
        self._recent: OrderedDict[int, list[int]] = OrderedDict()

    # === What a sample is ===

    def make(
        self, image_id: int, rng: np.random.RandomState, prepared: Prepared | None
    ) -> AnySample | None:
        """The sample of an image; None where nothing can be learned from it.

        Args:
            rng: where all random choices come from.
            prepared: the image, where it is at hand; None: it is loaded.
        """
        raise NotImplementedError

    def stack(self, samples: list[AnySample]) -> list[np.ndarray]:
        """The arrays of a batch."""
        raise NotImplementedError

    def describe(self, sample: AnySample) -> str:
        """What a sample has, to say after "an image with"."""
        raise NotImplementedError

    def passed_over(self) -> list[str]:
        """Sentences on what could not be used since `start_counting`."""
        raise NotImplementedError

    def nothing_to_learn(self, tries: int) -> ValueError:
        """The error of so many images in a row of which none gave a sample."""
        raise NotImplementedError

    # === Batches ===

    def start_counting(self) -> None:
        """Set skipped, dropped and crowded to nothing, at once for the threads that count."""
        with self._lock:
            self.skipped, self.dropped = 0, 0
            self.crowded: dict[int, int] = {}

    def batch(self, index: int, at_hand: Mapping[int, Prepared] | None = None) -> list[np.ndarray]:
        """The input arrays of batch `index` (0, 1, ...).

        Args:
            at_hand: {image id: `data.load.Prepared`} of images that need not be loaded.

        Raises:
            ValueError: there is nothing to learn from any image; SampleError, a ValueError, names
                an image that cannot be used.
        """
        samples, skipped = self._samples(index, at_hand or {})
        with self._lock:
            self.skipped += skipped
            self._count(samples)
            self._recent[index] = [sample.image_id for sample in samples]
            if len(self._recent) > REMEMBERED_BATCHES:
                self._recent.popitem(last=False)
        return self.stack(samples)

    def _count(self, samples):
        """Add up what the samples lack; called under the lock."""

    def image_ids(self, index: int) -> list[int]:
        """The images of batch `index`: a list of batch_size ids.

        Batches asked for long ago, or never, are loaded again to find out.
        """
        with self._lock:
            known = self._recent.get(index)
        if known is None:
            known = [sample.image_id for sample in self.samples(index)]
        return list(known)

    def samples(self, index: int) -> list[AnySample]:
        """The samples that batch `index` is stacked of, loaded again."""
        return self._samples(index, {})[0]

    def with_new_images(self, indices: Iterable[int]) -> Iterator[int]:
        """Those of some batches that have an image which is in none before them; images that are
        replaced count, those that replace them do not.
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
            sample = self.make(image_id, rng, at_hand.get(image_id))
            if sample is not None:
                return sample, skipped
        raise self.nothing_to_learn(self._tries)

    def candidates(self, number: int) -> Iterator[tuple[int, np.random.RandomState]]:
        """(image id, RandomState) of sample `number`, then of the images that replace it where
        nothing can be learned from it.
        """
        rng = random_state(self.seed, 1, number)
        for skipped in range(self._tries):
            yield self._passes.image(number, skipped), rng

"""Which images a training takes, and in which order."""

from __future__ import annotations

import logging
import weakref
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mrcnn.common.progress import track

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset


logger = logging.getLogger(__name__)

# Repeat factors of datasets, since each stage of a training asks for them and a load_mask may be
# slow.
_measured: weakref.WeakKeyDictionary[Dataset, list[np.ndarray]] = weakref.WeakKeyDictionary()


def random_state(seed: int, stream: int, number: int) -> np.random.RandomState:
    """np.random.RandomState of its own for each (seed, stream, number)."""
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, stream, number))))


# === Weights ===


def image_weights(dataset: Dataset, config: Config) -> NDArray[np.float64] | None:
    """How often each image is taken, as IMAGE_SAMPLING says.

    Args:
        dataset: a prepared Dataset.
        config: IMAGE_SAMPLING and REPEAT_THRESHOLD are read.

    Returns:
        float64 [images], relative to each other; None: each image once per pass.

    Raises:
        ValueError: a callable's weights are not one finite number of at least 0 for each image, or
            are all 0.
    """
    sampling = config.IMAGE_SAMPLING
    if sampling is None:
        return None
    if sampling == "balanced":
        return repeat_factors(dataset, config.REPEAT_THRESHOLD)
    if not callable(sampling):
        raise ValueError(
            f"IMAGE_SAMPLING is {sampling!r}, the name of a function, and a file of settings never "
            "imports code: set it to the function itself"
        )
    weights, count = np.asarray(sampling(dataset), np.float64), len(dataset.image_ids)
    if (
        weights.shape != (count,)
        or not np.isfinite(weights).all()
        or (weights < 0).any()
        or not weights.any()
    ):
        raise ValueError(
            f"IMAGE_SAMPLING must return {count} finite weights of at least 0, one for each image "
            f"of {type(dataset).__name__}, not all of them 0; got shape {weights.shape}: "
            f"{weights.ravel()[:5]}"
        )
    return weights


def repeat_factors(
    dataset: Dataset, threshold: float | None = None, progress: bool = True
) -> NDArray[np.float64]:
    """Repeat-factor sampling (Gupta et al. 2019, "LVIS", section on the baseline's training).

    A class that is on a share f of the images has the factor max(1, sqrt(threshold / f)), an image
    the largest factor of its classes; crowds do not count.

    Args:
        dataset: a prepared Dataset. The readers of `data.formats` know the classes of their images;
            for others every image's masks are loaded, once.
        threshold: share of the images; classes on fewer of them are taken more often. 0.001 in
            LVIS; None: the share of the most common class.
        progress: show a progress bar on stderr.

    Returns:
        float64 [images], at least 1.
    """
    count = len(dataset.image_ids)
    known = _measured.get(dataset)
    if known is None or len(known) != count:
        known = [
            np.unique(class_ids[class_ids > 0])
            for _, class_ids, _ in map(
                dataset.measure_objects, track(dataset.image_ids, "Counting classes", progress)
            )
        ]
        _measured[dataset] = known
    images = np.bincount(
        np.concatenate([np.zeros(0, int), *known]).astype(int), minlength=dataset.num_classes
    )
    share = images / max(count, 1)
    if threshold is None:
        threshold = share.max()
    by_class = np.sqrt(np.maximum(threshold / np.where(images > 0, share, np.inf), 1))
    if not (by_class > 1).any():
        logger.warning(
            "IMAGE_SAMPLING = 'balanced' changes nothing: each class of %s is on at least %.2g of "
            "the images, and REPEAT_THRESHOLD is %.2g",
            type(dataset).__name__,
            share[images > 0].min(initial=1),
            threshold,
        )
    return np.array([by_class[classes].max(initial=1) for classes in known])


# === Order ===


def pass_length(weights: NDArray[np.floating]) -> int:
    """Images of a `weighted_pass`: the sum of the weights, or their number where that is larger."""
    return max(round(float(weights.sum())), len(weights))


def weighted_pass(
    weights: NDArray[np.floating], draw: np.random.RandomState | ModuleType, shuffle: bool = True
) -> NDArray[np.integer]:
    """The images of one pass over a dataset in which some come more often than others.

    An image comes as often as its share of the weights says, up or down to a whole number at
    random, so that few are missed and the mean over many passes is that share (systematic
    sampling).

    Args:
        weights: float [images], at least 0, not all 0.
        draw: np.random, or a RandomState.
        shuffle: False sorts the images.

    Returns:
        int [pass_length(weights)], places in `weights`.
    """
    length = pass_length(weights)
    # so that it is no rule which neighbours are rounded up together
    order = draw.permutation(len(weights))
    ends = np.cumsum(weights[order])
    picks = np.searchsorted(
        ends, (np.arange(length) + draw.random_sample()) * (ends[-1] / length), side="right"
    )
    images = order[np.minimum(picks, np.flatnonzero(weights[order])[-1])]
    return draw.permutation(images) if shuffle else np.sort(images)


class Passes:
    """The images of one pass over a dataset after the other, by number; what a number gives depends
    on the seed alone.

    Args:
        image_ids: [images].
        seed: int from 0.
        shuffle: False keeps the order of image_ids.
        weights: of `weighted_pass`; None: each image once per pass.

    Attributes:
        length: samples of a pass.
    """

    def __init__(
        self,
        image_ids: NDArray[np.integer] | list[int],
        seed: int,
        shuffle: bool = True,
        weights: NDArray[np.floating] | None = None,
    ) -> None:
        self.image_ids, self.seed, self.shuffle, self.weights = image_ids, seed, shuffle, weights
        self.length = len(image_ids) if weights is None else pass_length(weights)
        self._cached = lru_cache(maxsize=16)(self._order)

    def image(self, number: int, step: int = 0) -> int:
        """The image of sample `number`, or that `step` samples on in its pass, which is a ring."""
        if self.weights is None and not self.shuffle:
            return self.image_ids[(number + step) % self.length]
        return self.image_ids[self._cached(number // self.length)[(number + step) % self.length]]

    def _order(self, number):
        draw = random_state(self.seed, 0, number)
        if self.weights is None:
            return draw.permutation(len(self.image_ids))
        return weighted_pass(self.weights, draw, self.shuffle)

"""A function of every image of a data set, on as many cores as are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from mrcnn.common.processes import fork_map, may_fork
from mrcnn.common.progress import track
from mrcnn.common.threads import check_workers, map_all

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset

Made = TypeVar("Made")

# Of fewer images none is worth a process.
FEWEST = 32
# Seconds: of the first images, which tell how long the others take; of the work that is worth
# processes, which take 0.02 to start; of what a process takes at a time.
TRIAL, WORTH, PART = 0.05, 0.2, 0.05
# Seconds of an image, below which sending what it gives takes as long as making it.
LEAST = 0.001


def each_image(
    dataset: Dataset,
    function: Callable[[int], Made],
    image_ids: Sequence[int],
    description: str,
    progress: bool = True,
    workers: int = 1,
) -> Iterator[Made]:
    """Yield ``function(image_id)`` of every image in order, while a progress bar runs.

    Forked processes do it where they can be had (see `may_fork`) and are worth it, else threads.
    What loading an image notes in the dataset is noted there in either case, see `Dataset.noting`.

    Args:
        dataset: a prepared Dataset, which the function loads images of.
        function: of an image id; thread-safe; returns what can be pickled.
        image_ids: list of ids.
        description, progress: as of `map_all`.
        workers: number of processes or threads; 1: this thread does all itself.

    Raises:
        ValueError, TypeError: workers is not an int of at least 1.
        ChildProcessError: a process could not be started, was killed, or crashed.
    """
    check_workers(workers)
    if workers < 2 or len(image_ids) < FEWEST or not may_fork():
        yield from map_all(function, image_ids, description, progress, workers)
        return
    made = _by_processes(dataset, function, image_ids, workers)
    yield from track(made, description, progress, len(image_ids))


def _by_processes(dataset, function, image_ids, workers):
    """As `each_image`, by processes once the first images show that they are worth it."""
    start, done, seconds = time.perf_counter(), 0, 0.0
    for image_id in image_ids:
        yield function(image_id)
        done, seconds = done + 1, time.perf_counter() - start
        if seconds >= TRIAL:
            break
    seconds /= done  # of an image
    others = image_ids[done:]
    # asked again: loading an image may have imported a package, or opened a file
    if seconds < LEAST or seconds * len(others) < WORTH or not may_fork():
        yield from map_all(function, others, "", False, workers)
        return
    size = max(min(round(PART / seconds), len(others) // (4 * workers)), 1)
    found = fork_map(partial(dataset.noting, function), others, workers, size, "images")
    for image_id, (made, notes) in zip(others, found):
        dataset.add_notes(image_id, notes)
        yield made

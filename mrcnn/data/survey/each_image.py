"""A function of every image of a data set, on as many cores as are asked for."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from mrcnn.common.processes import fork_map, may_fork
from mrcnn.common.progress import track
from mrcnn.common.threads import map_all

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset

Made = TypeVar("Made")

# Of fewer images none is worth a process.
FEWEST = 32
# Seconds: of the first images, which tell how long the others take; of the work that is worth
# processes, which take 0.02 to start; of what a process takes at a time.
TRIAL, WORTH, PART = 0.05, 0.2, 0.05


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
        ValueError: workers below 1.
        ChildProcessError: a process was killed, or crashed.
    """
    if workers < 2 or len(image_ids) < FEWEST or not may_fork():
        yield from map_all(function, image_ids, description, progress, workers)
        return
    start = time.perf_counter()
    made = [function(image_ids[0])]
    while len(made) < len(image_ids) and time.perf_counter() - start < TRIAL:
        made.append(function(image_ids[len(made)]))
    seconds = (time.perf_counter() - start) / len(made)  # of an image
    others = image_ids[len(made) :]
    found = None
    if seconds * len(others) >= WORTH:
        size = max(min(round(PART / seconds), len(others) // (4 * workers)), 1)
        with contextlib.suppress(OSError):  # no room for processes
            found = fork_map(partial(dataset.noting, function), others, workers, size, "images")
    if found is None:
        rest = map_all(function, others, description, False, workers)
        yield from track(itertools.chain(made, rest), description, progress, len(image_ids))
        return
    with contextlib.closing(found):
        rest = _with_notes(dataset, others, found)
        yield from track(itertools.chain(made, rest), description, progress, len(image_ids))


def _with_notes(dataset, image_ids, found):
    """What processes give of images, once their notes have been added to the dataset."""
    for image_id, (made, notes) in zip(image_ids, found):
        dataset.add_notes(image_id, notes)
        yield made

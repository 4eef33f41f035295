"""Work done by threads ahead of whoever needs it."""

import operator
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

from mrcnn.common.progress import track

Item = TypeVar("Item")
Made = TypeVar("Made")


def cores() -> int:
    """The number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_workers(workers: int) -> None:
    """Refuse what is no number of threads or processes.

    Raises:
        TypeError: it is no int.
        ValueError: it is below 1.
    """
    try:
        operator.index(workers)
    except TypeError:
        raise TypeError(f"workers is {workers!r}; it must be an int, at least 1") from None
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")


def map_all(
    function: Callable[[Item], Made],
    items: Sequence[Item],
    description: str,
    progress: bool = True,
    workers: int = 1,
) -> Iterator[Made]:
    """Yield ``function(item)`` of every item in order, while a progress bar runs.

    Args:
        function: of one argument; what it raises is raised here. With more than one worker it must
            be thread-safe.
        items: any sequence.
        description: what is being done, in a word or two.
        progress: show a progress bar on stderr.
        workers: number of threads; 1: this thread does all itself.

    Raises:
        ValueError, TypeError: as `check_workers`.
    """
    check_workers(workers)
    if workers == 1:
        yield from track(map(function, items), description, progress, len(items))
        return
    with ThreadPoolExecutor(workers) as pool:
        made = map_ahead(pool, function, items, workers)
        yield from track(made, description, progress, len(items))


def map_ahead(
    pool: Executor, function: Callable[[Item], Made], items: Iterable[Item], lead: int
) -> Iterator[Made]:
    """Yield ``function(item)`` of every item in order, computed by a pool at most ``lead`` items
    ahead.

    Args:
        pool: `concurrent.futures.Executor`.
        function: of one argument; what it raises is raised here.
        items: any iterable.
        lead: int from 0; results that wait take memory.
    """
    pending: deque[Future[Made]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > lead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:  # where the caller stops early
            future.cancel()

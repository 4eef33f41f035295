"""Work done by threads ahead of whoever needs it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


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

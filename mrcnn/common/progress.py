"""A progress bar for long work, on stderr."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")

# rich is imported only when a bar is drawn


def track(
    items: Iterable[Item], description: str, enabled: bool = True, total: int | None = None
) -> Iterator[Item]:
    """Yield the items while a progress bar (rich's, else plain lines) runs on stderr.

    Args:
        items: any iterable.
        description: what is being done, in a word or two.
        enabled: False yields the items and shows nothing.
        total: number of items, where ``items`` has no length; None: unknown.
    """
    if not enabled:
        yield from items
        return
    if total is None:
        total = len(items) if isinstance(items, Sized) else None
    try:
        from rich.console import Console
        from rich.progress import track as rich_track
    except ImportError:
        yield from _lines(items, description, total)
        return
    yield from rich_track(items, description=description, total=total, console=Console(stderr=True))


def _lines(items, description, total):
    for done, item in enumerate(items):
        step = max(total // 10, 1) if total else 100
        if done % step == 0:
            print(f"{description}: {done}" + (f"/{total}" if total else ""), file=sys.stderr)
        yield item

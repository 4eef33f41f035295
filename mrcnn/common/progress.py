"""A progress bar for long work, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

# rich is imported only when a bar is drawn

Item = TypeVar("Item")


def track(
    items: Iterable[Item], description: str, enabled: bool = True, total: int | None = None
) -> Iterator[Item]:
    """Yield the items while a `Bar` runs.

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
    with Bar(description, total) as bar:
        for done, item in enumerate(items, 1):
            yield item
            bar.update(done)


class Bar:
    """A bar on stderr: rich's where it is installed, else a line for each tenth, or for each 100
    pieces or 100 MB where the total is not known.

    Args:
        description: what is being done, in a word or two.
        total: when it is done; None: unknown.
        done: how much is done already.
        enabled: False shows nothing.
        unit: "bytes", or "" for pieces.

    Example:
        >>> with Bar("Counting", 20) as bar:
        ...     bar.update(10)
    """

    def __init__(
        self,
        description: str,
        total: int | None = None,
        done: int = 0,
        enabled: bool = True,
        unit: str = "",
    ):
        self.description, self.total, self.enabled, self.unit = description, total, enabled, unit
        self.step = max(total / 10, 1) if total else 100e6 if unit == "bytes" else 100
        self.steps = done // self.step
        # rich takes longer for an update than some work does for an item
        self.shown, self.least = done, total // 1000 if total else 0
        self.rich, self.drawn = None, 0.0
        if enabled:
            try:
                from rich import console, progress
            except ImportError:
                return
            columns = progress.Progress.get_default_columns()
            if unit == "bytes":
                columns = (columns[0], columns[1], progress.DownloadColumn(), columns[-1])
            # without a thread that draws it: none may run where processes are forked
            self.rich = progress.Progress(
                *columns, console=console.Console(stderr=True), auto_refresh=False
            )
            self.task = self.rich.add_task(description, total=total, completed=done)

    def __enter__(self) -> Bar:
        if self.rich:
            self.rich.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.rich:
            self.rich.stop()

    def update(self, done: int) -> None:
        """Show that so much is done, all together."""
        if self.rich:
            if done - self.shown >= self.least or done == self.total:
                self.shown = done
                self.rich.update(self.task, completed=done)
                if time.perf_counter() - self.drawn > 0.1:
                    self.rich.refresh()
                    self.drawn = time.perf_counter()
        elif self.enabled and done // self.step > self.steps:
            self.steps = done // self.step
            total = f"/{self.total:,}" if self.total else ""
            print(f"{self.description}: {done:,}{total} {self.unit}".rstrip(), file=sys.stderr)

"""What the results of evaluations have in common: a mapping of names to numbers, and files."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from mrcnn.common.files import AnyPath, write_whole


class Measures(Mapping):
    """A mapping of flat names to numbers.

    Args:
        metrics: {name: number}; NaN stands for what could not be measured.
    """

    def __init__(self, metrics: dict[str, float]) -> None:
        self.metrics = metrics

    def __getitem__(self, name: str) -> float:
        return self.metrics[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics)

    def __len__(self) -> int:
        return len(self.metrics)

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Everything as a dict that `json.dump` takes."""

    @abstractmethod
    def save(self, folder: AnyPath) -> str:
        """Write the report into a folder; returns the path of its page."""

    def publish(self, verbose: int, report: AnyPath | None) -> None:
        """Print the measures unless ``verbose`` is 0, and save the report where it has a folder."""
        if verbose:
            print(self)
        if report is not None:
            path = self.save(report)
            if verbose:
                print(f"Report: {path}")

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False)


def write_files(folder: AnyPath, files: Mapping[str, str | bytes]) -> None:
    """Write files into a folder, which is created.

    Args:
        folder: path.
        files: {name: content}. In a text, a file name that is no text comes out as \\udcff.
    """
    os.makedirs(folder, exist_ok=True)
    for name, content in files.items():
        if isinstance(content, str):
            content = content.encode("utf-8", "backslashreplace")
        write_whole(os.path.join(folder, name), content, durable=False)

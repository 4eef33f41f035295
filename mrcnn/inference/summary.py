"""What a prediction over files did, in words."""

from __future__ import annotations

import dataclasses
from collections import Counter

from mrcnn.common.words import on_one_line, option_or_argument, some
from mrcnn.data.image_range import FewBits
from mrcnn.evaluation.page import percent
from mrcnn.inference.result import Result
from mrcnn.inference.semantic_result import SemanticResult

# What telephones write and Pillow does not read.
HEIC = {".heic", ".heif"}


@dataclasses.dataclass
class Summary:
    """What `predict` did; `str()` of it is a few lines.

    Attributes:
        output: folder of the results.
        images: images and frames that were searched.
        counts: {class name: objects found}; of labelled pixels the images that have the class.
        pixels: {class name: pixels}, void not counted, where a network labels pixels; None where it
            finds objects.
        void_pixels: those below the least confidence.
        unreadable: list of (name, what is wrong).
        others: {ending: files of folders that are neither images nor videos by their names}.
        at_limit: images with as many detections, or more regions, than ``most`` allows, so that
            more may be cut off.
        most: DETECTION_MAX_INSTANCES.
        few_bits: images that may hold fewer bits than they are taken for.
        seconds: of the whole work, reading and writing included.
        interrupted: whether it was cut off by Ctrl-C; what was done till then is written.
    """

    output: str
    images: int = 0
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    others: Counter[str] = dataclasses.field(default_factory=Counter)
    at_limit: int = 0
    most: int = 0
    few_bits: FewBits = dataclasses.field(default_factory=FewBits)
    seconds: float = 0.0
    interrupted: bool = False
    pixels: Counter[str] | None = None
    void_pixels: int = 0

    def add(self, result: Result | SemanticResult) -> None:
        """Count an image and what was found in it."""
        self.images += 1
        self.counts.update(result.names)
        if self.pixels is not None and isinstance(result, SemanticResult):
            counts = result.pixels
            for name, count in zip(result.class_names, counts.tolist()):
                self.pixels[name] += count
            self.void_pixels += result.labels.size - int(counts.sum())

    def __str__(self) -> str:
        rate = self.images / self.seconds if self.seconds else 0
        lines = [
            f"{self.images} images in {self.seconds:.1f} s ({rate:.2f} images/s), {self._found()}"
        ]
        if self.interrupted:
            lines.append("interrupted: what was done till then is written")
        if self.at_limit:
            lines.append(
                f"on {self.at_limit} images there are as many "
                f"{'detections' if self.pixels is None else 'regions'} as "
                f"DETECTION_MAX_INSTANCES = {self.most} allows: more may be cut off; "
                + option_or_argument("--set ", "")
                + f"DETECTION_MAX_INSTANCES={2 * self.most} gives twice as many"
            )
        if self.unreadable:
            lines.append(f"{len(self.unreadable)} could not be read, or not to the end:")
            lines += [on_one_line(f"  {name}: {wrong}") for name, wrong in self.unreadable]
        if self.others:
            endings = (
                f"{count} {on_one_line(ending) or 'without an ending'}"
                for ending, count in self.others.most_common()
            )
            lines.append(
                f"{self.others.total()} files that are no images or videos by their names were "
                f"passed over: {some(endings)}"
            )
            if HEIC & set(self.others):
                lines.append("photos of HEIC are not read: save or export them as JPEG")
        if len(self.few_bits):
            lines.append(str(self.few_bits))
        lines.append(f"written to {self.output}")
        return "\n".join(lines)

    def _found(self):
        """The objects of each class, or the share of the pixels."""
        if self.pixels is None:
            objects = (f"{count} {on_one_line(name)}" for name, count in self.counts.most_common())
            return f"{self.counts.total()} objects: {', '.join(objects) or 'none'}"
        total = self.pixels.total() + self.void_pixels
        shares = [
            f"{on_one_line(name)} {percent(count / total)}"
            for name, count in self.pixels.most_common()
            if count
        ]
        shares += [f"void {percent(self.void_pixels / total)}"] if self.void_pixels else []
        return f"pixels: {', '.join(shares) or 'none'}"

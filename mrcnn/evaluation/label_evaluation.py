"""Measure label maps: everything that a ``LabelEvaluation`` tells. It needs no network."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.files import AnyPath
from mrcnn.common.json_files import plain
from mrcnn.common.progress import track
from mrcnn.common.words import on_one_line, some
from mrcnn.data.class_labels import distinct_labels
from mrcnn.evaluation.coco_ap import format_value
from mrcnn.evaluation.confusion import mean_of_known
from mrcnn.evaluation.label_report import label_report_page
from mrcnn.evaluation.label_tally import CLASS_MEASURES, LABEL_METRICS, LabelTally, Shown
from mrcnn.evaluation.measures import Measures, write_files
from mrcnn.evaluation.page import percent
from mrcnn.evaluation.trimap import DISTANCE

# Most classes and images that a sentence names; the json has all.
NAMED = 20
# What `LabelEvaluation.save` writes.
LABEL_REPORT_FILES = ("report.html", "labels.json", "confusion.png", "shares.png")


class LabelEvaluation(Measures):
    """The measures of label maps: a mapping of flat names to numbers, and more as attributes.

    The names are those of `LABEL_METRICS`, "IoU of <class>" for each class, and images and pixels,
    which are counted where there is a label, and seconds. Dice is the mean of the classes, as mIoU
    is. NaN stands for what could not be measured: a class in neither truth nor prediction, which
    the means leave out.

    Attributes:
        per_class: {class name: dict} with class_id, IoU, Dice, accuracy (recall), precision,
            per_image_IoU, trimap_IoU, images (whose truth has the class), true_pixels and
            found_pixels, true_share and found_share of all labelled pixels.
        confusion: int64 [classes, classes], pixels by true class (row) and found class (column).
        class_names: of the rows and columns of ``confusion``, the background first; a name used
            twice has its id added.
        worst: list of dicts of the images with the lowest mIoU: image (its number from 0), name,
            mIoU, pixel_accuracy, wrong_pixels.
        left_out: dict: void_pixels (in the truth), void_images (list of names of the images that
            are nothing else), found_void (labelled pixels found void, which count as wrong),
            unreadable_images (list of dicts: image_id, name, why; of `evaluate_labels` none, which
            reads no image).
        settings: dict: dataset, void, trimap (px, or None), trimap_pixels, and what the caller
            added.
    """

    def __init__(
        self,
        metrics: dict[str, float],
        per_class: dict[str, dict[str, float]],
        confusion: NDArray[np.int64],
        class_names: list[str],
        worst: list[dict[str, Any]],
        left_out: dict[str, Any],
        settings: dict[str, Any],
        shown: Mapping[int, Shown],
        image_of: Callable[[int], ArrayLike] | None,
    ) -> None:
        super().__init__(metrics)
        self.per_class = per_class
        self.confusion = confusion
        self.class_names = class_names
        self.worst = worst
        self.left_out = left_out
        self.settings = settings
        self._shown = shown
        self._image_of = image_of

    def __repr__(self) -> str:
        return f"<LabelEvaluation of {self['images']} images, mIoU {self['mIoU']:.3f}>"

    def __str__(self) -> str:
        width = max(map(len, LABEL_METRICS))
        metrics = [f"{name:<{width}}{format_value(self[name])}" for name in LABEL_METRICS]
        return "\n".join([*metrics, "", *self._class_lines(), "", *self.sentences()])

    @property
    def class_means(self) -> dict[str, float]:
        """Each measure of a class, as the mean of the classes."""
        return {
            measure: mean_of_known(np.array([row[measure] for row in self.per_class.values()]))
            for measure in CLASS_MEASURES
        }

    def _class_lines(self):
        columns = ("IoU", "Dice", "accuracy", "precision")
        rows = {on_one_line(name): row for name, row in self.per_class.items()}
        width = max(map(len, ("class", *rows)))
        yield (
            f"{'class':<{width}}"
            + "".join(f"{column:>11}" for column in columns)
            + f"{'true':>10}{'found':>10}"
        )
        for name, row in (*rows.items(), ("mean", self.class_means)):
            line = f"{name:<{width}}" + "".join(format_value(row[column], 11) for column in columns)
            if name in rows:
                line += f"{percent(row['true_share']):>10}{percent(row['found_share']):>10}"
            yield line

    def sentences(self) -> list[str]:
        """What the numbers were measured on and what they leave out, as a list of sentences."""
        settings, left_out, pixels = self.settings, self.left_out, self["pixels"]
        known = [name for name, row in self.per_class.items() if not np.isnan(row["IoU"])]
        said = [
            f"{self['images']} images, {pixels:,} labelled pixels; {self['seconds']:.1f} s "
            "altogether.",
            f"True and found: share of the labelled pixels. {len(known)} of {len(self.per_class)} "
            "classes, with the background, are in the truth or were found: the means are theirs.",
        ]
        if settings["trimap_pixels"]:
            said.append(
                f"trimap_IoU: of the pixels within {settings['trimap']:g} px of another class, "
                f"{percent(settings['trimap_pixels'] / pixels)} of all."
            )
        elif settings["trimap"] is not None:
            said.append(
                f"trimap_IoU cannot be measured: no pixel is within {settings['trimap']:g} px of "
                "another class."
            )
        if left_out["unreadable_images"]:
            names = [image["name"] for image in left_out["unreadable_images"]]
            said.append(f"Left out: {len(names)} images that cannot be read: {some(names, NAMED)}.")
        if left_out["void_pixels"]:
            share = left_out["void_pixels"] / (left_out["void_pixels"] + pixels)
            said.append(
                f"Left out: {left_out['void_pixels']:,} pixels that are void in the truth "
                f"({percent(share)})."
            )
        if left_out["void_images"]:
            names = left_out["void_images"]
            said.append(f"Left out: {len(names)} images that are all void: {some(names, NAMED)}.")
        if left_out["found_void"]:
            said.append(
                f"{left_out['found_void']:,} labelled pixels were found void "
                f"({percent(left_out['found_void'] / pixels)}): they count as wrong."
            )
        absent = [name for name in self.per_class if name not in known]
        if absent:
            said.append(
                f"{len(absent)} classes are in neither truth nor prediction and have no IoU: "
                f"{some(absent, NAMED)}."
            )
        invented = [
            f"{name} ({row['found_pixels']:,} pixels)"
            for name, row in self.per_class.items()
            if row["found_pixels"] and not row["true_pixels"]
        ]
        if invented:
            said.append(
                f"{len(invented)} classes were found and are not in the truth; their IoU is 0: "
                f"{some(invented, NAMED)}."
            )
        return said

    # === Files ===

    def to_dict(self) -> dict[str, Any]:
        """Everything as a dict that `json.dump` takes; None stands for what could not be
        measured.
        """
        return plain(
            {
                "metrics": self.metrics,
                "per_class": self.per_class,
                "confusion": {
                    "classes": self.class_names,
                    "rows_true_columns_found": self.confusion.tolist(),
                },
                "worst": self.worst,
                "left_out": self.left_out,
                "settings": self.settings,
            },
            digits=6,
        )

    def save(self, folder: AnyPath) -> str:
        """Write the report into a folder, which is created.

        Writes report.html (one page that needs no other file), labels.json, confusion.png and
        shares.png.

        Args:
            folder: path.

        Returns:
            path of report.html.
        """
        page, pictures = label_report_page(self, self._shown, self._image_of)
        write_files(folder, {**pictures, "report.html": page, "labels.json": self.to_json()})
        return os.path.join(folder, "report.html")


def evaluate_labels(
    pairs: Iterable[tuple[ArrayLike, ArrayLike]],
    class_names: Sequence[str],
    *,
    images: Sequence[ArrayLike] | Callable[[int], ArrayLike] | None = None,
    names: Sequence[AnyPath] | None = None,
    void: int = 255,
    trimap: float | None = DISTANCE,
    worst: int = 8,
    report: AnyPath | None = None,
    verbose: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> LabelEvaluation:
    """Measure label maps, wherever they come from.

    All measures are of the pixels of all images together, except per_image_IoU. See
    `ConfusionMatrix` for void and for classes that do not appear. One pair is held at a time.

    Args:
        pairs: of (truth, found), integers [h, w] each: 0 the background, other classes, or void.
            Bool masks are label maps of two classes.
        class_names: a name for each label from 0 on, the background's first.
        images: the image of each pair, by its number from 0: a sequence, or a function that loads
            one. Only those of the worst images are taken, when the report is written.
        names: of the pairs, such as their files; without folders in the report, which may travel.
            None: their numbers from 1.
        void: label of pixels without a class.
        trimap: distance for trimap_IoU in px (`near_border`); None measures none.
        worst: number of images with the lowest mIoU to name, and to show in the report.
        report: folder to write the report to (``LabelEvaluation.save``), or None.
        verbose: 0 is silent, 1 shows progress on stderr and prints the result.
        settings: dict of further things that the report should tell; "dataset" is its title.

    Returns:
        ``LabelEvaluation``.

    Raises:
        ValueError: no pair, no pixel with a label, another number of names than of pairs, or what
            `ConfusionMatrix` and `near_border` refuse, with the name of the pair.
        OSError: the folder of the report cannot be made.

    Example:
        >>> truth = np.array([[0, 0, 1], [0, 1, 1]])
        >>> found = np.array([[0, 0, 1], [1, 1, 1]])
        >>> evaluation = evaluate_labels([(truth, found)], ["background", "flower"])
        >>> evaluation["IoU of flower"]  # 3 / 4
    """
    if report is not None:  # now, not after hours, shows whether it can be made
        os.makedirs(report, exist_ok=True)
    start = time.perf_counter()
    tally = LabelTally(len(class_names), void, trimap, worst)
    for truth, found in track(
        pairs, "Comparing", bool(verbose), None if names is None else len(names)
    ):
        name = str(tally.pairs + 1) if names is None else _name_of(tally.pairs, names)
        try:
            tally.add(name, truth, found)
        except ValueError as error:
            raise ValueError(f"label maps {tally.pairs + 1} ({name}): {error}") from None
    if names is not None and len(names) != tally.pairs:
        raise ValueError(f"{len(names)} names for {tally.pairs} pairs of label maps")
    labels = distinct_labels(class_names, range(len(class_names)))
    per_class = dict(zip(labels, tally.of_classes()))
    evaluation = LabelEvaluation(
        {
            **tally.metrics(),
            "images": tally.pairs - len(tally.void_images),
            "pixels": tally.total.pixels,
            "seconds": time.perf_counter() - start,
            **{f"IoU of {label}": row["IoU"] for label, row in per_class.items()},
        },
        per_class,
        tally.total.matrix,
        labels,
        tally.worst,
        {
            "void_pixels": tally.void_pixels,
            "void_images": tally.void_images,
            "found_void": int(tally.total.unfound.sum()),
            "unreadable_images": [],
        },
        {
            "dataset": "label maps",
            "void": void,
            "trimap": trimap,
            "trimap_pixels": tally.trimap.pixels,
            **(settings or {}),
        },
        tally.shown,
        images if images is None or callable(images) else images.__getitem__,
    )
    evaluation.publish(verbose, report)
    return evaluation


def _name_of(number, names):
    if number >= len(names):
        raise ValueError(f"{len(names)} names for more pairs of label maps")
    return os.path.basename(os.fspath(names[number]))

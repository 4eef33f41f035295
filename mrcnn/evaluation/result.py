"""What an evaluation found out."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.common.files import AnyPath
from mrcnn.common.json_files import plain
from mrcnn.common.words import on_one_line, option_or_argument, some
from mrcnn.evaluation.coco_ap import COCO_METRICS, format_value
from mrcnn.evaluation.measures import Measures, write_files
from mrcnn.evaluation.report import report_page

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset
    from mrcnn.evaluation.collect import Collected


# Most images that cannot be read that the table names; the json has all.
NAMED = 20


# What `Evaluation.save` writes.
REPORT_FILES = (
    *("report.html", "evaluation.json", "ground_truth.json", "detections.json"),
    *("pr_curves.png", "pr_curves_per_class.png", "confusion.png"),
)


class Evaluation(Measures):
    """The measures of a detector on a dataset: a mapping of flat names to numbers, and more as
    attributes.

    The names are bbox_ and segm_ with each of `COCO_METRICS` (``evaluation["segm_AP50"]``);
    precision, recall, F1, best_F1 and best_F1_score (the score threshold that gives it) of all
    objects together; objects, detections, hits, crowds and images, which are counted;
    images_per_second, detect_seconds and seconds. NaN stands for what could not be measured.

    Attributes:
        per_class: {class name: dict} with class_id, bbox_AP, bbox_AP50, segm_AP, segm_AP50,
            objects, detections, hits, precision, recall, F1, best_F1, best_F1_score.
        confusion: int [classes, classes], rows are the true class, columns the detected one; row 0
            counts false alarms, column 0 missed objects.
        class_names: of the rows and columns of ``confusion``, "background" first.
        curves: {"bbox" or "segm": {"0.50" or "0.75": {"mean" or class name: precision at the
            recalls 0, 0.01 .. 1}}}.
        worst: list of dicts of the images with the lowest F1: image_id, name, F1, hits, missed,
            false_alarms, confused.
        left_out: dict: unreadable_images (list of dicts: image_id, name, why), empty_objects
            (objects without a pixel), surplus_detections (of a class in an image after the
            hundredth, which AP does not look at), unlabelled_detections {class name: number} (of
            classes that the annotations do not list), images_at_limit (how many images have as many
            detections as DETECTION_MAX_INSTANCES allows), images_beyond_limit (list of dicts of the
            images with more objects than that: image_id, name, objects), when_loaded {why: number},
            what a reader of `data.formats` left out.
        settings: dict: dataset, iou_type, iou, min_score and what the caller added.
    """

    def __init__(
        self,
        metrics: dict[str, float],
        per_class: dict[str, dict[str, float]],
        confusion: NDArray[np.integer],
        class_names: list[str],
        curves: dict[str, dict[str, dict[str, list[float]]]],
        worst: list[dict[str, Any]],
        left_out: dict[str, Any],
        settings: dict[str, Any],
        found: Collected,
        dataset: Dataset,
    ) -> None:
        super().__init__(metrics)
        self.per_class = per_class
        self.confusion = confusion
        self.class_names = class_names
        self.curves = curves
        self.worst = worst
        self.left_out = left_out
        self.settings = settings
        self._found = found
        self._dataset = dataset

    @property
    def iou_types(self) -> tuple[str, ...]:
        """("bbox", "segm"), or ("bbox",) of a detector without masks."""
        return tuple(self.curves)

    def __repr__(self) -> str:
        return (
            f"<Evaluation of {self['images']} images, "
            + ", ".join(f"{kind}_AP {self[kind + '_AP']:.3f}" for kind in self.iou_types)
            + ">"
        )

    def __str__(self) -> str:
        return "\n".join([*self._metric_lines(), "", *self._class_lines(), "", *self.sentences()])

    def _metric_lines(self):
        width = max(map(len, COCO_METRICS))
        yield " " * width + "".join(f"{kind:>8}" for kind in self.iou_types)
        for name in COCO_METRICS:
            yield f"{name:<{width}}" + "".join(
                format_value(self[f"{kind}_{name}"]) for kind in self.iou_types
            )

    def _class_lines(self):
        columns = [f"{kind}_{name}" for kind in self.iou_types for name in ("AP", "AP50")]
        columns += ["precision", "recall", "F1", "best_F1"]
        rows = [(on_one_line(name), row) for name, row in (*self.per_class.items(), ("all", self))]
        width = max(map(len, ("class", *(name for name, _ in rows))))
        yield (
            f"{'class':<{width}}{'objects':>9}{'found':>7}"
            + "".join(f"{name.replace('_', ' '):>11}" for name in columns)
            + "   at score"
        )
        for name, row in rows:
            yield (
                f"{name:<{width}}{row['objects']:>9}{row['detections']:>7}"
                + "".join(format_value(row[column], 11) for column in columns)
                + format_value(row["best_F1_score"], 11)
            )

    def sentences(self) -> list[str]:
        """What the numbers were measured with and what they leave out, as a list of sentences."""
        settings, left_out = self.settings, self.left_out
        what = "masks" if settings["iou_type"] == "segm" else "boxes"
        said = [
            f"Found, precision, recall and F1: scores from {settings['min_score']:g}, IoU of "
            f"{what} from {settings['iou']:g}."
        ]
        if "min_confidence" in settings:
            said.append(
                "AP and best F1 count all detections from a score of "
                f"{settings['min_confidence']:g}."
            )
        said.append(
            f"{self['images']} images, {self['images_per_second']:.2f} images/s in detect; "
            f"{self['seconds']:.1f} s altogether."
        )
        if self["crowds"]:
            said.append(
                f"{self['crowds']} crowd regions: what is found in them is neither right nor wrong."
            )
        if left_out["unreadable_images"]:
            names = [image["name"] for image in left_out["unreadable_images"]]
            said.append(f"Left out: {len(names)} images that cannot be read: {some(names, NAMED)}.")
        said += [
            f"Left out when the data set was loaded: {count} {why}."
            for why, count in left_out["when_loaded"].items()
        ]
        if left_out["empty_objects"]:
            said.append(f"Left out: {left_out['empty_objects']} objects without a pixel.")
        known = settings.get("network_classes", len(self.class_names))
        lacking = [
            f"{name} ({row['objects']} objects)"
            for name, row in self.per_class.items()
            if row["class_id"] >= known and row["objects"]
        ]
        if lacking:
            said.append(
                f"The network lacks {len(lacking)} classes of the data, whose objects count as "
                f"missed: {some(lacking)}. "
                + option_or_argument("--own-classes", "other_classes=False of open_dataset")
                + " ignores them."
            )
        unlabelled = [f"{name} ({n})" for name, n in left_out["unlabelled_detections"].items()]
        if unlabelled:
            said.append(
                "Left out: detections of classes that the annotations do not list: "
                f"{some(unlabelled)}."
            )
        without = [
            f"{name} ({row['detections']})"
            for name, row in self.per_class.items()
            if row["detections"] and not row["objects"]
        ]
        if without:
            said.append(
                "Detections of classes without an object in these images count as false: "
                f"{some(without)}."
            )
        beyond = [image["objects"] for image in left_out["images_beyond_limit"]]
        if beyond:
            said.append(
                f"{len(beyond)} images have more objects than DETECTION_MAX_INSTANCES = "
                f"{settings['most_detections']}, up to {max(beyond)}: the others are missed. "
                f"DETECTION_MAX_INSTANCES={max(beyond)} leaves room for all."
            )
        if left_out["images_at_limit"]:
            said.append(
                f"On {left_out['images_at_limit']} images there are as many detections as "
                "DETECTION_MAX_INSTANCES allows: more may be cut off."
            )
        if not self["objects"]:
            said.append("There is no object to find: AP and recall cannot be measured.")
        if left_out["surplus_detections"]:
            said.append(
                f"AP leaves out {left_out['surplus_detections']} detections: COCO looks at the "
                "best hundred of a class in an image."
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
                    "rows_true_columns_detected": self.confusion.tolist(),
                },
                "curves": self.curves,
                "worst": self.worst,
                "left_out": self.left_out,
                "settings": self.settings,
            },
            digits=6,
        )

    def save(self, folder: AnyPath) -> str:
        """Write the report into a folder, which is created.

        Writes report.html (one page that needs no other file), evaluation.json, pr_curves.png,
        pr_curves_per_class.png and confusion.png, and for other programs ground_truth.json
        and detections.json in COCO's format, with the dataset's own image and class ids.

        Args:
            folder: path.

        Returns:
            path of report.html.
        """
        page, pictures = report_page(self, self._found, self._dataset)
        write_files(
            folder,
            {
                **pictures,
                "report.html": page,
                "evaluation.json": self.to_json(),
                "ground_truth.json": json.dumps(self._found.objects()),
                "detections.json": json.dumps(self._found.detections),
            },
        )
        return os.path.join(folder, "report.html")

"""The report of an evaluation: one HTML page with its pictures inside."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.data.drawing import as_rgb, draw_instances
from mrcnn.data.images import fit_channels
from mrcnn.data.rle import decode_masks
from mrcnn.evaluation import plots
from mrcnn.evaluation.coco_ap import COCO_METRICS
from mrcnn.evaluation.matching import (
    FALSE_ALARM,
    confused_pairs,
    match,
    overlaps,
    taken_for_another,
)
from mrcnn.evaluation.page import (
    GREEN,
    GREY,
    ORANGE,
    RED,
    as_jpeg,
    bullets,
    html_page,
    image_tag,
    nearest,
    number,
    resize_photo,
    shown_size,
    table,
)

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset
    from mrcnn.evaluation.collect import Collected, Scene
    from mrcnn.evaluation.result import Evaluation


# Pairs of classes that the report names as confused most often.
PAIRS = 10


def report_page(
    evaluation: Evaluation, found: Collected, dataset: Dataset
) -> tuple[str, dict[str, bytes]]:
    """The page of an ``Evaluation`` and its plots.

    Args:
        evaluation: ``Evaluation``.
        found: ``collect.Collected``, whose objects and detections are drawn.
        dataset: where the worst images are loaded from.

    Returns:
        (html, {file name: bytes of a PNG}).
    """
    pictures = {
        "pr_curves.png": plots.mean_curves(evaluation.curves),
        "pr_curves_per_class.png": plots.class_curves(evaluation.curves),
        "confusion.png": plots.confusion_picture(evaluation.confusion, evaluation.class_names),
    }
    title = f"Evaluation on {evaluation.settings['dataset']}"
    sections = [
        bullets(evaluation.sentences()),
        '<div class="side">',
        _metrics_table(evaluation),
        image_tag(pictures["pr_curves.png"], "precision and recall"),
        "</div>",
        "<h2>Classes</h2>",
        '<div class="scroll">',
        _class_table(evaluation),
        "</div>",
        "<h2>Precision and recall of each class</h2>",
        image_tag(pictures["pr_curves_per_class.png"], "precision and recall of each class"),
        "<h2>Confusion matrix</h2>",
        "<p>A row is what an object is, a column what it was detected as. Colour: the share of the "
        "row's objects. The last column are objects that were missed, the last row detections "
        "where nothing is.</p>",
        image_tag(pictures["confusion.png"], "confusion matrix"),
        _pairs(evaluation),
        "<h2>The worst images</h2>",
        *_worst(evaluation, found, dataset),
    ]
    return html_page(title, sections), pictures


# === Tables ===


def _metrics_table(evaluation):
    names = {"bbox": "boxes", "segm": "masks"}
    return table(
        ["", *(names[kind] for kind in evaluation.iou_types)],
        [
            [
                name.replace("_", " "),
                *(number(evaluation[f"{kind}_{name}"]) for kind in evaluation.iou_types),
            ]
            for name in COCO_METRICS
        ],
    )


def _class_table(evaluation):
    kinds = {"bbox": "boxes", "segm": "masks"}
    columns = {
        f"{kind}_{name}": f"{name} {kinds[kind]}"
        for kind in evaluation.iou_types
        for name in ("AP", "AP50")
    }
    columns = {
        "objects": "objects",
        "detections": "found",
        "hits": "right",
        **columns,
        "precision": "precision",
        "recall": "recall",
        "F1": "F1",
        "best_F1": "best F1",
        "best_F1_score": "at score",
    }
    return table(
        ["class", *columns.values()],
        [
            [name, *(number(row[column]) for column in columns)]
            for name, row in (*evaluation.per_class.items(), ("all", evaluation))
        ],
        ' class="all"',
    )


def _pairs(evaluation):
    pairs = confused_pairs(evaluation.confusion)[:PAIRS]
    if not pairs:
        return "<p>No object was taken for one of another class.</p>"
    names = evaluation.class_names
    return "<p>Taken for another class most often:</p>" + table(
        ["object", "detected as", "times"],
        [[names[true], names[seen], str(count)] for true, seen, count in pairs],
    )


# === Pictures ===


def _worst(evaluation, found, dataset):
    if not evaluation.worst:
        yield "<p>No image with a mistake.</p>"
        return
    yield (
        '<p>Left the objects: <span class="green">found</span>, '
        '<span class="orange">taken for another class</span>, '
        '<span class="red">missed</span>, <span class="grey">crowd</span>. Right the detections: '
        '<span class="green">right</span>, <span class="orange">wrong class</span>, '
        '<span class="red">nothing there, or found already</span>, <span class="grey">in a '
        "crowd</span>.</p>"
    )
    scenes = {scene.image["id"]: scene for scene in found.scenes}
    for row in evaluation.worst:
        said = (
            f"{html.escape(row['name'])}: {row['hits']} right, {row['missed']} missed, "
            f"{row['false_alarms']} false, {row['confused']} of another class"
        )
        try:
            pair = compare(
                dataset.load_image(row["image_id"]),
                scenes[row["image_id"]],
                evaluation.settings,
                dataset.class_names,
            )
        except (OSError, ValueError):  # gone since it was evaluated
            yield f"<p>{said}; it can no longer be read</p>"
            continue
        pictures = "".join(
            image_tag(as_jpeg(picture), name, "jpeg")
            for picture, name in zip(pair, ("objects", "detections"))
        )
        yield f'<figure><figcaption>{said}</figcaption><div class="pair">{pictures}</div></figure>'


def compare(
    image: ArrayLike, scene: Scene, settings: Mapping[str, Any], class_names: Sequence[str]
) -> list[NDArray[np.uint8]]:
    """An image, in grey, with its objects, and with the detections, coloured by right and wrong.

    Args:
        image: as ``load_image`` gives it.
        scene: ``collect.Scene`` of the image.
        settings: ``Evaluation.settings``: iou_type, iou and min_score.
        class_names: list of names by class id.

    Returns:
        two uint8 [h, w, 3] whose longer side is ``SIDE`` px.
    """
    detections = [
        detection for detection in scene.detections if detection["score"] >= settings["min_score"]
    ]
    ious = overlaps(scene.annotations, detections, settings["iou_type"])
    met = match(ious, detections, scene.annotations, settings["iou"])
    taken = dict(taken_for_another(ious, scene.annotations, met, settings["iou"]))
    object_colors = [
        GREY
        if annotation["iscrowd"]
        else GREEN
        if index in met
        else ORANGE
        if index in taken.values()
        else RED
        for index, annotation in enumerate(scene.annotations)
    ]
    detection_colors = [
        GREEN if row >= 0 else ORANGE if index in taken else RED if row == FALSE_ALARM else GREY
        for index, row in enumerate(met)
    ]
    # in grey, on which every colour shows: red hides on red things
    image = as_rgb(fit_channels(as_rgb(image), 1))
    height, width, scale = shown_size(image)
    image = resize_photo(image, height, width)
    return [
        _draw(image, scale, items, colors, class_names)
        for items, colors in ((scene.annotations, object_colors), (detections, detection_colors))
    ]


def _draw(image, scale, items, colors, class_names):
    """COCO dicts painted into a resized image."""
    masks = None
    if all("segmentation" in item for item in items):
        masks = np.zeros((*image.shape[:2], len(items)), bool)
        for index, item in enumerate(items):
            # one at a time: many masks of a large photo take gigabytes
            mask = decode_masks([item["segmentation"]], item["segmentation"]["size"])[..., 0]
            masks[..., index] = nearest(mask, *image.shape[:2])
    boxes = np.array(
        [[y, x, y + height, x + width] for x, y, width, height in (item["bbox"] for item in items)]
    )
    class_ids = [
        -item["category_id"] if item.get("iscrowd") else item["category_id"] for item in items
    ]
    scores = [item["score"] for item in items] if items and "score" in items[0] else None
    return draw_instances(
        image,
        boxes.reshape(-1, 4) * scale,
        masks,
        class_ids,
        class_names,
        scores,
        colors,
        alpha=0.3,
    )

"""Objects and detections as the dicts of COCO's json."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.common.progress import track
from mrcnn.data.masks import binary_masks, extract_bboxes
from mrcnn.data.rle import encode_masks, mask_areas

if TYPE_CHECKING:
    from pycocotools.coco import COCO

    from mrcnn.data.dataset import Dataset


def _xywh(box):
    """(y1, x1, y2, x2) -> COCO's [x, y, width, height]."""
    y1, x1, y2, x2 = (float(value) for value in box)
    return [x1, y1, x2 - x1, y2 - y1]


def coco_index(
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    categories: list[dict[str, Any]],
) -> COCO:
    """An in-memory pycocotools ``COCO`` of three lists of dicts."""
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


# === Ground truth ===


def known_image_ids(dataset: Dataset, image_ids: Iterable[int] | None) -> list[int]:
    """Checked list of image ids, each once: all of the dataset's when None."""
    known = {int(i) for i in dataset.image_ids}
    if not known:
        raise ValueError("the dataset has no images; were they added, and prepare() called?")
    # once: np.random.choice, by custom, draws some of them twice, and their objects would count
    # double
    image_ids = (
        sorted(known) if image_ids is None else list(dict.fromkeys(int(i) for i in image_ids))
    )
    if not image_ids:
        raise ValueError(
            "image_ids is empty: give at least one, or None for all images of the dataset"
        )
    unknown = [i for i in image_ids if i not in known]
    if unknown:
        raise ValueError(
            f"image_ids {unknown[:5]} are not in the dataset, whose ids are "
            f"{min(known)}..{max(known)}"
        )
    return image_ids


def coco_categories(dataset: Dataset) -> list[dict[str, Any]]:
    """COCO categories of a prepared dataset, without the background."""
    return [
        {"id": int(class_id), "name": str(name)}
        for class_id, name in zip(dataset.class_ids, dataset.class_names)
        if class_id > 0
    ]


def image_name(dataset: Dataset, image_id: int) -> str:
    """Name of an image: its file's, or its id in its source. No folder: a report may travel."""
    info = dataset.image_info[image_id]
    path = info.get("path")
    return os.path.basename(os.fspath(path)) if path else str(info["id"])


def image_objects(
    dataset: Dataset,
    image_id: int,
    masks: np.ndarray,
    class_ids: Sequence[int] | np.ndarray,
    shape: Sequence[int] | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """The objects of one image as COCO annotations, yet without ids.

    Args:
        dataset: a prepared Dataset.
        image_id: of the image.
        masks, class_ids: as ``load_mask`` gives them; a negative class id is a crowd (iscrowd 1).
        shape: (height, width, ...) px of the image, where it is known.

    Returns:
        (COCO image dict, list of annotations, number of objects left out for an empty mask).

    Raises:
        ValueError: a class id that the dataset does not have, masks and class ids of different
            number, or masks of another size than the image.
    """
    if masks.shape[-1] != len(class_ids):
        raise ValueError(
            f"load_mask({image_id}) returned {masks.shape[-1]} masks (shape "
            f"{masks.shape}) but {len(class_ids)} class ids"
        )
    height, width = (int(side) for side in (masks.shape if shape is None else shape)[:2])
    if len(class_ids) and masks.shape[:2] != (height, width):
        raise ValueError(
            f"load_mask({image_id}) returned masks of {masks.shape[0]} x {masks.shape[1]} px, but "
            f"the image {image_name(dataset, image_id)} has {height} x {width} px (height x width)"
        )
    for class_id in np.asarray(class_ids).tolist():
        if not 0 < abs(class_id) < dataset.num_classes:
            raise ValueError(
                f"load_mask({image_id}) returned class id {class_id}; the dataset has the ids 1 to "
                f"{dataset.num_classes - 1} (negative: crowd; 0 is background)"
            )
    masks = binary_masks(masks)
    boxes = extract_bboxes(masks)
    annotations = [
        {
            "image_id": int(image_id),
            "category_id": abs(int(class_id)),
            "iscrowd": int(class_id < 0),
            "bbox": _xywh(box),
            "segmentation": rle,
        }
        for class_id, box, rle in zip(class_ids, boxes, encode_masks(masks, boxes))
        if box.any()
    ]
    areas = mask_areas([annotation["segmentation"] for annotation in annotations])
    for annotation, area in zip(annotations, areas.tolist()):
        annotation["area"] = float(area)
    image = {
        "id": int(image_id),
        "height": height,
        "width": width,
        "file_name": image_name(dataset, image_id),
    }
    return image, annotations, len(boxes) - len(annotations)


def number_annotations(annotations: Iterable[dict[str, Any]]) -> None:
    """Give annotations their ids, in place; pycocotools takes a match with 0 for no match: from
    1.
    """
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number


def warn_of_empty(count: int) -> None:
    """Say how many objects are not in the ground truth because they have no pixel."""
    if count:
        warnings.warn(
            f"{count} objects have an empty mask and are left out of the ground truth", stacklevel=3
        )


def coco_ground_truth(
    dataset: Dataset, image_ids: Iterable[int] | None = None, progress: bool = False
) -> COCO:
    """The objects of a dataset as an in-memory pycocotools ``COCO``.

    Boxes and areas are measured on the masks of ``dataset.load_mask``, image and category ids
    are the dataset's own. A negative class id is a crowd (iscrowd 1) of its absolute value.
    Objects without a pixel cannot be found by anything; they are left out with a warning.

    Args:
        dataset: a prepared Dataset.
        image_ids: list of ids; None: all.
        progress: show a progress bar on stderr.

    Raises:
        ValueError: no images, an unknown image id, or what ``image_objects`` refuses.
    """
    images, annotations, empty = [], [], 0
    for image_id in track(known_image_ids(dataset, image_ids), "Ground truth", progress):
        image, objects, without_pixel = image_objects(
            dataset, image_id, *dataset.load_mask(image_id)
        )
        images.append(image)
        annotations += objects
        empty += without_pixel
    number_annotations(annotations)
    warn_of_empty(empty)
    return coco_index(images, annotations, coco_categories(dataset))


# === Detections ===


def coco_detections(image_id: int, result: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """One result of ``detect`` as a list of COCO result dicts, ready for json.

    Args:
        image_id: int, as in the ground truth.
        result: dict of rois [N, (y1, x1, y2, x2)] px, class_ids [N], scores [N] and, unless
            the model has none, masks [H, W, N]. Of an `inference.Result` the boxes are taken, which
            are not rounded; all their digits count for the IoU.

    Raises:
        ValueError: the arrays do not agree on N.
    """
    counts = {key: len(result[key]) for key in ("rois", "class_ids", "scores")}
    masks = result.get("masks")
    if masks is not None:
        counts["masks"] = masks.shape[-1]
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"the result of image {image_id} has different numbers of detections: {counts}"
        )
    boxes = getattr(result, "boxes", result["rois"])
    detections = [
        {
            "image_id": int(image_id),
            "category_id": int(class_id),
            "bbox": _xywh(box),
            "score": float(score),
        }
        for box, class_id, score in zip(boxes, result["class_ids"], result["scores"])
    ]
    if masks is not None:
        boxes = getattr(masks, "boxes", None)  # of `labels.RegionMasks`
        for detection, rle in zip(detections, encode_masks(masks, boxes)):
            detection["segmentation"] = rle
    return detections

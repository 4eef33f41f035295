"""Run a detector over a dataset, keeping run lengths, never masks: what is kept of an image is
small.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mrcnn.common.progress import track
from mrcnn.common.threads import map_ahead
from mrcnn.data.coco_json import (
    coco_categories,
    coco_detections,
    coco_index,
    image_name,
    image_objects,
    known_image_ids,
    number_annotations,
    warn_of_empty,
)
from mrcnn.evaluation.coco_ap import coco_summary

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset

# A detector: images -> a dict of rois, class_ids, scores and, where it has them, masks for each.
Detect: TypeAlias = Callable[[list[np.ndarray]], Sequence[Mapping[str, np.ndarray]]]


@dataclasses.dataclass
class Scene:
    """One image: what is on it and what was found, as COCO dicts."""

    image: dict[str, Any]
    annotations: list[dict[str, Any]]
    detections: list[dict[str, Any]]


@dataclasses.dataclass
class Collected:
    """What a detector found in a dataset, and what is there.

    Attributes:
        scenes: list of ``Scene``, in the order asked for.
        categories: COCO's, without the background.
        unreadable: list of dicts of the images that are left out: image_id, name, why.
        empty: number of objects left out for an empty mask.
        has_masks: whether every result had masks.
        unlabelled: {class id: number of detections} of classes whose objects are not marked in the
            dataset, which are left out.
        at_limit: number of results that say, as `inference.Result` does, that more may be cut off.
        timings: list of (images, seconds inside ``detect``) of each call.
    """

    scenes: list[Scene]
    categories: list[dict[str, Any]]
    unreadable: list[dict[str, Any]]
    empty: int
    has_masks: bool
    timings: list[tuple[int, float]]
    unlabelled: Counter[int] = dataclasses.field(default_factory=Counter)
    at_limit: int = 0

    @property
    def detections(self) -> list[dict[str, Any]]:
        """All detections, as COCO result dicts."""
        return [detection for scene in self.scenes for detection in scene.detections]

    @property
    def iou_types(self) -> tuple[str, ...]:
        """What can be scored: ("bbox", "segm"), or ("bbox",) of a detector without masks."""
        return ("bbox", "segm") if self.has_masks else ("bbox",)

    @property
    def seconds(self) -> float:
        """Time spent inside ``detect``."""
        return sum(seconds for _, seconds in self.timings)

    def objects(self) -> dict[str, list[dict[str, Any]]]:
        """The objects as a dict in COCO's format: images, annotations, categories."""
        return {
            "images": [scene.image for scene in self.scenes],
            "annotations": [
                annotation for scene in self.scenes for annotation in scene.annotations
            ],
            "categories": self.categories,
        }


def collect(
    dataset: Dataset,
    detect: Detect,
    image_ids: Iterable[int] | None = None,
    batch_size: int = 1,
    workers: int = 1,
    progress: bool = True,
) -> Collected:
    """Load every image and its objects, and find objects in it.

    Threads load the next images and turn the last masks into run lengths while the detector
    works. An image that cannot be read is left out, objects and all.

    Args:
        dataset: a prepared Dataset.
        detect: callable, list of images (as ``load_image`` gives them) -> list of result dicts
            as ``coco_detections`` takes them. The last list may be shorter than batch_size.
        image_ids: list of ids; None: all.
        batch_size: images per call of ``detect``.
        workers: number of those threads, at least 1.
        progress: show a progress bar on stderr.

    Returns:
        ``Collected``.

    Raises:
        ValueError: no images, unknown ids, a batch_size or workers below 1, no image that can be
            read, a ``detect`` that returns another number of results than it was given images or a
            class that the dataset does not have, or what ``image_objects`` refuses.
    """
    for name, value in (("batch_size", batch_size), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    image_ids = known_image_ids(dataset, image_ids)
    found = Collected([], coco_categories(dataset), [], 0, True, [])
    with ThreadPoolExecutor(workers) as pool:
        loaded = map_ahead(pool, partial(_load, dataset), image_ids, workers + batch_size)
        batch, kept = [], None
        loaded = track(loaded, "Detecting", progress, len(image_ids))
        for number, (image, scene, empty, problem) in enumerate(loaded, 1):
            if problem is None:
                found.empty += empty
                found.scenes.append(scene)
                batch.append((image, scene))
            else:
                image_id = image_ids[number - 1]
                found.unreadable.append(
                    {"image_id": image_id, "name": image_name(dataset, image_id), "why": problem}
                )
            if len(batch) == batch_size or (batch and number == len(image_ids)):
                results = _detect(detect, batch, found)
                if kept is not None:
                    # of the batch before: the masks of two batches are the most there are
                    kept.result()
                scenes = [scene for _, scene in batch]
                kept = pool.submit(_keep, results, scenes, found, dataset)
                batch = []
        if kept is not None:
            kept.result()
    if not found.scenes:
        first = found.unreadable[0]
        raise ValueError(
            f"none of the {len(image_ids)} images can be read; the first, {first['name']}: "
            f"{first['why']}"
        )
    number_annotations([annotation for scene in found.scenes for annotation in scene.annotations])
    return found


def _load(dataset, image_id):
    """(image, scene, number of objects without a pixel, why it cannot be read or None)."""
    try:
        image = dataset.load_image(image_id)
        masks, class_ids = dataset.load_mask(image_id)
    except (OSError, ValueError) as error:
        return None, None, 0, str(error)
    scene_image, annotations, empty = image_objects(
        dataset, image_id, masks, class_ids, image.shape
    )
    return image, Scene(scene_image, annotations, []), empty, None


def _detect(detect, batch, found):
    """The results of a batch of (image, scene); the time it took goes into ``found``."""
    start = time.perf_counter()
    results = detect([image for image, _ in batch])
    found.timings.append((len(batch), time.perf_counter() - start))
    if len(results) != len(batch):
        raise ValueError(f"detect returned {len(results)} results for {len(batch)} images")
    return results


def _keep(results, scenes, found, dataset):
    """Put results into their scenes as COCO dicts."""
    known = {category["id"] for category in found.categories}
    for scene, result in zip(scenes, results):
        foreign = {int(class_id) for class_id in result["class_ids"]} - known
        if foreign:
            raise ValueError(
                f"detect returned the class ids {sorted(foreign)[:5]} in "
                f"{scene.image['file_name']}; the dataset has the ids 1 to {max(known, default=0)}"
            )
        for detection in coco_detections(scene.image["id"], result):
            if dataset.is_labelled(detection["category_id"]):
                scene.detections.append(detection)
            else:
                found.unlabelled[detection["category_id"]] += 1
        found.has_masks &= result.get("masks") is not None
        found.at_limit += getattr(result, "at_limit", False)


def warn_of_left_out(found: Collected) -> None:
    """Warn of what is missing in the numbers."""
    warn_of_empty(found.empty)
    warn_of_unreadable(found.unreadable)


def warn_of_unreadable(images: Sequence[Mapping[str, Any]]) -> None:
    """Warn of images that cannot be read, dicts of their name and why."""
    if images:
        some = "; ".join(f"{image['name']}: {image['why']}" for image in images[:3])
        warnings.warn(
            f"{len(images)} images cannot be read and are left out: {some}"
            + ("; ..." if len(images) > 3 else ""),
            stacklevel=4,
        )


def evaluate_detections(
    dataset: Dataset,
    detect: Detect,
    image_ids: Iterable[int] | None = None,
    batch_size: int = 1,
    progress: bool = True,
) -> dict[str, Any]:
    """COCO numbers of a detector on a dataset; ``evaluate`` tells more.

    Args, Raises: those of ``collect``. Images that cannot be read are left out with a warning.

    Returns:
        dict: "bbox" and "segm" (``coco_summary`` each; no "segm" if the results have no masks),
        "images", "seconds" spent inside ``detect``, "images_per_second".
    """
    found = collect(dataset, detect, image_ids, batch_size, progress=progress)
    warn_of_left_out(found)
    ground_truth, detections = coco_index(**found.objects()), found.detections
    summary: dict[str, Any] = {
        kind: coco_summary(ground_truth, detections, kind) for kind in found.iou_types
    }
    images, seconds = len(found.scenes), found.seconds
    summary.update(
        images=images,
        seconds=seconds,
        images_per_second=images / seconds if seconds else float("inf"),
    )
    return summary

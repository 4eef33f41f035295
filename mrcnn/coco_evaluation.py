"""COCO AP of any Dataset: ground truth, detections and scores through pycocotools.

pycocotools is imported only when a function that needs it is called.
"""

import contextlib
import io
import time
import warnings

import numpy as np

from mrcnn.data.masks import extract_bboxes
from mrcnn.progress import track

# The order of pycocotools' COCOeval.stats.
COCO_METRICS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
                "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large")


def _encode_mask(mask):
    """Boolean [H, W] -> COCO RLE whose counts are text, so that it can go into json."""
    from pycocotools import mask as coco_mask
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _xywh(box):
    """(y1, x1, y2, x2) -> COCO's [x, y, width, height]."""
    y1, x1, y2, x2 = (float(value) for value in box)
    return [x1, y1, x2 - x1, y2 - y1]


def _coco_index(images, annotations, categories):
    """An in-memory pycocotools COCO object."""
    from pycocotools.coco import COCO
    coco = COCO()
    coco.dataset = {"info": {}, "images": images, "annotations": annotations,
                    "categories": categories}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _known_image_ids(dataset, image_ids):
    """Checked list of image ids, all of the dataset's when None."""
    known = {int(i) for i in dataset.image_ids}
    if not known:
        raise ValueError("the dataset has no images; were they added, and prepare() called?")
    image_ids = sorted(known) if image_ids is None else [int(i) for i in image_ids]
    unknown = [i for i in image_ids if i not in known]
    if unknown:
        raise ValueError(f"image_ids {unknown[:5]} are not in the dataset, whose ids are "
                         f"{min(known)}..{max(known)}")
    return image_ids


def coco_ground_truth(dataset, image_ids=None, progress=False):
    """The objects of a dataset as an in-memory pycocotools ``COCO``.

    Boxes and areas are measured on the masks of ``dataset.load_mask``, image and category ids
    are the dataset's own. A negative class id is a crowd (iscrowd 1) of its absolute value.
    Objects without a pixel cannot be found by anything; they are left out with a warning.

    Args:
        dataset: a prepared Dataset.
        image_ids: list of ids; None: all.
        progress: show a progress bar on stderr.

    Raises:
        ValueError: no images, an unknown image id, a class id the dataset does not have, or
            masks and class ids of different number.
    """
    image_ids = _known_image_ids(dataset, image_ids)
    categories = [{"id": int(class_id), "name": str(name)}
                  for class_id, name in zip(dataset.class_ids, dataset.class_names) if class_id > 0]
    known = {category["id"] for category in categories}
    images, annotations, empty = [], [], 0
    for image_id in track(image_ids, "Ground truth", progress):
        masks, class_ids = dataset.load_mask(image_id)
        images.append({"id": image_id, "height": int(masks.shape[0]), "width": int(masks.shape[1])})
        if masks.shape[-1] != len(class_ids):
            raise ValueError(f"load_mask({image_id}) returned {masks.shape[-1]} masks (shape "
                             f"{masks.shape}) but {len(class_ids)} class ids")
        boxes = extract_bboxes(masks)
        for index, class_id in enumerate(np.asarray(class_ids).tolist()):
            if abs(class_id) not in known:
                raise ValueError(f"load_mask({image_id}) returned class id {class_id}; the dataset "
                                 f"has the ids {sorted(known)} (negative: crowd; 0 is background)")
            mask = masks[:, :, index] > 0
            if not mask.any():
                empty += 1
                continue
            annotations.append({
                # pycocotools takes a match with annotation 0 for no match: count from 1.
                "id": len(annotations) + 1, "image_id": image_id, "category_id": abs(class_id),
                "iscrowd": int(class_id < 0), "bbox": _xywh(boxes[index]),
                "area": float(mask.sum()), "segmentation": _encode_mask(mask)})
    if empty:
        warnings.warn(f"{empty} objects have an empty mask and are left out of the ground truth",
                      stacklevel=2)
    return _coco_index(images, annotations, categories)


def coco_detections(image_id, result):
    """One result of ``detect`` as a list of COCO result dicts, ready for json.

    Args:
        image_id: int, as in the ground truth.
        result: dict of rois [N, (y1, x1, y2, x2)] px, class_ids [N], scores [N] and, unless
            the model has none, masks [H, W, N].

    Raises:
        ValueError: the arrays do not agree on N.
    """
    counts = {key: len(result[key]) for key in ("rois", "class_ids", "scores")}
    masks = result.get("masks")
    if masks is not None:
        counts["masks"] = masks.shape[-1]
    if len(set(counts.values())) > 1:
        raise ValueError(f"the result of image {image_id} has different numbers of detections: "
                         f"{counts}")
    detections = []
    for index, box in enumerate(result["rois"]):
        detection = {"image_id": int(image_id), "category_id": int(result["class_ids"][index]),
                     "bbox": _xywh(box), "score": float(result["scores"][index])}
        if masks is not None:
            detection["segmentation"] = _encode_mask(masks[:, :, index] > 0)
        detections.append(detection)
    return detections


def _results_index(ground_truth, detections, iou_type):
    """The detections as a COCO object; pycocotools' own loadRes fails on an empty list."""
    if not detections:
        return _coco_index(ground_truth.dataset["images"], [], ground_truth.dataset["categories"])
    if iou_type == "segm":
        if any("segmentation" not in detection for detection in detections):
            raise ValueError("iou_type 'segm' needs a segmentation in every detection")
        # With a box present loadRes takes the box's area for the mask's, which moves objects
        # between small, medium and large.
        detections = [{key: value for key, value in detection.items() if key != "bbox"}
                      for detection in detections]
    else:
        detections = [dict(detection) for detection in detections]
    unknown = {d["image_id"] for d in detections} - set(ground_truth.getImgIds())
    if unknown:
        raise ValueError(f"detections of images {sorted(unknown)[:5]} that the ground truth lacks")
    foreign = {d["category_id"] for d in detections} - set(ground_truth.getCatIds())
    if foreign:
        warnings.warn(f"detections of the category ids {sorted(foreign)[:5]}, which the ground "
                      "truth lacks, are not counted", stacklevel=3)
    with contextlib.redirect_stdout(io.StringIO()):
        return ground_truth.loadRes(detections)


def _class_names(ground_truth, category_ids):
    """Names by category id; a name used twice gets its id added."""
    names = [category["name"] for category in ground_truth.loadCats(category_ids)]
    return [name if names.count(name) == 1 else f"{name} ({category_id})"
            for name, category_id in zip(names, category_ids)]


def coco_summary(ground_truth, detections, iou_type, image_ids=None):
    """The twelve COCO numbers and the AP of each class, by pycocotools.

    Args:
        ground_truth: pycocotools ``COCO``: ``coco_ground_truth`` or an annotation file.
        detections: list of COCO result dicts (``coco_detections``); may be empty.
        iou_type: "bbox" or "segm".
        image_ids: images to look at; None: all of the ground truth.

    Returns:
        dict of the names in ``COCO_METRICS`` -> float in [0, 1], NaN where there is no
        object to find, and ``AP_per_class`` {class name: AP}.

    Raises:
        ValueError: unknown iou_type, detections without masks for "segm", or detections of
            images that the ground truth does not have.
    """
    if iou_type not in ("bbox", "segm"):
        raise ValueError(f"iou_type is {iou_type!r}; it must be 'bbox' or 'segm'")
    from pycocotools.cocoeval import COCOeval
    results = _results_index(ground_truth, detections, iou_type)
    evaluation = COCOeval(ground_truth, results, iou_type)
    if image_ids is not None:
        evaluation.params.imgIds = sorted(int(i) for i in image_ids)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # pycocotools writes -1 where nothing could be measured.
    summary = {name: float("nan") if value < 0 else float(value)
               for name, value in zip(COCO_METRICS, evaluation.stats)}
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # [IoU, recall, class], all sizes
    summary["AP_per_class"] = {
        name: float(precision[:, :, k].mean()) if (precision[:, :, k] > -1).all() else float("nan")
        for k, name in enumerate(_class_names(ground_truth, evaluation.params.catIds))}
    return summary


def evaluate_detections(dataset, detect, image_ids=None, batch_size=1, progress=True):
    """COCO numbers of a detector on a dataset.

    Args:
        dataset: a prepared Dataset.
        detect: callable, list of images (as ``load_image`` gives them) -> list of result dicts
            as ``coco_detections`` takes them. The last list may be shorter than batch_size.
        image_ids: list of ids; None: all.
        batch_size: images per call of ``detect``.
        progress: show progress bars on stderr.

    Returns:
        dict: "bbox" and "segm" (``coco_summary`` each; no "segm" if the results have no masks),
        "images", "seconds" spent inside ``detect``, "images_per_second".

    Raises:
        ValueError: no images, unknown ids, a batch_size below 1, or a ``detect`` that returns
            another number of results than it was given images.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    image_ids = _known_image_ids(dataset, image_ids)
    ground_truth = coco_ground_truth(dataset, image_ids, progress)
    batches = [image_ids[i:i + batch_size] for i in range(0, len(image_ids), batch_size)]
    detections, seconds = [], 0.0
    for batch in track(batches, "Detecting", progress):
        images = [dataset.load_image(image_id) for image_id in batch]
        start = time.perf_counter()
        results = detect(images)
        seconds += time.perf_counter() - start
        if len(results) != len(images):
            raise ValueError(f"detect returned {len(results)} results for {len(images)} images")
        for image_id, result in zip(batch, results):
            detections += coco_detections(image_id, result)
    summary = {"bbox": coco_summary(ground_truth, detections, "bbox")}
    if all("segmentation" in detection for detection in detections):
        summary["segm"] = coco_summary(ground_truth, detections, "segm")
    summary.update(images=len(image_ids), seconds=seconds,
                   images_per_second=len(image_ids) / seconds if seconds else float("inf"))
    return summary


def format_summary(summary):
    """A text table of what ``evaluate_detections`` returns: metrics, then AP by class."""
    kinds = [kind for kind in ("bbox", "segm") if kind in summary]
    classes = list(summary[kinds[0]]["AP_per_class"])
    rows = [(name, [summary[kind][name] for kind in kinds]) for name in COCO_METRICS]
    rows += [(f"AP {name}", [summary[kind]["AP_per_class"][name] for kind in kinds])
             for name in classes]
    width = max(len(name) for name, _ in rows)
    lines = [" " * width + "".join(f"{kind:>8}" for kind in kinds)]
    lines += [f"{name:<{width}}" + "".join(
        f"{'-':>8}" if np.isnan(value) else f"{value:8.3f}" for value in values)
        for name, values in rows]
    lines.append(f"{summary['images']} images, {summary['seconds']:.1f} s in detect, "
                 f"{summary['images_per_second']:.2f} images/s")
    return "\n".join(lines)

"""Images of rectangles whose objects and detections are given, and COCOeval fed with dicts written
here.
"""

import numpy as np

from mrcnn.data.dataset import Dataset


def rectangles(boxes, height=60, width=80):
    """Masks [H, W, N] of filled boxes."""
    masks = np.zeros((height, width, len(boxes)), bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    return masks


def result(boxes, class_ids, scores, **size):
    masks = rectangles(boxes, **size)
    return {
        "rois": np.array(boxes, np.int32).reshape(-1, 4),
        "class_ids": np.array(class_ids, np.int32),
        "scores": np.array(scores, np.float32),
        "masks": masks,
    }


class Rectangles(Dataset):
    """Images whose objects are given as (class id, box)."""

    def __init__(self, images, names=("cat", "dog")):
        super().__init__()
        for i, name in enumerate(names):
            self.add_class("toy", i + 1, name)
        for i, objects in enumerate(images):
            self.add_image("toy", i, path=None, objects=objects)
        self.prepare()

    def load_image(self, image_id):
        return np.full((60, 80, 3), image_id, np.uint8)

    def load_mask(self, image_id):
        objects = self.image_info[image_id]["objects"]
        return (
            rectangles([box for _, box in objects]),
            np.array([class_id for class_id, _ in objects], np.int32),
        )


IMAGES = [[(1, (5, 5, 15, 15)), (2, (30, 40, 40, 50))], [(1, (20, 10, 30, 20))], []]


def perfect(images):
    """A detector that knows the answer: the pixel value is the image id."""
    answers = [IMAGES[image[0, 0, 0]] for image in images]
    return [result([b for _, b in a], [c for c, _ in a], [0.9] * len(a)) for a in answers]


def slow_rle(mask):
    """Uncompressed COCO RLE: run lengths down the columns, zeros first."""
    counts, value, run = [], 0, 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(run)
            value, run = pixel, 0
        run += 1
    return {"size": list(mask.shape), "counts": [*counts, run]}


def coco_by_hand(images, results, iou_type):
    """COCOeval fed with dicts written here: its twelve stats."""
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rle(mask):
        return coco_mask.frPyObjects(slow_rle(mask), *mask.shape)

    annotations, detections = [], []
    for image_id, objects in enumerate(images):
        for class_id, (y1, x1, y2, x2) in objects:
            annotations.append(
                {
                    "id": 100 + len(annotations),
                    "image_id": image_id,
                    "category_id": abs(class_id),
                    "iscrowd": int(class_id < 0),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "segmentation": rle(rectangles([(y1, x1, y2, x2)])[:, :, 0]),
                }
            )
    for image_id, found in enumerate(results):
        for i, (y1, x1, y2, x2) in enumerate(found["rois"].tolist()):
            one = {
                "image_id": image_id,
                "category_id": int(found["class_ids"][i]),
                "score": float(found["scores"][i]),
            }
            if iou_type == "bbox":
                one["bbox"] = [x1, y1, x2 - x1, y2 - y1]
            else:
                one["segmentation"] = rle(found["masks"][:, :, i])
            detections.append(one)
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": i, "height": 60, "width": 80} for i in range(len(images))],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    coco.createIndex()
    evaluator = COCOeval(coco, coco.loadRes(detections), iou_type)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator.stats


def noisy_images_and_results(seed=0):
    """Small and medium objects, a crowd, and detections with noise, misses and false ones."""
    rng = np.random.RandomState(seed)
    images, results = [], []
    for image_id in range(6):
        objects = []
        for _ in range(rng.randint(1, 5)):
            y, x = rng.randint(0, 15), rng.randint(0, 30)
            objects.append(
                (
                    int(rng.randint(1, 3)),
                    (int(y), int(x), int(y + rng.randint(8, 45)), int(x + rng.randint(8, 50))),
                )
            )
        if image_id == 2:
            objects.append((-1, (0, 0, 50, 70)))
        found = [
            np.clip(np.array(box) + rng.randint(-3, 4, 4), 0, 60) for c, box in objects if c > 0
        ]
        found.append(np.array([1, 1, 9, 12]))
        class_ids = [c for c, _ in objects if c > 0] + [1]
        images.append(objects)
        results.append(result(found, class_ids, rng.uniform(0.1, 1, len(found))))
    return images, results

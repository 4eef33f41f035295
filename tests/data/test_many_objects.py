"""More objects on an image than fit into eight bits: every reader, and a Dataset of one's own."""

import json

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.coco_json import coco_ground_truth
from mrcnn.data.dataset import Dataset
from mrcnn.data.formats import open_dataset
from mrcnn.data.rle import encode_masks, mask_areas, merge_rles
from mrcnn.evaluation import evaluate
from mrcnn.inference import Result
from tests.tiny import image

COUNTS = (255, 256, 300, 1000)
HEIGHT, WIDTH = 120, 130


def boxes_of(count):
    """(y, x, height, width) of rectangles side by side, of 1 to 6 px each."""
    places = [(row, column) for row in range(0, HEIGHT, 3) for column in range(0, WIDTH - 3, 4)]
    return [
        (y, x, 1 + number % 2, 1 + number % 3)
        for number, (y, x) in zip(range(count), places, strict=False)
    ]


def areas_of(count):
    return [height * width for _, _, height, width in boxes_of(count)]


def coco(folder, boxes):
    annotations = [
        {
            "id": number,
            "image_id": 1,
            "category_id": 1,
            "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
        }
        for number, (y, x, h, w) in enumerate(boxes)
    ]
    images = [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}]
    contents = {"images": images, "categories": [{"id": 1, "name": "dot"}]}
    (folder / "c.json").write_text(json.dumps({**contents, "annotations": annotations}))


def via(folder, boxes):
    regions = [
        {
            "shape_attributes": {"name": "rect", "x": x, "y": y, "width": w, "height": h},
            "region_attributes": {"kind": "dot"},
        }
        for y, x, h, w in boxes
    ]
    (folder / "v.json").write_text(json.dumps({"a": {"filename": "a.png", "regions": regions}}))


def labelme(folder, boxes):
    shapes = [
        {"label": "dot", "shape_type": "rectangle", "points": [[x, y], [x + w, y + h]]}
        for y, x, h, w in boxes
    ]
    (folder / "a.json").write_text(json.dumps({"shapes": shapes, "imagePath": "a.png"}))


def id_masks(folder, boxes):
    ids = np.zeros((HEIGHT, WIDTH), np.uint16)
    for number, (y, x, h, w) in enumerate(boxes, 1):
        ids[y : y + h, x : x + w] = number
    for name, pixels in (("images", image(HEIGHT, WIDTH)), ("masks", ids)):
        (folder / name).mkdir()
        Image.fromarray(pixels).save(folder / name / "a.png")


class OnesOwn(Dataset):
    """One image with masks that are given as an array."""

    def __init__(self, boxes):
        super().__init__()
        self.add_class("own", 1, "dot")
        self.add_image("own", "a", None)
        self.masks = np.zeros((HEIGHT, WIDTH, len(boxes)), bool)
        for number, (y, x, h, w) in enumerate(boxes):
            self.masks[y : y + h, x : x + w, number] = True
        self.prepare()

    def load_image(self, image_id):
        return image(HEIGHT, WIDTH)

    def load_mask(self, image_id):
        return self.masks, np.ones(self.masks.shape[-1], np.int32)


def opened(write, folder, count):
    if write is OnesOwn:
        return OnesOwn(boxes_of(count))
    Image.fromarray(image(HEIGHT, WIDTH)).save(folder / "a.png")
    write(folder, boxes_of(count))
    return open_dataset(folder)


def found_again(dataset):
    """A detector that finds each object of a dataset of one image."""
    masks, class_ids = dataset.load_mask(0)
    rows, columns = masks.any(axis=1), masks.any(axis=0)
    rois = np.stack(
        [
            rows.argmax(axis=0),
            columns.argmax(axis=0),
            HEIGHT - rows[::-1].argmax(axis=0),
            WIDTH - columns[::-1].argmax(axis=0),
        ],
        axis=1,
    )
    scores = np.linspace(1, 0.5, len(class_ids))
    return lambda images: [{"rois": rois, "class_ids": class_ids, "scores": scores, "masks": masks}]


@pytest.mark.parametrize("write", [coco, via, labelme, id_masks, OnesOwn])
@pytest.mark.parametrize("count", COUNTS)
def test_areas_of_every_reader(tmp_path, write, count):
    dataset = opened(write, tmp_path, count)
    assert dataset.load_mask(0)[0].sum(axis=(0, 1)).tolist() == areas_of(count)
    assert dataset.summary(progress=False).areas.tolist() == areas_of(count)
    report = dataset.check(progress=False)
    assert report.ok and report.objects == count
    annotations = coco_ground_truth(dataset).dataset["annotations"]
    assert [one["area"] for one in annotations] == areas_of(count)


@pytest.mark.parametrize("count", COUNTS)
def test_all_are_matched(count):
    dataset = OnesOwn(boxes_of(count))
    evaluation = evaluate(dataset, found_again(dataset), verbose=0)
    assert evaluation["objects"] == evaluation["hits"] == count
    # COCO looks at the best hundred
    assert evaluation["segm_AR_100"] == pytest.approx(100 / count)


@pytest.mark.parametrize("count", [0, 1, *COUNTS])
def test_areas_of_run_lengths(count):
    rles = encode_masks(OnesOwn(boxes_of(count)).masks)
    areas = mask_areas(rles)
    assert areas.dtype == np.int64 and areas.tolist() == areas_of(count)
    if count:
        assert mask_areas([merge_rles(rles)]).tolist() == [sum(areas_of(count))]


@pytest.mark.parametrize("count", COUNTS)
def test_detections_as_coco_json(count):
    found = Result(**found_again(OnesOwn(boxes_of(count)))([None])[0])
    entries = found.to_coco(1)
    assert [entry["area"] for entry in entries] == areas_of(count)
    assert mask_areas([one["segmentation"] for one in entries]).tolist() == areas_of(count)
    assert [entry["bbox"] for entry in entries] == [[x, y, w, h] for y, x, h, w in boxes_of(count)]


def test_areas_of_large_masks_do_not_overflow():
    """Of half of 2 ** 32 px each."""
    rle = {"size": [2**16, 2**16 - 1], "counts": [2**31, 2**31 - 2**16]}
    from pycocotools import mask as coco_mask

    packed = coco_mask.frPyObjects(rle, *rle["size"])
    assert mask_areas([packed] * 300).tolist() == [2**31 - 2**16] * 300
    assert mask_areas([packed] * 300).sum() == 300 * (2**31 - 2**16)

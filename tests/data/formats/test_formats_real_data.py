"""Real data in each format: counts, and areas against pycocotools, scikit-image and NumPy.

The data are not this project's: they lie in the folder that MRCNN_DATA names, or in ../shared/data.
"""

import json
import os

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from skimage.draw import polygon

from mrcnn.data.formats import open_dataset
from tests.paths import DATA

pytestmark = pytest.mark.slow


def folder(name):
    path = os.path.join(DATA, name)
    if not os.path.isdir(path):
        pytest.skip(f"no {path}: MRCNN_DATA names no folder with it")
    return path


@pytest.mark.parametrize(
    "subset, images, annotations, crowds, empty",
    [("train", 130, 1283, 12, 3), ("val", 160, 1438, 18, 2)],
)
def test_coco(subset, images, annotations, crowds, empty):
    root = folder("coco-mini")
    dataset = open_dataset(root, subset=subset)
    summary = dataset.summary(progress=False)
    assert (
        dataset.num_images,
        len(summary.areas),
        (summary.class_ids < 0).sum(),
        (summary.counts == 0).sum(),
    ) == (images, annotations, crowds, empty)
    assert (
        dataset.num_classes == 81
        and dataset.map_source_class_id("coco.90") == 80
        and not len(dataset.left_out)
    )
    coco = COCO(os.path.join(root, "annotations", f"instances_{subset}2017.json"))
    for image_id in dataset.image_ids:
        masks, class_ids = dataset.load_mask(image_id)
        records = coco.loadAnns(coco.getAnnIds(imgIds=[dataset.image_info[image_id]["id"]]))
        assert len(records) == len(class_ids)
        for index, record in enumerate(records):
            np.testing.assert_array_equal(masks[..., index], coco.annToMask(record).astype(bool))
            sign = -1 if record["iscrowd"] else 1
            assert class_ids[index] == sign * dataset.map_source_class_id(
                f"coco.{record['category_id']}"
            )
    report = dataset.check(progress=False)
    kinds = [finding.kind for finding in report.findings]
    assert report.ok and set(kinds) == {"image without objects", "crowd, which is not learned"}
    assert kinds.count("crowd, which is not learned") == crowds


@pytest.mark.parametrize("subset, images, regions", [("train", 61, 255), ("val", 13, 50)])
def test_balloon(subset, images, regions):
    root = folder("balloon")
    dataset = open_dataset(root, subset=subset, classes=["balloon"])
    summary = dataset.summary(progress=False)
    assert (dataset.num_images, len(summary.areas), len(dataset.left_out)) == (images, regions, 0)
    with open(os.path.join(root, subset, "via_region_data.json"), encoding="utf-8") as file:
        entries = {
            entry["filename"]: list(entry["regions"].values()) for entry in json.load(file).values()
        }
    for image_id, info in enumerate(dataset.image_info):
        with Image.open(info["path"]) as photo:
            expected = np.zeros((photo.height, photo.width, len(entries[info["id"]])), bool)
        for index, region in enumerate(entries[info["id"]]):
            shape = region["shape_attributes"]
            expected[
                (*polygon(shape["all_points_y"], shape["all_points_x"], expected.shape[:2]), index)
            ] = True
        np.testing.assert_array_equal(dataset.load_mask(image_id)[0], expected)
    assert dataset.check(progress=False).ok


def test_penn_fudan():
    root = folder("PennFudanPed")
    dataset = open_dataset(root, classes=["person"])
    people = area = 0
    for image_id, info in enumerate(dataset.image_info):
        masks, _ = dataset.load_mask(image_id)
        ids = np.asarray(Image.open(os.path.join(root, "PedMasks", f"{info['id']}_mask.png")))
        np.testing.assert_array_equal(
            masks.sum(axis=(0, 1)), np.unique(ids, return_counts=True)[1][1:]
        )
        people, area = people + masks.shape[-1], area + masks.sum()
    assert (dataset.num_images, people) == (170, 423)
    assert area == sum(
        np.count_nonzero(np.asarray(Image.open(os.path.join(root, "PedMasks", name))))
        for name in os.listdir(os.path.join(root, "PedMasks"))
    )
    assert dataset.check([0, 1, 169], progress=False).ok

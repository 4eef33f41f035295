"""The COCO script: polygons, run lengths and crowds; three stages with a flip; AP by
pycocotools.
"""

import json
import pathlib
import runpy

import imgaug
import numpy as np
import pytest
import skimage.io
from pycocotools import mask as mask_tools

from mrcnn import model as modellib
from mrcnn import utils
from mrcnn.config import Config
from tests.matterport.toy_network import ToyNetwork

SIZE = (50, 64)
BOXES = [(5, 6, 35, 30), (10, 32, 44, 60)]
CROWD = (0, 0, 5, 64)


class StartConfig(ToyNetwork, Config):
    NAME = "start"
    NUM_CLASSES = 4
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64


def rectangle(y1, x1, y2, x2):
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[y1:y2, x1:x2] = 1
    return mask


def counts(mask):
    """Uncompressed run lengths, as COCO has them for crowds: column by column, zeros first."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    return runs if not flat[0] else [0, *runs]


@pytest.fixture
def dataset(tmp_path, photo):
    """Images with a polygon of class 1, a compressed RLE of class 18 and a crowd of class 44."""
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    for subset, first in (("train", 100), ("val", 200)):
        folder = tmp_path / "coco" / f"{subset}2014"
        folder.mkdir()
        images, annotations = [], []
        for number in range(3):
            image_id, name = first + number, f"{subset}_{number}.png"
            skimage.io.imsave(
                folder / name, photo(*SIZE, [*BOXES, CROWD], seed=number), check_contrast=False
            )
            images.append({"id": image_id, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
            (y1, x1, y2, x2), other = BOXES
            rle = mask_tools.encode(rectangle(*other))
            rle["counts"] = rle["counts"].decode()
            for category, segmentation, box, crowd in (
                (1, [[x1, y1, x2, y1, x2, y2, x1, y2]], BOXES[0], 0),
                (18, rle, other, 0),
                (44, {"size": list(SIZE), "counts": counts(rectangle(*CROWD))}, CROWD, 1),
            ):
                height, width = box[2] - box[0], box[3] - box[1]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": category,
                        "iscrowd": crowd,
                        "segmentation": segmentation,
                        "bbox": [box[1], box[0], width, height],
                        "area": height * width,
                    }
                )
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [
                {"id": 1, "name": "person"},
                {"id": 18, "name": "dog"},
                {"id": 44, "name": "bottle"},
            ],
        }
        (tmp_path / "coco" / "annotations" / f"instances_{subset}2014.json").write_text(
            json.dumps(content)
        )
    return tmp_path / "coco"


def test_three_stages_then_evaluate(
    script, dataset, tmp_path, eagerly, start_weights, monkeypatch, capsys
):
    calls = []
    train = modellib.MaskRCNN.train

    def recorded(self, *args, **kwargs):
        history = train(self, *args, **kwargs)
        calls.append(
            (
                kwargs["layers"],
                history.epoch,
                history.history,
                [weight.path for weight in self.keras_model.trainable_variables],
            )
        )
        return history

    monkeypatch.setattr(modellib.MaskRCNN, "train", recorded)
    start = tmp_path / "start.h5"
    start_weights(StartConfig(), start)
    coco = script("old_coco.py", "train", f"--dataset={dataset}", f"--model={start}")
    # epochs are totals: to 1, to 3, to 4
    assert [(layers, epochs) for layers, epochs, *_ in calls] == [
        ("heads", [0]),
        ("4+", [1, 2]),
        ("all", [3]),
    ]
    assert all(
        np.isfinite(series).all() for _, _, history, _ in calls for series in history.values()
    )
    trained = [{path.split("/")[0] for path in paths} for *_, paths in calls]
    assert not any(name.startswith(("res", "bn", "conv1")) for name in trained[0])
    assert {name[:4] for name in trained[1] - trained[0]} == {
        "res4",
        "bn4a",
        "bn4b",
        "bn4c",
        "bn4d",
        "bn4e",
        "bn4f",
        "res5",
        "bn5a",
        "bn5b",
        "bn5c",
    }
    assert {"conv1", "bn_conv1", "res2a_branch1"} <= trained[2] - trained[1]
    assert coco["model"].find_last().endswith("mask_rcnn_coco_0004.h5")
    assert isinstance(coco["augmentation"], imgaug.augmenters.Fliplr)

    names = script("old_coco.py", "evaluate", f"--dataset={dataset}", "--model=last", "--limit=2")
    found = names["results"]
    assert found and {result["image_id"] for result in found} <= {200, 201}
    assert {result["category_id"] for result in found} <= {1, 18, 44}
    assert names["coco_eval"].stats.shape == (12,) and (names["coco_eval"].stats <= 1).all()
    assert "Average Precision  (AP) @[ IoU=0.50:0.95" in capsys.readouterr().out

    # the ground truth as results: AP 1 for boxes and masks, the crowd counts for nothing
    results = [result for image_id in (0, 1) for result in as_results(names, image_id)]
    for kind in ("bbox", "segm"):
        evaluation = names["COCOeval"](names["coco"], names["coco"].loadRes(results), kind)
        evaluation.params.imgIds = [200, 201]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1), kind


def as_results(names, image_id):
    """An image's objects, as `build_coco_results` makes them of what detect returns."""
    dataset = names["dataset_val"]
    masks, class_ids = dataset.load_mask(image_id)
    real = class_ids > 0
    masks, class_ids = masks[..., real], class_ids[real]
    return names["build_coco_results"](
        dataset,
        [dataset.image_info[image_id]["id"]],
        utils.extract_bboxes(masks),
        class_ids,
        np.ones(len(class_ids)),
        masks.astype(np.uint8),
    )


def test_masks_of_every_kind(dataset):
    """Polygon, run lengths and crowd, whose class id is negative, reach the training targets."""
    names = runpy.run_path(str(pathlib.Path(__file__).parent / "old_coco.py"))
    data = names["CocoDataset"]()
    data.load_coco(str(dataset), "train")
    data.prepare()
    assert data.class_names == ["BG", "person", "dog", "bottle"]
    assert [data.get_source_class_id(number, "coco") for number in (1, 2, 3)] == [1, 18, 44]
    masks, class_ids = data.load_mask(0)
    assert class_ids.tolist() == [1, 2, -3]
    for index, box in enumerate([*BOXES, CROWD]):
        np.testing.assert_array_equal(masks[..., index], rectangle(*box).astype(bool))
    assert data.image_reference(0) == "http://cocodataset.org/#explore?id=100"

    config = names["CocoConfig"]()
    _, meta, ids, boxes, _ = modellib.load_image_gt(data, config, 0)
    assert ids.tolist() == [1, 2, -3] and meta[12:].tolist() == [1, 1, 1, 1]
    # no anchor below the crowd is a negative, and none a positive
    shapes = modellib.compute_backbone_shapes(config, config.IMAGE_SHAPE)
    anchors = utils.generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES,
        config.RPN_ANCHOR_RATIOS,
        shapes,
        config.BACKBONE_STRIDES,
        config.RPN_ANCHOR_STRIDE,
    )
    match, _ = modellib.build_rpn_targets(config.IMAGE_SHAPE, anchors, ids, boxes, config)
    on_crowd = utils.compute_overlaps(anchors, boxes[2:]).ravel() > 0.001
    assert on_crowd.any() and not (match[on_crowd] == -1).any()
    assert (match == 1).any() and (match == -1).any()

    # a flip moves crowd and objects together
    flip = imgaug.augmenters.Fliplr(1.0)
    _, _, _, flipped, _ = modellib.load_image_gt(data, config, 0, augmentation=flip)
    np.testing.assert_array_equal(
        flipped, np.stack([boxes[:, 0], 64 - boxes[:, 3], boxes[:, 2], 64 - boxes[:, 1]], 1)
    )

"""COCO's own photos: the same AP as pycocotools gives with the annotation file itself."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mrcnn.data.masks import extract_bboxes
from mrcnn.evaluation import coco_summary, evaluate
from tests.paths import DATA

REAL = Path(os.environ.get("MASKRCNN_COCO_MINI", DATA / "coco-mini"))


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no folder {REAL}; MASKRCNN_COCO_MINI names another")
def test_coco_mini(tmp_path):
    from pycocotools.coco import COCO

    from mrcnn.data.formats.coco import CocoJson

    dataset = CocoJson()
    dataset.load_coco_json(REAL / "annotations" / "instances_val2017.json", REAL / "val2017")
    dataset.prepare()
    rng = np.random.RandomState(0)
    order = iter(dataset.image_ids)

    def detect(images):
        """Four of five objects, shifted a little, some of the wrong class."""
        masks, class_ids = dataset.load_mask(next(order))
        some = (class_ids > 0) & (rng.rand(len(class_ids)) < 0.8)
        masks = np.roll(masks[..., some], rng.randint(-4, 5, 2), axis=(0, 1))
        class_ids = np.where(
            rng.rand(some.sum()) < 0.15, rng.randint(1, 81, some.sum()), class_ids[some]
        )
        return [
            {
                "rois": extract_bboxes(masks),
                "class_ids": class_ids,
                "scores": rng.rand(len(class_ids)),
                "masks": masks,
            }
        ]

    evaluation = evaluate(dataset, detect, report=tmp_path, verbose=0)
    assert evaluation["images"] == 160 and evaluation["objects"] + evaluation["crowds"] == 1438
    truth = COCO(str(REAL / "annotations" / "instances_val2017.json"))
    detections = json.loads((tmp_path / "detections.json").read_text())
    for one in detections:  # in the ids of the file
        one["image_id"] = dataset.image_info[one["image_id"]]["id"]
        one["category_id"] = dataset.class_info[one["category_id"]]["id"]
    official = {kind: coco_summary(truth, detections, kind) for kind in ("bbox", "segm")}
    for name in ("AP", "AP50", "AP75", "AR_1", "AR_10", "AR_100"):
        assert evaluation[f"segm_{name}"] == pytest.approx(official["segm"][name], abs=1e-12)
    assert official["segm"]["AP_per_class"]["person"] == pytest.approx(
        evaluation.per_class["person"]["segm_AP"]
    )
    # the file's boxes are those of the polygons, ours those of the pixels: up to a pixel apart
    assert evaluation["bbox_AP"] == pytest.approx(official["bbox"]["AP"], abs=0.01)
    assert 0.2 < evaluation["segm_AP"] < 0.6

"""The programs behind docs/accuracy.md: kinds of errors, rows, results and their table."""

import argparse
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.config import Config, ModernConfig
from mrcnn.config.presets import preset_fields
from mrcnn.evaluation.collect import Collected, Scene
from tests.paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import error_types
import ladder
import overfit
from mask_ceiling import ceiling
from measure import scenes


def coco_mask(*box, shape=(100, 100)):
    """Run lengths of a rectangle (y1, x1, y2, x2)."""
    from pycocotools import mask

    filled = np.zeros(shape, np.uint8, order="F")
    filled[box[0] : box[2], box[1] : box[3]] = 1
    return mask.encode(filled)


def one(box, mask=None, category=1, score=None, crowd=0):
    """An object, or a detection where it has a score; boxes (y1, x1, y2, x2)."""
    y1, x1, y2, x2 = box
    found = {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "segmentation": coco_mask(*(mask or box)),
        "category_id": category,
    }
    return {**found, "iscrowd": crowd} if score is None else {**found, "score": score}


OBJECTS = [one((0, 0, 40, 40)), one((50, 50, 90, 90), category=2)]
CROWD = one((0, 60, 40, 100), crowd=1)


@pytest.mark.parametrize(
    "detections, expected",
    [
        ([], {"missed": 2}),
        ([one((0, 0, 40, 40), score=0.9)], {"right": 1, "missed": 1}),
        ([one((0, 0, 40, 40), score=0.4)], {"missed": 2}),
        (
            [one((0, 0, 40, 40), score=0.9), one((0, 0, 40, 38), score=0.8)],
            {"right": 1, "duplicate": 1, "missed": 1},
        ),
        ([one((0, 0, 40, 40), mask=(0, 0, 40, 20), score=0.9)], {"border": 1, "missed": 2}),
        ([one((0, 0, 40, 20), score=0.9)], {"box": 1, "missed": 2}),
        ([one((50, 50, 90, 90), score=0.9)], {"class": 1, "missed": 2}),
        ([one((90, 0, 100, 10), score=0.9)], {"background": 1, "missed": 2}),
        ([one((0, 60, 40, 100), score=0.9)], {"missed": 2}),  # in the crowd
    ],
)
def test_kinds_of_errors(detections, expected):
    scene = SimpleNamespace(annotations=[*OBJECTS, CROWD], detections=detections)
    found = error_types.error_types([scene, scene])
    assert found.pop("objects") == 4
    assert {kind: number for kind, number in found.items() if number} == {
        kind: 2 * number for kind, number in expected.items()
    }


def test_an_image_with_nothing():
    scene = SimpleNamespace(annotations=[], detections=[one((0, 0, 9, 9), score=0.9)])
    found = error_types.error_types([scene])
    assert found["background"] == 1 and sum(found.values()) == 1


def test_errors_of_sides():
    """The box of one object is 10 % too wide on the right, that of the other 5 % too low."""
    found = [one((0, 0, 40, 44), score=0.9), one((52, 50, 92, 90), category=2, score=0.8)]
    scene = SimpleNamespace(annotations=[*OBJECTS, CROWD], detections=found)
    assert error_types.side_errors([scene]) == {
        "left": [0, 0],
        "right": [0.05, 0.05],
        "top": [0.025, 0.025],
        "bottom": [0.025, 0.025],
    }


def test_precision_at_each_overlap():
    images = [{"id": number, "width": 100, "height": 100} for number in (1, 2)]
    annotations = [
        {**each, "id": number, "image_id": number, "area": 1600}
        for number, each in enumerate(OBJECTS, start=1)
    ]
    # the second box overlaps with 0.8, its mask wholly
    boxes = [one((0, 0, 40, 40), score=0.9), one((50, 50, 90, 82), (50, 50, 90, 90), 2, 0.9)]
    found = Collected(
        [
            Scene(image, [truth], [{**box, "image_id": image["id"]}])
            for image, truth, box in zip(images, annotations, boxes)
        ],
        [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        *([], 0, True, []),
    )
    ap = error_types.precision_by_iou(found)
    assert ap == {"bbox": [1.0] * 7 + [0.5] * 3, "segm": [1.0] * 10}


@pytest.mark.parametrize("mini", [True, False])
def test_softer_targets_and_more_cells_allow_more(mini):
    """Of rings, whose masks have 28 cells on a side; the boxes are exact."""
    distance = np.hypot(*(np.mgrid[:384, :384] - 192))
    rings = [(distance < 180) & (distance > 120), (distance < 140) & (distance > 110)]
    photos = [np.zeros((384, 384, 3), np.uint8)] * 2
    dataset = scenes(photos, [ring[..., np.newaxis] for ring in rings], 3)
    found = {}
    for targets in ("crop", "sampled", "soft"):
        fields = dict(MASK_TARGETS=targets, IMAGE_MIN_DIM=0, IMAGE_MAX_DIM=384, USE_MINI_MASK=mini)
        fields |= dict(NUM_CLASSES=4, TRAIN_ROIS_PER_IMAGE=4, ROI_POSITIVE_RATIO=1.0)
        config = type("Chosen", (ModernConfig,), {**fields, "ROI_ADD_GT": False})()
        found[targets] = ceiling(dataset, config)
        assert found[targets]["bbox_AP"] == 1
    assert found["crop"]["segm_AP"] < found["sampled"]["segm_AP"] < found["soft"]["segm_AP"]
    assert found["soft"]["segm_AP"] > 0.9


# === The ladder ===


def arguments(**options):
    """Of the command line."""
    default = {"digits": False, "size": 256, "epochs": 4, "set": [], "photos": None, "out": "out"}
    return argparse.Namespace(**{**default, **options})


def test_rows_make_valid_configs_and_end_with_the_preset():
    args = arguments()
    for name, _ in ladder.ROWS:
        config = ladder.config_of(args, name, 0)
        assert (config.IMAGE_MAX_DIM, config.NUM_CLASSES) == (256, 2)
    assert ladder.fields_of("matterport") == {}
    preset = preset_fields(ModernConfig)
    assert preset.pop("PRESET") == "modern"
    assert ladder.fields_of("modern") == preset


def test_rows_of_digits_are_fields_with_other_values():
    pytest.importorskip("sklearn")
    args = arguments(digits=True)
    base = ladder.config_of(args, "modern", 0).to_dict()
    for name, own, _ in ladder.DIGITS_ROWS:
        fields = ladder.config_of(args, name, 0).to_dict()
        assert own.keys() <= Config.field_defaults().keys()
        assert name == "modern" or any(fields[field] != base[field] for field in own), name


def test_results_are_kept_and_tabled(tmp_path):
    path = tmp_path / "ladder.json"
    args = arguments()
    for seed, precision in ((0, 0.2), (1, 0.4)):
        key = ladder.key_of(args, "init", seed)
        assert not ladder.is_done(path, key)
        measures = dict.fromkeys(ladder.MEASURES, precision)
        ladder.add_result(path, {**key, **measures, "steps": 272, "cpu_seconds": 60})
        assert ladder.is_done(path, key)
    assert not ladder.is_done(path, {**key, "size": 384})
    assert len(json.loads(path.read_text())) == 2
    last = ladder.table(ladder.results(path)).splitlines()[-1]
    assert last.startswith("| Penn-Fudan | 256 px, 272 | init | 2 | 0.300 ± 0.141 |")
    assert last.endswith("| 1.0 |")


def test_further_fields_and_fewer_photos_are_results_of_their_own(tmp_path):
    path = tmp_path / "ladder.json"
    plain = arguments()
    changed = arguments(set=["SOFT_NMS_SIGMA=0.5", "COPY_PASTE=0.5"], photos=34)
    assert ladder.config_of(changed, "modern", 0).COPY_PASTE == 0.5
    # soft-NMS is of detection alone: the training of another measurement serves
    assert ladder.folder_of(changed, "modern", 0) == (
        "out/modern-256px-4epochs-seed0-34photos-COPY_PASTE=0.5"
    )
    measured = {**dict.fromkeys(ladder.MEASURES, 0.5), "steps": 272, "cpu_seconds": None}
    for args, other in ((changed, plain), (plain, changed)):
        key = ladder.key_of(args, "modern", 0)
        ladder.add_result(path, {**key, **measured})
        assert ladder.is_done(path, key)
        assert ladder.is_done(path, ladder.key_of(other, "modern", 0)) == (other is changed)
    assert "| modern, COPY_PASTE=0.5, SOFT_NMS_SIGMA=0.5, 34 photos | 1 |" in ladder.table(
        ladder.results(path)
    )


def test_curves(tmp_path):
    found = [
        {"row": row, "size": 256, "curve": [{"loss": 1.0}, {"loss": 1.0, "val_segm_AP": 0.1}]}
        for row in ("init", "init", "modern")
    ]
    ladder.plot(found, str(tmp_path / "curve.png"))
    assert (tmp_path / "curve.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="--evaluate-every"):
        ladder.plot([{"row": "init", "size": 256, "curve": [{"loss": 1.0}]}], "curve.png")


def test_the_first_images_with_objects(tmp_path):
    images = [{"id": number} for number in (5, 3, 8, 9)]
    objects = [
        {"id": number, "image_id": image, "category_id": category, "iscrowd": crowd}
        for number, (image, category, crowd) in enumerate([(5, 1, 1), (3, 2, 0), (3, 7, 1)])
    ]
    objects.append({"id": 9, "image_id": 9, "category_id": 2, "iscrowd": 0})
    categories = [{"id": number} for number in (1, 2, 7)]
    whole = {"images": images, "annotations": objects, "categories": categories}
    (tmp_path / "whole.json").write_text(json.dumps(whole))
    overfit.write_subset(tmp_path / "whole.json", tmp_path / "part.json", 1)
    part = json.loads((tmp_path / "part.json").read_text())
    assert [image["id"] for image in part["images"]] == [3]
    assert [each["id"] for each in part["annotations"]] == [1, 2]
    assert [each["id"] for each in part["categories"]] == [2, 7]

"""COCO AP of a Dataset: hand-computed cases, and pycocotools fed with dicts written here."""

import json
import sys

import numpy as np
import pytest

from mrcnn import evaluation
from mrcnn.data.masks import extract_bboxes
from mrcnn.evaluation.matching import overlaps
from mrcnn.inference.result import Result
from tests.evaluation.scenes import (
    IMAGES,
    Rectangles,
    coco_by_hand,
    noisy_images_and_results,
    perfect,
    rectangles,
    result,
)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("seed", [0, 1])
def test_summary_equals_pycocotools_fed_by_hand(iou_type, seed, capsys):
    images, results = noisy_images_and_results(seed)
    expected = coco_by_hand(images, results, iou_type)
    capsys.readouterr()
    ground_truth = evaluation.coco_ground_truth(Rectangles(images))
    detections = sum((evaluation.coco_detections(i, r) for i, r in enumerate(results)), [])
    summary = evaluation.coco_summary(ground_truth, detections, iou_type)
    assert capsys.readouterr().out == ""
    measured = [summary[name] for name in evaluation.COCO_METRICS]
    np.testing.assert_array_equal(np.nan_to_num(measured, nan=-1), expected)
    assert 0 < summary["AP"] < 1 and summary["AP"] == pytest.approx(
        np.mean(list(summary["AP_per_class"].values()))
    )


def test_mask_area_decides_small_or_medium_for_segm():
    # A thin diagonal false alarm: mask area small (60 px), box area medium (3600 px).
    image = [(1, (0, 0, 40, 40))]
    found = result([(0, 0, 40, 40), (0, 0, 60, 60)], [1, 1], [0.5, 0.9])
    found["masks"][:, :, 1] = np.eye(60, 80, dtype=bool)
    ground_truth = evaluation.coco_ground_truth(Rectangles([image]))
    detections = evaluation.coco_detections(0, found)
    for iou_type, expected in (("segm", 1), ("bbox", 0.5)):
        summary = evaluation.coco_summary(ground_truth, detections, iou_type)
        assert summary["AP_medium"] == pytest.approx(expected)


def test_detections_can_be_json_and_are_not_changed():
    dataset = Rectangles(IMAGES)
    detections = evaluation.coco_detections(0, perfect([dataset.load_image(0)])[0])
    before = json.dumps(detections)
    evaluation.coco_summary(evaluation.coco_ground_truth(dataset), detections, "segm")
    evaluation.coco_summary(evaluation.coco_ground_truth(dataset), detections, "bbox")
    assert json.dumps(detections) == before
    assert detections[0]["bbox"] == [5, 5, 10, 10] and detections[0]["category_id"] == 1


def test_ground_truth_fields():
    coco = evaluation.coco_ground_truth(Rectangles([[(-2, (1, 2, 11, 22))], [(1, (0, 0, 3, 4))]]))
    first, second = coco.dataset["annotations"]
    assert first["id"] == 1 and first["iscrowd"] == 1 and first["category_id"] == 2
    assert first["bbox"] == [2, 1, 20, 10] and first["area"] == 200 and second["iscrowd"] == 0
    np.testing.assert_array_equal(coco.annToMask(first), rectangles([(1, 2, 11, 22)])[:, :, 0])
    assert coco.dataset["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert coco.getImgIds() == [0, 1]


def test_a_crowd_is_neither_hit_nor_miss():
    images = [[(1, (0, 0, 10, 10)), (-1, (20, 20, 50, 60))]]
    # The second detection lies in the crowd: ignored, not a false alarm.
    found = result([(0, 0, 10, 10), (25, 25, 35, 35)], [1, 1], [0.5, 0.9])
    ground_truth = evaluation.coco_ground_truth(Rectangles(images))
    detections = evaluation.coco_detections(0, found)
    for iou_type in ("bbox", "segm"):
        assert evaluation.coco_summary(ground_truth, detections, iou_type)["AP"] == pytest.approx(1)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_perfect_detections_have_ap_1(batch_size):
    sizes = []

    def detect(images):
        sizes.append(len(images))
        return perfect(images)

    summary = evaluation.evaluate_detections(
        Rectangles(IMAGES), detect, batch_size=batch_size, progress=False
    )
    for kind in ("bbox", "segm"):
        assert summary[kind]["AP"] == pytest.approx(1)
        assert summary[kind]["AR_100"] == pytest.approx(1)
        assert summary[kind]["AP_per_class"] == pytest.approx({"cat": 1, "dog": 1})
        assert np.isnan(summary[kind]["AP_medium"])  # every object is smaller than 32 x 32
    assert summary["images"] == 3 and sum(sizes) == 3 and max(sizes) == batch_size
    assert summary["images_per_second"] == pytest.approx(3 / summary["seconds"])


def test_shifted_boxes_have_the_ap_of_their_iou():
    # 10 x 10 shifted by 1 px: IoU 90 / 110 = 0.818, a hit at 0.5 .. 0.8, seven of ten thresholds.
    def shifted(images):
        answers = [IMAGES[image[0, 0, 0]] for image in images]
        return [
            result(
                [(y1, x1 + 1, y2, x2 + 1) for _, (y1, x1, y2, x2) in a],
                [c for c, _ in a],
                [0.9] * len(a),
            )
            for a in answers
        ]

    summary = evaluation.evaluate_detections(Rectangles(IMAGES), shifted, progress=False)
    for kind in ("bbox", "segm"):
        assert summary[kind]["AP"] == pytest.approx(0.7)
        assert summary[kind]["AP75"] == pytest.approx(1)


def test_a_better_false_alarm_halves_the_precision():
    ground_truth = evaluation.coco_ground_truth(Rectangles([[(1, (0, 0, 10, 10))]]))
    found = result([(0, 0, 10, 10), (40, 40, 50, 50)], [1, 1], [0.5, 0.9])
    summary = evaluation.coco_summary(ground_truth, evaluation.coco_detections(0, found), "bbox")
    assert summary["AP"] == pytest.approx(0.5)
    assert summary["AP_per_class"]["cat"] == pytest.approx(0.5)
    assert np.isnan(summary["AP_per_class"]["dog"])


def test_nothing_detected_is_zero_and_nothing_there_is_nan():
    def nothing(images):
        return [result([], [], []) for _ in images]

    summary = evaluation.evaluate_detections(Rectangles(IMAGES), nothing, progress=False)
    assert summary["bbox"]["AP"] == 0 and summary["segm"]["AR_100"] == 0
    empty = evaluation.coco_ground_truth(Rectangles([[], []]))
    found = evaluation.coco_detections(1, result([(0, 0, 10, 10)], [1], [0.9]))
    for detections in (found, []):
        summary = evaluation.coco_summary(empty, detections, "segm")
        assert np.isnan(summary["AP"]) and np.isnan(summary["AP_per_class"]["cat"])


def test_image_ids_limit_the_evaluation():
    asked = []

    def detect(images):
        asked.extend(int(image[0, 0, 0]) for image in images)
        return perfect(images)

    dataset = Rectangles(IMAGES)
    summary = evaluation.evaluate_detections(dataset, detect, image_ids=[1], progress=False)
    assert asked == [1] and summary["images"] == 1
    assert np.isnan(summary["bbox"]["AP_per_class"]["dog"])
    everything = evaluation.coco_ground_truth(dataset)
    detections = evaluation.coco_detections(1, perfect([dataset.load_image(1)])[0])
    assert evaluation.coco_summary(everything, detections, "bbox")["AP"] < 1
    assert evaluation.coco_summary(everything, detections, "bbox", [1])["AP"] == pytest.approx(1)


def test_results_without_masks_give_boxes_only():
    def boxes_only(images):
        return [{k: v for k, v in r.items() if k != "masks"} for r in perfect(images)]

    summary = evaluation.evaluate_detections(Rectangles(IMAGES), boxes_only, progress=False)
    assert summary["bbox"]["AP"] == pytest.approx(1) and "segm" not in summary
    assert "segm" not in evaluation.format_summary(summary)


def test_progress_goes_to_stderr(capsys):
    evaluation.evaluate_detections(Rectangles(IMAGES), perfect, progress=True)
    streams = capsys.readouterr()
    assert streams.out == "" and "Detecting" in streams.err


def test_progress_without_rich(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    evaluation.evaluate_detections(Rectangles(IMAGES), perfect, progress=True)
    streams = capsys.readouterr()
    assert streams.out == "" and "Detecting: 2" in streams.err


def test_format_summary_is_aligned():
    summary = evaluation.evaluate_detections(Rectangles(IMAGES), perfect, progress=False)
    lines = evaluation.format_summary(summary).splitlines()
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[0].split() == ["bbox", "segm"]
    assert lines[1].split() == ["AP", "1.000", "1.000"]
    assert ["AP_medium", "-", "-"] in [line.split() for line in lines]
    assert ["AP", "dog", "1.000", "1.000"] in [line.split() for line in lines]
    assert lines[-1].startswith("3 images")


def test_same_class_name_twice():
    dataset = Rectangles(IMAGES, names=("cat", "cat"))
    summary = evaluation.evaluate_detections(dataset, perfect, progress=False)
    assert list(summary["bbox"]["AP_per_class"]) == ["cat (1)", "cat (2)"]


def test_empty_masks_are_counted_and_told():
    class WithEmpty(Rectangles):
        def load_mask(self, image_id):
            masks, class_ids = super().load_mask(image_id)
            masks[..., :1] = False
            return masks, class_ids

    with pytest.warns(UserWarning, match="2 objects have an empty mask"):
        coco = evaluation.coco_ground_truth(WithEmpty(IMAGES))
    assert len(coco.dataset["annotations"]) == 1


def test_wrong_input_is_named():
    dataset = Rectangles(IMAGES)
    ground_truth = evaluation.coco_ground_truth(dataset)
    found = result([(0, 0, 10, 10)], [1], [0.9])
    with pytest.raises(ValueError, match=r"image_ids \[7\] are not .* ids are 0..2"):
        evaluation.coco_ground_truth(dataset, [0, 7])
    with pytest.raises(ValueError, match="no images"):
        evaluation.coco_ground_truth(Rectangles([]))
    with pytest.raises(ValueError, match=r"load_mask\(0\) returned class id 3"):
        evaluation.coco_ground_truth(Rectangles([[(3, (0, 0, 5, 5))]]))
    with pytest.raises(ValueError, match="must be 'bbox' or 'segm'"):
        evaluation.coco_summary(ground_truth, [], "mask")
    with pytest.raises(ValueError, match=r"images \[9\] that the ground truth lacks"):
        evaluation.coco_summary(ground_truth, evaluation.coco_detections(9, found), "bbox")
    with pytest.raises(ValueError, match="'scores': 0"):
        evaluation.coco_detections(0, {**found, "scores": np.zeros(0)})
    with pytest.raises(ValueError, match="needs a segmentation in every detection"):
        evaluation.coco_summary(
            ground_truth, evaluation.coco_detections(0, {**found, "masks": None}), "segm"
        )
    with pytest.raises(ValueError, match="returned 1 results for 2 images"):
        evaluation.evaluate_detections(
            dataset, lambda images: [found], batch_size=2, progress=False
        )
    with pytest.raises(ValueError, match="batch_size is 0"):
        evaluation.evaluate_detections(dataset, perfect, batch_size=0, progress=False)
    with pytest.warns(UserWarning, match=r"category ids \[5\]"):
        evaluation.coco_summary(
            ground_truth, evaluation.coco_detections(0, {**found, "class_ids": [5]}), "bbox"
        )


def test_masks_and_class_ids_must_agree():
    class Wrong(Rectangles):
        def load_mask(self, image_id):
            masks, class_ids = super().load_mask(image_id)
            return masks, class_ids[:1]

    with pytest.raises(ValueError, match=r"load_mask\(0\) returned 2 masks .* but 1 class ids"):
        evaluation.coco_ground_truth(Wrong(IMAGES))


def test_boxes_come_from_the_masks():
    dataset = Rectangles(IMAGES)
    masks, _ = dataset.load_mask(0)
    boxes = [a["bbox"] for a in evaluation.coco_ground_truth(dataset, [0]).dataset["annotations"]]
    expected = [[x1, y1, x2 - x1, y2 - y1] for y1, x1, y2, x2 in extract_bboxes(masks).tolist()]
    assert boxes == expected


def test_boxes_count_before_they_are_rounded():
    """An IoU of 0.912 reaches nine of COCO's ten thresholds."""
    dataset = Rectangles([[(1, (5, 5, 15, 15))]])
    found = result([(5, 5, 15, 15)], [1], [0.9])
    exact = Result(**found, boxes=np.array([(5.45, 5.45, 15, 15)], np.float32))
    for given, ap in ((found, 1.0), (Result(**found), 1.0), (exact, 0.9)):
        summary = evaluation.evaluate_detections(
            dataset, lambda images, given=given: [given], progress=False
        )
        assert summary["bbox"]["AP"] == pytest.approx(ap)
        assert summary["segm"]["AP"] == pytest.approx(1)
    (detection,) = evaluation.coco_detections(0, exact)
    (annotation,) = evaluation.coco_ground_truth(dataset).dataset["annotations"]
    ious = overlaps([annotation], [detection], "bbox")
    np.testing.assert_allclose(ious, [[9.55**2 / 100]], rtol=1e-6)

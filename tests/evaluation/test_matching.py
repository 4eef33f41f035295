"""Matching at one IoU: cases by hand, COCOeval's own matches, F1 by trying every threshold."""

import contextlib
import io

import numpy as np
import pytest

from mrcnn.data.coco_json import (
    coco_categories,
    coco_detections,
    coco_index,
    image_objects,
    number_annotations,
)
from mrcnn.evaluation.coco_matching import evaluate_image
from mrcnn.evaluation.matching import (
    FALSE_ALARM,
    IN_CROWD,
    best_f1,
    confused_pairs,
    confusion_of,
    match,
    overlaps,
    precision_recall_f1,
    taken_for_another,
)
from tests.evaluation.scenes import Rectangles, noisy_images_and_results, result


def scene(objects, found):
    """Annotations of [(class id, box)] and detections of [(class id, box, score)]."""
    dataset = Rectangles([objects], names=("cat", "dog", "cow"))
    _, annotations, _ = image_objects(dataset, 0, *dataset.load_mask(0))
    boxes, class_ids, scores = (
        [box for _, box, _ in found],
        [c for c, _, _ in found],
        [s for *_, s in found],
    )
    return annotations, coco_detections(0, result(boxes, class_ids, scores))


def matched(objects, found, threshold=0.5, iou_type="segm"):
    annotations, detections = scene(objects, found)
    ious = overlaps(annotations, detections, iou_type)
    return annotations, detections, ious, match(ious, detections, annotations, threshold)


def confusion(objects, found, threshold=0.5):
    annotations, detections, ious, met = matched(objects, found, threshold)
    pairs = taken_for_another(ious, annotations, met, threshold)
    return confusion_of(detections, annotations, met, pairs, 4)


A, B, C = (0, 0, 10, 10), (20, 20, 30, 30), (40, 40, 50, 50)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_the_better_score_chooses_first(iou_type):
    objects = [(1, A)]
    # the exact one scores less: it is a false alarm although it overlaps more
    *_, met = matched(objects, [(1, A, 0.6), (1, (0, 0, 10, 8), 0.9)], iou_type=iou_type)
    assert met.tolist() == [FALSE_ALARM, 0]
    *_, met = matched(
        objects, [(1, A, 0.6), (1, (0, 0, 10, 8), 0.9)], threshold=0.9, iou_type=iou_type
    )
    assert met.tolist() == [0, FALSE_ALARM]


def test_only_objects_of_the_class_and_the_nearest():
    objects = [(2, A), (1, (0, 0, 10, 8)), (1, (0, 0, 10, 9))]
    *_, met = matched(objects, [(1, A, 0.9), (1, A, 0.8), (1, A, 0.7)])
    assert met.tolist() == [2, 1, FALSE_ALARM]


def test_an_iou_at_the_threshold_is_a_match():
    *_, met = matched([(1, A)], [(1, (0, 0, 10, 5), 0.9)], threshold=0.5)
    assert met.tolist() == [0]
    *_, met = matched([(1, A)], [(1, A, 0.9)], threshold=1.0)
    assert met.tolist() == [0]
    *_, met = matched([(1, A)], [(1, (0, 0, 10, 9), 0.9)], threshold=1.0)
    assert met.tolist() == [FALSE_ALARM]


def test_a_crowd_takes_any_number_of_its_class():
    objects = [(-1, (0, 0, 50, 60)), (1, A)]
    *_, met = matched(objects, [(1, A, 0.5), (1, B, 0.9), (1, C, 0.8), (2, B, 0.9)])
    assert met.tolist() == [1, IN_CROWD, IN_CROWD, FALSE_ALARM]


def test_confusion_by_hand():
    objects = [(1, A), (2, B), (3, C), (1, (0, 40, 10, 50)), (-2, (50, 0, 60, 30))]
    # nothing there
    found = [
        (1, A, 0.9),  # right
        (1, A, 0.8),  # found already: a false alarm
        (3, B, 0.7),  # a dog taken for a cow
        (2, (40, 40, 50, 44), 0.9),  # too small for the cow: false alarm, and the cow is missed
        (2, (50, 5, 60, 15), 0.9),  # in the crowd
        (1, (20, 60, 30, 70), 0.9),
    ]
    expected = np.zeros((4, 4), int)
    expected[1, 1] = 1
    expected[0, 1] = 2
    expected[2, 3] = 1
    expected[0, 2] = 1
    expected[3, 0] = 1
    expected[1, 0] = 1
    counted = confusion(objects, found)
    np.testing.assert_array_equal(counted, expected)
    assert confused_pairs(counted) == [(2, 3, 1)]


def test_of_two_wrong_classes_the_nearer_is_the_confusion():
    counted = confusion([(1, A)], [(2, (0, 0, 10, 9), 0.6), (3, (0, 0, 10, 8), 0.9)])
    assert counted[1, 2] == 1 and counted[0, 3] == 1 and counted.sum() == 2


def test_an_object_found_by_its_class_is_nobody_elses():
    counted = confusion([(1, A)], [(2, A, 0.9), (1, (0, 0, 10, 6), 0.1)])
    assert counted[1, 1] == 1 and counted[0, 2] == 1 and counted.sum() == 2


@pytest.mark.parametrize("objects, found", [([], []), ([(1, A)], []), ([], [(2, A, 0.9)])])
def test_confusion_of_nothing(objects, found):
    counted = confusion(objects, found)
    assert counted.sum() == len(objects) + len(found)
    assert counted[1, 0] == len(objects) and counted[0, 2] == len(found)


@pytest.mark.parametrize("seed", range(4))
def test_every_object_and_detection_is_counted_once(seed):
    images, results = noisy_images_and_results(seed)
    for objects, found in zip(images, results):
        annotations, detections, ious, met = matched(
            objects,
            list(
                zip(found["class_ids"].tolist(), found["rois"].tolist(), found["scores"].tolist())
            ),
        )
        counted = confusion_of(
            detections, annotations, met, taken_for_another(ious, annotations, met, 0.5), 4
        )
        assert counted[1:].sum() == sum(class_id > 0 for class_id, _ in objects)
        assert counted[:, 1:].sum() == len(detections) - np.count_nonzero(met == IN_CROWD)
        assert np.trace(counted) == np.count_nonzero(met >= 0) and counted[0, 0] == 0


def test_precision_recall_f1_by_hand():
    assert precision_recall_f1(3, 1, 6) == pytest.approx(
        {"precision": 0.75, "recall": 0.5, "F1": 0.6}
    )
    nothing = precision_recall_f1(0, 0, 0)
    assert all(np.isnan(value) for value in nothing.values())
    missed = precision_recall_f1(0, 0, 2)
    assert np.isnan(missed["precision"]) and missed["recall"] == 0 and missed["F1"] == 0


@pytest.mark.parametrize("seed", range(6))
def test_best_f1_is_the_best_of_all_thresholds(seed):
    rng = np.random.RandomState(seed)
    scores = rng.randint(0, 8, 30) / 8  # equal ones are taken together
    hits = rng.rand(30) < scores
    objects = int(hits.sum()) + 4
    tried = {
        s: precision_recall_f1(
            np.sum(hits & (scores >= s)), np.sum(~hits & (scores >= s)), objects
        )["F1"]
        for s in scores
    }
    f1, score = best_f1(scores, hits, objects)
    assert f1 == pytest.approx(max(tried.values())) and tried[score] == pytest.approx(f1)


def test_best_f1_of_nothing():
    assert all(map(np.isnan, best_f1([], [], 0))) and all(map(np.isnan, best_f1([0.5], [False], 0)))
    f1, score = best_f1([], [], 3)
    assert f1 == 0 and np.isnan(score)


# === The same as pycocotools ===


def random_scenes(seed, objects, detections, classes, images=4):
    """An index of ground truth and detections with crowds, near hits and equal scores."""
    rng = np.random.RandomState(seed)
    dataset = Rectangles([[] for _ in range(images)], names=[f"c{i}" for i in range(classes)])
    annotations, found = [], []
    for image_id in range(images):
        corners = rng.randint(0, 40, (objects, 2))
        boxes = np.concatenate(
            [corners, np.minimum(corners + rng.randint(3, 50, (objects, 2)), [60, 80])], axis=1
        )
        class_ids = rng.randint(1, classes + 1, objects) * np.where(rng.rand(objects) < 0.15, -1, 1)
        truth = result(boxes.tolist(), class_ids, np.zeros(objects))
        annotations += image_objects(dataset, image_id, truth["masks"], class_ids)[1]
        near = (
            boxes[rng.randint(0, max(objects, 1), detections)]
            if objects
            else np.tile([[5, 5, 30, 30]], (detections, 1))
        )
        near = near + rng.randint(-2, 3, near.shape)
        near[:, :2] = np.maximum(near[:, :2], 0)
        near[:, 2:] = np.maximum(np.minimum(near[:, 2:], [60, 80]), near[:, :2] + 1)
        found += coco_detections(
            image_id,
            result(
                near.tolist(),
                rng.randint(1, classes + 1, detections),
                rng.randint(1, 10, detections) / 10,
            ),
        )
    number_annotations(annotations)
    images = [{"id": image_id, "height": 60, "width": 80} for image_id in range(images)]
    return coco_index(images, annotations, coco_categories(dataset)), found


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize(
    "objects, detections, classes", [(12, 20, 1), (8, 12, 3), (0, 5, 2), (5, 0, 2), (3, 130, 1)]
)
def test_fast_matching_is_that_of_pycocotools(iou_type, objects, detections, classes):
    from pycocotools.cocoeval import COCOeval

    truth, found = random_scenes(objects, objects, detections, classes)
    with contextlib.redirect_stdout(io.StringIO()):
        index = (
            truth.loadRes(
                [
                    {
                        key: value
                        for key, value in one.items()
                        if iou_type == "bbox" or key != "bbox"
                    }
                    for one in found
                ]
            )
            if found
            else coco_index(truth.dataset["images"], [], truth.dataset["categories"])
        )
        slow = COCOeval(truth, index, iou_type)
        slow.evaluate()
    compared = 0
    for expected in filter(None, slow.evalImgs):
        fast = evaluate_image(
            slow,
            expected["image_id"],
            expected["category_id"],
            expected["aRng"],
            expected["maxDet"],
        )
        assert fast.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(fast[key], value, err_msg=key)
        compared += 1
    assert compared
    assert evaluate_image(slow, 99, 1, [0, 1e10], 100) is None


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_match_is_that_of_pycocotools(iou_type, seed):
    from pycocotools.cocoeval import COCOeval

    truth, found = random_scenes(seed, 10, 25, 2)
    with contextlib.redirect_stdout(io.StringIO()):
        slow = COCOeval(truth, truth.loadRes([dict(one) for one in found]), iou_type)
        slow.evaluate()
    for index, threshold in ((0, 0.5), (5, 0.75)):
        hits = crowd = 0
        for image_id in truth.getImgIds():
            annotations = truth.imgToAnns[image_id]
            detections = [one for one in found if one["image_id"] == image_id]
            met = match(
                overlaps(annotations, detections, iou_type), detections, annotations, threshold
            )
            hits += np.count_nonzero(met >= 0)
            crowd += np.count_nonzero(met == IN_CROWD)
        everything = [e for e in slow.evalImgs if e and e["aRng"] == [0, 1e10]]
        assert hits == sum(
            np.count_nonzero(e["dtMatches"][index] * ~e["dtIgnore"][index]) for e in everything
        )
        assert crowd == sum(np.count_nonzero(e["dtIgnore"][index]) for e in everything)
    assert hits and crowd

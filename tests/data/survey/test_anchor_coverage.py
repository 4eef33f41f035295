"""Coverage of objects by anchors, against all anchors one by one."""

import numpy as np
import pytest

from mrcnn.data.survey.anchor_coverage import (
    best_anchor_iou,
    box_sides,
    coverage_by_size,
    load_objects,
    suggest_anchors,
)
from mrcnn.ops.anchors import pyramid_anchors
from mrcnn.ops.boxes_np import compute_overlaps
from tests.tiny import tiny_config


def random_boxes(count, size=64, seed=0):
    rng = np.random.RandomState(seed)
    corner = rng.randint(0, size - 2, (count, 2))
    return np.hstack([corner, corner + 1 + rng.randint(0, size - 2 - corner)]).astype(np.int32)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"RPN_ANCHOR_STRIDE": 2},
        {"RPN_ANCHOR_STRIDE": 3},
        {"RPN_ANCHOR_RATIOS": [1]},
        {"RPN_ANCHORS_ROUNDED": True, "RPN_ANCHOR_SCALES": (5, 9, 13, 21, 33)},
        {"IMAGE_MIN_DIM": 192, "IMAGE_MAX_DIM": 192, "RPN_ANCHOR_RATIOS": [0.3, 0.9, 2.5, 4]},
    ],
)
def test_the_nearest_anchor_is_the_best_of_all(fields):
    config = tiny_config(**fields)
    boxes = np.vstack(
        [random_boxes(200, config.IMAGE_MAX_DIM), [[-9, -5, 20, 15], [60, 60, 64, 64]]]
    )
    expected = compute_overlaps(pyramid_anchors(config, config.IMAGE_SHAPE), boxes).max(axis=0)
    np.testing.assert_allclose(best_anchor_iou(boxes, config), expected, atol=1e-12)


def test_other_shape_scales_and_ratios():
    boxes, shape, scales, ratios = (
        random_boxes(50, 96),
        (64, 128, 3),
        (5, 9, 20, 40, 90),
        [0.7, 1.4],
    )
    other = tiny_config(RPN_ANCHOR_SCALES=scales, RPN_ANCHOR_RATIOS=ratios)
    expected = compute_overlaps(pyramid_anchors(other, shape), boxes).max(axis=0)
    np.testing.assert_allclose(
        best_anchor_iou(boxes, tiny_config(), shape, scales, ratios), expected, atol=1e-12
    )


def test_strides_from_sizes():
    """P6 has centres 61 px apart along y, and 48 along x."""
    config, shape = tiny_config(RPN_STRIDES_FROM_SIZES=True), (800, 96, 3)
    boxes = random_boxes(200, 800) * np.array([1, 0.12, 1, 0.12])
    expected = compute_overlaps(pyramid_anchors(config, shape), boxes).max(axis=0)
    np.testing.assert_allclose(best_anchor_iou(boxes, config, shape), expected, atol=1e-12)
    assert not np.allclose(best_anchor_iou(boxes, tiny_config(), shape), expected)


def test_no_boxes_and_boxes_without_area():
    assert best_anchor_iou(np.zeros((0, 4)), tiny_config()).shape == (0,)
    assert best_anchor_iou([[5, 5, 5, 9], [0, 0, 0, 0]], tiny_config()).tolist() == [0, 0]
    assert coverage_by_size(np.zeros((0, 4)), [], tiny_config()) == []
    with pytest.raises(ValueError, match="at least one box with an area"):
        suggest_anchors([[5, 5, 5, 9]], tiny_config())


def test_coverage_by_size():
    boxes = [[0, 0, 8, 8], [0, 0, 16, 16], [0, 0, 8, 32], [0, 0, 100, 100]]  # sides 8, 16, 16, 100
    assert box_sides(boxes).tolist() == [8, 16, 16, 100]
    small, middle, large, whole = coverage_by_size(
        boxes, np.array([0.2, 0.7, 0.4, 0.5]), tiny_config(), sides=(0, 16, 32, 64, 128)
    )
    assert small == (0, 16, 1, pytest.approx(0.2), 0, 0, 1)
    assert middle == (16, 32, 2, pytest.approx(0.55), 0.5, 0.5, 0)
    assert large == (64, 128, 1, pytest.approx(0.5), 0, 1, 0)
    assert whole == (0, 128, 4, pytest.approx(0.45), 0.25, 0.5, 0.25)
    config = tiny_config(RPN_POSITIVE_IOU=0.4, RPN_NEGATIVE_IOU=0.1)
    whole = coverage_by_size(boxes, np.array([0.2, 0.7, 0.4, 0.5]), config)[-1]
    assert (whole.positive, whole.half, whole.missed) == (0.75, 0.5, 0)


def test_an_overlap_counts_up_to_the_one_that_makes_a_positive():
    boxes = boxes_of([12, 40], [1], 30, image=64)
    found = [suggest_anchors(boxes, tiny_config(RPN_POSITIVE_IOU=iou)) for iou in (0.7, 0.4)]
    assert [suggestion.limit for suggestion in found] == [0.7, 0.4]
    assert "at most 0.4)" in str(found[1]) and found[1].after <= 0.4 < found[0].after


def test_objects_are_those_of_training(rectangles):
    config = tiny_config(IMAGE_MIN_DIM=128, IMAGE_MAX_DIM=128)  # twice the size of the images
    objects = load_objects(rectangles, config)
    expected = [
        (class_id, image_id, [y1 * 2, x1 * 2, y2 * 2, x2 * 2])
        for image_id in rectangles.image_ids
        for class_id, y1, x1, y2, x2 in rectangles.image_info[image_id]["objects"]
    ]
    assert objects.class_ids.tolist() == [class_id for class_id, _, _ in expected]
    assert objects.image_ids.tolist() == [image_id for _, image_id, _ in expected]
    np.testing.assert_array_equal(objects.boxes, [box for _, _, box in expected])
    assert load_objects(rectangles, config, [2]).image_ids.tolist() == [2, 2]
    assert load_objects(rectangles, config, []).boxes.shape == (0, 4)


def test_crowds_are_no_objects(rectangles, monkeypatch):
    masks, class_ids = rectangles.load_mask(2)
    monkeypatch.setattr(rectangles, "load_mask", lambda image_id: (masks, -class_ids))
    assert len(load_objects(rectangles, tiny_config(), [2]).boxes) == 0


def boxes_of(sides, ratios, count, image=1024, seed=0):
    """Boxes anywhere in the image with sides and ratios drawn around the given ones."""
    rng = np.random.RandomState(seed)
    side = rng.choice(sides, count) * rng.uniform(0.9, 1.1, count)
    root = np.sqrt(rng.choice(ratios, count) * rng.uniform(0.9, 1.1, count))
    size = np.stack([side / root, side * root], axis=1)
    corner = rng.uniform(0, 1, (count, 2)) * (image - size)
    return np.hstack([corner, corner + size])


def test_suggestion_finds_the_anchors_that_objects_were_drawn_from():
    config = tiny_config(
        IMAGE_MIN_DIM=1024, IMAGE_MAX_DIM=1024, RPN_ANCHOR_SCALES=(32, 64, 128, 256, 512)
    )
    boxes = boxes_of((10, 20, 40, 80, 160), (0.25, 1.0, 4.0), 600)
    found = suggest_anchors(boxes, config)
    np.testing.assert_allclose(found.scales, (10, 20, 40, 80, 160), rtol=0.2)
    np.testing.assert_allclose(found.ratios, (0.25, 1, 4), rtol=0.2)
    better = tiny_config(
        IMAGE_MIN_DIM=1024,
        IMAGE_MAX_DIM=1024,
        RPN_ANCHOR_SCALES=found.scales,
        RPN_ANCHOR_RATIOS=list(found.ratios),
    )
    before, after = best_anchor_iou(boxes, config).mean(), best_anchor_iou(boxes, better).mean()
    assert after > before + 0.15 and found.after > found.before + 0.15
    assert f"RPN_ANCHOR_SCALES = {found.scales}" in str(found) and "->" in str(found)
    assert suggest_anchors(boxes, better).scales == found.scales  # what is good stays


def test_few_small_objects_are_not_given_up():
    config = tiny_config(
        IMAGE_MIN_DIM=512, IMAGE_MAX_DIM=512, RPN_ANCHOR_SCALES=(64, 80, 96, 128, 160)
    )
    boxes = np.vstack([boxes_of((100,), (1,), 400, 512), boxes_of((8,), (1,), 40, 512)])
    found = suggest_anchors(boxes, config)
    assert best_anchor_iou(boxes[400:], config).max() < 0.02
    assert (
        best_anchor_iou(boxes[400:], config, scales=found.scales, ratios=found.ratios).mean() > 0.4
    )


@pytest.mark.parametrize("count", [1, 2, 5])
def test_another_number_of_ratios(count):
    found = suggest_anchors(random_boxes(40), tiny_config(), ratio_count=count)
    assert len(found.ratios) == count and list(found.ratios) == sorted(found.ratios)
    assert len(found.scales) == 5 and list(found.scales) == sorted(set(found.scales))


def test_one_object_is_enough():
    box = np.array([[10, 10, 30, 30]])
    found = suggest_anchors(box, tiny_config())
    # a config with them is a valid one
    config = tiny_config(RPN_ANCHOR_SCALES=found.scales, RPN_ANCHOR_RATIOS=list(found.ratios))
    assert best_anchor_iou(box, config)[0] >= best_anchor_iou(box, tiny_config())[0]

"""Random regions and the NumPy targets of the heads, against slow twins."""

from types import SimpleNamespace

import numpy as np
import pytest
from skimage.transform import resize

from mrcnn.data.random_rois import build_detection_targets, generate_random_rois

STD = np.array([0.1, 0.1, 0.2, 0.2])


def config(rois=20, mini=False, ratio=0.33, shape=(28, 28), iou=0.5):
    return SimpleNamespace(
        TRAIN_ROIS_PER_IMAGE=rois,
        ROI_POSITIVE_RATIO=ratio,
        ROI_POSITIVE_IOU=iou,
        NUM_CLASSES=4,
        BBOX_STD_DEV=STD,
        MASK_SHAPE=list(shape),
        USE_MINI_MASK=mini,
        IMAGE_SHAPE=np.array([80, 100, 3]),
    )


def ellipses(boxes, height=80, width=100):
    ys, xs = np.mgrid[:height, :width] + 0.5
    masks = np.zeros((height, width, len(boxes)), dtype=bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[:, :, i] = (
            ((ys - (y1 + y2) / 2) / max(y2 - y1, 1) * 2) ** 2
            + ((xs - (x1 + x2) / 2) / max(x2 - x1, 1) * 2) ** 2
        ) < 1
    return masks


BOXES = np.array([[10, 10, 40, 50], [30, 60, 70, 90], [50, 5, 76, 35]], dtype=np.int32)
IDS = np.array([2, 1, 3], dtype=np.int32)


def iou(a, b):
    height = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    width = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - height * width
    return height * width / union if union else 0.0


# === generate_random_rois ===


def original_order_twin(shape, count, boxes):
    """One region at a time from the same stream of random numbers."""
    out = []
    share = int(0.9 * count / len(boxes))
    ranges = [
        (
            (max(2 * y1 - y2, 0), min(2 * y2 - y1, shape[0])),
            (max(2 * x1 - x2, 0), min(2 * x2 - x1, shape[1])),
            share,
        )
        for y1, x1, y2, x2 in boxes.tolist()
    ]
    ranges.append(((0, shape[0]), (0, shape[1]), count - share * len(boxes)))
    for rows, columns, number in ranges:
        while True:
            ys = [sorted(p) for p in np.random.randint(*rows, (2 * number, 2)) if p[0] != p[1]]
            xs = [sorted(p) for p in np.random.randint(*columns, (2 * number, 2)) if p[0] != p[1]]
            if len(ys) >= number and len(xs) >= number:
                break
        out += [[y[0], x[0], y[1], x[1]] for y, x in zip(ys[:number], xs[:number])]
    return np.array(out)


@pytest.mark.parametrize("count", [1, 2, 7, 60, 500])
def test_random_rois_equal_twin(count):
    np.random.seed(11)
    rois = generate_random_rois((80, 100, 3), count, IDS, BOXES)
    np.random.seed(11)
    np.testing.assert_array_equal(rois, original_order_twin((80, 100), count, BOXES))
    assert rois.dtype == np.int32 and rois.shape == (count, 4)
    assert (rois[:, 2] > rois[:, 0]).all() and (rois[:, 3] > rois[:, 1]).all()
    assert (rois >= 0).all() and (rois[:, 2] < 80).all() and (rois[:, 3] < 100).all()


def test_random_rois_none():
    assert generate_random_rois((80, 100, 3), 0, IDS, BOXES).shape == (0, 4)


def test_random_rois_surround_their_object():
    rois = generate_random_rois((80, 100, 3), 400, IDS, BOXES, np.random.RandomState(0))
    for i, (y1, x1, y2, x2) in enumerate(BOXES):
        near = rois[120 * i : 120 * (i + 1)]
        assert near[:, 0].min() >= y1 - (y2 - y1) and near[:, 2].max() < y2 + (y2 - y1)
        assert near[:, 1].min() >= x1 - (x2 - x1) and near[:, 3].max() < x2 + (x2 - x1)


@pytest.mark.parametrize(
    "boxes",
    [
        np.zeros((0, 4), dtype=np.int32),
        np.array([[5, 5, 5, 9]]),  # no area
        np.array([[0, 0, 1, 1]]),  # one pixel in a corner
        np.array([[79, 99, 80, 100]]),
        np.array([[200, 200, 240, 240]]),  # outside the image
        np.array([[-20, -20, 400, 400]]),  # larger than it
    ],
)
def test_random_rois_end_for_odd_objects(boxes):
    rois = generate_random_rois(
        (80, 100, 3), 50, np.ones(len(boxes)), boxes, np.random.RandomState(1)
    )
    assert rois.shape == (50, 4)
    assert ((rois[:, 2:] - rois[:, :2]) >= 1).all() and rois.min() >= 0
    assert rois[:, 2].max() < 80 and rois[:, 3].max() < 100


def test_random_rois_smallest_image():
    rois = generate_random_rois((2, 2, 3), 9, [1], np.array([[0, 0, 1, 1]]))
    np.testing.assert_array_equal(rois, np.tile([0, 0, 1, 1], (9, 1)))
    with pytest.raises(ValueError, match="1 x 50"):
        generate_random_rois((1, 50, 3), 9, [1], np.array([[0, 0, 1, 9]]))


# === build_detection_targets ===


def check_targets(rois, ids, bboxes, masks, gt_ids, gt_boxes, full_masks, settings):
    """Every row from the definition: which object, class, deltas and mask."""
    shape = tuple(settings.MASK_SHAPE)
    for row, roi in enumerate(rois):
        ious = [iou(roi, box) for box in gt_boxes]
        best = int(np.argmax(ious)) if ious else -1
        positive = bool(ious) and ious[best] > 0.5
        if not positive:
            assert ids[row] == 0 and not bboxes[row].any() and not masks[row].any()
            continue
        assert ids[row] == gt_ids[best]
        others = np.arange(settings.NUM_CLASSES) != ids[row]
        assert not bboxes[row, others].any() and not masks[row][..., others].any()
        size, gt = roi[2:] - roi[:2], gt_boxes[best]
        gt_size = gt[2:] - gt[:2]
        shift = ((gt[:2] + gt_size / 2) - (roi[:2] + size / 2)) / size
        expected = np.concatenate([shift, np.log(gt_size / size)]) / STD
        np.testing.assert_allclose(bboxes[row, ids[row]], expected, rtol=1e-5, atol=1e-5)
        part = full_masks[roi[0] : roi[2], roi[1] : roi[3], best].astype(float)
        cut = resize(part, shape, order=1, mode="constant", anti_aliasing=False)
        np.testing.assert_allclose(masks[row, :, :, ids[row]], cut, atol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 20, 60])
@pytest.mark.parametrize("shape", [(28, 28), (14, 20)])
def test_targets_row_by_row(count, shape):
    settings, masks = config(count, shape=shape), ellipses(BOXES)
    proposals = generate_random_rois((80, 100, 3), 400, IDS, BOXES, np.random.RandomState(2))
    out = build_detection_targets(proposals, IDS, BOXES, masks, settings, np.random.RandomState(3))
    _rois, ids, _bboxes, _roi_masks = out
    assert [array.shape for array in out] == [
        (count, 4),
        (count,),
        (count, 4, 4),
        (count, *shape, 4),
    ]
    assert [array.dtype for array in out] == [np.int32, np.int32, np.float32, np.float32]
    found = sum(max(iou(roi, box) for box in BOXES) > 0.5 for roi in proposals)
    assert found == 11
    positives = min(int(count * 0.33), found)
    assert (ids[:positives] > 0).all() and not ids[positives:].any()
    check_targets(*out, IDS, BOXES, masks, settings)


def test_targets_from_mini_masks():
    """A box-shaped mask survives the mini mask without loss, so both ways must agree."""
    full = np.zeros((80, 100, 3), dtype=bool)
    for i, (y1, x1, y2, x2) in enumerate(BOXES):
        full[y1:y2, x1:x2, i] = True
    proposals = generate_random_rois((80, 100, 3), 400, IDS, BOXES, np.random.RandomState(2))
    mini = np.ones((56, 56, 3), dtype=bool)
    with_mini = build_detection_targets(
        proposals, IDS, BOXES, mini, config(mini=True), np.random.RandomState(3)
    )
    without = build_detection_targets(
        proposals, IDS, BOXES, full, config(), np.random.RandomState(3)
    )
    assert without[3].any()
    for a, b in zip(with_mini[:3], without[:3]):
        np.testing.assert_array_equal(a, b)
    # Enlarging 56 x 56 does not happen here, so nothing is lost at the borders.
    np.testing.assert_array_equal(with_mini[3], without[3])


def test_random_choices_in_the_original_order():
    """Positives, then negatives, then the fill, each by one np.random.choice."""
    positive = np.tile(BOXES[0], (5, 1))
    negative = np.tile([0, 60, 20, 99], (4, 1)) + np.arange(4)[:, np.newaxis]
    proposals = np.concatenate([negative, positive]).astype(np.int32)
    proposals[4:, 0] += np.arange(5, dtype=np.int32)  # distinct, IoU still above 0.5
    np.random.seed(4)
    rois, ids, _, _ = build_detection_targets(proposals, IDS, BOXES, ellipses(BOXES), config(10))
    np.random.seed(4)
    first = np.random.choice(np.arange(4, 9), 3, replace=False)
    second = np.arange(4)
    third = np.random.choice(second, 3, replace=True)
    np.testing.assert_array_equal(rois, proposals[np.concatenate([first, second, third])])
    np.testing.assert_array_equal(ids, [2] * 3 + [0] * 7)


def test_exactly_half_is_neither_positive_nor_negative():
    boxes = np.array([[0, 0, 20, 20]], dtype=np.int32)
    proposals = np.array([[0, 0, 10, 20]], dtype=np.int32)
    rois, ids, bboxes, masks = build_detection_targets(
        proposals, np.array([1]), boxes, ellipses(boxes), config(6)
    )
    assert not rois.any() and not ids.any() and not bboxes.any() and not masks.any()


@pytest.mark.parametrize("iou, expected", [(0.4, 1), (0.6, 0)])
def test_the_overlap_that_makes_a_positive_is_a_setting(iou, expected):
    boxes = np.array([[0, 0, 20, 20]], dtype=np.int32)
    proposals = np.array([[0, 0, 10, 20]], dtype=np.int32)
    rois, ids, _, _ = build_detection_targets(
        proposals, np.array([1]), boxes, ellipses(boxes), config(6, iou=iou)
    )
    assert ids[0] == expected and rois[0].tolist() == [0, 0, 10, 20]


def test_no_negative_pads_with_zeros():
    proposals = np.tile(BOXES[1], (30, 1))
    rois, ids, bboxes, masks = build_detection_targets(
        proposals, IDS, BOXES, ellipses(BOXES), config(20)
    )
    np.testing.assert_array_equal(rois, np.vstack([np.tile(BOXES[1], (6, 1)), np.zeros((14, 4))]))
    np.testing.assert_array_equal(ids, [1] * 6 + [0] * 14)
    assert not bboxes.any() and not masks[6:].any() and masks[:6, ..., 1].any()


def test_no_positive_repeats_negatives():
    proposals = np.array([[0, 60, 20, 99], [2, 60, 20, 99]], dtype=np.int32)
    rois, ids, bboxes, masks = build_detection_targets(
        proposals, IDS, BOXES, ellipses(BOXES), config(9)
    )
    assert not ids.any() and not bboxes.any() and not masks.any()
    assert (rois[:, 0] <= 2).all() and (rois[:, 3] == 99).all()


@pytest.mark.parametrize("gt_ids", [[], [-1, -2, -1], [0, 0, 0]])
def test_without_objects_all_is_background(gt_ids):
    gt_ids = np.array(gt_ids, dtype=np.int32)
    boxes = BOXES[: len(gt_ids)]
    proposals = generate_random_rois((80, 100, 3), 30, gt_ids, boxes, np.random.RandomState(0))
    rois, ids, bboxes, masks = build_detection_targets(
        proposals, gt_ids, boxes, ellipses(boxes), config(20)
    )
    assert not ids.any() and not bboxes.any() and not masks.any()
    assert (rois[:, 2] > rois[:, 0]).all()


def test_no_regions_at_all():
    rois, ids, bboxes, masks = build_detection_targets(
        np.zeros((0, 4), dtype=np.int32), IDS, BOXES, ellipses(BOXES), config(5)
    )
    assert rois.shape == (5, 4) and not rois.any() and not ids.any()
    assert not bboxes.any() and not masks.any()


def test_crowds_and_objects_without_area_are_left_out():
    ids = np.array([-1, 1, 3, 2], dtype=np.int32)
    boxes = np.array([[10, 10, 40, 50], [30, 60, 30, 90], [50, 5, 76, 35], [4, 4, 4, 4]])
    proposals = np.array([[10, 10, 40, 50], [50, 5, 76, 35], [4, 4, 4, 4]], dtype=np.int32)
    rois, found, bboxes, _ = build_detection_targets(
        proposals, ids, boxes, ellipses(boxes), config(6)
    )
    assert found[0] == 3 and not found[1:].any()
    np.testing.assert_array_equal(rois[0], [50, 5, 76, 35])
    assert np.isfinite(bboxes).all()


def test_float_regions_of_less_than_a_pixel():
    boxes = np.array([[10, 10, 11, 11]], dtype=np.int32)
    proposals = np.array([[10.05, 10.05, 10.95, 10.95]])
    rois, ids, bboxes, masks = build_detection_targets(
        proposals, np.array([1]), boxes, ellipses(boxes), config(3, ratio=1.0)
    )
    assert ids[0] == 1 and rois.dtype == np.float64
    assert not masks.any() and np.isfinite(bboxes).all() and bboxes[0, 1].any()


def test_regions_that_begin_outside_the_image():
    """Their mask is cut at the image's edge, not counted from its other end."""
    boxes = np.array([[0, 0, 30, 30]], dtype=np.int32)
    masks = np.zeros((80, 100, 1), dtype=bool)
    masks[:15, :30, 0] = True
    proposals = np.array([[-4, -4, 30, 30]], dtype=np.int32)
    out = build_detection_targets(
        proposals, np.array([1]), boxes, masks, config(3, ratio=1.0, shape=(30, 30))
    )
    np.testing.assert_allclose(out[3][0, :, :, 1], masks[:30, :30, 0], atol=1e-6)

"""Unmolding: detections into the images' pixels."""

import numpy as np
import pytest

from mrcnn.data.resize import resize
from mrcnn.inference.unmold import results, unmold_detections, unmold_own_masks
from mrcnn.ops.boxes_np import norm_boxes

RNG = np.random.RandomState(0)


def detections_of(boxes, class_ids, rows):
    """Random scores; zeros after the last."""
    detections = np.zeros((rows, 6), np.float32)
    detections[: len(boxes)] = np.column_stack(
        [boxes, class_ids, np.sort(RNG.rand(len(boxes)))[::-1]]
    )
    return detections


def random_boxes(count, window=(0, 0, 1, 1)):
    low, high = np.array(window[:2]), np.array(window[2:])
    corners = np.sort(RNG.uniform(0, 1, (count, 2, 2)), axis=1)
    return (low + corners * (high - low)).reshape(count, 4)


def slow_unmold(detections, masks, original, molded, window):
    """One detection at a time, in pixels throughout."""
    found = []
    for row, mask in zip(detections.astype(np.float64), masks):
        if row[4] == 0:
            break
        sides = []
        for axis, value in zip((0, 1, 0, 1), row[:4]):
            shift = 0 if len(sides) < 2 else 1  # y2 and x2 lie one pixel further
            start, end = (
                window[axis] / (molded[axis] - 1),
                (window[axis + 2] - 1) / (molded[axis] - 1),
            )
            part = (value - start) / (end - start)
            sides.append(int(np.around(part * (original[axis] - 1) + shift)))
        y1, x1, y2, x2 = sides
        if y2 <= y1 or x2 <= x1:
            continue
        whole = np.zeros(original[:2], bool)
        probability = resize(mask[:, :, int(row[4])], (y2 - y1, x2 - x1))
        for y in range(y1, y2):
            for x in range(x1, x2):
                whole[y, x] = probability[y - y1, x - x1] >= 0.5
        found.append((sides, int(row[4]), row[5], whole))
    return found


@pytest.mark.parametrize(
    "original, molded, window",
    [
        ((40, 60, 3), (64, 64, 3), (11, 0, 53, 64)),
        ((90, 50), (128, 64, 3), (0, 0, 128, 64)),
        ((64, 64, 3), (64, 64, 3), (0, 0, 64, 64)),
    ],
)
def test_unmold_against_a_slow_version(original, molded, window):
    inside = (
        window[0] / (molded[0] - 1),
        window[1] / (molded[1] - 1),
        (window[2] - 1) / (molded[0] - 1),
        (window[3] - 1) / (molded[1] - 1),
    )
    boxes = random_boxes(7, inside)
    boxes[2, 2] = boxes[2, 0] - 0.02  # turned over: no area
    detections = detections_of(boxes, [1, 2, 1, 2, 2, 1, 1], rows=9)
    masks = RNG.rand(9, 6, 6, 3).astype(np.float32)
    rois, class_ids, scores, full = unmold_detections(detections, masks, original, molded, window)
    expected = slow_unmold(detections, masks, original, molded, window)
    assert len(rois) == len(expected) == 6
    assert (rois.dtype, class_ids.dtype, scores.dtype, full.dtype) == (
        np.int32,
        np.int32,
        np.float32,
        bool,
    )
    assert full.shape == (*original[:2], 6)
    for index, (sides, class_id, score, whole) in enumerate(expected):
        assert rois[index].tolist() == sides and class_ids[index] == class_id
        assert scores[index] == np.float32(score)
        np.testing.assert_array_equal(full[..., index], whole)
    assert 0 < full.mean() < 1


@pytest.mark.parametrize(
    "original, molded, window",
    [((1, 64), (64, 64, 3), (31, 0, 32, 64)), ((90, 1), (64, 64, 3), (0, 31, 64, 32))],
)
def test_unmold_where_one_pixel_of_the_molded_image_is_no_padding(original, molded, window):
    detections = np.zeros((2, 6), np.float32)
    detections[0] = *norm_boxes(np.array([window]), molded[:2])[0], 1, 0.9
    with np.errstate(all="raise"):
        rois, class_ids, _, masks = unmold_detections(
            detections, np.ones((2, 6, 6, 3)), original, molded, window
        )
    assert rois.tolist() == [[0, 0, *original]] and class_ids.tolist() == [1] and masks.all()


def test_the_first_row_of_class_0_ends_the_list():
    detections = detections_of(np.tile([0.1, 0.1, 0.9, 0.9], (4, 1)), [1, 2, 0, 1], rows=4)
    rois, *_ = unmold_detections(
        detections, np.ones((4, 2, 2, 3)), (64, 64), (64, 64), (0, 0, 64, 64)
    )
    assert len(rois) == 2


def test_a_full_list_needs_no_end():
    boxes = np.tile([0.1, 0.1, 0.9, 0.9], (3, 1))
    _rois, class_ids, _, masks = unmold_detections(
        detections_of(boxes, [1, 2, 1], rows=3),
        np.ones((3, 2, 2, 3)),
        (64, 64),
        (64, 64),
        (0, 0, 64, 64),
    )
    assert class_ids.tolist() == [1, 2, 1] and masks.shape == (64, 64, 3)


@pytest.mark.parametrize("boxes", [[], [(0.5, 0.5, 0.5, 0.4)]])
def test_nothing_detected_is_as_in_the_original(boxes):
    rois, class_ids, scores, masks = unmold_detections(
        detections_of(np.reshape(boxes, (-1, 4)), [1] * len(boxes), rows=3),
        np.ones((3, 2, 2, 3), np.float32),
        (40, 50, 3),
        (64, 64, 3),
        (0, 0, 64, 64),
    )
    assert (rois.shape, rois.dtype) == ((0, 4), np.int32)
    assert (class_ids.shape, class_ids.dtype) == ((0,), np.int32)
    assert (scores.shape, scores.dtype) == ((0,), np.float32)
    assert (masks.shape, masks.dtype) == ((40, 50, 0), np.float64)


def own(detections, masks):
    """Of masks of all classes those of each detection's own."""
    return np.stack([mask[:, :, int(class_id)] for mask, class_id in zip(masks, detections[:, 4])])


@pytest.mark.parametrize("class_ids", [[1, 2, 1, 2], [2, 1, 0, 1], [0, 0, 0, 0], [1], []])
@pytest.mark.parametrize("window", [(0, 0, 64, 64), (8, 0, 56, 64)])
def test_own_masks_are_unmolded_as_those_of_all_classes(class_ids, window):
    boxes = random_boxes(len(class_ids), (np.array(window) - [0, 0, 1, 1]) / 63)
    boxes[:1, 2] = boxes[:1, 0] - 0.1  # no area
    detections, masks = (
        detections_of(boxes, class_ids, rows=5),
        RNG.rand(5, 6, 6, 3).astype(np.float32),
    )
    expected = unmold_detections(detections, masks, (40, 60, 3), (64, 64, 3), window)
    found = unmold_own_masks(detections, own(detections, masks), (40, 60, 3), (64, 64, 3), window)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert len(found[0]) == max(([*class_ids, 0]).index(0) - 1, 0)


def test_results_are_per_image():
    detections = np.stack(
        [
            detections_of(random_boxes(2), [1, 2], 3),
            detections_of(random_boxes(3, (8 / 63, 0, 55 / 63, 1)), [1, 1, 2], 3),
        ]
    )
    masks = RNG.rand(2, 3, 4, 4, 3)
    windows = [(0, 0, 64, 64), (8, 0, 56, 64)]
    found = results(
        detections,
        [own(*image) for image in zip(detections, masks)],
        [(64, 64, 3), (30, 40, 3)],
        (64, 64, 3),
        windows,
    )
    for index, original in enumerate([(64, 64, 3), (30, 40, 3)]):
        expected = unmold_detections(
            detections[index], masks[index], original, (64, 64, 3), windows[index]
        )
        for key, value in zip(("rois", "class_ids", "scores", "masks"), expected, strict=True):
            np.testing.assert_array_equal(found[index][key], value)

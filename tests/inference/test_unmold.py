"""Unmolding: detections into the images' pixels."""

import os

import numpy as np
import pytest

from mrcnn.data.resize import resize
from mrcnn.inference.unmold import results, unmold, unmold_detections
from mrcnn.ops.boxes_np import norm_boxes
from tests.data import torchvision_inputs as inputs
from tests.paths import ROOT

RNG = np.random.RandomState(0)
FOUND = np.load(os.path.join(ROOT, "tests", "data", "torchvision_images.npz"))
SCENES = {name: arrays for name, *arrays in inputs.scenes()}


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
    found = unmold(detections, own(detections, masks), (40, 60, 3), (64, 64, 3), window)[:4]
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


# === Boxes before they are rounded, and torchvision's way ===


def as_detections(boxes, scores):
    return np.column_stack([boxes, np.ones(len(boxes)), scores]).astype(np.float32)


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(
    "original, molded, window",
    [
        ((40, 60, 3), (64, 64, 3), (11, 0, 53, 64)),
        ((91, 53), (128, 64, 3), (0, 0, 120, 51)),
        ((1, 9), (32, 64), (0, 0, 4, 40)),
    ],
)
@pytest.mark.parametrize("paste", ["resize", "padded"])
def test_boxes_are_what_the_rois_are_rounded_from(shift, original, molded, window, paste):
    """In pixels throughout, one at a time."""
    sides = np.array([molded[0] - shift, molded[1] - shift] * 2)
    offset = np.array([0, 0, shift, shift])
    inside = (np.array(window) - offset) / sides
    normalised = np.concatenate([random_boxes(20, inside), [inside]])
    normalised[0, 2:] = normalised[0, :2] + 1e-4  # less than a pixel
    masks = RNG.rand(21, 5, 5).astype(np.float32)
    found = unmold(
        as_detections(normalised, np.ones(21)), masks, original, molded, window, shift, paste
    )
    expected = []
    for box in normalised.astype(np.float32).astype(float):
        pixels = []
        for axis, value in zip((0, 1, 0, 1), box):
            last = 0 if len(pixels) < 2 else shift
            start, end = window[axis], window[axis + 2] - shift
            part = (value * (molded[axis] - shift) - start) / max(end - start, 1)
            pixels.append(part * (original[axis] - shift) + last)
        rounded = np.around(pixels)
        if paste == "padded" or (rounded[2:] > rounded[:2]).all():
            expected.append(pixels)
    assert len(found.boxes) == len(expected) >= 10 * (paste == "padded")
    assert found.boxes.dtype == np.float32 and found.rois.dtype == np.int32
    np.testing.assert_allclose(found.boxes, np.reshape(expected, (-1, 4)), atol=2e-4)
    sure = np.abs(np.reshape(expected, (-1, 4)) % 1 - 0.5).min(axis=1, initial=1) > 1e-3
    wide = (np.around(expected)[:, 2:] > np.around(expected)[:, :2]).all(axis=1) & sure
    np.testing.assert_array_equal(found.rois[wide], np.around(expected)[wide])
    assert found.masks.shape == (*original[:2], len(expected))


def test_all_of_the_image_is_all_of_it():
    for shift in (0, 1):
        window = (0, 0, 42, 61)
        box = (np.array(window) - [0, 0, shift, shift]) / ([64 - shift] * 4)
        found = unmold(
            as_detections([box], [0.5]),
            np.ones((1, 28, 28), np.float32),
            (427, 640, 3),
            (64, 64, 3),
            window,
            shift,
            "padded",
        )
        np.testing.assert_allclose(found.boxes, [(0, 0, 427, 640)], atol=1e-3)
        assert found.rois.tolist() == [[0, 0, 427, 640]]


def test_padded_keeps_boxes_of_less_than_a_pixel_and_rounds_them_to_one():
    boxes = [(0.2, 0.3, 0.201, 0.301), (0.999, 0.999, 1, 1), (0.5, 0, 0.5, 0.4), (0, 0, 0, 0)]
    found = unmold(
        as_detections(boxes, [0.9, 0.8, 0.7, 0.6]),
        np.ones((4, 28, 28), np.float32),
        (50, 60, 3),
        (64, 64, 3),
        (0, 0, 64, 64),
        0,
        "padded",
    )
    assert found.rois.tolist() == [
        [10, 18, 11, 19],
        [49, 59, 50, 60],
        [25, 0, 26, 24],
        [0, 0, 1, 1],
    ]
    np.testing.assert_allclose(found.boxes[0], [10, 18, 10.05, 18.06], atol=1e-4)
    assert found.masks.shape == (50, 60, 4)


@pytest.mark.parametrize("name", SCENES)
def test_boxes_and_masks_are_torchvisions(name):
    image, _, boxes, masks = SCENES[name]
    size, molded = FOUND[f"{name}_size"], FOUND[f"{name}_image"].shape
    normalised = boxes * np.tile(size, 2) / np.tile(molded[:2], 2)
    found = unmold(
        as_detections(normalised, np.linspace(0.9, 0.1, 9)),
        masks,
        image.shape,
        molded,
        (0, 0, *size),
        0,
        "padded",
    )
    np.testing.assert_allclose(found.boxes, FOUND[f"{name}_boxes"], atol=1e-4)
    expected = np.unpackbits(FOUND[f"{name}_pasted"], count=9 * image[..., 0].size)
    expected = expected.reshape(9, *image.shape[:2]).transpose(1, 2, 0)
    # the last digits of a corner may take it to the next pixel
    assert np.count_nonzero((found.masks != expected).any(axis=(0, 1))) <= 1
    rounded = np.around(FOUND[f"{name}_boxes"])
    wide = (rounded[:, 2:] > rounded[:, :2]).all(axis=1)
    np.testing.assert_array_equal(found.rois[wide], rounded[wide])
    assert wide[0] and len(found.rois) == 9


@pytest.mark.parametrize("paste", ["resize", "padded"])
def test_nothing_at_all(paste):
    found = unmold(
        np.zeros((3, 6), np.float32),
        np.zeros((3, 28, 28), np.float32),
        (20, 30, 3),
        (64, 64, 3),
        (0, 0, 64, 64),
        0,
        paste,
    )
    assert found.rois.shape == found.boxes.shape == (0, 4) and found.masks.shape == (20, 30, 0)
    assert found.boxes.dtype == np.float32 and found.rois.dtype == np.int32


def test_results_have_the_boxes():
    detections = as_detections(random_boxes(3), [0.9, 0.8, 0.7])
    masks = RNG.rand(3, 4, 4).astype(np.float32)
    shapes = (30, 40, 3), (64, 64, 3), (0, 0, 64, 64)
    (result,) = results([detections], [masks], [shapes[0]], shapes[1], [shapes[2]])
    expected = unmold(detections, masks, *shapes)
    np.testing.assert_array_equal(result.boxes, expected.boxes)
    np.testing.assert_array_equal(result["rois"], expected.rois)
    assert (result.boxes != result["rois"]).any()

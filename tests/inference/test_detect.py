"""Molding and unmolding: images into batches, detections into the images' pixels."""

import numpy as np
import pytest

from mrcnn.data.resize import resize
from mrcnn.inference.detect import (
    LimitReached,
    batches_of_one_shape,
    detect,
    mold,
    mold_inputs,
    results,
    unmold_detections,
    unmold_own_masks,
    warn_of_limit,
)
from mrcnn.ops.boxes_np import norm_boxes
from tests.tiny import image, tiny_config

RNG = np.random.RandomState(0)


# === Molding ===


def test_mold_square():
    config = tiny_config()
    picture = image(32, 16)
    molded, meta, window = mold(picture, config)
    # not by 4 to a shorter side of 64: the longer one would pass 64; by 2, padded left and right
    assert molded.shape == (64, 64, 3) and window == (0, 16, 64, 48)
    np.testing.assert_array_equal(molded[:, :16], np.broadcast_to(-config.MEAN_PIXEL, (64, 16, 3)))
    np.testing.assert_allclose(
        molded[10:50, 20:44].mean(), (picture[5:25, 2:14] - config.MEAN_PIXEL).mean(), atol=3
    )
    np.testing.assert_array_equal(meta, [0, 32, 16, 3, 64, 64, 3, 0, 16, 64, 48, 2, 0, 0, 0])


@pytest.mark.parametrize(
    "mode, size, shape",
    [
        ("pad64", (70, 130), (128, 192)),
        ("none", (64, 128), (64, 128)),
        ("square", (70, 130), (64, 64)),
    ],
)
def test_mold_modes(mode, size, shape):
    molded, meta, window = mold(image(*size), tiny_config(IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=0))
    assert molded.shape[:2] == shape and tuple(meta[4:6]) == shape
    assert tuple(meta[7:11]) == tuple(window)


def test_images_of_few_bits_are_molded_in_their_range():
    picture = image(64, 64)
    deep = np.rint(picture * (4095 / 255)).astype(np.uint16)
    plain = mold(picture, tiny_config())
    for given, one in zip(mold(deep, tiny_config(IMAGE_RANGE=(0, 4095))), plain):
        np.testing.assert_array_equal(given, one)


def test_sides_that_do_not_halve_six_times():
    with pytest.raises(ValueError, match=r"'none'.*\(64, 100\).*multiples of 64.*pad64"):
        mold(image(64, 100), tiny_config(IMAGE_RESIZE_MODE="none"))


def test_random_crops_are_for_training():
    with pytest.raises(ValueError, match="'crop'.*random part.*'square' or 'pad64'"):
        mold(image(64, 64), tiny_config(IMAGE_RESIZE_MODE="crop"))


def test_mold_inputs_of_one_size():
    config = tiny_config()
    pictures = [image(64, 64), image(30, 50, 1)]
    molded, metas, windows = mold_inputs(pictures, config)
    for index, picture in enumerate(pictures):
        for found, expected in zip((molded, metas, windows), mold(picture, config)):
            np.testing.assert_array_equal(found[index], expected)


def test_mold_inputs_of_several_sizes():
    with pytest.raises(ValueError, match=r"'pad64'.*\(64, 64, 3\), \(64, 128, 3\).*one size"):
        mold_inputs([image(64, 64), image(64, 128)], tiny_config(IMAGE_RESIZE_MODE="pad64"))


def test_mold_inputs_of_nothing():
    with pytest.raises(ValueError, match="no image was given"):
        mold_inputs([], tiny_config())


# === Unmolding ===


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


# === Batches ===


def test_batches_of_one_shape():
    shapes = [(64, 64), (64, 128), (64, 64), (64, 64), (64, 128), (128, 64)]
    images = [np.zeros(shape) for shape in shapes]
    assert list(batches_of_one_shape(images, 2)) == [[0, 2], [3], [1, 4], [5]]
    assert list(batches_of_one_shape([], 2)) == []


# === The limit ===


def predict_rows(scores):
    """A network of 4 rows that finds objects of these scores, class 1 and 2 in turn."""

    def predict(batch, metas, min_confidence=None):
        found = np.zeros((len(batch), 4, 6), np.float32)
        for row, score in enumerate(scores):
            found[:, row] = (0.1, 0.1 + 0.2 * row, 0.9, 0.2 + 0.2 * row, 1 + row % 2, score)
        return found, np.ones((len(batch), 4, 28, 28), np.float32)

    return predict


@pytest.mark.parametrize(
    "scores, options, at_limit",
    [
        ([0.9, 0.8, 0.7], {}, False),
        ([0.9, 0.8, 0.7, 0.6], {}, True),
        ([0.9, 0.8, 0.7, 0.6], {"min_confidence": 0.6}, True),
        # those cut off have lower scores still
        ([0.9, 0.8, 0.7, 0.6], {"min_confidence": 0.65}, False),
        # of the class there may be more
        ([0.9, 0.8, 0.7, 0.6], {"classes": 1}, True),
    ],
)
def test_whether_more_may_be_cut_off(scores, options, at_limit):
    config = tiny_config(DETECTION_MAX_INSTANCES=4, DETECTION_MIN_CONFIDENCE=0.5)
    found = detect(predict_rows(np.float32(scores)), [image(64, 64)] * 3, config, **options)
    assert [one.at_limit for one in found] == [at_limit] * 3
    assert [one.copy().at_limit for one in found] == [at_limit] * 3
    assert [one.filter(min_confidence=0.85).at_limit for one in found] == [at_limit] * 3
    if at_limit:
        found[0].at_limit = False
        with pytest.warns(LimitReached, match="on 2 of 3 images .*DETECTION_MAX_INSTANCES = 4"):
            warn_of_limit(found, config)
    else:
        warn_of_limit(found, config)  # which says nothing

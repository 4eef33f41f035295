"""RPN targets against the original's numbers and against a slow pure Python twin."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.data.rpn_targets import build_rpn_targets
from mrcnn.ops.anchors import generate_pyramid_anchors
from tests.paths import PARITY as PARITY_FOLDER

PARITY = PARITY_FOLDER / "targets_rpn.npz"
STD = np.array([0.1, 0.1, 0.2, 0.2])
EVERYTHING = 10**6  # more than there are anchors: nothing is left out


def config(count=256, positive=0.7, negative=0.3, ignore_crossing=False):
    return SimpleNamespace(
        RPN_TRAIN_ANCHORS_PER_IMAGE=count,
        RPN_BBOX_STD_DEV=STD,
        RPN_POSITIVE_IOU=positive,
        RPN_NEGATIVE_IOU=negative,
        RPN_IGNORE_CROSSING=ignore_crossing,
    )


def anchors_of(side, scales=(32, 64, 128, 256, 512)):
    strides = [4, 8, 16, 32, 64][: len(scales)]
    shapes = [(math.ceil(side / stride),) * 2 for stride in strides]
    return generate_pyramid_anchors(scales, [0.5, 1, 2], shapes, strides, 1)


def random_objects(seed, count, side, smallest=3):
    random = np.random.RandomState(seed)
    corners = random.randint(0, side - smallest, (count, 2))
    sizes = random.randint(smallest, side // 2, (count, 2))
    boxes = np.hstack([corners, np.minimum(corners + sizes, side)]).astype(np.int32)
    return random.randint(1, 4, count).astype(np.int32), boxes


def slow_iou(a, b):
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    if height <= 0 or width <= 0:
        return 0.0
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return height * width / (area - height * width)


def slow_targets(anchors, class_ids, boxes):
    """Matches and deltas of all positives, from the definition, without sampling."""
    anchors, boxes = anchors.tolist(), boxes.tolist()
    usable = [i for i, box in enumerate(boxes) if box[2] > box[0] and box[3] > box[1]]
    objects = [boxes[i] for i in usable if class_ids[i] >= 0]
    crowds = [boxes[i] for i in usable if class_ids[i] < 0]
    table = [[slow_iou(anchor, box) for box in objects] for anchor in anchors]
    match = []
    for anchor, ious in zip(anchors, table):
        best = max(ious, default=0.0)
        touches_crowd = any(slow_iou(anchor, crowd) >= 0.001 for crowd in crowds)
        match.append(1 if best >= 0.7 else -1 if best < 0.3 and not touches_crowd else 0)
    for column in range(len(objects)):
        best = max(ious[column] for ious in table)
        for row, ious in enumerate(table):
            if ious[column] == best > 0:
                match[row] = 1
    deltas = []
    for anchor, ious, value in zip(anchors, table, match):
        if value == 1:
            box = objects[ious.index(max(ious))]
            height, width = anchor[2] - anchor[0], anchor[3] - anchor[1]
            deltas.append(
                [
                    ((box[0] + box[2]) - (anchor[0] + anchor[2])) / 2 / height / 0.1,
                    ((box[1] + box[3]) - (anchor[1] + anchor[3])) / 2 / width / 0.1,
                    math.log((box[2] - box[0]) / height) / 0.2,
                    math.log((box[3] - box[1]) / width) / 0.2,
                ]
            )
    return np.array(match), np.array(deltas).reshape(-1, 4)


def test_parity_with_sampling():
    golden = np.load(PARITY)
    np.random.seed(123)
    match, bbox = build_rpn_targets(
        (1024, 1024, 3), anchors_of(1024), golden["gt_class_ids"], golden["gt_boxes"], config()
    )
    assert match.dtype == np.int32 and match.shape == (261888,)
    np.testing.assert_array_equal(np.flatnonzero(match == 1), golden["positive"])
    np.testing.assert_array_equal(np.flatnonzero(match == -1), golden["negative"])
    # The last bit differs: NumPy's log of an array is not its log of a scalar.
    np.testing.assert_allclose(bbox, golden["rpn_bbox"], rtol=0, atol=5e-16 / 0.2)


def test_parity_without_sampling():
    golden = np.load(PARITY)
    match, bbox = build_rpn_targets(
        (1024, 1024, 3),
        anchors_of(1024),
        golden["gt_class_ids"],
        golden["gt_boxes"],
        config(EVERYTHING),
    )
    np.testing.assert_array_equal(np.flatnonzero(match == 1), golden["all_positive"])
    assert np.count_nonzero(match == -1) == golden["all_negative_count"]
    packed = np.packbits(np.concatenate([match == 1, match == -1]))
    np.testing.assert_array_equal(packed, golden["all_match_packed2bit"])
    count = len(golden["all_positive"])
    np.testing.assert_allclose(bbox[:count], golden["all_bbox"], rtol=0, atol=5e-16 / 0.2)
    assert not bbox[count:].any()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["objects", "crowds", "degenerate"])
def test_equals_slow_twin(seed, kind):
    anchors = anchors_of(64, (8, 16, 32))
    class_ids, boxes = random_objects(seed, 7, 64)
    if kind == "crowds":
        class_ids[::2] *= -1
    if kind == "degenerate":
        boxes[1, 2] = boxes[1, 0]
        boxes[4] = 0
    match, bbox = build_rpn_targets((64, 64, 3), anchors, class_ids, boxes, config(EVERYTHING))
    slow_match, slow_bbox = slow_targets(anchors, class_ids, boxes)
    assert (slow_match == 1).any() and (slow_match == 0).any()
    np.testing.assert_array_equal(match, slow_match)
    np.testing.assert_allclose(bbox[: len(slow_bbox)], slow_bbox, rtol=1e-12, atol=1e-12)
    assert not bbox[len(slow_bbox) :].any()


@pytest.mark.parametrize("seed", range(3))
def test_anchors_that_cross_the_border_are_as_if_there_were_none(seed):
    """An object at the border has its best anchors among the others."""
    anchors = anchors_of(64, (8, 16, 32))
    class_ids, boxes = random_objects(seed, 7, 64)
    boxes[0] = 0, 0, 20, 9
    class_ids[1] *= -1
    height, width = 60, 64
    within = (anchors[:, :2] >= 0).all(axis=1) & (anchors[:, 2:] <= [height, width]).all(axis=1)
    match, bbox = build_rpn_targets(
        (height, width, 3), anchors, class_ids, boxes, config(EVERYTHING, ignore_crossing=True)
    )
    alone, of_alone = slow_targets(anchors[within], class_ids, boxes)
    assert 0 < within.sum() < len(anchors) and not match[~within].any()
    np.testing.assert_array_equal(match[within], alone)
    np.testing.assert_allclose(bbox[: len(of_alone)], of_alone, rtol=1e-12, atol=1e-12)
    assert not bbox[len(of_alone) :].any()


@pytest.mark.parametrize(
    "positive, negative, expected",
    [
        (0.7, 0.3, [1, 0, 0, -1]),
        (0.5, 0.3, [1, 1, 0, -1]),
        (0.5, 0.4, [1, 1, -1, -1]),
        (0.3, 0.0, [1, 1, 1, 0]),
    ],
)
def test_the_overlaps_that_decide_are_settings(positive, negative, expected):
    box = [[0, 0, 10, 10]]
    # 1, .5, .35, .1
    anchors = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 5, 7], [0, 0, 5, 2]])
    match, _ = build_rpn_targets(
        (64, 64, 3), anchors, np.array([1]), np.array(box), config(8, positive, negative)
    )
    assert match.tolist() == expected


def test_crowd_keeps_anchors_from_being_negative():
    anchors = anchors_of(64, (8, 16, 32))
    class_ids, boxes = np.array([1, -2]), np.array([[2, 2, 12, 12], [30, 30, 64, 64]])
    match, _ = build_rpn_targets((64, 64, 3), anchors, class_ids, boxes, config(EVERYTHING))
    inside = (anchors[:, 0] >= 40) & (anchors[:, 1] >= 40)
    assert inside.any() and not match[inside].any()
    without, _ = build_rpn_targets(
        (64, 64, 3), anchors, class_ids[:1], boxes[:1], config(EVERYTHING)
    )
    assert (without[inside] == -1).all()


def test_first_of_two_equally_good_objects_is_the_target():
    anchors = np.array([[16.0, 16.0, 48.0, 48.0]])
    left, right = [16, 12, 48, 44], [16, 20, 48, 52]
    for first, second in ((left, right), (right, left)):
        match, bbox = build_rpn_targets(
            (64, 64, 3), anchors, np.array([1, 2]), np.array([first, second]), config(4)
        )
        assert match.tolist() == [1]
        np.testing.assert_allclose(bbox[0], [0, (first[1] - 16) / 32 / 0.1, 0, 0])


@pytest.mark.parametrize(
    "class_ids, boxes",
    [
        ([], np.zeros((0, 4))),
        ([1], [[10, 10, 10, 40]]),  # no area
        ([1, 2], [[0, 0, 0, 0], [5, 9, 30, 9]]),
        ([2], [[500, 500, 540, 540]]),  # out of reach of every anchor
    ],
)
def test_nothing_to_match_gives_negatives_only(class_ids, boxes):
    anchors = anchors_of(64, (8, 16, 32))
    class_ids, boxes = np.array(class_ids, dtype=np.int32), np.array(boxes)
    match, bbox = build_rpn_targets((64, 64, 3), anchors, class_ids, boxes, config(64))
    assert np.count_nonzero(match == -1) == 64 and np.count_nonzero(match == 1) == 0
    assert bbox.shape == (64, 4) and not bbox.any()


def test_only_a_crowd():
    anchors = anchors_of(64, (8, 16, 32))
    match, bbox = build_rpn_targets(
        (64, 64, 3), anchors, np.array([-1]), np.array([[0, 0, 32, 64]]), config(EVERYTHING)
    )
    assert (match == -1).any() and not (match == 1).any() and not bbox.any()
    assert (match[anchors[:, 0] > 32] == -1).all()


@pytest.mark.parametrize("count", [1, 2, 7, 16, 64])
def test_sampling_limits(count):
    anchors = anchors_of(64, (8, 16, 32))
    class_ids, boxes = random_objects(3, 7, 64)
    everything, _ = build_rpn_targets((64, 64, 3), anchors, class_ids, boxes, config(EVERYTHING))
    match, bbox = build_rpn_targets((64, 64, 3), anchors, class_ids, boxes, config(count))
    positive = min(np.count_nonzero(everything == 1), count // 2)
    assert np.count_nonzero(match == 1) == positive
    assert np.count_nonzero(match == -1) == count - positive
    assert (match[match != 0] == everything[match != 0]).all()
    assert bbox.shape == (count, 4) and bbox[:positive].any(axis=1).all()
    assert not bbox[positive:].any()


def test_rng_decides_and_leaves_the_global_state_alone():
    anchors = anchors_of(64, (8, 16, 32))
    class_ids, boxes = random_objects(3, 7, 64)

    def draw(seed):
        return build_rpn_targets(
            (64, 64, 3), anchors, class_ids, boxes, config(16), np.random.RandomState(seed)
        )[0]

    before = np.random.get_state()[1].copy()
    first, again, other = draw(5), draw(5), draw(6)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.random.seed(5)  # the global state with the same seed draws the same
    match, _ = build_rpn_targets((64, 64, 3), anchors, class_ids, boxes, config(16))
    np.testing.assert_array_equal(match, first)


def test_many_objects_stay_finite():
    anchors = anchors_of(256, (16, 32, 64, 128))
    class_ids, boxes = random_objects(0, 200, 256, smallest=1)
    match, bbox = build_rpn_targets((256, 256, 3), anchors, class_ids, boxes, config())
    assert np.isfinite(bbox).all() and np.count_nonzero(match == 1) == 128


def test_wrong_shapes_are_named():
    anchors = anchors_of(64, (8,))
    with pytest.raises(ValueError, match=r"gt_boxes must be \[count, 4\]"):
        build_rpn_targets((64, 64, 3), anchors, np.array([1]), np.zeros((1, 5)), config())
    with pytest.raises(ValueError, match="one id per box"):
        build_rpn_targets((64, 64, 3), anchors, np.array([1, 2]), np.zeros((1, 4)), config())

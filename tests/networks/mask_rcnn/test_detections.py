"""Detections, against a loop over RoIs."""

import json

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.detections import DetectionLayer, detection_steps, refine_detections
from mrcnn.ops.boxes_np import apply_box_deltas
from tests import twins
from tests.networks import layer_cases as cases
from tests.paths import PARITY as PARITY_FOLDER

STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
WINDOWS = np.array([[0, 0, 1, 1], [0.1, 0, 0.9, 1], [0, 0.25, 1, 0.75]], np.float32)


def material(seed, batch, rois, classes=4):
    random = np.random.RandomState(seed)
    return (
        twins.random_boxes(random, batch, rois, smallest=0.2),
        twins.softmax(random.normal(0, 2, (batch, rois, classes))),
        random.normal(0, 1, (batch, rois, classes, 4)).astype(np.float32),
        WINDOWS[:batch],
    )


@pytest.mark.parametrize(
    "batch, rois, max_instances, confidence, threshold",
    [
        (1, 60, 100, 0.5, 0.3),
        (2, 60, 100, 0.0, 0.5),
        (3, 60, 8, 0.7, 0.3),
        (2, 60, 1, 0.0, 0.3),
        (2, 1, 5, 0.0, 0.3),
    ],
)
def test_against_loops(batch, rois, max_instances, confidence, threshold):
    inputs = material(batch, batch, rois)
    actual = refine_detections(*inputs, max_instances, confidence, threshold, STD_DEV)
    assert actual.dtype == tf.float32 and actual.shape == (batch, max_instances, 6)
    for image in range(batch):
        expected = twins.detections(
            *(part[image] for part in inputs), max_instances, confidence, threshold, STD_DEV
        )
        np.testing.assert_allclose(actual[image], expected, atol=1e-6)


def test_boxes_end_at_the_window():
    rois, probs, deltas, window = material(4, 3, 60)
    boxes = refine_detections(rois, probs, deltas, window, 60, 0, 0.9, STD_DEV).numpy()
    for image, (top, left, bottom, right) in enumerate(WINDOWS):
        found = boxes[image][boxes[image, :, 4] > 0]
        assert len(found)
        assert (found[:, 0] >= top).all() and (found[:, 1] >= left).all()
        assert (found[:, 2] <= bottom).all() and (found[:, 3] <= right).all()


def single(score, class_id=1):
    probs = np.zeros((1, 1, 3), np.float32)
    probs[0, 0, class_id], probs[0, 0, 0 if class_id else 1] = score, 0.1
    return tf.constant([[[0.2, 0.2, 0.6, 0.6]]]), probs, tf.zeros([1, 1, 3, 4]), WINDOWS[:1]


@pytest.mark.parametrize("confidence, expected", [(0.5, 1), (0.51, 0), (0, 1)])
def test_a_score_at_the_least_confidence_counts(confidence, expected):
    found = refine_detections(*single(0.5), 3, confidence, 0.3, STD_DEV)
    assert np.count_nonzero(found.numpy()[0, :, 5]) == expected


def test_background_is_no_detection_at_any_confidence():
    np.testing.assert_array_equal(
        refine_detections(*single(0.9, class_id=0), 3, 0, 0.3, STD_DEV), np.zeros((1, 3, 6))
    )


def test_no_rois():
    found = refine_detections(
        tf.zeros([2, 0, 4]),
        tf.zeros([2, 0, 3]),
        tf.zeros([2, 0, 3, 4]),
        WINDOWS[:2],
        5,
        0.5,
        0.3,
        STD_DEV,
    )
    np.testing.assert_array_equal(found, np.zeros((2, 5, 6)))


def test_every_slot_can_be_filled():
    corners = np.stack(np.meshgrid(np.arange(5), np.arange(4)), axis=-1).reshape(-1, 2) / 10
    rois = np.concatenate([corners, corners + 0.05], axis=1).astype(np.float32)[np.newaxis]
    probs = (
        np.tile(np.float32([0.1, 0.2, 0.7]), (1, 20, 1))
        - np.linspace(0, 0.1, 20, dtype=np.float32)[:, np.newaxis]
    )
    found = refine_detections(
        rois, probs, tf.zeros([1, 20, 3, 4]), WINDOWS[:1], 12, 0.3, 0.3, STD_DEV
    ).numpy()[0]
    np.testing.assert_allclose(found[:, :4], rois[0, :12], atol=1e-7)
    np.testing.assert_array_equal(found[:, 4], 2)
    np.testing.assert_array_equal(found[:, 5], probs[0, :12, 2])


def test_steps_lead_to_the_detections():
    rois, probs, deltas, windows = material(2, 3, 60)
    steps = detection_steps(rois, probs, deltas, windows, 20, 0.6, 0.3, STD_DEV)
    np.testing.assert_array_equal(steps.class_ids, probs.argmax(-1))
    np.testing.assert_array_equal(steps.scores, probs.max(-1))
    np.testing.assert_array_equal(steps.confident, (probs.argmax(-1) > 0) & (probs.max(-1) >= 0.6))
    for image, window in enumerate(windows):
        best = np.take_along_axis(deltas[image], probs[image].argmax(-1)[:, None, None], 1)[:, 0]
        refined = apply_box_deltas(rois[image], best * STD_DEV)
        np.testing.assert_allclose(steps.refined_rois[image], refined, atol=1e-5)
        np.testing.assert_allclose(
            steps.clipped_rois[image],
            np.clip(refined, np.tile(window[:2], 2), np.tile(window[2:], 2)),
            atol=1e-5,
        )
        kept = steps.nms_indices[image].numpy()
        kept = kept[kept >= 0]
        assert len(kept) and steps.confident[image].numpy()[kept].all()
        found = steps.detections[image].numpy()[: len(kept)]
        np.testing.assert_array_equal(found[:, :4], steps.clipped_rois[image].numpy()[kept])
        np.testing.assert_array_equal(found[:, 4], steps.class_ids[image].numpy()[kept])
        np.testing.assert_array_equal(found[:, 5], steps.scores[image].numpy()[kept])
        assert not steps.detections[image, len(kept) :].numpy().any()


# === Every class of a RoI, least size, soft-NMS ===

MANY = pytest.mark.parametrize(
    "options",
    [
        dict(multi_class=True),
        dict(multi_class=True, min_size=30),
        dict(multi_class=False, min_size=30),
        dict(multi_class=True, soft_nms_sigma=0.5),
        dict(multi_class=False, soft_nms_sigma=0.3),
        dict(multi_class=True, min_size=20, soft_nms_sigma=0.5, log_scale_limit=0.1),
        dict(multi_class=False, log_scale_limit=0.1),
    ],
    ids=str,
)


@MANY
@pytest.mark.parametrize(
    "batch, rois, max_instances, confidence",
    [(1, 40, 200, 0.05), (2, 40, 15, 0.0), (3, 40, 1, 0.2), (2, 1, 5, 0.05)],
)
def test_options_against_loops(options, batch, rois, max_instances, confidence):
    inputs = material(batch, batch, rois, classes=5)
    shift = batch % 2
    # more than this image's sides in its windows, so that something is left
    sizes = dict(image_shape=(150, 120, 3), box_shift=shift) if "min_size" in options else {}
    found = refine_detections(
        *inputs, max_instances, confidence, 0.3, STD_DEV, **options, **sizes
    ).numpy()
    assert found.dtype == np.float32 and found.shape == (batch, max_instances, 6)
    least = np.array([options.get("min_size", -np.inf)] * 2)
    for image in range(batch):
        expected = twins.many_detections(
            *(part[image] for part in inputs),
            max_instances,
            confidence,
            0.3,
            STD_DEV,
            multi_class=options["multi_class"],
            min_size=(least - shift) / (np.array([150, 120]) - shift),
            sigma=options.get("soft_nms_sigma", 0),
            limit=options.get("log_scale_limit", np.inf),
        )
        assert rois == 1 or expected.any()
        np.testing.assert_allclose(found[image], expected, atol=2e-6)


def test_every_class_of_a_region_is_detected_with_its_own_box():
    rois = tf.constant([[[0.2, 0.2, 0.6, 0.6]]])
    probs = np.float32([[[0.4, 0.25, 0.3, 0.05]]])
    deltas = np.zeros((1, 1, 4, 4), np.float32)
    deltas[0, 0, :, 0] = [9, 1, -1, 0]  # moved by 0.04 for a unit
    for confidence, count in ((0.3, 1), (0.25, 2), (0.01, 3), (0.31, 0)):
        steps = detection_steps(
            rois, probs, deltas, WINDOWS[:1], 4, confidence, 0.3, STD_DEV, multi_class=True
        )
        expected = np.zeros((4, 6))
        expected[:3] = [
            [0.16, 0.2, 0.56, 0.6, 2, 0.3],
            [0.24, 0.2, 0.64, 0.6, 1, 0.25],
            [0.2, 0.2, 0.6, 0.6, 3, 0.05],
        ]
        expected[count:] = 0
        np.testing.assert_allclose(steps.detections[0], expected, atol=1e-6)


@pytest.mark.parametrize("sigma", [0, 0.5])
def test_steps_of_every_class(sigma):
    rois, probs, deltas, windows = material(2, 3, 20)
    steps = detection_steps(
        rois,
        probs,
        deltas,
        windows,
        15,
        0.2,
        0.3,
        STD_DEV,
        multi_class=True,
        min_size=30,
        image_shape=(200, 200, 3),
        soft_nms_sigma=sigma,
    )
    np.testing.assert_array_equal(steps.class_ids, [[1] * 20 + [2] * 20 + [3] * 20] * 3)
    np.testing.assert_array_equal(steps.scores, np.concatenate(np.moveaxis(probs, 2, 0)[1:], 1))
    for image, window in enumerate(windows):
        for candidate in range(60):
            class_id, roi = 1 + candidate // 20, candidate % 20
            refined = apply_box_deltas(
                rois[image, roi][np.newaxis], deltas[image, roi, class_id][np.newaxis] * STD_DEV
            )[0]
            np.testing.assert_allclose(steps.refined_rois[image, candidate], refined, atol=1e-5)
            box = np.clip(refined, np.tile(window[:2], 2), np.tile(window[2:], 2))
            np.testing.assert_allclose(steps.clipped_rois[image, candidate], box, atol=1e-5)
            sides = (box[2:] - box[:2]) * 199 + 1
            confident = probs[image, roi, class_id] >= 0.2 and (sides >= 30).all()
            assert steps.confident[image, candidate] == confident
        kept = steps.nms_indices[image].numpy()
        kept = kept[kept >= 0]
        assert len(kept) and steps.confident[image].numpy()[kept].all()
        found = steps.detections[image].numpy()[: len(kept)]
        np.testing.assert_array_equal(found[:, :4], steps.clipped_rois[image].numpy()[kept])
        np.testing.assert_array_equal(found[:, 4], steps.class_ids[image].numpy()[kept])
        scores = steps.scores[image].numpy()[kept]
        assert (found[:, 5] <= scores).all() and (found[:, 5] >= 0.2).all()
        assert (found[:, 5] < scores).any() == (sigma > 0)
        assert not steps.detections[image, len(kept) :].numpy().any()


@pytest.mark.parametrize("options", [dict(multi_class=True), dict(soft_nms_sigma=0.5)], ids=str)
def test_padding_is_no_detection_of_any_class(options):
    rois, probs, deltas, windows = material(5, 2, 20)
    rois[0, 15:], rois[1, :] = 0, 0
    probs[0, 15:] = [0, 0.2, 0.3, 0.5]
    found = refine_detections(
        rois, probs, deltas, windows, 60, 0.0, 1.0, STD_DEV, **options
    ).numpy()
    count = 45 if "multi_class" in options else np.count_nonzero(probs[0, :15].argmax(-1))
    assert np.count_nonzero(found[0, :, 4]) == count
    assert not found[1].any()


@MANY
@pytest.mark.parametrize("rois, classes", [(0, 3), (0, 1), (4, 1)])
def test_options_with_nothing_to_detect(options, rois, classes):
    found = refine_detections(
        tf.zeros([2, rois, 4]),
        tf.ones([2, rois, classes]),
        tf.zeros([2, rois, classes, 4]),
        WINDOWS[:2],
        5,
        0.5,
        0.3,
        STD_DEV,
        image_shape=(64, 64, 3),
        **options,
    )
    np.testing.assert_array_equal(found, np.zeros((2, 5, 6)))


def test_ninety_classes_of_a_thousand_regions():
    """All 90,000 candidates take part."""
    inputs = material(0, 1, 1000, classes=91)
    found = refine_detections(*inputs, 100, 0.0, 0.5, STD_DEV, multi_class=True).numpy()[0]
    probs = inputs[1][0, :, 1:]
    assert (np.diff(found[:, 5]) <= 0).all()
    assert found[0, 5] == probs.max()
    # each of the best is detected, or suppressed by a detection of its class
    rois, deltas = np.repeat(inputs[0][0], 91, axis=0), inputs[2][0].reshape(-1, 4) * STD_DEV
    boxes = np.clip(apply_box_deltas(rois, deltas), 0, 1).reshape(1000, 91, 4)
    for row, column in np.argwhere(probs > found[-1, 5]):
        same = found[(found[:, 4] == column + 1) & (found[:, 5] >= probs[row, column])]
        overlaps = [twins.iou(boxes[row, column + 1], box) for box in same[:, :4]]
        assert max(overlaps) > 0.5 - 1e-5


# === DetectionLayer ===

PARITY = np.load(PARITY_FOLDER / "layers_detection.npz")


def settings(**fields):
    return type("Settings", (cases.TinyConfig,), fields)()


@pytest.mark.parametrize(
    "confidence, count, name", [(0.5, 100, "out_05_100"), (0.7, 20, "out_07_20")]
)
def test_detections_are_the_originals(confidence, count, name):
    """Only the deltas of each RoI's best class were kept; all classes have them here."""
    probs, expected = PARITY["probs"], PARITY[name]
    deltas = np.repeat(PARITY["best_deltas"][:, :, np.newaxis], probs.shape[2], axis=2)
    layer = DetectionLayer(
        settings(DETECTION_MIN_CONFIDENCE=confidence, DETECTION_MAX_INSTANCES=count)
    )
    found = layer([PARITY["rois"], probs, deltas, PARITY["meta"]]).numpy()
    assert found.shape == (2, count, 6)
    np.testing.assert_array_equal(found[:, expected.shape[1] :], 0)
    np.testing.assert_allclose(found[:, : expected.shape[1]], expected, atol=1e-6)


@pytest.mark.parametrize(
    "fields",
    [
        dict(),
        dict(DETECTION_MAX_INSTANCES=2),
        dict(DETECTION_MIN_CONFIDENCE=0),
        dict(DETECTION_NMS_THRESHOLD=0.7),
        dict(BBOX_STD_DEV=np.array([0.3, 0.2, 0.1, 0.4])),
        dict(DETECTION_MULTI_CLASS=True),
        dict(DETECTION_MULTI_CLASS=True, DETECTION_MIN_CONFIDENCE=0, DETECTION_MIN_SIZE=12),
        dict(DETECTION_MIN_SIZE=25, BOX_SHIFT=0),
        dict(SOFT_NMS_SIGMA=0.5, DETECTION_MIN_CONFIDENCE=0.2),
        dict(BBOX_LOG_SCALE_LIMIT=0.05),
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_settings_are_those_of_the_config(fields, batch):
    config = settings(**fields)
    rois, probs, deltas, meta = cases.detection_inputs(np.random.RandomState(1), batch, 30)
    # as `cases.meta` has it: rows 10 to 90 of 100, and all 84 columns
    shift, size = config.BOX_SHIFT, np.array([100, 84])
    window = (10 / (100 - shift), 0, (90 - shift) / (100 - shift), 1)
    layer = DetectionLayer(config)
    found = layer([rois, probs, deltas, meta])
    again = DetectionLayer.from_config(json.loads(json.dumps(layer.get_config())))
    np.testing.assert_array_equal(again([rois, probs, deltas, meta]), found)
    for image in range(batch):
        expected = twins.many_detections(
            rois[image],
            probs[image],
            deltas[image],
            window,
            config.DETECTION_MAX_INSTANCES,
            config.DETECTION_MIN_CONFIDENCE,
            config.DETECTION_NMS_THRESHOLD,
            config.BBOX_STD_DEV,
            multi_class=config.DETECTION_MULTI_CLASS,
            min_size=(config.DETECTION_MIN_SIZE - shift) / (size - shift),
            sigma=config.SOFT_NMS_SIGMA,
            limit=config.BBOX_LOG_SCALE_LIMIT,
        )
        assert expected.any()
        np.testing.assert_allclose(found[image], expected, atol=1e-6)


def test_each_image_has_its_own_window():
    rois, probs, deltas, meta = cases.detection_inputs(np.random.RandomState(2), 2, 30)
    meta[1, 7:11] = 0, 20, 100, 60
    found = DetectionLayer(settings())([rois, probs, deltas, meta]).numpy()
    rows = found[1][found[1, :, 4] > 0]
    assert (rows[:, 1] >= np.float32(20 / 83)).all() and (rows[:, 3] <= np.float32(59 / 83)).all()
    assert (found[0, :, 3] > 59 / 83).any()


def test_the_least_confidence_of_a_call_holds_for_every_class():
    inputs = cases.detection_inputs(np.random.RandomState(4), 2, 30)
    for fields in (dict(), dict(SOFT_NMS_SIGMA=0.5)):
        layer = DetectionLayer(
            settings(DETECTION_MULTI_CLASS=True, DETECTION_MAX_INSTANCES=90, **fields)
        )
        for confidence in (0.1, 0.6):
            found = layer.steps(inputs, tf.constant(confidence)).detections.numpy()
            scores = found[..., 5][found[..., 5] > 0]
            assert confidence <= scores.min() < confidence + 0.1


@pytest.mark.parametrize(
    "fields",
    [dict(DETECTION_MULTI_CLASS=True), dict(SOFT_NMS_SIGMA=0.5, DETECTION_MIN_SIZE=5)],
    ids=str,
)
def test_one_graph_serves_any_batch(fields):
    layer = DetectionLayer(settings(**fields))
    specs = [
        tf.TensorSpec([None, *part.shape[1:]])
        for part in cases.detection_inputs(np.random.RandomState(0), 1, 30)
    ]
    traced = tf.function(lambda inputs: layer(inputs), input_signature=[specs])
    for batch in (1, 2, 3):
        inputs = cases.detection_inputs(np.random.RandomState(batch), batch, 30)
        found = traced([tf.constant(part) for part in inputs])
        np.testing.assert_allclose(found, layer(inputs), atol=1e-6)
        assert np.any(found)
    assert traced.experimental_get_tracing_count() == 1


def test_nothing_detected():
    rois, probs, deltas, meta = cases.detection_inputs(np.random.RandomState(3), 2, 5)
    probs[:] = [1, 0, 0, 0]
    np.testing.assert_array_equal(
        DetectionLayer(settings())([rois, probs, deltas, meta]), np.zeros((2, 8, 6))
    )

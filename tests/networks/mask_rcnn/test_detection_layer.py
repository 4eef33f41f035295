"""DetectionLayer: the original's numbers, the window from the meta data, its settings."""

import numpy as np
import pytest

from mrcnn.networks.mask_rcnn.detection_layer import DetectionLayer
from tests import twins
from tests.networks import layer_cases as cases
from tests.paths import PARITY as PARITY_FOLDER

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
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_settings_are_those_of_the_config(fields, batch):
    config = settings(**fields)
    rois, probs, deltas, meta = cases.detection_inputs(np.random.RandomState(1), batch, 30)
    # as `cases.meta` has it: rows 10 to 90 of 100, and all 84 columns
    window = (10 / 99, 0, 89 / 99, 1)
    found = DetectionLayer(config)([rois, probs, deltas, meta])
    for image in range(batch):
        expected = twins.detections(
            rois[image],
            probs[image],
            deltas[image],
            window,
            config.DETECTION_MAX_INSTANCES,
            config.DETECTION_MIN_CONFIDENCE,
            config.DETECTION_NMS_THRESHOLD,
            config.BBOX_STD_DEV,
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


def test_nothing_detected():
    rois, probs, deltas, meta = cases.detection_inputs(np.random.RandomState(3), 2, 5)
    probs[:] = [1, 0, 0, 0]
    np.testing.assert_array_equal(
        DetectionLayer(settings())([rois, probs, deltas, meta]), np.zeros((2, 8, 6))
    )

"""Values inside of a model, beyond what the original's notebooks ask for."""

import numpy as np
import pytest

from mrcnn.networks.mask_rcnn.detections import DetectionSteps
from tests.tiny import image


def test_steps_of_the_detection_layer(detector):
    pillar = detector.keras_model.get_layer("mrcnn_detection").output
    steps = {
        field: detector.ancestor(pillar, f"mrcnn_detection/{field}")
        for field in DetectionSteps._fields
    }
    assert None not in steps.values()
    images = [image(64, 64, seed) for seed in range(2)]
    values = detector.run_graph(images, [*steps.items(), ("output", pillar)])
    np.testing.assert_array_equal(values["detections"], values["output"])
    assert values["class_ids"].shape == values["scores"].shape == values["clipped_rois"].shape[:2]
    kept = values["nms_indices"]  # of the first image, without padding
    assert kept.ndim == 1 and len(kept) == np.count_nonzero(values["output"][0, :, 4])
    np.testing.assert_array_equal(
        values["output"][0, : len(kept), :4], values["clipped_rois"][0, kept]
    )


@pytest.mark.parametrize(
    "name", ["mrcnn_detection/rois", "mrcnn_detection/no_such_step", "ROI/refined_rois"]
)
def test_unknown_steps_are_none(detector, name):
    assert detector.ancestor(detector.keras_model.get_layer("mrcnn_detection").output, name) is None


def test_detections_do_not_come_before_the_proposals(detector):
    assert (
        detector.ancestor(detector.keras_model.get_layer("ROI").output, "mrcnn_detection/scores")
        is None
    )


def test_a_shared_layer_has_ancestors_at_each_call(detector):
    """The RPN runs on every level of the pyramid."""
    layer = detector.keras_model.get_layer
    for level in ("fpn_p2", "fpn_p3", "fpn_p4", "fpn_p5"):
        assert detector.ancestor(layer("ROI").output, f"{level}/BiasAdd:0") is layer(level).output


def test_an_input_is_an_ancestor_of_what_depends_on_it(detector):
    layer = detector.keras_model.get_layer
    probs, found = layer("rpn_class").output, layer("mrcnn_detection").output
    assert detector.ancestor(probs, "input_image:0") is layer("input_image").output
    assert detector.ancestor(probs, "input_image_meta:0") is None
    assert detector.ancestor(found, "input_image_meta:0") is layer("input_image_meta").output

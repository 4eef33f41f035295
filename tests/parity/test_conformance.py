"""Detection on photos against numbers that the original's code gave, with the same weights.

The photos are not this project's, so they and their numbers lie outside of the repository: in the
folder that MRCNN_CONFORMANCE names, or in ../shared/conformance. `test_network.py` holds what
needs no photo.
"""

import os
import tempfile

import keras
import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.model import MaskRCNN
from tests.paths import CONFORMANCE

FOLDER = CONFORMANCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.path.isdir(FOLDER), reason="MRCNN_CONFORMANCE names no folder of numbers"
    ),
]


class InferenceConfig(Config):
    NAME = "toy"
    BACKBONE = "resnet50"
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 512
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    DETECTION_MIN_CONFIDENCE = 0.6


def load(name):
    return np.load(os.path.join(FOLDER, *name.split("/")))


@pytest.fixture(scope="module")
def detector(network_weights):
    return load_detector(network_weights)


def load_detector(weights):
    with tempfile.TemporaryDirectory() as folder:
        model = MaskRCNN("inference", InferenceConfig(), folder)
    model.load_weights(weights)  # by_name=False: the file must be complete
    return model


# === Inference ===


@pytest.mark.parametrize("number", [0, 1, 2])
class TestStages:
    """Each stage on the original's own input, so that a tie of two scores does not spread."""

    def reference(self, number):
        found = dict(load(f"inference/img{number}.npz"))
        found["anchors_norm"] = load("inference/img0.npz")["anchors_norm"]
        return found

    def test_mold(self, detector, number):
        reference = self.reference(number)
        molded, metas, windows = detector.mold_inputs([reference["image"]])
        np.testing.assert_allclose(molded, reference["molded"], atol=1e-5)
        np.testing.assert_array_equal(metas, reference["image_meta"])
        np.testing.assert_array_equal(windows, reference["windows"])
        np.testing.assert_array_equal(
            detector.get_anchors(molded.shape[1:]), reference["anchors_norm"]
        )

    def test_rpn(self, detector, number):
        reference = self.reference(number)
        outputs = [
            (name, detector.keras_model.get_layer(name).output)
            for name in ("rpn_class", "rpn_bbox")
        ]
        values = detector.run_graph(
            reference["molded"], outputs, image_metas=reference["image_meta"]
        )
        for name, value in values.items():
            np.testing.assert_allclose(value, reference[name], atol=1e-3)

    def test_proposals(self, detector, number):
        reference = self.reference(number)
        rois = detector.keras_model.get_layer("ROI")(
            [reference["rpn_class"], reference["rpn_bbox"], reference["anchors_norm"][np.newaxis]]
        )
        np.testing.assert_array_equal(rois, reference["rois"])

    def test_heads(self, detector, number):
        reference = self.reference(number)
        model = detector.keras_model
        layers = [model.get_layer(name).output for name in ("mrcnn_class", "mrcnn_bbox")]
        heads = keras.Model([*model.inputs[:2], model.get_layer("ROI").output], layers)
        values = heads(
            [reference["molded"], reference["image_meta"].astype(np.float32), reference["rois"]],
            training=False,
        )
        for name, value in zip(("mrcnn_class", "mrcnn_bbox"), values):
            np.testing.assert_allclose(value, reference[name], atol=1e-3)

    def test_detections(self, detector, number):
        reference = self.reference(number)
        detections = detector.keras_model.get_layer("mrcnn_detection")(
            [
                reference["rois"],
                reference["mrcnn_class"],
                reference["mrcnn_bbox"],
                reference["image_meta"].astype(np.float32),
            ]
        )
        np.testing.assert_array_equal(detections, reference["detections"])

    def test_unmold(self, detector, number):
        reference = self.reference(number)
        own = reference["mrcnn_mask_of_class"]
        masks = np.repeat(own[..., np.newaxis], InferenceConfig.NUM_CLASSES, axis=-1)
        rois, class_ids, scores, full = detector.unmold_detections(
            reference["detections"][0],
            masks,
            reference["image"].shape,
            reference["molded"].shape[1:],
            reference["windows"][0],
        )
        np.testing.assert_array_equal(rois, reference["final_rois"])
        np.testing.assert_array_equal(class_ids, reference["final_class_ids"])
        np.testing.assert_array_equal(scores, reference["final_scores"])
        shape = reference["final_masks_shape"]
        packed = np.unpackbits(reference["final_masks_packed"])[: np.prod(shape)].reshape(shape)
        np.testing.assert_array_equal(full, packed.astype(bool))


@pytest.mark.parametrize("number", [1, 2])  # image 0 has two proposals whose scores tie to 1e-5
def test_detect(with_avx2, network_weights, number):
    reference = load(f"inference/img{number}.npz")
    result = with_avx2(detect, network_weights, reference["image"])
    np.testing.assert_array_equal(result["class_ids"], reference["final_class_ids"])
    assert np.abs(result["rois"] - reference["final_rois"]).max() <= 1
    assert (result["rois"] == reference["final_rois"]).all(axis=1).mean() >= 0.99
    np.testing.assert_allclose(result["scores"], reference["final_scores"], atol=1e-4)
    shape = reference["final_masks_shape"]
    packed = np.unpackbits(reference["final_masks_packed"])[: np.prod(shape)].reshape(shape)
    for index in range(shape[2]):
        assert (result["masks"][..., index] == packed[..., index].astype(bool)).mean() >= 0.999


def detect(weights, image):
    """`MaskRCNN.detect` of one image, as a plain dict."""
    return dict(load_detector(weights).detect([image])[0])

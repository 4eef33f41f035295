"""The whole network against numbers that the original's code gave, with the same weights.

The weights take 180 MB and the photos are not this project's, so the numbers lie outside of the
repository: in the folder that MRCNN_CONFORMANCE names, or in ../shared/conformance.
"""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn import training
from mrcnn.config import Config
from mrcnn.model import MaskRCNN

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDER = os.environ.get("MRCNN_CONFORMANCE", os.path.join(ROOT, "..", "shared", "conformance"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.isdir(FOLDER), reason="MRCNN_CONFORMANCE names no folder of numbers"),
]


class InferenceConfig(Config):
    NAME = "toy"
    BACKBONE = "resnet50"
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 512
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)
    DETECTION_MIN_CONFIDENCE = 0.6


class TrainingConfig(InferenceConfig):
    IMAGES_PER_GPU = 2
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256


def load(name):
    return np.load(os.path.join(FOLDER, *name.split("/")))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("weights") / "r50.h5")
    subprocess.run([sys.executable, os.path.join(FOLDER, "make_weights.py"),
                    os.path.join(FOLDER, "r50_recipe.npz"), path], check=True)
    return path


@pytest.fixture(scope="module")
def detector(weights, tmp_path_factory):
    model = MaskRCNN("inference", InferenceConfig(), str(tmp_path_factory.mktemp("logs")))
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
        np.testing.assert_array_equal(detector.get_anchors(molded.shape[1:]), reference["anchors_norm"])

    def test_rpn(self, detector, number):
        reference = self.reference(number)
        outputs = [(name, detector.keras_model.get_layer(name).output) for name in ("rpn_class", "rpn_bbox")]
        values = detector.run_graph(reference["molded"], outputs, image_metas=reference["image_meta"])
        for name, value in values.items():
            np.testing.assert_allclose(value, reference[name], atol=1e-3)

    def test_proposals(self, detector, number):
        reference = self.reference(number)
        rois = detector.keras_model.get_layer("ROI")(
            [reference["rpn_class"], reference["rpn_bbox"], reference["anchors_norm"][np.newaxis]])
        np.testing.assert_array_equal(rois, reference["rois"])

    def test_heads(self, detector, number):
        reference = self.reference(number)
        model = detector.keras_model
        layers = [model.get_layer(name).output for name in ("mrcnn_class", "mrcnn_bbox")]
        heads = keras.Model([*model.inputs[:2], model.get_layer("ROI").output], layers)
        values = heads([reference["molded"], reference["image_meta"].astype(np.float32), reference["rois"]],
                       training=False)
        for name, value in zip(("mrcnn_class", "mrcnn_bbox"), values):
            np.testing.assert_allclose(value, reference[name], atol=1e-3)

    def test_detections(self, detector, number):
        reference = self.reference(number)
        detections = detector.keras_model.get_layer("mrcnn_detection")(
            [reference["rois"], reference["mrcnn_class"], reference["mrcnn_bbox"],
             reference["image_meta"].astype(np.float32)])
        np.testing.assert_array_equal(detections, reference["detections"])

    def test_unmold(self, detector, number):
        reference = self.reference(number)
        own = reference["mrcnn_mask_of_class"]
        masks = np.repeat(own[..., np.newaxis], InferenceConfig.NUM_CLASSES, axis=-1)
        rois, class_ids, scores, full = detector.unmold_detections(
            reference["detections"][0], masks, reference["image"].shape, reference["molded"].shape[1:],
            reference["windows"][0])
        np.testing.assert_array_equal(rois, reference["final_rois"])
        np.testing.assert_array_equal(class_ids, reference["final_class_ids"])
        np.testing.assert_array_equal(scores, reference["final_scores"])
        shape = reference["final_masks_shape"]
        packed = np.unpackbits(reference["final_masks_packed"])[:np.prod(shape)].reshape(shape)
        np.testing.assert_array_equal(full, packed.astype(bool))


@pytest.mark.parametrize("number", [1, 2])  # image 0 has two proposals whose scores tie to 1e-5
def test_detect(detector, number):
    reference = load(f"inference/img{number}.npz")
    result = detector.detect([reference["image"]])[0]
    np.testing.assert_array_equal(result["class_ids"], reference["final_class_ids"])
    assert np.abs(result["rois"] - reference["final_rois"]).max() <= 1
    assert (result["rois"] == reference["final_rois"]).all(axis=1).mean() >= 0.99
    np.testing.assert_allclose(result["scores"], reference["final_scores"], atol=1e-4)
    shape = reference["final_masks_shape"]
    packed = np.unpackbits(reference["final_masks_packed"])[:np.prod(shape)].reshape(shape)
    for index in range(shape[2]):
        assert (result["masks"][..., index] == packed[..., index].astype(bool)).mean() >= 0.999


# === Training ===

def batch(model):
    reference = load("training/batch0.npz")
    names = ("images", "image_meta", "rpn_match", "rpn_bbox", "gt_class_ids", "gt_boxes", "gt_masks")
    return [tf.constant(np.asarray(reference[f"in_{name}"]), tensor.dtype)
            for name, tensor in zip(names, model.inputs)]


@pytest.fixture
def trainer(weights, tmp_path):
    def make(**fields):
        config = type("Chosen", (TrainingConfig,), fields)()
        model = MaskRCNN("training", config, str(tmp_path))
        model.load_weights(weights, by_name=True)
        model.keras_model.get_layer("proposal_targets").shuffle = False
        return model
    return make


@pytest.mark.parametrize("stop, row", [(False, "total"), (True, "total_stopgrad_targets")])
def test_losses_and_gradients(trainer, stop, row):
    reference = load("training/loss_batch0.npz")
    model = trainer(STOP_PROPOSAL_GRADIENT=stop).keras_model
    with tf.GradientTape() as tape:
        outputs = dict(zip(model.output_names, model(batch(model), training=True)))
        total = tf.add_n(model.losses)
    for name in ("rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"):
        np.testing.assert_allclose(outputs[name], reference[f"out_{name}"], rtol=1e-4)
    np.testing.assert_allclose(total, reference["total_all"], rtol=1e-4)
    l2 = total - tf.add_n([outputs[name] for name in model.output_names if name.endswith("_loss")])
    np.testing.assert_allclose(l2, reference["l2_all"], atol=2e-6)

    norms = dict(zip(map(str, reference["weight_names"]),
                     reference["grad_norms"][list(reference["grad_norm_rows"]).index(row)]))
    gradients = tape.gradient(total, model.trainable_weights)
    ratios = [np.linalg.norm(gradient) / norms[f"{variable.path}:0"]
              for variable, gradient in zip(model.trainable_weights, gradients)]
    # a convolution's sums in another order move single norms; 1e-3 holds for all but a few
    assert np.quantile(np.abs(np.array(ratios) - 1), 0.95) < 1e-3
    assert np.abs(np.array(ratios) - 1).max() < 5e-3


def test_six_steps_of_the_heads(trainer):
    reference = load("training/traj_heads_global.npz")
    model = trainer(WEIGHT_DECAY=0)
    model.set_trainable(training.STAGES["heads"], verbose=0)
    model.compile(0.001, 0.9)
    inputs = tuple(batch(model.keras_model))
    losses = []
    for _ in range(6):
        model.keras_model.reset_metrics()
        losses.append(model.keras_model.train_on_batch(inputs, return_dict=True)["loss"])
    np.testing.assert_allclose(losses[0], reference["losses"][0, 0], rtol=1e-3)
    np.testing.assert_allclose(losses, reference["losses"][:, 0], rtol=2e-2)

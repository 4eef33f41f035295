"""DTYPE_POLICY: what computes in half precision, how far its losses are off, and that weights stay
float32.
"""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.model import MaskRCNN
from mrcnn.networks.mask_rcnn.build import inference_model, training_model
from mrcnn.training.data import training_data
from mrcnn.training.pretraining import classifier
from mrcnn.weights.h5_format import read_h5
from tests.paths import ROOT
from tests.tiny import Rectangles, image, randomize, tiny_config, values

LOSSES = [
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
]
FLOAT32 = (
    "ROI",
    "proposal_targets",
    "roi_align_classifier",
    "roi_align_mask",
    "rpn_class",
    "rpn_bbox",
    "mrcnn_class_logits",
    "mrcnn_class",
    "mrcnn_bbox",
    "mrcnn_mask",
    *LOSSES,
)
HALF = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}


@pytest.mark.parametrize("policy", HALF)
def test_what_computes_in_half_precision(policy):
    config = tiny_config(DTYPE_POLICY=policy)
    for model in (training_model(config), inference_model(config)):
        for name in ("conv1", "bn_conv1", "fpn_p2", "mrcnn_class_conv1", "mrcnn_mask_deconv"):
            assert model.get_layer(name).compute_dtype == HALF[policy], name
        assert (
            model.get_layer("rpn_model").get_layer("rpn_conv_shared").compute_dtype == HALF[policy]
        )
        for name in FLOAT32:
            if name in {layer.name for layer in model.layers}:
                assert model.get_layer(name).compute_dtype == "float32", name
        assert {output.dtype for output in model.outputs} == {"float32"}
        assert {weight.dtype for weight in model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    assert classifier(config, 2).get_layer("conv1").compute_dtype == HALF[policy]


def test_the_default_leaves_the_users_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert training_model(tiny_config()).get_layer("conv1").compute_dtype == "bfloat16"
    assert (
        training_model(tiny_config(DTYPE_POLICY="mixed_float16")).get_layer("conv1").compute_dtype
        == "float16"
    )
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


@pytest.mark.parametrize("policy", ["float64", "float16", "bfloat16"])
def test_a_policy_whose_weights_are_not_float32_is_refused(policy):
    keras.config.set_dtype_policy(policy)
    for build in (training_model, inference_model, lambda config: classifier(config, 2)):
        with pytest.raises(ValueError, match=f"dtype policy is '{policy}' .*set_dtype_policy"):
            build(tiny_config())
    inference_model(tiny_config(DTYPE_POLICY="mixed_bfloat16"))  # which it does not matter for


def test_floatx_is_refused_where_it_makes_the_policy():
    code = (
        "import keras; keras.config.set_floatx('float64')\n"
        "from mrcnn.networks.mask_rcnn.build import inference_model\n"
        "from tests.tiny import tiny_config\n"
        "try: inference_model(tiny_config())\nexcept ValueError as error: print(error)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    assert "dtype policy is 'float64' (floatx is 'float64')" in shown


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match=r"'channels_first'.*set_image_data_format"):
            inference_model(tiny_config())
    finally:
        keras.config.set_image_data_format("channels_last")


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="Keras runs on jax.*KERAS_BACKEND to tensorflow"):
        training_model(tiny_config())


def test_another_backend_is_told_as_mrcnn_is_imported():
    """Before Keras ends in an error of its own, such as that there is no jax."""
    done = subprocess.run(
        [sys.executable, "-c", "import mrcnn.config"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert "KERAS_BACKEND is 'jax', and the networks of mrcnn run on TensorFlow" in done.stderr


def test_a_build_that_fails_leaves_the_policy():
    with pytest.raises(Exception, match="no such"):
        training_model(tiny_config(DTYPE_POLICY="mixed_float16", BACKBONE=_raise))
    assert keras.config.dtype_policy().name == "float32"


def _raise(*args, **kwargs):
    raise KeyError("no such")


def losses_and_gradients(policy):
    """The five losses of a batch whose regions are given, and the norm of every variable's
    gradient.
    """
    config = tiny_config(DTYPE_POLICY=policy, USE_RPN_ROIS=False, POST_NMS_ROIS_TRAINING=400)
    keras.utils.set_random_seed(0)
    model = training_model(config)
    randomize(model)
    data = training_data(model, Rectangles(4), config, 1, seed=0)[0][0]
    with tf.GradientTape() as tape:
        outputs = dict(zip(model.output_names, model(list(data), training=True)))
        loss = sum([*(outputs[name] for name in LOSSES), *model.losses])
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    return {name: float(outputs[name]) for name in LOSSES}, gradients


@pytest.fixture(scope="module")
def exact():
    return losses_and_gradients("float32")


@pytest.mark.parametrize("policy, tolerance", [("mixed_bfloat16", 0.03), ("mixed_float16", 0.004)])
def test_losses_are_close_and_gradients_finite(policy, tolerance, exact):
    losses, gradients = losses_and_gradients(policy)
    for name, value in losses.items():
        assert value > 0 and value == pytest.approx(exact[0][name], rel=tolerance), name
    for gradient in gradients:
        assert gradient.dtype == "float32" and np.isfinite(gradient).all()
    whole, reference = (
        np.concatenate([np.ravel(gradient) for gradient in found])
        for found in (gradients, exact[1])
    )
    assert 0 < np.linalg.norm(whole - reference) < 5 * tolerance * np.linalg.norm(reference)


class LowScale(keras.callbacks.Callback):
    """What Keras comes to after some steps: at its first scale of the loss, float16 overflows, and
    they are left out.
    """

    def on_train_begin(self, logs=None):
        if isinstance(self.model.optimizer, keras.optimizers.LossScaleOptimizer):
            self.model.optimizer.dynamic_scale.assign(8.0)


@pytest.mark.parametrize("policy", HALF)
def test_training_and_files(policy, tmp_path, eagerly):
    config = tiny_config(STEPS_PER_EPOCH=2, DTYPE_POLICY=policy)
    model = MaskRCNN("training", config, str(tmp_path))
    before = values(model.keras_model)
    history = model.train(
        Rectangles(4),
        Rectangles(2, seed=1),
        0.01,
        None,
        [("heads", 1), ("all", 2)],
        verbose=0,
        custom_callbacks=[LowScale()],
    )
    assert all(np.isfinite(series).all() for series in history.history.values())
    after = values(model.keras_model)
    assert (
        np.mean(
            [
                not np.array_equal(before[name], after[name])
                for name in before
                if "moving" not in name
            ]
        )
        > 0.8
    )
    assert {value.dtype for layer in read_h5(model.find_last()).values() for _, value in layer} == {
        np.dtype("f4")
    }
    # in float32 and in half precision
    for detecting in (tiny_config(), config):
        detector = MaskRCNN("inference", detecting, str(tmp_path))
        detector.load_weights(model.find_last())
        assert len(detector.detect([image(64, 64)])) == 1


def test_detections_are_those_of_float32(tmp_path, detector):
    model = MaskRCNN("inference", tiny_config(DTYPE_POLICY="mixed_float16"), str(tmp_path))
    randomize(model.keras_model)
    (found,) = model.detect([image(100, 80)])
    (exact,) = detector.detect([image(100, 80)])
    assert len(exact["rois"]) and np.isfinite(found["scores"]).all()
    assert np.abs(found["rois"].astype(int) - exact["rois"][0]).max(axis=1).min() <= 2

"""The inference model as a function: its masks, and that each has its own least score, whichever
threads make them.
"""

import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.inference.graph import predict_function
from mrcnn.model import MaskRCNN
from mrcnn.networks.mask_rcnn.mask_head import MaskPrediction
from tests.tiny import image, randomize, tiny_config

# === Masks ===


@pytest.fixture(
    scope="module",
    params=[("inference", False, 1), ("inference", True, 1), ("training", False, 8)],
    ids=["statistics stored", "of the batch", "layers of a training model"],
)
def model(request, tmp_path_factory):
    """With weights at which every batch has both classes and rows without any."""
    mode, train_bn, seed = request.param
    config = tiny_config(TRAIN_BN=train_bn, DETECTION_MAX_INSTANCES=25)
    made = MaskRCNN(mode, config, str(tmp_path_factory.mktemp("logs")))
    randomize(made.keras_model, seed)
    return made if mode == "inference" else made.detector()


def batch_of(model, count):
    return model.mold_inputs([image(64, 50, seed) for seed in range(count)])[:2]


def own_masks(model, images, metas):
    """The detections of ``keras_model``, and its masks of all classes at the class of each."""
    detections, _, _, masks, *_ = model.keras_model(
        [images, metas, np.stack([model.get_anchors(images.shape[1:])] * len(images))],
        training=False,
    )
    return detections, tf.gather(
        masks, tf.cast(detections[..., 4], tf.int32), axis=-1, batch_dims=2
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_masks_are_those_of_the_detections_classes(model, count):
    images, metas = batch_of(model, count)
    detections, masks = model.predict(images, metas)
    expected, expected_masks = own_masks(model, images, metas)
    assert masks.shape == (count, 25, 28, 28) and masks.dtype == np.float32
    assert set(detections[..., 4].flat) == {0, 1, 2} and masks.std() > 0.08
    np.testing.assert_allclose(detections, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(masks, expected_masks, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2])
def test_nothing_detected(model, monkeypatch, count):
    images, metas = batch_of(model, count)
    detections, masks = model.predict(images, metas, min_confidence=2.0)
    monkeypatch.setitem(
        model.keras_model.get_layer("mrcnn_detection").settings, "DETECTION_MIN_CONFIDENCE", 2.0
    )
    expected, expected_masks = own_masks(model, images, metas)
    assert not detections.any() and not expected.numpy().any()
    np.testing.assert_allclose(masks, expected_masks, rtol=1e-3, atol=1e-4)
    assert masks.any() == bool(model.config.TRAIN_BN)


def test_masks_of_other_classes_are_not_computed(model, monkeypatch):
    monkeypatch.setattr(MaskPrediction, "call", None)
    images, metas = batch_of(model, 1)
    assert (
        len(
            predict_function(model.keras_model)(
                images, metas, model.get_anchors(images.shape[1:])[np.newaxis]
            )
        )
        == 2
    )


# === Least scores ===


class Detection(keras.layers.Layer):
    """One detection, which is the least score that the layer was traced with all over."""

    def __init__(self):
        super().__init__(name="mrcnn_detection")
        self.settings = {"DETECTION_MIN_CONFIDENCE": 0.7, "other": 1}

    def call(self, inputs):
        time.sleep(0.2)  # so that the other threads come in between
        return tf.fill([tf.shape(inputs)[0], 1, 6], self.settings["DETECTION_MIN_CONFIDENCE"])

    def compute_output_shape(self, input_shape):
        return input_shape[0], 1, 6


def test_functions_traced_in_threads_at_once():
    inputs = keras.Input((2,))
    detections = Detection()(inputs)
    masks = MaskPrediction(3)([keras.layers.Reshape((1, 1, 1, 1, 2))(inputs), detections[..., 4]])
    model, found = keras.Model(inputs, [detections, inputs, inputs, masks]), {}

    def trace(min_confidence):
        detections, _ = predict_function(model, min_confidence)(tf.zeros([1, 2]))
        found[min_confidence] = float(detections[0, 0, 5])

    threads = [threading.Thread(target=trace, args=(value,)) for value in (0.125, None, 0.5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key: round(value, 6) for key, value in found.items()} == {
        0.125: 0.125,
        None: 0.7,
        0.5: 0.5,
    }
    assert model.get_layer("mrcnn_detection").settings == {
        "DETECTION_MIN_CONFIDENCE": 0.7,
        "other": 1,
    }

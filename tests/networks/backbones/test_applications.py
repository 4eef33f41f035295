"""Backbones of keras.applications: the features they give, a step of training, their weights in a
file.
"""

import keras
import numpy as np
import pytest

from mrcnn.model import MaskRCNN
from mrcnn.networks.backbones import applications
from mrcnn.networks.backbones.applications import ApplicationInput, application_graph
from mrcnn.networks.layers.normalization import BatchNorm
from mrcnn.training import STAGES
from mrcnn.training.data import training_data
from mrcnn.training.stages import set_trainable
from mrcnn.weights.load import layer_weights
from tests.tiny import Rectangles, image, randomize, tiny_config, values

# all three have their preprocessing inside; the last has no BatchNormalization, but layers without
# a fixed name
NAMES = ["MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny"]


def nested(model):
    """The backbone, a model within the model."""
    return next(
        layer
        for layer in model.layers
        if isinstance(layer, keras.Model) and layer.name != "rpn_model"
    )


@pytest.fixture(scope="module", params=NAMES)
def trained(request, tmp_path_factory):
    """A training model, its weights before and after one step, the step's losses."""
    config = tiny_config(BACKBONE=request.param, IMAGES_PER_GPU=1)
    model = MaskRCNN("training", config, str(tmp_path_factory.mktemp("logs")))
    before = values(model.keras_model)
    model.set_trainable(".*", verbose=0)
    model.compile(0.01, 0.9)
    model.keras_model.run_eagerly = True  # one step is not worth a graph
    batch = training_data(model.keras_model, Rectangles(2), config, 1)[0]
    losses = model.keras_model.train_on_batch(*batch, return_dict=True)
    return model, before, values(model.keras_model), losses


def test_one_step_changes_every_part(trained):
    model, before, after, losses = trained
    assert set(losses) == {
        "loss",
        "rpn_class_loss",
        "rpn_bbox_loss",
        "mrcnn_class_loss",
        "mrcnn_bbox_loss",
        "mrcnn_mask_loss",
    }
    assert all(np.isfinite(loss) for loss in losses.values()) and losses["loss"] > 0
    # Of an untrained network some gradients are too small to change a float32 weight.
    for part in (
        nested(model.keras_model),
        model.keras_model.get_layer("rpn_model"),
        model.keras_model.get_layer("mrcnn_class_logits"),
    ):
        changed = [
            not np.array_equal(before[weight.path], after[weight.path])
            for weight in part.trainable_weights
        ]
        assert changed[0] and np.mean(changed) > 0.5, part.name
    assert all(np.isfinite(value).all() for value in after.values())


def test_statistics_stay_frozen_by_default(trained):
    model, before, after, _ = trained
    norms = [
        layer
        for layer in nested(model.keras_model).layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert all(isinstance(layer, BatchNorm) and layer.train_bn is False for layer in norms)
    assert bool(norms) == (nested(model.keras_model).name != "convnext_tiny")
    for name in before:
        if "moving" in name:
            np.testing.assert_array_equal(before[name], after[name])


def test_weights_round_trip_into_the_inference_model(trained, tmp_path):
    model, _, _after, _ = trained
    randomize_heads(model.keras_model)
    path = str(tmp_path / "weights.h5")
    model.save_weights(path)
    config = tiny_config(BACKBONE=model.config.BACKBONE, SEED=5)
    detecting = MaskRCNN("inference", config, str(tmp_path))
    report = detecting.load_weights(path)
    assert report.initial == [] and report.skipped_in_file == []
    # some of ConvNeXt's weights are called after a counter, so not alike in two models
    for layer in (layer for layer in detecting.keras_model.layers if layer.weights):
        for (name, found), (_, expected) in zip(
            layer_weights(layer),
            layer_weights(model.keras_model.get_layer(layer.name)),
            strict=True,
        ):
            np.testing.assert_array_equal(found.numpy(), expected.numpy(), err_msg=name)

    assert len(detecting.detect([image(50, 90, 1)])[0]["rois"])


def randomize_heads(model):
    """Random weights in all but the backbone, whose depth they would blow up."""
    backbone = nested(model)
    kept = {weight.path: weight.numpy() for weight in backbone.weights}
    randomize(model)
    for weight in backbone.weights:
        weight.assign(kept[weight.path])


def test_stages_are_known_by_the_names_of_resnet(trained):
    model = trained[0].keras_model
    counts = {}
    for stage in ("heads", "5+", "4+", "3+", "all"):
        set_trainable(model, STAGES[stage])
        counts[stage] = len(nested(model).trainable_weights)
    assert counts["heads"] == 0
    assert counts["heads"] < counts["5+"] < counts["4+"] < counts["3+"] < counts["all"]


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_keras_own_model_on_raw_pixels(name):
    """Subtracting MEAN_PIXEL is undone and the network's own preprocessing applied, once."""
    pixels = image(128, 128, seed=1)[np.newaxis].astype(np.float32)
    own = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(128, 128, 3)
    )
    config = tiny_config(BACKBONE=name)
    inputs = keras.Input((None, None, 3))
    stages = application_graph(inputs, config)
    model = keras.Model(inputs, stages)
    pairs = [
        [layer for layer in network.layers if layer.weights] for network in (nested(model), own)
    ]
    for layer, source in zip(*pairs, strict=True):
        layer.set_weights(source.get_weights())
    found = model((pixels - config.MEAN_PIXEL).astype(np.float32))
    assert [stage.shape[1:3] for stage in found] == [(32, 32), (16, 16), (8, 8), (4, 4)]
    expected = own(pixels).numpy()
    assert expected.std() > 0
    np.testing.assert_allclose(
        found[-1].numpy(), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )
    # a wrong range shows: the same network on pixels of another range gives something else
    assert np.abs(own(pixels / 255).numpy() - expected).max() > 1e-2 * np.abs(expected).max()


def test_imagenet_weights_become_a_file_of_the_backbone(monkeypatch, tmp_path):
    build = applications.build_features
    sources = []

    def instead_of_a_download(name, weights=None):
        network = build(name)
        if weights == "imagenet":
            sources.append(network)
        return network

    monkeypatch.setattr(applications, "build_features", instead_of_a_download)
    path = applications.application_imagenet_weights("MobileNetV3Small", str(tmp_path / "new"))
    assert (
        applications.application_imagenet_weights("MobileNetV3Small", str(tmp_path / "new")) == path
    )
    assert len(sources) == 1  # the second time it is there
    model = MaskRCNN("training", tiny_config(BACKBONE="MobileNetV3Small", SEED=9), str(tmp_path))
    report = model.load_weights(path, by_name=True)
    assert report.loaded == [nested(model.keras_model).name]
    for weight, source in zip(nested(model.keras_model).weights, sources[0].weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), source.numpy())


@pytest.mark.parametrize(
    "name, expected",
    [
        # Caffe's BGR minus the mean; -1..1; 0..1 minus the mean by the spread of ImageNet
        ("ResNet50", lambda rgb: rgb[..., ::-1] - [103.939, 116.779, 123.68]),
        ("VGG16", lambda rgb: rgb[..., ::-1] - [103.939, 116.779, 123.68]),
        ("MobileNetV2", lambda rgb: rgb / 127.5 - 1),
        ("ResNet50V2", lambda rgb: rgb / 127.5 - 1),
        ("DenseNet121", lambda rgb: (rgb / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("EfficientNetB0", lambda rgb: rgb),
    ],
)
def test_preprocessing_by_formula(name, expected):
    mean = [120.0, 110.0, 100.0]
    rgb = image(8, 8)[np.newaxis].astype(np.float32)
    found = ApplicationInput(name, mean)(rgb - np.array(mean, np.float32)).numpy()
    np.testing.assert_allclose(found, expected(rgb), rtol=1e-4, atol=1e-3)


def test_grey_images_are_refused():
    with pytest.raises(ValueError, match="MobileNetV2.*3 channels.*IMAGE_CHANNEL_COUNT is 1"):
        application_graph(
            keras.Input((None, None, 1)),
            tiny_config(
                BACKBONE="MobileNetV2", IMAGE_CHANNEL_COUNT=1, MEAN_PIXEL=np.array([100.0])
            ),
        )


def test_missing_stride_is_an_error(monkeypatch):
    """A network that keras.applications may get one day."""

    def shallow(include_top, weights, input_shape):
        inputs = keras.Input(input_shape)
        x = keras.layers.Conv2D(2, 3, strides=8, padding="same")(inputs)
        return keras.Model(
            inputs, keras.layers.Conv2D(2, 3, strides=2, padding="same")(x), name="shallow"
        )

    monkeypatch.setattr(keras.applications, "ResNet50", shallow)
    with pytest.raises(ValueError, match=r"shallow.*no feature map of stride \[4, 32\]"):
        application_graph(keras.Input((None, None, 3)), tiny_config(BACKBONE="ResNet50"))

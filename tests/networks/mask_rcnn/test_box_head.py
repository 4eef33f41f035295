"""The box head against a few lines of NumPy on the same weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.box_head import (
    FullyConnected,
    deltas_of_classes,
    fpn_classifier_graph,
)
from mrcnn.networks.mask_rcnn.build import training_model
from mrcnn.networks.mask_rcnn.roi_features import PyramidROIAlign
from tests.networks.backbones.test_resnet import normalize
from tests.tiny import randomize, tiny_config

RNG = np.random.RandomState(0)


def weights(model, name):
    return [weight.numpy() for weight in model.get_layer(name).weights]


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


SIDES = (16, 8, 4, 2)
META = np.array([[0, 64, 64, 3, 64, 64, 3, 0, 0, 64, 64, 1, 1, 1, 1]] * 2, np.float32)


def head_inputs(count):
    rois = keras.Input((count, 4))
    meta = keras.Input((15,))
    maps = [keras.Input((side, side, 3)) for side in SIDES]
    top_left = RNG.uniform(0, 0.5, (2, count, 2))
    boxes = np.concatenate([top_left, top_left + RNG.uniform(0.1, 0.5, (2, count, 2))], -1).astype(
        np.float32
    )
    return (
        rois,
        meta,
        maps,
        [boxes, META, *(RNG.randn(2, side, side, 3).astype(np.float32) for side in SIDES)],
    )


def pooled(arrays, side):
    """What RoIAlign, which has tests of its own, gives the head."""
    return np.array(PyramidROIAlign([side, side])(arrays))


@pytest.mark.parametrize("padding", [(0, 0), (2, 0), (3, 5)])
def test_classifier_head_in_numpy(padding):
    rois, meta, maps, arrays = head_inputs(5)
    for image, rows in enumerate(padding):
        arrays[0][image, 5 - rows :] = 0
    outputs = fpn_classifier_graph(rois, maps, meta, 7, 4, train_bn=False, fc_layers_size=6)
    model = keras.Model([rois, meta, *maps], outputs)
    randomize(model)
    logits, probs, deltas = (np.array(output) for output in model(arrays))
    assert logits.shape == probs.shape == (2, 5, 4) and deltas.shape == (2, 5, 4, 4)

    features = pooled(arrays, 7)
    assert features.shape == (2, 5, 7, 7, 3)
    kernel, bias = weights(model, "mrcnn_class_conv1")
    x = np.einsum("brhwc,hwcf->brf", features, kernel) + bias
    x = np.maximum(normalize(x, *weights(model, "mrcnn_class_bn1")), 0)
    kernel, bias = weights(model, "mrcnn_class_conv2")
    x = np.maximum(normalize(x @ kernel[0, 0] + bias, *weights(model, "mrcnn_class_bn2")), 0)
    kernel, bias = weights(model, "mrcnn_class_logits")
    np.testing.assert_allclose(logits, x @ kernel + bias, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(probs, softmax(x @ kernel + bias), rtol=1e-4, atol=1e-5)
    kernel, bias = weights(model, "mrcnn_bbox_fc")
    np.testing.assert_allclose(
        deltas, (x @ kernel + bias).reshape(2, 5, 4, 4), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("convs, fcs", [(2, 1), (0, 1), (0, 3), (4, 2)])
def test_convolutions_and_fully_connected_layers_in_numpy(convs, fcs):
    rois, meta, maps, arrays = head_inputs(3)
    model = keras.Model(
        [rois, meta, *maps],
        fpn_classifier_graph(
            rois,
            maps,
            meta,
            7,
            4,
            train_bn=False,
            fc_layers_size=6,
            convs=convs,
            conv_channels=5,
            fcs=fcs,
        ),
    )
    randomize(model)
    names = [layer.name for layer in model.layers if layer.weights]
    expected = [f"mrcnn_box_{kind}{i}" for i in range(1, convs + 1) for kind in ("conv", "bn")]
    expected += [f"mrcnn_class_{kind}{i}" for i in range(1, fcs + 1) for kind in ("conv", "bn")]
    assert names == [*expected, "mrcnn_class_logits", "mrcnn_bbox_fc"]
    logits, _, deltas = (np.array(output) for output in model(arrays))

    x = pooled(arrays, 7).reshape(6, 7, 7, 3)
    for number in range(1, convs + 1):
        kernel, bias = weights(model, f"mrcnn_box_conv{number}")
        assert kernel.shape == (3, 3, 3 if number == 1 else 5, 5)
        padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
        x = bias + sum(
            np.einsum("rhwc,cf->rhwf", padded[:, y : y + 7, z : z + 7], kernel[y, z])
            for y in range(3)
            for z in range(3)
        )
        x = np.maximum(normalize(x, *weights(model, f"mrcnn_box_bn{number}")), 0)
    for number in range(1, fcs + 1):
        kernel, bias = weights(model, f"mrcnn_class_conv{number}")
        assert kernel.shape[:2] == ((7, 7) if number == 1 else (1, 1))
        x = np.reshape(x, [6, -1]) @ kernel.reshape(-1, 6) + bias
        x = np.maximum(normalize(x, *weights(model, f"mrcnn_class_bn{number}")), 0)
    for name, found in (("mrcnn_class_logits", logits), ("mrcnn_bbox_fc", deltas)):
        kernel, bias = weights(model, name)
        np.testing.assert_allclose(found.reshape(6, -1), x @ kernel + bias, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("count", [1, 5])
def test_one_box_for_all_classes_in_numpy(count):
    rois, meta, maps, arrays = head_inputs(count)
    model = keras.Model(
        [rois, meta, *maps],
        fpn_classifier_graph(
            rois, maps, meta, 7, 4, train_bn=False, fc_layers_size=6, class_agnostic=True
        ),
    )
    randomize(model)
    assert model.output_shape[2] == (None, count, 4, 4)
    features = keras.Model(model.inputs, model.get_layer("mrcnn_bbox_fc").input)(arrays)
    kernel, bias = weights(model, "mrcnn_bbox_fc")
    assert kernel.shape == (6, 4)
    boxes = (features.numpy() @ kernel + bias)[:, :, np.newaxis]
    logits, _, deltas = model(arrays)
    assert logits.shape == (2, count, 4) and boxes.any()
    np.testing.assert_allclose(deltas, boxes.repeat(4, axis=2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch, count", [(1, 3), (2, 1), (3, 0)])
def test_deltas_of_classes(batch, count):
    random = np.random.RandomState(batch)
    each, one = (random.randn(batch, count, 4 * boxes).astype(np.float32) for boxes in (5, 1))
    np.testing.assert_array_equal(deltas_of_classes(each, 5), each.reshape(batch, count, 5, 4))
    with tf.GradientTape() as tape:
        tape.watch(one := tf.constant(one))
        found = deltas_of_classes(one, 5)
        total = tf.reduce_sum(found * each.reshape(batch, count, 5, 4))
    for class_id in range(5):
        np.testing.assert_array_equal(found[:, :, class_id], one)
    np.testing.assert_allclose(
        tape.gradient(total, one), each.reshape(batch, count, 5, 4).sum(axis=2), rtol=1e-5
    )


def test_the_whole_network_trains_with_other_heads():
    """Each weight of the heads gets a gradient, and the config tells both how RoIs are pooled."""
    config = tiny_config(
        BOX_HEAD_CONVS=2, BOX_HEAD_CHANNELS=12, BOX_HEAD_FCS=1, ROI_ALIGN="aligned"
    )
    model = training_model(config)
    for name in ("roi_align_classifier", "roi_align_mask"):
        assert model.get_layer(name).settings["ROI_ALIGN"] == "aligned"
    heads = keras.Model(
        [model.get_layer("proposal_targets").output[0], model.inputs[1]]
        + [model.get_layer(f"fpn_p{level}").output for level in range(2, 6)],
        [model.get_layer("mrcnn_class_logits").output, model.get_layer("mrcnn_bbox").output],
    )
    randomize(heads)
    assert heads.get_layer("mrcnn_box_conv2").kernel.shape == (3, 3, 12, 12)
    assert heads.get_layer("mrcnn_class_conv1").kernel.shape == (7, 7, 12, 32)
    random = np.random.RandomState(2)
    top_left = random.uniform(0, 0.5, (2, config.TRAIN_ROIS_PER_IMAGE, 2))
    arrays = [
        np.concatenate([top_left, top_left + 0.4], axis=-1).astype(np.float32),
        META,
        *(random.randn(2, side, side, 16).astype(np.float32) for side in SIDES),
    ]
    with tf.GradientTape() as tape:
        total = sum(tf.reduce_sum(tf.sin(output)) for output in heads(arrays, training=True))
    for variable, gradient in zip(
        heads.trainable_weights, tape.gradient(total, heads.trainable_weights)
    ):
        assert np.any(gradient), variable.path


@pytest.mark.parametrize("padding, rows", [((0, 0), 10), ((2, 0), 9), ((3, 5), 4)])
def test_classifier_head_meets_padding_once_an_image(padding, rows):
    rois, meta, maps, arrays = head_inputs(5)
    for image, count in enumerate(padding):
        arrays[0][image, 5 - count :] = 0
    inputs = [rois, meta, *maps]
    compact = keras.Model(
        inputs,
        fpn_classifier_graph(
            rois, maps, meta, 7, 4, train_bn=False, fc_layers_size=6, distinct=True
        ),
    )
    whole = keras.Model(
        inputs, fpn_classifier_graph(rois, maps, meta, 7, 4, train_bn=False, fc_layers_size=6)
    )
    randomize(compact)
    whole.set_weights(compact.get_weights())
    pooled_rows = keras.Model(inputs, compact.get_layer("roi_align_classifier").output)(arrays)[0]
    assert pooled_rows.shape == (rows, 7, 7, 3)

    arrays = [tf.constant(array) for array in arrays]
    found = []
    for model in (compact, whole):
        with tf.GradientTape() as tape:
            tape.watch(arrays[2:])
            outputs = model(arrays, training=False)
            # every row, padding too, weighs in with a weight of its own
            total = sum(
                tf.reduce_sum(output * np.random.RandomState(1).randn(*output.shape))
                for output in outputs
            )
        found.append((outputs, tape.gradient(total, [*model.trainable_weights, *arrays[2:]])))
    for ours, theirs in zip(tf.nest.flatten(found[0]), tf.nest.flatten(found[1])):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("window", [(7, 7), (1, 1), (2, 3)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_fully_connected_is_the_convolution(images, window, use_bias):
    options = dict(use_bias=use_bias, activation="relu", bias_initializer="uniform")
    ours, theirs = (kind(4, window, **options) for kind in (FullyConnected, keras.layers.Conv2D))
    features = tf.constant(RNG.randn(images, *window, 5), tf.float32)
    ours.build(features.shape)
    theirs.build(features.shape)
    theirs.set_weights(ours.get_weights())
    found = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch(features)
            outputs = layer(features)
            total = tf.reduce_sum(tf.sin(outputs))
        variables = [weight.value for weight in layer.weights]
        found.append((outputs, *tape.gradient(total, [features, *variables])))
    for one, other in zip(*found, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_fully_connected_of_no_region():
    assert FullyConnected(4, (2, 3))(np.zeros((0, 2, 3, 5), np.float32)).shape == (0, 1, 1, 4)

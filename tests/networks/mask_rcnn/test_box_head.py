"""The box head against a few lines of NumPy on the same weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.box_head import FullyConnected, fpn_classifier_graph
from mrcnn.networks.mask_rcnn.roi_features import PyramidROIAlign
from tests.networks.backbones.test_resnet import normalize
from tests.tiny import randomize

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

"""FPN, RPN and the two heads: each against a few lines of NumPy on the same weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.fpn import fpn_graph
from mrcnn.networks.mask_rcnn.heads import build_fpn_mask_graph, fpn_classifier_graph
from mrcnn.networks.mask_rcnn.roi_features import PyramidROIAlign
from mrcnn.networks.mask_rcnn.rpn import build_rpn_model, rpn_over_pyramid
from tests.networks.backbones.test_resnet import convolve, normalize
from tests.tiny import randomize, tiny_config

RNG = np.random.RandomState(0)


def weights(model, name):
    return [weight.numpy() for weight in model.get_layer(name).weights]


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


# === FPN ===


def test_fpn_in_numpy():
    sides = {level: (2 * 2 ** (5 - level), 4 * 2 ** (5 - level)) for level in (2, 3, 4, 5)}
    inputs = [keras.Input((*sides[level], level)) for level in (2, 3, 4, 5)]
    model = keras.Model(inputs, fpn_graph(inputs, 3))
    randomize(model)
    stages = {level: RNG.randn(1, *sides[level], level).astype(np.float32) for level in sides}
    found = [np.array(level)[0] for level in model(list(stages.values()))]

    merged = convolve(stages[5][0], *weights(model, "fpn_c5p5"))
    pyramid = {5: convolve(merged, *weights(model, "fpn_p5"), pad=1)}
    for level in (4, 3, 2):
        above = merged.repeat(2, axis=0).repeat(2, axis=1)  # nearest neighbour
        merged = above + convolve(stages[level][0], *weights(model, f"fpn_c{level}p{level}"))
        pyramid[level] = convolve(merged, *weights(model, f"fpn_p{level}"), pad=1)
    pyramid[6] = pyramid[5][::2, ::2]
    for level, values in zip(range(2, 7), found):
        np.testing.assert_allclose(
            values, pyramid[level], rtol=1e-4, atol=1e-4, err_msg=f"P{level}"
        )


def test_fpn_layer_names():
    inputs = [keras.Input((64 // 2**level, 64 // 2**level, 2)) for level in range(4)]
    model = keras.Model(inputs, fpn_graph(inputs, 3))
    assert {
        "fpn_p5upsampled",
        "fpn_p4upsampled",
        "fpn_p3upsampled",
        "fpn_p4add",
        "fpn_p3add",
        "fpn_p2add",
        "fpn_p6",
    } <= {layer.name for layer in model.layers}


# === RPN ===


def rpn_in_numpy(model, feature_map, stride):
    shared = np.maximum(
        convolve(feature_map, *weights(model, "rpn_conv_shared"), stride=stride, pad=1), 0
    )
    logits = convolve(shared, *weights(model, "rpn_class_raw")).reshape(-1, 2)
    return (
        logits,
        softmax(logits),
        convolve(shared, *weights(model, "rpn_bbox_pred")).reshape(-1, 4),
    )


def test_rpn_on_one_level_in_numpy():
    model = build_rpn_model(1, 3, depth=4, filters=6)
    randomize(model)
    feature_map = RNG.randn(2, 5, 7, 4).astype(np.float32)
    found = model(feature_map)
    assert [tensor.shape for tensor in found] == [(2, 105, 2), (2, 105, 2), (2, 105, 4)]
    for image in range(2):
        for values, expected in zip(found, rpn_in_numpy(model, feature_map[image], 1)):
            np.testing.assert_allclose(values[image], expected, rtol=1e-4, atol=1e-4)
    assert model.get_layer("rpn_class_xxx") and model.name == "rpn_model"


def test_rpn_with_anchors_on_every_other_cell():
    model = build_rpn_model(2, 3, depth=4, filters=6)
    logits, _, bbox = model(np.zeros((1, 6, 8, 4), np.float32))
    assert logits.shape == (1, 3 * 4 * 3, 2) and bbox.shape == (1, 3 * 4 * 3, 4)


def test_rpn_is_one_model_over_all_levels_finest_first():
    config = tiny_config(TOP_DOWN_PYRAMID_SIZE=4, RPN_CONV_CHANNELS=6)
    inputs = [keras.Input((side, side, 4)) for side in (8, 4, 2, 2, 1)]
    outputs = rpn_over_pyramid(inputs, config)
    model = keras.Model(inputs, outputs)
    randomize(model)
    assert model.output_names == ["rpn_class_logits", "rpn_class", "rpn_bbox"]
    assert [layer.name for layer in model.layers if layer.weights] == ["rpn_model"]
    levels = [RNG.randn(1, side, side, 4).astype(np.float32) for side in (8, 4, 2, 2, 1)]
    for position, values in enumerate(model(levels)):
        expected = np.concatenate(
            [model.get_layer("rpn_model")(level)[position] for level in levels], axis=1
        )
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


# === Heads ===

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
        inputs, fpn_classifier_graph(rois, maps, meta, 7, 4, train_bn=False, fc_layers_size=6)
    )
    whole = keras.Model(
        inputs, fpn_classifier_graph(rois, maps, meta, 7, 4, train_bn=None, fc_layers_size=6)
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


def mask_model(count, **options):
    rois, meta, maps, arrays = head_inputs(count)
    inputs = [rois, meta, *maps]
    if options.pop("select", False):
        class_ids = keras.Input((count,), dtype="int32")
        inputs.append(class_ids)
        options["class_ids"] = class_ids
    model = keras.Model(
        inputs, build_fpn_mask_graph(rois, maps, meta, 2, 3, train_bn=False, filters=4, **options)
    )
    randomize(model)
    return model, arrays, inputs


def test_mask_head_in_numpy():
    model, arrays, _inputs = mask_model(3)
    found = np.array(model(arrays))
    assert found.shape == (2, 3, 4, 4, 3)
    features = pooled(arrays, 2).reshape(6, 2, 2, 3)
    for features_of_roi, mask in zip(features, found.reshape(6, 4, 4, 3)):
        x = features_of_roi
        for number in range(1, 5):
            x = convolve(x, *weights(model, f"mrcnn_mask_conv{number}"), pad=1)
            x = np.maximum(normalize(x, *weights(model, f"mrcnn_mask_bn{number}")), 0)
        kernel, bias = weights(
            model, "mrcnn_mask_deconv"
        )  # [2, 2, out, in], stride 2: a block of 2 x 2 per pixel
        x = np.maximum(np.einsum("hwi,aboi->hawbo", x, kernel).reshape(4, 4, 4) + bias, 0)
        kernel, bias = weights(model, "mrcnn_mask")
        np.testing.assert_allclose(
            mask, 1 / (1 + np.exp(-(x @ kernel[0, 0] + bias))), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    "ids", [[[2, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]], [[1, 1, 2], [2, 0, 1]]]
)
def test_mask_head_on_selected_rois(ids):
    whole, arrays, _ = mask_model(3)
    model, _, _ = mask_model(3, select=True, compact=True)
    ids = np.array(ids, np.int32)
    everything = np.array(whole(arrays))
    masks, rows = (np.array(output) for output in model([*arrays, ids]))
    np.testing.assert_allclose(masks[ids > 0], everything[ids > 0], rtol=1e-5, atol=1e-6)
    assert not masks[ids == 0].any()
    # an empty batch would crash some kernels: then one row that enters nothing goes through
    assert len(rows) == max((ids > 0).sum(), 1)
    own_class = np.moveaxis(everything[ids > 0], -1, 1)[np.arange((ids > 0).sum()), ids[ids > 0]]
    np.testing.assert_allclose(rows[: (ids > 0).sum()], own_class, rtol=1e-5, atol=1e-6)


def test_mask_head_on_no_more_rows_than_may_hold_an_object():
    ids = np.zeros((2, 20), np.int32)
    ids[:, :9] = 1
    anywhere, arrays, _ = mask_model(20, select=True, compact=True)
    first, _, _ = mask_model(20, select=True, compact=True, most=9)
    (masks, rows), (expected, more) = (
        [np.array(output) for output in model([*arrays, ids])] for model in (first, anywhere)
    )
    assert len(rows) == 18 and len(more) == 20
    np.testing.assert_allclose(masks, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows, more[:18], rtol=1e-5, atol=1e-6)

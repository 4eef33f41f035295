"""The mask head: against NumPy on the same weights, on the rows that hold an object, of own
classes.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.losses import mrcnn_mask_loss, mrcnn_mask_softmax_loss
from mrcnn.networks.mask_rcnn.mask_head import MaskPrediction, build_fpn_mask_graph
from tests.networks import layer_cases as cases
from tests.networks.backbones.test_resnet import convolve, normalize
from tests.networks.mask_rcnn.test_box_head import head_inputs, pooled, weights
from tests.tiny import randomize

DEPTH = 3

# === The whole head ===


def mask_model(count, *, select=False, own=False, **options):
    rois, meta, maps, arrays = head_inputs(count)
    inputs = [rois, meta, *maps]
    if select or own:
        class_ids = keras.Input((count,), dtype="int32")
        inputs.append(class_ids)
        options |= {"class_ids": class_ids if select else None}
        options |= {"own_classes": class_ids if own else None}
    model = keras.Model(
        inputs, build_fpn_mask_graph(rois, maps, meta, 2, 3, train_bn=False, filters=4, **options)
    )
    randomize(model)
    return model, arrays


def test_mask_head_in_numpy():
    model, arrays = mask_model(3)
    found = np.array(model(arrays))
    assert found.shape == (2, 3, 4, 4, 3)
    features = pooled(arrays, 2).reshape(6, 2, 2, 3)
    for x, mask in zip(features, found.reshape(6, 4, 4, 3), strict=True):
        for number in range(1, 5):
            x = convolve(x, *weights(model, f"mrcnn_mask_conv{number}"), pad=1)
            x = np.maximum(normalize(x, *weights(model, f"mrcnn_mask_bn{number}")), 0)
        # [2, 2, out, in], stride 2: a block of 2 x 2 pixels for each one
        kernel, bias = weights(model, "mrcnn_mask_deconv")
        x = np.maximum(np.einsum("hwi,aboi->hawbo", x, kernel).reshape(4, 4, 4) + bias, 0)
        kernel, bias = weights(model, "mrcnn_mask")
        np.testing.assert_allclose(
            mask, 1 / (1 + np.exp(-(x @ kernel[0, 0] + bias))), rtol=1e-4, atol=1e-5
        )


def own_of(masks, ids):
    """Each row's mask of its own class."""
    return np.take_along_axis(masks, ids[:, :, np.newaxis, np.newaxis, np.newaxis], axis=-1)[..., 0]


IDS = [[[2, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]], [[1, 1, 2], [2, 0, 1]]]


@pytest.mark.parametrize("ids", IDS)
def test_mask_head_on_objects_alone(ids):
    whole, arrays = mask_model(3)
    model, _ = mask_model(3, select=True, own=True)
    ids = np.array(ids, np.int32)
    everything = np.array(whole(arrays))
    masks, own = (np.array(output) for output in model([*arrays, ids]))
    np.testing.assert_allclose(masks[ids > 0], everything[ids > 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(own[ids > 0], own_of(everything, ids)[ids > 0], rtol=1e-5, atol=1e-6)
    assert not masks[ids == 0].any() and not own[ids == 0].any()


@pytest.mark.parametrize("ids", IDS)
def test_mask_head_on_all_rois(ids):
    model, arrays = mask_model(3, own=True)
    ids = np.array(ids, np.int32)
    masks, own = (np.array(output) for output in model([*arrays, ids]))
    np.testing.assert_allclose(own, own_of(masks, ids), rtol=1e-5, atol=1e-6)
    assert masks.all()


def test_mask_head_on_no_more_rows_than_may_hold_an_object():
    ids = np.zeros((2, 20), np.int32)
    ids[:, :9] = 1
    found, rows, (_, arrays) = [], [], mask_model(20)
    for most in (None, 9):
        model, _ = mask_model(20, select=True, own=True, most=most)
        found.append(model([*arrays, ids]))
        features = keras.Model(model.inputs, model.get_layer("roi_align_mask").output[0])
        rows.append(len(features([*arrays, ids])))
    assert rows == [20, 18]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


# === Other heads (table 2 of the paper) ===


def relu(x):
    return np.maximum(x, 0)


def doubled(x, kernel, bias):
    """A transposed convolution of stride 2: [2, 2, out, in], a block of 2 x 2 pixels for each."""
    height, width, _ = x.shape
    return np.einsum("hwi,aboi->hawbo", x, kernel).reshape(2 * height, 2 * width, -1) + bias


@pytest.mark.parametrize("deconvs", [0, 1, 2])
def test_deconvolutions_in_numpy(deconvs):
    model, arrays = mask_model(3, deconvs=deconvs)
    side = 2 * 2**deconvs
    found = np.array(model(arrays))
    assert found.shape == (2, 3, side, side, 3) == (2, *model.output_shape[1:])
    names = ["mrcnn_mask_deconv", "mrcnn_mask_deconv2"][:deconvs]
    assert [layer.name for layer in model.layers if "deconv" in layer.name] == names
    before = keras.Model(model.inputs, model.get_layer("mrcnn_mask_bn4").output)
    kernel, bias = weights(model, "mrcnn_mask")
    for x, mask in zip(before(arrays), found.reshape(6, side, side, 3), strict=True):
        x = relu(x.numpy())
        for name in names:
            x = relu(doubled(x, *weights(model, name)))
        np.testing.assert_allclose(
            mask, 1 / (1 + np.exp(-(x @ kernel[0, 0] + bias))), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("agnostic", [False, True])
def test_fully_connected_head_in_numpy(agnostic):
    model, arrays = mask_model(3, fully_connected=(6, (5, 4)), class_agnostic=agnostic)
    found = np.array(model(arrays))
    assert found.shape == (2, 3, 5, 4, 3) == (2, *model.output_shape[1:])
    names = [layer.name for layer in model.layers if layer.weights]
    assert names == [f"mrcnn_mask_fc{kind}{i}" for i in (1, 2) for kind in ("", "_bn")] + [
        "mrcnn_mask"
    ]
    x = pooled(arrays, 2).reshape(6, -1)
    for number in (1, 2):
        kernel, bias = weights(model, f"mrcnn_mask_fc{number}")
        assert kernel.shape == ((2, 2, 3, 6) if number == 1 else (1, 1, 6, 6))
        x = x @ kernel.reshape(-1, 6) + bias
        x = relu(normalize(x, *weights(model, f"mrcnn_mask_fc_bn{number}")))
    kernel, bias = weights(model, "mrcnn_mask")
    assert kernel.shape == (1, 1, 6, 20 if agnostic else 60)
    x = 1 / (1 + np.exp(-(x @ kernel[0, 0] + bias)))
    expected = np.broadcast_to(x.reshape(2, 3, 5, 4, -1), found.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


VARIANTS = [
    dict(class_agnostic=True),
    dict(activation="softmax"),
    dict(fully_connected=(6, (5, 4))),
    dict(fully_connected=(6, (5, 4)), class_agnostic=True),
    dict(fully_connected=(6, (5, 4)), activation="softmax"),
    dict(deconvs=0),
    dict(deconvs=2, activation="softmax"),
]
EVERY_VARIANT = pytest.mark.parametrize("options", VARIANTS, ids=str)


@EVERY_VARIANT
@pytest.mark.parametrize("ids", IDS)
def test_other_heads_on_objects_alone(options, ids):
    whole, arrays = mask_model(3, **options)
    model, _ = mask_model(3, select=True, own=True, **options)
    ids = np.array(ids, np.int32)
    everything = np.array(whole(arrays))
    masks, own = (np.array(output) for output in model([*arrays, ids]))
    assert everything.std() > 0.01
    np.testing.assert_allclose(masks[ids > 0], everything[ids > 0], rtol=1e-5, atol=1e-6)
    expected = own_of(everything, ids)
    if options.get("activation") == "softmax":
        np.testing.assert_allclose(everything.sum(axis=-1), 1, rtol=1e-5)
        expected = np.log(np.stack([everything[..., 0], expected], axis=-1))
    assert own.shape == expected.shape
    np.testing.assert_allclose(own[ids > 0], expected[ids > 0], rtol=1e-4, atol=1e-5)
    assert not masks[ids == 0].any() and not own[ids == 0].any()
    if options.get("class_agnostic"):
        np.testing.assert_array_equal(masks, masks[..., :1].repeat(3, axis=-1))


@EVERY_VARIANT
def test_each_weight_of_another_head_trains(options):
    model, arrays = mask_model(3, select=True, own=True, **options)
    with tf.GradientTape() as tape:
        _, own = model([*arrays, np.int32([[2, 0, 1], [0, 1, 1]])], training=True)
        total = tf.reduce_sum(tf.sin(3 * own))
    for variable, gradient in zip(
        model.trainable_weights, tape.gradient(total, model.trainable_weights), strict=True
    ):
        assert np.any(tf.convert_to_tensor(gradient)), variable.path


@EVERY_VARIANT
def test_another_head_learns(options):
    """The upper half of each region, in thirty steps of its loss."""
    model, arrays = mask_model(3, select=True, own=True, **options)
    ids = np.int32([[2, 0, 1], [0, 1, 1]])
    truth = np.zeros((2, 3, *model.output_shape[1][2:4]), np.float32)
    truth[:, :, : truth.shape[2] // 2] = 1
    is_softmax = options.get("activation") == "softmax"
    loss = mrcnn_mask_softmax_loss if is_softmax else mrcnn_mask_loss
    optimizer, losses = keras.optimizers.Adam(0.05), []
    for _ in range(30):
        with tf.GradientTape() as tape:
            losses.append(loss(truth, ids, model([*arrays, ids], training=True)[1]))
        optimizer.apply(tape.gradient(losses[-1], model.trainable_weights), model.trainable_weights)
    assert losses[-1] < 0.5 * losses[0]
    masks, _ = model([*arrays, ids])
    found = own_of(np.array(masks), ids)[ids > 0] > 0.5
    assert (found == truth[ids > 0]).mean() > 0.7


@EVERY_VARIANT
def test_another_head_loads_from_a_file(tmp_path, options):
    model, arrays = mask_model(3, select=True, own=True, **options)
    model.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras")
    inputs = [*arrays, np.int32([[2, 0, 1], [0, 1, 1]])]
    for one, other in zip(loaded(inputs), model(inputs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_logarithms_of_a_certain_softmax_have_a_gradient():
    """Those of its values would not: a probability of 1e-50 is 0."""
    layer = MaskPrediction(2, activation="softmax")
    rows, index = cases.packed(np.ones((1, 1), np.int32))
    layer.build([(None, 1, 1, 1), (None, 2), (None, None)])
    layer.set_weights([np.float32([-115, 0]).reshape(1, 1, 1, 2), np.zeros(2, np.float32)])
    with tf.GradientTape() as tape:
        _, logs = layer(
            [np.ones((1, 1, 1, 1), np.float32), rows, index], own_classes=np.int32([[1]])
        )
        total = tf.reduce_sum(logs[..., 0])
    np.testing.assert_allclose(logs[0, 0, 0, 0], [-115, 0])
    np.testing.assert_allclose(tape.gradient(total, layer.bias.value), [1, -1])


# === Its last layer ===


def built_layer():
    layer = MaskPrediction(cases.CLASSES)
    layer.build([(None, *cases.MASK, DEPTH), (None, 2), (None, None)])
    random = np.random.RandomState(0)
    layer.set_weights(
        [cases.normal(random, 1, 1, DEPTH, cases.CLASSES), cases.normal(random, cases.CLASSES)]
    )
    return layer


def inputs_of(ids, seed=0):
    """Random features of the objects' rows, and the rows."""
    rows, index = cases.packed(ids)
    return [cases.normal(np.random.RandomState(seed), len(rows), *cases.MASK, DEPTH), rows, index]


def predict(layer, features):
    kernel, bias = layer.get_weights()
    return 1 / (1 + np.exp(-(features.astype(np.float64) @ kernel[0, 0] + bias)))


def random_ids(batch):
    return cases.class_ids(np.random.RandomState(batch), batch, 5)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_against_the_formula(batch):
    ids = random_ids(batch)
    inputs, layer = inputs_of(ids), built_layer()
    expected = np.zeros((batch, 5, *cases.MASK, cases.CLASSES))
    expected[ids > 0] = predict(layer, inputs[0])[: np.count_nonzero(ids)]
    np.testing.assert_allclose(layer(inputs), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_own_classes_are_those_of_all_masks_with_their_gradients(dtype):
    ids, layer = random_ids(2), built_layer()
    features, *rows = inputs_of(ids)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(features := tf.constant(features))
        masks, own = layer([features, *rows], own_classes=ids.astype(dtype))
        expected = tf.gather(masks, ids, axis=-1, batch_dims=2)
        totals = [tf.reduce_sum(tf.sin(values)) for values in (own, expected)]
    np.testing.assert_allclose(own, expected, rtol=1e-6)
    for variable in (features, layer.kernel.value, layer.bias.value):
        ours, theirs = (tape.gradient(total, variable) for total in totals)
        assert isinstance(ours, tf.Tensor)  # not the slices of a gather
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(masks, layer([features, *rows]))


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("bfloat16", 0.03)])
def test_masks_of_other_classes_than_those_that_choose_the_rows(batch, dtype, tolerance):
    ids, layer = random_ids(batch), built_layer()
    features, *rows = inputs_of(ids)
    classes = (ids + 1) % cases.CLASSES
    masks = layer.own_masks([tf.cast(features, dtype), *rows], classes.astype(np.float32))
    assert masks.dtype == tf.float32
    count = np.count_nonzero(ids)
    expected = predict(layer, features)[np.arange(count), :, :, classes[ids > 0]]
    np.testing.assert_allclose(masks.numpy()[ids > 0], expected, atol=tolerance)


def test_no_object_at_all():
    """One row fills up, so that the head is never empty; its mask goes nowhere."""
    ids, layer = np.zeros((2, 5), np.int32), built_layer()
    features, *rows = inputs_of(ids)
    assert len(features) == 1
    with tf.GradientTape() as tape:
        tape.watch(features := tf.constant(features))
        masks, own = layer([features, *rows], own_classes=ids)
        total = tf.reduce_sum(masks) + tf.reduce_sum(own)
    assert not masks.numpy().any() and not own.numpy().any()
    assert masks.shape == (2, 5, *cases.MASK, cases.CLASSES) and own.shape == masks.shape[:-1]
    for gradient in tape.gradient(total, [features, layer.kernel.value, layer.bias.value]):
        assert not tf.convert_to_tensor(gradient).numpy().any()


def test_every_row_an_object():
    layer, inputs = built_layer(), inputs_of(np.ones((2, 3), np.int32))
    masks = layer(inputs)
    np.testing.assert_allclose(masks, predict(layer, inputs[0]).reshape(masks.shape), atol=1e-6)


def test_weights_are_a_convolutions():
    layer = built_layer()
    assert isinstance(layer, keras.layers.Conv2D)
    assert [variable.name for variable in layer.weights] == ["kernel", "bias"]
    assert layer.supports_jit is False


def test_it_trains():
    layer, inputs = built_layer(), inputs_of(np.ones((2, 5), np.int32))
    assert layer(cases.symbolic(inputs)).shape == (None, 5, *cases.MASK, cases.CLASSES)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(inputs))
    chance = predict(layer, inputs[0])
    slope = chance * (1 - chance)
    kernel, bias = tape.gradient(total, [layer.kernel.value, layer.bias.value])
    np.testing.assert_allclose(
        kernel[0, 0], np.einsum("nhwd,nhwc->dc", inputs[0], slope), atol=1e-4
    )
    np.testing.assert_allclose(bias, slope.sum(axis=(0, 1, 2)), atol=1e-4)

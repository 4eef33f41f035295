"""Where the original was broken: each fault is gone (reference: its issues, by number)."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn import model as modellib
from mrcnn import utils
from mrcnn.config import Config
from mrcnn.ops.anchors import pyramid_anchors
from tests.matterport.toy_network import ToyNetwork
from tests.tiny import Rectangles, randomize, tiny_config

LOSSES = [
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
]


@pytest.fixture
def model(tmp_path):
    model = modellib.MaskRCNN("training", tiny_config(), str(tmp_path))
    randomize(model.keras_model)
    return model


# === NaN from a box without area (#159, #268) ===


@pytest.mark.parametrize(
    "box",
    [(30, 20, 30, 44), (30, 20, 52, 20), (30, 20, 30, 20), (0, 0, 0, 0)],
    ids=["no height", "no width", "a point", "zeros"],
)
def test_rpn_targets_of_a_box_without_area(box):
    """It tied with all anchors at an IoU of 0: 128 wrong positives, no negatives, infinite
    deltas.
    """
    config = tiny_config()
    anchors = pyramid_anchors(config, config.IMAGE_SHAPE)
    real = np.array([[8, 10, 40, 45]])
    with np.errstate(all="raise"):
        match, deltas = modellib.build_rpn_targets(
            config.IMAGE_SHAPE,
            anchors,
            np.array([1, 2]),
            np.concatenate([real, [box]]),
            config,
            rng=np.random.RandomState(0),
        )
        expected = modellib.build_rpn_targets(
            config.IMAGE_SHAPE, anchors, np.array([1]), real, config, rng=np.random.RandomState(0)
        )
    np.testing.assert_array_equal(match, expected[0])
    np.testing.assert_array_equal(deltas, expected[1])
    assert (match == 1).any() and (match == -1).any()


def test_losses_and_gradients_of_a_box_without_area(tmp_path):
    config = tiny_config(USE_RPN_ROIS=False)  # random regions, so that there are positives
    model = modellib.MaskRCNN("training", config, str(tmp_path))
    randomize(model.keras_model)
    np.random.seed(0)
    inputs, _ = next(
        modellib.data_generator(
            Rectangles(6), config, batch_size=2, random_rois=config.POST_NMS_ROIS_TRAINING
        )
    )
    empty = [[30, 20, 30, 44], [25, 25, 25, 25]]  # a line, a point: annotated, but without area
    inputs[4][:, 1], inputs[5][:, 1], inputs[7][:, 0] = 2, empty, empty
    tensors = [
        tf.constant(array.astype(tensor.dtype))
        for array, tensor in zip(inputs, model.keras_model.inputs)
    ]
    with tf.GradientTape() as tape:
        outputs = model.keras_model(tensors, training=True)
        loss = tf.add_n([*outputs[-5:], *model.keras_model.losses])
    gradients = tape.gradient(
        loss, [variable.value for variable in model.keras_model.trainable_variables]
    )
    assert all(np.isfinite(output).all() for output in outputs) and np.isfinite(loss)
    assert all(
        np.isfinite(tf.convert_to_tensor(gradient)).all()
        for gradient in gradients
        if gradient is not None
    )
    assert sum(bool(np.any(tf.convert_to_tensor(g))) for g in gradients if g is not None) > 40
    assert all(float(output) > 0 for output in outputs[-5:])  # the real objects were trained on


class WithSpecks(Rectangles):
    """Large images whose second object is a pixel, which is gone at the size that the network
    takes.
    """

    def __init__(self):
        super().__init__(3, size=(400, 400))

    def load_mask(self, image_id):
        masks, class_ids = super().load_mask(image_id)
        speck = np.zeros((400, 400, 1), bool)
        speck[201, 203] = True
        return np.concatenate([masks, speck], axis=2), np.append(class_ids, 2).astype(np.int32)


def test_objects_that_vanish_when_resized(model, eagerly):
    data = WithSpecks()
    assert len(modellib.load_image_gt(data, model.config, 0)[2]) == 1
    history = model.train(data, None, 0.001, 1, "all", verbose=0).history
    assert all(np.isfinite(series).all() for series in history.values())


# === Momentum lost between train() calls (#1726, #2155) ===


def momenta(model, layer):
    """name -> momentum of a layer's weights."""
    optimizer, weights = model.keras_model.optimizer, model.keras_model.trainable_variables
    return {
        weight.path: momentum.numpy()
        for weight, momentum in zip(weights, optimizer.momentums, strict=True)
        if weight.path.startswith(layer)
    }


def test_momentum_is_kept_by_a_second_compile(model, eagerly):
    model.train(Rectangles(4), None, 0.001, 1, "heads", verbose=0)
    first = model.keras_model.optimizer
    before = momenta(model, "mrcnn_class_conv1")
    assert len(before) == 2 and all(value.any() for value in before.values())
    model.set_trainable(".*", verbose=0)
    model.compile(0.0001, 0.9)
    assert (
        model.keras_model.optimizer is not first
        and float(model.keras_model.optimizer.learning_rate) < 0.001
    )
    after = momenta(model, "mrcnn_class_conv1")
    assert set(after) == set(before)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    assert all(not value.any() for value in momenta(model, "res4a").values()) and momenta(
        model, "res4a"
    )


# === A data set without objects: an endless loop ===


class Empty(Rectangles):
    def load_mask(self, image_id):
        return utils.Dataset.load_mask(self, image_id)


def test_data_set_without_objects(model, eagerly):
    with pytest.raises(ValueError, match="No image of Empty has an object"):
        next(modellib.data_generator(Empty(3), model.config))
    with pytest.raises(ValueError, match="none of the 3 images of Empty has an object"):
        model.train(Empty(3), None, 0.001, 1, "heads", verbose=0)


# === Errors of loading swallowed five times ===


class Broken(Rectangles):
    """Its third image cannot be read."""

    def __init__(self):
        super().__init__(5)
        self.calls = 0

    def load_image(self, image_id):
        if image_id == 2:
            self.calls += 1
            raise OSError("truncated JPEG")
        return super().load_image(image_id)


def test_errors_of_loading_come_at_once(model, eagerly):
    data = Broken()
    generator = modellib.data_generator(data, model.config, shuffle=False)
    next(generator), next(generator)
    with pytest.raises(ValueError, match=r"id 'picture2'.*truncated JPEG") as caught:
        next(generator)
    assert data.calls == 1 and isinstance(caught.value.__cause__, OSError)
    with pytest.raises(ValueError, match=r"id 'picture2'.*truncated JPEG"):
        model.train(data, None, 0.001, 5, "heads", verbose=0)


# === A ResNet-101 given ResNet-50 weights in silence (#725, #352) ===


def test_layers_left_at_their_initial_values_are_told(tmp_path, capsys):
    class Fifty(ToyNetwork, Config):
        NAME, NUM_CLASSES, IMAGE_MIN_DIM, IMAGE_MAX_DIM = "fifty", 3, 64, 64

    class HundredOne(Fifty):
        NAME, BACKBONE = "hundredone", "resnet101"

    path = str(tmp_path / "fifty.h5")
    modellib.MaskRCNN("inference", Fifty(), str(tmp_path)).save_weights(path)
    model = modellib.MaskRCNN("inference", HundredOne(), str(tmp_path))
    with pytest.raises(ValueError, match=r"lacks \d+ layers of the model: .*4g_branch2"):
        model.load_weights(path)  # not by name: the file would have to be complete
    capsys.readouterr()
    report = model.load_weights(path, by_name=True)
    blocks = "ghijklmnopqrstuvw"
    assert set(report.initial) == {
        f"{kind}4{block}_branch2{part}"
        for kind in ("res", "bn")
        for block in blocks
        for part in "abc"
    }
    printed = capsys.readouterr().out
    assert (
        f"not in the file, left as they were: {len(report.initial)} (" in printed
        and "4g_branch2a" in printed
    )


# === The loss doubled by every further train() of the TF2 ports (#2514, #2773) ===


def test_loss_is_not_doubled_by_training_again(model, eagerly):
    data = Rectangles(1)  # the same image in all steps
    histories = [
        model.train(data, None, 0.0, epoch, "all", verbose=0).history for epoch in (1, 2, 3)
    ]
    decay = [history["loss"][0] - sum(history[name][0] for name in LOSSES) for history in histories]
    count = len(model.keras_model.losses)
    for history in histories:
        # every anchor's part in these does not depend on which RoIs were drawn
        assert history["rpn_class_loss"][0] == pytest.approx(
            histories[0]["rpn_class_loss"][0], rel=0.5
        )
    # the rest is the weight decay alone, and it stays
    expected = sum(
        1e-4 * np.mean(np.square(weight.numpy()))
        for weight in model.keras_model.trainable_variables
        if weight.name in ("kernel", "bias")
    )
    np.testing.assert_allclose(decay, expected, atol=1e-4 * histories[0]["loss"][0])
    model.train(data, None, 0.0, 4, "all", verbose=0)
    assert len(model.keras_model.losses) == count


# === Order of the batches ===


def test_batches_are_trained_on_in_their_order(tmp_path, eagerly, monkeypatch):
    """Keras shuffles batches of its own accord, without the seed; what names the images of a bad
    loss relies on it.
    """
    from mrcnn.data.batches import TrainingBatches

    asked = []
    batch = TrainingBatches.batch
    monkeypatch.setattr(
        TrainingBatches,
        "batch",
        lambda self, index, *rest: asked.append(index) or batch(self, index, *rest),
    )
    model = modellib.MaskRCNN(
        "training", tiny_config(STEPS_PER_EPOCH=6, IMAGES_PER_GPU=1), str(tmp_path)
    )
    model.train(Rectangles(6), None, 0.001, 1, "rpn_.*", verbose=0)
    assert asked[-6:] == [0, 1, 2, 3, 4, 5]

"""The whole network with the heads that the paper compares: what it detects, trains and stores."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.cli.weights_fields import told_by_weights
from mrcnn.config import Config
from mrcnn.inference.graph import Detector
from mrcnn.networks.mask_rcnn.build import inference_model, training_model
from mrcnn.ops.anchors import pyramid_anchors
from mrcnn.ops.boxes_np import norm_boxes
from mrcnn.ops.image_meta import compose_image_meta
from mrcnn.training.data import training_data
from mrcnn.training.stages import STAGES, set_trainable
from mrcnn.training.step import TrainingModel
from mrcnn.weights.load import load_h5, save_h5
from tests.tiny import Rectangles, image, randomize, tiny_config, values

VARIANTS = {
    "boxes": dict(CLASS_AGNOSTIC_BOXES=True),
    "boxes of several classes": dict(CLASS_AGNOSTIC_BOXES=True, DETECTION_MULTI_CLASS=True),
    "masks": dict(CLASS_AGNOSTIC_MASKS=True),
    "softmax": dict(MASK_LOSS="softmax"),
    "mlp": dict(MASK_HEAD="mlp", MASK_POOL_SIZE=7, MASK_SHAPE=[12, 12]),
    "mlp of all": dict(MASK_HEAD="mlp", CLASS_AGNOSTIC_MASKS=True, CLASS_AGNOSTIC_BOXES=True),
    "mlp softmax": dict(MASK_HEAD="mlp", MASK_LOSS="softmax", TRAIN_BN=True),
    "56 cells": dict(MASK_HEAD_DECONVS=2, MASK_SHAPE=[56, 56], MINI_MASK_SHAPE=(56, 56)),
    "14 cells": dict(MASK_HEAD_DECONVS=0, MASK_SHAPE=[14, 14], HARD_EXAMPLES=8),
}
EVERY_VARIANT = pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS)


def arrays_of(config, count, height=64, width=128):
    images = np.stack([image(height, width, seed) for seed in range(count)]).astype(np.float32)
    windows = np.float32([(0, 0, height - 6 * number, width - 10) for number in range(count)])
    metas = [
        compose_image_meta(0, (9, 9, 3), images.shape[1:], window, 1.0, [1] * config.NUM_CLASSES)
        for window in windows
    ]
    anchors = norm_boxes(pyramid_anchors(config, (height, width)), (height, width))
    return images - 120, np.float32(metas), np.stack([anchors] * count).astype(np.float32), windows


def randomize_as(model, other):
    """Give a model another one's weights; their order differs."""
    known = values(other)
    for variable in model.weights:
        variable.assign(known[variable.path])


@EVERY_VARIANT
def test_detection_is_that_of_the_keras_models(fields):
    """Of both models, for one image and for several."""
    config = tiny_config(**fields, DETECTION_MAX_INSTANCES=25)
    detecting, trained = inference_model(config), training_model(config)
    randomize(detecting, 1)
    randomize_as(trained, detecting)
    for count, model in ((1, detecting), (3, trained)):
        images, metas, anchors, windows = arrays_of(config, count)
        expected, _, deltas, masks, *_ = detecting([images, metas, anchors], training=False)
        assert masks.shape == (count, 25, *config.MASK_SHAPE, 3)
        assert deltas.shape == (count, 30, 3, 4)
        if config.CLASS_AGNOSTIC_BOXES:
            np.testing.assert_array_equal(deltas, deltas[:, :, :1].numpy().repeat(3, axis=2))
        ids = tf.cast(expected[..., 4], tf.int32)
        own = tf.gather(masks, ids, axis=-1, batch_dims=2).numpy()
        found, found_masks = Detector(model, config).predict(images, windows)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found_masks, own, rtol=1e-3, atol=1e-4)
    assert {1, 2} <= set(np.array(ids).flat) and own[ids > 0].std() > 0.02


@EVERY_VARIANT
def test_every_weight_of_the_heads_trains(fields):
    config = tiny_config(**fields, ROI_POSITIVE_IOU=0.05, WEIGHT_DECAY=0.0)
    model = training_model(config, TrainingModel)
    randomize(model)
    set_trainable(model, STAGES["heads"])
    model.get_layer("proposal_targets").seed_generator.state.assign([3, 0])
    inputs = training_data(model, Rectangles(), config, steps=1, shuffle=False, seed=0)[0][0]
    with tf.GradientTape() as tape:
        losses = model(list(inputs), training=True)[-5:]
        total = tf.add_n(losses)
    assert all(np.isfinite(loss) and loss > 0 for loss in losses)
    variables = model.trainable_variables
    assert any(variable.path.startswith("mrcnn_mask/") for variable in variables)
    for variable, gradient in zip(variables, tape.gradient(total, variables), strict=True):
        gradient = np.asarray(tf.convert_to_tensor(gradient))
        assert np.isfinite(gradient).all(), variable.path
        # a bias that is subtracted again by the batch's mean has none
        assert gradient.any() or config.TRAIN_BN, variable.path


@EVERY_VARIANT
@pytest.mark.parametrize("make", [training_model, inference_model])
def test_a_whole_model_in_a_file(tmp_path, fields, make):
    config = tiny_config(**fields, ROI_POSITIVE_IOU=0.05)
    model = make(config)
    randomize(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.output_names == model.output_names
    assert loaded.output_shape == model.output_shape
    if make is inference_model:
        inputs = arrays_of(config, 2)[:3]
    else:
        inputs = training_data(model, Rectangles(), config, steps=1, shuffle=False, seed=0)[0][0]
        for each in (model, loaded):  # the same random regions
            each.get_layer("proposal_targets").seed_generator.state.assign([3, 0])
    for name, one, other in zip(model.output_names, loaded(list(inputs)), model(list(inputs))):
        np.testing.assert_array_equal(one, other, err_msg=name)
        assert np.any(one), name


@EVERY_VARIANT
def test_weights_by_name(tmp_path, fields):
    config = tiny_config(**fields)
    trained, detecting = training_model(config), inference_model(config)
    randomize(trained)
    path = str(tmp_path / "weights.h5")
    save_h5(trained, path)
    report = load_h5(detecting, path)
    assert not report.initial and not report.skipped_in_file
    expected = values(trained)
    assert set(values(detecting)) <= set(expected)
    for name, value in values(detecting).items():
        np.testing.assert_array_equal(value, expected[name])


@EVERY_VARIANT
def test_what_weights_without_settings_tell(tmp_path, fields):
    """All but what no tensor depends on."""
    config = tiny_config(**fields)
    path = str(tmp_path / "weights.h5")
    save_h5(inference_model(config), path)
    told = told_by_weights(path)
    names = ("CLASS_AGNOSTIC_BOXES", "CLASS_AGNOSTIC_MASKS", "MASK_HEAD", "MASK_HEAD_DECONVS")
    for name in (*names, "MASK_SHAPE", "MASK_POOL_SIZE", "NUM_CLASSES"):
        assert told.get(name, getattr(Config, name)) == getattr(config, name), name
    assert not set(told) & {"MASK_LOSS", "HARD_EXAMPLES"}


@pytest.mark.parametrize(
    "fields",
    [
        dict(BOX_HEAD_CONVS=2, BOX_HEAD_CHANNELS=12, BOX_HEAD_FCS=1, RPN_CONV_LAYERS=2),
        dict(BOX_HEAD_FCS=3),
        dict(RPN_CONV_LAYERS=3),
        {},
    ],
)
def test_the_depth_of_heads_is_in_the_weights(fields, tmp_path):
    path = str(tmp_path / "weights.h5")
    save_h5(inference_model(tiny_config(**fields)), path)
    told = told_by_weights(path)
    names = ("BOX_HEAD_CONVS", "BOX_HEAD_CHANNELS", "BOX_HEAD_FCS", "RPN_CONV_LAYERS")
    assert {name: told[name] for name in names if name in told} == fields


def test_784_values_are_one_mask_of_28_cells(tmp_path):
    """Not one of 14 cells for each of 4 classes."""
    path = str(tmp_path / "weights.h5")
    config = tiny_config(MASK_HEAD="mlp", CLASS_AGNOSTIC_MASKS=True, NUM_CLASSES=4)
    save_h5(inference_model(config), path)
    told = told_by_weights(path)
    assert told["MASK_SHAPE"] == [28, 28] and told["CLASS_AGNOSTIC_MASKS"]


def test_weights_of_other_heads(tmp_path):
    """The error says which fields differ, and starting with new layers works."""
    path = str(tmp_path / "weights.h5")
    save_h5(inference_model(tiny_config()), path)
    model = inference_model(tiny_config(CLASS_AGNOSTIC_BOXES=True, MASK_HEAD="mlp"))
    with pytest.raises(ValueError) as error:
        load_h5(model, path)
    text = str(error.value)
    assert "mrcnn_bbox_fc: file 32x12, 12; model 32x4, 4" in text
    assert "another CLASS_AGNOSTIC_BOXES, CLASS_AGNOSTIC_MASKS, MASK_HEAD or MASK_SHAPE" in text
    assert "exclude=['mrcnn_bbox_fc', 'mrcnn_mask']" in text and "NUM_CLASSES" not in text
    report = load_h5(model, path, exclude=["mrcnn_bbox_fc", "mrcnn_mask"])
    assert "mrcnn_mask_fc1" in report.initial and "mrcnn_class_logits" in report.loaded


def test_fields_that_the_network_was_built_with():
    config = tiny_config()
    graph = Detector(inference_model(config), config)
    for fields in VARIANTS.values():
        for field, value in fields.items():
            if field.startswith(("CLASS_", "MASK_HEAD", "MASK_LOSS")):
                changed = tiny_config()
                setattr(changed, field, value)
                with pytest.raises(ValueError, match=f"{field} is {value}, but the model was made"):
                    graph.check_settings(changed)

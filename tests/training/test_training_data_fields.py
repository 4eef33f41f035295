"""Whole training steps with the fields that decide what is trained on."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from mrcnn.data.batches import TrainingBatches
from mrcnn.model import MaskRCNN
from mrcnn.networks.mask_rcnn.build import training_model
from mrcnn.training.data import training_data
from mrcnn.training.step import TrainingModel
from tests.tiny import Rectangles, tiny_config, values

ZERO_WITHOUT_OBJECTS = ["rpn_bbox_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"]


class SomeEmpty(Rectangles):
    """Rectangles of which the images in `empty` have none."""

    def __init__(self, count, empty):
        super().__init__(count)
        for number in empty:
            self.image_info[number]["objects"] = []


@pytest.fixture(scope="module")
def model():
    """A training model that keeps empty images, compiled, and its weights."""
    config = tiny_config(KEEP_EMPTY_IMAGES=True)
    keras_model = training_model(config, TrainingModel)
    keras_model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9, global_clipnorm=5.0), jit_compile=False
    )
    return config, keras_model, [weight.numpy() for weight in keras_model.weights]


@pytest.mark.parametrize("count, empty", [(1, [0]), (2, [0, 1]), (2, [1]), (3, [0, 2])])
def test_a_step_on_empty_images(model, eagerly, count, empty):
    step_on_empty_images(model, count, empty)


@pytest.mark.slow
@pytest.mark.parametrize("count, empty", [(1, [0]), (2, [0, 1]), (3, [0, 2])])
def test_a_step_on_empty_images_in_a_graph(model, count, empty):
    step_on_empty_images(model, count, empty)


def step_on_empty_images(model, count, empty):
    config, keras_model, start = model
    keras_model.set_weights(start)
    dataset = SomeEmpty(count, empty)
    batches = TrainingBatches(dataset, config, batch_size=count, shuffle=False)
    inputs = [
        np.asarray(array, tensor.dtype)
        for array, tensor in zip(batches.batch(0), keras_model.inputs)
    ]
    before = values(keras_model)
    logs = keras_model.train_on_batch(inputs, return_dict=True)
    after = values(keras_model)
    assert np.isfinite(list(logs.values())).all()
    assert logs["rpn_class_loss"] > 0 and logs["mrcnn_class_loss"] > 0
    for name in ZERO_WITHOUT_OBJECTS:
        assert logs[name] == 0 or len(empty) < count, name
    assert (logs["rpn_bbox_loss"] > 0) == (len(empty) < count)
    assert all(np.isfinite(value).all() for value in after.values())
    # background alone teaches both classifiers
    for layer in ("rpn_class_raw", "mrcnn_class_logits"):
        assert any(
            layer in name and not np.array_equal(before[name], after[name]) for name in before
        ), layer


def test_regions_of_an_empty_image_train_the_heads(model, eagerly):
    """In the original they would be rows of zeros."""
    config, keras_model, start = model
    keras_model.set_weights(start)
    inputs = TrainingBatches(SomeEmpty(1, [0]), config, batch_size=1).batch(0)
    outputs = keras_model.predict_on_batch(
        [np.asarray(a, t.dtype) for a, t in zip(inputs, keras_model.inputs)]
    )
    assert np.count_nonzero(outputs[8].any(axis=-1)) > 5  # output_rois


@pytest.mark.parametrize(
    "fields",
    [
        {"KEEP_EMPTY_IMAGES": True, "USE_RPN_ROIS": False},
        {"CLASS_WEIGHTS": {1: 2.0, 2: 0.0}},
        {
            "SCALE_JITTER": (0.3, 2.0),
            "COPY_PASTE": 0.8,
            "IMAGE_SAMPLING": "balanced",
            "KEEP_EMPTY_IMAGES": True,
            "USE_MINI_MASK": False,
        },
    ],
    ids=lambda fields: " ".join(fields),
)
def test_training_and_validation(fields, tmp_path, eagerly, capsys):
    model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=2, **fields), str(tmp_path))
    data = SomeEmpty(6, [0, 1, 3]), SomeEmpty(2, [0, 1] if "KEEP_EMPTY_IMAGES" in fields else [1])
    history = model.train(*data, 0.01, 1, "all", workers=2, verbose=0).history
    assert all(np.isfinite(history[key]).all() for key in history) and history["loss"][0] > 0
    told = [
        line.partition(" times an image")[0]
        for line in capsys.readouterr().out.splitlines()
        if "had no object" in line
    ]
    # of the validation images too, of which one of two is replaced
    assert told == (
        [] if "KEEP_EMPTY_IMAGES" in fields else [*told[:1], "Of the validation data: 1"]
    )
    if "KEEP_EMPTY_IMAGES" in fields:
        assert history["val_mrcnn_mask_loss"] == [0] and history["val_rpn_class_loss"][0] > 0


def test_objects_beyond_the_limit_are_counted(tmp_path, eagerly, capsys):
    """Every third of the images has two objects."""
    config = tiny_config(STEPS_PER_EPOCH=3, MAX_GT_INSTANCES=1)
    model = MaskRCNN("training", config, str(tmp_path))
    model.train(Rectangles(6), Rectangles(3), 0.01, 1, "heads", verbose=0)
    out = capsys.readouterr().out
    said = "objects were left out of 2 images with more than MAX_GT_INSTANCES = 1, up to 2"
    assert f"\n2 {said}\n" in out and "Of the validation data: " in out


def test_validation_is_not_varied():
    """Jitter, pasting and sampling are for training: other batches are those of a config
    without.
    """
    fields = {"SCALE_JITTER": (0.3, 0.5), "COPY_PASTE": 1.0, "IMAGE_SAMPLING": "balanced"}
    model = SimpleNamespace(inputs=[SimpleNamespace(dtype="float64")] * 7, distribute_strategy=None)

    def first_batch(repeat, **fields):
        return training_data(model, Rectangles(4), tiny_config(**fields), 2, repeat=repeat)[0][0]

    for a, b in zip(first_batch(True, **fields), first_batch(True)):
        np.testing.assert_array_equal(a, b)
    assert (first_batch(False, **fields)[1][:, 11] < 0.6).all()  # the scale


def test_class_weights_are_the_losses_factors(eagerly):
    """Of a batch whose regions are all background, half the loss at half the weight; other losses
    stay.
    """
    dataset, logs = SomeEmpty(2, [0, 1]), []
    for weights in (None, {0: 0.5, "red": 9.0}):
        config = tiny_config(
            KEEP_EMPTY_IMAGES=True, CLASS_WEIGHTS=weights, CLASS_NAMES=["BG", "red", "blue"]
        )
        keras.utils.set_random_seed(0)
        keras_model = training_model(config, TrainingModel)
        keras_model.compile("sgd", jit_compile=False)
        inputs = TrainingBatches(dataset, config).batch(0)
        logs.append(
            keras_model.test_on_batch(
                [np.asarray(a, t.dtype) for a, t in zip(inputs, keras_model.inputs)],
                return_dict=True,
            )
        )
    plain, halved = logs
    np.testing.assert_allclose(
        halved["mrcnn_class_loss"], 0.5 * plain["mrcnn_class_loss"], rtol=1e-6
    )
    assert halved["rpn_class_loss"] == plain["rpn_class_loss"]

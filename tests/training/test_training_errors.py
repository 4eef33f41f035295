"""What is wrong with a data set or a call of ``train``: one clear error each."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.data.dataset import Dataset
from mrcnn.data.load import SampleError
from mrcnn.model import MaskRCNN
from mrcnn.training.data import own_errors, training_data
from tests.tiny import Rectangles, TinyConfig, tiny_config, values


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    return MaskRCNN("training", tiny_config(), str(tmp_path_factory.mktemp("logs")))


class Wrong(Rectangles):
    """Rectangles with one thing wrong, with every image from a number on."""

    def __init__(self, fault, start=0, count=4):
        self.fault, self.start = fault, start
        super().__init__(count)

    def load_image(self, image_id):
        picture = super().load_image(image_id)
        if image_id < self.start:
            return picture
        if self.fault == "nan":
            return np.where(picture > 200, np.nan, picture)
        if self.fault == "damaged":
            raise OSError("the file is cut short")
        if self.fault == "missing":
            raise FileNotFoundError("gone.jpg")
        if self.fault == "channels":
            return np.concatenate([picture, picture], axis=2)
        return picture

    def load_mask(self, image_id):
        masks, class_ids = super().load_mask(image_id)
        if image_id < self.start:
            return masks, class_ids
        if self.fault == "mask size":
            masks = masks[:-1]
        elif self.fault == "class id":
            class_ids = class_ids + 5
        elif self.fault == "count":
            class_ids = np.append(class_ids, 1)
        elif self.fault == "no objects":
            masks, class_ids = masks[..., :0], class_ids[:0]
        elif self.fault == "crowds":
            class_ids = -class_ids
        elif self.fault == "crash":
            raise KeyError("polygon")
        return masks, class_ids


@pytest.mark.parametrize(
    "fault, message",
    [
        ("mask size", r"picture\d.*63 x 64 pixels.*64 x 64"),
        ("class id", r"picture\d.*class id [67] is out of range.*1 to 2"),
        ("count", r"picture\d.*[12] masks but class ids of shape"),
        ("nan", r"picture\d.*NaN"),
        ("channels", r"picture\d.*6 channels"),
        ("crash", r"picture\d.*polygon"),
    ],
)
def test_faults_name_the_image(untrained, fault, message):
    with pytest.raises(SampleError, match=message):
        untrained.train(Wrong(fault), None, 0.01, 1, "all", verbose=0)


@pytest.mark.parametrize("position", [0, 1], ids=["training", "validation"])
def test_a_fault_in_a_later_batch_is_the_same_error(tmp_path, eagerly, position):
    """Keras looks at the first batches itself; later ones reach it through TensorFlow."""
    fields = (
        {"STEPS_PER_EPOCH": 10} if position == 0 else {"STEPS_PER_EPOCH": 1, "VALIDATION_STEPS": 10}
    )
    model = MaskRCNN("training", tiny_config(IMAGES_PER_GPU=1, **fields), str(tmp_path))
    sets = [Rectangles(4), Rectangles(4)]
    sets[position] = Wrong("mask size", start=9, count=10)
    with pytest.raises(SampleError, match=r"^Cannot load .*picture9.*63 x 64 pixels.*64 x 64$"):
        model.train(*sets, 0.01, 1, "heads", verbose=0)


class Steps(keras.callbacks.Callback):
    """The number of training steps."""

    count = 0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1


@pytest.mark.parametrize(
    "fault, start, message",
    [
        ("no objects", 0, "No image of Wrong has an object"),
        ("crash", 9, r"Cannot load image 9 \(source 'rectangles', id 'picture9'.*polygon"),
        ("damaged", 9, r"Cannot load .*picture9.*cut short"),
        ("missing", 9, r"Cannot load .*picture9.*gone\.jpg"),
        ("mask size", 9, r"Cannot load .*picture9.*63 x 64 pixels"),
    ],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_validation_data_are_checked_before_the_first_step(
    tmp_path, eagerly, fault, start, message, workers
):
    """Also an image that only a late batch has."""
    config = tiny_config(IMAGES_PER_GPU=1, STEPS_PER_EPOCH=1, VALIDATION_STEPS=10)
    model, steps = MaskRCNN("training", config, str(tmp_path)), Steps()
    before = values(model.keras_model)
    with pytest.raises(ValueError, match=message):
        model.train(
            Rectangles(4),
            Wrong(fault, start, count=10),
            0.01,
            1,
            "heads",
            custom_callbacks=[steps],
            workers=workers,
            verbose=0,
        )
    assert steps.count == 0
    for name, value in values(model.keras_model).items():
        np.testing.assert_array_equal(value, before[name])


def test_validation_images_without_objects_are_replaced_and_counted(tmp_path, eagerly, capsys):
    config = tiny_config(IMAGES_PER_GPU=1, STEPS_PER_EPOCH=1, VALIDATION_STEPS=4)
    model = MaskRCNN("training", config, str(tmp_path))
    history = model.train(
        Rectangles(4), Wrong("no objects", 1), 0.01, 1, "heads", verbose=0
    ).history
    assert np.isfinite(history["val_loss"]).all()
    said = capsys.readouterr().out
    assert "Of the validation data: " in said and "had no object and was replaced" in said


def test_validation_without_any_object_on_request(tmp_path, eagerly):
    model = MaskRCNN("training", tiny_config(KEEP_EMPTY_IMAGES=True), str(tmp_path))
    history = model.train(Rectangles(4), Wrong("no objects"), 0.01, 1, "heads", verbose=0).history
    assert np.isfinite(history["val_loss"]).all()


class Failing(keras.callbacks.Callback):
    """One that fails at some point of the second epoch."""

    def __init__(self, moment):
        super().__init__()
        self.epoch = 0
        setattr(self, moment, self.fail)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1

    def fail(self, *args, logs=None):
        if self.epoch == 2:
            raise RuntimeError("no connection")


@pytest.mark.parametrize(
    "moment, validates",
    [("on_test_begin", True), ("on_test_batch_end", True), ("on_test_end", True)]
    + [("on_epoch_end", validates) for validates in (True, False)],
)
@pytest.mark.parametrize("average", [None, 0.5], ids=["plain", "EMA"])
def test_weights_are_written_before_what_may_fail(tmp_path, eagerly, moment, validates, average):
    model = MaskRCNN("training", tiny_config(EMA_MOMENTUM=average), str(tmp_path))
    with pytest.raises(RuntimeError, match="no connection"):
        model.train(
            Rectangles(4),
            Rectangles(2) if validates else None,
            0.01,
            3,
            "all",
            custom_callbacks=[Failing(moment)],
            verbose=0,
        )
    assert model.epoch == 1  # the second has no state
    other = MaskRCNN("training", tiny_config(SEED=5), str(tmp_path))
    other.load_weights(model.checkpoint_path.format(epoch=2))
    for name, value in values(model.keras_model).items():  # the average, where there is one
        np.testing.assert_array_equal(value, values(other.keras_model)[name])


@pytest.mark.parametrize("what", ["mrcnn.training.loop.Evaluate", "mrcnn.training.loop.Pictures"])
def test_weights_are_written_before_they_are_measured(tmp_path, eagerly, monkeypatch, what):
    def fail(*args):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(f"{what}.on_epoch_end", fail)
    model = MaskRCNN("training", tiny_config(), str(tmp_path))
    with pytest.raises(RuntimeError, match="out of memory"):
        model.train(Rectangles(4), Rectangles(2), 0.01, 1, "all", verbose=0, evaluate_every=1)
    assert os.path.exists(model.checkpoint_path.format(epoch=1))


def test_weights_are_written_before_an_image_that_went_missing(tmp_path, eagerly):
    class Vanishing(Rectangles):
        loaded = 0

        def load_image(self, image_id):
            self.loaded += 1
            if self.loaded > len(self.image_ids):  # once it was checked
                raise FileNotFoundError("it was there")
            return super().load_image(image_id)

    model = MaskRCNN("training", tiny_config(IMAGES_PER_GPU=1), str(tmp_path))
    with pytest.raises(SampleError, match="it was there"):
        model.train(Rectangles(4), Vanishing(1), 0.01, 1, "all", verbose=0)
    assert os.path.exists(model.checkpoint_path.format(epoch=1))


def test_tensorflows_own_errors_stay(untrained):
    data = training_data(untrained.keras_model, Rectangles(2), untrained.config, 1)
    with pytest.raises(tf.errors.ResourceExhaustedError, match="memory"):
        with own_errors(data, None):
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")


def test_dataset_without_objects(untrained):
    with pytest.raises(
        ValueError,
        match="nothing to learn: none of the 4 images of Wrong has an object of red, blue",
    ):
        untrained.train(Wrong("no objects"), None, 0.01, 1, "all", verbose=0)


def test_dataset_of_crowds(untrained):
    with pytest.raises(ValueError, match="nothing to learn: all 5 objects are crowds"):
        untrained.train(Wrong("crowds"), None, 0.01, 1, "all", verbose=0)


@pytest.mark.parametrize("position", [0, 1], ids=["training", "validation"])
def test_dataset_without_images(untrained, position):
    sets = [Rectangles(4), Rectangles(4)]
    sets[position] = Rectangles(0)
    with pytest.raises(ValueError, match="Rectangles has no images"):
        untrained.train(*sets, 0.01, 1, "all", verbose=0)


def test_other_number_of_classes(untrained):
    data = Rectangles(4)
    data.add_class("rectangles", 3, "green")
    data.prepare()
    with pytest.raises(
        ValueError, match="Rectangles has 4 classes with the background .*NUM_CLASSES 3"
    ):
        untrained.train(data, None, 0.01, 1, "all", verbose=0)


def test_other_classes_of_the_validation_data(untrained):
    """The same number under other names, or in another order, would give a val_loss of nothing."""
    data = Rectangles(4)
    data.class_info[1]["name"], data.class_info[2]["name"] = (
        data.class_info[2]["name"],
        data.class_info[1]["name"],
    )
    data.prepare()
    with pytest.raises(
        ValueError, match="1 is 'red' in one and 'blue' in the other; 2 is.*classes=train_set"
    ):
        untrained.train(Rectangles(4), data, 0.01, 1, "all", verbose=0)


def test_other_classes_than_class_names(untrained, monkeypatch):
    monkeypatch.setattr(untrained.config, "CLASS_NAMES", ["BG", "red", "green"], raising=False)
    with pytest.raises(ValueError, match="2 is 'blue' in the dataset and 'green' in CLASS_NAMES"):
        untrained.train(Rectangles(4), None, 0.01, 1, "all", verbose=0)


def test_missing_image_file(untrained, tmp_path):
    class Files(Dataset):
        load_mask = Rectangles.load_mask

    data = Files()
    for class_id, name in enumerate(("red", "blue"), 1):
        data.add_class("photos", class_id, name)
    data.add_image(
        "photos", 17, str(tmp_path / "gone.jpg"), size=(64, 64), objects=[(1, 5, 5, 30, 30)]
    )
    data.prepare()
    with pytest.raises(SampleError, match=r"id 17.*Image file not found: .*gone\.jpg"):
        untrained.train(data, None, 0.01, 1, "all", verbose=0)


@pytest.mark.parametrize("mode", ["none", "pad64"])
def test_a_size_that_does_not_halve_six_times(mode, tmp_path):
    with pytest.raises(ValueError, match="100 x 100 px .IMAGE_MAX_DIM.*multiples of 64"):
        MaskRCNN(
            "training",
            tiny_config(IMAGE_RESIZE_MODE=mode, IMAGE_MAX_DIM=100, IMAGE_MIN_DIM=0),
            str(tmp_path),
        )


def test_images_of_other_sizes(tmp_path):
    model = MaskRCNN("training", tiny_config(IMAGE_RESIZE_MODE="none"), str(tmp_path))
    with pytest.raises(
        SampleError, match=r"\(64, 128, 3\) after IMAGE_RESIZE_MODE 'none'.*\(64, 64, 3\).*'square'"
    ):
        model.train(Rectangles(4, size=(64, 128)), None, 0.01, 1, "all", verbose=0)


def test_layers_that_match_nothing(untrained):
    with pytest.raises(ValueError, match=r"layers='head' matches no layer.*'heads'.*mrcnn_\.\*"):
        untrained.train(Rectangles(4), None, 0.01, 1, "head", verbose=0)


def test_a_name_is_needed(tmp_path):
    class Nameless(TinyConfig):
        NAME = None

    with pytest.raises(ValueError, match="NAME is None"):
        MaskRCNN("training", Nameless(), str(tmp_path)).train(
            Rectangles(4), None, 0.01, 1, "all", verbose=0
        )


def test_a_name_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ValueError, match="NAME is 'exp/a'"):
        tiny_config(NAME="exp/a")
    config = tiny_config()
    config.NAME = "../x"  # set later
    with pytest.raises(ValueError, match=r"NAME is '\.\./x'"):
        MaskRCNN("training", config, str(tmp_path / "logs"))
    assert not list(tmp_path.iterdir())


def test_a_name_that_was_changed_once_the_model_is_there(untrained, monkeypatch):
    monkeypatch.setattr(untrained.config, "NAME", "")
    with pytest.raises(ValueError, match="NAME is ''"):
        untrained.train(Rectangles(4), None, 0.01, 1, "all", verbose=0)


@pytest.mark.parametrize(
    "callbacks, message",
    [
        ([keras.callbacks.EarlyStopping], "make an object of the class"),
        ([print], "print.*is no keras.callbacks.Callback"),
    ],
)
def test_what_is_no_callback(tmp_path, callbacks, message):
    model = MaskRCNN("training", tiny_config(), str(tmp_path))
    with pytest.raises(TypeError, match=f"custom_callbacks has .*{message}"):
        model.train(Rectangles(2), None, 0.01, 1, "heads", custom_callbacks=callbacks)


def test_a_single_callback_needs_no_list(tmp_path, eagerly):
    model, epochs = MaskRCNN("training", tiny_config(), str(tmp_path)), []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    model.train(Rectangles(2), None, 0.01, 2, "heads", custom_callbacks=callback, verbose=0)
    assert epochs == [0, 1]

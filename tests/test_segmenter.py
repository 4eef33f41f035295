"""The Segmenter: trains, resumes, loads, predicts."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest

from mrcnn.config import Config, SegmentationConfig
from mrcnn.config.file import read_config
from mrcnn.model import MaskRCNN
from mrcnn.networks import halves
from mrcnn.segmenter import Segmenter
from tests.tiny import Rectangles, backbone, tiny_config, values


class Small(SegmentationConfig):
    NAME = "small"
    NUM_CLASSES = 3
    NETWORK = "unet"
    UNET_WIDTHS = (4, 8)
    VGG_WIDTHS = (4, 4, 8, 8, 8)
    VGG_CONVOLUTIONS = (1, 1, 1, 1, 1)
    FC_CHANNELS = 8
    ASPP_CHANNELS = 8
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    IMAGES_PER_GPU = 2
    STEPS_PER_EPOCH = VALIDATION_STEPS = 2
    SEED = 3


def small(**fields):
    return type("Small", (Small,), fields)()


def segmenter(folder, mode="training", **fields):
    return Segmenter(mode, small(**fields), str(folder))


def train(model, epochs=None, layers=(("decoder", 2), ("all", 4, 0.005)), **options):
    data = Rectangles(5), Rectangles(2, seed=1)
    return model.train(*data, 0.01, epochs, layers, verbose=0, **options)


def same(first, second):
    return all(np.array_equal(value, second[name]) for name, value in first.items())


class Stop(keras.callbacks.Callback):
    """End as a kill would, at a step of an epoch."""

    def __init__(self, epoch, step):
        super().__init__()
        self.at, self.epoch = (epoch, step), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


# === Training ===


@pytest.mark.parametrize(
    "fields",
    [
        *(dict(NETWORK=name) for name in ("plain", "fcn32s", "fcn16s", "fcn8s", "segnet")),
        dict(NETWORK="pspnet", BACKBONE=backbone),
        dict(NETWORK="deeplab", BACKBONE=backbone, NUM_CLASSES=3, LOSS="focal"),
        dict(UNET_PADDING="valid", LOSS="0.5*ce+0.25*dice"),
        dict(BACKBONE=backbone, UNET_WIDTHS=(4, 4, 8, 8), BATCH_NORM=False),
    ],
    ids=[
        "plain",
        "fcn32s",
        "fcn16s",
        "fcn8s",
        "segnet",
        "pspnet",
        "deeplab",
        "valid",
        "on_backbone",
    ],
)
def test_every_network_trains_and_predicts(fields, tmp_path, eagerly):
    model = segmenter(tmp_path, STEPS_PER_EPOCH=1, VALIDATION_STEPS=1, **fields)
    before = values(model.keras_model)
    history = train(model, 1, "all").history
    assert all(np.isfinite(value).all() for value in history.values())
    after = values(model.keras_model)
    last = [name for name in after if "score" in name and name.endswith("kernel")]
    assert last and not any(np.array_equal(before[name], after[name]) for name in last)
    for shape in ((1, 1, 3), (37, 50, 3), (64, 64)):
        (result,) = model.detector().segment([np.full(shape, 90, np.uint8)])
        assert result.labels.shape == shape[:2] and result.labels.max() < 3


def test_the_loss_is_the_sum_that_is_asked_for(tmp_path, eagerly):
    model = segmenter(tmp_path, LOSS="0.5*ce+0.25*dice", STEPS_PER_EPOCH=1, WEIGHT_DECAY=0.0)
    history = train(model, 1, "all").history
    batch = model.batches(Rectangles(5), training=True, seed=3).batch(0)
    fresh = segmenter(tmp_path / "again", LOSS="0.5*ce+0.25*dice", WEIGHT_DECAY=0.0)
    _, ce, dice = fresh.keras_model([np.asarray(part) for part in batch], training=True)
    assert history["ce_loss"][0] == pytest.approx(0.5 * float(ce), rel=1e-5)
    assert history["dice_loss"][0] == pytest.approx(0.25 * float(dice), rel=1e-5)
    assert history["loss"][0] == pytest.approx(0.5 * float(ce) + 0.25 * float(dice), rel=1e-5)


def test_a_loss_of_the_users_own(tmp_path, eagerly):
    def squared(labels, logits, valid):
        truth = keras.ops.one_hot(keras.ops.maximum(labels, 0), 3)
        errors = keras.ops.sum((keras.ops.softmax(logits) - truth) ** 2, axis=-1)
        return keras.ops.sum(errors * valid) / keras.ops.maximum(keras.ops.sum(valid), 1.0)

    model = segmenter(tmp_path, LOSS=squared, STEPS_PER_EPOCH=1)
    history = train(model, 1, "all").history
    assert 0 < history["own_loss"][0] < 2
    fields = read_config(Path(model.log_dir) / "config.json")
    assert fields["LOSS"].endswith("squared")
    # its name is enough to predict, and not to train
    config = SegmentationConfig.from_dict(fields)
    found = Segmenter("inference", config, tmp_path)
    found.load_weights(model.checkpoint_path.format(epoch=1))
    assert len(found.segment([np.zeros((20, 20, 3), np.uint8)])) == 1
    with pytest.raises(ValueError, match="LOSS: .*squared.* names a function, and .* imports"):
        Segmenter("training", config, tmp_path)


@pytest.mark.parametrize(
    "fields, told",
    [
        (dict(LOSS="dice"), True),
        (dict(LOSS="ce+dice"), False),
        (dict(LOSS="dice", KEEP_EMPTY_IMAGES=False), False),
    ],
)
def test_a_loss_that_learns_nothing_from_empty_images_is_told_of_once(
    tmp_path, capsys, fields, told
):
    data = Rectangles(3)
    data.image_info[1]["objects"] = []
    model = segmenter(tmp_path, STEPS_PER_EPOCH=1, NETWORK="plain", **fields)
    model.train(data, None, 0.01, None, [("decoder", 1), ("all", 2)], verbose=0)
    sentence = (
        "Of the training data, 1 of 3 images that were looked at have no object, and LOSS = 'dice' "
        "learns nothing from a batch of such"
    )
    assert capsys.readouterr().out.count(sentence) == told
    full = Rectangles(3)
    assert model.not_learned(full) == []


def test_void_pixels_change_nothing(tmp_path, eagerly):
    """The same image with another picture under its void pixels, in a network that sees a pixel
    apart from others.
    """
    model = segmenter(tmp_path, LOSS="ce+dice", NETWORK="plain")
    image, labels = np.random.RandomState(0).randn(1, 9, 9, 3), np.ones((1, 9, 9), np.int32)
    labels[0, :, 5:] = 255
    losses = [float(loss) for loss in model.keras_model([image, labels])[1:]]
    labels[0, :, 5:] = 0
    assert losses != [float(loss) for loss in model.keras_model([image, labels])[1:]]
    labels[0] = 255
    assert [float(loss) for loss in model.keras_model([image, labels])[1:]] == [0, 0]


def test_stages(tmp_path, eagerly):
    model = segmenter(tmp_path, NETWORK="fcn8s", BACKBONE=backbone)

    def trained(word):
        model.set_trainable(model.stages[word], verbose=0)
        return {layer.name for layer in model.keras_model.layers if layer.trainable_weights}

    decoder, fifth, everything = trained("decoder"), trained("5+"), trained("all")
    assert decoder and all(name.startswith("seg_") for name in decoder)
    assert fifth - decoder == {"res5a_branch2a", "bn5a_branch2a"}
    assert {"conv1", "res2a_branch2a"} <= everything - trained("3+")
    with pytest.raises(ValueError, match=r"'heads' matches no layer.*'decoder'.*'seg_\.\*'"):
        train(model, 1, "heads")
    with pytest.raises(ValueError, match=r"has the losses .*; take some of \('ce_loss', '"):
        train(model, layers=[("all", 1, None, ("rpn_class_loss",))])


# === Files ===


@pytest.mark.parametrize(
    "fields",
    [
        dict(DROPOUT=0.3, SCALE_JITTER=(0.5, 1.5)),
        dict(NETWORK="fcn8s", OPTIMIZER="Adam", EMA_MOMENTUM=0.9, GRADIENT_ACCUMULATION_STEPS=2),
    ],
    ids=["random", "adam_average_sum"],
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(fields, tmp_path, eagerly):
    whole = segmenter(tmp_path / "whole", **fields)
    train(whole)
    stopped = segmenter(tmp_path / "stopped", **fields)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, custom_callbacks=[Stop(3, 1)])
    again = segmenter(tmp_path / "stopped", **fields)
    assert again.resume().endswith("segmenter_small_0003.h5")
    train(again)
    assert same(values(whole.keras_model), values(again.keras_model))


def test_checkpoints_and_measures(tmp_path, eagerly):
    model = segmenter(tmp_path)
    history = train(model, 2, "all", evaluate_every=1)
    files = sorted(os.listdir(model.log_dir))
    assert [name for name in files if name.endswith(".h5")] == [
        "segmenter_small_0001.h5",
        "segmenter_small_0002.h5",
        "segmenter_small_best.h5",
    ]
    assert len(os.listdir(Path(model.log_dir) / "pictures")) == 4
    names = ("val_mIoU", "val_foreground_mIoU", "val_Dice", "val_pixel_accuracy")
    assert all(len(history.history[name]) == 2 for name in names)
    best = segmenter(tmp_path, "inference")
    best.load_weights(Path(model.log_dir) / "segmenter_small_best.h5")
    measured = best.evaluate(Rectangles(2, seed=1), verbose=0)
    assert measured["mIoU"] == pytest.approx(max(history.history["val_mIoU"]), abs=1e-6)
    assert best.find_last().endswith("segmenter_small_0002.h5")
    fields = read_config(Path(model.log_dir) / "config.json")
    assert fields["NETWORK"] == "unet"
    assert SegmentationConfig.from_dict(fields).UNET_WIDTHS == (4, 8)


def test_runs_of_both_kinds_keep_apart(tmp_path, eagerly):
    model = segmenter(tmp_path)
    train(model, 1, "all")
    other = MaskRCNN("training", tiny_config(NAME="small"), str(tmp_path))
    assert other.resume() is None
    assert other.log_dir != model.log_dir


def test_starts_from_a_mask_rcnn(tmp_path, eagerly):
    teacher = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=1, NAME="small"), str(tmp_path))
    teacher.train(Rectangles(2), None, 0.01, 1, "all", verbose=0)
    model = segmenter(tmp_path, NETWORK="fcn8s", BACKBONE=backbone)
    report = model.load_weights(teacher.find_last(), by_name=True)
    assert {"conv1", "res5a_branch2a"} <= set(report.loaded)
    assert not any(name.startswith("seg_") for name in report.loaded)
    assert any(name.startswith("mrcnn_") for name in report.skipped_in_file)
    assert model.epoch == 0 and model.log_dir != teacher.log_dir
    given = values(teacher.keras_model)
    assert all(
        np.array_equal(value, given[name])
        for name, value in values(model.keras_model).items()
        if name.split("/")[0] in report.loaded
    )


def test_a_single_image_is_convolved_in_halves(tmp_path, monkeypatch):
    sizes, convolve = [], halves._convolve_halves
    monkeypatch.setattr(
        halves,
        "_convolve_halves",
        lambda image, *rest: sizes.append(image.shape) or convolve(image, *rest),
    )
    model = segmenter(tmp_path, "inference", UNET_WIDTHS=(4, halves.WIDE))
    images = np.random.RandomState(0).uniform(-100, 100, (2, 32, 48, 3)).astype(np.float32)
    both = model.predict(images)
    assert not sizes
    np.testing.assert_allclose(model.predict(images[:1])[0], both[0], atol=1e-5)
    assert sizes


def test_what_is_no_segmenters(tmp_path):
    with pytest.raises(TypeError, match="needs a SegmentationConfig"):
        Segmenter("training", Config.from_dict({"NAME": "a"}), str(tmp_path))
    with pytest.raises(ValueError, match="BACKBONE is None, and there are no ImageNet weights"):
        segmenter(tmp_path).get_imagenet_weights()
    with pytest.raises(ValueError, match="segment needs mode='inference'"):
        segmenter(tmp_path).segment([np.zeros((8, 8, 3), np.uint8)])

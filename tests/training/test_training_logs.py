"""What a training tells: validation AP, best weights, the table of epochs, images per second,
pictures.
"""

import csv
import gc
import os
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.evaluation import evaluate_detections
from mrcnn.model import MaskRCNN
from mrcnn.training.checkpoint import Run, WeightsCheckpoint
from mrcnn.training.logs import ImagesPerSecond, LossTable, Pictures
from mrcnn.training.validation import Evaluate
from mrcnn.weights import load_h5
from tests.tiny import Rectangles, randomize, same, tiny_config, values

METRICS = ["val_bbox_AP", "val_bbox_AP50", "val_segm_AP", "val_segm_AP50"]


class Seen(keras.callbacks.Callback):
    """What a custom callback is given."""

    def __init__(self):
        super().__init__()
        self.epochs, self.steps = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(dict(logs))

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(dict(logs))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three epochs in two stages with AP every second epoch; the second stage without a validation
    set.
    """

    class Run:
        folder = tmp_path_factory.mktemp("logs")
        model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=2), str(folder))
        val = Rectangles(4, seed=1)
        seen = Seen()

    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    randomize(Run.model.keras_model)
    Run.history = Run.model.train(
        Rectangles(4),
        Run.val,
        1e-5,
        None,
        [("heads", 2), ("all", 3)],
        verbose=0,
        evaluate_every=2,
        custom_callbacks=[Run.seen],
    )
    Run.weights = values(Run.model.keras_model)
    tf.config.run_functions_eagerly(False)
    return Run


# === Validation AP ===


def test_ap_is_logged_before_custom_callbacks_see_the_epoch(run):
    # 3 is the last
    assert [all(name in logs for name in METRICS) for logs in run.seen.epochs] == [
        False,
        True,
        True,
    ]
    for name in METRICS:
        assert run.history.history[name] == [logs[name] for logs in run.seen.epochs if name in logs]
    assert len(run.history.history["val_loss"]) == 3


def test_ap_is_that_of_the_checkpoint(run):
    """A second way to the number: the file's weights in an inference model of their own."""
    model = MaskRCNN("inference", tiny_config(), str(run.folder))
    model.load_weights(model.find_last())
    summary = evaluate_detections(run.val, model.detect, batch_size=2, progress=False)
    for kind in ("bbox", "segm"):
        for name in ("AP", "AP50"):
            assert run.history.history[f"val_{kind}_{name}"][-1] == pytest.approx(
                summary[kind][name], abs=1e-9
            )


def test_the_detector_shares_all_weights(run):
    detector = run.model.detector()
    assert (
        detector is run.model.detector()
        and detector.mode == "inference"
        and run.model.mode == "training"
    )
    ours = {id(variable) for variable in run.model.keras_model.weights}
    assert len(ours) == len(detector.keras_model.weights)
    assert all(id(variable) in ours for variable in detector.keras_model.weights)
    assert {layer.name for layer in run.model.keras_model.layers if layer.weights} == {
        layer.name for layer in detector.keras_model.layers if layer.weights
    }


def test_the_detector_keeps_no_second_weights(tmp_path):
    def held():
        gc.collect()
        return sum(issubclass(type(each), tf.Variable) for each in gc.get_objects())

    model = MaskRCNN("training", tiny_config(), str(tmp_path))
    before = held()
    model.detector()
    assert held() - before < 5


@pytest.mark.parametrize("fields", [{}, {"TRAIN_BN": None}, {"IMAGE_RESIZE_MODE": "crop"}], ids=str)
def test_the_detector_finds_what_an_inference_model_finds(fields, tmp_path):
    model = MaskRCNN("training", tiny_config(**fields), str(tmp_path))
    randomize(model.keras_model)
    data = Rectangles(3)
    images = [data.load_image(index) for index in range(3)]
    found = model.detector().detect(images)
    assert any(len(result["rois"]) for result in found)
    model.save_weights(str(tmp_path / "a.h5"))
    other = MaskRCNN("inference", model.detector().config, str(tmp_path))
    other.load_weights(str(tmp_path / "a.h5"))
    assert same(found, other.detect(images))
    for variable in model.keras_model.weights:  # the detector follows
        variable.assign(variable * 0.5)
    assert not same(found, model.detector().detect(images))
    with pytest.raises(ValueError, match="detect needs mode='inference'"):
        model.detect(images)


def test_keras_callbacks_monitor_ap():
    """EarlyStopping and ModelCheckpoint, on APs that are given here."""
    aps = iter([0.1, 0.3, 0.2, 0.25, 0.1])
    detector = types.SimpleNamespace(
        evaluate=lambda dataset, verbose: {"segm_AP": next(aps), "bbox_AP": 0.5, "F1": 1}
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    early = keras.callbacks.EarlyStopping(
        "val_segm_AP", mode="max", patience=2, restore_best_weights=True
    )
    ap = Evaluate(
        lambda: detector, None, lambda epoch: epoch % 2 == 1, MaskRCNN.measures, verbose=False
    )
    with pytest.warns(UserWarning, match="val_segm_AP.* which is not available"):
        history = model.fit(
            np.ones((4, 1)), np.ones((4, 1)), epochs=10, verbose=0, callbacks=[ap, early]
        )
    assert (
        history.history["val_segm_AP"] == [0.1, 0.3, 0.2, 0.25]
        and history.history["val_bbox_AP"] == [0.5] * 4
    )
    assert "val_F1" not in history.history and early.best_epoch == 3 and len(history.epoch) == 8


def test_ap_needs_a_validation_set(tmp_path):
    with pytest.raises(ValueError, match="evaluate_every is 1, but there is no val_dataset"):
        MaskRCNN("training", tiny_config(), str(tmp_path)).train(
            Rectangles(2), None, 0.1, 1, "all", evaluate_every=1
        )


# === Best weights ===


def best_after(series, monitor, tmp_path, run=None):
    """Epochs after which the best weights were written, with weights that tell the epoch."""
    (tmp_path / "run").mkdir(exist_ok=True)
    run = run or Run(str(tmp_path / "run" / "mask_rcnn_x_{epoch:04d}.h5"))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="a")])
    callback = WeightsCheckpoint(run, monitor)
    callback.set_model(model)
    kept = []
    for epoch, value in enumerate(series):
        model.weights[0].assign([[float(epoch)]])
        callback.on_epoch_end(epoch, {monitor: value} if value is not None else {})
        best = tmp_path / "run" / "mask_rcnn_x_best.h5"
        if best.exists():
            other = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="a")])
            load_h5(other, str(best))
            kept.append(int(other.weights[0].numpy()[0, 0]))
        else:
            kept.append(None)
    return kept, run


@pytest.mark.parametrize(
    "monitor, series, expected",
    [
        ("val_segm_AP", [0.1, None, 0.3, 0.2, 0.3], [0, 0, 2, 2, 2]),
        ("val_loss", [2.0, 3.0, 1.0, 1.5], [0, 0, 2, 2]),
        ("val_bbox_AP50", [float("nan"), 0.0, 0.1], [None, 1, 2]),
        ("val_recall", [0.1, 0.3, 0.2], [0, 1, 1]),
    ],
)
def test_the_best_weights_are_kept(monitor, series, expected, tmp_path):
    assert best_after(series, monitor, tmp_path)[0] == expected


def test_a_metric_that_does_not_tell_what_is_better(tmp_path):
    with pytest.raises(
        ValueError, match="monitor is 'val_mape', whose name does not tell.*'loss' .less. or 'AP'"
    ):
        WeightsCheckpoint(Run(str(tmp_path / "x_{epoch:04d}.h5")), "val_mape")


def test_a_metric_that_is_never_logged_is_told(tmp_path, eagerly, capsys):
    for monitor, told in (("val_losss", True), ("val_loss", False)):
        model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=1), str(tmp_path / monitor))
        model.train(Rectangles(2), Rectangles(2), 1e-3, 1, "heads", verbose=0, monitor=monitor)
        said = capsys.readouterr().out
        assert (
            "No best weights were kept: monitor is 'val_losss', and logged were" in said
        ) == told
        assert (" val_loss" in said.partition("logged were")[2]) == told


def test_the_best_value_outlives_the_process(tmp_path):
    _, run = best_after([0.5], "val_segm_AP", tmp_path)
    assert run.best == {"val_segm_AP": 0.5}
    kept, _ = best_after([0.4, 0.6], "val_segm_AP", tmp_path, Run(run.pattern, best=run.best))
    assert kept == [0, 1]


def test_the_best_file_outlives_its_checkpoint_and_is_not_the_last(run):
    best = os.path.join(run.model.log_dir, "mask_rcnn_tiny_best.h5")
    assert os.path.exists(best) and run.model.find_last().endswith("mask_rcnn_tiny_0003.h5")
    series = run.history.history["val_segm_AP"]
    if not np.isnan(series).all():
        epoch = [2, 3][int(np.nanargmax(series))]
        with open(best, "rb") as one, open(run.model.run.path(epoch), "rb") as other:
            assert one.read() == other.read()


# === The table ===


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_columns_line_up_between_stages(tmp_path):
    path = str(tmp_path / "losses.csv")
    optimizer = keras.optimizers.SGD(
        keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.5, 0.25])
    )

    def write(first, *epochs):
        log = LossTable(path, types.SimpleNamespace(value=3.5))
        log.set_model(types.SimpleNamespace(optimizer=optimizer))
        log.on_train_begin()
        for epoch, logs in enumerate(epochs, first):
            log.on_epoch_begin(epoch)
            log.on_epoch_end(epoch, logs)

    write(0, {"loss": 1.0}, {"loss": 0.5, "val_loss": 2.0})
    write(2, {"loss": 0.25}, {"loss": 0.125, "val_segm_AP": 0.75})
    write(3, {"loss": 9.0, "val_loss": 8.0})  # epoch 3 again, after a kill
    rows = table(path)
    assert list(rows[0]) == [
        "epoch",
        "loss",
        "learning_rate",
        "images_per_second",
        "val_loss",
        "val_segm_AP",
    ]
    assert [(row["epoch"], row["loss"], row["val_loss"]) for row in rows] == [
        ("0", "1.0", ""),
        ("1", "0.5", "2.0"),
        ("2", "0.25", ""),
        ("3", "9.0", "8.0"),
    ]
    assert {row["learning_rate"] for row in rows} == {"0.5"} and {
        row["images_per_second"] for row in rows
    } == {"3.5"}


def test_the_table_of_a_run(run):
    rows = table(os.path.join(run.model.log_dir, "losses.csv"))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    for row, logs in zip(rows, run.seen.epochs):
        for name, value in logs.items():
            assert float(row[name]) == pytest.approx(value, nan_ok=True), name
        assert (
            float(row["learning_rate"]) == pytest.approx(1e-5)
            and float(row["images_per_second"]) > 0
        )
    assert rows[0]["val_segm_AP"] == ""


# === Progress and pictures ===


def test_images_per_second(run, monkeypatch):
    assert all(logs["images_per_second"] > 0 for logs in run.seen.steps)
    assert all("images_per_second" not in logs for logs in run.seen.epochs)
    clock = iter([0.0, 100.0, 102.0, 104.0, 200.0, 201.0])  # the first step builds the graph
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    speed, rates = ImagesPerSecond(8), []
    for steps in (3, 1):
        speed.on_epoch_begin(0)
        for step in range(steps):
            speed.on_train_batch_end(step, logs := {})
            rates.append(logs["images_per_second"])
    assert rates == [0.08, 4.0, 4.0, 8.0]


def test_the_progress_bar_shows_losses_and_speed(tmp_path, eagerly, capsys):
    model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=1), str(tmp_path))
    model.train(Rectangles(2), None, 0.01, 1, "heads", verbose=1)
    said = capsys.readouterr().out
    assert all(name in said for name in ("images_per_second", "mrcnn_mask_loss", "rpn_class_loss"))


def test_pictures_of_predictions_beside_truth(run):
    from PIL import Image

    folder = os.path.join(run.model.log_dir, "pictures")
    names = sorted(name for name in os.listdir(folder) if name.endswith(".png"))
    assert names == [f"epoch_{epoch:04d}_{number}.png" for epoch in (2, 3) for number in range(3)]
    picture = np.asarray(Image.open(os.path.join(folder, names[0])))
    assert picture.shape == (64, 128, 3)
    truth = picture[:, 64:].astype(int)
    changed = (truth != run.val.load_image(0)).any(axis=-1)
    mask = run.val.load_mask(0)[0].any(axis=-1)
    assert changed[mask].mean() > 0.9


def test_no_picture_of_a_damaged_image_and_one_of_the_others(run, tmp_path):
    class Damaged(Rectangles):
        def load_image(self, image_id):
            if image_id == 2:
                raise OSError("the file is cut short")
            return super().load_image(image_id)

    pictures = Pictures(run.model.detector, Damaged(5), str(tmp_path), lambda epoch: True)
    with pytest.warns(UserWarning, match="no picture of image 2 .*'picture2'.*cut short"):
        pictures.on_epoch_end(0)
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2


def test_tensorboard(tmp_path, eagerly):
    """The five losses, the learning rate, AP and pictures, read back from the event files."""
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=1), str(tmp_path))
    randomize(model.keras_model)
    model.train(Rectangles(4), Rectangles(2), 1e-4, 1, "all", verbose=0, evaluate_every=1)
    tags = {}
    for part in ("train", "validation", "pictures"):
        events = EventAccumulator(os.path.join(model.log_dir, part))
        events.Reload()
        tags[part] = set(
            sum((kind for kind in events.Tags().values() if isinstance(kind, list)), [])
        )
    losses = {
        f"epoch_{name}"
        for name in (
            "rpn_class_loss",
            "rpn_bbox_loss",
            "mrcnn_class_loss",
            "mrcnn_bbox_loss",
            "mrcnn_mask_loss",
        )
    }
    assert losses | {"epoch_learning_rate"} <= tags["train"]
    assert losses | {"epoch_segm_AP", "epoch_bbox_AP50"} <= tags["validation"]
    assert {"found and truth 0", "found and truth 1"} <= tags["pictures"]

"""Training in stages: losses, files, resuming, determinism, and the NaN that stops it."""

import csv
import os
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from mrcnn.config.presets import ModernConfig, preset_fields
from mrcnn.data.batches import TrainingBatches
from mrcnn.model import MaskRCNN
from mrcnn.training import STAGES
from mrcnn.training.bad_loss import StopOnBadLoss
from mrcnn.training.data import CountEpochs, TrainingData, training_data
from mrcnn.training.stages import set_trainable
from mrcnn.weights.h5_format import read_h5
from tests.tiny import TORCHVISION_RESNET, Rectangles, tiny_config, values

LOSSES = [
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
]
KEYS = {"loss", *LOSSES}
BACKBONE = ("conv1/", "bn_conv1/", "res", "bn")


def of_backbone(name):
    return name.startswith(BACKBONE)


class Recorder(keras.callbacks.Callback):
    """Weights and momenta as training begins."""

    def on_train_begin(self, logs=None):
        self.weights = values(self.model)
        self.momenta = momenta(self.model)


def momenta(model):
    return {
        weight.path: momentum.numpy()
        for weight, momentum in zip(
            model.trainable_variables, model.optimizer.momentums, strict=True
        )
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A training in two stages: the heads to epoch 2, all layers to epoch 6."""

    class Run:
        folder = tmp_path_factory.mktemp("logs")
        data = Rectangles(6)
        model = MaskRCNN("training", tiny_config(NAME="Tiny", STEPS_PER_EPOCH=6), str(folder))
        start = values(model.keras_model)
        heads = model.train(data, Rectangles(3, seed=1), 0.01, 2, "heads", verbose=0)
        between = values(model.keras_model), momenta(model.keras_model)
        second = Recorder()
        all = model.train(
            data, Rectangles(3, seed=1), 0.01, 6, "all", custom_callbacks=[second], verbose=0
        )
        end = values(model.keras_model)

    return Run


# === Two stages ===


def test_history_has_the_losses_of_both_sets(run):
    for history, epochs in ((run.heads, [0, 1]), (run.all, [2, 3, 4, 5])):
        assert isinstance(history, keras.callbacks.History) and history.epoch == epochs
        assert set(history.history) == KEYS | {"val_" + key for key in KEYS}
        assert all(
            len(series) == len(epochs) and np.isfinite(series).all()
            for series in history.history.values()
        )


def test_losses_fall(run):
    total = run.heads.history["loss"] + run.all.history["loss"]
    assert total[-1] < total[0] / 2
    assert run.all.history["val_loss"][-1] < run.heads.history["val_loss"][0]
    assert run.all.history["rpn_class_loss"][-1] < run.heads.history["rpn_class_loss"][0] / 2


def test_heads_leave_the_backbone_alone(run):
    after = run.between[0]
    for name, value in run.start.items():
        if of_backbone(name):
            np.testing.assert_array_equal(value, after[name], err_msg=name)
    changed = [
        not np.array_equal(value, after[name])
        for name, value in run.start.items()
        if not of_backbone(name) and "moving" not in name
    ]
    assert len(changed) > 40 and np.mean(changed) > 0.95


def test_all_layers_change_but_frozen_statistics(run):
    for name, value in run.between[0].items():
        assert np.array_equal(value, run.end[name]) == ("moving" in name), name


def test_momentum_survives_the_change_of_stage(run):
    """The original lost it with every call of train."""
    weights, before = run.between
    assert not any(of_backbone(name) for name in before)
    assert all(np.array_equal(value, run.second.weights[name]) for name, value in weights.items())
    assert set(before) < set(run.second.momenta)
    for name, momentum in run.second.momenta.items():
        np.testing.assert_array_equal(
            momentum, before.get(name, np.zeros_like(momentum)), err_msg=name
        )
    assert any(momentum.any() for momentum in before.values())


def test_files_of_a_run(run):
    folder = run.model.log_dir
    assert os.path.dirname(folder) == str(run.folder) and os.path.basename(folder).startswith(
        "tiny20"
    )
    files = sorted(name for name in os.listdir(folder) if name.endswith(".h5"))
    assert files == [f"mask_rcnn_tiny_{epoch:04d}.h5" for epoch in range(1, 7)]
    with open(os.path.join(folder, "losses.csv")) as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == list("012345")
    np.testing.assert_allclose(
        [float(row["loss"]) for row in rows],
        run.heads.history["loss"] + run.all.history["loss"],
        rtol=1e-5,
    )


def test_a_checkpoint_holds_its_epochs_weights(run):
    stored = {
        name: value
        for layer in read_h5(os.path.join(run.model.log_dir, "mask_rcnn_tiny_0002.h5")).values()
        for name, value in layer
    }
    kernel = run.between[0]["mrcnn_class_logits/kernel"]
    np.testing.assert_array_equal(stored["mrcnn_class_logits/kernel:0"], kernel)
    assert not np.array_equal(run.end["mrcnn_class_logits/kernel"], kernel)


def test_trained_weights_detect(run):
    model = MaskRCNN("inference", tiny_config(NAME="Tiny"), str(run.folder))
    report = model.load_weights(model.find_last())
    assert report.initial == [] and report.path.endswith("mask_rcnn_tiny_0006.h5")
    results = model.detect([run.data.load_image(index) for index in run.data.image_ids])
    assert len(results) == 6 and any(len(result["rois"]) for result in results)


def test_resuming_a_run(run, eagerly, capsys):
    model = MaskRCNN("training", tiny_config(NAME="Tiny", STEPS_PER_EPOCH=1), str(run.folder))
    model.load_weights(model.find_last())
    assert model.epoch == 6 and model.log_dir == run.model.log_dir
    for epochs in (5, 6):
        # a script of several stages passes those that it has behind it
        assert model.train(run.data, None, 0.01, epochs, "heads", verbose=0).history == {}
        assert (
            f"{epochs} is the epoch to end with, and 6 are trained already"
            in capsys.readouterr().out
        )
    history = model.train(run.data, None, 0.01, 7, "heads", verbose=0)
    assert history.epoch == [6] and model.epoch == 7
    assert set(history.history) == KEYS  # no val_ without a set for it
    assert model.find_last() == os.path.join(run.model.log_dir, "mask_rcnn_tiny_0007.h5")
    os.remove(model.find_last())


# === Losses ===


def weight_decay(model, rate):
    """Sum over trained kernels and biases of rate * mean of squares."""
    return sum(
        rate * np.mean(np.square(weight.numpy(), dtype=np.float64))
        for weight in model.trainable_variables
        if weight.name in ("kernel", "bias")
    )


def test_losses_are_weighted_and_not_doubled_by_a_second_call(tmp_path, eagerly):
    # others count 1
    weights = {
        "rpn_class_loss": 3.0,
        "rpn_bbox_loss": 0.0,
        "mrcnn_class_loss": 0.5,
    }
    config = tiny_config(LOSS_WEIGHTS=weights, WEIGHT_DECAY=0.7, STEPS_PER_EPOCH=1)
    model, data = MaskRCNN("training", config, str(tmp_path)), Rectangles(2)
    batches = training_data(model.keras_model, data, config, 3)
    plain = [
        dict(zip(model.keras_model.output_names, model.keras_model(list(batches[number][0]))))
        for number in range(3)
    ]
    # at a learning rate of 0 the weights stay; the RPN's losses do not depend on which RoIs are
    # drawn
    calls = [
        model.train(data, data, 0.0, epoch, layers, verbose=0).history
        for epoch, layers in ((1, "heads"), (2, "all"), (3, "all"))
    ]
    for number, history in enumerate(calls):
        logs = {key: value[0] for key, value in history.items()}
        # the epochs go on in the training data and begin again in the validation data
        for prefix, outputs in (("", plain[number]), ("val_", plain[0])):
            assert logs[prefix + "rpn_class_loss"] == pytest.approx(
                3 * float(outputs["rpn_class_loss"]), rel=1e-4
            )
            assert logs[prefix + "rpn_bbox_loss"] == 0 < float(outputs["rpn_bbox_loss"])
        set_trainable(model.keras_model, STAGES["heads" if number == 0 else "all"])
        expected = sum(logs[name] for name in LOSSES) + weight_decay(model.keras_model, 0.7)
        assert logs["loss"] == pytest.approx(expected, rel=1e-4)
        assert logs["val_loss"] == pytest.approx(
            sum(logs["val_" + name] for name in LOSSES) + weight_decay(model.keras_model, 0.7),
            rel=1e-4,
        )
    assert weight_decay(model.keras_model, 0.7) > 0.1
    assert float(plain[0]["rpn_class_loss"]) != pytest.approx(
        float(plain[1]["rpn_class_loss"]), rel=1e-3
    )


class Poison(keras.callbacks.Callback):
    """Put a NaN into the network as an epoch begins."""

    def __init__(self, epoch, layer):
        super().__init__()
        self.epoch, self.layer = epoch, layer

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            bias = self.model.get_layer(self.layer).bias
            bias.assign(bias * np.nan)


def test_nan_stops_and_names_the_images(tmp_path, eagerly):
    config = tiny_config(IMAGES_PER_GPU=2, STEPS_PER_EPOCH=2)
    data = Rectangles(8)
    model = MaskRCNN("training", config, str(tmp_path))
    # the first batch of epoch 2
    expected = training_data(model.keras_model, data, config, 2).batches.image_ids(2)
    names = [f"picture{index}" for index in expected]
    with pytest.raises(FloatingPointError, match="nan") as caught:
        model.train(
            data,
            None,
            0.01,
            3,
            "all",
            custom_callbacks=[Poison(1, "mrcnn_class_logits")],
            verbose=0,
        )
    message = str(caught.value)
    assert "mrcnn_class_loss" in message and "step 1" in message and str(names) in message
    checkpoints = [name for name in os.listdir(model.log_dir) if name.endswith(".h5")]
    assert checkpoints == ["mask_rcnn_tiny_0001.h5"]
    assert f"The last good checkpoint is {os.path.join(model.log_dir, checkpoints[0])}" in message
    for sample in training_data(model.keras_model, data, config, 2).batches.samples(2):
        for class_id, box in zip(sample.class_ids, sample.boxes):
            assert f"{data.class_names[class_id]} {tuple(map(int, box))}" in message
    kept = read_h5(os.path.join(model.log_dir, checkpoints[0]))
    assert all(np.isfinite(value).all() for layer in kept.values() for _, value in layer)
    assert "rpn_class_loss" not in message.split("step")[0]  # that one is fine


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_every_bad_loss_stops(value):
    config = tiny_config()
    data = TrainingData(_Batches(config), 3, [], epoch=1)
    callback = StopOnBadLoss(data)
    callback.on_epoch_begin(1)
    callback.on_train_batch_end(0, {"loss": 1.0, "mrcnn_bbox_loss": 2.0})
    with pytest.raises(
        FloatingPointError, match=r"'mrcnn_bbox_loss'.*step 3 .*\['picture5'\]"
    ) as caught:
        callback.on_train_batch_end(2, {"loss": 1.0, "mrcnn_bbox_loss": value})
    assert "'picture5' with (y1, x1, y2, x2) px of the resized image: blue (1, 2, 30, 40)" in str(
        caught.value
    )
    assert "There is no checkpoint yet" in str(caught.value)


def test_weights_that_the_last_step_spoiled_are_not_kept(tmp_path, eagerly):
    """The loss of that step was computed before, and is fine."""

    class Spoil(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1 and self.model.optimizer.iterations > 2:
                kernel = self.model.get_layer("conv1").kernel
                kernel.assign(kernel * np.inf)

    # before the first of its own callbacks sees the end of the epoch
    model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=2), str(tmp_path))
    with pytest.raises(
        FloatingPointError,
        match=r"last step of epoch 2, on the images \['picture\d', 'picture\d'\], "
        r"left NaN or infinite values in \['conv1/kernel'\].*_0001\.h5",
    ):
        model.train(Rectangles(4), None, 0.01, 3, "all", custom_callbacks=[Spoil()], verbose=0)
    assert model.epoch == 1 and model.find_last().endswith("mask_rcnn_tiny_0001.h5")


def test_a_bad_validation_loss_stops(eagerly, tmp_path, monkeypatch):
    """A rate that is much too high may leave finite weights and training losses that overflow on
    other images.
    """
    monkeypatch.setattr(keras.Model, "evaluate", lambda *args, **kwargs: {"loss": np.nan})
    model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=1), str(tmp_path))
    with pytest.raises(
        FloatingPointError,
        match=r"'val_loss': nan.* validation images after epoch 1.*no checkpoint",
    ):
        model.train(Rectangles(4), Rectangles(4), 0.01, 2, "all", verbose=0)
    assert model.epoch == 0


class _Batches(TrainingBatches):
    """Batch i has the image i."""

    def __init__(self, config):
        self.config, self.dataset = config, Rectangles(8)

    def image_ids(self, index):
        return [index]

    def samples(self, index):
        return [
            SimpleNamespace(
                image_id=index, class_ids=np.array([2]), boxes=np.array([[1, 2, 30, 40]])
            )
        ]

    def batch(self, index):
        return [np.full((1, 2), index, np.float64), np.full(1, index % 2)]


# === Data ===


def test_training_data_counts_on():
    data = TrainingData(_Batches(tiny_config()), 3, ["float32", "bool"], epoch=2)
    assert len(data) == 3 and not data.use_multiprocessing
    first = data[1]
    assert len(first) == 1 and [array.dtype for array in first[0]] == [np.float32, bool]
    seen = [int(data[step][0][0][0, 0]) for step in range(3)]
    CountEpochs(data).on_epoch_begin(3)
    assert seen + [int(data[step][0][0][0, 0]) for step in range(3)] == [6, 7, 8, 9, 10, 11]


def test_validation_data_are_the_same_every_epoch():
    data = TrainingData(_Batches(tiny_config()), 2, ["float32", "bool"], repeat=True)
    first = [data[step][0][0] for step in range(2)]
    CountEpochs(data).on_epoch_begin(1)
    np.testing.assert_array_equal(first, [data[step][0][0] for step in range(2)])


def test_seed_makes_runs_alike(tmp_path):
    def train(seed):
        # one step: later ones may differ by rounding, which the choice of proposals makes larger;
        # random regions, because an untrained RPN may find nothing to choose from
        config = tiny_config(SEED=seed, STEPS_PER_EPOCH=1, USE_RPN_ROIS=False)
        model = MaskRCNN("training", config, str(tmp_path))
        history = model.train(Rectangles(5), None, 0.01, 1, "all", workers=2, verbose=0)
        return history.history, values(model.keras_model)

    (first, first_weights), (second, second_weights) = train(3), train(3)
    for key in KEYS:
        np.testing.assert_allclose(first[key], second[key], rtol=1e-4, err_msg=key)
        assert first[key][0] > 0
    for name, value in first_weights.items():
        np.testing.assert_allclose(value, second_weights[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_data_follow_from_the_seed(rectangles):
    model = MaskRCNN("training", tiny_config(), "unused").keras_model
    one, same_seed, other = (
        training_data(model, rectangles, tiny_config(SEED=seed, IMAGES_PER_GPU=4), 2)
        for seed in (3, 3, 4)
    )
    for step in (1, 0):
        for a, b in zip(one[step][0], same_seed[step][0], strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one[0][0][0], other[0][0][0])


def test_augmentation_is_for_training_only(tmp_path, eagerly):
    calls = []

    def flip(picture, masks):
        calls.append(picture.shape)
        return picture[:, ::-1], masks[:, ::-1]

    def train(**options):
        calls.clear()
        model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=1), str(tmp_path))
        model.train(
            Rectangles(4), Rectangles(4), 0.01, 1, "heads", augmentation=flip, verbose=0, **options
        )
        return len(calls)

    # no more than the batches that Keras reads ahead, and none of the validation set's
    assert train() > 0
    assert train(no_augmentation_sources=["rectangles"]) == 0


# === Variants of the model ===


@pytest.mark.parametrize(
    "fields",
    [
        {"USE_RPN_ROIS": False},
        {"USE_MINI_MASK": False},
        {"TRAIN_BN": None},
        {"TRAIN_BN": True},
        {"GRADIENT_CLIP_NORM": None},
        {"STOP_PROPOSAL_GRADIENT": True},
        {"IMAGE_RESIZE_MODE": "crop"},
        {"IMAGE_CHANNEL_COUNT": 1, "MEAN_PIXEL": np.array([110.0])},
        {"BACKBONE": "resnet50"},
    ],
    ids=lambda fields: " ".join(fields),
)
def test_variants_train(fields, tmp_path, eagerly):
    model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=1, **fields), str(tmp_path))
    before = values(model.keras_model)
    history = model.train(Rectangles(4), Rectangles(2), 0.01, 1, "all", verbose=0).history
    assert all(np.isfinite(history[key]).all() for key in history) and history["loss"][0] > 0
    after = values(model.keras_model)
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert any(of_backbone(name) for name in changed) and any("rpn_" in name for name in changed)
    assert any("moving" in name for name in changed) == ("TRAIN_BN" in fields)


MODERN = preset_fields(ModernConfig)


@pytest.mark.parametrize(
    "fields",
    [
        MODERN,
        {**MODERN, "USE_MINI_MASK": False, "BBOX_LOSS": "giou", "MASK_LOSS": "softmax"},
        {**TORCHVISION_RESNET, "IMAGE_RESIZE_MODE": "fit", "ROI_ADD_GT": True},
        {
            "CLASS_AGNOSTIC_BOXES": True,
            "CLASS_AGNOSTIC_MASKS": True,
            "HARD_EXAMPLES": 5,
            "ROI_ADD_GT": True,  # or there may be no positive region to learn boxes from
        },
        {"MASK_HEAD": "mlp", "ROI_ALIGN": "pool", "RPN_IGNORE_CROSSING": True, "ROI_ADD_GT": True},
    ],
    ids=["modern", "whole masks", "torchvision", "agnostic", "mlp"],
)
def test_the_modern_recipe_trains(fields, tmp_path):
    """As users do, in a graph: there a shape may be no number yet."""
    model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=1, **fields), str(tmp_path))
    before = values(model.keras_model)
    data = Rectangles(4)
    history = model.train(data, Rectangles(2), 0.01, 1, "all", verbose=0).history
    assert all(np.isfinite(history[key]).all() for key in history) and history["loss"][0] > 0
    after = values(model.keras_model)
    kinds = ("rpn_", "mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask", "fpn_")
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert all(any(kind in name for name in changed) for kind in kinds)
    detector = MaskRCNN("inference", tiny_config(**fields), str(tmp_path))
    detector.load_weights(model.find_last())
    result = detector.detect([data.load_image(0)])[0]
    assert result["masks"].shape == (64, 64, result.count) and len(result.boxes) == result.count


def test_mixed_precision_trains(tmp_path, eagerly):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=1), str(tmp_path))
    before = values(model.keras_model)
    assert model.keras_model.get_layer("res3a_branch2a").compute_dtype == "bfloat16"
    for name in ("ROI", "proposal_targets", "roi_align_classifier", *LOSSES):
        assert model.keras_model.get_layer(name).compute_dtype == "float32", name
    assert {output.dtype for output in model.keras_model.outputs[-5:]} == {"float32"}
    history = model.train(Rectangles(4), None, 0.01, 1, "all", verbose=0).history
    assert all(np.isfinite(history[key]).all() for key in KEYS)
    after = values(model.keras_model)
    assert {value.dtype for value in after.values()} == {np.dtype("float32")}
    assert (
        np.mean(
            [
                not np.array_equal(before[name], after[name])
                for name in before
                if "moving" not in name
            ]
        )
        > 0.8
    )


# === Which layers train ===


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    return MaskRCNN("training", tiny_config(), str(tmp_path_factory.mktemp("logs")))


def test_set_trainable_by_names(untrained, capsys):
    untrained.set_trainable(r"rpn_class_raw|fpn_p2")
    printed = capsys.readouterr().out
    assert "fpn_p2 " in printed and "rpn_class_raw " in printed and len(printed.splitlines()) == 2
    assert sorted(
        weight.path.split("/")[-2] for weight in untrained.keras_model.trainable_variables
    ) == ["fpn_p2", "fpn_p2", "rpn_class_raw", "rpn_class_raw"]
    untrained.set_trainable(".*", verbose=0)
    assert capsys.readouterr().out == ""
    assert len(untrained.keras_model.trainable_variables) == len(
        [weight for weight in untrained.keras_model.weights if "moving" not in weight.name]
    )


def test_a_whole_name_must_match(untrained):
    with pytest.raises(ValueError, match="matches no layer"):
        untrained.set_trainable("fpn_p")

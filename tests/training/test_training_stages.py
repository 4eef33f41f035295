"""Stages in one call, alternating training, and what a list of stages may not say."""

import keras
import numpy as np
import pytest

from mrcnn.model import MaskRCNN
from mrcnn.training import Stage, alternating_stages
from mrcnn.training.stages import HEAD_LOSSES, RPN_LOSSES, as_stages, set_losses, set_trainable
from tests.tiny import Rectangles, tiny_config, values


def part(name):
    """ "rpn", "heads" or "shared" of a variable's path."""
    return "rpn" if "rpn_" in name else "heads" if name.startswith("mrcnn_") else "shared"


def parts(changed):
    return {part(name) for name in changed}


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    return MaskRCNN("training", tiny_config(), str(tmp_path_factory.mktemp("logs")))


def test_one_stage():
    assert as_stages("heads", 3, 0.1) == [Stage("heads", 3, 0.1)]


def test_a_list_of_stages_takes_what_is_missing_from_the_call():
    given = [("heads", 2), Stage("4+", 5, 0.01, RPN_LOSSES), ("all", np.int64(9), 0.001)]
    assert as_stages(given, None, 0.1) == [
        Stage("heads", 2, 0.1),
        Stage("4+", 5, 0.01, RPN_LOSSES),
        Stage("all", 9, 0.001),
    ]
    assert as_stages(given, 5, 0.1) == as_stages(given, None, 0.1)[:2]
    assert as_stages(given, 4, 0.1)[1].epochs == 4 and len(as_stages(given, 2, 0.1)) == 1


@pytest.mark.parametrize(
    "layers, message",
    [
        ([], "empty list"),
        (
            [("heads", 3), ("all", 3)],
            "'all' ends with epoch 3, but the one before it with 3.*must rise",
        ),
        ([("heads", "3")], "epochs='3'"),
        ([("heads", None)], "epochs=None"),
        ([Stage("heads", 3, None, ("mask_loss",))], "losses .'mask_loss',.*mrcnn_mask_loss"),
        ([Stage("heads", 3, None, ())], "losses"),
    ],
)
def test_stages_that_make_no_sense(layers, message):
    with pytest.raises(ValueError, match=message):
        as_stages(layers, None, 0.1)


def test_a_misspelt_last_stage_shows_at_once(untrained):
    before = values(untrained.keras_model)
    with pytest.raises(ValueError, match="layers='al' matches no layer"):
        untrained.train(Rectangles(3), None, 0.01, None, [("heads", 1), ("al", 2)], verbose=0)
    assert untrained.epoch == 0
    assert all(
        np.array_equal(value, before[name]) for name, value in values(untrained.keras_model).items()
    )


def test_alternating_stages_train_what_the_paper_says(untrained):
    stages = alternating_stages([2, 1, 3, 1])
    assert [stage.epochs for stage in stages] == [2, 3, 6, 7]
    assert [stage.losses for stage in stages] == [RPN_LOSSES, HEAD_LOSSES] * 2
    trained = []
    for stage in stages:
        set_trainable(untrained.keras_model, stage.layers)
        trained.append(
            parts(variable.path for variable in untrained.keras_model.trainable_variables)
        )
    assert trained == [{"shared", "rpn"}, {"shared", "heads"}, {"rpn"}, {"heads"}]
    assert [stage.epochs for stage in alternating_stages(2)] == [2, 4, 6, 8]
    with pytest.raises(ValueError, match="3 numbers; alternating training has 4"):
        alternating_stages([1, 2, 3])


def test_losses_that_count(untrained):
    weights = {"rpn_class_loss": 3.0}
    model = untrained.keras_model
    set_losses(model, weights, RPN_LOSSES)
    assert [model.get_layer(name).weight for name in (*RPN_LOSSES, *HEAD_LOSSES)] == [
        3.0,
        1.0,
        0.0,
        0.0,
        0.0,
    ]
    set_losses(model, weights)
    assert [model.get_layer(name).weight for name in (*RPN_LOSSES, *HEAD_LOSSES)] == [
        3.0,
        1.0,
        1.0,
        1.0,
        1.0,
    ]


class Snapshots(keras.callbacks.Callback):
    """The weights before training and after each epoch, of all stages."""

    def __init__(self):
        super().__init__()
        self.taken = []

    def on_train_begin(self, logs=None):
        self.taken = self.taken or [values(self.model)]

    def on_epoch_end(self, epoch, logs=None):
        self.taken.append(values(self.model))


def test_alternating_training_runs(tmp_path, eagerly, capsys):
    model = MaskRCNN("training", tiny_config(STEPS_PER_EPOCH=2, WEIGHT_DECAY=0.0), str(tmp_path))
    snapshots = Snapshots()
    history = model.train(
        Rectangles(4),
        None,
        0.005,
        None,
        alternating_stages(1),
        custom_callbacks=[snapshots],
        verbose=0,
    )
    changed = [
        parts(name for name in before if not np.array_equal(before[name], after[name]))
        for before, after in zip(snapshots.taken, snapshots.taken[1:])
    ]
    assert len(changed) == 4
    assert changed[0] == {"shared", "rpn"} and changed[2] == {"rpn"}
    # nothing where no proposal is near an object
    assert changed[1] <= {"shared", "heads"} and changed[3] <= {"heads"}
    assert history.epoch == [0, 1, 2, 3] and model.epoch == 4
    for name, series in history.history.items():
        assert len(series) == 4
        if name != "loss":
            zero = [0, 2] if name in HEAD_LOSSES else [1, 3]
            assert [series[epoch] for epoch in zero] == [0, 0]
    assert capsys.readouterr().out.count("Training (?!") == 2

"""Rules of the fields of the optimizer, its schedule, and what else a training may change."""

import json
import warnings

import keras
import pytest

from mrcnn.config import Config
from mrcnn.config.file import parse_settings
from tests.tiny import tiny_config


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"OPTIMIZER": "Adamw"}, "OPTIMIZER is 'Adamw'; .*did you mean AdamW"),
        ({"OPTIMIZER": None}, "OPTIMIZER is None; it must be a callable"),
        ({"OPTIMIZER_OPTIONS": ["nesterov"]}, "OPTIMIZER_OPTIONS is .*must be a dict"),
        (
            {"OPTIMIZER_OPTIONS": {"learning_rate": 0.1}},
            "has 'learning_rate'; set LEARNING_RATE or train",
        ),
        ({"OPTIMIZER_OPTIONS": {"use_ema": True}}, "has 'use_ema'; set EMA_MOMENTUM"),
        ({"OPTIMIZER_OPTIONS": {"global_clipnorm": 1.0}}, "set GRADIENT_CLIP_NORM"),
        (
            {"OPTIMIZER_OPTIONS": {"clipnorm": 1.0}},
            "has 'clipnorm', but .*GRADIENT_CLIP_NORM = 5.0; set that to None",
        ),
        (
            {"OPTIMIZER": keras.optimizers.Adam, "OPTIMIZER_OPTIONS": {"beta_1": 0.5}},
            "but OPTIMIZER is a callable",
        ),
        (
            {"LEARNING_RATE_SCHEDULE": "step"},
            "LEARNING_RATE_SCHEDULE is 'step'; .*'multistep' or 'cosine'",
        ),
        ({"LEARNING_RATE_SCHEDULE": 3}, "LEARNING_RATE_SCHEDULE is 3"),
        ({"LEARNING_RATE_SCHEDULE": "multistep"}, "LEARNING_RATE_DROP_EPOCHS is empty"),
        (
            {"LEARNING_RATE_DROP_EPOCHS": (3, 3)},
            "LEARNING_RATE_DROP_EPOCHS is .*must be rising epochs",
        ),
        ({"LEARNING_RATE_DROP_EPOCHS": (0, 3)}, "must be rising epochs of at least 1"),
        ({"LEARNING_RATE_DROP_EPOCHS": 3}, "LEARNING_RATE_DROP_EPOCHS is 3"),
        ({"LEARNING_RATE_WARMUP_STEPS": -1}, "LEARNING_RATE_WARMUP_STEPS is -1"),
        ({"LEARNING_RATE_WARMUP_STEPS": 1.5}, "LEARNING_RATE_WARMUP_STEPS is 1.5"),
        ({"LEARNING_RATE_WARMUP_FACTOR": 2}, "LEARNING_RATE_WARMUP_FACTOR is 2; .*from 0 to 1"),
        ({"LEARNING_RATE_DROP_FACTOR": None}, "LEARNING_RATE_DROP_FACTOR is None"),
        ({"LEARNING_RATE_END_FACTOR": -0.1}, "LEARNING_RATE_END_FACTOR is -0.1"),
        ({"EMA_MOMENTUM": 1}, "EMA_MOMENTUM is 1; .*between 0 and 1"),
        ({"EMA_MOMENTUM": "0.9"}, "EMA_MOMENTUM is '0.9'"),
        ({"GRADIENT_ACCUMULATION_STEPS": 0}, "GRADIENT_ACCUMULATION_STEPS is 0"),
        (
            {"DTYPE_POLICY": "bfloat16"},
            "DTYPE_POLICY is 'bfloat16'; it must be one of float32, mixed_bfloat16",
        ),
        ({"FREEZE_BACKBONE_STAGES": 6}, "FREEZE_BACKBONE_STAGES is 6; .*from 0 .none. to 5"),
        ({"FREEZE_BACKBONE_STAGES": True}, "FREEZE_BACKBONE_STAGES is True"),
    ],
)
def test_wrong_values(fields, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(**fields)


def test_right_values():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny_config(
            OPTIMIZER="AdamW",
            OPTIMIZER_OPTIONS={"weight_decay": 0.05},
            LEARNING_RATE_SCHEDULE="multistep",
            LEARNING_RATE_DROP_EPOCHS=[30, 40],
            LEARNING_RATE_WARMUP_STEPS=500,
            EMA_MOMENTUM=0.999,
            GRADIENT_ACCUMULATION_STEPS=4,
            DTYPE_POLICY="mixed_float16",
            FREEZE_BACKBONE_STAGES=2,
        )
        tiny_config(GRADIENT_CLIP_NORM=None, OPTIMIZER_OPTIONS={"clipvalue": 1.0})


def test_on_the_command_line():
    settings = parse_settings(
        [
            "OPTIMIZER=AdamW",
            'OPTIMIZER_OPTIONS={"weight_decay": 0.05}',
            "LEARNING_RATE_SCHEDULE=multistep",
            "LEARNING_RATE_DROP_EPOCHS=30,40",
            "EMA_MOMENTUM=0.999",
            "DTYPE_POLICY=mixed_bfloat16",
        ]
    )
    assert settings == {
        "OPTIMIZER": "AdamW",
        "OPTIMIZER_OPTIONS": {"weight_decay": 0.05},
        "LEARNING_RATE_SCHEDULE": "multistep",
        "LEARNING_RATE_DROP_EPOCHS": (30, 40),
        "EMA_MOMENTUM": 0.999,
        "DTYPE_POLICY": "mixed_bfloat16",
    }
    assert parse_settings(["LEARNING_RATE_DROP_EPOCHS=30"]) == {"LEARNING_RATE_DROP_EPOCHS": (30,)}
    assert parse_settings(["LEARNING_RATE_SCHEDULE=none"]) == {"LEARNING_RATE_SCHEDULE": None}


def make(rate):
    return keras.optimizers.Adam(rate)


def test_a_file_of_settings_keeps_the_names_of_callables():
    """So that weights trained with them can be used, but not trained, from the file alone."""
    config = tiny_config(
        OPTIMIZER=staticmethod(make),
        LEARNING_RATE_SCHEDULE=keras.optimizers.schedules.CosineDecay(0.1, 10),
    )
    fields = json.loads(json.dumps(config.to_dict()))
    assert fields["OPTIMIZER"] == f"{__name__}:make" and fields["LEARNING_RATE_SCHEDULE"].endswith(
        ":CosineDecay"
    )
    fields.update(BACKBONE="resnet50", COMPUTE_BACKBONE_SHAPE=None)
    assert Config.from_dict(fields).OPTIMIZER == f"{__name__}:make"

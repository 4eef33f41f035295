"""OPTIMIZER and what belongs to it: every class of Keras, its options, its clipping, its state."""

import inspect

import keras
import numpy as np
import pytest

from mrcnn.common.keras_internals import learning_rate
from mrcnn.config.choices import OPTIMIZERS
from mrcnn.model import MaskRCNN
from mrcnn.training.optimizer import (
    arrays,
    keep_slots,
    make_optimizer,
    optimizer_variables,
    restore,
)
from tests.tiny import tiny_config
from tests.training.toy_trainer import SHAPES, gradients


def variables(seed=0):
    rng = np.random.RandomState(seed)
    made = []
    for path, shape in SHAPES.items():
        with keras.name_scope(path.partition("/")[0]):
            made.append(
                keras.Variable(rng.randn(*shape).astype(np.float32), name=path.partition("/")[2])
            )
    return made


def train(optimizer, steps=range(4), trained=None):
    """The variables after steps."""
    if trained is None:
        trained = variables()
        optimizer.build(trained)
    for number in steps:
        optimizer.apply(gradients(number))
    return [variable.numpy() for variable in trained]


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


# === Which optimizer ===


def test_the_default_is_what_it_was():
    optimizer = make_optimizer(tiny_config(), 0.01, 0.9)
    assert type(optimizer) is keras.optimizers.SGD
    settings = {name: value for name, value in optimizer.get_config().items() if name != "name"}
    assert settings == {
        "learning_rate": pytest.approx(0.01),
        "momentum": 0.9,
        "nesterov": False,
        "global_clipnorm": 5.0,
        "clipnorm": None,
        "clipvalue": None,
        "weight_decay": None,
        "use_ema": False,
        "ema_momentum": 0.99,
        "ema_overwrite_frequency": None,
        "loss_scale_factor": None,
        "gradient_accumulation_steps": None,
    }
    assert equal(train(optimizer), train(keras.optimizers.SGD(0.01, 0.9, global_clipnorm=5.0)))
    assert list(optimizer_variables(optimizer)) == [
        "iteration",
        "learning_rate",
        *(f"{path.replace('/', '_')}_momentum" for path in SHAPES),
    ]


def test_all_classes_of_keras_are_known():
    """But for those around other optimizers and ScheduleFreeAdamW."""
    theirs = {
        name
        for name, kind in vars(keras.optimizers).items()
        if inspect.isclass(kind) and issubclass(kind, keras.optimizers.Optimizer)
    }
    assert theirs - set(OPTIMIZERS) <= {
        "Optimizer",
        "LossScaleOptimizer",
        "MultiOptimizer",
        "ScheduleFreeAdamW",
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_class_clips_as_keras_own(name):
    momentum = {"momentum": 0.9} if name == "SGD" else {}
    ours = make_optimizer(tiny_config(OPTIMIZER=name), 0.01, 0.9)
    theirs = getattr(keras.optimizers, name)(0.01, global_clipnorm=5.0, **momentum)
    if theirs.weight_decay:
        theirs.exclude_from_weight_decay(var_names=["gamma", "beta"])
    assert equal(train(ours), train(theirs))
    unclipped = train(
        make_optimizer(tiny_config(OPTIMIZER=name, GRADIENT_CLIP_NORM=None), 0.01, 0.9)
    )
    # the gradients are so long that it tells; some divide them by their own size
    assert name in ("Lion", "Adafactor") or not equal(
        train(make_optimizer(tiny_config(OPTIMIZER=name), 0.01, 0.9)), unclipped
    )


def test_options_reach_the_class():
    optimizer = make_optimizer(
        tiny_config(OPTIMIZER="AdamW", OPTIMIZER_OPTIONS={"weight_decay": 0.5, "beta_1": 0.8}),
        0.1,
        0.9,
    )
    assert (optimizer.weight_decay, optimizer.beta_1, optimizer.global_clipnorm) == (0.5, 0.8, 5.0)
    assert (
        make_optimizer(
            tiny_config(OPTIMIZER_OPTIONS={"nesterov": True, "momentum": 0.5}), 0.1, 0.9
        ).momentum
        == 0.5
    )
    assert make_optimizer(tiny_config(OPTIMIZER="RMSprop"), 0.1, 0.9).momentum == 0


def test_decay_of_the_optimizer_leaves_normalisation_alone():
    """At gradients of 0 only the decay moves anything."""
    optimizer = make_optimizer(
        tiny_config(OPTIMIZER="AdamW", OPTIMIZER_OPTIONS={"weight_decay": 0.5}), 0.1, 0.9
    )
    trained = variables()
    optimizer.build(trained)
    optimizer.apply([keras.ops.zeros(shape) for shape in SHAPES.values()])
    for before, after in zip(variables(), trained, strict=True):
        expected = before.numpy() * (1 if before.name in ("gamma", "beta") else 1 - 0.5 * 0.1)
        np.testing.assert_allclose(after.numpy(), expected, rtol=1e-6)


def test_a_callable_makes_the_optimizer():
    def make(rate):
        return keras.optimizers.Adam(rate, beta_1=0.5)

    plain = make_optimizer(tiny_config(OPTIMIZER=staticmethod(make)), 0.01, 0.9)
    assert equal(train(plain), train(keras.optimizers.Adam(0.01, beta_1=0.5, global_clipnorm=5.0)))
    own = make_optimizer(
        tiny_config(OPTIMIZER=lambda self, rate: keras.optimizers.Adam(rate, clipvalue=1.0)), 0.1, 0
    )
    assert own.clipvalue == 1.0 and own.global_clipnorm is None


@pytest.mark.parametrize(
    "options, field",
    [
        ({"gradient_accumulation_steps": 3}, "GRADIENT_ACCUMULATION_STEPS"),
        ({"use_ema": True}, "EMA_MOMENTUM"),
    ],
    ids=["accumulation", "average"],
)
def test_a_callable_that_does_what_a_field_is_for(options, field):
    config = tiny_config(OPTIMIZER=lambda self, rate: keras.optimizers.SGD(rate, **options))
    with pytest.raises(ValueError, match=f"with {next(iter(options))}.*set {field} instead"):
        make_optimizer(config, 0.1, 0.9)


@pytest.mark.parametrize(
    "made, error, message",
    [
        (lambda: "adam", TypeError, "gave str; it must give one optimizer of Keras"),
        (
            lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
            TypeError,
            "without another one inside",
        ),
    ],
    ids=["str", "scaled"],
)
def test_a_callable_that_makes_something_else(made, error, message):
    with pytest.raises(error, match=message):
        make_optimizer(tiny_config(OPTIMIZER=lambda self, rate: made()), 0.1, 0.9)


def test_a_callable_that_gives_one_twice():
    one = keras.optimizers.SGD()
    one.build(variables())
    with pytest.raises(ValueError, match="in use; every stage needs a new one"):
        make_optimizer(tiny_config(OPTIMIZER=lambda self, rate: one), 0.1, 0.9)


def test_what_keras_refuses():
    with pytest.raises(
        ValueError, match=r"OPTIMIZER_OPTIONS is .*keras.optimizers.AdamW refuses: .*nestrov"
    ):
        make_optimizer(
            tiny_config(OPTIMIZER="AdamW", OPTIMIZER_OPTIONS={"nestrov": True}), 0.1, 0.9
        )
    with pytest.raises(
        ValueError, match="the name that a file of settings keeps.*set OPTIMIZER to the callable"
    ):
        make_optimizer(tiny_config(OPTIMIZER="mine:make"), 0.1, 0.9)


def test_a_saved_model_has_its_optimizer(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile(make_optimizer(tiny_config(OPTIMIZER="Nadam"), 0.02, 0.9), "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    optimizer = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert isinstance(optimizer, keras.optimizers.Nadam) and optimizer.global_clipnorm == 5.0


# === float16 ===


def test_the_loss_is_scaled_for_float16():
    scaled = make_optimizer(tiny_config(OPTIMIZER="Adam"), 0.01, 0.9, "mixed_float16")
    plain = make_optimizer(tiny_config(OPTIMIZER="Adam"), 0.01, 0.9, "mixed_bfloat16")
    assert isinstance(scaled, keras.optimizers.LossScaleOptimizer)
    trained = variables()
    scaled.build(trained)
    for number in range(4):  # by powers of two, so that nothing is rounded
        factor = scaled.dynamic_scale.value
        scaled.apply([gradient * factor for gradient in gradients(number)])
    assert equal([variable.numpy() for variable in trained], train(plain))
    assert learning_rate(scaled) == pytest.approx(0.01)


def test_an_update_that_is_not_finite_is_skipped_and_the_scale_is_kept():
    config = tiny_config(OPTIMIZER="Adam")
    scaled, trained = make_optimizer(config, 0.01, 0.9, "mixed_float16"), variables()
    scaled.build(trained)
    scaled.apply(gradients(0))
    before = [variable.numpy() for variable in trained]
    scaled.apply([gradient * np.inf for gradient in gradients(1)])
    assert equal(before, [variable.numpy() for variable in trained])
    assert float(scaled.dynamic_scale) == 2.0**14 and int(scaled.iterations) == 1
    following = make_optimizer(config, 0.5, 0.9, "mixed_float16")
    keep_slots(scaled, following, trained)
    assert float(following.dynamic_scale) == 2.0**14 and int(following.iterations) == 0
    assert learning_rate(following) == pytest.approx(0.5)
    old, new = arrays(optimizer_variables(scaled)), arrays(optimizer_variables(following))
    assert equal(
        [old[name] for name in old if "velocity" in name],
        [new[name] for name in old if "velocity" in name],
    )


def test_a_state_fits_with_and_without_scaling():
    """So that a run can change DTYPE_POLICY where it goes on."""
    plain = make_optimizer(tiny_config(), 0.01, 0.9)
    train(plain)
    scaled = make_optimizer(tiny_config(), 0.5, 0.9, "mixed_float16")
    scaled.build(variables())
    state = arrays(optimizer_variables(plain))
    assert restore(optimizer_variables(scaled), state) == len(state)
    assert int(scaled.iterations) == 4 and learning_rate(scaled) == pytest.approx(0.01)


def test_compile_scales_by_the_policy_of_the_model(tmp_path):
    model = MaskRCNN("training", tiny_config(DTYPE_POLICY="mixed_float16"), str(tmp_path))
    model.compile(0.01, 0.9)
    optimizer = model.keras_model.optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    slots = len(model.keras_model.trainable_variables)
    # two counters each, scale and its counter
    assert len(optimizer_variables(optimizer)) == slots + 2 + 4
    model.set_trainable("mrcnn_.*", verbose=0)
    model.compile(0.01, 0.9)
    assert 0 < len(optimizer_variables(model.keras_model.optimizer)) - 6 < slots

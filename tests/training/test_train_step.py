"""The step of `MaskRCNNModel` takes less memory than Keras' own, and does the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from mrcnn.networks.layers.convolution import Conv2D
from mrcnn.networks.layers.folding import folded_normalization

from mrcnn.model import MaskRCNN
from mrcnn.networks.layers.weight_decay import MeanL2
from mrcnn.training.data import training_data
from tests.tiny import Rectangles, randomize, tiny_config, values

DECAY = 1e4  # so strong that a step without it shows


def trainer(tmp_path, **fields):
    """A training model with random weights, the same each time, and a batch for it."""
    config = tiny_config(**{"WEIGHT_DECAY": DECAY, "IMAGES_PER_GPU": 2, **fields})
    model = MaskRCNN("training", config, str(tmp_path))
    randomize(model.keras_model)
    model.keras_model.get_layer("proposal_targets").shuffle = False
    return model, training_data(
        model.keras_model, Rectangles(), config, steps=1, shuffle=False, seed=0
    )[0][0]


def after_steps(model, batch, steps=2):
    """All weights and the losses of a model after some steps."""
    losses = [
        float(model.keras_model.train_on_batch(batch, return_dict=True)["loss"])
        for _ in range(steps)
    ]
    return {**values(model.keras_model), "losses": np.array(losses)}


def assert_close(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_allclose(value, second[name], rtol=2e-4, atol=2e-6, err_msg=name)


def moved(first, second):
    """Names of the weights that differ."""
    return {name for name in first if not np.allclose(first[name], second[name], rtol=0, atol=1e-7)}


@pytest.mark.parametrize(
    "pattern, fields",
    [
        (".*", {}),
        (r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)", {}),
        pytest.param(".*", {"BACKBONE": "resnet50"}, marks=pytest.mark.slow),
    ],
)
def test_it_does_what_keras_step_does(tmp_path, monkeypatch, pattern, fields):
    def trained(kerass_own):
        model, batch = trainer(tmp_path, **fields)
        model.set_trainable(pattern, verbose=0)
        if kerass_own:
            monkeypatch.setattr(type(model.keras_model), "train_step", keras.Model.train_step)
            model.keras_model.compile(
                keras.optimizers.SGD(1e-3, 0.9, global_clipnorm=5.0), jit_compile=False
            )
        else:
            model.compile(1e-3, 0.9)
        before = values(model.keras_model)
        found = after_steps(model, batch)
        trained_ones = {variable.path for variable in model.keras_model.trainable_variables}
        assert moved(before, found) <= trained_ones and len(moved(before, found)) > 0.6 * len(
            trained_ones
        )
        return found

    assert_close(trained(False), trained(True))


def test_an_optimizer_of_the_user_gets_the_decay_too(tmp_path):
    def trained(compile_it):
        model, batch = trainer(tmp_path)
        model.set_trainable(".*", verbose=0)
        compile_it(model)
        return after_steps(model, batch)

    ours = trained(lambda model: model.compile(1e-3, 0.9))
    assert_close(
        ours,
        trained(
            lambda model: model.keras_model.compile(
                keras.optimizers.SGD(1e-3, 0.9, global_clipnorm=5.0), jit_compile=False
            )
        ),
    )
    nothing = trained(
        lambda model: (
            [setattr(variable, "regularizer", None) for variable in model.keras_model.weights]
            and model.compile(1e-3, 0.9)
        )
    )
    assert len(moved(ours, nothing)) > 20  # the decay is not too weak to be seen


@pytest.mark.parametrize(
    "fields",
    [
        {"OPTIMIZER": "AdamW"},
        {"GRADIENT_ACCUMULATION_STEPS": 2},
        {"OPTIMIZER_OPTIONS": {"nesterov": True}},
        {"DTYPE_POLICY": "mixed_float16"},
        {"REMATERIALIZE": True},
    ],
    ids=str,
)
def test_the_decay_is_in_every_kind_of_step(tmp_path, monkeypatch, fields):
    """Apart from the losses or among them."""

    def trained(apart):
        model, batch = trainer(tmp_path, **fields)
        model.set_trainable(".*", verbose=0)
        model.compile(1e-3, 0.9)
        optimizer = getattr(
            model.keras_model.optimizer, "inner_optimizer", model.keras_model.optimizer
        )
        monkeypatch.setattr(type(optimizer), "adds_decay", apart)
        return after_steps(model, batch)

    assert_close(trained(True), trained(False))


@pytest.mark.parametrize("train_bn, folded", [(False, True), (None, False), (True, False)])
def test_only_stored_statistics_are_folded_in_training(tmp_path, monkeypatch, train_bn, folded):
    model, batch = trainer(tmp_path, TRAIN_BN=train_bn)
    seen = []
    weights = Conv2D._weights
    monkeypatch.setattr(
        Conv2D,
        "_weights",
        lambda layer, inputs, training: (
            seen.append((layer.name, found := weights(layer, inputs, training))) or found
        ),
    )
    model.set_trainable(".*", verbose=0)
    model.compile(1e-3, 0.9)
    model.keras_model.train_on_batch(batch)
    changed = {name for name, (kernel, _) in seen if kernel.op.type == "Mul"}
    assert changed == ({f"mrcnn_mask_conv{number}" for number in range(1, 5)} if folded else set())
    assert "fpn_p2" in dict(seen)


def test_gradients_through_folded_weights():
    """Of scale, shift, kernel, bias and image, against normalising; a scale of 0 included."""
    from mrcnn.networks.layers.convolution import convolve_and_normalize

    from mrcnn.networks.layers.normalization import BatchNorm

    convolution, norm = Conv2D(4, 3, padding="same", name="conv"), BatchNorm(False, name="bn")
    image = keras.Input((8, 8, 3))
    model = keras.Model(
        image, keras.layers.Activation("relu")(convolve_and_normalize(image, convolution, norm))
    )
    rng = np.random.RandomState(0)
    model.set_weights(
        [
            rng.uniform(0.5, 1, value.shape)
            * (1 if "variance" in variable.path else rng.choice([-1, 1]))
            for variable, value in zip(model.weights, model.get_weights())
        ]
    )
    norm.gamma.assign([0.0, 1.0, -0.5, 2.0])
    images = tf.constant(rng.randn(2, 8, 8, 3), tf.float32)

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(tf.sin(model(images, training=True)))
        return tape.gradient(
            total, [images, *(variable.value for variable in model.trainable_variables)]
        )

    expected = gradients()
    with folded_normalization():
        for ours, theirs in zip(gradients(), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_weight_that_no_loss_meets_decays():
    from mrcnn.networks.layers.weight_decay import decay_apart, with_decay

    variable = keras.Variable(np.float32([1, -2]))
    variable.regularizer = MeanL2(0.5)
    with decay_apart():
        np.testing.assert_allclose(with_decay(None, variable), [0.5, -1.0])
        np.testing.assert_allclose(with_decay(tf.constant([1.0, 1.0]), variable), [1.5, 0.0])
        assert with_decay(None, keras.Variable([1.0])) is None
        with tf.GradientTape() as tape:
            penalty = variable.regularizer(variable.value)
        assert tape.gradient(penalty, variable.value) is None
    assert with_decay(None, variable) is None
    np.testing.assert_allclose(penalty, variable.regularizer(variable.value))

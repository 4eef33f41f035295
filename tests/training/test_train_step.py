"""The step of `TrainingModel` is the one that is written out here in a few lines of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import mrcnn
from mrcnn.common.keras_internals import added_losses
from mrcnn.config.choices import LOSS_NAMES
from mrcnn.data.batches import data_generator
from mrcnn.model import MaskRCNN
from mrcnn.training.data import training_data
from mrcnn.training.step import TrainingModel
from tests.tiny import Rectangles, backbone, randomize, tiny_config, values
from tests.training.toy_trainer import gradients, toy_trainer, weights

RESNET = {"BACKBONE": "resnet50", "COMPUTE_BACKBONE_SHAPE": None, "BACKBONE_WIDTH": 4}
DECAY = 1e4  # so strong that a step without it shows
WEIGHTS = {"rpn_class_loss": 2.0, "mrcnn_bbox_loss": 0.5}


def trainer(tmp_path, **fields):
    """A training model with random weights, the same each time, and a batch for it."""
    config = tiny_config(
        **{"WEIGHT_DECAY": DECAY, "IMAGES_PER_GPU": 2, "LOSS_WEIGHTS": WEIGHTS, **fields}
    )
    model = MaskRCNN("training", config, str(tmp_path))
    randomize(model.keras_model)
    model.keras_model.get_layer("proposal_targets").shuffle = False
    return model, training_data(
        model.keras_model, Rectangles(), config, steps=1, shuffle=False, seed=0
    )[0][0]


def after_steps(model, batch, steps=2):
    """All weights and the logged losses of a model after some steps."""
    logged = []
    for _ in range(steps):
        model.keras_model.reset_metrics()  # which Keras does by itself from 3.15 on
        logged.append(model.keras_model.train_on_batch(batch, return_dict=True))
    losses = [[float(logs[name]) for name in ("loss", *LOSS_NAMES)] for logs in logged]
    return {**values(model.keras_model), "losses": np.array(losses)}


def written_out(model, batch, steps=2):
    """The same by a step without care for memory or devices: Keras differentiates the decay too."""
    network, losses = model.keras_model, []
    factors = [model.config.LOSS_WEIGHTS.get(name, 1.0) for name in LOSS_NAMES]
    for _ in range(steps):
        with tf.GradientTape() as tape:
            outputs = dict(zip(network.output_names, network(batch, training=True)))
            parts = [
                factor * outputs[name] for factor, name in zip(factors, LOSS_NAMES, strict=True)
            ]
            total = tf.add_n([*parts, *network.losses])
            scaled = network.optimizer.scale_loss(total)
        found = tape.gradient(scaled, network.trainable_variables)
        network.optimizer.apply(found, network.trainable_variables)
        losses.append([float(value) for value in (total, *parts)])
    return {**values(network), "losses": np.array(losses)}


def assert_close(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_allclose(value, second[name], rtol=2e-4, atol=2e-6, err_msg=name)


def moved(first, second):
    """Names of the weights that differ."""
    return {name for name in first if not np.allclose(first[name], second[name], rtol=0, atol=1e-7)}


class Squares(keras.layers.Layer):
    """Hands on what it gets, and adds a loss of it."""

    def call(self, inputs):
        self.add_loss(keras.ops.mean(keras.ops.square(inputs)))
        return inputs


def backbone_with_losses(image, stage5=True, train_bn=None):
    """A user's, with an own loss and a regularizer of its own."""
    *stages, last = backbone(image, stage5, train_bn)
    scaled = keras.layers.BatchNormalization(
        gamma_regularizer=keras.regularizers.L2(0.5), name="own_bn"
    )(last)
    return [*stages, Squares()(scaled)]


@pytest.mark.parametrize(
    "pattern, fields",
    [
        (".*", {}),
        (r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)", {}),
        (".*", {"OPTIMIZER": "AdamW", "OPTIMIZER_OPTIONS": {"weight_decay": 0.1}}),
        (".*", {"OPTIMIZER_OPTIONS": {"nesterov": True}}),
        (".*", {"DTYPE_POLICY": "mixed_float16"}),
        (".*", {"REMATERIALIZE": True, **RESNET}),
        (".*", {"BACKBONE": staticmethod(backbone_with_losses)}),
    ],
    ids=["all", "heads", "AdamW", "nesterov", "float16", "rematerialize", "losses of a backbone"],
)
def test_it_is_the_step_written_out(tmp_path, eagerly, pattern, fields):
    def trained(step):
        model, batch = trainer(tmp_path, **fields)
        model.set_trainable(pattern, verbose=0)
        model.compile(1e-3, 0.9)
        if "DTYPE_POLICY" in fields:
            model.keras_model.optimizer.dynamic_scale.assign(8.0)
        before = values(model.keras_model)
        found = step(model, batch)
        trained_ones = {variable.path for variable in model.keras_model.trainable_variables}
        changed = moved(before, found) - {name for name in before if "moving_" in name}
        assert changed <= trained_ones and len(changed) > 0.6 * len(trained_ones)
        return found

    assert_close(trained(after_steps), trained(written_out))


def test_an_optimizer_of_the_user_gets_the_same(tmp_path, eagerly):
    def trained(compile_it):
        model, batch = trainer(tmp_path)
        model.set_trainable(".*", verbose=0)
        compile_it(model)
        return after_steps(model, batch)

    ours = trained(lambda model: model.compile(1e-3, 0.9))
    own = keras.optimizers.SGD(1e-3, 0.9, global_clipnorm=5.0)
    assert_close(ours, trained(lambda model: model.keras_model.compile(own, jit_compile=False)))
    nothing = trained(
        lambda model: (
            [setattr(variable, "regularizer", None) for variable in model.keras_model.weights]
            and model.compile(1e-3, 0.9)
        )
    )
    assert len(moved(ours, nothing)) > 20  # the decay is not too weak to be seen


def test_evaluation_logs_the_same_losses(tmp_path, eagerly):
    model, batch = trainer(tmp_path)
    model.compile(0.0, 0.9)
    network = model.keras_model
    found = network.test_on_batch(batch, return_dict=True)
    expected = network.train_on_batch(batch, return_dict=True)
    assert set(found) == {"loss", *LOSS_NAMES}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


def test_a_weight_that_no_loss_meets_decays():
    model = toy_trainer(tiny_config(), decay=1.0, rate=1.0)
    kernel, bias, gamma, beta = before = weights(model)
    model.update([None, None, gradients(0)[2] * 0, None])
    expected = [kernel - 2 * kernel / kernel.size, bias - 2 * bias / bias.size, gamma, beta]
    for value, other in zip(weights(model), expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-5, atol=1e-7)
    assert not np.array_equal(weights(model)[0], before[0])


def test_nothing_of_an_update_begins_before_the_last_gradient():
    """What needs the weights or the momentum alone would be computed early, and kept for long."""
    model = toy_trainer(tiny_config(EMA_MOMENTUM=0.9), decay=1.0)
    graph = (
        tf.function(lambda *own: model.update(list(own))).get_concrete_function(*gradients(0)).graph
    )

    def comes_from(operation):
        found, waiting = set(), [operation]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting.extend([*(tensor.op for tensor in one.inputs), *one.control_inputs])
        return found

    given = {tensor.op for tensor in graph.inputs[: len(gradients(0))]}
    reads = [
        operation
        for operation in graph.get_operations()
        if operation.type == "ReadVariableOp" and operation.outputs[0].shape.rank
    ]
    assert len(reads) > 8 and all(given <= comes_from(read) for read in reads)


def test_a_saved_model_trains_on(tmp_path):
    model = toy_trainer(tiny_config(OPTIMIZER="Adam"), decay=1.0)
    model.update(gradients(0))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again) is TrainingModel
    for one in (model, again):
        one.update(gradients(1))
    for value, other in zip(weights(model), weights(again), strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-6)


@pytest.mark.parametrize("layout", ["model.keras", "model.weights.h5"])
@pytest.mark.parametrize("part", ["weights", "optimizer", "average"])
def test_a_file_with_nan_is_refused(tmp_path, layout, part):
    def new():
        return toy_trainer(tiny_config(EMA_MOMENTUM=0.5))

    model, again = new(), new()
    model.update(gradients(1))
    again.update(gradients(2))
    before = [variable.numpy() for variable in again.state_variables().values()]
    variable = {
        "weights": model.weights[0],
        "optimizer": model.optimizer.variables[-1],
        "average": model.average.variables[0],
    }[part]
    variable.assign(keras.ops.full_like(variable, np.nan))
    path = tmp_path / layout
    model.save(path) if layout == "model.keras" else model.save_weights(path)
    load = mrcnn.load_model if layout == "model.keras" else again.load_weights
    with pytest.raises(ValueError, match=rf"{layout} has values that are NaN .*{variable.name}"):
        load(path)
    for value, other in zip(before, again.state_variables().values(), strict=True):
        np.testing.assert_array_equal(value, other)


@pytest.mark.parametrize("layout", ["model.keras", "model.weights.h5"])
def test_a_saved_model_goes_on_amid_a_sum_and_with_its_average(tmp_path, layout):
    fields = {"GRADIENT_ACCUMULATION_STEPS": 3, "EMA_MOMENTUM": 0.5}
    model = toy_trainer(tiny_config(**fields))

    def learn(trained, numbers):
        for number in numbers:
            trained.gradient_sum.add(gradients(number), trained.update)

    learn(model, range(5))
    path = tmp_path / layout
    if layout == "model.keras":
        model.save(path)
        again = keras.models.load_model(path)
    else:
        model.save_weights(path)
        again = toy_trainer(tiny_config(**fields))
        again.load_weights(path)
    assert again.gradient_sum.steps == 3 and again.average.momentum == 0.5
    for one in (model, again):
        learn(one, [5])
    for name, variable in model.state_variables().items():
        np.testing.assert_allclose(variable, again.state_variables()[name], rtol=1e-6)
    for value, other in zip(weights(model), weights(again), strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-6)


def test_a_saved_model_loads_without_its_training(tmp_path):
    model = toy_trainer(tiny_config(GRADIENT_ACCUMULATION_STEPS=3, EMA_MOMENTUM=0.5))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    for value, other in zip(weights(model), weights(again), strict=True):
        np.testing.assert_array_equal(value, other)


def test_a_model_that_is_not_compiled_comes_back_so(tmp_path):
    image = keras.Input((3,))
    TrainingModel(image, keras.layers.Dense(2)(image)).save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again) is TrainingModel and not again.compiled


def test_a_layers_loss_of_several_values_counts_as_their_sum():
    class Penalty(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.mean(x, axis=1))
            return x

    image = keras.Input((3,))
    model = keras.Model(image, Penalty()(image))
    model(np.float32([[1, 2, 3], [4, 5, 6]]))
    assert [float(loss) for loss in added_losses(model)] == [7.0]


def test_a_loss_of_the_users_is_refused():
    model = toy_trainer(tiny_config())
    with pytest.raises(ValueError, match="loss='mse', but the network computes its losses itself"):
        model.compile("sgd", "mse")
    model.compile("sgd", [None] * 3)  # as the original's code has it


def test_keras_fit_and_evaluate_take_the_originals_generator(tmp_path, eagerly):
    """Whose batches are lists, which Keras 3 refuses."""
    model, _ = trainer(tmp_path)
    model.compile(0.01, 0.9)
    network, config = model.keras_model, model.config

    def batches(**options):
        np.random.seed(3)  # of which anchors the RPN learns from
        return data_generator(Rectangles(4), config, shuffle=False, batch_size=2, **options)

    inputs, _ = next(batches())
    arrays = tuple(np.asarray(a, t.dtype) for a, t in zip(inputs, network.inputs, strict=True))
    expected = network.test_on_batch((arrays,), return_dict=True)
    network.reset_metrics()
    found = network.evaluate(batches(), steps=1, verbose=0, return_dict=True)
    assert found == pytest.approx(expected, rel=1e-6)
    before = values(network)
    history = network.fit(
        batches(), steps_per_epoch=2, verbose=0, validation_data=batches(), validation_steps=1
    ).history
    assert np.isfinite([*history["loss"], *history["val_loss"]]).all()
    assert any((before[name] != value).any() for name, value in values(network).items())
    with pytest.raises(ValueError, match="gives 8 inputs and the network has 7"):
        network.fit(batches(random_rois=4), steps_per_epoch=1, verbose=0)


def test_xla_is_not_used_where_it_is_asked_for(tmp_path):
    model, _ = trainer(tmp_path)
    with pytest.warns(UserWarning, match="Proceeding with `jit_compile=False`"):
        model.keras_model.compile("sgd", jit_compile=True)
    assert model.keras_model.jit_compile is False

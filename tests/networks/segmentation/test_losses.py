"""The losses of label maps, against published numbers, Keras and twins in float64; their gradients
against finite differences; what they do at the edges.
"""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.config.label_losses import (
    LABEL_LOSS_OPTIONS,
    LABEL_LOSSES,
    learns_nothing_from_empty,
    option_problems,
)
from mrcnn.networks.segmentation.losses import LOSSES, LabelLoss
from tests.networks.segmentation.loss_twins import slopes, twin
from tests.paths import ROOT

VOID = 255
EVERY_LOSS = pytest.mark.parametrize("name", LABEL_LOSSES)


def material(seed, batch=2, channels=3, size=(5, 7), void=VOID):
    """Labels and logits at random; the last class is absent where there are more than three."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, channels - (channels > 3) or 2, (batch, *size)).astype(np.int32)
    labels[random.uniform(size=labels.shape) < 0.2] = void
    labels[0, 0, :2] = 0, 1
    return labels, random.normal(0, 1.5, (*labels.shape, channels)).astype(np.float32)


def measure(name, labels, logits, **options):
    """Value and gradient with respect to the logits."""
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = LOSSES[name](tf.constant(labels), logits, **options)
    assert value.dtype == tf.float32 and value.shape == ()
    return float(value), tape.gradient(value, logits).numpy()


# === Numbers ===

# An object of 2 x 2 pixels; then a false alarm in the corner; then the row of the corner void.
TRUTH = np.pad(np.ones((2, 2), np.int32), 1)
FOUND = np.full((4, 4), 0.1)
FOUND[1:3, 1:3] = [[0.9, 0.6], [0.8, 0.7]]
FOUND[2, 3] = 0.4
ALARM = FOUND.copy()
ALARM[0, 0] = 0.7
PARTLY = TRUTH.copy()
PARTLY[0] = VOID
GOLDEN = {
    "ce": (0.179112, 0.247776, 0.203696),
    "weighted_ce": (0.253863, 0.322526, 0.303363),
    "balanced_ce": (0.082153, 0.099319, 0.101121),
    "focal": (0.006309, 0.033913, 0.008149),
    "dice": (0.086758, 0.148936, 0.081164),
    "sensitivity_specificity": (0.025125, 0.063125, 0.031062),
    "log_cosh_dice": (0.003759, 0.011050, 0.003290),
    "hausdorff": (0.076250, 0.165625, 0.091667),
    "shape_aware": (0.179112, 0.354193, 0.203696),
    "combo": (0.176357, 0.215409, 0.166309),
    "exp_log": (0.645262, 0.685278, 0.653300),
}
# For what a binary loss does by default and one of several classes does not.
FOR_TWO = {"focal": {"alpha": 0.25}}


def logits_of(p, channels=1):
    logits = np.log(p / (1 - p))[None]
    return np.float32(np.stack([0 * logits, logits][-channels:], axis=-1))


def by_hand(name, labels, p, channels=1, **options):
    return float(LOSSES[name](labels[None], logits_of(p, channels), **options))


@EVERY_LOSS
def test_known_numbers(name):
    cases = (TRUTH, FOUND), (TRUTH, ALARM), (PARTLY, ALARM)
    one = [by_hand(name, *case) for case in cases]
    two = [by_hand(name, *case, channels=2, **FOR_TWO.get(name, {})) for case in cases]
    assert one == pytest.approx(GOLDEN[name], rel=0, abs=1e-6)  # they have six digits
    assert two == pytest.approx(one, rel=1e-6, abs=1e-7)


def test_known_numbers_of_options():
    assert by_hand("dice", TRUTH, FOUND, squared=False) == pytest.approx(0.294118, abs=1e-6)
    jadon = by_hand("dice", TRUTH, FOUND, squared=False, smooth=1)
    assert jadon == pytest.approx(0.263158, abs=1e-6)
    # Taghanaki's -Dice is lower by 1 - a
    assert by_hand("combo", TRUTH, FOUND) - 0.5 == pytest.approx(-0.323643, abs=1e-6)


def test_weights_around_the_gaps_between_objects():
    """U-Net's: by hand for a background pixel with objects at its left and right."""
    labels = np.array([[1, 0, 2], [VOID, VOID, VOID], [0, 0, 0]])
    logits = np.zeros((1, 3, 3, 1), np.float32)
    far = [np.hypot(2, 0) + np.hypot(2, 2), 2 * np.hypot(2, 1), np.hypot(2, 2) + np.hypot(2, 0)]
    gaps = [10 * np.exp(-((d1_d2) ** 2) / (2 * 5**2)) for d1_d2 in (1 + 1, *far)]
    found = LOSSES["weighted_ce"](labels[None], logits, weights=3.0, borders=(10, 5))
    # as many classes as three channels have: two objects, which are one class where there is one
    assert float(found) == pytest.approx(np.log(2) * (3 + 3 + 4 + sum(gaps)) / 6, rel=1e-5)
    alone = np.where(labels == 2, 0, labels)
    plain, mapped = (
        LOSSES["weighted_ce"](alone[None], logits, borders=borders) for borders in (None, (10, 5))
    )
    assert plain == mapped


# === Twins ===


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@EVERY_LOSS
def test_twins(name, channels, batch):
    labels, logits = material(10 * channels + batch, batch, channels)
    compare(name, labels, logits)


@pytest.mark.parametrize(
    "name, channels, options",
    [
        ("weighted_ce", 1, {"weights": 5}),
        ("weighted_ce", 1, {"weights": [0.5, 3.0]}),
        ("weighted_ce", 3, {"weights": [0.5, 3.0, 2.0]}),
        ("weighted_ce", 1, {"weights": "balanced"}),
        ("weighted_ce", 5, {"weights": "balanced"}),
        ("focal", 1, {"gamma": 0.5, "alpha": [1, 1]}),
        ("focal", 3, {"gamma": 3, "alpha": 0.4}),
        ("focal", 3, {"alpha": (0.2, 0.3, 0.5)}),
        ("dice", 3, {"squared": False}),
        ("dice", 3, {"smooth": 1.0}),
        ("log_cosh_dice", 1, {"squared": False, "smooth": 1.0}),
        ("sensitivity_specificity", 3, {"r": 0.5}),
        ("hausdorff", 1, {"alpha": 1.0}),
        ("hausdorff", 3, {"two_sided": False}),
        ("hausdorff", 5, {"two_sided": True}),
        ("combo", 3, {"a": 0.3, "b": 0.8}),
        ("exp_log", 3, {"dice_weight": 0.5, "power": 1.0}),
        ("dice", 3, {"void": 2}),
        ("ce", 1, {"void": 0}),
        ("balanced_ce", 3, {"void": 65535}),
    ],
)
def test_twins_with_options(name, channels, options):
    compare(name, *material(7, channels=channels, void=options.get("void", VOID)), **options)


def compare(name, labels, logits, **options):
    value, gradient = measure(name, labels, logits, **options)
    expected = twin(name, labels, **options)
    assert value == pytest.approx(expected(logits), rel=3e-6, abs=1e-6)
    random = np.random.RandomState(3)
    places = random.randint(0, logits.shape, (5, 4))
    np.testing.assert_allclose(
        gradient[tuple(places.T)], slopes(expected, logits, places), rtol=1e-4, atol=1e-6
    )
    assert gradient.any()
    assert not gradient[labels == options.get("void", VOID)].any()


# === Keras ===


def test_cross_entropy_is_keras():
    labels, logits = material(1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=VOID)
    assert measure("ce", labels, logits)[0] == pytest.approx(float(loss(labels, logits)), rel=1e-6)
    nothing = np.full_like(labels, VOID)
    assert measure("ce", nothing, logits)[0] == float(loss(nothing, logits)) == 0


def test_focal_is_keras():
    labels, logits = material(2, channels=1, void=0)
    labels = labels[..., None]
    balanced = keras.losses.BinaryFocalCrossentropy(True, from_logits=True)
    found = measure("focal", labels[..., 0], logits)[0]
    assert found == pytest.approx(float(balanced(labels, logits)), rel=1e-5)
    # Keras ignores alpha, 0.25, unless it is asked to balance classes
    plain = keras.losses.BinaryFocalCrossentropy(from_logits=True, alpha=0.25)
    found = measure("focal", labels[..., 0], logits, alpha=[1, 1])[0]
    assert found == pytest.approx(float(plain(labels, logits)), rel=1e-5)

    labels, logits = material(2, void=0)
    several = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, from_logits=True)
    expected = float(several(np.eye(3, dtype=np.float32)[labels], logits))
    assert measure("focal", labels, logits)[0] == pytest.approx(expected, rel=1e-5)


def test_dice_that_is_not_squared_is_keras():
    labels, logits = material(3, void=0)
    objects = np.eye(3, dtype=np.float32)[labels][..., 1:]
    p = keras.ops.softmax(logits)[..., 1:]
    # without axis Keras' counts pixels of all classes together, so that large classes rule
    expected = float(keras.losses.Dice(axis=(0, 1, 2))(objects, p))
    assert measure("dice", labels, logits, squared=False)[0] == pytest.approx(expected, rel=1e-6)
    assert float(keras.losses.Dice()(objects, p)) != pytest.approx(expected, rel=1e-3)


def test_an_absent_class_costs_no_dice():
    """Keras' is 1 where a class is absent from labels and result alike."""
    labels, logits = np.zeros((1, 4, 4), np.int32), np.full((1, 4, 4, 1), -55, np.float32)
    assert float(keras.losses.Dice()(labels[..., None], keras.ops.sigmoid(logits))) == 1
    assert measure("dice", labels, logits)[0] == 0


# === Edges ===


def edge(kind, channels):
    labels, logits = material(4, channels=channels)
    classes = np.arange(1, 2) if channels == 1 else np.arange(channels)
    if kind == "absent class":
        labels[labels == classes[-1]] = 0
    elif kind == "only objects":
        labels[labels != VOID] = 1
    elif kind == "only background":
        labels[labels != VOID] = 0
    elif kind == "only void":
        labels[:] = VOID
    right = np.where(labels[..., None] == classes, 55, -55).astype(np.float32)
    certain = {"perfect": right, "inverted": -right, "p = 0.5": np.zeros_like(right)}
    return labels, certain.get(kind, logits)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "kind",
    [
        *("perfect", "inverted", "p = 0.5", "absent class", "only objects", "only background"),
        *("only void",),
    ],
)
@EVERY_LOSS
def test_edges(name, kind, channels):
    labels, logits = edge(kind, channels)
    value, gradient = measure(name, labels, logits)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    assert not gradient[labels == VOID].any()
    if kind == "only void":
        assert value == 0 and not gradient.any()
    elif kind == "perfect":
        assert 0 <= value < (0.03 if name == "exp_log" else 1e-9)
    elif kind == "inverted":
        assert value > 0.2
    else:
        assert value == pytest.approx(twin(name, labels)(logits), rel=3e-6)


@EVERY_LOSS
def test_maps_of_a_single_pixel(name):
    for channels in (1, 3):
        labels, logits = np.ones((1, 1, 1), np.int32), np.full((1, 1, 1, channels), 0.5, np.float32)
        value, gradient = measure(name, labels, logits)
        assert value == pytest.approx(twin(name, labels)(logits), rel=1e-5)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("gamma", [0, 0.5, 1])
def test_any_power_of_focal_is_finite_where_it_is_certain(gamma):
    for kind in ("perfect", "inverted"):
        value, gradient = measure("focal", *edge(kind, 3), gamma=gamma)
        assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("channels", [1, 3])
@EVERY_LOSS
def test_what_learns_nothing_from_images_without_objects(name, channels):
    labels, logits = edge("only background", channels)
    _, gradient = measure(name, labels, logits)
    assert learns_nothing_from_empty(name, channels) == (not gradient.any())


def test_dice_learns_nothing_where_all_is_wrong_and_certain():
    value, gradient = measure("dice", *edge("inverted", 1))
    assert value == pytest.approx(1) and abs(gradient).max() < 1e-20


def test_smooth_lets_dice_learn_from_images_without_objects():
    value, gradient = measure("dice", *edge("only background", 1), squared=False, smooth=1.0)
    assert 0 < value < 1 and (gradient >= 0).all() and gradient.any()


@pytest.mark.parametrize("channels", [1, 3])
@EVERY_LOSS
def test_void_padding_changes_nothing(name, channels):
    labels, logits = material(6, channels=channels)
    around = [(0, 0), (2, 3), (4, 1)]
    random = np.random.RandomState(0)
    wide = random.normal(0, 3, (2, 10, 12, channels)).astype(np.float32)
    wide[:, 2:7, 4:11] = logits
    value, gradient = measure(name, np.pad(labels, around, constant_values=VOID), wide)
    expected, inside = measure(name, labels, logits)
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient[:, 2:7, 4:11], inside, rtol=1e-5, atol=1e-8)


def test_void_rims_do_not_shorten_distances():
    """As around the objects of VOC: the nearest background is two pixels away, not one."""
    labels = np.array([[[1, VOID, 0, 0]]])
    logits = np.float32([[[[-3], [0], [-3], [-3]]]])
    p = 1 / (1 + np.exp(3))
    assert measure("hausdorff", labels, logits)[0] == pytest.approx(
        ((1 - p) ** 2 * 2**2 + p**2 * (2**2 + 3**2)) / 3, rel=1e-6
    )
    assert measure("shape_aware", labels, logits)[0] == pytest.approx(
        -(3 * np.log(p) + 2 * np.log(1 - p)) / 3, rel=1e-6
    )


def test_sums_over_many_pixels_are_exact():
    labels, logits = material(16, 4, 3, (256, 256))
    truth = np.eye(3)[np.where(labels == VOID, 0, labels)]
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(axis=-1, keepdims=True)
    truth, p = (each[labels != VOID][:, 1:] for each in (truth, p))
    overlaps, sizes = 2 * (truth * p).sum(axis=0), (truth**2 + p**2).sum(axis=0)
    found = float(LOSSES["dice"](labels, logits))
    assert found == pytest.approx(1 - (overlaps / sizes).mean(), rel=1e-6)


# === Types and graphs ===


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_all_is_computed_in_float32(dtype):
    labels, logits = material(8)
    logits = tf.cast(logits, dtype)
    for name, loss in LOSSES.items():
        found, expected = loss(labels, logits), loss(labels, tf.cast(logits, tf.float32))
        assert found.dtype == tf.float32 and found == expected, name


def test_label_maps_as_they_are_stored():
    labels, logits = material(9)
    for dtype, void in (("uint8", VOID), ("uint16", 65535), ("int64", -1)):
        stored = np.where(labels == VOID, void, labels).astype(dtype)
        for name, loss in LOSSES.items():
            assert loss(stored, logits, void=void) == loss(labels, logits), name


def test_one_channel_takes_every_class_for_object():
    labels, logits = material(11, channels=3)[0], material(11, channels=1)[1]
    assert (labels == 2).any()
    for name, loss in LOSSES.items():
        assert loss(labels, logits) == loss(np.where(labels == 2, 1, labels), logits), name


def test_one_graph_for_images_of_any_size():
    @tf.function(
        jit_compile=False,
        input_signature=[
            tf.TensorSpec([None, None, None], tf.uint8),
            tf.TensorSpec([None, None, None, 3], tf.float32),
        ],
    )
    def graph(labels, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = [loss(labels, logits) for loss in LOSSES.values()]
            total = tf.add_n(losses)
        return losses, tape.gradient(total, logits)

    for batch, size in ((1, (3, 4)), (3, (5, 7))):
        labels, logits = material(12, batch, 3, size)
        labels = labels.astype(np.uint8)
        losses, gradient = graph(labels, logits)
        expected = [measure(name, labels, logits) for name in LOSSES]
        assert np.array(losses) == pytest.approx([value for value, _ in expected], rel=1e-6)
        total = sum(slope for _, slope in expected)
        np.testing.assert_allclose(gradient, total, rtol=1e-5, atol=1e-7)
    assert graph.experimental_get_tracing_count() == 1


# === Several devices ===


@pytest.fixture(scope="module")
def devices(tmp_path_factory):
    """What devices_program found."""
    path = tmp_path_factory.mktemp("devices") / "report.json"
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "devices_program.py"), str(path)],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "PYTHONPATH": search, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(path.read_text())


@pytest.mark.parametrize("case", ["1", "3", "graph"])
def test_two_devices_are_one_with_the_joined_batch(devices, case):
    """Each has the loss of the whole batch, and the mean of their gradients is its gradient."""
    assert devices["devices"] == 2
    for name, (one, *two) in devices[case].items():
        assert all(one), name
        for found in two:
            assert found == pytest.approx(one, rel=1e-5, abs=1e-6), name


# === The layer ===


def test_names():
    assert tuple(LOSSES) == LABEL_LOSSES


@EVERY_LOSS
def test_every_option_has_a_rule_that_its_default_keeps(name):
    function = LOSSES["dice" if name == "log_cosh_dice" else name]
    defaults = {
        option: parameter.default
        for option, parameter in inspect.signature(function).parameters.items()
        if option not in ("labels", "logits", "void")
    }
    assert LABEL_LOSS_OPTIONS[name].keys() == defaults.keys()
    assert list(option_problems(name, defaults)) == []


def test_layer_passes_its_options_on():
    labels, logits = material(13, void=2)
    layer = LabelLoss(0.5, "focal", {"gamma": 1.0}, void=2, name="term")
    assert layer([labels, logits]) == LOSSES["focal"](labels, logits, gamma=1.0, void=2)
    assert layer.weight == 0.5 and layer.tracker.name == "term"
    labels, logits = material(13)
    assert LabelLoss()([labels, logits]) == LOSSES["ce"](labels, logits)


@keras.saving.register_keras_serializable("tests")
def largest(labels, logits, valid, scale=1.0):
    return scale * tf.reduce_max(tf.where(labels == 1, logits[..., 0], 0) * valid)


def test_layer_takes_a_function():
    labels, logits = material(14)
    logits = tf.cast(logits, tf.bfloat16)
    layer = LabelLoss(loss=largest, options={"scale": 3.0}, name="mine")
    found = layer([labels, logits])
    assert found.dtype == tf.float32
    assert float(found) == 3 * np.float32(logits)[..., 0][labels == 1].max()
    stored = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert keras.saving.deserialize_keras_object(stored)([labels, logits]) == found


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"loss": "dise"}, "there is no loss 'dise'; did you mean 'dice'?"),
        ({"loss": "ce", "options": {"gamma": 1}}, "'ce' has no option 'gamma'; it has none"),
        ({"loss": "focal", "options": {"gama": 1}}, "no option 'gama'; it has alpha, gamma"),
        ({"loss": "log_cosh_dice", "options": {"a": 1}}, "no option 'a'; it has smooth, squared"),
        ({"loss": "dice", "options": {"void": 0}}, "no option 'void'"),
        ({"loss": "dice", "options": {"smooth": -1}}, "smooth of loss 'dice' is -1; it must be"),
    ],
)
def test_layer_refuses_what_does_not_exist(arguments, message):
    with pytest.raises(ValueError) as caught:
        LabelLoss(**arguments)
    assert message in str(caught.value)


def test_factors_that_do_not_fit():
    labels, logits = material(15)
    with pytest.raises(ValueError, match="weights has 2 factors; there are 3 classes"):
        LOSSES["weighted_ce"](labels, logits, weights=[1, 2])
    with pytest.raises(ValueError, match="alpha has 1 factors; there are 2 classes"):
        LOSSES["focal"](labels, logits[..., :1], alpha=[1])
    with pytest.raises(ValueError, match="weights is 'balance'; it must be 'balanced'"):
        LOSSES["weighted_ce"](labels, logits, weights="balance")

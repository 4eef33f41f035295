"""Python's numbers in place of NumPy's."""

import fractions
import json
from collections import namedtuple

import numpy as np
import pytest

from mrcnn.config import DERIVED_FIELDS, Config
from mrcnn.config.python_values import python_value

NUMPY_TYPES = {
    bool: (np.bool_,),
    int: (np.int8, np.uint16, np.int32, np.int64, np.uint64),
    float: (np.float16, np.float32, np.float64, np.longdouble),
}


def is_plain(value):
    """Whether all of a value is what JSON holds, to the exact type."""
    if type(value) in (list, tuple):
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(is_plain(key) and is_plain(item) for key, item in value.items())
    return value is None or type(value) in (bool, int, float, str)


@pytest.mark.parametrize("kind", NUMPY_TYPES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("wrap", [lambda value: value, np.array], ids=["scalar", "0-d array"])
def test_numbers(kind, wrap):
    for numpy_type in NUMPY_TYPES[kind]:
        value = python_value(wrap(numpy_type(1)))
        assert type(value) is kind and value == 1, numpy_type


def test_a_number_keeps_its_value():
    assert python_value(np.uint64(2**64 - 1)) == 2**64 - 1
    assert python_value(np.float32(0.1)) == float(np.float32(0.1)) != 0.1
    assert python_value(fractions.Fraction(1, 4)) == 0.25
    assert type(python_value(np.str_("a"))) is str


def test_containers():
    value = {np.int64(1): [np.float32(0.5), (np.bool_(True), "a", None)], "b": {"c": np.int8(3)}}
    assert python_value(value) == {1: [0.5, (True, "a", None)], "b": {"c": 3}}
    assert is_plain(python_value(value)) and not is_plain(value)
    pair = namedtuple("pair", "a b")(np.int64(1), 2)
    assert python_value(pair) == (1, 2) and is_plain(python_value(pair))


@pytest.mark.parametrize(
    "value",
    [1, True, 0.5, "a", None, [1, (2, {"a": 3})], {}, (), 1j, print, np.ones(2), float("nan")],
    ids=repr,
)
def test_what_is_right_stays_itself(value):
    assert python_value(value) is value


# A value of another type than its default's for every field that takes numbers.
FIELDS = {
    name: type(default)(
        np.float32(item) if isinstance(item, float) else np.int64(item) for item in default
    )
    if isinstance(default, (list, tuple))
    else np.bool_(default)
    if isinstance(default, bool)
    else np.int64(default)
    if isinstance(default, int)
    else np.float64(default)
    for name, default in vars(Config).items()
    if name.isupper() and isinstance(default, (bool, int, float, list, tuple))
} | {
    "SEED": np.int64(3),
    "EMA_MOMENTUM": np.float32(0.5),
    "REPEAT_THRESHOLD": np.float32(0.5),
    "SCALE_JITTER": np.array([0.5, 1.5]),
    "LEARNING_RATE_DROP_EPOCHS": np.array([2, 3]),
    "CLASS_NAMES": np.array(["BG", "a"]),
    "CLASS_WEIGHTS": {np.int64(1): np.float32(2)},
    "NUM_CLASSES": np.int64(2),
    "LOSS_WEIGHTS": {"rpn_class_loss": np.float32(2)},
    "OPTIMIZER_OPTIONS": {"nesterov": np.bool_(True)},
    "NAME": np.str_("a"),
}


def test_every_field_of_numbers_becomes_pythons():
    config = type("NumpyConfig", (Config,), dict(FIELDS))()
    for name, given in FIELDS.items():
        value, default = getattr(config, name), getattr(Config, name)
        assert is_plain(value), (name, value)
        if isinstance(default, (list, tuple)):
            assert type(value) is type(default), name
        assert np.array_equal(np.asarray(value), np.asarray(given)), name
    assert is_plain(config.BATCH_SIZE) and is_plain(config.IMAGE_META_SIZE)
    assert config.SCALE_JITTER == [0.5, 1.5] and config.LEARNING_RATE_DROP_EPOCHS == (2, 3)
    fields = json.loads(json.dumps(config.to_dict()))
    again = Config.from_dict(fields)
    assert again.to_dict() == config.to_dict()


@pytest.mark.parametrize(
    "field", [name for name, default in FIELDS.items() if isinstance(default, (list, tuple))]
)
def test_arrays_of_numbers(field):
    default = getattr(Config, field)
    config = type("ArrayConfig", (Config,), {field: np.array(default)})()
    assert getattr(config, field) == default and is_plain(getattr(config, field))


def test_arrays_that_are_a_default_stay_arrays():
    config = Config()
    for name in ("MEAN_PIXEL", "RPN_BBOX_STD_DEV", "BBOX_STD_DEV", "IMAGE_SHAPE"):
        assert isinstance(getattr(config, name), np.ndarray)
    assert config.LOSS_WEIGHTS is Config.LOSS_WEIGHTS and "LOSS_WEIGHTS" not in vars(config)


def test_fields_of_the_users_own():
    class Base(Config):
        LENGTHS = [np.int64(4)]
        matrix = np.eye(2)

    class Own(Base):
        SHARE = np.float32(0.5)
        lower = np.int64(2)
        _hidden = np.int64(2)

        @property
        def COMPUTED(self):  # which needs what __init__ makes
            return self.BATCH_SIZE * 2

    config = Own()
    assert is_plain([config.LENGTHS, config.SHARE, config.lower]) and config.COMPUTED == 4
    assert config.matrix is Base.matrix and config._hidden is Own._hidden
    assert type(Own.SHARE) is np.float32  # the class is the user's


def test_fields_that_are_set_later():
    config = Config()
    config.STEPS_PER_EPOCH, config.MY_OWN = np.int64(5), np.float32(1)
    config.validate()
    assert is_plain([config.STEPS_PER_EPOCH, config.MY_OWN])
    config.STEPS_PER_EPOCH = np.float32(2.5)
    config.__init__()
    assert config.STEPS_PER_EPOCH == 3 and set(DERIVED_FIELDS) <= set(vars(config))

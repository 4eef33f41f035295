"""Callables in fields, as whatever they are written."""

import functools
import inspect
import pickle

import pytest

from mrcnn.config import Config
from mrcnn.config.callables import CALLS


def graph(input_image, stage5=False, train_bn=None):
    return "input_image", input_image, stage5, train_bn


def shapes(image_shape, strides=(4, 8)):
    return "image_shape", image_shape, strides


def loss(labels, logits, valid):
    return labels, logits, valid


def of_one(value):
    return "value", value


def anything(*args, **options):
    return args, options


class Callable:
    def __call__(self, value, stage5=None, train_bn=None):
        return value

    def method(self, value, stage5=None, train_bn=None):
        return value


class Made:
    """A class, which makes objects when it is called."""

    def __init__(self, value, stage5=None, train_bn=None):
        self.value = value


class Binding:
    """As what tf.function gives: called it is the function, and it binds."""

    def __init__(self, function):
        self.function = function
        self.__signature__ = inspect.signature(function)

    def __call__(self, *args, **options):
        return self.function(*args, **options)

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self.function, instance)


def call(config, field):
    """What a field gives for what the project calls it with."""
    arguments, options = CALLS[field]
    return getattr(config, field)(*arguments, **options)


FUNCTIONS = {field: of_one for field in CALLS} | {
    "BACKBONE": graph,
    "COMPUTE_BACKBONE_SHAPE": shapes,
    "LOSS": loss,
}


def build(**fields):
    if "BACKBONE" in fields:
        fields.setdefault("COMPUTE_BACKBONE_SHAPE", shapes)
    return type("OwnConfig", (Config,), fields)()


@pytest.mark.parametrize("field", CALLS)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda function: function,
        staticmethod,
        functools.partial,
        functools.lru_cache,
        Binding,
        lambda function: functools.wraps(function)(
            lambda *args, **options: function(*args, **options)
        ),
        lambda function: lambda value, *more, **options: function(value, *more, **options),
    ],
    ids=["function", "staticmethod", "partial", "lru_cache", "binding", "decorated", "lambda"],
)
def test_a_function_is_called_as_it_is(field, wrap):
    function = FUNCTIONS[field]
    arguments, options = CALLS[field]
    expected = function(*arguments, **options)
    owner = type("OwnConfig", (Config,), {"COMPUTE_BACKBONE_SHAPE": shapes, field: wrap(function)})
    for config in (owner(), owner(), type("Heir", (owner,), {})()):
        assert call(config, field) == expected
    assert call(owner, field) == expected  # of the class, too
    assert ":" in owner().to_dict()[field]


@pytest.mark.parametrize("field", CALLS)
def test_what_is_no_function_is_called_as_it_is(field):
    assert call(build(**{field: Callable()}), field) == CALLS[field][0][0]
    assert call(build(**{field: Callable().method}), field) == CALLS[field][0][0]
    made = call(build(**{field: Made}), field)
    assert isinstance(made, Made) and made.value == CALLS[field][0][0]
    assert call(build(**{field: anything}), field) == CALLS[field]


def test_methods_stay_methods():
    class Own(Config):
        SPEED = 3
        COMPUTE_BACKBONE_SHAPE = shapes

        def BACKBONE(self, input_image, stage5, train_bn):
            return self.SPEED, input_image

        def OPTIMIZER(config, learning_rate):
            return config.SPEED, learning_rate

        def LEARNING_RATE_SCHEDULE(self, step=0):
            return self.SPEED, step

        def LOSS(self, labels, logits, valid):
            return self.SPEED, labels

        @classmethod
        def IMAGE_SAMPLING(cls, dataset):
            return cls.SPEED, dataset

    for field in set(CALLS) - {"COMPUTE_BACKBONE_SHAPE"}:
        assert call(Own(), field) == (3, CALLS[field][0][0]), field


def test_functions_that_come_late_or_from_elsewhere():
    class Mixin:
        OPTIMIZER = of_one

    class Own(Mixin, Config):
        pass

    config = Own()
    assert call(config, "OPTIMIZER") == ("value", "learning_rate")
    Own.IMAGE_SAMPLING = of_one
    config.LEARNING_RATE_SCHEDULE = of_one
    config.validate()
    assert call(config, "IMAGE_SAMPLING") == ("value", "dataset")
    assert call(config, "LEARNING_RATE_SCHEDULE") == ("value", "step")
    assert Config.OPTIMIZER == "SGD" and Config.IMAGE_SAMPLING is None


class Kept(Config):
    BACKBONE = graph
    COMPUTE_BACKBONE_SHAPE = shapes
    OPTIMIZER = lambda rate: ("made", rate)  # noqa: E731  # written like this by many


def test_a_config_with_functions_is_pickled():
    again = pickle.loads(pickle.dumps(Kept()))
    assert again.BACKBONE is graph and again.OPTIMIZER(3) == ("made", 3)

"""CLASS_WEIGHTS: from ids and names to a factor for each class."""

import json

import pytest

from mrcnn.config import Config
from mrcnn.config.class_weights import class_factors, class_weights

NAMES = ["BG", "cat", "7", "dog"]


def config(weights, **fields):
    return type(
        "WeightsConfig", (Config,), {"NUM_CLASSES": 4, "CLASS_WEIGHTS": weights, **fields}
    )()


@pytest.mark.parametrize(
    "weights, names, expected",
    [
        (None, NAMES, None),
        ({}, None, [1, 1, 1, 1]),
        ({2: 3, 0: 0.5}, None, [0.5, 1, 3, 1]),
        ({"dog": 2, 1: 0}, NAMES, [1, 0, 1, 2]),
        ({"BG": 0.1}, NAMES, [0.1, 1, 1, 1]),
        ({"7": 5}, NAMES, [1, 1, 5, 1]),  # a name that is a number is the name
        ({"3": 5}, NAMES, [1, 1, 1, 5]),
        ({"3": 5}, None, [1, 1, 1, 5]),  # else a number in JSON
    ],
)
def test_factors(weights, names, expected):
    assert class_weights(config(weights, CLASS_NAMES=names)) == expected


def test_they_survive_json():
    first = config({1: 2.0, "dog": 3}, CLASS_NAMES=NAMES)
    again = Config.from_dict(json.loads(json.dumps(first.to_dict())))
    assert class_weights(again) == class_weights(first) == [1, 2, 1, 3]


@pytest.mark.parametrize(
    "weights, names, words",
    [
        ([1, 2, 3, 4], NAMES, "CLASS_WEIGHTS is .1, 2, 3, 4.; it must be None or a dict"),
        (
            {4: 2},
            NAMES,
            "has the key 4: there is no class 4: class ids go from 0 to 3",
        ),
        ({-1: 2}, NAMES, "has the key -1: there is no class -1"),
        ({1.5: 2}, NAMES, "has the key 1.5: a class is an id or a name"),
        ({True: 2}, NAMES, "has the key True"),
        ({"9": 1}, NAMES, "has the key '9': there is no class 9"),
        ({"dogg": 1}, NAMES, "has the key 'dogg': there is no class .*; did you mean 'dog'"),
        ({"zzzzz": 1}, NAMES, "the classes are BG, cat, 7, dog"),
        ({"cat": 1}, None, "give class ids, or set CLASS_NAMES"),
        ({1: -1}, NAMES, r"CLASS_WEIGHTS\[1\] is -1; .* at least 0"),
        ({1: float("nan")}, NAMES, "is nan"),
        ({1: "2"}, NAMES, "is '2'"),
        ({1: True}, NAMES, "is True"),
        ({1: 2, "cat": 3}, NAMES, "class 1 twice"),
    ],
)
def test_wrong_ones_are_refused_with_the_config(weights, names, words):
    with pytest.raises(ValueError, match=words):
        config(weights, CLASS_NAMES=names)


def test_classes_of_one_name_have_one_factor():
    """Of two sources, whose classes may have one name."""
    assert class_factors({"cat": 2}, ["BG", "cat", "dog", "cat"], 4) == [1, 2, 1, 2]
    with pytest.raises(ValueError, match="CLASS_WEIGHTS has class 3 twice"):
        class_factors({"cat": 2, 3: 1}, ["BG", "cat", "dog", "cat"], 4)

"""Words of messages."""

import pytest

from mrcnn.common.words import closest, some


@pytest.mark.parametrize(
    "name, expected",
    [
        ("mobilnet", ["MobileNet"]),
        ("SGDD", ["SGD", "sgd"]),
        ("adam", ["Adam"]),
        ("zzz", []),
        ("", []),
    ],
)
def test_closest_ignores_case_and_keeps_the_known_spelling(name, expected):
    assert closest(name, ["SGD", "Adam", "MobileNet", "sgd"]) == expected


def test_some_names():
    assert some([]) == "" and some(["a", 2]) == "a, 2"
    assert some(range(5), limit=3) == "0, 1, 2 and 2 more"

"""Words of messages."""

import pytest

from mrcnn.common.words import closest


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

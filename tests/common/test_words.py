"""Words of messages."""

import pytest

from mrcnn.common.tables import format_table
from mrcnn.common.words import closest, on_one_line, some, without_escapes


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


@pytest.mark.parametrize(
    "text, shown",
    [
        ("Bär, gelb", "Bär, gelb"),
        ("猫 قط عملی\u200cتر", "猫 قط عملی\u200cتر"),
        ("wide\u3000space\xa0too", "wide\u3000space\xa0too"),
        ("two\nlines\r\ttab", r"two\nlines\r\ttab"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("gnp.\u202egpj", r"gnp.\u202egpj"),  # read from right to left
        ("\udcff.jpg", r"\udcff.jpg"),  # the name of a file that is no text
        ("\u2028", r"\u2028"),
    ],
)
def test_on_one_line(text, shown):
    assert on_one_line(text) == shown


def test_what_a_terminal_would_obey():
    assert some(["a\x1b[2J", "b\nc"]) == r"a\x1b[2J, b\nc"
    assert without_escapes("a\x1b[2J:\n  b\r") == "a\\x1b[2J:\n  b\\r"
    assert format_table([["a\nb", 1], ["c", 22]]) == "a\\nb  1\nc     22"

"""Classes by id and by name."""

import pytest

from mrcnn.config.classes import class_ids, numbered_names

NAMES = ["BG", "red", "blue", "green"]


@pytest.mark.parametrize(
    "classes, names, expected",
    [
        ("blue", NAMES, [2]),
        (3, NAMES, [3]),
        (["green", 1], NAMES, [3, 1]),
        ((7, 8), None, [7, 8]),
        ([], NAMES, []),
        # of two sources
        ("cat", ["BG", "cat", "dog", "cat"], [1, 3]),
        (["dog", "cat", 1], ["BG", "cat", "dog", "cat"], [2, 1, 3, 1]),
        ("cat (2)", ["BG", "cat (1)", "cat (2)"], [2]),
        ("cat ", ["BG", "cat", "cat ", "Cat"], [2]),
    ],
)
def test_ids_of_one_class_or_several(classes, names, expected):
    assert class_ids(classes, names) == expected


def test_the_background_only_where_it_is_asked_for():
    assert class_ids("BG", NAMES, first=0) == class_ids(0, NAMES, first=0) == [0]
    for names in (NAMES, ["background", "red"], None):
        assert class_ids("background", names, first=0) == class_ids("BG", names, first=0) == [0]
    assert class_ids("bg", ["BG", "red", "bg"], first=0) == [2]
    assert class_ids(4, count=5) == [4]
    with pytest.raises(ValueError, match="no class 5: class ids go from 1 to 4"):
        class_ids(5, count=5)


def test_numbered_names():
    assert numbered_names(3) == ["BG", "class 1", "class 2"]


@pytest.mark.parametrize(
    "classes, names, message",
    [
        ("rde", NAMES, "no class 'rde'; did you mean 'red'"),
        ("dog", NAMES, "the classes are red, blue, green"),
        ("BG", NAMES, "no class 'BG'"),
        ("cat", ["BG", "cat (1)", "cat (2)"], r"no class 'cat'; did you mean 'cat \(\d\)' or 'cat"),
        ("red", None, "CLASS_NAMES"),
        (0, NAMES, "0 is the background"),
        (4, NAMES, "from 1 to 3"),
        (-1, None, "no class -1"),
        ([1.5], NAMES, "got 1.5"),
        ([True], NAMES, "got True"),
    ],
)
def test_unknown_classes(classes, names, message):
    with pytest.raises(ValueError, match=message):
        class_ids(classes, names)

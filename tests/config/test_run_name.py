"""Which texts can be a NAME."""

import os

import pytest

from mrcnn.config import Config
from mrcnn.config.run_name import LONGEST, name_problem

WRONG = [
    "exp/a",
    "../x",
    "/x",
    "a/",
    "a\\b",
    "",
    " ",
    ".",
    "..",
    ". .",
    "a\nb",
    "a\r",
    "a\tb",
    "a\0",
    "\x1b[31m",
    "a\x85",
    "a\u2028b",
    "\ud800",
    "con.x",
    "LPT1.",
    "a" * (LONGEST + 1),
    "ä" * 106,
    "İ" * 71,  # which has three bytes in lower case
]


@pytest.mark.parametrize("name", WRONG, ids=ascii)
def test_no_name(name):
    with pytest.raises(ValueError) as caught:
        type("NamedConfig", (Config,), {"NAME": name})()
    text = str(caught.value)
    assert text.startswith("NamedConfig has 1 wrong field:\n  - NAME is ")
    assert "it can have letters, digits, spaces" in text and f"at most {LONGEST} bytes" in text
    assert text.isprintable() or text.count("\n") == 1  # in the terminal it is one line a field
    assert len(text) < 500


@pytest.mark.parametrize(
    "name",
    [
        "balloon",
        "My Cells (2)",
        "größe",
        "模型",
        "\N{ZERO WIDTH NON-JOINER}می",
        "👩‍🔬",
        "e\N{COMBINING ACUTE ACCENT}",
        ".hidden",
        "v1.2",
        "a:b*?",
        "{epoch}",
        "%d",
        "con",
        "aux",
        "console.x",
        "ä" * 105,
    ],
    ids=ascii,
)
def test_a_name(name, tmp_path):
    """What file systems take stays a name."""
    assert name_problem(name) is None
    assert type("NamedConfig", (Config,), {"NAME": name})().NAME == name
    if os.name == "posix":
        file = f".mask_rcnn_{name.lower()}_0000000.state.npz.01234567.tmp"
        (tmp_path / file).write_text("")

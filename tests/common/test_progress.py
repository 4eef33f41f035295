"""The progress bar: every item once, a bar only where asked for."""

import builtins

import pytest

from mrcnn.common.progress import track


def generator():
    yield from "abc"


@pytest.mark.parametrize(
    "items, total", [("abc", None), (generator, None), (generator, 3), ("", None)]
)
def test_every_item_comes_through_once(items, total):
    source = items() if callable(items) else items
    assert "".join(track(source, "Letters", total=total)) == ("" if items == "" else "abc")


def test_the_bar_is_on_stderr_and_only_where_enabled(capsys):
    list(track([1, 2], "Counting", enabled=False))
    assert capsys.readouterr() == ("", "")
    list(track([1, 2], "Counting"))
    shown = capsys.readouterr()
    assert shown.out == "" and "Counting" in shown.err


def test_without_rich_there_are_plain_lines(capsys, monkeypatch):
    real = builtins.__import__

    def no_rich(name, *args, **kwargs):
        if name.startswith("rich"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_rich)
    assert list(track(range(20), "Counting")) == list(range(20))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Counting: 0/20" and len(lines) == 10

"""The progress bar: every item once, a bar only where asked for."""

import builtins

import pytest

from mrcnn.common.progress import Bar, track


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
    assert lines == [f"Counting: {done}/20" for done in range(2, 21, 2)]
    assert list(track(generator(), "Letters")) == ["a", "b", "c"]
    with Bar("photo.h5", 50_000, done=4_000, unit="bytes") as bar:
        for done in (4_500, 6_000, 30_000):
            bar.update(done)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["photo.h5: 6,000/50,000 bytes", "photo.h5: 30,000/50,000 bytes"]


def test_rich_is_asked_a_thousand_times_at_most(capsys):
    """One of its updates takes longer than some work does for an item."""
    pytest.importorskip("rich")
    with Bar("Counting", 50_000) as bar:
        updates = []
        bar.rich.update = lambda task, completed: updates.append(completed)
        for done in range(1, 50_001):
            bar.update(done)
    assert len(updates) == 1000 and updates[-1] == 50_000

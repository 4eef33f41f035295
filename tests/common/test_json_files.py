"""JSON files: what is wrong with one is named, and values that JSON lacks."""

import gc
import os

import numpy as np
import pytest

from mrcnn.common import json_files
from mrcnn.common.json_files import as_parsed, plain, read_json, write_json
from mrcnn.config import Config
from mrcnn.config.file import save_config
from mrcnn.data import open_dataset
from mrcnn.inference import Result


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "a.json is not JSON, so it cannot be a list of cats"),
        ("[" * 10**5, "a.json is not JSON"),
        ("[]", "a.json is not a list of cats: it must be an object with 'cats' and 'dogs'"),
        ('{"cats": 1}', "with 'cats' and 'dogs'"),
        ('{"cats": [{"a": 1, "a": 2}], "dogs": 1}', "a.json .* key 'a' twice, with different"),
    ],
)
def test_a_wrong_file_is_refused(text, message, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_json(path, "a list of cats", ("cats", "dogs"))


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.json is missing; it should be a list of cats"):
        read_json(tmp_path / "a.json", "a list of cats")


def test_a_pipe_and_a_device_are_not_opened(tmp_path):
    """The one would be waited for, the other, which may be behind a link, has no end."""
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "b.json").symlink_to("/dev/zero")
    for name in ("a.json", "b.json"):
        with pytest.raises(ValueError, match=f"{name} is a pipe or a device, so it cannot be a"):
            read_json(tmp_path / name, "a list of cats")


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"cats": ["Ä"]})
    assert read_json(path, "a list of cats", ["cats"]) == {"cats": ["Ä"]}
    path.write_bytes(b"\xef\xbb\xbf[1]")  # a byte order mark
    assert read_json(path, "a list") == [1]


def test_only_what_cannot_be_made_again_is_waited_for(tmp_path, monkeypatch):
    """The settings of a run, and not the results of a detector."""
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    write_json(tmp_path / "a.json", {}, durable=False)
    found = Result(
        np.array([[0, 0, 8, 8]]), np.array([1]), np.array([0.5]), np.ones((8, 8, 1), bool)
    )
    found.to_labelme("a.png", tmp_path / "b.json")
    assert not synced
    save_config(tmp_path, Config())
    assert len(synced) == (2 if hasattr(os, "O_DIRECTORY") else 1)  # the file, and its folder
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.json", "config.json"]


def test_a_key_that_is_there_twice_with_one_value(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1], "b": 2, "a": [1]}')
    assert read_json(tmp_path / "a.json", "a list") == {"a": [1], "b": 2}


def test_plain_values():
    value = {1: (np.float32(0.5), np.arange(2)), "a": [None, True, complex(1, 2)]}
    assert plain(value) == {"1": [0.5, [0, 1]], "a": [None, True, "(1+2j)"]}
    assert plain([1 / 3, float("nan"), np.inf, 2], digits=2) == [0.33, None, None, 2]
    assert plain(1 / 3) == 1 / 3


def test_values_as_they_would_be_read():
    value = {"a": [np.int64(1), (2, np.float32(0.5))], "b": np.arange(2), "c": np.True_}
    parsed = as_parsed(value)
    assert parsed == {"a": [1, [2, 0.5]], "b": [0, 1], "c": True}
    assert [*map(type, parsed["a"]), type(parsed["c"])] == [int, list, bool]
    assert as_parsed(parsed) is parsed


def test_no_more_files_are_kept_than_two(tmp_path):
    """Thousands of labelme files hold an image each."""
    with json_files.parse_once():
        for number in range(5):
            (tmp_path / f"{number}.json").write_text(f"[{number}]")
            assert json_files.read_json(tmp_path / f"{number}.json", "numbers") == [number]
            assert len(json_files._kept) == min(number + 1, 2)
        (tmp_path / "4.json").write_text("[44]")
        assert json_files.read_json(tmp_path / "4.json", "numbers") == [44]  # it was changed
    assert json_files._kept is None


@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_collection(enabled):
    """Neither inside nor, where it was off before, afterwards; an error changes nothing of that."""
    was = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with pytest.raises(KeyError), json_files.no_garbage_collection():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() is enabled
    finally:
        gc.enable() if was else gc.disable()


def test_open_dataset_parses_a_file_once(tmp_path, monkeypatch):
    path = tmp_path / "instances.json"
    path.write_text('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}')
    parsed = []
    load = json_files.json.load
    monkeypatch.setattr(
        json_files.json, "load", lambda file, **options: parsed.append(1) or load(file, **options)
    )
    open_dataset(str(path))
    assert parsed == [1]

"""Damaged annotations: each object is read as another reading of the file has it, or it is named.

The bytes of a file are damaged, and the values of its JSON. What was not damaged keeps its masks
and classes; of what is gone the reader says so.
"""

import collections
import contextlib
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from tests.annotation_twins import FORMATS, IMAGES, SIZE, LabelmeJson, ViaJson, plain_name, read
from tests.damage import (
    check_message,
    damaged,
    damaged_json,
    ended_with,
    rearranged,
    try_in_another_process,
    within_limits,
)
from tests.tiny import image


def is_json(text):
    try:
        read(text)
    except (ValueError, RecursionError):
        return False
    return True


def counted(objects):
    return collections.Counter(one.key for one in objects if one.covers)


def loaded(kind, folder, collect, names, what):
    """({object: how many}, the images that `check` finds wrong, the dataset); or the error."""
    found, wrong = collections.Counter(), set()
    try:
        dataset = kind.load(folder, collect)
        dataset.prepare()
    except Exception as error:
        check_message(error, names, what)
        return error
    for image_id, info in enumerate(dataset.image_info):
        name = plain_name(info["id"] if info["source"] == "labelme" else str(info["path"]))
        try:
            pixels = dataset.load_image(image_id)
        except Exception as error:
            check_message(error, names, what)
            if not collect:
                return error
            wrong.add(name)
            continue
        # what labelme has in the file is the second
        seed = IMAGES.index(name) if name in IMAGES else 1
        np.testing.assert_array_equal(pixels, image(*SIZE, seed), what)
        masks, class_ids = dataset.load_mask(image_id)
        for mask, class_id in zip(np.moveaxis(masks, -1, 0), class_ids.tolist(), strict=True):
            found[name, kind.label(dataset, class_id), np.packbits(mask).tobytes()] += 1
    return found, wrong, dataset


def exit_code(folder, kind, names, what):
    """What ``mrcnn check`` ends with."""
    options = ["--class-attribute", "type"] if isinstance(kind, ViaJson) else []
    path = folder if isinstance(kind, LabelmeJson) else folder / kind.path
    code, said = ended_with("check", str(path), *options)
    assert code in (0, 1) or any(name in said for name in names), (what, said)
    return code


def try_damage(name, seed, folder):
    """Read one damaged file; returns whether it, or something in it, was refused."""
    kind, folder = FORMATS[name], Path(folder, name)
    if not folder.exists():
        folder.mkdir()
        kind.write_others(folder)
    whole = json.dumps(kind.content).encode()
    if seed % 4:
        text, changed = damaged_json(kind.content, seed)
        text = text.encode()
    else:
        text = damaged(whole, seed) if seed % 8 else rearranged(whole, whole, seed)
        changed = None
    (folder / kind.path).write_bytes(text)
    what = f"{name} {seed}: {changed}"
    names = [str(folder / other) for other in (kind.path, *IMAGES)]
    with within_limits(what):
        strict = loaded(kind, folder, False, names, what)
        lenient = loaded(kind, folder, True, names, what)
        # which takes as long as all others together
        code = exit_code(folder, kind, names, what) if seed % 3 == 1 else None
    right = kind.right(text)
    if isinstance(strict, Exception):
        assert code != 0, what
        if changed is not None and is_json(text):
            _check_place(kind, str(strict), changed, what)
    else:
        assert right is not None, what
        _check_found(kind, *strict, right, changed, what)
    if not isinstance(lenient, Exception):
        left_out = lenient[2].left_out
        if right is None:  # the other reading takes no part of a file that is wrong
            assert left_out.spoiling, what
        else:
            _check_found(kind, *lenient, right, changed, what)
        assert not isinstance(strict, Exception) or left_out.spoiling or lenient[1], what
    return isinstance(strict, Exception) or bool(len(strict[2].left_out))


def _check_place(kind, message, changed, what):
    """An error names the object or the field."""
    words = {str(key) for path in changed for key in path if isinstance(key, str)}
    if words & {"imageHeight", "imageWidth"}:
        words.add("was made for an image of")
    if words & {"file_name", "filename", "imagePath", "imageData"}:
        words |= {"is missing, though", "that of no file"}  # the name that it has now
    for path in changed:
        with contextlib.suppress(KeyError, IndexError, TypeError):
            words.add(kind.place(kind.content, path))
    assert any(word and word in message for word in words), (what, message, words)


def _check_found(kind, found, wrong, dataset, right, changed, what):
    """What was read is what the other reading has, and what is gone was counted."""
    extra = found - counted(right)
    assert not extra, (what, [key[:2] for key in extra])
    told = bool(len(dataset.left_out)) or bool(wrong)
    gone = counted(right) - found
    assert told or not gone, (what, [key[:2] for key in gone])
    if changed is None:
        return
    for one in right:
        if one.covers and one.key[0] not in wrong and kind.spares(one, changed):
            assert found[one.key], (what, one.key[:2])
    # an object of which some value was damaged is there, or was counted
    there = {path for one in right for path in one.paths}
    for one in kind.objects(kind.content):
        inside = any(len(path) > len(one.paths[0]) and one.touches([path]) for path in changed)
        if inside and one.paths[0] not in there:
            assert told, what


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("kind", FORMATS)
def test_undamaged_files(tmp_path, kind):
    """Both readings agree, so that what differs later is the damage's."""
    kind, folder = FORMATS[kind], tmp_path
    kind.write_others(folder)
    (folder / kind.path).write_text(json.dumps(kind.content))
    found, wrong, dataset = loaded(kind, folder, False, [], kind)
    assert found == counted(kind.objects(kind.content))
    assert sum(found.values()) >= 5 and not wrong and not len(dataset.left_out)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_annotations_are_read_or_named(tmp_path, kind):
    refused = [try_damage(kind, seed, tmp_path) for seed in range(48)]
    assert 12 < sum(refused) < 46


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 5000, 1000))
@pytest.mark.parametrize("kind", FORMATS)
def test_many_damaged_annotations(tmp_path, kind, first):
    try_in_another_process(__name__, kind, range(first, first + 1000), tmp_path)

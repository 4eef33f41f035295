"""Pickles of PyTorch's files that would change this process, take its memory or never end."""

import argparse
import collections
import pathlib
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from mrcnn.weights.torch_file import Foreign, Refused, is_torch_file, read_torch
from mrcnn.weights.torch_writer import write_torch
from tests.damage import within_limits
from tests.paths import ROOT
from tests.weights.test_torch_file import zipped

NUMBERS = np.arange(4, dtype="<f4").tobytes()
STREAM = b"".join(
    pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def whole(value):
    return b"\x8a\x10" + value.to_bytes(16, "little", signed=True)


def several(values):
    return b"(" + b"".join(map(whole, values)) + b"t"


def tensor(size=(4,), stride=(1,), kind="FloatStorage", count=4, more=b"", key="0"):
    """Instructions that make a tensor; `more` follow its arguments."""
    storage = text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
    arguments = b"((" + storage + whole(count) + b"tQ" + whole(0) + several(size)
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + several(stride) + hooks + more + b"tR"
    )


def dict_of(**items):
    """A pickle of a dict of instructions."""
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in items.items()) + b"u."


def state(**items):
    """Instructions that set attributes of what is there: those of slots, as of an own class."""
    return b"N}(" + b"".join(text(key) + value for key, value in items.items()) + b"u\x86b"


def nested(start=b"]", depth=9, make=lambda inner: b"](" + inner * 10 + b"e"):
    """Instructions that make a list of ten times the same list and so on: 10 ** depth values."""
    program = start + b"q\x000"
    for number in range(depth):
        program += make(b"h" + bytes([number])) + b"q" + bytes([number + 1]) + b"0"
    return program + b"h" + bytes([depth])


def read(tmp_path, pickled, numbers=NUMBERS, padding=0):
    members = [("data/0", numbers), ("padding", bytes(padding))]
    return read_torch(zipped(tmp_path / "weights.pth", pickled, members))


def test_the_instructions_of_these_tests_are_right(tmp_path):
    np.testing.assert_array_equal(
        read(tmp_path, dict_of(a=tensor((2, 2), (1, 2))))["a"], [[0, 2], [1, 3]]
    )


# === Objects of this process ===


@pytest.mark.parametrize(
    "attributes",
    [
        {"stride": several([-(10**9)]), "size": several([2])},
        {"stride": several([-1]), "size": several([16])},
        {"storage": several([1, 2, 3])},
    ],
)
def test_a_tensor_keeps_what_was_checked(tmp_path, attributes):
    with pytest.raises(Refused, match="sets attributes of a tensor"):
        read(tmp_path, dict_of(a=tensor() + state(**attributes)))


@pytest.mark.parametrize(
    "module, name",
    [
        *(("collections", name) for name in ("Counter", "OrderedDict", "defaultdict")),
        *(("torch._utils", name) for name in ("_rebuild_parameter", "_rebuild_tensor_v2")),
        *(("torch", "Size"), ("torch", "FloatStorage"), ("argparse", "Namespace")),
    ],
)
def test_functions_and_classes_cannot_be_changed(tmp_path, module, name):
    named = f"c{module}\n{name}\n".encode()
    with pytest.raises(Refused, match="sets attributes of"):
        read(tmp_path, b"\x80\x02" + named + state(most_common=text("owned")) + b".")
    assert callable(collections.Counter.most_common)
    for changed in (Foreign, argparse.Namespace, collections.OrderedDict):
        assert not hasattr(changed, "most_common")


def test_state_dicts_of_modules_have_attributes(tmp_path):
    """PyTorch sets _metadata of them."""
    named = b"ccollections\nOrderedDict\n)R" + text("a") + tensor() + b"s"
    found = read(tmp_path, b"\x80\x02" + named + b"}" + text("items") + whole(1) + b"sb.")
    assert type(found) is dict
    np.testing.assert_array_equal(found["a"], np.arange(4))


@pytest.mark.parametrize(
    "program, message",
    [
        (b"cargparse\nNamespace\nK\x01R.", "calls what is no function"),
        (b"K\x01)R.", "calls what is no function"),
        (b"}K\x01a.", "adds to what is no list or dict|damaged"),
        (b"K\x01K\x02a.", "adds to what is no list or dict"),
        (b"\x82\x01.", "the instruction EXT1"),
        (b"(cos\nsystem\no.", "asks for os.system"),
        (b"(ios\nsystem\n.", "the instruction INST"),
        (text("os") + text("system") + b"\x93)R.", "asks for os.system"),
        (b"cos.path\njoin\n.", "asks for os.path.join"),
    ],
)
def test_other_instructions(tmp_path, program, message):
    with pytest.raises(Refused, match=message) as error:
        read(tmp_path, b"\x80\x04" + program)
    assert str(tmp_path / "weights.pth") in str(error.value)


def test_every_protocol_and_pairs_of_python_2(tmp_path):
    value = {"a": [1, -(2**70), 0.5, True, None], "b": (b"x", "ä" * 300, ()), 3: {"c": ("d",)}}
    expected = {"a": value["a"], "b": [b"x", "ä" * 300, []], 3: {"c": ["d"]}}
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps({**value, "b": value["b"][1:]}, protocol)
        assert read(tmp_path, pickled) == {**expected, "b": expected["b"][1:]}, protocol
    assert read(tmp_path, pickle.dumps(value, 4)) == expected
    pairs = b"ccollections\nOrderedDict\n(](](U\x01aK\x01e](U\x01bK\x02eetR."
    assert read(tmp_path, b"\x80\x02" + pairs) == {"a": 1, "b": 2}


# === Time and memory ===


@pytest.mark.parametrize(
    "program",
    [
        nested() + b"Q.",
        b"(" + nested() * 5 + b"tQ.",
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + nested() + text("cpu") + b"K\x04tQ.",
        b"(" + text("storage") + nested() + text("0") + text("cpu") + b"K\x04tQ.",
    ],
)
def test_long_values_are_not_shown(tmp_path, program):
    with within_limits("persistent id"), pytest.raises(Refused, match="refers to|storage") as error:
        read(tmp_path, b"\x80\x02" + program)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("place", [1, 4])
def test_long_values_of_a_stream_are_not_shown(tmp_path, place):
    """In place of its version, and of the keys of its storages."""
    parts = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {}, {})]
    parts[place:] = [b"\x80\x02]" + nested() + b"a.", b"\x80\x02}."]
    (tmp_path / "weights.pth").write_bytes(b"".join(parts))
    with within_limits("stream"), pytest.raises(Refused, match="not known|no tensor names"):
        read_torch(tmp_path / "weights.pth")


def test_keys_are_not_hashed_without_end(tmp_path):
    tuples = nested(b")", 60, lambda inner: inner * 2 + b"\x86")
    with within_limits("keys"):
        found = read(tmp_path, b"\x80\x02}" + tuples + b"K\x07s.")
    assert [type(key) for key in found] == [Foreign] and list(found.values()) == [7]


@pytest.mark.parametrize("text_first", [True, False])
def test_names_that_are_no_text(tmp_path, text_first):
    names = [b"\x8c\x01a", nested(b")", 60, lambda inner: inner * 2 + b"\x86")]
    program = b"\x80\x04" + b"".join(names if text_first else names[::-1]) + b"\x93."
    with within_limits("names"), pytest.raises(Refused, match="a function without a name"):
        read(tmp_path, program)


def test_many_arguments_are_not_copied_again_and_again(tmp_path):
    arguments = b"(" + b"N" * 100_000 + b"tq\x00"
    calls = b"cargparse\nNamespace\nh\x00R" * 10_000
    with within_limits("calls"), pytest.raises(Refused, match="with 100,000 arguments"):
        read(tmp_path, b"\x80\x02" + arguments + b"(" + calls + b"l.")


def test_places_of_the_memo_take_no_memory(tmp_path):
    with within_limits("memo"):
        assert read(tmp_path, b"\x80\x02}r\xff\xff\xff\x3f.") == {}


def test_lists_are_not_copied_again_and_again(tmp_path):
    pairs = b"](" + b"K\x01K\x02\x86" * 50_000 + b"e"
    copies = (b"ccollections\nOrderedDict\nh\x00\x85R") * 10_000
    with within_limits("copies"), pytest.raises(Refused, match="copies a list again and again"):
        read(tmp_path, b"\x80\x02" + pairs + b"q\x00(" + copies + b"l.")


@pytest.mark.parametrize("kind", ["FloatStorage", "BFloat16Storage"])
def test_the_sum_of_all_tensors_is_bounded(tmp_path, kind):
    """Each alone could be in a file of this size."""
    count = 1_000_000
    many = {f"a{number}": tensor((count,), (0,), kind) for number in range(300)}
    with within_limits("tensors"), pytest.raises(Refused, match="more than 4 times its"):
        read(tmp_path, dict_of(**many), padding=count)


def test_tensors_may_share_numbers(tmp_path):
    numbers = np.arange(100_000, dtype="<f4")
    one = tensor(numbers.shape, (1,), count=len(numbers))
    found = read(tmp_path, dict_of(a=one, b=one, c=one), numbers.tobytes())
    for value in found.values():
        np.testing.assert_array_equal(value, numbers)
    assert np.shares_memory(found["a"], found["c"])


def test_members_that_share_bytes(tmp_path):
    write_torch(tmp_path / "a.pth", {name: np.zeros(50_000, np.float32) for name in "abcde"})
    content = bytearray((tmp_path / "a.pth").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        first = archive.getinfo("archive/data/0").header_offset
    place = content.rindex(b"PK\x05\x06")
    (start,) = struct.unpack_from("<I", content, place + 16)
    for number in range(1, 5):  # each member where the first one is, and nothing else in the file
        name = content.index(f"archive/data/{number}".encode(), start)
        struct.pack_into("<I", content, name - 4, first)
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        second = archive.getinfo("archive/data/1").header_offset
    shortened = content[:second] + content[start:]
    struct.pack_into("<I", shortened, len(shortened) - (len(content) - place) + 16, second)
    (tmp_path / "b.pth").write_bytes(shortened)
    with pytest.raises(Refused, match="the same bytes in several members"):
        read_torch(tmp_path / "b.pth")


def test_the_byte_order_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/byteorder", bytes(10**8), zipfile.ZIP_DEFLATED)
    with within_limits("byteorder"), pytest.raises(Refused, match="compressed archive/byteorder"):
        read_torch(tmp_path / "a.pth")


def test_a_file_that_is_cut_short_after_it_was_read(tmp_path):
    """Of a mapped file the process would be killed."""
    write_torch(tmp_path / "a.pth", {"a": np.ones(10**6, np.float32)})
    program = """
import os, sys
from mrcnn.weights.torch_file import read_torch
found = read_torch(sys.argv[1])
os.truncate(sys.argv[1], 1000)
print(found["a"].sum())
"""
    command = [sys.executable, "-c", program, str(tmp_path / "a.pth")]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == "1000000.0\n"


def test_an_archive_of_a_version_that_is_not_known(tmp_path):
    write_torch(tmp_path / "weights.bin", {"a": np.zeros(1, np.float32)})
    content = bytearray((tmp_path / "weights.bin").read_bytes())
    assert is_torch_file(tmp_path / "weights.bin")
    content[content.index(b"PK\x01\x02") + 6] = 217
    (tmp_path / "weights.bin").write_bytes(content)
    assert not is_torch_file(tmp_path / "weights.bin")


# === What stands beside tensors ===


@pytest.mark.parametrize("metadata", [b"\x88", b"\x89"])
@pytest.mark.parametrize("name", ["neg", "conj"])
def test_views_that_negate_are_refused(tmp_path, name, metadata):
    """Their numbers are those of another tensor, and would be read as they are."""
    found = read(tmp_path, dict_of(a=tensor(more=b"}")))
    np.testing.assert_array_equal(found["a"], np.arange(4))
    with pytest.raises(Refused, match=r"resolve_neg\(\)"):
        read(tmp_path, dict_of(a=tensor(more=b"}" + text(name) + metadata + b"s")))


@pytest.mark.parametrize("protocol", [2, 4])
def test_extras_of_checkpoints_stand_aside(tmp_path, protocol):
    extras = {
        "score": np.float64(0.5),
        "steps": np.arange(3),
        "seen": {1, 2},
        "fixed": frozenset("a"),
        "folder": pathlib.PurePosixPath("a/b"),
        "losses": collections.defaultdict(list, {"a": [1]}),
        "counts": collections.Counter("aab"),
    }
    pickled = pickle.dumps(extras, protocol)
    written = [pickled]
    if protocol == 2:  # in which the length of names is not written; NumPy 1 had this one
        written.append(pickled.replace(b"numpy._core", b"numpy.core"))
    for content in written:
        found = read(tmp_path, content)
        assert found.pop("losses") == {"a": [1]} and found.pop("counts") == {"a": 2, "b": 1}
        assert {type(value) for value in found.values()} == {Foreign} and len(found) == 5


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "uint16", "bool", "float8_e4m3fn"])
def test_dtypes_and_tensors_of_new_types_stand_aside(tmp_path, kind):
    storage = text("storage") + b"ctorch.storage\nUntypedStorage\n" + text("0") + text("cpu")
    rest = whole(16) + b"tQ" + whole(0) + several([4]) + several([1]) + b"\x89}"
    named = f"ctorch\n{kind}\n".encode()
    newer = b"ctorch._utils\n_rebuild_tensor_v3\n((" + storage + rest + named + b"tR"
    device = b"ctorch\ndevice\n" + text("cpu") + b"\x85R"
    found = read(tmp_path, dict_of(dtype=named, newer=newer, device=device))
    assert [type(value) for value in found.values()] == [Foreign] * 3


@pytest.mark.parametrize("name", ["ctorch\nComplexFloatStorage\n", "ctorch._utils\n_other\n"])
def test_what_is_refused_says_how_to_save(tmp_path, name):
    with pytest.raises(Refused, match=r"torch.save\(model.state_dict\(\)"):
        read(tmp_path, dict_of(a=name.encode()))

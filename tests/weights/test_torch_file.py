"""PyTorch's files: those that it wrote, damaged ones, ones that would run code, and our own."""

import collections
import gc
import io
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mrcnn.weights.torch_file import Foreign, Refused, is_torch_file, read_torch
from mrcnn.weights.torch_writer import write_torch
from tests.damage import damaged, rearranged
from tests.paths import ROOT

FILES = Path(__file__).parent / "torch_files"
VALUES = dict(np.load(FILES / "values.npz"))
# Tensors that are named after their types, of those that NumPy has; the others are float32.
NAMED = ("float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


def zipped(path, pickled, members=(), folder="archive"):
    """An archive as PyTorch's, with any pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{folder}/data.pkl", pickled)
        for name, content in members:
            archive.writestr(f"{folder}/{name}", content)
    return path


# === Reading ===


@pytest.mark.parametrize("name", ["zip.pth", "stream.pth"])
def test_every_kind_of_tensor(name):
    found = read_torch(FILES / name)
    expected = {name: value for name, value in VALUES.items() if ":" not in name}
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].shape == value.shape, key
        np.testing.assert_array_equal(found[key], value, err_msg=key)
        kind = key if key in NAMED else {"scalar": "int64"}.get(key, "float32")
        assert found[key].dtype == kind, key
    assert not found["plain"].flags.writeable


def test_read_by_its_beginning_whatever_its_name(tmp_path):
    for name in ("zip.pth", "stream.pth"):
        (tmp_path / "weights.bin").write_bytes((FILES / name).read_bytes())
        assert is_torch_file(tmp_path / "weights.bin")
    assert is_torch_file("missing.pth") and is_torch_file("missing.PT")
    assert not is_torch_file("missing.h5")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("config.json", "{}")
    assert not is_torch_file(tmp_path / "other.zip")


def test_checkpoint_with_optimizer_and_arguments():
    found = read_torch(FILES / "checkpoint.pth")
    assert found["epoch"] == 1 and isinstance(found["args"], Foreign)
    assert found["lr_scheduler"]["milestones"] == {2: 1, 4: 1}
    momentum = found["optimizer"]["state"][0]["momentum_buffer"]
    np.testing.assert_array_equal(momentum, np.ones((4, 6), np.float32))
    for name, value in found["model"].items():
        np.testing.assert_array_equal(value, VALUES[f"state:{name}"])


def test_big_endian_numbers(tmp_path):
    (tmp_path / "a").mkdir()
    write_torch(tmp_path / "little.pth", {"a": np.arange(5, dtype=np.float32)})
    with zipfile.ZipFile(tmp_path / "little.pth") as archive:
        pickled = archive.read("archive/data.pkl")
    content = np.arange(5, dtype=">f4").tobytes()
    path = zipped(tmp_path / "big.pth", pickled, [("byteorder", b"big"), ("data/0", content)])
    np.testing.assert_array_equal(read_torch(path)["a"], np.arange(5))


def test_the_file_is_not_held_when_its_tensors_are_gone(tmp_path):
    """Without waiting for Python's search for cycles."""
    path = tmp_path / "large.pth"
    write_torch(path, {"a": np.zeros(1_000_000, np.float32)})
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        tensors = read_torch(path)
        held = tracemalloc.get_traced_memory()[0]
        del tensors
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert held > 4_000_000 and left < 400_000


def test_needs_no_pytorch_nor_tensorflow():
    code = """
import sys
from mrcnn.weights.read import read_weights
from mrcnn.weights.torch_file import read_torch
read_torch(sys.argv[1])
print(sorted({"torch", "tensorflow", "keras"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", code, str(FILES / "zip.pth")]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == "[]\n"


# === What is refused ===


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, print, eval, os.putenv, np.load])
@pytest.mark.parametrize("kind", ["zip", "stream"])
def test_code_is_refused_by_its_name_and_not_run(tmp_path, capfd, kind, function):
    path = tmp_path / "evil.pth"
    pickled = pickle.dumps({"weight": Call(function, "echo run > ran")}, 2)
    if kind == "zip":
        zipped(path, pickled)
    else:
        numbers = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        path.write_bytes(b"".join(pickle.dumps(number, 2) for number in numbers) + pickled)
    with pytest.raises(Refused, match="asks for .*, which no tensor needs") as error:
        read_torch(path)
    name = pickle.whichmodule(function, function.__name__) + "." + function.__name__
    assert str(path) in str(error.value) and function.__name__ in str(error.value), name
    assert capfd.readouterr().out == ""
    assert not os.path.exists("ran")


@pytest.mark.parametrize(
    "name, message",
    [
        ("module.pth", r"holds a whole object \(torch.nn.modules.linear.Linear\).*state_dict"),
        ("script.pt", "is a TorchScript program"),
    ],
)
def test_what_holds_more_than_tensors(name, message):
    with pytest.raises(Refused, match=message) as error:
        read_torch(FILES / name)
    assert str(FILES / name) in str(error.value)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file"),
        (pickle.dumps({"a": 1}, 4), "it is a pickle, but not one of torch.save"),
        (b"\x80", r"begins with b'\\x80'"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"PK\x03\x04rest", "damaged or cut short"),
        (b"hello, hello, hello", "begins with b'hello, hello, he'"),
    ],
)
def test_other_files(tmp_path, content, message):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(Refused, match=message) as error:
        read_torch(path)
    assert str(path) in str(error.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no weights file"):
        read_torch(tmp_path / "a.pth")
    with pytest.raises(Refused, match="is a folder"):
        read_torch(tmp_path)


def test_a_zip_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "")
    with pytest.raises(Refused, match=r"it is a \.keras model"):
        read_torch(tmp_path / "model.pth")


@pytest.mark.parametrize("name", ["zip.pth", "stream.pth", "checkpoint.pth"])
@pytest.mark.parametrize("cases", [60, pytest.param(4000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "change", [damaged, lambda content, seed: rearranged(content, content, seed)]
)
def test_damaged_files_are_read_or_refused_by_name(tmp_path, name, cases, change):
    path, whole, refused = tmp_path / "weights.pth", (FILES / name).read_bytes(), 0
    for seed in range(cases):
        path.write_bytes(change(whole, seed))
        try:
            read_torch(path)
        except Refused as error:
            refused += 1
            assert str(path) in str(error), (seed, error)
    assert refused > cases // 4


def test_changed_number_in_an_archive_is_seen(tmp_path):
    content = bytearray((FILES / "zip.pth").read_bytes())
    place = content.find(np.float32(5 / 7).tobytes())
    content[place] ^= 1
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(Refused, match=r"the checksum of zip/data/0 in it is wrong"):
        read_torch(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    "old, new, message",
    [
        # sizes, strides and offset of the first tensor as the pickle has them
        (b"K\x04K\x06\x86", b"K\x04K\x07\x86", "whose storage has only 24 numbers"),
        (b"K\x06K\x01\x86", b"K\x07K\x01\x86", "whose storage has only 24 numbers"),
        (b"K\x00K\x04K\x06\x86", b"K\x01K\x04K\x06\x86", "whose storage has only 24 numbers"),
    ],
)
def test_a_tensor_beyond_its_storage(tmp_path, old, new, message):
    with zipfile.ZipFile(FILES / "zip.pth") as archive:
        members = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    pickled = members.pop("data.pkl")
    assert pickled.count(old) >= 1
    path = zipped(tmp_path / "a.pth", pickled.replace(old, new, 1), members.items())
    with pytest.raises(Refused, match=message):
        read_torch(path)


def test_a_small_file_cannot_ask_for_any_amount_of_memory(tmp_path):
    """With strides of 0 a tensor of one number could have any shape."""
    write_torch(tmp_path / "a.pth", {"a": np.zeros(1000003, np.float32)})
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        pickled = archive.read("archive/data.pkl")
    size, stride = (b"(J" + np.int32(number).tobytes() + b"t" for number in (1000003, 1))
    assert pickled.count(size) == pickled.count(stride) == 1
    pickled = pickled.replace(size, b"(J" + np.int32(2**31 - 1).tobytes() + b"t")
    pickled = pickled.replace(stride, b"(J" + np.int32(0).tobytes() + b"t")
    path = zipped(tmp_path / "b.pth", pickled, [("data/0", bytes(4 * 1000003))])
    with pytest.raises(Refused, match="whose storage has only"):
        read_torch(path)


def test_a_pickle_that_grows_when_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"N0" * 10**7 + b"N.")
    with pytest.raises(Refused, match="compressed"):
        read_torch(tmp_path / "a.pth")


def test_dicts_within_dicts_without_end(tmp_path):
    deep = inner = {}
    for _ in range(200):
        inner["a"] = inner = {}
    inner["itself"] = deep
    with pytest.raises(Refused, match="too deep within each other"):
        read_torch(zipped(tmp_path / "a.pth", pickle.dumps(deep, 2)))
    # a thousand million values of ten lists
    wide = [0]
    for _ in range(10):
        wide = [wide] * 10
    path = zipped(tmp_path / "b.pth", pickle.dumps(wide, 2))
    with pytest.raises(Refused, match="more values than bytes"):
        read_torch(path)


# === Writing ===


def test_what_is_written_is_read(tmp_path):
    rng = np.random.RandomState(0)
    tensors = {
        "weight": rng.randn(3, 4, 5).astype(np.float32),
        "transposed": rng.randn(3, 4).T,
        "half": rng.randn(7).astype(np.float16),
        "count": np.array(5, np.int64),
        "empty": np.zeros((0, 3), np.float32),
        "mask": np.array([True, False]),
    }
    write_torch(tmp_path / "out.pth", tensors)
    found = read_torch(tmp_path / "out.pth")
    assert list(found) == list(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
    with zipfile.ZipFile(tmp_path / "out.pth") as archive:
        assert archive.testzip() is None


def test_the_pickle_is_that_of_a_state_dict(tmp_path):
    """As `torch.load(weights_only=True)` asks for it; PyTorch read such a file when this test was
    written (see benchmarks/torchvision_goldens.py).
    """
    write_torch(tmp_path / "out.pth", {"a": np.zeros((2, 3), np.float32), "b": np.array(1)})
    asked = []

    class Storage:
        pass

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            asked.append(f"{module}.{name}")
            if name == "OrderedDict":
                return collections.OrderedDict
            return Storage if name.endswith("Storage") else lambda *arguments: arguments

        def persistent_load(self, saved):
            return saved

    with zipfile.ZipFile(tmp_path / "out.pth") as archive:
        found = Reader(io.BytesIO(archive.read("archive/data.pkl"))).load()
        assert archive.read("archive/version") == b"3\n"
        assert archive.read("archive/byteorder") == b"little"
    assert type(found) is collections.OrderedDict and not found["a"][5]
    storage = ("storage", Storage, "0", "cpu", 6)
    assert found["a"][:5] == (storage, 0, (2, 3), (3, 1), False)
    assert found["b"][:5] == (("storage", Storage, "1", "cpu", 1), 0, (), (), False)
    assert set(asked) == {
        *("collections.OrderedDict", "torch._utils._rebuild_tensor_v2"),
        *("torch.FloatStorage", "torch.LongStorage"),
    }


def test_a_type_that_no_file_holds_leaves_the_old_file(tmp_path):
    (tmp_path / "out.pth").write_bytes(b"old")
    with pytest.raises(TypeError, match="a is of complex128"):
        write_torch(tmp_path / "out.pth", {"a": np.zeros(2, complex)})
    assert os.listdir(tmp_path) == ["out.pth"] and (tmp_path / "out.pth").read_bytes() == b"old"


def test_numbers_are_aligned_for_mapping(tmp_path):
    tensors = {f"layer{number}": np.full(number, number, np.float32) for number in range(1, 9)}
    write_torch(tmp_path / "out.pth", tensors)
    content = (tmp_path / "out.pth").read_bytes()
    for number, value in enumerate(tensors.values()):
        name = f"archive/data/{number}".encode()
        start = content.index(name) + len(name)
        place = content.index(value.tobytes(), start)
        assert place % 64 == 0

"""PyTorch's files of tensors (``.pth``, ``.pt``), read without PyTorch.

Such a file is a pickle of dicts that refer to stored numbers. Since PyTorch 1.6 it is a zip
archive; before it was a stream. A pickle may call any function by its name, so only the functions
and types are known here that tensors are made of, and nothing of the file is ever executed.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import math
import mmap
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mrcnn.common.files import AnyPath, what_else

# Numbers of each storage type; bfloat16 is the upper half of a float32.
DTYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# How a file of PyTorch before 1.6 begins: a pickle of this number, then one of the version.
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_STREAM_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_STREAM_VERSION = 1001
# Levels of dicts within dicts; a checkpoint has three or four.
_DEEPEST = 20


class Foreign:
    """Stands for an object of a class that holds data alone, such as the arguments of a program.

    Its class is not imported, and what it holds is not kept.
    """

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class Refused(ValueError):
    """What is wrong with a file, in a message that names it."""


@dataclasses.dataclass(slots=True)
class _Tensor:
    """A tensor as the pickle describes it: no array yet, to which a pickle could give a state."""

    storage: tuple[str, str, int]  # type, key, number of elements
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def is_torch_file(path: AnyPath) -> bool:
    """Whether a file is one of PyTorch's, by its ending (.pth, .pt) or by how it begins.

    Files that are missing are told by their ending.
    """
    if os.path.splitext(os.fspath(path))[1].lower() in (".pth", ".pt"):
        return True
    try:
        with open(path, "rb") as file:
            start = file.read(len(_STREAM_START))
        if start == _STREAM_START:
            return True
        return start.startswith(b"PK") and bool(_pickles(zipfile.ZipFile(path)))
    except (OSError, zipfile.BadZipFile):
        return False


def read_torch(path: AnyPath) -> Any:
    """What a PyTorch file holds.

    Nothing in it is executed: a file that asks for a function or a class which no tensor needs is
    refused, by the name of that.

    Args:
        path: a file that ``torch.save`` wrote, of any version since 0.1.10.

    Returns:
        The dict, list or tensor in it; each tensor as an array that is read from the file when it
        is used, and cannot be written to. bfloat16 becomes float32. Arguments of programs
        (``argparse.Namespace``) are `Foreign`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, is cut short or damaged, or asks for something else.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        raise Refused(f"{path} is a folder; give the .pth file in it")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no weights file {path}")
    with open(path, "rb") as file:
        start = file.read(1024)
        if not start:
            raise Refused(f"{path} is not a PyTorch file: it is empty")
        # the views into it keep it open
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        if start.startswith(b"PK"):
            return _read_zip(path, mapped)
        if start.startswith(_STREAM_START):
            return _read_stream(path, mapped)
    except Refused:
        raise
    except Exception as error:  # of which pickle and zipfile have a dozen kinds for damage
        raise Refused(
            f"{path} cannot be read as a PyTorch file, it is damaged or cut short "
            f"({len(mapped):,} bytes): copy or download it again "
            f"({type(error).__name__}: {error})"
        ) from error
    raise Refused(f"{path} is not a PyTorch file: {_what_it_is(path, start)}")


# === Pickles ===


class _Storage:
    """Stands for a storage type of PyTorch's; only its name counts."""

    def __init__(self, name: str) -> None:
        self.name = name


def _rebuild_tensor(storage, offset, size, stride, *_):
    if not isinstance(storage, tuple):
        raise Refused("a tensor without a storage")
    if not all(isinstance(number, int) and number >= 0 for number in (offset, *size, *stride)):
        raise Refused("a tensor of negative sizes")
    return _Tensor(storage, offset, tuple(size), tuple(stride))


# What a pickle may ask for; all else is refused.
_KNOWN: dict[tuple[str, str], Callable] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "Counter"): collections.Counter,  # of learning rate schedules
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    ("torch", "Size"): tuple,
    ("argparse", "Namespace"): Foreign,
}


class _Unpickler(pickle.Unpickler):
    """Reads a pickle that asks for nothing but tensors.

    Args:
        file: to read from.
        path: of the file, for messages.
        storages: is given {key: (type, number of elements)} of each storage that the pickle names.
    """

    def __init__(self, file, path, storages):
        super().__init__(file, encoding="utf-8")
        self.path, self.storages = path, storages

    def find_class(self, module, name):
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            if name in DTYPES:
                return _Storage(name)
            raise Refused(f"{self.path} has numbers of type torch.{name}, which are not read here")
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module.split(".")[0] in ("torch", "torchvision", "__main__") and name[:1].isupper():
            raise Refused(
                f"{self.path} holds a whole object ({module}.{name}), not tensors alone, and to "
                "read it would execute code: in PyTorch save its state dict, "
                'torch.save(model.state_dict(), "weights.pth")'
            )
        raise Refused(
            f"{self.path} asks for {module}.{name}, which no tensor needs; it was not executed. "
            "Take a state dict from a source that you trust"
        )

    def persistent_load(self, saved):
        if not isinstance(saved, tuple) or len(saved) < 5 or saved[0] != "storage":
            raise Refused(f"{self.path} refers to something that is no tensor: {saved!r:.80}")
        _, kind, key, _, count, *view = saved
        if not isinstance(kind, _Storage) or not isinstance(count, int) or count < 0 or any(view):
            raise Refused(f"{self.path} has a storage that is not read here: {saved!r:.80}")
        key = str(key)
        if self.storages.setdefault(key, (kind.name, count)) != (kind.name, count):
            raise Refused(
                f"{self.path} has two types or sizes for one storage, {key}; it is damaged"
            )
        return kind.name, key, count


def _load(file, path, storages):
    """The next pickle of a file; what refuses it names the file."""
    try:
        return _Unpickler(file, path, storages).load()
    except Refused as error:
        if path in str(error):
            raise
        raise Refused(f"{path} has {error}; it is damaged") from None


def _with_arrays(value, array_of, limit):
    """The dicts and lists of a pickle with arrays in place of tensors.

    Args:
        value: what the pickle holds.
        array_of: makes the array of a `_Tensor`.
        limit: values at most. Lists that hold one list many times have any number in a few bytes.
    """
    seen = 0

    def converted(value, depth):
        nonlocal seen
        seen += 1
        if seen > limit:
            raise ValueError("more values than bytes")
        if isinstance(value, _Tensor):
            return array_of(value)
        if not isinstance(value, (dict, list, tuple)):
            return value
        if depth > _DEEPEST:
            raise ValueError("dicts or lists too deep within each other")
        if isinstance(value, dict):
            return {key: converted(inner, depth + 1) for key, inner in value.items()}
        return [converted(inner, depth + 1) for inner in value]

    return converted(value, 0)


def _array(path, tensor, flat, limit):
    """A tensor's view of the numbers of its storage.

    Args:
        path: of the file, for messages.
        tensor: `_Tensor`.
        flat: 1-D array of the storage.
        limit: elements of a tensor at most. With strides of 0 a small file could ask for any
            number.
    """
    if len(tensor.size) != len(tensor.stride):
        raise Refused(f"{path} has a tensor of {len(tensor.size)} sizes and other strides")
    count = math.prod(tensor.size)
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.size, tensor.stride)
    )
    if count and (last >= len(flat) or count > limit):
        raise Refused(
            f"{path} has a tensor of shape {tensor.size} whose storage has only {len(flat):,} "
            "numbers; it is damaged"
        )
    strides = [stride * flat.itemsize for stride in tensor.stride]
    part = flat[tensor.offset if count else 0 :]
    view = np.lib.stride_tricks.as_strided(part, tensor.size, strides, writeable=False)
    if tensor.storage[0] == "BFloat16Storage":
        view = (view.astype(np.uint32) << 16).view(np.float32)
    return view


def _flat(mapped, start, kind, count, order="<"):
    dtype = np.dtype(DTYPES[kind]).newbyteorder(order)
    return np.frombuffer(mapped, dtype, count, start)


# === Zip archives, since PyTorch 1.6 ===


def _pickles(archive):
    """The names of the members that are the pickle of a PyTorch file: one, or none."""
    return [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]


def _read_zip(path, mapped):
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        pickles = _pickles(archive)
        if not pickles:
            what = (
                "it is a .keras model"
                if {"config.json", "model.weights.h5"} <= names
                else "it is a zip archive without data.pkl, perhaps one that wants unpacking"
            )
            raise Refused(f"{path} is not a PyTorch file: {what}")
        folder = pickles[0].split("/")[0]
        if any(name.startswith(f"{folder}/code/") for name in names):
            raise Refused(
                f"{path} is a TorchScript program, not tensors: in PyTorch save its state dict, "
                'torch.save(torch.jit.load(path).state_dict(), "weights.pth")'
            )
        if archive.getinfo(pickles[0]).compress_type != zipfile.ZIP_STORED:
            raise Refused(f"{path} has a compressed pickle, which PyTorch writes none of")
        order = "<"
        if f"{folder}/byteorder" in names:
            order = ">" if archive.read(f"{folder}/byteorder") == b"big" else "<"
        storages: dict[str, tuple[str, int]] = {}
        content = _load(io.BytesIO(archive.read(pickles[0])), path, storages)
        flat = {}
        for key, (kind, count) in storages.items():
            name = f"{folder}/data/{key}"
            if name not in names:
                raise Refused(f"{path} lacks the numbers {name}; it is damaged")
            start = _stored_at(path, mapped, archive.getinfo(name), count, kind)
            flat[key] = _flat(mapped, start, kind, count, order)
    return _with_arrays(
        content,
        lambda tensor: _array(path, tensor, flat[tensor.storage[1]], len(mapped)),
        len(mapped),
    )


def _stored_at(path, mapped, info, count, kind):
    """Where the numbers of a storage begin in the file; its size and checksum are verified."""
    expected = count * np.dtype(DTYPES[kind]).itemsize
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise Refused(f"{path} has compressed numbers ({info.filename}), which are not read here")
    if info.file_size < expected:
        raise Refused(
            f"{path} has {info.file_size:,} bytes for {info.filename}, expected were {expected:,}; "
            "it is damaged"
        )
    # lengths of the name and of the extra field, which padding makes another one than at the end
    name, extra = struct.unpack_from("<HH", mapped, info.header_offset + 26)
    start = info.header_offset + 30 + name + extra
    with memoryview(mapped) as view:
        found = zlib.crc32(view[start : start + info.file_size])
    if found != info.CRC:
        raise Refused(f"{path} is damaged: the checksum of {info.filename} in it is wrong")
    return start


# === Streams, before PyTorch 1.6 ===


def _read_stream(path, mapped):
    file = mapped  # which reads as a file does
    storages: dict[str, tuple[str, int]] = {}
    number, version, system = (_load(file, path, {}) for _ in range(3))
    if number != _MAGIC_NUMBER or version != _STREAM_VERSION or not isinstance(system, dict):
        raise Refused(f"{path} is of a version of PyTorch's files that is not known: {version!r}")
    order = "<" if system.get("little_endian", True) else ">"
    content = _load(file, path, storages)
    keys = _load(file, path, {})
    flat, place = {}, file.tell()
    for key in map(str, keys):
        if key not in storages:
            raise Refused(f"{path} has numbers that no tensor names; it is damaged")
        kind, count = storages[key]
        size = count * np.dtype(DTYPES[kind]).itemsize
        if len(mapped) < place + 8 + size:
            raise Refused(f"{path} is cut short ({len(mapped):,} bytes): copy or download it again")
        (stored,) = struct.unpack_from("<q", mapped, place)
        if stored != count:
            raise Refused(
                f"{path} has {stored:,} numbers where {count:,} were expected; it is damaged"
            )
        flat[key] = _flat(mapped, place + 8, kind, count, order)
        place += 8 + size
    missing = storages.keys() - flat.keys()
    if missing:
        raise Refused(f"{path} lacks the numbers of {len(missing)} tensors; it is damaged")
    return _with_arrays(
        content,
        lambda tensor: _array(path, tensor, flat[tensor.storage[1]], len(mapped)),
        len(mapped),
    )


def _what_it_is(path, start):
    if b"ustar" in start[257:263] or start.startswith(b"sys_info"):
        return "it is a tar archive, as PyTorch wrote before version 0.1.10"
    if start.startswith(b"\x89HDF"):
        return "it is an HDF5 file; its name should end in .h5"
    if start[:1] == b"\x80" and start[1] <= 5:
        return "it is a pickle, but not one of torch.save"
    return what_else(path) or (
        f"it begins with {start[:16]!r}, so it may be an error page or another kind of file"
    )

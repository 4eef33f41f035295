"""PyTorch's files of tensors (``.pth``, ``.pt``), read without PyTorch.

Such a file is a pickle of dicts that refer to stored numbers. Since PyTorch 1.6 it is a zip
archive; before it was a stream. Nothing of the file is ever executed: see `torch_pickle`.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
import zlib
from typing import Any

import numpy as np

from mrcnn.common.files import AnyPath, what_else
from mrcnn.common.words import on_one_line
from mrcnn.weights.torch_pickle import (
    ADVICE,
    STORED_DTYPES,
    Foreign,
    Refused,
    Storage,
    Tensor,
    load_pickle,
)

# How a file of PyTorch before 1.6 begins: a pickle of this number, then one of the version.
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_STREAM_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_STREAM_VERSION = 1001
# Levels of dicts within dicts; a checkpoint has three or four.
_DEEPEST = 20
# Bytes of all tensors together, as a multiple of the file's. Tensors may share numbers (tied
# weights, an average that is still the weights themselves) and bfloat16 is widened to twice its
# bytes; with strides of 0 a small file could ask for any amount of memory.
_MOST_SHARED = 4


def is_torch_file(path: AnyPath) -> bool:
    """Whether a file is one of PyTorch's, by its ending (.pth, .pt) or by how it begins.

    A missing file is recognised by its ending.
    """
    if os.path.splitext(os.fspath(path))[1].lower() in (".pth", ".pt"):
        return True
    try:
        with open(path, "rb") as file:
            start = file.read(len(_STREAM_START))
        if start == _STREAM_START:
            return True
        if not start.startswith(b"PK"):
            return False
        with zipfile.ZipFile(path) as archive:
            return bool(_pickles(archive))
    except Exception:  # of which zipfile has a dozen kinds for damage
        return False


def read_torch(path: AnyPath) -> Any:
    """What a PyTorch file holds.

    Nothing in it is executed: a file that asks for a function or a class which no tensor needs is
    refused, by the name of that.

    Args:
        path: a file that ``torch.save`` wrote, of any version since 0.1.10.

    Returns:
        The dict, list or tensor in it; each tensor as an array that cannot be written to and is a
        view of the file's bytes. bfloat16 becomes float32. What stands beside tensors in
        checkpoints (arguments of programs, NumPy's numbers, sets, dtypes) is `Foreign`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, is cut short or damaged, or asks for something else.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        raise Refused(f"{path} is a folder; give the .pth file in it")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no weights file {path}")
    with open(path, "rb", buffering=0) as file:  # a buffer would be copied with the rest
        start = file.read(1024)
        if not start:
            raise Refused(f"{path} is not a PyTorch file: it is empty")
        read = {b"PK": _read_zip, _STREAM_START: _read_stream}
        reader = next((read[begin] for begin in read if start.startswith(begin)), None)
        if reader is None:
            raise Refused(f"{path} is not a PyTorch file: {_what_it_is(path, start)}")
        # not mapped: a process that touches a mapped file which was cut short is killed
        file.seek(0)
        content = file.read()
    try:
        return reader(path, content)
    except Refused:
        raise
    except Exception as error:  # of which pickletools and zipfile have a dozen kinds for damage
        raise Refused(
            f"{path} cannot be read as a PyTorch file, it is damaged or cut short "
            f"({len(content):,} bytes): copy or download it again "
            f"({type(error).__name__}: {on_one_line(str(error)[:200])})"
        ) from error


# === Tensors ===


class _Arrays:
    """Makes arrays of the tensors in the dicts and lists of a pickle.

    A function within another that calls itself would do, but hold the whole file until Python next
    looks for cycles.

    Args:
        path: of the file, for messages.
        flat: {key: 1-D array} of the storages.
        size: of the file in bytes. No more values than that are converted: lists that hold one
            list many times have any number in a few bytes.
    """

    def __init__(self, path, flat, size):
        self.path, self.flat, self.size = path, flat, size
        self.seen = self.bytes_asked = 0

    def of(self, value, depth=0):
        self.seen += 1
        if self.seen > self.size:
            raise ValueError("more values than bytes")
        if isinstance(value, Tensor):
            return self._of_tensor(value)
        if depth > _DEEPEST:
            raise ValueError("dicts or lists too deep within each other")
        if isinstance(value, dict):
            return {key: self.of(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.of(inner, depth + 1) for inner in value]
        if value is None or isinstance(value, (str, bytes, int, float)):
            return value
        return Foreign()  # also a storage or a function by itself

    def _of_tensor(self, tensor):
        view = _view(self.path, tensor, self.flat[tensor.storage.key], self.size)
        is_bfloat16 = tensor.storage.kind == "BFloat16Storage"
        self.bytes_asked += view.size * view.itemsize * (2 if is_bfloat16 else 1)
        if self.bytes_asked > _MOST_SHARED * self.size:
            raise Refused(
                f"{self.path} has tensors of more than {_MOST_SHARED} times its {self.size:,} "
                f"bytes in all; {ADVICE}"
            )
        return (view.astype(np.uint32) << 16).view(np.float32) if is_bfloat16 else view


def _view(path, tensor, flat, limit):
    """A tensor's view of the numbers of its storage.

    Args:
        path: of the file, for messages.
        tensor: `Tensor`.
        flat: 1-D array of the storage.
        limit: elements of a tensor at most.
    """
    count = math.prod(tensor.size)
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.size, tensor.stride)
    )
    if count and (last >= len(flat) or count > limit):
        raise Refused(
            f"{path} has a tensor of shape {tensor.size} whose storage has only {len(flat):,} "
            "numbers; it is damaged"
        )
    strides = [stride * flat.itemsize if count else 0 for stride in tensor.stride]
    part = flat[tensor.offset if count else 0 :]
    return np.lib.stride_tricks.as_strided(part, tensor.size, strides, writeable=False)


def _flat(content, start, storage, order="<"):
    """The 1-D array of a storage whose numbers begin at a place of the file."""
    dtype = np.dtype(STORED_DTYPES[storage.kind]).newbyteorder(order)
    return np.frombuffer(content, dtype, storage.count, start)


def _bytes_of(storage):
    return storage.count * np.dtype(STORED_DTYPES[storage.kind]).itemsize


# === Zip archives, since PyTorch 1.6 ===


def _pickles(archive):
    """The names of the members that are the pickle of a PyTorch file: one, or none."""
    return [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]


def _read_zip(path, content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
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
        order = "<"
        if f"{folder}/byteorder" in names:
            order = ">" if _stored(path, archive, f"{folder}/byteorder") == b"big" else "<"
        storages: dict[str, Storage] = {}
        pickled = io.BytesIO(_stored(path, archive, pickles[0]))
        value = load_pickle(pickled, path, storages)
        flat, sizes = {}, 0
        for key, storage in storages.items():
            name = f"{folder}/data/{key}"
            if name not in names:
                raise Refused(f"{path} lacks the numbers {_shown(name)}; it is damaged")
            info = archive.getinfo(name)
            sizes += info.file_size
            if sizes > len(content):
                raise Refused(f"{path} has the same bytes in several members; it is damaged")
            start = _numbers_at(path, content, info, storage)
            flat[key] = _flat(content, start, storage, order)
    return _Arrays(path, flat, len(content)).of(value)


def _stored(path, archive, name):
    """The bytes of a member, which could be of any number were it compressed."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise Refused(f"{path} has a compressed {_shown(name)}, which PyTorch writes none of")
    return archive.read(name)


def _numbers_at(path, content, info, storage):
    """Where the numbers of a storage begin in the file; its size and checksum are verified."""
    name = _shown(info.filename)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise Refused(f"{path} has compressed numbers ({name}), which are not read here")
    if info.file_size < _bytes_of(storage):
        raise Refused(
            f"{path} has {info.file_size:,} bytes for {name}, expected were "
            f"{_bytes_of(storage):,}; it is damaged"
        )
    # lengths of the name and of the extra field, which padding makes another one than at the end
    lengths = struct.unpack_from("<HH", content, info.header_offset + 26)
    start = info.header_offset + 30 + sum(lengths)
    with memoryview(content) as view:
        found = zlib.crc32(view[start : start + info.file_size])
    if found != info.CRC:
        raise Refused(f"{path} is damaged: the checksum of {name} in it is wrong")
    return start


def _shown(name):
    return on_one_line(name[:100])


# === Streams, before PyTorch 1.6 ===


def _read_stream(path, content):
    file = io.BytesIO(content)
    number, version, system = (load_pickle(file, path, {}) for _ in range(3))
    if number != _MAGIC_NUMBER or version != _STREAM_VERSION or not isinstance(system, dict):
        known = f": {version}" if isinstance(version, int) and 0 <= version < 1 << 63 else ""
        raise Refused(f"{path} is of a version of PyTorch's files that is not known{known}")
    order = "<" if system.get("little_endian", True) else ">"
    storages: dict[str, Storage] = {}
    value = load_pickle(file, path, storages)
    keys = load_pickle(file, path, {})
    flat, place = {}, file.tell()
    for key in keys:
        if not isinstance(key, (str, int)) or str(key) not in storages:
            raise Refused(f"{path} has numbers that no tensor names; it is damaged")
        storage = storages[str(key)]
        if len(content) < place + 8 + _bytes_of(storage):
            raise Refused(
                f"{path} is cut short ({len(content):,} bytes): copy or download it again"
            )
        (stored,) = struct.unpack_from("<q", content, place)
        if stored != storage.count:
            raise Refused(
                f"{path} has {stored:,} numbers where {storage.count:,} were expected; "
                "it is damaged"
            )
        flat[storage.key] = _flat(content, place + 8, storage, order)
        place += 8 + _bytes_of(storage)
    missing = storages.keys() - flat.keys()
    if missing:
        raise Refused(f"{path} lacks the numbers of {len(missing)} tensors; it is damaged")
    return _Arrays(path, flat, len(content)).of(value)


def _what_it_is(path, start):
    if b"ustar" in start[257:263] or start.startswith(b"sys_info"):
        return "it is a tar archive, as PyTorch wrote before version 0.1.10"
    if start.startswith(b"\x89HDF"):
        return "it is an HDF5 file; its name should end in .h5"
    if start[:1] == b"\x80" and b"\x00" < start[1:2] <= b"\x05":
        return "it is a pickle, but not one of torch.save"
    return what_else(path) or (
        f"it begins with {start[:16]!r}, so it may be an error page or another kind of file"
    )

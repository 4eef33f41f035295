"""State dicts written as PyTorch's files (``.pth``), without PyTorch."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterable, Mapping

import numpy as np

from mrcnn.common.files import AnyPath, whole_file
from mrcnn.weights.torch_pickle import DTYPES

_STORAGES = {np.dtype(dtype): name for name, dtype in DTYPES.items() if dtype != "u2"}
# PyTorch maps files from places that are multiples of it.
_ALIGNMENT = 64


def write_torch(path: AnyPath, tensors: Mapping[str, np.ndarray]) -> None:
    """Write a state dict that ``torch.load(path, weights_only=True)`` reads, whole or not at all.

    Args:
        path: file to write or replace; its folder must exist.
        tensors: {name: array of float16, float32, float64, int8 to int64, uint8 or bool}.

    Raises:
        TypeError: an array of another type.
        OSError: the file could not be written; an older one is as it was.
    """
    arrays = {
        name: np.ascontiguousarray(value).reshape(np.shape(value))
        for name, value in tensors.items()
    }
    for name, value in arrays.items():
        if value.dtype.newbyteorder("=") not in _STORAGES:
            raise TypeError(f"{name} is of {value.dtype}, which this file cannot hold")
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            _write_record(archive, file, "data.pkl", _pickle_of(arrays))
            _write_record(archive, file, "byteorder", b"little")
            for number, value in enumerate(arrays.values()):
                little = value.astype(value.dtype.newbyteorder("<"), copy=False)
                _write_record(archive, file, f"data/{number}", little.tobytes())
            _write_record(archive, file, "version", b"3\n")


def _write_record(archive, file, name, content):
    """Add a member to an archive, its bytes at a multiple of `_ALIGNMENT`."""
    info = zipfile.ZipInfo("archive/" + name)
    header = file.tell() + 30 + len(info.filename) + 4
    # an extra field of its own kind ("FB"), as PyTorch pads with
    padding = -header % _ALIGNMENT
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    archive.writestr(info, content)


def _pickle_of(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The pickle of an OrderedDict of tensors, each with a storage of its own."""

    def text(value):
        encoded = value.encode()
        return b"X" + struct.pack("<I", len(encoded)) + encoded

    def whole(value):
        if value < 1 << 31:
            return b"J" + struct.pack("<i", value)
        return b"\x8a\x08" + struct.pack("<q", value)

    def several(values: Iterable[int]):
        return b"(" + b"".join(map(whole, values)) + b"t"

    empty = b"ccollections\nOrderedDict\n)R"
    parts = [b"\x80\x02", empty, b"("]
    for number, (name, value) in enumerate(arrays.items()):
        strides = [stride // value.itemsize for stride in value.strides]
        storage = _STORAGES[value.dtype.newbyteorder("=")].encode()
        parts += [
            text(name),
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            text("storage"),
            b"ctorch\n" + storage + b"\n",
            text(str(number)),
            text("cpu"),
            whole(value.size),
            b"tQ",
            whole(0),
            several(value.shape),
            several(strides),
            b"\x89",
            empty,
            b"tR",
        ]
    return b"".join([*parts, b"u."])

"""Weights files as Keras 2 wrote them: one HDF5 group per layer, named tensors in each.

    /                    attributes layer_names, backend, keras_version
    /conv1               attribute weight_names = ["conv1/kernel:0", "conv1/bias:0"]
    /conv1/conv1/kernel:0    the data set

A whole-model file has the same below the group "model_weights". This file
knows HDF5 and NumPy only; what belongs to which variable is in load.py.
"""

import io
import os
from collections.abc import Iterable

import h5py
import numpy as np

from mrcnn.common.files import AnyPath, write_whole
from mrcnn.common.words import option_or_argument

# Layer name -> (weight name, values) of each of its weights, as in the file.
Layers = dict[str, list[tuple[str, np.ndarray]]]

# HDF5 keeps an object's attributes within 64 KiB; Keras splits longer lists the same way.
ATTRIBUTE_LIMIT = 60000


def read_h5(path: AnyPath) -> Layers:
    """All layers of a weights file.

    Tensors are taken by their position in `weight_names`, whatever the data
    sets are called. Nothing in the file is executed, and links are refused.

    Args:
        path: an .h5 file in Keras 2's layout (weights, or a whole model).

    Returns:
        dict of layer name -> list of (weight name, np.ndarray as stored), in
        file order; layers without weights have an empty list.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not HDF5, cut short, damaged, another layout, or links.
    """
    path = os.fspath(path)
    _require_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            return _read_layers(file, path)
    except _Refused:
        raise
    except Exception as error:  # of which h5py has a dozen kinds for damage
        if "truncated file" in str(error):
            raise ValueError(
                f"{path} is cut short ({os.path.getsize(path):,} bytes): copy or "
                f"download it again ({error})"
            ) from error
        raise ValueError(f"{path} cannot be read as HDF5, it is damaged: {error}") from error


def write_h5(path: AnyPath, layers: Iterable[tuple[str, list[tuple[str, np.ndarray]]]]) -> None:
    """Write a weights file that Keras 2 and matterport's code read; whole or not at all.

    The file is built in memory: HDF5 that writes to a full disk ends the process, or leaves zeros
    and says nothing. A crash or a full disk leaves an older file as it was. Where the path is a
    link, the link is replaced, and the file that it leads to stays as it is.

    Args:
        path: file to write or replace; its folder must exist.
        layers: list of (layer name, list of (weight name, array)). Floating
            tensors are written as float32, others as they are.

    Raises:
        FileNotFoundError: the folder does not exist.
        OSError: the file could not be written, for instance on a full disk.
    """
    path = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {path}: the folder {folder} does not exist")
    if os.path.isdir(path):
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        _write_layers(file, layers)
    try:
        write_whole(path, content.getbuffer())
    except OSError as error:
        raise OSError(
            f"could not write {path} (is the disk full, the folder writable?): {error}"
        ) from error


def describe_h5(path: AnyPath) -> str:
    """A table of the layers, shapes and value ranges of a weights file, as one str."""
    layers = read_h5(path)
    weighty = sum(bool(weights) for weights in layers.values())
    tensors = (
        (f"{layer}: {name}", value) for layer, weights in layers.items() for name, value in weights
    )
    return tensor_table(path, tensors, f"{len(layers)} layers, {weighty} with weights, ")


def tensor_table(
    path: AnyPath, tensors: Iterable[tuple[str, np.ndarray]], counted: str = ""
) -> str:
    """Lines of names, shapes and value ranges, and a last one of how many there are.

    Args:
        path: of the file.
        tensors: (name, array) of each.
        counted: what else the last line counts.
    """
    rows = [("weight", "shape", "min", "max", "std", "")]
    total = 0
    for name, value in tensors:
        total += value.size
        shape = "x".join(map(str, value.shape)) or "scalar"
        if not value.size:
            rows.append((name, shape, "", "", "", "EMPTY"))
            continue
        wide = value.astype(np.float64)
        flag = "" if np.isfinite(wide).all() else "NOT FINITE"
        with np.errstate(invalid="ignore"):
            low, high, spread = (f"{value:.4g}" for value in (wide.min(), wide.max(), wide.std()))
            rows.append((name, shape, low, high, spread, flag))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = [
        "  ".join(
            cell.ljust(width) if column in (0, 1, 5) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    lines.append(f"{path}: {counted}{len(rows) - 1} tensors, {total:,} values")
    return "\n".join(lines)


# === Reading ===


class _Refused(ValueError):
    """What is wrong with a file, in a message that names it."""


def _require_hdf5(path):
    """Raise for what is no HDF5 file at all, with a look at its first bytes."""
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder; give the .h5 file in it")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no weights file {path}")
    if h5py.is_hdf5(path):
        return
    with open(path, "rb") as file:
        start = file.read(16)
    if not start:
        what = "it is empty"
    elif start.startswith(b"PK"):
        what = "it is a zip archive, perhaps a .keras model or a release that wants unpacking"
    else:
        what = f"it begins with {start!r}, so it may be an error page or another kind of file"
    raise ValueError(f"{path} is not an HDF5 file: {what}")


def _read_layers(file, path):
    root = file
    if "layer_names" not in file.attrs and "model_weights" in file:
        root = _child(file, "model_weights", path)
    layer_names = _read_names(root, "layer_names")
    if layer_names is None:
        if "layers" in file or "_layer_checkpoint_dependencies" in file:
            raise _Refused(
                f"{path} is a Keras 3 .weights.h5 file, which stores no layer names as Keras 2 "
                "did; "
                + option_or_argument(
                    "take the .h5 file of a training with this package or the original",
                    "load it with keras_model.load_weights(path) into the model that wrote it",
                )
            )
        raise _Refused(
            f"{path} is an HDF5 file without the attribute layer_names, so it holds "
            f"no Keras weights; it has {sorted(file)[:5]}"
        )
    layers = {}
    for layer in layer_names:
        group = _child(root, layer, path)
        names = _read_names(group, "weight_names")
        if names is None:
            raise _Refused(f"{path}: layer {layer} has no attribute weight_names")
        layers[layer] = [(name, _read_tensor(group, layer, name, path)) for name in names]
    return layers


def _read_names(group, attribute):
    """A list of str from an attribute of bytes or str, split or not; None without it."""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        parts = []
        while f"{attribute}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{attribute}{len(parts)}"])
        if not parts:
            return None
    # h5py gives bytes for elements of fixed-length arrays and str for the rest
    return [
        name.decode("utf8") if isinstance(name, bytes) else str(name)
        for part in parts
        for name in np.atleast_1d(part)
    ]


def _child(group, name, path):
    """The member `name` ("a/b/c") of a group, refusing links at every step."""
    for step in filter(None, name.split("/")):
        link = group.get(step, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            raise _Refused(f"{path} names {name} but does not contain it; it is damaged")
        if not isinstance(link, h5py.HardLink):
            raise _Refused(
                f"{path}: {name} is a link to another place, which is not followed; "
                "a weights file holds its tensors itself"
            )
        group = group[step]
    return group


def _read_tensor(group, layer, name, path):
    data = _child(group, name, path)
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fiu" or data.shape is None:
        raise _Refused(f"{path}: {name} of layer {layer} is not an array of numbers")
    if data.external or data.is_virtual:
        raise _Refused(
            f"{path}: {name} of layer {layer} keeps its values in another file, which is not read"
        )
    # a shape that was damaged may ask for any amount of memory; deflate's best is a thousandth
    stored = data.id.get_storage_size()
    if data.nbytes > (stored if data.chunks is None else stored * 1100):
        raise _Refused(
            f"{path}: {name} of layer {layer} has {data.nbytes:,} bytes by its shape, but only "
            f"{stored:,} are in the file; it is damaged"
        )
    return np.asarray(data[()])


# === Writing ===


def _write_layers(file, layers):
    # Old Keras calls .decode on these attributes, so they are bytes.
    _write_names(file, "layer_names", [name for name, _ in layers])
    file.attrs["backend"] = np.bytes_(b"tensorflow")
    file.attrs["keras_version"] = np.bytes_(b"2.1.6")
    for layer, weights in layers:
        group = file.create_group(layer)
        _write_names(group, "weight_names", [name for name, _ in weights])
        for name, value in weights:
            if value.dtype.kind not in "iu":
                value = value.astype(np.float32)
            group.create_dataset(name, data=value)


def _write_names(group, attribute, names):
    encoded = np.array([name.encode("utf8") for name in names], dtype="S")
    if encoded.nbytes <= ATTRIBUTE_LIMIT:
        group.attrs[attribute] = encoded
        return
    parts = -(-encoded.nbytes // ATTRIBUTE_LIMIT)
    for index, part in enumerate(np.array_split(encoded, parts + 1)):
        group.attrs[f"{attribute}{index}"] = part

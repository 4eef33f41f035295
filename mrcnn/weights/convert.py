"""A file of weights written as another kind of file."""

from __future__ import annotations

import os

from mrcnn.common.files import AnyPath
from mrcnn.common.json_files import plain
from mrcnn.common.words import option_or_argument
from mrcnn.config import Config, SegmentationConfig
from mrcnn.config.file import config_beside, read_config, save_config
from mrcnn.weights.h5_format import Layers, write_h5
from mrcnn.weights.load import require_numbers
from mrcnn.weights.read import read_weights
from mrcnn.weights.torch_writer import write_torch
from mrcnn.weights.torchvision_writer import torchvision_builder, torchvision_state_dict


def convert(
    source: AnyPath,
    target: AnyPath,
    config: AnyPath | None = None,
    epsilon: float | None = None,
) -> str:
    """Write weights as a .h5 file in the original's layout, or as a .pth file of torchvision's.

    Args:
        source: a .h5 or .pth file.
        target: file to write, whose ending says what it becomes: .h5 or .pth.
        config: ``config.json`` of the network; None: that beside the source, or what a .pth file
            tells. It is also written beside a .h5 file, as ``<its name>.json``, for without it
            the .h5 file would be taken for the original's network.
        epsilon: see `torchvision.read_torchvision`.

    Returns:
        What there is to say of the file that was written.

    Raises:
        FileNotFoundError, ValueError: as `read_weights` and `torchvision_state_dict`; also another
            ending, a target that exists, or for a .pth file a source without settings.
    """
    ending = os.path.splitext(os.fspath(target))[1].lower()
    if ending not in (".h5", ".pth"):
        raise ValueError(f"{target} must end in .h5 or .pth, which says what to write")
    folder, name = os.path.split(os.path.splitext(os.fspath(target))[0] + ".json")
    for path in (target, *((os.path.join(folder, name),) if ending == ".h5" else ())):
        if os.path.exists(path):
            raise FileExistsError(f"{path} exists; remove it, or take another name")
    file = read_weights(source, epsilon)
    require_numbers(os.fspath(source), (pair for pairs in file.layers.values() for pair in pairs))
    path = config_beside(os.fspath(source)) if config is None else config
    fields = file.fields if path is None else read_config(path)
    if ending == ".h5":
        settings = None
        if fields and "NUM_CLASSES" in fields:
            kind = Config if fields.get("NETWORK") is None else SegmentationConfig
            settings = kind.from_dict(fields)  # raises before a file is written
        write_h5(target, list(file.layers.items()))
        said = f"{target}: {len(file.layers)} layers"
        if settings is not None:
            return f"{said}, and their settings: {save_config(folder, settings, name=name)}"
        if fields:  # of a backbone alone
            needed = ", ".join(f"{name} = {plain(value)}" for name, value in fields.items())
            return f"{said}. A network that begins with them needs {needed}"
        return said
    if fields is None:
        raise ValueError(
            f"{source} has no config.json beside it, which says what network it is of: "
            + option_or_argument("give it with --config", "give its path as config")
        )
    return write_torchvision(target, file.layers, Config.from_dict(fields))


def write_torchvision(path: AnyPath, layers: Layers, config: Config) -> str:
    """Write a state dict that torchvision's Mask R-CNN loads.

    Args:
        path: of the .pth file.
        layers: as of `h5_format.read_h5`.
        config: of the network.

    Returns:
        How to load it in PyTorch.

    Raises:
        ValueError: as `torchvision_state_dict`.
    """
    try:
        tensors = torchvision_state_dict(layers, config)
    except ValueError as error:
        raise ValueError(f"{path} cannot be written: {error}") from None
    write_torch(path, tensors)
    return (
        f"{path}: {len(tensors)} tensors. In PyTorch:\n"
        f"  model = torchvision.models.detection.{torchvision_builder(config)}\n"
        f"  model.load_state_dict(torch.load({os.path.basename(os.fspath(path))!r}))"
    )

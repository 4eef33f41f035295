"""What is in a file of weights, as a table."""

from __future__ import annotations

from mrcnn.common.files import AnyPath
from mrcnn.weights.h5_format import describe_h5, tensor_table
from mrcnn.weights.torch_file import is_torch_file
from mrcnn.weights.torchvision import read_torchvision
from mrcnn.weights.torchvision_names import state_dict

# Fields of a .pth file that are worth a word.
_TOLD = ("BACKBONE", "NUM_CLASSES", "STRIDE_IN_3X3", "RPN_CONV_LAYERS", "BOX_HEAD_CONVS")


def describe(path: AnyPath) -> str:
    """A table of the layers, shapes and value ranges of a weights file, as one str.

    Args:
        path: a .h5 file in the original's layout, or a .pth file of PyTorch's, whose tensors have
            its names. What network it is of, and that it cannot be loaded here, is said too.

    Raises:
        FileNotFoundError, ValueError: as `h5_format.read_h5` or `torch_file.read_torch`.
    """
    if not is_torch_file(path):
        return describe_h5(path)
    found, remarks = state_dict(path)
    try:
        file = read_torchvision(path)
        told = ", ".join(f"{name} = {file.fields[name]}" for name in _TOLD if name in file.fields)
        remarks = [*file.remarks, f"settings: {told}"]
    except ValueError as error:
        remarks.append(str(error))
    return "\n".join([tensor_table(path, found.items()), *(f"  {remark}" for remark in remarks)])

"""How a file of weights differs from a model, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument, some
from mrcnn.weights.h5_format import Layers

# The layers whose shape depends on the number of classes, and what matterport's users exclude.
CLASS_LAYERS = ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask")


def _shape(shape):
    return "x".join(map(str, shape)) or "scalar"


def mismatch(pairs: Iterable[tuple]) -> str | None:
    """Words for a layer whose tensors do not fit, or None.

    Args:
        pairs: ((name, variable), (name, array)) of each; (None, None) fills the shorter side.
    """
    shapes = [
        (
            None if variable is None else tuple(variable.shape),
            None if value is None else tuple(value.shape),
        )
        for (_, variable), (_, value) in pairs
    ]
    if all(own == stored for own, stored in shapes):
        return None
    own = ", ".join(_shape(shape) for shape, _ in shapes if shape is not None)
    stored = ", ".join(_shape(shape) for _, shape in shapes if shape is not None)
    return f"file {stored}; model {own}"


def _class_count(shapes):
    """Number of classes that the shapes of the class layers tell, or None.

    shapes: dict layer name -> shape of its kernel.
    """
    for name, per_class in (("mrcnn_class_logits", 1), ("mrcnn_mask", 1), ("mrcnn_bbox_fc", 4)):
        if shapes.get(name):
            return shapes[name][-1] // per_class
    return None


def mismatch_message(
    path: AnyPath,
    mismatches: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    layers: Layers,
) -> str:
    """The error for a file that does not fit a model.

    Args:
        path: of the file.
        mismatches: {layer: words of `mismatch`}.
        shapes: {layer of the model: shape of its first tensor}.
        layers: of the file.
    """
    lines = [f"{path} does not fit the model, nothing was loaded:"]
    lines += [f"  {name}: {wrong}" for name, wrong in mismatches.items()]
    in_model = _class_count({name: shapes[name] for name in CLASS_LAYERS if name in shapes})
    in_file = _class_count(
        {name: layers[name][0][1].shape for name in CLASS_LAYERS if name in layers}
    )
    if in_file != in_model and any(name in CLASS_LAYERS for name in mismatches):
        lines.append(
            f"The file was trained with NUM_CLASSES = {in_file}, the model has NUM_CLASSES = "
            f"{in_model}. "
            + option_or_argument(
                "Give the config.json that was written with it, with --config",
                f"To start from it with other classes, pass exclude={list(CLASS_LAYERS)}",
            )
        )
    elif others := [
        name
        for name in mismatches
        if name in CLASS_LAYERS and layers[name][0][1].shape[-1:] != tuple(shapes[name])[-1:]
    ]:
        lines.append(
            "The file was trained with another CLASS_AGNOSTIC_BOXES, CLASS_AGNOSTIC_MASKS, "
            "MASK_HEAD or MASK_SHAPE. "
            + option_or_argument(
                "Give the config.json that was written with it, with --config",
                f"To start from it with new layers, pass exclude={others}",
            )
        )
    if "conv1" in mismatches and "conv1" in layers:
        stored, own = layers["conv1"][0][1].shape, shapes["conv1"]
        if len(stored) == len(own) == 4 and stored[2] != own[2]:
            lines.append(
                f"The file is for images of {stored[2]} channels, the model has "
                f"IMAGE_CHANNEL_COUNT = {own[2]}, and only weights for RGB or grey images are "
                "adapted: "
                + option_or_argument(
                    "take such weights, or --weights none",
                    'add "conv1" to exclude and train all layers',
                )
            )
    return "\n".join(lines)


def counted(names: Sequence[object]) -> str:
    """How many names there are, and some of them."""
    return f"{len(names)} ({some(names, 8)})" if names else "none"

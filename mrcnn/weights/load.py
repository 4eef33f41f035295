"""Weights of a Keras model in matterport's .h5 layout: load with a report, save.

Layers are matched by name and their tensors by position, so that a file of
the training model fits the inference model and the other way round. Models
are only asked for `.layers`, `.name`, `.weights`, `.inputs` and `.assign`: nothing here
imports Keras or TensorFlow.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterable
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument, some
from mrcnn.weights.h5_format import Layers, read_h5, write_h5

if TYPE_CHECKING:
    import keras

# The layers whose shape depends on the number of classes, and what matterport's users exclude.
CLASS_LAYERS = ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask")

# Weights, by the ends of their names, that a model of "mixed_float16" casts to float16.
_HALF_PRECISION = ("kernel", "bias")

# Order of the RPN's convolutions in the original's files, whatever the graph's order is.
_RPN_ORDER = ("rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred")


@dataclasses.dataclass
class LoadReport:
    """What `load_h5` did; `str()` of it is a summary of a few lines.

    Attributes:
        path: the file.
        loaded: layers of the model that got values, in model order.
        tensors: number of tensors assigned to them.
        skipped_in_file: layers with weights of the file that the model has not.
        excluded: layers left out on request, though model and file have them.
        initial: layers with weights that the file has not and that keep their values.
        adapted: first convolutions whose kernel was made for another number of channels.
    """

    path: str
    loaded: list[str]
    tensors: int
    skipped_in_file: list[str]
    excluded: list[str]
    initial: list[str]
    adapted: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.path}: loaded {self.tensors} tensors into {len(self.loaded)} layers",
                *(
                    [f"  adapted to the number of image channels: {_counted(self.adapted)}"]
                    if self.adapted
                    else ()
                ),
                f"  excluded on request: {_counted(self.excluded)}",
                f"  in the file but not in the model: {_counted(self.skipped_in_file)}",
                f"  not in the file, left as they were: {_counted(self.initial)}",
            ]
        )


def layer_weights(layer: keras.Layer) -> list[tuple[str, keras.Variable]]:
    """The variables of a layer under the names and in the order of the original's files.

    Args:
        layer: a Keras layer; a nested model counts as one layer.

    Returns:
        list of (name, variable): "conv1/kernel:0", "conv1/bias:0"; batch norm
        as gamma, beta, moving_mean, moving_variance; of a nested model the
        weights of its layers in turn, "rpn_conv_shared/kernel:0" and so on.
    """
    named: list[tuple[str, keras.Variable]] = []
    for _, part in _parts(layer):
        variables = list(part.weights)
        names = [variable.name for variable in variables]
        if len(set(names)) < len(names):
            # a layer made of layers, such as attention: tell them apart by their path
            names = [variable.path.split(f"{part.name}/", 1)[-1] for variable in variables]
        named.extend(
            (f"{part.name}/{name}:0", variable) for name, variable in zip(names, variables)
        )
    return named


def load_h5(
    model: keras.Model, path: AnyPath, by_name: bool = True, exclude: Iterable[str] | None = None
) -> LoadReport:
    """Load a weights file into a model, by layer name and then by position.

    All shapes and values are checked before the first one is assigned, so an error
    leaves the model as it was. Layers that keras.applications' ResNets have
    under other names are renamed (`rename_keras_resnet`). A nested model that
    the file stores layer by layer is loaded that way. The first convolution of
    weights for RGB or grey images is adapted to a model of other channels
    (`adapt_channels`).

    Args:
        model: Keras model.
        path: file in the layout of `mrcnn.weights.h5_format`.
        by_name: False asks that the file has every layer of the model.
        exclude: names of layers to leave alone, also of layers within nested
            models; None for none.

    Returns:
        LoadReport.

    Raises:
        FileNotFoundError, ValueError: as `read_h5`; also where shapes differ,
            where nothing fits, where by_name=False and layers are missing, or where a value
            that would be loaded is NaN, infinite or too large for the model's precision.
        TypeError: `exclude` is a str.
    """
    if isinstance(exclude, str):
        raise TypeError(f"exclude must be a list of layer names, so write [{exclude!r}]")
    excluded = set(exclude or ())
    layers = {name: weights for name, weights in read_h5(path).items() if weights}
    own_names = {
        name
        for layer in model.layers
        for name in (layer.name, *(part for part, _ in _parts(layer)))
    }
    if "conv1_conv" in layers and "conv1_conv" not in own_names:
        layers = rename_keras_resnet(layers)
    unknown = excluded - own_names - set(layers)
    if unknown:
        warnings.warn(
            f"exclude names layers that neither the model nor {path} has: "
            f"{_counted(sorted(unknown))}",
            stacklevel=2,
        )

    targets = _targets(model, layers)
    report = LoadReport(str(path), [], 0, [], [], [])
    report.skipped_in_file = [name for name in layers if name not in targets]
    assignments: list[tuple[keras.Variable, str, np.ndarray]] = []
    mismatches = {}
    for name, layer in targets.items():
        if name in excluded:
            (report.excluded if name in layers else report.initial).append(name)
            continue
        if name not in layers:
            report.initial.append(name)
            continue
        pairs, left_out = _match(layer, layers[name], excluded)
        report.excluded.extend(left_out)
        pairs, adapted = _adapt_first_convolution(model, pairs)
        report.adapted.extend([name] * adapted)
        wrong = _mismatch(pairs)
        if wrong:
            mismatches[name] = wrong
        elif pairs:
            report.loaded.append(name)
            report.tensors += len(pairs)
            assignments.extend(
                (variable, f"{name}: {stored}", value)
                for (_, variable), (stored, value) in pairs
                if variable is not None and stored is not None
            )

    if mismatches:
        raise ValueError(_mismatch_message(path, mismatches, targets, layers))
    if not by_name and report.initial:
        raise ValueError(
            f"{path} lacks {len(report.initial)} layers of the model: "
            f"{_counted(report.initial)}; "
            + option_or_argument(
                "take weights of a whole Mask R-CNN, or the config.json of this network with "
                "--config",
                "by_name=True leaves them as they are",
            )
        )
    if not assignments:
        raise ValueError(
            f"{path} fits no layer of the model, so nothing was loaded; the file has "
            f"{_counted(list(layers))}, the model has {_counted(list(targets))}"
            + (f", excluded were {_counted(sorted(excluded))}" if excluded else "")
        )
    require_numbers(
        path,
        ((name, value) for _, name, value in assignments),
        half=getattr(model, "compute_dtype", None) == "float16",
    )
    for variable, _, value in assignments:
        variable.assign(value)
    return report


def require_numbers(
    path: AnyPath, values: Iterable[tuple[str, np.ndarray]], half: bool = False
) -> None:
    """Refuse a file with values that a model cannot compute with.

    Args:
        path: of the file, for the message.
        values: (name, array) of all that would be loaded.
        half: whether the model computes in float16. Its weights are float32 all the same, and so
            are the computations of batch norm.

    Raises:
        ValueError: a value is NaN or infinite, or too large for the precision.
    """
    bad, large = [], []
    for name, value in values:
        if value.dtype.kind not in "fV" or not value.size:  # bfloat16 is of the kind V
            continue
        # with NaN among the values the largest is NaN
        size = float(np.abs(value.astype(np.float64)).max())
        if not size <= np.finfo(np.float32).max:
            bad.append(name)
        elif half and size > np.finfo(np.float16).max:
            if name.removesuffix(":0").endswith(_HALF_PRECISION):
                large.append(name)
    if bad:
        raise ValueError(
            f"{path} has values that are NaN or infinite (as float32) in {_counted(bad)}: it is "
            "damaged, or of a training that failed, so nothing of it was loaded; take another file"
        )
    if large:
        raise ValueError(
            f"{path} has values above {np.finfo(np.float16).max:g}, the largest of float16, in "
            f"{_counted(large)}, so nothing of it was loaded: set DTYPE_POLICY to "
            '"mixed_bfloat16" or "float32"'
        )


def save_h5(model: keras.Model, path: AnyPath) -> None:
    """Write all weights of a model as the original would; see `weights.h5_format.write_h5`.

    Layers without weights are listed too, as Keras 2 did. Where the path is a link, the link is
    replaced, and the file that it leads to stays as it is.

    Raises:
        OSError: nothing is written then, and an older file stays as it was.
    """
    write_h5(
        path,
        [
            (layer.name, [(name, np.asarray(variable)) for name, variable in layer_weights(layer)])
            for layer in model.layers
        ],
    )


def adapt_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """The kernel of a first convolution, for images of another number of channels.

    Fewer channels take the sums of the old ones, so grey gets that of red, green and blue; more
    channels take the old ones in turn and share their weight. Either way an image whose channels
    are all alike gives what it gave before.

    Args:
        kernel: [h, w, old channels, filters].
        channels: number of channels wanted.

    Returns:
        [h, w, channels, filters], same dtype.
    """
    old = kernel.shape[2]
    if channels < old:
        return np.stack(
            [kernel[:, :, first::channels].sum(axis=2) for first in range(channels)], axis=2
        )
    turns = np.arange(channels) % old
    shares = np.bincount(turns)[turns].astype(kernel.dtype)
    return kernel[:, :, turns] / shares[:, np.newaxis]


def rename_keras_resnet(layers: Layers) -> Layers:
    """Layer names of keras.applications' ResNet50/101/152 to the original's.

    conv1_conv -> conv1, conv1_bn -> bn_conv1; in stage s, block number 1, 2, ..
    becomes the letter a, b, ..: conv<s>_block<n>_<1|2|3>_conv -> res<s><n>_branch2<a|b|c>,
    the shortcut conv<s>_block<n>_0_conv -> res<s><n>_branch1, and *_bn -> bn...

    Args:
        layers: dict as of `read_h5`; other names stay as they are.

    Returns:
        dict in the same order with the same values.
    """
    branches = {"0": "branch1", "1": "branch2a", "2": "branch2b", "3": "branch2c"}
    fixed = {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}

    def rename(name):
        found = re.fullmatch(r"conv([2-5])_block(\d+)_([0-3])_(conv|bn)", name)
        # 26 letters: only ResNet-152's stage 4 has more blocks, and the original has no such model
        if not found or int(found[2]) > 26:
            return fixed.get(name, name)
        stage, block, branch, kind = found.groups()
        letter = chr(ord("a") + int(block) - 1)
        return f"{'res' if kind == 'conv' else 'bn'}{stage}{letter}_{branches[branch]}"

    return {rename(name): weights for name, weights in layers.items()}


# === Models ===


def _parts(layer):
    """[(name, layer)] of a nested model's layers with weights, or of the plain layer itself."""
    if not hasattr(layer, "layers"):
        return [(layer.name, layer)] if layer.weights else []
    parts = [part for inner in layer.layers for part in _parts(inner)]
    order = {name: index for index, name in enumerate(_RPN_ORDER)}
    if all(name in order for name, _ in parts):
        parts.sort(key=lambda part: order[part[0]])
    return parts


def _targets(model, layers):
    """dict name -> layer with weights; a nested model is opened if the file has only its parts."""
    targets = {}
    for layer in model.layers:
        parts = _parts(layer)
        if layer.name not in layers and any(name in layers for name, _ in parts):
            targets.update(parts)
        elif parts:
            targets[layer.name] = layer
    return targets


def _match(layer, weights, exclude):
    """Pair the variables of a layer with the tensors of the file.

    Within a nested model the inner names decide where the file has the same
    ones: Keras 2 moved the frozen part of a nested model to the end.

    Returns:
        pairs: list of ((name, variable), (name, array)); None fills the shorter side.
        left_out: names of inner layers that `exclude` names.
    """
    named = layer_weights(layer)
    inner = [name.split("/", 1)[0] for name, _ in named]
    stored = [name.split("/", 1)[0] for name, _ in weights]
    if hasattr(layer, "layers") and sorted(inner) == sorted(stored):
        first = {name: index for index, name in reversed(list(enumerate(inner)))}
        weights = sorted(weights, key=lambda weight: first[weight[0].split("/", 1)[0]])
    pairs = list(zip_longest(named, weights, fillvalue=(None, None)))
    if not hasattr(layer, "layers"):
        return pairs, []
    left_out = [name for name in dict.fromkeys(inner) if name in exclude]
    return [
        pair for pair, name in zip(pairs, inner + [None] * len(pairs)) if name not in exclude
    ], left_out


def _adapt_first_convolution(model, pairs):
    """`adapt_channels` of a kernel for RGB or grey images, where the model's images have other
    channels.

    Returns:
        pairs, and whether one was changed.
    """
    (_, variable), (name, value) = pairs[0] if pairs else ((None, None), (None, None))
    if variable is None or value is None or len(variable.shape) != 4 or np.ndim(value) != 4:
        return pairs, False
    own, stored = tuple(variable.shape), value.shape
    for_images = own[2] == model.inputs[0].shape[-1] and stored[2] in (1, 3)
    if not for_images or own == stored or own != (*stored[:2], own[2], stored[3]):
        return pairs, False
    return [(pairs[0][0], (name, adapt_channels(value, own[2]))), *pairs[1:]], True


# === Messages ===


def _shape(shape):
    return "x".join(map(str, shape)) or "scalar"


def _mismatch(pairs):
    """Words for a layer whose tensors do not fit, or None."""
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


def _mismatch_message(path, mismatches, targets, layers):
    lines = [f"{path} does not fit the model, nothing was loaded:"]
    lines += [f"  {name}: {wrong}" for name, wrong in mismatches.items()]
    in_model = _class_count(
        {
            name: tuple(layer_weights(targets[name])[0][1].shape)
            for name in CLASS_LAYERS
            if name in targets
        }
    )
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
    if "conv1" in mismatches and "conv1" in layers:
        stored, own = layers["conv1"][0][1].shape, layer_weights(targets["conv1"])[0][1].shape
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


def _counted(names):
    """How many names there are, and some of them."""
    return f"{len(names)} ({some(names, 8)})" if names else "none"

"""Weights of a Keras model: load with a report, save in matterport's .h5 layout.

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
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument
from mrcnn.weights.conversions import adapt_channels, rename_keras_resnet
from mrcnn.weights.h5_format import Layers, read_h5, write_h5
from mrcnn.weights.mismatch import counted, mismatch, mismatch_message
from mrcnn.weights.read import WeightsFile, read_weights

if TYPE_CHECKING:
    import keras

# Weights, by the ends of their names, that a model of "mixed_float16" casts to float16.
_HALF_PRECISION = ("kernel", "bias")

# Order of the RPN's convolutions in the original's files, whatever the graph's order is; those of
# one pattern by their number.
_RPN_ORDER = (r"rpn_conv_shared(\d*)", "rpn_class_raw()", "rpn_bbox_pred()")


@dataclasses.dataclass
class LoadReport:
    """What `load_weights` did; `str()` of it is a summary of a few lines.

    Attributes:
        path: the file.
        loaded: layers of the model that got values, in model order.
        tensors: number of tensors assigned to them.
        skipped_in_file: layers with weights of the file that the model has not.
        excluded: layers left out on request, though model and file have them.
        initial: layers with weights that the file has not and that keep their values.
        adapted: first convolutions whose kernel was made for another number of channels.
        remarks: what else there is to say of the file, a sentence each.
        fields: of ``Config``, with which the network gives the file's numbers; None where the kind
            of file does not tell them.
    """

    path: str
    loaded: list[str]
    tensors: int
    skipped_in_file: list[str]
    excluded: list[str]
    initial: list[str]
    adapted: list[str] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)
    fields: dict[str, Any] | None = None

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.path}: loaded {self.tensors} tensors into {len(self.loaded)} layers",
                *(f"  {remark}" for remark in self.remarks),
                *(
                    [f"  adapted to the number of image channels: {counted(self.adapted)}"]
                    if self.adapted
                    else ()
                ),
                f"  excluded on request: {counted(self.excluded)}",
                f"  in the file but not in the model: {counted(self.skipped_in_file)}",
                f"  not in the file, left as they were: {counted(self.initial)}",
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


def load_weights(
    model: keras.Model,
    path: AnyPath,
    by_name: bool = True,
    exclude: Iterable[str] | None = None,
    *,
    epsilon: float | None = None,
) -> LoadReport:
    """Load a file of weights into a model, by layer name and then by position.

    All shapes and values are checked before the first one is assigned, so an error
    leaves the model as it was. Layers that keras.applications' ResNets have
    under other names are renamed (`rename_keras_resnet`), and torchvision's state dicts are
    converted (`weights.torchvision`). A nested model that
    the file stores layer by layer is loaded that way. The first convolution of
    weights for RGB or grey images is adapted to a model of other channels
    (`adapt_channels`).

    Args:
        model: Keras model.
        path: file in the layout of `mrcnn.weights.h5_format`, or a .pth file of torchvision's Mask
            R-CNN or ResNet.
        by_name: False asks that the file has every layer of the model.
        exclude: names of layers to leave alone, also of layers within nested
            models; None for none.
        epsilon: of the batch norms of a .pth file, see `weights.torchvision.epsilon_of`.

    Returns:
        LoadReport.

    Raises:
        FileNotFoundError, ValueError: as `read_weights`; also where shapes differ,
            where nothing fits, where by_name=False and layers are missing, or where a value
            that would be loaded is NaN, infinite or too large for the model's precision.
        TypeError: `exclude` is a str.
    """
    _require_list(exclude)
    return _load(model, path, read_weights(path, epsilon), by_name, exclude)


def load_h5(
    model: keras.Model, path: AnyPath, by_name: bool = True, exclude: Iterable[str] | None = None
) -> LoadReport:
    """`load_weights` of a .h5 file, whatever its name."""
    _require_list(exclude)
    layers = {name: weights for name, weights in read_h5(path).items() if weights}
    return _load(model, path, WeightsFile(layers), by_name, exclude)


def _require_list(exclude):
    if isinstance(exclude, str):
        raise TypeError(f"exclude must be a list of layer names, so write [{exclude!r}]")


def _load(model, path, file, by_name, exclude):
    """Match the layers of a `WeightsFile` with those of a model, and assign them."""
    excluded, layers = set(exclude or ()), file.layers
    hint = f"\n{file.hint}" if file.hint else ""
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
            f"{counted(sorted(unknown))}",
            stacklevel=3,
        )

    targets = _targets(model, layers)
    report = LoadReport(str(path), [], 0, [], [], [], remarks=file.remarks, fields=file.fields)
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
        wrong = mismatch(pairs)
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
        shapes = {name: tuple(layer_weights(layer)[0][1].shape) for name, layer in targets.items()}
        raise ValueError(mismatch_message(path, mismatches, shapes, layers) + hint)
    if not by_name and report.initial:
        raise ValueError(
            f"{path} lacks {len(report.initial)} layers of the model: "
            f"{counted(report.initial)}"
            + (
                hint
                or "; "
                + option_or_argument(
                    "take weights of a whole Mask R-CNN, or the config.json of this network with "
                    "--config",
                    "by_name=True leaves them as they are",
                )
            )
        )
    if not assignments:
        raise ValueError(
            f"{path} fits no layer of the model, so nothing was loaded; the file has "
            f"{counted(list(layers))}, the model has {counted(list(targets))}"
            + (f", excluded were {counted(sorted(excluded))}" if excluded else "")
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
            f"{path} has values that are NaN or infinite (as float32) in {counted(bad)}: it is "
            "damaged, or of a training that failed, so nothing of it was loaded; take another file"
        )
    if large:
        raise ValueError(
            f"{path} has values above {np.finfo(np.float16).max:g}, the largest of float16, in "
            f"{counted(large)}, so nothing of it was loaded: set DTYPE_POLICY to "
            '"mixed_bfloat16" or "float32"'
        )


def save_h5(model: keras.Model, path: AnyPath) -> None:
    """Write all weights of a model as the original would; see `weights.h5_format.write_h5`.

    Layers without weights are listed too, as Keras 2 did. Where the path is a link, the link is
    replaced, and the file that it leads to stays as it is.

    Raises:
        OSError: nothing is written then, and an older file stays as it was.
    """
    write_h5(path, list(model_layers(model).items()))


def model_layers(model: keras.Model) -> Layers:
    """All weights of a model as `h5_format.read_h5` would give them of its file."""
    return {
        layer.name: [(name, np.asarray(variable)) for name, variable in layer_weights(layer)]
        for layer in model.layers
    }


# === Models ===


def _parts(layer):
    """[(name, layer)] of a nested model's layers with weights, or of the plain layer itself."""
    if not hasattr(layer, "layers"):
        return [(layer.name, layer)] if layer.weights else []
    parts = [part for inner in layer.layers for part in _parts(inner)]
    places = {name: _rpn_place(name) for name, _ in parts}
    if None not in places.values():
        parts.sort(key=lambda part: places[part[0]])
    return parts


def _rpn_place(name):
    """What a convolution of the RPN is sorted by; None for another layer."""
    for place, pattern in enumerate(_RPN_ORDER):
        if found := re.fullmatch(pattern, name):
            return place, int(found[1] or 1)
    return None


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

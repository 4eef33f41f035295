"""What is in weights, and what changed between two sets of them.

Weights come as `weights.h5_format.read_h5` gives them, a dict of layer name -> [(weight name,
array)], so that files are looked at without a model; `layers_of` makes the same of a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from mrcnn.weights.h5_format import Layers

if TYPE_CHECKING:
    import keras

# Values beyond it overflow somewhere soon; the original's display_weight_stats had the same limit.
OVERFLOW = 1000
# A channel below this share of its tensor's largest value carries nothing.
_NOTHING = 1e-6


class WeightStatistics(NamedTuple):
    """One tensor."""

    layer: str
    name: str  # such as "conv1/kernel:0"
    shape: tuple[int, ...]
    low: float  # least value
    high: float  # greatest value
    mean: float
    std: float
    dead_channels: int  # output channels (last axis) whose weights are all 0
    problem: str  # "", or in words what is wrong


class WeightChange(NamedTuple):
    """One tensor of two sets."""

    layer: str
    name: str
    shape: tuple[int, ...]  # in the first set, or in the second where the first lacks it
    change: float | None  # |second - first| / |first| of the L2 norms; None: not comparable
    direction: float | None  # cosine between the two; None likewise, or where one of them is 0
    verdict: str  # "same", "changed", "other shape", "only in the first", "only in the second"


class HasLayers(Protocol):
    """A `MaskRCNN`."""

    def get_trainable_layers(self) -> list[keras.Layer]: ...


def layers_of(model: HasLayers) -> Layers:
    """The weights of a `MaskRCNN`, as `read_h5` would give them from its file."""
    return {
        layer.name: [(weight.name, np.asarray(weight)) for weight in layer.weights]
        for layer in model.get_trainable_layers()
    }


def weight_problem(name: str, values: np.ndarray) -> str:
    """What is wrong with a tensor, in words, or "".

    A kernel whose values are all equal is dead; biases and batch norm start like that. Batch norm's
    statistics may be large, since they are of activations, which in the first layer are pixels.

    Args:
        name: such as "conv1/kernel:0".
        values: array.
    """
    if not values.size:
        return "empty"
    if not np.isfinite(values).all():
        return "not finite"
    if np.abs(values).max() > OVERFLOW and "/moving_" not in name:
        return "overflow?"
    if is_kernel(name) and values.size > 1 and values.min() == values.max():
        return "dead?"
    return ""


def weight_statistics(layers: Layers) -> list[WeightStatistics]:
    """Statistics of every tensor.

    Args:
        layers: dict as of `read_h5`.

    Returns:
        list of `WeightStatistics`, in the order of ``layers``; the numbers of a tensor without
        values are NaN.
    """
    rows = []
    for layer, weights in layers.items():
        for name, values in weights:
            wide = np.asarray(values, np.float64)
            low = high = mean = std = np.nan
            if wide.size:
                with np.errstate(invalid="ignore"):
                    low, high = float(wide.min()), float(wide.max())
                    mean, std = float(wide.mean()), float(wide.std())
            rows.append(
                WeightStatistics(
                    layer,
                    name,
                    wide.shape,
                    low,
                    high,
                    mean,
                    std,
                    _dead_channels(wide),
                    weight_problem(name, wide),
                )
            )
    return rows


def is_kernel(name: str) -> bool:
    """Whether a weight of this name multiplies its input: biases and batch norm's four do not."""
    return name.rsplit("/", 1)[-1].startswith(("kernel", "depthwise_kernel"))


def _dead_channels(values):
    """How many slices of the last axis are 0, next to the others; 0 for vectors."""
    if values.ndim < 2 or not values.size:
        return 0
    largest = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
    return int(np.count_nonzero(largest <= _NOTHING * largest.max()))


def compare_weights(first: Layers, second: Layers) -> list[WeightChange]:
    """What changed from one set of weights to another, tensor by tensor.

    Tensors are matched by layer and by their place in it, as loading does.

    Args:
        first, second: dicts as of `read_h5`.

    Returns:
        list of `WeightChange`: the layers of ``first`` in their order, then those that only
        ``second`` has.
    """
    changes = []
    for layer in dict.fromkeys([*first, *second]):
        mine, other = first.get(layer, []), second.get(layer, [])
        for index in range(max(len(mine), len(other))):
            changes.append(
                _change(
                    layer,
                    mine[index] if index < len(mine) else None,
                    other[index] if index < len(other) else None,
                )
            )
    return changes


def _change(layer, mine, other):
    if mine is None or other is None:
        name, values = mine or other
        verdict = "only in the second" if mine is None else "only in the first"
        return WeightChange(layer, name, np.shape(values), None, None, verdict)
    (name, before), (_, after) = mine, other
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if before.shape != after.shape:
        return WeightChange(layer, name, before.shape, None, None, "other shape")
    norms = np.linalg.norm(before), np.linalg.norm(after)
    direction = float(np.vdot(before, after) / (norms[0] * norms[1])) if min(norms) > 0 else None
    if np.array_equal(before, after, equal_nan=True):
        return WeightChange(layer, name, before.shape, 0.0, direction, "same")
    change = float(np.linalg.norm(after - before) / norms[0]) if norms[0] > 0 else np.inf
    return WeightChange(layer, name, before.shape, change, direction, "changed")

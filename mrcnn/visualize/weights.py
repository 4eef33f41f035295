"""Pictures and tables of weights: which layers are dead, which overflow, and what training
changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mrcnn.common.tables import display_table
from mrcnn.visualize.figures import new_figure, show
from mrcnn.weights.h5_format import Layers
from mrcnn.weights.statistics import HasLayers, is_kernel

if TYPE_CHECKING:
    from mrcnn.weights.statistics import WeightChange, WeightStatistics


def display_weight_stats(model: HasLayers) -> None:
    """Table of every weight: name, shape, least, greatest and standard deviation.

    "*** dead?" marks weights that are all equal (a convolution's bias may be),
    "*** Overflow?" those beyond 1000, or not finite.

    Args:
        model: a MaskRCNN (its ``get_trainable_layers`` is called).
    """
    table = [["WEIGHT NAME", "SHAPE", "MIN", "MAX", "STD"]]
    for layer in model.get_trainable_layers():
        is_convolution = layer.__class__.__name__ == "Conv2D"
        for index, values in enumerate(layer.get_weights()):
            name = layer.weights[index].name
            if "/" not in name:  # Keras 3 keeps the layer's name in the path alone
                name = getattr(layer.weights[index], "path", f"{layer.name}/{name}")
            low, high = values.min(), values.max()
            if low == high and not (is_convolution and index == 1):
                name += "*** dead?"
            if not (abs(low) <= 1000 and abs(high) <= 1000):
                name += "*** Overflow?"
            table.append(
                [name, str(values.shape), f"{low:+9.4f}", f"{high:+10.4f}", f"{values.std():+9.4f}"]
            )
    display_table(table)


def display_weight_problems(statistics: Sequence[WeightStatistics]) -> None:
    """Table of the tensors with a problem or with dead channels, or one line that there are none.

    Args:
        statistics: list of `WeightStatistics`.
    """
    bad = [row for row in statistics if row.problem or row.dead_channels]
    if not bad:
        print(f"None of the {len(statistics)} tensors is dead, overflows or has a dead channel")
        return
    display_table(
        [["WEIGHT NAME", "SHAPE", "MIN", "MAX", "DEAD CHANNELS", "PROBLEM"]]
        + [
            [
                row.name,
                row.shape,
                f"{row.low:.4g}",
                f"{row.high:.4g}",
                f"{row.dead_channels} of {row.shape[-1]}" if row.dead_channels else "",
                row.problem,
            ]
            for row in bad
        ]
    )


def plot_weight_histograms(layers: Layers, cols: int = 6, bins: int = 50) -> None:
    """A histogram of every tensor, each with its own range.

    Args:
        layers: dict of layer name -> [(weight name, array)], as `weights.statistics.layers_of`
            gives it.
        cols: histograms per row.
        bins: of each histogram.
    """
    weights = [(name, values) for tensors in layers.values() for name, values in tensors]
    rows = max(1, -(-len(weights) // cols))
    plt, figure = new_figure((15, 1.6 * rows))
    for position, (name, values) in enumerate(weights, start=1):
        ax = figure.add_subplot(rows, cols, position)
        finite = np.asarray(values, np.float64).ravel()
        finite = finite[np.isfinite(finite)]
        ax.hist(finite, bins, color="tab:blue" if is_kernel(name) else "tab:orange")
        ax.set_title(name.removesuffix(":0"), fontsize=7)
        ax.set_yticks([])
        ax.locator_params(axis="x", nbins=4)
        ax.tick_params(axis="x", labelsize=7)
    figure.tight_layout()
    show(plt)


def plot_weight_ranges(layers: Layers, title: str = "") -> None:
    """The spread of every kernel, in the order of the layers: all layers at one glance.

    A band from the 1st to the 99th percentile, one from the 25th to the 75th, and crosses for the
    least and the greatest value. A layer that is dead is a point, one that overflows leaves the
    others.

    Args:
        layers: as of `plot_weight_histograms`.
        title: str.
    """
    kernels = [
        (name.split("/")[-2], values)
        for tensors in layers.values()
        for name, values in tensors
        if is_kernel(name)
    ]
    marks = np.array([np.percentile(values, [0, 1, 25, 75, 99, 100]) for _, values in kernels])
    places = np.arange(len(kernels))
    plt, figure = new_figure((15, 4.5))
    ax = figure.add_subplot()
    ax.bar(
        places,
        marks[:, 4] - marks[:, 1],
        bottom=marks[:, 1],
        color="tab:blue",
        alpha=0.35,
        label="98 % of the values",
    )
    ax.bar(
        places,
        marks[:, 3] - marks[:, 2],
        bottom=marks[:, 2],
        color="tab:blue",
        label="the middle half",
    )
    for column in (0, 5):
        ax.plot(
            places,
            marks[:, column],
            "x",
            color="tab:red",
            markersize=4,
            label="least and greatest" if column else None,
        )
    ax.set_xticks(places, [name for name, _ in kernels], rotation=90, fontsize=7)
    ax.set_xlim(-1, len(kernels))
    ax.set_ylabel("weight")
    ax.set_title(title)
    ax.grid(axis="y", alpha=0.3)
    ax.legend()
    figure.tight_layout()
    show(plt)


def plot_weight_changes(changes: Sequence[WeightChange], title: str = "") -> None:
    """How far each kernel moved, in units of its own size, in the order of the layers.

    Args:
        changes: list of `WeightChange`; those that cannot be compared are left out and counted in
            the title.
        title: str.
    """
    kernels = [change for change in changes if is_kernel(change.name)]
    known = [change for change in kernels if change.change is not None]
    if len(known) < len(kernels):
        unknown = len(kernels) - len(known)
        title = f"{title} ({unknown} of {len(kernels)} kernels cannot be compared)".strip()
    plt, figure = new_figure((15, 4.5))
    ax = figure.add_subplot()
    places = np.arange(len(known))
    ax.bar(places, np.array([change.change for change in known], np.float64))
    ax.set_xticks(places, [change.name.split("/")[-2] for change in known], rotation=90, fontsize=7)
    ax.set_xlim(-1, len(known))
    ax.set_ylabel("|second - first| / |first|")
    ax.set_title(title)
    ax.grid(axis="y", alpha=0.3)
    figure.tight_layout()
    show(plt)

"""Pictures of an evaluation as PNG: precision-recall curves and the confusion matrix.

Figures are made without pyplot, so that no window opens and no figure stays open.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.words import on_one_line
from mrcnn.data.fonts import use_fonts_that_show

RECALLS = np.linspace(0, 1, 101)
_STYLES = {"0.50": "-", "0.75": "--"}
_COLORS = {"bbox": "tab:blue", "segm": "tab:orange"}
# Most classes whose counts are written into the confusion matrix, and whose names beside it.
_COUNTED, _NAMED, _NAMED_LABELS = 25, 100, 160


def _png(figure):
    buffer = io.BytesIO()
    use_fonts_that_show(figure)
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _curve_axes(ax, title, size=10):
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.02, 1.02)
    ax.set_title(title, fontsize=size, parse_math=False)  # "$" in the name of a class is no formula
    ax.grid(alpha=0.3)
    ax.tick_params(labelsize=size - 2)


def mean_curves(curves: Mapping[str, Mapping[str, Mapping[str, list[float]]]]) -> bytes:
    """Precision over recall, mean of the classes: a line per IoU threshold and kind.

    Args:
        curves: ``Evaluation.curves``.

    Returns:
        bytes of a PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure((6.4, 4.8), layout="constrained")
    ax = figure.add_subplot()
    _curve_axes(ax, "Precision and recall, mean of the classes", 12)
    ax.set_xlabel("recall")
    ax.set_ylabel("precision")
    for kind, by_iou in curves.items():
        for iou, lines in by_iou.items():
            mean = np.array(lines["mean"])
            average = "-" if np.isnan(mean).all() else f"{mean.mean():.3f}"
            ax.plot(
                RECALLS,
                mean,
                _STYLES[iou],
                color=_COLORS[kind],
                label=f"{'boxes' if kind == 'bbox' else 'masks'}, IoU {iou}: AP {average}",
            )
    ax.legend(loc="lower left")
    return _png(figure)


def class_curves(
    curves: Mapping[str, Mapping[str, Mapping[str, list[float]]]], columns: int = 5
) -> bytes:
    """Precision over recall of each class that has objects, in a grid.

    Args:
        curves: ``Evaluation.curves``; masks are drawn where there are any, else boxes.
        columns: of the grid.

    Returns:
        bytes of a PNG.
    """
    from matplotlib.figure import Figure

    kind = "segm" if "segm" in curves else "bbox"
    by_iou = curves[kind]
    names = [
        name for name, line in by_iou["0.50"].items() if name != "mean" and not np.isnan(line).any()
    ]
    columns = max(1, min(columns, len(names)))
    rows = max(1, -(-len(names) // columns))
    figure = Figure((2.6 * columns + 0.6, 2.3 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax in axes[len(names) :]:
        ax.axis("off")
    for ax, name in zip(axes, names):
        _curve_axes(ax, _short(name, 24))
        for iou, lines in by_iou.items():
            ax.plot(RECALLS, lines[name], _STYLES[iou], color=_COLORS[kind], label=f"IoU {iou}")
    if names:
        axes[0].legend(fontsize=8, loc="lower left")
    figure.supxlabel("recall", fontsize=10)
    figure.supylabel(f"precision ({'masks' if kind == 'segm' else 'boxes'})", fontsize=10)
    return _png(figure)


def confusion_picture(confusion: ArrayLike, names: Sequence[str]) -> bytes:
    """The confusion matrix; the colour is the share of the row, that is of the objects of a class.

    Args:
        confusion: int [classes, classes], rows true, columns detected, 0 the background.
        names: of the classes, the background's first.

    Returns:
        bytes of a PNG.
    """
    # the background comes last: it is the odd one
    order = [*range(1, len(names)), 0]
    counts = np.asarray(confusion)[np.ix_(order, order)]
    texts = counts.astype(str)
    texts[-1, -1] = ""  # nothing there and nothing found cannot be counted
    # false alarms are a share of no objects: they get no colour
    colored = np.ones(counts.shape, bool)
    colored[-1] = False
    labels = [*(_short(names[index], 20) for index in order[:-1]), "background"]
    return _matrix(shares_of_rows(counts), colored, texts, labels, "detected", _NAMED)


def label_confusion_picture(confusion: ArrayLike, names: Sequence[str]) -> bytes:
    """The confusion matrix of pixels; colours and numbers are percent of the pixels of a class.

    Args:
        confusion: int [classes, classes], rows true, columns found.
        names: of the classes.

    Returns:
        bytes of a PNG.
    """
    counts = np.asarray(confusion)
    shares = shares_of_rows(counts)
    texts = np.array(
        [
            [
                "0" if not count else "<0.1" if share < 0.0005 else f"{100 * share:.1f}"
                for count, share in zip(*row)
            ]
            for row in zip(counts.tolist(), shares.tolist())
        ]
    )
    labels = [_short(name, 20) for name in names]
    return _matrix(shares, np.ones(counts.shape, bool), texts, labels, "found", _NAMED_LABELS)


def shares_of_rows(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Each row divided by its sum, 0 where that is 0."""
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)


def _matrix(shares, colored, texts, labels, found, named):
    """A confusion matrix as PNG.

    Args:
        shares: float [n, n] in 0..1, the colours.
        colored: bool [n, n], False where a cell has none.
        texts: str [n, n], written where there are few classes; "0" is pale.
        labels: n names.
        found: title of the columns.
        named: most classes beside which there is a name.
    """
    from matplotlib.figure import Figure

    count = len(labels) - 1
    side = float(np.clip(0.55 * count + 3.2, 4.5, 16))
    figure = Figure((side, side), layout="constrained")
    ax = figure.add_subplot()
    shown: np.ma.MaskedArray = np.ma.masked_array(shares, ~colored)
    ax.imshow(shown, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if count <= named:
        size = float(np.clip(260 / (count + 6), 5, 11))
        ax.set_xticks(range(count + 1), labels, rotation=90, fontsize=size, parse_math=False)
        ax.set_yticks(range(count + 1), labels, fontsize=size, parse_math=False)
    if count <= _COUNTED:
        for (row, column), text in np.ndenumerate(texts):
            dark = colored[row, column] and shares[row, column] > 0.6
            ax.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=9,
                color="white" if dark else "black" if text != "0" else "0.75",
            )
    ax.set_xlabel(found)
    ax.set_ylabel("true")
    return _png(figure)


def shares_picture(
    true: NDArray[np.floating], found: NDArray[np.floating], names: Sequence[str]
) -> bytes:
    """Share of the pixels that each class has in the truth, and in what was found.

    Args:
        true: [classes], 0..1.
        found: [classes], 0..1.
        names: of the classes.

    Returns:
        bytes of a PNG.
    """
    from matplotlib.figure import Figure

    count = len(names)
    figure = Figure((8, 0.9 + 0.24 * max(count, 4)), layout="constrained")
    ax = figure.add_subplot()
    places = np.arange(count)
    both = np.array([true, found]) * 100
    there = np.where(both > 0, both, np.nan)
    # most pixels are background, and what matters is often below 1 %
    ax.set_xscale("log")
    least = min(0.01, float(np.nanmin(there)))
    ax.set_xlim(10.0 ** np.floor(np.log10(least)), 130)
    ax.hlines(places, *there, color="0.7", zorder=1)
    for shares, color, marker, label in zip(
        there, ("0.35", "tab:blue"), ("o", "D"), ("true", "found")
    ):
        ax.scatter(shares, places, 28, color=color, marker=marker, label=label, alpha=0.85)
    ax.set_yticks(places, [_short(name, 30) for name in names], fontsize=9, parse_math=False)
    ax.set_ylim(count - 0.4, -0.6)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_xlabel("% of the labelled pixels")
    ax.grid(alpha=0.3)
    ax.legend(loc="best", fontsize=9)
    return _png(figure)


def _short(name, length):
    name = on_one_line(name)
    return name if len(name) <= length else name[: length - 1] + "…"

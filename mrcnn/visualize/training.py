"""Pictures of a training run."""

import csv
import os
from collections.abc import Mapping, Sequence

from mrcnn.common.files import AnyPath
from mrcnn.visualize.figures import new_figure, show


def read_losses(path: AnyPath) -> dict[str, list[float]]:
    """The columns of a ``losses.csv`` that `MaskRCNN.train` wrote.

    Args:
        path: the file, or the run's folder.

    Returns:
        dict of column name -> list of float, one per epoch; "epoch" counts from 1. What an epoch
        has no value of is NaN.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no epoch in it.
    """
    if os.path.isdir(path):
        path = os.path.join(path, "losses.csv")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{path} has no epoch: was the training stopped in its first?")
    columns = {name: [_number(row[name]) for row in rows] for name in rows[0] if name}
    columns["epoch"] = [number + 1 for number in columns["epoch"]]  # Keras counts from 0
    return columns


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")


def plot_losses(losses: Mapping[str, Sequence[float]], stages: Sequence[float] = ()) -> None:
    """The curve of each loss, of training and of validation, epoch by epoch.

    Args:
        losses: the dict of `read_losses`, or ``History.history``. Columns of validation ("val_")
            are drawn with those that they belong to, and measures that only validation has in
            panels of their own. Other columns, such as the learning rate, are left out.
        stages: epochs after which other layers began to be trained; a dotted line each.
    """
    epochs = losses.get("epoch") or range(1, 1 + max(map(len, losses.values())))
    shown = [name for name in losses if "loss" in name or name.startswith("val_")]
    names = list(dict.fromkeys(name.removeprefix("val_") for name in shown))
    cols = min(3, len(names))
    rows = -(-len(names) // cols)
    plt, figure = new_figure((5 * cols, 3 * rows))
    for position, name in enumerate(names, start=1):
        ax = figure.add_subplot(rows, cols, position)
        for column, text in ((name, "training"), (f"val_{name}", "validation")):
            if column in losses:
                ax.plot(epochs, losses[column], marker=".", label=text)
        for stage in stages:
            ax.axvline(stage + 0.5, color="grey", linestyle="dotted")
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("epoch")
        ax.locator_params(axis="x", integer=True)
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    figure.tight_layout()
    show(plt)

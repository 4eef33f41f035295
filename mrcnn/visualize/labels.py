"""Pictures of label maps with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.common.words import on_one_line
from mrcnn.data.drawing import class_colors
from mrcnn.data.fonts import use_fonts_that_show
from mrcnn.data.label_drawing import draw_labels
from mrcnn.data.labels import void_of
from mrcnn.evaluation.page import percent
from mrcnn.visualize.figures import new_figure, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def display_labels(
    image: ArrayLike,
    labels: np.ndarray,
    class_names: Sequence[str],
    title: str = "",
    figsize: tuple[float, float] = (12, 12),
    ax: Axes | None = None,
    alpha: float = 0.5,
) -> None:
    """Show a label map on its image, with a legend of the classes and their shares.

    Args:
        image: [h, w] or [h, w, c].
        labels: label map [h, w].
        class_names: of the labels from 0 on.
        title: over the picture.
        figsize: inches, for a figure of its own.
        ax: axes to draw into; None makes a figure and shows it.
        alpha: weight of the colours, 0..1.

    Raises:
        ValueError: as `data.label_drawing.draw_labels`.
    """
    picture = draw_labels(image, labels, class_names, alpha, names=False)
    plt = None
    if ax is None:
        plt, figure = new_figure(figsize)
        ax = figure.add_subplot()
    from matplotlib.patches import Patch

    ax.imshow(picture)
    ax.axis("off")
    ax.set_title(title)
    colors, void = class_colors(len(class_names)), void_of(labels)
    present, counts = np.unique(labels, return_counts=True)
    patches = [
        Patch(
            facecolor="lightgrey" if label == void else colors[label],
            hatch="//" if label == void else None,
            label=f"{'void' if label == void else on_one_line(class_names[label])} "
            f"{percent(count / labels.size)}",
        )
        for label, count in sorted(
            zip(present.tolist(), counts.tolist()), key=lambda pair: -pair[1]
        )
    ]
    legend = ax.legend(handles=patches, loc="upper left", bbox_to_anchor=(1, 1))
    use_fonts_that_show(legend)
    if plt is not None:
        show(plt)

"""matplotlib figures with or without a display, and the shapes that the pictures share.

matplotlib is imported when a function is called. A backend that was chosen is left alone,
except that one which needs a display gives way to Agg where there is none. Without a display
nothing waits for a window, and of the figures made here only the last stays open, so that
``plt.savefig`` works and memory does not grow. Boxes are (y1, x1, y2, x2) in pixels.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mrcnn.data.fonts import use_fonts_that_show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.typing import ColorType


# Backends that open a window; macOS and Windows always have a display for them.
_WINDOW_BACKENDS = {
    "gtk3agg",
    "gtk3cairo",
    "gtk4agg",
    "gtk4cairo",
    "qt5agg",
    "qt5cairo",
    "qtagg",
    "qtcairo",
    "tkagg",
    "tkcairo",
    "wx",
    "wxagg",
    "wxcairo",
}
_FILE_BACKENDS = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}
# Pixels of the screen around a label's text that other labels leave free.
_LABEL_RIM = 3
_headless_figures: list[Figure] = []  # at most one: the last figure made here without a display


def pyplot() -> ModuleType:
    """matplotlib.pyplot, on Agg where the chosen backend needs a display and there is none."""
    import matplotlib

    no_display = sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if no_display and matplotlib.get_backend().lower() in _WINDOW_BACKENDS:
        matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def headless(plt: ModuleType) -> bool:
    """Whether figures go to files only."""
    return plt.get_backend().lower() in _FILE_BACKENDS


def new_figure(figsize: tuple[float, float] | None = None) -> tuple[ModuleType, Figure]:
    """(pyplot, figure). Without a display the figure made here before is closed."""
    plt = pyplot()
    if headless(plt):
        while _headless_figures:
            plt.close(_headless_figures.pop())
    figure = plt.figure(figsize=figsize)
    if headless(plt):
        _headless_figures.append(figure)
    return plt, figure


def show(plt: ModuleType) -> None:
    """Open the windows, if there are any; in a script this waits until they are closed."""
    use_fonts_that_show(plt.gcf())
    if not headless(plt):
        plt.show()


def frame_image(ax: Axes, image: np.ndarray, margin_y: float, margin_x: float, title: str) -> None:
    """Room around the image, no axes."""
    height, width = image.shape[:2]
    ax.set_ylim(height + margin_y, -margin_y)
    ax.set_xlim(-margin_x, width + margin_x)
    ax.axis("off")
    ax.set_title(title)


def rectangle(ax: Axes, box: Sequence[float] | np.ndarray, **style: Any) -> None:
    """Add the outline of a box; ``style`` as for matplotlib's Rectangle."""
    from matplotlib.patches import Rectangle

    y1, x1, y2, x2 = box
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, linewidth=2, facecolor="none", **style))


def join_corners(
    ax: Axes,
    box: Sequence[float] | np.ndarray,
    refined: Sequence[float] | np.ndarray,
    color: ColorType,
) -> None:
    """A line between the top left corners of a box and its refined form."""
    from matplotlib.lines import Line2D

    ax.add_line(Line2D([box[1], refined[1]], [box[0], refined[0]], color=color))


def contours(ax: Axes, mask: ArrayLike, color: ColorType | Sequence[float]) -> None:
    """The outline of a mask; padding closes those of masks that touch the border."""
    from matplotlib.patches import Polygon
    from skimage.measure import find_contours

    padded = np.pad(np.asarray(mask).astype(np.uint8), 1)
    for points in find_contours(padded, 0.5):
        ax.add_patch(Polygon(points[:, ::-1] - 1, facecolor="none", edgecolor=color))


def label(ax: Axes, x: float, y: float, text: str, color: ColorType | Sequence[float]) -> Text:
    """White text on a dark ground with a rim of ``color``, readable on any image."""
    added = ax.text(
        x,
        y,
        text,
        color="w",
        size=11,
        verticalalignment="top",
        bbox={"facecolor": "black", "alpha": 0.6, "pad": 2, "edgecolor": color},
        parse_math=False,  # "$" in the name of a class is no formula
    )
    use_fonts_that_show(added)
    return added


def keep_inside(ax: Axes, texts: Sequence[Text], image: np.ndarray) -> None:
    """Move texts that stick out of the image back into it, and a little up or down from under
    others.
    """
    height, width = image.shape[:2]
    ax.apply_aspect()  # settles the data-to-screen transform, which drawing does otherwise
    to_data = ax.transData.inverted()
    # (y, x, height, width) of the labels, their rims included
    placed: list[tuple[float, float, float, float]] = []
    for text in texts:
        extent = text.get_window_extent()
        inner, outer = extent.transformed(to_data), extent.padded(_LABEL_RIM).transformed(to_data)
        x, y = text.get_position()
        x = max(x - max(0, inner.x1 - width), 0)
        lowest = max(height - abs(inner.height), 0)
        y = max(min(y, lowest), 0)
        size = abs(outer.height), outer.width
        # no farther: it shall stay at its box
        steps = [number * size[0] for number in (0, 1, -1, 2, -2)]
        free = (
            y + step
            for step in steps
            if 0 <= y + step <= lowest and not _on_another((y + step, x, *size), placed)
        )
        y = next(free, y)
        placed.append((y, x, *size))
        text.set_position((x, y))


def _on_another(label_place, placed):
    """Whether a label (y, x, height, width) lies on one of others."""
    y, x, height, width = label_place
    return any(
        y < y2 + height2 and y2 < y + height and x < x2 + width2 and x2 < x + width
        for y2, x2, height2, width2 in placed
    )

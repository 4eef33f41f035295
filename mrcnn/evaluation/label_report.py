"""The report of label maps: one HTML page with its pictures inside."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.data.drawing import as_rgb, class_colors
from mrcnn.data.images import fit_channels
from mrcnn.data.label_drawing import paint_labels, paint_void, write_class_names
from mrcnn.evaluation import plots
from mrcnn.evaluation.label_tally import LABEL_METRICS, Shown
from mrcnn.evaluation.page import (
    BLUE,
    ORANGE,
    RED,
    as_jpeg,
    as_png,
    bullets,
    html_page,
    image_tag,
    nearest,
    number,
    percent,
    resize_photo,
    shown_size,
    table,
)

if TYPE_CHECKING:
    from mrcnn.evaluation.label_evaluation import LabelEvaluation

# Pairs of classes that the report names as confused most often, and classes of a legend.
PAIRS, LEGEND = 10, 40
# Classes with most pixels whose shares are drawn.
DRAWN = 60
# Grey values of what is right in a picture of mistakes without a photo: background, any class.
RIGHT = (245, 205)


def label_report_page(
    evaluation: LabelEvaluation,
    shown: Mapping[int, Shown],
    image_of: Callable[[int], ArrayLike] | None,
) -> tuple[str, dict[str, bytes]]:
    """The page of a ``LabelEvaluation`` and its plots.

    Args:
        evaluation: ``LabelEvaluation``.
        shown: {number of the image: ``Shown``} of its worst images.
        image_of: gives an image by its number; None: there are only label maps.

    Returns:
        (html, {file name: bytes of a PNG}).
    """
    names, rows = evaluation.class_names, list(evaluation.per_class.values())
    there = [index for index, row in enumerate(rows) if row["true_pixels"] or row["found_pixels"]]
    most = sorted(there, key=lambda index: -rows[index]["true_pixels"])[:DRAWN]
    pictures = {
        "shares.png": plots.shares_picture(
            np.array([rows[index]["true_share"] for index in most]),
            np.array([rows[index]["found_share"] for index in most]),
            [names[index] for index in most],
        ),
        "confusion.png": plots.label_confusion_picture(
            evaluation.confusion[np.ix_(there, there)], [names[index] for index in there]
        ),
    }
    sections = [
        bullets(evaluation.sentences()),
        table(
            ["", "all classes"],
            [[name.replace("_", " "), number(evaluation[name])] for name in LABEL_METRICS],
        ),
        "<h2>Classes</h2>",
        '<div class="scroll">',
        _class_table(evaluation),
        "</div>",
        "<h2>Shares of the classes</h2>",
        f"<p>The {DRAWN} classes with most pixels of {len(there)}.</p>"
        if len(there) > DRAWN
        else "",
        image_tag(pictures["shares.png"], "shares of the classes"),
        "<h2>Confusion matrix</h2>",
        "<p>A row is what a pixel is, a column what it was found as, in percent of the row's "
        "pixels.</p>",
        image_tag(pictures["confusion.png"], "confusion matrix"),
        _pairs(evaluation),
        "<h2>The worst images</h2>",
        *_worst(evaluation, shown, image_of),
    ]
    return html_page(f"Evaluation on {evaluation.settings['dataset']}", sections), pictures


def _class_table(evaluation):
    columns = {
        "IoU": number,
        "Dice": number,
        "accuracy": number,
        "precision": number,
        "per_image_IoU": number,
        "trimap_IoU": number,
        "images": number,
        "true_share": percent,
        "found_share": percent,
    }
    rows = [
        [name, *(say(row[column]) for column, say in columns.items())]
        for name, row in evaluation.per_class.items()
    ]
    means = evaluation.class_means
    rows.append(["mean", *(number(means[name]) if name in means else "" for name in columns)])
    return table(["class", *(name.replace("_", " ") for name in columns)], rows, ' class="all"')


def _pairs(evaluation):
    """A table of the pairs of classes that take most pixels from the right ones."""
    wrong = evaluation.confusion * (1 - np.eye(len(evaluation.confusion), dtype=np.int64))
    places = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(place), len(wrong)) for place in places]
    pixels, names = evaluation["pixels"], evaluation.class_names
    rows = [
        [names[true], names[found], f"{wrong[true, found]:,}", percent(wrong[true, found] / pixels)]
        for true, found in pairs
        if wrong[true, found]
    ]
    if not rows:
        return "<p>No pixel was found as another class.</p>"
    return "<p>Taken for another class most often:</p>" + table(
        ["true", "found", "pixels", "of all"], rows
    )


# === Pictures ===


def _worst(evaluation, shown, image_of):
    if not evaluation.worst:
        yield "<p>No image with a mistake.</p>"
        return
    yield (
        "<p>The truth, what was found, and the mistakes: "
        '<span class="red">a class that was missed: background or void was found</span>, '
        '<span class="orange">another class was found</span>, '
        '<span class="blue">a class was found where background is</span>. What is right, and the '
        "photo, is grey.</p>"
    )
    for row in evaluation.worst:
        maps = shown[row["image"]]
        said = (
            f"{row['name']}: mIoU {number(row['mIoU'])}, {row['wrong_pixels']:,} pixels wrong, "
            f"accuracy {number(row['pixel_accuracy'])}"
        )
        photo, why = _photo(image_of, row["image"], maps)
        tags = [
            image_tag(content, name, kind)
            for name, kind, content in _panels(maps, photo, evaluation)
        ]
        yield (
            f"<figure><figcaption>{html.escape(said + why)}<br>{_legend(maps, evaluation)}"
            f'</figcaption><div class="{"triple" if photo is None else "pair"}">'
            f"{''.join(tags)}</div></figure>"
        )


def _photo(image_of, index, maps):
    """(uint8 [h, w, 3] or None, why there is none)."""
    if image_of is None:
        return None, ""
    try:
        photo = as_rgb(image_of(index))
    except (OSError, ValueError, LookupError):  # gone since it was evaluated, or never there
        return None, "; its image cannot be read"
    if photo.shape[:2] != maps.size:
        (height, width), (rows, columns) = photo.shape[:2], maps.size
        return None, f"; its image is {height} x {width} px, its label map {rows} x {columns}"
    return photo, ""


def _panels(maps, photo, evaluation):
    """(description, kind of file, content) of each picture of an image."""
    height, width, _ = shown_size(maps.truth)
    truth, found = (nearest(labels, height, width) for labels in (maps.truth, maps.found))
    void, names = evaluation.settings["void"], evaluation.class_names
    if photo is not None:
        photo = resize_photo(photo, height, width)
        yield "image", "jpeg", as_jpeg(photo)
    # without the photo beneath, so that colours are those of the legend
    for labels, name in ((truth, "truth"), (found, "found")):
        picture = paint_labels(labels, len(names), void)
        yield name, "png", as_png(write_class_names(picture, labels, names))
    mistakes = draw_mistakes(truth, found, void, photo)
    if photo is None:
        yield "mistakes", "png", as_png(mistakes)
    else:
        yield "mistakes", "jpeg", as_jpeg(mistakes)


def draw_mistakes(
    truth: NDArray[np.integer],
    found: NDArray[np.integer],
    void: int = 255,
    photo: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """A picture of the pixels that are wrong.

    Args:
        truth: labels [h, w].
        found: labels [h, w].
        void: label of pixels without a class, which are striped.
        photo: uint8 [h, w, 3], which is drawn in grey beneath; None: what is right is light grey,
            background lighter than the other classes.

    Returns:
        uint8 [h, w, 3]: ``RED`` where a class was missed, since background or void was found,
        ``ORANGE`` where another class was found, ``BLUE`` where one was found on the background.
    """
    if photo is None:
        picture = np.repeat(np.where(truth == 0, *RIGHT)[..., None], 3, axis=2).astype(np.uint8)
    else:
        picture = as_rgb(fit_channels(photo, 1))
    wrong = (truth != found) & (truth != void)
    missed = (found == 0) | (found == void)
    for where, color in (
        (wrong & missed, RED),
        (wrong & ~missed & (truth != 0), ORANGE),
        (wrong & ~missed & (truth == 0), BLUE),
    ):
        picture[where] = np.rint(255 * np.array(color))
    paint_void(picture, truth == void)
    return picture


def _legend(maps, evaluation):
    """The colours of the classes in an image, those with most pixels first."""
    names, void = evaluation.class_names, evaluation.settings["void"]
    labels, counts = np.unique(np.stack([maps.truth, maps.found]), return_counts=True)
    order = [int(label) for label in labels[np.argsort(-counts, kind="stable")]]
    colors = np.rint(255 * np.array(class_colors(len(names)))).astype(int).tolist()
    chips = [
        f'<span class="chip" style="background: rgb{tuple(colors[label])}"></span>'
        + html.escape(names[label])
        for label in order
        if label != void
    ]
    if len(chips) > LEGEND:
        chips = [*chips[:LEGEND], f" and {len(chips) - LEGEND} more"]
    if void in order:
        chips.append('<span class="chip void"></span>void')
    return "".join(chips)

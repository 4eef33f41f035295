"""What `Segmenter.segment` returns: the class of each pixel of an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.files import AnyPath
from mrcnn.common.words import on_one_line
from mrcnn.config.classes import class_ids
from mrcnn.data.bilinear import bilinear_rows
from mrcnn.data.drawing import picture_path, write_picture
from mrcnn.data.label_drawing import draw_labels
from mrcnn.data.labels import LabelMap, label_dtype, pixel_counts, region_masks, void_label, void_of
from mrcnn.evaluation.page import percent
from mrcnn.inference.detect import check_min_confidence
from mrcnn.inference.result import Classes, Result, image_of_size
from mrcnn.visualize.labels import display_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Probabilities of an image that are worked on together: 4 MB.
_STRIP_VALUES = 2**20


class SemanticResult:
    """The class of each pixel of one image.

    Attributes:
        labels: [h, w], uint8: 0 background, 1 and more the class ids, 255 void, which only `filter`
            makes. Of more than 254 classes uint16, and 65535 void.
        confidence: float32 [h, w], the probability of the class that is the most probable one.
        class_names: list of names by class id, the first of them for the background.
        image: the image given to `segment`, [h, w] or [h, w, c], or None.
        at_limit: False; of objects there is a limit, see `Result`.

    The methods that draw take ``image`` in place of an image that the result has not got. To keep
    many results and not their images, set ``result.image = None``; ``result.scores = None`` lets go
    of what `probabilities` are made of.

    Args:
        labels, confidence, class_names, image: the attributes.
        scores: float32 [H, W, K], the probabilities of all K classes at the size that the network
            saw the image in; None where they were not kept.

    Example:
        >>> result = model.segment([image])[0]
        >>> result.share("person")
        >>> result.save("people.png")
    """

    at_limit = False

    def __init__(
        self,
        labels: LabelMap,
        confidence: NDArray[np.float32],
        class_names: Sequence[str],
        image: np.ndarray | None = None,
        scores: NDArray[np.float32] | None = None,
    ) -> None:
        self.labels, self.confidence, self.class_names = labels, confidence, class_names
        self.image, self.scores = image, scores

    def __repr__(self) -> str:
        height, width = self.labels.shape
        shares = (f"{on_one_line(name)} {percent(share)}" for name, share in self.shares.items())
        return f"<SemanticResult of {height} x {width} px: {', '.join(shares) or 'void'}>"

    # === What was found ===

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """float32 [h, w, K], that of each class, resized to the image from what the network gave.

        Raises:
            ValueError: they were not kept, as of an image that was labelled tile by tile.
        """
        if self.scores is None:
            raise ValueError(
                "the probabilities of all classes were not kept, as those of an image in tiles are "
                "not; confidence has that of each pixel's class"
            )
        height, width = self.labels.shape
        return bilinear_rows(self.scores, height, width)

    @property
    def names(self) -> list[str]:
        """Name of each class that has a pixel, without the background: a class once, however many
        regions it has.
        """
        return [self.class_names[label] for label in self._present() if label]

    @property
    def pixels(self) -> NDArray[np.int64]:
        """int64 [K], the pixels of each class; void is not counted."""
        return pixel_counts(self.labels, len(self.class_names))

    @property
    def shares(self) -> dict[str, float]:
        """{name of the class: its share of the image's pixels}, the background included and the
        largest first, of the classes that have a pixel.
        """
        counts = self.pixels
        order = np.argsort(-counts, kind="stable").tolist()
        shares: dict[str, float] = {}
        for label in order[: np.count_nonzero(counts)]:
            name = self.class_names[label]
            shares[name] = shares.get(name, 0.0) + float(counts[label] / self.labels.size)
        return shares

    def share(self, classes: Classes) -> float:
        """The share of the image's pixels that a class has, or several together; 0 is background.

        Raises:
            ValueError: an unknown class.
        """
        ids = class_ids(classes, self.class_names, first=0)
        return float(np.isin(self.labels, ids).mean())

    def filter(
        self, classes: Classes | None = None, min_confidence: float | None = None
    ) -> SemanticResult:
        """Some classes, where they are probable enough.

        Args:
            classes: class id or name, or a list of them, whose pixels stay; those of the others
                become background. None: all.
            min_confidence: pixels of a lower confidence become void. None: none.

        Raises:
            ValueError: an unknown class, or a ``min_confidence`` that is no probability.
        """
        check_min_confidence(min_confidence)
        labels = self.labels.copy()
        if classes is not None:
            ids = class_ids(classes, self.class_names, first=0)
            labels[~np.isin(labels, [*ids, void_of(labels)])] = 0
        if min_confidence is not None:
            labels[self.confidence < min_confidence] = void_of(labels)
        return type(self)(labels, self.confidence, self.class_names, self.image, self.scores)

    # === Pictures ===

    def draw(
        self,
        image: ArrayLike | None = None,
        alpha: float = 0.5,
        color_by: str = "class",
        labels: bool = True,
    ) -> NDArray[np.uint8]:
        """The image with the classes painted in, uint8 [h, w, 3]; see
        `data.label_drawing.draw_labels`.

        Args:
            image: see the class.
            alpha: weight of the colours, 0..1.
            color_by: "class", or "object" for another colour in each region.
            labels: whether the names of the classes are written in.
        """
        image = image_of_size(self.image if image is None else image, self.labels.shape)
        return draw_labels(image, self.labels, self.class_names, alpha, color_by, labels)

    def save(
        self,
        path: AnyPath,
        image: ArrayLike | None = None,
        alpha: float = 0.5,
        color_by: str = "class",
        labels: bool = True,
    ) -> str:
        """Write the picture of `draw` to a .png, .jpg or .jpeg file.

        Returns:
            the path, as str.

        Raises:
            ValueError: another extension.
            FileNotFoundError: the folder does not exist.
        """
        path = picture_path(path)
        write_picture(path, self.draw(image, alpha, color_by, labels))
        return path

    def plot(
        self,
        image: ArrayLike | None = None,
        title: str = "",
        figsize: tuple[float, float] = (12, 12),
        ax: Axes | None = None,
        alpha: float = 0.5,
    ) -> None:
        """Show the classes with matplotlib, in a notebook or a window; see
        `visualize.labels.display_labels`.
        """
        image = image_of_size(self.image if image is None else image, self.labels.shape)
        display_labels(image, self.labels, self.class_names, title, figsize, ax, alpha)

    # === Other forms ===

    def to_labels(self) -> LabelMap:
        """`labels`, by the name that `Result` has for it."""
        return self.labels

    def to_result(self, min_area: int = 1, most: int | None = None) -> Result:
        """The connected regions of each class as objects; of those of a class that touch, one.

        Args:
            min_area: pixels of the smallest region that is taken.
            most: take only so many regions, the largest ones; None: all.

        Returns:
            `Result`, whose scores are the means of `confidence`, best first; its ``at_limit`` says
            whether there are ``most``, so that more may be cut off.
        """
        result = self.large_result(min_area, most)
        result["masks"] = np.asarray(result["masks"])
        return result

    def large_result(self, min_area: int = 1, most: int | None = None) -> Result:
        """As `to_result`, with masks that are made one at a time, when they are asked for: what
        writes the objects of an image of many megapixels needs no more.

        Returns:
            `Result` with `data.labels.RegionMasks`. Its ``to_coco``, ``to_labelme``, ``crop``,
            ``polygons`` and ``area`` hold one mask at a time.
        """
        masks, found = region_masks(self.labels, min_area=min_area, most=most)
        scores = np.array(list(self._mean_confidence(masks)), np.float32)
        order = np.argsort(-scores, kind="stable")
        masks = masks.take(order)
        at_limit = len(found) == most
        return Result(
            *(masks.boxes, found[order], scores[order], masks),
            *(self.image, self.class_names, at_limit),
        )

    # === Inside ===

    def _mean_confidence(self, masks) -> Iterator[float]:
        for index, (y1, x1, y2, x2) in enumerate(masks.boxes.tolist()):
            inside = masks[y1:y2, x1:x2, index]
            yield self.confidence[y1:y2, x1:x2][inside].mean(dtype=np.float64)

    def _present(self):
        return np.flatnonzero(self.pixels).tolist()


def label_pixels(
    scores: NDArray[np.float32], height: int, width: int
) -> tuple[LabelMap, NDArray[np.float32]]:
    """The most probable class of each pixel of an image, and how probable it is.

    The probabilities are resized some rows at a time: those of a large image and many classes are
    never there as a whole.

    Args:
        scores: float32 [H, W, K], the probabilities at any size.
        height, width: of the image, px.

    Returns:
        labels uint8 [height, width], or uint16 where K is above 255; of equally probable classes
        the first.
        confidence float32 [height, width].
    """
    count = scores.shape[-1]
    labels = np.empty((height, width), label_dtype(void_label(count)))
    confidence = np.empty((height, width), np.float32)
    step = max(_STRIP_VALUES // (max(width, scores.shape[1]) * count), 1)
    for start in range(0, height, step):
        rows = slice(start, start + step)
        strip = bilinear_rows(scores, height, width, rows)
        labels[rows] = strip.argmax(axis=-1)
        confidence[rows] = strip.max(axis=-1)
    return labels, confidence

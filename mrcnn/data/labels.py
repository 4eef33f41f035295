"""Label maps: one class a pixel, made of the masks of objects and taken apart again.

A label map is uint8 [height, width]: 0 is the background, 1 and more are classes, 255 is void, a
pixel without a label. Of more than 254 classes it is uint16, and void is 65535.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrcnn.common.words import option_or_argument, some
from mrcnn.data.crowds import SEVERAL_CLASSES, distinct_regions
from mrcnn.data.load import call_load_mask, checked_class_ids
from mrcnn.data.masks import binary_masks, extract_bboxes, number_pieces
from mrcnn.data.rle import Part

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset

LabelMap: TypeAlias = NDArray[np.uint8 | np.uint16]

VOID, LARGE_VOID = 255, 65535
# Which object has a pixel of several, and what crowds are.
OVERLAPS = ("smaller", "last", "ignore")
CROWDS = ("ignore", "class")


def void_label(num_classes: int) -> int:
    """The value of void in label maps of so many classes, the background included."""
    return VOID if num_classes <= VOID else LARGE_VOID


def void_of(labels: np.ndarray) -> int:
    """The value of void in a label map, by its dtype."""
    return LARGE_VOID if labels.dtype == np.uint16 else VOID


def is_void(labels: np.ndarray, num_classes: int, ignore_label: int) -> NDArray[np.bool_]:
    """Where a data set's label map has no label: IGNORE_LABEL, or void by the map's dtype.

    Args:
        labels: whole numbers [height, width].
        num_classes: with the background. A value below it is a class, not void.
        ignore_label: IGNORE_LABEL.

    Returns:
        bool [height, width].
    """
    found: NDArray[np.bool_] = np.zeros(labels.shape, bool)
    for value in {ignore_label, void_of(labels)}:
        if value >= num_classes:
            found |= labels == value
    return found


def label_dtype(void: int) -> type[np.uint8] | type[np.uint16]:
    """The dtype of label maps in which void is 255 or 65535."""
    return np.uint8 if void <= VOID else np.uint16


# === Objects ===


def labels_of_masks(
    masks: np.ndarray,
    class_ids: NDArray[np.integer],
    overlap: str = "smaller",
    crowds: str = "ignore",
    void: int = VOID,
) -> LabelMap:
    """The label map of an image's objects.

    Crowds fill only what no object has. A crowd of several classes, such as a region to ignore, is
    always void, and fills only what no other crowd has.

    Args:
        masks: bool [height, width, N], or numbers, of which `masks.foreground` says where the
            object is.
        class_ids: int [N], negative for a crowd.
        overlap: which of several objects has a pixel. "smaller": that of fewer pixels, of equal
            ones the later; so a cup on a table is a cup. "last": the later. "ignore": none, a pixel
            of several classes is void.
        crowds: "ignore": crowds are void. "class": they are of their class.
        void: `VOID`, or `LARGE_VOID` for class ids above 254.

    Returns:
        uint8 [height, width], or uint16 with `LARGE_VOID`.

    Raises:
        ValueError: an unknown ``overlap`` or ``crowds``; another number of class ids than of masks;
            a class id that a label map cannot have.
    """
    masks, class_ids = np.asarray(masks), np.asarray(class_ids)
    if masks.ndim != 3 or class_ids.shape != masks.shape[2:]:
        raise ValueError(
            "masks must be [height, width, objects] with a class id for each, got the shapes "
            f"{masks.shape} and {class_ids.shape}"
        )
    masks = binary_masks(masks)
    rows: NDArray[np.integer] = np.arange(len(class_ids))
    if crowds == "class":
        rows, class_ids = distinct_regions(masks, class_ids)
    return labels_of_parts(
        parts_of_masks(masks, rows), class_ids, masks.shape, overlap, crowds, void
    )


def parts_of_masks(masks: NDArray[np.bool_], rows: NDArray[np.integer]) -> list[Part]:
    """The parts of some masks that have their objects, as views: a copy of large masks may be more
    than the memory has left.
    """
    return [
        (masks[y1:y2, x1:x2, row], y1, x1)
        for row, (y1, x1, y2, x2) in zip(rows.tolist(), extract_bboxes(masks)[rows].tolist())
    ]


def labels_of_parts(
    parts: Sequence[Part],
    class_ids: NDArray[np.integer],
    shape: Sequence[int],
    overlap: str = "smaller",
    crowds: str = "ignore",
    void: int = VOID,
) -> LabelMap:
    """As `labels_of_masks`, of masks of which only the part with the object is given.

    Args:
        parts: list of N (part bool [h, w], y1, x1), as of `rle.encode_parts`.
        class_ids: int [N], negative for a crowd, `crowds.SEVERAL_CLASSES` for one of several.
        shape: (height, width, ...) of the image in pixels.
        (others): as of `labels_of_masks`.
    """
    for name, given, known in (("overlap", overlap, OVERLAPS), ("crowds", crowds, CROWDS)):
        if given not in known:
            raise ValueError(f"{name} is {given!r}; use one of {', '.join(map(repr, known))}")
    ids = np.asarray(class_ids).astype(np.int64)
    several = ids == SEVERAL_CLASSES
    _refuse_ids(ids[~several], void)
    is_object, is_void = ids > 0, (ids < 0 if crowds == "ignore" else several)
    values = np.where(is_void, void, np.abs(ids)).tolist()
    labels = np.zeros(shape[:2], label_dtype(void))
    for chosen in (is_object, ~is_object & ~is_void, is_void):  # from the top down
        if chosen.any():
            rows = np.flatnonzero(chosen).tolist()
            beneath = _painted(
                [parts[row] for row in rows], [values[row] for row in rows], labels, overlap, void
            )
            np.copyto(labels, beneath, where=labels == 0)
    return labels


def _refuse_ids(class_ids, void):
    wrong = class_ids[(class_ids == 0) | (np.abs(class_ids) >= void)]
    if len(wrong):
        more = f", more with void={LARGE_VOID}" if void == VOID else ""
        raise ValueError(
            f"class id {wrong[0]} cannot be in a label map: objects have 1 to {void - 1}{more}, "
            "crowds the same below 0"
        )


def _painted(parts, values, like, overlap, void):
    """A label map of the size of ``like`` with the value of each part."""
    labels = np.zeros_like(like)
    order = list(range(len(parts)))
    if overlap == "smaller":
        order.sort(key=lambda index: -np.count_nonzero(parts[index][0]))
    for index in order:
        (part, y1, x1), value = parts[index], values[index]
        target = labels[y1 : y1 + part.shape[0], x1 : x1 + part.shape[1]]
        if overlap == "ignore":
            other = part & (target != 0) & (target != value)
            np.copyto(target, value, where=part)
            np.copyto(target, void, where=other)
        else:
            np.copyto(target, value, where=part)
    return labels


class RegionMasks:
    """The masks of an image's regions, made one at a time: of a large image, all of them together
    may be more than the memory holds.

    It stands in for an array bool [height, width, N] in ``masks[..., n]`` and
    ``masks[y1:y2, x1:x2, n]``, and `numpy.asarray` makes one of it.

    Attributes:
        boxes: int32 [N, (y1, x1, y2, x2)] px, y2 and x2 exclusive.
        shape: (height, width, N).

    Args:
        numbers: int [height, width], the number of the region that each pixel is of.
        chosen: int [N], the number of each region that has a mask.
        boxes: the attribute.
    """

    def __init__(
        self, numbers: NDArray[np.integer], chosen: NDArray[np.integer], boxes: NDArray[np.int32]
    ) -> None:
        self._numbers, self._chosen, self.boxes = numbers, chosen, boxes
        self.shape = (*numbers.shape, len(chosen))

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[np.bool_]:
        *where, region = index
        return self._numbers[tuple(where)] == self._chosen[region]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        height, width, count = self.shape
        masks = np.zeros((count, height, width), bool)
        for region, (y1, x1, y2, x2) in enumerate(self.boxes.tolist()):
            masks[region, y1:y2, x1:x2] = self[y1:y2, x1:x2, region]
        return np.moveaxis(masks, 0, -1).astype(dtype or bool, copy=False)

    def take(self, order: NDArray[np.integer]) -> RegionMasks:
        """Some of the regions, by their indices."""
        return RegionMasks(self._numbers, self._chosen[order], self.boxes[order])


def regions(
    labels: np.ndarray, background: int = 0, min_area: int = 1, most: int | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """The connected regions of one class each, in the order of their first pixels.

    Pixels of a class touch by their sides or their corners. What `labels_of_masks` merged, objects
    of a class that touch, stays one region.

    Args:
        labels: label map [height, width].
        background: the class that is no region, as void is none.
        min_area: pixels of the smallest region that is taken.
        most: take only so many regions, the largest ones; None: all.

    Returns:
        masks: bool [height, width, N], each in one piece of memory.
        class_ids: int32 [N].
    """
    masks, class_ids = region_masks(labels, background, min_area, most)
    return np.asarray(masks), class_ids


def region_masks(
    labels: np.ndarray, background: int = 0, min_area: int = 1, most: int | None = None
) -> tuple[RegionMasks, NDArray[np.int32]]:
    """As `regions`, with masks that are made one at a time."""
    from skimage.measure import regionprops

    labels = np.asarray(labels)
    # numbers from 1 on, because 0 is no region to `number_pieces`
    classes = np.where(
        (labels == void_of(labels)) | (labels == background), 0, labels + np.int32(1)
    )
    numbers, count = number_pieces(classes)
    class_ids: NDArray[np.int32] = np.zeros(count + 1, np.int32)
    class_ids[numbers] = labels
    chosen: NDArray[np.integer] = np.arange(1, count + 1)
    if min_area > 1 or (most is not None and count > most):
        # before anything is made of each of what may be thousands of specks
        areas = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
        largest = np.sort(np.argsort(-areas, kind="stable")[:most])
        chosen = largest[areas[largest] >= min_area] + 1
        is_chosen: NDArray[np.bool_] = np.zeros(count + 1, bool)
        is_chosen[chosen] = True
        numbers[~is_chosen[numbers]] = 0
    boxes = np.array([region.bbox for region in regionprops(numbers)], np.int32).reshape(-1, 4)
    return RegionMasks(numbers, chosen, boxes), class_ids[chosen]


# === Other forms ===


def one_hot(labels: np.ndarray, num_classes: int) -> NDArray[np.bool_]:
    """A channel for each class, the background included; a void pixel is in none.

    Args:
        labels: label map [height, width].
        num_classes: K, with the background.

    Returns:
        bool [height, width, K].

    Raises:
        ValueError: a value that is neither a class nor void.
    """
    labels = np.asarray(labels)
    _refuse_values(labels, num_classes)
    return labels[..., np.newaxis] == np.arange(num_classes)


def labels_of_one_hot(channels: np.ndarray) -> LabelMap:
    """The label map of channels: the reverse of `one_hot`.

    Args:
        channels: bool [height, width, K], a channel for each class, the background included.

    Returns:
        label map [height, width]: void where no channel is set, the highest class where several
            are.
    """
    channels = np.asarray(channels)
    void = void_label(channels.shape[-1])
    labels = np.full(channels.shape[:-1], void, label_dtype(void))
    for class_id in range(channels.shape[-1]):
        np.copyto(labels, class_id, where=channels[..., class_id].astype(bool))
    return labels


def masks_of_labels(
    labels: np.ndarray, num_classes: int
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """A mask for each class above 0 that a label map shows.

    Args:
        labels: label map [height, width].
        num_classes: K, with the background.

    Returns:
        masks: bool [height, width, N], each in one piece of memory.
        class_ids: int32 [N], rising.

    Raises:
        ValueError: a value that is neither a class nor void.
    """
    class_ids = np.flatnonzero(pixel_counts(labels, num_classes)[1:]).astype(np.int32) + 1
    masks = np.zeros((len(class_ids), *labels.shape), bool)
    for mask, class_id in zip(masks, class_ids):
        np.equal(labels, class_id, out=mask)
    return np.moveaxis(masks, 0, -1), class_ids


def pixel_counts(labels: np.ndarray, num_classes: int) -> NDArray[np.int64]:
    """The pixels of each class in a label map, int64 [num_classes]; void is not counted.

    Raises:
        ValueError: a value that is neither a class nor void.
    """
    labels = np.asarray(labels)
    _refuse_values(labels, num_classes)
    counts = np.bincount(labels.ravel(), minlength=num_classes)
    return counts[:num_classes].astype(np.int64)


def _refuse_values(labels, num_classes):
    void = void_of(labels)
    wrong = (labels < 0) | ((labels >= num_classes) & (labels != void))
    if wrong.any():
        place = np.unravel_index(wrong.argmax(), labels.shape)
        raise ValueError(
            f"a label map of {num_classes} classes has the value {labels[place]} at (y, x) = "
            f"{tuple(map(int, place))}: it may have 0 to {num_classes - 1}, and {void} for void"
        )


# === Data sets ===


def load_labels(dataset: Dataset, image_id: int, overlap: str, crowds: str) -> LabelMap:
    """The label map of an image of any data set; see `Dataset.load_labels`."""
    masks, class_ids = call_load_mask(dataset, image_id)
    if not len(class_ids):  # and so masks whose size may be 0 x 0
        masks = np.zeros((*np.shape(dataset.load_image(image_id))[:2], 0), bool)
    count = len(dataset.class_info)
    ids = checked_class_ids(class_ids, count)
    return labels_of_masks(masks, ids, overlap, crowds, void_label(count))


def call_load_labels(
    dataset: Dataset, image_id: int, overlap: str = "smaller", crowds: str = "ignore"
) -> np.ndarray:
    """What ``dataset.load_labels`` returns, as an array of whole numbers [height, width].

    A ``load_labels`` of the user's may take the image id alone.

    Raises:
        ValueError: it returned something else.
    """
    takes = inspect.signature(dataset.load_labels).parameters
    given = {"overlap": overlap, "crowds": crowds}
    labels = np.asarray(
        dataset.load_labels(image_id, **{key: given[key] for key in given if key in takes})
    )
    if labels.ndim != 2 or labels.dtype.kind not in "biu":
        raise ValueError(
            f"load_labels returned {labels.dtype} of shape {labels.shape}; it must be whole "
            "numbers, [height, width]"
        )
    return labels


def check_one_source(dataset: Dataset, merge_sources: bool = False) -> None:
    """Refuse images of several sources that have different classes.

    Where nobody looked for a class, its pixels cannot be told from the background.

    Args:
        dataset: a prepared Dataset.
        merge_sources: MERGE_SOURCES, which takes the pixels of the other sources' classes for
            background.

    Raises:
        ValueError: naming the sources and their classes.
    """
    if merge_sources:
        return
    sources = dict.fromkeys(info["source"] for info in dataset.image_info)
    classes = {source: tuple(dataset.source_class_ids.get(source, ())) for source in sources}
    if len(set(classes.values())) > 1:
        said = "; ".join(
            f"{source!r} has {some([dataset.class_names[one] for one in ids[1:]], 5) or 'none'}"
            for source, ids in classes.items()
        )
        raise ValueError(
            f"{type(dataset).__name__} has images of {len(sources)} sources with classes of their "
            f"own: {said}. In an image of one, the pixels of the others' classes are background. "
            "Load all as one source, each with every class marked, or set "
            + option_or_argument("--set MERGE_SOURCES=true", "MERGE_SOURCES = True")
            + " where that is what they should be"
        )

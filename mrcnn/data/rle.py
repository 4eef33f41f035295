"""Masks as COCO run lengths, which take a thousandth of the memory.

An RLE is a dict of size [height, width] and counts: the lengths of the runs of 0 and 1, down
the columns, zeros first, packed into text by pycocotools. pycocotools is imported when an RLE
is made or read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.data.masks import extract_bboxes

# The part of a mask that holds the object, bool [h, w], and its first row and column in the image.
Part = tuple[np.ndarray, int, int]


class Rle(TypedDict):
    """The run lengths of one mask."""

    size: list[int]  # [height, width] px
    counts: str | bytes | list[int]  # packed by pycocotools, or the lengths themselves


def encode_masks(masks: np.ndarray, boxes: ArrayLike | None = None) -> list[Rle]:
    """The RLE of every mask.

    Args:
        masks: [height, width, N], foreground where > 0.
        boxes: int [N, (y1, x1, y2, x2)] px, inside the image; the masks must be empty outside
            of them. Only what is inside is read, so that this is fast for masks of
            `data.masks.unmold_masks`. None: the boxes are looked up.

    Returns:
        list of N {"size": [height, width], "counts": str}, ready for json.
    """
    if boxes is None:
        boxes = extract_bboxes(masks)
    corners = np.asarray(boxes).tolist()
    parts = ((masks[y1:y2, x1:x2, index], y1, x1) for index, (y1, x1, y2, x2) in enumerate(corners))
    return encode_parts(parts, masks.shape)


def encode_parts(parts: Iterable[Part], shape: Sequence[int]) -> list[Rle]:
    """The RLE of masks of which only the part with the object is given.

    Args:
        parts: list of N (part [h, w], foreground where > 0, y1, x1): the part's top left pixel is
            (y1, x1) of the image, and all of it is inside the image.
        shape: (height, width, ...) of the image in pixels.

    Returns:
        list of N {"size": [height, width], "counts": str}, ready for json.
    """
    from pycocotools import mask as coco_mask

    height, width = shape[:2]
    runs = [
        {"size": [height, width], "counts": _runs(part, y1, x1, height, width)}
        for part, y1, x1 in parts
    ]
    if not runs:
        return []
    return [
        {"size": [height, width], "counts": rle["counts"].decode("ascii")}
        for rle in coco_mask.frPyObjects(runs, height, width)
    ]


def _runs(part, y1, x1, height, width):
    """Run lengths of an image that is 0 but for one part, whose top left pixel is (y1, x1)."""
    # a row of zeros below every column, so that no run goes on into the next one
    columns = np.zeros((part.shape[1], part.shape[0] + 1), np.int8)
    columns[:, :-1] = part.T > 0
    flat = columns.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[:1].any():
        changes = np.concatenate([[0], changes])
    # from places in the part to places in the image, both down the columns
    column, row = np.divmod(changes, part.shape[0] + 1)
    places = (column + x1) * height + row + y1
    # a run that ends at the bottom of the image and goes on at the top of the next column is one
    joined = np.flatnonzero(places[1:] == places[:-1])
    if len(joined):
        places = np.delete(places, np.concatenate([joined, joined + 1]))
    if len(places) and places[-1] == height * width:
        places = places[:-1]  # a run of 1 to the end has no run of 0 behind it
    return np.diff(places, prepend=0, append=height * width).tolist()


def decode_masks(rles: Sequence[Rle], shape: Sequence[int]) -> NDArray[np.bool_]:
    """The masks of a list of RLEs.

    The same as pycocotools' decode, in a tenth of its time where objects are small: only the
    pixels around an object are written.

    Args:
        rles: list of N RLEs; the counts text, bytes or a list of numbers.
        shape: (height, width, ...) px, the size of every RLE.

    Returns:
        bool [height, width, N]; each mask lies in one piece in memory, as in
        `data.masks.unmold_masks`.

    Raises:
        ValueError: an RLE of another size, or one whose runs do not fill its size.
    """
    masks = np.zeros((len(rles), *shape[:2]), bool)
    for mask, (part, y1, x1) in zip(masks, decode_parts(rles, shape)):
        mask[y1 : y1 + part.shape[0], x1 : x1 + part.shape[1]] = part
    return np.moveaxis(masks, 0, -1)


def decode_parts(rles: Iterable[Rle], shape: Sequence[int]) -> Iterator[Part]:
    """As `decode_masks`, one at a time, and of each mask only a part that has all of the object."""
    height, width = shape[:2]
    for rle in rles:
        if tuple(rle["size"]) != (height, width):
            raise ValueError(
                f"an RLE has the size {list(rle['size'])}, the masks {[height, width]} (height, "
                "width)"
            )
        yield _drawn(run_lengths(rle), height)


def run_lengths(rle: Rle) -> NDArray[np.int64]:
    """The lengths of an RLE's runs, int64 [runs], of 0 and 1 in turn, 0 first.

    Raises:
        ValueError: the runs do not fill the size, or the counts are no run lengths.
    """
    counts, (height, width) = rle["counts"], rle["size"]
    try:
        runs = _unpacked(counts) if isinstance(counts, (str, bytes)) else _whole_numbers(counts)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the counts of an RLE are no run lengths: {error}") from error
    # each of them first, so that their sum cannot overflow
    if ((runs < 0) | (runs > height * width)).any() or runs.sum() != height * width:
        raise ValueError(
            f"the counts of an RLE add up to {sum(runs.tolist())} px with the least "
            f"{runs.min(initial=0)}; its size of {height} x {width} (height x width) needs "
            f"{height * width} px"
        )
    return runs


def _whole_numbers(values):
    """int64 [n] of a list of numbers, which must be whole."""
    numbers = np.asarray(values)
    if (
        numbers.ndim != 1
        or (numbers.size and numbers.dtype.kind not in "iuf")
        or not (np.isfinite(numbers) & (numbers % 1 == 0)).all()
    ):
        raise ValueError(f"they must be whole numbers, got {str(values)[:60]}")
    return numbers.astype(np.int64)


def _unpacked(text):
    """COCO's packed counts: 5 bits a character from "0" on, low bits first, the 6th bit says that
    more follow; from the fourth number on each is the difference from the last but one."""
    text = text.encode("ascii") if isinstance(text, str) else text
    if not text:
        return np.zeros(0, np.int64)
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0)
    if codes.min() < 0 or codes.max() > 63 or not len(ends) or ends[-1] != len(codes) - 1:
        raise ValueError(f"{text[:20]!r}... is not COCO's packed form")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 12:
        raise ValueError("a number of more than 60 bits")
    digit = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * digit), starts)
    values = np.where(codes[ends] & 16, values - (1 << (5 * lengths)), values)
    values[1::2] = values[1::2].cumsum()
    values[2::2] = values[2::2].cumsum()
    return values


def _drawn(runs, height):
    """The `Part` of a mask of these runs, of which every second is set."""
    ends = runs.cumsum()
    starts, stops = ends[:-1:2], ends[1::2]  # of the runs of 1
    starts, stops = starts[starts < stops], stops[starts < stops]
    if not len(starts):
        return np.zeros((0, 0), bool), 0, 0
    x1, x2 = starts[0] // height, -(-stops[-1] // height)
    one_column = (starts // height == (stops - 1) // height).all()
    y1, y2 = (
        ((starts % height).min(), ((stops - 1) % height).max() + 1) if one_column else (0, height)
    )
    inside = np.diff(np.clip(ends - x1 * height, 0, (x2 - x1) * height), prepend=0)
    part = np.repeat(np.arange(len(inside)) % 2 == 1, inside).reshape(x2 - x1, height)
    return part[:, y1:y2].T, int(y1), int(x1)


def mask_areas(rles: Sequence[Rle]) -> NDArray[np.int64]:
    """The pixels of each of a list of packed RLEs, int64 [N].

    With NumPy 2, pycocotools' own ``area`` raises an OverflowError for more than 255 of them, so it
    gets no more at a time.
    """
    from pycocotools import mask as coco_mask

    parts = [coco_mask.area(list(rles[first : first + 255])) for first in range(0, len(rles), 255)]
    return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)


def merge_rles(rles: Sequence[Rle]) -> Rle:
    """The RLE of all pixels of one or more RLEs of the same size."""
    from pycocotools import mask as coco_mask

    if len(rles) == 1:
        return rles[0]
    merged = coco_mask.merge(rles)
    return {
        "size": [int(side) for side in merged["size"]],
        "counts": merged["counts"].decode("ascii"),
    }

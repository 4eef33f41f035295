"""What one file of masks holds: the ids of its objects, or the mask of one object."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.data.images import read_image
from mrcnn.data.masks import extract_bboxes, mask_of_picture, number_pieces

# Objects of a mask of ids, at most.
MOST_OBJECTS = 10_000


def refuse_lossy(path: str) -> None:
    """Raise a ValueError where a mask is JPEG or lossy WebP, whatever its name: the pixels beside
    an edge have other values than were saved.
    """
    kind = _lossy_kind(path)
    if kind is not None:
        raise ValueError(
            f"{path} is {kind}, which changes the values of a mask: save masks as PNG, from the "
            "tool that made them"
        )


def _lossy_kind(path):
    """The format of a file that stores pixels with loss, or None, also of one that is damaged or
    no file: `read_image` says what is wrong with it.
    """
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        start = file.read(12)
        if start.startswith(b"\xff\xd8\xff"):
            return "JPEG"
        if start[:4] != b"RIFF" or start[8:] != b"WEBP":
            return None
        while len(header := file.read(8)) == 8:  # of a chunk: its name and the bytes that follow
            if header[:4] in (b"VP8 ", b"VP8L"):
                return "lossy WebP" if header[:4] == b"VP8 " else None
            length = int.from_bytes(header[4:], "little")
            file.seek(length + length % 2, os.SEEK_CUR)
    return None


def read_ids(path: str, what: str = "the id of its object") -> np.ndarray:
    """The values of a mask file, int [height, width]; of a palette's colours, their numbers.

    Where the colours show nothing, as in a cut-out of one colour, they are the values of alpha.

    Args:
        path: of the file.
        what: a value is, for the message.

    Raises:
        ValueError: the file has several values a pixel, or others than whole numbers.
    """
    ids = read_image(path, as_stored=True, indices=True, mask=True)
    if ids.ndim == 3:
        colours = ids[..., : 1 if ids.shape[2] == 2 else 3]  # not alpha
        # grey that was saved as RGB has three equal channels
        if (colours == colours[..., :1]).all():
            grey, alpha = ids[..., 0], ids[..., -1]
            of_alpha = ids.shape[2] in (2, 4) and (grey == grey[:1, :1]).all()
            ids = alpha if of_alpha and (alpha != alpha[:1, :1]).any() else grey
    if ids.ndim != 2 or ids.dtype.kind not in "biu":
        raise ValueError(
            f"{path} must have one whole number a pixel, {what}; it is {ids.dtype} of shape "
            f"{ids.shape}"
        )
    return ids.astype(np.uint8) if ids.dtype == bool else ids


def ids_of(info: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """The ids of an image's objects, int [height, width]; 0 for the values that are no object.

    Args:
        info: of `image_info`, with mask_path, path and ignore.
        size: (height, width) px of the image.

    Raises:
        ValueError: no mask of ids, negative or too many ids, or another size.
    """
    ids = read_ids(info["mask_path"])
    check_size(ids, info["mask_path"], size, info["path"])
    ids = np.where(np.isin(ids, info["ignore"]), 0, ids) if info["ignore"] else ids
    if (least := ids.min(initial=0)) < 0:
        raise ValueError(
            f"{info['mask_path']} has the value {least}, and ids are positive: save the background "
            f"as 0, or give ignore=[{least}] if it is no object"
        )
    if (count := len(objects_of(ids))) > MOST_OBJECTS:
        raise ValueError(
            f"{info['mask_path']} has {count} different values, each an object: more than "
            f"{MOST_OBJECTS} are no ids, but perhaps depths or the pixels of a photo"
        )
    return ids


def objects_of(ids: np.ndarray) -> list[int]:
    """The different values but 0, ascending."""
    return [value for value in _values(ids) if value]


def shades_of_edges(ids: np.ndarray) -> list[int]:
    """The values of a mask of ids that are only shades between objects and the background.

    Anti-aliasing, a resize or JPEG leave many values along the edge of an object. None of them has
    a pixel whose four neighbours have its value too, as a real object has unless it is a line. Two
    of them at least, and at least half of all values, are no chance.
    """
    framed = np.pad(ids, 1, mode="edge")
    inside = (
        (ids == framed[:-2, 1:-1])
        & (ids == framed[2:, 1:-1])
        & (ids == framed[1:-1, :-2])
        & (ids == framed[1:-1, 2:])
    )
    values, real = objects_of(ids), objects_of(ids[inside])
    thin = len(values) - len(real)
    if thin < 2 or 2 * thin < len(values):  # as nearly always
        return []
    numbers, _ = number_pieces(ids != 0)
    beside_real = np.isin(numbers, numbers[np.isin(ids, real)])
    shades = set(objects_of(ids[beside_real])) - set(real)
    return sorted(shades) if len(shades) >= 2 and 2 * len(shades) >= len(values) else []


def pieces_of_values(ids: np.ndarray) -> Iterable[tuple[int, int]]:
    """(value, number of its pieces) of every object, by one look at all."""
    numbers, count = number_pieces(ids)
    value_of = np.zeros(count + 1, ids.dtype)
    value_of[numbers] = ids
    values, counts = np.unique(value_of[1:], return_counts=True)
    return zip(values.tolist(), counts.tolist())


def pieces(mask: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """The connected pieces of a mask, each bool [height, width]."""
    numbers, count = number_pieces(mask)
    return (numbers == number for number in range(1, count + 1))


def count_pieces(mask: NDArray[np.bool_]) -> int:
    """The number of connected pieces of a mask; only its box is looked at."""
    ((y1, x1, y2, x2),) = extract_bboxes(mask[..., np.newaxis])
    return number_pieces(mask[y1:y2, x1:x2])[1]


def read_object(path: str) -> tuple[NDArray[np.bool_], np.ndarray]:
    """The mask of a file of one object, bool [height, width], and the pixels that it is made of."""
    pixels = read_image(path, mask=True)
    if pixels.max(initial=0) < 128:
        refuse_lossy(path)  # which adds values that are as dark
    return mask_of_picture(pixels), pixels


def _values(ids):
    """The different values, ascending. Of each run of a value in the rows one pixel is looked at, a
    tenth of the time of all; and counting is ten times as fast as sorting.
    """
    flat = ids.ravel()
    values = np.append(flat[:1], flat[1:][flat[1:] != flat[:-1]])
    if ids.dtype in (np.uint8, np.uint16):
        return np.flatnonzero(np.bincount(values)).tolist()
    return np.unique(values).tolist()


def check_size(mask: np.ndarray, path: str, size: tuple[int, int], image_path: str) -> None:
    """Raise a ValueError where a mask and its image differ in (height, width) px."""
    if mask.shape != tuple(size):
        raise ValueError(
            f"{path} is {mask.shape[1]} x {mask.shape[0]} px (width x height), its image "
            f"{image_path} is {size[1]} x {size[0]} px"
        )

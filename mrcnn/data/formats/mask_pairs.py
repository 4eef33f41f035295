"""Images and the files of their masks: which folders go together, and which files in them."""

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument, some
from mrcnn.data.formats.files import folded, image_files, normal_form
from mrcnn.data.images import IMAGE_TYPES

# What folders of images and of masks are called, in lower case.
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "pngimages")
MASK_FOLDERS = ("masks", "mask", "pedmasks", "segmentationobject")
# These hold masks only where image files are in them: YOLO's labels are text.
LABEL_FOLDERS = ("labels", "label", "gt", "groundtruth", "ground_truth")
# Names of folders that are parts of a data set, and no images of their own.
PARTS = ("train", "training", "val", "valid", "validation", "test", "testing")
# What may follow an image's name in that of its mask.
_MASK_WORD = re.compile(
    r"[-_. ](?:masks?|gt|labels?|seg|segm|segmentation|annotations?|instances?|instance_?ids|ids)$",
    re.IGNORECASE,
)


def find_pairs(
    folder: AnyPath, part: str = "", label_names: Sequence[str] = LABEL_FOLDERS
) -> list[tuple[str, str]]:
    """(folder of images, folder of their masks), by the usual names, of all that a folder has.

    Args:
        folder: in which both are.
        part: name of a folder that is in both, such as "train" of images/train and masks/train.
        label_names: names in lower case of folders that hold masks where image files are in them.
    """
    folders = _folders_in(folder)
    pairs = []
    for image_name, mask_name in itertools.product(IMAGE_FOLDERS, (*MASK_FOLDERS, *label_names)):
        for images, masks in itertools.product(
            folders.get(image_name, ()), folders.get(mask_name, ())
        ):
            image_dir, mask_dir = os.path.join(images, part), os.path.join(masks, part)
            if (
                os.path.isdir(image_dir)
                and os.path.isdir(mask_dir)
                and (mask_name in MASK_FOLDERS or has_images(mask_dir))
                and (part or has_images(image_dir) or not set(_folders_in(image_dir)) & set(PARTS))
            ):
                pairs.append((image_dir.rstrip(os.sep), mask_dir.rstrip(os.sep)))
    return pairs


def image_folders(folder: AnyPath) -> list[str]:
    """The folders in a folder whose names are usual ones of images."""
    folders = _folders_in(folder)
    return [path for name in IMAGE_FOLDERS for path in folders.get(name, ())]


def is_part(folder: AnyPath) -> bool:
    """Whether a folder with folders "images" and "masks" is a part of a data set, such as "train"
    or "fold1", and not an image with a mask for each object, which is named as its folder is.

    In a part each image has a mask by its name, and it has no other.
    """
    name = os.path.basename(os.path.normpath(folder))
    if name.lower() in PARTS:
        return True
    images, masks = (
        {os.path.splitext(one)[0] for one in image_files(os.path.join(folder, inner))}
        for inner in ("images", "masks")
    )
    if (
        not images
        or len(masks) != len(images)
        or {normal_form(one) for one in images} == {normal_form(name)}
    ):
        return False
    of_masks = {base for mask in masks for base in _image_names_of(mask)}
    return all(normal_form(image) in of_masks for image in images)


def has_images(folder: AnyPath) -> bool:
    """Whether it is a folder with an image file in it."""
    return os.path.isdir(folder) and any(
        os.path.splitext(name)[1].lower() in IMAGE_TYPES and not name.startswith(".")
        for name in os.listdir(folder)
    )


def _folders_in(folder):
    """{name in lower case: paths} of the folders in a folder."""
    found: dict[str, list[str]] = {}
    if os.path.isdir(folder):
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if os.path.isdir(path):
                found.setdefault(name.lower(), []).append(path)
    return found


# === Files ===

# Counts an error inside it, where errors are collected.
Counting: TypeAlias = Callable[[], contextlib.AbstractContextManager[object]]


def pair_files(
    image_dir: AnyPath, mask_dir: AnyPath, counting: Counting = contextlib.nullcontext
) -> tuple[list[tuple[str, str, str | None]], list[str]]:
    """The mask of each image, by their names without ending.

    A mask of exactly the image's name comes first, then one whose name ends with a word such as
    ``_mask``, ``_gt`` or ``-label`` after the image's. Names are compared in their `normal_form`.
    No mask is of two images.

    Args:
        image_dir, mask_dir: folders.
        counting: entered where one file is wrong; the image is missing in what is returned if that
            takes the error.

    Returns:
        [(name of the image without ending, name of the image, name of its mask or None)], sorted,
        and the names of the masks that are of no image.

    Raises:
        FileNotFoundError: a folder or all images are missing, or no mask is of an image.
        ValueError: both folders are one, or hold two files that differ in their ending only; an
            image has several masks.
    """
    images, masks = _by_stem(image_dir, counting), _by_stem(mask_dir, counting)
    if not images:
        raise FileNotFoundError(f"{image_dir} has no images ({', '.join(IMAGE_TYPES)})")
    if os.path.realpath(image_dir) == os.path.realpath(mask_dir):
        raise ValueError(
            f"the folder of images and that of masks are both {image_dir}: images and masks must "
            f"be in two folders, see {option_or_argument('--masks', 'mask_dir')}"
        )
    left = dict(masks)
    found = {stem: left.pop(stem) for stem in images if stem in left}
    by_name: dict[str, list[str]] = {}  # {what the name of an image may be: names of masks}
    for stem in left:
        for base in _image_names_of(stem):
            by_name.setdefault(base, []).append(stem)
    several: set[str] = set()
    for stem in images:
        candidates = [one for one in by_name.get(normal_form(stem), ()) if one in left]
        if stem in found or not candidates:
            continue
        names = [left.pop(one) for one in candidates]
        if len(names) > 1:
            several.add(stem)
            with counting():
                raise ValueError(
                    f"{mask_dir} has several masks of {images[stem]}, {some(names)}: all but one "
                    "must go"
                )
        found[stem] = names[0]
    if not found:
        first = next(iter(images))
        raise FileNotFoundError(
            f"no file in the folder of masks {mask_dir} has the name of an image of {image_dir}: "
            f"the mask of {images[first]} should be "
            f"{expected_mask(first)}; there "
            + (f"is {some(masks.values(), 3)}" if masks else "are no image files")
            + hint_of_case(first, masks.values())
        )
    pairs = [(stem, name, found.get(stem)) for stem, name in images.items() if stem not in several]
    return pairs, list(left.values())


def expected_mask(stem: str) -> str:
    """Words for what the mask of an image may be called."""
    return f"{stem}.png or {stem}_mask.png"


def hint_of_case(stem: str, masks: Iterable[str]) -> str:
    """Words for masks whose names differ from an image's in upper and lower case only, or ""."""
    wanted = folded(stem)
    near = [
        name
        for name in masks
        if any(folded(base) == wanted for base in _image_names_of(os.path.splitext(name)[0]))
    ]
    return (
        f". There is {some(near, 3)}, which differs in upper and lower case: rename the image or "
        "the mask"
        if near
        else ""
    )


def _image_names_of(stem):
    """What the image of a mask may be called, in `normal_form`: as the mask, then without each of
    the words at its end.
    """
    names = [normal_form(stem)]
    while (shorter := _MASK_WORD.sub("", names[-1])) not in (names[-1], ""):
        names.append(shorter)
    return names


def _by_stem(folder, counting):
    """{name without its ending: name} of the image files in a folder, sorted."""
    found: dict[str, str] = {}
    for name in image_files(folder):
        other = found.setdefault(os.path.splitext(name)[0], name)
        if other == name:
            continue
        with counting():
            raise ValueError(
                f"{folder} has {other} and {name}: images and masks belong together by their names "
                "without the ending, so that one of the two must go"
            )
    return found

"""Arguments about the data: where they are, their format, and how image files are read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mrcnn.common.json_files import parse_once
from mrcnn.config import Config
from mrcnn.data.cache.layout import is_cache
from mrcnn.data.formats import FORMATS, find_format, open_dataset
from mrcnn.data.formats.coco import CROWDS
from mrcnn.data.images import limit_pixels

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset


def positive(text: str) -> int:
    """An int of at least 1, of an argument that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """The annotated images."""
    parser.add_argument(
        "dataset", help="annotation file, or folder with annotations and images, or of a cache"
    )
    parser.add_argument(
        "--format",
        default="auto",
        choices=("auto", *FORMATS),
        help="of the annotations (default: told by their contents)",
    )
    parser.add_argument(
        "--subset",
        metavar="NAME",
        help="part of the data: a folder of this name in DATASET, or the "
        "annotation file that has it in its name, such as train or val",
    )
    parser.add_argument(
        "--class-attribute",
        metavar="NAME",
        help="region attribute of VIA json that holds the class, where there are several",
    )
    parser.add_argument(
        "--crowds",
        choices=CROWDS,
        help="what the annotations of COCO json with iscrowd 1 are: ignored, neither learned nor "
        "missed, or objects like all others; CVAT writes iscrowd 1 for every brush mask "
        "(default: ignored)",
    )
    parser.add_argument(
        "--boxes-as-masks",
        action="store_true",
        default=None,
        help="take the box of an annotation of COCO json that has no segmentation as its mask "
        "(default: such annotations are left out)",
    )
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        help="folder of the images, where COCO, VIA or labelme json does not lie beside them",
    )
    parser.add_argument(
        "--skip-missing",
        action="store_true",
        help="leave out images that are not there, or that have no mask file, with a count "
        "(default: an error)",
    )
    parser.add_argument(
        "--split-pieces",
        action="store_true",
        help="of mask files: make an object of each connected piece, where all objects of a mask "
        "have one value",
    )


@parse_once()
def open_data(
    args: argparse.Namespace,
    classes: Sequence[str] | None = None,
    path: str | None = None,
    subset: str | None = None,
    other_classes: bool = False,
    collect_errors: bool = False,
) -> Dataset:
    """The prepared Dataset of `add_dataset`'s arguments.

    Args:
        args: of the command line.
        classes: names, or None for all.
        path: other data, of which ``subset`` is a part; --subset says nothing of them.
        subset: of the arguments' own data, in place of --subset.
        other_classes: whether classes that ``classes`` lacks follow them; else they are left out.
        collect_errors: whether images and objects that cannot be read are counted, where the
            format can; else the first one is an error.
    """
    if path is None:
        path, subset = args.dataset, subset or args.subset
    options = {
        name: value
        for name in _FORMATS_OF
        if (value := getattr(args, name, None)) not in (None, False)
    }
    if is_cache(os.path.join(path, subset or "")):
        _check_options(options, "cache", os.path.join(path, subset or ""))
        return _open_cache(os.path.join(path, subset or ""), classes)
    if options or collect_errors:
        found, place = find_format(path, args.format, subset)
        _check_options(options, found, place)
        if collect_errors and found in ("coco", "via", "labelme"):
            options["collect_errors"] = True
    return open_dataset(
        path,
        format=args.format,
        subset=subset,
        image_dir=args.images,
        classes=classes,
        other_classes=other_classes,
        **options,
    )


# The arguments that some formats have alone: {name: (formats, what they are)}.
_FORMATS_OF = {
    "class_attribute": (("via",), "VIA json"),
    "crowds": (("coco",), "COCO json"),
    "boxes_as_masks": (("coco",), "COCO json"),
    "split_pieces": (("id_masks", "object_masks"), "mask files"),
    "skip_missing": (tuple(FORMATS), "the formats with files of their own"),
}


def _check_options(options, found, place):
    """Refuse arguments of another format than the data have."""
    for name in options:
        formats, what = _FORMATS_OF[name]
        if found not in formats:
            raise ValueError(
                f"--{name.replace('_', '-')} is of {what}, and {place} is "
                + (
                    "a cache: give it to the command that writes the cache"
                    if found == "cache"
                    else f"of the format {found}"
                )
            )


def _open_cache(folder, classes):
    from mrcnn.data.cache.dataset import RecordDataset

    dataset = RecordDataset(folder)
    if classes is not None and list(classes) != list(dataset.class_names[1:]):
        raise ValueError(
            f"the cache {folder} is of the classes {', '.join(dataset.class_names[1:])}, not of "
            f"{', '.join(classes)}: write it again with --classes"
        )
    return dataset


def add_image_range(parser: argparse.ArgumentParser) -> None:
    """What is black and white in images of more than 8 bits."""
    parser.add_argument(
        "--image-range",
        nargs=2,
        type=float,
        metavar=("BLACK", "WHITE"),
        help="values of black and white in images of more than 8 bits, such as 0 4095 for 12 bits "
        "in 16: IMAGE_RANGE (default: of the settings, else what the file says or the whole 16 "
        "bits)",
    )


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """The largest image files that are read."""
    parser.add_argument(
        "--max-pixels",
        type=positive,
        metavar="N",
        help="most pixels of an image file, against files that claim to be huge: IMAGE_MAX_PIXELS "
        f"(default: {Config.IMAGE_MAX_PIXELS:,})",
    )


def use_max_pixels(settings: dict[str, Any]) -> None:
    """Let the data be opened with IMAGE_MAX_PIXELS, before there is a Config."""
    count = settings.get("IMAGE_MAX_PIXELS", Config.IMAGE_MAX_PIXELS)
    if isinstance(count, int) and count > 0:  # else the Config refuses it
        limit_pixels(count)

"""Arguments about the data: where they are, their format, and how image files are read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mrcnn.common.files import file_identity
from mrcnn.common.json_files import parse_once
from mrcnn.common.words import renamed_options
from mrcnn.config import Config
from mrcnn.config.classes import class_ids
from mrcnn.data.cache.layout import is_cache
from mrcnn.data.formats import FORMATS, find_format, open_dataset
from mrcnn.data.formats.coco import CROWDS
from mrcnn.data.formats.files import image_files, json_files
from mrcnn.data.formats.regions import CLASS_OF_ALL
from mrcnn.data.formats.registry import Annotations, SeveralAnnotations
from mrcnn.data.images import limit_pixels

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset


def positive(text: str) -> int:
    """An int of at least 1, of an argument that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def value_of_class(text: str) -> tuple[int, int]:
    """(255, 1) of "255=1": a value of label maps and the number of its class."""
    value, _, number = text.partition("=")
    if not (value.isdecimal() and number.isdecimal()):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no value of label maps and its class: write VALUE=CLASS, such as 255=1"
        )
    return int(value), int(number)


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
        help="folder of the images, where COCO, VIA or labelme json does not lie beside them, or "
        "of --masks, where DATASET is not this folder",
    )
    parser.add_argument(
        "--masks",
        metavar="FOLDER",
        help="folder of mask files, one of ids for each image of DATASET, where it has another "
        "name than those that are found: images and masks, img and label and their like; a mask "
        "has the name of its image, or that with _mask, _gt, _label or the like",
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
    parser.add_argument(
        "--label-ids",
        action="extend",
        nargs="+",
        type=value_of_class,
        metavar="VALUE=CLASS",
        help="what the values of label maps mean: classes by number as they are listed, from 1 on, "
        "0 for the background; 255=1 of masks of 0 and 255 (default: each is the number of its "
        "class, and 255 void)",
    )
    parser.add_argument(
        "--label-void",
        action="extend",
        nargs="+",
        type=int,
        metavar="VALUE",
        help="values of label maps that are void, neither learned nor measured, beside 255",
    )


# The options that some formats, or all but caches, have alone: {name in the arguments: (argument of
# `open_dataset`, formats, what they are)}.
_TAKEN_BY = {
    "format": ("format", tuple(FORMATS), "annotation files and folders of masks"),
    "class_attribute": ("class_attribute", ("via",), "VIA json"),
    "crowds": ("crowds", ("coco",), "COCO json"),
    "boxes_as_masks": ("boxes_as_masks", ("coco",), "COCO json"),
    "images": (
        "image_dir",
        ("coco", "via", "labelme"),
        "COCO, VIA and labelme json and of --masks",
    ),
    "masks": ("mask_dir", ("id_masks",), "mask files"),
    "split_pieces": ("split_pieces", ("id_masks", "object_masks"), "mask files"),
    "label_ids": ("ids", ("labels",), "label maps (--format labels)"),
    "label_void": ("void", ("labels",), "label maps (--format labels)"),
    "skip_missing": ("skip_missing", tuple(FORMATS), "the formats with files of their own"),
}
_CACHE = "cache"  # in place of a format's name


class Place(NamedTuple):
    """Where one of the data sets of a command is."""

    path: str
    subset: str | None = None
    images: str | None = None  # folder of the images, where that is given
    masks: str | None = None  # folder of the mask files, likewise
    options: Mapping[str, str] = {}  # {option of the command's own data: the one for this place}


def own_place(args: argparse.Namespace, subset: str | None = None) -> Place:
    """That of `add_dataset`'s arguments, or of a part of them."""
    return Place(args.dataset, subset or args.subset, args.images, args.masks)


# In place of the options of `add_dataset`, those for the data of --val.
VAL_OPTIONS = {"--subset": "--val-subset", "--images": "--val-images", "--masks": "--val-masks"}


def add_val(parser: argparse.ArgumentParser) -> None:
    """A second data set, of which `val_place` is the place."""
    parser.add_argument("--val", metavar="DATASET", help="validation data in another place")
    parser.add_argument(
        "--val-subset",
        metavar="NAME",
        help="part of the data, or of those of --val, to validate on",
    )
    parser.add_argument(
        "--val-images",
        metavar="FOLDER",
        help="as --images, of the data of --val (default: --images, where no masks are given)",
    )
    parser.add_argument("--val-masks", metavar="FOLDER", help="as --masks, of the images of --val")


def own_val_place(args: argparse.Namespace, subset: str) -> Place:
    """The part of `add_dataset`'s data that is validated on."""
    options = {"--subset": VAL_OPTIONS["--subset"]}
    return own_place(args, subset)._replace(options=options)


def val_place(args: argparse.Namespace) -> Place:
    """That of `add_val`'s arguments."""
    images = args.val_images
    if images is None and not (args.masks or args.val_masks):  # which have images of their own
        images = args.images
    return Place(args.val, args.val_subset, images, args.val_masks, VAL_OPTIONS)


@parse_once()
def open_data(
    args: argparse.Namespace,
    classes: Sequence[str] | None = None,
    other_classes: bool = False,
    collect_errors: bool = False,
) -> Dataset:
    """The prepared Dataset of `add_dataset`'s arguments, of a command that has this one alone.

    Args:
        args: of the command line.
        classes: names, or None for all.
        other_classes: whether classes that ``classes`` lacks follow them; else they are left out.
        collect_errors: whether images and objects that cannot be read are counted; else the first
            one is an error.
    """
    place = own_place(args)
    require_data(args, [place])
    return open_place(args, place, classes, other_classes, collect_errors)


@parse_once()
def open_place(
    args: argparse.Namespace,
    place: Place,
    classes: Sequence[str] | None = None,
    other_classes: bool = False,
    collect_errors: bool = False,
) -> Dataset:
    """The prepared Dataset in a place, with those of the options that its format takes; the other
    arguments are those of `open_data`.
    """
    found = find_annotations(args, place)
    if found.format == _CACHE:
        from mrcnn.data.cache.dataset import RecordDataset

        return RecordDataset(found.place, classes, other_classes)
    options: dict[str, Any] = {
        argument: value
        for name, (argument, _, _) in _TAKEN_BY.items()
        if (value := _given(args, place, name)) is not None and _takes(found.format, place, name)
    }
    if "ids" in options:
        options["ids"] = dict(options["ids"])
    if collect_errors:
        options["collect_errors"] = True
    options["format"] = found.format
    with renamed_options(place.options):
        return open_dataset(
            place.path,
            subset=place.subset,
            classes=classes,
            other_classes=other_classes,
            **options,
        )


@parse_once()
def open_asked(args: argparse.Namespace, place: Place) -> Dataset:
    """The prepared Dataset in a place, with the classes of --classes, or with all.

    Raises:
        ValueError: a name of --classes that is none of the data, which would be a class without
            objects, besides its causes in `open_place`.
    """
    dataset = open_place(args, place)
    if not args.classes:
        return dataset
    if dataset.class_names[1:] != [CLASS_OF_ALL]:  # which stands for any name
        class_ids(args.classes, dataset.class_names)
    return open_place(args, place, args.classes)


@parse_once()
def require_data(args: argparse.Namespace, places: Sequence[Place]) -> None:
    """Make sure that there are data of a known format in every place, and that each option about
    them is of one of these formats; before weights are downloaded.

    Raises:
        FileNotFoundError, ValueError: as `find_format`.
        ValueError: naming an option that no data set takes, and what the data sets are.
    """
    found = [(place, find_annotations(args, place)) for place in places]
    for name, (_, _, what) in _TAKEN_BY.items():
        asked: dict[str, list[tuple[Place, Annotations]]] = {}  # {option: what it is given for}
        for place, data in found:
            if _given(args, place, name) is not None:
                asked.setdefault(_option(args, place, name), []).append((place, data))
        for option, sets in asked.items():
            if not any(_takes(data.format, place, name) for place, data in sets):
                raise ValueError(_not_taken(option, what, [data for _, data in sets]))


def require_no_data(
    args: argparse.Namespace, place: Place, dataset: Dataset, outputs: Sequence[str], option: str
) -> None:
    """Make sure that no file that will be written is one of the data, by whatever links.

    Args:
        args: of the command line.
        place: of the data.
        dataset: what is there.
        outputs: paths that will be written or replaced.
        option: what names them, for the message.

    Raises:
        ValueError: naming the file.
    """
    there = {file_identity(path): path for path in outputs if os.path.isfile(path)}
    if not there:
        return
    for path in _files_of(find_annotations(args, place), dataset):
        if (output := there.get(file_identity(path))) is not None:
            raise ValueError(
                f"{option} would replace {output}, which is a file of the data: give another path"
            )


def _files_of(found: Annotations, dataset: Dataset) -> Iterator[str]:
    """The paths of a data set's annotations, images and masks; some may be missing."""
    if found.format == _CACHE:
        yield from (entry.path for entry in os.scandir(found.place))
    elif found.format == "labelme":  # also files that cannot be read
        yield from json_files(found.place)
    yield found.place
    folders = set() if found.image_dir is None else {found.image_dir}
    for info in dataset.image_info:
        for name in ("path", "annotations", "label_path", "mask_path"):
            if info.get(name) is not None:
                yield os.fspath(info[name])
                folders.add(os.path.dirname(info[name]) or os.curdir)
        if info.get("mask_dir") is not None:
            folders.add(info["mask_dir"])
    for folder in filter(os.path.isdir, folders):  # images that were left out are there too
        yield from (os.path.join(folder, name) for name in image_files(folder))


def _not_taken(option, what, found):
    """Words for an option of ``what`` that is given for other annotations."""
    sets = dict.fromkeys((data.format, data.place) for data in found)
    said = " and ".join(
        f"{where} is " + ("a cache" if format == _CACHE else f"of the format {format}")
        for format, where in sets
    )
    in_caches = any(format == _CACHE for format, _ in sets)
    return f"{option} is of {what}, and {said}" + (
        ": give it to the command that writes the cache" if in_caches else ""
    )


def _given(args, place, name):
    """The value of an option for the data in a place; None where it is not given."""
    value = getattr(place if name in Place._fields else args, name, None)
    return None if value is False or (name, value) == ("format", "auto") else value


def _option(args, place, name):
    """The option that gives the data in a place a value: one of their own or that of all data."""
    option = f"--{name.replace('_', '-')}"
    of_all = _given(args, place, name) == getattr(args, name, None)
    return option if of_all else place.options.get(option, option)


def _takes(format, place, name):
    """Whether an option is of a format; a folder of masks has a folder of images."""
    return format in _TAKEN_BY[name][1] or (
        name == "images" and format == "id_masks" and place.masks is not None
    )


def find_annotations(args: argparse.Namespace, place: Place) -> Annotations:
    """What annotations are in a place; those of a cache have the format "cache".

    Raises:
        FileNotFoundError, ValueError: as `find_format`.
    """
    if os.path.exists(place.path) and not (os.path.isfile(place.path) or os.path.isdir(place.path)):
        raise ValueError(
            f"{place.path} is a device or a pipe, and annotations are read from files: write its "
            "contents to a file first"
        )
    folder = os.path.join(place.path, place.subset or "")
    if is_cache(folder):
        return Annotations(_CACHE, folder)
    # other formats say themselves where the images are; `require_data` refuses the option
    more = (place.masks, None if place.masks is None else place.images)
    with renamed_options(place.options):
        if place.path != args.dataset:  # --format is of that, of others where they leave a choice
            try:
                return find_format(place.path, "auto", place.subset, *more)
            except SeveralAnnotations:
                if args.format == "auto":
                    raise
        return find_format(place.path, args.format, place.subset, *more)


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

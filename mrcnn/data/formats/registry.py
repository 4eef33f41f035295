"""All formats of annotations: how each is opened (`FORMATS`), and which one a file has."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mrcnn.common.files import AnyPath
from mrcnn.common.json_files import read_json
from mrcnn.common.words import option_or_argument, some
from mrcnn.data.formats.coco import CocoJson
from mrcnn.data.formats.files import json_files, near_miss
from mrcnn.data.formats.label_layouts import find_label_maps, folders_of_list
from mrcnn.data.formats.label_maps import LabelMaps
from mrcnn.data.formats.labelme import Labelme
from mrcnn.data.formats.mask_pairs import PARTS, find_pairs, has_images, image_folders, is_part
from mrcnn.data.formats.mask_png import MaskPng
from mrcnn.data.formats.regions import CLASS_OF_ALL
from mrcnn.data.formats.unread import (
    has_bare_images,
    unread_file,
    unread_folder,
    unread_json,
    what_is_read,
)
from mrcnn.data.formats.via import Via

PASCAL_BORDER = (255,)  # around each object in SegmentationObject, and what is too difficult


# === Opening: (place, image_dir, classes, options) -> Dataset ===


def _open_coco(path, image_dir, classes, options):
    dataset = CocoJson()
    # images without an object of these classes are part of the data all the same, and so are
    # classes without an object, as in the other formats
    dataset.load_coco_json(
        path, image_dir, class_ids=classes, **{"keep_empty": True, "allow_absent": True, **options}
    )
    return dataset


def _open_via(path, image_dir, classes, options):
    dataset = Via()
    dataset.load_via(path, image_dir, classes=classes, **options)
    return dataset


def _open_labelme(folder, image_dir, classes, options):
    dataset = Labelme()
    dataset.load_labelme(folder, classes=classes, image_dir=image_dir, **options)
    return dataset


def _open_id_masks(masks, image_dir, classes, options):
    ignore = PASCAL_BORDER if "SegmentationObject" in Path(masks).parts else ()
    dataset = MaskPng()
    dataset.load_id_masks(
        image_dir, masks, _only(classes), **{"ignore": ignore, **_without_others(options)}
    )
    return dataset


def _open_object_masks(folder, image_dir, classes, options):
    dataset = MaskPng()
    dataset.load_object_masks(folder, _only(classes), **_without_others(options))
    return dataset


def _open_labels(place, image_dir, classes, options):
    dataset = LabelMaps()
    if os.path.isfile(place):  # VOC's list of a part
        images, labels = folders_of_list(place)
        dataset.load(image_dir or images, labels, classes=classes, listed=place, **options)
    else:
        dataset.load(image_dir, place, classes=classes, **options)
    return dataset


FORMATS = {
    "coco": _open_coco,
    "via": _open_via,
    "labelme": _open_labelme,
    "id_masks": _open_id_masks,
    "object_masks": _open_object_masks,
    "labels": _open_labels,
}


def _only(classes):
    if classes is not None and len(classes) != 1:
        raise ValueError(
            "masks have no classes, so all objects are of one: "
            + option_or_argument("the classes asked for are", "classes is")
            + f" {classes!r}"
        )
    return CLASS_OF_ALL if classes is None else classes[0]


def _without_others(options):
    """The options without other_classes: masks are of one class."""
    return {name: value for name, value in options.items() if name != "other_classes"}


# === Telling ===


class Annotations(NamedTuple):
    """Annotations that were found."""

    format: str
    # the file or folder to open; of id_masks and labels the folder of the masks, or VOC's list
    place: str
    image_dir: str | None = None  # of id_masks and labels: the folder of their images


class MissingPart(FileNotFoundError):
    """The part of the data that is asked for is not there, or has images without annotations."""


class SeveralAnnotations(ValueError):
    """Of all that may be opened in a folder, one has to be chosen, such as by its format."""


def find_format(
    path: AnyPath,
    format: str = "auto",
    subset: str | None = None,
    mask_dir: AnyPath | None = None,
    image_dir: AnyPath | None = None,
) -> Annotations:
    """The name of a format, and the file or folder to open.

    Args:
        path, format, subset, mask_dir, image_dir: as `open_dataset` has them.

    Raises:
        FileNotFoundError, ValueError: as `open_dataset`; of these `MissingPart` where there is no
            such ``subset``, and `SeveralAnnotations`.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        folder, name = os.path.split(os.path.normpath(path))
        raise FileNotFoundError(
            f"{path} is missing: expected an annotation file or a folder with one"
            + near_miss([folder or os.curdir], name)
        )
    if not (os.path.isfile(path) or os.path.isdir(path)):
        raise ValueError(
            f"{path} is a pipe or a device: expected an annotation file or a folder with one"
        )
    if mask_dir is not None:
        return _given_masks(path, format, subset, os.fspath(mask_dir), image_dir)
    found = (
        _format_of_file(path, format, subset)
        if os.path.isfile(path)
        else _format_of_folder(path, format, subset)
    )
    if image_dir is not None and found.format in ("id_masks", "object_masks", "labels"):
        more = f", or give the folder of the masks too with {_masks_option()}"
        raise ValueError(
            f"a folder of images is given with {_images_option()}, {os.fspath(image_dir)}, but "
            f"the format {found.format} of {found.place} says itself where its images are: leave "
            f"it out{more if found.format != 'object_masks' else ''}"
        )
    return found


def _images_option():
    return option_or_argument("--images", "image_dir")


def _masks_option():
    return option_or_argument("--masks", "mask_dir")


def _format_of_file(path, format, subset):
    if subset is not None:
        raise ValueError(
            option_or_argument("the part asked for", "subset")
            + f" is {subset!r}, but {path} is a file: give the folder above, or no part of it"
        )
    if format in ("id_masks", "object_masks"):
        raise ValueError(f"{path} is a file: the format {format} is a folder of images and masks")
    if format == "auto" and (unread := unread_file(path)):
        raise ValueError(f"{path} is no annotation file that is read here. {unread}")
    if format == "labels":
        return Annotations("labels", path, folders_of_list(path)[0])
    found = json_format(path) if format == "auto" else format
    if found is None:
        raise ValueError(f"{path} is none of the annotation files known here: {what_is_read()}")
    return Annotations(found, (os.path.dirname(path) or os.curdir) if found == "labelme" else path)


def _format_of_folder(path, format, subset):
    places = list(_places(path, subset, format))
    wanted = [place for place in places if format in ("auto", place.format)]
    if not wanted:
        of = f" of {subset!r}" if subset else ""
        known = "" if format == "auto" else f" as {format}"
        inner = os.path.join(path, subset or "")
        why = (
            f": there is {places[0].format} in {places[0].place}"
            if places
            else _subsets(path, subset, format)
            or f". {unread_folder(inner if os.path.isdir(inner) else path)}"
        )
        missing = subset is not None and not places and _is_bare(path, subset)
        error = MissingPart if missing else ValueError
        raise error(f"{path} has no annotations{of} that are known{known}{why}")
    if len(wanted) > 1:
        raise SeveralAnnotations(
            f"{path} has several annotations, {', '.join(found.place for found in wanted)}: give "
            "one of the files, "
            + option_or_argument("--format, --subset", "a format, a subset")
            + f" or the folder of the masks with {_masks_option()}"
        )
    return wanted[0]


def _given_masks(path, format, subset, masks, image_dir):
    """The `Annotations` of a folder of masks that is named.

    The images are in a folder that is named too or in ``path``: there, in a folder with one of the
    usual names, or in the part of the two that ``subset`` is. The masks may lie in such parts.
    """
    option = f"a folder of masks is given with {_masks_option()}, {masks}"
    if format not in ("auto", "id_masks", "labels"):
        raise ValueError(
            f"{option}, which the format {format} does not take: only id_masks and labels do"
        )
    if os.path.isfile(path):
        raise ValueError(
            f"{option}, but {path} is a file: masks go with a folder of images, in place of an "
            "annotation file"
        )
    if not os.path.isdir(masks):
        folder, name = os.path.split(os.path.normpath(masks))
        raise FileNotFoundError(
            f"{option}, which is no folder{near_miss([folder or os.curdir], name)}"
        )
    above = path if image_dir is None else os.fspath(image_dir)
    if subset is None:
        places = [above, *image_folders(above)]
    else:
        folders = [above, *image_folders(above)]
        inner, *parts = [os.path.join(folder, subset) for folder in folders]
        if not any(map(os.path.isdir, (inner, *parts))):
            raise MissingPart(
                f"{option}, but {above} has no folder {subset!r}{near_miss(folders, subset)}"
            )
        places = [inner, *image_folders(inner), *parts]
        part = os.path.join(masks, subset)
        masks = part if os.path.isdir(part) else masks
    images = next((place for place in places if has_images(place)), None)
    if images is None:
        raise FileNotFoundError(
            f"{option}, but {places[0]} has no images to go with them: name their folder with "
            f"{_images_option()} or, of data in parts, the part with "
            + option_or_argument("--subset", "subset")
        )
    return Annotations("labels" if format == "labels" else "id_masks", masks, images)


def _places(folder: str, subset: str | None, format: str) -> Iterator[Annotations]:
    """All annotations in the usual places of a folder; label maps, which merge the objects of a
    class, only where they are asked for.
    """
    inner = os.path.join(folder, subset) if subset else folder
    annotations = os.path.join(folder, "annotations")
    pairs = find_pairs(folder, subset) if subset else []
    labels = find_label_maps(folder, subset) if format == "labels" else []
    if os.path.isdir(inner):
        yield from _annotations_in(inner, format)
    elif not os.path.isdir(annotations) and not pairs and not labels:
        raise MissingPart(
            f"{folder} has no folder {subset!r} and no folder 'annotations'"
            f"{near_miss([folder], str(subset))}"
        )
    yield from (Annotations("id_masks", masks, images) for images, masks in pairs)
    for path in json_files(annotations):
        if subset is None:
            wanted = _coco_part(path)[1]
        else:  # other tools' have any name
            wanted = _is_of(path, subset) and (_coco_part(path)[1] or json_format(path) == "coco")
        if wanted:
            yield Annotations("coco", path)
    yield from (Annotations("labels", maps, images) for images, maps in labels)


def _coco_part(path):
    """Which part a file of the folder "annotations" is of, and whether COCO names it so."""
    name = os.path.splitext(os.path.basename(path))[0].lower()
    return name.removeprefix("instances_"), name.startswith("instances_")


def _is_of(path, subset):
    part, _ = _coco_part(path)
    return subset.lower() in (part, part.rstrip("0123456789"))  # COCO adds the year


def _is_bare(folder, subset):
    """Whether there are no annotations for a part, also none that cannot be read."""
    inner = os.path.join(folder, subset)
    return not any(
        _is_of(path, subset) for path in json_files(os.path.join(folder, "annotations"))
    ) and (not os.path.isdir(inner) or has_bare_images(inner))


def _annotations_in(folder, format):
    """The annotations that lie in this folder itself."""
    for path in json_files(folder):
        found = json_format(path)
        if found == "labelme":  # as the rest of them will be
            yield Annotations("labelme", folder)
            break
        if found:
            yield Annotations(found, path)
    for images, masks in find_pairs(folder):
        yield Annotations("id_masks", masks, images)
    both = [
        place
        for place in (os.path.join(folder, entry) for entry in sorted(os.listdir(folder)))
        if all(os.path.isdir(os.path.join(place, name)) for name in ("images", "masks"))
    ]
    named = [place for place in both if os.path.basename(place).lower() not in PARTS]
    parts = len(both) > 1 and all(map(is_part, both))
    if named and (format == "object_masks" or not parts):
        yield Annotations("object_masks", folder)


def _subsets(path, subset, format):
    """Words for the parts that would do as a subset, where none was given."""
    if subset is not None:
        return ""
    names = {
        name
        for place in (path, *image_folders(path), os.path.join(path, "leftImg8bit"))
        if os.path.isdir(place)
        for name in os.listdir(place)
        if os.path.isdir(os.path.join(place, name))
    }
    found = [name for name in sorted(names) if _has_part(path, name, format)]
    return (
        f"; {some(found)} {'has' if len(found) == 1 else 'have'} some: give "
        + option_or_argument("--subset", "a subset")
        if found
        else ""
    )


def _has_part(path, name, format):
    try:
        return next(_places(path, name, format), None) is not None
    except FileNotFoundError:  # of a folder within that of the images
        return False


def json_format(path: AnyPath) -> str | None:
    """The format of a json file: "coco", "via" or "labelme"; None for another file."""
    data = read_json(path, "an annotation file")
    if unread_json(data) is not None or not isinstance(data, dict):
        return None
    if {"images", "categories"} <= set(data):
        return "coco"
    if {"shapes", "imagePath"} <= set(data):
        return "labelme"
    if "_via_img_metadata" in data or any(
        # VIA's reader tells of the others, and `check` counts them
        isinstance(entry, dict) and {"filename", "regions"} <= set(entry)
        for entry in data.values()
    ):
        return "via"
    return None

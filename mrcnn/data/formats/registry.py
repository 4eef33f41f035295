"""All formats of annotations: how each is opened (`FORMATS`), and which one a file has."""

import os

from mrcnn.common.files import AnyPath
from mrcnn.common.json_files import read_json
from mrcnn.common.words import option_or_argument
from mrcnn.data.formats.coco import CocoJson
from mrcnn.data.formats.files import json_files
from mrcnn.data.formats.labelme import Labelme
from mrcnn.data.formats.mask_png import MaskPng
from mrcnn.data.formats.regions import CLASS_OF_ALL
from mrcnn.data.formats.via import Via

# folders of images and of their id masks
ID_MASK_FOLDERS = (
    ("PNGImages", "PedMasks"),
    ("images", "masks"),
    ("JPEGImages", "SegmentationObject"),
    ("imgs", "masks"),
    ("image", "mask"),
    ("img", "mask"),
    ("images", "mask"),
    ("image", "masks"),
)
# Names of folders that are parts of a data set, and no images of their own.
PARTS = ("train", "training", "val", "valid", "validation", "test", "testing")
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


def _open_id_masks(folder, image_dir, classes, options):
    _refuse_image_dir(image_dir, "id_masks")
    images, masks = next(pair for pair in ID_MASK_FOLDERS if _has_folders(folder, pair))
    ignore = PASCAL_BORDER if masks == "SegmentationObject" else ()
    dataset = MaskPng()
    dataset.load_id_masks(
        os.path.join(folder, images),
        os.path.join(folder, masks),
        _only(classes),
        **{"ignore": ignore, **_without_others(options)},
    )
    return dataset


def _open_object_masks(folder, image_dir, classes, options):
    _refuse_image_dir(image_dir, "object_masks")
    dataset = MaskPng()
    dataset.load_object_masks(folder, _only(classes), **_without_others(options))
    return dataset


FORMATS = {
    "coco": _open_coco,
    "via": _open_via,
    "labelme": _open_labelme,
    "id_masks": _open_id_masks,
    "object_masks": _open_object_masks,
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


def _refuse_image_dir(image_dir, name):
    if image_dir is not None:
        raise ValueError(
            f"image_dir is {image_dir!r}, but the format {name} says itself where its images are"
        )


# === Telling ===


def find_format(path: AnyPath, format: str = "auto", subset: str | None = None) -> tuple[str, str]:
    """The name of a format, and the file or folder to open.

    Args:
        path, format, subset: as `open_dataset` has them.

    Raises:
        FileNotFoundError, ValueError: as `open_dataset`.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"{path} is missing: expected an annotation file or a folder with one"
        )
    if os.path.isfile(path):
        if subset is not None:
            raise ValueError(
                option_or_argument("the part asked for", "subset")
                + f" is {subset!r}, but {path} is a file: give the folder above, or no part of it"
            )
        if format in ("id_masks", "object_masks"):
            raise ValueError(
                f"{path} is a file: the format {format} is a folder of images and masks"
            )
        found = json_format(path) if format == "auto" else format
        if found is None:
            raise ValueError(
                f"{path} is none of the annotation files known here: COCO json ('images', "
                "'annotations', 'categories'), VIA 1 or 2, labelme"
            )
        return (found, os.path.dirname(path) or os.curdir) if found == "labelme" else (found, path)
    places = list(_places(path, subset))
    wanted = [place for place in places if format in ("auto", place[0])]
    if not wanted:
        raise ValueError(
            f"{path} has no annotations{f' of {subset!r}' if subset else ''} that are "
            f"known{'' if format == 'auto' else f' as {format}'}: expected one of "
            f"{', '.join(FORMATS)}"
            f"{f'; there is {places[0][0]} in {places[0][1]}' if places else ''}"
            f"{_subsets(path, subset)}"
        )
    if len(wanted) > 1:
        raise ValueError(
            f"{path} has several annotations, {', '.join(place for _, place in wanted)}: give one "
            f"of the files, {option_or_argument('--format or --subset', 'a format or a subset')}"
        )
    return wanted[0]


def _places(folder, subset):
    """(format, file or folder) of all annotations in the usual places of a folder."""
    inner = os.path.join(folder, subset) if subset else folder
    annotations = os.path.join(folder, "annotations")
    if os.path.isdir(inner):
        yield from _annotations_in(inner)
    elif not os.path.isdir(annotations):
        raise FileNotFoundError(f"{folder} has no folder {subset!r} and no folder 'annotations'")
    for path in json_files(annotations):
        name = os.path.splitext(os.path.basename(path))[0].lower()
        part = name.removeprefix("instances_")  # so, with the year, COCO names them
        if (part != name and subset is None) or (
            subset and subset.lower() in (part, part.rstrip("0123456789"))
        ):
            yield "coco", path


def _annotations_in(folder):
    """(format, file or folder) of what lies in this folder itself."""
    for path in json_files(folder):
        found = json_format(path)
        if found == "labelme":  # as the rest of them will be
            yield "labelme", folder
            break
        if found:
            yield found, path
    if any(_has_folders(folder, pair) for pair in ID_MASK_FOLDERS):
        yield "id_masks", folder
    if any(
        _has_folders(os.path.join(folder, entry), ("images", "masks"))
        for entry in sorted(os.listdir(folder))
        if entry.lower() not in PARTS
    ):
        yield "object_masks", folder


def _has_folders(folder, names):
    return all(os.path.isdir(os.path.join(folder, name)) for name in names)


def _subsets(path, subset):
    """Words for the subfolders that would do as a subset, where none was given."""
    found = (
        [
            name
            for name in sorted(os.listdir(path))
            if os.path.isdir(os.path.join(path, name)) and next(iter(_places(path, name)), None)
        ]
        if subset is None
        else []
    )
    return (
        f"; {', '.join(found)} {'has' if len(found) == 1 else 'have'} some: give "
        + option_or_argument("--subset", "a subset")
        if found
        else ""
    )


def json_format(path: AnyPath) -> str | None:
    """The format of a json file: "coco", "via" or "labelme"; None for another file."""
    data = read_json(path, "an annotation file")
    if isinstance(data, dict):
        if {"images", "categories"} <= set(data):
            return "coco"
        if {"shapes", "imagePath"} <= set(data):
            return "labelme"
        entries = data.get("_via_img_metadata", data)
        if (
            isinstance(entries, dict)
            and all(
                isinstance(entry, dict) and {"filename", "regions"} <= set(entry)
                for entry in entries.values()
            )
            and (entries or entries is not data)
        ):
            return "via"
    return None

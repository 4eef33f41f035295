"""Annotations of formats that are not read here: what they look like, and how to convert them."""

import contextlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from mrcnn.common.files import AnyPath
from mrcnn.common.json_files import read_json
from mrcnn.common.words import option_or_argument, some
from mrcnn.data.images import IMAGE_TYPES

# Texts of this file have {masks} and the like where `_with_options` names an option or argument.
_KNOWN = (
    "COCO json ('images', 'annotations', 'categories'), VIA 1 or 2 json, labelme json; or, of a "
    "folder, images and masks in two folders ({masks} names that of the masks) or <id>/images and "
    "<id>/masks"
)
# Files and folders of a folder that are looked at, and of each of its folders the files of one
# ending whose contents are.
MOST_FILES, DEEPEST, LOOKED_INTO = 20_000, 4, 10
# Endings of files that may be annotations, of this format or that, and what others are called.
_MAY_ANNOTATE = (".json", ".jsonl", ".ndjson", ".xml", ".csv", ".txt")
_ABOUT = re.compile(r"(readme|licen[cs]e)\b", re.IGNORECASE)
_START = 4096  # bytes of a text file that tell its format

_TOOL = "export COCO json from the tool that it was annotated in"
_OUTLINES = (
    "annotate outlines and export COCO json, since boxes are no masks (COCO json with boxes alone "
    "is read with {boxes}, each box as a mask)"
)


def _datumaro(name: str, masks: bool = False) -> str:
    """How the package Datumaro converts one of its formats; the masks as run lengths, exactly."""
    mode = " --segmentation-mode mask" if masks else ""
    crowds = " with {crowds}" if masks else ""
    return (
        "convert it with the package Datumaro (pip install 'datumaro[cli]'), datum convert "
        f"-if {name} -i FOLDER -f coco_instances -o coco -- --save-media{mode}, and read the "
        f"folder coco{crowds}"
    )


_FROM_YOLO = (
    f"{_TOOL}; or convert each part with the package supervision, DetectionDataset.from_yolo("
    "images_directory_path=..., annotations_directory_path=..., data_yaml_path=..., "
    "force_masks=True).as_coco(annotations_path='coco.json'), and read that file with the folder "
    "of the images beside it"
)

# {kind: (name, how to convert it)}
FORMATS_NOT_READ = {
    "yolo": ("YOLO", _FROM_YOLO),
    "yolo_outlines": ("YOLO with outlines (YOLO-seg)", _FROM_YOLO),
    "yolo_boxes": ("YOLO with boxes", _OUTLINES),
    "voc": (
        "Pascal VOC xml with boxes",
        f"{_OUTLINES}. The masks of a folder SegmentationObject are read: give the folder that has "
        "it and JPEGImages, or name it with {masks}; those of SegmentationClass, in which objects "
        "of a class that touch are one, with {labels}",
    ),
    "cvat": (
        "CVAT xml",
        f"export the task from CVAT as COCO 1.0; or, of CVAT for images, {_datumaro('cvat')}",
    ),
    "supervisely": (
        "Supervisely json",
        "run its app Export to COCO, and read the COCO json that it writes",
    ),
    "panoptic": (
        "COCO panoptic json ('segments_info')",
        "COCO publishes instances_*.json of the same images; of other data, "
        + _datumaro("coco_panoptic", masks=True),
    ),
    "cityscapes": (
        "Cityscapes",
        "tools/dataset_converters/cityscapes.py of MMDetection writes COCO json. Its label maps, "
        "in which objects of a class that touch are one, are read with {labels}",
    ),
    "tfrecord": (
        "TFRecord files, such as those of the TensorFlow Object Detection API",
        f"they were written from other annotations: give those, or {_TOOL}",
    ),
    "via_csv": (
        "VIA csv",
        "load it in VIA 2 and choose Annotation, Export Annotations (as json)",
    ),
    "via_3": ("a project of VIA 3", "annotate images with VIA 2, or export COCO json from VIA 3"),
    "lvis": (
        "LVIS (images with 'coco_url' and no 'file_name')",
        "write to each image its 'file_name', the end of its 'coco_url' such as "
        "train2017/000000391895.jpg, and it is COCO json",
    ),
    "datumaro": ("Datumaro json", _datumaro("datumaro")),
    "mots": (
        "MOTS (KITTI MOTS)",
        "lay it out as train/images and train/instances with its classes in labels.txt, and "
        + _datumaro("mots", masks=True),
    ),
    "kitti": (
        "KITTI instance segmentation",
        _datumaro("kitti_segmentation", masks=True),
    ),
    "label_studio": ("Label Studio json", "export the project from Label Studio as COCO"),
}
# What holds no annotations of any format.
_OTHERS = {
    "archive": "This is an archive: unpack it, and give the folder or the annotation file in it",
    "cache": "This is a cache of which the writing was not finished: run the command cache "
    "(write_records) again to resume it",
    "image": "This is an image: give the file of its annotations, or the folder of the images and "
    "their masks",
}


def unread_file(path: AnyPath) -> str:
    """Words for the format of a file that is not read and for how to convert it; "" where the file
    may be read or is unknown.
    """
    kind = _kind_of_file(os.fspath(path), alone=True)
    return unread_advice(kind) if kind else ""


def unread_json(data: Any) -> str | None:
    """The kind, of `FORMATS_NOT_READ`, that the contents of a json file have; None for others."""
    if isinstance(data, list):
        first = data[0] if data else None
        keys = set(first) if isinstance(first, dict) else set()
        return "label_studio" if {"data", "annotations"} <= keys else None
    if not isinstance(data, dict):
        return None
    if {"images", "annotations"} <= set(data):
        if _first_has(data["annotations"], "segments_info"):
            return "panoptic"
        if _first_has(data["images"], "coco_url") and not _first_has(data["images"], "file_name"):
            return "lvis"
    if all(isinstance(data.get(key), list) for key in ("images", "annotations", "categories")):
        return None  # COCO json, whatever else is in it
    if {"project", "config", "file", "metadata"} <= set(data):
        return "via_3"
    if {"categories", "items"} <= set(data):
        return "datumaro"
    if {"objects", "size", "tags"} <= set(data) or (
        {"classes", "tags"} <= set(data) and _first_has(data["classes"], "title")
    ):
        return "supervisely"
    if {"imgHeight", "imgWidth", "objects"} <= set(data):
        return "cityscapes"
    return None


def unread_folder(folder: AnyPath) -> str:
    """Sentences on a folder that no reader takes: what is in it, what that looks like, and how to
    convert it, or what is read.
    """
    paths = list(itertools.islice(_files(os.fspath(folder)), MOST_FILES))
    if not paths:
        return f"It is empty. What is read: {what_is_read()}"
    kind = _kind_of_folder(folder, paths)
    said = f"It has {_counted(paths, os.fspath(folder))}"
    if kind is not None:
        return f"{said}. {unread_advice(kind)}"
    if all(_is_image(path) for path in paths):
        return (
            f"{said}, and no annotations: annotate the outlines of objects, in labelme or in a "
            "tool that exports COCO json. Masks in another folder are named with "
            + _with_options("{masks}")
        )
    return f"{said}. What is read: {what_is_read()}"


def has_bare_images(folder: AnyPath) -> bool:
    """Whether it is a folder of images, and of no file that may hold annotations of any format."""
    paths = list(_files(os.fspath(folder)))
    return (
        any(_is_image(path) for path in paths)
        and not any(
            path.lower().endswith(_MAY_ANNOTATE) and not _ABOUT.match(os.path.basename(path))
            for path in paths
        )
        and _kind_of_folder(folder, paths[:MOST_FILES]) is None
    )


def unread_advice(kind: str) -> str:
    """Words for one of `FORMATS_NOT_READ`: what it is, and how to convert it."""
    if kind in _OTHERS:
        return _OTHERS[kind]
    name, how = FORMATS_NOT_READ[kind]
    return f"This looks like {name}, which is not read: {_with_options(how)}"


def what_is_read() -> str:
    """The formats that are read, in words."""
    return _with_options(_KNOWN)


def _with_options(text):
    return text.format(
        masks=option_or_argument("--masks", "mask_dir"),
        labels=option_or_argument("--format labels", 'format="labels"'),
        boxes=option_or_argument("--boxes-as-masks", "boxes_as_masks=True"),
        crowds=option_or_argument("--crowds objects", 'crowds="objects"'),
    )


def _first_has(items, key):
    first = next(iter(items), None) if isinstance(items, list) else None
    return isinstance(first, dict) and key in first


def _is_image(path):
    return os.path.splitext(path)[1].lower() in IMAGE_TYPES


# === What there is ===


def _files(folder: str) -> Iterator[str]:
    """Paths of the files in a folder and its folders, those of one folder sorted; not hidden."""
    depth = folder.rstrip(os.sep).count(os.sep)
    for place, folders, names in os.walk(folder):
        inner = place.rstrip(os.sep).count(os.sep) - depth < DEEPEST
        folders[:] = sorted(name for name in folders if inner and not name.startswith("."))
        yield from (os.path.join(place, name) for name in sorted(names) if name[0] != ".")


def _counted(paths, folder):
    """Words such as "20 .jpg images, 20 .txt files and data.yaml"."""
    counts = Counter(os.path.splitext(path)[1].lower() for path in paths)
    said = []
    for ending, count in counts.most_common():
        if count == 1:
            (path,) = (one for one in paths if os.path.splitext(one)[1].lower() == ending)
            said.append(os.path.relpath(path, folder))
        else:
            what = "images" if ending in IMAGE_TYPES else "files"
            said.append(f"{count} {ending} {what}" if ending else f"{count} files without ending")
    if len(said) > 5:
        return some(said, 5)
    return " and ".join(filter(None, (some(said[:-1]), *map(some, (said[-1:],)))))


def _kind_of_folder(folder, paths):
    """The kind that the files of a folder are, or None."""
    relative = [os.path.relpath(path, folder).lower().replace(os.sep, "/") for path in paths]
    folders = {part for path in relative for part in path.split("/")[:-1]}
    if any(path.endswith("_instanceids.png") for path in relative):
        return "cityscapes"
    if {"image_2", "instance"} <= folders:
        return "kitti"
    looked_into: Counter[tuple[str, str]] = Counter()
    found = None
    for path in paths:
        place = os.path.dirname(path), os.path.splitext(path)[1].lower()
        looked_into[place] += 1
        kind = _kind_of_file(path) if looked_into[place] <= LOOKED_INTO else None
        if kind not in (None, "yolo"):  # of which only the labels tell what it has
            return kind
        found = found or kind
    if {"instances", "images"} <= folders and any(
        path.endswith("instances/labels.txt") for path in relative
    ):
        return "mots"
    return found


def _kind_of_file(path, alone=False):
    """The kind of a file by its name and contents, or None; ``alone`` if it is not in a folder of
    others, where images and archives say nothing.
    """
    name, ending = os.path.basename(path).lower(), os.path.splitext(path)[1].lower()
    if re.search(r"\.(tf)?records?(-\d+-of-\d+)?$", name):
        return "cache" if re.fullmatch(r"part-\d+-of-\d+\.tfrecord", name) else "tfrecord"
    if alone and ending in (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z"):
        return "archive"
    if _is_image(path):
        return "image" if alone else None
    if not os.path.isfile(path):  # a pipe would be waited for
        return None
    with contextlib.suppress(OSError, ValueError):  # a damaged one says nothing
        if ending == ".json":
            return unread_json(read_json(path, "an annotation file"))
        if ending in (".xml", ".csv", ".txt", ".yaml", ".yml"):
            return _kind_of_text(path, ending)
    return None


def _kind_of_text(path, ending):
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        start = file.read(_START)
    if ending == ".xml":
        if "<annotations>" in start:
            return "cvat"
        return "voc" if re.search(r"<annotation\b", start) else None
    if ending == ".csv":
        return "via_csv" if "region_shape_attributes" in start.split("\n")[0] else None
    if ending in (".yaml", ".yml"):
        names = re.search(r"^names\s*:", start, re.MULTILINE)
        return "yolo" if names and re.search(r"^(train|nc)\s*:", start, re.M) else None
    line = start.strip().split("\n")[0]
    if re.fullmatch(r"\d+ \d+ \d+ \d+ \d+ [!-~]+", line.strip()):
        return "mots"
    number, *shares = line.split() or [""]
    if not number.isdecimal() or not all(re.fullmatch(r"0?\.\d+|[01](\.0*)?", x) for x in shares):
        return None
    if len(shares) == 4:
        return "yolo_boxes"
    return "yolo_outlines" if len(shares) >= 6 and len(shares) % 2 == 0 else None

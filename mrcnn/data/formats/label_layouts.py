"""Folders of images and of label maps as published data sets have them: which files belong
together, and what the values mean.
"""

import contextlib
import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from mrcnn.common.files import AnyPath
from mrcnn.data.formats.files import image_files, near_miss, normal_form
from mrcnn.data.formats.mask_pairs import (
    LABEL_FOLDERS,
    PARTS,
    Counting,
    find_pairs,
    has_images,
    pair_files,
)

Colour: TypeAlias = tuple[int, int, int]  # red, green, blue

# Names that lists of classes have for what is no class, in lower case.
BACKGROUND_NAMES = ("background", "_background_", "__background__", "bg")
VOID_NAMES = ("void", "ignore", "__ignore__", "unlabeled", "unlabelled")

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
# With the ids of files ..._labelIds; those of ..._labelTrainIds count these classes from 0.
CITYSCAPES_IDS = {
    **{"road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17},
    **{"traffic light": 19, "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23},
    **{"person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31},
    **{"motorcycle": 32, "bicycle": 33},
}
_CITYSCAPES_VOID = tuple(set(range(34)) - set(CITYSCAPES_IDS.values()))
# From 0 on; 11 is void.
CAMVID_CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car"),
    *("pedestrian", "bicyclist"),
)

_VOC_FOLDERS = ("segmentationclass", "segmentationclasspng", "segmentationclassaug")
_CITYSCAPES_IMAGE = "_leftImg8bit"
_CITYSCAPES_LABELS = re.compile(r"_gt(?:Fine|Coarse)_label(Train)?Ids\.png$")
_CITYSCAPES_FOLDERS = ("gtFine", "gtCoarse")
_CAMVID_LABELS = "annot"
_CAMVID_FOLDERS = tuple(part + _CAMVID_LABELS for part in PARTS)
_NUMBERED = re.compile(r"(\d+)[:;,=\t ]+(\S.*)")  # a line of a list of names with their values
_ANNOTATIONS = ("annotations", "annotation")  # ADE's, beside images


class Meaning(NamedTuple):
    """What the values of label maps mean."""

    names: Sequence[str]  # of the classes 1, 2 ...
    ids: Mapping[int, int] | None = None  # {value: class, 0 for the background}; None: each its own
    void: Sequence[int] = ()  # values that are void, beside 255
    palette: Mapping[str, Colour] | None = None  # {name: colour}, where a file says so


# === Which folders ===


def find_label_maps(folder: AnyPath, part: str | None = None) -> list[tuple[str, str]]:
    """(folder of images, folder of their label maps or list of names) of all that a folder has.

    Args:
        folder: of the data set.
        part: "train" or the like: a folder of that name in both, or in which both are, or the list
            of it in VOC's ImageSets/Segmentation. None: all.
    """
    folder = os.fspath(folder)
    inner = os.path.join(folder, part) if part else ""
    found = [*_voc(folder, part), *_cityscapes(folder, part or "")]
    if not found:  # beside which VOC has the masks of objects
        found += find_pairs(folder, part or "", (*LABEL_FOLDERS, *_ANNOTATIONS))
    if inner and has_images(inner) and has_images(inner + _CAMVID_LABELS):
        found.append((inner, inner + _CAMVID_LABELS))
    if os.path.isdir(inner):
        found += find_label_maps(inner)
    return found


def _voc(folder, part):
    entries = {name.lower(): name for name in os.listdir(folder)} if os.path.isdir(folder) else {}
    if "jpegimages" not in entries:
        return
    images = os.path.join(folder, entries["jpegimages"])
    for name in _VOC_FOLDERS:
        labels = os.path.join(folder, entries.get(name, name))
        listed = list_of_part(folder, part) if part else labels
        if has_images(labels) and os.path.exists(listed):
            yield images, listed
            if part:
                return


def list_of_part(folder: AnyPath, part: str) -> str:
    """Where VOC has the names of the images of a part."""
    return os.path.join(folder, "ImageSets", "Segmentation", f"{part}.txt")


def folders_of_list(path: AnyPath) -> tuple[str, str]:
    """The folders of images and of label maps of a VOC list of names.

    Raises:
        ValueError: it does not lie where VOC has it.
    """
    root = Path(path).absolute().parent.parent.parent
    found = find_label_maps(root, Path(path).stem)
    if Path(path).suffix != ".txt" or not any(os.path.samefile(path, one) for _, one in found):
        raise ValueError(
            f"{os.fspath(path)} is a file: label maps are in a folder beside that of their images, "
            "or in SegmentationClass with ImageSets/Segmentation/<part>.txt, as in Pascal VOC"
        )
    (images, _), *_ = found
    names = {name.lower(): name for name in os.listdir(root)}
    labels = next(
        place
        for place in (os.path.join(root, names.get(name, name)) for name in _VOC_FOLDERS)
        if has_images(place)
    )
    return images, labels


def _cityscapes(folder, part):
    for name in _CITYSCAPES_FOLDERS:
        images = os.path.join(folder, "leftImg8bit", part).rstrip(os.sep)
        labels = os.path.join(folder, name, part).rstrip(os.sep)
        if not (os.path.isdir(images) and os.path.isdir(labels)):
            continue
        if (part or not set(os.listdir(labels)) & set(PARTS)) and is_cityscapes(labels):
            yield images, labels


def is_cityscapes(labels: AnyPath) -> bool:
    """Whether the files in a folder and its folders have the names of Cityscapes' label maps."""
    return next(_cityscapes_labels(labels), None) is not None


# === Which files ===


class Pair(NamedTuple):
    """An image and its label map."""

    id: str  # the name of the image without its ending
    image: str  # path
    labels: str | None  # path


def label_pairs(
    images: AnyPath,
    labels: AnyPath,
    listed: AnyPath | None = None,
    counting: Counting = contextlib.nullcontext,
) -> tuple[list[Pair], list[str]]:
    """The label map of each image, and the paths of the label maps without an image.

    Args:
        images, labels: folders.
        listed: file with the names of the images, one a line; None: all.
        counting: as of `mask_pairs.pair_files`.

    Raises:
        FileNotFoundError, ValueError: as `mask_pairs.pair_files`; a name that has no image.
    """
    if is_cityscapes(labels):
        pairs, unused = _cityscapes_pairs(images, labels)
    else:
        found, names = pair_files(images, labels, counting)
        pairs = [
            Pair(stem, os.path.join(images, name), mask and os.path.join(labels, mask))
            for stem, name, mask in found
        ]
        unused = [os.path.join(labels, name) for name in names]
        if _is_voc(labels):  # of which the most are for detection alone
            pairs = [pair for pair in pairs if pair.labels or listed]
    return (pairs, unused) if listed is None else (_listed(pairs, listed, images, counting), [])


def _listed(pairs, listed, images, counting):
    by_id = {normal_form(pair.id): pair for pair in pairs}
    chosen = []
    for name in lines_of(listed):
        if (pair := by_id.get(normal_form(name))) is not None:
            chosen.append(pair)
            continue
        with counting():
            raise FileNotFoundError(
                f"{os.fspath(listed)} names {name!r}, which is no image of {os.fspath(images)}"
                f"{near_miss([images], name + '.jpg', 'rename it, or change the list')}"
            )
    return chosen


def _is_voc(labels):
    return os.path.basename(os.path.normpath(labels)).lower() in _VOC_FOLDERS


def _cityscapes_labels(folder) -> Iterator[tuple[str, str, bool]]:
    """(folder, name, whether of train ids) of each label map; the folders sorted."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if found := _CITYSCAPES_LABELS.search(name):
                yield place, name, found[1] is not None


def _cityscapes_pairs(images, labels):
    of_train_ids = all(train for _, _, train in _cityscapes_labels(labels))
    maps = {
        (os.path.relpath(place, labels), _CITYSCAPES_LABELS.sub("", name)): os.path.join(
            place, name
        )
        for place, name, train in _cityscapes_labels(labels)
        if train == of_train_ids
    }
    pairs = []
    for place, folders, _ in os.walk(images):
        folders.sort()
        for name in image_files(place):
            stem = os.path.splitext(name)[0].removesuffix(_CITYSCAPES_IMAGE)
            found = maps.pop((os.path.relpath(place, images), stem), None)
            pairs.append(Pair(stem, os.path.join(place, name), found))
    if not any(pair.labels for pair in pairs):
        raise FileNotFoundError(
            f"no image of {os.fspath(images)} has a label map in {os.fspath(labels)}: that of "
            f"<city>/x{_CITYSCAPES_IMAGE}.png should be <city>/x_gtFine_labelIds.png"
        )
    return pairs, list(maps.values())


# === What the values mean ===


def known_meaning(labels: AnyPath, first: str) -> Meaning | None:
    """What the values of label maps mean, by a list of classes beside them or by the name of their
    folder; None where neither says.

    Args:
        labels: folder.
        first: path of one of the label maps.
    """
    places = [Path(labels).absolute()]
    places.append(places[0].parent)
    if any(place.name.lower() in PARTS for place in places):  # labels/train or train/labels
        places.append(places[1].parent)
    for place in places:
        for name, read in _LISTS.items():
            if (place / name).is_file():
                return read(place / name)
    if _is_voc(labels):
        return Meaning(VOC_CLASSES)
    if found := _CITYSCAPES_LABELS.search(first):
        numbers = range(1, 1 + len(CITYSCAPES_IDS))
        values = range(len(CITYSCAPES_IDS)) if found[1] else CITYSCAPES_IDS.values()
        void = () if found[1] else _CITYSCAPES_VOID
        return Meaning(tuple(CITYSCAPES_IDS), dict(zip(values, numbers)), void)
    if places[0].name.lower() in _CAMVID_FOLDERS:
        count = len(CAMVID_CLASSES)
        return Meaning(CAMVID_CLASSES, {value: value + 1 for value in range(count)}, (count,))
    return None


def lines_of(path: AnyPath) -> list[str]:
    """The lines of a text file that are not empty, without spaces around them.

    Raises:
        ValueError: it is no text in UTF-8.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(path)} is no text in UTF-8: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def names_of_values(names: Sequence[str]) -> list[str]:
    """The names of the values 1, 2 ... of a list that may begin with the background, or what
    labelme has before it.
    """
    names = list(names)
    for others in (VOID_NAMES, BACKGROUND_NAMES):
        if names and names[0].lower() in others:
            names = names[1:]
    return names


def _of_names(path):
    """A name in each line, from that of the value 1 on or with the value before it."""
    lines = lines_of(path)
    return _of_numbered_names(lines) or Meaning(names_of_values(lines))


def _of_numbered_names(lines):
    """The `Meaning` of lines such as "0 background", "1: cat"; None of other ones, as of classes
    whose names begin with numbers.
    """
    found = [_NUMBERED.fullmatch(line) for line in lines]
    named = {int(match[1]): match[2] for match in found if match}
    values = list(named)
    rising = values == sorted(values) and values[:1] in ([0], [1])
    if not rising or not len(lines) == len(named) == len(set(named.values())):
        return None
    background = [
        value
        for value, name in named.items()
        if name.lower() in BACKGROUND_NAMES or (value == 0 and name.lower() in VOID_NAMES)
    ]
    void = [
        value
        for value, name in named.items()
        if name.lower() in VOID_NAMES and value not in background
    ]
    classes = [value for value in named if value not in (*background, *void)]
    ids = {**dict.fromkeys(background, 0), **{value: n for n, value in enumerate(classes, 1)}}
    return Meaning([named[value] for value in classes], ids, void)


def _of_label_map(path):
    """CVAT's: name:red,green,blue:parts:actions."""
    rows = [line.split(":") for line in lines_of(path) if not line.startswith("#")]
    return _of_palette(
        path, [(row[0], (row[1] if len(row) > 1 else "").split(",")) for row in rows]
    )


def _of_table(path):
    """class_dict.csv, with the columns name, r, g, b, which a first line may name."""
    rows = [row for row in csv.reader(lines_of(path)) if row]
    has_header = bool(rows) and not any(cell.strip().isdecimal() for cell in rows[0][1:])
    return _of_palette(path, [(row[0].strip(), row[1:4]) for row in rows[has_header:]])


def _of_palette(path, rows):
    try:
        palette = {name: (int(red), int(green), int(blue)) for name, (red, green, blue) in rows}
    except ValueError:
        palette = {}
    if not palette:
        raise ValueError(
            f"{path} must have in each line the name of a class and the red, green and blue of its "
            "colour, 0 to 255"
        )
    names = [name for name in palette if name.lower() not in (*BACKGROUND_NAMES, *VOID_NAMES)]
    return Meaning(names, palette=palette)


def _of_ade(path):
    """objectInfo150.txt, a table with tabs whose last column is the name."""
    return Meaning([line.split("\t")[-1].strip() for line in lines_of(path)[1:]])


_LISTS = {
    "labelmap.txt": _of_label_map,
    "class_dict.csv": _of_table,
    "classes.txt": _of_names,
    "class_names.txt": _of_names,
    "objectInfo150.txt": _of_ade,
}

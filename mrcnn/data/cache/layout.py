"""What lies in the folder of a cache.

records.json                    settings, classes, names of the parts; written last
part-00000-of-00004.tfrecord    one `tf.train.Example` an image, see `data.cache.example`
part-00000-of-00004.json        of each of its images the source, id, path, offset in bytes
                                and number of objects
"""

import hashlib
import json
import numbers
import os
import re
from collections.abc import Mapping

import numpy as np

from mrcnn.common.json_files import read_json
from mrcnn.common.threads import map_all
from mrcnn.common.words import some

FILE_NAME = "records.json"
VERSION = 2  # of the format; 1 was that of 1.0.0 before its modules moved
_PART = r"part-\d{5,}-of-\d{5,}\.(json|tfrecord)"
_EXPECTED = "a file of a cache of records (if it is damaged, write the cache again)"
# The fields of Config that the records depend on; with mode "fit" also MEAN_PIXEL, which fills up
# the images there.
FIELDS = (
    "IMAGE_RESIZE_MODE",
    "IMAGE_MIN_DIM",
    "IMAGE_MAX_DIM",
    "IMAGE_MIN_SCALE",
    "IMAGE_CHANNEL_COUNT",
    "IMAGE_RANGE",
)


def is_cache(folder):
    """Whether a folder holds a whole cache."""
    return os.path.isfile(os.path.join(folder, FILE_NAME))


def require_own_folder(folder):
    """Make sure that a folder for a cache has nothing else, for a folder with a cache is read as
    one, whatever else is in it.

    Raises:
        ValueError: naming what is there. Hidden files are not looked at, and folders within it may
            be empty or caches themselves.
    """
    if not os.path.isdir(folder) or is_cache(folder):
        return
    others = [
        name
        for name in sorted(os.listdir(folder))
        if not (name.startswith(".") or re.fullmatch(_PART, name))
        and not _is_empty_or_cache(os.path.join(folder, name))
    ]
    if others:
        raise ValueError(
            f"{folder} has other files than those of a cache, {some(others)}, and would be read as "
            "a cache: give a folder that is new or empty"
        )


def _is_empty_or_cache(path):
    return os.path.isdir(path) and (is_cache(path) or not os.listdir(path))


def settings_of(config):
    """{field: value} of the fields of a config that records depend on, in types that JSON has."""
    settings = {name: getattr(config, name) for name in FIELDS}
    if settings["IMAGE_RESIZE_MODE"] == "rect":  # the same thing in training
        settings["IMAGE_RESIZE_MODE"] = "square"
    if settings["IMAGE_RANGE"] is not None:
        settings["IMAGE_RANGE"] = [float(value) for value in settings["IMAGE_RANGE"]]
    if settings["IMAGE_RESIZE_MODE"] == "fit":
        settings["MEAN_PIXEL"] = np.ravel(config.MEAN_PIXEL).astype(float).tolist()
    return {
        name: value.item() if hasattr(value, "item") else value for name, value in settings.items()
    }


def describe(dataset, config, encoding, parts, skip_bad, workers=1, progress=False):
    """What a cache is of, for records.json; ``fingerprint`` is a hash of it and of the list of
    images, ``objects`` one of all that the data set knows of them without reading a file, which may
    draw their polygons: by as many threads as there are ``workers``.
    """

    def facts(image_id):
        return _hash(_facts(dataset.known_objects(image_id)))

    about = {
        "version": VERSION,
        "settings": settings_of(config),
        "encoding": encoding,
        "skip_bad": skip_bad,
        "classes": [
            {
                **info,
                "id": plain_id(info["id"]),
                **({} if dataset.is_labelled(class_id) else {"labelled": False}),
            }
            for class_id, info in enumerate(dataset.class_info)
        ],
        "objects": _hash(list(map_all(facts, dataset.image_ids, "Objects", progress, workers))),
        "parts": [f"part-{number:05d}-of-{parts:05d}" for number in range(parts)],
    }
    images = [
        [info["source"], plain_id(info["id"]), path_text(info)] for info in dataset.image_info
    ]
    return {**about, "fingerprint": _hash([about, images])}


def _facts(value):
    """A value as JSON takes it, the same in every process; of what is no data, its type alone."""
    if isinstance(value, np.ndarray):
        return [value.shape, str(value.dtype), hashlib.sha256(value.tobytes()).hexdigest()]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bytes, os.PathLike)):
        value = os.fsdecode(value)
    if isinstance(value, Mapping):
        return [[str(key), _facts(item)] for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [_facts(item) for item in value]
    known = value is None or isinstance(value, (bool, int, float, str))
    return value if known else type(value).__name__


def _hash(content):
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def check_fingerprint(folder, about, parts):
    """Refuse a cache of which records.json, or the images of a part, are not what was written.

    Args:
        about: of `read_about`.
        parts: list of all that `read_part` gives. Where images were left out, the hash is of more
            images than they tell, and nothing can be checked.

    Raises:
        ValueError: naming the folder.
    """
    if any(part["left_out"] for part in parts):
        return
    about = dict(about)
    fingerprint = about.pop("fingerprint")
    images = [
        [info["source"], info["id"], info["path"]] for part in parts for info in part["images"]
    ]
    if _hash([about, images]) != fingerprint:
        raise ValueError(
            f"{folder} is not what was written, {FILE_NAME} or the json of a part was changed: "
            "write the cache again"
        )


def plain_id(value):
    """An id as an int or a str, which JSON has."""
    return int(value) if isinstance(value, numbers.Integral) else str(value)


def path_text(info):
    """The path of an image as text, or None."""
    return None if info.get("path") is None else os.fspath(info["path"])


def read_about(folder):
    """The content of records.json.

    Raises:
        FileNotFoundError: there is none: no cache, or one that is not yet whole.
        ValueError: it is of another format, or damaged.
    """
    path = os.path.join(folder, FILE_NAME)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{path} is missing: {folder} is no cache of records, or one that was not written to "
            "its end; writing it again goes on where that stopped"
        )
    about = read_json(path, _EXPECTED, ("version", "settings", "classes", "parts", "fingerprint"))
    if about["version"] != VERSION:
        raise ValueError(
            f"{path} is of format {about['version']}, and this version reads format {VERSION}: "
            f"delete {folder} and write the cache again, with the command "
            f"`mrcnn cache DATASET --output {folder}`"
        )
    names = about["parts"]
    if not (
        isinstance(about["settings"], dict)
        and _are_records(about["classes"], ("source", "id", "name"))
        and isinstance(names, list)
        and all(isinstance(name, str) for name in names)
    ):
        raise ValueError(f"{path} is not {_EXPECTED}")
    return about


def _are_records(value, keys):
    """Whether JSON is a list of objects with these keys."""
    return isinstance(value, list) and all(
        isinstance(item, dict) and set(keys) <= set(item) for item in value
    )


def read_part(folder, name, fingerprint):
    """The list of a part's images, where the part is whole.

    Raises:
        FileNotFoundError: one of its files is missing.
        ValueError: it belongs to another cache, or is cut short.
    """
    path = os.path.join(folder, name)
    part = read_json(f"{path}.json", _EXPECTED, ("fingerprint", "bytes", "images", "left_out"))
    if part["fingerprint"] != fingerprint:
        raise ValueError(
            f"{path}.json belongs to another cache than {FILE_NAME} beside it: write the cache "
            "again"
        )
    size = os.path.getsize(f"{path}.tfrecord")
    if size != part["bytes"]:
        raise ValueError(
            f"{path}.tfrecord has {size} bytes instead of {part['bytes']}: write the cache again"
        )
    if not (
        _are_records(part["images"], ("source", "id", "path", "offset", "objects"))
        and all(
            isinstance(info["offset"], int) and 0 <= info["offset"] < size
            for info in part["images"]
        )
        and isinstance(part["left_out"], list)
    ):
        raise ValueError(f"{path}.json is not {_EXPECTED}")
    return part

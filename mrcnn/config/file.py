"""A run's settings as ``config.json`` beside its weights, and settings written as text.

The file holds every field of the `Config`, when and by which command and versions it was used.
Nothing in it is executed: a BACKBONE that is a function of yours is kept by its name only, and
whoever reads the file has to give the function again.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import sys

import numpy as np

from mrcnn import __version__
from mrcnn.common.json_files import plain, read_json, write_json
from mrcnn.common.words import closest
from mrcnn.config import DERIVED_FIELDS, Config

FILE_NAME = "config.json"
# Fields that say what the outputs of a trained network mean, and its input. With others than those
# it was trained with it finds little or nothing.
OUTPUT_FIELDS = (
    "MEAN_PIXEL",
    "BACKBONE_STRIDES",
    "RPN_ANCHOR_SCALES",
    "RPN_ANCHOR_RATIOS",
    "RPN_ANCHOR_STRIDE",
    "RPN_BBOX_STD_DEV",
    "BBOX_STD_DEV",
    "MASK_POOL_SIZE",
    "STRIDE_IN_3X3",
    "RPN_ANCHORS_ROUNDED",
    "RPN_STRIDES_FROM_SIZES",
    "BOX_SHIFT",
    "ROI_LEVEL_FLOOR",
    "ROI_ALIGN",
    "BBOX_LOG_SCALE_LIMIT",
    "MASK_LOSS",
)
_PACKAGES = ("tensorflow", "keras", "numpy")


def save_config(folder, config, class_names=None, began=None, name=FILE_NAME):
    """Write ``config.json`` into a run's folder, whole or not at all.

    Args:
        folder: of the run; it must exist. The list of uses in an existing file is continued.
        config: a ``Config``.
        class_names: names in the data, background first, used if the config's CLASS_NAMES is None.
        began: datetime, with its time zone, that `read_beginning` returns; None keeps that of an
            existing file.
        name: of the file; see `settings_names`.

    Returns:
        Path of the file.
    """
    path = os.path.join(folder, name)
    fields = config.to_dict()
    if (
        fields.get("CLASS_NAMES") is None
        and class_names is not None
        and len(class_names) == config.NUM_CLASSES
    ):
        fields["CLASS_NAMES"] = [str(name) for name in class_names]
    content = _read(path) if os.path.exists(path) else {"uses": []}
    if began is not None:
        content["began"] = began.isoformat()
    content["uses"].append(
        {
            "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": list(sys.argv),
            "versions": _versions(),
        }
    )
    write_json(path, {**content, "config": fields}, indent=2)
    return path


def read_beginning(folder):
    """When a run began, by the ``config.json`` in its folder.

    Returns:
        datetime with its time zone; None where no file tells it. A file of a version that did not
        record it has the time of its first use.
    """
    try:
        content = _read(os.path.join(folder, FILE_NAME))
        text = content.get("began") or content["uses"][0]["time"]
        began = datetime.datetime.fromisoformat(text)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return None if began.tzinfo is None else began


def read_config(path):
    """The fields in a ``config.json``, as `Config.from_dict` takes them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it was not written by `save_config`.
    """
    return _read(path)["config"]


def config_beside(weights):
    """Path of the settings of a weights file: ``<its name>.json`` or ``config.json`` in its folder,
    or None if neither exists.
    """
    paths = (os.path.join(os.path.dirname(weights), name) for name in settings_names(weights))
    return next(filter(os.path.isfile, paths), None)


def other_settings(config, weights, fields=None):
    """The `OUTPUT_FIELDS` in which a config differs from the settings beside a weights file, in
    words; an empty list where they agree, or where there are no settings.

    Args:
        config: a ``Config``.
        weights: path of a weights file.
        fields: of the weights, where no file of settings is beside them; None: not known.
    """
    path = config_beside(weights)
    try:
        fields = (fields or {}) if path is None else read_config(path)
    except ValueError:  # of something else
        return []
    return [
        f"{name} = {plain(getattr(config, name))} (there {plain(fields[name])})"
        for name in OUTPUT_FIELDS
        if name in fields and not _is_same(name, getattr(config, name), fields[name])
    ]


def _is_same(name, value, other):
    if name == "MEAN_PIXEL" and np.shape(value) == np.shape(other):
        # (123.7, 116.8, 103.9) and torchvision's (123.675, 116.28, 103.53) are the same mean
        return bool(np.all(np.abs(np.subtract(value, other)) < 1))
    return plain(value) == plain(other)


def settings_names(weights):
    """Names of the files that may hold the settings of a weights file, in its folder."""
    return os.path.splitext(os.path.basename(weights))[0] + ".json", FILE_NAME


def _read(path):
    content = read_json(path, "a file of settings", ("config", "uses"))
    if not isinstance(content["config"], dict) or not isinstance(content["uses"], list):
        raise ValueError(f"{path}: 'config' must be an object and 'uses' a list")
    return content


def _versions():
    versions: dict[str, str | None] = {"python": platform.python_version(), "mrcnn": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # such as tensorflow-cpu
            versions[package] = None
    return versions


# === Settings as text ===


def parse_settings(texts, config_class=Config):
    """Settings written as FIELD=VALUE, for a command line.

    A value is a number, ``true``, ``false``, ``none``, a word, several of these separated by
    commas, or JSON.

    Args:
        texts: list of str.
        config_class: `Config`, or the class of the library's whose fields they are.

    Returns:
        dict of field -> value of the type of the field's default. `Config.validate` decides whether
        the value is a good one.

    Raises:
        ValueError: no "=", an unknown field or one that is computed, or wrong JSON.
    """
    settings = {}
    defaults = config_class.field_defaults()
    known = [name for name in defaults if name != "COMPUTE_BACKBONE_SHAPE"]
    for text in texts:
        field, equals, value = text.partition("=")
        field = field.strip()
        if not equals:
            raise ValueError(
                f"{text!r} is not a setting: write FIELD=VALUE, such as IMAGE_MAX_DIM=512"
            )
        if field in DERIVED_FIELDS:
            raise ValueError(f"{field} is computed from other fields and cannot be set")
        if field not in known:
            near = closest(field, known)
            raise ValueError(
                f"there is no field {field!r}"
                + (
                    f"; did you mean {' or '.join(near)}?"
                    if near
                    else "; mrcnn/config/fields.py and segmentation.py have all of them"
                )
            )
        settings[field] = _value(field, value.strip(), defaults[field])
    return settings


def _value(field, text, default):
    if isinstance(default, str) or field == "NAME":
        return None if text.lower() == "none" else text
    if field == "CLASS_NAMES" and text[:1] != "[" and text.lower() != "none":
        return [name.strip() for name in text.split(",")]
    if text == "()":
        text = "[]"
    if text[:1] in ("[", "{"):
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{field}={text} is not JSON: {error}") from None
    elif "," in text or (isinstance(default, (list, tuple)) and text.lower() != "none"):
        value = [_scalar(part.strip()) for part in text.split(",") if part.strip()]
    else:
        value = _scalar(text)
    if (
        isinstance(value, list)
        and isinstance(default, np.ndarray)
        and all(isinstance(item, (int, float)) for item in value)
    ):
        return np.array(value, float)
    return tuple(value) if isinstance(value, list) and isinstance(default, tuple) else value


def _scalar(text):
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text

"""Whole models in Keras' own ``.keras`` files: whether this version of the package can load one."""

import json
import os
import zipfile

import keras

PREFIX = "mrcnn>"  # of the names under which Keras registers the package's classes


def check_keras_file(path: str | os.PathLike) -> None:
    """Refuse a ``.keras`` file of a version whose classes were others or elsewhere.

    Keras looks classes up by a short name. With an older file it would end in an error about
    Keras' decorators, or use a class of that name for what it never was.

    Args:
        path: of a ``.keras`` file. The package's classes must be imported.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no ``.keras`` file, or one of another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is not a .keras file ({error}); weights in a .h5 file are loaded with "
            "MaskRCNN.load_weights"
        ) from None
    for name, module in _classes(config):
        known = keras.saving.get_registered_object(name)
        if known is None or known.__module__ != module:
            raise ValueError(
                f"{path} was written by another version of this package: this one has no "
                f"{module}.{name.removeprefix(PREFIX)}. Load the run's .h5 weights with "
                "MaskRCNN.load_weights instead, or load this file with the version that wrote it "
                'and save it there as .h5: model.save_weights("weights.h5")'
            )


def _classes(config):
    """(registered name, module) of each of the package's objects in Keras' json."""
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if str(value.get("registered_name")).startswith(PREFIX):
                yield value["registered_name"], value.get("module")
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)

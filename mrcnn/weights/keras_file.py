"""Keras' own files, ``.keras`` of whole models and ``.weights.h5``: whether they can be loaded, and
whether what they hold can be computed with.
"""

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator

import keras
import numpy as np

from mrcnn.common.files import AnyPath
from mrcnn.weights.load import require_numbers

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
            damaged = archive.testzip()
    except Exception as error:  # of which zipfile and zlib have a dozen kinds for damage
        if isinstance(error, OSError) and error.filename:  # a file that is missing, or a folder
            raise
        raise ValueError(
            f"{path} is not a .keras file, or is damaged ({error}); weights in a .h5 file are "
            "loaded with MaskRCNN.load_weights"
        ) from None
    if damaged:
        raise ValueError(f"{path} is damaged: the checksum of {damaged} in it is wrong")
    for name, module in _classes(config):
        known = keras.saving.get_registered_object(name)
        if known is None or known.__module__ != module:
            raise ValueError(
                f"{path} was written by another version of this package: this one has no "
                f"{module}.{name.removeprefix(PREFIX)}. Load the run's .h5 weights with "
                "MaskRCNN.load_weights instead, or load this file with the version that wrote it "
                'and save it there as .h5: model.save_weights("weights.h5")'
            )


def require_usable(model: keras.Model, path: AnyPath) -> None:
    """Refuse a model that was loaded from a file with NaN or infinite values.

    Args:
        model: with the values of the file, in its weights and its optimizer.
        path: of the file, for the message.

    Raises:
        ValueError: see `weights.load.require_numbers`.
    """
    require_numbers(
        path,
        ((variable.path, np.asarray(variable)) for variable in _stored(model)),
        half=model.compute_dtype == "float16",
    )


@contextlib.contextmanager
def whole_or_not(model: keras.Model, path: AnyPath) -> Iterator[None]:
    """Load a file by Keras, which assigns what fits until something does not: all or nothing of it.

    Args:
        model: that the body loads the file into.
        path: of the file, for the message.

    Raises:
        ValueError: as `require_usable`, or what the body could not read or fit. The model is as it
            was then.
    """
    variables = _stored(model)
    before = [np.array(variable) for variable in variables]
    try:
        yield
        require_usable(model, path)
    except BaseException as error:
        for variable, value in zip(variables, before):
            variable.assign(value)
        if not isinstance(error, Exception) or str(path) in str(error):
            raise
        raise ValueError(f"{path} could not be loaded, so nothing of it was: {error}") from error


def _stored(model):
    """What Keras' files hold of a model: its weights, its optimizer, and what is kept beside it.

    A sum of float16's gradients that are not finite yet is none of them: it is skipped.
    """
    optimizer = getattr(model, "optimizer", None)
    average = getattr(model, "average", None)
    return [
        *model.weights,
        *(optimizer.variables if optimizer is not None and optimizer.built else ()),
        *(average.variables if average is not None else ()),
    ]


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

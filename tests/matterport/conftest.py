"""Run the scripts of this folder as their users do: as a program, in a folder of the project's
samples.
"""

import pathlib
import runpy
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def eagerly():
    """A few steps are not worth a graph."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def script(tmp_path, monkeypatch):
    """script(name, *arguments) runs a script and returns its global names.

    The working folder is <root>/samples/user, so that the scripts' ROOT_DIR is tmp_path / "root".
    """
    folder = tmp_path / "root" / "samples" / "user"
    folder.mkdir(parents=True)

    def run(name, *arguments):
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "argv", [name, *map(str, arguments)])
            patch.setattr(sys, "path", [str(HERE), *sys.path])
            return runpy.run_path(str(HERE / name), run_name="__main__")

    return run


@pytest.fixture
def photo():
    """photo(height, width, objects, seed) -> uint8 image; objects are (y1, x1, y2, x2)."""

    def make(height, width, objects, seed=0):
        rng = np.random.RandomState(seed)
        image = rng.randint(60, 120, (height, width, 3)).astype(np.uint8)
        for y1, x1, y2, x2 in objects:
            image[y1:y2, x1:x2] = rng.randint(150, 256, 3)
        return image

    return make


@pytest.fixture
def start_weights(tmp_path):
    """start_weights(config, path) writes weights to begin with, and returns the model that has
    them.

    The initial ones will not do: without the right statistics the 50 layers' values grow until the
    proposals are empty, and then nothing behind them is trained.
    """

    def make(config, path):
        from mrcnn.model import MaskRCNN
        from tests.tiny import randomize

        model = MaskRCNN("inference", config, str(tmp_path))
        randomize(model.keras_model)
        for variable in model.keras_model.weights:
            if (
                variable.name == "gamma" and "branch2c" in variable.path
            ) or "class_logits/kernel" in variable.path:
                variable.assign(variable * 0.2)
        model.save_weights(str(path))
        return model

    return make

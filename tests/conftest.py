"""Fixtures of all tests: models that several tests of a file share, and a clean Keras after each."""

import keras
import pytest

from tiny import Rectangles, randomize, tiny_config


@pytest.fixture(autouse=True)
def keras_policy():
    """Give the next test the number type that Keras had."""
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture
def rectangles():
    """Six images of 64 px with rectangles of two classes."""
    return Rectangles(6)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """An inference model of `tiny.TinyConfig` with random weights that detect something, batch size 2."""
    from mrcnn.model import MaskRCNN

    model = MaskRCNN("inference", tiny_config(), str(tmp_path_factory.mktemp("logs")))
    randomize(model.keras_model)
    return model

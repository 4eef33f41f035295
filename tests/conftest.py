"""Fixtures of all tests. Keras is imported only by the tests that use it: it takes seconds."""

import os
import sys

import pytest

# Each of the processes that run tests would take all memory of a GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


@pytest.fixture(autouse=True)
def keras_policy():
    """Leave the next test float32, whatever a test, failed or not, made of it."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")


@pytest.fixture
def eagerly():
    """Run Keras' steps without a graph: for one or two of them a graph takes longer to make than to
    run.
    """
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def rectangles():
    """Six images of 64 px with rectangles of two classes."""
    from tests.tiny import Rectangles

    return Rectangles(6)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """An inference model of `tiny.TinyConfig` whose random weights detect something; batch size
    2.
    """
    from mrcnn.model import MaskRCNN
    from tests.tiny import randomize, tiny_config

    model = MaskRCNN("inference", tiny_config(), str(tmp_path_factory.mktemp("logs")))
    randomize(model.keras_model)
    return model

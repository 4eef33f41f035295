"""Fixtures of all tests. Keras is imported only by the tests that use it: it takes seconds."""

import os
import sys

import pytest

from tests.paths import TESTS

# Rooms whose tests are fast, which `-m fast` runs in less than a minute: they import no TensorFlow
# and start no process.
FAST_ROOMS = ("common", "config", "data", "evaluation", "ops", "weights")
# Files and tests in them that do, or that take long; and fast files elsewhere.
NOT_FAST = {
    "common/test_quiet.py",
    "config/test_config.py::test_applications_are_those_of_keras",
    "config/test_config_file.py",
    "config/test_config_optimizer.py",
    "data/augment/test_user.py::test_imported_only_when_asked",
    "data/cache/test_cache.py",
    "data/survey/test_anchor_coverage.py",
    "data/survey/test_processes.py",
    "evaluation/test_confusion.py::test_keras_agrees",
    "ops/test_boxes.py",
    "ops/test_nms.py",
    "ops/test_packed_rows.py",
    "ops/test_crop_and_resize.py",
    "ops/test_roi_align.py",
    "ops/test_roi_pool.py",
    "weights/test_backbone_fields.py",
    "weights/test_keras_file.py",
    "weights/test_label_layers.py",
    "weights/test_published.py::test_processes_wait_for_each_other",
    "weights/test_published.py::test_published_files",
    "weights/test_weights.py",
}
ALSO_FAST = {"inference/test_sources.py", "test_packaging.py"}

# Each of the processes that run tests would take all memory of a GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def is_fast(path):
    """Whether the tests of a file are fast."""
    name = path.relative_to(TESTS).as_posix()
    return name in ALSO_FAST or (name.split("/")[0] in FAST_ROOMS and name not in NOT_FAST)


def pytest_ignore_collect(collection_path, config):
    """With ``-m fast`` the other files are not even imported, which would bring TensorFlow in."""
    if config.option.markexpr == "fast" and collection_path.match("test_*.py"):
        return not is_fast(collection_path) or None
    return None


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items):
    for item in items:
        name = f"{item.path.relative_to(TESTS).as_posix()}::{item.originalname}"
        heavy = name in NOT_FAST or "detector" in item.fixturenames
        if is_fast(item.path) and not heavy and not item.get_closest_marker("slow"):
            item.add_marker("fast")


@pytest.fixture(autouse=True)
def keras_policy():
    """Leave the next test float32, whatever a test, failed or not, made of it."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")


@pytest.fixture(autouse=True)
def no_figures():
    """Leave the next test no figure of matplotlib's, whatever a test drew."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


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

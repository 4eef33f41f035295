"""What TensorFlow prints at its start, in processes of their own."""

import importlib.metadata
import os
import re
import subprocess
import sys

import pytest

from mrcnn.common.quiet import KNOWN, LEVEL
from tests.paths import ROOT

TENSORFLOW = tuple(map(int, importlib.metadata.version("tensorflow").split(".")[:2]))
DETECT = """
import tempfile
import mrcnn.model
from tests.tiny import image, randomize, tiny_config
config = tiny_config(DETECTION_MAX_INSTANCES=50)
model = mrcnn.model.MaskRCNN("inference", config, tempfile.mkdtemp())
randomize(model.keras_model)
model.detect([image(64, 64)])
"""
TRAIN = """
import tempfile
from mrcnn.model import MaskRCNN
from tests.tiny import Rectangles, tiny_config
MaskRCNN("training", tiny_config(), tempfile.mkdtemp()).train(Rectangles(4), None, 0.01, 1, "heads")
"""


def stderr(script, **variables):
    """What a script writes to stderr, as bytes."""
    environment = {name: value for name, value in os.environ.items() if name != LEVEL}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        env={**environment, **variables},
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


# What TensorFlow before 2.21 prints whatever the level is, after its import.
OLDER = re.compile(
    rb"Error in PredictCost\(\)"
    rb"|All log messages before absl::InitializeLog\(\) is called are written to STDERR"
)
# On processors with AVX-512, in training: an error by its letter, and of no consequence. It names
# the type that comes first, and no other.
OF_TYPES = re.compile(rb"oneDNN supports DT_(BOOL|INT32) only on platforms with AVX-512")


@pytest.mark.parametrize("script", [DETECT, TRAIN], ids=["detect", "train"])
def test_nothing_is_printed(script):
    lines = [line for line in stderr(script).splitlines() if not OF_TYPES.search(line)]
    if TENSORFLOW < (2, 21):
        lines = [line for line in lines if not OLDER.search(line)]
    assert lines == []


def test_what_others_print_is_shown():
    script = (
        "import mrcnn, os, sys, warnings\n"
        "class Noisy:\n"  # asked while TensorFlow is being imported
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'tensorflow.python':\n"
        "            os.write(2, b'E0000 some.cc:1] an error\\n')\n"
        "            warnings.warn('a warning')\n"
        "sys.meta_path.insert(0, Noisy())\n"
        "import mrcnn.model\n"
        f"assert {LEVEL!r} not in os.environ\n"
        "warnings.warn('a later warning')\n"
        "os.write(2, b'I0000 some.cc:2] oneDNN custom operations are on.\\n')\n"
    )
    lines = stderr(script).splitlines()
    assert lines[0] == b"E0000 some.cc:1] an error"
    assert b"UserWarning: a warning" in lines[1]
    assert b"UserWarning: a later warning" in lines[-2]
    assert KNOWN.search(lines[-1])  # only what is printed during the import is looked through


@pytest.mark.parametrize(
    "script",
    ["import os, mrcnn; os.environ['{0}'] = '0'; import mrcnn.model", "import mrcnn.model"],
)
def test_the_users_own_level_wins(script):
    variables = {} if "environ" in script else {LEVEL: "0"}
    assert KNOWN.search(stderr(script.format(LEVEL), **variables))


def test_other_imports_are_left_alone():
    """Also a mere look at whether TensorFlow is there."""
    script = (
        "import sys, mrcnn, importlib.util\n"
        "assert importlib.util.find_spec('tensorflow').name == 'tensorflow'\n"
        "assert importlib.util.find_spec('no_such_module') is None\n"
        "assert type(sys.meta_path[0]).__module__ == 'mrcnn.common.quiet'\n"
        "import mrcnn.model\n"
        "assert 'mrcnn.common.quiet' not in {type(finder).__module__ for finder in sys.meta_path}\n"
    )
    assert stderr(script) == b""

"""Where glibc puts large blocks, in processes of their own."""

import os
import platform
import subprocess
import sys

import pytest

from mrcnn.config import Config
from mrcnn.model import MaskRCNN
from mrcnn.training import learner
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's")
# After a mapped block was freed, glibc puts the next one of its size into its heap. Printed: what
# `call` returned, and whether the second block is mapped.
PROGRAM = """
import ctypes, sys

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split())]

libc = ctypes.CDLL(None)
if not hasattr(libc, "mallinfo2"):
    sys.exit(3)
libc.mallinfo2.restype = Info
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
from mrcnn.common.heap import map_large_blocks
answer = map_large_blocks() if sys.argv[1] == "call" else None
libc.free(libc.malloc(20_000_000))
before = libc.mallinfo2().hblkhd
libc.malloc(20_000_000)
print(answer, libc.mallinfo2().hblkhd - before >= 20_000_000)
"""


def said(word, **variables):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, word],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    if done.returncode == 3:
        pytest.skip("glibc before 2.33 cannot say")
    assert not done.returncode, done.stderr
    return done.stdout.split()


def test_large_blocks_are_mapped_again_and_again():
    assert said("") == ["None", "False"]
    assert said("call") == ["True", "True"]


@pytest.mark.parametrize(
    "variables",
    [
        {"MALLOC_MMAP_THRESHOLD_": "30000000"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=30000000"},
    ],
)
def test_what_the_user_has_set_stays(variables):
    assert said("call", **variables) == ["False", "False"]


def test_a_model_does_it(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(learner, "map_large_blocks", lambda: called.append(1))
    monkeypatch.setattr(MaskRCNN, "build", lambda self, mode, config: None)
    MaskRCNN("training", Config(), tmp_path)
    assert called == [1]

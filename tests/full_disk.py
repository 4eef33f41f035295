"""A disk on which no file can grow beyond a size, for the tests of those who write files."""

import contextlib
import resource
import subprocess

import pytest


@contextlib.contextmanager
def files_of_at_most(size):
    """Let no file of this process grow beyond ``size`` bytes: writing on is an OSError, EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def small_disk(folder, kilobytes):
    """Mount a disk of that size in memory at the folder; skips where that is not allowed."""
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(["mount", *options], capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no disk may be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)

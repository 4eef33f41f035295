"""check and summary by forked processes: see `processes_program` and `sharing_program`, which run
in one of their own.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads do it")


def start(name, folder, program="processes_program"):
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.data.survey.{program}", name, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


def finish(program):
    """What a program prints."""
    try:
        out, err = program.communicate(timeout=120)
    finally:
        program.kill()
    assert program.returncode == 0 and out.endswith("done\n"), err
    return out


@pytest.mark.parametrize("name", ["readers", "large", "errors", "killed"])
def test_processes(name, tmp_path):
    finish(start(name, tmp_path))


@pytest.mark.parametrize(
    "name", ["where", "shared", "harmless", "written", "no_locks", "no_room", "kept", "told"]
)
def test_what_processes_share(name, tmp_path):
    out = finish(start(name, tmp_path, "sharing_program"))
    assert out.count("before") == (name == "written")


@pytest.mark.parametrize(
    ("kill", "number"),
    [
        (os.killpg, signal.SIGINT),  # Ctrl-C
        (os.killpg, signal.SIGTERM),
        (os.kill, signal.SIGTERM),
        (os.kill, signal.SIGKILL),
    ],
)
def test_processes_end_with_the_first(kill, number, tmp_path):
    program = start("slow", tmp_path)
    try:
        pids = [int(program.stdout.readline()) for _ in range(2)]
        kill(program.pid, number)
        _, err = program.communicate(timeout=20)
        assert program.returncode == -number
        assert (
            err.count("Traceback") == err.count("KeyboardInterrupt") == (number == signal.SIGINT)
        ), err
        end = time.perf_counter() + 20
        while any(map(is_running, pids)):
            assert time.perf_counter() < end
            time.sleep(0.02)
    finally:
        program.kill()


def is_running(pid):
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

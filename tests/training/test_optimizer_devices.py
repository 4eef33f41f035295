"""Updates on two devices are those of one with the mean of the gradients; two logical CPUs stand
for two GPUs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

PROGRAM = Path(__file__).parent / "devices_program.py"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "report.json"
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(path)],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "PYTHONPATH": search, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "case", ["SGD", "AdamW", "RMSprop", "Lamb", "user's", "float16", "overflow"]
)
def test_two_devices_are_one(report, case):
    one, two = report[case]
    assert two["equal"] and one["scale"] == two["scale"]
    for name in ("weights", "average"):
        rows = zip(one[name] or (), two[name] or (), strict=True)
        assert all(a == pytest.approx(b, rel=1e-5, abs=1e-6) for a, b in rows), name
    assert one["start"] == two["start"] != one["weights"]


def test_an_overflow_on_the_second_device_counts_for_both(report):
    assert [found["scale"] for found in report["overflow"]] == [2.0**14] * 2
    assert [found["scale"] for found in report["float16"]] == [2.0**15] * 2


def test_accumulation_is_refused(report):
    assert (
        "GRADIENT_ACCUMULATION_STEPS is 2, which is not supported on several devices (2 here)"
        in report["accumulation"]
    )

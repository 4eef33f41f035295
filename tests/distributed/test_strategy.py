"""Two devices train and detect as one does with the same batch; two logical CPUs stand for two
GPUs.

Each loss is divided by a count over all devices, so that equality is exact but for the order of
float32 sums. Which regions are sampled differs between devices, so none is left out at random here
(see EXACT in devices_program).

TensorFlow takes the number of devices only before it starts, so the training runs in a process of
its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mrcnn.distributed.strategy import device_strategy
from mrcnn.model import MaskRCNN
from tests.paths import ROOT
from tests.tiny import tiny_config

PROGRAM = Path(__file__).parent / "devices_program.py"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What devices_program found."""
    return run(tmp_path_factory.mktemp("devices"))


def run(folder, *arguments):
    """What the program finds."""
    path = folder / "report.json"
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": search, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(path.read_text())


def test_two_devices_train_as_one(report):
    found = report["train"]
    assert found["devices"] == 2 and found["same start"] == 0
    # clipping is at work, on the gradient of the whole batch: the step is as long as it allows
    for length in found["first step"]:
        assert length == pytest.approx(0.02 * 0.5, rel=1e-4)
    for moved, difference in zip(found["moved"], found["difference"], strict=True):
        assert difference < 1e-6 < moved / 1000
    for name, (one, two) in found["losses"].items():
        assert two == pytest.approx(one, rel=1e-4) and one > 0, name


def test_replicas_stay_equal(report):
    assert report["train"]["copies"] == 2 and report["train"]["replicas equal"]


def test_statistics_stay_equal(report):
    found = report["statistics"]
    assert found["equal"] and found["count"] > 20 and found["moved"] > 0.001


def test_two_devices_detect_as_one(report):
    found = report["detect"]
    assert min(found["objects"]) > 0 and len(found["objects"]) == 7
    assert found["rois"] == found["class_ids"] == 0
    # each device has half of the batch, for which some processors have another kernel
    assert found["scores"] < 1e-5 and found["masks"] < 1e-3


def test_detection_takes_the_devices_that_there_are(report):
    (warning,) = report["fewer"]
    assert "GPU_COUNT is 3, but TensorFlow sees 2 CPU device(s): detecting on 2" in warning


@pytest.mark.slow
def test_evaluation_during_training_on_two_devices(tmp_path):
    assert {"val_segm_AP", "val_bbox_AP", "val_loss", "loss"} <= set(
        run(tmp_path, "slow")["evaluate"]
    )


def test_more_devices_than_there_are(report, tmp_path):
    assert (
        "GPU_COUNT is 3, but TensorFlow sees 2 CPU device(s): set it to 2 or less"
        in report["too many"]
    )
    with pytest.raises(
        ValueError, match=r"GPU_COUNT is 1000, but TensorFlow sees \d+ [CG]PU device"
    ):
        MaskRCNN("training", tiny_config(GPU_COUNT=1000, IMAGES_PER_GPU=1), str(tmp_path))
    with pytest.raises(ValueError, match="GPU_COUNT is 1000"):
        device_strategy(1000)


def test_parallel_model_fits(report):
    found = report["parallel"]
    assert found["count"] == 2 and found["layers"]
    assert found["before"] == 0 < found["loss"] and found["saved"] == 0 < found["moved"]

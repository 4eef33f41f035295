"""Several machines train as one does with the same batch; two processes on this one stand for them.

What is sampled at random is left out, as in test_strategy.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parent / "machines_program.py"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def launch(folder, task, workers=2, folders=None):
    """Run the program on each worker; returns a list of (exit code, output, what it saved or
    None).
    """
    folder.mkdir(exist_ok=True)
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(workers)]
    started = []
    for index in range(workers):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        started.append(
            subprocess.Popen(
                [
                    sys.executable,
                    PROGRAM,
                    task,
                    folders[index] if folders else folder / "logs",
                    folder / f"end{index}.npz",
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={
                    **os.environ,
                    "PYTHONPATH": search,
                    "CUDA_VISIBLE_DEVICES": "",
                    "TF_CPP_MIN_LOG_LEVEL": "2",
                    "TF_CONFIG": json.dumps(config) if workers > 1 else "",
                },
            )
        )
    try:
        outputs = [process.communicate(timeout=900)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    ends = [folder / f"end{index}.npz" for index in range(workers)]
    return [
        (process.returncode, output, dict(np.load(end)) if end.exists() else None)
        for process, output, end in zip(started, outputs, ends)
    ]


def equal(first, second):
    return set(first) == set(second) and all(
        np.array_equal(first[name], second[name]) for name in first
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What two workers end with that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, launch(folder, "train")


def test_two_machines_train_as_one(whole, tmp_path):
    folder, ((code, output, chief), (other_code, other_output, other)) = whole
    assert code == other_code == 0, (output[-3000:], other_output[-3000:])
    assert equal(chief, other)
    ((one_code, one_output, one),) = launch(tmp_path / "one", "train", workers=1)
    assert one_code == 0, one_output[-3000:]
    for name, value in one.items():
        np.testing.assert_allclose(chief[name], value, rtol=1e-3, atol=2e-5, err_msg=name)
    assert chief["images"] == one["images"] == 8

    # the chief alone writes, and alone has a progress bar
    (run,) = (folder / "logs").iterdir()
    assert {"mask_rcnn_tiny_0001.h5", "mask_rcnn_tiny_0002.state.npz", "losses.csv"} <= {
        file.name for file in run.iterdir()
    }
    assert len((run / "losses.csv").read_text().splitlines()) == 3
    assert "Epoch 2/2" in output and "Epoch 2/2" not in other_output
    assert "Worker 1 of 2 waits for the others" in other_output


@pytest.mark.parametrize("dead", [1, 0])
def test_a_killed_machine_stops_the_others_and_all_go_on(whole, tmp_path, dead):
    ended = launch(tmp_path, f"kill {dead}")
    assert ended[dead][0] == -9
    code, output, saved = ended[1 - dead]
    assert code == 1 and saved is None
    assert (
        "RuntimeError: training stopped, because another worker did" in output
        and "Start all workers" in output
    )
    again = launch(tmp_path, "train")
    for (code, output, saved), (_, _, expected) in zip(again, whole[1]):
        assert code == 0 and "begins with epoch 1" in output, output[-3000:]
        assert "The order of the training images is not the run's" not in output
        for name, value in expected.items():
            if name in ("loss", "val_loss"):  # of the epochs of this call
                value = value[-1:]
            # TensorFlow does not add the parts of a convolution's gradient in the same order each
            # time
            np.testing.assert_allclose(saved[name], value, rtol=1e-6, atol=1e-7, err_msg=name)
    assert equal(again[0][2], again[1][2])


def test_an_error_is_told_to_all_machines(tmp_path):
    (code, output, _), (bad_code, bad_output, _) = launch(tmp_path, "bad image")
    assert bad_code == 1 and "the disk of worker 1 is gone" in bad_output
    assert (
        code == 1 and "another worker did: " in output and "the disk of worker 1 is gone" in output
    )


def test_a_machine_without_the_checkpoint_is_told(whole, tmp_path):
    ended = launch(tmp_path, "train", folders=[whole[0] / "logs", tmp_path / "empty"])
    for code, output, _ in ended:
        assert code == 1 and "the epoch trained last is 2 on worker 0, 0 on worker 1" in output, (
            output[-3000:]
        )
        assert "a folder that they share" in output


def test_machines_read_their_shares_of_a_cache(whole, tmp_path):
    ended = launch(tmp_path, "cache")
    for (code, output, saved), (_, _, expected) in zip(ended, whole[1]):
        assert code == 0, output[-3000:]
        for name, value in expected.items():
            np.testing.assert_allclose(saved[name], value, rtol=1e-6, atol=1e-7, err_msg=name)


def test_the_chief_draws_the_seed(tmp_path):
    (code, output, chief), (_, _, other) = launch(tmp_path, "seedless")
    assert code == 0, output[-3000:]
    assert chief["seed"] == other["seed"] and equal(chief, other)

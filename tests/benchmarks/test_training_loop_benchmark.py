"""benchmarks/training_loop.py, and that training builds no new graph from epoch to epoch. No test
looks at a time.
"""

import gc
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from mrcnn.model import MaskRCNN
from tests.paths import BENCHMARKS
from tests.tiny import Rectangles, tiny_config

sys.path.insert(0, str(BENCHMARKS))

import training_loop


class Watch(keras.callbacks.Callback):
    """What grows where a graph is built again at the beginning of each epoch."""

    def __init__(self):
        super().__init__()
        self.traces, self.evaluators = [], []

    def on_epoch_begin(self, epoch, logs=None):
        functions = [
            function
            for name in ("train_function", "test_function")
            for function in _traced(getattr(self.model, name))
        ]
        self.traces.append([function.experimental_get_tracing_count() for function in functions])
        self.evaluators.append(sum(type(one).__name__ == "COCOeval" for one in gc.get_objects()))


def _traced(function):
    """The tf.functions that a function of Keras closes over."""
    found = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return [one for one in found if hasattr(one, "experimental_get_tracing_count")]


@pytest.mark.slow
def test_epochs_build_nothing_new(tmp_path):
    """No retracing, and what evaluation leaves behind does not wait for the garbage collector."""
    watch = Watch()
    model = MaskRCNN("training", tiny_config(), str(tmp_path))
    gc.collect()
    gc.disable()
    try:
        model.train(
            Rectangles(4),
            Rectangles(3, seed=1),
            0.001,
            5,
            "all",
            custom_callbacks=[watch],
            verbose=0,
            evaluate_every=1,
        )
    finally:
        gc.enable()
    assert watch.traces[2] and watch.traces[2] == watch.traces[3] == watch.traces[4]
    assert watch.evaluators == [0] * 5


def test_clock_divides_an_epoch():
    steps, validation = [(11.0, 12.0), (12.5, 13.5), (14.0, 16.0)], [(17.0, 17.5), (18.0, 19.0)]
    times = training_loop.epoch_times(10.0, 20.0, steps, validation)
    assert times == pytest.approx(
        {
            "step_seconds": 4 / 3,
            "between_seconds": 0.5,
            "validation_seconds": 2.0,
            "around_seconds": 3.0,
        }
    )


def test_parts_run_and_are_shown(tmp_path):
    if not Path("/proc/self/status").exists():
        pytest.skip("resident memory is read from Linux' /proc")
    resident = [100e6, 110e6, 120e6, 121e6, 123e6]
    report = {
        "machine": {"cpu": "some CPU", "cores": 2},
        "quick": True,
        "this": "abc",
        "results": {
            "memory": {"resident_bytes": resident, "growth": 123 / 120 - 1},
            "time": {
                "step_seconds": 0.99,
                "between_seconds": 0.01,
                "between_share": 0.01,
                "around_seconds": 2.0,
                "validation_seconds": 1.0,
                "steps": 20,
            },
        },
    }
    text = training_loop.table(report)
    assert "growth after epoch 3: 2.50%" in text and "10.00%" in text and "0.20% of 1000" in text
    training_loop.plot(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000
    report["results"]["memory"] = {"error": "failed: no memory"}
    assert "failed: no memory" in training_loop.table(report)


@pytest.mark.slow
def test_quick_run_measures_both_parts():
    found = training_loop.run_part("time", quick=True)
    assert (
        found["step_seconds"] > 0 and 0 <= found["between_share"] < 1 and len(found["epochs"]) == 1
    )
    found = training_loop.memory(4, 4)
    assert len(found["resident_bytes"]) == 4 and np.isfinite(found["growth"])

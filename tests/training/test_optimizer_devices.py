"""Optimizers on two devices give what one gives with the sum of the gradients; two logical CPUs
stand for two GPUs.
"""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from tests.paths import ROOT

PROGRAM = textwrap.dedent('''
    import json
    import sys

    import keras
    import numpy as np
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_visible_devices([], "GPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

    from mrcnn.distributed.strategy import device_strategy
    from mrcnn.training.optimizer import make_optimizer
    from mrcnn.training.weight_average import averages
    from tests.tiny import tiny_config

    STRATEGY = device_strategy(2)


    def gradients(step, device):
        return np.random.RandomState(10 * step + device).randn(3, 4).astype(np.float32) * 5


    def trained(devices, policy="float32", bad=None, **fields):
        """Weights, average and scale after three steps; ``bad``: (step, device) whose gradient is infinite."""
        with STRATEGY.scope() if devices == 2 else tf.device("CPU:0"):
            weights = keras.Variable(np.ones((3, 4), np.float32), name="kernel")
            optimizer = make_optimizer(tiny_config(**fields), 0.1, 0.9, policy)
            optimizer.build([weights])

        def given(step, device):
            gradient = gradients(step, device) * (np.inf if (step, device) == bad else 1)
            return gradient * (2.0 ** 15 if policy == "mixed_float16" else 1)

        for step in range(3):
            if devices == 1:
                optimizer.apply([tf.constant(given(step, 0) + given(step, 1))])
                continue
            values = STRATEGY.experimental_distribute_values_from_function(
                lambda context: tf.constant(given(step, context.replica_id_in_sync_group)))
            tf.function(lambda value: STRATEGY.run(lambda local: optimizer.apply([local]), args=(value,)))(values)
        shown = averages(optimizer)
        copies = STRATEGY.experimental_local_results(weights.value)
        return {"weights": weights.numpy().tolist(), "average": shown[0][1].numpy().tolist() if shown else None,
                "equal": all(np.array_equal(copies[0], copy) for copy in copies),
                "scale": float(optimizer.dynamic_scale.numpy()) if policy == "mixed_float16" else None}


    def both(**options):
        return [trained(devices, **options) for devices in (1, 2)]


    report = {name: both(OPTIMIZER=name, EMA_MOMENTUM=0.9) for name in ("SGD", "AdamW", "RMSprop", "Lamb")}
    report["float16"] = both(policy="mixed_float16")
    report["overflow"] = both(policy="mixed_float16", bad=(2, 1))
    try:
        trained(2, GRADIENT_ACCUMULATION_STEPS=2)
    except ValueError as error:
        report["accumulation"] = str(error)
    with open(sys.argv[1], "w") as file:
        json.dump(report, file)
''')


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    program, path = folder / "program.py", folder / "report.json"
    program.write_text(PROGRAM)
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(program), str(path)],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "PYTHONPATH": search, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(path.read_text())


@pytest.mark.parametrize("case", ["SGD", "AdamW", "RMSprop", "Lamb", "float16", "overflow"])
def test_two_devices_are_one(report, case):
    one, two = report[case]
    assert two["equal"] and one["scale"] == two["scale"]
    for name in ("weights", "average"):
        rows = zip(one[name] or (), two[name] or (), strict=True)
        assert all(a == pytest.approx(b, rel=1e-5, abs=1e-6) for a, b in rows), name
    assert one["weights"] != [[1.0] * 4] * 3


def test_an_overflow_on_the_second_device_counts_for_both(report):
    assert [found["scale"] for found in report["overflow"]] == [2.0**14] * 2
    assert [found["scale"] for found in report["float16"]] == [2.0**15] * 2


def test_accumulation_is_refused(report):
    assert (
        "GRADIENT_ACCUMULATION_STEPS is 2, which Keras cannot do on several devices"
        in report["accumulation"]
    )

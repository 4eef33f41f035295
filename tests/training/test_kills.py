"""A run that is killed again and again ends with the weights of the run that never was, bit for
bit.
"""

import multiprocessing
import os
import random
import sys
import time

import numpy as np
import pytest

from tests.paths import ROOT

STAGES = [("heads", 3), ("all", 7)]
KILLS = 20
# where a run is killed: at any moment, or in the middle of writing
MOMENTS = ("any", "weights", "any", "between", "any", "state", "any", "table")


def train(folder, moment, time_of_it, connection):
    """Train until done, in a process of its own; tell when it begins, when it is in the moment,
    when it is over.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.path.insert(0, str(ROOT))
    sys.stdout = sys.stderr = open(os.devnull, "w")
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(2)
    tf.config.run_functions_eagerly(True)
    from mrcnn.model import MaskRCNN
    from tests.tiny import Rectangles, tiny_config, values

    # one checkpoint of an earlier epoch is all that going on needs
    model = MaskRCNN("training", tiny_config(SEED=5, STATES_KEPT=1), folder)
    model.resume()
    connection.send(("begins", model.epoch))
    pause_in(moment, time_of_it, lambda: (connection.send(("now", None)), time.sleep(600)))
    model.train(
        Rectangles(5),
        Rectangles(2, seed=1),
        0.01,
        None,
        STAGES,
        workers=2,
        verbose=0,
        monitor="val_loss",
    )
    np.savez_compressed(
        os.path.join(folder, "end.npz"),
        **{name.replace("/", "|"): value for name, value in values(model.keras_model).items()},
    )
    connection.send(("over", model.log_dir))


def pause_in(moment, time_of_it, pause):
    """Make the writer of one kind of file stop when half of it is written, the first time or a
    later one.
    """
    from mrcnn.training import checkpoint, logs, run_state
    from mrcnn.weights import h5_format

    calls = []

    def replace(owner, name, half):
        whole = getattr(owner, name)

        def write(*arguments, **options):
            calls.append(name)
            return (half if len(calls) == time_of_it else whole)(*arguments, **options)

        setattr(owner, name, write)
        return whole

    def half_weights(file, layers):
        whole_weights(file, layers[: len(layers) // 2])
        file.flush()
        pause()

    def half_state(file, **arrays):
        whole_state(file, **dict(list(arrays.items())[:5]))
        file.flush()
        pause()

    if moment == "weights":
        whole_weights = replace(h5_format, "_write_layers", half_weights)
    elif moment == "state":
        whole_state = replace(run_state.np, "savez", half_state)
    elif moment == "between":  # the weights are there, what ends the epoch is not
        replace(checkpoint.StateCheckpoint, "_write", lambda *arguments, **options: pause())
    elif moment == "table":
        replace(logs.LossTable, "on_epoch_end", lambda *arguments, **options: pause())


@pytest.fixture(scope="module")
def processes():
    """Processes that begin with TensorFlow imported, but not started."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tensorflow", "keras"])
    return context


def start(processes, folder, moment=None, time_of_it=1):
    ours, theirs = processes.Pipe()
    process = processes.Process(target=train, args=(str(folder), moment, time_of_it, theirs))
    process.start()
    theirs.close()
    return process, ours


def ask(connection, seconds):
    """The next message, or None where there is none in that time."""
    try:
        return connection.recv() if connection.poll(seconds) else None
    except EOFError:
        pytest.fail("the training ended in an error")


@pytest.mark.slow
def test_killed_at_any_moment(processes, tmp_path):
    process, connection = start(processes, tmp_path / "whole")
    begun = ask(connection, 300)
    began = time.perf_counter()
    assert begun == ("begins", 0) and ask(connection, 600)[0] == "over"
    seconds = time.perf_counter() - began
    process.join()
    reference = np.load(tmp_path / "whole" / "end.npz")

    rng = random.Random(int(os.environ.get("KILLS_SEED", 0)))
    kills, in_moment, epochs, number = 0, 0, set(), 0
    while kills < KILLS:
        number += 1
        folder = tmp_path / f"killed{number}"
        over = None
        while over is None:
            moment = MOMENTS[kills % len(MOMENTS)] if kills < KILLS else None
            process, connection = start(processes, folder, moment, rng.randint(1, 2))
            _, epoch = ask(connection, 300)
            epochs.add(epoch)
            message = ask(connection, 600 if moment != "any" else rng.uniform(0, seconds / 2))
            if message is None or message[0] == "now":
                kills += 1
                in_moment += message is not None
                process.kill()
            else:
                over = message[1]
            process.join()
        end = np.load(folder / "end.npz")
        assert set(end.files) == set(reference.files)
        for name in reference.files:
            np.testing.assert_array_equal(end[name], reference[name], err_msg=name)
        files = sorted(os.listdir(over))
        # nothing half written
        assert files == sorted(
            [
                *(f"mask_rcnn_tiny_{epoch:04d}.h5" for epoch in range(1, 8)),
                "mask_rcnn_tiny_best.h5",
                "mask_rcnn_tiny_0007.state.npz",
                "losses.csv",
                "config.json",
            ]
        )
        with open(os.path.join(over, "losses.csv")) as file:
            assert [line.split(",")[0] for line in file] == ["epoch", *"0123456"]
    assert kills >= KILLS and in_moment >= 5
    assert epochs & {0, 1, 2} and epochs & {3, 4, 5, 6}  # in both stages

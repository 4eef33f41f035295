"""Work on several devices of one machine or of several, by ``tf.distribute``."""

import contextlib
import functools
import gc
import warnings
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from mrcnn.common.keras_internals import report_error_to_cluster
from mrcnn.common.words import option_or_argument
from mrcnn.distributed.cluster import cluster


def training_strategy(count):
    """What trains on ``count`` devices of each machine: None for one device of one machine.

    Raises:
        ValueError: TensorFlow sees fewer devices.
        RuntimeError: TensorFlow ran before the machines that TF_CONFIG names could be joined.
    """
    if cluster() is not None:
        return _machines_strategy(count)
    return device_strategy(count) if count > 1 else None


def detection_strategy(count):
    """What detects on ``count`` devices, or on as many as there are, which is told; None for
    one.
    """
    if count == 1:
        return None
    devices = _devices()
    if count > len(devices):
        warnings.warn(
            f"GPU_COUNT is {count}, but TensorFlow sees {len(devices)} {devices[0].device_type} "
            f"device(s): detecting on {len(devices)}",
            stacklevel=4,
        )
    return device_strategy(min(count, len(devices))) if min(count, len(devices)) > 1 else None


# the exchanges of two strategies over the same devices have the same numbers, and mix up
@functools.cache
def device_strategy(count):
    """A MirroredStrategy over the first ``count`` GPUs of this machine, or CPUs where there is no
    GPU.

    Raises:
        ValueError: TensorFlow sees fewer devices.
    """
    devices = _devices()
    _check_count(count, devices)
    return tf.distribute.MirroredStrategy([device.name for device in devices[:count]])


def _devices():
    return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")


def _check_count(count, devices):
    if count > len(devices):
        seen = f"{len(devices)} {devices[0].device_type}"
        raise ValueError(
            f"GPU_COUNT is {count}, but TensorFlow sees {seen} device(s): set it to {len(devices)} "
            "or less, and IMAGES_PER_GPU to what one device's memory holds"
        )


@functools.cache  # a process can join its machines once
def _machines_strategy(count):
    """A MultiWorkerMirroredStrategy over ``count`` devices of each machine that TF_CONFIG names."""
    machines = cluster()
    # of CPUs the strategy takes one; listing the logical devices would start TensorFlow, which is
    # too early
    gpus = tf.config.list_physical_devices("GPU")
    _check_count(count, gpus or tf.config.list_physical_devices("CPU")[:1])
    print(
        f"Worker {machines.index} of {len(machines.workers)} waits for the others: "
        f"{', '.join(machines.workers)}"
    )
    try:
        if gpus:
            tf.config.set_visible_devices(gpus[:count], "GPU")
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise RuntimeError(
            "TF_CONFIG names several machines, which TensorFlow can join only before it runs "
            "anything: make MaskRCNN(mode='training', ...) before any other use of TensorFlow or "
            f"Keras ({error})"
        ) from error


def scope(strategy):
    """The strategy's scope; for None, a scope that does nothing."""
    return strategy.scope() if strategy is not None else contextlib.nullcontext()


def over_machines(strategy):
    """Whether a strategy is one of several machines."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy):
    """Whether this machine writes the files: with any strategy but one of several machines it
    does.
    """
    return not over_machines(strategy) or cluster().is_chief


def for_keras(strategy, logs):
    """Logs of a step as Keras wants them: over machines it takes their mean along an axis, which a
    scalar has not.
    """
    return (
        {name: value[tf.newaxis] for name, value in logs.items()}
        if over_machines(strategy)
        else logs
    )


# === Between the machines ===


def of_all_workers(strategy, values):
    """Numbers of every machine, on every machine. All must ask at the same place of the program.

    Args:
        strategy: of several machines.
        values: n numbers.

    Returns:
        float64 [workers, n]; the first row is the chief's.
    """
    machines, devices = cluster(), len(strategy.extended.worker_devices)
    rows = np.zeros((len(machines.workers), len(values)))
    rows[machines.index] = values
    parts = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(
            rows if context.replica_id_in_sync_group % devices == 0 else 0 * rows
        )
    )
    return strategy.reduce("SUM", parts, axis=None).numpy()


def of_chief(strategy, values):
    """The chief's numbers, float64 [n], on every machine; on a single machine what is given."""
    return (
        of_all_workers(strategy, values)[0]
        if over_machines(strategy)
        else np.asarray(values, np.float64)
    )


def check_workers_agree(strategy, facts):
    """Refuse machines that are about to train on different things.

    Args:
        strategy: of several machines.
        facts: {what: number}, the same names on all machines.

    Raises:
        ValueError: on all of them, with what differs.
    """
    found = of_all_workers(strategy, list(facts.values()))
    different = [
        f"{name} is "
        f"{', '.join(f'{value:.0f} on worker {worker}' for worker, value in enumerate(column))}"
        for name, column in zip(facts, found.T)
        if len(set(column)) > 1
    ]
    if different:
        raise ValueError(
            "the workers would not train the same model: "
            + "; ".join(different)
            + ". Run the same "
            "script with the same data on all; to go on from a checkpoint, all must find it: let "
            + option_or_argument("--logs", "model_dir")
            + " be a folder that they share, or copy the checkpoint and its state file to "
            "each"
        )


@contextlib.contextmanager
def stop_together(strategy):
    """End the training of all machines where it ends with an error on one, and say why.

    Raises:
        RuntimeError: another one stopped.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if not over_machines(strategy) or "Collective ops is aborted" not in str(error):
            _tell_the_others(strategy, error)
            raise
        reason = (
            str(error)
            .partition("Collective ops is aborted by:")[2]
            .strip()
            .partition("\nThe error could")[0]
        )
        raise RuntimeError(
            f"training stopped, because another worker did: {reason}\nStart all workers again: "
            "with "
            "the last checkpoint loaded, they go on with the epoch after it"
        ) from error
    except BaseException as error:
        _tell_the_others(strategy, error)
        raise
    finally:
        if strategy is not None:
            # the iterators' threads call Python, and would keep the process from ending
            gc.collect()


def _tell_the_others(strategy, error):
    if not over_machines(strategy):
        return
    # where it cannot be reported, the others find out by the missing sign of life
    with contextlib.suppress(Exception):
        report_error_to_cluster(
            f"worker {cluster().index} stopped: {type(error).__name__}: {str(error)[:1000]}"
        )


def split_batch(
    strategy: tf.distribute.Strategy | None, function: Callable[..., tuple]
) -> Callable[..., tuple]:
    """A function of tensors [b, ...] -> a tuple of tensors [b, ...], its batch divided among the
    devices of a strategy.

    Args:
        strategy: a `tf.distribute.Strategy`, or None for one device.
        function: of one or more tensors [b, ...].
    """
    if strategy is None:
        return function
    devices = len(strategy.extended.worker_devices)
    if devices == 1:
        return function

    def divided(*tensors):
        batch = tf.shape(tensors[0])[0]
        each = (batch + devices - 1) // devices

        def part():
            device = tf.distribute.get_replica_context().replica_id_in_sync_group % devices
            # the last row fills up the parts
            rows = tf.minimum(device * each + tf.range(each), batch - 1)
            return function(*(tf.gather(tensor, rows) for tensor in tensors))

        return tuple(
            tf.concat(strategy.experimental_local_results(output), axis=0)[:batch]
            for output in strategy.run(part)
        )

    return divided

"""What test_losses runs in a process of its own: every loss and its gradient, on two logical CPUs
and on one with the joined batch.

Argument: the json file to write.
"""

import json
import sys

import numpy as np
import tensorflow as tf

from mrcnn.distributed.reduce import mean_over_devices
from mrcnn.networks.segmentation.losses import LOSSES

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def batch(channels):
    """Labels and features of four images. The halves differ in void and in their classes."""
    random = np.random.RandomState(channels)
    labels = random.randint(0, max(channels, 2), (4, 5, 4)).astype(np.uint8)
    labels[:2][labels[:2] == 2] = 0
    labels[0, 1:] = labels[3, :, 0] = 255
    return labels, random.normal(size=(4, 5, 4, 3)).astype(np.float32)


def measure(labels, features, weights, names=tuple(LOSSES)):
    """{loss: its value on this device, and the gradient for the weights that a step takes}."""
    found = {}
    for name in names:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            value = LOSSES[name](labels, features @ weights)
        gradient = mean_over_devices(tape.gradient(value, weights))
        found[name] = tf.concat([[value], tf.reshape(gradient, [-1])], axis=0)
    return found


def joined(one, two):
    """{loss: what one device found, and each of two}, as lists."""
    return {
        name: [
            each.numpy().tolist()
            for each in (one[name], *strategy.experimental_local_results(two[name]))
        ]
        for name in two
    }


strategy = tf.distribute.MirroredStrategy(tf.config.list_logical_devices("CPU"))


@tf.function(jit_compile=False)
def in_a_graph(*inputs):
    """Of two losses, because making the graph takes longer than all the rest."""
    return strategy.run(measure, args=(*inputs, ["dice", "hausdorff"]))


report = {"devices": strategy.num_replicas_in_sync}
for channels in (1, 3):
    arrays = batch(channels)
    weights = tf.constant(np.random.RandomState(5).normal(size=(3, channels)), tf.float32)
    halves = [
        strategy.experimental_distribute_values_from_function(
            lambda context, array=array: tf.constant(
                np.split(array, 2)[context.replica_id_in_sync_group]
            )
        )
        for array in arrays
    ]
    one = measure(*map(tf.constant, arrays), weights)
    two = strategy.run(measure, args=(*halves, weights))
    report[str(channels)] = joined(one, two)
    if channels == 3:
        report["graph"] = joined(one, in_a_graph(*halves, weights))

with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(report, file)

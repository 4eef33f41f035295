"""What test_optimizer_devices runs in a process of its own. Argument: the json file to write."""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from mrcnn.distributed.strategy import device_strategy
from mrcnn.training.optimizer import make_optimizer
from tests.tiny import tiny_config
from tests.training.toy_trainer import SHAPES, gradients, toy_trainer, weights

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

STRATEGY = device_strategy(2)


def own_gradients(step, device):
    """Gradients of a device: those of both are not alike."""
    return [gradient.numpy() for gradient in gradients(10 * step + device, 5.0)]


def trained(devices, policy="float32", bad=None, make=make_optimizer, **fields):
    """Weights, average and scale after three updates.

    Args:
        bad: (step, device) whose gradient is infinite.
    """
    with STRATEGY.scope() if devices == 2 else tf.device("CPU:0"):
        model = toy_trainer(tiny_config(**fields), policy, make, decay=0.5)
    start = weights(model)[0].tolist()
    scale = 2.0**15 if policy == "mixed_float16" else 1

    def given(step, device):
        factor = scale * (np.inf if (step, device) == bad else 1)
        return [gradient * factor for gradient in own_gradients(step, device)]

    @tf.function
    def update(*gradients):
        STRATEGY.run(lambda *own: model.update(list(own)), args=gradients)

    for step in range(3):
        if devices == 1:
            model.update([tf.constant((a + b) / 2) for a, b in zip(given(step, 0), given(step, 1))])
        else:
            update(
                *(
                    STRATEGY.experimental_distribute_values_from_function(
                        lambda context, step=step, index=index: tf.constant(
                            given(step, context.replica_id_in_sync_group)[index]
                        )
                    )
                    for index in range(len(SHAPES))
                )
            )
    kernel, average = model.trainable_variables[0], model.average
    copies = STRATEGY.experimental_local_results(kernel.value)
    return {
        "start": start,
        "weights": kernel.numpy().tolist(),
        "average": average.pairs[0][1].numpy().tolist() if average else None,
        "equal": all(np.array_equal(copies[0], copy) for copy in copies),
        "scale": float(model.optimizer.dynamic_scale.numpy())
        if policy == "mixed_float16"
        else None,
    }


def both(**options):
    return [trained(devices, **options) for devices in (1, 2)]


def of_keras(config, rate, momentum, policy):
    """What a user may compile with."""
    return keras.optimizers.Adam(rate, clipvalue=0.5)


report = {
    name: both(OPTIMIZER=name, EMA_MOMENTUM=0.9) for name in ("SGD", "AdamW", "RMSprop", "Lamb")
}
report["user's"] = both(make=of_keras)
report["float16"] = both(policy="mixed_float16")
report["overflow"] = both(policy="mixed_float16", bad=(2, 1))
try:
    trained(2, GRADIENT_ACCUMULATION_STEPS=2)
except ValueError as error:
    report["accumulation"] = str(error)
with open(sys.argv[1], "w") as file:
    json.dump(report, file)

"""Keras' optimizers, made to give on several devices what one gives with the same batch.

Keras' own clip, and look for values that are not finite, in each device's gradient before the
devices' gradients are added up. Here they are added up first.
"""

import functools

import keras
import tensorflow as tf

from mrcnn.layers.base import PACKAGE
from mrcnn.optimizer_checks import OPTIMIZERS


class OverDevices:
    """For a class of optimizers: gradients are summed over the devices before all else; see `over_devices`.

    With accumulation the moving average of the weights moves with every update, not with every batch.
    """

    def _backend_apply_gradients(self, grads, trainable_variables):
        context, steps = _devices(), self.gradient_accumulation_steps
        if context is not None and steps:
            raise ValueError(f"GRADIENT_ACCUMULATION_STEPS is {steps}, which Keras cannot do on several devices: "
                             "set it to 1, or train on one device")
        if context is not None:
            grads = context.all_reduce(tf.distribute.ReduceOp.SUM, grads)
        super()._backend_apply_gradients(grads, trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars

    def _update_model_variables_moving_average(self, trainable_variables):
        update = super()._update_model_variables_moving_average
        steps = self.gradient_accumulation_steps
        if not steps:
            return update(trainable_variables)
        return keras.ops.cond((self._iterations + 1) % steps == 0, lambda: update(trainable_variables), lambda: None)


@functools.cache
def over_devices(kind):
    """A subclass, of the same name, of a class of Keras' optimizers, that trains on any number of devices."""
    if issubclass(kind, OverDevices):
        return kind
    made = type(kind.__name__, (OverDevices, kind), {"__module__": __name__, "__doc__": kind.__doc__})
    return keras.saving.register_keras_serializable(PACKAGE)(made)


@keras.saving.register_keras_serializable(PACKAGE)
class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras' scaling of the loss for float16; an update is left out where the gradient of any device is not finite."""

    def apply(self, grads, trainable_variables=None):
        context = _devices()
        if context is not None:
            # the mean: the optimizer inside adds the devices' gradients up once more
            present = [grad for grad in grads if grad is not None]
            reduced = iter(context.all_reduce(tf.distribute.ReduceOp.MEAN, present))
            grads = [None if grad is None else next(reduced) for grad in grads]
        super().apply(grads, trainable_variables)


def _devices():
    """What adds up over devices, inside a step of several; None on a single one."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


for _name in OPTIMIZERS:  # a saved model is loaded by these names
    if hasattr(keras.optimizers, _name):
        over_devices(getattr(keras.optimizers, _name))

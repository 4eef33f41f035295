"""Keras' optimizers, made to give on several devices what one gives with the same batch.

Keras' own clip, and look for values that are not finite, in each device's gradient before the
devices' gradients are added up. Here they are added up first.
"""

import functools

import keras
import tensorflow as tf

from mrcnn.config.choices import OPTIMIZERS
from mrcnn.distributed.reduce import mean_over_devices, replica_context
from mrcnn.networks.layers.base import PACKAGE
from mrcnn.networks.layers.weight_decay import with_decay


class OverDevices:
    """For a class of optimizers: gradients are summed over the devices before all else; see
    `over_devices`.

    With accumulation the moving average of the weights moves with every update, not with every
    batch.

    Attributes:
        adds_decay: that the gradient of the weight decay is added here where the losses leave it
            out; see `networks.layers.weight_decay.decay_apart`.
    """

    adds_decay = True

    def _backend_apply_gradients(self, grads, trainable_variables):
        context, steps = replica_context(), self.gradient_accumulation_steps
        if context is not None and steps:
            raise ValueError(
                f"GRADIENT_ACCUMULATION_STEPS is {steps}, which Keras cannot do on several "
                "devices: "
                "set it to 1, or train on one device"
            )
        if context is not None:
            grads = context.all_reduce(tf.distribute.ReduceOp.SUM, grads)
        # of the sum, once
        grads = [with_decay(*pair) for pair in zip(grads, trainable_variables, strict=True)]
        super()._backend_apply_gradients(grads, trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars

    def _update_model_variables_moving_average(self, trainable_variables):
        update = super()._update_model_variables_moving_average
        steps = self.gradient_accumulation_steps
        if not steps:
            return update(trainable_variables)
        return keras.ops.cond(
            (self._iterations + 1) % steps == 0, lambda: update(trainable_variables), lambda: None
        )


class InPlaceMomentum:
    """For SGD: momentum and weights are updated where they lie, by one operation.

    Keras' own step makes five, with results as large as the weights, of which the first, the
    momentum times a number, needs no gradient: TensorFlow computes it for all weights at the start
    of a step and keeps it.
    """

    def update_step(self, gradient, variable, learning_rate):
        if self.momentum == 0:
            return super().update_step(gradient, variable, learning_rate)
        momentum = self.momentums[self._get_variable_index(variable)]
        number = functools.partial(tf.cast, dtype=variable.dtype)
        return tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=momentum.value.handle,
            lr=number(learning_rate),
            grad=number(gradient),
            momentum=number(self.momentum),
            use_nesterov=self.nesterov,
        )


@functools.cache
def over_devices(kind):
    """A subclass, of the same name, of a class of Keras' optimizers, that trains on any number of
    devices.
    """
    if issubclass(kind, OverDevices):
        return kind
    bases = (
        (OverDevices, InPlaceMomentum, kind)
        if kind is keras.optimizers.SGD
        else (OverDevices, kind)
    )
    made = type(kind.__name__, bases, {"__module__": __name__, "__doc__": kind.__doc__})
    return keras.saving.register_keras_serializable(PACKAGE)(made)


@keras.saving.register_keras_serializable(PACKAGE)
class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras' scaling of the loss for float16; an update is left out where the gradient of any
    device is not finite.
    """

    def apply(self, grads, trainable_variables=None):
        # the mean: the optimizer inside adds the devices' gradients up once more
        reduced = iter(mean_over_devices([grad for grad in grads if grad is not None]))
        grads = [None if grad is None else next(reduced) for grad in grads]
        super().apply(grads, trainable_variables)


for _name in OPTIMIZERS:  # a saved model is loaded by these names
    if hasattr(keras.optimizers, _name):
        over_devices(getattr(keras.optimizers, _name))

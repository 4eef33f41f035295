"""Momentum that is written over the old one: less memory for training, and for nothing else."""

import functools

import keras
import tensorflow as tf

from mrcnn.common.keras_internals import variable_index


def momentum_in_place(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Have Keras' SGD update momentum and weights where they lie, by one operation.

    Keras' own step makes five, each with a result as large as the weights, and puts a new buffer in
    the place of the old momentum: between these what is freed cannot be used again. It may be left
    out: results are the same. Other optimizers, and SGD without momentum, stay as they are.

    Returns:
        The optimizer itself.
    """
    if type(optimizer) is keras.optimizers.SGD and optimizer.momentum:
        optimizer.update_step = functools.partial(_update_step, optimizer)
    return optimizer


def _update_step(optimizer, gradient, variable, learning_rate):
    momentum = optimizer.momentums[variable_index(optimizer, variable)]
    number = functools.partial(tf.cast, dtype=variable.dtype)
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=variable.handle,
        accum=momentum.value.handle,
        lr=number(learning_rate),
        grad=number(gradient),
        momentum=number(optimizer.momentum),
        use_nesterov=optimizer.nesterov,
    )

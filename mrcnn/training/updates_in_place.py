"""Updates that are written over the old weights and averages: less memory and time for training,
and nothing else.
"""

import functools

import keras
import tensorflow as tf

from mrcnn.common.keras_internals import adam_averages, variable_index


def updates_in_place(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Have Keras' SGD with momentum, Adam and AdamW update averages and weights where they lie, by
    one operation.

    Keras' own steps make five and eleven, each with a result as large as the weights, and put new
    buffers in the place of the old averages: between these what is freed cannot be used again. It
    may be left out: results are the same. Other optimizers, and variants of these, stay as they
    are.

    Returns:
        The optimizer itself.
    """
    if type(optimizer) is keras.optimizers.SGD and optimizer.momentum:
        optimizer.update_step = functools.partial(_momentum_step, optimizer)
    elif type(optimizer) in (keras.optimizers.Adam, keras.optimizers.AdamW):
        if not optimizer.amsgrad:
            optimizer.update_step = functools.partial(_adam_step, optimizer)
    return optimizer


def _momentum_step(optimizer, gradient, variable, learning_rate):
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


def _adam_step(optimizer, gradient, variable, learning_rate):
    mean, square = adam_averages(optimizer, variable)
    number = functools.partial(tf.cast, dtype=variable.dtype)
    steps = tf.cast(optimizer.iterations + 1, variable.dtype)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=mean.value.handle,
        v=square.value.handle,
        beta1_power=number(optimizer.beta_1) ** steps,
        beta2_power=number(optimizer.beta_2) ** steps,
        lr=number(learning_rate),
        beta1=number(optimizer.beta_1),
        beta2=number(optimizer.beta_2),
        epsilon=number(optimizer.epsilon),
        grad=number(gradient),
    )

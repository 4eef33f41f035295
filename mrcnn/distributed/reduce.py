"""Values that several devices exchange within a step of ``tf.distribute``."""

import tensorflow as tf


def mean_over_devices(values):
    """The mean of each device's values; on a single device the values as they are.

    Args:
        values: a tensor, or a list of tensors and None; None stays None.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    if not isinstance(values, list):
        return context.all_reduce(tf.distribute.ReduceOp.MEAN, values)
    present = [value for value in values if value is not None]
    reduced = iter(context.all_reduce(tf.distribute.ReduceOp.MEAN, present))
    return [None if value is None else next(reduced) for value in values]


def sum_over_devices(values):
    """The sum of each device's values, for a loss that is no mean, such as a ratio of sums.

    Every device then computes the loss of the whole batch. The gradient is multiplied by the number
    of devices: the mean of the devices' gradients, which a training step takes, is that of the
    whole batch.

    Args:
        values: a float tensor.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values

    @tf.custom_gradient
    def total(local):
        def gradient(upstream):
            return context.num_replicas_in_sync * upstream

        return context.all_reduce(tf.distribute.ReduceOp.SUM, local), gradient

    return total(values)

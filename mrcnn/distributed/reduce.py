"""Values that several devices exchange within a step of ``tf.distribute``."""

import tensorflow as tf


def replica_context():
    """What adds up over devices, inside a step of several; None on a single one."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def mean_over_devices(values):
    """The mean of each device's values, a tensor or a list of them; on a single device what is
    given.
    """
    context = replica_context()
    return values if context is None else context.all_reduce(tf.distribute.ReduceOp.MEAN, values)

"""GRADIENT_ACCUMULATION_STEPS: one update for the mean gradient of several batches."""

import keras
import tensorflow as tf

from mrcnn.training.run_state import SUM


class GradientSum:
    """Gradients of the batches since the last update, added up. On one device only.

    With float16 the gradients are of the scaled loss. The scale changes with updates alone, so
    those of one sum have the same; if one of them is not finite the whole update is skipped.

    Args:
        variables: the keras.Variables in training.
        steps: batches of one update.

    Raises:
        ValueError: made within the scope of a strategy over several devices.
    """

    def __init__(self, variables, steps):
        devices = tf.distribute.get_strategy().num_replicas_in_sync
        if devices > 1:
            raise ValueError(
                f"GRADIENT_ACCUMULATION_STEPS is {steps}, which is not supported on several "
                f"devices ({devices} here): set it to 1, or train on one device"
            )
        self.steps = int(steps)
        self.sums = [
            keras.Variable(
                keras.ops.zeros(variable.shape, variable.dtype),
                name=variable.path.replace("/", "_") + SUM,
                trainable=False,
            )
            for variable in variables
        ]
        self.batches = keras.Variable(
            0, dtype="int64", name="gradient_sum_batches", trainable=False
        )

    @property
    def variables(self):
        """All variables, whose names are those of the weights."""
        return [*self.sums, self.batches]

    def add(self, gradients, update):
        """Add the gradients of a batch.

        Args:
            gradients: a tensor for each variable, or None for one that no loss depends on.
            update: function of the list of mean gradients, called after the last batch of an
                update; the sum begins again then.
        """
        for total, gradient in zip(self.sums, gradients, strict=True):
            if gradient is not None:
                total.assign_add(gradient)
        self.batches.assign_add(1)

        def complete():
            means = [total / self.steps for total in self.sums]
            self.clear()
            # the same in every batch: what no loss depends on is no part of the update
            update([None if g is None else mean for g, mean in zip(gradients, means, strict=True)])

        tf.cond(self.batches >= self.steps, complete, lambda: None)

    def clear(self):
        """Forget the batches since the last update."""
        for total in self.sums:
            total.assign(keras.ops.zeros_like(total))
        self.batches.assign(0)

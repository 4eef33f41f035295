"""EMA_MOMENTUM: a moving average of the weights, used for validation and checkpoints.

Training goes on with the weights themselves. Validation, COCO AP, the checkpoints and the user's
callbacks at the end of an epoch see the average instead; the average's variables, and so the state
file, hold the weights meanwhile. A stage ends with the average as its weights.
"""

import contextlib

import keras
import tensorflow as tf


class WeightAverage:
    """Exponential moving average of variables, each of which it pairs with a variable of its own.

    The first update makes the average equal to the weights. An update that the optimizer skips, as
    with float16 where a gradient is not finite, moves the average too, towards the same weights.

    Args:
        variables: the keras.Variables in training.
        momentum: share of the old value, between 0 and 1.
    """

    def __init__(self, variables, momentum):
        self.momentum = float(momentum)
        self.pairs = [(variable, _average_of(variable)) for variable in variables]
        self.updates = keras.Variable(0, dtype="int64", name="average_updates", trainable=False)

    @property
    def variables(self):
        """All variables; that of the weight "conv1/kernel" is called "conv1_kernel_average"."""
        return [*(average for _, average in self.pairs), self.updates]

    def update(self):
        """Move towards the weights."""
        momentum = tf.where(tf.equal(self.updates, 0), 0.0, self.momentum)
        for variable, average in self.pairs:
            old = tf.cast(momentum, variable.dtype)
            average.assign(old * average + (1 - old) * variable)
        self.updates.assign_add(1)

    def begin(self, updates=0):
        """Set the average to the weights, as after this number of updates."""
        for variable, average in self.pairs:
            average.assign(variable.numpy())
        self.updates.assign(updates)

    def exchange(self):
        """Give the weights the values of the average, and the other way round, to the bit."""
        for variable, average in self.pairs:
            value = variable.numpy()
            variable.assign(average.numpy())
            average.assign(value)


def _average_of(variable):
    name = f"{variable.path.replace('/', '_')}_average"
    return keras.Variable(variable.numpy(), dtype=variable.dtype, name=name, trainable=False)


@contextlib.contextmanager
def shown(average):
    """Give the weights the values of their `WeightAverage` for a while; None changes nothing."""
    if average is not None:
        average.exchange()
    try:
        yield
    finally:
        if average is not None:
            average.exchange()


class ShowAverage(keras.callbacks.Callback):
    """Exchange weights and averages for validation and the end of an epoch; before all callbacks
    that see weights.

    Keras' own SwapEMAWeights does it by adding and subtracting, which rounds the weights, and takes
    the weights for the average in the epoch that a callback stops.

    Args:
        average: `WeightAverage`, with the values of ``resumed`` where there is one.
        resumed: the `training.run_state.RunState` of this stage where it was under way, or None. It
            was written when the averages were shown.
    """

    def __init__(self, average, resumed=None):
        super().__init__()
        self.average = average
        self.shown = resumed is not None
        if resumed is None:
            average.begin()
        elif average.updates.name not in resumed.optimizer:  # EMA_MOMENTUM was None until now
            average.begin(updates=1)

    def on_epoch_begin(self, epoch, logs=None):
        self._show(False)

    def on_test_begin(self, logs=None):
        self._show(True)

    def on_epoch_end(self, epoch, logs=None):
        self._show(True)

    def _show(self, shown):
        if shown != self.shown:
            self.shown = shown
            self.average.exchange()

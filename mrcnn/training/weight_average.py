"""EMA_MOMENTUM: a moving average of the weights, which is what a training shows of itself.

Training goes on with the weights themselves. Validation, COCO AP, the checkpoints and the user's
callbacks at the end of an epoch see the average in their place; the average's slots in the
optimizer, and so the state file, hold the weights meanwhile. A stage ends with the average as its
weights: Keras' ``fit`` does that too.
"""

import keras


def averages(optimizer):
    """Pairs of each variable in training and its average; none where the optimizer keeps no
    average.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not inner.use_ema:
        return []
    return list(zip(inner._trainable_variables, inner._model_variables_moving_average))


class ShowAverage(keras.callbacks.Callback):
    """Exchange weights and averages for validation and the end of an epoch; before all callbacks
    that see weights.

    Keras' own SwapEMAWeights does it by adding and subtracting, which rounds the weights, and takes
    the weights for the average in the epoch that a callback stops.

    Args:
        optimizer: built, with the values of ``resumed`` where there is one.
        resumed: the `training.run_state.RunState` of this stage where it was under way, or None. It
            was written when the averages were shown.
    """

    def __init__(self, optimizer, resumed=None):
        super().__init__()
        self.pairs = averages(optimizer)
        self.shown = resumed is not None
        for variable, average in self.pairs:
            if resumed is None or average.name not in resumed.optimizer:
                average.assign(variable.numpy())

    def on_epoch_begin(self, epoch, logs=None):
        self._show(False)

    def on_test_begin(self, logs=None):
        self._show(True)

    def on_epoch_end(self, epoch, logs=None):
        self._show(True)

    def _show(self, shown):
        if shown == self.shown:
            return
        self.shown = shown
        for variable, average in self.pairs:
            value = variable.numpy()
            variable.assign(average.numpy())
            average.assign(value)


def settle(optimizer):
    """Make the weights that are shown as a stage ends its averages, which ``fit`` then takes as the
    weights.
    """
    for variable, average in averages(optimizer):
        average.assign(variable.numpy())

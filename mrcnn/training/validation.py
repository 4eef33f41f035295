"""Measures of the validation set, such as COCO AP, as metrics of a training."""

import keras
import numpy as np

from mrcnn.distributed.strategy import is_chief, of_chief, over_machines


class Evaluate(keras.callbacks.Callback):
    """Put measures of an evaluation into the logs of every few epochs.

    Their names have "val_" before them, so that callbacks that come later, such as ModelCheckpoint
    and EarlyStopping(monitor="val_segm_AP", mode="max"), find them. Epochs in between have no such
    metric: Keras' callbacks then wait for the next, and warn once.

    Of several machines the chief measures, and tells the others.

    Args:
        detector: function that gives an object with ``evaluate`` as `MaskRCNN` has it, of the
            weights in training.
        dataset: a prepared ``Dataset``.
        is_due: function of the epoch, from 0.
        measures: names among those of the evaluation.
        verbose: False prints nothing.
    """

    def __init__(self, detector, dataset, is_due, measures, verbose=True):
        super().__init__()
        self.detector, self.dataset, self.is_due = detector, dataset, is_due
        self.measures, self.verbose = measures, verbose

    def on_epoch_end(self, epoch, logs=None):
        if logs is None or not self.is_due(epoch):
            return
        strategy, found = self.model.distribute_strategy, {}
        if is_chief(strategy):
            evaluation = self.detector().evaluate(self.dataset, verbose=0)
            found = {
                f"val_{name}": float(evaluation[name])
                for name in self.measures
                if name in evaluation
            }
        # callbacks that look at them, such as EarlyStopping, must do the same on all
        if over_machines(strategy):
            names = [f"val_{name}" for name in self.measures]
            values = of_chief(strategy, [found.get(name, np.nan) for name in names])
            found = {
                name: float(value) for name, value in zip(names, values) if not np.isnan(value)
            }
        logs.update(found)
        if self.verbose:
            print(
                f"\nEpoch {epoch + 1}: "
                + ", ".join(f"{name} {value:.3f}" for name, value in found.items())
            )

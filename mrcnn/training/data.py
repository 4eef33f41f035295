"""The batches that Keras reads."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from mrcnn.data.pipeline import TrainingBatches


class TrainingData(keras.utils.PyDataset):
    """An epoch of batches for ``fit``.

    Args:
        batches: `data.pipeline.TrainingBatches`.
        steps: batches of an epoch.
        dtypes: of the model's inputs.
        epoch: epochs already trained: the data go on where they ended. `CountEpochs` keeps it up.
        repeat: whether every epoch has the same batches, as for validation.
        workers: threads that prepare batches; never processes, for a fork of a process in
            which TensorFlow has started may hang.
        max_queue_size: batches prepared ahead.
        start: number of the batch that ``epoch`` begins with; None: all epochs had ``steps``.
    """

    def __init__(self, batches, steps, dtypes, epoch=0, repeat=False, workers=1, max_queue_size=8, start=None):
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=max_queue_size)
        self.batches = batches
        self.steps = steps
        self.dtypes = dtypes
        self.epoch = epoch
        self.repeat = repeat
        self.error = None  # what a batch ended in, for `own_errors`
        self._start = epoch * steps if start is None else start
        self._start_epoch = epoch

    def __len__(self):
        return self.steps

    def first(self):
        """Number of the epoch's first batch."""
        return 0 if self.repeat else self._start + (self.epoch - self._start_epoch) * self.steps

    def __getitem__(self, step):
        try:
            arrays = self.batches.batch(self.first() + step)
        except Exception as error:
            self.error = error
            raise
        return (tuple(np.asarray(array, dtype) for array, dtype in zip(arrays, self.dtypes)),)


@contextlib.contextmanager
def own_errors(*sources):
    """Raise what ended a batch itself: TensorFlow wraps it in an error of its own, and in its stack.

    Args:
        sources: `TrainingData`, or None.
    """
    try:
        yield
    except tf.errors.OpError:
        for source in sources:
            if source is not None and source.error is not None:
                raise source.error from None
        raise


def training_data(model, dataset, config, steps, epoch=0, repeat=False, workers=1, start=None, **options):
    """`TrainingData` of a dataset for a training model; options as of `TrainingBatches`."""
    batches = TrainingBatches(dataset, config, **options)
    # Keras averages a first batch over the devices, which TensorFlow cannot do with bool
    dtypes = ["uint8" if tensor.dtype == "bool" else tensor.dtype for tensor in model.inputs]
    return TrainingData(batches, steps, dtypes, epoch, repeat, workers, start=start)


class CountEpochs(keras.callbacks.Callback):
    """Tell the `TrainingData` which epoch begins.

    Its own ``on_epoch_end`` would not do: ``fit`` calls that once before the first epoch too,
    after a look at the data.
    """

    def __init__(self, data):
        super().__init__()
        self.data = data

    def on_epoch_begin(self, epoch, logs=None):
        self.data.epoch = epoch

"""The batches that Keras reads."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from mrcnn.common.keras_internals import not_tuned, own_rows
from mrcnn.common.threads import map_all
from mrcnn.data.batches import TrainingBatches
from mrcnn.data.cache.dataset import RecordDataset
from mrcnn.data.cache.read import record_pipeline
from mrcnn.distributed.cluster import cluster
from mrcnn.distributed.strategy import over_machines


class TrainingData(keras.utils.PyDataset):
    """An epoch of batches for ``fit``.

    Args:
        batches: `data.numbered_batches.NumberedBatches`.
        steps: batches of an epoch.
        dtypes: of the model's inputs.
        epoch: epochs already trained: the data go on where they ended. `CountEpochs` keeps it up.
        repeat: whether every epoch has the same batches, as for validation.
        workers: threads that prepare batches; never processes, for a fork of a process in
            which TensorFlow has started may hang.
        max_queue_size: batches prepared ahead.
        start: number of the batch that ``epoch`` begins with; None: all epochs had ``steps``.
        shard: (number of this machine, number of all), each of which reads its own rows of every
            step's images; ``batches`` has the batch size of one of them.
    """

    def __init__(
        self,
        batches,
        steps,
        dtypes,
        epoch=0,
        repeat=False,
        workers=1,
        max_queue_size=8,
        start=None,
        shard=(0, 1),
    ):
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=max_queue_size)
        self.batches = batches
        self.steps = steps
        self.dtypes = dtypes
        self.epoch = epoch
        self.repeat = repeat
        self.error = None  # what a batch ended in, for `own_errors`
        self._start = epoch * steps if start is None else start
        self._start_epoch = epoch
        self.shard = shard

    @property
    def batch_size(self):
        """Images of a step, on all machines."""
        return self.batches.batch_size * self.shard[1]

    def __len__(self):
        return self.steps

    def first(self):
        """Number of the epoch's first batch."""
        return 0 if self.repeat else self._start + (self.epoch - self._start_epoch) * self.steps

    def numbers(self, step):
        """Numbers of the batches of ``batches`` that the machines read in a step of the epoch."""
        first = (self.first() + step) * self.shard[1]
        return range(first, first + self.shard[1])

    def __getitem__(self, step):
        return (self.inputs(self.numbers(step)[self.shard[0]]),)

    def check(self, workers=1, progress=False):
        """Load the images of an epoch once, each a single time, so that what is wrong with one is
        known before it is needed.

        Args:
            workers: threads that load them.
            progress: show a progress bar on stderr.

        Raises:
            ValueError: what ``batches.batch`` raises.
        """
        numbers = [self.numbers(step)[self.shard[0]] for step in range(self.steps)]
        numbers = list(self.batches.with_new_images(numbers))
        what = "Checking the validation images"
        for _ in map_all(self.batches.samples, numbers, what, progress, workers):
            pass

    def inputs(self, number, at_hand=None):
        """The model's inputs of a batch; arguments as of ``batches.batch``."""
        try:
            arrays = self.batches.batch(number, *([] if at_hand is None else [at_hand]))
        except Exception as error:
            self.error = error
            raise
        return tuple(np.asarray(array, dtype) for array, dtype in zip(arrays, self.dtypes))

    def feed(self, strategy=None):
        """What ``fit`` reads with a strategy, or None.

        It is made of this object or, where the data set is a cache, of a `tf.data.Dataset` of the
        same batches.
        """
        feed = self
        if isinstance(self.batches.dataset, RecordDataset):
            feed = record_pipeline(
                self.batches, self.steps, self.first, self.inputs, self.workers, *self.shard
            ).map(lambda *inputs: (inputs,))
        feed = not_tuned(feed)
        if over_machines(strategy):
            return own_rows(feed, strategy, self.batches.config.IMAGES_PER_GPU)
        return feed


@contextlib.contextmanager
def own_errors(*sources):
    """Raise what ended a batch itself: TensorFlow wraps it in an error of its own, and in its
    stack.

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


def training_data(
    model, dataset, config, steps, epoch=0, repeat=False, workers=1, start=None, **options
):
    """`TrainingData` of a dataset for a training model of Mask R-CNN; options as of
    `TrainingBatches`.
    """
    batches = TrainingBatches(dataset, config, training=not repeat, **options)
    return as_training_data(model, batches, steps, epoch, repeat, workers, start)


def as_training_data(model, batches, steps, epoch=0, repeat=False, workers=1, start=None):
    """`TrainingData` of `data.numbered_batches.NumberedBatches` for a training model."""
    machines = cluster() if over_machines(model.distribute_strategy) else None
    shard = (machines.index, len(machines.workers)) if machines else (0, 1)
    dtypes = [tensor.dtype for tensor in model.inputs]
    return TrainingData(batches, steps, dtypes, epoch, repeat, workers, start=start, shard=shard)


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

"""Training: which layers a stage trains, the data that Keras reads, what happens after each epoch."""

import contextlib
import re

import keras
import numpy as np
import tensorflow as tf

from mrcnn.data.pipeline import TrainingBatches
from mrcnn.weights import save_h5

# The stages people train in, as patterns of layer names.
HEADS = r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)"
STAGES = {
    "heads": HEADS,
    "3+": r"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|" + HEADS,
    "4+": r"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|" + HEADS,
    "5+": r"(res5.*)|(bn5.*)|" + HEADS,
    "all": ".*",
}


# === Which layers train ===

def trainable_layers(model, pattern):
    """Pair each layer with weights, inside nested models too, with whether it is to be trained.

    Args:
        model: a Keras model.
        pattern: regular expression that the whole name of a trained layer matches. A layer of
            a keras.applications backbone is also known by its stage, as "res4" for stage 4.

    Returns:
        list of (layer, bool).
    """
    chosen = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            chosen.extend((inner, bool(re.fullmatch(pattern, inner.name) or re.fullmatch(pattern, alias)))
                          for inner, alias in _aliases(layer))
        elif layer.weights:
            chosen.append((layer, bool(re.fullmatch(pattern, layer.name))))
    return chosen


def _aliases(nested):
    """(layer, stage name) of a nested model's layers with weights; the RPN's have no stage."""
    taps = [output._keras_history.operation for output in nested.outputs]
    is_backbone = len(taps) == 4
    stage = 2
    for layer in nested.layers:
        if layer.weights:
            yield layer, f"res{stage}" if is_backbone else layer.name
        if is_backbone and stage < 5 and layer is taps[stage - 2]:
            stage += 1


def set_trainable(model, pattern):
    """Train the layers that `trainable_layers` chooses, freeze the others; returns the trained ones.

    Raises:
        ValueError: no layer matches.
    """
    chosen = trainable_layers(model, pattern)
    trained = [layer for layer, train in chosen if train]
    if not trained:
        raise ValueError(f"layers={pattern!r} matches no layer; use one of {sorted(STAGES)} or a regular expression "
                         "of layer names such as 'mrcnn_.*'")
    for layer, train in chosen:
        layer.trainable = train
    return trained


# === Optimizer ===

def keep_slots(old, new, variables):
    """Build an optimizer, with the momentum that an earlier one had for the same variables.

    Args:
        old: the earlier optimizer, or None.
        new: a new optimizer of the same kind.
        variables: those that are now to be trained.
    """
    new.build(variables)
    known = {slot.name: slot for slot in old.variables} if old is not None else {}
    for slot in new.variables:
        if slot is not new.iterations and slot is not new._learning_rate and slot.name in known:
            slot.assign(known[slot.name])


# === Data ===

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
    """

    def __init__(self, batches, steps, dtypes, epoch=0, repeat=False, workers=1, max_queue_size=8):
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=max_queue_size)
        self.batches = batches
        self.steps = steps
        self.dtypes = dtypes
        self.epoch = epoch
        self.repeat = repeat
        self.error = None  # what a batch ended in, for `own_errors`

    def __len__(self):
        return self.steps

    def first(self):
        """Number of the epoch's first batch."""
        return 0 if self.repeat else self.epoch * self.steps

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


def training_data(model, dataset, config, steps, epoch=0, repeat=False, workers=1, **options):
    """`TrainingData` of a dataset for a training model; options as of `TrainingBatches`."""
    batches = TrainingBatches(dataset, config, **options)
    # Keras averages a first batch over the devices, which TensorFlow cannot do with bool
    dtypes = ["uint8" if tensor.dtype == "bool" else tensor.dtype for tensor in model.inputs]
    return TrainingData(batches, steps, dtypes, epoch, repeat, workers)


# === Before and after each epoch ===

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


class WeightsCheckpoint(keras.callbacks.Callback):
    """Write the weights after every epoch, in the layout of the published files.

    Args:
        pattern: path with "{epoch:04d}" in it; epochs count from 1.
    """

    def __init__(self, pattern):
        super().__init__()
        self.pattern = pattern

    def on_epoch_end(self, epoch, logs=None):
        save_h5(self.model, self.pattern.format(epoch=epoch + 1))


class TellWhatIsLeftOut(keras.callbacks.Callback):
    """Print at the end what of the training set could not be used.

    Args:
        data: the `TrainingData` being trained on.
    """

    def __init__(self, data):
        super().__init__()
        self.batches = data.batches

    def on_train_begin(self, logs=None):
        # Keras looks at a few batches before
        self.batches.skipped = self.batches.dropped = 0

    def on_train_end(self, logs=None):
        if self.batches.skipped:
            print(f"{self.batches.skipped} times an image without an object was replaced by the next one")
        if self.batches.dropped:
            print(f"{self.batches.dropped} objects were left out of images with more than MAX_GT_INSTANCES = "
                  f"{self.batches.config.MAX_GT_INSTANCES}")


class StopOnBadLoss(keras.callbacks.Callback):
    """Raise at the first loss that is NaN or infinite, before its weights are saved.

    Args:
        data: the `TrainingData` being trained on, to name the images.
    """

    def __init__(self, data):
        super().__init__()
        self.data = data

    def on_train_batch_end(self, batch, logs=None):
        bad = {name: float(value) for name, value in (logs or {}).items() if not np.isfinite(value)}
        if bad:
            batches = self.data.batches
            images = [batches.dataset.image_info[image]["id"] for image in batches.image_ids(self.data.first() + batch)]
            raise FloatingPointError(
                f"{bad} in step {batch + 1} of the epoch, on the images {images}. Lower LEARNING_RATE, and look at "
                "these images' boxes and masks. The weights of the last whole epoch are kept")

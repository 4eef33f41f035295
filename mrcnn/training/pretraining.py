"""Pretraining of the backbone as a classifier, as Faster R-CNN's was on ImageNet (Ren et al. 2015,
section 3.1).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np

from mrcnn.common.files import AnyPath
from mrcnn.common.keras_internals import not_tuned
from mrcnn.common.progress import track
from mrcnn.data.class_checks import check_same_classes
from mrcnn.data.crops import ObjectCrops
from mrcnn.networks.backbones.build import backbone_graph
from mrcnn.networks.dtype_policy import under_policy
from mrcnn.training.data import CountEpochs, TrainingData, own_errors
from mrcnn.training.optimizer import make_optimizer
from mrcnn.weights.load import load_weights, save_h5

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset


class Pretraining(NamedTuple):
    """What `pretrain_backbone` gives."""

    path: AnyPath  # .h5 file of the backbone's weights
    accuracy: float  # share of right classes among the training crops of the last epoch
    val_accuracy: float | None  # the same of the validation crops, or None
    history: keras.callbacks.History


@under_policy
def classifier(config: Config, classes: int, train_bn: bool | None = None) -> keras.Model:
    """A classifier of images: the backbone with a global average and a fully connected layer on
    top.

    Args:
        config: a ``Config``; its backbone gets the layer names that it has in the whole network.
        classes: number of classes, without a background.
        train_bn: in place of the config's TRAIN_BN; None trains the statistics.

    Returns:
        keras.Model of float32 [b, h, w, c] -> logits [b, classes]. h and w are multiples of 32.
    """
    config = copy.copy(config)
    config.TRAIN_BN = train_bn
    image = keras.Input((None, None, config.IMAGE_CHANNEL_COUNT), name="input_image")
    pooled = keras.layers.GlobalAveragePooling2D(name="crop_pool")(
        backbone_graph(image, config)[-1]
    )
    logits = keras.layers.Dense(classes, dtype="float32", name="crop_class")(pooled)
    return keras.Model(image, logits, name="classifier")


def pretrain_backbone(
    config: Config,
    dataset: Dataset,
    path: AnyPath,
    epochs: int,
    *,
    val_dataset: Dataset | None = None,
    size: int = 128,
    batch_size: int = 32,
    learning_rate: float = 0.01,
    weights: AnyPath | None = None,
    train_bn: bool | None = None,
    workers: int = 1,
    verbose: int | str = "auto",
) -> Pretraining:
    """Train a backbone to tell the classes of a data set's objects from crops of single objects.

    Load what it writes with ``model.load_weights(path, by_name=True)`` before ``train``. Every crop
    has one class, so classes seldom seen train on few of them. All layers train, on one device and
    without WEIGHT_DECAY.

    Args:
        config: the ``Config`` of the network; STEPS_PER_EPOCH and VALIDATION_STEPS batches make an
            epoch.
        dataset, val_dataset: prepared ``Dataset``s; ``val_dataset`` None leaves validation out.
        path: .h5 file to write, in the layout of the other weights.
        epochs: number of epochs.
        size: side of a crop in px, a multiple of 32.
        batch_size: crops of a step.
        learning_rate: of OPTIMIZER, in all epochs.
        weights: .h5 or .pth file to start from, such as ImageNet's; None: random weights.
        train_bn: None trains the statistics of batch norm, which random weights need; False keeps
            those of ``weights``.
        workers: threads that prepare crops.
        verbose: of ``fit``.

    Returns:
        `Pretraining`.

    Raises:
        ValueError: a data set that has no objects, fewer than two classes, or does not fit the
            config.
    """
    classes = config.NUM_CLASSES - 1
    if classes < 2:
        raise ValueError(
            f"NUM_CLASSES is {config.NUM_CLASSES}: a classifier needs two classes besides the "
            "background"
        )
    if size % 32:
        raise ValueError(f"size is {size}; it must be a multiple of 32, the stride of the backbone")
    if config.SEED is not None:
        keras.utils.set_random_seed(config.SEED)
    model = classifier(config, classes, train_bn)
    if weights:
        print(load_weights(model, weights))
    optimizer = make_optimizer(
        config, learning_rate, config.LEARNING_MOMENTUM, model.dtype_policy.name
    )
    # Keras' own averages and sums of gradients do where nothing resumes
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if config.EMA_MOMENTUM is not None:
        # Keras moves the average with every batch, EMA_MOMENTUM is of an update
        momentum = config.EMA_MOMENTUM ** (1 / config.GRADIENT_ACCUMULATION_STEPS)
        inner.use_ema, inner.ema_momentum = True, momentum
    if config.GRADIENT_ACCUMULATION_STEPS > 1:
        inner.gradient_accumulation_steps = int(config.GRADIENT_ACCUMULATION_STEPS)
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    data = _Crops(
        ObjectCrops(dataset, config, size, batch_size, augment=True),
        config.STEPS_PER_EPOCH,
        workers,
    )
    validation = None
    if val_dataset is not None:
        check_same_classes(dataset, val_dataset)
        validation = _Crops(
            ObjectCrops(val_dataset, config, size, batch_size, training=False),
            config.VALIDATION_STEPS,
            workers,
            True,
        )
        for step in track(
            range(config.VALIDATION_STEPS), "Checking the validation images", verbose != 0
        ):
            validation[step]  # what is wrong with one shows before the first step
    with own_errors(data, validation):
        history = model.fit(
            not_tuned(data),
            epochs=epochs,
            validation_data=validation and not_tuned(validation),
            shuffle=False,
            verbose=verbose,
            callbacks=[CountEpochs(data), keras.callbacks.TerminateOnNaN()],
        )
    if not np.isfinite(history.history["loss"]).all():
        raise FloatingPointError(
            f"the loss became NaN or infinite in epoch {len(history.epoch)}: lower learning_rate, "
            f"which is {learning_rate}"
        )
    save_h5(model, path)
    accuracy = {name: values[-1] for name, values in history.history.items()}
    return Pretraining(path, accuracy["accuracy"], accuracy.get("val_accuracy"), history)


class _Crops(TrainingData):
    """An epoch of crops with their classes."""

    def __init__(self, crops, steps, workers, repeat=False):
        super().__init__(crops, steps, ["float32", "int32"], repeat=repeat, workers=workers)

    def __getitem__(self, step):
        return super().__getitem__(step)[0]

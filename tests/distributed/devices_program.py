"""What test_strategy runs in a process of its own.

Arguments: the json file to write; "slow" for the slow part.
"""

import itertools
import json
import sys
import tempfile
import warnings

import keras
import numpy as np
import tensorflow as tf

from mrcnn.model import MaskRCNN
from mrcnn.parallel_model import ParallelModel
from mrcnn.training.data import training_data
from tests.tiny import Rectangles, image, randomize, tiny_config, values

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_visible_devices([], "GPU")
# the CPU kernel of crop_and_resize's gradient loses sums where its threads meet in one pixel, as in
# the corner that all padding is cropped from
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

LOSSES = [
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
]
CLIP, RATE, STEPS = 0.5, 0.02, 3
# no anchor and no region is left out at random: 1000 * 0.03 positives, 1 / 0.03 - 1 negatives to
# each
EXACT = dict(
    POST_NMS_ROIS_TRAINING=30,
    TRAIN_ROIS_PER_IMAGE=1000,
    ROI_POSITIVE_RATIO=0.03,
    GRADIENT_CLIP_NORM=CLIP,
    STEPS_PER_EPOCH=STEPS,
    USE_RPN_ROIS=False,
)


class Weights(keras.callbacks.Callback):
    """The weights after each step."""

    def on_train_begin(self, logs=None):
        self.after = [values(self.model)]

    def on_train_batch_end(self, batch, logs=None):
        self.after.append(values(self.model))


def train(gpus, images, count, **fields):
    config = tiny_config(GPU_COUNT=gpus, IMAGES_PER_GPU=images, **{**EXACT, **fields})
    model = MaskRCNN("training", config, tempfile.mkdtemp())
    randomize(model.keras_model)
    weights = Weights()
    history = model.train(
        Rectangles(count), None, RATE, 1, "all", custom_callbacks=[weights], verbose=0
    )
    return model, history.history, weights.after


def difference(first, second):
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)


def norm(first, second):
    return float(
        np.sqrt(
            sum(np.square(first[name].astype(np.float64) - second[name]).sum() for name in first)
        )
    )


def compare(**options):
    _, one_losses, one_weights = train(1, 2, **options)
    two, two_losses, two_weights = train(2, 1, **options)
    replicas = [
        [np.asarray(local) for local in two._strategy.experimental_local_results(variable.value)]
        for variable in two.keras_model.weights
    ]
    return {
        "devices": two._strategy.num_replicas_in_sync,
        "same start": difference(one_weights[0], two_weights[0]),
        "difference": [
            difference(a, b) for a, b in zip(one_weights[1:], two_weights[1:], strict=True)
        ],
        "moved": [difference(a, b) for a, b in itertools.pairwise(one_weights)],
        "first step": [norm(weights[0], weights[1]) for weights in (one_weights, two_weights)],
        "losses": {name: [one_losses[name][0], two_losses[name][0]] for name in ["loss", *LOSSES]},
        "copies": min(len(locals_) for locals_ in replicas),
        "replicas equal": all(
            np.array_equal(locals_[0], other) for locals_ in replicas for other in locals_[1:]
        ),
    }


def too_many():
    try:
        MaskRCNN("training", tiny_config(GPU_COUNT=3, IMAGES_PER_GPU=1), tempfile.mkdtemp())
    except ValueError as error:
        return str(error)


def parallel():
    config = tiny_config()
    model = MaskRCNN("training", config, tempfile.mkdtemp()).keras_model
    randomize(model)
    start = values(model)
    wrapped = ParallelModel(model, gpu_count=2)
    wrapped.compile(keras.optimizers.SGD(RATE, global_clipnorm=CLIP), jit_compile=False)
    before = difference(start, values(wrapped.inner_model))
    history = wrapped.fit(training_data(model, Rectangles(4), config, 1), epochs=1, verbose=0)
    path = tempfile.mkdtemp() + "/parallel.weights.h5"
    wrapped.save_weights(path)
    again = MaskRCNN("training", config, tempfile.mkdtemp()).keras_model
    again.load_weights(path)
    return {
        "count": wrapped.gpu_count,
        "before": before,
        "moved": difference(start, values(wrapped.inner_model)),
        "loss": history.history["loss"][0],
        "saved": difference(values(again), values(wrapped.inner_model)),
        "layers": len(wrapped.layers) == len(model.layers),
    }


def most_different(key, one, two):
    """The largest difference of a key's values in two lists of results; masks: share of pixels."""
    pairs = [
        (first[key].astype(float), second[key].astype(float)) for first, second in zip(one, two)
    ]
    if any(first.shape != second.shape for first, second in pairs):
        return float("inf")
    apart = [np.abs(first - second) for first, second in pairs]
    return float(max(part.mean() if key == "masks" else part.max() for part in apart))


def detect():
    """Seven images of two sizes, up to four at a time: a graph for a single image rounds
    differently.
    """
    images = [image(64, 64, seed) for seed in range(4)] + [
        image(40, 100, seed) for seed in range(3)
    ]
    path, runs = tempfile.mkdtemp() + "/weights.h5", {}
    for gpus, each in ((1, 4), (2, 2)):
        config = tiny_config(GPU_COUNT=gpus, IMAGES_PER_GPU=each, IMAGE_RESIZE_MODE="pad64")
        model = MaskRCNN("inference", config, tempfile.mkdtemp())
        if gpus == 1:
            randomize(model.keras_model)
            model.save_weights(path)
        model.load_weights(path)
        runs[gpus, each] = model.detect(images)
        assert config.BATCH_SIZE == gpus * each
    one, two = runs.values()
    return {
        "objects": [len(result["rois"]) for result in one],
        **{key: most_different(key, one, two) for key in ("rois", "class_ids", "scores", "masks")},
    }


def detect_on_fewer():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MaskRCNN("inference", tiny_config(GPU_COUNT=3, IMAGES_PER_GPU=1), tempfile.mkdtemp())
    return [str(warning.message) for warning in caught if "GPU_COUNT" in str(warning.message)]


def evaluate_while_training():
    config = tiny_config(GPU_COUNT=2, IMAGES_PER_GPU=1, STEPS_PER_EPOCH=1)
    model = MaskRCNN("training", config, tempfile.mkdtemp())
    history = model.train(
        Rectangles(4), Rectangles(3), RATE, 1, "heads", verbose=0, evaluate_every=1
    )
    return sorted(history.history)


def statistics():
    """Of batch normalisation, where each device has images of its own."""
    model, _, weights = train(2, 1, 6, TRAIN_BN=None)
    copies = [
        [np.asarray(local) for local in model._strategy.experimental_local_results(variable.value)]
        for variable in model.keras_model.weights
        if "moving_" in variable.path
    ]
    moving = [name for name in weights[0] if "moving_" in name]
    return {
        "equal": all(np.array_equal(*locals_) for locals_ in copies),
        "count": len(copies),
        "moved": max(float(np.abs(weights[0][name] - weights[-1][name]).max()) for name in moving),
    }


if sys.argv[2:] == ["slow"]:
    report = {"evaluate": evaluate_while_training()}
else:
    report = {
        "statistics": statistics(),
        "too many": too_many(),
        "parallel": parallel(),
        "train": compare(count=6),
        "detect": detect(),
        "fewer": detect_on_fewer(),
    }
with open(sys.argv[1], "w") as file:
    json.dump(report, file)

"""Cases of the networks that label pixels: predictions and training steps.

Each has the same network in torch beside it, see `segmentation_peer`.
"""

import tempfile

import measure
import numpy as np

NETWORKS = {
    "unet": {"NETWORK": "unet", "NUM_CLASSES": 2},
    "fcn8s": {"NETWORK": "fcn8s", "NUM_CLASSES": 21, "BACKBONE": "resnet50"},
}
# name -> arguments of `predict` and `train_step`; those of the peer are the same but for the fields
MEASURED = {
    "unet-256-batch2": {"network": "unet", "side": 256, "batch": 2},
    "unet-256-batch2-without-bn": {
        "network": "unet",
        "side": 256,
        "batch": 2,
        "BATCH_NORM": False,
    },
    "fcn8s-r50-512-batch1": {"network": "fcn8s", "side": 512, "batch": 1},
    "fcn8s-r50-512-batch2": {"network": "fcn8s", "side": 512, "batch": 2},
}
QUICK = {"unet": {"UNET_WIDTHS": (8, 16, 24)}, "fcn8s": {"BACKBONE_WIDTH": 8}}


def predict(quick, repeats, network, side, batch, **fields):
    """From molded images to probabilities, both NumPy arrays, with random weights."""
    model = segmenter("inference", settings(quick, network, side, batch, **fields))
    images = measure.labelled(model.config.IMAGE_MAX_DIM, batch, model.config.NUM_CLASSES)[0]
    result = measure.repeat(lambda: model.predict(images), repeats)
    peak = measure.peak_bytes()
    work = flops_of(model.keras_model, [images])
    return {
        **result,
        "images": batch,
        "peak_bytes": peak,
        **gflop(work.forward, result["seconds"]),
    }


def train_step(quick, repeats, network, side, batch, **fields):
    """One optimizer step of all layers on one batch that stays the same."""
    model = segmenter("training", settings(quick, network, side, batch, **fields))
    inputs = measure.labelled(model.config.IMAGE_MAX_DIM, batch, model.config.NUM_CLASSES)
    model.set_trainable(".*", verbose=0)
    model.compile(1e-9, model.config.LEARNING_MOMENTUM)
    train, losses = model.keras_model.train_on_batch, []
    result = measure.repeat(
        lambda: losses.append(train(list(inputs), return_dict=True)["loss"]), repeats
    )
    peak = measure.peak_bytes()
    if not np.isfinite(losses).all():
        raise FloatingPointError(f"the losses are {losses}")
    work = flops_of(model.keras_model, inputs)
    return {
        **result,
        "images": batch,
        "peak_bytes": peak,
        **gflop(work.forward + work.backward, result["seconds"]),
    }


def settings(quick, network, side, batch, **fields):
    """A ``SegmentationConfig`` for square images."""
    from mrcnn.config import SegmentationConfig

    side = 64 if quick else side
    fields = {
        "NAME": "benchmark",
        "IMAGES_PER_GPU": batch,
        "IMAGE_MIN_DIM": side,
        "IMAGE_MAX_DIM": side,
        "SEED": 0,
        **NETWORKS[network],
        **(QUICK[network] if quick else {}),
        **fields,
    }
    return type("Settings", (SegmentationConfig,), fields)()


def segmenter(mode, config):
    """A ``Segmenter`` with the same random weights in every process, those of its scores included,
    which would begin with zeros.
    """
    from mrcnn.segmenter import Segmenter

    with tempfile.TemporaryDirectory() as folder:
        model = Segmenter(mode, config, folder)
    for layer in model.keras_model.layers:
        if layer.name.startswith("seg_score"):
            layer.kernel.assign(np.random.RandomState(0).normal(0, 0.01, layer.kernel.shape))
    return model


def flops_of(model, inputs):
    """`flops.Work` of one run of a model on arrays."""
    import flops

    return flops.count(model, [array.shape for array in inputs])


def gflop(flop, seconds):
    """The columns of a result on the arithmetic of all its layers."""
    total = sum(flop.values()) / 1e9
    return {"gflop": total, "gflop_per_second": total / seconds}

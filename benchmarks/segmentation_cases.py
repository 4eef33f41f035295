"""Cases of the networks that label pixels: predictions and training steps.

Each has the same network in torch beside it, see `segmentation_peer`.
"""

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
    import tensorflow as tf

    config = settings(quick, network, side, batch, **fields)
    model = built(config)
    images = measure.labelled(config.IMAGE_MAX_DIM, batch, config.NUM_CLASSES)[0]

    @tf.function(reduce_retracing=True)
    def probabilities(images):
        logits = model(images, training=False)
        if logits.shape[-1] > 1:
            return tf.nn.softmax(logits)
        p = tf.sigmoid(logits)
        return tf.concat([1 - p, p], -1)

    found = []
    result = measure.repeat(lambda: found.append(probabilities(images).numpy().mean()), repeats)
    peak = measure.peak_bytes()
    return {**result, "images": batch, "peak_bytes": peak, **_gflop(model, images, result, 0)}


def train_step(quick, repeats, network, side, batch, **fields):
    """One optimizer step of all layers on one batch that stays the same."""
    import keras
    import tensorflow as tf

    from mrcnn.networks.layers.weight_decay import add_weight_decay, decay_gradient
    from mrcnn.networks.segmentation import losses
    from mrcnn.training.momentum_in_place import momentum_in_place

    config = settings(quick, network, side, batch, **fields)
    model = built(config)
    add_weight_decay(model, config.WEIGHT_DECAY)
    images, labels = measure.labelled(config.IMAGE_MAX_DIM, batch, config.NUM_CLASSES)
    sgd = momentum_in_place(keras.optimizers.SGD(1e-9, 0.9, global_clipnorm=5.0))
    sgd.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step(images, labels):
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = losses.ce(labels, logits) + losses.dice(labels, logits)
        gradients = tape.gradient(loss, variables)
        with tf.control_dependencies([tf.group(*gradients)]):
            decays = [decay_gradient(variable) for variable in variables]
            sgd.apply([g if d is None else g + d for g, d in zip(gradients, decays)], variables)
        return loss

    found = []
    result = measure.repeat(lambda: found.append(float(step(images, labels))), repeats)
    peak = measure.peak_bytes()
    if not np.isfinite(found).all():
        raise FloatingPointError(f"the losses are {found}")
    return {**result, "images": batch, "peak_bytes": peak, **_gflop(model, images, result, 1)}


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


def built(config):
    """The network with the same random weights in every process, those of its scores included,
    which would begin with zeros.
    """
    import keras

    from mrcnn.networks.segmentation.build import segmentation_network

    keras.utils.set_random_seed(0)
    model = segmentation_network(config)
    for layer in model.layers:
        if layer.name.startswith("seg_score"):
            layer.kernel.assign(np.random.RandomState(0).normal(0, 0.01, layer.kernel.shape))
    return model


def _gflop(model, images, result, backward):
    import flops

    work = flops.count(model, [images.shape])
    total = sum(work.forward.values()) + backward * sum(work.backward.values())
    return {"gflop": total / 1e9, "gflop_per_second": total / 1e9 / result["seconds"]}

"""Networks that build in a second, and a step of training for them."""

import numpy as np
import tensorflow as tf

from mrcnn.config import SegmentationConfig
from mrcnn.networks.segmentation.build import output_side, segmentation_network
from tests.tiny import backbone


class TinySegmentation(SegmentationConfig):
    """3 classes, grey images, and few channels everywhere."""

    NAME = "tiny"
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    IMAGE_CHANNEL_COUNT = 1
    MEAN_PIXEL = np.array([127.0])
    BACKBONE_WIDTH = 4
    VGG_WIDTHS = (4, 4, 6, 6, 8)
    VGG_CONVOLUTIONS = (1, 2, 1, 2, 1)
    FC_CHANNELS = 8
    UNET_WIDTHS = (4, 4, 6, 8)
    ASPP_CHANNELS = 6
    SEED = 0


def config_of(network, **fields):
    """A `TinySegmentation` with some fields changed."""
    return type("ChosenConfig", (TinySegmentation,), {"NETWORK": network, **fields})()


def images(config, batch, height, width, seed=0):
    """Molded images, float32 [batch, height, width, c]."""
    size = (batch, height, width, config.IMAGE_CHANNEL_COUNT)
    return np.random.RandomState(seed).uniform(-127, 128, size).astype(np.float32)


def cross_entropy(labels, logits):
    """Mean over pixels; of one channel the sigmoid's."""
    if logits.shape[-1] == 1:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(
            tf.cast(labels[..., None] > 0, tf.float32), logits
        )
    else:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.reduce_mean(losses)


def gradients(model, image, labels):
    """The loss, and the gradient of each trainable variable."""
    with tf.GradientTape() as tape:
        loss = cross_entropy(labels, model(image, training=True))
    variables = model.trainable_variables
    return loss, dict(
        zip(
            [variable.path for variable in variables],
            tape.gradient(loss, [variable.value for variable in variables]),
        )
    )


def train(config, steps, height=64, width=64, rate=0.05):
    """Losses of some steps on one batch of two images whose bright pixels are class 1."""
    model = segmentation_network(config)
    image = images(config, 2, height // 8, width // 8).repeat(8, 1).repeat(8, 2)
    labels = (image[..., 0] > 0).astype(np.int32)
    cut = (height - output_side(config, height)) // 2
    labels = labels[:, cut : height - cut, cut : width - cut]
    optimizer = tf.keras.optimizers.Adam(rate)

    @tf.function
    def step():
        loss, found = gradients(model, tf.constant(image), tf.constant(labels))
        optimizer.apply(list(found.values()), model.trainable_variables)
        return loss, found

    return model, [step() for _ in range(steps)]


BACKBONE = staticmethod(backbone)

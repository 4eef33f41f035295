"""Networks that build in a second, and a step of training for them."""

import keras
import numpy as np
import tensorflow as tf

from mrcnn.config import SegmentationConfig
from mrcnn.config.network_sides import output_side
from mrcnn.networks.segmentation.build import segmentation_network
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
    variables = {variable.path: variable.value for variable in model.trainable_variables}
    return loss, tape.gradient(loss, variables)


def train(config, steps, side):
    """The network, and the loss and the gradients of some steps on two images whose bright pixels
    are class 1.
    """
    keras.utils.set_random_seed(0)
    model = segmentation_network(config)
    blocks = images(config, 2, -(-side // 8), -(-side // 8))
    image = blocks.repeat(8, 1).repeat(8, 2)[:, :side, :side]
    labels = (image[..., 0] > 0).astype(np.int32)
    cut = (side - output_side(config, side)) // 2
    labels = labels[:, cut : side - cut, cut : side - cut]
    optimizer = keras.optimizers.Adam(0.03)
    found = []
    for _ in range(steps):
        found.append(gradients(model, image, labels))
        optimizer.apply(list(found[-1][1].values()), model.trainable_variables)
    return model, found


BACKBONE = staticmethod(backbone)

"""The network that a ``SegmentationConfig`` names, and the sizes of images that it takes."""

import functools

import keras

from mrcnn.networks.dtype_policy import under_policy
from mrcnn.networks.segmentation.deeplab import deeplab_graph
from mrcnn.networks.segmentation.fcn import fcn_graph
from mrcnn.networks.segmentation.plain import plain_graph
from mrcnn.networks.segmentation.pspnet import pspnet_graph
from mrcnn.networks.segmentation.segnet import segnet_graph
from mrcnn.networks.segmentation.unet import unet_graph, valid_input_side, valid_margin

GRAPHS = {
    "plain": plain_graph,
    "fcn32s": functools.partial(fcn_graph, stride=32),
    "fcn16s": functools.partial(fcn_graph, stride=16),
    "fcn8s": functools.partial(fcn_graph, stride=8),
    "unet": unet_graph,
    "segnet": segnet_graph,
    "pspnet": pspnet_graph,
    "deeplab": deeplab_graph,
}


@under_policy
def segmentation_network(config):
    """Build the network that gives each pixel of an image a score for each class.

    The names of all layers but those of the encoder begin with "seg_", the encoder's own with
    "enc"; those of a BACKBONE are as in Mask R-CNN, so its weights and ImageNet's load by name.

    Args:
        config: a ``SegmentationConfig``.

    Returns:
        keras.Model "segmentation". Input: input_image float32 [b, h, w, c], pixels minus
        MEAN_PIXEL, of any batch size; h and w are multiples of `stride_of`, or what `input_side`
        gives. Output: logits float32 [b, h, w, `output_channels`], whose softmax, or sigmoid where
        the network `is_binary`, are the probabilities; `output_side` has its sides.
    """
    image = keras.Input(
        (None, None, config.IMAGE_CHANNEL_COUNT), name="input_image", dtype="float32"
    )
    logits = GRAPHS[config.NETWORK](image, config)
    logits = keras.layers.Identity(name="logits", dtype="float32")(logits)
    return keras.Model(image, logits, name="segmentation")


def stride_of(config):
    """What the sides of an image must be multiples of, in pixels.

    For a U-Net without padding it is the step from one possible side to the next instead; see
    `input_side`.
    """
    if config.NETWORK in ("plain", "segnet"):
        return 1
    if config.NETWORK == "unet" and config.BACKBONE is None:
        return 2 ** (len(config.UNET_WIDTHS) - 1)
    return config.OUTPUT_STRIDE


def input_side(config, side):
    """The least side of an input whose output covers so many pixels of an image.

    What is more than the image is padding. `output_side` says which part of it the output has: the
    middle, since as much is missing at either end.
    """
    if _is_valid(config):
        return valid_input_side(side, len(config.UNET_WIDTHS))
    stride = stride_of(config)
    return -(-side // stride) * stride


def output_side(config, side):
    """The side of the output for an input of so many pixels: the same, but for a U-Net without
    padding.
    """
    return side - 2 * valid_margin(len(config.UNET_WIDTHS)) if _is_valid(config) else side


def _is_valid(config):
    return config.NETWORK == "unet" and config.UNET_PADDING == "valid"

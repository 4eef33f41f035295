"""The network that a ``SegmentationConfig`` names."""

import functools

import keras

from mrcnn.networks.dtype_policy import under_policy
from mrcnn.networks.segmentation.deeplab import deeplab_graph
from mrcnn.networks.segmentation.fcn import fcn_graph
from mrcnn.networks.segmentation.plain import plain_graph
from mrcnn.networks.segmentation.pspnet import pspnet_graph
from mrcnn.networks.segmentation.segnet import segnet_graph
from mrcnn.networks.segmentation.unet import unet_graph

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
        the network `is_binary`, are the probabilities; `output_side` has its sides. For these
        functions see `config.network_sides`.
    """
    image = keras.Input(
        (None, None, config.IMAGE_CHANNEL_COUNT), name="input_image", dtype="float32"
    )
    logits = GRAPHS[config.NETWORK](image, config)
    logits = keras.layers.Identity(name="logits", dtype="float32")(logits)
    return keras.Model(image, logits, name="segmentation")

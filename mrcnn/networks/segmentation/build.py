"""The network that a ``SegmentationConfig`` names, with or without its losses."""

import functools
from typing import Any

import keras

from mrcnn.config.label_losses import loss_terms
from mrcnn.config.segmentation import SegmentationConfig
from mrcnn.networks.dtype_policy import under_policy
from mrcnn.networks.h5_model import H5Model
from mrcnn.networks.layers.weight_decay import add_weight_decay
from mrcnn.networks.segmentation.deeplab import deeplab_graph
from mrcnn.networks.segmentation.fcn import fcn_graph
from mrcnn.networks.segmentation.losses import LabelLoss
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
def segmentation_network(config: SegmentationConfig) -> keras.Model:
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
    return H5Model(*_image_and_logits(config), name="segmentation")


@under_policy
def label_training_model(
    config: SegmentationConfig, model_class: type[H5Model] = H5Model
) -> keras.Model:
    """Build the network with its losses.

    Args:
        config: a ``SegmentationConfig``. The batch size is free, and so are the sides within those
            of `segmentation_network`.
        model_class: `H5Model`, or a subclass that can be trained: `training.step` has it.

    Returns:
        keras.Model "segmentation". Inputs, in order: input_image, as of `segmentation_network`, and
        input_labels int32 [b, h, w] with the sides of the logits, IGNORE_LABEL for void. Outputs:
        the logits and a scalar for each term of LOSS, not weighted, named as the term with "_loss"
        after it. Their factors are attributes of their layers, the weight decay of the variables.
    """
    image, logits = _image_and_logits(config)
    labels = keras.Input((None, None), name="input_labels", dtype="int32")
    losses = [
        LabelLoss(
            factor,
            name,
            config.LOSS_OPTIONS.get(name) if isinstance(name, str) else None,
            config.IGNORE_LABEL,
            name=loss_layer(name),
        )([labels, logits])
        for factor, name in terms(config)
    ]
    model = model_class([image, labels], [logits, *losses], name="segmentation")
    add_weight_decay(model, config.WEIGHT_DECAY)
    return model


def terms(config: SegmentationConfig) -> list[tuple[float, Any]]:
    """The terms of LOSS: list of (factor, name of a loss, or a function of the user's)."""
    if callable(config.LOSS):
        return [(1.0, config.LOSS)]
    try:
        return loss_terms(config.LOSS)
    except ValueError as error:  # of the name of a function, which a config may have
        raise ValueError(f"LOSS: {error}") from None


def loss_layer(loss: Any) -> str:
    """The layer of a term of LOSS, and its name in the logs."""
    return f"{loss if isinstance(loss, str) else 'own'}_loss"


def _image_and_logits(config):
    image = keras.Input(
        (None, None, config.IMAGE_CHANNEL_COUNT), name="input_image", dtype="float32"
    )
    logits = GRAPHS[config.NETWORK](image, config)
    return image, keras.layers.Identity(name="logits", dtype="float32")(logits)

"""DeepLab v3+ (Chen et al. 2018): dilated convolutions at several rates, and a small decoder."""

import keras

from mrcnn.networks.layers.upsampling import Bilinear
from mrcnn.networks.segmentation.blocks import (
    at_image_size,
    convolution,
    convolutions,
    dropout,
    score,
    score_channels,
)
from mrcnn.networks.segmentation.encoders import encoder

# Channels that C2 is reduced to: few, so that it does not outweigh C5 (section 4.1).
C2_CHANNELS = 48


def deeplab_graph(image, config):
    """The pyramid of dilated convolutions on C5, then C2 for the borders.

    Args:
        image: KerasTensor [b, h, w, c], pixels minus MEAN_PIXEL; h and w are multiples of
            OUTPUT_STRIDE.
        config: a ``SegmentationConfig``.

    Returns:
        KerasTensor float32 [b, h, w, `output_channels`].
    """
    how, width = config.UPSAMPLING or "bilinear", config.ASPP_CHANNELS
    c2, _, _, c5 = encoder(image, config)
    x = _pyramid(c5, config)
    x = Bilinear(name="seg_resize")([x, c2])
    fine = convolution(c2, C2_CHANNELS, 1, "seg_c2", config)
    x = keras.layers.Concatenate(name="seg_skip")([x, fine])
    x = convolutions(x, [width] * 2, "seg_dec", config)
    scores = score(x, score_channels(config, 4, how))
    return at_image_size(scores, 4, how, config, "seg_up4")


def _pyramid(c5, config):
    """ASPP: a cell, its surroundings at each rate, and the whole image."""
    width = config.ASPP_CHANNELS
    maps = [convolution(c5, width, 1, "seg_aspp0", config)]
    for number, rate in enumerate(config.ATROUS_RATES, 1):
        maps.append(convolution(c5, width, 3, f"seg_aspp{number}", config, dilation=rate))
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="seg_aspp_pool")(c5)
    pooled = convolution(pooled, width, 1, "seg_aspp_image", config)
    maps.append(Bilinear(name="seg_aspp_resize")([pooled, c5]))
    x = keras.layers.Concatenate(name="seg_aspp")(maps)
    x = convolution(x, width, 1, "seg_aspp_project", config)
    return dropout(x, 0.1 if config.DROPOUT is None else config.DROPOUT, "seg_dropout")

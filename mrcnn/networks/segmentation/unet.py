"""U-Net (Ronneberger, Fischer and Brox 2015): a decoder that joins each level of its encoder."""

import keras

from mrcnn.config.network_sides import skip_margin
from mrcnn.config.segmentation import output_channels
from mrcnn.networks.layers.upsampling import upsample
from mrcnn.networks.segmentation.blocks import at_image_size, convolutions, dropout, score
from mrcnn.networks.segmentation.encoders import encoder, scaled


def unet_graph(image, config):
    """U-Net with its own encoder, or with a BACKBONE in its place.

    Args:
        image: KerasTensor [b, h, w, c], pixels minus MEAN_PIXEL. With the own encoder h and w are
            multiples of 2 to the number of levels less one, or the sides of
            `network_sides.valid_input_side`; with a BACKBONE they are multiples of 32.
        config: a ``SegmentationConfig``.

    Returns:
        KerasTensor float32 [b, h, w, `output_channels`]; with UNET_PADDING "valid" each side is
        `network_sides.valid_margin` smaller at both ends.
    """
    how = config.UPSAMPLING or "transposed"
    if config.BACKBONE is not None:
        return _on_backbone(image, config, how)
    padding, widths = config.UNET_PADDING, config.UNET_WIDTHS
    x, skips = scaled(image), []
    for level, width in enumerate(widths, 1):
        if level > 1:
            skips.append(x)
            x = keras.layers.MaxPooling2D(2, name=f"enc{level - 1}_pool")(x)
        x = convolutions(x, [width] * 2, f"enc{level}", config, padding)
    x = dropout(x, config.DROPOUT, "seg_dropout")
    for level in range(len(widths) - 1, 0, -1):
        x, skip = _up(x, widths[level - 1], how, f"seg_up{level}", config), skips[level - 1]
        if padding == "valid":
            cut = skip_margin(len(widths) - level)
            skip = keras.layers.Cropping2D(cut, name=f"seg_crop{level}")(skip)
        x = keras.layers.Concatenate(name=f"seg_skip{level}")([skip, x])
        x = convolutions(x, [widths[level - 1]] * 2, f"seg_dec{level}", config, padding)
    return score(x, output_channels(config))


def _on_backbone(image, config, how):
    """The decoder on C5 to C2, with one more level at stride 2 that nothing joins."""
    *skips, x = encoder(image, config)
    x = dropout(x, config.DROPOUT, "seg_dropout")
    for level in (4, 3, 2, 1):
        width = config.UNET_WIDTHS[level - 1]
        x = _up(x, width, how, f"seg_up{level}", config)
        if skips:
            x = keras.layers.Concatenate(name=f"seg_skip{level}")([skips.pop(), x])
        x = convolutions(x, [width] * 2, f"seg_dec{level}", config)
    return at_image_size(score(x, output_channels(config)), 2, how, config, "seg_up0")


def _up(x, filters, how, name, config):
    """Twice the size. The paper's is a transposed convolution of 2 x 2, each pixel apart."""
    if how == "transposed" and config.LEARN_UPSAMPLING:
        return keras.layers.Conv2DTranspose(
            filters, 2, strides=2, kernel_initializer="he_normal", name=name
        )(x)
    return upsample(x, 2, how, filters=filters, learned=False, name=name)

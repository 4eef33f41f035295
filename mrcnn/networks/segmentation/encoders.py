"""Feature maps for the networks to work on: of a backbone, or of VGG blocks of their own."""

import keras

from mrcnn.networks.backbones.build import backbone_graph
from mrcnn.networks.segmentation.blocks import convolutions

# Molded pixels lie between -124 and 151.
PIXEL_SCALE = 1 / 127.5


def encoder(image, config):
    """C2 to C5 of BACKBONE, or of five VGG blocks where it is None.

    Args:
        image: KerasTensor [b, h, w, c], pixels minus MEAN_PIXEL; h and w are multiples of 32, or of
            OUTPUT_STRIDE where that is less.
        config: a ``SegmentationConfig``. The layers of a BACKBONE have the names that they have in
            Mask R-CNN.

    Returns:
        [C2, C3, C4, C5], KerasTensors of strides 4, 8, 16 and 32, but none above OUTPUT_STRIDE.
    """
    if config.BACKBONE is not None:
        return backbone_graph(image, config, config.OUTPUT_STRIDE)
    x, pooled = scaled(image), []
    for number in range(1, 6):
        x = vgg_block(x, number, config)
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"enc{number}_pool")(x)
        pooled.append(x)
    return pooled[1:]


def scaled(image):
    """Molded pixels at a size that randomly initialised layers keep, about -1 to 1."""
    return keras.layers.Rescaling(PIXEL_SCALE, name="scale")(image)


def vgg_block(x, number, config):
    """The convolutions of one of VGG's blocks, before its pooling.

    Args:
        number: 1 to 5, of the layers ``enc<number>_conv1`` and so on.
    """
    width, count = (
        settings[number - 1] for settings in (config.VGG_WIDTHS, config.VGG_CONVOLUTIONS)
    )
    return convolutions(x, [width] * count, f"enc{number}", config)

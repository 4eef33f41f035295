"""The first idea: convolutions that keep the image's size, each pixel seen by 23 x 23 others."""

from mrcnn.config.segmentation import output_channels
from mrcnn.networks.segmentation.blocks import convolutions, dropout, score
from mrcnn.networks.segmentation.encoders import scaled

WIDTHS = (16, *[32] * 8, 16)


def plain_graph(image, config):
    """Ten 3x3 convolutions and one of scores, about 75,000 weights.

    Args:
        image: KerasTensor [b, h, w, c], pixels minus MEAN_PIXEL.
        config: a ``SegmentationConfig``.

    Returns:
        KerasTensor float32 [b, h, w, `output_channels`].
    """
    x = convolutions(scaled(image), WIDTHS, "seg", config)
    x = dropout(x, config.DROPOUT, "seg_dropout")
    return score(x, output_channels(config), size=3)

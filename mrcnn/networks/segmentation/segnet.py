"""SegNet (Badrinarayanan, Kendall and Cipolla 2017): a decoder that puts each maximum back."""

from mrcnn.config.segmentation import output_channels
from mrcnn.networks.layers.upsampling import MaxPoolIndices, MaxUnpool
from mrcnn.networks.segmentation.blocks import convolutions, dropout, score
from mrcnn.networks.segmentation.encoders import scaled, vgg_block


def segnet_graph(image, config):
    """VGG blocks down, and their mirror image up, which gets the places of the maxima.

    Args:
        image: KerasTensor [b, h, w, c], pixels minus MEAN_PIXEL, of any size.
        config: a ``SegmentationConfig``.

    Returns:
        KerasTensor float32 [b, h, w, `output_channels`].
    """
    x, places = scaled(image), []
    for number in range(1, 6):
        features = vgg_block(x, number, config)
        x, indices = MaxPoolIndices(name=f"enc{number}_pool")(features)
        places.append((indices, features))
    widths = config.VGG_WIDTHS
    for number in range(5, 0, -1):
        indices, features = places.pop()
        x = MaxUnpool(name=f"seg_unpool{number}")([x, indices, features])
        # the last one has as many as the next map to be unpooled into
        filters = [widths[number - 1]] * config.VGG_CONVOLUTIONS[number - 1]
        filters[-1] = widths[max(number - 2, 0)]
        x = convolutions(x, filters, f"seg_dec{number}", config)
    x = dropout(x, config.DROPOUT, "seg_dropout")
    return score(x, output_channels(config))

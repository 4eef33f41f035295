"""What the networks share: convolutions, scores of the classes, scores at the image's size."""

import keras

from mrcnn.config.segmentation import is_binary, output_channels
from mrcnn.networks.layers.normalization import BatchNorm
from mrcnn.networks.layers.upsampling import upsample


def convolution(x, filters, size, name, config, padding="same", dilation=1):
    """A convolution with ReLU, and batch norm in between where BATCH_NORM is True: the layers
    ``<name>``, ``<name>_bn`` and ``<name>_relu``.

    Its weights start as in He et al. 2015, "Delving Deep into Rectifiers".

    Args:
        x: KerasTensor [b, h, w, c].
        filters, size, padding, dilation: of the convolution.
        config: a ``SegmentationConfig``.

    Returns:
        KerasTensor [b, h, w, filters]; with padding "valid" of smaller sides.
    """
    x = keras.layers.Conv2D(
        filters,
        size,
        padding=padding,
        dilation_rate=dilation,
        use_bias=not config.BATCH_NORM,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    if config.BATCH_NORM:
        x = BatchNorm(momentum=config.BATCH_NORM_MOMENTUM, name=f"{name}_bn")(x)
    return keras.layers.Activation("relu", name=f"{name}_relu")(x)


def convolutions(x, filters, name, config, padding="same"):
    """3x3 convolutions one after the other, ``<name>_conv1`` and so on, as `convolution`.

    Args:
        filters: of each of them.
    """
    for number, count in enumerate(filters, 1):
        x = convolution(x, count, 3, f"{name}_conv{number}", config, padding)
    return x


def dropout(x, share, name):
    """``Dropout``, or x where the share is 0."""
    return keras.layers.Dropout(share, name=name)(x) if share else x


def score(x, channels, name="seg_score", size=1, initializer="he_normal"):
    """The last convolution, without activation, in float32 under any policy: its values are logits.

    Args:
        channels: of the scores, see `output_channels` and `score_channels`.

    Returns:
        KerasTensor float32 [b, h, w, channels].
    """
    return keras.layers.Conv2D(
        channels, size, padding="same", kernel_initializer=initializer, name=name, dtype="float32"
    )(x)


def score_channels(config, factor, how):
    """Channels of scores that `at_image_size` then enlarges by a factor.

    They are the network's `output_channels`, except for one channel and a learned factor of 32:
    TensorFlow 2.21 with oneDNN ends the process in the gradient of that transposed convolution (a
    64x64 kernel of one channel). Two softmax channels, of which one is subtracted from the other,
    are the same model.
    """
    learned = how == "transposed" and config.LEARN_UPSAMPLING
    return 2 if is_binary(config) and learned and factor >= 32 else output_channels(config)


def at_image_size(scores, factor, how, config, name):
    """Scores enlarged to the image's size, in float32.

    Args:
        scores: KerasTensor [b, h, w, `score_channels`].
        factor, how: as of `networks.layers.upsampling.upsample`.
        config: a ``SegmentationConfig``.
        name: of the layer that enlarges.

    Returns:
        KerasTensor float32 [b, factor * h, factor * w, `output_channels`].
    """
    x = upsample(scores, factor, how, learned=config.LEARN_UPSAMPLING, name=name, dtype="float32")
    return x[..., 1:] - x[..., :1] if x.shape[-1] != output_channels(config) else x

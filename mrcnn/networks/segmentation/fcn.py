"""Fully convolutional networks (Long, Shelhamer and Darrell 2015): FCN-32s, FCN-16s and FCN-8s.

The original pads its first convolution by 100 pixels and cuts its maps to size. Here sides are
multiples of 32 and each transposed convolution enlarges exactly, so nothing is cut and the maps of
all strides lie upon each other.
"""

import keras

from mrcnn.networks.layers.upsampling import upsample
from mrcnn.networks.segmentation.blocks import (
    at_image_size,
    convolution,
    dropout,
    score,
    score_channels,
)
from mrcnn.networks.segmentation.encoders import encoder


def fcn_graph(image, config, stride):
    """Score the classes on C5, and on C4 and C3 too; sum the scores and enlarge them once.

    Args:
        image: KerasTensor [b, h, w, c], pixels minus MEAN_PIXEL; h and w are multiples of 32.
        config: a ``SegmentationConfig``.
        stride: 32, 16 or 8, of the finest map that is scored.

    Returns:
        KerasTensor float32 [b, h, w, `output_channels`].
    """
    how = config.UPSAMPLING or "transposed"
    share = 0.5 if config.DROPOUT is None else config.DROPOUT
    channels = score_channels(config, stride, how)
    _, c3, c4, x = encoder(image, config)
    # VGG-16's first fully connected layer sees 7 x 7 cells; a ResNet has seen enough
    size, width = (7, 8 * x.shape[-1]) if config.BACKBONE is None else (3, x.shape[-1] // 4)
    for number, kernel in ((6, size), (7, 1)):
        x = convolution(x, config.FC_CHANNELS or width, kernel, f"seg_fc{number}", config)
        x = dropout(x, share, f"seg_dropout{number}")
    scores = score(x, channels, "seg_score_fr", initializer="zeros")

    scales = config.SKIP_SCALES or (1, 1)
    for level, features, scale in ((4, c4, scales[0]), (3, c3, scales[1])):
        if 2**level < stride:
            break
        scores = upsample(
            scores,
            2,
            how,
            learned=config.LEARN_UPSAMPLING,
            name=f"seg_up_to_pool{level}",
            dtype="float32",
        )
        if scale != 1:
            features = keras.layers.Rescaling(scale, name=f"seg_scale_pool{level}")(features)
        skip = score(features, channels, f"seg_score_pool{level}", initializer="zeros")
        scores = keras.layers.Add(name=f"seg_sum_pool{level}", dtype="float32")([scores, skip])
    return at_image_size(scores, stride, how, config, f"seg_up{stride}")

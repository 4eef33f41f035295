"""PSPNet (Zhao et al. 2017): what is around a pixel, as averages over parts of the image."""

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE
from mrcnn.networks.layers.upsampling import Bilinear
from mrcnn.networks.segmentation.blocks import (
    at_image_size,
    convolution,
    dropout,
    score,
    score_channels,
)
from mrcnn.networks.segmentation.encoders import encoder


def pspnet_graph(image, config):
    """C5 beside its averages over 1, 4, 9 and 36 parts of the image.

    Args:
        image: KerasTensor [b, h, w, c], pixels minus MEAN_PIXEL; h and w are multiples of
            OUTPUT_STRIDE.
        config: a ``SegmentationConfig``.

    Returns:
        KerasTensor float32 [b, h, w, `output_channels`].
    """
    how, stride = config.UPSAMPLING or "bilinear", config.OUTPUT_STRIDE
    *_, c5 = encoder(image, config)
    width = max(c5.shape[-1] // 4, 1)
    maps = [c5]
    for bins in config.PSP_BINS:
        x = AdaptiveAveragePooling(bins, name=f"seg_pool{bins}")(c5)
        x = convolution(x, width, 1, f"seg_bins{bins}", config)
        maps.append(Bilinear(name=f"seg_resize{bins}")([x, c5]))
    x = keras.layers.Concatenate(name="seg_pyramid")(maps)
    x = convolution(x, width, 3, "seg_conv", config)
    x = dropout(x, 0.1 if config.DROPOUT is None else config.DROPOUT, "seg_dropout")
    scores = score(x, score_channels(config, stride, how))
    return at_image_size(scores, stride, how, config, f"seg_up{stride}")


@keras.saving.register_keras_serializable(PACKAGE)
class AdaptiveAveragePooling(keras.layers.Layer):
    """Averages over bins of a map of any size. Keras' layer of that name wants a known size.

    Bin i of n begins at floor(i * h / n) and ends at ceil((i + 1) * h / n), so no bin is empty and
    neighbours may share a row.

    Args:
        bins: int, for each side.

    Call arguments:
        [b, h, w, c].

    Returns:
        [b, bins, bins, c].
    """

    def __init__(self, bins, **kwargs):
        super().__init__(**kwargs)
        self.bins = int(bins)

    def call(self, x):
        height, width = tf.unstack(tf.shape(x)[1:3])
        x = tf.einsum("ih,bhwc->biwc", self._averages(height), x)
        return tf.einsum("jw,biwc->bijc", self._averages(width), x)

    def _averages(self, size):
        """The matrix [bins, size] by which a side is multiplied."""
        bins = tf.range(self.bins)[:, tf.newaxis]
        first, end = bins * size // self.bins, -(-(bins + 1) * size // self.bins)
        place = tf.range(size)
        inside = tf.cast((place >= first) & (place < end), self.compute_dtype)
        return inside / tf.reduce_sum(inside, axis=1, keepdims=True)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.bins, self.bins, input_shape[3])

    def get_config(self):
        return {**super().get_config(), "bins": self.bins}

"""Ways to enlarge a feature map, and max pooling that remembers where its maxima were."""

import keras
import numpy as np
import tensorflow as tf

from mrcnn.common.words import closest
from mrcnn.config.choices import UPSAMPLINGS
from mrcnn.networks.layers.base import PACKAGE


def upsample(
    x, factor, how, *, filters=None, learned=True, indices=None, like=None, name=None, dtype=None
):
    """Enlarge a feature map by a whole factor.

    Args:
        x: KerasTensor [b, h, w, c].
        factor: int, of both sides.
        how: "transposed": a convolution without bias that begins as bilinear interpolation, whose
            kernel is two factors wide; zeros lie outside of the map. "bilinear" and "bicubic": as
            ``tf.image.resize``; "nearest"; "bed_of_nails": zeros between; "unpool": each value goes
            back to where it was the maximum, by ``indices`` and ``like`` of `MaxUnpool`.
        filters: channels of the result; None: as many as x has. Where how has no weights, a 1x1
            convolution comes first, ``<name>_conv``: its result at the smaller size is the same.
        learned: "transposed": False keeps the bilinear filters; it then has no weights.
        name: of the layer that enlarges, without the others around it.
        dtype: policy of the layers; None: Keras' own.

    Returns:
        KerasTensor [b, factor * h, factor * w, filters]; of the size of ``like`` for "unpool".

    Raises:
        ValueError: an unknown way.
    """
    if how not in UPSAMPLINGS:
        near = closest(str(how), UPSAMPLINGS)
        raise ValueError(
            f"there is no way {how!r} to enlarge a feature map; "
            + (f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(UPSAMPLINGS)}")
        )
    if how == "transposed" and learned:
        return keras.layers.Conv2DTranspose(
            filters or x.shape[-1],
            2 * factor - factor % 2,
            strides=factor,
            padding="same",
            use_bias=False,
            kernel_initializer=BilinearFilter(),
            name=name,
            dtype=dtype,
        )(x)
    if filters not in (None, x.shape[-1]):
        x = keras.layers.Conv2D(
            filters,
            1,
            kernel_initializer="he_normal",
            name=name and f"{name}_conv",
            dtype=dtype,
        )(x)
    if how == "bed_of_nails":
        return BedOfNails(factor, name=name, dtype=dtype)(x)
    if how == "unpool":
        return MaxUnpool(name=name, dtype=dtype)([x, indices, like])
    kind = "bilinear" if how == "transposed" else how
    if kind == "nearest":
        enlarge = keras.layers.UpSampling2D(factor, name=name, dtype=dtype)
    else:
        enlarge = Interpolate(factor, kind, name=name, dtype=dtype)
    if how != "transposed":
        return enlarge(x)
    # interpolation towards zeros outside, which is what the convolution does
    x = keras.layers.ZeroPadding2D(1, name=name and f"{name}_pad", dtype=dtype)(x)
    return keras.layers.Cropping2D(factor, name=name and f"{name}_crop", dtype=dtype)(enlarge(x))


def bilinear_filter(size, channels):
    """Kernel of a transposed convolution that interpolates each channel by itself (Long et al.
    2015, section 3.3).

    Args:
        size: of the kernel: twice the stride, less one where the stride is odd.
        channels: of its input and of its output.

    Returns:
        float32 [size, size, channels, channels].
    """
    stride = (size + 1) // 2
    centre = stride - 1 if size % 2 else stride - 0.5
    weights = 1 - np.abs(np.arange(size) - centre) / stride
    return (np.outer(weights, weights)[:, :, None, None] * np.eye(channels)).astype(np.float32)


@keras.saving.register_keras_serializable(PACKAGE)
class BilinearFilter(keras.initializers.Initializer):
    """`bilinear_filter` as an initializer of square kernels; a channel of the output that the input
    lacks starts at 0.
    """

    def __call__(self, shape, dtype=None):
        size, other, outputs, inputs = shape
        if size != other:
            raise ValueError(f"a bilinear filter is square, got a kernel of {size} x {other}")
        weights = bilinear_filter(size, max(outputs, inputs))[:, :, :outputs, :inputs]
        return keras.ops.convert_to_tensor(weights, dtype or "float32")

    def get_config(self):
        return {}


@keras.saving.register_keras_serializable(PACKAGE)
class Interpolate(keras.layers.Layer):
    """Enlarge as ``tf.image.resize`` does, also in a graph that does not know the map's sides.

    There Keras' UpSampling2D compares them with 0 and fails (3.15).

    Args:
        factor: int, of both sides.
        method: "bilinear" or "bicubic".

    Call arguments:
        [b, h, w, c].

    Returns:
        [b, factor * h, factor * w, c].
    """

    def __init__(self, factor, method="bilinear", **kwargs):
        super().__init__(**kwargs)
        self.factor, self.method = int(factor), method

    def call(self, x):
        sides = tf.shape(x)[1:3] * self.factor
        return tf.cast(tf.image.resize(x, sides, self.method), x.dtype)

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(side and side * self.factor for side in sides), channels)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "method": self.method}


@keras.saving.register_keras_serializable(PACKAGE)
class BedOfNails(keras.layers.Layer):
    """Enlarge by zeros: each value becomes the upper left corner of a block of them.

    Args:
        factor: int, side of a block.

    Call arguments:
        [b, h, w, c].

    Returns:
        [b, factor * h, factor * w, c].
    """

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = int(factor)

    def call(self, x):
        batch, height, width = tf.unstack(tf.shape(x)[:3])
        factor, channels = self.factor, x.shape[-1]
        zeros = [0, factor - 1]
        x = tf.reshape(x, [batch, height, 1, width, 1, channels])
        x = tf.pad(x, [[0, 0], [0, 0], zeros, [0, 0], zeros, [0, 0]])
        return tf.reshape(x, [batch, height * factor, width * factor, channels])

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        return (batch, *(side and side * self.factor for side in sides), channels)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(PACKAGE)
class MaxPoolIndices(keras.layers.Layer):
    """Max pooling of 2 x 2 that also says where each maximum was (SegNet, section 3).

    An odd side is rounded up: its last window has one row or column. Of equal values the first one
    counts.

    Call arguments:
        [b, h, w, c].

    Returns:
        [pooled [b, ceil(h / 2), ceil(w / 2), c], indices int64 of the same shape: places in the
        flattened input, that of the image in the batch included].
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_jit = False  # XLA has no such kernel

    def call(self, x):
        return list(tf.nn.max_pool_with_argmax(x, 2, 2, "SAME", include_batch_in_index=True))

    def compute_output_spec(self, x):
        batch, *sides, channels = x.shape
        shape = (batch, *(side and -(-side // 2) for side in sides), channels)
        return [keras.KerasTensor(shape, self.compute_dtype), keras.KerasTensor(shape, "int64")]


@keras.saving.register_keras_serializable(PACKAGE)
class MaxUnpool(keras.layers.Layer):
    """Values put back to where `MaxPoolIndices` found them, zeros elsewhere.

    The result has the size of the map that was pooled, not twice the size of the values: with odd
    sides it would be tilted.

    Call arguments:
        [values [b, h, w, c], indices int64 [b, h, w, c], the map that was pooled, which is read for
        its size alone: [b, H, W, c]].

    Returns:
        [b, H, W, c].
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_jit = False

    def call(self, inputs):
        values, indices, like = inputs
        size = tf.shape(like, out_type=tf.int64)
        places = tf.reshape(indices, [-1, 1])
        flat = tf.scatter_nd(places, tf.reshape(values, [-1]), [tf.reduce_prod(size)])
        return tf.ensure_shape(tf.reshape(flat, size), like.shape)

    def compute_output_shape(self, input_shape):
        return input_shape[2]


@keras.saving.register_keras_serializable(PACKAGE)
class Bilinear(keras.layers.Layer):
    """A map resized to the size of another one, as ``tf.image.resize`` does it.

    Call arguments:
        [x [b, h, w, c], the other map [b, H, W, d]].

    Returns:
        [b, H, W, c].
    """

    def call(self, inputs):
        x, like = inputs
        return tf.cast(tf.image.resize(x, tf.shape(like)[1:3]), x.dtype)

    def compute_output_shape(self, input_shape):
        x, like = input_shape
        return (x[0], *like[1:3], x[3])

"""Wide convolutions of a single image, run over its two halves: faster on a CPU, and for nothing
else.

For float32 and a batch of one image TensorFlow has oneDNN use a kernel's weights in the order in
which they are stored; for any other batch they are put into the order that suits the processor
(tensorflow/core/kernels/mkl/mkl_conv_ops.cc, "hwio"). Measured alone on two cores with AVX-512,
TensorFlow 2.21, at commit ae36c90: CPU seconds of a detection 2.68 -> 2.30 (ResNet-50 at 512 px)
and 6.97 -> 5.45 (ResNet-101 at 1024 px). On another such processor, an AMD EPYC at commit 28596ff,
the time is the same and the peak 8 % higher. Of networks that label pixels on one core of an Intel
Xeon with AVX-512: 0.87 -> 0.71 (the paper's U-Net at 256 px) and 0.53 -> 0.48 (FCN-8s on ResNet-50
at 512 px). `convolve_in_halves` may be left out: results are the same but for rounding.
"""

import functools

import keras
import tensorflow as tf

# Input channels from which on two halves of an image take less time than the whole.
WIDE = 256


def convolve_in_halves(model: keras.Model) -> keras.Model:
    """Have a finished model run its wide convolutions over the halves of a single image.

    A layer's own ``call`` stays in use where the batch is not known to be one image, or not of
    float32. Where TensorFlow sees a GPU nothing is changed.

    Args:
        model: for detection: the gradient of two halves takes longer than that of the whole. Layers
            in nested models are changed too.

    Returns:
        The model itself.
    """
    if not tf.config.list_physical_devices("GPU"):
        for layer in model.layers:
            if isinstance(layer, keras.Model):
                convolve_in_halves(layer)
            elif type(layer) is keras.layers.Conv2D and _is_wide(layer):
                layer.call = functools.partial(_of_one_image, layer, layer.call)
    return model


def _is_wide(layer):
    return (
        layer.kernel.shape[2] >= WIDE
        and layer.padding == "same"
        and layer.groups == 1
        and all(size % 2 for size in layer.kernel_size)
        and max(layer.kernel_size) > 1
        and set(layer.strides) == set(layer.dilation_rate) == {1}
    )


def _of_one_image(layer, whole, inputs):
    if inputs.shape[0] != 1 or inputs.dtype != tf.float32:
        return whole(inputs)
    bias = tf.convert_to_tensor(layer.bias) if layer.use_bias else None
    return _convolve_halves(inputs, tf.convert_to_tensor(layer.kernel), bias, layer.activation)


@tf.function(autograph=False)  # traced once for all convolutions of a shape
def _convolve_halves(image, kernel, bias, activation):
    """A convolution of stride 1 with zero padding ("same"), of the image's halves as a batch.

    Args:
        image: float32 [1, h, w, c].
        kernel: float32 [k, l, c, filters], k and l odd.
        bias: float32 [filters], or None.
        activation: function of the result, value by value, or None.

    Returns:
        float32 [1, h, w, filters].
    """
    _, height, width, channels = tf.unstack(tf.shape(image))
    above, beside = kernel.shape[0] // 2, kernel.shape[1] // 2
    rows = (height + 1) // 2
    # one more row for images of an odd height; parts of rows are no copies
    lines = tf.pad(tf.squeeze(image, 0), [[above, above + 1], [0, 0], [0, 0]])
    size = [rows + 2 * above, width, channels]
    halves = tf.stack([tf.slice(lines, [0, 0, 0], size), tf.slice(lines, [rows, 0, 0], size)])
    halves = tf.ensure_shape(halves, [2, None, None, image.shape[-1]])
    found = tf.nn.conv2d(halves, kernel, 1, [[0, 0], [0, 0], [beside, beside], [0, 0]])
    # before the halves are put together, so that TensorFlow makes both a part of the convolution
    found = found if bias is None else tf.nn.bias_add(found, bias)
    found = found if activation is None else activation(found)
    filters = kernel.shape[-1]
    found = tf.slice(
        tf.reshape(found, [1, -1, width, filters]), [0, 0, 0, 0], [1, height, width, filters]
    )
    return tf.ensure_shape(found, [*image.shape[:3], filters])

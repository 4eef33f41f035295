"""The forms in which a convolution takes the least time."""

import tensorflow as tf


def fold_normalization(kernel, bias, gamma, beta, mean, variance, epsilon):
    """Weights of a convolution that does the work of the batch normalisation after it, by stored statistics.

    Args:
        kernel: float [k, l, c, filters].
        bias: float [filters], or None for none.
        gamma, beta, mean, variance: float [filters], the normalisation's scale, shift and statistics.
        epsilon: what it adds to the variance.

    Returns:
        kernel and bias.
    """
    scale = gamma * tf.math.rsqrt(variance + epsilon)
    return kernel * scale, beta + ((0.0 if bias is None else bias) - mean) * scale


def convolve_whole(images, kernel, bias):
    """A convolution without padding whose kernel is as large as the image: one matrix product.

    For 1,000 RoIs of 7x7 cells and 256 channels it takes 60 % of a convolution's time with oneDNN and AVX-512, and for
    one cell of 1,024 channels an eighth.

    Args:
        images: float [n, k, l, c].
        kernel: float [k, l, c, filters].
        bias: float [filters], or None.

    Returns:
        float [n, 1, 1, filters].
    """
    filters = kernel.shape[-1]
    size = kernel.shape.num_elements() // filters
    found = _biased(tf.matmul(tf.reshape(images, [-1, size]), tf.reshape(kernel, [size, filters])), bias)
    return tf.reshape(found, [-1, 1, 1, filters])


def convolve_own_class(images, kernel, bias, class_ids):
    """The one filter that each image is asked for of a 1x1 convolution with a filter per class.

    For 144 RoIs of 28x28 cells, 256 channels and 81 classes a mask loss of it and the gradients take a sixth of the
    time that they take by way of all classes.

    Args:
        images: float [n, h, w, c].
        kernel: float [1, 1, c, classes].
        bias: float [classes].
        class_ids: int [n].

    Returns:
        float [n, h, w].
    """
    # one table of both: what is gathered from a variable itself has a sparse gradient, which optimizers treat otherwise
    table = tf.transpose(tf.concat([kernel[0, 0], bias[tf.newaxis]], axis=0))
    chosen = tf.gather(table, class_ids)
    return tf.einsum("nhwc,nc->nhw", images, chosen[:, :-1]) + chosen[:, -1, tf.newaxis, tf.newaxis]


def convolve_halves(image, kernel, bias):
    """A convolution of stride 1 with zero padding ("same"), made of the image's upper and lower half as a batch.

    For float32 and a batch of one image TensorFlow has oneDNN use the kernel's weights in the order in which they are
    stored; for any other batch they are put into the order that suits the processor
    (tensorflow/core/kernels/mkl/mkl_conv_ops.cc, "hwio"). Halves take 12 to 35 % off a 3x3 convolution of 256 or 512
    channels with AVX-512, and with AVX2 alone up to two thirds (of 256 channels at 256 px: 400 in place of 1,230 ms),
    the copy of the image included. Of 128 or fewer channels they gain little with AVX2 and lose with AVX-512.

    Args:
        image: float32 [1, h, w, c].
        kernel: float32 [k, l, c, filters], k and l odd.
        bias: float32 [filters], or None.

    Returns:
        float32 [1, h, w, filters].
    """
    height, width = tf.shape(image)[1], tf.shape(image)[2]
    above, beside = kernel.shape[0] // 2, kernel.shape[1] // 2
    rows = (height + 1) // 2
    padded = tf.pad(image, [[0, 0], [above, above + 2 * rows - height], [0, 0], [0, 0]])
    halves = tf.concat([padded[:, :rows + 2 * above], padded[:, rows:]], axis=0)
    # the bias before the halves are put together: TensorFlow adds it in the convolution's own pass
    found = _biased(tf.nn.conv2d(halves, kernel, 1, [[0, 0], [0, 0], [beside, beside], [0, 0]]), bias)
    found = tf.reshape(found, [1, 2 * rows, width, kernel.shape[-1]])[:, :height]
    # from this shape TensorFlow learns that image and result are of one size: it can then add a shortcut to a later
    # convolution's result in that one's own pass
    return tf.reshape(found, tf.concat([tf.shape(image)[:3], [kernel.shape[-1]]], axis=0))


def _biased(values, bias):
    return values if bias is None else tf.nn.bias_add(values, bias)

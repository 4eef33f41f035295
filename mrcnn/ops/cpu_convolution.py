"""The forms in which a convolution takes the least time."""

import tensorflow as tf


def fold_normalization(images, kernel, bias, gamma, beta, mean, variance, epsilon):
    """Weights of a convolution that does the work of the batch normalisation after it, by stored
    statistics.

    Args:
        images: what will be convolved, any tensor. The weights are not computed before it is there:
            all at once, at the start, they would take as much memory as the network's.
        kernel: float [k, l, c, filters].
        bias: float [filters], or None for none.
        gamma, beta, mean, variance: float [filters], the normalisation's scale, shift and
            statistics.
        epsilon: what it adds to the variance.

    Returns:
        kernel and bias.
    """
    scale = gamma * tf.math.rsqrt(variance + epsilon)
    # always the whole; a control dependency would keep TensorFlow from fusing what made the images
    scale = tf.ensure_shape(scale[: tf.maximum(tf.size(images), tf.size(scale))], gamma.shape)
    return kernel * scale, beta + ((0.0 if bias is None else bias) - mean) * scale


def convolve_whole(images, kernel, bias):
    """A convolution without padding whose kernel is as large as the image: one matrix product.

    For 1,000 RoIs of 7x7 cells and 256 channels it takes 60 % of a convolution's time with oneDNN
    and AVX-512, and for one cell of 1,024 channels an eighth.

    Args:
        images: float [n, k, l, c].
        kernel: float [k, l, c, filters].
        bias: float [filters], or None.

    Returns:
        float [n, 1, 1, filters].
    """
    filters = kernel.shape[-1]
    size = kernel.shape.num_elements() // filters
    found = _finished(
        tf.matmul(tf.reshape(images, [-1, size]), tf.reshape(kernel, [size, filters])), bias
    )
    return tf.reshape(found, [-1, 1, 1, filters])


def convolve_own_class(images, kernel, bias, class_ids):
    """The one filter that each image is asked for of a 1x1 convolution with a filter per class.

    For 144 RoIs of 28x28 cells, 256 channels and 81 classes a mask loss of it and the gradients
    take a sixth of the time that they take by way of all classes.

    Args:
        images: float [n, h, w, c].
        kernel: float [1, 1, c, classes].
        bias: float [classes].
        class_ids: int [n].

    Returns:
        float [n, h, w].
    """
    # one table of both: what is gathered from a variable itself has a sparse gradient, which
    # optimizers treat otherwise
    table = tf.transpose(tf.concat([kernel[0, 0], bias[tf.newaxis]], axis=0))
    chosen = tf.gather(table, class_ids)
    return tf.einsum("nhwc,nc->nhw", images, chosen[:, :-1]) + chosen[:, -1, tf.newaxis, tf.newaxis]


def convolve_halves(image, kernel, bias, activation=None):
    """A convolution of stride 1 with zero padding ("same"), made of the image's upper and lower
    half as a batch.

    For float32 and a batch of one image TensorFlow has oneDNN use the kernel's weights in the order
    in which they are stored; for any other batch they are put into the order that suits the
    processor (tensorflow/core/kernels/mkl/mkl_conv_ops.cc, "hwio"). Halves take 12 to 35 % off a
    3x3 convolution of 256 or 512 channels with AVX-512, and with AVX2 alone up to two thirds (of
    256 channels at 256 px: 400 in place of 1,230 ms), the copy of the image included. Of 128 or
    fewer channels they gain little with AVX2 and lose with AVX-512.

    Args:
        image: float32 [1, h, w, c].
        kernel: float32 [k, l, c, filters], k and l odd.
        bias: float32 [filters], or None.
        activation: function of the result, cell by cell; None for none.

    Returns:
        float32 [1, h, w, filters].
    """
    height, width = tf.shape(image)[1], tf.shape(image)[2]
    above, beside = kernel.shape[0] // 2, kernel.shape[1] // 2
    rows = (height + 1) // 2
    # parts of rows are no copies, so that to put them together is the only one
    lines, zeros = image[0], tf.zeros([above + 1, width, image.shape[-1]], image.dtype)
    between = (
        zeros[: tf.maximum(rows + above - height, 0)],
        zeros[: tf.maximum(above - rows, 0)],
    )  # of flat images
    halves = tf.concat(
        [
            zeros[:above],
            lines[: rows + above],
            *between,
            lines[tf.maximum(rows - above, 0) :],
            zeros[: above + 2 * rows - height],
        ],
        axis=0,
    )
    halves = tf.reshape(halves, [2, rows + 2 * above, width, image.shape[-1]])
    # bias and activation before the halves are put together: TensorFlow does them in the
    # convolution's own pass
    found = _finished(
        tf.nn.conv2d(halves, kernel, 1, [[0, 0], [0, 0], [beside, beside], [0, 0]]),
        bias,
        activation,
    )
    found = tf.reshape(found, [1, 2 * rows, width, kernel.shape[-1]])[:, :height]
    # from this shape TensorFlow learns that image and result are of one size: it can then add a
    # shortcut to a later convolution's result in that one's own pass
    return tf.reshape(found, tf.concat([tf.shape(image)[:3], [kernel.shape[-1]]], axis=0))


def upsample_cells(images, kernel, bias, activation=None):
    """A transposed convolution whose stride is its kernel's size, so that no two windows overlap: a
    matrix product.

    The pixels stay with their cell, which saves a copy: the 1x1 convolution after it does not ask
    where they lie. For 132 RoIs of 14x14 cells and 256 channels a mask loss of this and the
    gradients take 122 ms, 148 by way of
    TensorFlow's transposed convolution.

    Args:
        images: float [n, h, w, c].
        kernel: float [k, l, filters, c].
        bias: float [filters], or None.
        activation: function of the result, value by value; None for none.

    Returns:
        float [n, h, w, k, l, filters]; `interleave_cells` makes an image of it.
    """
    *window, filters, channels = kernel.shape
    product = tf.matmul(
        tf.reshape(images, [-1, channels]), tf.reshape(kernel, [-1, channels]), transpose_b=True
    )
    found = _finished(
        product, None if bias is None else tf.tile(bias, [window[0] * window[1]]), activation
    )
    return tf.reshape(found, [-1, *images.shape[1:3], *window, filters])


def interleave_cells(cells):
    """[n, h, w, k, l, ...] of k x l pixels for each cell as images [n, h * k, w * l, ...]; all but
    n is static.
    """
    _, height, width, rows, columns, *others = cells.shape
    ordered = tf.transpose(cells, [0, 1, 3, 2, 4, *range(5, len(cells.shape))])
    return tf.reshape(ordered, [-1, height * rows, width * columns, *others])


def _finished(values, bias, activation=None):
    values = values if bias is None else tf.nn.bias_add(values, bias)
    return values if activation is None else activation(values)

"""The box head (Mask R-CNN, figure 4, right): the class of each RoI, and its box for each class.

RoIs are folded into the batch: the head is a plain convolutional network over [m, h, w, c], under
the names and weights that the original's wrappers for each RoI had. Convolutions before the fully
connected layers, which torchvision's second version has, are "mrcnn_box_conv1" and so on.
"""

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE
from mrcnn.networks.layers.normalization import BatchNorm
from mrcnn.networks.mask_rcnn.roi_features import PackedROIAlign, UnpackRows


def fpn_classifier_graph(
    rois,
    feature_maps,
    image_meta,
    pool_size,
    num_classes,
    train_bn=True,
    fc_layers_size=1024,
    *,
    distinct=False,
    convs=0,
    conv_channels=256,
    fcs=2,
    config=None,
):
    """Classify each RoI and refine its box for each class.

    Args:
        rois: KerasTensor [b, n, 4] normalised; n is static.
        feature_maps: [P2, P3, P4, P5].
        image_meta: [b, m].
        pool_size: side of the pooled feature.
        num_classes: with background.
        train_bn: see `networks.layers.normalization.BatchNorm`.
        fc_layers_size: width of the fully connected layers.
        distinct: see `PackedROIAlign`.
        convs, conv_channels: 3x3 convolutions before these, and their width.
        fcs: fully connected layers, at least 1.
        config: how RoIs are pooled; see `PyramidROIAlign`.

    Returns:
        float32 logits [b, n, classes], probabilities [b, n, classes], deltas [b, n, classes, 4].
    """
    x, rows, index = PackedROIAlign(
        [pool_size, pool_size], distinct=distinct, config=config, name="roi_align_classifier"
    )([rois, image_meta, *feature_maps])
    for number in range(1, convs + 1):
        x = keras.layers.Conv2D(conv_channels, 3, padding="same", name=f"mrcnn_box_conv{number}")(x)
        x = BatchNorm(train_bn, name=f"mrcnn_box_bn{number}")(x)
        x = keras.layers.Activation("relu")(x)
    for number in range(1, fcs + 1):
        window = pool_size if number == 1 else 1
        x = FullyConnected(fc_layers_size, window, name=f"mrcnn_class_conv{number}")(x)
        x = BatchNorm(train_bn, name=f"mrcnn_class_bn{number}")(x)
        x = keras.layers.Activation("relu")(x)
    shared = UnpackRows(name="pool_squeeze")([x, rows, index])
    logits = keras.layers.Dense(num_classes, dtype="float32", name="mrcnn_class_logits")(shared)
    probs = keras.layers.Softmax(dtype="float32", name="mrcnn_class")(logits)
    deltas = keras.layers.Dense(4 * num_classes, dtype="float32", name="mrcnn_bbox_fc")(shared)
    deltas = keras.layers.Reshape(
        (rois.shape[1], num_classes, 4), dtype="float32", name="mrcnn_bbox"
    )(deltas)
    return logits, probs, deltas


@keras.saving.register_keras_serializable(PACKAGE)
class FullyConnected(keras.layers.Conv2D):
    """A fully connected layer in the form of the published weights: a convolution as large as its
    input.

    It runs as one matrix product. As a convolution, a detection takes 6 % longer (0.87 -> 0.92 s,
    ResNet-50 at 512 px) and a step of the heads 4 % more memory (AMD EPYC with AVX-512, 2 cores,
    TensorFlow 2.21, at commit 28596ff).
    """

    def convolution_op(self, inputs, kernel):
        size, filters = kernel.shape[:3].num_elements(), kernel.shape[3]
        product = tf.matmul(tf.reshape(inputs, [-1, size]), tf.reshape(kernel, [size, filters]))
        return tf.reshape(product, [-1, 1, 1, filters])

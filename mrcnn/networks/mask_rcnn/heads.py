"""The box/class head and the mask head (Mask R-CNN, figure 4, right).

RoIs are folded into the batch: a head is a plain convolutional network over
[b * n, h, w, c], under the names and weights that the original's per-RoI wrappers had.
"""

import keras
from keras import ops

from mrcnn.networks.layers.convolution import Conv2D, Conv2DTranspose, convolve_and_normalize
from mrcnn.networks.layers.normalization import BatchNorm
from mrcnn.networks.mask_rcnn.gather_rows import GatherRows
from mrcnn.networks.mask_rcnn.mask_head import MaskPrediction
from mrcnn.networks.mask_rcnn.roi_features import (
    DistinctROIAlign,
    PyramidROIAlign,
    SelectedROIAlign,
)


def fpn_classifier_graph(
    rois, feature_maps, image_meta, pool_size, num_classes, train_bn=True, fc_layers_size=1024
):
    """Classify each RoI and refine its box for each class.

    Rows of padding go through the head once an image, which gives the same numbers, unless
    ``train_bn`` makes them part of the batch's statistics.

    Args:
        rois: KerasTensor [b, n, 4] normalised; n is static.
        feature_maps: [P2, P3, P4, P5].
        image_meta: [b, m].
        pool_size: side of the pooled feature.
        num_classes: with background.
        train_bn: see `networks.layers.normalization.BatchNorm`.
        fc_layers_size: width of the two fully connected layers.

    Returns:
        float32 logits [b, n, classes], probabilities [b, n, classes], deltas [b, n, classes, 4].
    """
    count = rois.shape[1]
    arguments = [rois, image_meta, *feature_maps]
    if train_bn is False:
        x, index = DistinctROIAlign([pool_size, pool_size], name="roi_align_classifier")(arguments)
    else:
        x = PyramidROIAlign([pool_size, pool_size], name="roi_align_classifier")(arguments)
        x = ops.reshape(x, (-1, *x.shape[2:]))
    # two fully connected layers, written as convolutions as in the published weights
    for number, kernel in ((1, pool_size), (2, 1)):
        x = Conv2D(fc_layers_size, kernel, name=f"mrcnn_class_conv{number}")(x)
        x = BatchNorm(train_bn, name=f"mrcnn_class_bn{number}")(x)
        x = keras.layers.Activation("relu")(x)
    if train_bn is False:
        shared = GatherRows(name="pool_squeeze")([x, index])
    else:
        shared = keras.layers.Reshape((count, fc_layers_size), name="pool_squeeze")(
            ops.reshape(x, (-1, count, fc_layers_size))
        )
    logits = keras.layers.Dense(num_classes, dtype="float32", name="mrcnn_class_logits")(shared)
    probs = keras.layers.Softmax(dtype="float32", name="mrcnn_class")(logits)
    deltas = keras.layers.Dense(4 * num_classes, dtype="float32", name="mrcnn_bbox_fc")(shared)
    deltas = keras.layers.Reshape((count, num_classes, 4), dtype="float32", name="mrcnn_bbox")(
        deltas
    )
    return logits, probs, deltas


def build_fpn_mask_graph(
    rois,
    feature_maps,
    image_meta,
    pool_size,
    num_classes,
    train_bn=True,
    *,
    class_ids=None,
    most=None,
    filters=256,
    compact=False,
):
    """Predict a mask per class for each RoI.

    Args:
        rois, feature_maps, image_meta, num_classes, train_bn: as in `fpn_classifier_graph`.
        pool_size: side of the pooled feature; the masks have twice that.
        class_ids: KerasTensor [b, n]; only RoIs of a class above 0 go through the head, the
            others' masks are 0. None takes all RoIs.
        most: number of an image's first RoIs among which all of a class above 0 are; None: they may
            be anywhere. The head then never runs on more rows than that, where it otherwise may
            (`ops.packed_rows.SIZES`).
        filters: of the head's convolutions.
        compact: also return the selected RoIs' masks of their own classes alone.

    Returns:
        float32 [b, n, 2 * pool_size, 2 * pool_size, classes] in 0..1; with ``compact`` a
        pair of that and [m, 2 * pool_size, 2 * pool_size].
    """
    if class_ids is None:
        class_ids = ops.ones_like(rois[..., 0])
    x = SelectedROIAlign([pool_size, pool_size], name="roi_align_mask")(
        [rois[:, :most], class_ids[:, :most], image_meta, *feature_maps]
        if most
        else [rois, class_ids, image_meta, *feature_maps]
    )
    for number in range(1, 5):
        x = convolve_and_normalize(
            x,
            Conv2D(filters, (3, 3), padding="same", name=f"mrcnn_mask_conv{number}"),
            BatchNorm(train_bn, name=f"mrcnn_mask_bn{number}"),
        )
        x = keras.layers.Activation("relu")(x)
    x = Conv2DTranspose(filters, (2, 2), strides=2, activation="relu", name="mrcnn_mask_deconv")(x)
    return MaskPrediction(num_classes, compact=compact, name="mrcnn_mask")([x, class_ids])

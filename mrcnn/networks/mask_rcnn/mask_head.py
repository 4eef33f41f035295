"""The mask head (Mask R-CNN, figure 4, right): a mask of each RoI for each class.

RoIs are folded into the batch: the head is a plain convolutional network over [m, h, w, c], under
the names and weights that the original's wrappers for each RoI had.
"""

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE
from mrcnn.networks.layers.normalization import BatchNorm
from mrcnn.networks.mask_rcnn.roi_features import PackedROIAlign
from mrcnn.ops.packed_rows import PackedRows


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
    own_classes=None,
    filters=256,
    config=None,
):
    """Predict a mask per class for each RoI.

    Args:
        rois, feature_maps, image_meta, num_classes, train_bn: as in
            `networks.mask_rcnn.box_head.fpn_classifier_graph`.
        pool_size: side of the pooled feature; the masks have twice that.
        class_ids: KerasTensor [b, n]; only RoIs of a class above 0 go through the head, the others'
            masks are 0. None takes all RoIs.
        most: RoIs of an image that have a class, at most; None: all may have one.
        own_classes: KerasTensor int32 [b, n]; asks for each RoI's mask of that class alone, too.
        filters: of the head's convolutions.
        config: how RoIs are pooled; see `PyramidROIAlign`.

    Returns:
        float32 [b, n, 2 * pool_size, 2 * pool_size, classes] in 0..1; with ``own_classes`` a pair
        of that and [b, n, 2 * pool_size, 2 * pool_size].
    """
    x, rows, index = PackedROIAlign(
        [pool_size, pool_size], most=most, config=config, name="roi_align_mask"
    )([rois, image_meta, *feature_maps], class_ids=class_ids)
    for number in range(1, 5):
        x = keras.layers.Conv2D(filters, (3, 3), padding="same", name=f"mrcnn_mask_conv{number}")(x)
        x = BatchNorm(train_bn, name=f"mrcnn_mask_bn{number}")(x)
        x = keras.layers.Activation("relu")(x)
    x = keras.layers.Conv2DTranspose(
        filters, (2, 2), strides=2, activation="relu", name="mrcnn_mask_deconv"
    )(x)
    return MaskPrediction(num_classes, name="mrcnn_mask")([x, rows, index], own_classes=own_classes)


@keras.saving.register_keras_serializable(PACKAGE)
class MaskPrediction(keras.layers.Conv2D):
    """The mask head's last layer: a 1x1 convolution with a sigmoid, a filter for each class.

    Its result is put back into the batch's shape, so that the layer "mrcnn_mask" still has the
    original's output although the mask head met no padding.

    Call arguments:
        [features [m, h, w, c], and the two tensors of the `PackedRows`]; own_classes int [b, n]
        where the masks of one class of each RoI are wanted, too.

    Returns:
        float32 [b, n, h, w, classes], 0 for the rows that are not packed; with own_classes a pair
        of that and [b, n, h, w].
    """

    def __init__(self, filters, kernel_size=(1, 1), activation="sigmoid", **kwargs):
        # half precision rounds a confident sigmoid to 1, whose logarithm has no gradient
        kwargs.setdefault("dtype", "float32")
        super().__init__(filters, kernel_size, activation=activation, **kwargs)
        self.input_spec = None  # Conv2D's allows one input
        self.supports_jit = False

    def build(self, input_shape):
        super().build(input_shape[0])
        self.input_spec = None

    def call(self, inputs, own_classes=None):
        features, rows, index = inputs
        masks = PackedRows(rows, index).unpack(super().call(features))
        return masks if own_classes is None else (masks, self.own_masks(inputs, own_classes))

    def own_masks(self, inputs, own_classes):
        """Each RoI's mask of one class alone, float32 [b, n, h, w]; arguments as of the call."""
        features, rows, index = inputs
        packed = PackedRows(rows, index)
        masks = super().call(tf.cast(features, self.compute_dtype))
        classes = tf.cast(packed.pack(own_classes), tf.int32)
        return packed.unpack(tf.gather(masks, classes, axis=3, batch_dims=1))

    def compute_output_spec(self, inputs, own_classes=None):
        features, _, index = inputs
        size = (*index.shape, *features.shape[1:3])
        masks = keras.KerasTensor((*size, self.filters), "float32")
        return masks if own_classes is None else (masks, keras.KerasTensor(size, "float32"))

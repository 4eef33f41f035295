"""The mask head (Mask R-CNN, figure 4, right): a mask of each RoI for each class.

RoIs are folded into the batch: the head is a plain convolutional network over [m, h, w, c], under
the names and weights that the original's wrappers for each RoI had. The paper's table 2 compares it
with others: with a softmax over the classes (2b), and with fully connected layers (2e), which are
"mrcnn_mask_fc1" and so on.
"""

import math

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE
from mrcnn.networks.layers.normalization import BatchNorm
from mrcnn.networks.mask_rcnn.box_head import FullyConnected
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
    deconvs=1,
    fully_connected=None,
    class_agnostic=False,
    activation="sigmoid",
    config=None,
):
    """Predict a mask per class for each RoI.

    Args:
        rois, feature_maps, image_meta, num_classes, train_bn: as in
            `networks.mask_rcnn.box_head.fpn_classifier_graph`.
        pool_size: side of the pooled feature.
        class_ids: KerasTensor [b, n]; only RoIs of a class above 0 go through the head, the others'
            masks are 0. None takes all RoIs.
        most: RoIs of an image that have a class, at most; None: all may have one.
        own_classes: KerasTensor int32 [b, n]; asks for each RoI's mask of that class alone, too.
        filters: of the head's convolutions.
        deconvs: transposed convolutions, each of which doubles the size of the masks.
        fully_connected: (units, (height, width)): two fully connected layers of so many units
            instead of all convolutions, and masks of that size.
        class_agnostic: True predicts one mask, which is that of every class.
        activation: "sigmoid", or "softmax" over the classes.
        config: how RoIs are pooled; see `PyramidROIAlign`.

    Returns:
        float32 [b, n, h, w, classes] in 0..1, h and w being ``pool_size * 2 ** deconvs``; with
        ``own_classes`` a pair of that and of what `MaskPrediction` returns for them.
    """
    x, rows, index = PackedROIAlign(
        [pool_size, pool_size], most=most, config=config, name="roi_align_mask"
    )([rois, image_meta, *feature_maps], class_ids=class_ids)
    if fully_connected is None:
        x, size = _convolutions(x, filters, deconvs, train_bn), None
    else:
        units, size = fully_connected
        x = _fully_connected(x, pool_size, units, train_bn)
    prediction = MaskPrediction(
        (1 if class_agnostic else num_classes) * math.prod(size or ()),
        activation=activation,
        classes=num_classes,
        size=size,
        name="mrcnn_mask",
    )
    return prediction([x, rows, index], own_classes=own_classes)


def _convolutions(x, filters, deconvs, train_bn):
    """[m, h, w, c] -> [m, h * 2 ** deconvs, w * 2 ** deconvs, filters]."""
    for number in range(1, 5):
        x = keras.layers.Conv2D(filters, (3, 3), padding="same", name=f"mrcnn_mask_conv{number}")(x)
        x = BatchNorm(train_bn, name=f"mrcnn_mask_bn{number}")(x)
        x = keras.layers.Activation("relu")(x)
    for number in range(1, deconvs + 1):
        name = "mrcnn_mask_deconv" + (str(number) if number > 1 else "")
        x = keras.layers.Conv2DTranspose(filters, (2, 2), strides=2, activation="relu", name=name)(
            x
        )
    return x


def _fully_connected(x, pool_size, units, train_bn):
    """[m, pool_size, pool_size, c] -> [m, 1, 1, units]."""
    for number in (1, 2):
        window = pool_size if number == 1 else 1
        x = FullyConnected(units, window, name=f"mrcnn_mask_fc{number}")(x)
        x = BatchNorm(train_bn, name=f"mrcnn_mask_fc_bn{number}")(x)
        x = keras.layers.Activation("relu")(x)
    return x


@keras.saving.register_keras_serializable(PACKAGE)
class MaskPrediction(keras.layers.Conv2D):
    """The mask head's last layer: a 1x1 convolution with a sigmoid, a filter for each class.

    Its result is put back into the batch's shape, so that the layer "mrcnn_mask" still has the
    original's output although the mask head met no padding.

    Args:
        filters: one for each class, or a single one for all; times the number of cells where
            ``size`` is given.
        activation: "sigmoid", or "softmax" over the classes.
        classes: of the output; None: as many as filters.
        size: (height, width) of the masks, whose cells are then filters: features are [m, 1, 1, c].
            None: the masks have the size of the features.

    Call arguments:
        [features [m, h, w, c], and the two tensors of the `PackedRows`]; own_classes int [b, n]
        where the masks of one class of each RoI are wanted, too.

    Returns:
        float32 [b, n, h, w, classes], 0 for the rows that are not packed; with own_classes a pair
        of that and what the loss is made of: [b, n, h, w] of the same, or with "softmax"
        [b, n, h, w, 2], the logarithms of the probabilities of the background and of the class.
    """

    def __init__(
        self,
        filters,
        kernel_size=(1, 1),
        activation="sigmoid",
        classes=None,
        size=None,
        **kwargs,
    ):
        # half precision rounds a confident sigmoid to 1, whose logarithm has no gradient
        kwargs.setdefault("dtype", "float32")
        super().__init__(filters, kernel_size, activation=activation, **kwargs)
        self.classes, self.size = classes, None if size is None else tuple(map(int, size))
        self.input_spec = None  # Conv2D's allows one input
        self.supports_jit = False

    def build(self, input_shape):
        super().build(input_shape[0])
        self.input_spec = None

    def call(self, inputs, own_classes=None):
        features, rows, index = inputs
        masks = PackedRows(rows, index).unpack(self.masks(features))
        if masks.shape[-1] != self.output_classes:
            masks = tf.broadcast_to(masks, [*tf.unstack(tf.shape(masks))[:-1], self.output_classes])
        if own_classes is None:
            return masks
        of_own = self.own_log_probabilities if self.is_softmax else self.own_masks
        return masks, of_own(inputs, own_classes)

    def logits(self, features):
        """Of the packed rows, [m, h, w, classes], or [m, h, w, 1] of a single mask for all."""
        values = self.convolution_op(tf.cast(features, self.compute_dtype), self.kernel)
        if self.use_bias:
            values += tf.reshape(self.bias, [1, 1, 1, -1])
        if self.size is None:
            return values
        return tf.reshape(values, [-1, *self.size, self.filters // math.prod(self.size)])

    def masks(self, features):
        """Of the packed rows, as `logits`."""
        return self.activation(self.logits(features))

    def own_masks(self, inputs, own_classes):
        """Each RoI's mask of one class alone, float32 [b, n, h, w]; arguments as of the call."""
        features, rows, index = inputs
        packed = PackedRows(rows, index)
        masks = self.masks(features)
        return packed.unpack(_of_classes(masks, packed, own_classes))

    def own_log_probabilities(self, inputs, own_classes):
        """Logarithms of the softmax at the background and at each RoI's class, float32
        [b, n, h, w, 2]; arguments as of the call.
        """
        features, rows, index = inputs
        packed = PackedRows(rows, index)
        values = tf.nn.log_softmax(self.logits(features))
        own = _of_classes(values, packed, own_classes)
        return packed.unpack(tf.stack([values[..., 0], own], axis=-1))

    @property
    def is_softmax(self):
        return self.activation is keras.activations.softmax

    @property
    def output_classes(self):
        return self.filters // math.prod(self.size or ()) if self.classes is None else self.classes

    def compute_output_spec(self, inputs, own_classes=None):
        features, _, index = inputs
        size = (*index.shape, *(self.size or features.shape[1:3]))
        masks = keras.KerasTensor((*size, self.output_classes), "float32")
        if own_classes is None:
            return masks
        return masks, keras.KerasTensor((*size, 2) if self.is_softmax else size, "float32")

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "size": self.size}


def _of_classes(values, packed, classes):
    """Values [m, h, w, classes] of the packed rows at one class each, [m, h, w]."""
    if values.shape[-1] == 1:
        return values[..., 0]
    classes = tf.cast(packed.pack(classes), tf.int32)
    return tf.gather(values, classes, axis=3, batch_dims=1)

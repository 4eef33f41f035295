"""RoIAlign (Mask R-CNN, section 3): a feature of fixed size for every region of interest."""

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.ops.image_meta import IMAGE_SHAPE
from mrcnn.ops.packed_rows import PackedRows
from mrcnn.ops.roi_align import pyramid_roi_align


@keras.saving.register_keras_serializable(PACKAGE)
class PyramidROIAlign(GraphLayer):
    """Pool every RoI from the pyramid level of its size; see `ops.roi_align`.

    Args:
        pool_shape: [height, width] of the result in bins.

    Call arguments:
        [boxes float32 [b, n, 4] normalised, image_meta [b, m], P2, P3, P4, P5].

    Returns:
        float32 [b, n, pool height, pool width, channels].
    """

    def __init__(self, pool_shape, **kwargs):
        super().__init__(**kwargs)
        self.pool_shape = tuple(pool_shape)

    def call(self, inputs):
        boxes, image_meta, *feature_maps = inputs
        batch, count = tf.shape(boxes)[0], tf.shape(boxes)[1]
        pooled = pyramid_roi_align(
            tf.reshape(boxes, [-1, 4]),
            tf.repeat(tf.range(batch), count),
            image_meta[0, IMAGE_SHAPE],
            feature_maps,
            self.pool_shape,
        )
        return tf.reshape(pooled, [batch, count, *self.pool_shape, feature_maps[0].shape[-1]])

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:2], *self.pool_shape, input_shape[2][-1])

    def get_config(self):
        return {**super().get_config(), "pool_shape": list(self.pool_shape)}


@keras.saving.register_keras_serializable(PACKAGE)
class PackedROIAlign(PyramidROIAlign):
    """Pool only the RoIs that a head has to run on; see `ops.packed_rows.PackedRows`.

    Args:
        pool_shape: as of `PyramidROIAlign`.
        distinct: whether padding is pooled once an image. Not where a head normalises by the
            statistics of its batch, of which padding is a part in the original.
        most: RoIs of an image that have a class, at most; None: all may have one.

    Call arguments:
        [boxes float32 [b, n, 4] normalised, image_meta [b, m], P2, P3, P4, P5], and class_ids [b,
        n], where only RoIs with a class above 0 are wanted.

    Returns:
        float32 [m, pool height, pool width, channels]; and the two tensors of the `PackedRows`.
    """

    def __init__(self, pool_shape, distinct=False, most=None, **kwargs):
        super().__init__(pool_shape, **kwargs)
        self.distinct = distinct
        self.most = most

    def call(self, inputs, class_ids=None):
        boxes, image_meta, *feature_maps = inputs
        if class_ids is not None:
            packed = PackedRows.objects(class_ids, self.most)
        else:
            packed = PackedRows.distinct(boxes) if self.distinct else PackedRows.every(boxes)
        pooled = pyramid_roi_align(
            packed.pack(boxes),
            packed.rows[:, 0],
            image_meta[0, IMAGE_SHAPE],
            feature_maps,
            self.pool_shape,
        )
        return pooled, packed.rows, packed.index

    def compute_output_spec(self, inputs, class_ids=None):
        pooled = (None, *self.pool_shape, inputs[2].shape[-1])
        return (
            keras.KerasTensor(pooled, "float32"),
            keras.KerasTensor((None, 2), "int32"),
            keras.KerasTensor(inputs[0].shape[:2], "int32"),
        )

    def get_config(self):
        return {**super().get_config(), "distinct": self.distinct, "most": self.most}


@keras.saving.register_keras_serializable(PACKAGE)
class UnpackRows(keras.layers.Layer):
    """A head's vectors of packed rows in the shape of the batch; see `ops.packed_rows.PackedRows`.

    Call arguments:
        [values [m, 1, 1, channels], rows int32 [m, 2], index int32 [b, n]].

    Returns:
        [b, n, channels].
    """

    def call(self, inputs):
        values, rows, index = inputs
        return PackedRows(rows, index).unpack(tf.reshape(values, [-1, values.shape[-1]]))

    def compute_output_shape(self, input_shape):
        return (*input_shape[2], input_shape[0][-1])

"""PyramidROIAlign: a fixed-size feature for every region of interest."""

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.ops.image_meta import IMAGE_SHAPE
from mrcnn.ops.packed_rows import distinct_rows, head_rows
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
class SelectedROIAlign(PyramidROIAlign):
    """Pool only the RoIs that hold an object, so that the mask head meets no padding.

    Call arguments:
        [boxes float32 [b, n, 4] normalised, class_ids [b, n], image_meta [b, m], P2, P3, P4, P5].

    Returns:
        float32 [m, pool height, pool width, channels], the rows of `ops.packed_rows.head_rows`.
    """

    def call(self, inputs):
        boxes, class_ids, image_meta, *feature_maps = inputs
        rows = head_rows(class_ids)
        return pyramid_roi_align(
            tf.gather_nd(boxes, rows),
            rows[:, 0],
            image_meta[0, IMAGE_SHAPE],
            feature_maps,
            self.pool_shape,
        )

    def compute_output_shape(self, input_shape):
        return (None, *self.pool_shape, input_shape[3][-1])


@keras.saving.register_keras_serializable(PACKAGE)
class DistinctROIAlign(PyramidROIAlign):
    """Pool every RoI but padding, which is pooled once an image; see
    `ops.packed_rows.distinct_rows`.

    Call arguments:
        As of `PyramidROIAlign`.

    Returns:
        float32 [m, pool height, pool width, channels], and int32 [b, n], the row of each RoI.
    """

    def call(self, inputs):
        boxes, image_meta, *feature_maps = inputs
        rows, index = distinct_rows(boxes)
        pooled = pyramid_roi_align(
            tf.gather_nd(boxes, rows),
            rows[:, 0],
            image_meta[0, IMAGE_SHAPE],
            feature_maps,
            self.pool_shape,
        )
        return pooled, index

    def compute_output_spec(self, inputs):
        pooled = (None, *self.pool_shape, inputs[2].shape[-1])
        return keras.KerasTensor(pooled, "float32"), keras.KerasTensor(inputs[0].shape[:2], "int32")

"""RoIAlign (Mask R-CNN, section 3): a feature of fixed size for every region of interest.

As the original does it: one bilinear sample per bin, taken on a grid that includes both edges of
the box (``tf.image.crop_and_resize``). The paper takes four samples inside each bin; the weights
that people have were trained with one.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.ops.crop_and_resize import crop_and_resize
from mrcnn.ops.image_meta import IMAGE_SHAPE
from mrcnn.ops.packed_rows import PackedRows

MIN_LEVEL, MAX_LEVEL = 2, 5


def roi_levels(boxes: tf.Tensor, image_shape: tf.Tensor | Sequence[int]) -> tf.Tensor:
    """Pyramid level of each box (FPN paper, equation 1, with rounding instead of floor).

    Args:
        boxes: float32 [..., 4] normalised.
        image_shape: (height, width, ...) px of the molded image.

    Returns:
        int32 [...] in 2..5; a box of no area is given level 2.
    """
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    side = tf.sqrt(tf.maximum((y2 - y1) * (x2 - x1), 0.0))
    height, width = tf.unstack(tf.cast(image_shape, tf.float32)[:2])
    # 224 px is the ImageNet image that level 4 was pre-trained on
    relative = side / (224.0 / tf.sqrt(height * width))
    has_area = relative > 0
    level = 4 + tf.cast(
        tf.round(tf.math.log(tf.where(has_area, relative, 1.0)) / tf.math.log(2.0)), tf.int32
    )
    return tf.where(has_area, tf.clip_by_value(level, MIN_LEVEL, MAX_LEVEL), MIN_LEVEL)


def pyramid_roi_align(
    boxes: tf.Tensor,
    image_index: tf.Tensor,
    image_shape: tf.Tensor | Sequence[int],
    feature_maps: Sequence[tf.Tensor],
    pool_shape: Sequence[int],
) -> tf.Tensor:
    """Pool each box from the pyramid level that fits its size.

    Args:
        boxes: float32 [n, 4] normalised; no gradient flows into them.
        image_index: int32 [n], the image of the batch that a box belongs to.
        image_shape: (height, width, ...) px of the molded images.
        feature_maps: P2..P5, each float32 [b, h, w, c].
        pool_shape: (height, width) of the result in bins.

    Returns:
        float32 [n, pool height, pool width, c]; samples outside the image are 0.
    """
    boxes = tf.stop_gradient(boxes)
    levels = roi_levels(boxes, image_shape)
    rows, pooled = [], []
    for level, feature_map in enumerate(feature_maps, MIN_LEVEL):
        index = tf.cast(tf.where(tf.equal(levels, level))[:, 0], tf.int32)
        rows.append(index)
        pooled.append(
            crop_and_resize(
                feature_map, tf.gather(boxes, index), tf.gather(image_index, index), pool_shape
            )
        )
    return tf.dynamic_stitch(rows, pooled)


@keras.saving.register_keras_serializable(PACKAGE)
class PyramidROIAlign(GraphLayer):
    """Pool every RoI from the pyramid level of its size, by `pyramid_roi_align`.

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

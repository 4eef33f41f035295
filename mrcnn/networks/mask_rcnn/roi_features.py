"""RoIAlign (Mask R-CNN, section 3): a feature of fixed size for every region of interest.

By default as the original does it: one bilinear sample per bin, taken on a grid that includes both
edges of the box (``tf.image.crop_and_resize``). The paper takes four samples inside each bin; the
original's weights were trained with one, torchvision's with four. `POOLINGS` has these and the
poolings that the paper compares with.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.crop_and_resize import crop_and_resize
from mrcnn.ops.image_meta import IMAGE_SHAPE
from mrcnn.ops.packed_rows import PackedRows
from mrcnn.ops.roi_align import mean_of_samples
from mrcnn.ops.roi_pool import roi_pool

MIN_LEVEL, MAX_LEVEL = 2, 5


def roi_levels(
    boxes: tf.Tensor,
    image_shape: tf.Tensor | Sequence[int],
    *,
    floor: bool = False,
    box_shift: int = 1,
) -> tf.Tensor:
    """Pyramid level of each box (FPN paper, equation 1).

    Args:
        boxes: float32 [..., 4] normalised.
        image_shape: (height, width, ...) px of the molded image.
        floor: True takes the equation's floor, 1e-6 above a whole number and the box's size in
            pixels, as torchvision does; False rounds the size that a normalised box has of the
            image, as the original does.
        box_shift: BOX_SHIFT, by which the boxes are normalised.

    Returns:
        int32 [...] in 2..5; a box of no area is given level 2.
    """
    if floor:
        y1, x1, y2, x2 = tf.unstack(box_ops.pixel_boxes(boxes, image_shape, box_shift), axis=-1)
        relative = tf.sqrt(tf.maximum(y2 - y1, 0.0) * tf.maximum(x2 - x1, 0.0)) / 224.0
    else:
        y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
        side = tf.sqrt(tf.maximum((y2 - y1) * (x2 - x1), 0.0))
        height, width = tf.unstack(tf.cast(image_shape, tf.float32)[:2])
        # 224 px is the ImageNet image that level 4 was pre-trained on
        relative = side / (224.0 / tf.sqrt(height * width))
    has_area = relative > 0
    exponent = tf.math.log(tf.where(has_area, relative, 1.0)) / tf.math.log(2.0)
    whole = tf.floor(exponent + 1e-6) if floor else tf.round(exponent)
    level = 4 + tf.cast(whole, tf.int32)
    return tf.where(has_area, tf.clip_by_value(level, MIN_LEVEL, MAX_LEVEL), MIN_LEVEL)


# === Ways to pool: functions of boxes [n, 4] px, their image_index int32 [n], image_shape, one map
# [b, h, w, c] and pool_shape; they return [n, *pool_shape, c] ===


def _cells(boxes, image_shape, feature_map):
    """Boxes in cells of a map, 0 at the upper left edge of its first cell."""
    size = tf.cast(tf.shape(feature_map)[1:3], tf.float32)
    return boxes * tf.tile(size / tf.cast(image_shape, tf.float32)[:2], [2])


def _sampled(boxes, image_index, image_shape, feature_map, pool_shape):
    """torchvision's ``roi_align`` with ``sampling_ratio=2, aligned=False``: it takes the samples
    half a cell too far down and right, and a region less than a cell wide for one of a cell.
    """
    corners = _cells(boxes, image_shape, feature_map)
    start, end = corners[:, :2], corners[:, 2:]
    regions = tf.concat([start, start + tf.maximum(end - start, 1.0)], axis=1)
    return mean_of_samples(feature_map, regions, image_index, pool_shape)


def _aligned(boxes, image_index, image_shape, feature_map, pool_shape):
    """The same with ``aligned=True``: the centre of the first cell is half a cell inside."""
    regions = _cells(boxes, image_shape, feature_map) - 0.5
    return mean_of_samples(feature_map, regions, image_index, pool_shape)


def _quantized(boxes, image_shape, feature_map):
    """The whole cells of each box, as RoIPool rounds: int32 [n, 4], the last ones exclusive."""
    corners = _cells(boxes, image_shape, feature_map)
    # half away from 0, as C does
    corners = tf.cast(tf.sign(corners) * tf.floor(tf.abs(corners) + 0.5), tf.int32)
    # Fast R-CNN counts the cell in which the end lies
    return tf.concat([corners[:, :2], tf.maximum(corners[:, 2:], corners[:, :2]) + 1], axis=1)


def _pool(boxes, image_index, image_shape, feature_map, pool_shape):
    """torchvision's ``roi_pool``."""
    regions = _quantized(boxes, image_shape, feature_map)
    return roi_pool(feature_map, regions, image_index, pool_shape)


def _warp(boxes, image_index, image_shape, feature_map, pool_shape):
    """Samples as in ``_aligned``, of the cells that ``_pool`` takes (Dai et al. 2016,
    "Instance-aware Semantic Segmentation via Multi-task Network Cascades"; "ave" in table 2c).
    """
    regions = tf.cast(_quantized(boxes, image_shape, feature_map), tf.float32) - 0.5
    return mean_of_samples(feature_map, regions, image_index, pool_shape)


# by ROI_ALIGN, beside "crop"
POOLINGS = {"sampled": _sampled, "aligned": _aligned, "pool": _pool, "warp": _warp}


def pyramid_roi_align(
    boxes: tf.Tensor,
    image_index: tf.Tensor,
    image_shape: tf.Tensor | Sequence[int],
    feature_maps: Sequence[tf.Tensor],
    pool_shape: Sequence[int],
    *,
    method: str = "crop",
    floor: bool = False,
    box_shift: int = 1,
) -> tf.Tensor:
    """Pool each box from the pyramid level that fits its size.

    Args:
        boxes: float32 [n, 4] normalised; no gradient flows into them.
        image_index: int32 [n], the image of the batch that a box belongs to.
        image_shape: (height, width, ...) px of the molded images.
        feature_maps: P2..P5, each float32 [b, h, w, c].
        pool_shape: (height, width) of the result in bins.
        method: ROI_ALIGN.
        floor: ROI_LEVEL_FLOOR, see `roi_levels`.
        box_shift: BOX_SHIFT, by which the boxes are normalised.

    Returns:
        float32 [n, pool height, pool width, c]; samples outside the image are 0.
    """
    boxes = tf.stop_gradient(boxes)
    levels = roi_levels(boxes, image_shape, floor=floor, box_shift=box_shift)
    if method != "crop":
        boxes = box_ops.pixel_boxes(boxes, image_shape, box_shift)
    elif box_shift != 1:
        # the kernel's grid starts and ends in the centres of the outermost pixels
        boxes = box_ops.norm_boxes(box_ops.pixel_boxes(boxes, image_shape, box_shift), image_shape)
    rows, pooled = [], []
    for level, feature_map in enumerate(feature_maps, MIN_LEVEL):
        index = tf.cast(tf.where(tf.equal(levels, level))[:, 0], tf.int32)
        rows.append(index)
        of_level, images = tf.gather(boxes, index), tf.gather(image_index, index)
        if method == "crop":
            pooled.append(crop_and_resize(feature_map, of_level, images, pool_shape))
        else:
            pooled.append(POOLINGS[method](of_level, images, image_shape, feature_map, pool_shape))
    return tf.dynamic_stitch(rows, pooled)


@keras.saving.register_keras_serializable(PACKAGE)
class PyramidROIAlign(GraphLayer):
    """Pool every RoI from the pyramid level of its size, by `pyramid_roi_align`.

    Args:
        pool_shape: [height, width] of the result in bins.
        config: a ``Config``, or a dict of `CONFIG_FIELDS`; None takes the original's way.

    Call arguments:
        [boxes float32 [b, n, 4] normalised, image_meta [b, m], P2, P3, P4, P5].

    Returns:
        float32 [b, n, pool height, pool width, channels].
    """

    CONFIG_FIELDS = ("BOX_SHIFT", "ROI_ALIGN", "ROI_LEVEL_FLOOR")

    def __init__(self, pool_shape, config=None, **kwargs):
        super().__init__(config, **kwargs)
        self.pool_shape = tuple(pool_shape)

    def pool(self, boxes, image_index, image_meta, feature_maps):
        """`pyramid_roi_align` by the settings; boxes float32 [n, 4]."""
        return pyramid_roi_align(
            boxes,
            image_index,
            image_meta[0, IMAGE_SHAPE],
            feature_maps,
            self.pool_shape,
            method=self.settings["ROI_ALIGN"],
            floor=self.settings["ROI_LEVEL_FLOOR"],
            box_shift=self.settings["BOX_SHIFT"],
        )

    def call(self, inputs):
        boxes, image_meta, *feature_maps = inputs
        batch, count = tf.shape(boxes)[0], tf.shape(boxes)[1]
        image_index = tf.repeat(tf.range(batch), count)
        pooled = self.pool(tf.reshape(boxes, [-1, 4]), image_index, image_meta, feature_maps)
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
        config: as of `PyramidROIAlign`.

    Call arguments:
        [boxes float32 [b, n, 4] normalised, image_meta [b, m], P2, P3, P4, P5], and class_ids [b,
        n], where only RoIs with a class above 0 are wanted.

    Returns:
        float32 [m, pool height, pool width, channels]; and the two tensors of the `PackedRows`.
    """

    def __init__(self, pool_shape, distinct=False, most=None, config=None, **kwargs):
        super().__init__(pool_shape, config, **kwargs)
        self.distinct = distinct
        self.most = most

    def call(self, inputs, class_ids=None):
        boxes, image_meta, *feature_maps = inputs
        if class_ids is not None:
            packed = PackedRows.objects(class_ids, self.most)
        else:
            packed = PackedRows.distinct(boxes) if self.distinct else PackedRows.every(boxes)
        pooled = self.pool(packed.pack(boxes), packed.rows[:, 0], image_meta, feature_maps)
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

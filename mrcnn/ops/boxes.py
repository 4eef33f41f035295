"""Boxes as tensors: the TensorFlow twins of ``boxes_np``. A test compares the two.

A box is (y1, x1, y2, x2). Every function takes any number of leading axes, so a
batch needs no loop, and every result is float32 unless said otherwise.
"""

from collections.abc import Sequence

import tensorflow as tf

from mrcnn.ops.boxes_np import MAX_LOG_SCALE


def _corners(boxes):
    return tf.unstack(boxes, axis=-1)


def apply_box_deltas(
    boxes: tf.Tensor, deltas: tf.Tensor, limit: float = MAX_LOG_SCALE
) -> tf.Tensor:
    """Shift and scale boxes by predicted refinements (Fast R-CNN, appendix C).

    Args:
        boxes: [..., 4] (y1, x1, y2, x2), any unit.
        deltas: [..., 4] (dy, dx, log dh, log dw), relative to the box's size.
        limit: log dh and log dw count up to here, ``Config.BBOX_LOG_SCALE_LIMIT``.

    Returns:
        [..., 4] refined boxes, not clipped.
    """
    y1, x1, y2, x2 = _corners(boxes)
    dy, dx, dh, dw = _corners(deltas)
    height, width = y2 - y1, x2 - x1
    center_y = y1 + 0.5 * height + dy * height
    center_x = x1 + 0.5 * width + dx * width
    height *= tf.exp(tf.minimum(dh, limit))
    width *= tf.exp(tf.minimum(dw, limit))
    top, left = center_y - 0.5 * height, center_x - 0.5 * width
    return tf.stack([top, left, top + height, left + width], axis=-1)


def box_refinement(boxes: tf.Tensor, gt_boxes: tf.Tensor) -> tf.Tensor:
    """Deltas that turn ``boxes`` into ``gt_boxes``: the inverse of `apply_box_deltas`.

    Args:
        boxes, gt_boxes: [..., 4] of equal shape.

    Returns:
        [..., 4] (dy, dx, log dh, log dw). Where either box has no height or no width nothing can
        be refined, and the row is 0.
    """
    boxes, gt_boxes = tf.cast(boxes, tf.float32), tf.cast(gt_boxes, tf.float32)
    y1, x1, y2, x2 = _corners(boxes)
    gt_y1, gt_x1, gt_y2, gt_x2 = _corners(gt_boxes)
    height, width = y2 - y1, x2 - x1
    gt_height, gt_width = gt_y2 - gt_y1, gt_x2 - gt_x1
    dy = gt_y1 + 0.5 * gt_height - (y1 + 0.5 * height)
    dx = gt_x1 + 0.5 * gt_width - (x1 + 0.5 * width)
    usable = (height > 0) & (width > 0) & (gt_height > 0) & (gt_width > 0)
    # divisors too, or the gradient would be NaN in the rows that are not used
    height, width = tf.where(usable, height, 1.0), tf.where(usable, width, 1.0)
    deltas = [
        dy / height,
        dx / width,
        tf.math.log(tf.where(usable, gt_height / height, 1.0)),
        tf.math.log(tf.where(usable, gt_width / width, 1.0)),
    ]
    return tf.where(usable[..., tf.newaxis], tf.stack(deltas, axis=-1), 0.0)


def clip_boxes(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Clip boxes [..., n, 4] to a window of shape [4] or [..., 4], in the boxes' unit."""
    window = tf.cast(window, boxes.dtype)[..., tf.newaxis, :]
    low = tf.concat([window[..., :2], window[..., :2]], axis=-1)
    high = tf.concat([window[..., 2:], window[..., 2:]], axis=-1)
    return tf.maximum(tf.minimum(boxes, high), low)


def pairwise_iou(boxes1: tf.Tensor, boxes2: tf.Tensor) -> tf.Tensor:
    """Intersection over union of each box of one set with each of the other.

    Args:
        boxes1: [..., n, 4].
        boxes2: [..., m, 4].

    Returns:
        [..., n, m]. 0 where both boxes have no area, unlike the original's NaN.
    """
    first, second = boxes1[..., :, tf.newaxis, :], boxes2[..., tf.newaxis, :, :]
    top_left = tf.maximum(first[..., :2], second[..., :2])
    bottom_right = tf.minimum(first[..., 2:], second[..., 2:])
    intersection = tf.reduce_prod(tf.maximum(bottom_right - top_left, 0.0), axis=-1)
    area1 = tf.reduce_prod(first[..., 2:] - first[..., :2], axis=-1)
    area2 = tf.reduce_prod(second[..., 2:] - second[..., :2], axis=-1)
    return tf.math.divide_no_nan(intersection, area1 + area2 - intersection)


def norm_boxes(boxes: tf.Tensor, shape: tf.Tensor | Sequence[int], shift: float = 1) -> tf.Tensor:
    """Pixels to normalised coordinates.

    Args:
        boxes: [..., 4] px, y2/x2 exclusive.
        shape: (height, width) px, a tensor or a pair.
        shift: ``Config.BOX_SHIFT``: with 1 (0, 0, 1, 1) spans an image's pixel centres, with 0 its
            edges.

    Returns:
        float32 [..., 4].
    """
    height, width = tf.unstack(tf.cast(shape, tf.float32)[:2])
    # an image one pixel high would divide by 0
    scale = tf.maximum(tf.stack([height, width, height, width]) - float(shift), 1.0)
    return (tf.cast(boxes, tf.float32) - [0.0, 0.0, float(shift), float(shift)]) / scale


def pixel_boxes(boxes: tf.Tensor, shape: tf.Tensor | Sequence[int], shift: float = 1) -> tf.Tensor:
    """Normalised coordinates to pixels that are not rounded, float32 [..., 4]: the inverse of
    `norm_boxes`, whose arguments it has.
    """
    height, width = tf.unstack(tf.cast(shape, tf.float32)[:2])
    scale = tf.stack([height, width, height, width]) - float(shift)
    return boxes * scale + [0.0, 0.0, float(shift), float(shift)]


def denorm_boxes(boxes: tf.Tensor, shape: tf.Tensor | Sequence[int], shift: float = 1) -> tf.Tensor:
    """`pixel_boxes` rounded half to even, int32 [..., 4]."""
    return tf.cast(tf.round(pixel_boxes(boxes, shape, shift)), tf.int32)


def has_sides(
    boxes: tf.Tensor, least: float, shape: tf.Tensor | Sequence[int], shift: float = 1
) -> tf.Tensor:
    """Which boxes are neither flat nor narrow.

    Args:
        boxes: [..., 4] normalised.
        least: px, the least height and width.
        shape, shift: as of `norm_boxes`.

    Returns:
        bool [...].
    """
    y1, x1, y2, x2 = _corners(pixel_boxes(boxes, shape, shift))
    return (y2 - y1 >= least) & (x2 - x1 >= least)


def is_box(boxes: tf.Tensor) -> tf.Tensor:
    """bool [...]: True where a row of [..., 4] is a box and not zero padding."""
    return tf.reduce_any(tf.not_equal(boxes, 0), axis=-1)

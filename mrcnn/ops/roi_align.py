"""RoIAlign over a feature pyramid, as the original does it.

One bilinear sample per bin, taken on a grid that includes both edges of the box
(``tf.image.crop_and_resize``), which is not the paper's RoIAlign of four samples
inside each bin; the weights people have were trained with this one.
"""

import tensorflow as tf

MIN_LEVEL, MAX_LEVEL = 2, 5


def roi_levels(boxes, image_shape):
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
    level = 4 + tf.cast(tf.round(tf.math.log(tf.where(has_area, relative, 1.0)) / tf.math.log(2.0)), tf.int32)
    return tf.where(has_area, tf.clip_by_value(level, MIN_LEVEL, MAX_LEVEL), MIN_LEVEL)


def pyramid_roi_align(boxes, image_index, image_shape, feature_maps, pool_shape):
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
        pooled.append(tf.image.crop_and_resize(
            feature_map, tf.gather(boxes, index), tf.gather(image_index, index), pool_shape))
    return tf.dynamic_stitch(rows, pooled)

"""From images to the network's inputs, and from its outputs to results in the images' pixels."""

import numpy as np

from mrcnn.data.images import as_uint8_range, fit_channels, mold_image, resize_image
from mrcnn.data.masks import unmold_masks
from mrcnn.data.meta import compose_image_meta
from mrcnn.ops.boxes_np import denorm_boxes, has_area, norm_boxes


def mold(image, config):
    """Resize, pad and centre one image.

    Args:
        image: [h, w] or [h, w, c], any number type: see `data.images.as_uint8_range`.
        config: a ``Config``.

    Returns:
        (molded float64 [H, W, c], image_meta [12 + classes], window (y1, x1, y2, x2) px).

    Raises:
        ValueError: the image is not an image, its molded sides are not multiples of 64, or
            IMAGE_RESIZE_MODE is "crop", which would look at a random part of it.
    """
    if config.IMAGE_RESIZE_MODE == "crop":
        raise ValueError("IMAGE_RESIZE_MODE 'crop' cuts a random part out of an image, which is for training: "
                         "detect with 'square' or 'pad64'")
    image = fit_channels(as_uint8_range(image), config.IMAGE_CHANNEL_COUNT)
    molded, window, scale, _, _ = resize_image(
        image, min_dim=config.IMAGE_MIN_DIM, max_dim=config.IMAGE_MAX_DIM, min_scale=config.IMAGE_MIN_SCALE,
        mode=config.IMAGE_RESIZE_MODE)
    if molded.shape[0] % 64 or molded.shape[1] % 64:
        raise ValueError(f"IMAGE_RESIZE_MODE {config.IMAGE_RESIZE_MODE!r} gives an image of {molded.shape[:2]} px, "
                         "whose sides are not multiples of 64: use 'square' or 'pad64'")
    meta = compose_image_meta(0, image.shape, molded.shape, window, scale, np.zeros([config.NUM_CLASSES], np.int32))
    return mold_image(molded, config), meta, window


def mold_inputs(images, config):
    """`mold` a list of images that come out at one size.

    Returns:
        (molded [b, H, W, c], image_metas [b, 12 + classes], windows [b, 4]).

    Raises:
        ValueError: no image, or images of different molded sizes.
    """
    molded, metas, windows = zip(*(mold(image, config) for image in images)) if len(images) else ((), (), ())
    shapes = {image.shape for image in molded}
    if len(shapes) != 1:
        raise ValueError(f"IMAGE_RESIZE_MODE {config.IMAGE_RESIZE_MODE!r} gives images of {sorted(shapes)}: "
                         "a batch needs images of one size" if shapes else "no image was given")
    return np.stack(molded), np.stack(metas), np.stack(windows)


def unmold_detections(detections, mrcnn_mask, original_image_shape, image_shape, window):
    """Detections of one image in the pixels of the image as it was before molding.

    Args:
        detections: [n, 6] of (y1, x1, y2, x2, class id, score), normalised; a class id of 0
            ends the list.
        mrcnn_mask: [n, mask h, mask w, classes] probabilities.
        original_image_shape: (h, w, ...) px.
        image_shape: (H, W, ...) px of the molded image.
        window: (y1, x1, y2, x2) px, the part of the molded image that is not padding.

    Returns:
        boxes int32 [m, 4] px, class ids int32 [m], scores float32 [m],
        masks bool [h, w, m] (float64 where m is 0, as the original has it).
    """
    padding = np.flatnonzero(detections[:, 4] == 0)
    count = padding[0] if len(padding) else len(detections)
    boxes, scores = detections[:count, :4], detections[:count, 5]
    class_ids = detections[:count, 4].astype(np.int32)
    masks = mrcnn_mask[np.arange(count), :, :, class_ids]

    window = norm_boxes(window, image_shape[:2])
    origin, size = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
    boxes = denorm_boxes((boxes - origin) / size, original_image_shape[:2])
    real = has_area(boxes)
    boxes, class_ids, scores, masks = (rows[real] for rows in (boxes, class_ids, scores, masks))
    if not len(boxes):
        return boxes, class_ids, scores, np.empty((*original_image_shape[:2], 0))
    return boxes, class_ids, scores, unmold_masks(masks, boxes, original_image_shape)


def results(detections, masks, originals, molded_shape, windows):
    """`unmold_detections` for a batch.

    Args:
        detections: [b, n, 6].
        masks: [b, n, mask h, mask w, classes].
        originals: shape of each image as given.
        molded_shape: (H, W, ...) of the batch.
        windows: [b, 4] px.

    Returns:
        A dict per image: rois int32 [m, 4], class_ids int32 [m], scores float32 [m],
        masks as `unmold_detections` gives them.
    """
    keys = ("rois", "class_ids", "scores", "masks")
    return [dict(zip(keys, unmold_detections(*image, molded_shape, window)))
            for *image, window in zip(detections, masks, originals, windows)]


def batches_of_one_shape(molded, batch_size):
    """Indices of images of equal shape, at most ``batch_size`` together, in the order given."""
    by_shape = {}
    for index, image in enumerate(molded):
        by_shape.setdefault(image.shape, []).append(index)
    for indices in by_shape.values():
        for start in range(0, len(indices), batch_size):
            yield indices[start:start + batch_size]

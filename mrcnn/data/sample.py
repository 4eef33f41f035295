"""One image's part of a training batch, and batches stacked of such parts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mrcnn.data.augment.copy_paste import choose_objects, paste_objects
from mrcnn.data.augment.user import Augmentation
from mrcnn.data.images import mold_image
from mrcnn.data.load import SampleError, boxes_and_masks, describe_image, load_view
from mrcnn.data.masks import extract_bboxes
from mrcnn.data.random_rois import build_detection_targets, generate_random_rois
from mrcnn.data.rpn_targets import build_rpn_targets
from mrcnn.ops.image_meta import PARTS

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.dataset import Dataset
    from mrcnn.data.load import Prepared


class Sample(NamedTuple):
    """One image's part of a batch; shapes as in `data_generator`, without the batch axis."""

    image_id: int
    image: np.ndarray
    image_meta: np.ndarray
    rpn_match: np.ndarray
    rpn_bbox: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray
    dropped: int  # objects beyond MAX_GT_INSTANCES
    rpn_rois: np.ndarray | None = None
    targets: tuple[np.ndarray, ...] | None = None  # of build_detection_targets


def make_sample(
    dataset: Dataset,
    config: Config,
    image_id: int,
    anchors: np.ndarray,
    augment: bool = False,
    augmentation: Augmentation | None = None,
    no_augmentation_sources: Collection[str] | None = None,
    random_rois: int = 0,
    detection_targets: bool = False,
    rng: np.random.RandomState | None = None,
    prepared: Prepared | None = None,
    training: bool = True,
) -> Sample | None:
    """Load an image and compute all that training needs of it.

    The random numbers are drawn in the original's order.

    Args:
        anchors: [A, 4] in pixels, of config.IMAGE_SHAPE.
        rng: np.random.RandomState; None as in `load_image_gt`, and np.random.
        prepared: see `load_image_gt`.
        (others): as in `data_generator`.

    Returns:
        Sample, or None if the image has no object (crowds are none) and KEEP_EMPTY_IMAGES is False.

    Raises:
        SampleError: see `load_image_gt`; or the image's size is not IMAGE_SHAPE.
    """

    def varies(number):
        return dataset.image_info[number]["source"] not in (no_augmentation_sources or ())

    def load(number, at_hand=None):
        return load_view(
            dataset,
            config,
            number,
            augment,
            augmentation if varies(number) else None,
            rng,
            at_hand,
            jittered=training and varies(number),
        )

    view = load(image_id, prepared)
    if not (view.class_ids > 0).any() and not config.KEEP_EMPTY_IMAGES:
        return None
    _check_shape(view, dataset, config, image_id)
    view = _with_crowds_once(view)
    if training and config.COPY_PASTE and varies(image_id):
        view = _with_pasted_objects(view, dataset, config, image_id, load, rng)
    image, meta, class_ids, _ = view
    boxes, masks = boxes_and_masks(view, config, config.USE_MINI_MASK)
    rpn_match, rpn_bbox = build_rpn_targets(image.shape, anchors, class_ids, boxes, config, rng)
    rois = targets = None
    if random_rois:
        rois = generate_random_rois(image.shape, random_rois, class_ids, boxes, rng)
        if detection_targets:
            targets = build_detection_targets(rois, class_ids, boxes, masks, config, rng)
    dropped = max(len(class_ids) - config.MAX_GT_INSTANCES, 0)
    if dropped:
        draw = np.random if rng is None else rng
        kept = draw.choice(np.arange(len(class_ids)), config.MAX_GT_INSTANCES, replace=False)
        class_ids, boxes, masks = class_ids[kept], boxes[kept], masks[:, :, kept]
    return Sample(
        int(image_id),
        mold_image(image, config, np.float32),
        meta,
        rpn_match,
        rpn_bbox,
        class_ids,
        boxes,
        masks,
        dropped,
        rois,
        targets,
    )


def _with_crowds_once(view):
    """The view with one crowd of each box: training looks at the boxes of crowds, whatever their
    class, and a region to ignore is a crowd of every class.
    """
    crowds = np.flatnonzero(view.class_ids < 0)
    _, first = np.unique(extract_bboxes(view.masks[:, :, crowds]), axis=0, return_index=True)
    if len(first) == len(crowds):
        return view
    once = np.sort(np.concatenate([np.flatnonzero(view.class_ids >= 0), crowds[first]]))
    return view._replace(masks=view.masks[:, :, once], class_ids=view.class_ids[once])


def _check_shape(view, dataset, config, image_id):
    if view.image.shape != tuple(config.IMAGE_SHAPE):
        raise SampleError(
            f"{describe_image(dataset, image_id)} has shape {view.image.shape} after "
            f"IMAGE_RESIZE_MODE {config.IMAGE_RESIZE_MODE!r}, but training needs IMAGE_SHAPE "
            f"{tuple(map(int, config.IMAGE_SHAPE))} for all: use mode 'square' or 'crop'"
        )


def _with_pasted_objects(view, dataset, config, image_id, load, rng):
    """With the probability COPY_PASTE, the view with objects of another random image of the
    dataset.
    """
    draw = np.random if rng is None else rng
    count = len(dataset.image_ids)
    if draw.random_sample() >= config.COPY_PASTE or count < 2:
        return view
    # any but the image itself
    other_id = dataset.image_ids[(int(image_id) + 1 + draw.randint(count - 1)) % count]
    other = load(other_id)
    _check_shape(other, dataset, config, other_id)
    chosen = choose_objects(
        other.class_ids,
        view.image_meta[PARTS["active_class_ids"]],
        config.MAX_GT_INSTANCES - len(view.class_ids),
        rng,
    )
    image, masks, class_ids = paste_objects(
        view.image,
        view.masks,
        view.class_ids,
        other.image,
        other.masks[:, :, chosen],
        other.class_ids[chosen],
    )
    return view._replace(image=image, masks=masks, class_ids=class_ids)


def stack_samples(
    samples: Sequence[Sample], config: Config
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Stack samples to the arrays of a batch, objects padded to MAX_GT_INSTANCES.

    Returns:
        (inputs, outputs), lists of arrays as `data_generator` yields them.
    """
    limit = config.MAX_GT_INSTANCES
    masks = np.zeros((len(samples), *samples[0].masks.shape[:2], limit), dtype=bool)
    for row, sample in zip(masks, samples):
        row[:, :, : sample.masks.shape[2]] = sample.masks
    inputs = [
        np.stack([sample.image for sample in samples]),
        np.stack([sample.image_meta for sample in samples]),
        np.stack([sample.rpn_match for sample in samples])[:, :, np.newaxis],
        np.stack([sample.rpn_bbox for sample in samples]),
        np.stack([_pad_rows(sample.class_ids, limit) for sample in samples]),
        np.stack([_pad_rows(sample.boxes, limit) for sample in samples]),
        masks,
    ]
    outputs = []
    random_rois = [sample.rpn_rois for sample in samples if sample.rpn_rois is not None]
    if random_rois:
        inputs.append(np.stack(random_rois))
    targets = [sample.targets for sample in samples if sample.targets is not None]
    if targets:
        rois, class_ids, bboxes, roi_masks = (np.stack(part) for part in zip(*targets))
        inputs.append(rois)
        outputs = [class_ids[:, :, np.newaxis], bboxes, roi_masks]
    return inputs, outputs


def _pad_rows(array, count):
    padded = np.zeros((count, *array.shape[1:]), dtype=array.dtype)
    padded[: len(array)] = array
    return padded

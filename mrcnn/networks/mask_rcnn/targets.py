"""Which proposals train the heads, and on what (Fast R-CNN section 2.3, Mask R-CNN section 3)."""

from typing import NamedTuple

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.packed_rows import PackedRows

# Points on each axis of a cell, of whose values "soft" takes the mean.
SOFT_SAMPLES = 4
CROWD_IOU = 0.001  # a proposal that touches a crowd any more than this is no negative


class DetectionTargets(NamedTuple):
    """t rows an image: positives first, then negatives, then zero padding."""

    rois: tf.Tensor  # float32 [b, t, 4] normalised
    class_ids: tf.Tensor  # int32 [b, t], 0 for negatives and padding
    deltas: tf.Tensor  # float32 [b, t, 4] in units of bbox_std_dev
    masks: tf.Tensor  # float32 [b, t, height, width] of 0 and 1; "soft": between them


def detection_targets(
    proposals,
    gt_class_ids,
    gt_boxes,
    gt_masks,
    *,
    count,
    positive_ratio,
    positive_iou,
    bbox_std_dev,
    mask_shape,
    mini_masks,
    add_gt=False,
    mask_targets="crop",
    image_shape=None,
    box_shift=1,
    negatives_alone=False,
    fill_negatives=False,
    shuffle=True,
    seed=None,
):
    """Sample proposals and give each its class, box refinement and mask.

    Args:
        proposals: float32 [b, p, 4] normalised, zero padded.
        gt_class_ids: int [b, g], zero padded; negative for crowds.
        gt_boxes: float32 [b, g, 4] normalised, zero padded.
        gt_masks: [b, h, w, g]: mini masks, or masks of the whole image.
        count: t, RoIs per image.
        positive_ratio: share of positives. There are never more negatives than keep that
            share, so an image without positives has no negatives, but for ``negatives_alone`` and
            ``fill_negatives``.
        positive_iou: IoU with an object from which on a proposal is positive.
        bbox_std_dev: [4].
        mask_shape: (height, width) of the target masks.
        mini_masks: whether ``gt_masks`` are relative to their boxes.
        add_gt: whether the objects' own boxes are proposals too.
        mask_targets: ``Config.MASK_TARGETS``.
        image_shape: (height, width, ...) px, that sampled masks need.
        box_shift: ``Config.BOX_SHIFT``, by which boxes are normalised.
        negatives_alone: whether an image without objects has as many negatives as one with all
            positives.
        fill_negatives: whether negatives take all rows that positives leave.
        shuffle: False takes the first candidates instead of random ones (for comparisons).
        seed: int32 [2], all that the choice depends on; None leaves it to TensorFlow's global
            generator.

    Returns:
        `DetectionTargets`.
    """
    is_gt = box_ops.is_box(gt_boxes)
    is_object = is_gt & (gt_class_ids > 0)
    if add_gt:
        own = tf.where(is_object[..., tf.newaxis], gt_boxes, 0.0)
        proposals = tf.concat([proposals, own], axis=1)
    missing = tf.maximum(count - tf.shape(proposals)[1], 0)
    proposals = tf.pad(proposals, [[0, 0], [0, missing], [0, 0]])
    iou = box_ops.pairwise_iou(proposals, gt_boxes)  # [b, p, g]
    object_iou = tf.where(is_object[:, tf.newaxis, :], iou, -1.0)
    crowd_iou = tf.where((is_gt & (gt_class_ids < 0))[:, tf.newaxis, :], iou, -1.0)
    best_iou = tf.reduce_max(object_iou, axis=2)
    is_proposal = box_ops.is_box(proposals)
    positive = is_proposal & (best_iou >= positive_iou)
    negative = (
        is_proposal & (best_iou < positive_iou) & (tf.reduce_max(crowd_iou, axis=2) < CROWD_IOU)
    )

    max_positives = int(count * positive_ratio)
    keys = (
        _random_keys(tf.shape(positive), seed)
        if shuffle
        else [_falling_keys(tf.shape(positive))] * 2
    )
    positives, positive_count = _sample(positive, max_positives, keys[0])
    # float32 and truncation as in the original: 66 positives have 134 negatives, 65 have 131
    wanted = (
        tf.cast(tf.cast(positive_count, tf.float32) * (1.0 / positive_ratio), tf.int32)
        - positive_count
    )
    if fill_negatives:
        wanted = count - positive_count
    elif negatives_alone:
        wanted = tf.where(
            tf.reduce_any(is_object, axis=1, keepdims=True), wanted, count - max_positives
        )
    negatives, negative_count = _sample(negative, count, keys[1])
    negative_count = tf.minimum(negative_count, wanted)

    slot = tf.range(count)[tf.newaxis, :]
    is_positive = slot < positive_count
    is_sampled = slot < tf.minimum(positive_count + negative_count, count)
    column = tf.where(is_positive, slot, max_positives + slot - positive_count)
    index = tf.gather(tf.concat([positives, negatives], axis=1), column, batch_dims=1)
    rois = tf.gather(proposals, index, batch_dims=1)
    rois = tf.where(is_sampled[..., tf.newaxis], rois, tf.zeros_like(rois))
    matched = tf.argmax(tf.gather(object_iou, index, batch_dims=1), axis=2, output_type=tf.int32)
    class_ids = tf.where(
        is_positive, tf.gather(tf.cast(gt_class_ids, tf.int32), matched, batch_dims=1), 0
    )

    # from here on only the positive rows are worked on; a row that fills up would divide by zero
    packed = PackedRows.objects(class_ids, filled=False)
    objects = tf.stack([packed.rows[:, 0], packed.pack(matched)], axis=1)
    positive_rois, positive_boxes = packed.pack(rois), tf.gather_nd(gt_boxes, objects)
    deltas = box_ops.box_refinement(positive_rois, positive_boxes) / tf.constant(
        bbox_std_dev, tf.float32
    )
    frames, stored = positive_boxes if mini_masks else None, tf.shape(gt_masks)[1:3]
    if mask_targets == "crop":
        windows = _edge_windows(positive_rois, frames, stored, box_shift)
        masks = tf.round(_crop_masks(gt_masks, objects, windows, mask_shape, padded=False))
    else:
        samples = SOFT_SAMPLES if mask_targets == "soft" else 1
        shape = [samples * side for side in mask_shape]
        windows = _centre_windows(positive_rois, frames, shape, stored, image_shape, box_shift)
        masks = tf.round(_crop_masks(gt_masks, objects, windows, shape, padded=True))
        if samples > 1:
            masks = tf.nn.avg_pool2d(masks[..., tf.newaxis], samples, samples, "VALID")[..., 0]
    return DetectionTargets(rois, class_ids, packed.unpack(deltas), packed.unpack(masks))


def _random_keys(shape, seed):
    """Two tensors of random numbers in 0..1."""
    if seed is None:
        return tf.random.uniform(shape), tf.random.uniform(shape)
    return [
        tf.random.stateless_uniform(shape, part) for part in tf.unstack(tf.random.split(seed, 2))
    ]


def _falling_keys(shape):
    return tf.broadcast_to(
        1.0 - tf.cast(tf.range(shape[1]), tf.float32) / tf.cast(shape[1], tf.float32), shape
    )


def _sample(candidates, limit, keys):
    """Up to ``limit`` indices [b, limit] of the True columns of [b, n], largest key first, and
    their number [b, 1].
    """
    _, index = tf.math.top_k(tf.where(candidates, keys, -1.0), limit)
    found = tf.reduce_sum(tf.cast(candidates, tf.int32), axis=1, keepdims=True)
    return index, tf.minimum(found, limit)


def _edge_windows(rois, frames, shape, box_shift):
    """RoIs [m, 4] relative to the frames [m, 4] of their masks, or where that is None to masks of
    the whole image, of ``shape``, as ``crop_and_resize`` takes them: its first and last samples lie
    on their edges.
    """
    if frames is None:
        if box_shift == 1:
            return rois
        # crop_and_resize counts from pixel centre to pixel centre
        return box_ops.norm_boxes(box_ops.pixel_boxes(rois, shape, box_shift), shape)
    origin = tf.tile(frames[:, :2], [1, 2])
    size = tf.tile(frames[:, 2:] - frames[:, :2], [1, 2])
    return (rois - origin) / size


def _centre_windows(rois, frames, mask_shape, stored_shape, image_shape, box_shift):
    """Windows whose first and last samples are the centres of the first and last cells of target
    masks, in stored masks that are padded by a cell of zeros on all sides.

    Args:
        rois: [m, 4] normalised.
        frames: [m, 4] normalised, the boxes that the stored masks fill; None: the image.
        mask_shape: (height, width) of the target masks.
        stored_shape: int32 [2], (height, width) of the stored masks, without the padding.
        image_shape: (height, width, ...) px.
        box_shift: ``Config.BOX_SHIFT``.
    """
    shape = [float(side) for side in image_shape[:2]]

    def corners(boxes):  # px, each [m, 2]
        boxes = box_ops.pixel_boxes(boxes, shape, box_shift)
        return boxes[:, :2], boxes[:, 2:]

    start, end = corners(rois)
    origin, opposite = (tf.zeros([2]), tf.constant(shape)) if frames is None else corners(frames)
    stored = tf.cast(stored_shape, tf.float32)
    half_cell = (end - start) * 0.5 / tf.constant(mask_shape, tf.float32)
    ends = []
    for place in (start + half_cell, end - half_cell):
        # a cell's centre is half a cell from its edge; the padding moves all by one
        cell = (place - origin) / (opposite - origin) * stored - 0.5 + 1.0
        ends.append(cell / (stored + 1.0))  # of the last padded cell
    return tf.concat(ends, axis=1)


def _crop_masks(gt_masks, objects, windows, mask_shape, padded):
    """The windows [m, 4] of the objects' masks, float32 [m, height, width] between 0 and 1.

    ``padded`` puts a cell of zeros around the masks: an object ends half a cell from its last one.
    """
    masks = tf.gather_nd(tf.transpose(gt_masks, [0, 3, 1, 2]), objects)
    masks = tf.cast(masks, tf.float32)[..., tf.newaxis]
    if padded:
        masks = tf.pad(masks, [[0, 0], [1, 1], [1, 1], [0, 0]])
    cropped = tf.image.crop_and_resize(
        masks, tf.stop_gradient(windows), tf.range(tf.shape(objects)[0]), mask_shape
    )
    return cropped[..., 0]


@keras.saving.register_keras_serializable(PACKAGE)
class DetectionTargetLayer(GraphLayer):
    """Sample proposals and give each its target; see `detection_targets`.

    Args:
        config: a ``Config``, or a dict of `CONFIG_FIELDS`.
        shuffle: False takes the first candidates instead of random ones, for comparisons. The
            random choice depends on the state of ``seed_generator``, so a run whose state is
            restored goes on with the same choices.

    Call arguments:
        [proposals float32 [b, p, 4] normalised, gt_class_ids int32 [b, g],
        gt_boxes float32 [b, g, 4] normalised, gt_masks bool [b, h, w, g]].

    Returns:
        rois float32 [b, t, 4], class_ids int32 [b, t], deltas float32 [b, t, 4],
        masks float32 [b, t, mask height, mask width], t = TRAIN_ROIS_PER_IMAGE.
    """

    CONFIG_FIELDS = (
        "TRAIN_ROIS_PER_IMAGE",
        "ROI_POSITIVE_RATIO",
        "ROI_POSITIVE_IOU",
        "BBOX_STD_DEV",
        "MASK_SHAPE",
        "USE_MINI_MASK",
        "STOP_PROPOSAL_GRADIENT",
        "KEEP_EMPTY_IMAGES",
        "ROI_ADD_GT",
        "ROI_FILL_NEGATIVES",
        "MASK_TARGETS",
        "IMAGE_SHAPE",
        "BOX_SHIFT",
    )

    def __init__(self, config, shuffle=True, **kwargs):
        super().__init__(config, **kwargs)
        self.shuffle = shuffle
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, inputs):
        proposals, gt_class_ids, gt_boxes, gt_masks = inputs
        if self.settings["STOP_PROPOSAL_GRADIENT"]:
            proposals = tf.stop_gradient(proposals)
        return tuple(
            detection_targets(
                proposals,
                gt_class_ids,
                gt_boxes,
                gt_masks,
                count=self.settings["TRAIN_ROIS_PER_IMAGE"],
                positive_ratio=self.settings["ROI_POSITIVE_RATIO"],
                positive_iou=self.settings["ROI_POSITIVE_IOU"],
                bbox_std_dev=self.settings["BBOX_STD_DEV"],
                mask_shape=tuple(self.settings["MASK_SHAPE"]),
                mini_masks=self.settings["USE_MINI_MASK"],
                add_gt=self.settings["ROI_ADD_GT"],
                mask_targets=self.settings["MASK_TARGETS"],
                image_shape=self.settings["IMAGE_SHAPE"],
                box_shift=self.settings["BOX_SHIFT"],
                negatives_alone=self.settings["KEEP_EMPTY_IMAGES"],
                fill_negatives=self.settings["ROI_FILL_NEGATIVES"],
                shuffle=self.shuffle,
                seed=self._next_seed() if self.shuffle else None,
            )
        )

    def _next_seed(self):
        """A seed [2] for this step; every device has its own."""
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        context = tf.distribute.get_replica_context()
        return tf.random.fold_in(seed, context.replica_id_in_sync_group) if context else seed

    def compute_output_spec(self, inputs):
        batch, count = inputs[0].shape[0], self.settings["TRAIN_ROIS_PER_IMAGE"]
        return (
            keras.KerasTensor((batch, count, 4), "float32"),
            keras.KerasTensor((batch, count), "int32"),
            keras.KerasTensor((batch, count, 4), "float32"),
            keras.KerasTensor((batch, count, *self.settings["MASK_SHAPE"]), "float32"),
        )

    def get_config(self):
        return {**super().get_config(), "shuffle": self.shuffle}

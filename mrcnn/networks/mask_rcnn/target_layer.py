"""DetectionTargetLayer: what the heads are trained on."""

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.networks.mask_rcnn.targets import detection_targets


@keras.saving.register_keras_serializable(PACKAGE)
class DetectionTargetLayer(GraphLayer):
    """Sample proposals and give each its target; see
    `networks.mask_rcnn.targets.detection_targets`.

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
        "BBOX_STD_DEV",
        "MASK_SHAPE",
        "USE_MINI_MASK",
        "STOP_PROPOSAL_GRADIENT",
        "KEEP_EMPTY_IMAGES",
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
                bbox_std_dev=self.settings["BBOX_STD_DEV"],
                mask_shape=tuple(self.settings["MASK_SHAPE"]),
                mini_masks=self.settings["USE_MINI_MASK"],
                negatives_alone=self.settings["KEEP_EMPTY_IMAGES"],
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

"""From RPN outputs to proposals (Faster R-CNN, section 3.3)."""

from typing import NamedTuple

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.image_meta import IMAGE_SHAPE, WINDOW
from mrcnn.ops.nms import batch_nms, gather_or_zero

# A score that counts as none: that of a proposal which is too small.
_DROPPED = -1e30


class Proposals(NamedTuple):
    """Each step from anchors to proposals; boxes are normalised.

    k = min(pre_nms_limit, anchors), by falling probability; or, where each level is treated by
    itself, the sum of the levels' k, level after level.
    """

    pre_nms_anchors: tf.Tensor  # [b, k, 4] the best anchors by foreground probability
    refined_anchors: tf.Tensor  # [b, k, 4] moved by their deltas
    refined_anchors_clipped: tf.Tensor  # [b, k, 4] cut to the image
    nms_indices: tf.Tensor  # int32 [b, count] rows that survived, -1 as padding
    rois: tf.Tensor  # [b, count, 4] the proposals, padded with zeros


def generate_proposals(
    rpn_probs,
    rpn_deltas,
    anchors,
    count,
    nms_threshold,
    pre_nms_limit,
    bbox_std_dev,
    *,
    log_scale_limit=box_ops.MAX_LOG_SCALE,
    rpn_logits=None,
    level_sizes=None,
    window=(0.0, 0.0, 1.0, 1.0),
    large_enough=None,
):
    """Refine the most probable anchors and drop those that overlap a better one.

    Args:
        rpn_probs: float32 [b, anchors, 2] background and foreground probability.
        rpn_deltas: float32 [b, anchors, 4] refinements in units of ``bbox_std_dev``.
        anchors: float32 [b, anchors, 4] normalised.
        count: proposals per image.
        nms_threshold: IoU above which the weaker of two goes.
        pre_nms_limit: anchors that enter the suppression, at most.
        bbox_std_dev: [4].
        log_scale_limit: logarithms of a side's growth count up to here.
        rpn_logits: float32 [b, anchors, 2], needed with ``level_sizes``.
        level_sizes: int32 [levels], anchors of each level. They make each level take its own
            ``pre_nms_limit`` best anchors and suppress its own overlaps; then the best proposals of
            all levels stay (FPN paper's code). None: all levels are treated as one.
        window: float32 [4] or [b, 4] normalised; what proposals are cut to.
        large_enough: function of boxes [b, k, 4] -> bool [b, k]; those that are not are dropped
            before the suppression. None: all are.

    Returns:
        `Proposals`.
    """
    if level_sizes is None:
        ranks, sizes = rpn_probs[:, :, 1], tf.shape(anchors)[1:2]
    else:
        # In the order of the probabilities, of which many tie at 1 in float32. torchvision ranks
        # the proposals of all levels by these, and a sort that is not stable decides between equal
        # ones: its last proposals are others where those have probabilities above 1 - 1e-4.
        ranks, sizes = rpn_logits[:, :, 1] - rpn_logits[:, :, 0], level_sizes
    scores, best, sizes = _best_of_levels(ranks, sizes, pre_nms_limit)
    deltas = tf.gather(rpn_deltas, best, batch_dims=1) * tf.constant(bbox_std_dev, tf.float32)
    pre_nms = tf.gather(anchors, best, batch_dims=1)
    refined = box_ops.apply_box_deltas(pre_nms, deltas, log_scale_limit)
    clipped = box_ops.clip_boxes(refined, window)
    fixed = tf.stop_gradient(clipped)
    if large_enough is not None:
        scores = tf.where(large_enough(fixed), scores, _DROPPED)
    kept = _suppress(fixed, scores, sizes, count, nms_threshold)
    return Proposals(pre_nms, refined, clipped, kept, gather_or_zero(clipped, kept))


def _best_of_levels(ranks, sizes, limit):
    """The ``limit`` best anchors of each level.

    Args:
        ranks: float32 [b, anchors].
        sizes: int32 [levels], anchors of each.
        limit: anchors of a level, at most.

    Returns:
        ranks [b, k] and their columns int32 [b, k], level after level, by falling rank in each; and
        the levels' parts of k, int32 [levels].
    """
    levels = zip(tf.split(ranks, sizes, axis=1), tf.unstack(sizes))
    found = [tf.math.top_k(part, tf.minimum(limit, size), sorted=True) for part, size in levels]
    starts = tf.unstack(tf.cumsum(sizes, exclusive=True))
    columns = [top.indices + start for top, start in zip(found, starts)]
    values = tf.concat([top.values for top in found], axis=1)
    return values, tf.concat(columns, axis=1), tf.minimum(limit, sizes)


def _suppress(boxes, scores, sizes, count, threshold):
    """The best boxes that overlap no better one of their level.

    Args:
        boxes: float32 [b, k, 4], level after level.
        scores: float32 [b, k].
        sizes: int32 [levels], boxes of each.
        count: boxes to keep.
        threshold: IoU above which the weaker of two goes.

    Returns:
        int32 [b, count] columns of k by falling score, padded with -1.
    """
    starts = tf.unstack(tf.cumsum(sizes, exclusive=True))
    parts = zip(tf.split(boxes, sizes, axis=1), tf.split(scores, sizes, axis=1), starts)
    kept = []
    for level_boxes, level_scores, start in parts:
        rows = batch_nms(level_boxes, level_scores, count, threshold, _DROPPED)
        kept.append(tf.where(rows < 0, rows, rows + start))
    if len(kept) == 1:
        return kept[0]
    joined = tf.concat(kept, axis=1)
    score = tf.gather(scores, tf.maximum(joined, 0), batch_dims=1)
    _, best = tf.math.top_k(tf.where(joined < 0, _DROPPED, score), count)
    return tf.gather(joined, best, batch_dims=1)


@keras.saving.register_keras_serializable(PACKAGE)
class ProposalLayer(GraphLayer):
    """Choose and refine anchors; see `generate_proposals`.

    Args:
        proposal_count: proposals per image.
        nms_threshold: IoU above which the weaker of two proposals goes.
        config: a ``Config``, or a dict of `CONFIG_FIELDS`.
        pre_nms_limit: anchors that enter the suppression, at most; None: PRE_NMS_LIMIT.

    Call arguments:
        [rpn_probs float32 [b, anchors, 2], rpn_bbox float32 [b, anchors, 4],
        anchors float32 [b, anchors, 4] normalised], all that the original's layer takes; and
        rpn_logits float32 [b, anchors, 2], image_meta [b, m], P2, P3, P4, P5, P6, which
        PROPOSALS_PER_LEVEL, PROPOSAL_MIN_SIZE and CLIP_PROPOSALS_TO_WINDOW need.

    Returns:
        float32 [b, proposal_count, 4] normalised, by falling probability, zero padded.

    Raises:
        ValueError: one of these fields is set, and three tensors are given.
    """

    CONFIG_FIELDS = (
        "PRE_NMS_LIMIT",
        "RPN_BBOX_STD_DEV",
        "BBOX_LOG_SCALE_LIMIT",
        "PROPOSALS_PER_LEVEL",
        "PROPOSAL_MIN_SIZE",
        "CLIP_PROPOSALS_TO_WINDOW",
        "BOX_SHIFT",
        "RPN_ANCHOR_RATIOS",
        "RPN_ANCHOR_STRIDE",
    )

    def __init__(self, proposal_count, nms_threshold, config=None, pre_nms_limit=None, **kwargs):
        super().__init__(config, **kwargs)
        self.proposal_count = proposal_count
        self.nms_threshold = nms_threshold
        self.pre_nms_limit = pre_nms_limit

    def steps(self, inputs):
        """The proposals with every step before them, as
        `networks.mask_rcnn.proposals.Proposals`.
        """
        probs, deltas, anchors, *further = inputs
        return generate_proposals(
            probs,
            deltas,
            anchors,
            self.proposal_count,
            self.nms_threshold,
            self.pre_nms_limit or self.settings["PRE_NMS_LIMIT"],
            self.settings["RPN_BBOX_STD_DEV"],
            log_scale_limit=self.settings["BBOX_LOG_SCALE_LIMIT"],
            **self._options(further),
        )

    def _options(self, further):
        """What `generate_proposals` does otherwise than in the original.

        Args:
            further: [rpn_logits, image_meta, P2, P3, P4, P5, P6], or nothing.
        """
        settings = self.settings
        fields = ("PROPOSALS_PER_LEVEL", "PROPOSAL_MIN_SIZE", "CLIP_PROPOSALS_TO_WINDOW")
        wanted = [field for field in fields if settings[field]]
        if not wanted:
            return {}
        if not further:
            raise ValueError(
                f"{' and '.join(wanted)} need more than 3 tensors in the call of ProposalLayer: "
                "rpn_probs, rpn_bbox, anchors, rpn_logits, image_meta, P2, P3, P4, P5, P6"
            )
        logits, image_meta, *feature_maps = further
        shape, shift, options = image_meta[0, IMAGE_SHAPE], settings["BOX_SHIFT"], {}
        if settings["PROPOSALS_PER_LEVEL"]:
            options["rpn_logits"] = logits
            options["level_sizes"] = tf.stack([self._anchors_of(each) for each in feature_maps])
        if settings["CLIP_PROPOSALS_TO_WINDOW"]:
            options["window"] = box_ops.norm_boxes(image_meta[:, WINDOW], shape, shift)
        if settings["PROPOSAL_MIN_SIZE"]:
            options["large_enough"] = lambda boxes: box_ops.has_sides(
                boxes, settings["PROPOSAL_MIN_SIZE"], shape, shift
            )
        return options

    def _anchors_of(self, feature_map):
        """int32, the number of anchors of a level."""
        step = self.settings["RPN_ANCHOR_STRIDE"]
        rows, columns = tf.unstack((tf.shape(feature_map)[1:3] + step - 1) // step)
        return rows * columns * len(self.settings["RPN_ANCHOR_RATIOS"])

    def call(self, inputs):
        return self.steps(inputs).rois

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.proposal_count, 4)

    def get_config(self):
        return {
            **super().get_config(),
            "proposal_count": self.proposal_count,
            "nms_threshold": self.nms_threshold,
            "pre_nms_limit": self.pre_nms_limit,
        }

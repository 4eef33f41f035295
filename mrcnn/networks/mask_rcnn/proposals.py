"""From RPN outputs to proposals (Faster R-CNN, section 3.3)."""

from typing import NamedTuple

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.ops import boxes as box_ops
from mrcnn.ops.nms import batch_nms, gather_or_zero


class Proposals(NamedTuple):
    """Each step from anchors to proposals; boxes are normalised, k = min(pre_nms_limit,
    anchors).
    """

    pre_nms_anchors: tf.Tensor  # [b, k, 4] the best anchors by foreground probability
    refined_anchors: tf.Tensor  # [b, k, 4] moved by their deltas
    refined_anchors_clipped: tf.Tensor  # [b, k, 4] cut to the image
    nms_indices: tf.Tensor  # int32 [b, count] rows that survived, -1 as padding
    rois: tf.Tensor  # [b, count, 4] the proposals, padded with zeros


def generate_proposals(
    rpn_probs, rpn_deltas, anchors, count, nms_threshold, pre_nms_limit, bbox_std_dev
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

    Returns:
        `Proposals`.
    """
    limit = tf.minimum(pre_nms_limit, tf.shape(anchors)[1])
    scores, best = tf.math.top_k(rpn_probs[:, :, 1], limit, sorted=True)
    deltas = tf.gather(rpn_deltas, best, batch_dims=1) * tf.constant(bbox_std_dev, tf.float32)
    pre_nms = tf.gather(anchors, best, batch_dims=1)
    refined = box_ops.apply_box_deltas(pre_nms, deltas)
    clipped = box_ops.clip_boxes(refined, [0.0, 0.0, 1.0, 1.0])
    kept = batch_nms(tf.stop_gradient(clipped), scores, count, nms_threshold)
    return Proposals(pre_nms, refined, clipped, kept, gather_or_zero(clipped, kept))


@keras.saving.register_keras_serializable(PACKAGE)
class ProposalLayer(GraphLayer):
    """Choose and refine anchors; see `generate_proposals`.

    Args:
        proposal_count: proposals per image.
        nms_threshold: IoU above which the weaker of two proposals goes.
        config: a ``Config``, or a dict of `CONFIG_FIELDS`.

    Call arguments:
        [rpn_probs float32 [b, anchors, 2], rpn_bbox float32 [b, anchors, 4],
        anchors float32 [b, anchors, 4] normalised].

    Returns:
        float32 [b, proposal_count, 4] normalised, by falling probability, zero padded.
    """

    CONFIG_FIELDS = ("PRE_NMS_LIMIT", "RPN_BBOX_STD_DEV")

    def __init__(self, proposal_count, nms_threshold, config=None, **kwargs):
        super().__init__(config, **kwargs)
        self.proposal_count = proposal_count
        self.nms_threshold = nms_threshold

    def steps(self, inputs):
        """The proposals with every step before them, as
        `networks.mask_rcnn.proposals.Proposals`.
        """
        probs, deltas, anchors = inputs
        return generate_proposals(
            probs,
            deltas,
            anchors,
            self.proposal_count,
            self.nms_threshold,
            self.settings["PRE_NMS_LIMIT"],
            self.settings["RPN_BBOX_STD_DEV"],
        )

    def call(self, inputs):
        return self.steps(inputs).rois

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.proposal_count, 4)

    def get_config(self):
        return {
            **super().get_config(),
            "proposal_count": self.proposal_count,
            "nms_threshold": self.nms_threshold,
        }

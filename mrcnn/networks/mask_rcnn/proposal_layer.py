"""ProposalLayer: the second stage's regions of interest."""

import keras

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.networks.mask_rcnn.proposals import generate_proposals


@keras.saving.register_keras_serializable(PACKAGE)
class ProposalLayer(GraphLayer):
    """Choose and refine anchors; see `networks.mask_rcnn.proposals.generate_proposals`.

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

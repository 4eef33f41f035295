"""Online hard example mining (Shrivastava et al. 2016): the heads learn from the RoIs that they do
worst on.

The paper runs the head on all of an image's RoIs, about 2000, and computes gradients in a second
pass of the 64 hardest. Here they are chosen among the RoIs that the image's targets were drawn for:
TRAIN_ROIS_PER_IMAGE and ROI_POSITIVE_RATIO say how many these are and how many are positive. The
paper suppresses RoIs that overlap a harder one by an IoU of 0.7 or more; the proposals have been
through such a suppression by RPN_NMS_THRESHOLD, of which the default is the same, so it is not done
again. (The boxes that ROI_ADD_GT adds have not.)
"""

import keras
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.networks.mask_rcnn.losses import box_terms, class_terms, loss_of_boxes
from mrcnn.ops.boxes import is_box


def hard_examples(rois, class_loss, box_loss, count):
    """The hardest RoIs of each image.

    Args:
        rois: float32 [b, rois, 4]; rows of zeros are padding, which is never chosen.
        class_loss: float32 [b, rois].
        box_loss: float32 [b, rois], 0 for RoIs without an object.
        count: RoIs of an image, at most.

    Returns:
        bool [b, rois]; of equal losses the first ones. No gradient passes.
    """
    losses = tf.where(is_box(rois), tf.stop_gradient(class_loss + box_loss), -1.0)
    order = tf.argsort(losses, axis=1, direction="DESCENDING", stable=True)
    rank = tf.argsort(order, axis=1)  # the inverse of a permutation
    return (rank < count) & is_box(rois)


@keras.saving.register_keras_serializable(PACKAGE)
class HardExamples(GraphLayer):
    """`hard_examples` as a layer.

    The loss of an RoI is that of its class, 0 where it does not count, plus, for a positive one,
    that of its box, summed over the four refinements (Fast R-CNN, equations 1 and 2). LOSS_WEIGHTS
    do not enter.

    Args:
        count: ``Config.HARD_EXAMPLES``.
        class_weights, first_image_rules: as of `ClassLoss`.
        kind, beta, std_dev: as of `BoxLoss`.

    Call arguments:
        [rois [b, rois, 4], target_class_ids, class_logits, active_class_ids, target_bbox,
        pred_bbox]; the last five as of `mrcnn_class_loss` and `mrcnn_bbox_loss`.

    Returns:
        bool [b, rois].
    """

    def __init__(
        self,
        count,
        class_weights=None,
        first_image_rules=False,
        kind="smooth_l1",
        beta=1.0,
        std_dev=(1.0, 1.0, 1.0, 1.0),
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.count = count
        self.of_classes = {"class_weights": class_weights, "first_image_rules": first_image_rules}
        self.of_boxes = {"kind": kind, "beta": float(beta), "std_dev": list(map(float, std_dev))}

    def call(self, inputs):
        rois, class_ids, logits, active, target_bbox, pred_bbox = inputs
        entropy, counts = class_terms(class_ids, logits, active, **self.of_classes)
        rows, terms = box_terms(target_bbox, class_ids, pred_bbox, loss_of_boxes(**self.of_boxes))
        if terms.shape.rank == 2:
            terms = tf.reduce_sum(terms, axis=1)
        box_loss = tf.scatter_nd(rows, terms, tf.shape(class_ids, tf.int64))
        return hard_examples(rois, entropy * counts, box_loss, self.count)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs[1].shape, "bool")

    def get_config(self):
        return {
            **super().get_config(),
            "count": self.count,
            **self.of_classes,
            **self.of_boxes,
        }

"""The five losses (Faster R-CNN equation 1; Mask R-CNN section 3), each a scalar function and the
layer that gives it as an output of the network.

Every mean is over the whole batch, also where several devices share it, and is 0, with gradient 0,
where there is nothing to average: the original gives NaN for some of these.
"""

import functools

import keras
import tensorflow as tf

from mrcnn.distributed.reduce import mean_over_devices
from mrcnn.networks.layers.base import PACKAGE
from mrcnn.networks.layers.loss import LossLayer
from mrcnn.ops import boxes as box_ops

EPSILON = 1e-7  # keeps log finite; Keras' own value, so that losses equal the original's


# === Region proposal network ===


def rpn_class_loss(rpn_match, rpn_class_logits):
    """Cross-entropy of object against background, over the anchors that have a label.

    Args:
        rpn_match: int [b, anchors, 1]: 1 object, -1 background, 0 not used.
        rpn_class_logits: float32 [b, anchors, 2].
    """
    rpn_match = rpn_match[..., 0]
    labels = tf.cast(tf.equal(rpn_match, 1), tf.int32)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=rpn_class_logits)
    return _mean(entropy, tf.cast(tf.not_equal(rpn_match, 0), tf.float32))


@keras.saving.register_keras_serializable(PACKAGE)
class RPNClassLoss(LossLayer):
    """Call arguments: [rpn_match, rpn_class_logits]; see `rpn_class_loss`."""

    function = staticmethod(rpn_class_loss)


def rpn_bbox_loss(target_bbox, rpn_match, rpn_bbox, box_loss=None):
    """Loss of the anchors' refinements, over the positive anchors.

    Args:
        target_bbox: float32 [b, max positives, 4]; row i is for the i-th positive anchor of its
            image.
        rpn_match: int [b, anchors, 1] as in `rpn_class_loss`.
        rpn_bbox: float32 [b, anchors, 4].
        box_loss: function of targets and refinements [n, 4]; None: `smooth_l1`.
    """
    box_loss = box_loss or smooth_l1
    positive = tf.equal(rpn_match[..., 0], 1)
    anchors = tf.where(positive)
    rank = tf.cumsum(tf.cast(positive, tf.int64), axis=1) - 1
    targets = tf.stack([anchors[:, 0], tf.gather_nd(rank, anchors)], axis=1)
    return _mean(box_loss(tf.gather_nd(target_bbox, targets), tf.gather_nd(rpn_bbox, anchors)))


class _LossOfBoxes(LossLayer):
    """A loss of box refinements.

    Args:
        kind: ``Config.BBOX_LOSS``.
        beta: ``Config.SMOOTH_L1_BETA``.
        std_dev: [4], the unit of the refinements, for "giou".
    """

    def __init__(
        self, weight=1.0, kind="smooth_l1", beta=1.0, std_dev=(1.0, 1.0, 1.0, 1.0), **kwargs
    ):
        super().__init__(weight, **kwargs)
        self.options = {"kind": kind, "beta": float(beta), "std_dev": list(map(float, std_dev))}

    @property
    def box_loss(self):
        return loss_of_boxes(**self.options)

    def get_config(self):
        return {**super().get_config(), **self.options}


@keras.saving.register_keras_serializable(PACKAGE)
class RPNBoxLoss(_LossOfBoxes):
    """Call arguments: [target_bbox, rpn_match, rpn_bbox]; see `rpn_bbox_loss`."""

    def function(self, *inputs):
        return rpn_bbox_loss(*inputs, box_loss=self.box_loss)


# === Heads ===


def mrcnn_class_loss(
    target_class_ids,
    class_logits,
    active_class_ids,
    class_weights=None,
    first_image_rules=False,
    counted=None,
):
    """Cross-entropy of the RoIs' classes.

    An RoI counts only where its predicted class is one that its image's data set labels.

    Args:
        target_class_ids: int [b, rois], 0 for background and padding.
        class_logits: float32 [b, rois, classes].
        active_class_ids: [b, classes], 1 for the classes of the image's data set.
        class_weights: [classes], the factor of the RoIs whose target is that class; None: all 1.
            The mean is still taken over the number of RoIs, as with Keras' class_weight: so a
            factor means the same whatever else is in the batch. Divided by the sum of the factors
            it would cancel out in a batch of one class.
        first_image_rules: True takes the first image's classes for the whole batch, as the original
            does.
        counted: bool [b, rois]: no other RoI counts; None: all may count.
    """
    entropy, active = class_terms(
        target_class_ids, class_logits, active_class_ids, class_weights, first_image_rules
    )
    return _mean(entropy, active if counted is None else active * tf.cast(counted, tf.float32))


def class_terms(
    target_class_ids, class_logits, active_class_ids, class_weights=None, first_image_rules=False
):
    """The terms of `mrcnn_class_loss`, and their weights in its mean, float32 [b, rois] each.

    Arguments are those of `mrcnn_class_loss`.
    """
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.cast(target_class_ids, tf.int32), logits=class_logits
    )
    if class_weights is not None:
        entropy *= tf.gather(tf.constant(class_weights, tf.float32), target_class_ids)
    predicted = tf.argmax(class_logits, axis=-1)
    active = tf.cast(active_class_ids, tf.float32)
    if first_image_rules:
        return entropy, tf.gather(active[0], predicted)
    return entropy, tf.gather(active, predicted, batch_dims=1)


@keras.saving.register_keras_serializable(PACKAGE)
class ClassLoss(LossLayer):
    """Call arguments: [target_class_ids, class_logits, active_class_ids], and ``counted`` where it
    is not None; see `mrcnn_class_loss`.

    Args:
        class_weights: list of a factor for each class; None: all 1.
        first_image_rules: ``Config.FIRST_IMAGE_RULES_CLASSES``.
    """

    def __init__(self, weight=1.0, class_weights=None, first_image_rules=False, **kwargs):
        super().__init__(weight, **kwargs)
        self.options = {"class_weights": class_weights, "first_image_rules": first_image_rules}

    def function(self, target_class_ids, class_logits, active_class_ids, counted=None):
        return mrcnn_class_loss(
            target_class_ids, class_logits, active_class_ids, counted=counted, **self.options
        )

    def get_config(self):
        return {**super().get_config(), **self.options}


def mrcnn_bbox_loss(target_bbox, target_class_ids, pred_bbox, counted=None, box_loss=None):
    """Loss of the box refinements of each positive RoI's own class.

    Args:
        target_bbox: float32 [b, rois, 4].
        target_class_ids: int [b, rois].
        pred_bbox: float32 [b, rois, classes, 4].
        counted: bool [b, rois]: no other RoI counts; None: all positive ones count.
        box_loss: function of targets and refinements [n, 4]; None: `smooth_l1`.
    """
    if counted is not None:
        target_class_ids = tf.where(counted, target_class_ids, 0)
    _, terms = box_terms(target_bbox, target_class_ids, pred_bbox, box_loss)
    return _mean(terms)


def box_terms(target_bbox, target_class_ids, pred_bbox, box_loss=None):
    """The terms of `mrcnn_bbox_loss`.

    Arguments are those of `mrcnn_bbox_loss`.

    Returns:
        int64 [n, 2] of (image, RoI), the positive RoIs; and what ``box_loss`` returns for them.
    """
    rows, classes = _positives(target_class_ids)
    predicted = tf.gather_nd(pred_bbox, tf.concat([rows, classes[:, tf.newaxis]], axis=1))
    return rows, (box_loss or smooth_l1)(tf.gather_nd(target_bbox, rows), predicted)


@keras.saving.register_keras_serializable(PACKAGE)
class BoxLoss(_LossOfBoxes):
    """Call arguments: [target_bbox, target_class_ids, pred_bbox], and ``counted`` where it is not
    None; see `mrcnn_bbox_loss`.
    """

    def function(self, *inputs):
        return mrcnn_bbox_loss(*inputs, box_loss=self.box_loss)


def mrcnn_mask_loss(target_masks, target_class_ids, pred_masks):
    """Binary cross-entropy of the mask of each positive RoI's own class (section 3).

    Args:
        target_masks: float32 [b, rois, h, w] from 0 to 1.
        target_class_ids: int [b, rois].
        pred_masks: float32 probabilities, [b, rois, h, w, classes], or of each RoI's own class
            alone, [b, rois, h, w].
    """
    rows, classes = _positives(target_class_ids)
    predicted = tf.gather_nd(pred_masks, rows)
    if len(pred_masks.shape) == 5:
        predicted = tf.gather(tf.transpose(predicted, [0, 3, 1, 2]), classes, batch_dims=1)
    truth = tf.gather_nd(target_masks, rows)
    predicted = tf.clip_by_value(predicted, EPSILON, 1.0 - EPSILON)
    return _mean(-(truth * tf.math.log(predicted) + (1.0 - truth) * tf.math.log(1.0 - predicted)))


@keras.saving.register_keras_serializable(PACKAGE)
class MaskLoss(LossLayer):
    """Call arguments: [target_masks, target_class_ids, pred_masks]; see `mrcnn_mask_loss`."""

    function = staticmethod(mrcnn_mask_loss)


def mrcnn_mask_softmax_loss(target_masks, target_class_ids, log_probabilities):
    """Cross-entropy of a softmax over the classes at each cell of each positive RoI, of its own
    class inside the object and the background outside (table 2b, "softmax"; FCN).

    Args:
        target_masks: float32 [b, rois, h, w] from 0 to 1.
        target_class_ids: int [b, rois].
        log_probabilities: float32 [b, rois, h, w, 2], logarithms of the softmax at the background
            and at each RoI's own class.
    """
    rows, _ = _positives(target_class_ids)
    truth = tf.gather_nd(target_masks, rows)
    background, own = tf.unstack(tf.gather_nd(log_probabilities, rows), axis=-1)
    return _mean(-(truth * own + (1.0 - truth) * background))


@keras.saving.register_keras_serializable(PACKAGE)
class MaskSoftmaxLoss(LossLayer):
    """Call arguments: [target_masks, target_class_ids, log_probabilities]; see
    `mrcnn_mask_softmax_loss`.
    """

    function = staticmethod(mrcnn_mask_softmax_loss)


# === Parts of them ===


def loss_of_boxes(kind, beta, std_dev):
    """The function of targets and refinements [n, 4] that ``Config.BBOX_LOSS`` names.

    Arguments are those of `BoxLoss`.

    Returns:
        A function whose result is [n, 4] for "smooth_l1" and [n] for "giou".
    """
    if kind == "giou":
        return functools.partial(giou_loss, std_dev=std_dev)
    return functools.partial(smooth_l1, beta=beta)


def smooth_l1(y_true, y_pred, beta=1.0):
    """Huber's loss divided by its knee beta (Fast R-CNN, equation 3, where that is 1), element by
    element.
    """
    difference = tf.abs(y_true - y_pred)
    return tf.where(difference < beta, 0.5 * difference**2 / beta, difference - 0.5 * beta)


def giou_loss(y_true, y_pred, std_dev):
    """1 - GIoU of the boxes that two refinements make of one (Rezatofighi et al. 2019).

    GIoU does not change where both axes are scaled, each by its own factor, so the box that is
    refined need not be known: a square of side 1 stands for it.

    Args:
        y_true, y_pred: [n, 4] in units of ``std_dev``.
        std_dev: [4].

    Returns:
        [n], from 0 to 2.
    """
    unit = tf.constant([0.0, 0.0, 1.0, 1.0])
    truth, predicted = (
        box_ops.apply_box_deltas(
            tf.broadcast_to(unit, tf.shape(deltas)), deltas * tf.constant(std_dev, tf.float32)
        )
        for deltas in (y_true, y_pred)
    )

    def area(low, high):
        return tf.reduce_prod(tf.maximum(high - low, 0.0), axis=-1)

    (low, high), (other_low, other_high) = (
        (boxes[:, :2], boxes[:, 2:]) for boxes in (truth, predicted)
    )
    shared = area(tf.maximum(low, other_low), tf.minimum(high, other_high))
    union = area(low, high) + area(other_low, other_high) - shared
    around = area(tf.minimum(low, other_low), tf.maximum(high, other_high))
    return 1.0 - shared / union + (around - union) / around


def _mean(values, weights=None):
    if weights is None:
        return tf.math.divide_no_nan(
            tf.reduce_sum(values), _of_a_device(tf.cast(tf.size(values), tf.float32))
        )
    return tf.math.divide_no_nan(
        tf.reduce_sum(values * weights), _of_a_device(tf.reduce_sum(weights))
    )


def _of_a_device(count):
    """What a mean is divided by: on several devices the mean of their counts.

    The mean of the devices' losses, and of their gradients, then is that of the whole batch,
    however unevenly the terms are spread. The count is a constant, so nothing is differentiated
    through the exchange.
    """
    return mean_over_devices(tf.stop_gradient(count))


def _positives(target_class_ids):
    rows = tf.where(target_class_ids > 0)
    return rows, tf.cast(tf.gather_nd(target_class_ids, rows), tf.int64)

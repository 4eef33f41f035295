"""The five loss layers: each adds its weighted loss to the model and logs it under its name."""

import threading
import weakref

import keras

from mrcnn.networks.layers.base import PACKAGE, GraphLayer
from mrcnn.networks.mask_rcnn import losses

# of each thread: layer -> the losses that it added
_added = threading.local()


class LossLayer(GraphLayer):
    """A scalar loss as a layer; subclasses name its ``function`` of the inputs.

    Args:
        weight: ``Config.LOSS_WEIGHTS`` of this loss. The logged value is the weighted one,
            as in the original; the layer's output is not weighted.
    """

    def __init__(self, weight=1.0, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight
        self.tracker = keras.metrics.Mean(name=self.name)

    def call(self, inputs):
        loss = self.function(*inputs)
        self.add_loss(self.weight * loss)
        self.tracker.update_state(self.weight * loss)
        return loss

    @property
    def _losses(self):
        """Where Keras keeps what `add_loss` is given.

        On several devices of a machine each has a thread, and all of them call this one layer, in
        turns because of what they exchange: a thread must not count the losses of another.
        """
        if not hasattr(_added, "by_layer"):
            _added.by_layer = weakref.WeakKeyDictionary()
        return _added.by_layer.setdefault(self, [])

    @_losses.setter
    def _losses(self, values):
        self._losses[:] = values

    def compute_output_shape(self, input_shape):
        return ()

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


@keras.saving.register_keras_serializable(PACKAGE)
class RPNClassLoss(LossLayer):
    """Call arguments: [rpn_match, rpn_class_logits]; see
    `networks.mask_rcnn.losses.rpn_class_loss`.
    """

    function = staticmethod(losses.rpn_class_loss)


@keras.saving.register_keras_serializable(PACKAGE)
class RPNBoxLoss(LossLayer):
    """Call arguments: [target_bbox, rpn_match, rpn_bbox]; see
    `networks.mask_rcnn.losses.rpn_bbox_loss`.
    """

    function = staticmethod(losses.rpn_bbox_loss)


@keras.saving.register_keras_serializable(PACKAGE)
class ClassLoss(LossLayer):
    """Call arguments: [target_class_ids, class_logits, active_class_ids]; see
    `networks.mask_rcnn.losses.mrcnn_class_loss`.

    Args:
        class_weights: list of a factor for each class; None: all 1.
    """

    def __init__(self, weight=1.0, class_weights=None, **kwargs):
        super().__init__(weight, **kwargs)
        self.class_weights = class_weights

    def function(self, *inputs):
        return losses.mrcnn_class_loss(*inputs, class_weights=self.class_weights)

    def get_config(self):
        return {**super().get_config(), "class_weights": self.class_weights}


@keras.saving.register_keras_serializable(PACKAGE)
class BoxLoss(LossLayer):
    """Call arguments: [target_bbox, target_class_ids, pred_bbox]; see
    `networks.mask_rcnn.losses.mrcnn_bbox_loss`.
    """

    function = staticmethod(losses.mrcnn_bbox_loss)


@keras.saving.register_keras_serializable(PACKAGE)
class MaskLoss(LossLayer):
    """Call arguments: [target_masks, target_class_ids, pred_masks]; see
    `networks.mask_rcnn.losses.mrcnn_mask_loss`.
    """

    function = staticmethod(losses.mrcnn_mask_loss)

"""Initial weights of the layers after the backbone, other than Keras' own."""

import re

import keras

from mrcnn.common.keras_internals import all_layers

# He et al. 2015, "Delving Deep into Rectifiers", of the outputs.
_HE = {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"}
# +-sqrt(3 / inputs), and +-sqrt(1 / inputs), which PyTorch gives a fully connected layer.
_UNIFORM = {"scale": 1.0, "mode": "fan_in", "distribution": "uniform"}
_LINEAR = {"scale": 1.0 / 3.0, "mode": "fan_in", "distribution": "uniform"}
# Names of layers, and what their kernels are drawn from: arguments of VarianceScaling, or the
# standard deviation of a normal distribution.
_SHARED = (
    (r"fpn_(c|p)\d.*", _UNIFORM),
    (r"rpn_(conv_shared\d*|class_raw|bbox_pred)", 0.01),
    (r"mrcnn_(box|mask)_conv\d+|mrcnn_mask_deconv\d*", _HE),
)
_RULES = {
    "torchvision": (
        *_SHARED,
        (r"mrcnn_mask", _HE),
        (r"mrcnn_class_(conv\d+|logits)|mrcnn_bbox_fc|mrcnn_mask_fc\d+", _LINEAR),
    ),
    "detectron2": (
        *_SHARED,
        (r"mrcnn_class_logits", 0.01),
        (r"mrcnn_bbox_fc|mrcnn_mask", 0.001),
        (r"mrcnn_(class_conv|mask_fc)\d+", _UNIFORM),
    ),
}
# Of a mask for all classes: He's, with its one output, would begin with masks of full certainty.
_AGNOSTIC_MASK_STD_DEV = 0.001


def initialize_heads(model: keras.Model, choice: str) -> None:
    """Give the feature pyramid, the RPN and the heads initial kernels of the distributions that
    another library's have; biases stay 0.

    Args:
        model: of `networks.mask_rcnn.build`.
        choice: "torchvision" or "detectron2".
    """
    for layer in all_layers(model):
        kernel = getattr(layer, "kernel", None)
        for names, drawn_from in _RULES[choice]:
            if kernel is not None and re.fullmatch(names, layer.name):
                if layer.name == "mrcnn_mask" and kernel.shape[-1] == 1:
                    drawn_from = _AGNOSTIC_MASK_STD_DEV
                if isinstance(drawn_from, float):
                    values = keras.initializers.RandomNormal(stddev=drawn_from)
                else:
                    values = keras.initializers.VarianceScaling(**drawn_from)
                kernel.assign(values(kernel.shape))

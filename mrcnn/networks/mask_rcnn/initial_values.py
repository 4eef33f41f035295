"""Initial weights of the layers after the backbone, other than Keras' own."""

import re

import keras

from mrcnn.common.keras_internals import all_layers

# He et al. 2015, "Delving Deep into Rectifiers", of the outputs.
_HE = {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"}
# +-sqrt(3 / inputs), and +-sqrt(1 / inputs), which PyTorch gives a fully connected layer.
_UNIFORM = {"scale": 1.0, "mode": "fan_in", "distribution": "uniform"}
_LINEAR = {"scale": 1.0 / 3.0, "mode": "fan_in", "distribution": "uniform"}
# Names of layers, and arguments of VarianceScaling for their kernels.
_RULES = (
    (r"fpn_(c|p)\d.*", _UNIFORM),
    (r"rpn_(conv_shared\d*|class_raw|bbox_pred)", None),
    (r"mrcnn_box_conv\d+", _HE),
    (r"mrcnn_mask(_conv\d+|_deconv\d*|)", _HE),
    (r"mrcnn_class_(conv\d+|logits)|mrcnn_bbox_fc|mrcnn_mask_fc\d+", _LINEAR),
)
_RPN_STD_DEV = 0.01
# Of a mask for all classes: He's, with its one output, would begin with masks of full certainty.
_AGNOSTIC_MASK_STD_DEV = 0.001


def initialize_as_torchvision(model: keras.Model) -> None:
    """Give the feature pyramid, the RPN and the heads initial kernels of the distributions that
    torchvision's have; biases stay 0.

    Args:
        model: of `networks.mask_rcnn.build`.
    """
    for layer in all_layers(model):
        kernel = getattr(layer, "kernel", None)
        for names, scaling in _RULES:
            if kernel is not None and re.fullmatch(names, layer.name):
                if scaling is None:
                    values = keras.initializers.RandomNormal(stddev=_RPN_STD_DEV)
                elif layer.name == "mrcnn_mask" and kernel.shape[-1] == 1:
                    values = keras.initializers.RandomNormal(stddev=_AGNOSTIC_MASK_STD_DEV)
                else:
                    values = keras.initializers.VarianceScaling(**scaling)
                kernel.assign(values(kernel.shape))

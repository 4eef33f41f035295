"""Initial weights as torchvision's, by the spread that their distributions have."""

import keras
import numpy as np
import pytest

from mrcnn.networks.mask_rcnn.build import training_model
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def kernels():
    """{name of a layer: its kernel} for either HEAD_INIT."""
    found = {}
    for choice in ("glorot", "torchvision"):
        keras.utils.set_random_seed(0)
        model = training_model(tiny_config(HEAD_INIT=choice))
        found[choice] = {
            layer.name: (np.asarray(layer.kernel), np.asarray(layer.bias))
            for outer in model.layers
            for layer in getattr(outer, "layers", [outer])
            if hasattr(layer, "kernel")
        }
    return found


# spread of the kernel; the inputs of the layers are 16, 32, 64 and so on channels of `TinyConfig`
SPREADS = {
    "fpn_c5p5": np.sqrt(1 / 8),
    "fpn_p3": np.sqrt(1 / (9 * 16)),
    "rpn_conv_shared": 0.01,
    "rpn_class_raw": 0.01,
    "rpn_bbox_pred": 0.01,
    "mrcnn_class_conv1": np.sqrt(1 / 3 / (49 * 16)),
    "mrcnn_class_conv2": np.sqrt(1 / 3 / 32),
    "mrcnn_class_logits": np.sqrt(1 / 3 / 32),
    "mrcnn_bbox_fc": np.sqrt(1 / 3 / 32),
    "mrcnn_mask_conv1": np.sqrt(2 / (9 * 16)),
    "mrcnn_mask_conv4": np.sqrt(2 / (9 * 16)),
    "mrcnn_mask_deconv": np.sqrt(2 / (4 * 16)),
    "mrcnn_mask": np.sqrt(2 / 3),
}


@pytest.mark.parametrize("name", SPREADS)
def test_spread(kernels, name):
    kernel, bias = kernels["torchvision"][name]
    count = kernel.size
    assert kernel.std() == pytest.approx(SPREADS[name], rel=4 / np.sqrt(count))
    assert abs(kernel.mean()) < 5 * SPREADS[name] / np.sqrt(count) and not bias.any()


@pytest.mark.parametrize("name", ["fpn_p3", "mrcnn_class_conv1", "mrcnn_bbox_fc"])
def test_uniform_ones_have_an_end(kernels, name):
    kernel = kernels["torchvision"][name][0]
    assert abs(kernel).max() <= SPREADS[name] * np.sqrt(3) * 1.0001
    assert (
        abs(kernels["torchvision"]["mrcnn_mask_conv1"][0]).max() > SPREADS["mrcnn_mask_conv1"] * 3
    )


def test_the_backbone_is_left_alone(kernels):
    changed = {
        name
        for name, (kernel, _) in kernels["torchvision"].items()
        if (kernel != kernels["glorot"][name][0]).any()
    }
    backbone = {name for name in kernels["glorot"] if name.startswith(("conv1", "res"))}
    assert changed == set(kernels["glorot"]) - backbone and len(backbone) == 5


def test_spread_of_other_heads():
    """He's of a single output would begin with masks of full certainty."""
    keras.utils.set_random_seed(0)
    fields = dict(HEAD_INIT="torchvision", CLASS_AGNOSTIC_MASKS=True)
    many = training_model(tiny_config(**fields, MASK_HEAD_DECONVS=2, MASK_SHAPE=[56, 56]))
    vectors = training_model(tiny_config(**fields, MASK_HEAD="mlp"))
    for model, name, spread in (
        (many, "mrcnn_mask", 0.001),
        (many, "mrcnn_mask_deconv2", np.sqrt(2 / (4 * 16))),
        (vectors, "mrcnn_mask_fc1", np.sqrt(1 / 3 / (14 * 14 * 16))),
    ):
        kernel = np.asarray(model.get_layer(name).kernel)
        assert kernel.std() == pytest.approx(spread, rel=4 / np.sqrt(kernel.size))

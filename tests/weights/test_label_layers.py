"""What a file of a network that labels pixels tells, for each network as it is built."""

import keras
import pytest

from mrcnn.config.choices import SEGMENTATION_NETWORKS
from mrcnn.networks.segmentation.build import segmentation_network
from mrcnn.weights.h5_format import Layers, read_h5
from mrcnn.weights.label_layers import label_class_layers, label_network, told_by_label_layers
from mrcnn.weights.load import save_h5
from tests.networks.segmentation.tiny import config_of

RESNET = {"BACKBONE": "resnet50"}
KINDS = {
    **{name: {"NETWORK": name} for name in SEGMENTATION_NETWORKS},
    **{
        f"{name}-resnet": {"NETWORK": name, **RESNET}
        for name in ("fcn8s", "unet", "pspnet", "deeplab")
    },
    "unet-bilinear": {"NETWORK": "unet", "UPSAMPLING": "bilinear", "BATCH_NORM": False},
    # of equal widths no layer of the upsampling has weights
    "unet-equal": {"NETWORK": "unet", "UPSAMPLING": "bilinear", "UNET_WIDTHS": (4, 4, 4)},
    "unet-equal-resnet": {
        "UPSAMPLING": "nearest",
        "NETWORK": "unet",
        "UNET_WIDTHS": (2,) * 4,
        **RESNET,
    },
    "segnet-equal": {"NETWORK": "segnet", "VGG_WIDTHS": (4,) * 5, "VGG_CONVOLUTIONS": (1,) * 5},
    "unet-six": {"NETWORK": "unet", "UNET_WIDTHS": (2, 3, 4, 5, 6, 7)},
    "fcn32s-two": {"NETWORK": "fcn32s", "NUM_CLASSES": 2},
    "fcn16s-two": {"NETWORK": "fcn16s", "NUM_CLASSES": 2, "BINARY": False},
    "unet-two": {"NETWORK": "unet", "NUM_CLASSES": 2},
    "deeplab-learned": {"NETWORK": "deeplab", "UPSAMPLING": "transposed"},
    "pspnet-bins": {"NETWORK": "pspnet", "PSP_BINS": (1, 2), "BATCH_NORM": False},
}


def weights_of(**fields):
    keras.utils.clear_session(free_memory=False)
    network = fields.pop("NETWORK")
    config = config_of(network, **fields)
    return segmentation_network(config), config


@pytest.mark.parametrize("fields", KINDS.values(), ids=KINDS)
def test_the_tensors_tell_the_settings(fields, tmp_path):
    model, config = weights_of(**fields)
    save_h5(model, tmp_path / "a.h5")
    layers = {name: values for name, values in read_h5(tmp_path / "a.h5").items() if values}
    told = told_by_label_layers(layers)
    assert {"NETWORK", "NUM_CLASSES", "BATCH_NORM", "BACKBONE"} <= set(told)
    width = 4 if config.BACKBONE else len(config.UNET_WIDTHS)
    for name, value in told.items():
        own = getattr(config, name)
        if name == "FC_CHANNELS" and own is None:
            continue
        if name == "UNET_WIDTHS":
            own = own[:width]
        if name == "BINARY":
            assert value is False and config.NUM_CLASSES == 2 and own is False
            continue
        assert value == own, name
    # and the network of these settings alone has the same layers
    rebuilt, _ = weights_of(**{**fields, **told})
    assert [w.shape for w in rebuilt.weights] == [w.shape for w in model.weights]


@pytest.mark.parametrize("fields", KINDS.values(), ids=KINDS)
def test_class_layers_are_those_whose_shape_follows_the_classes(fields):
    shapes = []
    for count in (3, 5):
        model, _ = weights_of(**{**fields, "NUM_CLASSES": count, "BINARY": None})
        shapes.append(
            {
                layer.name: [w.shape for w in layer.weights]
                for layer in model.layers
                if layer.weights
            }
        )
    first, second = shapes
    assert label_class_layers(first) == [name for name in first if first[name] != second[name]]


def test_other_files_tell_nothing():
    layers: Layers = {
        name: []
        for name in ("conv1", "res4f_branch2a", "rpn_model", "mrcnn_class_logits", "enc1_conv1")
    }
    assert label_network(layers) is None and told_by_label_layers(layers) == {}
    assert label_class_layers(layers) == []

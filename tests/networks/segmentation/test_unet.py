"""U-Net: the paper's number of weights."""

import keras
import pytest

from mrcnn.networks.segmentation.build import segmentation_network
from tests.networks.segmentation.tiny import config_of

PAPER = {"UNET_WIDTHS": (64, 128, 256, 512, 1024), "NUM_CLASSES": 2, "BINARY": False}


@pytest.mark.parametrize("batch_norm, count", [(False, 31_030_658), (True, 31_048_322)])
def test_the_papers_network(batch_norm, count):
    model = segmentation_network(config_of("unet", BATCH_NORM=batch_norm, **PAPER))
    assert model.count_params() == count
    convolutions = [
        layer.filters
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3)
    ]
    down = [width for width in PAPER["UNET_WIDTHS"] for _ in range(2)]
    assert convolutions == [*down, 512, 512, 256, 256, 128, 128, 64, 64]
    ups = [model.get_layer(f"seg_up{level}") for level in (4, 3, 2, 1)]
    assert [layer.filters for layer in ups] == [512, 256, 128, 64]
    assert {(layer.kernel_size, layer.strides) for layer in ups} == {((2, 2), (2, 2))}
    assert model.get_layer("seg_skip1").output.shape[-1] == 128


def test_padding_changes_no_weight():
    same, valid = (
        segmentation_network(config_of("unet", UNET_PADDING=padding))
        for padding in ("same", "valid")
    )
    for one, other in zip(same.weights, valid.weights, strict=True):
        assert one.path == other.path and one.shape == other.shape


def test_initial_weights_are_of_the_size_that_keeps_the_signals():
    """A spread of sqrt(2 / N), N values into each (section 3)."""
    model = segmentation_network(config_of("unet", UNET_WIDTHS=(32, 64)))
    kernel = model.get_layer("seg_dec1_conv1").kernel.numpy()
    assert kernel.std() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.03)

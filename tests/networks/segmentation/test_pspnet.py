"""PSPNet's pooling, and DeepLab's rates."""

import numpy as np
import pytest

from mrcnn.networks.segmentation.build import segmentation_network
from mrcnn.networks.segmentation.pspnet import AdaptiveAveragePooling
from tests.networks.segmentation.tiny import config_of


def pooled(x, bins):
    """The mean of each bin, bin by bin."""

    def edges(size, number):
        return slice(number * size // bins, -(-(number + 1) * size // bins))

    rows, columns = x.shape[1:3]
    cells = [
        [x[:, edges(rows, i), edges(columns, j)].mean(axis=(1, 2)) for j in range(bins)]
        for i in range(bins)
    ]
    return np.moveaxis(np.array(cells), 2, 0)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(1, 1), (4, 7), (6, 6), (12, 13)])
def test_means_of_bins_of_any_map(size, bins):
    x = np.random.RandomState(0).normal(size=(2, *size, 3)).astype(np.float32)
    found = AdaptiveAveragePooling(bins)(x).numpy()
    assert found.shape == (2, bins, bins, 3)
    np.testing.assert_allclose(found, pooled(x, bins), atol=1e-6)


def test_bins_and_channels():
    model = segmentation_network(config_of("pspnet", PSP_BINS=(1, 4)))
    assert model.get_layer("seg_bins4").kernel.shape == (1, 1, 8, 2)
    assert model.get_layer("seg_pyramid").output.shape[-1] == 8 + 2 + 2
    assert model.get_layer("seg_dropout").rate == 0.1


def test_rates_of_deeplab():
    model = segmentation_network(config_of("deeplab", ATROUS_RATES=(2, 5)))
    rates = [model.get_layer(f"seg_aspp{number}").dilation_rate for number in range(3)]
    assert rates == [(1, 1), (2, 2), (5, 5)]
    assert model.get_layer("seg_aspp").output.shape[-1] == 4 * 6  # and the whole image
    assert model.get_layer("seg_skip").output.shape[-1] == 6 + 48

"""Grey, many-channel and 16-bit images: weights adapted from RGB, training, detection."""

import keras
import numpy as np
import pytest
import tifffile
from PIL import Image

from mrcnn.data.dataset import Dataset
from mrcnn.data.drawing import as_rgb
from mrcnn.data.load import load_image_gt
from mrcnn.model import MaskRCNN
from mrcnn.weights import load as weights
from tests.tiny import tiny_config
from tests.weights.test_weights import toy_model

# === Kernels ===


@pytest.mark.parametrize("old", [1, 3])
@pytest.mark.parametrize("new", [1, 2, 3, 4, 5, 7])
def test_an_image_of_equal_channels_gives_what_it_gave(old, new):
    rng = np.random.RandomState(0)
    kernel, grey = (
        rng.randn(3, 3, old, 4).astype(np.float32),
        rng.randn(1, 6, 7, 1).astype(np.float32),
    )

    def convolve(kernel):
        return keras.ops.conv(np.repeat(grey, kernel.shape[2], axis=3), kernel, padding="same")

    adapted = weights.adapt_channels(kernel, new)
    assert adapted.shape == (3, 3, new, 4) and adapted.dtype == np.float32
    np.testing.assert_allclose(convolve(adapted), convolve(kernel), atol=1e-5)


def test_known_kernels():
    kernel = np.array([1.0, 10.0, 100.0]).reshape(1, 1, 3, 1)

    def adapted(channels):
        return weights.adapt_channels(kernel, channels).ravel().tolist()

    assert adapted(1) == [111]
    assert adapted(2) == [101, 10]
    assert adapted(3) == [1, 10, 100]
    assert adapted(5) == [0.5, 5, 100, 0.5, 5]


# === Loading ===


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_the_first_convolution_is_adapted_and_told(channels, tmp_path):
    path = str(tmp_path / "rgb.h5")
    source, model = toy_model(seed=1), toy_model(channels=channels, seed=2)
    weights.save_h5(source, path)
    report = weights.load_h5(model, path, by_name=False)
    assert report.adapted == [
        "conv1"
    ] and "adapted to the number of image channels: 1 (conv1)" in str(report)
    np.testing.assert_array_equal(
        model.get_layer("conv1").kernel,
        weights.adapt_channels(np.asarray(source.get_layer("conv1").kernel), channels),
    )
    np.testing.assert_array_equal(model.get_layer("conv1").bias, source.get_layer("conv1").bias)
    np.testing.assert_array_equal(
        model.get_layer("mrcnn_mask").kernel, source.get_layer("mrcnn_mask").kernel
    )


def test_equal_channels_are_not_adapted(tmp_path):
    path = str(tmp_path / "rgb.h5")
    weights.save_h5(toy_model(), path)
    report = weights.load_h5(toy_model(), path)
    assert report.adapted == [] and "adapted" not in str(report)


def test_excluded_conv1_is_left_alone(tmp_path):
    path = str(tmp_path / "rgb.h5")
    weights.save_h5(toy_model(seed=1), path)
    model = toy_model(channels=5, seed=2)
    before = model.get_layer("conv1").kernel.numpy()
    report = weights.load_h5(model, path, exclude=["conv1"])
    assert report.adapted == [] and report.excluded == ["conv1"]
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, before)


def test_another_kernel_size_is_still_refused(tmp_path):
    model, path = toy_model(channels=5), str(tmp_path / "rgb.h5")
    weights.save_h5(toy_model(), path)
    layers = weights.read_h5(path)
    layers["conv1"][0] = ("conv1/kernel:0", np.zeros((5, 5, 3, 4), np.float32))
    weights.write_h5(path, list(layers.items()))
    with pytest.raises(ValueError, match="conv1: file 5x5x3x4"):
        weights.load_h5(model, path)


# === From files to detections ===


class Bands(Dataset):
    """16-bit TIFFs of any number of bands, a bright square in each."""

    def __init__(self, folder, channels, count=4):
        super().__init__()
        self.add_class("bands", 1, "square")
        for number in range(count):
            image = (
                np.random.RandomState(number).randint(0, 8000, (50, 60, channels)).astype(np.uint16)
            )
            image[10:30, 15:40] += 50000
            path = folder / f"{number}.tif"
            if channels == 1:
                Image.fromarray(image[..., 0]).save(path)
            else:
                tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig")
            self.add_image("bands", number, str(path))
        self.prepare()

    def load_mask(self, image_id):
        mask = np.zeros((50, 60, 1), bool)
        mask[10:30, 15:40] = True
        return mask, np.array([1], np.int32)


@pytest.mark.parametrize("channels", [1, 5])
def test_train_and_detect_from_rgb_weights(channels, tmp_path):
    rgb = MaskRCNN("training", tiny_config(NUM_CLASSES=2), str(tmp_path))
    rgb.save_weights(tmp_path / "rgb.h5")
    config = tiny_config(
        NUM_CLASSES=2, IMAGE_CHANNEL_COUNT=channels, MEAN_PIXEL=np.full(channels, 100.0)
    )
    dataset = Bands(tmp_path, channels)
    image, *_ = load_image_gt(dataset, config, 0)
    assert image.shape == (64, 64, channels) and image.dtype == np.uint8
    assert image[30, 30].min() >= 190 and image.max() <= 255

    model = MaskRCNN("training", config, str(tmp_path))
    assert model.load_weights(tmp_path / "rgb.h5").adapted == ["conv1"]
    before = model.keras_model.get_layer("conv1").kernel.numpy()
    history = model.train(dataset, dataset, 0.001, epochs=1, layers="all", verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert (model.keras_model.get_layer("conv1").kernel.numpy() != before).any(axis=(0, 1, 3)).all()

    detector = MaskRCNN("inference", config, str(tmp_path))
    detector.load_weights(model.find_last())
    image = dataset.load_image(0)
    result = detector.detect([image])[0]
    assert result["masks"].shape[:2] == (50, 60) and len(result["rois"]) == len(result["scores"])
    assert as_rgb(image).shape == (50, 60, 3)


def test_grey_weights_fit_an_rgb_model(tmp_path):
    grey = MaskRCNN(
        "training", tiny_config(IMAGE_CHANNEL_COUNT=1, MEAN_PIXEL=np.array([110.0])), str(tmp_path)
    )
    grey.save_weights(tmp_path / "grey.h5")
    model = MaskRCNN("inference", tiny_config(), str(tmp_path))
    assert model.load_weights(tmp_path / "grey.h5", by_name=True).adapted == ["conv1"]
    np.testing.assert_allclose(
        model.keras_model.get_layer("conv1").kernel.numpy().sum(axis=2),
        grey.keras_model.get_layer("conv1").kernel.numpy()[:, :, 0],
        rtol=1e-5,
        atol=1e-7,
    )

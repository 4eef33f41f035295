"""Large images in pieces: windows, and what was found in them put together."""

import itertools

import numpy as np
import pytest

from mrcnn.inference.segment import segment
from mrcnn.inference.tiles import blend, tile_weights, tiles
from tests.networks.segmentation.tiny import config_of

RNG = np.random.RandomState(0)
SHAPES = [(1, 1), (64, 64), (65, 64), (100, 37), (200, 333), (7, 500)]


def covered(shape, windows):
    """How many windows each pixel is in."""
    counts = np.zeros(shape, int)
    for y1, x1, y2, x2 in windows:
        assert 0 <= y1 < y2 <= shape[0] and 0 <= x1 < x2 <= shape[1]
        counts[y1:y2, x1:x2] += 1
    return counts


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("tile, step", [(64, 1), (64, 16), (50, 16), (10, 32), (1, 1)])
def test_windows_cover_the_image(shape, overlap, tile, step):
    if tile == 1 and shape[0] * shape[1] > 5000:
        shape = shape[0] // 10, shape[1] // 10
    windows = tiles(shape, tile, overlap, step)
    assert covered(shape, windows).min() >= 1
    assert windows == sorted(windows) and len(set(windows)) == len(windows)
    assert all(not (y1 % step or x1 % step) for y1, x1, _, _ in windows)
    side = max(tile, step)
    assert max(y2 - y1 for y1, _, y2, _ in windows) == min(side, shape[0])
    for first, second in itertools.pairwise(windows):
        if first[0] == second[0]:  # in a row
            shared = first[3] - second[1]
            assert shared >= min(overlap * side, side - step) - 1e-9


def test_windows_of_a_known_image():
    assert tiles((64, 64), 64) == [(0, 0, 64, 64)]
    assert tiles((100, 200, 3), 100, 0.5) == [
        (0, 0, 100, 100),
        (0, 50, 100, 150),
        (0, 100, 100, 200),
    ]
    assert tiles((10, 150), 100, 0) == [(0, 0, 10, 100), (0, 50, 10, 150)]
    assert tiles((10, 150), 96, 0, 32) == [(0, 0, 10, 96), (0, 64, 10, 150)]


def test_weights_are_a_ramp_and_never_0():
    weights = tile_weights(4, 5)
    np.testing.assert_allclose(weights, np.outer([0.5, 1, 1, 0.5], [1, 2, 3, 2, 1]) / [3])
    assert weights.dtype == np.float32 and tile_weights(1, 1) == 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("overlap, step", [(0, 1), (0.5, 1), (0.6, 8)])
def test_what_agrees_comes_back_as_it_was(shape, overlap, step):
    whole = RNG.rand(*shape, 3).astype(np.float32)
    windows = tiles(shape, 32, overlap, step)
    again, end = np.full_like(whole, np.nan), 0
    for y, strip in blend(windows, (whole[y1:y2, x1:x2] for y1, x1, y2, x2 in windows)):
        assert y == end and len(strip) <= 32
        end = y + len(strip)
        again[y:end] = strip
    assert end == shape[0]
    np.testing.assert_allclose(again, whole, rtol=1e-6)


def test_what_differs_is_averaged_by_the_weights():
    windows = tiles((2, 6), 4, 0.5)
    assert windows == [(0, 0, 2, 4), (0, 2, 2, 6)]
    parts = [np.zeros((2, 4, 1), np.float32), np.ones((2, 4, 1), np.float32)]
    ((y, found),) = blend(windows, parts)
    # weights of a side of 4: 1/2, 1, 1, 1/2
    np.testing.assert_allclose(found[..., 0], [[0, 0, 1 / 3, 2 / 3, 1, 1]] * 2)
    assert y == 0


def test_memory_is_that_of_a_row_of_windows():
    """No array grows with the height of the image."""
    windows = tiles((3000, 40), 20, 0.5)
    largest = 0
    for _, strip in blend(windows, (np.ones((20, 20, 2), np.float32) for _ in windows)):
        whole = strip if strip.base is None else strip.base
        largest = max(largest, whole.size)
    assert largest <= 20 * 40 * 2


# === A network ===


def seams(shape, windows, reach):
    """Pixels nearer than ``reach`` to where a window ends inside the image."""
    near = np.zeros(shape, bool)
    for y1, x1, y2, x2 in windows:
        inner = np.zeros(shape, bool)
        top, left = (0 if start == 0 else start + reach for start in (y1, x1))
        bottom, right = (end if end == side else end - reach for end, side in zip((y2, x2), shape))
        inner[top : max(bottom, 0), left : max(right, 0)] = True
        window = np.zeros(shape, bool)
        window[y1:y2, x1:x2] = True
        near |= window & ~inner
    return near


@pytest.mark.parametrize(
    "network, reach, tile, fields",
    [
        ("plain", 11, 48, {}),
        # two levels: 2 + 2 * 2 + 2 pixels, and the grid of the pooling
        ("unet", 12, 50, {"UNET_WIDTHS": (4, 6)}),
        ("unet", 12, 48, {"UNET_WIDTHS": (4, 6), "UNET_PADDING": "valid"}),
    ],
)
@pytest.mark.parametrize("overlap", [0, 0.5])
def test_labels_equal_the_whole_images_away_from_seams(network, reach, tile, fields, overlap):
    import keras

    from mrcnn.networks.segmentation.build import segmentation_network

    config = config_of(network, IMAGE_RESIZE_MODE="none", IMAGES_PER_GPU=3, **fields)
    keras.utils.set_random_seed(1)
    model = segmentation_network(config)

    def predict(molded):
        return keras.ops.convert_to_numpy(keras.ops.softmax(3 * model(molded)))

    image = RNG.randint(0, 256, (101, 133)).astype(np.uint8)
    (whole,) = segment(predict, [image], config)
    config.TILE, config.TILE_OVERLAP = tile, overlap
    (tiled,) = segment(predict, [image], config)
    windows = tiles(image.shape, tile, overlap, 2 if network == "unet" else 1)
    sure = ~seams(image.shape, windows, reach)
    assert sure.mean() > 0.05 and len(windows) >= 9
    np.testing.assert_array_equal(tiled.labels[sure], whole.labels[sure])
    np.testing.assert_allclose(tiled.confidence[sure], whole.confidence[sure], atol=1e-5)
    assert (tiled.confidence != whole.confidence).mean() > 0.01  # seams are there
    with pytest.raises(ValueError, match="in tiles"):
        _ = tiled.probabilities


def test_tiles_are_of_the_image_as_it_is():
    """Not resized, BATCH_SIZE at a time, with flips and what `filter` does."""
    config = config_of(
        "plain", IMAGE_RESIZE_MODE="square", TILE=8, TILE_OVERLAP=0, IMAGES_PER_GPU=2,
        TEST_FLIPS=True, CLASS_NAMES=["BG", "cat", "dog"],
    )  # fmt: skip
    shapes, labels = [], RNG.randint(0, 3, (20, 9))

    def predict(molded):
        shapes.append(molded.shape[:3])
        return np.eye(3, dtype=np.float32)[np.rint((molded[..., 0] + 127) / 100).astype(int)]

    image = (labels * 100).astype(np.uint8)
    cats, whole = (
        segment(predict, [image, image[:5]], config, classes) for classes in ("cat", None)
    )
    np.testing.assert_array_equal(whole[0].labels, labels)
    np.testing.assert_array_equal(whole[1].labels, labels[:5])
    np.testing.assert_array_equal(cats[0].labels, labels * (labels == 1))
    assert set(shapes) == {(2, 8, 8), (2, 5, 8)}
    assert whole[0].image is image

"""Molding and unmolding: images into batches, detections into the images' pixels."""

import numpy as np
import pytest

from mrcnn.data.paste import paste_masks
from mrcnn.inference.detect import (
    LimitReached,
    batches_of_one_shape,
    detect,
    mold,
    mold_inputs,
    warn_of_limit,
)
from tests.tiny import image, tiny_config

RNG = np.random.RandomState(0)


# === Molding ===


def test_mold_square():
    config = tiny_config()
    picture = image(32, 16)
    molded, meta, window = mold(picture, config)
    # not by 4 to a shorter side of 64: the longer one would pass 64; by 2, padded left and right
    assert molded.shape == (64, 64, 3) and window == (0, 16, 64, 48)
    np.testing.assert_array_equal(molded[:, :16], np.broadcast_to(-config.MEAN_PIXEL, (64, 16, 3)))
    np.testing.assert_allclose(
        molded[10:50, 20:44].mean(), (picture[5:25, 2:14] - config.MEAN_PIXEL).mean(), atol=3
    )
    np.testing.assert_array_equal(meta, [0, 32, 16, 3, 64, 64, 3, 0, 16, 64, 48, 2, 0, 0, 0])


@pytest.mark.parametrize(
    "mode, size, shape",
    [
        ("pad64", (70, 130), (128, 192)),
        ("none", (64, 128), (64, 128)),
        ("square", (70, 130), (64, 64)),
    ],
)
def test_mold_modes(mode, size, shape):
    molded, meta, window = mold(image(*size), tiny_config(IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=0))
    assert molded.shape[:2] == shape and tuple(meta[4:6]) == shape
    assert tuple(meta[7:11]) == tuple(window)


def test_mold_fit():
    """tests/data/test_fit.py has the numbers; any multiple of 32 will do."""
    config = tiny_config(IMAGE_RESIZE_MODE="fit", IMAGE_MIN_DIM=70, IMAGE_MAX_DIM=90)
    molded, meta, window = mold(image(40, 50), config)
    assert molded.shape == (96, 96, 3) and window == (0, 0, 70, 87) and meta[11] == 70 / 40
    assert molded.dtype == np.float64 and not molded[70:].any() and not molded[:, 87:].any()
    assert (molded[:70, :87] % 1 != 0).mean() > 0.9  # nothing is cut to whole numbers
    batch, _, _ = mold_inputs([image(40, 50), image(80, 100)], config)
    assert batch.shape == (2, 96, 96, 3)


def test_detections_are_unmolded_as_the_config_says():
    """Two images of sizes that differ: the box is the lower right quarter of each."""
    config = tiny_config(
        IMAGE_RESIZE_MODE="fit",
        IMAGE_MIN_DIM=70,
        IMAGE_MAX_DIM=90,
        BOX_SHIFT=0,
        MASK_PASTE="padded",
        IMAGES_PER_GPU=2,
    )
    windows = []

    def predict(molded, metas):
        detections = np.zeros((len(molded), 10, 6), np.float32)
        for row, meta in zip(detections, metas):
            window = meta[7:11]
            windows.append(window.tolist())
            half = np.concatenate([window[2:] / 2, window[2:]])
            row[0] = *(half / np.tile(molded.shape[1:3], 2)), 2, 0.9
        return detections, np.ones((len(molded), 10, 28, 28), np.float32)

    pictures = [image(41, 50), image(95, 61)]
    found = detect(predict, pictures, config)
    assert windows == [[0, 0, 70, 85], [0, 0, 90, 57]]
    for picture, result in zip(pictures, found):
        height, width = picture.shape[:2]
        expected = [(height / 2, width / 2, height, width)]
        np.testing.assert_allclose(result.boxes, expected, atol=1e-4)
        np.testing.assert_array_equal(result["rois"], np.around(expected))
        mask = paste_masks(np.ones((1, 28, 28), np.float32), result.boxes, picture.shape)
        np.testing.assert_array_equal(result["masks"], mask)


def test_images_of_few_bits_are_molded_in_their_range():
    picture = image(64, 64)
    deep = np.rint(picture * (4095 / 255)).astype(np.uint16)
    plain = mold(picture, tiny_config())
    for given, one in zip(mold(deep, tiny_config(IMAGE_RANGE=(0, 4095))), plain):
        np.testing.assert_array_equal(given, one)


def test_sides_that_do_not_halve_six_times():
    with pytest.raises(ValueError, match=r"'none'.*\(64, 100\).*multiples of 64.*pad64"):
        mold(image(64, 100), tiny_config(IMAGE_RESIZE_MODE="none"))


def test_random_crops_are_for_training():
    with pytest.raises(ValueError, match="'crop'.*random part.*'square' or 'pad64'"):
        mold(image(64, 64), tiny_config(IMAGE_RESIZE_MODE="crop"))


def test_mold_inputs_of_one_size():
    config = tiny_config()
    pictures = [image(64, 64), image(30, 50, 1)]
    molded, metas, windows = mold_inputs(pictures, config)
    for index, picture in enumerate(pictures):
        for found, expected in zip((molded, metas, windows), mold(picture, config)):
            np.testing.assert_array_equal(found[index], expected)


def test_mold_inputs_of_several_sizes():
    with pytest.raises(ValueError, match=r"'pad64'.*\(64, 64, 3\), \(64, 128, 3\).*one size"):
        mold_inputs([image(64, 64), image(64, 128)], tiny_config(IMAGE_RESIZE_MODE="pad64"))


def test_mold_inputs_of_nothing():
    with pytest.raises(ValueError, match="no image was given"):
        mold_inputs([], tiny_config())


# === Batches ===


def test_batches_of_one_shape():
    shapes = [(64, 64), (64, 128), (64, 64), (64, 64), (64, 128), (128, 64)]
    images = [np.zeros(shape) for shape in shapes]
    assert list(batches_of_one_shape(images, 2)) == [[0, 2], [3], [1, 4], [5]]
    assert list(batches_of_one_shape([], 2)) == []


# === The limit ===


def predict_rows(scores):
    """A network of 4 rows that finds objects of these scores, class 1 and 2 in turn."""

    def predict(batch, metas, min_confidence=None):
        found = np.zeros((len(batch), 4, 6), np.float32)
        for row, score in enumerate(scores):
            found[:, row] = (0.1, 0.1 + 0.2 * row, 0.9, 0.2 + 0.2 * row, 1 + row % 2, score)
        return found, np.ones((len(batch), 4, 28, 28), np.float32)

    return predict


@pytest.mark.parametrize(
    "scores, options, at_limit",
    [
        ([0.9, 0.8, 0.7], {}, False),
        ([0.9, 0.8, 0.7, 0.6], {}, True),
        ([0.9, 0.8, 0.7, 0.6], {"min_confidence": 0.6}, True),
        # those cut off have lower scores still
        ([0.9, 0.8, 0.7, 0.6], {"min_confidence": 0.65}, False),
        # of the class there may be more
        ([0.9, 0.8, 0.7, 0.6], {"classes": 1}, True),
    ],
)
def test_whether_more_may_be_cut_off(scores, options, at_limit):
    config = tiny_config(DETECTION_MAX_INSTANCES=4, DETECTION_MIN_CONFIDENCE=0.5)
    found = detect(predict_rows(np.float32(scores)), [image(64, 64)] * 3, config, **options)
    assert [one.at_limit for one in found] == [at_limit] * 3
    assert [one.copy().at_limit for one in found] == [at_limit] * 3
    assert [one.filter(min_confidence=0.85).at_limit for one in found] == [at_limit] * 3
    if at_limit:
        found[0].at_limit = False
        with pytest.warns(LimitReached, match="on 2 of 3 images .*DETECTION_MAX_INSTANCES = 4"):
            warn_of_limit(found, config)
    else:
        warn_of_limit(found, config)  # which says nothing

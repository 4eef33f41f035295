"""Resizing images: the original's numbers, scikit-image's, and the geometry by hand."""

import random

import numpy as np
import pytest
from skimage.transform import resize as skimage_resize

from mrcnn.data import resize as module
from mrcnn.data.bilinear import bilinear
from tests.paths import PARITY as PARITY_FOLDER

PARITY = np.load(PARITY_FOLDER / "utils_resize.npz")
CASES = {
    "none": dict(mode="none"),
    "square_down": dict(min_dim=200, max_dim=256, mode="square"),
    "square_up": dict(min_dim=512, max_dim=640, mode="square"),
    "square_800": dict(min_dim=800, max_dim=1024, mode="square"),
    "pad64_noscale": dict(min_dim=64, mode="pad64"),
    "crop": dict(min_dim=256, mode="crop"),
}


def noise(*shape, seed=0):
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


# === resize ===


def reference_resize(image, shape, **options):
    options = {"order": 1, "mode": "constant", "anti_aliasing": False, **options}
    return skimage_resize(image, shape, **options)


@pytest.mark.parametrize("seed", range(40))
def test_resize_is_scikit_images(seed):
    draw = np.random.RandomState(seed)
    height, width = draw.randint(1, 90, 2)
    shape = tuple(int(n) for n in draw.randint(1, 140, 2))
    grey = draw.rand(height, width)
    for image in (
        noise(height, width, 3, seed=seed),
        noise(height, width, 1, seed=seed),
        grey,
        grey.astype(np.float32),
        grey - 0.5,
        grey + 0.2,
    ):
        made = module.resize(image, shape, preserve_range=True)
        expected = reference_resize(image, shape, preserve_range=True)
        assert made.dtype == expected.dtype and made.shape == expected.shape
        # Equal to the last bit where the C compiler fuses no operations.
        tolerance = 1e-6 if made.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(made, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_resize_to_a_type(order, dtype):
    for image in (noise(40, 30, 3), noise(7, 90, 1) / 2 + 0.25, noise(9, 8) * 0.7):
        made = module.resize(image, (70, 41), order=order, preserve_range=True, dtype=dtype)
        assert made.dtype == dtype
        expected = module.resize(image, (70, 41), order=order, preserve_range=True).astype(dtype)
        np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("seed", range(10))
def test_a_part_of_the_result(seed):
    draw = np.random.RandomState(seed)
    height, width = (int(side) for side in draw.randint(1, 120, 2))
    y1, x1 = draw.randint(0, height), draw.randint(0, width)
    y2, x2 = draw.randint(y1, height) + 1, draw.randint(x1, width) + 1
    for image in (
        noise(*draw.randint(1, 90, 2), 3, seed=seed),
        draw.rand(40, 30).astype(np.float32),
    ):
        whole = bilinear(image, height, width)
        np.testing.assert_array_equal(
            bilinear(image, height, width, (y1, x1, y2, x2)), whole[y1:y2, x1:x2]
        )


@pytest.mark.parametrize(
    "options",
    [
        dict(order=0),
        dict(order=3),
        dict(mode="edge"),
        dict(cval=0.5),
        dict(clip=False),
        dict(anti_aliasing=True),
        dict(preserve_range=True),
    ],
)
def test_other_options_reach_scikit_image(options):
    for image in (noise(20, 30, 3), np.random.RandomState(0).rand(20, 30) + 0.25):
        np.testing.assert_array_equal(
            module.resize(image, (11, 50), **options), reference_resize(image, (11, 50), **options)
        )


def test_resize_of_bool_and_of_uint8_without_range():
    mask = noise(9, 13) > 128
    np.testing.assert_array_equal(
        module.resize(mask, (56, 56)), reference_resize(mask.astype(float), (56, 56))
    )
    np.testing.assert_allclose(
        module.resize(noise(9, 13), (5, 20)), reference_resize(noise(9, 13), (5, 20)), atol=1e-15
    )


def test_enlarging_blends_the_border_with_zero():
    image = np.full((100, 100, 1), 200, np.uint8)
    image[50, 50] = 0  # so that values below 200 are in the image's range
    edge = module.resize(image, (256, 256), preserve_range=True)[0, 100:104, 0]
    np.testing.assert_allclose(edge, 139.0625)
    # Nothing falls below the least value of the image.
    assert module.resize(np.full((100, 100), 200.0), (256, 256)).min() == 200


def test_resize_needs_pixels():
    for image, shape in ((np.zeros((0, 4)), (2, 2)), (np.zeros((4, 4)), (0, 2))):
        with pytest.raises(ValueError, match="at least one pixel"):
            module.resize(image, shape)


# === resize_image ===


@pytest.mark.parametrize("case", CASES)
def test_window_scale_padding_and_crop_are_the_originals(case):
    random.seed(99)
    image = noise(375, 500, 3)
    made, window, scale, padding, crop = module.resize_image(image, **CASES[case])
    assert made.dtype == np.uint8
    assert window == tuple(PARITY[case + "_window"])
    assert scale == PARITY[case + "_scale"]
    assert isinstance(scale, int) == (PARITY[case + "_scale"].dtype == np.int64)
    assert padding == [tuple(pair) for pair in PARITY[case + "_padding"]]
    assert (crop or ()) == tuple(PARITY[case + "_crop"])
    if scale == 1:
        y, x, height, width = crop or (0, 0, 375, 500)
        part = made[window[0] : window[2], window[1] : window[3]]
        np.testing.assert_array_equal(part, image[y : y + height, x : x + width])


@pytest.mark.parametrize(
    "case, size", [("square_down", 64), ("square_up", 160), ("square_800", 256)]
)
def test_pixels_are_the_originals(case, size):
    # The corner of a photo: the same ratio gives the same pixels as the whole
    # photo did, but for the row and column that now touch a border.
    patch = PARITY["patch"]
    scale = size / len(patch)
    made, window, got, _, _ = module.resize_image(
        patch, min_dim=size if scale > 1 else None, max_dim=size, mode="square"
    )
    assert window == (0, 0, size, size) and got == scale
    last = size - 1 if scale > 1 else size
    expected = PARITY[case + "_patch"]
    np.testing.assert_array_equal(made[:last, :last], expected[:last, :last])


def slow_geometry(height, width, min_dim, max_dim, min_scale):
    scale = 1
    if min_dim and min_dim > min(height, width):
        scale = min_dim / min(height, width)
    scale = max(scale, min_scale or 0)
    if max_dim and round(max(height, width) * scale) > max_dim:
        scale = max_dim / max(height, width)
    return scale, max(round(height * scale), 1), max(round(width * scale), 1)


@pytest.mark.parametrize("seed", range(30))
def test_square_and_pad64_geometry(seed):
    draw = np.random.RandomState(seed)
    height, width = (int(n) for n in draw.randint(1, 150, 2))
    min_dim, min_scale = [(None, None), (64, None), (64, 2.5), (None, 1.5)][seed % 4]
    image = noise(height, width, 3) // 2 + 100
    scale, new_height, new_width = slow_geometry(height, width, min_dim, 128, min_scale)
    made, window, got, padding, crop = module.resize_image(image, min_dim, 128, min_scale)
    assert made.shape == (128, 128, 3) and crop is None and got == scale
    assert (window[2] - window[0], window[3] - window[1]) == (new_height, new_width)

    if max(height, width) * (min_dim or 1) / min(height, width) < 2000:
        # max_dim is not for this mode
        made, window, got, padding, crop = module.resize_image(
            image, min_dim, 1, min_scale, mode="pad64"
        )
        scale, new_height, new_width = slow_geometry(height, width, min_dim, None, min_scale)
        assert made.shape[0] % 64 == made.shape[1] % 64 == 0
        assert 0 <= made.shape[0] - new_height < 64 and 0 <= made.shape[1] - new_width < 64
    y1, x1, y2, x2 = window
    assert padding == [(y1, made.shape[0] - y2), (x1, made.shape[1] - x2), (0, 0)]
    assert 0 <= padding[0][1] - padding[0][0] <= 1 and 0 <= padding[1][1] - padding[1][0] <= 1
    inside = made[y1:y2, x1:x2].copy()
    made[y1:y2, x1:x2] = 0
    assert not made.any(), "the padding is 0"
    expected = image if got == 1 else module.resize(image, inside.shape[:2], preserve_range=True)
    np.testing.assert_array_equal(inside, expected.astype(np.uint8))


def test_values_are_cut_off_not_rounded():
    image = np.array([[[0], [3]]], np.uint8)
    made = module.resize_image(image, max_dim=1)[0]
    assert made.tolist() == [[[1]]]  # 1.5


def test_sizes_round_half_to_even():
    _made, window, scale, _, _ = module.resize_image(noise(5, 10, 3), max_dim=5)
    assert scale == 0.5 and window == (1, 0, 3, 5)  # 2.5 rows become 2


def test_max_dim_is_compared_with_the_rounded_side():
    # 4 * 64 / 3 = 85.33 rounds to 85, which still fits.
    _, window, scale, _, _ = module.resize_image(noise(3, 4, 3), min_dim=64, max_dim=85)
    assert scale == 64 / 3 and window == (10, 0, 74, 85)


def test_crop_takes_its_own_generator():
    image = noise(70, 90, 3)
    crops = set()
    for seed in range(200):
        made, window, scale, _padding, crop = module.resize_image(
            image, min_dim=64, mode="crop", rng=np.random.RandomState(seed)
        )
        y, x, height, width = crop
        assert (height, width) == (64, 64) and window == (0, 0, 64, 64) and scale == 1
        np.testing.assert_array_equal(made, image[y : y + 64, x : x + 64])
        crops.add(crop)
        again = module.resize_image(image, min_dim=64, mode="crop", rng=np.random.RandomState(seed))
        assert again[4] == crop
    assert {y for y, *_ in crops} == set(range(7))  # both ends are reached
    assert {x for _, x, *_ in crops} <= set(range(27)) and len(crops) > 100


def test_crop_enlarges_small_images():
    made, _window, scale, _, crop = module.resize_image(noise(20, 40, 3), min_dim=64, mode="crop")
    assert made.shape == (64, 64, 3) and scale == 3.2 and crop[0] == 0


@pytest.mark.parametrize(
    "image, options, message",
    [
        (noise(5, 5), dict(max_dim=8), r"\[height, width, channels\].*\(5, 5\)"),
        (noise(0, 5, 3), dict(max_dim=8), r"\(0, 5, 3\)"),
        (noise(5, 5, 3), dict(mode="cube"), "'cube' is unknown: use"),
        (noise(5, 5, 3), dict(min_dim=8), "needs IMAGE_MAX_DIM"),
        (noise(5, 5, 3), dict(mode="crop"), "needs IMAGE_MIN_DIM"),
        (noise(5, 5, 3), dict(mode="pad64", min_dim=100), "divisible by 64, got 100"),
    ],
)
def test_resizing_errors(image, options, message):
    with pytest.raises(ValueError, match=message):
        module.resize_image(image, **options)


# === Without the padding of "square" ===


@pytest.mark.parametrize(
    "height, width",
    [(683, 1024), (1024, 683), (1024, 1024), (40, 61), (61, 40), (100, 1), (500, 333)],
)
@pytest.mark.parametrize("max_dim", [256, 1024])
def test_rect_is_square_without_whole_64s_of_padding(height, width, max_dim):
    image = noise(height, width, 3)
    options = dict(min_dim=max_dim * 3 // 4, max_dim=max_dim)
    square, window, scale, _, _ = module.resize_image(image, mode="square", **options)
    rect, rect_window, rect_scale, padding, crop = module.resize_image(
        image, mode="rect", **options
    )
    assert rect_scale == scale and crop is None
    assert all(side % 64 == 0 and side <= max_dim for side in rect.shape[:2])
    y1, x1, y2, x2 = rect_window
    # the network's grid of 64 px meets the same pixels
    assert (window[0] - y1) % 64 == (window[1] - x1) % 64 == 0
    assert y1 < 64 and x1 < 64 and rect.shape[0] - y2 < 64 and rect.shape[1] - x2 < 64
    assert padding == [(y1, rect.shape[0] - y2), (x1, rect.shape[1] - x2), (0, 0)]
    np.testing.assert_array_equal(
        rect[y1:y2, x1:x2], square[window[0] : window[2], window[1] : window[3]]
    )
    assert rect.sum(dtype=np.int64) == square.sum(dtype=np.int64)  # all else is 0


def test_rect_of_a_3_to_2_photo_is_three_quarters_of_the_square():
    rect = module.resize_image(noise(410, 615, 3), min_dim=800, max_dim=1024, mode="rect")[0]
    assert rect.shape == (768, 1024, 3)


def test_rect_needs_a_maximum():
    with pytest.raises(ValueError, match='"rect" needs IMAGE_MAX_DIM'):
        module.resize_image(noise(4, 4, 3), mode="rect")

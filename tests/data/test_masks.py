"""Instance masks: the original's numbers, and slow twins."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import resize as skimage_resize

from mrcnn.data import masks
from tests.paths import PARITY as PARITY_FOLDER

PARITY = np.load(PARITY_FOLDER / "utils_masks.npz")
RESIZED = np.load(PARITY_FOLDER / "utils_resize.npz")


def unpacked(file, name, shape=None):
    shape = tuple(file[name + "_shape"] if shape is None else shape)
    return np.unpackbits(file[name + "_packed"])[: np.prod(shape)].reshape(shape).astype(bool)


MASKS1, MASKS2 = unpacked(PARITY, "masks1"), unpacked(PARITY, "masks2")
BOXES1 = PARITY["bboxes_masks1"]


def assert_same(actual, expected):
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


# === Boxes ===


def test_boxes_are_the_originals():
    assert_same(masks.extract_bboxes(MASKS1), BOXES1)
    without_5 = MASKS1.copy()
    without_5[..., 5] = False
    assert_same(masks.extract_bboxes(without_5), PARITY["bboxes_masks1_with_empty5"])


@pytest.mark.parametrize("shape", [(7, 5, 9), (1, 1, 4), (1, 30, 3), (31, 1, 3), (16, 16, 1)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
def test_boxes_against_loops(shape, dtype):
    mask = (np.random.RandomState(0).rand(*shape) > 0.93).astype(dtype)
    mask[..., 0] = 0
    boxes = masks.extract_bboxes(mask)
    assert boxes.dtype == np.int32
    for i in range(shape[2]):
        ys, xs = np.nonzero(mask[..., i])
        expected = [ys.min(), xs.min(), ys.max() + 1, xs.max() + 1] if len(ys) else [0] * 4
        assert boxes[i].tolist() == expected


@pytest.mark.parametrize("shape", [(8, 8, 0), (0, 0, 0), (0, 5, 2)])
def test_boxes_of_nothing(shape):
    boxes = masks.extract_bboxes(np.zeros(shape, bool))
    assert boxes.shape == (shape[2], 4) and boxes.dtype == np.int32
    assert not boxes.any()


def test_boxes_need_three_dimensions():
    with pytest.raises(ValueError, match=r"\[height, width, N\].*\(4, 4\)"):
        masks.extract_bboxes(np.zeros((4, 4)))


# === Resizing ===


@pytest.mark.parametrize("case", ["square_down", "square_up", "square_800", "crop"])
def test_resized_masks_are_the_originals(case):
    crop = tuple(RESIZED[case + "_crop"].astype(int)) or None
    made = masks.resize_mask(
        unpacked(RESIZED, "mask"), RESIZED[case + "_scale"].item(), RESIZED[case + "_padding"], crop
    )
    assert_same(made, unpacked(RESIZED, case + "_mask"))


def test_zoom_is_scipys_for_many_sizes():
    random = np.random.RandomState(5)
    scales_that_lose_the_edge = [((75, 59), 512 / 75), ((61, 67), 256 / 67), ((31, 57), 3.75)]
    cases = scales_that_lose_the_edge + [
        (tuple(random.randint(1, 90, 2)), scale) for scale in random.uniform(0.05, 4, 300)
    ]
    cases += [
        ((height, width), 256 / max(height, width))
        for height, width in random.randint(1, 90, (200, 2))
    ]
    checked = 0
    for (height, width), scale in cases:
        if min(round(height * scale), round(width * scale)) < 1:
            continue
        mask = random.rand(height, width, 2) > 0.4
        expected = ndimage.zoom(mask, [scale, scale, 1], order=0)
        assert_same(masks.resize_mask(mask, scale, [(0, 0)] * 3), expected)
        checked += 1
    assert checked > 400


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resized_masks_keep_type_and_values(dtype):
    mask = np.random.RandomState(1).randint(0, 9, (11, 6, 3)).astype(dtype)
    made = masks.resize_mask(mask, 1.7, [(2, 1), (0, 3), (0, 0)])
    assert_same(made[2:-1, :-3], ndimage.zoom(mask, [1.7, 1.7, 1], order=0))
    assert not made[:2].any() and not made[-1:].any() and not made[:, -3:].any()


def test_resizing_no_masks_and_a_mask_of_one_pixel():
    assert masks.resize_mask(np.zeros((10, 20, 0), bool), 2.0, [(1, 1), (0, 0), (0, 0)]).shape == (
        22,
        40,
        0,
    )
    one = masks.resize_mask(np.ones((1, 1, 1), bool), 3.0, [(0, 0)] * 3)
    assert one.shape == (3, 3, 1) and one.all()
    assert masks.resize_mask(np.ones((3, 2, 1), bool), 0.1, [(0, 0)] * 3).shape == (1, 1, 1)
    for scale in (1, 2.0):  # what Dataset.load_mask returns for an image without objects
        assert masks.resize_mask(
            np.zeros((0, 0, 0), bool), scale, [(1, 2), (3, 4), (0, 0)]
        ).shape == (3, 7, 0)


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("scale", [1, 1.7])
@pytest.mark.parametrize("crop", [None, (2, 1, 5, 4)])
def test_resized_masks_are_copies_in_the_same_order(in_pieces, scale, crop):
    mask = np.random.RandomState(2).rand(11, 6, 3) < 0.5
    given = masks.each_in_one_piece(mask) if in_pieces else mask
    made = masks.resize_mask(given, scale, [(2, 1), (0, 3), (0, 0)], crop)
    zoomed = mask if scale == 1 else ndimage.zoom(mask, [scale, scale, 1], order=0)
    assert_same(
        made, np.pad(zoomed, [(2, 1), (0, 3), (0, 0)]) if crop is None else zoomed[2:7, 1:5]
    )
    assert not np.shares_memory(made, given)
    assert np.moveaxis(made, -1, 0).flags.c_contiguous == in_pieces


def test_masks_to_resize_need_three_dimensions():
    with pytest.raises(ValueError, match=r"got shape \(4, 5\)"):
        masks.resize_mask(np.zeros((4, 5), bool), 1, [(0, 0)] * 3)


# === Small masks ===


def test_mini_masks_are_the_originals():
    mini = masks.minimize_mask(BOXES1, MASKS1, (56, 56))
    assert_same(mini, unpacked(PARITY, "mini_56"))
    assert_same(
        masks.expand_mask(BOXES1, mini, MASKS1.shape),
        unpacked(PARITY, "mini_56_expanded", MASKS1.shape),
    )


def test_mini_masks_against_scikit_image():
    random = np.random.RandomState(2)
    mask = random.rand(60, 45, 8) > 0.5
    low = random.randint(0, 30, (8, 2))
    boxes = np.concatenate([low, low + random.randint(1, 15, (8, 2))], axis=1)
    for mini_shape in [(28, 28), (13, 40), (3, 1)]:
        mini = masks.minimize_mask(boxes, mask, mini_shape)
        assert mini.shape == (*mini_shape, 8) and mini.dtype == bool
        for i, (y1, x1, y2, x2) in enumerate(boxes):
            part = mask[y1:y2, x1:x2, i].astype(float)
            expected = skimage_resize(
                part, mini_shape, order=1, mode="constant", anti_aliasing=False
            )
            np.testing.assert_array_equal(mini[..., i], np.around(expected).astype(bool))


def test_no_masks_stay_no_masks():
    none = np.zeros((20, 30, 0), bool)
    assert masks.minimize_mask(np.zeros((0, 4), int), none, (8, 8)).shape == (8, 8, 0)
    assert masks.expand_mask(np.zeros((0, 4), int), none[:8, :8], (20, 30, 3)).shape == (20, 30, 0)
    assert masks.unmold_masks(np.zeros((0, 28, 28)), np.zeros((0, 4), int), (20, 30, 3)).shape == (
        20,
        30,
        0,
    )


def test_a_box_without_area_is_named():
    with pytest.raises(ValueError, match=r"area of zero: instance 1 .* \(3, 3, 3, 8\)"):
        masks.minimize_mask(np.array([[0, 0, 2, 2], [3, 3, 3, 8]]), np.ones((9, 9, 2)), (4, 4))


def test_padding_rows_expand_to_nothing():
    boxes = np.array([[2, 3, 7, 9], [0, 0, 0, 0]])
    made = masks.expand_mask(boxes, np.ones((5, 5, 2), bool), (10, 12, 3))
    assert made[2:7, 3:9, 0].all() and made[..., 0].sum() == 30
    assert not made[..., 1].any()


def test_unmolded_masks_are_the_originals():
    expected = unpacked(PARITY, "unmold", (200, 260, len(PARITY["unmold_in"])))
    for i, (mask, box) in enumerate(zip(PARITY["unmold_in"], PARITY["unmold_boxes"])):
        assert_same(masks.unmold_mask(mask, box, (200, 260, 3)), expected[..., i])
    assert_same(
        masks.unmold_masks(PARITY["unmold_in"], PARITY["unmold_boxes"], (200, 260, 3)), expected
    )


@pytest.mark.parametrize("box", [(0, 0, 50, 70), (10, 20, 11, 21), (49, 0, 50, 70), (3, 5, 40, 9)])
def test_unmolding_against_scikit_image(box):
    mask = np.random.RandomState(3).rand(28, 28).astype(np.float32)
    y1, x1, y2, x2 = box
    expected = np.zeros((50, 70), bool)
    expected[y1:y2, x1:x2] = (
        skimage_resize(mask, (y2 - y1, x2 - x1), order=1, mode="constant", anti_aliasing=False)
        >= 0.5
    )
    assert_same(masks.unmold_mask(mask, np.array(box, np.int32), (50, 70, 3)), expected)


def test_one_half_is_inside_the_unmolded_mask():
    mask = np.array([[0.5, np.nextafter(np.float32(0.5), np.float32(0))]], np.float32)
    np.testing.assert_array_equal(
        masks.unmold_mask(mask, (1, 1, 2, 3), (3, 4)),
        [[False] * 4, [False, True, False, False], [False] * 4],
    )


# === Overlaps ===


def test_mask_overlaps_are_the_originals():
    assert_same(masks.compute_overlaps_masks(MASKS1, MASKS2), PARITY["mask_overlaps"])
    assert_same(
        masks.compute_overlaps_masks(MASKS1[..., :0], MASKS2), PARITY["mask_overlaps_empty"]
    )


def test_mask_overlaps_against_loops():
    random = np.random.RandomState(4)
    masks1, masks2 = random.rand(9, 7, 3), random.rand(9, 7, 5) > 0.3
    masks1[..., 2] = 0.5  # not above 0.5: empty
    overlaps = masks.compute_overlaps_masks(masks1, masks2)
    for i in range(3):
        for j in range(5):
            a, b = masks1[..., i] > 0.5, masks2[..., j]
            assert overlaps[i, j] == pytest.approx((a & b).sum() / (a | b).sum(), abs=1e-6)
    assert overlaps.shape == (3, 5)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (37, 53, 7), (16, 8, 2), (48, 9, 3), (33, 1, 4), (5, 64, 1)]
)
def test_boxes_and_parts_of_every_layout(shape, dtype):
    """Masks side by side in memory and each in one piece, of odd sizes, seen from behind, some
    empty.
    """
    rng = np.random.RandomState(sum(shape))
    side_by_side = (rng.rand(*shape) < 0.02).astype(dtype)
    side_by_side[..., 0] = 0
    side_by_side[-1, -1, -1] = 1
    for given in (
        side_by_side,
        masks.each_in_one_piece(side_by_side),
        side_by_side[::-1, ::-1, ::-1],
    ):
        boxes, parts = masks.boxed_masks(given)
        np.testing.assert_array_equal(boxes, masks.extract_bboxes(given))
        for index, ((y1, x1, y2, x2), part) in enumerate(zip(boxes, parts, strict=True)):
            y, x = np.nonzero(given[..., index])
            assert (y1, x1, y2, x2) == (
                (y.min(), x.min(), y.max() + 1, x.max() + 1) if len(y) else (0, 0, 0, 0)
            )
            assert part.dtype == bool and part.flags.c_contiguous
            np.testing.assert_array_equal(part, given[y1:y2, x1:x2, index] > 0.5)


def test_empty_masks_overlap_nothing_and_silently():
    with np.errstate(all="raise"):
        overlaps = masks.compute_overlaps_masks(np.zeros((4, 4, 2)), np.zeros((4, 4, 1)))
    np.testing.assert_array_equal(overlaps, [[0], [0]])


def test_mask_overlaps_need_one_size():
    with pytest.raises(ValueError, match=r"\(4, 6\) and \(6, 4\)"):
        masks.compute_overlaps_masks(np.ones((4, 6, 1)), np.ones((6, 4, 1)))


# === Masks of other values than 0 and 1 ===


@pytest.mark.parametrize(
    "values, dtype, expected",
    [
        ([0, 1, 1], np.uint8, [0, 1, 1]),
        ([0, 7, 7], np.uint8, [0, 1, 1]),  # the object's number
        ([0, -1, -1], np.int8, [0, 1, 1]),  # 255 that became int8
        ([0, 255, 255], np.int32, [0, 1, 1]),
        ([1, 127, 128, 255], np.uint8, [0, 0, 1, 1]),  # smoothed, or JPEG
        ([3, 250, 255], np.uint16, [0, 1, 1]),  # 8 bits in 16
        ([0, 255, 32767, 32768, 65535], np.uint16, [0, 0, 0, 1, 1]),
        ([0, 300, 16000, 17000, 32767], np.int16, [0, 0, 0, 1, 1]),
        ([0, 1, 2, 1], np.int64, [0, 1, 1, 1]),  # outlines that were added up
        ([0, 0.2, 0.49, 0.5, 1], np.float32, [0, 0, 0, 1, 1]),
        ([-0.02, 0.3, 0.9, 1.03], np.float64, [0, 0, 1, 1]),  # a resize of third order
        ([0, 0.3], np.float32, [0, 0]),
        ([0, 100, 200, 255], np.float32, [0, 0, 1, 1]),
        ([0, 9, 9], np.float64, [0, 1, 1]),
        ([0, 0], np.uint8, [0, 0]),
        ([255, 255], np.uint8, [1, 1]),
        ([], np.uint8, []),
    ],
)
def test_where_the_values_of_a_mask_mean_its_object(values, dtype, expected):
    found = masks.foreground(np.array(values, dtype))
    assert found.dtype == bool and found.tolist() == [bool(value) for value in expected]


def test_each_mask_of_some_has_values_of_its_own():
    stacked = np.stack([[[0, 1, 1]], [[0, 100, 255]], [[5, 5, 0]]], axis=-1).astype(np.uint8)
    np.testing.assert_array_equal(
        masks.binary_masks(stacked)[0].T, np.bool_([[0, 1, 1], [0, 0, 1], [1, 1, 0]])
    )
    assert masks.binary_masks(stacked[..., :0]).shape == (1, 3, 0)


def test_pieces_touch_by_a_corner():
    numbers, count = masks.number_pieces(np.bool_([[1, 0, 0, 1], [0, 1, 0, 1]]))
    assert count == 2
    np.testing.assert_array_equal(numbers, [[1, 0, 0, 2], [0, 1, 0, 2]])

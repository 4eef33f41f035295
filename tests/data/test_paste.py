"""Masks with a border of nothing, pasted into their boxes: against torchvision's numbers."""

import os

import numpy as np
import pytest

from mrcnn.data.paste import paste_masks
from tests.data import torchvision_inputs as inputs

FOUND = np.load(os.path.join(os.path.dirname(__file__), "torchvision_images.npz"))
SCENES = {name: arrays for name, *arrays in inputs.scenes()}


def slow_paste(mask, box, shape):
    """Pixel by pixel in Python's floats."""
    side = len(mask)
    padded = np.pad(mask, 1)
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * (side + 2) / side
    y1, x1, y2, x2 = (int(value) for value in (*(centre - half), *(centre + half)))
    height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
    made = np.zeros(shape, bool)
    for y in range(height):
        for x in range(width):
            if not (0 <= y1 + y < shape[0] and 0 <= x1 + x < shape[1]):
                continue
            v = min(max((y + 0.5) * (side + 2) / height - 0.5, 0), side + 1)
            u = min(max((x + 0.5) * (side + 2) / width - 0.5, 0), side + 1)
            top, left = min(int(v), side), min(int(u), side)
            cells = padded[top : top + 2, left : left + 2]
            weights = np.outer([top + 1 - v, v - top], [left + 1 - u, u - left])
            made[y1 + y, x1 + x] = (cells * weights).sum() >= 0.5
    return made


@pytest.mark.parametrize("name", SCENES)
def test_masks_are_torchvisions(name):
    image, _, _, masks = SCENES[name]
    made = paste_masks(masks, FOUND[f"{name}_boxes"], image.shape)
    assert made.shape == (*image.shape[:2], 9) and made.dtype == bool
    count = made.size
    expected = np.unpackbits(FOUND[f"{name}_pasted"], count=count).reshape(9, *image.shape[:2])
    np.testing.assert_array_equal(made, expected.astype(bool).transpose(1, 2, 0))
    assert made[..., 0].any()  # the whole image


@pytest.mark.parametrize("seed", range(20))
def test_against_a_slow_version(seed):
    draw = np.random.RandomState(seed)
    side, shape = int(draw.choice([2, 7, 14, 28])), tuple(draw.randint(1, 60, 2).tolist())
    masks = draw.rand(4, side, side).astype(np.float32)
    corners = np.sort(draw.rand(4, 2, 2), axis=1).reshape(4, 4) * [*shape, *shape]
    if seed % 4 == 0:  # beyond the image
        corners += np.array([-9, -7, 8, 5])
    boxes = corners.astype(np.float32)
    made = paste_masks(masks, boxes, (*shape, 3))
    for index in range(4):
        expected = slow_paste(masks[index], boxes[index].astype(float), shape)
        # a value may be 0.5 but for the last digit
        assert np.count_nonzero(made[..., index] != expected) <= 1


def test_a_full_mask_fills_its_box():
    """Of 28 cells, each of 2 px, the border is half a cell and thinned by half."""
    made = paste_masks(np.ones((1, 28, 28), np.float32), [(10.0, 20.0, 66.0, 76.0)], (90, 100))
    rows, columns = np.flatnonzero(made[:, 50, 0]), np.flatnonzero(made[40, :, 0])
    assert abs(rows[0] - 10) <= 1 and abs(rows[-1] - 65) <= 1
    assert abs(columns[0] - 20) <= 1 and abs(columns[-1] - 75) <= 1


def test_a_box_outside_of_the_image_and_none_at_all():
    mask = np.ones((1, 28, 28), np.float32)
    assert not paste_masks(mask, [(200.0, 10, 220, 30)], (50, 50)).any()
    assert not paste_masks(mask, [(10.0, -70, 20, -30)], (50, 50)).any()
    assert paste_masks(mask[:0], np.zeros((0, 4)), (50, 40, 3)).shape == (50, 40, 0)


def test_each_mask_lies_in_one_piece():
    made = paste_masks(np.ones((3, 28, 28), np.float32), np.tile([1.0, 1, 9, 9], (3, 1)), (20, 30))
    assert made[..., 1].flags["C_CONTIGUOUS"]

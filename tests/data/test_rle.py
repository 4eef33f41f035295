"""Masks to COCO run lengths, against pycocotools' own encoder."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.data.masks import extract_bboxes
from mrcnn.data.rle import encode_masks


def slow(masks):
    """pycocotools, which reads every pixel of the image."""
    return [
        {"size": rle["size"], "counts": rle["counts"].decode()}
        for rle in coco_mask.encode(np.asfortranarray(masks, np.uint8))
    ]


@pytest.mark.parametrize("height, width", [(1, 1), (1, 9), (9, 1), (7, 5), (40, 61)])
@pytest.mark.parametrize("density", [0.02, 0.5, 0.98, 1.0])
def test_noise(height, width, density):
    rng = np.random.RandomState(int(100 * density) + height)
    masks = rng.rand(height, width, 6) <= density
    assert encode_masks(masks) == slow(masks)
    assert encode_masks(
        np.moveaxis(np.ascontiguousarray(np.moveaxis(masks, -1, 0)), 0, -1)
    ) == slow(masks)


@pytest.mark.parametrize(
    "rows, columns",
    [
        (slice(0, 1), slice(0, 1)),
        (slice(9, 10), slice(14, 15)),  # a corner
        (slice(None), slice(3, 6)),  # whole columns: one run
        (slice(5, None), slice(3, 6)),
        (slice(0, 5), slice(3, 6)),  # at the bottom, at the top
        (slice(None), slice(12, None)),
        (slice(None), slice(None)),
        (slice(4, 6), slice(None)),
    ],
)
def test_rectangles(rows, columns):
    masks = np.zeros((10, 15, 1), bool)
    masks[rows, columns] = True
    assert encode_masks(masks) == slow(masks)
    # a run from the bottom of a column to the top of the next
    masks[:3, 7] = masks[5:, 6] = True
    assert encode_masks(masks) == slow(masks)


def test_none_and_empty_ones():
    assert encode_masks(np.zeros((5, 6, 0))) == []
    masks = np.zeros((5, 6, 3), bool)
    masks[2, 3, 1] = True
    assert encode_masks(masks) == slow(masks)
    assert encode_masks(masks, extract_bboxes(masks)) == slow(masks)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32, np.float64])
def test_any_type(dtype):
    masks = np.random.RandomState(0).rand(8, 9, 2) > 0.5
    assert encode_masks(masks.astype(dtype)) == slow(masks)

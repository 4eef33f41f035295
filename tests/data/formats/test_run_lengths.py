"""Polygon -> mask -> RLE -> mask, against pycocotools."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mrcnn.data.formats import shapes
from mrcnn.data.rle import decode_masks, encode_masks, encode_parts, merge_rles, run_lengths

QUICK = settings(deadline=None, database=None, max_examples=150)
side = st.integers(1, 40)
points = st.lists(st.tuples(st.floats(-20, 60), st.floats(-20, 60)), min_size=3, max_size=8)


@st.composite
def masks(draw):
    shape = draw(side), draw(side), draw(st.integers(0, 3))
    density = draw(st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]))
    return np.random.RandomState(draw(st.integers(0, 2**31))).rand(*shape) < density


@QUICK
@given(polygons=st.lists(points, max_size=3), height=side, width=side)
def test_polygons_come_back(polygons, height, width):
    parts = [shapes.polygon(*np.array(polygon).T, height, width) for polygon in polygons]
    rles = encode_parts(parts, (height, width))
    decoded = decode_masks(rles, (height, width))
    assert decoded.shape == (height, width, len(polygons)) and decoded.dtype == bool
    for index, (part, top, left) in enumerate(parts):
        expected = np.zeros((height, width), bool)
        expected[top : top + part.shape[0], left : left + part.shape[1]] = part
        np.testing.assert_array_equal(decoded[..., index], expected)
        assert (
            coco_mask.encode(np.asfortranarray(expected, np.uint8))["counts"].decode()
            == rles[index]["counts"]
        )
    assert encode_masks(decoded) == rles  # and again


@QUICK
@given(masks())
def test_decode_is_pycocotools(array):
    rles = [
        coco_mask.encode(np.asfortranarray(array[..., index], np.uint8))
        for index in range(array.shape[-1])
    ]
    np.testing.assert_array_equal(decode_masks(rles, array.shape), array)
    as_text = [{"size": rle["size"], "counts": rle["counts"].decode()} for rle in rles]
    as_numbers = [{"size": rle["size"], "counts": run_lengths(rle).tolist()} for rle in rles]
    for form in (as_text, as_numbers):
        np.testing.assert_array_equal(decode_masks(form, array.shape), array)
    if rles:
        packed = coco_mask.frPyObjects(as_numbers, *array.shape[:2])  # takes lists of counts
        assert [rle["counts"] for rle in packed] == [rle["counts"] for rle in rles]
        merged = decode_masks([merge_rles(rles)], array.shape)[..., 0]
        np.testing.assert_array_equal(merged, array.any(axis=-1))


@QUICK
@given(st.text(alphabet=[chr(code) for code in range(40, 125)], max_size=30))
def test_no_text_reads_beyond_its_end(text):
    rle = {"size": [7, 9], "counts": text}
    try:
        runs = run_lengths(rle)
    except ValueError:
        return
    assert runs.sum() == 63 and decode_masks([rle], (7, 9)).sum() == runs[1::2].sum()


@pytest.mark.parametrize(
    "counts, message",
    [
        ([10, 3], "add up to 13"),
        ([70, -7], "least -7"),
        ("", "add up to 0"),
        ("zz", "no run lengths"),
        ([62.5, 0.5], "must be whole numbers"),
        ([63.0, float("nan")], "must be whole numbers"),
        (["63"], "must be whole numbers"),
        ([2**70], "must be whole numbers"),
        ([2**60] * 16 + [63], "add up to 18446744073709551679"),  # 63 in 64 bits
        ("o", "no run lengths"),
        ("é", "no run lengths"),
        (None, "no run lengths"),
        (["a"], "no run lengths"),
    ],
)
def test_counts_that_do_not_fill_the_size(counts, message):
    with pytest.raises(ValueError, match=message):
        decode_masks([{"size": [7, 9], "counts": counts}], (7, 9))


def test_another_size():
    rle = encode_masks(np.ones((3, 4, 1)))[0]
    with pytest.raises(ValueError, match=r"size \[3, 4\], the masks \[4, 3\]"):
        decode_masks([rle], (4, 3))


def test_large_and_full():
    full = np.ones((2000, 3000, 1), bool)
    rle = coco_mask.encode(np.asfortranarray(full[..., 0], np.uint8))
    assert encode_masks(full)[0]["counts"] == rle["counts"].decode()
    assert decode_masks(encode_masks(full), full.shape).all()

"""Anchors: the original's numbers, and a twin made of loops."""

import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.ops import anchors, boxes_np
from tests.paths import PARITY as PARITY_FOLDER
from tests.paths import ROOT

PARITY = np.load(PARITY_FOLDER / "utils_boxes.npz")


def config(**changes):
    fields = dict(
        BACKBONE="resnet101",
        COMPUTE_BACKBONE_SHAPE=None,
        BACKBONE_STRIDES=[4, 8, 16, 32, 64],
        RPN_ANCHOR_SCALES=(32, 64, 128, 256, 512),
        RPN_ANCHOR_RATIOS=[0.5, 1, 2],
        RPN_ANCHOR_STRIDE=1,
        RPN_ANCHORS_ROUNDED=False,
        RPN_STRIDES_FROM_SIZES=False,
    )
    return SimpleNamespace(**{**fields, **changes})


@pytest.mark.parametrize("stride", [1, 2])
def test_anchors_are_the_originals(stride):
    name = f"anchors_coco1024_stride{stride}"
    made = anchors.pyramid_anchors(config(RPN_ANCHOR_STRIDE=stride), (1024, 1024, 3))
    assert made.dtype == np.float64
    assert made.shape == tuple(PARITY[name + "_shape"])
    np.testing.assert_array_equal(made[::97], PARITY[name])  # every 97th was kept
    np.testing.assert_array_equal(made.sum(axis=0), PARITY[name + "_sum"])


def test_normalised_anchors_are_the_originals():
    made = anchors.pyramid_anchors(config(), (1024, 1024, 3))
    normalised = boxes_np.norm_boxes(made, (1024, 1024))
    expected = PARITY["anchors_coco1024_stride1_norm_sample"]
    assert normalised.dtype == expected.dtype
    np.testing.assert_array_equal(normalised[::97], expected)


def test_backbone_shapes_are_the_originals():
    shapes = anchors.compute_backbone_shapes(config(), (1024, 1024, 3))
    np.testing.assert_array_equal(shapes, PARITY["backbone_shapes_coco1024"])


@pytest.mark.parametrize(
    "shape, feature_stride, anchor_stride",
    [((3, 5), 4, 1), ((5, 3), 16, 2), ((1, 1), 64, 1), ((0, 4), 8, 1)],
)
def test_one_level_against_loops(shape, feature_stride, anchor_stride):
    expected = []
    for row in range(0, shape[0], anchor_stride):
        for column in range(0, shape[1], anchor_stride):
            for ratio in (0.5, 1, 3):
                for scale in (20, 33):
                    height, width = scale / math.sqrt(ratio), scale * math.sqrt(ratio)
                    y, x = row * feature_stride, column * feature_stride
                    expected.append([y - height / 2, x - width / 2, y + height / 2, x + width / 2])
    made = anchors.generate_anchors((20, 33), [0.5, 1, 3], shape, feature_stride, anchor_stride)
    np.testing.assert_allclose(made, np.reshape(expected, (-1, 4)), rtol=0, atol=1e-12)


def test_ratio_is_width_by_height_and_keeps_the_area():
    tall, wide = anchors.generate_anchors(32, [0.5, 2], (1, 1), 4, 1)
    np.testing.assert_allclose(tall[2:] - tall[:2], [32 * 2**0.5, 32 / 2**0.5])
    np.testing.assert_allclose(wide[2:] - wide[:2], [32 / 2**0.5, 32 * 2**0.5])


def test_odd_image_sizes_round_the_maps_up():
    shapes = anchors.compute_backbone_shapes(config(), (65, 130, 3))
    np.testing.assert_array_equal(shapes, [[17, 33], [9, 17], [5, 9], [3, 5], [2, 3]])
    assert len(anchors.pyramid_anchors(config(), (65, 130))) == 3 * shapes.prod(axis=1).sum()


def test_any_named_backbone_has_the_same_maps():
    shapes = anchors.compute_backbone_shapes(config(BACKBONE="MobileNetV2"), (256, 128, 3))
    np.testing.assert_array_equal(shapes[0], [64, 32])


def test_a_backbone_function_brings_its_own_shapes():
    made = [[2, 3]]
    own = config(BACKBONE=print, COMPUTE_BACKBONE_SHAPE=lambda shape: made)
    assert anchors.compute_backbone_shapes(own, (8, 8, 3)) is made
    with pytest.raises(ValueError, match="COMPUTE_BACKBONE_SHAPE must be a function"):
        anchors.compute_backbone_shapes(config(BACKBONE=print), (8, 8, 3))


def test_a_scale_too_few_is_an_error():
    with pytest.raises(ValueError, match="4 RPN_ANCHOR_SCALES and 5 BACKBONE_STRIDES"):
        anchors.pyramid_anchors(config(RPN_ANCHOR_SCALES=(8, 16, 32, 64)), (64, 64))


# === torchvision's anchors ===

TORCHVISION = dict(
    RPN_ANCHOR_RATIOS=[2, 1, 0.5], RPN_ANCHORS_ROUNDED=True, RPN_STRIDES_FROM_SIZES=True
)
# half of (height, width) of the anchors of a cell, as torchvision 0.29 makes them for its sizes
HALVES = [
    [(11, 23), (16, 16), (23, 11)],
    [(23, 45), (32, 32), (45, 23)],
    [(45, 91), (64, 64), (91, 45)],
    [(91, 181), (128, 128), (181, 91)],
    [(181, 362), (256, 256), (362, 181)],
]


def test_anchors_of_torchvision():
    """For 352 x 992 px its maps have these cells, and the centres of P6 are 58 and 62 px apart."""
    cells = [(88, 248), (44, 124), (22, 62), (11, 31), (6, 16)]
    strides = [(4, 4), (8, 8), (16, 16), (32, 32), (58, 62)]
    expected = [
        (y * dy - h, x * dx - w, y * dy + h, x * dx + w)
        for (rows, columns), (dy, dx), halves in zip(cells, strides, HALVES)
        for y in range(rows)
        for x in range(columns)
        for h, w in halves
    ]
    chosen = config(**TORCHVISION)
    np.testing.assert_array_equal(anchors.anchor_strides(chosen, (352, 992, 3)), strides)
    np.testing.assert_array_equal(anchors.pyramid_anchors(chosen, (352, 992, 3)), expected)


def test_halves_of_corners_are_rounded_to_even():
    made = anchors.generate_anchors((3, 5, 7, 20), [1], (1, 2), 10, 1, rounded=True)
    side = [4, 4, 8, 20]  # 1.5, 2.5 and 3.5 to 2, 2 and 4
    np.testing.assert_array_equal(made[:4, 2] - made[:4, 0], side)
    np.testing.assert_array_equal(made[4:] - made[:4], [[0, 10, 0, 10]] * 4)


@pytest.mark.parametrize(
    "fields, shape, stride_of_p6",
    [
        ({}, (800, 1216), (64, 64)),
        ({"RPN_STRIDES_FROM_SIZES": True}, (800, 1216), (61, 64)),
        ({"RPN_STRIDES_FROM_SIZES": True}, (32, 96), (32, 48)),
        ({"RPN_STRIDES_FROM_SIZES": True}, (64, 128), (64, 64)),
    ],
)
def test_strides(fields, shape, stride_of_p6):
    strides = anchors.anchor_strides(config(**fields), shape)
    assert strides.shape == (5, 2) and strides[0].tolist() == [4, 4]
    assert strides[-1].tolist() == list(stride_of_p6)


def test_strides_from_sizes_with_anchors_on_every_other_cell():
    made = anchors.pyramid_anchors(
        config(RPN_ANCHOR_STRIDE=2, RPN_ANCHOR_RATIOS=[1], RPN_STRIDES_FROM_SIZES=True), (800, 64)
    )
    centres = (made[:, :2] + made[:, 2:]) / 2
    np.testing.assert_array_equal(centres[-7:], [(y * 122, 0) for y in range(7)])


def test_numpy_modules_import_nothing_heavy():
    code = (
        "import sys, mrcnn.ops.anchors, mrcnn.ops.boxes_np, mrcnn.data.dataset, mrcnn.data.masks, "
        "mrcnn.ops.image_meta; print([m for m in ('tensorflow', 'keras', 'matplotlib', 'skimage', "
        "'scipy', 'imgaug') if m in sys.modules])"
    )
    root = ROOT
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stdout + out.stderr

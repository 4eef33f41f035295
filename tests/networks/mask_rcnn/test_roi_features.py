"""PyramidROIAlign and its packed form: the original's numbers, loops, rows."""

import json

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.config.choices import ROI_ALIGNS
from mrcnn.networks.mask_rcnn.roi_features import (
    PackedROIAlign,
    PyramidROIAlign,
    UnpackRows,
    pyramid_roi_align,
    roi_levels,
)
from mrcnn.ops.boxes_np import norm_boxes
from mrcnn.ops.packed_rows import PackedRows
from tests import twins
from tests.networks import layer_cases as cases
from tests.paths import PARITY as PARITY_FOLDER

PARITY = np.load(PARITY_FOLDER / "layers_roi_align.npz")
# width and height as they come from images of 256 px, and of 100 x 84 px: nothing divides evenly
PYRAMIDS = {
    (256, 256): [(64, 64), (32, 32), (16, 16), (8, 8)],
    (100, 84): [(25, 21), (13, 11), (7, 6), (4, 3)],
}


def pyramid(random, image_shape, batch, channels=3):
    return [
        random.normal(size=(batch, *shape, channels)).astype(np.float32)
        for shape in PYRAMIDS[image_shape]
    ]


def boxes_of_all_levels(random, image_shape, count):
    """Boxes [count, 4] of 20 to 900 px in turn; many leave the image."""
    sides = np.geomspace(20, 900, count)[:, np.newaxis] / image_shape
    center = random.uniform(0.2, 0.8, (count, 2))
    return np.concatenate([center - sides / 2, center + sides / 2], axis=1).astype(np.float32)


# === Levels ===


def test_levels_against_the_formula():
    boxes = boxes_of_all_levels(np.random.RandomState(0), (1024, 1024), 200).reshape(2, 100, 4)
    levels = roi_levels(tf.constant(boxes), (1024, 1024, 3))
    assert levels.dtype == tf.int32
    expected = [[twins.roi_level(box, (1024, 1024)) for box in image] for image in boxes]
    np.testing.assert_array_equal(levels, expected)
    assert set(np.unique(expected)) == {2, 3, 4, 5}


@pytest.mark.parametrize(
    "side, level", [(79, 2), (80, 3), (158, 3), (159, 4), (316, 4), (317, 5), (1, 2), (2000, 5)]
)
def test_levels_change_where_the_originals_do(side, level):
    """79.25, 158.25 and 316.5 px, measured on the original with an image of 1024 px."""
    assert roi_levels(
        tf.constant([[0.0, 0.0, side / 1023, side / 1023]]), (1024, 1024)
    ).numpy() == [level]


@pytest.mark.parametrize(
    "box", [(0, 0, 0, 0), (0.2, 0.2, 0.2, 0.9), (0.5, 0.5, 0.4, 0.6), (0.1, 0.1, 0.1, 0.1)]
)
def test_a_box_without_area_has_level_2(box):
    assert roi_levels(tf.constant([box], tf.float32), (512, 512)).numpy() == [2]


@pytest.mark.parametrize("shift", [0, 1])
def test_floored_levels_against_the_formula(shift):
    boxes = boxes_of_all_levels(np.random.RandomState(0), (800, 1088), 200).reshape(2, 100, 4)
    boxes[0, :3] = [0, 0, 0, 0], [0.2, 0.2, 0.1, 0.9], [0.3, 0.3, 0.3, 0.3]
    levels = roi_levels(tf.constant(boxes), (800, 1088, 3), floor=True, box_shift=shift)
    expected = [
        [twins.roi_level_floor(box, (800, 1088), shift) for box in image] for image in boxes
    ]
    np.testing.assert_array_equal(levels, expected)
    assert set(np.unique(expected)) == {2, 3, 4, 5}


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(
    "height, width, level",
    [
        (111, 112, 2),
        (112, 112, 3),
        (223, 224, 3),
        (224, 224, 4),
        (112, 448, 4),
        (447, 448, 4),
        (448, 448, 5),
        (1, 1, 2),
        (1024, 1024, 5),
    ],
)
@pytest.mark.parametrize("side", [1024, 800, 1333])
def test_floored_levels_change_at_whole_powers(shift, height, width, level, side):
    """A box of exactly 224 px has level 4 at any place and whatever its numbers are rounded to."""
    for corner in (0, 37.3, 211.7):
        box = np.float64([corner, corner, corner + height, corner + width])
        box = np.float32((box - [0, 0, shift, shift]) / (side - shift))
        found = roi_levels(tf.constant([box]), (side, side), floor=True, box_shift=shift)
        assert found.numpy() == [level]


# === Pooling ===


@pytest.mark.parametrize("image_shape", list(PYRAMIDS))
@pytest.mark.parametrize("pool_shape", [(7, 7), (3, 2), (1, 1)])
def test_pyramid_against_loops(image_shape, pool_shape):
    random = np.random.RandomState(1)
    maps, boxes = pyramid(random, image_shape, 2), boxes_of_all_levels(random, image_shape, 24)
    image_index = random.randint(0, 2, 24)
    pooled = pyramid_roi_align(
        tf.constant(boxes), tf.constant(image_index, tf.int32), image_shape, maps, pool_shape
    )
    assert pooled.dtype == tf.float32 and pooled.shape == (24, *pool_shape, 3)
    for row, (box, image) in enumerate(zip(boxes, image_index)):
        expected = twins.roi_align(
            [box], image_shape, [level[image] for level in maps], pool_shape
        )[0]
        np.testing.assert_allclose(pooled[row], expected, atol=2e-4)


def expected_pool(method, box, image_shape, shift, maps, pool_shape, floor):
    """[*pool_shape, c] of one normalised box and its image's maps [h, w, c], written apart."""
    size = np.float32([*image_shape, *image_shape])
    pixels = box * (size - shift) + np.float32([0, 0, shift, shift])
    if floor:
        level = twins.roi_level_floor(box, image_shape, shift)
    else:
        level = twins.roi_level(box, image_shape)
    feature_map = maps[level - 2]
    if method == "crop":
        return twins.crop(feature_map, (pixels - [0, 0, 1, 1]) / (size - 1), pool_shape)
    region = pixels * np.tile(np.float32(feature_map.shape[:2]) / image_shape, 2)
    if method == "sampled":
        region = [*region[:2], *(region[:2] + np.maximum(region[2:] - region[:2], 1))]
        return twins.mean_of_samples(feature_map, region, pool_shape)
    if method == "aligned":
        return twins.mean_of_samples(feature_map, region - 0.5, pool_shape)
    # the cells in which a box begins and ends, and those between
    whole = [int(np.sign(side) * np.floor(abs(side) + 0.5)) for side in region]
    whole = [*whole[:2], *(max(end, start) + 1 for start, end in zip(whole[:2], whole[2:]))]
    if method == "pool":
        return twins.roi_pool(feature_map, whole, pool_shape)
    return twins.mean_of_samples(feature_map, np.array(whole) - 0.5, pool_shape)


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("method", ROI_ALIGNS)
def test_each_way_to_pool_against_loops(method, shift):
    image_shape = (100, 84)
    random = np.random.RandomState(7)
    maps = pyramid(random, image_shape, 2)
    boxes = boxes_of_all_levels(random, image_shape, 40)
    if method == "warp":  # a sample just one cell outside may be rounded to either side
        boxes = np.clip(boxes, 0, 1)
    index = random.randint(0, 2, 40).astype(np.int32)
    options = dict(method=method, floor=shift == 0, box_shift=shift)
    pooled = pyramid_roi_align(
        tf.constant(boxes), tf.constant(index), image_shape, maps, (3, 2), **options
    )
    for row, box in enumerate(boxes):
        expected = expected_pool(
            method,
            box,
            image_shape,
            shift,
            [level[index[row]] for level in maps],
            (3, 2),
            shift == 0,
        )
        np.testing.assert_allclose(pooled[row], expected, atol=2e-4)


@pytest.mark.parametrize("method", ROI_ALIGNS)
def test_gradients_of_each_way_by_finite_differences(method):
    image_shape = (100, 84)
    random = np.random.RandomState(8)
    maps = [tf.Variable(level[..., :1]) for level in pyramid(random, image_shape, 1)]
    boxes = np.float32([[0.1, 0.2, 0.9, 0.8], [0.3, 0.1, 0.6, 0.7], [0, 0, 3, 3.5]])
    boxes = tf.Variable(boxes)
    weights = random.normal(size=(3, 2, 2, 1)).astype(np.float32)
    options = dict(method=method, floor=True, box_shift=0)
    with tf.GradientTape() as tape:
        pooled = pyramid_roi_align(
            boxes, tf.zeros([3], tf.int32), image_shape, maps, (2, 2), **options
        )
    *gradients, none = tape.gradient(pooled, [*maps, boxes], weights)
    assert none is None

    def loss(moved, level):
        images = [moved if i == level else maps[i].numpy()[0] for i in range(4)]
        return sum(
            np.sum(expected_pool(method, box, image_shape, 0, images, (2, 2), True) * weight)
            for box, weight in zip(boxes.numpy(), weights)
        )

    for level, gradient in enumerate(gradients):
        expected = twins.numeric_gradient(
            lambda moved, level=level: loss(moved, level), maps[level].numpy()[0], 1e-4
        )
        np.testing.assert_allclose(gradient[0], expected, atol=1e-3)
    assert [np.any(gradient) for gradient in gradients] == [True, False, True, False]


@pytest.mark.parametrize("method", ROI_ALIGNS)
@pytest.mark.parametrize("count", [0, 1, 200])
def test_each_way_takes_any_number_of_boxes(method, count):
    maps = pyramid(np.random.RandomState(2), (100, 84), 1)
    box = tf.constant([[0.1, 0.2, 0.7, 0.9]])
    pool = tf.function(
        lambda boxes, index: pyramid_roi_align(
            boxes, index, (100, 84), maps, (7, 7), method=method, floor=True, box_shift=0
        )
    )
    pooled = pool(tf.repeat(box, count, axis=0), tf.zeros([count], tf.int32)).numpy()
    assert pooled.shape == (count, 7, 7, 3)
    if count:
        np.testing.assert_array_equal(pooled, np.broadcast_to(pooled[:1], pooled.shape))
        assert pooled.any()


def test_the_original_s_way_takes_the_same_pixels_of_a_box_normalised_otherwise():
    image_shape, random = (100, 84), np.random.RandomState(9)
    maps = pyramid(random, image_shape, 1)
    pixels = boxes_of_all_levels(random, image_shape, 20) * np.float32([100, 84, 100, 84])
    index = tf.zeros([20], tf.int32)
    found = [
        pyramid_roi_align(
            norm_boxes(pixels, image_shape, shift),
            index,
            image_shape,
            maps,
            (7, 7),
            box_shift=shift,
        )
        for shift in (0, 1)
    ]
    np.testing.assert_allclose(*found, atol=2e-3)


def test_samples_include_both_edges_of_the_box():
    """Measured on the original: 0, 1.167 .. 7 on a ramp of 8 cells."""
    ramp = np.tile(
        np.arange(8, dtype=np.float32)[np.newaxis, np.newaxis, :, np.newaxis], (1, 8, 1, 1)
    )
    pooled = pyramid_roi_align(
        tf.constant([[0.0, 0, 1, 1]]), tf.constant([0]), (64, 64), [ramp] * 4, (7, 7)
    )
    np.testing.assert_allclose(pooled[0, 0, :, 0], np.linspace(0, 7, 7), rtol=1e-6)


def test_samples_outside_the_image_are_zero():
    ones = tf.ones([1, 8, 8, 1])
    pooled = pyramid_roi_align(
        tf.constant([[-0.5, 0, 0.5, 1.0]]), tf.constant([0]), (64, 64), [ones] * 4, (3, 3)
    )
    np.testing.assert_array_equal(pooled[0, :, :, 0], [[0, 0, 0], [1, 1, 1], [1, 1, 1]])


def test_zero_boxes_read_the_first_cell_of_p2():
    maps = pyramid(np.random.RandomState(2), (256, 256), 2)
    pooled = pyramid_roi_align(tf.zeros([2, 4]), tf.constant([0, 1]), (256, 256), maps, (2, 2))
    np.testing.assert_array_equal(pooled, np.broadcast_to(maps[0][:, :1, :1], (2, 2, 2, 3)))


def test_no_boxes():
    maps = pyramid(np.random.RandomState(2), (100, 84), 1)
    assert pyramid_roi_align(
        tf.zeros([0, 4]), tf.zeros([0], tf.int32), (100, 84), maps, (7, 7)
    ).shape == (0, 7, 7, 3)


def test_gradients_by_finite_differences():
    """Linear in the features; none for the boxes, which the original stops."""
    random = np.random.RandomState(3)
    image_shape = (100, 84)
    maps = [tf.Variable(level[..., :1]) for level in pyramid(random, image_shape, 1)]
    boxes = tf.Variable(boxes_of_all_levels(random, image_shape, 8))
    weights = random.normal(size=(8, 3, 3, 1))
    with tf.GradientTape() as tape:
        pooled = pyramid_roi_align(boxes, tf.zeros([8], tf.int32), image_shape, maps, (3, 3))
        total = tf.reduce_sum(pooled * weights.astype(np.float32))
    *gradients, none = tape.gradient(total, [*maps, boxes])
    assert none is None

    for level in range(4):

        def loss(moved, level=level):
            images = [moved if i == level else maps[i].numpy()[0] for i in range(4)]
            rows = [
                i
                for i, box in enumerate(boxes.numpy())
                if twins.roi_level(box, image_shape) == level + 2
            ]
            return np.sum(
                twins.roi_align(boxes.numpy()[rows], image_shape, images, (3, 3)) * weights[rows]
            )

        # the feature map is linear: any step is exact, and cells that no sample touches stay 0
        touched = tf.convert_to_tensor(gradients[level]).numpy()[0]
        np.testing.assert_allclose(
            touched, twins.numeric_gradient(loss, maps[level].numpy()[0], 0.5), atol=1e-4
        )


# === Layers ===


@pytest.mark.parametrize("side, step", [(7, 1), (14, 3)])
def test_pooled_features_are_the_originals(side, step):
    """Two of its eight channels; ten boxes of the first image are zeros."""
    boxes = PARITY["boxes"][:, ::step]
    assert not boxes[0, -1].any()
    pooled = PyramidROIAlign([side, side])(
        [boxes, PARITY["meta"], *(PARITY[f"p{level}"] for level in range(2, 6))]
    )
    np.testing.assert_allclose(pooled, PARITY[f"out_{side}"], atol=2e-6)


@pytest.mark.parametrize("batch, rois", [(1, 1), (2, 6), (3, 9)])
def test_against_loops(batch, rois):
    boxes, meta, *maps = cases.align_inputs(np.random.RandomState(1), batch, rois)
    pooled = PyramidROIAlign([3, 2])([boxes, meta, *maps])
    for image in range(batch):
        expected = twins.roi_align(
            boxes[image], cases.IMAGE_SHAPE, [level[image] for level in maps], (3, 2)
        )
        np.testing.assert_allclose(pooled[image], expected, atol=2e-5)


def test_the_level_depends_on_the_images_size():
    box = np.float32([[[0.1, 0.1, 0.4, 0.4]]])
    maps = [np.full((1, 8, 8, 1), level, np.float32) for level in range(2, 6)]
    for side, level in ((64, 2), (768, 4), (2048, 5)):
        pooled = PyramidROIAlign([2, 2])([box, cases.meta(1, (side, side, 3)), *maps])
        np.testing.assert_array_equal(pooled, np.full((1, 1, 2, 2, 1), level))


def settings(**fields):
    return type("Settings", (cases.TinyConfig,), fields)()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("method", ROI_ALIGNS)
def test_the_layers_pool_as_the_config_says(method, batch):
    config = settings(ROI_ALIGN=method, ROI_LEVEL_FLOOR=True, BOX_SHIFT=0)
    boxes, meta, *maps = cases.align_inputs(np.random.RandomState(5), batch, 9)
    layer = PyramidROIAlign([3, 2], config)
    pooled = layer([boxes, meta, *maps])
    for image in range(batch):
        for row, box in enumerate(boxes[image]):
            expected = expected_pool(
                method,
                box,
                cases.IMAGE_SHAPE[:2],
                0,
                [level[image] for level in maps],
                (3, 2),
                True,
            )
            np.testing.assert_allclose(pooled[image, row], expected, atol=2e-4)
    packed, rows, index = PackedROIAlign([3, 2], config=config)([boxes, meta, *maps])
    np.testing.assert_array_equal(PackedRows(rows, index).unpack(packed), pooled)
    again = PyramidROIAlign.from_config(json.loads(json.dumps(layer.get_config())))
    np.testing.assert_array_equal(again([boxes, meta, *maps]), pooled)
    assert again.supports_jit is False


@pytest.mark.parametrize("method", ROI_ALIGNS)
def test_one_graph_of_each_way_serves_any_batch(method):
    layer = PyramidROIAlign([3, 2], settings(ROI_ALIGN=method, ROI_LEVEL_FLOOR=True))
    specs = [
        tf.TensorSpec([None, *part.shape[1:]])
        for part in cases.align_inputs(np.random.RandomState(6), 1, 9)
    ]
    traced = tf.function(lambda inputs: layer(inputs), input_signature=[specs])
    for batch in (1, 2, 3):
        inputs = cases.align_inputs(np.random.RandomState(batch), batch, 9)
        found = traced([tf.constant(part) for part in inputs])
        np.testing.assert_allclose(found, layer(inputs), atol=1e-5)
    assert traced.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("layer_class", [PyramidROIAlign, PackedROIAlign])
def test_without_a_config_they_are_the_originals(layer_class):
    """As in files that were saved before there was a choice."""
    layer = layer_class([7, 7])
    stored = layer.get_config()
    assert stored["config"] == {"BOX_SHIFT": 1, "ROI_ALIGN": "crop", "ROI_LEVEL_FLOOR": False}
    del stored["config"]
    assert layer_class.from_config(stored).settings == layer.settings


def with_class_ids(seed, batch, rois):
    random = np.random.RandomState(seed)
    boxes, meta, *maps = cases.align_inputs(random, batch, rois)
    return [boxes, meta, *maps], cases.class_ids(random, batch, rois)


def test_objects_are_rows_of_all_rois():
    inputs, ids = with_class_ids(2, 3, 8)
    everything = PyramidROIAlign([3, 3])(inputs).numpy()
    pooled, rows, index = PackedROIAlign([3, 3])(inputs, class_ids=ids)
    count = np.count_nonzero(ids)
    assert 3 <= count < 24
    np.testing.assert_array_equal(pooled[:count], everything[ids > 0])
    back = PackedRows(rows, index).unpack(pooled)
    np.testing.assert_array_equal(back, everything * (ids > 0)[..., None, None, None])


@pytest.mark.parametrize("distinct", [False, True])
def test_without_class_ids_every_roi_is_there(distinct):
    inputs, _ = with_class_ids(3, 2, 6)
    inputs[0][:, 4:] = 0
    pooled, rows, index = PackedROIAlign([3, 3], distinct=distinct)(inputs)
    assert len(pooled) == (10 if distinct else 12)
    everything = PyramidROIAlign([3, 3])(inputs)
    np.testing.assert_array_equal(PackedRows(rows, index).unpack(pooled), everything)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_with_no_object_the_first_roi_stands_in(dtype):
    inputs, ids = with_class_ids(3, 2, 4)
    pooled, _, index = PackedROIAlign([3, 3])(inputs, class_ids=np.zeros_like(ids, dtype))
    np.testing.assert_array_equal(pooled, PyramidROIAlign([3, 3])(inputs)[0, :1])
    assert not index.numpy().any()


def test_vectors_are_put_back():
    rows, index = (np.int32(part) for part in ([[0, 1], [1, 0]], [[0, 1], [2, 2]]))
    values = np.float32([[1, 2], [3, 4]]).reshape(2, 1, 1, 2)
    expected = [[[0, 0], [1, 2]], [[3, 4], [3, 4]]]
    np.testing.assert_array_equal(UnpackRows()([values, rows, index]), expected)


@pytest.mark.parametrize("layer_class", [PyramidROIAlign, PackedROIAlign])
def test_gradients_reach_the_features_and_not_the_boxes(layer_class):
    (boxes, meta, *maps), _ = with_class_ids(4, 2, 4)
    boxes[:, 0], boxes[:, 1] = [0, 0, 3, 3.5], [0, 0, 1, 1]  # large ones, for the upper levels
    boxes, maps = tf.Variable(boxes), [tf.Variable(level) for level in maps]
    with tf.GradientTape() as tape:
        pooled = layer_class([3, 3])([boxes, meta, *maps])
        total = tf.reduce_sum(pooled[0] if isinstance(pooled, tuple) else pooled)
    *gradients, none = tape.gradient(total, [*maps, boxes])
    assert none is None
    levels = {twins.roi_level(box, cases.IMAGE_SHAPE) - 2 for box in boxes.numpy().reshape(-1, 4)}
    assert levels == {0, 1, 2}
    for level, gradient in enumerate(gradients):
        assert tf.convert_to_tensor(gradient).numpy().any() == (level in levels)

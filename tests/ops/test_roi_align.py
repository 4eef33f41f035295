"""RoIAlign over a pyramid, against a loop over samples."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.ops.roi_align import crop_and_resize, pyramid_roi_align, roi_levels
from tests import twins

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


# === Pooling ===


@pytest.mark.parametrize("image_shape", list(PYRAMIDS))
@pytest.mark.parametrize("pool_shape", [(7, 7), (3, 2), (1, 1)])
def test_against_loops(image_shape, pool_shape):
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


def test_gradients_of_boxes_that_share_pixels_add_up():
    """TensorFlow's own gradient loses some of them where it runs on several threads."""
    features = tf.random.normal([1, 8, 8, 4])
    boxes = tf.tile([[0.0, 0.0, 0.0, 0.0], [0.1, 0.1, 0.6, 0.7]], [600, 1])
    for _ in range(3):
        with tf.GradientTape() as tape:
            tape.watch(features)
            total = tf.reduce_sum(
                crop_and_resize(features, boxes, tf.zeros([1200], tf.int32), (3, 3))
            )
        # every sample's four weights are 1 together
        np.testing.assert_allclose(
            tf.reduce_sum(tape.gradient(total, features)), 1200 * 9 * 4, rtol=1e-5
        )


@pytest.mark.parametrize("pool", [(1, 1), (2, 3), (7, 7)])
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (8, 8)])
def test_gradient_of_crops_is_tensorflows(size, pool):
    """Boxes in images of their own, where TensorFlow's threads do not meet."""
    random = np.random.RandomState(3)
    features = tf.constant(random.normal(size=(6, *size, 2)), tf.float32)
    boxes = tf.constant(random.uniform(-0.4, 1.4, (6, 4)), tf.float32)
    upstream = tf.constant(random.normal(size=(6, *pool, 2)), tf.float32)
    found = []
    for function in (crop_and_resize, tf.image.crop_and_resize):
        with tf.GradientTape() as tape:
            tape.watch(features)
            total = tf.reduce_sum(upstream * function(features, boxes, tf.range(6), pool))
        found.append(tape.gradient(total, features).numpy())
    np.testing.assert_allclose(*found, atol=1e-5)


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("size, pool", [(8, 7), (64, 7), (64, 14), (80, 14)])
def test_gradient_of_boxes_that_end_at_the_images_edge(size, pool, in_graph):
    """A sample that rounding takes out of the image reads 0 and so moves no weight, in an optimised
    graph too.
    """
    rng = np.random.RandomState(size)
    start, upstream = (
        rng.uniform(0, 0.9, (1000, 2)),
        tf.constant(rng.rand(1000, pool, pool, 1), tf.float32),
    )
    boxes = tf.constant(np.concatenate([start, np.ones_like(start)], axis=1), tf.float32)

    def both(image, boxes):
        with tf.GradientTape() as tape:
            tape.watch(image)
            crops = crop_and_resize(image, boxes, tf.zeros(1000, tf.int32), (pool, pool))
        return crops, tape.gradient(crops, image, output_gradients=upstream)

    crops, gradient = (tf.function(both) if in_graph else both)(tf.ones([1, size, size, 1]), boxes)
    rounded_out = 1 - crops.numpy().mean()
    assert rounded_out > 0.001
    # a sample of ones inside the image is 1, and hands all that comes from above to its four pixels
    np.testing.assert_allclose(
        gradient.numpy().sum(dtype=float), (crops * upstream).numpy().sum(dtype=float), rtol=1e-5
    )


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_gradient_is_the_same_where_there_is_a_gpu(monkeypatch, count):
    random = np.random.RandomState(count)
    images = tf.constant(random.normal(size=(2, 9, 7, 5)), tf.float32)
    boxes = boxes_of_all_levels(random, (1024, 1024), count)
    upstream = random.normal(size=(count, 4, 3, 5)).astype(np.float32)

    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(images)
            crops = crop_and_resize(images, boxes, np.arange(count, dtype=np.int32) % 2, (4, 3))
        return tape.gradient(crops, images, upstream).numpy()

    on_cpu = gradient()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["a GPU"])
    np.testing.assert_array_equal(on_cpu, gradient())
    assert on_cpu.any() == (count > 0)

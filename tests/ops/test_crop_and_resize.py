"""Crops and their gradient, against TensorFlow's own where that is right."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.ops.crop_and_resize import crop_and_resize


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
    boxes = random.uniform(-0.2, 1.2, (count, 4)).astype(np.float32)
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

"""Distances in label maps, in pixels, by Euclidean distance transforms.

They are computed in NumPy on the CPU, one image and class after another, and nothing is
differentiated through them. Void pixels belong to no class: no distance is taken to them, so that
void padding changes nothing, and theirs are 0.

One transform of 256 x 256 pixels takes about 3 ms, of 512 x 512 13 ms, of 1024 x 1024 110 ms.
"""

import numpy as np
import tensorflow as tf
from scipy import ndimage


def distances_to_border(masks: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """The distance of each pixel to the nearest one on the other side of a mask's border.

    Two transforms for each image and class.

    Args:
        masks: bool [b, h, w, classes].
        valid: bool [b, h, w], False for void.

    Returns:
        float32 [b, h, w, classes]; 0 for a mask of all pixels of its image, or none.
    """
    return _in_numpy(_distances_to_border, [masks, valid], masks.shape)


def distances_to_other_class(labels: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """The distance of each pixel to the nearest one of another class.

    One transform for each image and each class that it has.

    Args:
        labels: int [b, h, w].
        valid: bool [b, h, w], False for void.

    Returns:
        float32 [b, h, w]; 0 for an image of one class.
    """
    return _in_numpy(_distances_to_other_class, [labels, valid], labels.shape)


def distances_to_two_objects(labels: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """For each background pixel the sum of the distances to the two nearest objects.

    One transform for each object of each image.

    Args:
        labels: int [b, h, w]. An object is a connected region (8 neighbours) of a class above 0.
        valid: bool [b, h, w], False for void.

    Returns:
        float32 [b, h, w]; infinite in objects, in void, and in an image of fewer than two objects.
    """
    return _in_numpy(_distances_to_two_objects, [labels, valid], labels.shape)


def _in_numpy(function, inputs, shape):
    result = tf.numpy_function(function, inputs, tf.float32, stateful=False)
    result.set_shape(shape)
    return result


def _distances_to_border(masks, valid):
    distances = np.zeros(masks.shape, np.float32)
    for image, channel in np.ndindex(masks.shape[0], masks.shape[3]):
        mask = masks[image, ..., channel]
        inside, outside = mask & valid[image], ~mask & valid[image]
        _fill(distances[image, ..., channel], inside, outside)
        _fill(distances[image, ..., channel], outside, inside)
    return distances


def _distances_to_other_class(labels, valid):
    distances = np.zeros(labels.shape, np.float32)
    for image in range(len(labels)):
        for number in np.unique(labels[image][valid[image]]):
            same = labels[image] == number
            _fill(distances[image], same & valid[image], ~same & valid[image])
    return distances


def _distances_to_two_objects(labels, valid):
    sums = np.full(labels.shape, np.inf, np.float32)
    for image in range(len(labels)):
        nearest = np.full((2, *labels.shape[1:]), np.inf)
        for number in np.unique(labels[image][valid[image] & (labels[image] > 0)]):
            objects, count = ndimage.label(
                valid[image] & (labels[image] == number), structure=np.ones((3, 3))
            )
            for each in range(1, count + 1):
                distance = ndimage.distance_transform_edt(objects != each)
                nearest = np.sort([*nearest, distance], axis=0)[:2]
        background = valid[image] & (labels[image] == 0)
        sums[image][background] = nearest.sum(axis=0)[background]
    return sums


def _fill(distances, here, there):
    """Write the distance of each pixel of ``here`` to the nearest of ``there``, if there is one."""
    if here.any() and there.any():
        distances[here] = ndimage.distance_transform_edt(~there)[here]

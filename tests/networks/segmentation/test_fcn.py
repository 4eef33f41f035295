"""FCN: its head, its sums by other code, and networks of two classes."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.segmentation.build import segmentation_network
from tests.networks.segmentation.tiny import config_of, images
from tests.paths import ROOT
from tests.tiny import randomize


def at(model, name, x):
    return keras.Model(model.input, model.get_layer(name).output)(x).numpy()


def resized(scores, factor):
    """By TensorFlow's image code, which shares nothing with a transposed convolution."""
    size = [factor * side for side in scores.shape[1:3]]
    return tf.image.resize(scores, size).numpy()


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("learned", [True, False])
def test_scores_are_summed_at_each_stride_and_enlarged(stride, learned):
    """In the interior, which zeros beyond the border of no map reach."""
    config = config_of(f"fcn{stride}s", LEARN_UPSAMPLING=learned, SKIP_SCALES=(0.5, 0.25))
    model = segmentation_network(config)
    for layer in model.layers:
        if "score" in layer.name:
            layer.set_weights(
                [np.random.RandomState(0).normal(size=w.shape) for w in layer.weights]
            )
    x = images(config, 1, 256, 320)
    scores = at(model, "seg_score_fr", x)
    for level, scale in ((4, 0.5), (3, 0.25)):
        if 2**level >= stride:
            kernel, bias = model.get_layer(f"seg_score_pool{level}").get_weights()
            features = at(model, f"enc{level}_pool", x) * scale
            scores = resized(scores, 2) + features @ kernel[0, 0] + bias
    expected = resized(scores, stride)
    found = model(x).numpy()
    inside = slice(48, -48)
    assert found.shape == expected.shape == (1, 256, 320, 3)
    error = np.abs(found - expected)[:, inside, inside].max()
    assert error < 1e-5 * np.abs(expected).max()


def test_a_new_network_has_no_opinion():
    """Scores start at 0, as in the original, so the loss starts at log of the classes."""
    config = config_of("fcn8s")
    assert not segmentation_network(config)(images(config, 1, 32, 32)).numpy().any()


def test_the_head_of_vgg_and_of_a_backbone():
    own = segmentation_network(config_of("fcn8s", FC_CHANNELS=None))
    assert own.get_layer("seg_fc6").kernel.shape == (7, 7, 8, 64)  # 512 -> 4096 in VGG-16
    assert own.get_layer("seg_fc7").kernel.shape == (1, 1, 64, 64)
    assert own.get_layer("seg_dropout6").rate == 0.5
    resnet = segmentation_network(
        config_of("fcn8s", BACKBONE="resnet50", FC_CHANNELS=None, DROPOUT=0)
    )
    assert resnet.get_layer("seg_fc6").kernel.shape == (3, 3, 128, 32)
    assert not any("dropout" in layer.name for layer in resnet.layers)


def test_upsampling_is_learned_or_not():
    def weights(**fields):
        model = segmentation_network(config_of("fcn8s", **fields))
        return {layer.name for layer in model.layers if "_up" in layer.name and layer.weights}

    assert weights() == {"seg_up_to_pool4", "seg_up_to_pool3", "seg_up8"}
    assert weights(LEARN_UPSAMPLING=False) == weights(UPSAMPLING="bilinear") == set()


# === Two classes ===


@pytest.mark.parametrize("network, scores", [("fcn32s", 2), ("fcn16s", 1), ("fcn8s", 1)])
def test_binary_networks(network, scores):
    config = config_of(network, NUM_CLASSES=2)
    model = segmentation_network(config)
    assert model.get_layer("seg_score_fr").filters == scores
    assert model.output.shape[-1] == 1


def test_other_networks_of_stride_32_have_two_scores_too():
    def filters(**fields):
        config = config_of("pspnet", NUM_CLASSES=2, **fields)
        return segmentation_network(config).get_layer("seg_score").filters

    assert filters(UPSAMPLING="transposed") == 2
    assert filters() == filters(UPSAMPLING="transposed", LEARN_UPSAMPLING=False) == 1


def test_one_channel_is_the_difference_of_two():
    """So its sigmoid is the second class's softmax."""
    two = segmentation_network(config_of("fcn32s", NUM_CLASSES=2, BINARY=False))
    one = segmentation_network(config_of("fcn32s", NUM_CLASSES=2))
    randomize(two)
    one.set_weights(two.get_weights())
    x = images(config_of("fcn32s"), 1, 64, 64)
    np.testing.assert_allclose(tf.sigmoid(one(x))[..., 0], tf.nn.softmax(two(x))[..., 1], atol=1e-5)


PROGRAM = """
import numpy as np
import tensorflow as tf
from mrcnn.networks.segmentation.build import segmentation_network
from tests.networks.segmentation.tiny import config_of, gradients, images

config = config_of("fcn32s", NUM_CLASSES=2)
model = segmentation_network(config)
step = tf.function(lambda image, labels: gradients(model, image, labels)[1])
found = step(images(config, 8, 256, 256), np.ones((8, 256, 256), np.int32))
assert all(np.isfinite(gradient).all() for gradient in found.values())
print("trained", len(found))
"""


def test_a_binary_network_of_stride_32_does_not_end_the_process():
    """TensorFlow 2.21 aborts Python in the gradient of Conv2DTranspose(1, 64, 32) for a batch of 8
    images of 256 px, so this runs in a process of its own.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0 and "trained" in done.stdout, done.stderr[-2000:]

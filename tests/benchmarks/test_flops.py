"""benchmarks/flops.py: a model counted by hand, and the known totals of ResNet-101 at 1024 px."""

import sys

import keras
import pytest

from tests.paths import BENCHMARKS

sys.path.insert(0, str(BENCHMARKS))

import flops

from mrcnn.config import Config
from mrcnn.networks.mask_rcnn.build import inference_model, training_model
from mrcnn.networks.mask_rcnn.mask_head import MaskPrediction

# FLOP for a batch of two
BY_HAND = {
    "conv": 2 * 2 * (4 * 4) * (3 * 3 * 3 * 4),  # stride 2: 4 x 4 cells, 3 to 4 channels
    "deconv": 2
    * 2
    * (4 * 4)
    * (2 * 2 * 4 * 5),  # every one of 4 x 4 cells to 2 x 2, 4 to 5 channels
    "depthwise": 2 * 2 * (8 * 8) * (3 * 3 * 5),  # each of 5 channels by itself
    "inner": 2 * 2 * (2 * 8 * 8) * (1 * 1 * 5 * 6),  # called twice
    "dense": 2 * 2 * (6 * 7),
}


@pytest.fixture
def small():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.Conv2DTranspose(5, 2, strides=2, name="deconv")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    inner_input = keras.Input((None, None, 5))
    inner = keras.Model(inner_input, keras.layers.Conv2D(6, 1, name="inner")(inner_input))
    x = keras.layers.GlobalAveragePooling2D()(inner(x) + inner(x))
    return keras.Model(image, keras.layers.Dense(7, name="dense")(x))


def test_small_model_by_hand(small):
    work = flops.count(small, [(2, 8, 8, 3)])
    assert work.forward == BY_HAND
    # the first layer's input is the image, which needs no gradient
    assert work.backward == {
        name: value * (1 if name == "conv" else 2) for name, value in BY_HAND.items()
    }


def test_frozen_layers_have_no_backward_pass(small):
    for name in ("conv", "bn", "deconv"):
        small.get_layer(name).trainable = False
    backward = flops.count(small, [(2, 8, 8, 3)]).backward
    assert backward["conv"] == backward["deconv"] == 0
    assert backward["depthwise"] == BY_HAND["depthwise"]  # its kernel's gradient, not its input's
    assert backward["inner"] == 2 * BY_HAND["inner"]


def test_frozen_layer_after_a_trained_one_passes_the_gradient_on(small):
    small.get_layer("deconv").trainable = False
    assert flops.count(small, [(2, 8, 8, 3)]).backward["deconv"] == BY_HAND["deconv"]


def test_unknown_kernel_is_refused():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.SeparableConv2D(4, 3, name="odd")(image))
    with pytest.raises(ValueError, match="'odd' is a SeparableConv2D"):
        flops.count(model, [(1, 8, 8, 3)])


def test_mask_prediction_counts_its_own_rows_and_classes_only():
    features = keras.Input((4, 4, 6), batch_size=3)
    rows, index = keras.Input((2,), batch_size=3), keras.Input((10,), batch_size=2)
    masks = MaskPrediction(7, name="masks")([features, rows, index])
    work = flops.count(keras.Model([features, rows, index], masks), [(3, 4, 4, 6), (3, 2), (2, 10)])
    assert work.forward == {"masks": 2 * (3 * 4 * 4) * 6}


class Coco(Config):
    NUM_CLASSES = 81


@pytest.fixture(scope="module")
def resnet101():
    return inference_model(Coco())


def shapes(model, batch, side):
    return [(batch, *(size or side for size in tensor.shape[1:])) for tensor in model.inputs]


def test_resnet101_at_1024_px(resnet101):
    found = flops.stages(
        flops.count(resnet101, shapes(resnet101, 1, 1024), box_rois=1000, mask_rois=100).forward
    )
    expected = {"backbone": 316, "FPN": 119, "RPN": 208, "box head": 29, "mask head": 103}
    assert {stage: value / 1e9 for stage, value in found.items()} == pytest.approx(
        expected, rel=0.02
    )
    assert sum(found.values()) / 1e9 == pytest.approx(774, rel=0.005)


def test_cost_follows_batch_and_masks(resnet101):
    one = flops.stages(
        flops.count(resnet101, shapes(resnet101, 1, 512), box_rois=1000, mask_rois=10).forward
    )
    two = flops.stages(
        flops.count(resnet101, shapes(resnet101, 2, 512), box_rois=2000, mask_rois=30).forward
    )
    for stage in ("backbone", "FPN", "RPN", "box head"):
        assert two[stage] == 2 * one[stage]
    assert two["mask head"] == 3 * one["mask head"]


def test_training_the_heads_alone_costs_no_backward_pass_of_the_backbone():
    class Tiny(Config):
        BACKBONE, BACKBONE_WIDTH, TOP_DOWN_PYRAMID_SIZE, RPN_CONV_CHANNELS = "resnet50", 8, 16, 32
        MASK_HEAD_CHANNELS, FPN_CLASSIF_FC_LAYERS_SIZE = 16, 32
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
        NUM_CLASSES = 2

    from mrcnn.training import STAGES
    from mrcnn.training.stages import set_trainable

    model = training_model(Tiny())
    for stage in ("all", "heads"):
        set_trainable(model, STAGES[stage])
        work = flops.count(model, shapes(model, 1, 64), mask_rois=5)
        forward, backward = flops.stages(work.forward), flops.stages(work.backward)
        for head in ("RPN", "box head", "mask head"):
            assert backward[head] == 2 * forward[head] > 0
        if stage == "heads":
            assert backward["backbone"] == 0
            laterals = (
                sum(work.forward[f"fpn_c{level}p{level}"] for level in (2, 3, 4))
                + work.forward["fpn_c5p5"]
            )
        else:
            assert backward["backbone"] == 2 * forward["backbone"] - work.forward["conv1"]
            laterals = 0
        assert backward["FPN"] == 2 * forward["FPN"] - laterals

"""ResNet: names, strides and one bottleneck in NumPy; a backbone of the user's own."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.config.segmentation import SegmentationConfig
from mrcnn.networks.backbones.build import backbone_graph
from mrcnn.networks.backbones.resnet import conv_block, identity_block, resnet_graph
from mrcnn.networks.segmentation.encoders import encoder
from tests.tiny import backbone, randomize, tiny_config


def convolve(x, kernel, bias, stride=1, pad=0):
    """[h, w, c] by kernel [k, k, c, d]; pad zeros on each side."""
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    size = kernel.shape[0]
    height, width = ((side - size) // stride + 1 for side in x.shape[:2])
    out = np.zeros((height, width, kernel.shape[3]))
    for row in range(height):
        for column in range(width):
            patch = x[row * stride : row * stride + size, column * stride : column * stride + size]
            out[row, column] = np.tensordot(patch, kernel, 3) + bias
    return out


def normalize(x, gamma, beta, mean, variance):
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta


def bottleneck(model, x, stride, shortcut, stride_in_3x3=False):
    """Block "a" of stage 3 from a model's weights, the stride on the first 1x1 convolution or on
    the 3x3 one.
    """
    outer, middle = (1, stride) if stride_in_3x3 else (stride, 1)

    def conv(branch, x, **options):
        return convolve(
            x, *(weight.numpy() for weight in model.get_layer(f"res3a_{branch}").weights), **options
        )

    def bn(branch, x):
        layer = model.get_layer(f"bn3a_{branch}")
        return normalize(x, *(weight.numpy() for weight in layer.weights))

    y = np.maximum(bn("branch2a", conv("branch2a", x, stride=outer)), 0)
    y = np.maximum(bn("branch2b", conv("branch2b", y, pad=1, stride=middle)), 0)
    y = bn("branch2c", conv("branch2c", y))
    return np.maximum(y + (bn("branch1", conv("branch1", x, stride=stride)) if shortcut else x), 0)


@pytest.mark.parametrize("kind", ["conv stride 2", "conv stride 1", "identity"])
def test_bottleneck_in_numpy(kind):
    image = keras.Input((None, None, 6))
    stride = 2 if kind == "conv stride 2" else 1
    if kind == "identity":
        out = identity_block(image, 3, [4, 5, 6], 3, "a", train_bn=False)
    else:
        out = conv_block(image, 3, [4, 5, 7], 3, "a", strides=(stride, stride), train_bn=False)
    model = keras.Model(image, out)
    randomize(model)
    x = np.random.RandomState(0).randn(2, 8, 10, 6)
    found = np.array(model(x.astype(np.float32), training=True))
    expected = np.stack([bottleneck(model, one, stride, kind != "identity") for one in x])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert (expected == 0).any() and (expected > 0.5).any()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 10), (7, 9), (1, 2)])
def test_bottleneck_with_its_stride_on_the_3x3_convolution(stride, size):
    image = keras.Input((None, None, 6))
    out = conv_block(
        image, 3, [4, 5, 7], 3, "a", (stride, stride), train_bn=False, stride_in_3x3=True
    )
    model = keras.Model(image, out)
    randomize(model)
    x = np.random.RandomState(0).randn(2, *size, 6)
    found = np.array(model(x.astype(np.float32), training=True))
    expected = np.stack([bottleneck(model, one, stride, True, stride_in_3x3=True) for one in x])
    assert found.shape == (2, *(-(-side // stride) for side in size), 7)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def pooled_in_numpy(x):
    """The greatest of 3x3 cells around every other cell of [h, w, c], from the first one on."""
    x = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    rows, columns = ((side - 1) // 2 for side in x.shape[:2])
    return np.array(
        [
            [x[2 * row : 2 * row + 3, 2 * col : 2 * col + 3].max((0, 1)) for col in range(columns)]
            for row in range(rows)
        ]
    )


@pytest.mark.parametrize("size", [(64, 96), (70, 65)])
def test_the_pooling_after_conv1_is_centred(size):
    image = keras.Input((None, None, 3))
    pooled = resnet_graph(image, "resnet50", width=4, stride_in_3x3=True)[0]
    model = keras.Model(image, pooled)
    randomize(model)
    before = next(layer for layer in model.layers if isinstance(layer, keras.layers.Activation))
    x = np.random.RandomState(0).normal(0, 50, (2, *size, 3)).astype(np.float32)
    activated = keras.Model(image, before.output)(x).numpy()
    for found, one in zip(model(x).numpy(), activated):
        np.testing.assert_array_equal(found, pooled_in_numpy(one))
    assert model(x).shape[1:3] == tuple(-(-side // 4) for side in size)


@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_names_and_weights_do_not_depend_on_where_the_stride_is(output_stride):
    image = keras.Input((None, None, 3))
    original, moved = (
        keras.Model(
            image,
            resnet_graph(image, "resnet50", True, False, 4, output_stride, stride_in_3x3)[1:],
        )
        for stride_in_3x3 in (False, True)
    )
    for one, other in zip(original.weights, moved.weights, strict=True):
        assert one.path == other.path and one.shape == other.shape
    strided = {
        layer.name
        for layer in moved.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.strides == (2, 2)
    }
    stages = {32: (3, 4, 5), 16: (3, 4), 8: (3,)}[output_stride]
    assert strided == {"conv1"} | {
        f"res{stage}a_{branch}" for stage in stages for branch in ("branch1", "branch2b")
    }
    for size in ((96, 160), (70, 65)):
        shapes = [stage.shape[1:3] for stage in moved(np.zeros((1, *size, 3), np.float32))]
        strides = [min(stride, output_stride) for stride in (4, 8, 16, 32)]
        assert shapes == [tuple(-(-side // stride) for side in size) for stride in strides]


def test_the_field_reaches_every_network():
    image = keras.Input((64, 64, 3))
    for value, name in ((False, "branch2a"), (True, "branch2b")):
        config = tiny_config(BACKBONE="resnet50", COMPUTE_BACKBONE_SHAPE=None, STRIDE_IN_3X3=value)
        model = keras.Model(image, backbone_graph(image, config))
        assert model.get_layer(f"res4a_{name}").strides == (2, 2)
    labels = type("Labels", (SegmentationConfig,), {"STRIDE_IN_3X3": True, "BACKBONE_WIDTH": 4})()
    labels.BACKBONE, labels.NETWORK, labels.OUTPUT_STRIDE = "resnet50", "deeplab", 16
    model = keras.Model(image, encoder(image, labels))
    assert model.get_layer("res4a_branch2b").strides == (2, 2)
    assert model.get_layer("res5a_branch2b").dilation_rate == (1, 1)
    assert model.get_layer("res5b_branch2b").dilation_rate == (2, 2)


@pytest.mark.parametrize("architecture, blocks", [("resnet50", 6), ("resnet101", 23)])
def test_stages_strides_and_names(architecture, blocks):
    image = keras.Input((128, 192, 3))
    stages = resnet_graph(image, architecture, stage5=True, train_bn=False, width=8)
    assert [stage.shape for stage in stages] == [
        (None, 32, 48, 8),
        (None, 32, 48, 32),
        (None, 16, 24, 64),
        (None, 8, 12, 128),
        (None, 4, 6, 256),
    ]
    model = keras.Model(image, stages)
    assert [stage._keras_history.operation.name for stage in stages[1:]] == [
        "res2c_out",
        "res3d_out",
        f"res4{chr(ord('a') + blocks - 1)}_out",
        "res5c_out",
    ]

    strided = {
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.strides == (2, 2)
    }
    assert strided == {"conv1"} | {
        f"res{stage}a_{branch}" for stage in (3, 4, 5) for branch in ("branch1", "branch2a")
    }
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert all(layer.use_bias for layer in convolutions)
    assert len(convolutions) == 1 + 4 + 3 * (3 + 4 + blocks + 3)
    assert model.get_layer("conv1").padding == "valid" and model.get_layer("conv1").kernel_size == (
        7,
        7,
    )
    pool = next(layer for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D))
    assert (pool.pool_size, pool.strides, pool.padding) == ((3, 3), (2, 2), "same")
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == len(convolutions)
    assert {(layer.epsilon, layer.momentum, layer.train_bn) for layer in norms} == {
        (1e-3, 0.99, False)
    }


# === ResNeXt ===


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 10), (7, 9)])
def test_bottleneck_in_groups(stride, size):
    """As a bottleneck whose 3x3 kernel has zeros between the groups."""
    image = keras.Input((None, None, 6))
    out = conv_block(
        image, 3, [8, 8, 7], 3, "a", (stride, stride), False, False, stride_in_3x3=True, groups=4
    )
    model = keras.Model(image, out)
    randomize(model)
    layer = model.get_layer("res3a_branch2b")
    kernel = layer.kernel.numpy()
    assert kernel.shape == (3, 3, 2, 8)
    dense = np.zeros((3, 3, 8, 8))
    for group in range(4):
        part = slice(2 * group, 2 * group + 2)
        dense[:, :, part, part] = kernel[..., part]

    class Weights:
        """The model's own, the kernel as a dense one, and biases of 0."""

        @staticmethod
        def get_layer(name):
            own = model.get_layer(name)
            if name.startswith("bn"):
                return own
            kernel = tf.constant(dense if own is layer else own.kernel.numpy())
            return types.SimpleNamespace(weights=[kernel, tf.zeros(kernel.shape[-1])])

    x = np.random.RandomState(0).randn(2, *size, 6)
    found = np.array(model(x.astype(np.float32), training=True))
    expected = np.stack([bottleneck(Weights, one, stride, True, stride_in_3x3=True) for one in x])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "groups, width_of_group, inner",
    [
        (32, 4, (128, 256, 512, 1024)),
        (64, 4, (256, 512, 1024, 2048)),
        (1, 128, (128, 256, 512, 1024)),
    ],
)
def test_sizes_of_resnext(groups, width_of_group, inner):
    """Xie et al. 2017, table 1; 64x4d; and a wide ResNet of one group."""
    image = keras.Input((64, 64, 3))
    options = {"groups": groups, "width_of_group": width_of_group}
    stages = resnet_graph(image, "resnext50", True, False, **options)
    model = keras.Model(image, stages)
    assert [stage.shape[-1] for stage in stages] == [64, 256, 512, 1024, 2048]
    for stage, width in zip((2, 3, 4, 5), inner):
        for block in "abc":
            layer = model.get_layer(f"res{stage}{block}_branch2b")
            assert layer.kernel.shape == (3, 3, width // groups, width) and layer.use_bias
        assert model.get_layer(f"res{stage}a_branch2a").filters == width
        # the stride is on the 3x3 convolution, as in its paper
        assert model.get_layer(f"res{stage}a_branch2b").strides == (
            (1, 1) if stage == 2 else (2, 2)
        )
    plain = keras.Model(image, resnet_graph(image, "resnet50", True, False))
    names = [layer.name for layer in plain.layers if layer.weights]
    assert sorted(layer.name for layer in model.layers if layer.weights) == sorted(names)
    # 32x4d is of as many weights as its ResNet (table 1: 25.0 and 25.5 million with a classifier)
    if groups == 32:
        assert abs(model.count_params() / plain.count_params() - 1) < 0.03


@pytest.mark.parametrize("architecture", ["resnext50", "resnext101", "resnet152"])
def test_other_depths(architecture):
    image = keras.Input((None, None, 3))
    stages = resnet_graph(image, architecture, stage5=True, train_bn=False, width=4)
    model = keras.Model(image, stages)
    ends = [stage._keras_history.operation.name for stage in stages[1:]]
    assert (
        ends
        == {
            "resnext50": ["res2c_out", "res3d_out", "res4f_out", "res5c_out"],
            "resnext101": ["res2c_out", "res3d_out", "res4w_out", "res5c_out"],
            # the original's letters end with stage 4 of ResNet-101
            "resnet152": ["res2c_out", "res3h_out", "res4aj_out", "res5c_out"],
        }[architecture]
    )
    randomize(model)
    shapes = [stage.shape for stage in model(np.zeros((2, 70, 65, 3), np.float32))]
    assert [shape[1:3] for shape in shapes] == [(18, 17), (18, 17), (9, 9), (5, 5), (3, 3)]
    assert len({weight.path for weight in model.weights}) == len(model.weights)


def test_fields_of_resnext_reach_the_network():
    image = keras.Input((64, 64, 3))
    config = tiny_config(BACKBONE="resnext50", RESNEXT_GROUPS=8, RESNEXT_WIDTH=32)
    model = keras.Model(image, backbone_graph(image, config))
    # BACKBONE_WIDTH 8: groups of 32 * 8 / 64 channels
    assert model.get_layer("res2a_branch2b").kernel.shape == (3, 3, 4, 32)
    assert model.get_layer("res5c_branch2b").kernel.shape == (3, 3, 32, 256)
    labels = type("Labels", (SegmentationConfig,), {"BACKBONE_WIDTH": 4})()
    labels.BACKBONE, labels.NETWORK, labels.OUTPUT_STRIDE = "resnext101", "deeplab", 16
    labels.validate()
    model = keras.Model(image, encoder(image, labels))
    assert model.get_layer("res4w_branch2b").groups == 32
    assert model.get_layer("res5b_branch2b").dilation_rate == (2, 2)
    found = model(np.random.RandomState(0).normal(size=(1, 64, 64, 3)).astype(np.float32))
    assert [stage.shape[1] for stage in found] == [16, 8, 4, 4]


def test_width_scales_every_stage():
    image = keras.Input((64, 64, 3))
    assert [
        stage.shape[-1] for stage in resnet_graph(image, "resnet50", stage5=True, width=16)
    ] == [16, 64, 128, 256, 512]


# === Dilation ===


def test_a_dilated_convolution_is_one_with_zeros_between_its_weights():
    x = np.random.RandomState(0).normal(size=(1, 9, 8, 2)).astype(np.float32)
    image = keras.Input((None, None, 2))
    block = keras.Model(image, identity_block(image, 3, [2, 3, 2], 4, "b", dilation=2))
    dilated = block.get_layer("res4b_branch2b")
    kernel, bias = (weight.numpy() for weight in dilated.weights)
    apart = np.zeros((5, 5, 2, 3))
    apart[::2, ::2] = kernel
    np.testing.assert_allclose(dilated(x)[0], convolve(x[0], apart, bias, pad=2), atol=1e-5)


@pytest.mark.parametrize(
    "architecture, stride_in_3x3", [("resnet50", False), ("resnet50", True), ("resnext50", True)]
)
@pytest.mark.parametrize("stride, dilations", [(16, (1, 2)), (8, (2, 4))])
def test_a_dilated_network_has_the_values_of_the_strided_one(
    stride, dilations, architecture, stride_in_3x3
):
    """At the places that the strides keep, and with the same names and weights."""
    image = keras.Input((None, None, 3))
    strided, dilated = (
        keras.Model(image, resnet_graph(image, architecture, True, False, 4, stride, stride_in_3x3))
        for stride in (32, stride)
    )
    assert [weight.path for weight in dilated.weights] == [
        weight.path for weight in strided.weights
    ]
    randomize(strided)
    dilated.set_weights(strided.get_weights())
    for stage, dilation in zip((4, 5), dilations):
        # a convolution that had the stride sees the cells of the stage before
        for block in "bc" if stride_in_3x3 else "abc":
            layer = dilated.get_layer(f"res{stage}{block}_branch2b")
            assert layer.dilation_rate == (dilation, dilation)
    x = np.random.RandomState(0).normal(0, 50, (2, 64, 96, 3)).astype(np.float32)
    for sparse, dense, before in zip(strided(x), dilated(x), (4, 4, 8, 16, 32)):
        after = min(before, stride)
        assert dense.shape[1:3] == (64 // after, 96 // after)
        step = before // after
        np.testing.assert_allclose(dense[:, ::step, ::step], sparse, rtol=1e-4, atol=1e-4)


def test_output_strides_that_do_not_exist():
    with pytest.raises(ValueError, match="output_stride is 4; it must be 8, 16 or 32"):
        resnet_graph(keras.Input((64, 64, 3)), "resnet50", output_stride=4)
    with pytest.raises(ValueError, match="'MobileNetV2' has the stride 32.* of 8 needs .*resnet50"):
        backbone_graph(keras.Input((64, 64, 3)), tiny_config(BACKBONE="MobileNetV2"), 8)


def test_stage5_is_left_out_on_request():
    assert resnet_graph(keras.Input((64, 64, 3)), "resnet50", width=8)[4] is None


def test_unknown_architecture():
    with pytest.raises(ValueError, match="resnet34.*resnet101.*resnet50"):
        resnet_graph(keras.Input((64, 64, 3)), "resnet34")


def test_callable_backbone_gets_the_original_arguments():
    calls = []

    def spy(*args, **options):
        calls.append((args, options))
        return backbone(*args, **options)

    image = keras.Input((64, 128, 3))
    stages = backbone_graph(image, tiny_config(BACKBONE=staticmethod(spy), TRAIN_BN=None))
    assert calls == [((image,), {"stage5": True, "train_bn": None})]
    assert [stage.shape[1:3] for stage in stages] == [(16, 32), (8, 16), (4, 8), (2, 4)]


def test_grey_and_many_channels():
    config = tiny_config(BACKBONE="resnet50", IMAGE_CHANNEL_COUNT=5, MEAN_PIXEL=np.zeros(5))
    stages = backbone_graph(keras.Input((64, 64, 5)), config)
    assert stages[-1].shape == (None, 2, 2, 256)

"""What every network keeps: sizes, names, training, precision, files."""

import keras
import numpy as np
import pytest

from mrcnn.config.choices import SEGMENTATION_NETWORKS
from mrcnn.config.network_sides import (
    input_side,
    output_side,
    stride_of,
    valid_input_side,
    valid_margin,
)
from mrcnn.config.segmentation import output_channels
from mrcnn.networks.segmentation.build import GRAPHS, segmentation_network
from tests.networks.segmentation.tiny import config_of, gradients, images, train

VALID = {"UNET_PADDING": "valid", "UNET_WIDTHS": (4, 4, 6)}
RESNET = {"BACKBONE": "resnet50"}
# Each network, and each of the kinds that it can have.
KINDS = {
    **{name: (name, {}) for name in SEGMENTATION_NETWORKS},
    "unet-valid": ("unet", VALID),
    "unet-fixed": ("unet", {"LEARN_UPSAMPLING": False}),
    "unet-nails": ("unet", {"UPSAMPLING": "bed_of_nails", "BATCH_NORM": False, "DROPOUT": 0.3}),
    "fcn8s-scales": ("fcn8s", {"SKIP_SCALES": (0.5, 0.25), "UPSAMPLING": "bilinear"}),
    "fcn32s-binary": ("fcn32s", {"NUM_CLASSES": 2}),
    "pspnet-binary": ("pspnet", {"NUM_CLASSES": 2, "UPSAMPLING": "transposed"}),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def kind_of(kind, **fields):
    network, own = KINDS[kind]
    return config_of(network, **own, **fields)


def test_every_network_of_the_config_is_built():
    assert tuple(GRAPHS) == SEGMENTATION_NETWORKS


@EVERY_KIND
def test_sizes_and_names(kind):
    config = kind_of(kind)
    model = segmentation_network(config)
    assert model.inputs[0].name == "input_image" and model.output_names == ["logits"]
    assert model.inputs[0].shape == (None, None, None, 1)
    assert model.output.shape == (None, None, None, output_channels(config))
    assert model.output.dtype == "float32"
    for batch, height, width in ((1, 1, 1), (2, 37, 70), (3, 96, 33)):
        sides = input_side(config, height), input_side(config, width)
        logits = model(images(config, batch, *sides))
        expected = (batch, *(output_side(config, side) for side in sides), output_channels(config))
        assert logits.shape == expected and np.isfinite(logits).all()
        assert logits.shape[1] >= height and logits.shape[2] >= width
    for layer in model.layers:
        if layer.weights:
            assert layer.name.startswith(("seg_", "enc"))


@EVERY_KIND
def test_a_step_has_finite_gradients_for_every_weight_and_the_loss_falls(kind):
    config = kind_of(kind)
    model, steps = train(config, 4, input_side(config, 33))
    for _, found in steps:
        assert set(found) == {variable.path for variable in model.trainable_variables}
        assert all(np.isfinite(gradient).all() for gradient in found.values())
    # scores start at 0, so that nothing before them learns in the first step
    assert all(np.any(gradient) for gradient in steps[-1][1].values())
    assert steps[-1][0] < steps[0][0]


@EVERY_KIND
def test_a_file_of_keras_gives_the_same_network(kind, tmp_path):
    config = kind_of(kind)
    model = segmentation_network(config)
    model.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    x = images(config, 2, *[input_side(config, 40)] * 2)
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)
    assert [weight.path for weight in again.weights] == [weight.path for weight in model.weights]


@pytest.mark.parametrize(
    "network, policy",
    [
        *((network, "mixed_bfloat16") for network in SEGMENTATION_NETWORKS),
        # whose convolutions take long on a CPU
        ("unet", "mixed_float16"),
        ("segnet", "mixed_float16"),
    ],
)
def test_half_precision(network, policy):
    config = config_of(network, DTYPE_POLICY=policy)
    model = segmentation_network(config)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    half = [layer for layer in model.layers if layer.name.endswith("_relu")]
    assert {layer.compute_dtype for layer in half} == {policy[len("mixed_") :]}
    assert model.output.dtype == "float32"
    x = images(config, 2, 32, 32)
    exact = segmentation_network(config_of(network))
    exact.set_weights(model.get_weights())
    assert exact.get_layer(half[0].name).compute_dtype == "float32"
    expected = exact(x).numpy()
    # rounding moves some of SegNet's maxima to other places
    error = np.quantile(np.abs(model(x) - expected), 0.5 if network == "segnet" else 1)
    assert error <= 0.05 * np.abs(expected).max() + 1e-6
    _, found = gradients(model, x, (x[..., 0] > 0).astype(np.int32))
    assert all(np.isfinite(gradient).all() for gradient in found.values())


@pytest.mark.parametrize(
    "network, fields, stride",
    [
        ("plain", {}, 1),
        ("segnet", {}, 1),
        ("unet", {}, 8),
        ("unet", {"UNET_WIDTHS": (4, 4)}, 2),
        ("unet", RESNET, 32),
        ("fcn8s", {}, 32),
        ("pspnet", {**RESNET, "OUTPUT_STRIDE": 8}, 8),
        ("deeplab", {**RESNET, "OUTPUT_STRIDE": 16}, 16),
    ],
)
def test_strides(network, fields, stride):
    config = config_of(network, **fields)
    assert stride_of(config) == stride
    assert input_side(config, 1) == stride and input_side(config, stride) == stride
    assert input_side(config, stride + 1) == 2 * stride == output_side(config, 2 * stride)


def test_sides_of_a_unet_without_padding():
    """The paper's 572 become 388."""
    assert valid_margin(5) == 92
    config = config_of("unet", UNET_PADDING="valid", UNET_WIDTHS=(2,) * 5)
    assert output_side(config, 572) == 388 and input_side(config, 388) == 572
    assert input_side(config, 389) == 588 and input_side(config, 1) == 188
    for levels in (2, 3, 4):
        small = config_of("unet", UNET_PADDING="valid", UNET_WIDTHS=(2,) * levels)
        model = segmentation_network(small)
        for side in (1, 2, 9, 20):
            taken = valid_input_side(side, levels)
            shape = model(images(small, 1, taken, taken)).shape[1]
            assert shape == output_side(small, taken) and side <= shape < side + 2 ** (levels - 1)
            lost = taken - 2 ** (levels - 1)
            assert output_side(small, lost) < side
    assert segmentation_network(config).compute_output_shape((1, 572, 588, 1)) == (1, 388, 404, 3)


def test_the_output_without_padding_is_the_middle_of_that_with_it():
    """With two levels, whose poolings then meet the same pixels."""
    same, valid = (
        config_of("unet", UNET_PADDING=padding, UNET_WIDTHS=(4, 6)) for padding in ("same", "valid")
    )
    models = [segmentation_network(config) for config in (same, valid)]
    models[1].set_weights(models[0].get_weights())
    x = images(same, 1, 28, 32)
    whole, middle = (model(x).numpy() for model in models)
    assert middle.shape == (1, 12, 16, 3) and valid_margin(2) == 8
    np.testing.assert_allclose(middle, whole[:, 8:-8, 8:-8], atol=1e-5)


def test_tiles_of_a_unet_without_padding_fit_together():
    config = config_of("unet", UNET_PADDING="valid")
    model = segmentation_network(config)
    crops = [layer.cropping[0][0] for layer in model.layers if "seg_crop" in layer.name]
    assert crops == [4, 16, 40]
    side, step = input_side(config, 8), stride_of(config)
    x = images(config, 1, side + step, side + step)
    whole = model(x).numpy()
    np.testing.assert_allclose(model(x[:, step:, :side]), whole[:, step:, :-step], atol=1e-5)


# === Backbones ===


@pytest.mark.parametrize("network, stride", [("pspnet", 8), ("deeplab", 16)])
def test_output_stride(network, stride):
    config = config_of(network, **RESNET, OUTPUT_STRIDE=stride)
    model = segmentation_network(config)
    last = keras.Model(model.input, model.get_layer("res5c_out").output)
    assert last(images(config, 1, 64, 96)).shape[1:3] == (64 // stride, 96 // stride)
    assert model(images(config, 1, 64 + stride, 96)).shape == (1, 64 + stride, 96, 3)


@pytest.mark.parametrize("network", ["fcn8s", "unet", "deeplab"])
def test_a_backbone_keeps_its_names(network):
    """So that ImageNet's and Mask R-CNN's weights load by name."""
    from mrcnn.networks.backbones.resnet import resnet_graph

    config = config_of(network, **RESNET)
    model = segmentation_network(config)
    image = keras.Input((64, 64, 1))
    alone = keras.Model(image, resnet_graph(image, "resnet50", True, False, 4)[-1])
    own = {layer.name: [weight.shape for weight in layer.weights] for layer in model.layers}
    for layer in alone.layers:
        if layer.weights:
            assert own.pop(layer.name) == [weight.shape for weight in layer.weights]
    assert all(name.startswith("seg_") for name, shapes in own.items() if shapes)
    assert model(images(config, 2, 64, 32)).shape == (2, 64, 32, 3)
    # TRAIN_BN is for the backbone, what is new normalises as it learns
    norms = [layer for layer in model.layers if hasattr(layer, "train_bn")]
    assert {layer.train_bn for layer in norms if layer.name.startswith("bn")} == {False}
    assert {layer.train_bn for layer in norms if layer.name.startswith("seg_")} == {None}


@pytest.mark.parametrize("network", ["fcn16s", "unet", "deeplab"])
@pytest.mark.parametrize("backbone", ["VGG16", "function"])
def test_other_backbones(network, backbone):
    from tests.networks.segmentation.tiny import BACKBONE

    chosen = BACKBONE if backbone == "function" else backbone
    config = config_of(
        network, BACKBONE=chosen, IMAGE_CHANNEL_COUNT=3, MEAN_PIXEL=np.zeros(3), FC_CHANNELS=8
    )
    model = segmentation_network(config)
    assert model.compute_output_shape((2, 64, 96, 3)) == (2, 64, 96, 3)
    if backbone == "function":
        assert model(images(config, 2, 64, 96)).shape == (2, 64, 96, 3)


def test_running_statistics_follow_by_the_momentum():
    config = config_of("plain", BATCH_NORM_MOMENTUM=0.6)
    model = segmentation_network(config)
    shape = (2, 8, 8, model.inputs[0].shape[-1])
    batch = np.random.RandomState(0).normal(0, 40, shape).astype(np.float32)
    layer = next(layer for layer in model.layers if layer.name.endswith("_bn"))
    before = keras.Model(model.inputs[0], layer.input)(batch).numpy()
    model(batch, training=True)
    expected = 0.4 * before.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean.numpy(), expected, rtol=1e-4, atol=1e-6)

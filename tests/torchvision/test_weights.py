"""torchvision's state dicts as layers and back, by formulas in NumPy."""

import re

import numpy as np
import pytest

from mrcnn.common.words import naming_options
from mrcnn.config import Config
from mrcnn.config.presets import TorchvisionV1Config, TorchvisionV2Config
from mrcnn.weights.h5_format import write_h5
from mrcnn.weights.read import read_weights
from mrcnn.weights.torch_writer import write_torch
from mrcnn.weights.torchvision import read_torchvision
from mrcnn.weights.torchvision_writer import torchvision_builder, torchvision_state_dict
from tests.torchvision.random_model import VERSIONS, state_dict

NARROW = 16
PRESETS = {"v1": TorchvisionV1Config, "v2": TorchvisionV2Config}


def resnet_of(tensors):
    """A file of the ResNet alone, from the tensors of a Mask R-CNN."""
    return {
        name.removeprefix("backbone.body."): value
        for name, value in tensors.items()
        if name.startswith("backbone.body.")
    }


def small(version, frozen=None, seed=0, classes=5):
    """A model a sixteenth as wide, with statistics of batch norms that change something."""
    tensors = state_dict(version, {}, frozen, seed, classes, NARROW)
    rng = np.random.RandomState(seed)
    for name, value in tensors.items():
        if name.endswith("running_mean"):
            value += rng.randn(*value.shape).astype(np.float32)
        elif name.endswith("running_var"):
            # small ones too, of which the epsilon is a part
            value *= np.exp(rng.uniform(-12, 1, value.shape)).astype(np.float32)
    return tensors


def moderate(version, frozen=None, classes=5):
    """The same with statistics by which a network computes moderate numbers."""
    return state_dict(version, {}, frozen, 0, classes, NARROW)


def written(tmp_path, tensors, name="weights.pth"):
    write_torch(tmp_path / name, tensors)
    return tmp_path / name


def layers_of(tmp_path, tensors, epsilon=None):
    """{layer: [arrays]} of a state dict."""
    found = read_torchvision(written(tmp_path, tensors), epsilon)
    return {name: [value for _, value in weights] for name, weights in found.layers.items()}


def their_norm(tensors, name, x, epsilon=1e-5):
    """torchvision's batch norm of [..., channels]."""
    gamma, beta, mean, variance = (
        tensors[f"{name}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def our_norm(layers, name, x):
    """Keras' batch norm."""
    gamma, beta, mean, variance = (value.astype(np.float64) for value in layers[name])
    return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta


def patches(shape, seed=3):
    """float64 of a shape, 7 of them."""
    return np.random.RandomState(seed).randn(7, *shape)


def their_conv(tensors, name, x):
    """A convolution of patches [n, h, w, in] as large as its kernel: [n, out]."""
    y = np.einsum("nhwi,oihw->no", x, tensors[f"{name}.weight"].astype(np.float64))
    return y + tensors.get(f"{name}.bias", np.float32(0)).astype(np.float64)


def our_conv(layers, name, x):
    kernel, bias = (value.astype(np.float64) for value in layers[name][:2])
    return np.einsum("nhwi,hwio->no", x, kernel) + bias


def assert_close(found, expected):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


# === Layers ===


def test_first_convolution_takes_the_normalisation(tmp_path):
    tensors = small("v2")
    layers = layers_of(tmp_path, tensors)
    pixels = np.random.RandomState(0).uniform(0, 255, (7, 7, 7, 3))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    body = "backbone.body"
    theirs = their_conv(tensors, f"{body}.conv1", (pixels / 255 - mean) / std)
    ours = our_conv(layers, "conv1", pixels - TorchvisionV2Config.MEAN_PIXEL)
    assert_close(ours, theirs)
    expected = their_norm(tensors, f"{body}.bn1", theirs)
    assert_close(our_norm(layers, "bn_conv1", ours), expected)


@pytest.mark.parametrize("version, frozen, epsilon", [("v1", True, 0), ("v1", False, 1e-5)])
@pytest.mark.parametrize(
    "theirs, ours, shape",
    [
        ("layer1.0.conv1 layer1.0.bn1", "res2a_branch2a bn2a_branch2a", (1, 1, 4)),
        ("layer1.2.conv2 layer1.2.bn2", "res2c_branch2b bn2c_branch2b", (3, 3, 4)),
        ("layer2.3.conv3 layer2.3.bn3", "res3d_branch2c bn3d_branch2c", (1, 1, 8)),
        ("layer3.5.conv1 layer3.5.bn1", "res4f_branch2a bn4f_branch2a", (1, 1, 64)),
        ("layer4.0.downsample.0 layer4.0.downsample.1", "res5a_branch1 bn5a_branch1", (1, 1, 64)),
    ],
)
def test_a_convolution_and_its_batch_norm(tmp_path, version, frozen, epsilon, theirs, ours, shape):
    tensors = small(version, frozen)
    layers = layers_of(tmp_path, tensors)
    x = patches(shape)
    conv, norm = (f"backbone.body.{name}" for name in theirs.split())
    expected = their_norm(tensors, norm, their_conv(tensors, conv, x), epsilon)
    our_names = ours.split()
    assert_close(our_norm(layers, our_names[1], our_conv(layers, our_names[0], x)), expected)


def test_epsilon_as_asked_for(tmp_path):
    tensors = small("v1", frozen=True)
    gammas = [layers_of(tmp_path, tensors, epsilon)["bn_conv1"][0] for epsilon in (None, 0, 1e-5)]
    np.testing.assert_array_equal(gammas[0], gammas[1])
    assert np.abs(gammas[2] / gammas[1] - 1).max() > 1e-3


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("level", [2, 5])
def test_pyramid(tmp_path, version, level):
    tensors = small(version)
    layers = layers_of(tmp_path, tensors)
    for block, ours, shape in (
        ("inner", "fpn_c5p5" if level == 5 else "fpn_c2p2", (1, 1, 16 * 2 ** (level - 2))),
        ("layer", f"fpn_p{level}", (3, 3, 16)),
    ):
        x, name = patches(shape), f"backbone.fpn.{block}_blocks.{level - 2}"
        expected = their_conv(tensors, f"{name}.0", x)
        if version == "v2":
            expected = their_norm(tensors, f"{name}.1", expected)
        assert_close(our_conv(layers, ours, x), expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_first_stage(tmp_path, version):
    tensors = small(version)
    weights = dict(read_torchvision(written(tmp_path, tensors)).layers["rpn_model"])
    names = ["rpn_conv_shared", "rpn_conv_shared2"][: 1 if version == "v1" else 2]
    expected = [f"{name}/{part}:0" for name in [*names, "rpn_class_raw", "rpn_bbox_pred"]
                for part in ("kernel", "bias")]  # fmt: skip
    assert list(weights) == expected
    layers = {name: [weights[f"{name}/kernel:0"], weights[f"{name}/bias:0"]]
              for name in [*names, "rpn_class_raw", "rpn_bbox_pred"]}  # fmt: skip
    for number, name in enumerate(names):
        x = patches((3, 3, 16))
        theirs = their_conv(tensors, f"rpn.head.conv.{number}.0", x)
        assert_close(our_conv(layers, name, x), theirs)
    x = patches((1, 1, 16))
    logits = our_conv(layers, "rpn_class_raw", x).reshape(7, 3, 2)
    objects = np.exp(logits[..., 1]) / np.exp(logits).sum(-1)
    theirs = their_conv(tensors, "rpn.head.cls_logits", x)
    assert_close(objects, 1 / (1 + np.exp(-theirs)))
    dy, dx, dh, dw = our_conv(layers, "rpn_bbox_pred", x).reshape(7, 3, 4).transpose(2, 0, 1)
    theirs = their_conv(tensors, "rpn.head.bbox_pred", x).reshape(7, 3, 4)
    assert_close(np.stack([dx, dy, dw, dh], -1), theirs)


@pytest.mark.parametrize("version", VERSIONS)
def test_box_head(tmp_path, version):
    tensors = small(version)
    layers = layers_of(tmp_path, tensors)
    if version == "v2":
        for number in (0, 3):
            x, name = patches((3, 3, 16)), f"roi_heads.box_head.{number}"
            expected = their_norm(tensors, f"{name}.1", their_conv(tensors, f"{name}.0", x))
            ours = our_conv(layers, f"mrcnn_box_conv{number + 1}", x)
            assert_close(our_norm(layers, f"mrcnn_box_bn{number + 1}", ours), expected)
    theirs = x = patches((7, 7, 16))
    ours, theirs = x, x.transpose(0, 3, 1, 2).reshape(7, -1)  # flattened as channels, rows, columns
    for number, name in enumerate(("fc6", "fc7") if version == "v1" else ("5",), 1):
        weight = tensors[f"roi_heads.box_head.{name}.weight"].astype(np.float64)
        theirs = np.maximum(theirs @ weight.T + tensors[f"roi_heads.box_head.{name}.bias"], 0)
        ours = our_conv(layers, f"mrcnn_class_conv{number}", ours)
        ours = np.maximum(our_norm(layers, f"mrcnn_class_bn{number}", ours), 0)
        assert_close(ours, theirs)
        ours = ours[:, np.newaxis, np.newaxis]
    assert f"mrcnn_class_conv{number + 1}" not in layers
    x = ours[:, 0, 0]
    for name, our_name in (("cls_score", "mrcnn_class_logits"), ("bbox_pred", "mrcnn_bbox_fc")):
        name = f"roi_heads.box_predictor.{name}"
        theirs = x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]
        found = x @ layers[our_name][0] + layers[our_name][1]
        if our_name == "mrcnn_bbox_fc":
            found = found.reshape(7, 5, 4)[..., [1, 0, 3, 2]]
            theirs = theirs.reshape(7, 5, 4)
        assert_close(found, theirs)


@pytest.mark.parametrize("version", VERSIONS)
def test_mask_head(tmp_path, version):
    tensors = small(version)
    layers = layers_of(tmp_path, tensors)
    for number in range(4):
        x, name = patches((3, 3, 16)), f"roi_heads.mask_head.{number}"
        expected = their_conv(tensors, f"{name}.0", x)
        if version == "v2":
            expected = their_norm(tensors, f"{name}.1", expected)
        ours = our_conv(layers, f"mrcnn_mask_conv{number + 1}", x)
        assert_close(our_norm(layers, f"mrcnn_mask_bn{number + 1}", ours), expected)
    # of each cell four, one for each place of the kernel
    x, name = patches((16,)), "roi_heads.mask_predictor.conv5_mask"
    theirs = np.einsum("ni,ioab->nabo", x, tensors[f"{name}.weight"]) + tensors[f"{name}.bias"]
    kernel, bias = layers["mrcnn_mask_deconv"]  # Keras' is [h, w, out, in]
    assert_close(np.einsum("ni,aboi->nabo", x, kernel) + bias, theirs)
    x = patches((1, 1, 16))
    theirs = their_conv(tensors, "roi_heads.mask_predictor.mask_fcn_logits", x)
    assert_close(our_conv(layers, "mrcnn_mask", x), theirs)


# === Settings ===


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("classes", [91, 5])
def test_fields_are_the_presets_and_what_the_tensors_tell(tmp_path, version, classes):
    found = read_weights(written(tmp_path, small(version, classes=classes)))
    config = Config.from_dict(found.fields)
    preset = PRESETS[version]()
    told = {
        **{"NUM_CLASSES": classes, "BACKBONE_WIDTH": 4, "TOP_DOWN_PYRAMID_SIZE": 16},
        **{"RPN_CONV_CHANNELS": 16, "FPN_CLASSIF_FC_LAYERS_SIZE": 64, "MASK_HEAD_CHANNELS": 16},
        "BOX_HEAD_CHANNELS": 16 if version == "v2" else 256,
    }
    for field in Config.field_defaults():
        expected = told.get(field, getattr(preset, field))
        if field == "CLASS_NAMES" and classes != 91:
            expected = None
        if field != "NAME":
            np.testing.assert_array_equal(getattr(config, field), expected, err_msg=field)
    assert f"{version} with {classes} classes" in found.remarks[0]


def test_names_of_the_91_classes_tell_them_apart():
    names = TorchvisionV1Config.CLASS_NAMES
    assert len(set(names)) == len(names) == 91
    assert (names[1], names[12], names[13], names[90]) == (
        *("person", "N/A 12", "stop sign"),
        "toothbrush",
    )


# === Other files ===


def old_names(tensors):
    """v1 as torchvision wrote it before 0.13."""
    renamed = {}
    for name, value in tensors.items():
        name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        if "fpn" in name:
            name = name.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        for number in range(4):
            name = name.replace(f"mask_head.{number}.0.", f"mask_head.mask_fcn{number + 1}.")
        renamed[name] = value
    return renamed


def assert_equal_layers(found, expected):
    assert list(found) == list(expected)
    for name, values in expected.items():
        for value, other in zip(values, found[name], strict=True):
            np.testing.assert_array_equal(value, other, err_msg=name)


def test_older_names_and_prefixes(tmp_path):
    tensors = small("v1")
    expected = layers_of(tmp_path, tensors)
    renamed = old_names(tensors)
    assert len(set(renamed) - set(tensors)) == 2 * (8 + 1 + 4)
    assert_equal_layers(layers_of(tmp_path, renamed), expected)
    parallel = {f"module.{name}": value for name, value in tensors.items()}
    assert_equal_layers(layers_of(tmp_path, parallel), expected)


@pytest.mark.parametrize("with_head", [True, False])
def test_resnet_of_imagenet(tmp_path, with_head):
    tensors = small("v2")
    body = resnet_of(tensors)
    expected = layers_of(tmp_path, tensors)
    if with_head:
        body |= {"fc.weight": np.zeros((10, 128), np.float32), "fc.bias": np.zeros(10, np.float32)}
    found = read_weights(written(tmp_path, body))
    backbone = {name: found.layers[name] for name in expected if name in found.layers}
    assert len(backbone) == 2 * 53
    for name, weights in backbone.items():
        for (_, value), other in zip(weights, expected[name], strict=True):
            np.testing.assert_array_equal(value, other)
    assert [name for name in found.layers if name not in expected] == (
        ["fc.weight", "fc.bias"] if with_head else []
    )
    assert found.fields["STRIDE_IN_3X3"] and found.fields["BACKBONE"] == "resnet50"
    assert set(found.fields) == {"STRIDE_IN_3X3", "BACKBONE", "BACKBONE_WIDTH", "MEAN_PIXEL"}


def without(tensors, *parts):
    return {
        name: value for name, value in tensors.items() if not any(part in name for part in parts)
    }


def with_shape(tensors, name, shape):
    return {**tensors, name: np.zeros(shape, np.float32)}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: without(t, "mask_"), "it holds a Faster R-CNN"),
        (
            lambda t: with_shape(without(t, "mask_"), "roi_heads.keypoint_predictor.a", (1,)),
            "it holds a Keypoint R-CNN",
        ),
        (lambda t: {"classifier.0.convs.0.0.weight": t["rpn.head.cls_logits.weight"]}, "DeepLabV3"),
        (lambda t: {"classifier.4.weight": t["rpn.head.cls_logits.weight"]}, "holds a FCN"),
        (lambda t: {"backbone.bottom_up.a": np.zeros(1)}, "Detectron2"),
        (lambda t: {"a": np.zeros(1)}, r"tensors of an unknown network \(a\)"),
        (lambda t: without(t, "cls_logits"), "it lacks rpn.head.cls_logits.weight"),
        (lambda t: without(t, "layer3.5.", "layer3.4."), r"stages of \[3, 4, 4, 3\] blocks"),
        (lambda t: without(t, ".conv3."), "no ResNet of bottlenecks"),
        (lambda t: without(t, "mask_head.3"), "its mask head has 3 convolutions"),
        (
            lambda t: with_shape(t, "backbone.body.conv1.weight", (4, 4, 7, 7)),
            "for images of 4 channels",
        ),
        (
            lambda t: with_shape(t, "roi_heads.box_predictor.bbox_pred.bias", (4,)),
            "bbox_pred is of 4 numbers, and cls_score of 5 classes",
        ),
        (lambda t: with_shape(t, "rpn.head.bbox_pred.bias", (3, 4)), "expected were 1 axes"),
        (
            lambda t: with_shape(t, "roi_heads.box_head.fc6.weight", (64, 99)),
            "fc6.weight is of 99 inputs",
        ),
        (
            lambda t: (
                with_shape(t, "rpn.head.bbox_pred.weight", (16, 16, 1, 1))
                | {"rpn.head.bbox_pred.bias": np.zeros(16, np.float32)}
            ),
            "rpn.head.bbox_pred is of 16 numbers, and rpn.head.cls_logits of 3 anchors",
        ),
    ],
)
def test_what_does_not_fit(tmp_path, change, message):
    path = written(tmp_path, change(small("v1")))
    with pytest.raises(ValueError, match=message) as error:
        read_torchvision(path)
    assert str(path) in str(error.value)
    assert "maskrcnn_resnet50_fpn_v2 or resnet50 would fit" in str(error.value)


def one_of_each_kind(tensors):
    """Names of which no two differ by numbers alone; those of counts of batches are left out."""
    kinds = {re.sub(r"\d+", "0", name): name for name in tensors if tensors[name].ndim}
    return list(kinds.values())


@pytest.mark.parametrize("version", VERSIONS)
def test_every_tensor_without_numbers_is_named(tmp_path, version):
    tensors = small(version)
    for name in one_of_each_kind(tensors):
        for axis in {0, tensors[name].ndim - 1}:
            shape = list(tensors[name].shape)
            shape[axis] = 0
            path = written(tmp_path, with_shape(tensors, name, shape))
            with pytest.raises(ValueError, match=f"{name} is of shape .*no numbers") as error:
                read_torchvision(path)
            assert str(path) in str(error.value)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_vector_that_is_not_of_its_kernel_is_named(tmp_path, version):
    """Biases and batch norms; one number would be broadcast."""
    tensors = small(version)
    vectors = [name for name in one_of_each_kind(tensors) if tensors[name].ndim == 1]
    assert len(vectors) == (23 if version == "v1" else 36)
    for name in vectors:
        path = written(tmp_path, with_shape(tensors, name, (1,)))
        with pytest.raises(ValueError, match=rf"{name.rpartition('.')[0]}\S* is of 1 numbers"):
            read_torchvision(path)


def test_an_h5_file_without_numbers_is_named(tmp_path):
    """Of which a backbone's settings were computed."""
    layers = {
        "conv1": [("conv1/kernel:0", np.zeros((7, 7, 3, 0), np.float32))],
        "res5a_branch2b": [("res5a_branch2b/kernel:0", np.zeros((3, 3, 4, 8), np.float32))],
    }
    write_h5(tmp_path / "a.h5", list(layers.items()))
    with pytest.raises(ValueError, match=r"a\.h5 .*conv1/kernel:0 is of shape \(7, 7, 3, 0\)"):
        read_weights(tmp_path / "a.h5")


def test_an_empty_state_dict(tmp_path):
    with pytest.raises(ValueError, match="holds an empty dict, not a state dict"):
        read_torchvision(written(tmp_path, {}))


def test_hints_name_options_to_those_who_have_some(tmp_path):
    detector = written(tmp_path, small("v1"))
    body = resnet_of(small("v1"))
    backbone = written(tmp_path, body, "resnet.pth")
    assert "make the model with that config" in read_weights(detector).hint
    assert "load it with by_name=True, then train" in read_weights(backbone).hint
    with naming_options():
        assert "omit --config, --preset and what else" in read_weights(detector).hint
        assert "the backbone alone, which detects nothing" in read_weights(backbone).hint
        assert "train starts from it" in read_weights(backbone).hint


# === The other way round ===


class Narrow1(TorchvisionV1Config):
    NUM_CLASSES, CLASS_NAMES = 5, None


class Narrow2(TorchvisionV2Config):
    NUM_CLASSES, CLASS_NAMES = 5, None


@pytest.mark.parametrize("version, preset", [("v1", Narrow1), ("v2", Narrow2)])
def test_there_and_back(tmp_path, version, preset):
    tensors = small(version, frozen=False)
    layers = read_torchvision(written(tmp_path, tensors)).layers
    found = torchvision_state_dict(layers, preset())
    assert set(found) == set(tensors)
    for name, value in tensors.items():
        if "fpn" in name and version == "v2":
            continue  # its batch norms were folded
        assert found[name].shape == value.shape and found[name].dtype == value.dtype, name
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_allclose(found[name], value, rtol=2e-6, atol=1e-6, err_msg=name)
    again = layers_of(tmp_path, found)
    for name, weights in layers.items():
        for (_, value), other in zip(weights, again[name], strict=True):
            np.testing.assert_allclose(other, value, rtol=2e-6, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("version, preset", [("v1", Narrow1), ("v2", Narrow2)])
def test_trained_weights_give_the_same_numbers(tmp_path, version, preset):
    """After a training biases and batch norms are no longer what torchvision's became."""
    found = read_torchvision(written(tmp_path, small(version))).layers
    rng = np.random.RandomState(1)
    layers = {
        name: [
            (key, (value + rng.uniform(0.1, 0.3, value.shape)).astype(np.float32))
            for key, value in weights
        ]
        for name, weights in found.items()
    }
    tensors = torchvision_state_dict(layers, preset())
    again = layers_of(tmp_path, tensors)
    first = {name: [value for _, value in weights] for name, weights in layers.items()}
    norms = {"conv1": "bn_conv1"} | {
        name: name.replace("res", "bn").replace("_conv", "_bn")
        for name in first
        if name.startswith(("res", "mrcnn_box_conv", "mrcnn_mask_conv"))
    }
    for conv, norm in norms.items():
        x = patches(first[conv][0].shape[:3])
        expected = our_norm(first, norm, our_conv(first, conv, x))
        assert_close(our_norm(again, norm, our_conv(again, conv, x)), expected)
    for number in (1, 2) if version == "v1" else (1,):
        conv, norm = f"mrcnn_class_conv{number}", f"mrcnn_class_bn{number}"
        x = patches(first[conv][0].shape[:3])
        expected = our_norm(first, norm, our_conv(first, conv, x))
        assert_close(our_norm(again, norm, our_conv(again, conv, x)), expected)
    for name in ("fpn_c2p2", "fpn_p5", "mrcnn_mask_deconv", "mrcnn_bbox_fc", "mrcnn_class_logits"):
        for value, other in zip(first[name], again[name], strict=True):
            np.testing.assert_allclose(other, value, rtol=1e-5, atol=1e-6)
    *_, kernel, bias, delta_kernel, delta_bias = first["rpn_model"]
    *_, other_kernel, other_bias, other_delta_kernel, other_delta_bias = again["rpn_model"]
    for logits, others in ((kernel, other_kernel), (bias, other_bias)):
        differences = [one[..., 1::2] - one[..., ::2] for one in (logits, others)]
        np.testing.assert_allclose(*differences, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(delta_kernel, other_delta_kernel)
    np.testing.assert_array_equal(delta_bias, other_delta_bias)


def test_builder_says_what_differs_from_torchvisions_defaults():
    assert torchvision_builder(TorchvisionV1Config()) == (
        "maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)"
    )

    class Mine(TorchvisionV2Config):
        NUM_CLASSES, CLASS_NAMES = 3, ["BG", "cat", "dog"]
        IMAGE_MIN_DIM, IMAGE_MAX_DIM = 512, 1024
        DETECTION_MIN_CONFIDENCE = 0.5

    assert torchvision_builder(Mine()) == (
        "maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=3, "
        "min_size=512, max_size=1024, box_score_thresh=0.5)"
    )
    Mine.DETECTION_MIN_CONFIDENCE = None  # a threshold that torchvision would compare with
    assert "box_score_thresh=0)" in torchvision_builder(Mine())


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"ROI_ALIGN": "aligned"}, "ROI_ALIGN is aligned, and must be sampled"),
        ({"MASK_LOSS": "softmax"}, "MASK_LOSS is softmax, and must be sigmoid"),
        ({"CLASS_AGNOSTIC_BOXES": True}, "CLASS_AGNOSTIC_BOXES is True, and must be False"),
        ({"BACKBONE": "resnet101"}, "BACKBONE is 'resnet101', and must be 'resnet50'"),
        ({"MEAN_PIXEL": np.array([1.0, 2, 3])}, r"MEAN_PIXEL is \[1.0, 2.0, 3.0\]"),
        ({"TRAIN_BN": True}, "TRAIN_BN is True"),
        ({"TEST_SCALES": (0.5, 1)}, r"TEST_SCALES is \[0.5, 1\], and must be \[\]"),
        ({"TEST_FLIPS": True}, "TEST_FLIPS is True, and must be False"),
        ({"IMAGE_MIN_SCALE": 3.0}, "IMAGE_MIN_SCALE is 3.0, and must be 0"),
        ({"BOX_HEAD_CONVS": 2}, r"are \(1, 2, 2\), and must be \(1, 0, 2\) or \(2, 4, 1\)"),
    ],
)
def test_networks_that_torchvision_does_not_have(fields, message):
    config = type("Mine", (TorchvisionV1Config,), fields)()
    with pytest.raises(ValueError, match=message):
        torchvision_builder(config)
    with pytest.raises(ValueError, match="ROI_LEVEL_FLOOR is False, and must be True"):
        torchvision_builder(Config())


def test_a_missing_layer_is_named(tmp_path):
    layers = dict(read_torchvision(written(tmp_path, small("v1"))).layers)
    del layers["fpn_p3"]
    with pytest.raises(ValueError, match="the layer fpn_p3 of 2 tensors is missing"):
        torchvision_state_dict(layers, Narrow1())

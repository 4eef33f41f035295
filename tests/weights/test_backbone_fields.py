"""Which ResNet or ResNeXt a file is of, and torchvision's files of ImageNet."""

import keras
import numpy as np
import pytest

from mrcnn.config import Config, TorchvisionV2Config
from mrcnn.config.resnets import RESNETS, block_name, blocks_of, group_width, is_resnext
from mrcnn.networks.backbones.build import backbone_graph
from mrcnn.training.learner import Learner
from mrcnn.weights import published
from mrcnn.weights.backbone_fields import resnet_fields
from mrcnn.weights.h5_format import read_h5
from mrcnn.weights.load import load_weights, rename_keras_resnet, save_h5
from mrcnn.weights.read import read_weights
from mrcnn.weights.torch_writer import write_torch


def backbone(**fields):
    config = type("Chosen", (Config,), fields)()
    image = keras.Input((None, None, 3))
    return keras.Model(image, backbone_graph(image, config))


def test_names_of_blocks():
    names = [block_name(number) for number in range(60)]
    assert names[:3] == ["a", "b", "c"] and names[25:28] == ["z", "aa", "ab"]
    assert names[51:53] == ["az", "ba"] and len(set(names)) == 60
    assert [blocks_of(name)[2] for name in RESNETS] == [6, 23, 36] * 2
    assert [is_resnext(name) for name in (*RESNETS, None, backbone)] == [False] * 3 + [
        *[True] * 3,
        False,
        False,
    ]
    assert [group_width(64 * 2**stage, 4) for stage in range(4)] == [4, 8, 16, 32]
    assert group_width(4, 4) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"BACKBONE": "resnet50", "BACKBONE_WIDTH": 4},
        {"BACKBONE": "resnet101", "BACKBONE_WIDTH": 2},
        {"BACKBONE": "resnet152", "BACKBONE_WIDTH": 2},
        {"BACKBONE": "resnext50", "BACKBONE_WIDTH": 8, "RESNEXT_GROUPS": 32, "RESNEXT_WIDTH": 4},
        {"BACKBONE": "resnext50", "BACKBONE_WIDTH": 16, "RESNEXT_GROUPS": 2, "RESNEXT_WIDTH": 12},
        {"BACKBONE": "resnext101", "BACKBONE_WIDTH": 2, "RESNEXT_GROUPS": 1, "RESNEXT_WIDTH": 128},
    ],
)
def test_a_file_tells_its_backbone(tmp_path, fields):
    model = backbone(**fields)
    save_h5(model, tmp_path / "weights.h5")
    layers = {name: values for name, values in read_h5(tmp_path / "weights.h5").items() if values}
    expected = dict(fields)
    width = expected.pop("BACKBONE_WIDTH")
    assert resnet_fields(layers) == expected
    again = backbone(**resnet_fields(layers), BACKBONE_WIDTH=width)
    report = load_weights(again, tmp_path / "weights.h5", by_name=False)
    assert not report.initial and not report.skipped_in_file


def state_dict(counts, width, groups, of_group):
    """torchvision's tensors of a ResNeXt, random."""
    rng, found = np.random.RandomState(0), {}

    def unit(conv, norm, out, into, side):
        found[f"{conv}.weight"] = rng.normal(size=(out, into, side, side)).astype(np.float32)
        for part in ("weight", "bias", "running_mean"):
            found[f"{norm}.{part}"] = rng.normal(size=out).astype(np.float32)
        found[f"{norm}.running_var"] = rng.uniform(0.5, 2, out).astype(np.float32)
        found[f"{norm}.num_batches_tracked"] = np.array(1)

    unit("conv1", "bn1", width, 3, 7)
    into = width
    for stage, count in enumerate(counts):
        planes = width * 2**stage
        inner = planes * of_group // 64 * groups
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            unit(f"{name}.conv1", f"{name}.bn1", inner, into, 1)
            unit(f"{name}.conv2", f"{name}.bn2", inner, inner // groups, 3)
            unit(f"{name}.conv3", f"{name}.bn3", 4 * planes, inner, 1)
            if block == 0:
                unit(f"{name}.downsample.0", f"{name}.downsample.1", 4 * planes, into, 1)
            into = 4 * planes
    found["fc.weight"] = np.zeros((10, into), np.float32)
    found["fc.bias"] = np.zeros(10, np.float32)
    return found


@pytest.mark.parametrize("kind, groups, of_group", [("resnext", 32, 16), ("resnext", 1, 128)])
def test_resnext_of_torchvision(tmp_path, kind, groups, of_group):
    tensors = state_dict((3, 4, 6, 3), 8, groups, of_group)
    path = tmp_path / "resnext.pth"
    write_torch(path, tensors)
    file = read_weights(path)
    assert {name: file.fields[name] for name in file.fields if name != "MEAN_PIXEL"} == {
        "BACKBONE": f"{kind}50",
        "BACKBONE_WIDTH": 8,
        "RESNEXT_GROUPS": groups,
        "RESNEXT_WIDTH": of_group,
    }
    assert f"resnext50 ({groups}x{of_group}d) of ImageNet" in file.remarks[-1]
    model = backbone(**file.fields)
    report = load_weights(model, path)
    assert not report.initial and report.skipped_in_file == ["fc.weight", "fc.bias"]
    for theirs, ours in (
        ("layer1.0.conv2", "res2a_branch2b"),
        ("layer3.5.conv2", "res4f_branch2b"),
        ("layer4.0.downsample.0", "res5a_branch1"),
    ):
        kernel = model.get_layer(ours).kernel.numpy()
        np.testing.assert_array_equal(kernel, tensors[f"{theirs}.weight"].transpose(2, 3, 1, 0))


def test_resnet152_of_torchvision_and_of_keras(tmp_path):
    write_torch(tmp_path / "weights.pth", state_dict((3, 8, 36, 3), 2, 1, 64))
    file = read_weights(tmp_path / "weights.pth")
    assert file.fields["BACKBONE"] == "resnet152" and "RESNEXT_GROUPS" not in file.fields
    assert "resnet152 of ImageNet" in file.remarks[-1]
    report = load_weights(backbone(**file.fields), tmp_path / "weights.pth")
    assert not report.initial
    keras_names = {
        f"conv{stage}_block{block}_2_conv": [("kernel", np.zeros(1))]
        for stage, count in zip((2, 3, 4, 5), (3, 8, 36, 3))
        for block in range(1, count + 1)
    }
    ours = {layer.name for layer in backbone(BACKBONE="resnet152", BACKBONE_WIDTH=2).layers}
    assert set(rename_keras_resnet(keras_names)) <= ours


def test_published_weights_of_resnext(tmp_path, monkeypatch):
    fetched = []

    def fetch(file, path):
        fetched.append((file, path))
        return str(path)

    monkeypatch.setattr(published, "fetch", fetch)
    for (name, groups, width), file in published.RESNEXT_IMAGENET_WEIGHTS.items():
        assert file.name.startswith(f"{name}_{groups}x{width}d-") and len(file.sha256) == 8
        assert file.url == f"https://download.pytorch.org/models/{file.name}"
        path = published.resnext_imagenet_weights(name, groups, width, tmp_path)
        assert fetched[-1] == (file, path) and path == str(tmp_path / file.name)
        fields = {"BACKBONE": name, "RESNEXT_GROUPS": groups, "RESNEXT_WIDTH": width}
        config = type("Chosen", (Config,), fields)()
        learner = type("Bare", (), {"config": config})
        assert Learner.get_imagenet_weights(learner).endswith(file.name)
    learner.config = type("Chosen", (TorchvisionV2Config,), {})()
    with pytest.raises(ValueError, match="STRIDE_IN_3X3 is True: .* file of resnet50"):
        Learner.get_imagenet_weights(learner)
    with pytest.raises(ValueError, match="RESNEXT_GROUPS = 32 and RESNEXT_WIDTH = 4, only for"):
        published.resnext_imagenet_weights("resnext101", 32, 4)

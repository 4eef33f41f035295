"""``python -m mrcnn.weights``: what a .pth file is, and one kind of file written as another."""

import os

import numpy as np
import pytest

from mrcnn.common.json_files import plain
from mrcnn.config.file import config_beside, read_config, save_config
from mrcnn.weights import __main__ as command
from mrcnn.weights.h5_format import read_h5, write_h5
from mrcnn.weights.torch_file import read_torch
from mrcnn.weights.torch_writer import write_torch
from mrcnn.weights.torchvision import read_torchvision
from tests.torchvision.test_weights import Narrow1, Narrow2, resnet_of, small


@pytest.fixture
def pth(tmp_path):
    write_torch(tmp_path / "model.pth", small("v1"))
    return tmp_path / "model.pth"


def test_describes_a_state_dict(pth, capsys):
    assert command.main([str(pth)]) == 0
    table = capsys.readouterr().out
    assert "backbone.body.layer1.0.conv2.weight" in table and "4x4x3x3" in table
    count = len(read_torch(pth))
    assert f"{pth}: {count} tensors" in table
    assert "Mask R-CNN v1 with 5 classes of torchvision's, batch-norm epsilon 0" in table
    assert "NUM_CLASSES = 5" in table and "STRIDE_IN_3X3 = True" in table


def test_describes_what_cannot_be_loaded(tmp_path, capsys):
    write_torch(tmp_path / "other.pth", {"a.weight": np.ones((2, 3), np.float32)})
    assert command.main([str(tmp_path / "other.pth")]) == 0
    assert "tensors of an unknown network (a.weight)" in capsys.readouterr().out


def test_pth_to_h5(pth, tmp_path, capsys):
    target = tmp_path / "out.h5"
    assert command.main([str(pth), "--to", str(target)]) == 0
    stored, expected = read_h5(target), read_torchvision(pth).layers
    assert list(stored) == list(expected)
    for name, weights in expected.items():
        for (_, value), (_, other) in zip(weights, stored[name], strict=True):
            np.testing.assert_array_equal(value, other)
    assert command.main([str(pth), "--to", str(tmp_path / "e.h5"), "--epsilon", "1e-5"]) == 0
    first, second = (dict(read_h5(path)["bn_conv1"]) for path in (target, tmp_path / "e.h5"))
    assert np.abs(first["bn_conv1/gamma:0"] - second["bn_conv1/gamma:0"]).max() > 1e-4


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_settings_come_with_an_h5_file(version, tmp_path, capsys):
    """As config_beside finds them; without them it would be taken for the original's network."""
    write_torch(tmp_path / "model.pth", small(version))
    target = tmp_path / "out.h5"
    assert command.main([str(tmp_path / "model.pth"), "--to", str(target)]) == 0
    assert f"and their settings: {tmp_path / 'out.json'}" in capsys.readouterr().out
    fields = read_config(config_beside(str(target)))
    expected = read_torchvision(tmp_path / "model.pth").fields
    assert expected and {name: plain(fields[name]) for name in expected} == plain(expected)
    # no other's settings are written over
    os.remove(target)
    assert command.main([str(tmp_path / "model.pth"), "--to", str(target)]) == 1
    assert "out.json exists" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["h5", "pth"])
def test_what_is_no_number_is_not_written(ending, tmp_path, capsys):
    tensors = small("v1")
    tensors["backbone.body.conv1.weight"][0, 0, 0, 0] = np.nan
    write_torch(tmp_path / "nan.pth", tensors)
    target = tmp_path / f"out.{ending}"
    assert command.main([str(tmp_path / "nan.pth"), "--to", str(target)]) == 1
    assert "nan.pth" in (said := capsys.readouterr().err) and "conv1" in said
    assert not target.exists() and not (tmp_path / "out.json").exists()


def test_a_backbone_tells_what_it_needs(tmp_path, capsys):
    write_torch(tmp_path / "resnet.pth", resnet_of(small("v1")))
    assert command.main([str(tmp_path / "resnet.pth"), "--to", str(tmp_path / "r.h5")]) == 0
    assert "needs" in (said := capsys.readouterr().out) and "STRIDE_IN_3X3 = True" in said
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize("version, preset", [("v1", Narrow1), ("v2", Narrow2)])
def test_h5_to_pth(tmp_path, capsys, version, preset):
    """A run's .h5 with its config.json becomes a state dict of torchvision's."""
    tensors = small(version, frozen=False)
    write_torch(tmp_path / "first.pth", tensors)
    layers = read_torchvision(tmp_path / "first.pth").layers
    write_h5(tmp_path / "run.h5", list(layers.items()))
    assert command.main([str(tmp_path / "run.h5"), "--to", str(tmp_path / "out.pth")]) == 1
    assert "has no config.json beside it" in capsys.readouterr().err
    save_config(tmp_path, preset())
    assert command.main([str(tmp_path / "run.h5"), "--to", str(tmp_path / "out.pth")]) == 0
    told = capsys.readouterr().out
    name = "maskrcnn_resnet50_fpn" + ("_v2" if version == "v2" else "")
    assert f"torchvision.models.detection.{name}(weights=None, weights_backbone=None, " in told
    found = read_torch(tmp_path / "out.pth")
    assert set(found) == set(tensors)
    for name, value in tensors.items():
        if "fpn" not in name and not name.endswith("num_batches_tracked"):
            np.testing.assert_allclose(found[name], value, rtol=2e-6, atol=1e-6)


def test_a_config_that_torchvision_does_not_have(pth, tmp_path, capsys):
    write_h5(tmp_path / "run.h5", list(read_torchvision(pth).layers.items()))
    (tmp_path / "other").mkdir()
    save_config(tmp_path / "other", type("Mine", (Narrow1,), {"ROI_ALIGN": "crop"})())
    config = str(tmp_path / "other" / "config.json")
    arguments = [str(tmp_path / "run.h5"), "--to", str(tmp_path / "out.pth"), "--config", config]
    assert command.main(arguments) == 1
    assert "ROI_ALIGN is crop, and must be sampled" in capsys.readouterr().err
    assert not os.path.exists(tmp_path / "out.pth")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--to", "{}/out.txt"], "must end in .h5 or .pth"),
        (["--to", "{}/model.pth"], "exists; remove it, or take another name"),
    ],
)
def test_targets_that_are_none(pth, tmp_path, capsys, arguments, message):
    before = pth.read_bytes()
    arguments = [argument.format(tmp_path) for argument in arguments]
    assert command.main([str(pth), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert pth.read_bytes() == before


def test_options_that_need_a_target(pth, capsys):
    with pytest.raises(SystemExit) as error:
        command.main([str(pth), "--epsilon", "0"])
    assert error.value.code == 2 and "go with --to" in capsys.readouterr().err

"""Weights files in the original's layout: reading, loading, saving, and what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from mrcnn.weights import __main__ as command
from mrcnn.weights import h5_format
from mrcnn.weights import load as weights
from tests.paths import ROOT


def toy_model(classes=3, channels=3, seed=0):
    """A miniature of the detector: a backbone, the RPN as a nested model, the class layers."""
    keras.utils.set_random_seed(seed)
    features = keras.Input((None, None, 4))
    shared = keras.layers.Conv2D(5, 3, padding="same", name="rpn_conv_shared")(features)
    boxes = keras.layers.Conv2D(4, 1, name="rpn_bbox_pred")(shared)
    scores = keras.layers.Conv2D(2, 1, name="rpn_class_raw")(shared)
    # built in another order than files have it
    rpn = keras.Model(features, [boxes, scores], name="rpn_model")

    image = keras.Input((8, 8, channels), name="input_image")
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv1")(image)
    x = keras.layers.BatchNormalization(name="bn_conv1")(x)
    boxes, scores = rpn(x)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    logits = keras.layers.Dense(classes, name="mrcnn_class_logits")(pooled)
    deltas = keras.layers.Dense(4 * classes, name="mrcnn_bbox_fc")(pooled)
    deltas = keras.layers.Reshape((classes, 4), name="mrcnn_bbox")(deltas)
    masks = keras.layers.Conv2D(classes, 1, name="mrcnn_mask")(x)
    model = keras.Model(image, [boxes, scores, logits, deltas, masks])
    rng = np.random.RandomState(seed)
    for variable in model.weights:
        variable.assign(rng.randn(*variable.shape))
    return model


# in Keras' order of the graph
WEIGHTED = ["conv1", "bn_conv1", "mrcnn_bbox_fc", "rpn_model", "mrcnn_class_logits", "mrcnn_mask"]
TENSORS = 2 + 4 + 6 + 2 + 2 + 2


def values(model):
    """name -> array of every weight."""
    return {
        name: np.asarray(variable)
        for layer in model.layers
        for name, variable in weights.layer_weights(layer)
    }


def assert_equal_values(found, expected):
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def write_raw(path, layers, root="/", names=None):
    """A weights file by hand; layers: name -> list of (weight name, data set name, array)."""
    with h5py.File(path, "w") as file:
        group = file.require_group(root)
        group.attrs["layer_names"] = names or [name.encode() for name in layers]
        for name, tensors in layers.items():
            inner = group.create_group(name)
            inner.attrs["weight_names"] = np.array([t[0].encode() for t in tensors], dtype="S")
            for _, stored, value in tensors:
                inner.create_dataset(stored, data=value)
    return str(path)


@pytest.fixture(scope="module")
def toy():
    return toy_model(seed=1)


@pytest.fixture
def toy_file(toy, tmp_path):
    path = str(tmp_path / "toy.h5")
    weights.save_h5(toy, path)
    return path


# === The layout on disk ===


def test_saved_file_has_the_originals_layout(toy, toy_file):
    with h5py.File(toy_file, "r") as file:
        # as bytes: Keras 2.1.6 calls .decode on them
        for name, value in (("backend", b"tensorflow"), ("keras_version", b"2.1.6")):
            assert h5py.check_string_dtype(file.attrs.get_id(name).dtype).length == len(value)
            assert file.attrs[name] in (value, value.decode())
        names = file.attrs["layer_names"]
        assert names.dtype.kind == "S"
        assert [n.decode() for n in names] == [layer.name for layer in toy.layers]
        assert "pool" in file and len(file["pool"].attrs["weight_names"]) == 0
        assert file["bn_conv1"].attrs["weight_names"].tolist() == [
            b"bn_conv1/gamma:0",
            b"bn_conv1/beta:0",
            b"bn_conv1/moving_mean:0",
            b"bn_conv1/moving_variance:0",
        ]
        assert file["rpn_model"].attrs["weight_names"].tolist() == [
            b"rpn_conv_shared/kernel:0",
            b"rpn_conv_shared/bias:0",
            b"rpn_class_raw/kernel:0",
            b"rpn_class_raw/bias:0",
            b"rpn_bbox_pred/kernel:0",
            b"rpn_bbox_pred/bias:0",
        ]
        kernel = file["conv1/conv1/kernel:0"]
        assert kernel.dtype == np.float32
        np.testing.assert_array_equal(kernel[()], np.asarray(toy.get_layer("conv1").kernel))


def test_frozen_layers_keep_their_order(toy_file, tmp_path):
    model = toy_model(seed=1)
    model.get_layer("rpn_model").get_layer("rpn_conv_shared").trainable = False
    model.get_layer("bn_conv1").trainable = False
    weights.save_h5(model, tmp_path / "frozen.h5")
    found, expected = h5_format.read_h5(tmp_path / "frozen.h5"), h5_format.read_h5(toy_file)
    assert {k: [n for n, _ in v] for k, v in found.items()} == {
        k: [n for n, _ in v] for k, v in expected.items()
    }


def test_round_trip(toy, toy_file):
    model = toy_model(seed=2)
    report = weights.load_h5(model, toy_file, by_name=False)
    assert_equal_values(values(model), values(toy))
    assert (report.loaded, report.tensors) == (WEIGHTED, TENSORS)
    assert report.initial == report.excluded == report.skipped_in_file == []
    assert report.path == toy_file
    text = str(report)
    assert f"loaded {TENSORS} tensors into 6 layers" in text and text.count("none") == 3


def test_many_names_are_split_over_attributes(tmp_path):
    layers = [(f"layer_{'x' * 90}_{i}", []) for i in range(2000)]
    big = ("big", [(f"big/{'y' * 90}_{i}:0", np.full((1,), i, np.float32)) for i in range(900)])
    h5_format.write_h5(tmp_path / "many.h5", [*layers, big])
    found = h5_format.read_h5(tmp_path / "many.h5")
    assert list(found) == [name for name, _ in layers] + ["big"]
    assert [float(value[0]) for _, value in found["big"]] == list(range(900))
    with h5py.File(tmp_path / "many.h5", "r") as file:
        assert "layer_names" not in file.attrs and "layer_names0" in file.attrs
        assert "weight_names1" in file["big"].attrs


def test_reads_names_of_an_old_session_by_position(toy, tmp_path):
    # Keras 2 numbers the scopes of a second model: conv1_2/kernel:0 in group conv1
    old = {
        name: [(n.replace("/", "_2/"), n.replace("/", "_2/"), value) for n, value in tensors]
        for name, tensors in _layers_of(toy).items()
    }
    path = write_raw(tmp_path / "old.h5", old)
    model = toy_model(seed=2)
    weights.load_h5(model, path, by_name=False)
    assert_equal_values(values(model), values(toy))


def test_reads_a_whole_model_file_and_str_names_in_any_order(toy, tmp_path):
    layers = {
        name: [(n, n, value) for n, value in tensors]
        for name, tensors in reversed(_layers_of(toy).items())
    }
    path = write_raw(tmp_path / "whole.h5", layers, root="model_weights", names=list(layers))
    model = toy_model(seed=2)
    weights.load_h5(model, path)
    assert_equal_values(values(model), values(toy))


def test_nested_order_of_a_partly_frozen_file(toy, tmp_path):
    # Keras 2 moves the frozen weights of a nested model to the end
    layers = _layers_of(toy)
    layers["rpn_model"] = layers["rpn_model"][2:] + layers["rpn_model"][:2]
    path = write_raw(
        tmp_path / "moved.h5",
        {name: [(n, n, value) for n, value in tensors] for name, tensors in layers.items()},
    )
    model = toy_model(seed=2)
    weights.load_h5(model, path)
    assert_equal_values(values(model), values(toy))


def _layers_of(model):
    return {
        layer.name: [(n, np.asarray(v)) for n, v in weights.layer_weights(layer)]
        for layer in model.layers
    }


# === What loads and what does not ===


def test_report_of_a_partial_file(toy, tmp_path):
    layers = {
        name: [(n, n, value) for n, value in tensors]
        for name, tensors in _layers_of(toy).items()
        if name not in ("mrcnn_mask", "bn_conv1")
    }
    layers["fpn_extra"] = [("fpn_extra/kernel:0", "fpn_extra/kernel:0", np.zeros((2, 2)))]
    layers["no_weights"] = []
    path = write_raw(tmp_path / "part.h5", layers)
    model = toy_model(seed=2)
    before = values(model)
    report = weights.load_h5(model, path, exclude=["conv1", "mrcnn_bbox"])
    assert report.loaded == ["mrcnn_bbox_fc", "rpn_model", "mrcnn_class_logits"]
    assert report.tensors == 10
    assert report.skipped_in_file == ["fpn_extra"]
    assert report.excluded == ["conv1"]
    assert report.initial == ["bn_conv1", "mrcnn_mask"]
    after, source = values(model), values(toy)
    for name, value in after.items():
        kept = name.startswith(("conv1/", "bn_conv1/", "mrcnn_mask/"))
        np.testing.assert_array_equal(value, before[name] if kept else source[name], err_msg=name)
    assert "2 (bn_conv1, mrcnn_mask)" in str(report) and "1 (fpn_extra)" in str(report)


def test_exclude_within_a_nested_model(toy, toy_file):
    model = toy_model(seed=2)
    before = values(model)
    report = weights.load_h5(model, toy_file, exclude=["rpn_class_raw"])
    assert report.excluded == ["rpn_class_raw"] and "rpn_model" in report.loaded
    assert report.tensors == TENSORS - 2
    for name, value in values(model).items():
        expected = before if name.startswith("rpn_class_raw/") else values(toy)
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_exclude_allows_another_shape_within_a_nested_model(toy_file):
    layers = {
        name: [(n, n, value) for n, value in tensors]
        for name, tensors in h5_format.read_h5(toy_file).items()
    }
    layers["rpn_model"] = [
        (n, n, value[..., :1] if n.startswith("rpn_class_raw") else value)
        for n, _, value in layers["rpn_model"]
    ]
    path = write_raw(Path(toy_file).with_name("anchors.h5"), layers)
    with pytest.raises(ValueError, match="rpn_model: file .*1x1x5x1, 1,.*model .*1x1x5x2, 2"):
        weights.load_h5(toy_model(), path)
    assert weights.load_h5(toy_model(), path, exclude=["rpn_class_raw"]).tensors == TENSORS - 2


def test_unknown_exclude_warns_and_a_str_is_refused(toy_file):
    with pytest.warns(UserWarning, match="mrcnn_mask_typo"):
        weights.load_h5(toy_model(), toy_file, exclude=["mrcnn_mask_typo"])
    with pytest.raises(TypeError, match=r"write \['conv1'\]"):
        weights.load_h5(toy_model(), toy_file, exclude="conv1")


def test_other_number_of_classes_names_both_and_the_remedy(toy_file):
    model = toy_model(classes=5)
    before = values(model)
    with pytest.raises(ValueError) as error:
        weights.load_h5(model, toy_file)
    text = str(error.value)
    assert "NUM_CLASSES = 3" in text and "NUM_CLASSES = 5" in text
    assert "mrcnn_bbox_fc: file 4x12, 12; model 4x20, 20" in text
    remedy = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]
    assert f"exclude={remedy}" in text
    assert_equal_values(values(model), before)  # all or nothing
    report = weights.load_h5(model, toy_file, exclude=remedy)
    assert report.excluded == ["mrcnn_bbox_fc", "mrcnn_class_logits", "mrcnn_mask"]


def test_other_number_of_channels_names_both(tmp_path):
    path = str(tmp_path / "five.h5")
    weights.save_h5(toy_model(channels=5), path)
    with pytest.raises(ValueError, match="5 channels, the model has IMAGE_CHANNEL_COUNT = 4"):
        weights.load_h5(toy_model(channels=4), path)


def test_other_number_of_tensors_is_an_error(toy, tmp_path):
    layers = {"conv1": [(n, n, value) for n, value in _layers_of(toy)["conv1"][:1]]}
    path = write_raw(tmp_path / "short.h5", layers)
    with pytest.raises(ValueError, match="conv1: file 3x3x3x4; model 3x3x3x4, 4"):
        weights.load_h5(toy_model(), path)


def test_file_that_fits_nothing_is_an_error(toy_file, tmp_path):
    path = write_raw(tmp_path / "other.h5", {"dense_7": [("k", "k", np.ones((2, 2)))]})
    with pytest.raises(ValueError, match=r"fits no layer.*dense_7.*conv1"):
        weights.load_h5(toy_model(), path)
    with pytest.raises(ValueError, match="excluded were"):
        weights.load_h5(toy_model(), toy_file, exclude=WEIGHTED)


def test_not_by_name_wants_every_layer(toy, tmp_path):
    layers = {
        name: [(n, n, value) for n, value in tensors]
        for name, tensors in _layers_of(toy).items()
        if name != "bn_conv1"
    }
    path = write_raw(tmp_path / "part.h5", layers)
    with pytest.raises(ValueError, match=r"lacks 1 layers of the model: 1 \(bn_conv1\)"):
        weights.load_h5(toy_model(), path, by_name=False)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize(
    "layer, index, name",
    [
        ("conv1", 0, "conv1: conv1/kernel:0"),
        ("bn_conv1", 3, "bn_conv1: bn_conv1/moving_variance:0"),
        ("rpn_model", 5, "rpn_model: rpn_bbox_pred/bias:0"),
    ],
)
def test_values_that_are_no_numbers_are_refused_and_nothing_is_loaded(
    toy, tmp_path, layer, index, name, value
):
    layers = _layers_of(toy)
    stored, array = layers[layer][index]
    array = array.astype(np.float64)
    array.flat[-1] = value
    layers[layer][index] = (stored, array)
    path = write_raw(
        tmp_path / "nan.h5", {key: [(n, n, v) for n, v in rows] for key, rows in layers.items()}
    )
    model = toy_model(seed=2)
    before = values(model)
    with pytest.raises(ValueError, match=rf"nan\.h5 has values that are NaN .* in 1 \({name}\)"):
        weights.load_h5(model, path)
    assert_equal_values(values(model), before)
    # what is not asked for may be anything
    assert layer in weights.load_h5(model, path, exclude=[layer]).excluded


def test_values_beyond_float16_are_refused_where_it_is_computed_in(toy, tmp_path):
    layers = _layers_of(toy)
    layers["bn_conv1"][3][1][:] = 1e5  # batch norm computes in float32
    layers["conv1"][0][1].flat[0] = -65504
    h5_format.write_h5(tmp_path / "large.h5", list(layers.items()))
    keras.config.set_dtype_policy("mixed_float16")
    half = toy_model(seed=2)
    weights.load_h5(half, tmp_path / "large.h5")
    before = values(half)
    layers["conv1"][0][1].flat[0] = -65600
    h5_format.write_h5(tmp_path / "large.h5", list(layers.items()))
    with pytest.raises(
        ValueError, match=r"above 65504.* 1 \(conv1: conv1/kernel:0\).*DTYPE_POLICY"
    ):
        weights.load_h5(half, tmp_path / "large.h5")
    assert_equal_values(values(half), before)
    keras.config.set_dtype_policy("float32")
    weights.load_h5(toy_model(), tmp_path / "large.h5")


# === Files that are refused ===


def refused(path, *words, kind=ValueError):
    with pytest.raises(kind) as error:
        h5_format.read_h5(path)
    for word in (str(path), *words):
        assert word in str(error.value)


def test_a_shape_without_its_values_takes_no_memory(tmp_path):
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.attrs["layer_names"] = [b"conv1"]
        group = file.create_group("conv1")
        group.attrs["weight_names"] = [b"conv1/kernel:0"]
        group.create_dataset("conv1/kernel:0", (10**6, 10**6), "float32", chunks=(8, 8))
    refused(
        tmp_path / "huge.h5", "4,000,000,000,000 bytes by its shape, but only 0 are in the file"
    )
    # what is compressed may be larger than the file
    with h5py.File(tmp_path / "small.h5", "w") as file:
        file.attrs["layer_names"] = [b"conv1"]
        group = file.create_group("conv1")
        group.attrs["weight_names"] = [b"conv1/kernel:0"]
        group.create_dataset("conv1/kernel:0", data=np.zeros((2000, 2000)), compression="gzip")
    ((_, value),) = h5_format.read_h5(tmp_path / "small.h5")["conv1"]
    assert value.shape == (2000, 2000)


def test_missing_empty_foreign_and_folder(tmp_path):
    refused(tmp_path / "nowhere.h5", kind=FileNotFoundError)
    refused(tmp_path, "is a folder")
    for content, words in (
        (b"", "it is empty"),
        (b"<!DOCTYPE html>", "begins with b'<!DOCTYPE"),
        (b"PK\x03\x04abc", "zip archive"),
    ):
        path = tmp_path / "file.h5"
        path.write_bytes(content)
        refused(path, "not an HDF5 file", words)


def test_cut_short(toy_file):
    size = os.path.getsize(toy_file)
    with open(toy_file, "r+b") as file:
        file.truncate(size // 2)
    refused(toy_file, "is cut short", f"{size // 2:,} bytes")


def test_keras_3_file_and_hdf5_of_something_else(toy, tmp_path):
    path = str(tmp_path / "new.weights.h5")
    toy.save_weights(path)
    refused(path, "Keras 3", "keras_model.load_weights")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["table"] = np.arange(3)
    refused(tmp_path / "other.h5", "layer_names", "table")


def test_damaged_structure(tmp_path):
    refused(write_raw(tmp_path / "a.h5", {}, names=[b"conv1"]), "names conv1")
    path = write_raw(tmp_path / "b.h5", {"conv1": [("kernel", "kernel", np.ones(2))]})
    with h5py.File(path, "r+") as file:
        del file["conv1/kernel"]
    refused(path, "names kernel")
    with h5py.File(path, "r+") as file:
        file["conv1"]["kernel"] = "text"
    refused(path, "kernel of layer conv1 is not an array of numbers")
    with h5py.File(path, "r+") as file:
        del file["conv1"].attrs["weight_names"]
    refused(path, "conv1 has no attribute weight_names")


@pytest.mark.parametrize(
    "link",
    [h5py.ExternalLink("secret.h5", "/data"), h5py.SoftLink("/elsewhere")],
    ids=["external", "soft"],
)
def test_links_are_refused(tmp_path, link):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = np.ones(2)
    path = write_raw(tmp_path / "a.h5", {"conv1": [("kernel", "other", np.ones(2))]})
    with h5py.File(path, "r+") as file:
        file["elsewhere"] = h5py.ExternalLink("secret.h5", "/data")
        file["conv1"]["kernel"] = link
    refused(path, "kernel is a link")


def test_values_in_other_files_are_refused(tmp_path):
    (tmp_path / "raw.bin").write_bytes(np.ones(2, np.float32).tobytes())
    path = write_raw(tmp_path / "a.h5", {"conv1": [("kernel", "other", np.ones(2))]})
    with h5py.File(path, "r+") as file:
        file["conv1"].create_dataset(
            "kernel", (2,), np.float32, external=[(str(tmp_path / "raw.bin"), 0, 8)]
        )
    refused(path, "in another file")


# === Writing whole or not at all ===


def test_folder_that_does_not_exist(toy, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        weights.save_h5(toy, tmp_path / "nowhere" / "a.h5")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        weights.save_h5(toy, tmp_path)


@pytest.mark.parametrize(
    "error", [OSError(28, "disk"), KeyboardInterrupt()], ids=["error", "interrupt"]
)
def test_failure_keeps_the_old_file_and_leaves_no_other(toy, toy_file, monkeypatch, error):
    before = Path(toy_file).read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(h5_format.os, "replace", fail)
    with pytest.raises(OSError if isinstance(error, Exception) else KeyboardInterrupt):
        weights.save_h5(toy_model(seed=5), toy_file)
    assert Path(toy_file).read_bytes() == before
    assert os.listdir(os.path.dirname(toy_file)) == ["toy.h5"]


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_a_link_is_replaced_and_not_what_it_leads_to(tmp_path, link):
    """Such as latest.h5, which the user made of a checkpoint."""
    other, path = tmp_path / "other.h5", tmp_path / "latest.h5"
    h5_format.write_h5(other, [("a", [("a/kernel:0", np.zeros(3, np.float32))])])
    link(other, path)
    h5_format.write_h5(path, [("a", [("a/kernel:0", np.ones(3, np.float32))])])
    assert not path.is_symlink()
    for each, value in ((other, 0), (path, 1)):
        np.testing.assert_array_equal(h5_format.read_h5(each)["a"][0][1], np.full(3, value))


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes there")
def test_full_disk_is_one_clear_error(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"older file")
    # a limit of file sizes stands for the full disk: both fail in the middle of a write
    code = f"""
import resource, signal, numpy as np
from mrcnn.weights.h5_format import write_h5
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    write_h5({str(path)!r}, [("a", [("a/k:0", np.ones((1 << 20), np.float32))])])
except OSError as error:
    print("caught", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert f"caught could not write {path} (is the disk full" in done.stdout
    assert path.read_bytes() == b"older file"
    assert os.listdir(tmp_path) == ["a.h5"]


# === keras.applications' names ===


def test_rename_keras_resnet():
    names = [
        "conv1_conv",
        "conv1_bn",
        "conv2_block1_0_conv",
        "conv2_block1_0_bn",
        "conv2_block1_1_conv",
        "conv3_block4_2_bn",
        "conv4_block23_3_conv",
        "fpn_p5",
    ]
    renamed = weights.rename_keras_resnet({name: [(name, i)] for i, name in enumerate(names)})
    assert list(renamed) == [
        "conv1",
        "bn_conv1",
        "res2a_branch1",
        "bn2a_branch1",
        "res2a_branch2a",
        "bn3d_branch2b",
        "res4w_branch2c",
        "fpn_p5",
    ]
    assert [value[0][1] for value in renamed.values()] == list(range(8))


def original_backbone_names(blocks):
    """Weight-bearing layers of the original's ResNet and their kernel shapes (its C table)."""
    names = {"conv1": (7, 7, 3, 64), "bn_conv1": (64,)}
    channels = 64
    for stage, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512)), start=2):
        for block in range(count):
            tag = f"{stage}{chr(ord('a') + block)}_branch"
            shapes = {
                "2a": (1, 1, channels, width),
                "2b": (3, 3, width, width),
                "2c": (1, 1, width, 4 * width),
            }
            if block == 0:
                shapes["1"] = (1, 1, channels, 4 * width)
            for branch, shape in shapes.items():
                names[f"res{tag}{branch}"] = shape
                names[f"bn{tag}{branch}"] = shape[-1:]
            channels = 4 * width
    return names


def test_keras_resnet50_file_has_the_originals_layers_after_renaming(tmp_path):
    model = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    path = tmp_path / "keras.h5"
    weights.save_h5(model, path)
    stored = {name: tensors for name, tensors in h5_format.read_h5(path).items() if tensors}
    found = {
        name: tensors[0][1].shape for name, tensors in weights.rename_keras_resnet(stored).items()
    }
    assert found == original_backbone_names((3, 4, 6, 3))

    # a model with the original's names loads it, one with Keras' own names does so unrenamed
    image = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(64, 7, name="conv1")(image)
    small = keras.Model(image, keras.layers.BatchNormalization(name="bn_conv1")(x))
    assert weights.load_h5(small, path).loaded == ["conv1", "bn_conv1"]
    np.testing.assert_array_equal(
        np.asarray(small.get_layer("conv1").kernel),
        np.asarray(model.get_layer("conv1_conv").kernel),
    )
    assert weights.load_h5(model, path, by_name=False).tensors == 53 * 2 + 53 * 4


def test_nested_backbone_loads_whole_or_layer_by_layer(tmp_path):
    def build(seed):
        keras.utils.set_random_seed(seed)
        backbone = keras.applications.MobileNet(
            weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.25
        )
        image = keras.Input((32, 32, 3))
        return keras.Model(image, keras.layers.Conv2D(2, 1, name="head")(backbone(image))), backbone

    (model, backbone), (other, _) = build(1), build(2)
    weights.save_h5(model, tmp_path / "whole.h5")
    weights.save_h5(backbone, tmp_path / "flat.h5")
    assert "conv1/kernel:0" in [
        n for n, _ in h5_format.read_h5(tmp_path / "whole.h5")[backbone.name]
    ]
    report = weights.load_h5(other, tmp_path / "flat.h5")
    assert report.initial == ["head"] and "conv_pw_13" in report.loaded
    inner = values(model)
    for name, value in values(other).items():
        if not name.startswith("head/"):
            np.testing.assert_array_equal(value, inner[name], err_msg=name)
    weights.load_h5(other, tmp_path / "whole.h5", by_name=False)
    assert_equal_values(values(other), values(model))


def test_layer_made_of_layers_has_distinct_names(tmp_path):
    image = keras.Input((4, 6))
    attention = keras.layers.MultiHeadAttention(2, 3, name="attention")
    model = keras.Model(image, attention(image, image))
    names = [name for name, _ in weights.layer_weights(attention)]
    assert names[:2] == ["attention/query/kernel:0", "attention/query/bias:0"]
    before = values(model)
    weights.save_h5(model, tmp_path / "a.h5")
    for variable in model.weights:
        variable.assign(np.zeros(variable.shape))
    weights.load_h5(model, tmp_path / "a.h5")
    assert_equal_values(values(model), before)


def test_integers_stay_integers(tmp_path):
    h5_format.write_h5(tmp_path / "a.h5", [("n", [("n/count:0", np.array(2**25 + 1))])])
    ((_, value),) = h5_format.read_h5(tmp_path / "a.h5")["n"]
    assert value.shape == () and value == 2**25 + 1


# === describe and the command line ===


def test_describe(toy, toy_file):
    text = h5_format.describe_h5(toy_file)
    kernel = np.asarray(toy.get_layer("conv1").kernel)
    line = next(line for line in text.splitlines() if line.startswith("conv1: conv1/kernel:0"))
    assert line.split()[2:] == [
        "3x3x3x4",
        f"{kernel.min():.4g}",
        f"{kernel.max():.4g}",
        f"{kernel.std():.4g}",
    ]
    count = sum(value.size for value in values(toy).values())
    assert text.splitlines()[-1].endswith(
        f"{len(toy.layers)} layers, 6 with weights, {TENSORS} tensors, {count:,} values"
    )


def test_describe_flags_what_is_not_finite(tmp_path):
    h5_format.write_h5(
        tmp_path / "a.h5",
        [("a", [("a/k:0", np.array([1.0, np.inf])), ("a/e:0", np.zeros((0, 3)))])],
    )
    text = h5_format.describe_h5(tmp_path / "a.h5")
    assert "NOT FINITE" in text and "EMPTY" in text


def test_command_line(toy_file, capsys):
    assert command.main([toy_file]) == 0
    assert "rpn_model: rpn_class_raw/bias:0" in capsys.readouterr().out
    assert command.main([toy_file + ".gone"]) == 1
    assert "error: there is no weights file" in capsys.readouterr().err


def test_import_is_light():
    code = (
        "import sys; import mrcnn.weights, mrcnn.weights.published; "
        "print([m for m in ('tensorflow', 'keras', 'matplotlib', 'rich') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert out.stdout.strip() == "[]"

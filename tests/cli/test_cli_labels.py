"""The commands with networks that label pixels, each from its arguments to its files."""

import json
import os
import re
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from mrcnn.cli import main, model_options, train
from mrcnn.cli.train import default_layers
from mrcnn.config import Config, SegmentationConfig
from mrcnn.config.file import read_config, save_config
from mrcnn.config.segmentation import NOT_READ
from mrcnn.data.formats import open_dataset
from mrcnn.networks.backbones.build import backbone_graph
from mrcnn.weights.h5_format import read_h5, write_h5
from mrcnn.weights.load import layer_weights
from tests.cli.test_cli import write_via
from tests.tiny import randomize, tiny_config

UNET = ["--network", "unet", "--set", "UNET_WIDTHS=4,6,8", "SEED=0", "--size", "64"]
QUIET = ["--verbose", "0", "--epochs", "1", "--steps", "1"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """photos/train with 4 images and photos/val with 2, of red and blue rectangles."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    write_via(folder / "train", 4, 0)
    write_via(folder / "val", 2, 1)
    return folder


def code_of(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


def checkpoints(logs):
    return sorted(path for path in logs.glob("*/*.h5") if "best" not in path.name)


def settings(path):
    return read_config(path.parent / "config.json")


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """The logs of a U-Net's run of two epochs."""
    logs = tmp_path_factory.mktemp("logs")
    line = ["train", photos, "--weights", "none", "--logs", logs, *UNET]
    more = ["OPTIMIZER=Adam", "--learning-rate", 0.01, "--loss", "0.5*focal+dice", "--flip"]
    line += ["--set", 'LOSS_OPTIONS={"focal": {"gamma": 3}}', *more]
    assert code_of(*line, "--epochs", 2, "--verbose", 0, "--evaluate-every", 2) == 0
    return logs


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A checkpoint of Mask R-CNN, of whose layers those of the backbone are there."""
    config = tiny_config(NAME="photos", NUM_CLASSES=3, BACKBONE="resnet50", BACKBONE_WIDTH=4)
    image = keras.Input((None, None, 3))
    backbone = keras.Model(image, backbone_graph(image, config))
    randomize(backbone)
    heads = {"fpn_c5p5": (1, 1, 128, 8), "mrcnn_class_logits": (16, 3)}
    layers = [(layer.name, read(layer)) for layer in backbone.layers if layer.weights]
    layers += [(name, [(f"{name}/kernel:0", np.zeros(shape))]) for name, shape in heads.items()]
    folder = tmp_path_factory.mktemp("mask_rcnn") / "photos20260101T0000"
    folder.mkdir()
    path = folder / "mask_rcnn_photos_0001.h5"
    write_h5(path, layers)
    # beside it by its name: a config.json would ask for a state file too
    os.rename(save_config(folder, config), path.with_suffix(".json"))
    return path


def read(layer):
    return [(name, np.asarray(value)) for name, value in layer_weights(layer)]


# === From one command to the next ===


def test_train_keeps_its_settings(trained):
    first, last = checkpoints(trained)
    assert (first.name, last.name) == ("segmenter_photos_0001.h5", "segmenter_photos_0002.h5")
    fields = settings(last)
    assert fields["NETWORK"] == "unet" and fields["UNET_WIDTHS"] == [4, 6, 8]
    assert fields["LOSS"] == "0.5*focal+dice"
    assert fields["LOSS_OPTIONS"] == {"focal": {"gamma": 3}}
    assert set(fields["CLASS_NAMES"]) == {"BG", "red", "blue"} and fields["IMAGE_MIN_DIM"] == 64
    rows = (last.parent / "losses.csv").read_text().splitlines()
    logged = rows[0].split(",")
    assert {"focal_loss", "dice_loss", "val_loss", "val_mIoU"} <= set(logged)
    assert 0 <= float(rows[-1].split(",")[logged.index("val_mIoU")]) <= 1


def test_last_goes_on_with_the_network_of_the_run(photos, trained, tmp_path):
    logs = tmp_path / "logs"
    shutil.copytree(trained, logs)
    line = ["train", photos, "--weights", "last", "--logs", logs, "--verbose", 0]
    assert code_of(*line, "--stages", "all:2", "decoder:3") == 0
    assert checkpoints(logs)[-1].name == "segmenter_photos_0003.h5"
    assert len(list(logs.iterdir())) == 1
    assert settings(checkpoints(logs)[-1])["LOSS"] == "0.5*focal+dice"
    said = code_of(*line, "--network", "fcn8s")
    assert (
        "segmenter_photos_0003.h5 is of the network 'unet', and --network asks for 'fcn8s'" in said
    )
    assert "omit --network" in said


def test_last_of_a_network_without_weights_in_its_upsampling(photos, tmp_path, capsys):
    """Its layers have the names of SegNet's; none of them starts again at random."""
    line = ["train", photos, "--logs", tmp_path, "--size", 64, *QUIET, "--learning-rate", 1e-9]
    options = ["--network", "unet", "--set", "UNET_WIDTHS=4,4", "UPSAMPLING=bilinear"]
    assert code_of(*line, *options, "--weights", "none") == 0
    capsys.readouterr()
    assert code_of(*line, "--weights", "last", "--epochs", 2) == 0
    assert "excluded on request: none" in capsys.readouterr().out
    first, last = map(read_h5, checkpoints(tmp_path))
    np.testing.assert_allclose(
        first["seg_dec1_conv1"][0][1], last["seg_dec1_conv1"][0][1], atol=1e-6
    )


def test_last_of_either_kind(photos, trained, detector, tmp_path):
    logs = tmp_path / "logs"
    shutil.copytree(detector.parent, logs / detector.parent.name)
    line = ["train", photos, "--weights", "last", "--logs", logs, "--verbose", 0]
    said = code_of(*line, "--network", "unet")
    assert "is of Mask R-CNN, and --network asks for 'unet': omit --network to resume" in said
    assert f"{logs}" in said and "mask_rcnn_photos_0001.h5" in said


def test_evaluate(photos, trained, tmp_path, capsys):
    line = ["evaluate", photos, "--subset", "val", "--weights", "last", "--name", "photos"]
    line += ["--logs", trained, "--report", tmp_path / "report"]
    assert code_of(*line) == 0
    out = capsys.readouterr().out
    assert "mIoU" in out and "red" in out and "blue" in out
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        *("report.html", "labels.json", "confusion.png", "shares.png")
    }
    found = json.loads((tmp_path / "report" / "labels.json").read_text())
    assert found["settings"]["trimap"] == 3 and found["metrics"]["images"] == 2
    assert code_of(*line, "--trimap", 0) == 0
    found = json.loads((tmp_path / "report" / "labels.json").read_text())
    assert found["settings"]["trimap"] is None
    assert "--trimap is -1.0; it must be" in code_of(*line, "--trimap", -1)
    said = code_of(*line, "--min-score", 0.5)
    assert said == "error: --min-score is of Mask R-CNN, and the network 'unet' labels every pixel"
    # the report of an earlier run is no data
    said = code_of("evaluate", photos / "val", "--weights", checkpoints(trained)[-1], "--limit", 1)
    assert said == 0


def test_a_loss_of_the_users_own(photos, trained, tmp_path, capsys):
    """config.json keeps its name, which only training needs more than."""
    logs = tmp_path / "logs"
    shutil.copytree(trained, logs)
    path = checkpoints(logs)[-1]
    content = json.loads((path.parent / "config.json").read_text())
    content["config"].update(LOSS="my.losses:own", LOSS_OPTIONS={})
    (path.parent / "config.json").write_text(json.dumps(content))
    assert code_of("evaluate", photos, "--subset", "val", "--weights", path) == 0
    image = next((photos / "val").glob("*.png"))
    out = ["--output", tmp_path / "found", "--save", "labels"]
    assert code_of("predict", image, "--weights", path, *out) == 0
    line = ["train", photos, "--weights", "last", "--name", "photos", "--logs", logs, *QUIET]
    line[line.index("--epochs") + 1] = 3
    error = code_of(*line)
    assert "LOSS: 'my.losses:own' names a function" in error and "--loss" in error
    weights = 'LOSS_OPTIONS={"weighted_ce": {"weights": [1, 2, 2]}}'
    assert code_of(*line, "--loss", "weighted_ce", "--set", weights) == 0
    line[line.index("--epochs") + 1] = 4  # with the factors of the run's classes
    assert code_of(*line) == 0


def test_predict_labels(photos, trained, tmp_path, capsys):
    line = ["predict", photos / "val", "--weights", checkpoints(trained)[-1]]
    assert code_of(*line, "--output", tmp_path / "found", "--save", "labels") == 0
    maps = sorted((tmp_path / "found").rglob("picture*.png"))
    assert len(maps) == 2
    for path in maps:
        with Image.open(path) as labels:
            assert labels.size == (64, 64) and set(np.unique(labels)) <= {0, 1, 2}


# === What a network begins with ===


def test_the_backbone_of_mask_rcnn(photos, detector, tmp_path, capsys):
    """Its fields of images and backbone are taken over, and no others."""
    common = ["train", photos / "train", "--weights", detector, "--logs", tmp_path]
    line = [*common, "--network", "fcn8s", "--name", "photos"]
    assert code_of(*line, *QUIET, "--set", "FC_CHANNELS=4") == 0
    fields = settings(checkpoints(tmp_path)[0])
    assert (fields["NETWORK"], fields["BACKBONE"], fields["BACKBONE_WIDTH"]) == (
        *("fcn8s", "resnet50", 4),
    )
    assert fields["RPN_ANCHOR_SCALES"] == [32, 64, 128, 256, 512]  # the default
    assert fields["IMAGE_MAX_DIM"] == 64 and fields["NAME"] == "photos"
    report = re.search(r"loaded (\d+) tensors into (\d+) layers", capsys.readouterr().out)
    assert int(report[2]) > 100  # conv1 to res5c_branch2c and their batch norms
    # the decoder alone has trained: the backbone still is that of the file
    before, after = read_h5(detector), read_h5(checkpoints(tmp_path)[0])
    np.testing.assert_array_equal(before["res4f_branch2a"][0][1], after["res4f_branch2a"][0][1])
    said = code_of(*common, "--network", "segnet")
    assert "has the backbone 'resnet50', and NETWORK 'segnet' has an encoder of its own" in said


@pytest.mark.filterwarnings("ignore:.*so these are guesses")
def test_the_backbone_of_a_file_alone(photos, detector, tmp_path, monkeypatch):
    """Without settings beside it, as the published COCO weights are: the tensors tell the backbone,
    and nothing of Mask R-CNN comes with it.
    """
    alone = tmp_path / "alone.h5"
    shutil.copy(detector, alone)
    chosen = []
    monkeypatch.setattr(train, "new_model", lambda mode, config, logs: chosen.append(config))
    monkeypatch.setattr(train, "load_start", stop)
    monkeypatch.setattr(model_options, "coco_weights", lambda: str(alone))
    for weights in (alone, "coco"):
        line = ["train", photos, "--weights", weights, "--network", "deeplab"]
        assert code_of(*line, "--size", 64, "--set", "OUTPUT_STRIDE=16") == "error: enough"
        config = chosen.pop()
        assert (config.NETWORK, config.BACKBONE, config.BACKBONE_WIDTH) == (
            *("deeplab", "resnet50", 4),
        )
        assert config.OUTPUT_STRIDE == 16 and config.NUM_CLASSES == 3
        assert config.TOP_DOWN_PYRAMID_SIZE == Config.TOP_DOWN_PYRAMID_SIZE
        assert set(config.CLASS_NAMES) == {"BG", "red", "blue"}
        assert default_layers(str(weights), config) == "decoder"
    assert default_layers("none", config) == "all"
    assert default_layers("imagenet", SegmentationConfig()) == "all"
    assert default_layers("none", Config()) == "all"
    assert default_layers("imagenet", Config()) == "heads"


def stop(*args):
    raise ValueError("enough")


def test_the_encoder_of_another_network(photos, tmp_path, capsys):
    common = ["train", photos / "train", *QUIET, "--size", 64, "--layers", "decoder"]
    first = ["--network", "fcn32s", "--logs", tmp_path / "first", "--weights", "none"]
    widths = ["--set", "VGG_WIDTHS=4,4,4,4,4", "VGG_CONVOLUTIONS=1,1,1,1,1", "FC_CHANNELS=4"]
    assert code_of(*common, *first, *widths) == 0
    (path,) = checkpoints(tmp_path / "first")
    capsys.readouterr()
    second = ["--network", "fcn8s", "--logs", tmp_path / "second", "--weights", path]
    assert code_of(*common, *second, "--set", "FC_CHANNELS=6") == 0
    out = capsys.readouterr().out
    assert "into 10 layers" in out  # five convolutions and their batch norms
    assert settings(checkpoints(tmp_path / "second")[0])["VGG_WIDTHS"] == [4] * 5


def test_other_classes(photos, trained, tmp_path, capsys):
    path = checkpoints(trained)[-1]
    line = ["train", photos / "train", "--weights", path, "--logs", tmp_path, *QUIET]
    assert code_of(*line, "--classes", "red") == 0
    out = capsys.readouterr().out
    assert "is for 3 classes, the data have 2: the class layers are trained from scratch" in out
    assert "excluded on request: 1 (seg_score)" in out
    fields = settings(checkpoints(tmp_path)[0])
    assert fields["CLASS_NAMES"] == ["BG", "red"] and fields["NETWORK"] == "unet"


def test_more_classes_than_a_byte_holds(tmp_path, monkeypatch, capsys):
    """Their void is 65535, which nobody has to ask for; and the names do not fill the screen."""
    for part, value in (("images", 9), ("labels", 260)):
        (tmp_path / part).mkdir()
        Image.fromarray(np.full((4, 5), value, np.uint16)).save(tmp_path / part / "a.png")
    (tmp_path / "classes.txt").write_text("".join(f"c{number}\n" for number in range(1, 301)))
    chosen = []
    monkeypatch.setattr(train, "new_model", lambda mode, config, logs: chosen.append(config))
    monkeypatch.setattr(train, "load_start", stop)
    line = ["train", tmp_path, "--format", "labels", *UNET, "--weights", "none"]
    assert code_of(*line) == "error: enough"
    assert (
        "images of c1, c2, c3, c4, c5, c6, c7, c8, c9, c10 and 290 more" in capsys.readouterr().out
    )
    assert (chosen[0].NUM_CLASSES, chosen[0].IGNORE_LABEL) == (301, 65535)
    said = code_of(*line, "--set", "IGNORE_LABEL=255")
    assert "IGNORE_LABEL is 255, which is a class" in said


@pytest.mark.filterwarnings("ignore:.*so these are guesses")
def test_weights_alone_tell_the_network(photos, trained, tmp_path):
    alone = tmp_path / "alone.h5"
    shutil.copy(checkpoints(trained)[-1], alone)
    line = ["predict", photos / "val", "--weights", alone, "--output", tmp_path / "found"]
    assert code_of(*line, "--save", "labels", "--size", 64) == 0
    with pytest.warns(UserWarning, match=r"guesses, the defaults: .*MEAN_PIXEL.*labels will be"):
        code_of("evaluate", photos / "val", "--weights", alone, "--limit", 1)


# === Errors ===


ERRORS = {
    "no backbone for imagenet": (
        ["train", "PHOTOS", "--network", "unet", "--weights", "imagenet"],
        r"the encoder of NETWORK 'unet' is its own: give --backbone, such as resnet50, or --we",
    ),
    "none at all": (
        ["train", "PHOTOS", "--network", "plain", "--weights", "imagenet"],
        r"the encoder of NETWORK 'plain' is its own: give --weights none",
    ),
    "backbone": (
        ["train", "PHOTOS", "--network", "segnet", "--weights", "none", "--backbone", "resnet50"],
        r"BACKBONE is 'resnet50', but NETWORK 'segnet' has an encoder of its own",
    ),
    "loss": (
        ["train", "PHOTOS", "--network", "unet", "--weights", "none", "--loss", "dise"],
        r"there is no loss 'dise'; did you mean 'dice'",
    ),
    "loss of Mask R-CNN": (
        ["train", "PHOTOS", "--weights", "none", "--loss", "dice"],
        r"LOSS: networks that label pixels alone read this: name one with --network",
    ),
    "field of a segmenter": (
        ["train", "PHOTOS", "--weights", "none", "--set", "UNET_WIDTHS=4,4"],
        r"UNET_WIDTHS: networks that label pixels alone read this: name one with --network",
    ),
    "field of Mask R-CNN": (
        [
            *("train", "PHOTOS", "--weights", "none", "--network", "unet"),
            *("--set", "RPN_NMS_THRESHOLD=0.5", "POOL_SIZE=7"),
        ],
        r"RPN_NMS_THRESHOLD, POOL_SIZE: Mask R-CNN alone reads this, and NETWORK is 'unet'",
    ),
    "misspelt": (
        ["train", "PHOTOS", "--weights", "none", "--set", "UNET_WIDTH=4,4"],
        r"did you mean UNET_WIDTHS",
    ),
    "Mask R-CNN to label": (
        ["evaluate", "PHOTOS/val", "--weights", "DETECTOR", "--network", "unet"],
        r"is of Mask R-CNN, and --network asks for 'unet'.*here omit --network",
    ),
    "another network": (
        ["predict", "PHOTOS/val", "--weights", "UNET", "--network", "fcn8s", "--output", "x"],
        r"is of the network 'unet', and --network asks for 'fcn8s': omit --network",
    ),
    "settings of the other kind": (
        ["evaluate", "PHOTOS/val", "--weights", "UNET", "--config", "DETECTOR_CONFIG"],
        r"is of the network 'unet', and .*0001.json is of Mask R-CNN: give the config",
    ),
    "trimap of Mask R-CNN": (
        ["evaluate", "PHOTOS/val", "--weights", "DETECTOR", "--trimap", "3"],
        r"--trimap is of networks that label pixels",
    ),
    "layers": (
        ["train", "PHOTOS", *UNET, "--weights", "none", "--layers", "heads", "--logs", "logs"],
        r"'heads' matches no layer; use one of \['3\+', '4\+', '5\+', 'all', 'decoder'\]",
    ),
}


@pytest.mark.parametrize("line, message", ERRORS.values(), ids=ERRORS)
def test_errors_are_one_line(photos, trained, detector, tmp_path, monkeypatch, line, message):
    monkeypatch.chdir(tmp_path)
    names = {"PHOTOS": photos, "DETECTOR_CONFIG": detector.with_suffix(".json")}
    names |= {"DETECTOR": detector, "UNET": checkpoints(trained)[-1]}

    def place(text):
        first, slash, rest = text.partition("/")
        return f"{names[first]}{slash}{rest}" if first in names else text

    code = code_of(*map(place, line))
    assert isinstance(code, str) and code.startswith("error: ")
    assert re.search(message, code, re.DOTALL), code
    assert not (tmp_path / "logs").exists()


def write_maps(folder, maps, names=("sky", "road")):
    """Grey images with label maps beside them, and the names of their classes."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number, labels in enumerate(maps):
        side = np.shape(labels)[::-1]
        Image.new("RGB", side, (90, 9, number)).save(folder / "images" / f"{number}.png")
        Image.fromarray(np.array(labels, np.uint8)).save(folder / "labels" / f"{number}.png")
    (folder / "labels" / "classes.txt").write_text("\n".join(names))
    return folder


def drawn(height, width, *values):
    """A label map of stripes."""
    labels = np.zeros((height, width), np.uint8)
    for number, value in enumerate(values):
        labels[number :: len(values)] = value
    return labels


def test_label_maps_of_several_sizes(tmp_path):
    """A class that no image shows is measured as NaN, and images of void alone are passed over."""
    maps = [drawn(20, 30, 0, 1), drawn(31, 17, 1, 255), drawn(8, 9, 255), drawn(1, 1, 0)]
    data = write_maps(tmp_path / "streets", maps)
    logs = tmp_path / "logs"
    common = ["--format", "labels", "--logs", logs]
    line = ["train", data, "--weights", "none", *UNET, *common, "--epochs", 1, "--verbose", 0]
    assert code_of(*line, "--batch", 2) == 0
    fields = settings(checkpoints(logs)[0])
    assert fields["CLASS_NAMES"] == open_dataset(data, format="labels").class_names
    evaluate = ["evaluate", data, *common, "--weights", "last", "--name", "streets"]
    assert code_of(*evaluate, "--report", tmp_path / "report") == 0
    found = json.loads((tmp_path / "report" / "labels.json").read_text())
    assert found["left_out"]["void_images"] and found["metrics"]["images"] == 3


def test_label_maps_of_void_alone(tmp_path):
    data = write_maps(tmp_path / "streets", [drawn(8, 9, 255), drawn(8, 9, 0, 255)])
    line = ["train", data, "--format", "labels", "--weights", "none", *UNET]
    said = code_of(*line, "--logs", tmp_path / "logs")
    assert "there is nothing to learn: none of the 2 images of LabelMaps has an object" in said
    assert not (tmp_path / "logs").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "wrong, message",
    [
        (drawn(8, 9, 0, 7), r"1\.png.*has the value.* 7"),
        (drawn(4, 9, 0, 1), r"1\.png.*4 x 9|9 x 4.*1\.png"),
    ],
    ids=["value", "size"],
)
def test_a_wrong_label_map_is_named(tmp_path, wrong, message):
    data = write_maps(tmp_path / "streets", [drawn(8, 9, 0, 1), drawn(8, 9, 0, 1)])
    Image.fromarray(wrong).save(data / "labels" / "1.png")
    line = ["train", data, "--format", "labels", "--weights", "none", *UNET]
    said = code_of(*line, "--logs", tmp_path / "logs", "--verbose", 0, "--epochs", 1)
    assert isinstance(said, str) and re.search(message, said), said


def test_a_cache_is_refused(photos, tmp_path):
    cache = tmp_path / "cache"
    assert code_of("cache", photos / "train", "--output", cache, "--size", 64) in (0, None)
    line = ["train", cache, "--weights", "none", *UNET, "--logs", tmp_path / "logs"]
    said = code_of(*line, "--verbose", 0)
    assert "is a cache, which holds masks of objects and no labels" in said
    assert not (tmp_path / "logs").exists()


def test_what_no_network_reads_is_mask_rcnns_alone():
    """Each of the fields that --network refuses is one of Mask R-CNN, and no others are."""
    assert set(NOT_READ) <= set(Config.field_defaults())
    own = SegmentationConfig.field_defaults().keys() - Config.field_defaults()
    assert own.isdisjoint(NOT_READ) and {"NETWORK", "LOSS", "TILE"} <= own
    read = {"BACKBONE", "IMAGE_MAX_DIM", "SCALE_JITTER", "TRAIN_BN", "DETECTION_MAX_INSTANCES"}
    assert read.isdisjoint(NOT_READ)


def test_help_explains_the_networks(capsys):
    assert code_of("train", "--help") == 0
    out = capsys.readouterr().out
    for network in ("unet", "fcn8s", "deeplab", "pspnet", "segnet", "plain"):
        assert re.search(rf"^  {network} ", out, re.M)

"""samples/balloon.py: VIA's annotation files, and its commands on a tiny network and photos made
here.
"""

import json
import os

import numpy as np
import pytest
from PIL import Image

from mrcnn.model import MaskRCNN
from tests.samples.scripts import load, make_tiny
from tests.tiny import image, randomize

# the outlines of a.png, with corners left of, above and beyond its 80 x 60 px
SQUARE = ([10, 39, 39, 10], [20, 20, 44, 44])
BEYOND = ([-30, 15, 15, -30], [-20, -20, 9, 9])
FAR = ([60, 200, 200, 60], [40, 40, 90, 90])


def region(points, name="polygon"):
    return {
        "shape_attributes": {"name": name, "all_points_x": points[0], "all_points_y": points[1]},
        "region_attributes": {},
    }


def entry(filename, *outlines):
    return {
        "filename": filename,
        "size": 123,
        "regions": [region(points) for points in outlines],
        "file_attributes": {},
    }


def save(folder, annotations, photos=("a.png", "b.jpg")):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(photos):
        Image.fromarray(image(60, 80, seed)).save(folder / name)
    text = annotations if isinstance(annotations, str) else json.dumps(annotations)
    (folder / "via_region_data.json").write_text(text)
    return str(folder.parent)


def via(version):
    """The same two photos, and one without a region, as different VIA versions write them."""
    entries = {
        f"{name}123": entry(name, *outlines)
        for name, outlines in (
            ("a.png", (SQUARE, BEYOND, FAR)),
            ("b.jpg", (SQUARE,)),
            ("none.jpg", ()),
        )
    }
    if version == "1":
        for item in entries.values():
            item["regions"] = {str(number): one for number, one in enumerate(item["regions"])}
    return (
        {"_via_settings": {}, "_via_img_metadata": entries} if version == "2 project" else entries
    )


@pytest.fixture
def balloon(monkeypatch):
    """The sample; `run` is its ``main`` with a network that trains in seconds."""
    module = load("balloon")
    # the sample's anchors follow --size
    return make_tiny(
        monkeypatch,
        module,
        module.BalloonConfig,
        RPN_ANCHOR_SCALES=module.BalloonConfig.RPN_ANCHOR_SCALES,
    )


# === Annotations ===


@pytest.mark.parametrize("version", ["1", "2", "2 project"])
def test_via_files(tmp_path, version):
    dataset = load("balloon").make_dataset(save(tmp_path / "train", via(version)), "train")
    # none.jpg has no region
    assert [info["id"] for info in dataset.image_info] == [
        "a.png",
        "b.jpg",
    ]
    assert dataset.class_names == ["BG", "balloon"]
    masks, class_ids = dataset.load_mask(0)
    assert masks.shape == (60, 80, 3) and masks.dtype == bool and class_ids.tolist() == [1, 1, 1]
    expected = np.zeros((60, 80, 3), bool)
    expected[20:45, 10:40, 0] = True
    expected[:10, :16, 1] = True  # cut off at the image's edge, not wrapped around
    expected[40:, 60:, 2] = True
    # an outline may count or leave out its own last row and column
    assert (masks != expected).sum(axis=(0, 1)).max() <= 60
    for index, box in enumerate(((20, 10, 44, 39), (0, 0, 9, 15), (40, 60, 60, 80))):
        y, x = np.nonzero(masks[..., index])
        np.testing.assert_allclose((y.min(), x.min(), y.max(), x.max()), box, atol=1)
    assert dataset.load_image(0).shape == (60, 80, 3)
    assert dataset.image_reference(1) == str(tmp_path / "train" / "b.jpg")


def test_photo_that_a_camera_turned(tmp_path):
    dataset_dir = save(
        tmp_path / "train", {"x": entry("a.jpg", ([2, 30, 30, 2], [50, 50, 70, 70]))}, photos=()
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image(60, 80)).save(tmp_path / "train" / "a.jpg", exif=exif)
    dataset = load("balloon").make_dataset(dataset_dir, "train")
    masks, _ = dataset.load_mask(0)
    assert dataset.load_image(0).shape[:2] == masks.shape[:2] == (80, 60)
    assert masks[60, 15, 0]


@pytest.mark.parametrize(
    "annotations, error, message",
    [
        ("{'a': 1", ValueError, "via_region_data.json is not JSON"),
        ([1, 2], ValueError, "via_region_data.json is not a VIA export.*list"),
        (
            {"images": [], "annotations": []},
            ValueError,
            "'images' is not a VIA image.*'filename' and 'regions'",
        ),
        (
            {"x": {**entry("a.png"), "regions": [region(SQUARE, "circle")]}},
            ValueError,
            "a.png, region 0: a circle needs",
        ),
        (
            {"x": entry("a.png", ([1, 2, 3], [3, 4]))},
            ValueError,
            "a.png, region 0: .* 3 all_points_x, but 2 all_points_y",
        ),
        (
            {"x": {**entry("a.png"), "regions": [{"region_attributes": {}}]}},
            ValueError,
            "a.png, region 0",
        ),
        (
            {"x": {**entry("a.png"), "regions": [{"shape_attributes": {"name": "polygon"}}]}},
            ValueError,
            "a.png, region 0",
        ),
        ({"x": {**entry("a.png"), "regions": ["polygon"]}}, ValueError, "a.png, region 0"),
        (
            {"x": entry("gone.jpg", SQUARE)},
            FileNotFoundError,
            "gone.jpg is missing.*via_region_data.json",
        ),
        (
            {"x": entry("via_region_data.json", SQUARE)},
            ValueError,
            "no image: .*via_region_data.json",
        ),
    ],
    ids=[
        "json",
        "list",
        "coco",
        "circle",
        "lengths",
        "no shape",
        "no points",
        "no dict",
        "photo missing",
        "no photo",
    ],
)
def test_wrong_annotations(tmp_path, annotations, error, message):
    dataset_dir = save(tmp_path / "train", annotations)
    with pytest.raises(error, match=message):
        load("balloon").make_dataset(dataset_dir, "train")


def test_other_shapes_and_outlines_without_area(tmp_path, caplog):
    circle = {
        "shape_attributes": {"name": "circle", "cx": 40, "cy": 30, "r": 10},
        "region_attributes": {},
    }
    entries = {"x": entry("a.png", SQUARE, ([1, 2], [3, 4]))}
    entries["x"]["regions"].append(circle)
    dataset = load("balloon").make_dataset(save(tmp_path / "train", entries), "train")
    masks, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [1, 1] and abs(masks[..., 1].sum() - np.pi * 100) < 15
    assert (
        "regions with fewer than three points: 1 (first: " in caplog.text
        and "a.png, region 1" in caplog.text
    )


def test_missing_annotations(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="via_region_data.json is missing: --dataset must be a folder"
    ):
        load("balloon").make_dataset(str(tmp_path), "val")


# === Splash ===


def test_color_splash():
    photo = image(20, 30)
    masks = np.zeros((20, 30, 2), bool)
    masks[2:8, 3:9, 0] = masks[5:12, 6:20, 1] = True
    splashed = load("balloon").color_splash(photo, masks)
    inside = masks.any(axis=-1)
    assert splashed.dtype == np.uint8
    np.testing.assert_array_equal(splashed[inside], photo[inside])
    grey = splashed[~inside]
    assert (grey == grey[:, :1]).all()
    # ITU-R BT.709, as scikit-image has it
    np.testing.assert_allclose(grey[:, 0], photo[~inside] @ [0.2125, 0.7154, 0.0721], atol=1.01)


def test_splash_of_nothing_is_grey():
    splashed = load("balloon").color_splash(image(8, 8), np.empty((8, 8, 0)))
    assert (splashed == splashed[..., :1]).all()


# === Commands ===


@pytest.fixture
def prepared(balloon, tmp_path, monkeypatch):
    """A data set, and weights to start from that detect something; works in a folder of its own."""
    save(tmp_path / "data" / "train", via("1"))
    save(tmp_path / "data" / "val", via("2"))
    monkeypatch.chdir(tmp_path)
    common = ["--size", "64", "--logs", "logs"]
    args = balloon.parse_args(["splash", "--model", "unused", *common])
    model = MaskRCNN("inference", balloon.make_config(args, detecting=True), "logs")
    randomize(model.keras_model)
    model.save_weights("start.h5")
    return balloon, common


def test_train_then_evaluate(prepared, eagerly, capsys):
    balloon, common = prepared
    balloon.main(
        [
            "train",
            "--dataset",
            "data",
            "--model",
            "start.h5",
            "--epochs",
            "1",
            "--steps",
            "2",
            "--seed",
            "1",
            "--learning-rate",
            "0.001",
            "--verbose",
            "0",
            *common,
        ]
    )
    text = capsys.readouterr().out
    assert (
        "start.h5: loaded" in text
        and "Training heads to epoch 1, from epoch 0, learning rate 0.001" in text
    )
    (run,) = os.listdir("logs")
    assert run.startswith("balloon20") and text.splitlines()[-1].endswith(
        "mask_rcnn_balloon_0001.h5"
    )
    assert os.path.exists(os.path.join("logs", run, "mask_rcnn_balloon_0001.h5"))

    balloon.main(["evaluate", "--dataset", "data", "--model", "last", *common])
    text = capsys.readouterr().out
    assert "mask_rcnn_balloon_0001.h5: loaded" in text and "AP" in text


def test_mirrored_training(prepared, eagerly):
    balloon, common = prepared
    balloon.main(
        [
            "train",
            "--dataset",
            "data",
            "--model",
            "start.h5",
            "--epochs",
            "1",
            "--steps",
            "1",
            "--flip",
            "--verbose",
            "0",
            *common,
        ]
    )
    assert len(os.listdir("logs")) == 1


def test_splash_a_photo(prepared, monkeypatch, capsys):
    balloon, common = prepared
    monkeypatch.setattr(balloon.BalloonConfig, "DETECTION_MIN_CONFIDENCE", 0.0)
    balloon.main(["splash", "--model", "start.h5", "--image", "data/val/a.png", *common])
    text = capsys.readouterr().out
    (name,) = [name for name in os.listdir() if name.startswith("splash_")]
    assert name.endswith(".png") and f"Saved to {name}" in text and "balloons, scores" in text
    splashed, photo = (np.asarray(Image.open(path)) for path in (name, "data/val/a.png"))
    same = (splashed == photo).all(axis=-1)
    assert splashed.shape == photo.shape and same.any() and not same.all()


def test_splash_a_video(prepared, capsys):
    cv2 = pytest.importorskip("cv2")
    balloon, common = prepared
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10, (80, 48))
    for seed in range(3):
        writer.write(image(48, 80, seed))
    writer.release()
    balloon.main(["splash", "--model", "start.h5", "--video", "clip.avi", *common])
    (name,) = [name for name in os.listdir() if name.startswith("splash_")]
    assert "frame 3" in capsys.readouterr().out and name.endswith(".avi")
    video = cv2.VideoCapture(name)
    assert [
        int(video.get(field))
        for field in (
            cv2.CAP_PROP_FRAME_COUNT,
            cv2.CAP_PROP_FRAME_WIDTH,
            cv2.CAP_PROP_FRAME_HEIGHT,
            cv2.CAP_PROP_FPS,
        )
    ] == [3, 80, 48, 10]


def test_a_video_that_cannot_be_written(prepared, monkeypatch):
    cv2 = pytest.importorskip("cv2")
    balloon, _common = prepared
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10, (80, 48))
    writer.write(image(48, 80))
    writer.release()
    with pytest.raises(OSError, match="gone/out.avi cannot be written"):
        balloon.splash_video(None, "clip.avi", "gone/out.avi")


def test_a_file_that_is_no_video(prepared):
    pytest.importorskip("cv2")
    balloon, common = prepared
    with pytest.raises(SystemExit, match="error: start.h5 is not a video"):
        balloon.main(["splash", "--model", "start.h5", "--video", "start.h5", *common])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["splash", "--model", "start.h5"], "pass --image or --video"),
        (["splash", "--model", "start.h5", "--image", "gone.jpg"], "gone.jpg is missing"),
        (["splash", "--model", "gone.h5", "--image", "data/val/a.png"], "gone.h5"),
        (["splash", "--model", "last", "--image", "data/val/a.png"], "no run of 'balloon'"),
        (["evaluate", "--model", "start.h5", "--dataset", "nowhere"], "nowhere.*is missing"),
        (
            ["train", "--model", "start.h5", "--dataset", "data", "--layers", "head"],
            "layers='head' matches no layer",
        ),
    ],
)
def test_mistakes_end_in_one_line(prepared, arguments, message):
    balloon, common = prepared
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        balloon.main([*arguments, *common])


def test_size_that_does_not_halve(prepared):
    balloon, _ = prepared
    with pytest.raises(SystemExit, match="(?s)error: .*IMAGE_MAX_DIM is 100.*64 or 128"):
        balloon.main(
            ["splash", "--model", "start.h5", "--image", "data/val/a.png", "--size", "100"]
        )


def test_coco_weights_leave_the_class_layers_out(prepared, monkeypatch, capsys):
    balloon, common = prepared
    args = balloon.parse_args(["splash", "--model", "coco", *common])

    class Coco(type(balloon.make_config(args, detecting=True))):
        NUM_CLASSES = 81
        CLASS_NAMES = None

    coco = MaskRCNN("inference", Coco(), "logs")
    coco.save_weights("coco.h5")
    monkeypatch.setattr("mrcnn.cli.model_options.coco_weights", lambda: "coco.h5")
    model = balloon.make_model(args, "inference")
    assert (
        "excluded on request: 3 (mrcnn_class_logits, mrcnn_bbox_fc, mrcnn_mask)"
        in capsys.readouterr().out
    )
    kernels = [one.keras_model.get_layer("fpn_p2").kernel.numpy() for one in (model, coco)]
    np.testing.assert_array_equal(*kernels)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--help"], ["train", "splash", "evaluate"]),
        (["train", "--help"], ["--dataset", "--weights", "--layers", "--flip", "default: 30"]),
        (["splash", "--help"], ["--image", "--video", "preset's, 1024"]),
    ],
)
def test_help(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        load("balloon").main(arguments)
    text = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0 and all(word in text for word in words)


def test_the_originals_options_are_taken():
    args = load("balloon").parse_args(["train", "--dataset=d", "--weights=coco"])
    assert (args.dataset, args.weights) == ("d", "coco")
    config = load("balloon").make_config(args, detecting=False)
    assert (config.BACKBONE, args.layers) == ("resnet101", "heads")
    assert (config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM) == (800, 1024)
    assert tuple(config.RPN_ANCHOR_SCALES) == (32, 64, 128, 256, 512)

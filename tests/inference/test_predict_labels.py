"""Prediction over files with a network that labels pixels, and label maps of one that does not."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mrcnn.data.formats.label_maps import LabelMaps
from mrcnn.data.label_drawing import draw_labels, palette_of
from mrcnn.data.labels import RegionMasks
from mrcnn.inference.predict import predict
from mrcnn.inference.result import Result
from mrcnn.inference.segment import segment
from tests.inference.test_predict import files
from tests.inference.videos import write_video
from tests.networks.segmentation.tiny import config_of
from tests.tiny import tiny_config

NAMES = ["BG", "cat", "dog/wolf"]
LEVELS = np.array([40.0, 120.0, 210.0])


class Painter:
    """A network that sees the brightness of a pixel, with the `detect` of a `Segmenter`."""

    def __init__(self, **fields):
        fields = {"IMAGE_RESIZE_MODE": "none", "CLASS_NAMES": NAMES, "IMAGES_PER_GPU": 2, **fields}
        self.config = config_of("plain", **fields)

    def detect(self, images, *, classes=None, min_confidence=None):
        return segment(self.predict, images, self.config, classes, min_confidence)

    def predict(self, molded):
        scores = np.exp(-np.abs(molded + self.config.MEAN_PIXEL - LEVELS) / 30)
        return (scores / scores.sum(-1, keepdims=True)).astype(np.float32)


class Finder:
    """Finds a box of each class in every image, as Mask R-CNN does."""

    config = tiny_config(CLASS_NAMES=NAMES)

    def detect(self, images, *, classes=None, min_confidence=None):
        return [self._of(image) for image in images]

    def _of(self, image):
        boxes = np.array([[0, 0, 4, 4], [2, 2, 8, 6]], np.int32)
        masks = np.zeros((*image.shape[:2], 2), bool)
        for index, (y1, x1, y2, x2) in enumerate(boxes):
            masks[y1:y2, x1:x2, index] = True
        scores = np.array([0.9, 0.8], np.float32)
        return Result(boxes, np.array([1, 2], np.int32), scores, masks, image, NAMES)


def scene(height, width):
    labels = np.zeros((height, width), np.uint8)
    labels[2:8, 1:9], labels[5:9, 12:15], labels[10:, 3:8] = 1, 2, 2
    return labels


LABELS = {"a.jpg": scene(12, 16), "b.png": scene(20, 17), "deep/c.tif": np.zeros((9, 9), np.uint8)}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name, labels in LABELS.items():
        options = {"quality": 100} if name.endswith("jpg") else {}
        Image.fromarray(LEVELS[labels].astype(np.uint8)).save(folder / name, **options)
    return folder


def test_label_maps_are_written_and_read_as_data(photos, tmp_path):
    output = tmp_path / "found"
    summary = predict(Painter(), photos, output, save=["labels"], recursive=True, progress=False)
    assert files(output) == [
        "labels/a.png",
        "labels/b.png",
        "labels/classes.txt",
        "labels/deep/c.png",
    ]
    assert (output / "labels" / "classes.txt").read_text() == "background\ncat\ndog/wolf\n"
    with Image.open(output / "labels" / "b.png") as made:
        assert made.mode == "P"
        np.testing.assert_array_equal(np.array(made), LABELS["b.png"])
        colours = palette_of(3)[LABELS["b.png"]]
        np.testing.assert_array_equal(np.array(made.convert("RGB")), colours)
    dataset = LabelMaps()
    dataset.load(photos, output / "labels")
    dataset.prepare()
    assert dataset.class_names == ["BG", "cat", "dog/wolf"] and dataset.num_images == 2
    for image_id, info in enumerate(dataset.image_info):
        name = "a.jpg" if info["id"] == "a" else "b.png"
        np.testing.assert_array_equal(dataset.load_labels(image_id), LABELS[name])
    pixels = sum(labels.size for labels in LABELS.values())
    counts = sum(np.bincount(labels.ravel(), minlength=3) for labels in LABELS.values())
    assert summary.pixels == dict(zip(NAMES, counts.tolist())) and summary.void_pixels == 0
    assert summary.counts == {"cat": 2, "dog/wolf": 2} and summary.images == 3
    said = str(summary)
    assert f"pixels: BG {100 * counts[0] / pixels:.2f} %, cat " in said and "objects" not in said


def test_what_is_found_again_replaces_what_was(photos, tmp_path):
    output = tmp_path / "found"
    for save in (["labels"], ["labels", "coco", "pictures"]) * 2:
        predict(Painter(), photos, output, save=save, progress=False)
    before = (output / "labels" / "b.png").read_bytes()
    Image.fromarray(LABELS["b.png"] * 0).save(output / "labels" / "b.png")  # corrected by hand
    with pytest.raises(ValueError, match=r"b\.png is there .*none of an earlier run"):
        predict(Painter(), photos, output, save=["labels"], progress=False)
    (output / "labels" / "b.png").write_bytes(before)
    with pytest.raises(ValueError, match=r"classes\.txt is there"):
        predict(
            Painter(CLASS_NAMES=["BG", "x", "y"]), photos, output, save=["labels"], progress=False
        )


def test_no_more_than_one_mask_is_held(photos, tmp_path, monkeypatch):
    """A hundred masks of an image of many megapixels are more than the memory may hold."""

    def refuse(self, *args, **options):
        raise MemoryError

    monkeypatch.setattr(RegionMasks, "__array__", refuse)
    save = ["pictures", "coco", "labelme", "crops"]
    predict(Painter(), photos, tmp_path / "found", save=save, polygons=False, progress=False)
    found = COCO(tmp_path / "found" / "predictions.json")
    (entry,) = [one for one in found.dataset["annotations"] if one["bbox"] == [1, 2, 8, 6]][:1]
    np.testing.assert_array_equal(found.annToMask(entry), LABELS["a.jpg"] == 1)
    assert entry["area"] == 48
    crops = list((tmp_path / "found" / "crops" / "cat").glob("a.jpg*.png"))
    assert len(crops) == 1 and np.array(Image.open(crops[0])).shape == (6, 8, 4)


def test_images_that_differ_in_their_endings_share_no_label_map(photos, tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(photos / "a.png")
    with pytest.raises(ValueError, match=r"a\.jpg and a\.png would share one label map"):
        predict(Painter(), photos, tmp_path / "found", save=["labels"])


def test_regions_are_objects_of_every_other_form(photos, tmp_path):
    output = tmp_path / "found"
    save = ["pictures", "coco", "labelme", "crops"]
    summary = predict(Painter(), photos, output, save=save, recursive=True, progress=False)
    content = json.loads((output / "predictions.json").read_text())
    assert "Regions" in content["info"]["description"]
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog/wolf"}]
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    for entry in content["images"]:
        labels = LABELS[entry["file_name"]]
        found = coco.loadAnns(coco.getAnnIds(imgIds=entry["id"]))
        again = np.zeros_like(labels)
        for each in found:
            assert 0.5 < each["score"] <= 1
            again[coco.annToMask(each) > 0] = each["category_id"]
        np.testing.assert_array_equal(again, labels)
        assert len(found) == (3 if labels.any() else 0)
    crops = [name for name in files(output) if name.startswith("crops/")]
    assert len(crops) == 6 and {name.split("/")[1] for name in crops} == {"cat", "dog_wolf"}
    shapes = json.loads((output / "labelme" / "b.json").read_text())["shapes"]
    assert sorted(shape["label"] for shape in shapes) == ["cat", "dog/wolf", "dog/wolf"]
    image = np.array(Image.open(photos / "b.png"))
    picture = draw_labels(image, LABELS["b.png"], NAMES)
    np.testing.assert_array_equal(np.array(Image.open(output / "b.png")), picture)
    assert summary.at_limit == 0


def test_a_limit_of_regions_is_told(photos, tmp_path):
    model = Painter(DETECTION_MAX_INSTANCES=2)
    summary = predict(model, photos, tmp_path / "found", save=["coco"], progress=False)
    content = json.loads((tmp_path / "found" / "predictions.json").read_text())
    found = [entry["area"] for entry in content["annotations"] if entry["image_id"] == 2]
    assert sorted(found) == [48, 50]
    assert summary.at_limit == 2
    assert "on 2 images there are as many regions as DETECTION_MAX_INSTANCES = 2" in str(summary)
    # where no objects are written, there is no limit
    summary = predict(model, photos, tmp_path / "maps", save=["labels"], progress=False)
    assert summary.at_limit == 0


def test_classes_and_confidence(photos, tmp_path):
    options = {"save": ["labels"], "progress": False, "classes": ["cat"]}
    predict(Painter(), photos / "b.png", tmp_path / "cats", **options)
    cats = np.array(Image.open(tmp_path / "cats" / "labels" / "b.png"))
    np.testing.assert_array_equal(cats, np.where(LABELS["b.png"] == 1, 1, 0))
    summary = predict(Painter(), photos / "b.png", tmp_path / "sure", min_confidence=1.0, **options)
    assert (np.array(Image.open(tmp_path / "sure" / "labels" / "b.png")) == 255).all()
    assert summary.void_pixels == LABELS["b.png"].size and "pixels: void 100.00 %" in str(summary)


def test_videos_and_frames(tmp_path, capsys):
    write_video(tmp_path / "clip.avi", 3)
    save = ["video", "frames", "labels", "labelme"]
    summary = predict(Painter(), tmp_path / "clip.avi", tmp_path / "found", save=save)
    numbers = [f"clip.avi/{number:06d}" for number in range(3)]
    assert files(tmp_path / "found") == sorted(
        [
            "clip.avi.mp4",
            "labels/classes.txt",
            *(f"labels/{number}.png" for number in numbers),
            *(f"frames/{number}.png" for number in numbers),
            *(f"labelme/{number}{kind}" for number in numbers for kind in (".json", ".png")),
        ]
    )
    assert summary.images == 3 and "Segmenting" in capsys.readouterr().err


def test_detections_as_label_maps(photos, tmp_path):
    """Of Mask R-CNN: the object of the higher score has the pixel."""
    output = tmp_path / "found"
    summary = predict(Finder(), photos / "a.jpg", output, save=["labels"], progress=False)
    labels = np.array(Image.open(output / "labels" / "a.png"))
    expected = np.zeros((12, 16), np.uint8)
    expected[2:8, 2:6] = 2
    expected[:4, :4] = 1
    np.testing.assert_array_equal(labels, expected)
    assert summary.pixels is None and "2 objects: 1 cat, 1 dog/wolf" in str(summary)


def test_many_classes_have_no_palette(photos, tmp_path):
    class Many(Painter):
        def predict(self, molded):
            labels = np.where(molded[..., 0] > 0, 299, 0)
            return np.eye(300, dtype=np.float32)[labels]

    names = ["BG", *(f"class {number}" for number in range(1, 300))]
    model = Many(NUM_CLASSES=300, IGNORE_LABEL=65535, CLASS_NAMES=names)
    predict(model, photos / "b.png", tmp_path / "found", save=["labels"], progress=False)
    with Image.open(tmp_path / "found" / "labels" / "b.png") as made:
        assert made.mode == "I;16"
        np.testing.assert_array_equal(np.array(made), np.where(LABELS["b.png"] == 2, 299, 0))

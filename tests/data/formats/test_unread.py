"""Formats that are not read: each is told, with a way to convert it."""

import json
import os
import re

import pytest

from mrcnn.data.formats import open_dataset
from mrcnn.data.formats.registry import MissingPart
from mrcnn.data.formats.unread import FORMATS_NOT_READ

COCO = {"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "cat"}]}
PANOPTIC = {**COCO, "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": []}]}
LVIS = {
    **COCO,
    "images": [{"id": 1, "coco_url": "http://images.cocodataset.org/train2017/1.jpg"}],
    "annotations": [],
}
VIA_3 = {"project": {}, "config": {}, "attribute": {}, "file": {}, "metadata": {}, "view": {}}
SUPERVISELY = {"description": "", "tags": [], "size": {"height": 6, "width": 8}, "objects": []}
DATUMARO = {"info": {}, "categories": {}, "items": []}
OUTLINE, BOX = "1 0.1 0.1 0.5 0.1 0.5 0.5", "0 0.5 0.5 0.25 1"
CVAT = '<?xml version="1.0"?>\n<annotations>\n<image id="0" name="a.jpg"></image></annotations>'
VOC = "<annotation><filename>a.jpg</filename><object></object></annotation>"
CSV = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes\n"

# {kind: {file: its contents}}
LAYOUTS = {
    "yolo_outlines": {
        "data.yaml": "train: images\nnames: [cat]",
        "images/a.jpg": "",
        "labels/a.txt": "",  # an image without objects
        "labels/b.txt": OUTLINE,
    },
    "yolo_boxes": {"data.yaml": "nc: 1\nnames: [cat]", "images/a.jpg": "", "labels/a.txt": BOX},
    "yolo": {"data.yaml": "train: images\nnames:\n  0: cat", "images/a.jpg": ""},
    "voc": {"JPEGImages/a.jpg": "", "Annotations/a.xml": VOC},
    "cvat": {"annotations.xml": CVAT, "images/a.jpg": ""},
    "supervisely": {
        "meta.json": json.dumps({"classes": [{"title": "cat"}], "tags": []}),
        "ds/ann/a.jpg.json": json.dumps(SUPERVISELY),
        "ds/img/a.jpg": "",
    },
    "panoptic": {"annotations/panoptic_val2017.json": json.dumps(PANOPTIC), "val2017/a.jpg": ""},
    "cityscapes": {
        "leftImg8bit/train/aachen/a_leftImg8bit.png": "",
        "gtFine/train/aachen/a_gtFine_instanceIds.png": "",
    },
    "tfrecord": {"train.record-00000-of-00002": "", "label_map.pbtxt": ""},
    "via_csv": {"via_export_csv.csv": CSV, "a.jpg": ""},
    "via_3": {"via_project.json": json.dumps(VIA_3), "a.jpg": ""},
    "lvis": {"lvis_v1_train.json": json.dumps(LVIS), "a.jpg": ""},
    "datumaro": {"annotations/default.json": json.dumps(DATUMARO), "images/default/a.jpg": ""},
    "mots": {"instances/0000/000000.png": "", "instances_txt/0000.txt": "0 1 1 6 8 UkW52"},
    "kitti": {"training/image_2/a.png": "", "training/instance/a.png": ""},
    "label_studio": {"export.json": json.dumps([{"id": 1, "data": {}, "annotations": []}])},
}


def write(folder, files):
    for name, contents in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(contents)


def message(path, **options):
    with pytest.raises(ValueError) as error:
        open_dataset(path, **options)
    return str(error.value)


def test_every_format_has_a_test():
    assert set(LAYOUTS) == set(FORMATS_NOT_READ)


def words(kind):
    """The name of a format and how to convert it, in the words of the API."""
    name, how = FORMATS_NOT_READ[kind]
    return name, how.format(
        masks="mask_dir",
        boxes="boxes_as_masks=True",
        crowds='crowds="objects"',
        labels='format="labels"',
    )


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_folder(tmp_path, kind):
    write(tmp_path, LAYOUTS[kind])
    name, how = words(kind)
    said = message(tmp_path)
    assert f"{tmp_path} has no annotations that are known. It has " in said
    assert said.endswith(f". This looks like {name}, which is not read: {how}")


@pytest.mark.parametrize(
    "kind, file",
    [
        ("panoptic", "annotations/panoptic_val2017.json"),
        ("via_3", "via_project.json"),
        ("lvis", "lvis_v1_train.json"),
        ("datumaro", "annotations/default.json"),
        ("supervisely", "ds/ann/a.jpg.json"),
        ("label_studio", "export.json"),
        ("cvat", "annotations.xml"),
        ("voc", "Annotations/a.xml"),
        ("via_csv", "via_export_csv.csv"),
        ("yolo", "data.yaml"),
        ("tfrecord", "train.record-00000-of-00002"),
    ],
)
def test_a_file(tmp_path, kind, file):
    write(tmp_path, LAYOUTS[kind])
    name, how = words(kind)
    assert message(tmp_path / file) == (
        f"{tmp_path / file} is no annotation file that is read here. This looks like {name}, which "
        f"is not read: {how}"
    )


def test_what_there_is_is_counted(tmp_path):
    names = [f"images/{number}" for number in range(20)]
    write(tmp_path, {f"{name}.jpg": "" for name in names})
    write(tmp_path, {f"{name.replace('images', 'labels')}.txt": OUTLINE for name in names})
    write(tmp_path, {"data.yaml": "names: [cat]\nnc: 1", ".hidden.json": "{"})
    assert "It has 20 .jpg images, 20 .txt files and data.yaml. This looks like YOLO" in message(
        tmp_path
    )


def test_a_pipe_says_nothing(tmp_path):
    """It would be waited for."""
    os.mkfifo(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match="It has notes.txt. What is read"):
        open_dataset(tmp_path)


def test_images_alone(tmp_path):
    write(tmp_path, {"a.jpg": "", "b.jpg": ""})
    assert "It has 2 .jpg images, and no annotations: annotate the outlines" in message(tmp_path)


def test_an_empty_folder(tmp_path):
    assert "It is empty. What is read: COCO json" in message(tmp_path)


def test_files_that_say_nothing(tmp_path):
    write(tmp_path, {"notes.txt": "5 apples", "b.csv": "x,y\n", "c.xml": "<a/>", "d.json": "{}"})
    assert re.search(r"It has (\S+, ){2}\S+ and \S+\. What is read: COCO json", message(tmp_path))


@pytest.mark.parametrize(
    "name, words",
    [
        ("photo.JPG", "This is an image: give the file of its annotations"),
        ("data.zip", "This is an archive: unpack it"),
        ("part-00000-of-00002.tfrecord", "This is a cache of which the writing was not finished"),
    ],
)
def test_files_without_annotations(tmp_path, name, words):
    write(tmp_path, {name: ""})
    assert words in message(tmp_path / name)


def test_a_panoptic_file_does_not_hide_the_instances(tmp_path):
    write(tmp_path, {"panoptic.json": json.dumps(PANOPTIC), "i.json": json.dumps(COCO)})
    dataset = open_dataset(tmp_path, skip_missing=True)
    assert dataset.class_names == ["BG", "cat"]


def test_another_subset_of_annotations_is_no_coco_json(tmp_path):
    write(tmp_path, LAYOUTS["datumaro"])
    assert "This looks like Datumaro json" in message(tmp_path, subset="default")


@pytest.mark.parametrize("more", [{"items": []}, VIA_3, SUPERVISELY], ids=["items", "via", "size"])
def test_coco_json_with_keys_of_other_formats(tmp_path, more):
    write(tmp_path, {"c.json": json.dumps({**COCO, "annotations": [], **more})})
    assert open_dataset(tmp_path, skip_missing=True).class_names == ["BG", "cat"]


def test_a_part_that_is_there_but_is_not_read_is_not_missing(tmp_path):
    """Only images without any annotations are no part of annotated data."""
    coco = json.dumps({**COCO, "annotations": []})
    write(tmp_path, {"annotations/instances_train2017.json": coco, "val/a.jpg": ""})
    write(tmp_path, {"val/README.txt": "Photos of cats."})
    for part in ("val", "test"):
        with pytest.raises(MissingPart, match=f"no annotations of '{part}' that are known"):
            open_dataset(tmp_path, subset=part)
    for name in ("val/a.json", "val/labels/a.txt", "val/a.xml", "annotations/val.json"):
        write(tmp_path, {name: "[1]"})
        assert "no annotations of 'val' that are known" in message(tmp_path, subset="val")
        (tmp_path / name).unlink()
    write(tmp_path, {"annotations/val.json": "{"})
    assert "val.json is not JSON" in message(tmp_path, subset="val")

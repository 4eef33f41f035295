"""Any format by its contents, in the layouts that its tools make."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.formats import open_dataset
from tests.tiny import image

SQUARE_X, SQUARE_Y = [2, 20, 20, 2], [3, 3, 15, 15]


def photo(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image(30, 40, seed)).save(path)


def write(path, contents):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(contents))


def coco(folder, json_path, image_path):
    photo(folder / image_path)
    square = [value for point in zip(SQUARE_X, SQUARE_Y) for value in point]
    write(
        folder / json_path,
        {
            "images": [
                {"id": 5, "file_name": (folder / image_path).name, "height": 30, "width": 40}
            ],
            "categories": [{"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}],
            "annotations": [
                {"id": 1, "image_id": 5, "category_id": 8, "segmentation": [square], "iscrowd": 0}
            ],
        },
    )


def via(folder, json_path="via_region_data.json"):
    photo((folder / json_path).parent / "a.png")
    shape = {"name": "polygon", "all_points_x": SQUARE_X, "all_points_y": SQUARE_Y}
    write(
        folder / json_path,
        {
            "a.png99": {
                "filename": "a.png",
                "size": 99,
                "file_attributes": {},
                "regions": [{"shape_attributes": shape, "region_attributes": {"kind": "dog"}}],
            }
        },
    )


def labelme(folder):
    square = {"label": "dog", "points": list(map(list, zip(SQUARE_X, SQUARE_Y)))}
    for name in ("a", "b"):
        photo(folder / f"{name}.png")
        write(
            folder / f"{name}.json",
            {"shapes": [square], "imagePath": f"{name}.png", "imageData": None},
        )


def id_masks(folder, images="PNGImages", masks="PedMasks", suffix="_mask"):
    photo(folder / images / "a.png")
    mask = np.zeros((30, 40), np.uint8)
    mask[3:16, 2:21] = 1
    (folder / masks).mkdir(parents=True)
    Image.fromarray(mask).save(folder / masks / f"a{suffix}.png")


def object_masks(folder):
    for name in ("x1", "x2"):
        id_masks(folder / name, "images", "masks", "_0")
        os.rename(folder / name / "images" / "a.png", folder / name / "images" / f"{name}.png")


LAYOUTS = {
    "coco file": (lambda f: coco(f, "c.json", "a.jpg"), "c.json", {}, "CocoJson"),
    "coco file, images elsewhere": (
        lambda f: coco(f, "c.json", "far/away/a.jpg"),
        "c.json",
        {"image_dir": "far/away"},
        "CocoJson",
    ),
    "coco": (
        lambda f: coco(f, "annotations/instances_val2017.json", "val2017/a.jpg"),
        "",
        {},
        "CocoJson",
    ),
    "coco subset": (
        lambda f: [
            coco(f, f"annotations/instances_{name}2017.json", f"{name}2017/a.jpg")
            for name in ("train", "val", "trainval")
        ],
        "",
        {"subset": "val"},
        "CocoJson",
    ),
    "coco subset by year": (
        lambda f: [
            coco(f, f"annotations/instances_val{year}.json", f"val{year}/a.jpg")
            for year in (2014, 2017)
        ],
        "",
        {"subset": "val2017"},
        "CocoJson",
    ),
    "coco beside keypoints": (
        lambda f: [
            coco(f, f"annotations/{name}_val2017.json", "val2017/a.jpg")
            for name in ("person_keypoints", "instances", "captions")
        ],
        "",
        {},
        "CocoJson",
    ),
    "cvat": (
        lambda f: coco(f, "annotations/instances_default.json", "images/a.jpg"),
        "",
        {},
        "CocoJson",
    ),
    "roboflow": (
        lambda f: [
            coco(f, f"{name}/_annotations.coco.json", f"{name}/a.jpg")
            for name in ("train", "valid")
        ],
        "",
        {"subset": "valid"},
        "CocoJson",
    ),
    "via file": (via, "via_region_data.json", {}, "Via"),
    "via": (via, "", {}, "Via"),
    "via subset": (
        lambda f: [via(f, f"{name}/via_region_data.json") for name in ("train", "val")],
        "",
        {"subset": "val"},
        "Via",
    ),
    "labelme": (labelme, "", {}, "Labelme"),
    "labelme file": (labelme, "a.json", {}, "Labelme"),
    "labelme subset": (
        lambda f: [labelme(f / name) for name in ("train", "val")],
        "",
        {"subset": "val"},
        "Labelme",
    ),
    "penn-fudan": (id_masks, "", {}, "MaskPng"),
    "id masks": (lambda f: id_masks(f, "images", "masks", ""), "", {}, "MaskPng"),
    "data science bowl": (object_masks, "", {}, "MaskPng"),
    "data science bowl subset": (
        lambda f: object_masks(f / "stage1_train"),
        "",
        {"subset": "stage1_train"},
        "MaskPng",
    ),
}


@pytest.mark.parametrize("make, path, options, kind", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(tmp_path, make, path, options, kind):
    make(tmp_path)
    if "image_dir" in options:
        options = {"image_dir": str(tmp_path / options["image_dir"])}
    dataset = open_dataset(tmp_path / path if path else tmp_path, **options)
    assert type(dataset).__name__ == kind
    assert dataset.num_images == (
        2 if kind == "Labelme" or make is object_masks or "stage1" in str(options) else 1
    )
    masks, class_ids = dataset.load_mask(0)
    # 19 x 13 px with the edges, 18 x 12 where a pixel counts by its centre
    assert masks.shape == (30, 40, 1) and masks.sum() in (19 * 13, 18 * 12)
    assert dataset.class_names[class_ids[0]] == ("object" if kind == "MaskPng" else "dog")
    assert dataset.load_image(0).shape == (30, 40, 3)


def test_classes_are_numbered_alike(tmp_path):
    for name, make in (
        ("coco", lambda f: coco(f, "c.json", "a.jpg")),
        ("via", via),
        ("labelme", labelme),
    ):
        make(tmp_path / name)
        dataset = open_dataset(tmp_path / name, classes=["dog"])
        assert dataset.class_names == ["BG", "dog"] and dataset.load_mask(0)[1].tolist() == [1]
    assert open_dataset(tmp_path / "via", classes=["cat", "dog"]).load_mask(0)[1].tolist() == [2]
    dataset = open_dataset(tmp_path / "coco", classes=["dog", "cat"])
    assert dataset.class_names == ["BG", "dog", "cat"] and dataset.load_mask(0)[1].tolist() == [1]
    # a class without an object, as the validation data may have
    for name in (
        "coco",
        "via",
        "labelme",
    ):
        dataset = open_dataset(tmp_path / name, classes=["bird", "dog"])
        assert dataset.class_names == ["BG", "bird", "dog"] and dataset.load_mask(0)[
            1
        ].tolist() == [2]
    # an image without an object of the classes is part of the data all the same
    assert open_dataset(tmp_path / "coco", classes=["cat"]).num_images == 1
    id_masks(tmp_path / "ids")
    assert open_dataset(tmp_path / "ids", classes=["person"]).class_names == ["BG", "person"]
    with pytest.raises(ValueError, match="masks have no classes"):
        open_dataset(tmp_path / "ids", classes=["person", "dog"])


@pytest.mark.parametrize("make", [via, labelme, id_masks, object_masks])
def test_classes_that_a_model_lacks(tmp_path, make):
    make(tmp_path)
    if make in (id_masks, object_masks):  # of the one class that it is given
        dataset = open_dataset(tmp_path, classes=["cat"], other_classes=True)
        assert dataset.class_names == ["BG", "cat"]
        return
    dataset = open_dataset(tmp_path, classes=["cat"], other_classes=True)
    assert dataset.class_names == ["BG", "cat", "dog"] and not len(dataset.left_out)
    assert dataset.load_mask(0)[1].tolist() == [2]
    assert open_dataset(tmp_path, classes=["cat"]).load_mask(0)[1].tolist() == []
    # no list of categories says that nobody looked for cats
    assert dataset.is_labelled(1)


@pytest.mark.parametrize("kind", ["coco", "via", "labelme"])
def test_names_that_look_alike_are_found_by_check(tmp_path, kind):
    """VIA's names have no spaces at their ends, which people type beside a name unseen."""
    names = ["cat", "Cat" if kind == "via" else "cat ", "big  dog", "Big dog", "bird"]
    points = [[5, 5], [20, 5], [20, 20]]
    photo(tmp_path / "a.jpg")
    contents = {
        "coco": {
            "images": [{"id": 1, "file_name": "a.jpg"}],
            "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
            "annotations": [],
        },
        "via": {
            "a": {
                "filename": "a.jpg",
                "regions": [
                    {
                        "shape_attributes": {
                            "name": "polygon",
                            "all_points_x": [x for x, _ in points],
                            "all_points_y": [y for _, y in points],
                        },
                        "region_attributes": {"type": name},
                    }
                    for name in names
                ],
            }
        },
        "labelme": {
            "imagePath": "a.jpg",
            "shapes": [{"label": name, "points": points} for name in names],
        },
    }
    write(tmp_path / "a.json", contents[kind])
    findings = open_dataset(tmp_path / "a.json").check(progress=False).findings
    found = [finding for finding in findings if finding.kind.startswith("class names differ")]
    alike = sorted(sorted(finding.place.split(", ")) for finding in found)
    assert alike == sorted([sorted(map(repr, names[:2])), sorted(map(repr, names[2:4]))])
    assert all("spell it alike in all annotations" in finding.message for finding in found)


def test_files_of_the_current_folder(tmp_path, monkeypatch):
    for make, name in ((labelme, "a.json"), (via, "via.json"), (coco, "c.json")):
        make(tmp_path / name, *{labelme: (), via: (name,), coco: (name, "a.jpg")}[make])
        monkeypatch.chdir(tmp_path / name)
        assert open_dataset(name).load_image(0).shape == (30, 40, 3)


def test_borders_of_pascal_voc_are_no_object(tmp_path):
    id_masks(tmp_path, "JPEGImages", "SegmentationObject", "")
    path = tmp_path / "SegmentationObject" / "a.png"
    with Image.open(path) as mask:
        bordered = np.array(mask)
    bordered[2, 2:21] = 255
    Image.fromarray(bordered).save(path)
    assert open_dataset(tmp_path).load_mask(0)[0].sum(axis=(0, 1)).tolist() == [13 * 19]
    assert open_dataset(tmp_path, ignore=()).load_mask(0)[0].sum(axis=(0, 1)).tolist() == [
        13 * 19,
        19,
    ]


def test_options_go_to_the_format(tmp_path):
    via(tmp_path)
    assert open_dataset(tmp_path, class_attribute="", classes=["thing"]).class_names == [
        "BG",
        "thing",
    ]
    with pytest.raises(TypeError, match="bogus"):
        open_dataset(tmp_path, bogus=1)


def test_subsets_are_named_where_none_was_given(tmp_path):
    for subset in ("train", "val"):
        (tmp_path / subset).mkdir()
        via(tmp_path / subset)
    (tmp_path / "notes").mkdir()
    with pytest.raises(
        ValueError, match="no annotations that are known.*; train, val have some: give a subset"
    ):
        open_dataset(tmp_path)


def test_a_format_of_one_s_choice(tmp_path):
    via(tmp_path)
    coco(tmp_path, "c.json", "a.jpg")
    with pytest.raises(
        ValueError, match="several annotations, .*c.json, .*via_region_data.json: give one"
    ):
        open_dataset(tmp_path)
    assert type(open_dataset(tmp_path, format="via")).__name__ == "Via"
    assert type(open_dataset(tmp_path, format="coco")).__name__ == "CocoJson"


@pytest.mark.parametrize(
    "path, options, error, message",
    [
        ("gone", {}, FileNotFoundError, "gone is missing: expected an annotation file or a folder"),
        ("", {}, ValueError, "no annotations that are known. It is empty. What is read: COCO json"),
        ("", {"subset": "val"}, FileNotFoundError, "no folder 'val' and no folder 'annotations'"),
        ("", {"format": "yolo"}, ValueError, "format is 'yolo'; use 'auto' or one of coco"),
        ("other.json", {}, ValueError, "other.json is none of the annotation files known here"),
        (
            "other.json",
            {"subset": "val"},
            ValueError,
            "subset is 'val', but .*other.json is a file",
        ),
        (
            "other.json",
            {"format": "id_masks"},
            ValueError,
            "other.json is a file: the format id_masks is a folder",
        ),
        (
            "other.json",
            {"format": "object_masks"},
            ValueError,
            "other.json is a file: the format object_masks is a folder",
        ),
        ("broken.json", {}, ValueError, "broken.json is not JSON"),
        ("list.json", {}, ValueError, "list.json is none of"),
        ("empty.json", {}, ValueError, "empty.json is none of"),
        (
            "ids",
            {"image_dir": "x"},
            ValueError,
            "image_dir, x, but the format id_masks of .*PedMasks says itself",
        ),
        (
            "ids",
            {"format": "coco"},
            ValueError,
            "no annotations that are known as coco: .*there is id_masks in",
        ),
    ],
)
def test_what_is_no_dataset(tmp_path, path, options, error, message):
    folder = tmp_path / "data"
    folder.mkdir()
    if path.endswith(".json"):
        texts = {
            "other.json": '{"a": 1}',
            "broken.json": "{",
            "list.json": "[]",
            "empty.json": "{}",
        }
        (folder / path).write_text(texts[path])
    if path == "ids":
        id_masks(folder / "ids")
    with pytest.raises(error, match=message):
        open_dataset(folder / path if path else folder, **options)


def test_other_json_files_do_not_hide_the_annotations(tmp_path):
    coco(tmp_path, "train/_annotations.coco.json", "train/a.jpg")
    write(tmp_path / "train" / "settings.json", {"epochs": 3})
    shutil.copy(tmp_path / "train" / "settings.json", tmp_path / "train" / ".hidden.json")
    assert open_dataset(tmp_path, subset="train").num_images == 1


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "parts", [("train", "val"), ("Train", "valid", "test"), ("fold1", "fold2"), ("A", "B", "train")]
)
def test_parts_of_a_data_set_are_no_images(tmp_path, parts, count):
    """train/{images,masks} looks like <id>/{images,masks} of an image called train."""
    for part in parts:
        for folder in ("images", "masks"):
            (tmp_path / part / folder).mkdir(parents=True)
            for number in range(count):
                path = tmp_path / part / folder / f"{number}.png"
                Image.fromarray(np.full((20, 30), folder == "masks", np.uint8)).save(path)
    with pytest.raises(ValueError, match=f"{', '.join(sorted(parts))} have some: give a subset"):
        open_dataset(tmp_path)
    dataset = open_dataset(tmp_path, subset=parts[0])
    assert [info["id"] for info in dataset.image_info] == [str(n) for n in range(count)]


@pytest.mark.parametrize("folders", [("image", "mask"), ("images", "mask"), ("img", "mask")])
def test_other_names_of_the_folders_of_masks(tmp_path, folders):
    for folder in folders:
        (tmp_path / folder).mkdir()
        Image.fromarray(np.ones((20, 30), np.uint8)).save(tmp_path / folder / "a.png")
    assert len(open_dataset(tmp_path).image_info) == 1


def test_objects_of_one_mask_each_where_the_format_says_so(tmp_path):
    for name in ("A", "B"):
        id_masks(tmp_path / name, "images", "masks", "")
    with pytest.raises(ValueError, match="A, B have some"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, "object_masks").num_images == 2


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    for path in (tmp_path / "a.json", "/dev/null"):
        with pytest.raises(ValueError, match=f"{path} is a pipe or a device: expected an annotat"):
            open_dataset(path)
    with pytest.raises(ValueError, match="a.json is a pipe or a device"):
        open_dataset(tmp_path)

"""COCO json as COCO and labelling tools write it, and as users break it."""

import contextlib
import copy
import json
import logging
import os

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from mrcnn.data.class_checks import check_classes
from mrcnn.data.formats import regions
from mrcnn.data.formats.coco import CocoJson
from mrcnn.data.formats.left_out import UNREADABLE_IMAGE
from mrcnn.data.formats.regions import UNREADABLE_CLASS, UNREADABLE_OBJECT
from tests.tiny import image, tiny_config

TRIANGLE = [5.5, 4.0, 30.2, 6.1, 12.0, 25.7]
SQUARE = [20, 20, 40, 20, 40, 35, 20, 35]
BEYOND = [-10, -10, 8, -10, 8, 6, -10, 6]


def annotation(number, image_id, category_id, segmentation, **more):
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": segmentation,
        "area": 1.0,
        "bbox": [0, 0, 1, 1],
        "iscrowd": 0,
        **more,
    }


def rle_of(mask, compressed=True):
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    if compressed:
        return {"size": list(mask.shape), "counts": rle["counts"].decode()}
    flat = mask.ravel(order="F").astype(int)
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": ([0] if flat[0] else []) + counts}


BLOB = np.zeros((40, 60), bool)
BLOB[3:9, 50:] = BLOB[20:30, 2:9] = True


@pytest.fixture
def data():
    """Three images; ids of classes and images with gaps, as COCO has them."""
    return {
        "info": {"year": 2017},
        "licenses": [],
        "images": [
            {"id": 397133, "file_name": "a.jpg", "height": 40, "width": 60, "license": 1},
            {"id": 9, "file_name": "b.png", "height": 40, "width": 60},
            {"id": 25, "file_name": "empty.png", "height": 40, "width": 60},
        ],
        "categories": [
            {"id": 90, "name": "toothbrush", "supercategory": "indoor"},
            {"id": 1, "name": "person", "supercategory": "person"},
            {"id": 18, "name": "dog"},
        ],
        "annotations": [
            annotation(7, 397133, 18, [TRIANGLE, SQUARE]),
            annotation(8, 397133, 1, [BEYOND]),
            annotation(9, 9, 90, rle_of(BLOB)),
            annotation(10, 9, 1, rle_of(BLOB, compressed=False), iscrowd=1),
            annotation(11, 9, 18, [SQUARE]),
        ],
    }


def save(folder, data, subset="train2017"):
    """The files in COCO's own layout; returns (annotation file, image folder)."""
    images = folder / subset
    images.mkdir(parents=True, exist_ok=True)
    for seed, item in enumerate(data["images"] if isinstance(data, dict) else ()):
        name = item.get("file_name", "x.png").replace("\\", "/")
        Image.fromarray(image(40, 60, seed)).save(images / os.path.basename(name))
    (folder / "annotations").mkdir(exist_ok=True)
    path = folder / "annotations" / f"instances_{subset}.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return str(path), str(images)


def load(folder, data, **options):
    dataset = CocoJson()
    dataset.load_coco_json(*save(folder, data), **options)
    dataset.prepare()
    return dataset


def drawn(polygons, height=40, width=60):
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))).astype(
        bool
    )


# === What is read ===


def test_images_classes_and_masks(tmp_path, data):
    dataset = load(tmp_path, data)
    assert dataset.class_names == ["BG", "person", "dog", "toothbrush"]  # by id, not as they stand
    assert [info["id"] for info in dataset.image_info] == [397133, 9, 25]
    assert (
        dataset.map_source_class_id("coco.90") == 3 and dataset.get_source_class_id(2, "coco") == 18
    )
    assert (
        dataset.image_info[0]["path"]
        == str(tmp_path / "train2017" / "a.jpg")
        == dataset.image_reference(0)
    )

    masks, class_ids = dataset.load_mask(0)
    assert masks.dtype == bool and class_ids.dtype == np.int32 and class_ids.tolist() == [2, 1]
    np.testing.assert_array_equal(masks[..., 0], drawn([TRIANGLE, SQUARE]))
    np.testing.assert_array_equal(masks[..., 1], drawn([BEYOND]))  # cut off at the image's edge

    masks, class_ids = dataset.load_mask(1)
    assert class_ids.tolist() == [3, -1, 2]  # a crowd is negative, as in the original
    # overlaps are kept
    np.testing.assert_array_equal(masks, np.stack([BLOB, BLOB, drawn([SQUARE])], axis=-1))

    masks, class_ids = dataset.load_mask(2)
    assert masks.shape == (40, 60, 0) and masks.dtype == bool and class_ids.shape == (0,)
    assert not len(dataset.left_out) and str(dataset.left_out) == ""
    assert dataset.load_image(0).shape == (40, 60, 3)


def test_measured_without_drawing(tmp_path, data):
    dataset = load(tmp_path, data)
    for image_id in dataset.image_ids:
        masks, class_ids = dataset.load_mask(image_id)
        size, ids, areas = dataset.measure_objects(image_id)
        assert size == (40, 60) and ids.tolist() == class_ids.tolist()
        np.testing.assert_array_equal(areas, masks.sum(axis=(0, 1)))


@pytest.mark.parametrize("class_ids", [[18, 1], ["dog", "person"], [18, "person"]])
def test_some_classes_in_an_order(tmp_path, data, class_ids):
    dataset = load(tmp_path, data, class_ids=class_ids)
    assert dataset.class_names == ["BG", "dog", "person"]
    # only images with one of them
    assert [info["id"] for info in dataset.image_info] == [
        397133,
        9,
    ]
    assert dataset.load_mask(0)[1].tolist() == [1, 2] and dataset.load_mask(1)[1].tolist() == [
        -2,
        1,
    ]


def test_empty_images_on_request(tmp_path, data):
    assert load(tmp_path, data, class_ids=["toothbrush"], keep_empty=True).num_images == 3
    assert load(tmp_path, data, keep_empty=False).num_images == 2


def test_classes_that_the_file_lacks(tmp_path, data):
    names = ["bird", "dog", "cat", "person"]
    with pytest.raises(ValueError, match="class_ids has 'bird'"):
        load(tmp_path, data, class_ids=names)
    dataset = load(tmp_path, data, class_ids=names, allow_absent=True)
    assert dataset.class_names == ["BG", *names] and dataset.load_mask(0)[1].tolist() == [2, 4]
    assert dataset.source_class_ids["coco"] == [0, 1, 2, 3, 4]
    for wrong, said in (
        (
            ["bird", "cat"],
            r"class_ids is \['bird', 'cat'\], none of which is a category of .*json: ",
        ),
        ([5], "class_ids has 5, which is no category of .*json: "),
    ):
        with pytest.raises(ValueError, match=said):
            load(tmp_path, data, class_ids=wrong, allow_absent=True)


def test_classes_merged(tmp_path, data):
    dataset = load(tmp_path, data, class_map={"dog": "animal", 1: "animal", "toothbrush": "brush"})
    assert dataset.class_names == ["BG", "animal", "brush"]
    assert dataset.load_mask(0)[1].tolist() == [1, 1] and dataset.load_mask(1)[1].tolist() == [
        2,
        -1,
        1,
    ]
    only = load(
        tmp_path / "only", data, class_map={"dog": "animal", 1: "animal"}, class_ids=["animal"]
    )
    assert only.class_names == ["BG", "animal"] and only.load_mask(1)[1].tolist() == [-1, 1]


def test_two_files_in_one_dataset(tmp_path, data):
    dataset = CocoJson()
    dataset.load_coco_json(*save(tmp_path, data))
    other = copy.deepcopy(data)
    for item in other["images"]:
        item["id"] += 1000000
    for item in other["annotations"]:
        item["image_id"] += 1000000
    dataset.load_coco_json(*save(tmp_path, other, "val2017"))
    dataset.prepare()
    assert dataset.num_images == 6 and dataset.num_classes == 4


def test_a_test_set_has_no_annotations(tmp_path, data):
    del data["annotations"]
    dataset = load(tmp_path, data)
    assert dataset.num_images == 3 and dataset.load_mask(1)[0].shape == (40, 60, 0)


def test_contents_in_place_of_a_file(tmp_path, data):
    _, images = save(tmp_path, data)
    dataset = CocoJson()
    dataset.load_coco_json(data, images, source="mine")
    dataset.prepare()
    assert dataset.map_source_class_id("mine.18") == 2
    with pytest.raises(ValueError, match="need an image_dir"):
        CocoJson().load_coco_json(data)


@pytest.mark.parametrize(
    "images, names",
    [
        ("val2017", ["a.jpg", "b.png", "empty.png"]),  # COCO
        ("images/val2017", ["a.jpg", "b.png", "empty.png"]),
        ("images", ["a.jpg", "b.png", "empty.png"]),  # CVAT
        # Label Studio, on Windows too
        (
            "images",
            ["images/a.jpg", "images\\b.png", "C:\\me\\empty.png"],
        ),
        ("annotations", ["a.jpg", "b.png", "empty.png"]),  # Roboflow: beside the file
    ],
)
def test_usual_places_of_images(tmp_path, data, images, names):
    for item, name in zip(data["images"], names):
        item["file_name"] = name
    path, written = save(tmp_path, data, "val2017")
    target = tmp_path / images
    target.mkdir(parents=True, exist_ok=True)
    for name in os.listdir(written):
        os.rename(os.path.join(written, name), target / name)
    dataset = CocoJson()
    dataset.load_coco_json(path)
    assert [os.path.basename(info["path"]) for info in dataset.image_info] == [
        "a.jpg",
        "b.png",
        "empty.png",
    ]


def test_a_polygon_without_its_outer_list(tmp_path, data):
    """As several converters write it: roboflow/supervision#205, jsbroks/imantics#62."""
    data["annotations"] = [annotation(1, 9, 1, SQUARE)]
    np.testing.assert_array_equal(load(tmp_path, data).load_mask(1)[0][..., 0], drawn([SQUARE]))


@pytest.mark.parametrize(
    "section, key, kind",
    [
        ("annotations", "image_id", str),
        ("annotations", "image_id", float),
        ("annotations", "category_id", str),
        ("images", "id", str),
        ("categories", "id", str),
    ],
)
def test_ids_that_are_a_number_here_and_text_there(tmp_path, data, section, key, kind):
    """VIA wrote "image_id": "0", PyLabel "category_id": "0": dbolya/yolact#156,
    pylabel-project/pylabel#46.
    """
    whole = load(tmp_path / "whole", data)
    for item in data[section]:
        item[key] = kind(item[key])
    dataset = load(tmp_path / "mixed", data)
    assert not len(dataset.left_out) and sorted(dataset.class_names) == sorted(whole.class_names)
    for image_id in whole.image_ids:
        (masks, ids), (wanted, wanted_ids) = dataset.load_mask(image_id), whole.load_mask(image_id)
        np.testing.assert_array_equal(masks, wanted)
        assert [dataset.class_names[abs(one)] for one in ids] == [
            whole.class_names[abs(one)] for one in wanted_ids
        ]


def test_ids_that_are_whole_floats(tmp_path, data):
    """As pandas and JavaScript write them."""
    expected = load(tmp_path, data)
    for section in ("images", "categories", "annotations"):
        for item in data[section]:
            item.update({key: float(item[key]) for key in item if key.endswith("id")})
    found = load(tmp_path, data)
    ids = [[info["id"] for info in dataset.image_info] for dataset in (found, expected)]
    assert ids[0] == ids[1]
    assert all(isinstance(info["id"], int) for info in found.image_info)
    for image_id in expected.image_ids:
        for one, other in zip(found.load_mask(image_id), expected.load_mask(image_id)):
            np.testing.assert_array_equal(one, other)


def test_ids_that_are_numbers_and_text(tmp_path, data):
    data["categories"][1]["id"] = "person"
    for record in data["annotations"]:
        record["category_id"] = "person" if record["category_id"] == 1 else record["category_id"]
    assert sorted(load(tmp_path, data).class_names[1:]) == ["dog", "person", "toothbrush"]


def test_masks_that_take_gigabytes_are_told_once(tmp_path, data, monkeypatch, caplog):
    monkeypatch.setattr(regions, "LARGE", 3 * 40 * 60)
    data["annotations"].append(annotation(12, 9, 18, [TRIANGLE]))
    dataset = load(tmp_path, data)
    for image_id in (*dataset.image_ids, *dataset.image_ids):
        dataset.load_mask(image_id)
    (said,) = (text for text in caplog.messages if "GB" in text)
    assert "b.png: the masks of its 4 objects, of 40 x 60 px each, take 0.0 GB" in said


def test_no_word_on_crowds_is_no_crowd(tmp_path, data):
    data["annotations"][0]["iscrowd"] = None
    del data["annotations"][1]["iscrowd"]
    assert load(tmp_path, data).load_mask(0)[1].tolist() == [2, 1]


def test_class_names_of_another_dataset_are_cut_at_the_comma(tmp_path, data):
    data["categories"][2]["name"] = "dog, domestic dog"
    names = load(tmp_path, data).class_names
    assert names == ["BG", "person", "dog", "toothbrush"]
    again = load(tmp_path / "again", data, class_ids=names[:0:-1])
    assert again.class_names == ["BG", "toothbrush", "dog", "person"] and again.load_mask(0)[
        1
    ].tolist() == [2, 3]


def named(data, *names):
    """The data with categories of these names in the place of its own."""
    for category, name in zip(data["categories"], names, strict=True):
        category["name"] = name  # of the ids 90, 1 and 18
    return data


@pytest.mark.parametrize(
    "names, expected",
    [
        (("fish", "fish", "crab"), ["fish (1)", "crab", "fish (90)"]),  # Roboflow's project
        (("Bottle, glass", "Can", "Bottle, plastic"), ["Can", "Bottle, plastic", "Bottle, glass"]),
        (("fish", "fish", "fish"), ["fish (1)", "fish (18)", "fish (90)"]),
        (("fish (1)", "fish", "fish"), ["fish (1) (1)", "fish (18)", "fish (1) (90)"]),
        (("cat ", "cat", "Cat"), ["cat", "Cat", "cat "]),
    ],
)
def test_equal_names_are_told_apart(tmp_path, data, names, expected):
    dataset = load(tmp_path, named(data, *names))
    assert dataset.class_names == ["BG", *expected]
    for number, asked in enumerate((expected, expected[::-1], expected[1:] + expected[:1])):
        again = load(tmp_path / str(number), data, class_ids=asked, keep_empty=True)
        assert again.class_names == ["BG", *asked]
        for image_id in dataset.image_ids:
            (masks, ids), (wanted, wanted_ids) = (
                again.load_mask(image_id),
                dataset.load_mask(image_id),
            )
            np.testing.assert_array_equal(masks, wanted)
            assert [again.class_names[abs(one)] for one in ids] == [
                dataset.class_names[abs(one)] for one in wanted_ids
            ]
    # one alone keeps its name
    for number, name in enumerate(expected):
        alone = load(tmp_path / f"alone {number}", data, class_ids=[name], keep_empty=True)
        assert alone.class_names == ["BG", name]
        assert [len(alone.load_mask(image_id)[1]) for image_id in range(3)] == [
            int((np.abs(dataset.load_mask(image_id)[1]) == number + 1).sum())
            for image_id in range(3)
        ]


@pytest.mark.parametrize(
    "asked, ids",
    [
        (["Bottle", "Bottle, glass"], [18, 90]),  # glass is asked for by its whole name
        (["Bottle, glass", "Bottle"], [90, 18]),
        (["Bottle, plastic", "Bottle", "Can"], [18, 90, 1]),
        (["Bottle", "Can"], [90, 18, 1]),
        ([18, "Bottle"], [18, 90]),
        ([np.int64(18), "Can"], [18, 1]),
    ],
)
def test_a_name_that_other_names_begin_with(tmp_path, data, asked, ids):
    named(data, "Bottle, glass", "Can", "Bottle, plastic")
    dataset = load(tmp_path, data, class_ids=asked)
    assert [info["id"] for info in dataset.class_info[1:]] == ids


def test_a_list_of_classes_with_what_is_none(tmp_path, data):
    for wrong in (["cat"], "no such class", 7):
        with pytest.raises(ValueError, match="class_ids has .* which is no category of"):
            load(tmp_path, data, class_ids=[wrong, 1])


@pytest.mark.parametrize(
    "names, left",
    [(("fish", "fish", "crab"), [1]), (("Bottle, glass", "Can", "Bottle, plastic"), [90])],
)
def test_a_file_with_fewer_of_the_equal_names(tmp_path, data, names, left):
    """As a part of the data whose tool drops unused categories."""
    train = load(tmp_path, named(data, *names))
    part = copy.deepcopy(data)
    part["categories"] = [one for one in data["categories"] if one["id"] in left]
    part["annotations"] = [one for one in data["annotations"] if one["category_id"] in left]
    val = load(
        tmp_path / "val", part, class_ids=train.class_names[1:], allow_absent=True, keep_empty=True
    )
    assert val.class_names == train.class_names
    for image_id in range(3):
        wanted = [
            one
            for one in train.load_mask(image_id)[1].tolist()
            if train.class_info[abs(one)]["id"] in left
        ]
        assert val.load_mask(image_id)[1].tolist() == wanted


def test_equal_names_of_an_older_config(tmp_path, data):
    """Before they were told apart, the settings of a model had them as they are in the file."""
    named(data, "Bottle, glass", "Can", "Bottle, plastic")
    data["categories"][1]["id"], data["annotations"][1]["category_id"] = 20, 20
    data["annotations"][3]["category_id"] = 20
    dataset = load(tmp_path, data, class_ids=["Bottle", "Can", "Bottle"])
    assert [info["id"] for info in dataset.class_info[1:]] == [90, 20, 18]
    config = tiny_config(NUM_CLASSES=4, CLASS_NAMES=["BG", "Bottle", "Can", "Bottle"])
    check_classes(dataset, config)
    config.CLASS_NAMES = ["BG", "Bottle", "Bottle", "Can"]
    with pytest.raises(ValueError, match="2 is 'Can' in the dataset and 'Bottle' in CLASS_NAMES"):
        check_classes(dataset, config)


def test_two_files_of_one_source_with_equal_names(tmp_path, data):
    dataset = load(tmp_path, named(data, "fish", "fish", "crab"))
    part = copy.deepcopy(data)
    part["categories"] = part["categories"][:1]
    part["annotations"] = part["annotations"][2:3]
    dataset.load_coco_json(*save(tmp_path / "more", part))
    dataset.prepare()
    assert dataset.class_names == ["BG", "fish (1)", "crab", "fish (90)"]
    assert dataset.load_mask(4)[1].tolist() == [3]


# === A category that only groups the others ===


@pytest.fixture
def exported(data):
    """As Roboflow exports: the project above its classes, one of which may have its name."""

    def of(project, *names):
        roots = [{"id": 0, "name": project, "supercategory": "none"}]
        data["categories"] = roots + [
            {"id": number, "name": name, "supercategory": project}
            for number, name in enumerate(names, 1)
        ]
        for number, record in enumerate(data["annotations"]):
            record["category_id"] = 1 + number % len(names)
        return data

    return of


@pytest.mark.parametrize(
    "project, names", [("reef", ("fish", "crab")), ("fish", ("fish", "crab")), ("fish", ("fish",))]
)
def test_the_name_of_a_project_is_no_class(tmp_path, exported, project, names, caplog):
    dataset = load(tmp_path, exported(project, *names))
    assert dataset.class_names == ["BG", *names] and dataset.class_info[1]["id"] == 1
    assert dataset.load_mask(0)[1].tolist() == [1, len(names)]
    assert len(dataset.left_out) == 1 and caplog.text.count("all others are grouped under: 1") == 1
    assert f"category 0 ({project!r})" in caplog.text
    # a model of these classes: they are the same, and nothing is said of what it does not need
    options = {"allow_absent": True, "keep_empty": True}
    val = load(tmp_path / "val", exported(project, *names), class_ids=list(names), **options)
    assert val.class_names == dataset.class_names and not len(val.left_out)
    val = load(
        tmp_path / "more",
        exported(project, *names),
        class_ids=list(names),
        other_classes=True,
        **options,
    )
    assert val.class_names == dataset.class_names
    # and one of another order
    again = load(tmp_path / "again", exported(project, *names), class_ids=list(names)[::-1])
    assert again.class_names == ["BG", *names[::-1]]


@pytest.mark.parametrize(
    "project, asked",
    [
        ("reef", ["reef", "fish", "crab"]),
        ("fish", ["fish (0)", "fish (1)", "crab"]),
        ("fish", ["fish", "fish", "crab"]),  # before equal names were told apart
    ],
)
@pytest.mark.parametrize("other_classes", [False, True])
def test_a_model_that_has_the_project_as_a_class(tmp_path, exported, project, asked, other_classes):
    data = exported(project, "fish", "crab")
    options = {"allow_absent": True, "keep_empty": True, "other_classes": other_classes}
    dataset = load(tmp_path, data, class_ids=asked, **options)
    assert [info["id"] for info in dataset.class_info[1:]] == [0, 1, 2]
    check_classes(dataset, tiny_config(NUM_CLASSES=4, CLASS_NAMES=["BG", *asked]))
    assert dataset.load_mask(0)[1].tolist() == [2, 3] and not len(dataset.left_out)
    assert all(dataset.is_labelled(number) for number in (1, 2, 3))


def test_the_project_by_its_id_or_in_a_class_map(tmp_path, exported):
    data = exported("fish", "fish", "crab")
    assert load(tmp_path, data, class_ids=[0, 2]).class_names == ["BG", "fish (0)", "crab"]
    other = copy.deepcopy(exported("reef", "fish", "crab"))
    dataset = load(tmp_path / "map", other, class_map={0: "ocean"})
    assert dataset.class_names == ["BG", "ocean", "fish", "crab"]
    data = exported("fish", "fish", "crab")
    dataset = load(tmp_path / "name", data, class_map={"fish": "animal"})
    assert dataset.class_names == ["BG", "animal", "crab"]
    assert dataset.class_info[1]["id"] == 1


def test_a_category_above_the_others_that_is_a_class(tmp_path, exported):
    """Annotations have it, or it is not what Roboflow writes."""

    def names(apply=None):
        data = copy.deepcopy(exported("reef", "fish", "crab"))
        if apply:
            apply(data)
        return load(tmp_path, data).class_names[1:]

    assert names() == ["fish", "crab"]
    for apply in (
        lambda data: data["annotations"][0].update(category_id=0),
        lambda data: data["annotations"][0].update(category_id="0"),
        lambda data: data["categories"][0].update(supercategory="animals"),
        lambda data: data["categories"][0].pop("supercategory"),
        lambda data: data["categories"][2].update(supercategory="none"),
        lambda data: data["categories"][2].update(supercategory=["reef"]),
        lambda data: data["categories"][2].pop("supercategory"),
    ):
        assert names(apply) == ["reef", "fish", "crab"]
    data = exported("reef", "fish")
    data["categories"], data["annotations"] = data["categories"][:1], []
    assert load(tmp_path / "alone", data).class_names == ["BG", "reef"]


def test_classes_that_a_model_lacks(tmp_path, data):
    """They follow its own, and those of its own that the file does not list have no objects."""
    options = {"allow_absent": True, "keep_empty": True}
    dataset = load(tmp_path, data, class_ids=["bird", "dog"], other_classes=True, **options)
    assert dataset.class_names == ["BG", "bird", "dog", "person", "toothbrush"]
    assert [dataset.is_labelled(number) for number in range(5)] == [True, False, True, True, True]
    assert dataset.load_mask(0)[1].tolist() == [2, 3]
    assert dataset.load_mask(1)[1].tolist() == [4, -3, 2] and not len(dataset.left_out)

    dataset = load(tmp_path / "own", data, class_ids=["bird", "dog"], **options)
    assert dataset.class_names == ["BG", "bird", "dog"]
    assert dataset.load_mask(1)[1].tolist() == [2]
    assert "categories that the classes do not list: 2 (first: " in str(dataset.left_out)
    assert "'person', 2 annotations" in str(dataset.left_out)
    # nobody is told of categories that were not wanted
    assert not len(load(tmp_path / "chosen", data, class_ids=["dog"]).left_out)


def test_size_from_the_image_where_the_file_has_none(tmp_path, data):
    del data["images"][0]["height"], data["images"][1]["width"]
    assert [(info["height"], info["width"]) for info in load(tmp_path, data).image_info] == [
        (40, 60)
    ] * 3


def test_crowd_of_another_size_is_everywhere(tmp_path, data, caplog):
    data["annotations"] = [annotation(1, 9, 1, rle_of(BLOB[:20]), iscrowd=1)]
    masks, class_ids = load(tmp_path, data).load_mask(1)
    assert masks.all() and class_ids.tolist() == [-1]
    assert (
        "instances_train2017.json: b.png, annotation 1: a crowd's RLE has the size [20, 60]"
        in caplog.text
    )


def test_crowds_as_objects(tmp_path, data):
    """As CVAT writes brush masks: run lengths with iscrowd 1."""
    for record in data["annotations"]:
        record["iscrowd"] = 1
    ignored, objects = (load(tmp_path, data, crowds=word) for word in ("ignored", "objects"))
    for image_id, expected in ((0, [2, 1]), (1, [3, 1, 2])):
        masks, class_ids = ignored.load_mask(image_id)
        assert class_ids.tolist() == [-class_id for class_id in expected]
        np.testing.assert_array_equal(objects.load_mask(image_id)[0], masks)
        assert objects.load_mask(image_id)[1].tolist() == expected
        assert objects.known_class_ids(image_id).tolist() == expected
    with pytest.raises(ValueError, match="crowds is 'both'; use one of ignored, objects"):
        load(tmp_path, data, crowds="both")


def test_an_object_of_another_size_is_an_error_also_where_it_was_a_crowd(tmp_path, data):
    data["annotations"] = [annotation(1, 9, 1, rle_of(BLOB[:20]), iscrowd=1)]
    with pytest.raises(ValueError, match=r"annotation 1: its RLE has the size \[20, 60\]"):
        load(tmp_path, data, crowds="objects")


@pytest.mark.parametrize("segmentation", [[], None, [[]], {}])
def test_boxes_as_masks(tmp_path, data, segmentation):
    data["annotations"][0].update(segmentation=segmentation, bbox=[20, 20, 20, 15])
    left_out = load(tmp_path, data).left_out
    assert left_out.spoiling == set(left_out.places)
    assert "boxes_as_masks=True" in str(left_out) and len(left_out) == 1
    dataset = load(tmp_path, data, boxes_as_masks=True)
    assert not len(dataset.left_out) and dataset.load_mask(0)[1].tolist() == [2, 1]
    np.testing.assert_array_equal(dataset.load_mask(0)[0][..., 0], drawn([SQUARE]))
    # a segmentation stays what it is
    np.testing.assert_array_equal(dataset.load_mask(0)[0][..., 1], drawn([BEYOND]))


@pytest.mark.parametrize("box", [[1, 2, 3], "1 2 3 4", [1, 2, float("nan"), 4], [[1, 2, 3, 4]]])
def test_wrong_boxes(tmp_path, data, box):
    data["annotations"][0].update(segmentation=[], bbox=box)
    with pytest.raises(ValueError, match="a.jpg, annotation 7: its bbox must be"):
        load(tmp_path, data, boxes_as_masks=True)


def test_neither_box_nor_mask(tmp_path, data):
    data["annotations"][0]["segmentation"] = []
    del data["annotations"][0]["bbox"]
    assert len(load(tmp_path, data, boxes_as_masks=True).left_out) == 1


# === What is left out ===


@pytest.mark.parametrize(
    "segmentation, reason",
    [
        ([], "without a segmentation"),
        (None, "without a segmentation"),
        ([[20, 20, 40, 30]], "fewer than three points"),  # a box for a polygon: tensorpack#1041
        ([[1, 1], [2, 2]], "fewer than three points"),
        ([[]], "without a segmentation"),
        (rle_of(np.zeros((40, 60))), "no pixel"),
        ({"size": [40, 60], "counts": [2400]}, "no pixel"),
    ],
)
def test_objects_without_a_pixel(tmp_path, data, caplog, segmentation, reason):
    data["annotations"][1]["segmentation"] = segmentation
    dataset = load(tmp_path, data)
    assert len(dataset.left_out) == 1 and reason in str(dataset.left_out)
    assert "a.jpg, annotation 8" in str(dataset.left_out)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]  # one line
    assert "3 images with 4 instances of 3 classes; left out so far: annotations" in caplog.text
    assert dataset.load_mask(0)[1].tolist() == [2]


@pytest.mark.parametrize(
    "polygon", [[-9, -9, -2, -9, -2, -3], [70, 5, 90, 5, 90, 20], [5, 5, 5, 5, 5, 5]]
)
@pytest.mark.parametrize("ask", ["load_mask", "measure_objects", "known_objects"])
def test_polygons_without_a_pixel(tmp_path, data, polygon, ask):
    """They are drawn, and left out, when their image is first asked for."""
    data["annotations"][1]["segmentation"] = [polygon]
    dataset = load(tmp_path, data)
    assert not len(dataset.left_out) and len(dataset.known_class_ids(0)) == 2
    getattr(dataset, ask)(0)
    assert "no pixel of the image: 1 (first: " in str(dataset.left_out)
    assert "a.jpg, annotation 8" in str(dataset.left_out)
    assert dataset.load_mask(0)[1].tolist() == dataset.known_class_ids(0).tolist() == [2]
    assert len(dataset.measure_objects(0)[2]) == len(dataset.known_objects(0)["instances"]) == 1
    assert len(dataset.left_out) == 1


def test_a_part_of_two_points_beside_a_whole_one(tmp_path, data):
    data["annotations"][0]["segmentation"] = [[1, 2, 3, 4], SQUARE]
    dataset = load(tmp_path, data)
    np.testing.assert_array_equal(dataset.load_mask(0)[0][..., 0], drawn([SQUARE]))


def test_each_annotation_is_named_with_its_own_image(tmp_path, data):
    data["annotations"][0]["segmentation"] = data["annotations"][4]["segmentation"] = []
    data["annotations"][1]["iscrowd"] = data["annotations"][3]["iscrowd"] = 2
    path, _ = save(tmp_path, data)
    dataset = CocoJson()
    dataset.load_coco_json(path, collect_errors=True)
    boxes, wrong = (list(dataset.left_out.places[reason]) for reason in dataset.left_out.places)
    error = "iscrowd is 2; it must be 0 or 1"
    assert boxes == [f"{path}: a.jpg, annotation 7", f"{path}: b.png, annotation 11"]
    assert wrong == [
        f"{path}: {at}: {error}" for at in ("a.jpg, annotation 8", "b.png, annotation 10")
    ]
    assert [one.place for one in dataset.image_info[1]["instances"]] == ["annotation 9"]


def test_a_polygon_far_outside_of_its_image(tmp_path, data):
    """The norm of its numbers is more than a coordinate may be; none of them is."""
    data["annotations"][0]["segmentation"] = [[0, 0, 9e5, 0, 9e5, 9e5, 0, 9e5]]
    assert load(tmp_path, data).load_mask(0)[0][..., 0].all()


def test_annotations_of_no_image(tmp_path, data):
    del data["images"][1]
    dataset = load(tmp_path, data)
    assert dataset.num_images == 2 and str(dataset.left_out).startswith(
        "annotations of images that 'images' does not list: 3 (first: "
    )


def test_missing_images(tmp_path, data):
    path, images = save(tmp_path, data)
    os.remove(os.path.join(images, "b.png"))
    with pytest.raises(
        FileNotFoundError, match="b.png is missing, though .*instances_train2017.json.*skip_missing"
    ):
        CocoJson().load_coco_json(path, images)
    dataset = CocoJson()
    dataset.load_coco_json(path, images, skip_missing=True)
    assert [info["id"] for info in dataset.image_info] == [397133, 25]
    assert "images missing: 1" in str(dataset.left_out)


def test_image_of_another_size_than_the_file_says(tmp_path, data):
    data["images"][1].update(height=60, width=40)
    data["annotations"] = []
    with pytest.raises(ValueError, match="b.png is 60 x 40 px .* annotated as 40 x 60 px"):
        load(tmp_path, data).load_image(1)


# === What is wrong ===


def change(place, value):
    def apply(data):
        *path, last = place
        for key in path:
            data = data[key]
        data[last] = value

    return apply


@pytest.mark.parametrize(
    "apply, message",
    [
        (change(["images"], {}), "'images' must be a list"),
        (
            change(["images", 0, "height"], 10**9),
            r"a.jpg has height and width \(1000000000, 60\); .*2 \*\* 32",
        ),
        (change(["images", 1, "id"], "25"), "'images' has the id 25 twice: 'b.png'"),
        (change(["images", 1, "id"], 25), "'images' has the id 25 twice: 'b.png' and 'empty.png'"),
        (change(["images", 0], {"id": 3}), "each of 'images' needs an 'id' and a 'file_name'"),
        (change(["images", 0, "height"], -4), "a.jpg has height and width"),
        (change(["images", 0, "width"], "60"), "a.jpg has height and width"),
        (change(["categories", 0, "id"], 18), "'categories' has the id 18 twice"),
        (
            change(["annotations", 0], {"id": 1}),
            "an annotation needs 'id', 'image_id' and 'category_id'",
        ),
        (
            change(["annotations", 0, "image_id"], [1]),
            "annotation 7: 'image_id' and 'category_id' must be numbers or text",
        ),
        (
            change(["annotations", 0, "iscrowd"], "0"),
            "a.jpg, annotation 7: iscrowd is '0'; it must be 0 or 1",
        ),
        (change(["images", 0, "id"], [1]), "each of 'images' needs an 'id'"),
        (change(["images", 0, "id"], True), r"each of 'images' needs an 'id' .*images\[0\]"),
        *[
            (change(["annotations", 0, "segmentation"], rle), f"annotation 7: .*{message}")
            for rle, message in (
                ({"size": [True, 60], "counts": [60]}, "an RLE must have 'counts' and 'size'"),
                ({"size": [40, 60], "counts": [[1200, 60, 1140]]}, "whole numbers, got"),
            )
        ],
        (change(["categories", 1], 5), r"each of 'categories' needs .*categories\[1\] is 5"),
        (change(["categories", 2], None), r"'categories' needs .*categories\[2\] is None"),
        (change(["annotations", 3], []), r"an annotation needs .*annotations\[3\] is \[\]"),
        (
            change(["annotations", 0, "segmentation"], [[1, 2, 9, True, 5, 6]]),
            "annotation 7: a polygon must be numbers, not .*True",
        ),
        (  # pycocotools would take 8 GB
            change(["annotations", 0, "segmentation"], [[1e6, -1e6, -1e6, 1e6] * 25]),
            "annotation 7: a polygon's outline is 100000000 px long; it must be 10000000 px",
        ),
        (
            change(["annotations", 0, "category_id"], 17),
            r"annotation 7 has the category_id 17.*\[1, 18, 90\]",
        ),
        (
            change(["annotations", 0, "segmentation"], "abc"),
            "a.jpg, annotation 7: .*list of polygons or an RLE",
        ),
        (
            change(["annotations", 0, "segmentation"], [[1, 2, 3, 4, 5, 6, 7]]),
            "a.jpg, annotation 7: .*7 numbers",
        ),
        *[
            (
                change(["annotations", 0, "segmentation"], points),
                r"annotation 7: .*points of their own.*\[\[x, y, x, y, \.\.\.\]\]",
            )
            for points in ([[1, 2], [9, 2], [9, 8]], [[[1, 2], [9, 2], [9, 8]]])
        ],
        *[
            (
                change(["annotations", 0, "segmentation"], [[1, 2, 9, 2, 9, 8], other]),
                "a.jpg, annotation 7: a polygon must be numbers",
            )
            for other in (5, None, {})
        ],
        (change(["images", 0, "height"], float("inf")), "height and width .*inf.* whole numbers"),
        (change(["images", 0, "height"], float("nan")), "height and width .*nan.* whole numbers"),
        (
            change(["images", 0], {"id": 1, "file_name": "a.jpg", "height": 65535, "width": 65535}),
            "a.jpg has 65535 x 65535 px .* 178,956,970 px are allowed: IMAGE_MAX_PIXELS",
        ),
        (
            change(["annotations", 0, "segmentation"], [[1, 2, 3, None, 5, 6]]),
            "annotation 7: a polygon must be numbers",
        ),
        (
            change(["annotations", 0, "segmentation"], [[1, 2, 3, float("nan"), 5, 6]]),
            "annotation 7: .* got nan",
        ),
        (
            change(["annotations", 0, "segmentation"], [[1, 2, 3, 1e30, 5, 6]]),
            "annotation 7: .* got 1e",
        ),
        (
            change(["annotations", 0, "segmentation"], [[1, 2, 3, 10**400, 5, 6]]),
            "a.jpg, annotation 7: a polygon must be numbers, not .*1000",
        ),
        (
            change(["annotations", 2, "segmentation"], rle_of(BLOB.T)),
            r"annotation 9: .*size \[60, 40\].*\[40, 60\]",
        ),
        (
            change(["annotations", 2, "segmentation", "counts"], [5, 6]),
            "annotation 9: .*add up to 11",
        ),
        (
            change(["annotations", 2, "segmentation", "counts"], [3000, -600]),
            "annotation 9: .*least -600",
        ),
        (
            change(["annotations", 2, "segmentation", "counts"], [2399.5, 0.5]),
            "annotation 9: .* must be whole numbers",
        ),
        (
            change(["annotations", 2, "segmentation", "counts"], [2**60] * 16 + [2400]),
            "annotation 9: .*add up to 184",
        ),
        (
            change(["annotations", 2, "segmentation"], {"counts": "x"}),
            "annotation 9: an RLE must have",
        ),
    ],
)
def test_annotations_that_make_no_sense(tmp_path, data, apply, message):
    apply(data)
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, data)
    assert "instances_train2017.json" in str(caught.value)  # the file is always named


def test_all_errors_are_collected(tmp_path, data):
    """`check` shows all of them, and what else the file has."""
    data["images"] += [{"id": 1}, {"id": "9", "file_name": "b.png"}, {"file_name": "b.png"}]
    data["categories"] += [{"id": 18, "name": "cat"}, {"id": 2}]
    data["annotations"] += [
        {"id": 20},
        annotation(21, [9], 18, [SQUARE]),
        annotation(22, 9, 2, [SQUARE]),
        annotation(23, 9, 1, [SQUARE]),
        annotation(24, 9, 1, "abc"),
        7,
    ]
    dataset = load(tmp_path, data, collect_errors=True)
    assert dataset.class_names == ["BG", "person", "dog", "toothbrush"]
    assert dataset.load_mask(1)[1].tolist() == [3, -1, 2, 1]
    counts = {reason: len(places) for reason, places in dataset.left_out.places.items()}
    assert counts == {UNREADABLE_IMAGE: 3, UNREADABLE_CLASS: 2, UNREADABLE_OBJECT: 5}
    assert dataset.left_out.spoiling == set(counts)
    places = [place for places in dataset.left_out.places.values() for place in places]
    assert all("instances_train2017.json" in place for place in places)


def test_two_images_of_one_id_have_no_objects(tmp_path, data):
    """Each could have those of the other, of which `check` would count the masks."""
    data["images"][1]["id"] = data["images"][0]["id"]
    dataset = load(tmp_path, data, collect_errors=True)
    assert [info["path"].rpartition(os.sep)[2] for info in dataset.image_info] == ["empty.png"]
    places = [place for place in dataset.left_out.places[UNREADABLE_IMAGE]]
    assert len(places) == 1 and "'a.jpg' and 'b.png'" in places[0]


@pytest.mark.parametrize(
    "apply",
    [
        change(["images", 0, "file_name"], "a\x1b[31m\nb.jpg"),
        change(["categories", 1], "a\x1b[31m\nb"),
        change(["annotations", 0], "a\x1b[31m\nb"),
        change(["annotations", 0, "id"], "a\x1b[31m\nb"),
        change(["annotations", 0, "segmentation"], [["a\x1b[31m\nb"] * 6]),
    ],
)
def test_names_in_messages_are_on_one_line(tmp_path, data, apply):
    data["annotations"][0]["segmentation"] = [[1, None]]
    apply(data)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load(tmp_path, data)
    assert str(caught.value).isprintable() and r"a\x1b[31m\nb" in str(caught.value)
    with contextlib.suppress(ValueError):
        counted = load(tmp_path, data, collect_errors=True).left_out
        assert str(counted).isprintable() and r"a\x1b[31m\nb" in str(counted)


def test_two_names_for_one_image(tmp_path, data):
    """Their folders are not there, so that both would get the one image of this name."""
    for item, name in zip(data["images"], ("cam1/0.png", "cam2\\0.png")):
        item["file_name"] = name
    with pytest.raises(
        ValueError, match=r"json names 'cam1/0.png' and 'cam2\\\\0.png', of which there is only .*0"
    ):
        load(tmp_path, data)


def test_a_name_is_of_its_own_annotations(tmp_path, data):
    """Two dicts may name one image differently."""
    _, images = save(tmp_path, data)
    dataset = CocoJson()
    for source, folder in (("one", ""), ("other", "x/")):
        for item in data["images"]:
            item["file_name"] = folder + item["file_name"]
        dataset.load_coco_json(json.loads(json.dumps(data)), images, source=source)
    dataset.prepare()
    assert len({info["path"] for info in dataset.image_info}) == dataset.num_images / 2


def test_a_second_file_with_other_categories(tmp_path, data):
    dataset = CocoJson()
    dataset.load_coco_json(*save(tmp_path, data))
    data["categories"][1]["name"] = "cat"
    with pytest.raises(
        ValueError, match="category 1 is 'cat', but 'person' in what was loaded before as 'coco'"
    ):
        dataset.load_coco_json(*save(tmp_path, data, "val2017"))
    dataset.load_coco_json(*save(tmp_path, data, "val2017"), source="other")
    dataset.prepare()
    assert dataset.load_mask(0)[1].tolist() == [2, 1] and dataset.load_mask(3)[1].tolist() == [5, 4]


@pytest.mark.parametrize(
    "text, message",
    [
        ("{'a': 1}", "is not JSON"),
        ("[1, 2]", "is not COCO json.*list"),
        ("", "is not JSON"),
        ('{"shapes": [], "imagePath": "x"}', "is not COCO json.*'imagePath', 'shapes'"),
    ],
)
def test_other_files(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, text)


def test_no_file(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="gone.json is missing; it should be a COCO annotation file"
    ):
        CocoJson().load_coco_json(tmp_path / "gone.json")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"class_ids": ["cat"]}, "class_ids has 'cat', which is no category of .*90: 'toothbrush'"),
        ({"class_ids": [2]}, "class_ids has 2"),
        (
            {"class_map": {"cat": "animal"}},
            "class_map has 'cat', which is no category of .*json: the",
        ),
    ],
)
def test_unknown_classes(tmp_path, data, options, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, data, **options)

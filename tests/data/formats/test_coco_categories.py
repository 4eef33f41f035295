"""Categories of COCO json: lists of classes, class maps, and values that Python code gives."""

import logging

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.formats.coco import CocoJson
from tests.tiny import image

TRIANGLE, WIDE = [1, 1, 20, 1, 20, 20], [1, 1, 50, 1, 20, 20]


def contents():
    """A cat and a dog, each on an image."""
    return {
        "images": [
            {"id": one, "file_name": f"{one}.png", "height": 30, "width": 60} for one in (1, 2)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": [TRIANGLE]},
            {"id": 2, "image_id": 2, "category_id": 2, "iscrowd": 0, "segmentation": [WIDE]},
        ],
    }


def load(folder, data, **options):
    for one in (1, 2):
        Image.fromarray(image(30, 60, one)).save(folder / f"{one}.png")
    dataset = CocoJson()
    dataset.load_coco_json(data, folder, **options)
    dataset.prepare()
    return dataset


def class_ids(dataset):
    return [dataset.load_mask(image_id)[1].tolist() for image_id in dataset.image_ids]


# === Lists of classes ===


@pytest.mark.parametrize("allow_absent", [False, True])
@pytest.mark.parametrize(
    "asked, message",
    [
        ([None], "class_ids has None, which is no category"),
        (["dog", None], "class_ids has None, which is no category"),
        (["cat", 1], "class_ids has 'cat' and 1, which are one category"),
        ([1, "cat"], "class_ids has 'cat' and 1, which are one category"),
        ("cat", "class_ids must be a list of category ids and names, got 'cat'"),
        (2, "class_ids must be a list of category ids and names, got 2"),
    ],
)
def test_wrong_lists(tmp_path, asked, message, allow_absent):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, contents(), class_ids=asked, allow_absent=allow_absent)


@pytest.mark.parametrize(
    "asked", [np.array([2, 1]), (one for one in ("dog", "cat")), np.array(["dog", "cat"])]
)
def test_other_lists(tmp_path, asked):
    dataset = load(tmp_path, contents(), class_ids=asked)
    assert dataset.class_names == ["BG", "dog", "cat"] and class_ids(dataset) == [[2], [1]]


# === Class maps ===


def test_a_class_map_into_another_category(tmp_path):
    dataset = load(tmp_path, contents(), class_map={"cat": "dog"})
    assert dataset.class_names == ["BG", "dog"] and class_ids(dataset) == [[1], [1]]
    only = load(tmp_path, contents(), class_map={1: "dog"}, class_ids=["dog"])
    assert only.class_names == ["BG", "dog"] and class_ids(only) == [[1], [1]]


def test_a_class_map_may_exchange_names(tmp_path):
    dataset = load(tmp_path, contents(), class_map={"cat": "dog", "dog": "cat"})
    assert dataset.class_names == ["BG", "dog", "cat"] and class_ids(dataset) == [[1], [2]]


# === What is written in the file ===


def test_a_category_without_a_name(tmp_path):
    data = contents()
    data["categories"][0]["name"] = " "
    dataset = load(tmp_path, data)
    assert dataset.class_names == ["BG", "dog"] and class_ids(dataset) == [[], [1]]
    assert list(dataset.left_out.places.items()) == [
        (
            "annotations of a category without a name",
            {"the COCO annotations: annotation 1, category 1": None},
        )
    ]


@pytest.mark.parametrize("name", ["", ".", "photos/", " ", ".."])
def test_a_name_that_is_of_no_file(tmp_path, name):
    data = contents()
    data["images"][0]["file_name"] = name
    with pytest.raises(ValueError, match=f"has an image of the name '{name}', which is that of no"):
        load(tmp_path, data)
    assert len(load(tmp_path, data, skip_missing=True).image_info) == 1


def test_a_huge_size_is_not_written_out(tmp_path):
    data = contents()
    data["images"][0]["height"] = 10**400
    with pytest.raises(
        ValueError, match="1.png has height and width .* fewer than 2 .. 32"
    ) as told:
        load(tmp_path, data)
    assert len(str(told.value)) < 250


def numpy_sizes(data):
    data["images"][0].update(height=np.int64(30), width=np.float64(60))


def polygons(kind):
    def change(data):
        data["annotations"][0]["segmentation"] = kind(TRIANGLE)

    return change


@pytest.mark.parametrize(
    "change",
    [
        numpy_sizes,
        polygons(lambda ring: [np.array(ring, float)]),
        polygons(lambda ring: np.array([ring])),
        polygons(lambda ring: [tuple(ring)]),
        polygons(lambda ring: (ring,)),
        polygons(lambda ring: [list(map(np.int64, ring))]),
        lambda data: data["images"][0].update(id=np.int64(1)),
        lambda data: data["categories"][0].update(id=np.int32(1)),
        lambda data: data["annotations"][0].update(image_id=np.int64(1), category_id=np.int64(1)),
        lambda data: data["annotations"][0].update(iscrowd=np.int64(0)),
    ],
)
def test_values_of_numpy(tmp_path, change, caplog):
    wanted = load(tmp_path, contents())
    data = contents()
    change(data)
    caplog.set_level(logging.WARNING)
    dataset = load(tmp_path, data)
    assert class_ids(dataset) == [[1], [2]] and not caplog.records
    np.testing.assert_array_equal(dataset.load_mask(0)[0], wanted.load_mask(0)[0])


def test_run_lengths_of_numpy(tmp_path):
    data = contents()
    counts = np.array([10, 5, 1785])
    data["annotations"][0]["segmentation"] = {"size": np.array([30, 60]), "counts": counts}
    assert load(tmp_path, data).load_mask(0)[0].sum() == 5

"""The Dataset class: numbering, maps, loading and error messages."""

import logging

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.class_labels import classes_called
from mrcnn.data.dataset import Dataset


@pytest.fixture
def dataset(tmp_path):
    random = np.random.RandomState(0)
    made = Dataset()
    made.add_class("shapes", 1, "square")
    made.add_class("coco", 18, "dog, or hound")
    made.add_class("coco", 3, "car")
    for name, size in (("rgb", (5, 7, 3)), ("grey", (5, 7)), ("rgba", (5, 7, 4))):
        pixels = random.randint(0, 256, size).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        made.add_image("coco", name, tmp_path / f"{name}.png", pixels=pixels)
    made.prepare()
    return made


def test_numbering_and_maps(dataset):
    assert dataset.num_classes == 4 and dataset.num_images == 3
    assert dataset.class_ids.tolist() == [0, 1, 2, 3]
    assert dataset.image_ids.tolist() == [0, 1, 2]
    assert dataset.class_names == ["BG", "square", "dog", "car"]
    assert dataset.class_from_source_map == {".0": 0, "shapes.1": 1, "coco.18": 2, "coco.3": 3}
    assert dataset.image_from_source_map == {"coco.rgb": 0, "coco.grey": 1, "coco.rgba": 2}
    assert dataset.sources == ["", "shapes", "coco"]
    assert dataset.source_class_ids == {"": [0], "shapes": [0, 1], "coco": [0, 2, 3]}
    assert dataset.map_source_class_id("coco.18") == 2
    assert dataset.get_source_class_id(2, "coco") == 18
    assert dataset.image_info[1]["id"] == "grey" and dataset.image_info[1]["source"] == "coco"


def test_before_prepare():
    dataset = Dataset()
    assert dataset.image_ids == []
    assert dataset.class_info == [{"source": "", "id": 0, "name": "BG"}]
    with pytest.raises(ValueError, match=r"Call prepare\(\) on the Dataset first"):
        dataset.map_source_class_id("coco.1")


def test_an_empty_dataset_prepares():
    dataset = Dataset()
    dataset.prepare()
    assert dataset.num_images == 0 and dataset.class_names == ["BG"]
    assert len(dataset.image_ids) == 0


def test_preparing_again_counts_what_was_added(dataset):
    dataset.add_image("coco", "late", None)
    dataset.add_class("coco", 44, "bottle")
    dataset.prepare()
    assert dataset.num_images == 4 and dataset.image_from_source_map["coco.late"] == 3
    assert dataset.source_class_ids["coco"] == [0, 2, 3, 4]


def test_a_class_added_twice_is_kept_once(dataset, caplog):
    dataset.add_class("coco", 3, "car")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        dataset.add_class("coco", 3, "lorry")
    assert "coco.3 is already named 'car'" in caplog.text
    assert [info["name"] for info in dataset.class_info].count("car") == 1
    assert len(dataset.class_info) == 4
    dataset.add_class("other", 3, "car")  # another source, another class
    assert len(dataset.class_info) == 5


def test_images_become_rgb(dataset):
    rgb, grey, rgba = (dataset.load_image(i) for i in dataset.image_ids)
    pixels = [info["pixels"] for info in dataset.image_info]
    assert rgb.dtype == grey.dtype == rgba.dtype == np.uint8
    np.testing.assert_array_equal(rgb, pixels[0])
    np.testing.assert_array_equal(grey, np.stack([pixels[1]] * 3, axis=-1))
    np.testing.assert_array_equal(rgba, pixels[2][..., :3])


def test_sixteen_bits_are_scaled(tmp_path):
    Image.fromarray(np.array([[0, 257, 65535]], np.uint16)).save(tmp_path / "deep.png")
    dataset = Dataset()
    dataset.add_image("x", 0, str(tmp_path / "deep.png"))
    np.testing.assert_array_equal(dataset.load_image(0), [[[0] * 3, [1] * 3, [255] * 3]])


def test_many_channels_stay(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    pixels = np.random.RandomState(1).randint(0, 256, (6, 5, 7)).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "bands.tif", pixels, photometric="minisblack", planarconfig="contig"
    )
    dataset = Dataset()
    dataset.add_image("x", 0, tmp_path / "bands.tif")
    np.testing.assert_array_equal(dataset.load_image(0), pixels)


def test_default_masks_are_none_and_told(dataset, caplog):
    with caplog.at_level(logging.WARNING):
        mask, class_ids = dataset.load_mask(0)
    assert mask.shape == (0, 0, 0)
    assert class_ids.shape == (0,) and class_ids.dtype == np.int32
    assert "no load_mask of its own" in caplog.text


def test_links(dataset):
    assert dataset.image_reference(0) == ""
    assert dataset.source_image_link(0) == dataset.image_info[0]["path"]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda d: d.add_class("a.b", 1, "x"), "'a.b' must not contain a dot: use 'a_b'"),
        (lambda d: d.map_source_class_id("coco.5"), "no class 'coco.5': the classes are .*coco.18"),
        (
            lambda d: d.get_source_class_id(2, "shapes"),
            r"Class 2 \('dog, or hound'\) is from .*'coco'",
        ),
        (lambda d: d.get_source_class_id(4, "coco"), "no class 4: class ids are 0 to 3"),
        (lambda d: d.load_image(3), "no image 3 in Dataset: it has 3 images"),
        (lambda d: d.load_image(-1), "no image -1"),
        (lambda d: d.source_image_link(99), "no image 99"),
        (lambda d: d.prepare(class_map={}), "class_map is not supported"),
        (lambda d: Dataset(class_map={}), "class_map is not supported"),
    ],
)
def test_errors_say_what_would_be_right(dataset, call, message):
    with pytest.raises(ValueError, match=message):
        call(dataset)


def test_unreadable_images_are_named(dataset, tmp_path):
    dataset.add_image("coco", "drawn", None)
    with pytest.raises(ValueError, match=r"Image 3 \(coco.drawn\) .* override load_image"):
        dataset.load_image(3)
    dataset.add_image("coco", "gone", tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError, match="gone.png"):
        dataset.load_image(4)
    Image.fromarray(np.full((2, 2), np.nan, np.float32)).save(tmp_path / "nan.tif")
    dataset.add_image("coco", "nan", tmp_path / "nan.tif")
    with pytest.raises(ValueError, match="nan.tif: .*not be NaN"):
        dataset.load_image(5)


# === Names of classes ===


def names_of(*classes):
    """The class_names of a Dataset with classes (source, id, name)."""
    dataset = Dataset()
    for source, class_id, name in classes:
        dataset.add_class(source, class_id, name)
    dataset.prepare()
    assert dataset.class_names[0] == "BG"
    return dataset.class_names[1:]


@pytest.mark.parametrize(
    "names, expected",
    [
        (["cup, mug", "plate"], ["cup", "plate"]),  # as in the original
        (["Bottle, glass", "Can", "Bottle, plastic"], ["Bottle, glass", "Can", "Bottle, plastic"]),
        (["Bottle", "Bottle, glass"], ["Bottle", "Bottle, glass"]),
        (["fish", "crab", "fish"], ["fish (1)", "crab", "fish (3)"]),
        (["a, b", "a, b", "a, c"], ["a, b (1)", "a, b (2)", "a, c"]),
        (["fish", "fish", "fish (1)"], ["fish (1) (1)", "fish (2)", "fish (1) (3)"]),
        (["cat", "Cat", "cat ", " cat"], ["cat", "Cat", "cat ", " cat"]),
    ],
)
def test_names_tell_the_classes_of_a_source_apart(names, expected):
    classes = [("toy", number, name) for number, name in enumerate(names, 1)]
    assert names_of(*classes) == expected
    # under their new names, or in another order, they are the same
    assert names_of(*[("toy", one, label) for (_, one, _), label in zip(classes, expected)])
    assert names_of(*classes[::-1]) == expected[::-1]


def test_classes_of_several_sources_may_have_one_name():
    assert names_of(("a", 1, "person"), ("b", 1, "person")) == ["person", "person"]


@pytest.mark.parametrize(
    "asked, expected",
    [
        (["Bottle"], [("gp", 1)]),
        (["Bottle", "Bottle, glass"], [("p", 1), ("g", 0)]),
        (["Bottle, glass", 7], [("g", 0), ("p", 2)]),
        (["Bottle, glass", 7, "Bottle"], [("g", 0), ("", -1), ("p", 1)]),
        (["Bottle", "Bottle"], [("gp", 1), ("gp", 1)]),
        (["bottle", None, "Can"], [("", -1), ("", -1), ("c", 0)]),
        ([], []),
    ],
)
def test_which_classes_a_list_asks_for(asked, expected):
    spellings = {
        "g": (["Bottle, glass"], ["Bottle"], [6]),
        "p": (["Bottle, plastic"], ["Bottle"], [7]),
        "c": (["Can", "Can"],),
    }
    assert [("".join(found), rank) for found, rank in classes_called(asked, spellings)] == expected
    assert classes_called(["Can"], {}) == [([], -1)]


def test_a_name_that_is_kept_whole():
    dataset = Dataset()
    dataset.add_class("toy", 1, "Bottle, glass", whole_name=True)
    dataset.add_class("toy", 2, "cup", whole_name=True)
    dataset.prepare()
    assert dataset.class_names == ["BG", "Bottle, glass", "cup"]
    assert dataset.class_info[2] == {"source": "toy", "id": 2, "name": "cup"}

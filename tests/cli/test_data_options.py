"""Options about the data: which data set of a command takes each, and what caches make of them."""

import argparse

import numpy as np
import pytest
from PIL import Image

from mrcnn.cli.data_options import open_data
from mrcnn.cli.train import add_arguments, open_both
from mrcnn.data.cache.dataset import RecordDataset
from mrcnn.data.cache.write import write_records
from tests.cli.test_cli import SQUARE, code_of, write_coco, write_via
from tests.tiny import image, tiny_config


def arguments(*given):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([*map(str, given), "--weights", "none"])


def write_masks(folder):
    """Two images, on each of which two squares have the value 255."""
    mask = np.zeros((64, 64), np.uint8)
    mask[5:20, 5:20] = mask[30:60, 30:60] = 255
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
        for number in range(2):
            pixels = image(64, 64, number) if kind == "images" else mask
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture
def coco(tmp_path):
    """COCO json in c/, its images in pictures/; one of two objects is a crowd."""
    write_coco(tmp_path / "c", [SQUARE, {**SQUARE, "iscrowd": 1}], ("object",))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "c" / "0.png").rename(tmp_path / "pictures" / "0.png")
    return tmp_path / "c"


def test_each_data_set_gets_the_options_that_it_takes(coco, tmp_path):
    masks = write_masks(tmp_path / "m")
    of_coco = ["--images", tmp_path / "pictures", "--crowds", "objects", "--skip-missing"]
    for train, val in ((coco, masks), (masks, coco)):
        sets = open_both(arguments(train, "--val", val, "--split-pieces", *of_coco))
        found = {
            data: [len(each.load_mask(0)[1]), (each.load_mask(0)[1] > 0).all()]
            for data, each in zip((train, val), sets)
        }
        assert found == {coco: [2, True], masks: [2, True]}
    without = open_both(arguments(masks, "--val", coco, "--images", tmp_path / "pictures"))
    assert [each.load_mask(0)[1].tolist() for each in without] == [[1], [1, -1]]


def test_an_option_that_no_data_set_takes_is_refused(coco, tmp_path):
    write_via(tmp_path / "v", 2, 0)
    masks = write_masks(tmp_path / "m")
    for option, what, data in (
        (["--split-pieces"], "mask files", [coco, tmp_path / "v"]),
        (["--crowds", "objects"], "COCO json", [masks, tmp_path / "v"]),
        (["--class-attribute", "color"], "VIA json", [masks, coco]),
        (["--images", tmp_path], "COCO, VIA and labelme json and of --masks", [masks, masks]),
    ):
        with pytest.raises(ValueError) as error:
            open_both(arguments(data[0], "--val", data[1], *option))
        said = str(error.value)
        assert said.startswith(f"{option[0]} is of {what}, and ") and "of the format" in said
        assert all(str(each) in said for each in data)
    assert "--images is of COCO, VIA and labelme json" in code_of(
        "check", masks, "--images", tmp_path
    )


def test_the_format_is_that_of_the_data_and_of_others_in_doubt(coco, tmp_path):
    masks = write_masks(tmp_path / "m")
    (coco / "c.json").rename(masks / "c.json")  # which has then two kinds of annotations
    write_coco(tmp_path / "other", [SQUARE], ("object",))
    both = open_both(
        arguments(masks, "--format", "id_masks", "--val", tmp_path / "other", "--split-pieces")
    )
    assert [len(each.load_mask(0)[1]) for each in both] == [2, 1]
    both = open_both(arguments(tmp_path / "other", "--format", "coco", "--val", masks))
    assert [type(each).__name__ for each in both] == ["CocoJson", "CocoJson"]


# === Caches ===


GREEN = {"segmentation": [[45, 45, 60, 45, 60, 60, 45, 60]], "category_id": 2}


def cache_of(dataset, folder):
    config = tiny_config(NUM_CLASSES=dataset.num_classes)
    write_records(dataset, config, folder, progress=False)
    return folder


def contents(dataset):
    """All that evaluation asks of the classes and objects."""
    objects = [dataset.load_mask(image_id) for image_id in dataset.image_ids]
    return (
        dataset.class_names,
        [dataset.is_labelled(number) for number in range(dataset.num_classes)],
        [class_ids.tolist() for _, class_ids in objects],
        [masks.sum((0, 1)).tolist() if len(ids) else [] for masks, ids in objects],
    )


@pytest.mark.parametrize("other_classes", [False, True])
@pytest.mark.parametrize(
    "classes", [None, ["green"], ["red", "green"], ["green", "red"], ["green", "blue", "red"]]
)
def test_a_cache_has_the_classes_that_its_source_would_have(tmp_path, classes, other_classes):
    """Also those that the source lacks, such as blue."""
    crowd = {**SQUARE, "iscrowd": 1}
    write_coco(tmp_path / "c", [GREEN, SQUARE, crowd, GREEN], ("red", "green"), count=2)
    args = arguments(str(tmp_path / "c"))
    source = open_data(args, classes, other_classes)
    cache = cache_of(open_data(args), tmp_path / "cache")
    args = arguments(str(cache))
    found = open_data(args, classes, other_classes)
    assert isinstance(found, RecordDataset) and contents(found) == contents(source)


@pytest.mark.parametrize("classes", [["Bottle", "Can"], ["Can", "Bottle"], ["Bottle, glass"]])
def test_a_cache_has_every_class_that_a_name_begins(tmp_path, classes):
    names = ("Bottle, glass", "Bottle, plastic", "Can")
    objects = [{**SQUARE, "category_id": number} for number in (1, 2, 3)]
    write_coco(tmp_path / "c", objects, names)
    args = arguments(tmp_path / "c")
    source = open_data(args, classes)
    args.dataset = str(cache_of(open_data(args), tmp_path / "cache"))
    assert contents(open_data(args, classes)) == contents(source)


def test_a_misspelt_class_is_refused(tmp_path):
    write_coco(tmp_path / "c", [SQUARE, GREEN], ("red", "green"))
    write_masks(tmp_path / "m")
    out, size = ("--output", tmp_path / "cache"), ("--size", "64")
    for command in (("cache", *out), ("train", "--weights", "none")):
        said = code_of(command[0], tmp_path / "c", *command[1:], "--classes", "red", "gren")
        assert "there is no class 'gren'; did you mean 'green'?" in said
    assert not (tmp_path / "cache").exists()
    assert code_of("cache", tmp_path / "c", *out, *size, "--classes", "green") == 0
    assert RecordDataset(tmp_path / "cache").class_names == ["BG", "green"]
    out = ("--output", tmp_path / "masks")
    assert code_of("cache", tmp_path / "m", *out, *size, "--classes", "nucleus") == 0


def test_a_cache_keeps_which_classes_its_source_does_not_label(tmp_path):
    write_coco(tmp_path / "c", [SQUARE], ("red",))
    args = arguments(str(tmp_path / "c"))
    source = open_data(args, ["blue", "red"])
    found = RecordDataset(cache_of(source, tmp_path / "cache"))
    assert contents(found)[1] == contents(source)[1] == [True, False, True]
    assert contents(RecordDataset(tmp_path / "cache", ["red", "blue"]))[1] == [True, True, False]


def test_a_cache_of_masks_has_a_class_of_any_name(tmp_path):
    args = arguments(str(write_masks(tmp_path / "m")))
    cache = cache_of(open_data(args), tmp_path / "cache")
    args.dataset = str(cache)
    assert open_data(args, ["nucleus"]).class_names == ["BG", "nucleus"]


def test_a_cache_without_any_of_the_classes_is_refused(tmp_path):
    write_coco(tmp_path / "c", [SQUARE], ("red", "green"))
    args = arguments(str(tmp_path / "c"))
    args.dataset = str(cache_of(open_data(args), tmp_path / "cache"))
    with pytest.raises(ValueError, match="is of the classes red, green, none of which is among c"):
        open_data(args, ["cat", "dog"])

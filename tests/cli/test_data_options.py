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


def test_label_maps_of_0_and_255(tmp_path, capsys):
    """The advice of the message is what makes them usable."""
    data = write_masks(tmp_path / "m")
    (data / "masks").rename(data / "labels")
    (data / "classes.txt").write_text("thing\n")
    line = ["check", data, "--format", "labels"]
    assert code_of(*line) == 1
    assert "where that marks a class, give --label-ids 255=1" in capsys.readouterr().out
    assert code_of(*line, "--label-ids", "255=1") == 0
    assert "all pixels of a class in an image count as one object" in capsys.readouterr().out
    train_set, _ = open_both(arguments(data, *line[2:], "--label-ids", "255=1"))
    assert (train_set.load_labels(0) == 1).sum() == 15 * 15 + 30 * 30
    assert code_of(*line, "--label-ids", "0=1", "--label-void", 7) == 0
    assert code_of(*line, "--label-ids", "255=a") == 2
    assert "write VALUE=CLASS, such as 255=1" in capsys.readouterr().err
    assert code_of(*line, "--label-ids", "3=1", "255=0", "--label-void", "0") == 1
    said = code_of(*line[:2], "--label-void", 7, "--format", "id_masks")
    assert "--label-void is of label maps (--format labels), and " in said


def test_values_that_no_option_names(tmp_path, capsys):
    data = write_masks(tmp_path / "m")
    (data / "masks").rename(data / "labels")
    (data / "classes.txt").write_text("thing\n")
    for path in (data / "labels").iterdir():
        Image.fromarray(np.array(Image.open(path)) // 255 * np.uint8(4)).save(path)
    line = ["check", data, "--format", "labels"]
    assert code_of(*line) == 1
    assert "--label-void 4 or, as of every value, --label-ids 4=CLASS" in capsys.readouterr().out
    assert code_of(*line, "--label-ids", "4=1") == 0


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


# === Parts, and data in another place ===


def write_part(folder, *names):
    """COCO json of a square, under one or more names, with its image."""
    if not folder.exists():
        write_coco(folder, [SQUARE], ("object",))
    for name in names:
        (folder / name).write_text((folder / "c.json").read_text())


@pytest.mark.parametrize("part", ["train", "val", "valid"])
def test_a_part_that_cannot_be_opened_is_not_left_out(tmp_path, part):
    """A part that is missing is: there would be no validation."""
    for name in {"train", part}:
        write_part(tmp_path / name)
    broken = tmp_path / part / "c.json"
    whole = broken.read_text()
    for contents, words in (
        ("{", "c.json is not JSON"),
        ("[1]", f"no annotations of '{part}' that are known. It has"),
        (None, "c.json is missing|No such file"),
    ):
        broken.unlink()
        if contents is None:
            broken.symlink_to(tmp_path / "gone")
        else:
            broken.write_text(contents)
        with pytest.raises((ValueError, OSError), match=words):
            open_both(arguments(tmp_path))
    broken.unlink()
    broken.write_text(whole)
    write_part(tmp_path / part, "d.json")
    with pytest.raises(ValueError, match="several annotations, .*c.json, .*d.json"):
        open_both(arguments(tmp_path))
    (tmp_path / part / "d.json").unlink()
    train_set, val_set = open_both(arguments(tmp_path))
    assert train_set.num_images == 1 and (val_set is None) == (part == "train")


def test_a_part_with_broken_masks_or_annotations_in_their_folder(tmp_path):
    masks = write_masks(tmp_path / "m")
    for kind in ("images", "masks"):
        for part in ("train", "val"):
            (masks / kind / part).mkdir()
        for number, part in enumerate(("train", "val")):
            (masks / kind / f"{number}.png").rename(masks / kind / part / f"{number}.png")
    assert [each.num_images for each in open_both(arguments(masks))] == [1, 1]
    (masks / "masks" / "val" / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match="masks.val"):
        open_both(arguments(masks))
    (tmp_path / "c" / "annotations").mkdir(parents=True)
    for name in ("train", "val"):
        folder = tmp_path / "c" / f"{name}2017"
        write_coco(folder, [SQUARE], ("object",))
        path = tmp_path / "c" / "annotations" / f"instances_{name}2017.json"
        (folder / "c.json").rename(path)
    assert [each.num_images for each in open_both(arguments(tmp_path / "c"))] == [1, 1]
    path.write_text("{")
    with pytest.raises(ValueError, match="instances_val2017.json is not JSON"):
        open_both(arguments(tmp_path / "c"))


def test_images_without_annotations_are_no_part(tmp_path):
    """COCO's layout has a folder of the images of each part, and of some no annotations."""
    write_part(tmp_path / "train")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train" / "c.json").rename(tmp_path / "annotations" / "instances_train.json")
    (tmp_path / "val").mkdir()
    Image.fromarray(image(64, 64, 0)).save(tmp_path / "val" / "9.png")
    train_set, val_set = open_both(arguments(tmp_path))
    assert train_set.num_images == 1 and val_set is None


def test_messages_on_the_data_of_val_name_their_options(coco, tmp_path):
    write_part(tmp_path / "t")
    file, folder = tmp_path / "t" / "c.json", tmp_path / "pictures"
    several = tmp_path / "several"
    write_part(several, "d.json")
    for given, words in (
        (["--val", file, "--val-masks", folder], "given with --val-masks, "),
        (["--val", folder, "--val-masks", tmp_path / "x"], "given with --val-masks, "),
        (["--val", several], "--format, --val-subset or the folder of the masks with --val-masks"),
        (["--val", coco], "the folder of the images with --val-images"),
        (
            ["--val", write_masks(tmp_path / "m"), "--val-images", folder],
            "--val-images is of COCO, VIA and labelme json and of --masks, and ",
        ),
        (["--val-images", folder], "--val-images goes with --val"),
    ):
        said = code_of("train", file, "--weights", "none", *given)
        assert words in said, (given, said)
    said = code_of("train", file, "--weights", "none", "--val-subset", "val")
    assert "c.json is a file" in said
    said = code_of("check", several)
    assert "--format, --subset or the folder of the masks with --masks" in said


def test_a_fault_of_the_data_of_val_is_told(coco, tmp_path):
    """--format is for them where they leave a choice, and hides nothing else."""
    (tmp_path / "val.json").write_text('{"shapes": []}')
    given = ["--format", "coco", "--images", tmp_path / "pictures", "--val", tmp_path / "val.json"]
    with pytest.raises(ValueError, match="val.json is none of the annotation files known here"):
        open_both(arguments(coco, *given))


def test_images_of_masks_and_of_val(coco, tmp_path):
    masks = write_masks(tmp_path / "m")
    (masks / "masks").rename(tmp_path / "truth")
    line = [masks, "--masks", tmp_path / "truth", "--images", masks / "images", "--val", coco]
    with pytest.raises(FileNotFoundError, match="0.png is missing"):
        open_both(arguments(*line))
    both = open_both(arguments(*line, "--val-images", tmp_path / "pictures"))
    assert [type(each).__name__ for each in both] == ["MaskPng", "CocoJson"]
    assert both[0].image_info[0]["path"].startswith(str(masks))


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


def test_options_that_a_cache_does_not_take(tmp_path):
    masks = write_masks(tmp_path / "m")
    cache = cache_of(open_data(arguments(masks)), tmp_path / "cache")
    said = code_of("check", cache, "--format", "coco")
    assert said.startswith("error: --format is of annotation files and folders of masks, and ")
    assert "is a cache: give it to the command that writes the cache" in said
    said = code_of("check", cache, "--image-range", 0, 4095)
    assert "was made with IMAGE_RANGE = None (the config has [0.0, 4095.0])" in said
    assert "--image-range" in said
    with pytest.raises(ValueError, match="--masks is of mask files, and .*cache/ is a cache"):
        open_both(arguments(cache, "--masks", masks / "masks", "--val", masks))
    assert open_both(arguments(cache, "--val", masks, "--format", "id_masks"))[1].num_images == 2

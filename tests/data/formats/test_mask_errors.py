"""All errors of mask files at once, as `check` collects them."""

import os

import pytest
from PIL import Image

from mrcnn.cli import main
from mrcnn.data.formats.label_maps import LabelMaps
from mrcnn.data.formats.left_out import UNREADABLE_IMAGE
from mrcnn.data.formats.mask_png import MaskPng
from tests.data.formats.test_mask_png import IDS, id_folders, object_folders

IMAGES = "a.png b.png c.png d.png"


def load_ids(images, masks, **options):
    dataset = MaskPng()
    dataset.load_id_masks(images, masks, "person", **options)
    return dataset


def load_labels(images, masks, **options):
    dataset = LabelMaps()
    dataset.load(images, masks, class_names=list("abcdefg"), **options)
    return dataset


def missing(folder):
    return id_folders(folder, {"d": IDS}, ".png", IMAGES)


def lossy(folder):
    images, masks = id_folders(folder, {"d": IDS}, ".png", IMAGES)
    for stem in "abc":
        Image.fromarray(IDS).save(os.path.join(masks, f"{stem}.jpg"))
    return images, masks


def several(folder):
    masks = dict.fromkeys(f"{stem}_{word}" for stem in "abc" for word in ("mask", "gt"))
    return id_folders(folder, {name: IDS for name in [*masks, "d"]}, ".png", IMAGES)


@pytest.mark.parametrize("make", [missing, lossy, several])
@pytest.mark.parametrize("load", [load_ids, load_labels])
def test_every_image_without_a_mask_that_can_be_used(tmp_path, make, load):
    folders = make(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=r"\ba(\.png|\.jpg)"):
        load(*folders)
    dataset = load(*folders, collect_errors=True)
    assert [info["id"] for info in dataset.image_info] == ["d"]
    assert set(dataset.left_out.places) == {UNREADABLE_IMAGE} == dataset.left_out.spoiling
    places = dataset.left_out.places[UNREADABLE_IMAGE]
    assert len(places) == 3
    assert all(any(f"{stem}." in place for place in places) for stem in "abc")


def test_what_values_mean_is_told_by_a_label_map_that_can_be_used(tmp_path):
    """The first is damaged, the second would have colours, and the others have values."""
    images, masks = id_folders(tmp_path, {"c": IDS, "d": IDS}, ".png", IMAGES)
    (tmp_path / "labelmap.txt").write_text(
        "".join(f"{one}:1,{n},1::\n" for n, one in enumerate("abcdefg"))
    )
    with open(os.path.join(masks, "a.png"), "wb") as file:
        file.write(b"damaged")
    Image.fromarray(IDS).convert("RGB").save(os.path.join(masks, "b.jpg"))
    dataset = LabelMaps()
    dataset.load(images, masks, collect_errors=True)
    assert [info["id"] for info in dataset.image_info] == ["a", "c", "d"]
    assert (dataset.load_labels(1) == IDS).all()
    errors = [one for one in dataset.check(progress=False).findings if one.severity == "error"]
    assert any("a.png" in one.place for one in errors)
    assert any("b.jpg is JPEG" in one.place for one in errors)


def test_two_files_that_differ_in_their_ending(tmp_path):
    folders = id_folders(tmp_path, {"a": IDS, "b": IDS}, ".png", "a.png a.jpg b.png b.jpg")
    dataset = load_ids(*folders, collect_errors=True)
    assert len(dataset.left_out.places[UNREADABLE_IMAGE]) == 2
    assert [info["id"] for info in dataset.image_info] == ["a", "b"]


def broken_folders(folder):
    """Of objects: one folder lacks masks, one has two images, two have none."""
    object_folders(folder, {"a": [IDS == 7], "b": [IDS == 7], "c": None, "none": [IDS == 7]})
    os.rename(folder / "a" / "images" / "a.png", folder / "b" / "images" / "a.png")
    os.remove(folder / "none" / "images" / "none.png")
    return folder


def test_folders_of_objects_that_are_not_whole(tmp_path):
    folder = broken_folders(tmp_path)
    dataset = MaskPng()
    dataset.load_object_masks(folder, "nucleus", collect_errors=True)
    assert dataset.left_out.spoiling == {UNREADABLE_IMAGE} and not dataset.image_info
    places = sorted(dataset.left_out.places[UNREADABLE_IMAGE])
    wanted = ["a/images must have one", "b/images must have one", "c/masks is missing", "none/"]
    assert len(places) == 4 and all(word in place for word, place in zip(wanted, places))


def test_check_shows_all_of_them(tmp_path, capsys):
    images, masks = missing(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        main(["check", images, "--masks", masks])
    shown = capsys.readouterr().out
    assert "left out: images that cannot be used  3" in shown and "Checked 1 images" in shown


def test_check_of_nothing_that_can_be_used(tmp_path, capsys):
    folder = broken_folders(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        main(["check", str(folder), "--format", "object_masks"])
    assert "left out: images that cannot be used  4" in capsys.readouterr().out


def test_what_is_missing_and_may_be_is_no_error(tmp_path):
    dataset = load_ids(*missing(tmp_path), collect_errors=True, skip_missing=True)
    assert not dataset.left_out.spoiling
    assert len(dataset.left_out.places["images without a mask file"]) == 3

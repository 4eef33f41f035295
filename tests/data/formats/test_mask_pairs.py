"""Which folders and files of images and masks go together."""

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.formats import open_dataset
from mrcnn.data.formats.mask_pairs import find_pairs, pair_files


def picture(path, value=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8), value, np.uint8)).save(path)


def fill(root, *paths):
    for path in paths:
        picture(root / path)


def of_files(dataset):
    """{id of an image: name of its mask}"""
    return {
        info["id"]: info["mask_path"].replace("\\", "/").rsplit("/", 1)[-1]
        for info in dataset.image_info
    }


@pytest.mark.parametrize(
    "mask",
    ["a.png", "a_mask.png", "a_GT.png", "a-label.tif", "a_gt_mask.png", "a_instanceIds.png"],
)
def test_names_of_masks(tmp_path, mask):
    fill(tmp_path, "x/a.png", f"y/{mask}")
    assert pair_files(tmp_path / "x", tmp_path / "y") == ([("a", "a.png", mask)], [])


def test_a_mask_of_the_same_name_comes_first_and_no_mask_is_of_two_images(tmp_path):
    fill(tmp_path, "x/a.png", "x/a_mask.png", "x/b.png", "y/a_mask.png", "y/b.png", "y/b_gt.png")
    pairs, unused = pair_files(tmp_path / "x", tmp_path / "y")
    assert pairs == [
        ("a", "a.png", None),
        ("a_mask", "a_mask.png", "a_mask.png"),
        ("b", "b.png", "b.png"),
    ]
    assert unused == ["b_gt.png"]


def test_several_masks_of_an_image(tmp_path):
    fill(tmp_path, "x/a.png", "y/a_mask.png", "y/a_gt.png")
    with pytest.raises(ValueError, match=r"y has several masks of a\.png, a_gt\.png, a_mask\.png"):
        pair_files(tmp_path / "x", tmp_path / "y")


def test_names_of_another_normal_form_are_the_same(tmp_path):
    fill(tmp_path, "x/e\u0301.png", "y/\u00e9_mask.png")
    pairs, unused = pair_files(tmp_path / "x", tmp_path / "y")
    assert [mask for _, _, mask in pairs] == ["\u00e9_mask.png"] and not unused


def test_names_that_differ_in_case_are_told_and_not_taken(tmp_path):
    fill(tmp_path, "x/IMG.png", "x/b.png", "y/img_mask.png", "y/b.png")
    with pytest.raises(FileNotFoundError) as error:
        open_dataset(tmp_path / "x", mask_dir=tmp_path / "y")
    assert "no mask for" in str(error.value) and "IMG.png: it should be IMG.png" in str(error.value)
    assert "There is img_mask.png, which differs in upper and lower case" in str(error.value)


def test_no_mask_of_any_image(tmp_path):
    fill(tmp_path, "x/a.png", "y/left.png", "y/right.png")
    for options in ({}, {"skip_missing": True}):
        with pytest.raises(FileNotFoundError) as error:
            open_dataset(tmp_path / "x", mask_dir=tmp_path / "y", **options)
        assert f"folder of masks {tmp_path / 'y'} has the name" in str(error.value)
        assert "a.png should be a.png or a_mask.png; there is left.png, right.png" in str(
            error.value
        )


# === Folders ===


@pytest.mark.parametrize(
    "images, masks",
    [("Images", "Masks"), ("img", "label"), ("imgs", "gt"), ("JPEGImages", "masks")],
)
def test_folders_by_their_names(tmp_path, images, masks):
    fill(tmp_path, f"{images}/a.png", f"{masks}/a.png")
    assert find_pairs(tmp_path) == [(str(tmp_path / images), str(tmp_path / masks))]
    assert of_files(open_dataset(tmp_path)) == {"a": "a.png"}


def test_labels_that_are_text_are_no_masks(tmp_path):
    fill(tmp_path, "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    assert find_pairs(tmp_path) == []


def test_several_pairs_of_folders(tmp_path):
    fill(tmp_path, "images/a.png", "masks/a.png", "gt/a.png")
    with pytest.raises(ValueError, match=r"several annotations, .*masks, .*gt: .*mask_dir"):
        open_dataset(tmp_path)
    assert len(open_dataset(tmp_path, mask_dir=tmp_path / "gt").image_info) == 1


def test_parts_within_the_folders(tmp_path):
    fill(
        tmp_path,
        *(f"{kind}/{part}.png" for kind in ("images/train", "masks/train") for part in "ab"),
    )
    fill(tmp_path, "images/val/c.png", "masks/val/c.png")
    with pytest.raises(ValueError, match="; train, val have some: give a subset"):
        open_dataset(tmp_path)
    assert set(of_files(open_dataset(tmp_path, subset="train"))) == {"a", "b"}
    assert set(of_files(open_dataset(tmp_path, subset="val"))) == {"c"}


# === A folder that is named ===


@pytest.mark.parametrize(
    "files, path, options, ids",
    [
        (("d/a.png", "d/b.png", "truth/a_gt.png", "truth/b_gt.png"), "d", {}, "ab"),
        (("d/images/a.png", "truth/a.png"), "d", {}, "a"),
        (("d/x/a.png", "truth/a.png"), "d", {"image_dir": "d/x"}, "a"),
        (("d/val/a.png", "truth/val/a.png"), "d", {"subset": "val"}, "a"),
        (("d/images/val/a.png", "truth/val/a.png"), "d", {"subset": "val"}, "a"),
        (("d/val/image/a.png", "truth/a.png"), "d", {"subset": "val"}, "a"),
    ],
)
def test_a_folder_of_masks_of_another_name(tmp_path, monkeypatch, files, path, options, ids):
    fill(tmp_path, *files)
    monkeypatch.chdir(tmp_path)
    dataset = open_dataset(path, mask_dir="truth", **options)
    assert [info["id"] for info in dataset.image_info] == list(ids)
    masks, class_ids = dataset.load_mask(0)
    assert masks.shape == (6, 8, 1) and masks.all() and class_ids.tolist() == [1]


@pytest.mark.parametrize(
    "path, options, error, message",
    [
        (
            "d",
            {"mask_dir": "gone"},
            FileNotFoundError,
            "mask_dir, gone, which is no folder",
        ),
        (
            "d",
            {"mask_dir": "Truth"},
            FileNotFoundError,
            "no folder. There is ./truth, which differs",
        ),
        ("c.json", {"mask_dir": "truth"}, ValueError, "truth, but c.json is a file: masks go with"),
        ("d", {"mask_dir": "truth", "format": "coco"}, ValueError, "the format coco does not take"),
        ("truth/deep", {"mask_dir": "truth"}, FileNotFoundError, "deep has no images to go with"),
        (
            "d",
            {"mask_dir": "truth", "subset": "tain"},
            FileNotFoundError,
            "truth, but d has no folder 'tain'$",
        ),
        (
            "truth",
            {"mask_dir": "truth", "subset": "Deep"},
            FileNotFoundError,
            "truth has no folder 'Deep'. There is truth/deep, which differs in upper",
        ),
        ("d", {"mask_dir": "d"}, ValueError, "are both d: images and masks"),
        (
            "pair",
            {"image_dir": "d"},
            ValueError,
            "image_dir, d, but the format id_masks",
        ),
    ],
)
def test_masks_that_do_not_go_with_the_rest(tmp_path, monkeypatch, path, options, error, message):
    fill(tmp_path, "d/a.png", "truth/a.png", "pair/images/a.png", "pair/masks/a.png")
    (tmp_path / "truth" / "deep").mkdir()
    (tmp_path / "c.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        open_dataset(path, **options)

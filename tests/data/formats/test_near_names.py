"""Images whose names are nearly those of the annotations: taken, or told."""

import json

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.formats import open_dataset
from mrcnn.data.formats.files import find_image, near_miss

NFC, NFD = "\u00e9t\u00e9.png", "e\u0301te\u0301.png"
X, Y = [1, 6, 6, 1], [1, 1, 4, 4]


def coco(name):
    square = [value for point in zip(X, Y) for value in point]
    return {
        "images": [{"id": 1, "file_name": name, "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [square]}],
    }


def via(name):
    shape = {"name": "polygon", "all_points_x": X, "all_points_y": Y}
    regions = [{"shape_attributes": shape, "region_attributes": {}}]
    return {name: {"filename": name, "regions": regions}}


def labelme(name):
    square = {"label": "cat", "points": list(map(list, zip(X, Y)))}
    return {"shapes": [square], "imagePath": name, "imageData": None}


def write(folder, contents, *images):
    (folder / "a.json").write_text(json.dumps(contents))
    for name in images:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((6, 8), np.uint8)).save(path)


@pytest.mark.parametrize("make", [coco, via, labelme])
@pytest.mark.parametrize("named, there", [(NFC, NFD), (NFD, NFC)])
def test_another_normal_form_is_the_same_name(tmp_path, make, named, there):
    write(tmp_path, make(named), there)
    dataset = open_dataset(tmp_path)
    assert dataset.image_info[0]["path"] == str(tmp_path / there)
    assert dataset.load_mask(0)[0].shape == (6, 8, 1)


def test_the_exact_name_comes_first_and_two_that_fit_are_not_chosen_from(tmp_path):
    mixed = "\u00e9te\u0301.png"
    write(tmp_path, {}, NFC, NFD)
    assert find_image([tmp_path], NFD) == str(tmp_path / NFD)
    assert find_image([tmp_path], mixed) is None
    said = near_miss([tmp_path], mixed)
    assert NFC in said and NFD in said and said.endswith("differs in the Unicode normal form")


def test_folders_of_another_normal_form(tmp_path):
    folder = NFD.removesuffix(".png")
    write(tmp_path, {}, f"{folder}/a.png")
    name = f"{NFC.removesuffix('.png')}/a.png"
    assert find_image([tmp_path], name) == str(tmp_path / folder / "a.png")


@pytest.mark.parametrize("make", [coco, via, labelme])
@pytest.mark.parametrize(
    "named, there, what",
    [
        ("IMG.JPG", "img.jpg", "upper and lower case"),
        ("img.jpg", "img.png", "its ending"),
        ("img", "img.png", "its ending"),
        ("IMG.jpeg", "img.png", "its ending"),
        ("C:\\photos\\IMG.png", "img.png", "upper and lower case"),
    ],
)
def test_names_that_are_nearly_there_are_told(tmp_path, make, named, there, what):
    write(tmp_path, make(named), there)
    with pytest.raises(FileNotFoundError) as error:
        open_dataset(tmp_path)
    assert f"There is {tmp_path / there}, which differs in {what}: rename it" in str(error.value)
    assert open_dataset(tmp_path, skip_missing=True).num_images == 0


def test_nothing_near(tmp_path):
    write(tmp_path, coco("b.png"), "c.png")
    with pytest.raises(FileNotFoundError) as error:
        open_dataset(tmp_path)
    assert "There is" not in str(error.value)


def test_a_new_file_is_seen(tmp_path):
    write(tmp_path, {}, "c.png")
    assert near_miss([tmp_path], "IMG.png") == ""
    write(tmp_path, {}, "img.png")
    assert "img.png" in near_miss([tmp_path], "IMG.png")


def test_a_data_set_of_another_case(tmp_path):
    (tmp_path / "Photos" / "Train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="Photos, which differs in upper and lower case"):
        open_dataset(tmp_path / "photos")
    with pytest.raises(FileNotFoundError, match="Train, which differs in upper and lower case"):
        open_dataset(tmp_path / "Photos", subset="train")


def test_one_file_for_an_object(tmp_path):
    for name in ("1/images/a.png", "1/masks/a.png", "2/Images/b.png", "2/masks/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="it has 0. There is .*Images, which differs in up"):
        open_dataset(tmp_path)

"""VIA files as the tool writes them: version 1, and the export and the project of version 2."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage import draw

from mrcnn.data.formats.left_out import UNREADABLE_IMAGE
from mrcnn.data.formats.regions import UNREADABLE_OBJECT
from mrcnn.data.formats.via import Via
from tests.tiny import image

# closed
POLYGON = {
    "name": "polygon",
    "all_points_x": [10, 39, 35, 12, 10],
    "all_points_y": [20, 22, 44, 40, 20],
}
SHAPES = [
    POLYGON,
    {**POLYGON, "name": "polyline", "all_points_x": [50, 70, 60], "all_points_y": [5, 9, 30]},
    {"name": "rect", "x": 31, "y": 43, "width": 12, "height": 9},
    {"name": "circle", "cx": 60, "cy": 40, "r": 8},
    {"name": "ellipse", "cx": 25, "cy": 12, "rx": 17, "ry": 6},  # version 1, before 2.0.8
    {"name": "ellipse", "cx": 40.5, "cy": 30, "rx": 20.25, "ry": 6.5, "theta": 0.6},
]
POINT = {"name": "point", "cx": 5, "cy": 6}


def region(shape, **attributes):
    return {"shape_attributes": shape, "region_attributes": attributes}


def via(version, photos):
    """{file name: regions} as the versions of VIA write it."""
    if version == "1":
        return {
            f"{name}{len(name)}": {
                "fileref": "",
                "size": len(name),
                "filename": name,
                "base64_img_data": "",
                "file_attributes": {},
                "regions": {str(number): item for number, item in enumerate(regions)},
            }
            for name, regions in photos.items()
        }
    entries = {
        f"{name}{len(name)}": {
            "filename": name,
            "size": len(name),
            "regions": regions,
            "file_attributes": {},
        }
        for name, regions in photos.items()
    }
    if version == "2":
        return entries
    return {
        "_via_settings": {
            "ui": {"annotation_editor_height": 25},
            "core": {"buffer_size": 18, "filepath": {}, "default_filepath": "./photos/"},
            "project": {"name": "plates"},
        },
        "_via_img_metadata": entries,
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(entries),
        "_via_attributes": {
            "region": {"type": {"type": "radio", "options": {}, "default_options": {}}},
            "file": {},
        },
    }


def save(folder, contents, photos=("a.png", "b.jpg"), size=(60, 80)):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(photos):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image(*size, seed)).save(folder / name)
    path = folder / "via_region_data.json"
    path.write_text(contents if isinstance(contents, str) else json.dumps(contents))
    return str(path)


def load(folder, photos, version="2", files=("a.png", "b.jpg"), **options):
    dataset = Via()
    dataset.load_via(save(folder, via(version, photos), files), **options)
    dataset.prepare()
    return dataset


def expected_masks():
    """The masks of SHAPES on 60 x 80 px, by other means."""
    masks = np.zeros((60, 80, 6), bool)
    for index in (0, 1):
        shape = SHAPES[index]
        masks[(*draw.polygon(shape["all_points_y"], shape["all_points_x"], (60, 80)), index)] = True
    masks[43:52, 31:43, 2] = True
    masks[(*draw.disk((40, 60), 8, shape=(60, 80)), 3)] = True
    y, x = np.mgrid[:60, :80]
    masks[..., 4] = ((x - 25) / 17) ** 2 + ((y - 12) / 6) ** 2 < 1
    dx, dy = x - 40.5, y - 30
    # clockwise on the screen, as the canvas of a browser turns it
    along, across = dx * np.cos(0.6) + dy * np.sin(0.6), dy * np.cos(0.6) - dx * np.sin(0.6)
    masks[..., 5] = (along / 20.25) ** 2 + (across / 6.5) ** 2 < 1
    return masks


# === What is read ===


@pytest.mark.parametrize("version", ["1", "2", "2 project"])
def test_every_shape_of_every_version(tmp_path, version):
    dataset = load(
        tmp_path,
        {"a.png": [region(shape) for shape in SHAPES], "b.jpg": [region(POLYGON)]},
        version,
    )
    assert dataset.class_names == ["BG", "object"] and [
        info["id"] for info in dataset.image_info
    ] == ["a.png", "b.jpg"]
    masks, class_ids = dataset.load_mask(0)
    assert masks.dtype == bool and class_ids.dtype == np.int32 and class_ids.tolist() == [1] * 6
    np.testing.assert_array_equal(masks, expected_masks())
    assert dataset.load_image(0).shape == (60, 80, 3)
    assert dataset.image_reference(1) == str(tmp_path / "b.jpg")
    assert [int(area) for area in dataset.measure_objects(0)[2]] == masks.sum(axis=(0, 1)).tolist()


@pytest.mark.parametrize(
    "values",
    [
        ["cup", "plate", "cup"],  # text, dropdown, radio
        # checkbox: matterport#2609
        [
            {"cup": True},
            {"plate": True},
            {"cup": True, "plate": False},
        ],
        [" cup", "plate ", "cup\n"],
    ],
    ids=["text", "checkbox", "spaces"],
)
@pytest.mark.parametrize("version", ["1", "2", "2 project"])
def test_classes_by_an_attribute(tmp_path, version, values):
    regions = [region(POLYGON, type=value) for value in values]
    dataset = load(tmp_path, {"a.png": regions}, version)  # the only attribute is found
    assert dataset.class_names == ["BG", "cup", "plate"] and dataset.load_mask(0)[1].tolist() == [
        1,
        2,
        1,
    ]
    dataset = load(
        tmp_path,
        {"a.png": regions},
        version,
        class_attribute="type",
        classes=["plate", "saucer", "cup"],
    )
    assert dataset.class_names == ["BG", "plate", "saucer", "cup"] and dataset.load_mask(0)[
        1
    ].tolist() == [3, 1, 3]


def test_several_files_in_one_dataset(tmp_path):
    """Each has its own classes; a name has one number."""
    dataset = Via()
    for folder, names in (("1", ["cup", "plate"]), ("2", ["bowl", "plate"])):
        dataset.load_via(
            save(
                tmp_path / folder,
                via("2", {"a.png": [region(POLYGON, type=name) for name in names]}),
            )
        )
    dataset.prepare()
    assert dataset.class_names == ["BG", "cup", "plate", "bowl"]
    assert dataset.load_mask(0)[1].tolist() == [1, 2] and dataset.load_mask(1)[1].tolist() == [3, 2]


def test_class_names_of_another_dataset_are_cut_at_the_comma(tmp_path):
    photos = {
        "a.png": [region(POLYGON, type=name) for name in ("door, double door", "cup", "doorway")]
    }
    names = load(tmp_path, photos).class_names
    assert names == ["BG", "cup", "door", "doorway"]
    dataset = load(tmp_path, photos, classes=names[1:])
    assert dataset.load_mask(0)[1].tolist() == [2, 1, 3] and not len(dataset.left_out)


def test_names_that_begin_alike_are_not_merged(tmp_path):
    names = ["door", "cup, blue", "cup, red", "plate, flat"]
    photos = {"a.png": [region(POLYGON, type=name) for name in names]}
    # a name stands for all that begin with it, each of which is a class, and keeps one's alone
    dataset = load(tmp_path, photos, classes=["cup", "plate"])
    assert dataset.class_names == ["BG", "cup, blue", "cup, red", "plate"]
    assert dataset.load_mask(0)[1].tolist() == [1, 2, 3]
    # one that is listed itself is not meant by the other
    dataset = load(tmp_path, photos, classes=["cup", "cup, red"], other_classes=True)
    assert dataset.class_names == ["BG", "cup", "cup, red", "door", "plate, flat"]
    assert dataset.load_mask(0)[1].tolist() == [3, 1, 2, 4]
    photos["a.png"].append(region(POLYGON, type="cup"))
    dataset = load(tmp_path, photos, classes=["cup"])
    assert dataset.class_names == ["BG", "cup"] and dataset.load_mask(0)[1].tolist() == [1]
    assert len(dataset.load_mask(0)[1]) == 1 and len(dataset.left_out) == 4


def test_a_name_means_the_same_in_all_files(tmp_path):
    dataset = Via()
    for folder, name in (("1", "cup, blue"), ("2", "plate"), ("3", "cup, red")):
        path = save(tmp_path / folder, via("2", {"a.png": [region(POLYGON, type=name)]}))
        if folder != "3":
            dataset.load_via(path, classes=["cup", "plate"])
    with pytest.raises(
        ValueError, match="'cup', which is 'cup, red' here and was 'cup, blue' in .* as 'via'"
    ):
        dataset.load_via(path, classes=["cup", "plate"])
    dataset.prepare()
    assert dataset.class_names == ["BG", "cup", "plate"]
    assert [dataset.load_mask(image_id)[1].tolist() for image_id in (0, 1)] == [[1], [2]]


def test_numbers_for_classes(tmp_path):
    dataset = load(tmp_path, {"a.png": [region(POLYGON, class_id=2), region(POLYGON, class_id=1)]})
    assert dataset.class_names == ["BG", "1", "2"] and dataset.load_mask(0)[1].tolist() == [2, 1]


def test_which_of_several_attributes(tmp_path):
    photos = {
        "a.png": [region(POLYGON, type="cup", colour="red"), region(POLYGON, type="plate", note="")]
    }
    with pytest.raises(
        ValueError, match=r"attributes \['colour', 'type'\]: say with class_attribute"
    ):
        load(tmp_path, photos)
    with pytest.raises(
        ValueError, match=r"no region has the attribute 'kind'; there are \['colour', 'type'\]"
    ):
        load(tmp_path, photos, class_attribute="kind")
    assert load(tmp_path, photos, class_attribute="type").class_names == ["BG", "cup", "plate"]
    assert load(tmp_path, photos, class_attribute="", classes=["dish"]).class_names == [
        "BG",
        "dish",
    ]


def test_a_list_of_classes_where_there_is_no_attribute(tmp_path):
    photos = {"a.png": [region(POLYGON)]}
    assert load(tmp_path, photos, classes=["balloon"]).class_names == ["BG", "balloon"]
    with pytest.raises(ValueError, match="without a class_attribute all regions are of one class"):
        load(tmp_path, photos, classes=["cup", "plate"])
    for wrong in ("cup", ["cup", "cup"], [1, 2]):
        with pytest.raises(
            ValueError, match="a list of different names|all regions are of one class"
        ):
            load(tmp_path, {"a.png": [region(POLYGON, type="cup")]}, classes=wrong)


@pytest.mark.parametrize(
    "name, photo",
    [
        ("a.png", "photos/a.png"),  # the project's default path
        ("C:\\Users\\me\\a.png", "a.png"),
        ("sub/a.png", "sub/a.png"),
        ("https://example.org/x/a.png", "a.png"),
    ],
)
def test_names_of_images(tmp_path, name, photo):
    dataset = load(tmp_path, {name: [region(POLYGON)]}, "2 project", files=[photo])
    assert dataset.load_image(0).shape == (60, 80, 3) and dataset.image_info[0]["id"] == name


def test_images_elsewhere(tmp_path):
    path = save(tmp_path / "labels", via("2", {"a.png": [region(POLYGON)]}), ())
    save(tmp_path / "images", {})
    dataset = Via()
    dataset.load_via(path, str(tmp_path / "images"))
    assert dataset.image_info[0]["path"] == str(tmp_path / "images" / "a.png")


def test_photo_that_a_camera_turned(tmp_path):
    rect = {"name": "rect", "x": 2, "y": 60, "width": 20, "height": 15}
    path = save(tmp_path, via("2", {"a.jpg": [region(rect)]}), ())
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image(60, 80)).save(tmp_path / "a.jpg", exif=exif)
    dataset = Via()
    dataset.load_via(path)
    dataset.prepare()
    masks, _ = dataset.load_mask(0)
    assert dataset.load_image(0).shape[:2] == masks.shape[:2] == (80, 60)
    np.testing.assert_array_equal(np.argwhere(masks[..., 0]).min(axis=0), [60, 2])


def test_images_without_regions(tmp_path):
    photos = {"a.png": [], "b.jpg": [region(POLYGON)]}
    dataset = load(tmp_path, photos)
    assert [info["id"] for info in dataset.image_info] == ["b.jpg"]  # as the original's sample
    assert "images without regions: 1 (first: " in str(dataset.left_out)
    dataset = load(tmp_path, photos, keep_empty=True)
    masks, class_ids = dataset.load_mask(0)
    assert masks.shape == (60, 80, 0) and class_ids.shape == (0,) and not len(dataset.left_out)


# === What is left out ===


@pytest.mark.parametrize(
    "bad, reason",
    [
        (region(POINT), "points, which have no area"),
        (
            region({**POLYGON, "all_points_x": [1, 2], "all_points_y": [3, 4]}),
            "fewer than three points",
        ),
        (region({**POLYGON, "all_points_x": [], "all_points_y": []}), "fewer than three points"),
        # matterport#636, #2592
        (
            region({**POLYGON, "all_points_x": [90, 95, 99, 90, 92]}),
            "no pixel",
        ),
        (region({"name": "rect", "x": 5, "y": 5, "width": 0, "height": 9}), "no pixel"),
        (region({"name": "circle", "cx": 5, "cy": 5, "r": 0}), "no pixel"),
        (region({"name": "ellipse", "cx": -50, "cy": 5, "rx": 4, "ry": 4, "theta": 0}), "no pixel"),
    ],
    ids=["point", "two points", "no points", "outside", "flat", "no radius", "ellipse outside"],
)
def test_regions_without_a_pixel(tmp_path, caplog, bad, reason):
    dataset = load(tmp_path, {"a.png": [bad, region(POLYGON)]})
    assert dataset.load_mask(0)[0].shape == (60, 80, 1)
    assert len(dataset.left_out) == 1 and reason in str(dataset.left_out)
    assert (
        "via_region_data.json: a.png, region 0" in str(dataset.left_out)
        and len(caplog.records) == 1
    )
    assert "1 images with 1 instances of 1 classes; left out so far: regions" in caplog.text


def test_regions_without_a_class(tmp_path):
    values = ["cup", "", None, {}, {"cup": True, "plate": True}, {"cup": False}, "plate", "fork"]
    regions = [region(POLYGON, type=value) for value in values] + [region(POLYGON)]
    dataset = load(tmp_path, {"a.png": regions}, class_attribute="type", classes=["cup", "plate"])
    assert dataset.load_mask(0)[1].tolist() == [1, 2]
    assert {reason: len(places) for reason, places in dataset.left_out.places.items()} == {
        "regions without a class": 5,
        "regions with several classes ticked, of which an object has one": 1,
        "regions of the class 'fork', which classes does not list": 1,
    }
    assert dataset.image_info[0]["instances"][1].place == "region 6"


def test_missing_images(tmp_path):
    photos = {"gone.png": [region(POLYGON)], "a.png": [region(POLYGON)]}
    with pytest.raises(
        FileNotFoundError, match="gone.png is missing, though .*via_region_data.json"
    ):
        load(tmp_path, photos)
    dataset = load(tmp_path, photos, skip_missing=True)
    assert dataset.num_images == 1 and "images missing: 1" in str(dataset.left_out)


# === What is wrong ===


@pytest.mark.parametrize("value", [["cup"], {"cup": {"on": True}}, {"cup": True, "plate": [1]}])
def test_a_class_that_is_neither_text_nor_checkboxes(tmp_path, value):
    regions = [region(POLYGON, type="cup"), region(POLYGON, type=value)]
    with pytest.raises(
        ValueError, match="a.png, region 1: its 'type' is .* must be text, or check"
    ):
        load(tmp_path, {"a.png": regions})
    dataset = load(tmp_path, {"a.png": regions}, collect_errors=True)
    assert dataset.class_names == ["BG", "cup"] and dataset.load_mask(0)[1].tolist() == [1]
    assert [len(places) for places in dataset.left_out.places.values()] == [1]


def test_all_errors_of_the_structure_are_collected(tmp_path):
    """`check` shows all of them, and what else the file has."""
    contents = via("2", {"a.png": [region(POLYGON, type="cup"), 5], "b.jpg": [region(POLYGON)]})
    contents["b.jpg5"]["regions"] += [
        {"shape_attributes": POLYGON, "region_attributes": "cup"},
        {"region_attributes": {"type": "cup"}},
        region({**POLYGON, "all_points_x": None}, type="plate"),
        region(POLYGON, type="plate"),
    ]
    contents |= {
        "x": 3,
        "y": {"filename": "c.png"},
        "z": {"filename": 5, "regions": []},
        "again": contents["a.png5"],
    }
    dataset = Via()
    path = save(tmp_path, contents)
    with pytest.raises(ValueError, match="entry 'x' is not a VIA image"):
        Via().load_via(path)
    dataset.load_via(path, collect_errors=True)
    dataset.prepare()
    assert dataset.class_names == ["BG", "cup", "plate"]
    assert [dataset.load_mask(image_id)[1].tolist() for image_id in (0, 1)] == [[1], [2]]
    found = {reason: list(places) for reason, places in dataset.left_out.places.items()}
    assert dataset.left_out.spoiling == {UNREADABLE_IMAGE, UNREADABLE_OBJECT}
    assert [place.removeprefix(f"{path}: ")[:12] for place in found[UNREADABLE_IMAGE]] == [
        "entry 'x' is",
        "entry 'y' is",
        "entry 'z' is",
        "a.png is the",
    ]
    assert [place.removeprefix(f"{path}: ")[:15] for place in found[UNREADABLE_OBJECT]] == [
        "a.png, region 1",
        "b.jpg, region 1",
        "b.jpg, region 2",
        "b.jpg, region 3",
    ]
    assert found["regions without a class"] == [f"{path}: b.jpg, region 0"]


def test_two_names_for_one_image(tmp_path):
    with pytest.raises(
        ValueError, match="json names 'x/a.png' and 'y/a.png', of which there is only .*a.png"
    ):
        load(
            tmp_path, {"x/a.png": [region(POLYGON)], "y/a.png": [region(POLYGON)]}, files=["a.png"]
        )
    files = ["x/a.png", "y/a.png"]
    assert load(tmp_path, {name: [region(POLYGON)] for name in files}, files=files).num_images == 2


@pytest.mark.parametrize(
    "contents, message",
    [
        ("{'a': 1}", "is not JSON"),
        ([1, 2], "is not a VIA export.*list"),
        (
            {"images": [], "annotations": []},
            "'images' is not a VIA image.*'filename' and 'regions'",
        ),
        (
            {"project": {}, "config": {}, "file": {}, "metadata": {}, "view": {}},
            r"\.json is not a VIA export. This looks like a project of VIA 3, which is not read: ",
        ),
        ({"x": {"filename": "a.png", "regions": "none"}}, "'x' is not a VIA image"),
        ({"x": {"filename": None, "regions": []}}, "'x' is not a VIA image"),
        (
            {"_via_img_metadata": None, "_via_settings": {}},
            "'_via_img_metadata' must be an object of images",
        ),
        ({"_via_img_metadata": []}, "'_via_img_metadata' must be an object of images, not list"),
        (
            {
                "x1": {"filename": "a.png", "regions": []},
                "x2": {"filename": "a.png", "regions": []},
            },
            "a.png is there twice",
        ),
    ],
)
def test_other_files(tmp_path, contents, message):
    with pytest.raises(ValueError, match=f"via_region_data.json.*{message}|{message}"):
        Via().load_via(save(tmp_path, contents))


@pytest.mark.parametrize(
    "bad, message",
    [
        ("polygon", "has no 'shape_attributes'"),
        ({"region_attributes": {}}, "has no 'shape_attributes'"),
        (
            {"shape_attributes": POLYGON, "region_attributes": []},
            "'region_attributes' must be an object",
        ),
        (region({"name": "polygon"}), "all_points_x must be numbers"),  # matterport#608, #2150
        (region({**POLYGON, "all_points_x": [1, 2, 3, 4]}), "4 all_points_x, but 5 all_points_y"),
        (region({**POLYGON, "all_points_x": [1, 2, 3, 4, None]}), "all_points_x must be numbers"),
        (region({**POLYGON, "all_points_x": [1, 2, 3, 4, float("nan")]}), "all_points_x .*got nan"),
        (
            region({"name": "rect", "x": 1, "y": 2, "width": 4}),
            "a rect needs x, y, width, height; it has no height",
        ),
        (region({"name": "circle", "cx": 1, "cy": "2", "r": 4}), "cy must be numbers"),
        (region({"name": "cube"}), "its shape is 'cube'; VIA has polygon, polyline, rect"),
        (region({}), "its shape is None"),
    ],
)
def test_regions_that_make_no_sense(tmp_path, bad, message):
    with pytest.raises(
        ValueError,
        match=f"via_region_data.json: a.png, region 1:? .*{message}|region 1:? {message}",
    ):
        load(tmp_path, {"a.png": [region(POLYGON), bad]})


def test_no_file(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="gone.json is missing; it should be a file of the VGG"
    ):
        Via().load_via(tmp_path / "gone.json")

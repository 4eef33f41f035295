"""labelme files, as its versions 3 to 5 write them."""

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mrcnn.data.contours import mask_polygons
from mrcnn.data.crowds import SEVERAL_CLASSES
from mrcnn.data.dataset import Dataset
from mrcnn.data.formats import open_dataset
from mrcnn.data.formats.labelme import Labelme
from mrcnn.data.formats.left_out import UNREADABLE_IMAGE
from mrcnn.data.formats.regions import UNREADABLE_OBJECT
from mrcnn.data.sample import make_sample
from mrcnn.data.survey.objects import not_learned, require_objects
from mrcnn.evaluation import evaluate
from mrcnn.ops.anchors import pyramid_anchors
from tests.tiny import image, tiny_config

SQUARE = [[10.0, 20.0], [40.0, 20.0], [40.0, 45.0], [10.0, 45.0]]


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")


def shape(label, points, shape_type="polygon", **more):
    return {
        "label": label,
        "points": points,
        "group_id": None,
        "description": "",
        "shape_type": shape_type,
        "flags": {},
        "mask": None,
        **more,
    }


def labelme(shapes, name="a.png", data=None, **more):
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": name,
        "imageData": data,
        "imageHeight": 60,
        "imageWidth": 80,
        **more,
    }


def save(folder, files, photos=("a.png", "b.png")):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(photos):
        Image.fromarray(image(60, 80, seed)).save(folder / name)
    for name, contents in files.items():
        (folder / name).write_text(contents if isinstance(contents, str) else json.dumps(contents))
    return str(folder)


def load(folder, files, photos=("a.png", "b.png"), **options):
    dataset = Labelme()
    dataset.load_labelme(save(folder, files, photos), **options)
    dataset.prepare()
    return dataset


def one(folder, *shapes, **options):
    """The masks and class ids of an image with these shapes."""
    return load(folder, {"a.json": labelme(list(shapes))}, **options).load_mask(0)


def box(y1, x1, y2, x2):
    mask = np.zeros((60, 80), bool)
    mask[y1:y2, x1:x2] = True
    return mask


# === What is read ===


def test_folder_of_files(tmp_path):
    files = {
        "b.json": labelme([shape("dog", SQUARE)], "b.png"),
        "a.json": labelme([shape("dog", SQUARE), shape("cat", SQUARE)]),
    }
    dataset = load(tmp_path, files)
    assert dataset.class_names == ["BG", "cat", "dog"]
    # in the order of the json files
    assert [info["id"] for info in dataset.image_info] == [
        "a.png",
        "b.png",
    ]
    masks, class_ids = dataset.load_mask(0)
    assert masks.dtype == bool and class_ids.dtype == np.int32 and class_ids.tolist() == [2, 1]
    np.testing.assert_array_equal(masks, np.stack([box(20, 10, 45, 40)] * 2, axis=-1))
    assert dataset.image_reference(0) == str(tmp_path / "a.png")
    assert load(tmp_path, files, classes=["dog", "bird", "cat"]).load_mask(0)[1].tolist() == [1, 3]


def test_labels_that_differ_after_a_comma(tmp_path):
    files = {
        "a.json": labelme([shape("Bottle, plastic", SQUARE), shape("Bottle, glass", SQUARE)]),
        "b.json": labelme([shape("Bottle, plastic", SQUARE)], "b.png"),
    }
    dataset = load(tmp_path, files)
    names = ["Bottle, glass", "Bottle, plastic"]
    assert dataset.class_names == ["BG", *names] and dataset.load_mask(0)[1].tolist() == [2, 1]
    again = load(tmp_path, files, classes=names[::-1])
    assert again.class_names == ["BG", *names[::-1]] and again.load_mask(0)[1].tolist() == [1, 2]
    # a part of the data without the one, and a model without the other
    del files["a.json"]
    part = load(tmp_path / "part", files, classes=names)
    assert part.class_names == ["BG", *names] and part.load_mask(0)[1].tolist() == [2]
    for name in names:
        part = load(tmp_path / "part", files, classes=[name])
        assert part.class_names == ["BG", name]


@pytest.mark.parametrize(
    "points",
    [
        [[10, 20], [40, 45]],
        [[40, 45], [10, 20]],
        [[40, 20], [10, 45]],
        [[10, 20], [40, 20], [40, 45], [10, 45]],
        [[9.6, 19.7], [40.4, 45.3]],
    ],
)
def test_rectangles(tmp_path, points):
    np.testing.assert_array_equal(
        one(tmp_path, shape("x", points, "rectangle"))[0][..., 0], box(20, 10, 45, 40)
    )


@pytest.mark.parametrize("kind", ["oriented_rectangle", "rotation", "quadrilateral"])
def test_shapes_of_four_corners(tmp_path, kind):
    """Of labelme since 5.6 and of X-AnyLabeling, which writes the angle beside them."""
    corners = [[30.0, 10.0], [40.0, 20.0], [20.0, 40.0], [10.0, 30.0]]
    masks, _ = one(tmp_path, shape("x", corners, kind, direction=0.785))
    y, x = np.mgrid[:60, :80] + 0.5
    along, across = x + y, x - y
    inside = (along >= 40) & (along <= 60) & (across >= -20) & (across <= 20)
    np.testing.assert_array_equal(masks[..., 0], inside)


def test_circle_is_centre_and_edge(tmp_path):
    y, x = np.mgrid[:60, :80] + 0.5
    for edge in ([33.0, 34.0], [27.0, 26.0]):
        masks, _ = one(tmp_path, shape("x", [[30.0, 30.0], edge], "circle"))
        np.testing.assert_array_equal(masks[..., 0], (x - 30) ** 2 + (y - 30) ** 2 < 25)


@pytest.mark.parametrize(
    "corner, dtype", [((5, 3), bool), ((5.0, 3.0), np.uint8), ((-2, -3), bool), ((76, 57), bool)]
)
def test_ai_masks(tmp_path, corner, dtype):
    """Version 5.4 has masks of its own; 5.8 writes them as uint8 and their corners as floats:
    wkentaro/labelme#1569.
    """
    pixels = np.random.RandomState(0).rand(6, 7) > 0.4
    x, y = corner
    shapes = [
        shape(
            "x",
            [[x, y], [x + 6, y + 5]],
            "mask",
            mask=png(pixels.astype(dtype) * dtype(255) if dtype is np.uint8 else pixels),
        )
    ]
    canvas = np.zeros((100, 120), bool)
    canvas[20 + int(y) : 26 + int(y), 20 + int(x) : 27 + int(x)] = pixels
    np.testing.assert_array_equal(one(tmp_path, *shapes)[0][..., 0], canvas[20:80, 20:100])


def test_shapes_of_a_group_are_one_object(tmp_path):
    left, right = [[0, 0], [4, 3]], [[10, 0], [14, 3]]
    masks, class_ids = one(
        tmp_path,
        shape("dog", left, "rectangle", group_id=1),
        shape("cat", SQUARE),
        shape("cat", left, "rectangle", group_id=1),
        shape("dog", right, "rectangle", group_id=1),
        shape("dog", right, "rectangle", group_id=0),
    )
    assert class_ids.tolist() == [2, 1, 1, 2]  # a group has one label
    np.testing.assert_array_equal(masks[..., 0], box(0, 0, 3, 4) | box(0, 10, 3, 14))
    np.testing.assert_array_equal(masks[..., 3], box(0, 10, 3, 14))


def test_a_group_may_be_a_float(tmp_path):
    shapes = [
        shape("x", points, "rectangle", group_id=1.0)
        for points in ([[0, 0], [4, 3]], [[10, 0], [14, 3]])
    ]
    np.testing.assert_array_equal(
        one(tmp_path, *shapes)[0][..., 0], box(0, 0, 3, 4) | box(0, 10, 3, 14)
    )


def test_several_folders_in_one_dataset(tmp_path):
    dataset = Labelme()
    for folder, labels in (("1", ["cat", "dog"]), ("2", ["bird", "dog"])):
        shapes = [shape(label, SQUARE) for label in labels]
        dataset.load_labelme(save(tmp_path / folder, {"a.json": labelme(shapes)}))
    dataset.prepare()
    assert dataset.class_names == ["BG", "cat", "dog", "bird"]
    assert dataset.load_mask(0)[1].tolist() == [1, 2] and dataset.load_mask(1)[1].tolist() == [3, 2]


def test_old_versions(tmp_path):
    """Version 3 had no shape_type, group_id, imageHeight and imageWidth at first."""
    contents = {
        "shapes": [{"label": "dog", "points": SQUARE, "line_color": None, "fill_color": None}],
        "imagePath": "a.png",
        "imageData": None,
        "lineColor": [0, 255, 0, 128],
        "fillColor": [255, 0, 0, 128],
    }
    masks, _class_ids = load(tmp_path, {"a.json": contents}).load_mask(0)
    np.testing.assert_array_equal(masks[..., 0], box(20, 10, 45, 40))


@pytest.mark.parametrize("name", ["../images/a.png", "..\\images\\a.png"])
def test_image_in_another_folder(tmp_path, name):
    save(tmp_path / "images", {})
    dataset = load(tmp_path / "labels", {"a.json": labelme([shape("x", SQUARE)], name)}, ())
    np.testing.assert_array_equal(dataset.load_image(0), image(60, 80, 0))


def test_image_in_the_file(tmp_path):
    pixels = image(60, 80, 3)
    dataset = load(tmp_path, {"a.json": labelme([shape("x", SQUARE)], "gone.png", png(pixels))}, ())
    np.testing.assert_array_equal(dataset.load_image(0), pixels)
    assert dataset.load_mask(0)[0].shape == (60, 80, 1) and dataset.image_reference(0).endswith(
        "a.json"
    )


def test_image_beside_the_file_comes_first(tmp_path):
    dataset = load(
        tmp_path, {"a.json": labelme([shape("x", SQUARE)], "a.png", png(image(60, 80, 3)))}
    )
    np.testing.assert_array_equal(dataset.load_image(0), image(60, 80, 0))


@settings(deadline=None, database=None, max_examples=60)
@given(seed=st.integers(0, 10**6), density=st.sampled_from([0.1, 0.5, 0.9]))
def test_a_mask_written_as_polygons_comes_back(tmp_path_factory, seed, density):
    mask = np.random.RandomState(seed).rand(12, 15) < density
    folder = tmp_path_factory.mktemp("labelme")
    Image.fromarray(image(12, 15)).save(folder / "a.png")
    shapes = [shape("x", polygon.tolist(), group_id=1) for polygon in mask_polygons(mask)]
    contents = labelme(shapes, imageHeight=12, imageWidth=15)
    masks, _ = load(folder, {"a.json": contents}, (), keep_empty=True).load_mask(0)
    np.testing.assert_array_equal(masks.any(axis=-1), mask)


def test_two_files_of_one_image(tmp_path):
    files = {name: labelme([shape("x", SQUARE)]) for name in ("a.json", "a (copy).json")}
    with pytest.raises(
        ValueError, match=r"a \(copy\).json and .*a.json are both of a.png: delete the older one"
    ):
        load(tmp_path, files)


def test_all_errors_are_collected(tmp_path):
    """`check` shows all of them, and what else the files have."""
    shapes = [shape("x", SQUARE), shape(3, SQUARE), {"label": "y"}, 5, shape("x", "SQUARE")]
    files = {
        "a.json": labelme([*shapes, shape("dog", SQUARE)]),
        "a copy.json": labelme([shape("cat", SQUARE)]),
        "b.json": labelme([shape("dog", SQUARE)], "b.png"),
        "c.json": "{",
    }
    dataset = load(tmp_path, files, collect_errors=True)
    # the first file of an image counts
    assert dataset.class_names == ["BG", "cat", "dog"] and dataset.num_images == 2
    assert dataset.left_out.spoiling == {UNREADABLE_IMAGE} == set(dataset.left_out.places)
    twice, damaged = dataset.left_out.places[UNREADABLE_IMAGE]
    assert "delete the older one" in twice and "c.json is not JSON" in damaged
    del files["a copy.json"]
    dataset = load(tmp_path / "one", files, collect_errors=True)
    assert dataset.class_names == ["BG", "dog", "x", "y"]
    assert [dataset.load_mask(image_id)[1].tolist() for image_id in (0, 1)] == [[2, 1], [1]]
    assert dataset.left_out.spoiling == {UNREADABLE_IMAGE, UNREADABLE_OBJECT}
    places = list(dataset.left_out.places[UNREADABLE_OBJECT])
    assert [place.split("a.json: ")[1][:7] for place in places] == [
        f"shape {number}" for number in (1, 2, 3, 4)
    ]


# === Regions to ignore and the background ===


def test_a_region_to_ignore_is_a_crowd_of_every_class(tmp_path):
    left, right = [[0, 0], [4, 3]], [[10, 0], [14, 3]]
    shapes = [
        shape("__ignore__", left, "rectangle"),
        shape("dog", SQUARE),
        shape("cat", SQUARE),
        shape("_background_", right, "rectangle"),
        shape("__ignore__", right, "rectangle", group_id=2),
    ]
    dataset = load(tmp_path, {"a.json": labelme(shapes)})
    assert dataset.class_names == ["BG", "cat", "dog"]
    masks, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [-1, -2, 2, 1, -1, -2]
    for index, mask in enumerate([box(0, 0, 3, 4)] * 2 + [box(20, 10, 45, 40)] * 2):
        np.testing.assert_array_equal(masks[..., index], mask)
    np.testing.assert_array_equal(masks[..., 5], box(0, 10, 3, 14))
    once = [SEVERAL_CLASSES, 2, 1, SEVERAL_CLASSES]
    assert dataset.known_class_ids(0).tolist() == dataset.measure_objects(0)[1].tolist() == once
    assert dataset.measure_objects(0)[2].tolist() == [12, 750, 750, 12]
    # also where the masks alone are known, as of a cache
    assert [part.tolist() for part in Dataset.measure_objects(dataset, 0)[1:]] == [
        once,
        [12, 750, 750, 12],
    ]
    assert list(dataset.left_out.places) == [
        "shapes of the label '_background_', which are no objects"
    ]
    # also of classes that only another folder has, or that the list of classes lacks
    dataset.load_labelme(save(tmp_path / "more", {"a.json": labelme([shape("bird", SQUARE)])}))
    dataset.prepare()
    assert dataset.load_mask(0)[1].tolist() == [-1, -2, -3, 2, 1, -1, -2, -3]
    dataset = load(tmp_path, {"a.json": labelme(shapes)}, classes=["cat"], other_classes=True)
    assert dataset.class_names == ["BG", "cat", "dog"]
    assert dataset.load_mask(0)[1].tolist() == [-1, -2, 2, 1, -1, -2]


def test_a_list_of_classes_may_have_them(tmp_path):
    """As a model has them that was trained when they were classes."""
    names = ["__ignore__", "_background_", "cat"]
    shapes = [shape(name, SQUARE) for name in names[::-1]]
    dataset = load(tmp_path, {"a.json": labelme(shapes)}, classes=names)
    assert dataset.class_names == ["BG", *names]
    assert dataset.load_mask(0)[1].tolist() == [3, 2, 1] and not len(dataset.left_out)


def test_what_is_found_in_a_region_to_ignore_is_not_false(tmp_path):
    """The same detections with and without the region that they are in."""
    scores = []
    for label in ("__ignore__", "_background_"):
        shapes = [shape("dog", SQUARE), shape("cat", SQUARE), shape(label, [[50, 5], [70, 15]])]
        shapes[2]["shape_type"] = "rectangle"
        dataset = load(tmp_path, {"a.json": labelme(shapes)})
        found = {
            "rois": np.array([[5, 50, 15, 70], [20, 10, 45, 40], [20, 10, 45, 40]]),
            "class_ids": np.array([2, 2, 1]),
            "scores": np.array([0.9, 0.8, 0.7]),
            "masks": np.stack([box(5, 50, 15, 70), *[box(20, 10, 45, 40)] * 2], axis=-1),
        }
        metrics = evaluate(dataset, lambda images: [found for _ in images], verbose=0)
        scores.append(metrics["segm_AP"])
        assert metrics["crowds"] == (label == "__ignore__")
    assert scores[0] == pytest.approx(1) and scores[1] == pytest.approx(0.75, abs=0.01)


def test_one_crowd_of_a_region_takes_a_place_in_training(tmp_path):
    """Crowds are there for their boxes, whatever their class."""
    labels = [f"class {number}" for number in range(4)]
    shapes = [shape(label, SQUARE) for label in labels]
    shapes.append(shape("__ignore__", [[50, 5], [70, 15]], "rectangle"))
    dataset = load(tmp_path, {"a.json": labelme(shapes)})
    config = tiny_config(NUM_CLASSES=5, MAX_GT_INSTANCES=5)
    sample = make_sample(dataset, config, 0, pyramid_anchors(config, config.IMAGE_SHAPE))
    assert sample.dropped == 0 and sample.class_ids.tolist() == [1, 2, 3, 4, -1]


def test_a_region_to_ignore_leaves_room_for_pasted_objects(tmp_path):
    """One place of three is the region's and one the object's, whatever the number of classes."""
    ignored = shape("__ignore__", [[50, 5], [70, 15]], "rectangle")
    files = {
        "a.json": labelme([shape("cat", SQUARE), ignored]),
        "b.json": labelme([shape("dog", [[2, 40], [9, 40], [9, 47]]), ignored], "b.png"),
    }
    dataset = load(tmp_path, files)
    config = tiny_config(NUM_CLASSES=3, MAX_GT_INSTANCES=3, COPY_PASTE=1.0)
    sample = make_sample(dataset, config, 0, pyramid_anchors(config, config.IMAGE_SHAPE))
    assert sorted(sample.class_ids) == [-1, 1, 2]


def test_a_region_to_ignore_is_counted_once_and_in_no_class(tmp_path):
    ignored = shape("__ignore__", [[50, 5], [70, 15]], "rectangle")
    shapes = [shape("cat", SQUARE), shape("dog", SQUARE), shape("bird", SQUARE), ignored]
    dataset = load(tmp_path, {"a.json": labelme(shapes), "b.json": labelme(shapes, "b.png")})
    summary = dataset.summary(progress=False)
    assert summary.counts.tolist() == [4, 4] and (summary.class_ids < 0).sum() == 2
    assert {name: count for name, (count, *_) in summary.classes().items()} == {
        "bird": 2,
        "cat": 2,
        "dog": 2,
    }
    report = dataset.check(progress=False)
    crowds = [one.message for one in report.findings if one.kind == "crowd, which is not learned"]
    assert report.objects == 8 and crowds == ["object 3 (label __ignore__)"] * 2
    assert not any(one.kind == "object there twice" for one in report.findings)
    assert not_learned(dataset, tiny_config(MAX_GT_INSTANCES=4)) == [
        "2 crowds (label __ignore__) on 2 images are neither objects nor background"
    ]


def test_nothing_but_regions_to_ignore(tmp_path):
    dataset = load(
        tmp_path, {"a.json": labelme([shape("__ignore__", SQUARE)])}, classes=["cat", "dog"]
    )
    message = r"all 1 objects are crowds \(label __ignore__\), which are .* searched for$"
    with pytest.raises(ValueError, match=message):
        require_objects(dataset)


# === What is left out ===


@pytest.mark.parametrize(
    "bad, reason",
    [
        (shape("x", [[5, 5]], "point"), "type 'point', which has no area"),
        (shape("", SQUARE), "shapes without a label: 1"),
        (shape("x", [[5, 5], [9, 9]], "line"), "type 'line', which has no area"),
        (shape("x", [[5, 5], [9, 9], [4, 3]], "linestrip"), "type 'linestrip', which has no area"),
        (shape("x", [[5, 5]], "cuboid"), "type 'cuboid', which is unknown here"),
        (shape("x", [[5, 5]], "points"), "type 'points', which has no area"),
        (shape("_background_", SQUARE), "label '_background_', which are no objects"),
        (shape("x", [[5, 5], [6, 7]]), "fewer than three points"),  # labelme#606
        (shape("x", []), "fewer than three points"),
        (shape("x", [[90, 5], [99, 5], [99, 9]]), "no pixel"),
        (shape("x", [[5, 5], [5, 9]], "rectangle"), "no pixel"),
        (shape("x", [[5, 5], [5, 5]], "circle"), "no pixel"),
        (shape("x", [[90, 5], [96, 10]], "mask", mask=png(np.ones((6, 7), bool))), "no pixel"),
        (shape("mouse", SQUARE), "label 'mouse', which classes does not list"),
    ],
)
def test_shapes_left_out(tmp_path, caplog, bad, reason):
    dataset = load(tmp_path, {"a.json": labelme([bad, shape("dog", SQUARE)])}, classes=["dog", "x"])
    assert dataset.load_mask(0)[1].tolist() == [1]
    assert (
        len(dataset.left_out) == 1
        and reason in str(dataset.left_out)
        and "a.json: shape 0" in caplog.text
    )
    assert len(caplog.records) == 1


def test_images_without_shapes(tmp_path):
    files = {"a.json": labelme([]), "b.json": labelme([shape("x", SQUARE)], "b.png")}
    dataset = load(tmp_path, files)
    assert dataset.num_images == 1 and "images without shapes: 1" in str(dataset.left_out)
    dataset = load(tmp_path, files, keep_empty=True)
    assert dataset.num_images == 2 and dataset.load_mask(0)[0].shape == (60, 80, 0)


def test_missing_images(tmp_path):
    files = {
        "a.json": labelme([shape("x", SQUARE)], "gone.png"),
        "b.json": labelme([shape("x", SQUARE)], "b.png"),
    }
    with pytest.raises(
        FileNotFoundError, match="gone.png is missing, though .*a.json has annotations of it"
    ):
        load(tmp_path, files)
    dataset = load(tmp_path, files, skip_missing=True)
    assert dataset.num_images == 1 and "images missing: 1" in str(dataset.left_out)


# === What is wrong ===


@pytest.mark.parametrize(
    "contents, message",
    [
        ("{", "a.json is not JSON"),
        ([], "a.json is not a labelme file"),
        (
            {"shapes": []},
            "a.json is not a labelme file: it must be an object with 'shapes' and 'imagePath'",
        ),
        # as some converters write it
        (
            labelme({"label": "x", "points": SQUARE}),
            "'shapes' a list",
        ),
        (labelme([{"label": "x"}]), "shape 0 needs a 'label' and 'points'"),
        (labelme([shape(3, SQUARE)]), "shape 0 has the label 3; it must be text"),
        (labelme([5]), "shape 0 needs a 'label' and 'points': 5"),
        (labelme([shape("x", SQUARE[:3], "rotation")]), "'rotation' needs four points, it has 3"),
        (labelme([shape("x", SQUARE, group_id=[1])]), r"shape 0 has the group_id \[1\]"),
        (labelme([shape("x", "SQUARE")]), "shape 0 .'x'.: its points must be a list"),
        (labelme([shape("x", [[1, 2, 3], [4, 5, 6]])]), "shape 0 .'x'.: its points must be a list"),
        (
            labelme([shape("x", [[1, 2], [3, None], [4, 5]])]),
            "shape 0 .'x'.: points must be numbers",
        ),
        (labelme([shape("x", [[1, 2]], "circle")]), "a circle needs two points, it has 1"),
        (
            labelme([shape("x", [[1, 2], [3, 4], [5, 6]], "rectangle")]),
            "a rectangle needs two points, it has 3",
        ),
        (
            labelme([shape("x", [[1, 2], [3, 4]], "mask")]),
            "its mask must be an image file as base64",
        ),
        (
            labelme([shape("x", [[1, 2], [3, 4]], "mask", mask="....")]),
            "its mask must be an image file as base64",
        ),
        (labelme([shape("x", [], "mask", mask=png(np.ones((2, 2), bool)))]), "upper left corner"),
        (
            labelme([shape("x", SQUARE)], "gone.png", "AAAA"),
            "a.json: imageData must be an image file",
        ),
        (
            labelme([shape("x", SQUARE)], imageHeight=80, imageWidth=60),
            "made for an image of 60 x 80 px .* is 80 x 60 px",
        ),
    ],
)
def test_files_that_make_no_sense(tmp_path, contents, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, {"a.json": contents})
    assert "a.json" in str(caught.value)


def base64_of(path):
    return base64.b64encode(path.read_bytes()).decode("ascii")


@pytest.mark.parametrize(
    "name, mode",
    [
        ("x.png", "I;16"),
        ("x.tif", "I;16"),
        ("x.png", "RGBA"),
        ("x.png", "LA"),
        ("x.png", "P"),
        ("x.tif", "CMYK"),
        ("x.tif", "white is zero"),
        ("x.png", "1"),
    ],
)
def test_the_image_in_a_file_is_read_as_a_file_is(tmp_path, name, mode):
    deep = np.random.RandomState(0).randint(0, 65536, (60, 80)).astype(np.uint16)
    if mode in ("I;16", "white is zero"):
        info = {"tiffinfo": {262: 0}} if mode == "white is zero" else {}
        Image.fromarray(deep).save(tmp_path / name, **info)
    else:
        Image.fromarray(image(60, 80, 0)).convert(mode).save(tmp_path / name)
    (tmp_path / "inside").mkdir()
    inside = labelme([shape("x", SQUARE)], "gone.png", base64_of(tmp_path / name))
    beside = labelme([shape("x", SQUARE)], name)
    (tmp_path / "a.json").write_text(json.dumps(beside))
    (tmp_path / "inside" / "a.json").write_text(json.dumps(inside))
    read = []
    for folder in (tmp_path, tmp_path / "inside"):
        dataset = Labelme()
        dataset.load_labelme(folder)
        dataset.prepare()
        read.append(dataset.load_image(0))
    assert read[0].dtype == np.uint8 and read[0].shape == (60, 80, 3)
    np.testing.assert_array_equal(*read)
    if mode in ("I;16", "white is zero"):
        grey = deep if mode == "I;16" else 65535 - deep
        np.testing.assert_array_equal(read[1][..., 0], (grey.astype(int) + 128) // 257)


@pytest.mark.parametrize(
    "make",
    [
        lambda soft: np.rint(soft * 255).astype(np.uint8),
        lambda soft: np.rint(soft * 65535).astype(np.uint16),
        lambda soft: np.dstack([np.rint(soft * 255).astype(np.uint8)] * 3),
        lambda soft: np.uint8(soft >= 0.5),
        lambda soft: soft >= 0.5,
    ],
    ids=["8 bit", "16 bit", "rgb", "0 and 1", "1 bit"],
)
def test_a_mask_with_soft_edges(tmp_path, make):
    soft = np.clip(1.2 - np.hypot(*np.mgrid[-9:10, -9:10]) / 8, 0, 1)
    mask = shape("x", [[10, 20], [28, 38]], "mask", mask=png(make(soft)))
    dataset = load(tmp_path, {"a.json": labelme([mask])})
    whole = np.zeros((60, 80), bool)
    whole[20:39, 10:29] = soft >= 0.5
    np.testing.assert_array_equal(dataset.load_mask(0)[0][..., 0], whole)


def test_no_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone is no folder"):
        Labelme().load_labelme(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="has no json files"):
        Labelme().load_labelme(tmp_path)


def test_images_in_another_folder(tmp_path):
    """As tools export them: images/ and labels/, with the bare name of the image in each file."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.fromarray(image(30, 40)).save(tmp_path / "images" / "a.png")
    shape = {"label": "cat", "points": [[2, 2], [20, 2], [20, 20]], "shape_type": "polygon"}
    content = {"imagePath": "a.png", "imageHeight": 30, "imageWidth": 40, "imageData": None}
    (tmp_path / "labels" / "a.json").write_text(json.dumps({**content, "shapes": [shape]}))
    with pytest.raises(FileNotFoundError, match="a.png is missing"):
        open_dataset(tmp_path / "labels")
    dataset = open_dataset(tmp_path / "labels", image_dir=tmp_path / "images")
    assert dataset.load_image(0).shape == (30, 40, 3) and dataset.load_mask(0)[0].sum() > 100

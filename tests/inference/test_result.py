"""What detect returns: still a dict, and the forms it takes."""

import copy
import json
import pickle
import sys
import types

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from mrcnn.data.drawing import class_colors, draw_instances
from mrcnn.data.labels import regions
from mrcnn.inference.result import Result
from mrcnn.model import MaskRCNN
from tests.tiny import image, tiny_config

NAMES = ["BG", "red", "blue", "green"]
BOXES = np.array([(2, 3, 22, 33), (10, 20, 30, 40), (0, 0, 5, 48)], np.int32)


def make(image_of=image(40, 48), names=NAMES):
    """Three objects: a box with a hole, one in two parts, a bar at the border."""
    masks = np.zeros((40, 48, 3), bool)
    for index, (y1, x1, y2, x2) in enumerate(BOXES):
        masks[y1:y2, x1:x2, index] = True
    masks[8:12, 8:12, 0] = False
    masks[10:30, 28:32, 1] = False
    return Result(
        BOXES,
        np.array([1, 3, 1], np.int32),
        np.array([0.9, 0.8, 0.5], np.float32),
        masks,
        image=image_of,
        class_names=names,
    )


SHIFTS = [(0.3, -0.4, 0.2, 0.1), (0, 0, 0.45, 0), (0.25, 0.125, 0, -0.3)]
EXACT = (BOXES + np.array(SHIFTS)).astype(np.float32)


def exact():
    """`make` with boxes that are not rounded."""
    result = make()
    return Result(**result, image=result.image, class_names=NAMES, boxes=EXACT)


def nothing(**fields):
    return Result(
        np.zeros((0, 4), np.int32),
        np.zeros(0, np.int32),
        np.zeros(0, np.float32),
        np.empty((40, 48, 0)),
        **fields,
    )


def equal(first, second):
    return list(first) == list(second) and all(
        np.array_equal(first[key], second[key]) and first[key].dtype == second[key].dtype
        for key in first
    )


# === A dict ===


def test_it_is_the_dict_of_the_original():
    result = make()
    assert (
        isinstance(result, dict)
        and list(result) == ["rois", "class_ids", "scores", "masks"]
        and len(result) == 4
    )
    assert result["rois"] is BOXES and dict(**result)["rois"] is BOXES
    assert result and nothing()  # no detections: true all the same, as the original's
    with pytest.raises(KeyError):
        result["boxes"]
    result["note"] = 1
    assert result.pop("note") == 1


@pytest.mark.parametrize(
    "how",
    [copy.copy, copy.deepcopy, Result.copy, lambda result: pickle.loads(pickle.dumps(result))],
)
def test_copies(how):
    result = make()
    other = how(result)
    assert type(other) is Result and other is not result and equal(result, other)
    assert other.class_names == NAMES and np.array_equal(other.image, result.image)
    other["scores"] = None
    assert result["scores"] is not None


@pytest.mark.parametrize(
    "how",
    [
        copy.copy,
        copy.deepcopy,
        Result.copy,
        lambda result: pickle.loads(pickle.dumps(result)),
        lambda result: result.filter(),
        lambda result: result.select(slice(None)),
    ],
)
def test_copies_have_the_boxes(how):
    other = how(exact())
    assert other.boxes.dtype == np.float32
    np.testing.assert_array_equal(other.boxes, EXACT)
    other["rois"] = BOXES + 1  # the boxes are not theirs
    np.testing.assert_array_equal(other.boxes, BOXES + 1)
    np.testing.assert_array_equal(exact().boxes, EXACT)


def test_boxes_are_not_of_rois_that_were_changed_in_place():
    result = copy.deepcopy(exact())
    result["rois"][:] = result["rois"][::-1].copy()
    np.testing.assert_array_equal(result.boxes, result["rois"])
    result = pickle.loads(pickle.dumps(exact()))
    np.testing.assert_array_equal(result.boxes, EXACT)
    result["rois"] += 10
    np.testing.assert_array_equal(result.boxes, BOXES + 10)


def test_boxes_without_any():
    for result in (make(), nothing()):
        assert result.boxes.dtype == np.float32 and result.boxes.shape == (result.count, 4)
        np.testing.assert_array_equal(result.boxes, result["rois"])
    listed = make()
    listed["rois"] = BOXES.tolist()
    np.testing.assert_array_equal(listed.boxes, BOXES)


def test_a_dict_of_the_original_becomes_a_result():
    assert equal(Result(**dict(make())), make())


def test_json_of_its_lists():
    text = json.dumps({key: value.tolist() for key, value in make().items()})
    assert np.array_equal(np.array(json.loads(text)["masks"]), make()["masks"])


# === What was found ===


def test_counts_names_and_areas():
    result = make()
    assert (result.count, result.names, result.counts) == (
        3,
        ["red", "green", "red"],
        {"red": 2, "green": 1},
    )
    assert result.area.tolist() == [20 * 30 - 16, 20 * 16, 5 * 48] and result.area.dtype == np.int64
    assert make(names=None).names == ["class 1", "class 3", "class 1"]
    empty = nothing()
    assert (empty.count, empty.names, empty.counts, empty.area.tolist()) == (0, [], {}, [])


@pytest.mark.parametrize(
    "index, kept",
    [
        (1, [1]),
        (-1, [2]),
        (slice(0, 2), [0, 1]),
        ([2, 0], [2, 0]),
        (np.array([True, False, True]), [0, 2]),
        ([], []),
    ],
)
def test_select(index, kept):
    result = make()
    chosen = result.select(index)
    assert type(chosen) is Result and chosen.image is result.image and chosen.class_names is NAMES
    for key in ("rois", "class_ids", "scores"):
        np.testing.assert_array_equal(chosen[key], result[key][kept])
    np.testing.assert_array_equal(chosen["masks"], result["masks"][..., kept])
    assert chosen["masks"].dtype == bool and chosen["masks"].shape == (40, 48, len(kept))


def test_boxes_are_selected_and_written():
    np.testing.assert_array_equal(exact().select([2, 0]).boxes, EXACT[[2, 0]])
    np.testing.assert_array_equal(exact().filter(["green"]).boxes, EXACT[1:2])
    for entry, (y1, x1, y2, x2) in zip(exact().to_coco(7), EXACT.astype(float).tolist()):
        assert entry["bbox"] == [x1, y1, x2 - x1, y2 - y1]  # all digits
    assert make().to_coco(7)[0]["bbox"] == [3, 2, 30, 20]


def test_select_of_nothing():
    assert equal(nothing().select(slice(None)), nothing())
    with pytest.raises(IndexError):
        make().select(3)


@pytest.mark.parametrize(
    "classes, least, kept",
    [
        (None, None, [0, 1, 2]),
        ("red", None, [0, 2]),
        (3, None, [1]),
        (["green", 1], 0.6, [0, 1]),
        ("blue", 0, []),
        (None, np.float32(0.8), [0, 1]),
        (np.array([1, 2]), None, [0, 2]),
        ([], None, []),
    ],
)
def test_filter(classes, least, kept):
    assert make().filter(classes, least)["scores"].tolist() == make()["scores"][kept].tolist()


# === Pictures ===


def test_the_picture_is_that_of_drawing(tmp_path):
    result = make()
    expected = draw_instances(
        result.image, BOXES, result["masks"], result["class_ids"], NAMES, result["scores"]
    )
    np.testing.assert_array_equal(result.draw(), expected)
    path = result.save(tmp_path / "found.png")
    np.testing.assert_array_equal(np.array(Image.open(path)), expected)
    assert nothing(image=image(40, 48)).draw().tolist() == image(40, 48).tolist()


def test_a_class_has_one_colour_in_all_pictures():
    blank = np.zeros((40, 48, 3), np.uint8)
    one, other = make(blank), make(blank).select([2]).select(0)
    red, green = (
        [round(255 * channel) for channel in class_colors(4)[class_id]] for class_id in (1, 3)
    )
    for result, shown in ((one, True), (other, False)):
        picture = result.draw(alpha=1)
        assert (picture == red).all(axis=-1).any() and (picture == green).all(
            axis=-1
        ).any() == shown


def test_plot_draws_the_objects_in_the_colours_of_their_classes(monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    make(np.zeros((40, 48, 3), np.uint8)).plot(ax=ax, title="three")
    assert ax.get_title() == "three" and [text.get_text() for text in ax.texts] == [
        "red 0.900",
        "green 0.800",
        "red 0.500",
    ]
    boxes = [patch for patch in ax.patches if patch.__class__.__name__ == "Rectangle"]
    assert [box.get_edgecolor()[:3] for box in boxes] == [
        class_colors(4)[class_id] for class_id in (1, 3, 1)
    ]
    plt.close(figure)
    nothing(image=image(40, 48)).plot()
    assert len(plt.get_fignums()) == 1


def test_an_image_in_place_of_the_own_one():
    picture = image(40, 48, 3)
    np.testing.assert_array_equal(make(None).draw(picture), make(picture).draw())
    for method in (
        lambda result: result.draw(),
        lambda result: result.save("x.png"),
        lambda result: result.crop(),
        lambda result: result.plot(),
    ):
        with pytest.raises(ValueError, match="no image.*image="):
            method(make(None))
    for method in (Result.draw, Result.crop, Result.plot):
        with pytest.raises(
            ValueError, match="of an image of 48 x 40 px .*, the image given has 48 x 41 px"
        ):
            method(make(None), image=image(41, 48))


def test_crops():
    result = make()
    for crop, (y1, x1, y2, x2) in zip(result.crop(), BOXES, strict=True):
        np.testing.assert_array_equal(crop, result.image[y1:y2, x1:x2])
    crop = result.crop()[0]
    crop[:] = 0
    assert result.image[2:22, 3:33].any()
    padded = result.crop(padding=4)
    assert [crop.shape for crop in padded] == [(26, 37, 3), (28, 28, 3), (9, 48, 3)]
    assert nothing(image=result.image).crop() == []


@pytest.mark.parametrize(
    "picture",
    [
        image(40, 48),
        image(40, 48, channels=1),
        image(40, 48)[..., 0],
        image(40, 48).astype(np.uint16) * 257,
    ],
)
def test_crops_with_alpha(picture):
    result = make(picture)
    assert result.crop()[0].dtype == picture.dtype and result.crop()[0].ndim == picture.ndim
    crop = result.crop(mask=True, padding=1)[0]
    assert crop.shape == (22, 32, 4) and crop.dtype == np.uint8
    np.testing.assert_array_equal(crop[..., 3], 255 * result["masks"][1:23, 2:34, 0])
    expected = picture if picture.ndim == 3 else picture[..., np.newaxis]
    expected = (expected // 257 if picture.dtype == np.uint16 else expected)[1:23, 2:34]
    np.testing.assert_array_equal(crop[..., :3], np.broadcast_to(expected, (22, 32, 3)))


# === Other forms ===


@pytest.mark.parametrize("polygons", [False, True])
def test_coco(polygons):
    result = make()
    found = json.loads(json.dumps(result.to_coco(7, {1: 44, 3: 90}, polygons=polygons)))
    assert [entry["category_id"] for entry in found] == [44, 90, 44]
    assert {entry["image_id"] for entry in found} == {7} and found[0]["bbox"] == [3, 2, 30, 20]
    for index, entry in enumerate(found):
        segmentation = entry["segmentation"]
        if polygons:
            segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, 40, 48))
        np.testing.assert_array_equal(coco_mask.decode(segmentation), result["masks"][..., index])
        assert entry["area"] == coco_mask.area(segmentation) and entry["score"] == float(
            result["scores"][index]
        )
    assert nothing().to_coco(1, polygons=polygons) == []
    assert [entry["category_id"] for entry in result.to_coco(7)] == [1, 3, 1]


def test_coco_of_a_class_without_category():
    with pytest.raises(ValueError, match=r"no entry for class id 3.*\[1\]"):
        make().to_coco(1, {1: 1})


def test_polygons():
    holed, split, bar = make().polygons()
    assert [len(holed), len(split), len(bar)] == [1, 2, 1]
    assert sorted(map(tuple, bar[0])) == [(0, 0), (0, 5), (48, 0), (48, 5)]
    assert len(make().polygons(holes="fill")[0][0]) == 4
    assert nothing().polygons() == []


def test_labelme(tmp_path):
    photo, path = tmp_path / "photos" / "a.jpg", tmp_path / "labels" / "a.json"
    path.parent.mkdir()
    content = make().to_labelme(photo, path)
    assert json.loads(path.read_text()) == content
    assert set(content) == {
        "version",
        "flags",
        "shapes",
        "imagePath",
        "imageData",
        "imageHeight",
        "imageWidth",
    }
    assert (
        content["imagePath"].replace("\\", "/") == "../photos/a.jpg"
        and content["imageData"] is None
    )
    assert (content["imageHeight"], content["imageWidth"]) == (40, 48)
    shapes = content["shapes"]
    assert [shape["label"] for shape in shapes] == ["red", "green", "green", "red"]
    assert [shape["group_id"] for shape in shapes] == [None, 1, 1, None]
    assert {shape["shape_type"] for shape in shapes} == {"polygon"} and shapes[1][
        "description"
    ] == "score 0.800"
    assert sorted(map(tuple, shapes[3]["points"])) == [(0, 0), (0, 5), (48, 0), (48, 5)]
    assert nothing().to_labelme("a.jpg")["shapes"] == []


def test_supervision(monkeypatch):
    """The package is not a requirement: a stand-in with the fields of its Detections."""
    stand_in = types.SimpleNamespace(Detections=lambda **fields: types.SimpleNamespace(**fields))
    monkeypatch.setitem(sys.modules, "supervision", stand_in)
    result = make()
    found = result.to_supervision()
    assert found.xyxy.tolist()[0] == [3, 2, 33, 22] and found.xyxy.dtype == np.float32
    np.testing.assert_array_equal(exact().to_supervision().xyxy, EXACT[:, [1, 0, 3, 2]])
    assert found.mask.shape == (3, 40, 48) and found.mask.dtype == bool
    np.testing.assert_array_equal(found.mask[1], result["masks"][..., 1])
    assert found.class_id.tolist() == [1, 3, 1] and found.data["class_name"].tolist() == [
        "red",
        "green",
        "red",
    ]
    empty = nothing().to_supervision()
    assert (
        empty.xyxy.shape == (0, 4) and empty.mask.shape == (0, 40, 48) and empty.mask.dtype == bool
    )


def test_supervision_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="pip install supervision"):
        make().to_supervision()


# === detect ===

PICTURES = [image(64, 64), image(40, 90, 1), image(64, 64, 2)]


@pytest.fixture(scope="module")
def named(detector, tmp_path_factory):
    """The detector with names for its classes."""
    model = MaskRCNN(
        "inference",
        tiny_config(CLASS_NAMES=("BG", "red", "blue")),
        str(tmp_path_factory.mktemp("logs")),
    )
    model.keras_model.set_weights(detector.keras_model.get_weights())
    return model


def test_detect_returns_results(detector, named):
    found = named.detect(PICTURES)
    assert all(type(result) is Result for result in found)
    for result, plain, picture in zip(found, detector.detect(PICTURES), PICTURES):
        assert equal(result, plain) and result.image is picture
        assert result.class_names == ("BG", "red", "blue") and plain.class_names is None
        assert set(result.names) <= {"red", "blue"}


@pytest.mark.parametrize(
    "choice",
    [
        dict(classes=["blue"]),
        dict(classes=1),
        dict(min_confidence=0.6),
        dict(classes=["red", "blue"], min_confidence=0.6),
        dict(classes=[]),
    ],
)
def test_detect_chooses_as_filter_does(named, choice):
    every = named.detect(PICTURES)
    assert sum(result.count for result in every)
    for result, chosen in zip(every, named.detect(PICTURES, **choice), strict=True):
        wanted = result.filter(**choice)
        assert all(np.array_equal(wanted[key], chosen[key]) for key in wanted)
        if not chosen.count:
            assert chosen["masks"].dtype == np.float64 and chosen["masks"].shape == (
                *result.image.shape[:2],
                0,
            )


def test_detect_refuses_what_it_cannot_choose(detector, named):
    with pytest.raises(ValueError, match="did you mean 'red'"):
        named.detect(PICTURES, classes="redd")
    with pytest.raises(ValueError, match="CLASS_NAMES"):
        detector.detect(PICTURES, classes="red")
    with pytest.raises(ValueError, match="no class 3.*from 1 to 2"):
        detector.detect(PICTURES, classes=[1, 3])
    with pytest.raises(ValueError, match="min_confidence is 50.*from 0 to 1"):
        detector.detect(PICTURES, min_confidence=50)


@pytest.mark.parametrize("least", [0.0, 0.55, 0.97])
def test_min_confidence_takes_the_place_of_the_configs(detector, tmp_path, least):
    strict = MaskRCNN("inference", tiny_config(DETECTION_MIN_CONFIDENCE=0.9), str(tmp_path))
    strict.keras_model.set_weights(detector.keras_model.get_weights())
    for result, every in zip(
        strict.detect(PICTURES, min_confidence=least), detector.detect(PICTURES), strict=True
    ):
        assert equal(result, every.filter(min_confidence=least))
    assert strict.detect(PICTURES)[0].count < detector.detect(PICTURES)[0].count


def test_detect_says_which_image_is_wrong(detector):
    with pytest.raises(ValueError, match="image 3 of 4: .*5 channels"):
        detector.detect([*PICTURES[:2], np.zeros((64, 64, 5)), PICTURES[2]])


def test_plot_without_labels_and_with_a_colour_for_each_object():
    import matplotlib.pyplot as plt

    masks = np.zeros((20, 20, 2), bool)
    masks[2:9, 2:9, 0] = masks[2:9, 10:18, 1] = True
    result = Result(
        np.array([[2, 2, 9, 9], [2, 10, 9, 18]]), np.array([1, 1]), np.array([0.9, 0.8]), masks
    )
    image, colors = np.zeros((20, 20, 3), np.uint8), {}
    for color_by in ("class", "object"):
        _, ax = plt.subplots()
        result.plot(image, ax=ax, color_by=color_by, labels=False)
        assert not any(text.get_text() for text in ax.texts)
        colors[color_by] = {patch.get_edgecolor()[:3] for patch in ax.patches}
    assert len(colors["class"]) == 1 and len(colors["object"]) == 2


# === Label maps ===


def test_the_higher_score_has_a_pixel_of_several():
    result = make()
    expected = np.zeros((40, 48), np.uint8)
    for index in (2, 1, 0):  # the best last, over the others
        expected[result["masks"][..., index]] = result["class_ids"][index]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):  # whatever the order of the objects
        labels = result.select(order).to_labels()
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, expected)
    assert expected[15, 25] == 1 and result["masks"][15, 25].tolist() == [True, True, False]
    np.testing.assert_array_equal(
        result.to_labels(min_score=0.8), result.select([0, 1]).to_labels()
    )
    assert not result.to_labels(min_score=0.95).any()


def test_of_equal_scores_the_first_has_the_pixel():
    result = make()
    result["scores"] = np.full(3, 0.5, np.float32)
    assert result.to_labels()[15, 25] == 1 and result.select([1, 0]).to_labels()[15, 25] == 3


def test_other_rules_of_overlaps():
    result = make()
    assert result.to_labels(overlap="ignore")[15, 25] == 255
    smaller = np.argmin(result.area[:2])
    assert result.to_labels(overlap="smaller")[15, 25] == result["class_ids"][smaller]
    with pytest.raises(ValueError, match="overlap is 'last'; use 'score', 'smaller' or 'ignore'"):
        result.to_labels(overlap="last")


def test_labels_of_nothing_and_of_many_classes():
    labels = nothing().to_labels()
    assert labels.shape == (40, 48) and labels.dtype == np.uint8 and not labels.any()
    result = make(names=None)
    result["class_ids"] = np.array([300, 2, 300], np.int32)
    labels = result.to_labels()
    assert labels.dtype == np.uint16 and set(np.unique(labels)) == {0, 2, 300}


def test_regions_take_labels_apart_again():
    """Objects of one class that touch become one."""
    result = make().select([0, 1])
    masks, class_ids = regions(result.to_labels())
    assert class_ids.tolist() == [1, 3, 3]
    np.testing.assert_array_equal(masks[..., 0], result["masks"][..., 0])
    rest = result["masks"][..., 1] & ~result["masks"][..., 0]
    np.testing.assert_array_equal(masks[..., 1:].any(axis=-1), rest)
    touching = make().select([0, 2])
    assert regions(touching.to_labels())[1].tolist() == [1]

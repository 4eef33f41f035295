"""What is said of data sets of label maps: nothing to learn, pixels of each class."""

import json

import numpy as np
import pytest

from mrcnn.data.labels import call_load_labels
from mrcnn.data.survey.objects import LOOKED_AT, count_empty, require_labels
from mrcnn.data.survey.pixels import counts_with_void, shares_of_counts
from tests.data.label_scenes import Scenes, SmallSegmentation
from tests.data.survey.test_summary_and_check import Given, image, masks

VOID = np.full((20, 30), 255, np.uint8)
BACKGROUND = np.zeros((20, 30), np.uint8)
ONE = np.eye(20, 30, dtype=np.uint8)


def crowds_as(how):
    return type("Crowds", (SmallSegmentation,), {"CROWDS": how})()


# === Nothing to learn ===


def test_a_set_with_a_labelled_pixel():
    require_labels(Scenes([VOID, BACKGROUND, ONE]), SmallSegmentation())
    require_labels(Given((image(100, 120), masks(1), [1])), SmallSegmentation())


@pytest.mark.parametrize(
    "dataset, message",
    [
        (Scenes([]), "Scenes has no images"),
        (Scenes([VOID]), "none of the 1 images of Scenes has an object of one, two"),
        (Scenes([BACKGROUND, VOID]), "there is nothing to find: none of the 2 images"),
        (Given((image(100, 120), masks(0), [1])), "none of the 1 images of Given"),
    ],
)
def test_a_set_without(dataset, message):
    with pytest.raises(ValueError, match=message):
        require_labels(dataset, SmallSegmentation(), purpose="find")


def test_crowds_are_labels_where_the_config_says_so():
    dataset = Given((image(100, 120), masks(50), [-2]))
    with pytest.raises(ValueError, match="all 1 objects are crowds .*; CROWDS = 'class' gives"):
        require_labels(dataset, crowds_as("ignore"))
    require_labels(dataset, crowds_as("class"))
    # a region to ignore has every class, and so none
    with pytest.raises(ValueError, match="all 1 objects are crowds"):
        require_labels(Given((image(100, 120), masks(50, 50), [-1, -2])), crowds_as("class"))


def test_it_looks_no_further_than_it_must():
    class Counting(Scenes):
        looked = 0

        def load_labels(self, image_id):
            self.looked += 1
            return super().load_labels(image_id)

    dataset = Counting([BACKGROUND, ONE, ONE])
    require_labels(dataset, SmallSegmentation())
    assert dataset.looked == 2
    require_labels(dataset, SmallSegmentation(), [2])
    with pytest.raises(ValueError, match="nothing to learn"):
        require_labels(dataset, SmallSegmentation(), [0])


def test_an_image_that_cannot_be_read_is_left_to_who_loads_it():
    class Broken(Scenes):
        def load_labels(self, image_id):
            raise OSError("gone")

    require_labels(Broken([VOID]), SmallSegmentation())


# === Masks of labels ===


def test_a_set_of_labels_alone_has_a_mask_for_each_class():
    labels = np.array([[0, 1, 255], [2, 2, 1]], np.uint8)
    dataset = Scenes([labels, VOID])
    found, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [1, 2] and found.dtype == bool
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), [labels == 1, labels == 2])
    size, class_ids, areas = dataset.measure_objects(0)
    assert size == (2, 3) and class_ids.tolist() == [1, 2] and areas.tolist() == [2, 2]
    assert dataset.load_mask(1)[0].shape == (20, 30, 0)
    assert dataset.knows_labels(0) and not Given(
        (image(9, 9), masks(1, height=9, width=9), [1])
    ).knows_labels(0)


# === Pixels of each class ===


def counted(dataset, image_ids=None, **options):
    """The shares by the label maps; `check` counts them by masks that it has drawn."""
    ids = dataset.image_ids if image_ids is None else image_ids
    maps = [call_load_labels(dataset, image_id, **options) for image_id in ids]
    counts = [counts_with_void(labels, dataset.num_classes) for labels in maps]
    return shares_of_counts(dataset.class_names, counts)


def test_pixels_of_label_maps_are_exact():
    labels = np.array([[0, 1, 255], [2, 2, 1], [2, 0, 0]], np.uint8)
    shares = counted(Scenes([labels, VOID, BACKGROUND]))
    assert shares.class_names == ["background", "one", "two"]
    assert shares.pixels == [603, 2, 3] and shares.images == [2, 1, 1]
    assert (shares.void, shares.void_images, shares.labelled) == (601, 2, 608)
    lines = [line.split() for line in str(shares).splitlines()]
    assert lines == [
        ["class", "of", "pixels", "pixels", "share", "images"],
        ["background", "603", "99.2", "%", "2"],
        ["one", "2", "0.3", "%", "1"],
        ["two", "3", "0.5", "%", "1"],
        ["void", "601", "49.7", "%", "of", "all", "2"],
    ]
    written = json.loads(json.dumps(shares.to_dict()))
    assert written["classes"][2] == {"name": "two", "pixels": 3, "share": 3 / 608, "images": 1}
    assert (written["void"], written["void_images"], written["labelled"]) == (601, 2, 608)
    only = counted(Scenes([labels, BACKGROUND]), image_ids=[1])
    assert only.void == 0 and "void" not in str(only) and only.pixels == [600, 0, 0]


def test_shares_of_nothing():
    assert "-" in str(counted(Scenes([VOID])))
    assert counted(Scenes([])).to_dict()["classes"][0]["share"] is None


@pytest.mark.parametrize(
    "options, expected, void",
    [
        ({}, [3000, 800, 200], 8000),
        ({"overlap": "last"}, [3000, 1000, 0], 8000),
        ({"crowds": "class"}, [3000, 800, 8200], 0),
    ],
)
def test_pixels_of_objects(options, expected, void):
    """Filled row by row, so that each object covers those of fewer pixels."""
    dataset = Given((image(100, 120), masks(200, 1000, 9000), [2, 1, -2]))
    shares = counted(dataset, **options)
    assert shares.pixels == expected and shares.void == void


def test_check_counts_pixels_too():
    labels = np.array([[0, 1, 255], [2, 2, 1]], np.uint8)
    for dataset in (
        Scenes([labels, BACKGROUND, VOID]),
        Given(
            (image(100, 120), masks(1000, 200, 9000), [1, 2, -2]),
            (image(100, 120, 1), np.zeros((0, 0, 0), bool), []),
            (image(20, 30), OSError("no masks"), []),
        ),
    ):
        found = dataset.check(progress=False).pixels
        usable = [0, 1, 2] if isinstance(dataset, Scenes) else [0, 1]
        expected = counted(dataset, image_ids=usable)
        assert found == expected and found.void > 0


def test_a_class_that_others_hide_is_named():
    """Of two objects of one size the later one is on top."""
    report = Given((image(100, 120), masks(50, 50), [1, 2])).check(progress=False)
    assert str(report.pixels).endswith("\nClasses without a pixel: cat")
    assert [one["pixels"] for one in report.to_dict()["pixels"]["classes"]] == [11950, 0, 50]


def test_labels_that_are_wrong_are_an_error():
    class Both(Given):
        def load_labels(self, image_id):
            return np.full((100, 120), 7)

    report = Both((image(100, 120), masks(50), [1])).check(progress=False)
    assert [(one.kind, "the value 7" in one.message) for one in report.errors] == [
        ("labels wrong", True)
    ]


def test_images_without_an_object_are_counted():
    config = SmallSegmentation()
    assert count_empty(Scenes([VOID, BACKGROUND, ONE]), config) == (2, 3)
    crowd = Given((image(100, 120), masks(50), [-1]))
    assert count_empty(crowd, crowds_as("ignore")) == (1, 1)
    assert count_empty(crowd, crowds_as("class")) == (0, 1)


def test_of_many_images_some_from_all_over_are_looked_at():
    dataset = Scenes([ONE] * 60 + [BACKGROUND] * 60)
    looked_at = []
    dataset.load_labels = lambda image_id, **options: (
        looked_at.append(image_id) or (dataset.maps[image_id])
    )
    assert count_empty(dataset, SmallSegmentation()) == (LOOKED_AT // 2, LOOKED_AT)
    assert len(set(looked_at)) == LOOKED_AT


def test_known_objects_are_all_counted_and_none_is_loaded():
    dataset = Scenes([BACKGROUND] * 50)
    dataset.known_class_ids = lambda image_id: np.array([1] * (image_id % 2), np.int32)
    dataset.load_labels = None
    assert count_empty(dataset, SmallSegmentation()) == (25, 50)

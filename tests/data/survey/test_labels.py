"""What is said of data sets of label maps: nothing to learn, pixels of each class."""

import numpy as np
import pytest

from mrcnn.data.survey.objects import require_labels
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

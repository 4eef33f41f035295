"""Label maps as pictures."""

import numpy as np
import pytest

from mrcnn.data.drawing import class_colors
from mrcnn.data.label_drawing import (
    STRIPE,
    VOID_STRIPES,
    draw_labels,
    paint_labels,
    write_class_names,
)


def test_each_class_has_its_colour_and_void_is_striped():
    labels = np.zeros((30, 40), np.uint8)
    labels[:, 20:], labels[20:] = 2, 255
    picture = paint_labels(labels, 3)
    assert picture.shape == (30, 40, 3) and picture.dtype == np.uint8
    for place, label in (((5, 5), 0), ((5, 30), 2)):
        np.testing.assert_allclose(picture[place], 255 * np.array(class_colors(3)[label]), atol=1)
    void = picture[20:]
    assert {int(value) for value in np.unique(void)} == set(VOID_STRIPES)
    np.testing.assert_array_equal(void[:-STRIPE, STRIPE:], void[STRIPE:, :-STRIPE])
    # a darker line to the left of the border
    np.testing.assert_array_equal(picture[5, 19], picture[5, 5] // 2)
    np.testing.assert_array_equal(picture[5, 20], picture[5, 30])


def test_other_types_and_void():
    labels = np.array([[0, 300], [65535, 7]], np.uint16)
    assert paint_labels(labels, 301, 65535).shape == (2, 2, 3)
    mask = np.array([[True, False]])
    np.testing.assert_array_equal(paint_labels(mask, 2), paint_labels(mask.astype(int), 2))
    assert paint_labels(np.zeros((0, 3), np.uint8), 2).shape == (0, 3, 3)
    for labels in ([[0, 3]], [[0, -1]]):
        with pytest.raises(ValueError, match=f"label {labels[0][1]}; labels are 0 to 2, and 255"):
            paint_labels(labels, 3)


def test_names_stand_inside_their_regions():
    labels = np.full((80, 200), 255, np.uint8)
    labels[30:60, 20:120] = 1
    labels[:20] = 2  # no room for so long a name
    labels[70:, :4] = 0
    names = ["background", "tree", "a name that is much longer than the picture is wide"]
    plain = paint_labels(labels, 3)
    changed = (write_class_names(plain, labels, names) != plain).any(axis=2)
    assert set(labels[changed]) == {1}
    rows, columns = np.nonzero(changed)
    assert 15 < np.ptp(columns) < 40 and 5 < np.ptp(rows) < 15
    assert abs(columns.mean() - 70) < 5  # in the middle


def test_a_name_goes_where_the_region_is_wide():
    labels = np.ones((60, 100), np.uint8)
    labels[20:, 15:] = 0  # class 1 is a bar above and a narrow one on the left
    plain = paint_labels(labels, 2)
    changed = (write_class_names(plain, labels, ["", "tree"]) != plain).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.max() < 20 and abs(columns.mean() - 50) < 5


# === On an image ===

PHOTO = np.full((40, 60, 3), 100, np.uint8)
SCENE = np.zeros((40, 60), np.uint8)
SCENE[5:35, 5:25], SCENE[5:35, 25:45], SCENE[:, 50:] = 1, 2, 255


def test_classes_are_painted_into_the_image():
    picture = draw_labels(PHOTO, SCENE, ["BG", "cat", "dog"], alpha=0.25, names=False)
    palette = np.array(class_colors(3)) * 255
    np.testing.assert_array_equal(picture[SCENE == 0], PHOTO[SCENE == 0])
    for label, column in ((1, 15), (2, 35)):
        expected = np.rint(0.75 * 100 + 0.25 * np.rint(palette[label]))
        np.testing.assert_array_equal(picture[20, column], expected)
        np.testing.assert_array_equal(picture[5, column], np.rint(palette[label]))  # the rim
    assert set(picture[:, 50:].ravel().tolist()) == set(VOID_STRIPES)
    np.testing.assert_array_equal(PHOTO, 100)


def test_names_have_their_own_ground_on_an_image():
    plain = draw_labels(PHOTO, SCENE, ["BG", "a", "b"], names=False)
    named = draw_labels(PHOTO, SCENE, ["BG", "a", "b"])
    changed = (named != plain).any(-1)
    assert changed[SCENE == 1].any() and changed[SCENE == 2].any()
    assert not changed[SCENE == 0].any()  # the background has no name
    ground = np.rint(255 * np.array(class_colors(3)[1]))
    assert (named[changed & (SCENE == 1)] == ground).all(-1).any()


def test_regions_may_have_colours_of_their_own():
    labels = np.array([[1, 0, 1], [1, 0, 1]], np.uint8)
    photo = np.zeros((2, 3), np.uint8)
    by_class = draw_labels(photo, labels, ["BG", "cat"])
    by_region = draw_labels(photo, labels, ["BG", "cat"], color_by="object")
    np.testing.assert_array_equal(by_class[0, 0], by_class[0, 2])
    assert (by_region[0, 0] != by_region[0, 2]).any()
    with pytest.raises(ValueError, match="color_by is 'region'"):
        draw_labels(photo, labels, ["BG", "cat"], color_by="region")
    with pytest.raises(ValueError, match="label map is 2 x 3 pixels, the image is 2 x 2"):
        draw_labels(photo[:, :2], labels, ["BG", "cat"])

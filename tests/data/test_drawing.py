"""Drawing into arrays: pixels worked out by hand, and labels that stay readable."""

import colorsys
import random

import numpy as np
import pytest

from mrcnn.data import drawing

NAMES = ["BG", "cat", "dog"]


@pytest.fixture
def scene():
    image = np.full((90, 120, 3), 100, np.uint8)
    boxes = np.array([[10, 10, 40, 50], [50, 60, 85, 110]], np.int32)
    masks = np.zeros((90, 120, 2), bool)
    masks[10:40, 10:50, 0] = True
    masks[50:85, 60:110, 1] = True
    return image, boxes, masks, np.array([1, 2])


def test_random_colors_are_all_hues_shuffled():
    random.seed(3)
    colors = drawing.random_colors(5, bright=False)
    expected = [colorsys.hsv_to_rgb(i / 5, 1, 0.7) for i in range(5)]
    assert sorted(colors) == sorted(expected)
    random.seed(3)
    random.shuffle(expected)
    assert colors == expected


def test_class_colors_do_not_depend_on_the_count():
    many = drawing.class_colors(81)
    assert drawing.class_colors(5) == many[:5] and drawing.class_colors(0) == []
    assert len(set(many)) == 81
    assert all(0 <= channel <= 1 for color in many for channel in color)


def test_apply_mask_blends_in_place():
    image = np.full((2, 2, 3), 100, np.uint32)
    out = drawing.apply_mask(image, np.array([[1, 0], [0, 0]]), (1.0, 0.0, 0.5), alpha=0.25)
    assert out is image
    assert image[0, 0].tolist() == [138, 75, 106]  # 75 + 63.75, 75, 75 + 31.875, cut off
    assert (image.reshape(-1, 3)[1:] == 100).all()


def test_draw_box_is_two_pixels_wide():
    image = np.zeros((12, 14, 3), np.uint8)
    assert drawing.draw_box(image, (2, 3, 8, 9), [7, 8, 9]) is image
    expected = np.zeros((12, 14), bool)
    expected[2:4, 3:9] = expected[8:10, 3:9] = True
    expected[2:8, 3:5] = expected[2:8, 9:11] = True
    np.testing.assert_array_equal(image.any(axis=2), expected)
    assert image[2, 3].tolist() == [7, 8, 9]


def test_draw_box_does_not_wrap_round():
    image = np.zeros((10, 10, 1), np.uint8)
    drawing.draw_box(image, (-5, -5, 4, 4), 1)
    assert image[4:6, :4].all() and image[:4, 4:6].all()
    assert not image[6:].any() and not image[:, 6:].any()


def test_outline_against_a_loop():
    mask = np.random.RandomState(0).rand(12, 15) > 0.3
    expected = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            inside = 0 <= y + dy < 12 and 0 <= x + dx < 15
            expected[y, x] |= not (inside and mask[y + dy, x + dx])
    np.testing.assert_array_equal(drawing.mask_outline(mask), expected)
    assert not drawing.mask_outline(np.zeros((4, 4), bool)).any()


def test_draw_instances_pixels(scene):
    image, boxes, masks, class_ids = scene
    before = image.copy()
    color = np.array((0.0, 1.0, 0.0))
    out = drawing.draw_instances(image, boxes, masks, class_ids, NAMES, colors=[color] * 2)
    assert out.dtype == np.uint8 and out.shape == image.shape
    np.testing.assert_array_equal(image, before)
    assert out[35, 45].tolist() == [50, 177, 50]  # blended: half of 100 and half of the colour
    assert out[39, 49].tolist() == out[84, 109].tolist() == [0, 255, 0]  # the last pixel inside
    assert out[40, 50].tolist() == out[85, 110].tolist() == [100, 100, 100]  # y2, x2 exclusive


def test_draw_instances_alpha_and_no_masks(scene):
    image, boxes, masks, class_ids = scene
    solid = drawing.draw_instances(
        image, boxes, masks, class_ids, NAMES, alpha=1.0, colors=[(1, 0, 0)] * 2
    )
    assert solid[35, 45].tolist() == [255, 0, 0]
    without = drawing.draw_instances(image, boxes, None, class_ids, NAMES, colors=[(1, 0, 0)] * 2)
    assert without[35, 45].tolist() == [100, 100, 100]
    assert without[39, 30].tolist() == [255, 0, 0]


@pytest.mark.parametrize("height, width", [(90, 120), (40, 40), (30, 200), (16, 12)])
def test_labels_stay_inside_and_apart(height, width, monkeypatch):
    from PIL import ImageDraw

    fills, drawn = [], []
    rectangle, text = ImageDraw.ImageDraw.rectangle, ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "rectangle",
        lambda self, xy, fill=None, **k: (
            fills.append(xy) if fill else None,
            rectangle(self, xy, fill=fill, **k),
        ),
    )
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, xy, *a, **k: (
            drawn.append(self.textbbox(xy, a[0], font=k["font"])),
            text(self, xy, *a, **k),
        ),
    )
    boxes = np.array(
        [[0, 0, 9, 9], [height - 9, width - 9, height, width], [0, width - 9, 9, width]]
    )
    drawing.draw_instances(
        np.zeros((height, width, 3), np.uint8),
        boxes,
        None,
        [1, 2, 1],
        NAMES,
        scores=[0.9, 0.0, 0.5],
    )
    assert len(fills) == len(drawn) == 3
    for (x1, y1, x2, y2), (left, top, right, bottom) in zip(fills, drawn):
        assert 0 <= x1 <= x2 < width and 0 <= y1 <= y2 < height
        assert x1 <= left and right <= x2 + 1 and y1 <= top and bottom <= y2 + 1
    if (height, width) == (90, 120):
        for i, a in enumerate(fills):
            for b in fills[:i]:
                assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


@pytest.mark.parametrize("shape", [(90, 120), (90, 120, 1), (90, 120, 4)])
def test_grey_and_rgba_images(scene, shape):
    _, boxes, masks, class_ids = scene
    image = np.full(shape, 100, np.uint8)
    out = drawing.draw_instances(image, boxes, masks, class_ids, NAMES)
    assert out.shape == (90, 120, 3) and out[0, 119].tolist() == [100, 100, 100]


def test_same_class_same_colour_by_default(scene):
    image, boxes, masks, _ = scene
    same = drawing.draw_instances(image, boxes, masks, [2, 2], NAMES, alpha=1.0)
    other = drawing.draw_instances(image, boxes, masks, [1, 2], NAMES, alpha=1.0)
    assert same[35, 45].tolist() == same[80, 100].tolist() == other[80, 100].tolist()
    assert other[35, 45].tolist() != other[80, 100].tolist()


def test_nothing_to_draw_leaves_the_image(scene):
    image = scene[0]
    out = drawing.draw_instances(image, np.zeros((0, 4)), np.zeros((90, 120, 0)), [], NAMES, [])
    np.testing.assert_array_equal(out, image)
    padding = drawing.draw_instances(image, np.zeros((1, 4)), np.ones((90, 120, 1)), [1], NAMES)
    np.testing.assert_array_equal(padding, image)


@pytest.mark.parametrize("extension", ["png", "jpg", "JPEG"])
def test_save_instances(scene, tmp_path, extension):
    from PIL import Image

    path = tmp_path / f"picture.{extension}"
    assert drawing.save_instances(path, *scene, NAMES, scores=[0.9, 0.8]) == str(path)
    expected = drawing.draw_instances(*scene, NAMES, scores=[0.9, 0.8])
    with Image.open(path) as file:
        difference = np.abs(np.array(file).astype(int) - expected)
    assert difference.max() == 0 if extension == "png" else difference.mean() < 5


def test_save_instances_refuses(scene, tmp_path):
    with pytest.raises(FileNotFoundError, match="folder .*missing does not exist"):
        drawing.save_instances(tmp_path / "missing" / "a.png", *scene, NAMES)
    with pytest.raises(ValueError, match=r"a.gif: .* one of .png, .jpg, .jpeg"):
        drawing.save_instances(tmp_path / "a.gif", *scene, NAMES)
    assert not list(tmp_path.iterdir())


def two_that_touch():
    """Two objects of one class, side by side, on black."""
    masks = np.zeros((60, 80, 2), bool)
    masks[20:50, 10:40, 0] = masks[20:50, 40:70, 1] = True
    boxes = np.array([[20, 10, 50, 40], [20, 40, 50, 70]])
    return np.zeros((60, 80, 3), np.uint8), boxes, masks, [1, 1], ["BG", "cell"]


def test_objects_of_one_class_have_one_colour_or_each_its_own():
    inside = [
        [tuple(drawing.draw_instances(*two_that_touch(), **style)[35, x]) for x in (25, 55)]
        for style in ({}, {"color_by": "class"}, {"color_by": "object"})
    ]
    assert inside[0] == inside[1] and len(set(inside[0])) == 1
    assert len(set(inside[2])) == 2
    with pytest.raises(ValueError, match="color_by is 'size'; it must be one of class, object"):
        drawing.draw_instances(*two_that_touch(), color_by="size")


def test_colours_of_many_objects_differ():
    colors = drawing.instance_colors([1] * 40, 2, "object")
    assert len(set(colors)) == 40
    assert drawing.instance_colors([2, -1, 1], 3) == [
        drawing.class_colors(3)[number] for number in (2, 1, 1)
    ]


def test_without_labels_only_objects_are_painted():
    image, boxes, masks, *rest = two_that_touch()
    drawn = drawing.draw_instances(image, boxes, masks, *rest, labels=False)
    assert not drawn[:19].any() and not drawn[51:].any()
    labelled = drawing.draw_instances(image, boxes, masks, *rest)
    assert (labelled != drawn).any()
    same = (labelled == drawn).all(axis=2)
    assert not same[:19].all()  # above the objects

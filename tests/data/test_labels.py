"""Label maps: from masks, by a second implementation pixel by pixel, and taken apart again."""

import itertools
import tracemalloc

import numpy as np
import pytest

from mrcnn.data.crowds import SEVERAL_CLASSES
from mrcnn.data.dataset import Dataset
from mrcnn.data.formats.regions import Instance, RegionDataset
from mrcnn.data.labels import (
    CROWDS,
    LARGE_VOID,
    OVERLAPS,
    VOID,
    check_one_source,
    labels_of_masks,
    labels_of_one_hot,
    one_hot,
    pixel_counts,
    region_masks,
    regions,
)
from mrcnn.data.masks import extract_bboxes
from mrcnn.data.rle import encode_masks
from tests.tiny import Rectangles

# Five classes on 12 rows of 19 px: 1 person, 2 purse, 3 plants, 4 sidewalk, 5 building.
STREET = np.array(
    [
        [int(pixel) for pixel in row]
        for row in """
        3333333355555555555
        3333333355511155555
        3333333355511155555
        3333333355511155555
        3333333355111115555
        3333333555111115555
        3333333551111111555
        3333333333122111333
        4444443333122111344
        4444444444111111444
        4444444444111111444
        4444444444111144444
        """.split()
    ],
    np.uint8,
)
RULES = list(itertools.product(OVERLAPS, CROWDS))
COUNTS = {1: 50, 2: 4, 3: 72, 4: 49, 5: 53}


def stacked(*masks):
    return np.stack([np.asarray(mask, bool) for mask in masks], axis=-1)


def pixel_by_pixel(masks, class_ids, overlap, crowds, void=VOID):
    """The rules, of one pixel after the other; crowds of one mask and several classes are one."""
    areas = masks.sum(axis=(0, 1)).tolist()
    layers = [masks[..., row].tobytes() for row in range(len(areas))]
    several = [
        class_id < 0
        and any(
            layer == other and class_id != another and another < 0
            for other, another in zip(layers, class_ids)
        )
        for layer, class_id in zip(layers, class_ids)
    ]

    def chosen(rows):
        if overlap == "ignore":
            classes = {abs(class_ids[row]) for row in rows}
            return classes.pop() if len(classes) == 1 else void
        key = (lambda row: (-areas[row], row)) if overlap == "smaller" else None
        return abs(class_ids[max(rows, key=key)])

    labels = np.zeros(masks.shape[:2], int)
    for y, x in np.ndindex(labels.shape):
        here = np.flatnonzero(masks[y, x]).tolist()
        objects = [row for row in here if class_ids[row] > 0]
        known = [row for row in here if class_ids[row] < 0 and not several[row]]
        if objects:
            labels[y, x] = chosen(objects)
        elif known and crowds == "class":
            labels[y, x] = chosen(known)
        elif here:
            labels[y, x] = void
    return labels


def scene(seed, count, size=(23, 31), classes=4):
    """Random ellipses and rectangles, a fifth of them crowds, some of them the same mask."""
    rng = np.random.RandomState(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    masks = []
    for _ in range(count):
        y, x = rng.randint(0, size[0]), rng.randint(0, size[1])
        height, width = rng.randint(1, 12, 2)
        if rng.rand() < 0.5:
            masks.append(((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1)
        else:
            masks.append((abs(rows - y) < height) & (abs(columns - x) < width))
        if len(masks) > 1 and rng.rand() < 0.2:
            masks[-1] = masks[-2]
    class_ids = rng.randint(1, classes + 1, count) * np.where(rng.rand(count) < 0.2, -1, 1)
    return np.stack(masks, -1), class_ids.astype(np.int32)


# === Objects ===


@pytest.mark.parametrize("overlap, crowds", RULES)
@pytest.mark.parametrize("side_by_side", [False, True])
def test_every_rule_pixel_by_pixel(overlap, crowds, side_by_side):
    for seed in range(12):
        masks, class_ids = scene(seed, count=1 + 2 * seed)
        if not side_by_side:
            masks = np.moveaxis(np.ascontiguousarray(np.moveaxis(masks, -1, 0)), 0, -1)
        labels = labels_of_masks(masks, class_ids, overlap, crowds)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, pixel_by_pixel(masks, class_ids, overlap, crowds))


def test_a_cup_on_a_table_is_a_cup():
    table, cup = np.ones((4, 5)), np.zeros((4, 5))
    cup[1:3, 1:3] = 1
    for masks, class_ids in ((stacked(table, cup), [1, 2]), (stacked(cup, table), [2, 1])):
        np.testing.assert_array_equal(labels_of_masks(masks, class_ids), 1 + cup)
    # the later of two with as many pixels
    assert (labels_of_masks(stacked(table, table), [1, 2]) == 2).all()
    assert (labels_of_masks(stacked(cup, table), [2, 1], "last") == 1).all()


def test_only_pixels_of_two_different_classes_are_ignored():
    left, middle, right = (np.zeros((1, 9)) for _ in range(3))
    left[:, :5], middle[:, 3:7], right[:, 4:] = 1, 1, 1
    masks = stacked(left, middle, right)
    assert labels_of_masks(masks, [1, 1, 1], "ignore").tolist() == [[1] * 9]
    assert labels_of_masks(masks, [1, 1, 2], "ignore").tolist() == [
        [1, 1, 1, 1, 255, 255, 255, 2, 2]
    ]
    # a third object does not give a pixel back that is in dispute
    assert labels_of_masks(masks, [2, 1, 2], "ignore").tolist()[0][3:7] == [255, 255, 255, 255]


def test_crowds_are_where_nothing_else_is():
    person, crowd, region = (np.zeros((1, 8)) for _ in range(3))
    person[:, :3], crowd[:, 2:6], region[:, 5:] = 1, 1, 1
    masks, void = stacked(crowd, person, region, region), VOID
    class_ids = np.array([-2, 1, -1, -2])  # the last is one region, of every class
    assert labels_of_masks(masks, class_ids).tolist() == [[1, 1, 1, *[void] * 5]]
    as_class = labels_of_masks(masks, class_ids, crowds="class")
    assert as_class.tolist() == [[1, 1, 1, 2, 2, 2, void, void]]
    several = labels_of_masks(masks[..., :3], [-2, 1, SEVERAL_CLASSES], crowds="class")
    np.testing.assert_array_equal(several, as_class)


def test_two_persons_that_touch_are_one_region():
    masks = np.zeros((6, 8, 2), bool)
    masks[1:5, 1:4, 0] = masks[1:5, 4:7, 1] = True
    labels = labels_of_masks(masks, np.array([1, 1]))
    merged, class_ids = regions(labels)
    assert class_ids.tolist() == [1]
    np.testing.assert_array_equal(merged[..., 0], masks.any(axis=-1))


def test_no_object_and_objects_without_a_pixel():
    labels = labels_of_masks(np.zeros((3, 4, 0), bool), np.zeros(0, np.int32))
    assert labels.shape == (3, 4) and labels.dtype == np.uint8 and not labels.any()
    assert not labels_of_masks(np.zeros((3, 4, 2), bool), np.array([1, -2])).any()
    assert labels_of_masks(np.zeros((0, 0, 0)), np.zeros(0)).shape == (0, 0)


def test_masks_of_numbers_are_objects_where_their_foreground_is():
    soft = np.array([[0, 100, 200, 255]], np.uint8)[..., np.newaxis]
    assert labels_of_masks(soft, np.array([3])).tolist() == [[0, 0, 3, 3]]


def test_300_objects_of_300_classes():
    masks = np.zeros((20, 30, 300), bool)
    for row in range(300):
        masks[row // 15, 2 * (row % 15) : 2 * (row % 15) + 2, row] = True
    class_ids = np.arange(1, 301)
    labels = labels_of_masks(masks, class_ids, void=LARGE_VOID)
    assert labels.dtype == np.uint16 and labels.tolist()[0][:4] == [1, 1, 2, 2]
    assert pixel_counts(labels, 301).tolist() == [0] + [2] * 300
    back, back_ids = regions(labels)
    np.testing.assert_array_equal(back, masks)
    np.testing.assert_array_equal(back_ids, class_ids)
    np.testing.assert_array_equal(labels_of_one_hot(one_hot(labels, 301)), labels)
    crowd = labels_of_masks(masks, -class_ids, void=LARGE_VOID)
    assert (crowd == 65535).all() and regions(crowd)[1].size == 0


@pytest.mark.parametrize(
    "class_ids, options, message",
    [
        ([1, 255], {}, "class id 255 .* 1 to 254, more with void=65535"),
        ([1, -300], {}, "class id -300 "),
        ([0, 1], {}, "class id 0 cannot be in a label map: objects have 1 to 254"),
        ([1, 2], {"overlap": "larger"}, "overlap is 'larger'; use one of 'smaller', 'last'"),
        ([1, 2], {"crowds": "void"}, "crowds is 'void'; use one of 'ignore', 'class'"),
        ([1], {}, r"shapes \(3, 4, 2\) and \(1,\)"),
    ],
)
def test_what_cannot_be_a_label_map(class_ids, options, message):
    with pytest.raises(ValueError, match=message):
        labels_of_masks(np.ones((3, 4, 2), bool), np.array(class_ids), **options)


@pytest.mark.parametrize("side_by_side", [False, True])
def test_large_masks_are_not_copied(side_by_side):
    """100 objects of 500 px are 25 MB, and their label map 0.25 MB."""
    masks = np.zeros((500, 500, 100) if side_by_side else (100, 500, 500), bool)
    masks = masks if side_by_side else np.moveaxis(masks, 0, -1)
    masks[10:450, 20:480] = True
    class_ids = np.arange(1, 101)
    for overlap in OVERLAPS:
        tracemalloc.start()
        labels = labels_of_masks(masks, class_ids, overlap)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert labels[100, 100] == (VOID if overlap == "ignore" else 100)
        assert peak < 3e6


# === Other forms ===


def test_the_map_of_five_classes():
    assert STREET.shape == (12, 19)
    counts = pixel_counts(STREET, 6)
    assert counts.dtype == np.int64 and dict(enumerate(counts.tolist())) == {0: 0, **COUNTS}
    slices = one_hot(STREET, 6)
    assert slices.shape == (12, 19, 6) and slices.dtype == bool
    assert (slices.sum(axis=-1) == 1).all() and slices.sum(axis=(0, 1)).tolist() == counts.tolist()
    np.testing.assert_array_equal(labels_of_one_hot(slices), STREET)
    masks, class_ids = regions(STREET)
    assert sorted(class_ids.tolist()) == [1, 2, 3, 3, 4, 4, 5]
    np.testing.assert_array_equal(labels_of_masks(masks, class_ids), STREET)


def test_void_is_no_class():
    labels = np.array([[0, 1, VOID], [2, VOID, 1]], np.uint8)
    slices = one_hot(labels, 3)
    assert slices.sum(axis=-1).tolist() == [[1, 1, 0], [1, 0, 1]]
    np.testing.assert_array_equal(labels_of_one_hot(slices), labels)
    assert pixel_counts(labels, 3).tolist() == [1, 2, 1]
    slices[0, 0] = True
    assert labels_of_one_hot(slices)[0, 0] == 2  # the highest of several
    masks, class_ids = regions(labels)
    assert class_ids.tolist() == [1, 2] and not masks[labels == VOID].any()
    assert regions(labels, background=1)[1].tolist() == [0, 2]


def test_void_is_65535_of_more_than_254_classes():
    assert labels_of_one_hot(np.zeros((1, 2, 255), bool)).tolist() == [[255, 255]]
    assert labels_of_one_hot(np.zeros((1, 2, 256), bool)).tolist() == [[65535, 65535]]
    labels = np.array([[255, 65535]], np.uint16)
    assert one_hot(labels, 300).sum() == 1 and pixel_counts(labels, 300)[255] == 1
    assert regions(labels)[1].tolist() == [255]


@pytest.mark.parametrize("function", [one_hot, pixel_counts])
def test_values_that_are_no_class(function):
    labels = np.zeros((4, 5), np.uint8)
    labels[2, 3:] = 7
    with pytest.raises(ValueError, match=r"of 3 classes has the value 7 at \(y, x\) = \(2, 3\)"):
        function(labels, 3)
    with pytest.raises(ValueError, match="has the value -1"):
        function(np.full((2, 2), -1), 3)


def test_regions_touch_by_their_corners_and_keep_their_order():
    labels = np.array([[0, 2, 0, 0, 1], [2, 0, 1, 0, 1], [0, 0, 0, 2, 0]], np.uint8)
    masks, class_ids = regions(labels)
    assert masks.dtype == bool and class_ids.dtype == np.int32
    assert class_ids.tolist() == [2, 1, 1, 2]
    assert [np.argwhere(masks[..., row]).tolist() for row in range(4)] == [
        [[0, 1], [1, 0]],
        [[0, 4], [1, 4]],
        [[1, 2]],
        [[2, 3]],
    ]
    masks, class_ids = regions(np.zeros((3, 4), np.uint8))
    assert masks.shape == (3, 4, 0) and class_ids.shape == (0,)


# === Data sets ===


def test_a_data_set_of_masks():
    dataset = Rectangles(count=4)
    for image_id in dataset.image_ids:
        masks, class_ids = dataset.load_mask(image_id)
        labels = dataset.load_labels(image_id)
        np.testing.assert_array_equal(labels, labels_of_masks(masks, class_ids))
        assert labels.dtype == np.uint8 and set(np.unique(labels)) <= {0, 1, 2}


class Given(Dataset):
    """One image of 6 x 7 px with the masks and ids given."""

    def __init__(self, masks, class_ids, classes=3):
        super().__init__()
        for number in range(classes):
            self.add_class("given", number + 1, f"class {number}")
        self.add_image("given", 0, None)
        self.prepare()
        self.masks, self.ids = masks, class_ids

    def load_image(self, image_id):
        return np.zeros((6, 7, 3), np.uint8)

    def load_mask(self, image_id):
        return self.masks, self.ids


def test_what_a_load_mask_may_return():
    nothing = Given(np.empty([0, 0, 0]), np.empty([0], np.int32))
    assert nothing.load_labels(0).shape == (6, 7) and not nothing.load_labels(0).any()
    ones = np.ones((6, 7, 1))
    many = Given(ones, np.array([300]), classes=300)
    assert many.load_labels(0).dtype == np.uint16 and (many.load_labels(0) == 300).all()
    crowd = Given(ones, np.array([-2]))
    assert (crowd.load_labels(0) == VOID).all()
    assert (crowd.load_labels(0, crowds="class") == 2).all()
    with pytest.raises(ValueError, match="class id 4 is out of range: objects have ids 1 to 3"):
        Given(ones, np.array([4])).load_labels(0)


def regions_of(masks, instances, classes=4):
    dataset = RegionDataset()
    for number in range(1, classes + 1):
        dataset.add_class("r", number, f"class {number}")
    height, width = masks.shape[:2]
    dataset.add_image("r", 0, "a.png", height=height, width=width, instances=instances)
    dataset.prepare()
    return dataset


@pytest.mark.parametrize("overlap, crowds", RULES)
def test_run_lengths_give_what_the_masks_do(overlap, crowds):
    for seed in range(6):
        masks, class_ids = scene(seed, count=9)
        instances = [
            Instance(abs(class_id), rle, "", crowd=class_id < 0)
            for class_id, rle in zip(class_ids.tolist(), encode_masks(masks))
        ]
        instances[3] = instances[3]._replace(class_id=None, crowd=True)  # of every class
        dataset = regions_of(masks, instances)
        found = dataset.load_labels(0, overlap, crowds)
        np.testing.assert_array_equal(found, Dataset.load_labels(dataset, 0, overlap, crowds))


def test_a_crowd_of_every_class_is_void_where_there_is_only_one():
    masks = np.ones((2, 3, 1), bool)
    dataset = regions_of(masks, [Instance(None, encode_masks(masks)[0], "", crowd=True)], classes=1)
    assert (dataset.load_labels(0, crowds="class") == VOID).all()


def test_a_load_mask_of_ones_own_decides():
    class Upper(RegionDataset):
        def load_mask(self, image_id):
            masks, class_ids = super().load_mask(image_id)
            masks[2:] = False
            return masks, class_ids

    masks = np.ones((4, 3, 1), bool)
    dataset = regions_of(masks, [Instance(1, encode_masks(masks)[0], "")])
    dataset.__class__ = Upper
    assert dataset.load_labels(0).tolist() == [[1] * 3] * 2 + [[0] * 3] * 2


def several_sources():
    dataset = Dataset()
    for number, name in enumerate(("person", "car"), 1):
        dataset.add_class("street", number, name)
    dataset.add_class("cells", 1, "cell")
    dataset.add_image("street", 0, None)
    return dataset


def test_sources_with_different_classes():
    dataset = several_sources()
    dataset.prepare()
    check_one_source(dataset)  # no image is of the other source
    dataset.add_image("cells", 0, None)
    dataset.prepare()
    with pytest.raises(
        ValueError,
        match="Dataset has images of 2 sources .*'street' has person, car; 'cells' has cell. .*"
        "MERGE_SOURCES = True",
    ):
        check_one_source(dataset)
    check_one_source(dataset, merge_sources=True)
    # one without any classes marks none either
    dataset = several_sources()
    dataset.add_image("photos", 0, None)
    dataset.prepare()
    with pytest.raises(ValueError, match="'photos' has none"):
        check_one_source(dataset)


def test_masks_of_regions_one_at_a_time():
    labels = np.random.RandomState(0).randint(0, 3, (30, 40)).astype(np.uint8)
    labels[5:15, 5:25], labels[20:, 3:8] = 1, 255
    for options in ({}, {"most": 4}, {"min_area": 3}):
        masks, class_ids = regions(labels, **options)
        made, made_ids = region_masks(labels, **options)
        assert made.shape == masks.shape and len(made_ids) == masks.shape[-1] > 3
        np.testing.assert_array_equal(made_ids, class_ids)
        np.testing.assert_array_equal(made.boxes, extract_bboxes(masks))
        order = np.arange(len(class_ids))[::-2]
        for index, region in enumerate(order):
            np.testing.assert_array_equal(made.take(order)[..., index], masks[..., region])
            np.testing.assert_array_equal(made[2:9, 5:, region], masks[2:9, 5:, region])
        np.testing.assert_array_equal(np.asarray(made.take(order)), masks[..., order])


def test_regions_of_some_size():
    labels = np.array([[1, 1, 0, 2, 1], [1, 0, 0, 0, 1], [0, 3, 3, 3, 1]])
    masks, class_ids = regions(labels, min_area=3)
    all_masks, all_ids = regions(labels)
    assert class_ids.tolist() == [1, 1, 3] and all_ids.tolist() == [1, 2, 1, 3]
    np.testing.assert_array_equal(masks, all_masks[..., [0, 2, 3]])
    assert regions(labels, min_area=5)[0].shape == (3, 5, 0)

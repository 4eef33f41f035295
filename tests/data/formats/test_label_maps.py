"""Label maps in image files: what values and colours mean, and the layouts of published data."""

import logging
import os

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.dataset import Dataset
from mrcnn.data.formats import open_dataset
from mrcnn.data.formats.label_files import write_labels
from mrcnn.data.formats.label_layouts import CAMVID_CLASSES, CITYSCAPES_IDS, VOC_CLASSES
from mrcnn.data.formats.label_maps import NO_CLASS, VOID_EVERYWHERE, LabelMaps
from mrcnn.data.formats.mask_files import read_ids
from mrcnn.data.formats.mask_png import SOFT_EDGES
from mrcnn.data.labels import regions
from tests.full_disk import files_of_at_most
from tests.paths import DATA
from tests.tiny import image

# 0 background, 1 road, 2 car in two pieces, with a rim of void
LABELS = np.zeros((12, 16), np.uint8)
LABELS[6:] = 1
LABELS[4:8, 2:6] = LABELS[4:8, 10:14] = 2
LABELS[3, 2:6] = 255
NAMES = ["road", "car"]
COLOURS = np.zeros((256, 3), np.uint8)
COLOURS[1], COLOURS[2], COLOURS[255] = (128, 64, 128), (64, 0, 128), (224, 224, 192)
PALETTE = {"road": (128, 64, 128), "car": (64, 0, 128), "void": (224, 224, 192)}


def picture(labels):
    return labels if isinstance(labels, Image.Image) else Image.fromarray(labels)


def with_palette(labels=LABELS):
    made = Image.fromarray(labels)
    made.putpalette(COLOURS.tobytes())
    return made


def put(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(pixels).save(path)


def photo(path, seed=0):
    put(path, image(12, 16, seed))


def folders(folder, maps, ending=".png"):
    """Images and, beside them, label maps by the images' names."""
    for seed, (name, labels) in enumerate(maps.items()):
        photo(folder / "images" / f"{name}.png", seed)
        if labels is not None:
            put(folder / "labels" / f"{name}{ending}", labels)
    return folder / "images", folder / "labels"


def load(folder, labels=LABELS, ending=".png", **options):
    dataset = LabelMaps()
    options = options if "palette" in options else {"class_names": NAMES, **options}
    dataset.load(*folders(folder, {"a": labels}, ending), **options)
    dataset.prepare()
    return dataset


# === Files ===


@pytest.mark.parametrize(
    "labels, ending",
    [
        (LABELS, ".png"),
        (LABELS, "_labels.tif"),
        (LABELS, ".bmp"),
        (with_palette(), ".png"),  # its colours are only for the eye
        (np.stack([LABELS] * 3, axis=-1), ".png"),  # grey that an editor saved as RGB
        (np.dstack([LABELS] * 3 + [np.full_like(LABELS, 255)]), ".png"),
        (LABELS.astype(np.uint16), ".png"),
    ],
    ids=["grey", "tif", "bmp", "palette", "rgb", "rgba", "16 bit"],
)
def test_values(tmp_path, labels, ending):
    dataset = load(tmp_path, labels, ending)
    assert dataset.class_names == ["BG", *NAMES]
    found = dataset.load_labels(0)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, LABELS)
    assert dataset.load_image(0).shape == (12, 16, 3)
    assert dataset.image_reference(0).endswith("a.png") and not len(dataset.left_out)


@pytest.mark.parametrize("labels", [COLOURS[LABELS], with_palette()], ids=["rgb", "palette"])
def test_colours(tmp_path, labels):
    dataset = load(tmp_path, labels, palette=PALETTE)
    assert dataset.class_names == ["BG", *NAMES]
    np.testing.assert_array_equal(dataset.load_labels(0), LABELS)


def test_black_is_background_unless_it_is_listed(tmp_path):
    labels = COLOURS[LABELS]
    void = load(tmp_path / "void", labels, palette={**PALETTE, "unlabelled": (0, 0, 0)})
    np.testing.assert_array_equal(void.load_labels(0), np.where(LABELS == 0, 255, LABELS))
    sky = load(tmp_path / "sky", labels, palette={**PALETTE, "sky": (0, 0, 0)})
    np.testing.assert_array_equal(sky.load_labels(0), np.where(LABELS == 0, 3, LABELS))
    other = load(tmp_path / "other", labels, palette={**PALETTE, "background": (1, 1, 1)})
    with pytest.raises(ValueError, match=r"colour \(0, 0, 0\) at \(y, x\) = \(0, 0\)"):
        other.load_labels(0)


def test_more_than_254_classes(tmp_path):
    labels = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16) * 2
    labels[0, 0] = 65535
    dataset = load(tmp_path, labels, class_names=[f"class {one}" for one in range(1, 400)])
    found = dataset.load_labels(0)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, labels)
    assert 65535 not in dataset.load_mask(0)[1] and len(dataset.load_mask(0)[1]) == 191


def test_an_id_map_and_values_that_are_void(tmp_path):
    labels = np.where(LABELS == 2, 26, np.where(LABELS == 1, 7, LABELS)).astype(np.uint8)
    labels[0, 0], labels[0, 1] = 3, 9
    dataset = load(tmp_path, labels, ids={7: 1, 26: 2, 9: 0}, void=[3])
    expected = LABELS.copy()
    expected[0, 0] = 255
    np.testing.assert_array_equal(dataset.load_labels(0), expected)
    # the usual two values of a mask
    binary = load(
        tmp_path / "binary", (LABELS == 2) * np.uint8(255), class_names=["car"], ids={255: 1}
    )
    np.testing.assert_array_equal(binary.load_labels(0), LABELS == 2)


# === What is wrong ===


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"class_names": ["road"]},
            r"a.png has the value 2 at \(y, x\) = \(4, 2\), .* have 0, 1. .*ids=\{2: number",
        ),
        ({"ids": {1: 1}}, r"has the value 2 at \(y, x\) = \(4, 2\)"),
        (
            {"palette": {"road": (1, 1, 1), "car": (3, 2, 2)}},
            r"a.png has the colour \(255, 255, 255\) at \(y, x\) = \(3, 2\), .* known is "
            r"\(3, 2, 2\). List it in palette, as a class or as 'void'",
        ),
    ],
)
def test_values_and_colours_that_are_no_class(tmp_path, options, message):
    dataset = load(tmp_path, **options)
    for loaded in (dataset.load_labels, dataset.load_mask):
        with pytest.raises(ValueError, match=message):
            loaded(0)
    (finding,) = dataset.check(progress=False).errors[:1]
    assert finding.kind == "masks cannot be drawn" and "a.png has the " in finding.message


@pytest.mark.parametrize(
    "options, message",
    [
        ({"ids": {4: 3}}, "ids has 3 for the value 4, which is no class: there are 2, road, car"),
        ({"class_names": ["car", "car"]}, "must be different names, got .'car', 'car'"),
        ({"class_names": []}, "must be different names"),
        ({"class_names": "car"}, "must be different names, got 'car'"),
        ({"classes": ["car", "car"]}, "classes must be a list of different names"),
        ({"palette": PALETTE, "ids": {1: 1}}, "give no class_names, ids or void with it"),
        ({"palette": {"car": (1, 2)}}, r"colour of 'car' must be .*got \(1, 2\)"),
        ({"palette": {"car": (1, 2, 300)}}, "0 to 255 each"),
        ({"palette": {"a": (1, 2, 3), "b": (1, 2, 3)}}, "'b' and another class have the colour"),
    ],
)
def test_options_that_say_nothing(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, **options)


def test_options_of_values_are_not_for_colours(tmp_path):
    folders(tmp_path, {"a": COLOURS[LABELS]})
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nroad,128,64,128\n")
    for options in ({"ids": {1: 1}}, {"void": [2]}):
        with pytest.raises(ValueError, match="ids and void are of values, and .*a.png has colours"):
            open_dataset(tmp_path, format="labels", **options)


def test_sizes_that_differ(tmp_path):
    dataset = load(tmp_path, LABELS[:-2])
    message = "labels/a.png is 16 x 10 px .*, its image .*images/a.png is 16 x 12 px"
    with pytest.raises(ValueError, match=message):
        dataset.load_labels(0)


def test_jpeg_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a.jpg is JPEG, which changes the values of a mask"):
        load(tmp_path, ending=".jpg")


def test_images_without_a_label_map(tmp_path):
    maps = {"a": LABELS, "b": None}
    images, labels = folders(tmp_path, maps)
    put(labels / "c.png", LABELS)
    with pytest.raises(FileNotFoundError, match="no label map for .*b.png: .*skip_missing=True"):
        LabelMaps().load(images, labels, NAMES)
    dataset = LabelMaps()
    dataset.load(images, labels, NAMES, skip_missing=True)
    assert [info["id"] for info in dataset.image_info] == ["a"]
    assert {reason: len(where) for reason, where in dataset.left_out.places.items()} == {
        "images without a label map": 1,
        "label maps without an image": 1,
    }


def test_nothing_names_the_classes(tmp_path):
    images, labels = folders(tmp_path, {"a": LABELS})
    message = (
        "nothing names the classes .*class_names .*classes.txt .*a.png has the values 0, 1, 2, 255"
    )
    with pytest.raises(ValueError, match=message):
        LabelMaps().load(images, labels)


@pytest.mark.parametrize("listed", [True, False])
def test_colours_that_nothing_lists(tmp_path, listed):
    images, labels = folders(tmp_path, {"a": COLOURS[LABELS]})
    dataset = LabelMaps()
    message = r"that of its class, or a colour .* palette or a file class_dict.csv .*\(12, 16, 3\)"
    with pytest.raises(ValueError, match=message):
        dataset.load(images, labels, NAMES if listed else None)
        dataset.load_labels(0)


def test_maps_that_are_void_everywhere_are_counted(tmp_path, caplog):
    images, labels = folders(tmp_path, {"a": LABELS, "b": np.full_like(LABELS, 255)})
    dataset = LabelMaps()
    with caplog.at_level(logging.WARNING):
        dataset.load(images, labels, NAMES)
    assert f"{VOID_EVERYWHERE}: 1 (first: {labels / 'b.png'})" in caplog.text
    assert (dataset.load_labels(1) == 255).all() and dataset.load_mask(1)[1].size == 0
    # by a process that shares no memory too
    labels, notes = dataset.noting(dataset.load_labels, 1)
    assert notes["left_out"].places.keys() == {VOID_EVERYWHERE} and (labels == 255).all()
    kinds = [finding.kind for finding in dataset.check(progress=False).findings]
    assert f"left out: {VOID_EVERYWHERE}" in kinds


def test_doubts(tmp_path, caplog):
    """A mask of 0 and 255 has no class but void, and a smoothed label map has classes of edges."""
    with caplog.at_level(logging.WARNING):
        dataset = load(tmp_path, (LABELS == 2) * np.uint8(255))
    assert NO_CLASS in caplog.text
    ((kind, what),) = dataset.mask_doubts(0)
    assert kind == NO_CLASS and "ids={255: 1}" in what
    smooth = np.zeros_like(LABELS)
    smooth[2:10, 2:14], smooth[3:9, 3:13], smooth[4:8, 4:12] = 1, 2, 3
    dataset = load(tmp_path / "smooth", smooth, class_names=["a", "b", "c"])
    ((kind, what),) = dataset.mask_doubts(0)
    assert kind == SOFT_EDGES and "its classes a, b are in edges only" in what
    assert not load(tmp_path / "fine").mask_doubts(0)


# === Masks ===


def test_a_mask_for_each_class(tmp_path):
    dataset = load(tmp_path, class_names=["road", "sky", "car"], ids={1: 1, 2: 3})
    masks, class_ids = dataset.load_mask(0)
    assert masks.dtype == bool and class_ids.dtype == np.int32 and class_ids.tolist() == [1, 3]
    np.testing.assert_array_equal(masks, np.stack([LABELS == 1, LABELS == 2], axis=-1))
    # void is in no mask
    without_void = np.where(LABELS == 255, 0, dataset.load_labels(0))
    np.testing.assert_array_equal(Dataset.load_labels(dataset, 0), without_void)
    size, measured, areas = dataset.measure_objects(0)
    assert size == (12, 16) and measured.tolist() == [1, 3] and areas.dtype == np.int64
    assert areas.tolist() == masks.sum(axis=(0, 1)).tolist()


def test_a_mask_for_each_region(tmp_path):
    dataset = load(tmp_path, regions=True)
    masks, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [2, 2, 1]
    for made, expected in zip((masks, class_ids), regions(LABELS)):
        np.testing.assert_array_equal(made, expected)
    assert dataset.measure_objects(0)[2].tolist() == masks.sum(axis=(0, 1)).tolist()
    np.testing.assert_array_equal(dataset.load_labels(0), LABELS)


def test_images_of_a_subclass(tmp_path):
    dataset = load(tmp_path)
    dataset.add_image("labels", "mine", tmp_path / "images" / "a.png")
    dataset.prepare()
    assert not dataset.load_labels(1).any() and dataset.load_mask(1)[1].size == 0
    assert dataset.mask_doubts(1) == [] and dataset.measure_objects(1)[0] == (0, 0)


def renumbered(road, car):
    """The labels with other ids of the two classes."""
    ids = np.arange(256)
    ids[1], ids[2] = road, car
    return ids[LABELS]


def test_classes_of_the_training_data(tmp_path):
    folders(tmp_path, {"a": LABELS})
    (tmp_path / "classes.txt").write_text("background\nroad, street\ncar\n")

    def opened(**options):
        dataset = open_dataset(tmp_path, format="labels", **options)
        return dataset, dataset.load_labels(0)

    dataset, found = opened()
    assert dataset.class_names == ["BG", "road", "car"]
    np.testing.assert_array_equal(found, LABELS)
    dataset, found = opened(classes=["car", "tree", "road"])
    assert dataset.class_names == ["BG", "car", "tree", "road"]
    np.testing.assert_array_equal(found, renumbered(3, 1))
    dataset, found = opened(classes=["car"])
    assert dataset.class_names == ["BG", "car"] and len(dataset.left_out) == 1
    np.testing.assert_array_equal(found, renumbered(0, 1))
    dataset, found = opened(classes=["car"], other_classes=True)
    assert dataset.class_names == ["BG", "car", "road, street"]
    np.testing.assert_array_equal(found, renumbered(2, 1))
    # without the file they name the values
    (tmp_path / "classes.txt").unlink()
    assert opened(classes=NAMES)[0].class_names == ["BG", *NAMES]


# === Layouts ===


@pytest.mark.parametrize(
    "name, text, colours",
    [
        ("classes.txt", "road\n\ncar\n", False),
        ("classes.txt", "0 background\n1 road\n2 car\n", False),
        ("classes.txt", "1: road\n2: car\n", False),
        ("classes.txt", "0\tunlabeled\n1\troad\n2\tcar\n255\tvoid\n", False),
        ("class_names.txt", "__ignore__\n_background_\nroad\ncar\n", False),  # labelme's
        ("objectInfo150.txt", "Idx\tRatio\tName\n1\t0.5\troad\n2\t0.1\tcar, auto\n", False),
        (
            "labelmap.txt",
            "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\n"
            "car:64,0,128::\nvoid:224,224,192::\n",
            True,
        ),
        ("labelmap.txt", "background:9,9,9::\nroad:128,64,128::\ncar:64,0,128::\n", False),
        (
            "class_dict.csv",
            "name,r,g,b\nroad,128,64,128\ncar,64,0,128\nVoid,224,224,192\nBG,0,0,0\n",
            True,
        ),
        ("class_dict.csv", "road,128,64,128\ncar,64,0,128\nVoid,224,224,192\n", True),
    ],
)
def test_files_that_name_the_classes(tmp_path, name, text, colours):
    folders(tmp_path, {"a": COLOURS[LABELS] if colours else with_palette()})
    for place in (tmp_path, tmp_path / "labels"):
        (place / name).write_text(text)
        dataset = open_dataset(tmp_path, format="labels")
        assert dataset.class_names == ["BG", "road", "car"]
        np.testing.assert_array_equal(dataset.load_labels(0), LABELS)
        (place / name).unlink()


def test_a_list_of_names_with_their_values(tmp_path):
    labels = np.where(LABELS == 2, 7, LABELS)  # 0, 1, 7 and void
    folders(tmp_path, {"a": labels})
    (tmp_path / "classes.txt").write_text("0 sky\n1 road\n5 void\n7 car\n")
    dataset = open_dataset(tmp_path, format="labels")
    assert dataset.class_names == ["BG", "sky", "road", "car"]
    found = dataset.load_labels(0)
    np.testing.assert_array_equal(found, np.where(LABELS == 255, 255, LABELS + 1))


@pytest.mark.parametrize(
    "names",
    [["1 euro", "2 euro"], ["2 door", "4 doors"], ["0", "1", "2"], ["1 a", "b"], ["2 a", "1 b"]],
)
def test_names_that_begin_with_numbers(tmp_path, names):
    folders(tmp_path, {"a": np.minimum(LABELS, 1)})
    (tmp_path / "classes.txt").write_text("\n".join(names))
    assert open_dataset(tmp_path, format="labels").class_names == ["BG", *names]


@pytest.mark.parametrize("text", ["road:1,2::\n", "road\n", "road:red,2,3::\n", ""])
def test_a_table_of_colours_that_is_none(tmp_path, text):
    folders(tmp_path, {"a": LABELS})
    (tmp_path / "labelmap.txt").write_text(text)
    with pytest.raises(ValueError, match="labelmap.txt must have in each line the name of a class"):
        open_dataset(tmp_path, format="labels")


def voc(folder):
    for name in ("a", "b", "only_boxes"):
        photo(folder / "JPEGImages" / f"{name}.jpg")
    for name in ("a", "b"):
        put(folder / "SegmentationClass" / f"{name}.png", with_palette())
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("b\n")
    (lists / "wrong.txt").write_text("B\n")


def test_pascal_voc(tmp_path):
    voc(tmp_path)
    with pytest.raises(ValueError, match="no annotations that are known"):
        open_dataset(tmp_path)  # they merge objects, which nobody may have noticed
    dataset = open_dataset(tmp_path, format="labels")
    assert type(dataset) is LabelMaps and dataset.class_names == ["BG", *VOC_CLASSES]
    assert [info["id"] for info in dataset.image_info] == ["a", "b"] and not len(dataset.left_out)
    np.testing.assert_array_equal(dataset.load_labels(0), LABELS)
    for train in (
        open_dataset(tmp_path, format="labels", subset="train"),
        open_dataset(tmp_path / "ImageSets" / "Segmentation" / "train.txt", format="labels"),
    ):
        assert [info["id"] for info in train.image_info] == ["b"]
    with pytest.raises(FileNotFoundError, match="wrong.txt names 'B', .*There is .*b.jpg"):
        open_dataset(tmp_path, format="labels", subset="wrong")
    with pytest.raises(FileNotFoundError, match="no folder 'val'"):
        open_dataset(tmp_path, format="labels", subset="val")
    # beside the masks of objects too, which are read unless label maps are asked for
    put(tmp_path / "SegmentationObject" / "a.png", with_palette())
    objects = open_dataset(tmp_path, skip_missing=True)
    assert type(objects).__name__ == "MaskPng"
    assert type(open_dataset(tmp_path, format="labels")) is LabelMaps
    with pytest.raises(FileNotFoundError, match="no folder 'train'"):
        open_dataset(tmp_path, subset="train")


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds"])
def test_cityscapes(tmp_path, kind):
    labels = np.full((12, 16), 0 if kind == "labelIds" else 255, np.uint8)
    for number, value in enumerate(CITYSCAPES_IDS.values()):
        labels[1 + number // 16, number % 16] = value if kind == "labelIds" else number
    for city, part in (("aachen", "train"), ("bonn", "train"), ("lindau", "val")):
        photo(tmp_path / "leftImg8bit" / part / city / f"{city}_0_leftImg8bit.png")
        stem = tmp_path / "gtFine" / part / city / f"{city}_0_gtFine"
        put(stem.with_name(f"{stem.name}_{kind}.png"), labels)
        put(stem.with_name(f"{stem.name}_instanceIds.png"), labels)
        put(stem.with_name(f"{stem.name}_color.png"), COLOURS[labels])
    dataset = open_dataset(tmp_path, format="labels", subset="train")
    assert type(dataset) is LabelMaps and dataset.class_names == ["BG", *CITYSCAPES_IDS]
    assert [info["id"] for info in dataset.image_info] == ["aachen_0", "bonn_0"]
    found = dataset.load_labels(1)
    assert found[1:].ravel()[:19].tolist() == list(range(1, 20)) and (found[0] == 255).all()
    assert np.count_nonzero(found != 255) == 19
    with pytest.raises(ValueError, match="train, val have some: give a subset"):
        open_dataset(tmp_path, format="labels")
    # other ids
    road = open_dataset(
        tmp_path,
        format="labels",
        subset="train",
        class_names=["road"],
        ids={value: value in (0, 7) for value in range(34)},
    )
    assert road.load_labels(0)[1, 0] == 1


def test_both_kinds_of_cityscapes(tmp_path):
    photo(tmp_path / "leftImg8bit" / "a_leftImg8bit.png")
    put(tmp_path / "gtFine" / "a_gtFine_labelIds.png", np.full((12, 16), 26, np.uint8))
    put(tmp_path / "gtFine" / "a_gtFine_labelTrainIds.png", np.full((12, 16), 13, np.uint8))
    dataset = open_dataset(tmp_path, format="labels")
    assert dataset.num_images == 1 and not len(dataset.left_out)
    assert (dataset.load_labels(0) == 14).all()
    os.rename(
        tmp_path / "leftImg8bit" / "a_leftImg8bit.png",
        tmp_path / "leftImg8bit" / "b_leftImg8bit.png",
    )
    with pytest.raises(FileNotFoundError, match="no image of .*leftImg8bit has a label map in"):
        open_dataset(tmp_path, format="labels")


def test_camvid(tmp_path):
    labels = np.arange(192, dtype=np.uint8).reshape(12, 16) % 12
    for part in ("train", "val"):
        photo(tmp_path / part / "0001.png")
        put(tmp_path / f"{part}annot" / "0001.png", labels)
    dataset = open_dataset(tmp_path, format="labels", subset="val")
    assert dataset.class_names == ["BG", *CAMVID_CLASSES]
    np.testing.assert_array_equal(dataset.load_labels(0), np.where(labels == 11, 255, labels + 1))
    own = open_dataset(tmp_path, "labels", "val", class_names=[f"c{one}" for one in range(1, 12)])
    np.testing.assert_array_equal(own.load_labels(0), labels)
    with pytest.raises(
        ValueError, match="no annotations that are known as labels; train, val have"
    ):
        open_dataset(tmp_path, format="labels")
    with pytest.raises(FileNotFoundError, match="no annotations of 'val'"):
        open_dataset(tmp_path, subset="val")  # not told by itself


def test_ade(tmp_path):
    photo(tmp_path / "images" / "training" / "ADE_train_1.jpg")
    put(tmp_path / "annotations" / "training" / "ADE_train_1.png", LABELS)
    (tmp_path / "objectInfo150.txt").write_text("Idx\tName\n1\troad, route\n2\tcar\n")
    dataset = open_dataset(tmp_path, format="labels", subset="training", void=[0])
    assert dataset.class_names == ["BG", "road", "car"]
    np.testing.assert_array_equal(dataset.load_labels(0), np.where(LABELS == 0, 255, LABELS))


@pytest.mark.parametrize("inside", [False, True])
def test_parts_of_plain_folders(tmp_path, inside):
    for part in ("train", "val"):
        first, second = (
            (f"{part}/images", f"{part}/masks") if inside else (f"img/{part}", f"gt/{part}")
        )
        photo(tmp_path / first / "a.png")
        put(tmp_path / second / "a_mask.png", LABELS)
    dataset = open_dataset(tmp_path, "labels", "val", classes=NAMES)
    np.testing.assert_array_equal(dataset.load_labels(0), LABELS)
    (tmp_path / "classes.txt").write_text("street\ncar\n")
    assert open_dataset(tmp_path, "labels", "val").class_names == ["BG", "street", "car"]
    # nothing changes for whoever does not ask for labels
    assert type(open_dataset(tmp_path, subset="val")).__name__ == "MaskPng"


def test_a_folder_of_label_maps_that_is_named(tmp_path):
    images, labels = folders(tmp_path, {"a": LABELS})
    os.rename(labels, tmp_path / "answers")
    dataset = open_dataset(images, "labels", mask_dir=tmp_path / "answers", classes=NAMES)
    np.testing.assert_array_equal(dataset.load_labels(0), LABELS)
    with pytest.raises(ValueError, match="the format labels of .* says itself where"):
        os.rename(tmp_path / "answers", labels)
        open_dataset(tmp_path, "labels", image_dir=images, classes=NAMES)


@pytest.mark.parametrize("name", ["list.txt", "a.png"])
def test_a_file_that_is_no_list_of_voc(tmp_path, name):
    path = tmp_path / "ImageSets" / "Segmentation" / name
    path.parent.mkdir(parents=True)
    path.write_text("a\n")
    with pytest.raises(ValueError, match=f"{name} is a file: label maps are in a folder beside"):
        open_dataset(path, format="labels")


# === Writing ===


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        LABELS.astype(np.int64),
        LABELS.astype(np.uint16) * 257,
        np.full((1, 1), 255, np.uint8),
    ],
    ids=["uint8", "int64", "uint16", "void"],
)
def test_what_is_written_is_read(tmp_path, labels):
    path = tmp_path / "a.png"
    write_labels(path, labels)
    np.testing.assert_array_equal(read_ids(path), labels)
    with Image.open(path) as made:
        assert made.mode == ("I;16" if labels.max() > 255 else "L")
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("count", [1, 3, 256])
def test_a_palette_is_for_the_eye(tmp_path, count):
    path = tmp_path / "a.png"
    write_labels(path, LABELS, COLOURS[:count])
    np.testing.assert_array_equal(read_ids(path), LABELS)
    with Image.open(path) as made:
        assert made.mode == "P"
        colours = np.array(made.convert("RGB"))
    assert tuple(colours[3, 2]) == (224, 224, 192)  # void
    if count > 2:
        np.testing.assert_array_equal(colours, COLOURS[LABELS])


@pytest.mark.parametrize(
    "name, labels, palette, message",
    [
        ("a.jpg", LABELS, None, "written as .png, not as .*a.jpg"),
        ("a.png", LABELS[..., np.newaxis], None, "label map is .height, width. of whole numbers"),
        ("a.png", LABELS / 2, None, "got float64"),
        ("a.png", LABELS.astype(int) - 1, None, "a label map has 0 to 65535, got -1"),
        ("a.png", LABELS.astype(int) * 1000, None, "got 0 and 255000"),
        ("a.png", LABELS.astype(np.uint16), COLOURS, "label maps of uint16 have more"),
        ("a.png", LABELS, [1, 2, 3], "got the shape .3,."),
    ],
)
def test_what_cannot_be_written(tmp_path, name, labels, palette, message):
    with pytest.raises(ValueError, match=message):
        write_labels(tmp_path / name, labels, palette)
    assert not os.listdir(tmp_path)


def test_an_older_file_is_kept_where_the_disk_is_full(tmp_path):
    path = tmp_path / "a.png"
    write_labels(path, LABELS)
    noise = np.random.RandomState(0).randint(0, 200, (200, 200)).astype(np.uint8)
    with files_of_at_most(4096), pytest.raises(OSError):
        write_labels(path, noise)
    np.testing.assert_array_equal(read_ids(path), LABELS)
    assert os.listdir(tmp_path) == ["a.png"]


# === Real data ===


@pytest.mark.slow
def test_penn_fudan(tmp_path):
    """Its masks of objects as labels, by the masks and by an id map, written and read again."""
    root = os.path.join(DATA, "PennFudanPed")
    if not os.path.isdir(root):
        pytest.skip(f"no {root}: MRCNN_DATA names no folder with it")
    people = open_dataset(root, classes=["person"])
    ids = dict.fromkeys(range(1, 60), 1)
    read = open_dataset(root, "labels", class_names=["person"], ids=ids)
    assert read.num_images == people.num_images == 170
    for image_id in people.image_ids:
        labels = people.load_labels(image_id)
        np.testing.assert_array_equal(labels, people.load_mask(image_id)[0].any(axis=-1))
        np.testing.assert_array_equal(read.load_labels(image_id), labels)
        write_labels(tmp_path / f"{people.image_info[image_id]['id']}.png", labels, COLOURS)
    images = os.path.join(root, "PNGImages")
    again = open_dataset(images, "labels", mask_dir=tmp_path, classes=["person"])
    assert again.num_images == 170 and not len(again.left_out)
    for image_id in again.image_ids:
        np.testing.assert_array_equal(again.load_labels(image_id), read.load_labels(image_id))
    report = again.check(progress=False)
    assert report.ok and report.objects == 170

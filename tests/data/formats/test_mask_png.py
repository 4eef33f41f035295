"""Mask images: one id for each object, as Penn-Fudan has them, and one file for each, as the Data
Science Bowl.
"""

import io
import os
import time

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.formats import mask_files
from mrcnn.data.formats.mask_files import objects_of
from mrcnn.data.formats.mask_png import CUT_AT_HALF, IN_PIECES, SOFT_EDGES, MaskPng
from tests.tiny import image

IDS = np.zeros((20, 30), np.uint8)
IDS[2:6, 3:9] = 1
IDS[2:6, 20:25] = 1  # of two pieces
IDS[10:15, 5:25] = 7  # numbers with a gap
IDS[14:20, 20:30] = 3


def id_folders(folder, masks, suffix="_mask.png", images="a.png b.jpg"):
    """Images, and beside them masks (Pillow images or arrays) by the image's name without
    ending.
    """
    for name in ("PNGImages", "PedMasks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(images.split()):
        Image.fromarray(image(20, 30, seed)).save(folder / "PNGImages" / name)
    for stem, mask in masks.items():
        mask = Image.fromarray(mask) if isinstance(mask, np.ndarray) else mask
        mask.save(folder / "PedMasks" / f"{stem}{suffix}")
    return str(folder / "PNGImages"), str(folder / "PedMasks")


def load_ids(folder, masks, suffix="_mask.png", images="a.png b.jpg", **options):
    dataset = MaskPng()
    dataset.load_id_masks(*id_folders(folder, masks, suffix, images), "person", **options)
    dataset.prepare()
    return dataset


def expected(ids=IDS, values=(1, 3, 7)):
    return np.stack([ids == value for value in values], axis=-1)


# === One id for each object ===


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (1, 9), (9, 1), (40, 30)])
def test_objects_are_the_values_but_0(shape, dtype):
    noise = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    blocks = noise.repeat(4, axis=0).repeat(5, axis=1)
    for ids in (noise, blocks, noise * 0, noise * 0 + 7, blocks[:, ::2]):
        assert objects_of(ids) == [value for value in np.unique(ids).tolist() if value]


def test_depths_are_no_ids(tmp_path):
    """A mask of 65,535 objects would take the memory of all masks of the image at once."""
    depths = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)
    assert load_ids(tmp_path / "few", {"a": depths}, images="a.png").load_mask(0)[1].size == 599
    folders = id_folders(tmp_path, {}, images="")
    Image.fromarray(image(120, 100)).save(tmp_path / "PNGImages" / "a.png")
    depths = np.arange(120 * 100, dtype=np.uint16).reshape(120, 100)
    Image.fromarray(depths).save(tmp_path / "PedMasks" / "a_mask.png")
    dataset = MaskPng()
    dataset.load_id_masks(*folders, "person")
    dataset.prepare()
    with pytest.raises(ValueError, match="a_mask.png.*11999 different values.*perhaps depths"):
        dataset.load_mask(0)


@pytest.mark.parametrize("suffix", ["_mask.png", ".png", "_masks.tif", ".bmp"])
def test_ids(tmp_path, suffix):
    dataset = load_ids(tmp_path, {"a": IDS, "b": np.zeros_like(IDS)}, suffix)
    assert dataset.class_names == ["BG", "person"] and [
        info["id"] for info in dataset.image_info
    ] == ["a", "b"]
    masks, class_ids = dataset.load_mask(0)
    assert masks.dtype == bool and class_ids.dtype == np.int32 and class_ids.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(masks, expected())
    masks, class_ids = dataset.load_mask(1)
    assert masks.shape == (20, 30, 0) and class_ids.shape == (0,)
    assert dataset.load_image(1).shape == (20, 30, 3) and dataset.image_reference(0).endswith(
        "a.png"
    )


def palette_image():
    mask = Image.fromarray(IDS, "P")
    mask.putpalette(
        [value for number in range(256) for value in (number * 37 % 256, 255 - number, number // 2)]
    )
    return mask


@pytest.mark.parametrize(
    "mask, values",
    [
        (palette_image(), (1, 3, 7)),  # Pascal VOC: colours are only for the eye
        (IDS.astype(np.uint16) * 300, (300, 900, 2100)),  # more than 255 objects
        (IDS.astype(np.int32), (1, 3, 7)),
        (np.stack([IDS] * 3, axis=-1), (1, 3, 7)),  # grey that an editor saved as RGB
        (Image.merge("LA", [Image.fromarray(IDS), Image.fromarray(IDS // 7 * 255)]), (1, 3, 7)),
        (Image.fromarray(IDS > 0), (1,)),
    ],
    ids=["palette", "16 bit", "32 bit", "rgb", "grey and alpha", "1 bit"],
)
def test_kinds_of_files(tmp_path, mask, values):
    suffix = ".tif" if isinstance(mask, np.ndarray) and mask.dtype == np.int32 else ".png"
    dataset = load_ids(tmp_path, {"a": mask}, suffix, images="a.png")
    ids = IDS if values != (300, 900, 2100) else IDS.astype(int) * 300
    wanted = expected(ids, values) if values != (1,) else (IDS > 0)[..., np.newaxis]
    np.testing.assert_array_equal(dataset.load_mask(0)[0], wanted)


@pytest.mark.parametrize("kind", ["L", "P", "I;16"])
def test_masks_are_turned_as_images_are(tmp_path, kind):
    """As their EXIF orientation says, whatever kind of values they hold."""
    exif = Image.Exif()
    exif[0x0112] = 3
    mask = {"L": Image.fromarray(IDS), "P": palette_image()}.get(
        kind, Image.fromarray(IDS.astype(np.uint16))
    )
    images, masks = id_folders(tmp_path, {}, images="a.png")
    mask.save(os.path.join(masks, "a_mask.png"), exif=exif)
    dataset = MaskPng()
    dataset.load_id_masks(images, masks, "person")
    dataset.prepare()
    np.testing.assert_array_equal(dataset.load_mask(0)[0], expected(IDS[::-1, ::-1]))


def test_every_error_of_pillow_names_the_mask(tmp_path, monkeypatch):
    dataset = load_ids(tmp_path, {"a": palette_image()}, images="a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # a decompression bomb, which is no OSError
    dataset.image_info[0]["path"] = str(tmp_path / "small.png")
    Image.fromarray(image(5, 6)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match="a_mask.png .*IMAGE_MAX_PIXELS"):
        dataset.load_mask(0)


def test_a_pipe_is_not_waited_for(tmp_path):
    dataset = load_ids(tmp_path, {"a": IDS}, images="a.png")
    path = dataset.image_info[0]["mask_path"]
    os.remove(path)
    os.mkfifo(path)
    with pytest.raises(ValueError, match="a_mask.png"):
        dataset.load_mask(0)


def test_values_that_are_no_object(tmp_path):
    bordered = IDS.copy()
    bordered[0] = 255
    dataset = load_ids(tmp_path, {"a": bordered}, images="a.png", ignore=[255])
    np.testing.assert_array_equal(dataset.load_mask(0)[0], expected())


def test_images_without_a_mask(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match="PedMasks has no mask for .*b.jpg: it should be b.png or b_mask.png",
    ):
        load_ids(tmp_path, {"a": IDS})
    dataset = load_ids(tmp_path, {"a": IDS}, skip_missing=True)
    assert dataset.num_images == 1 and str(dataset.left_out).startswith(
        "images without a mask file: 1"
    )


def test_masks_without_an_image(tmp_path):
    dataset = load_ids(tmp_path, {"a": IDS, "b": IDS, "gone": IDS}, images="a.png b.ppm")
    assert dataset.num_images == 2
    assert (
        str(dataset.left_out)
        == f"mask files without an image: 1 (first: {tmp_path / 'PedMasks' / 'gone_mask.png'})"
    )


@pytest.mark.parametrize(
    "mask, message",
    [
        (IDS.T.copy(), "a_mask.png is 20 x 30 px .* its image .*a.png is 30 x 20 px"),
        (np.stack([IDS, IDS * 2, IDS], axis=-1), "a_mask.png must have one whole number a pixel"),
    ],
)
def test_masks_that_do_not_fit(tmp_path, mask, message):
    dataset = load_ids(tmp_path, {"a": mask}, images="a.png")
    with pytest.raises(ValueError, match=message):
        dataset.load_mask(0)


def test_two_files_that_differ_in_their_ending(tmp_path):
    with pytest.raises(
        ValueError, match="PNGImages has a.jpg and a.png: images and masks belong together by"
    ):
        load_ids(tmp_path, {"a": IDS}, images="a.png a.jpg")
    images, masks = id_folders(tmp_path / "masks", {"a": IDS}, images="a.png")
    Image.fromarray(IDS).save(os.path.join(masks, "a_mask.bmp"))
    with pytest.raises(ValueError, match="PedMasks has a_mask.bmp and a_mask.png"):
        MaskPng().load_id_masks(images, masks, "person")


def test_images_and_masks_in_one_folder(tmp_path):
    """An image would be its own mask."""
    images, _ = id_folders(tmp_path, {})
    with pytest.raises(ValueError, match="are both .*PNGImages"):
        MaskPng().load_id_masks(images, os.path.join(images, "..", "PNGImages"), "person")


def test_masks_saved_with_loss(tmp_path):
    with pytest.raises(ValueError, match="a_mask.jpg is JPEG, which changes the values of a mask"):
        load_ids(tmp_path, {"a": IDS * 30}, "_mask.jpg", images="a.png")
    folder = object_folders(tmp_path / "objects", {"x": []})
    mask = Image.fromarray(np.uint8(IDS == 7) * 255)
    mask.save(os.path.join(folder, "x", "masks", "1.JPG"), "JPEG")
    dataset = MaskPng()
    dataset.load_object_masks(folder, "nucleus")
    dataset.prepare()
    np.testing.assert_array_equal(dataset.load_mask(0)[0][..., 0], IDS == 7)
    # what JPEG adds is as dark as this
    Image.fromarray(IDS).save(os.path.join(folder, "x", "masks", "2.jpg"))
    with pytest.raises(ValueError, match="2.jpg is JPEG"):
        dataset.load_mask(0)


@pytest.mark.parametrize(
    "name, options, kind",
    [
        ("a.jfif", {}, "JPEG"),
        ("a.jpe", {}, "JPEG"),
        ("a.png", {"format": "JPEG"}, "JPEG"),
        ("a.jpg", {"format": "PNG"}, None),
        ("a.webp", {}, "lossy WebP"),
        ("a.webp", {"icc_profile": b"odd"}, "lossy WebP"),
        ("a.webp", {"lossless": True}, None),
    ],
)
def test_loss_is_of_the_contents_of_a_mask(tmp_path, name, options, kind):
    images, masks = id_folders(tmp_path, {}, images="a.png")
    path = os.path.join(masks, name)
    Image.fromarray(np.uint8(IDS == 7) * 90).save(path, **options)
    dataset = MaskPng()
    if kind is None:
        dataset.load_id_masks(images, masks, "person")
        dataset.prepare()
        np.testing.assert_array_equal(dataset.load_mask(0)[0][..., 0], IDS == 7)
        return
    with pytest.raises(ValueError, match=f"{name} is {kind}, which changes the values of a mask"):
        dataset.load_id_masks(images, masks, "person")
    os.makedirs(tmp_path / "objects" / "x" / "masks")
    os.rename(path, tmp_path / "objects" / "x" / "masks" / name)
    os.rename(images, tmp_path / "objects" / "x" / "images")
    dataset.load_object_masks(tmp_path / "objects", "person")
    dataset.prepare()
    with pytest.raises(ValueError, match=f"{name} is {kind}"):  # too dark
        dataset.load_mask(0)


def test_no_hints_for_images_that_are_skipped(tmp_path, monkeypatch):
    """A hint looks at the names of all masks: of thousands of images that takes minutes."""

    def hint(*_):
        raise AssertionError("a hint that nobody sees")

    for name in ("hint_of_case", "_hint_of_folder"):
        monkeypatch.setattr(f"mrcnn.data.formats.mask_png.{name}", hint)
    dataset = load_ids(tmp_path, {"a": IDS}, skip_missing=True)
    assert dataset.num_images == 1 and len(dataset.left_out) == 1
    samples = {"x": [IDS], "y": None}
    dataset = load_objects(tmp_path / "objects", samples, skip_missing=True)
    assert dataset.num_images == 1 and len(dataset.left_out) == 1


def test_several_classes_from_several_folders(tmp_path):
    dataset = MaskPng()
    for name in ("person", "dog", "person"):
        dataset.load_id_masks(*id_folders(tmp_path / name, {"a": IDS}, images="a.png"), name)
    dataset.load_object_masks(object_folders(tmp_path / "cells", {"x": [IDS]}), "cell")
    dataset.prepare()
    assert dataset.class_names == ["BG", "person", "dog", "cell"]
    assert [dataset.load_mask(image_id)[1][0] for image_id in dataset.image_ids] == [1, 2, 1, 3]


def test_no_folders_of_ids(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        MaskPng().load_id_masks(tmp_path / "nowhere", tmp_path, "person")
    with pytest.raises(FileNotFoundError, match="has no images"):
        MaskPng().load_id_masks(tmp_path, tmp_path, "person")


# === One file for each object ===


def object_folders(folder, samples):
    """``<id>/images/<id>.png`` and ``<id>/masks/*.png``; masks of None makes no such folder."""
    for seed, (image_id, masks) in enumerate(samples.items()):
        for part, arrays in (("images", [image(20, 30, seed)]), ("masks", masks)):
            if arrays is None:
                continue
            (folder / image_id / part).mkdir(parents=True)
            for number, array in enumerate(arrays):
                name = image_id if part == "images" else f"{number:03}"
                Image.fromarray(array).save(folder / image_id / part / f"{name}.png")
    return str(folder)


def load_objects(folder, samples, **options):
    dataset = MaskPng()
    dataset.load_object_masks(object_folders(folder, samples), "nucleus", **options)
    dataset.prepare()
    return dataset


def test_objects(tmp_path):
    masks = [((IDS == value) * 255).astype(np.uint8) for value in (7, 1)]
    overlapping = np.full((20, 30), 255, np.uint8)
    dataset = load_objects(tmp_path, {"0a1": [*masks, overlapping], "0b2": []})
    assert [info["id"] for info in dataset.image_info] == [
        "0a1",
        "0b2",
    ] and dataset.class_names == ["BG", "nucleus"]
    loaded, class_ids = dataset.load_mask(0)
    np.testing.assert_array_equal(loaded, np.stack([IDS == 7, IDS == 1, IDS < 99], axis=-1))
    assert class_ids.tolist() == [1, 1, 1]
    assert dataset.load_mask(1)[0].shape == (20, 30, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda on: np.stack([on * 255] * 3 + [np.full_like(on, 255)], axis=-1),
        lambda on: np.stack([on] * 3, axis=-1),
        lambda on: on.astype(np.uint16) * 65535,
        lambda on: on > 0,
    ],
    ids=["rgba", "rgb of 1", "16 bit", "1 bit"],
)
def test_kinds_of_object_files(tmp_path, make):
    on = (IDS == 1).astype(np.uint8)
    dataset = load_objects(tmp_path, {"x": [make(on)]})
    np.testing.assert_array_equal(dataset.load_mask(0)[0][..., 0], IDS == 1)


def test_black_files_are_left_out_once(tmp_path):
    dataset = load_objects(tmp_path, {"x": [IDS, np.zeros_like(IDS)]})
    for _ in range(2):
        assert dataset.load_mask(0)[0].shape == (20, 30, 1)
    assert len(dataset.left_out) == 1 and "masks covering no pixel of the image: 1 (first: " in str(
        dataset.left_out
    )


def test_a_test_set_has_no_masks(tmp_path):
    dataset = load_objects(tmp_path, {"x": None, "y": None})
    assert dataset.num_images == 2 and dataset.load_mask(0)[0].shape == (20, 30, 0)


def test_hidden_folders_are_no_images(tmp_path):
    (tmp_path / ".ipynb_checkpoints").mkdir()
    assert load_objects(tmp_path, {"x": [IDS]}).num_images == 1


def test_chosen_images(tmp_path):
    folder = object_folders(tmp_path, {"x": [IDS], "y": [IDS], "z": [IDS]})
    dataset = MaskPng()
    dataset.load_object_masks(folder, "nucleus", image_ids=["z", "x"])
    assert [info["id"] for info in dataset.image_info] == ["z", "x"]
    with pytest.raises(FileNotFoundError, match="has no folder 'w'"):
        dataset.load_object_masks(folder, "nucleus", image_ids=["z", "w"])


def test_folders_that_are_not_whole(tmp_path):
    folder = object_folders(tmp_path, {"x": [IDS], "y": None})
    with pytest.raises(FileNotFoundError, match="masks is missing, though other images have masks"):
        MaskPng().load_object_masks(folder, "nucleus")
    os.makedirs(tmp_path / "z" / "images")
    os.makedirs(tmp_path / "z" / "masks")
    dataset = MaskPng()
    dataset.load_object_masks(folder, "nucleus", skip_missing=True)
    assert len(dataset.image_info) == 1 and {
        reason: len(places) for reason, places in dataset.left_out.places.items()
    } == {"images without masks": 1, "folders without an image": 1}
    with pytest.raises(FileNotFoundError, match="has no images as <id>/images/<id>.png"):
        MaskPng().load_object_masks(tmp_path / "x", "nucleus", skip_missing=True)
    with pytest.raises(FileNotFoundError, match="gone is no folder"):
        MaskPng().load_object_masks(tmp_path / "gone", "nucleus")


def test_object_file_of_another_size(tmp_path):
    dataset = load_objects(tmp_path, {"x": [IDS, IDS.T.copy()]})
    with pytest.raises(
        ValueError, match="001.png is 20 x 30 px .* its image .*x.png is 30 x 20 px"
    ):
        dataset.load_mask(0)


# === Soft edges and separate pieces ===


def disc(cy, cx, radius, height=60, width=80, fine=8):
    """How much of each pixel a disc covers, float [height, width] in 0..1, as anti-aliasing draws
    it.
    """
    y, x = (np.mgrid[: height * fine, : width * fine] + 0.5) / fine
    inside = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
    return inside.reshape(height, fine, width, fine).mean(axis=(1, 3))


DISC, SECOND = disc(30.3, 25.2, 10.1), disc(28.8, 60.4, 7.3)


def of_one_object(folder, mask, suffix=".png"):
    """The mask that is read of a file for one object."""
    for name in ("images", "masks"):
        (folder / "x" / name).mkdir(parents=True, exist_ok=True)
    size = (mask if isinstance(mask, Image.Image) else Image.fromarray(mask)).size
    Image.new("RGB", size).save(folder / "x" / "images" / "x.png")
    mask = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    mask.save(folder / "x" / "masks" / f"1{suffix}")
    dataset = MaskPng()
    dataset.load_object_masks(folder, "cell")
    dataset.prepare()
    return dataset.load_mask(0)[0]


def shades(scale=255, dtype=np.uint8, covered=DISC):
    return np.rint(covered * scale).astype(dtype)


def grey_palette():
    image = Image.fromarray(shades(), "P")
    image.putpalette([value for value in range(256) for _ in range(3)])
    return image


@pytest.mark.parametrize(
    "mask, suffix",
    [
        (shades(), ".png"),
        (shades(), ".jpg"),
        (shades(65535, np.uint16), ".png"),
        (shades(255, np.uint16), ".png"),
        (DISC.astype(np.float32), ".tif"),
        (np.stack([shades()] * 3, axis=-1), ".png"),
        (np.stack([shades(), shades() * 0, shades() * 0], axis=-1), ".png"),  # red
        (np.stack([shades()] * 3 + [np.full_like(shades(), 255)], axis=-1), ".png"),
        (np.stack([np.full_like(shades(), 255)] * 3 + [shades()], axis=-1), ".png"),  # a cut-out
        (np.stack([np.zeros_like(shades())] * 3 + [shades()], axis=-1), ".png"),
        (np.stack([np.uint8(DISC > 0) * 255] * 3 + [shades()], axis=-1), ".png"),
        (np.stack([np.uint8(DISC == 0) * 255] * 3 + [shades()], axis=-1), ".png"),
        (Image.merge("LA", [Image.new("L", (80, 60), 255), Image.fromarray(shades())]), ".png"),
        (grey_palette(), ".png"),
        (np.uint8(DISC >= 0.5), ".png"),
        (np.uint8(DISC >= 0.5) * 9, ".png"),
        (DISC >= 0.5, ".png"),
    ],
    ids=[
        "8 bit",
        "jpeg",
        "16 bit",
        "8 of 16 bit",
        "float",
        "rgb",
        "red",
        "opaque",
        "white cut-out",
        "black cut-out",
        "white on nothing",
        "black on nothing",
        "grey cut-out",
        "palette",
        "0 and 1",
        "0 and 9",
        "1 bit",
    ],
)
def test_a_smoothed_object_ends_where_half_of_a_pixel_is_covered(tmp_path, mask, suffix):
    assert np.count_nonzero(DISC > 0) > 1.1 * np.count_nonzero(DISC >= 0.5)
    found = of_one_object(tmp_path, mask, suffix)
    assert found.shape[-1] == 1
    # JPEG moves single pixels that are half covered
    allowed = 2 if suffix == ".jpg" else 0
    assert np.count_nonzero(found[..., 0] != (DISC >= 0.5)) <= allowed


def one_mask(folder, mask, **options):
    """A dataset of one image and its mask of ids."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", mask.shape[1::-1], (9, 99, 50)).save(folder / "images" / "a.png")
    Image.fromarray(mask).save(folder / "masks" / "a.png")
    dataset = MaskPng()
    dataset.load_id_masks(folder / "images", folder / "masks", "cell", **options)
    dataset.prepare()
    return dataset


def warnings_of(dataset):
    return {finding.kind: finding.message for finding in dataset.check(progress=False).findings}


TWO = np.maximum(DISC, SECOND)


def as_jpeg(values):
    """What JPEG makes of them, to be saved without loss."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(
    "mask",
    [
        shades(covered=TWO),
        shades(65535, np.uint16, TWO),
        as_jpeg(np.uint8(TWO >= 0.5) * 255),
        np.asarray(Image.fromarray(np.uint8(TWO >= 0.5) * 255).resize((200, 150), Image.BILINEAR)),
    ],
    ids=["8 bit", "16 bit", "from jpeg", "resized"],
)
def test_soft_edges_in_a_mask_of_ids(tmp_path, caplog, mask):
    """They are told of, not cut: a file of ids may have any values. Where pieces are split, the
    pieces of what is at least half white are the objects.
    """
    dataset = one_mask(tmp_path, mask)
    assert "mask of ids with soft edges: 1 (first: " in caplog.text
    values = len(np.unique(mask)) - 1
    assert dataset.load_mask(0)[0].shape[-1] == values > 10
    assert f"of its {values} values occur in edges only" in warnings_of(dataset)[SOFT_EDGES]
    split = one_mask(tmp_path, mask, split_pieces=True)
    found = split.load_mask(0)[0]
    assert found.shape[-1] == 2 and not {SOFT_EDGES, IN_PIECES} & set(warnings_of(split))
    np.testing.assert_array_equal(found.any(axis=-1), mask >= (32768 if mask.max() > 255 else 128))


def test_honest_ids_are_not_taken_for_soft_edges(tmp_path, caplog):
    ids = np.zeros((40, 60), np.uint8)
    ids[5:15, 5:25], ids[15:25, 5:25], ids[5:25, 25:27] = 200, 100, 7  # they touch
    ids[30, 10:20], ids[30:38, 40] = 20, 30  # lines, by themselves
    dataset = one_mask(tmp_path, ids)
    assert not dataset.mask_doubts(0) and not caplog.text
    assert dataset.load_mask(0)[0].shape[-1] == 5


@pytest.mark.parametrize("value", [1, 255])
def test_separate_pieces(tmp_path, caplog, value):
    mask = np.uint8(TWO >= 0.5) * np.uint8(value)
    dataset = one_mask(tmp_path, mask)
    assert dataset.load_mask(0)[0].shape[-1] == 1
    assert "of the masks of 1 images, object in separate pieces: 1 (first: " in caplog.text
    assert f"a.png: value {value} has 2 pieces" in warnings_of(dataset)[IN_PIECES]
    masks, class_ids = one_mask(tmp_path, mask, split_pieces=True).load_mask(0)
    np.testing.assert_array_equal(masks, np.stack([DISC >= 0.5, SECOND >= 0.5], axis=-1))
    assert class_ids.tolist() == [1, 1]


def test_pieces_of_several_ids(tmp_path):
    dataset = one_mask(tmp_path, IDS, split_pieces=True)
    masks = dataset.load_mask(0)[0]
    assert [int(IDS[mask][0]) for mask in np.moveaxis(masks, -1, 0)] == [1, 1, 3, 7]
    np.testing.assert_array_equal(masks.sum(axis=-1), IDS > 0)


def test_pieces_of_a_file_for_one_object(tmp_path, caplog):
    dataset = load_objects(tmp_path, {"x": [np.uint8(IDS == 1) * 255, np.uint8(IDS == 7) * 255]})
    assert dataset.load_mask(0)[0].shape[-1] == 2 and "object in separate pieces" in caplog.text
    assert "000.png has 2 pieces" in warnings_of(dataset)[IN_PIECES]
    split = MaskPng()
    split.load_object_masks(tmp_path, "nucleus", split_pieces=True)
    split.prepare()
    assert split.load_mask(0)[0].shape[-1] == 3


def test_doubts_open_each_file_once(tmp_path, monkeypatch):
    masks = [((IDS == value) * 255).astype(np.uint8) for value in (7, 1, 0)]
    dataset = load_objects(tmp_path, {"a": masks})
    opened = []

    def read(path, read_image=mask_files.read_image, **options):
        opened.append(os.path.basename(path))
        return read_image(path, **options)

    monkeypatch.setattr(mask_files, "read_image", read)
    ((kind, place),) = dataset.mask_doubts(0)
    assert kind == IN_PIECES and "has 2 pieces" in place
    assert len(opened) == len(set(opened)) == 3


def test_few_of_many_masks_are_looked_at_when_they_are_opened(tmp_path, caplog):
    names = [f"{number:02}" for number in range(50)]
    images = " ".join(f"{name}.png" for name in names)
    load_ids(tmp_path, dict.fromkeys(names, np.uint8(IDS == 1)), ".png", images)
    assert "of the masks of 17 images, object in separate pieces: 17 (first: " in caplog.text


def test_many_values_are_looked_at_quickly(tmp_path):
    """Such as those of a depth image that is no mask."""
    depth = np.random.RandomState(0).randint(0, 65536, (300, 400)).astype(np.uint16)
    depth[:9, :9] = 7
    start = time.perf_counter()
    one_mask(tmp_path, depth)
    assert time.perf_counter() - start < 5


def test_soft_edges_of_a_file_for_one_object(tmp_path, caplog):
    """Its mask ends at half; that is told, of the first file of an image."""
    hard = np.uint8(IDS == 1) * np.uint8(255)
    soft = hard.copy()
    soft[IDS == 7] = 90  # below half
    dataset = load_objects(tmp_path, {"x": [hard, soft, soft]})
    np.testing.assert_array_equal(dataset.load_mask(0)[0], np.dstack([IDS == 1] * 3))
    assert "001.png ends where half of its range" in warnings_of(dataset)[CUT_AT_HALF]
    assert "mask with soft edges: 1 (first: " in caplog.text
    caplog.clear()
    dataset = load_objects(tmp_path / "hard", {"x": [hard, np.uint8(IDS == 3)]})
    assert CUT_AT_HALF not in warnings_of(dataset) and "soft edges" not in caplog.text

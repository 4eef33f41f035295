"""Images that hold fewer bits than their type: what the file says, what is asked for, and what is
warned of.
"""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.crops import ObjectCrops
from mrcnn.data.dataset import Dataset
from mrcnn.data.image_range import FewBits, use_image_range, used_bits
from mrcnn.data.images import as_uint8_range, read_image
from mrcnn.data.load import load_image_gt
from tests.tiny import Rectangles, image, tiny_config

tifffile = pytest.importorskip("tifffile")

GREY = image(40, 50)[..., 0]  # what all images below show, in 8 bits
FULL = GREY * np.uint16(257)


def of_bits(bits):
    """GREY in the lower bits of 16."""
    return np.rint(GREY * ((2**bits - 1) / 255)).astype(np.uint16)


# === Values ===


@pytest.mark.parametrize(
    "pixels, image_range",
    [(of_bits(bits), (0, 2**bits - 1)) for bits in (8, 10, 12, 14, 16)]
    + [
        (of_bits(12).astype(np.int16), (0, 4095)),
        (of_bits(12).astype(np.int32), (0, 4095)),
        (of_bits(12).astype(np.uint32), (0, 4095)),
        (GREY.astype(np.uint32) * 16843009, (0, 2**32 - 1)),
        (GREY.astype(np.int16) - 128, (-128, 127)),
        ((GREY.astype(np.int16) - 128).astype(np.int8), (-128, 127)),
        (GREY / 255, (0, 1)),
        (GREY.astype(np.float32), (0, 255)),
        (GREY * np.float32(257), (0, 65535)),
        (GREY * 0.5 - 7, (-7, 120.5)),
        (GREY, (0, 4095)),  # 8 bits are 0..255 already
    ],
    ids=str,
)
def test_a_range_gives_the_pixels_of_8_bits(pixels, image_range):
    found = as_uint8_range(pixels, image_range)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, GREY)


def test_values_beyond_the_range_are_cut_off():
    found = as_uint8_range(np.array([0, 100, 150, 200, 65535], np.uint16), (100, 200))
    assert found.tolist() == [0, 0, 128, 255, 255]
    assert as_uint8_range(np.array([True, False]), (0, 9)).tolist() == [255, 0]
    with pytest.raises(ValueError, match="NaN or infinite"):
        as_uint8_range(np.array([0, np.nan]), (0, 1))
    with pytest.raises(ValueError, match=r"0\.\.255 .* IMAGE_RANGE"):
        as_uint8_range(np.array([0.0, 65535]))


@pytest.mark.parametrize(
    "pixels, bits",
    [(of_bits(bits), bits) for bits in (8, 10, 12, 14)]
    + [
        (of_bits(9), 10),
        (of_bits(12).astype(np.int32), 12),
        (of_bits(12).astype(np.int16), 12),
        (FULL, None),
        (of_bits(15), None),
        (GREY, None),
        (GREY.astype(np.int32), None),  # taken for 8 bits
        (FULL * 0, None),
        (GREY / 255, None),
        (GREY > 9, None),
        (np.zeros((0, 3), np.uint16), None),
    ],
)
def test_bits_that_are_used(pixels, bits):
    assert used_bits(pixels) == bits


# === What the file says ===


def packed_tiff(path):
    """A TIFF of 12 bits a sample, two of which share three bytes."""
    values = of_bits(12).astype(np.uint32).reshape(-1, 2)
    pairs = values[:, 0] << 12 | values[:, 1]
    data = np.stack([pairs >> 16, pairs >> 8, pairs], axis=1).astype(np.uint8).tobytes()
    height, width = GREY.shape
    entries = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 8)]
    entries += [(277, 1), (278, height), (279, len(data))]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    header = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    path.write_bytes(header + data + struct.pack("<H", len(entries)) + table + bytes(4))


def stated_tiff(path, bits, largest=None, pixels=None):
    value = 2**bits - 1 if largest is None else largest
    pixels = of_bits(bits) if pixels is None else pixels
    tifffile.imwrite(path, pixels, extratags=[(281, 3, 1, value, True)], photometric="minisblack")


def stated_png(path, bits, pixels):
    Image.fromarray(pixels).save(path)
    whole = path.read_bytes()
    block = b"sBIT" + bytes([bits])
    block = struct.pack(">I", 1) + block + struct.pack(">I", zlib.crc32(block))
    path.write_bytes(whole[:33] + block + whole[33:])  # after the header


@pytest.mark.parametrize(
    "kind, bits", [("packed", 12)] + [(k, b) for k in ("tiff", "png") for b in (8, 10, 12, 14)]
)
def test_what_the_file_says(tmp_path, kind, bits):
    path = tmp_path / f"a.{'png' if kind == 'png' else 'tif'}"
    if kind == "packed":
        packed_tiff(path)
    elif kind == "tiff":
        stated_tiff(path, bits)
    else:
        stated_png(path, bits, of_bits(bits))
    np.testing.assert_array_equal(as_uint8_range(read_image(path)), GREY)
    assert used_bits(read_image(path)) is None
    stored = read_image(path, as_stored=True)
    np.testing.assert_array_equal(stored, of_bits(bits))
    np.testing.assert_array_equal(as_uint8_range(stored, (0, 2**bits - 1)), GREY)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("count", [3, 5])
def test_what_the_file_says_of_several_bands(tmp_path, planar, count):
    bands = np.stack([np.roll(of_bits(12), number) for number in range(count)], axis=-1)
    tifffile.imwrite(
        tmp_path / "a.tif",
        bands if planar == "contig" else np.moveaxis(bands, -1, 0),
        photometric="rgb",
        planarconfig=planar,
        extrasamples=["unspecified"] * (count - 3),
        extratags=[(281, 3, count, (4095,) * count, True)],
    )
    plain = np.stack([np.roll(GREY, number) for number in range(count)], axis=-1)
    np.testing.assert_array_equal(as_uint8_range(read_image(tmp_path / "a.tif")), plain)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", as_stored=True), bands)


@pytest.mark.parametrize("pixels", [FULL, of_bits(12)], ids=["full", "dark"])
def test_16_bits_are_as_they_were(tmp_path, pixels):
    """A dark image is no image of 12 bits, unless its file says so of all its values."""
    Image.fromarray(pixels).save(tmp_path / "a.png")
    # the largest value of the image, and a depth that its values do not keep to
    stated_tiff(tmp_path / "a.tif", 16, int(pixels.max()) - 1, pixels)
    stated_tiff(tmp_path / "b.tif", 16, 255, pixels)
    stated_png(tmp_path / "b.png", 12, pixels << 4 if pixels.max() < 4096 else pixels)
    for name in ("a.png", "a.tif", "b.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name), pixels)
    # significant bits are the upper ones, by the standard
    scaled = pixels << 4 if pixels.max() < 4096 else pixels
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), scaled)


# === Data sets ===


class Files(Dataset):
    """Images in files, one object each."""

    def __init__(self, folder, images, suffix=".png"):
        super().__init__()
        self.add_class("files", 1, "thing")
        for number, pixels in enumerate(images):
            path = folder / f"{number}{suffix}"
            Image.fromarray(pixels).save(path)
            self.add_image("files", number, str(path))
        self.prepare()

    def load_mask(self, image_id):
        mask = np.zeros((*GREY.shape, 1), bool)
        mask[5:30, 5:30] = True
        return mask, np.array([1], np.int32)


class Arrays(Files):
    """The same from a load_image of one's own."""

    def load_image(self, image_id):
        return np.asarray(Image.open(self.image_info[image_id]["path"]))


def config(**fields):
    return tiny_config(NUM_CLASSES=2, **fields)


@pytest.mark.parametrize("kind", [Files, Arrays])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_dataset_in_a_range_gives_the_pixels_of_8_bits(tmp_path, kind, suffix):
    (tmp_path / "plain").mkdir()
    plain = Files(tmp_path / "plain", [GREY])
    deep, asked = kind(tmp_path, [of_bits(12)], suffix), config(IMAGE_RANGE=(0, 4095))
    for first, second in zip(
        load_image_gt(plain, config(), 0), load_image_gt(deep, asked, 0), strict=True
    ):
        np.testing.assert_array_equal(first, second)
    crops = [
        ObjectCrops(data, settings, 32, 1, seed=3).batch(0)[0]
        for data, settings in ((plain, config()), (deep, asked))
    ]
    np.testing.assert_array_equal(*crops)
    assert not any("black" in finding.kind for finding in deep.check(progress=False).findings)


def test_signed_pixels_need_a_range(tmp_path):
    dataset = Files(tmp_path, [GREY])
    path = dataset.image_info[0]["path"] = str(tmp_path / "a.tif")
    tifffile.imwrite(path, (GREY.astype(np.int16) - 128).astype(np.int8), photometric="minisblack")
    with pytest.raises(ValueError, match="a.tif: .* dtype int8 must lie in .*IMAGE_RANGE gives"):
        dataset.load_image(0)
    dataset.image_range = (-128, 127)
    np.testing.assert_array_equal(dataset.load_image(0)[..., 0], GREY)


@pytest.mark.parametrize("kind", [Files, Arrays])
def test_images_of_few_bits_are_reported_once(tmp_path, caplog, kind):
    dataset = kind(tmp_path, [of_bits(12), FULL, of_bits(10)])
    use_image_range(dataset, config())
    for image_id in (0, 1, 2, 0):
        found = load_image_gt(dataset, config(), image_id)[0]
        assert found.max() == (as_uint8_range(dataset.load_image(image_id))).max()
    use_image_range(dataset, config())
    (said,) = (record.getMessage() for record in caplog.records)
    assert "images of 16 bits without a value above 4095: " in said
    assert "say so with IMAGE_RANGE = (0, 4095)" in said
    assert ("Of 3 images looked at" in said and "4095: 2 (first: " in said) or kind is Arrays
    dark = [
        (finding.kind, finding.place.split()[1], finding.message.rpartition("image_range = ")[2])
        for finding in dataset.check(progress=False).findings
    ]
    assert dark == [
        ("image nearly black", "0", "(0, 4095)"),
        ("image nearly black", "2", "(0, 1023)"),
    ]


def test_nothing_is_said_of_whole_ranges(tmp_path, caplog):
    dataset = Files(tmp_path, [FULL, GREY[::-1]])
    use_image_range(dataset, config())
    use_image_range(Rectangles(), tiny_config())
    assert not caplog.text and not dataset.check(progress=False).findings
    np.testing.assert_array_equal(dataset.load_image(0)[..., 0], GREY)


def test_a_range_that_the_network_does_not_know_of(tmp_path):
    dataset = Files(tmp_path, [of_bits(12)])
    dataset.image_range = (0, 4095)
    for fields in ({}, {"IMAGE_RANGE": (0, 1023)}):
        with pytest.raises(ValueError, match=r"set IMAGE_RANGE = \(0, 4095\)"):
            use_image_range(dataset, config(**fields))
    use_image_range(dataset, config(IMAGE_RANGE=[0, 4095]))
    np.testing.assert_array_equal(dataset.load_image(0)[..., 0], GREY)


def test_each_config_reads_in_its_own_range(tmp_path):
    """The range of one network is not taken for that of the user's images."""
    dataset = Files(tmp_path, [of_bits(12)])
    for asked, largest in (((0, 4095), 255), (None, 16), ((0, 8190), 128)):
        use_image_range(dataset, config(IMAGE_RANGE=asked))
        assert dataset.image_range == asked
        assert abs(int(dataset.load_image(0).max()) - largest) <= 1
    dataset.image_range = (0, 4095)  # that of the user's stays
    with pytest.raises(ValueError, match=r"set IMAGE_RANGE = \(0, 4095\)"):
        use_image_range(dataset, config(IMAGE_RANGE=(0, 8190)))
    dataset.image_range = None
    use_image_range(dataset, config())
    assert dataset.image_range is None


def test_words_of_few_bits():
    few = FewBits()
    for name, bits in (("a", 8), ("b", 12), ("a", 8), ("c", 16)):
        few.look_at(of_bits(bits), name)
    assert len(few) == 2
    assert str(few).startswith("images of 16 bits without a value above 4095: 2 (first: a).")

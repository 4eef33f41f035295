"""TIFFs of every kind of pixels: they must be read as the same pixels in a plain file."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from mrcnn.data.images import (
    as_uint8_range,
    decode_image,
    image_size,
    limit_pixels,
    read_image,
)

tifffile = pytest.importorskip("tifffile")

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


def pixels(shape, dtype, seed=0):
    random = np.random.RandomState(seed).rand(*shape)
    if np.dtype(dtype).kind == "f":
        return random.astype(dtype)
    return (random * np.iinfo(dtype).max).astype(dtype)


def write(path, array, **options):
    """An array [height, width, channels] as a TIFF."""
    if options.get("planarconfig") == "separate":
        array = np.moveaxis(array, -1, 0)
    tifffile.imwrite(path, array, **{"photometric": "minisblack", **options})
    return path


def negative(array):
    """What a file of white-is-zero holds for the same picture."""
    return (1 if array.dtype.kind == "f" else np.iinfo(array.dtype).max) - array


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("size", [(20, 30), (3, 4), (4, 3), (1, 3), (5, 5)])
def test_channels_of_any_number(tmp_path, dtype, planar, size):
    """The axes say which are the channels, not the sizes."""
    for count in (2, 3, 4, 5, 8):
        stored = pixels((*size, count), dtype, count)
        for compression in (None, "zlib"):
            path = write(tmp_path / "a.tif", stored, planarconfig=planar, compression=compression)
            read = read_image(path)
            assert read.dtype == dtype and image_size(path) == size
            np.testing.assert_array_equal(read, stored)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_white_is_zero(tmp_path, dtype, count):
    stored = pixels((20, 30, count), dtype)
    more = {"planarconfig": "contig"} if count > 1 else {}
    path = write(tmp_path / "a.tif", negative(stored).squeeze(), photometric="miniswhite", **more)
    read = read_image(path)
    assert read.dtype == dtype
    np.testing.assert_allclose(read, stored.squeeze(), atol=1e-6)


@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack"])
def test_white_is_zero_of_one_bit(tmp_path, photometric):
    stored = pixels((20, 30), "float32") > 0.5
    kept = ~stored if photometric == "miniswhite" else stored
    path = write(tmp_path / "a.tif", kept, photometric=photometric)
    np.testing.assert_array_equal(read_image(path), stored)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_compressions_of_pillow(tmp_path, compression):
    """tifffile reads some of them with another package only."""
    grey, colours = pixels((20, 30), "uint16"), pixels((20, 30, 3), "uint8")
    for stored in (grey, colours):
        Image.fromarray(stored).save(tmp_path / "a.tif", compression=compression)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), stored)
    Image.fromarray(negative(grey)).save(
        tmp_path / "a.tif", compression=compression, tiffinfo={262: 0}
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), grey)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "float32"])
def test_bytes_in_the_other_order(tmp_path, dtype):
    for shape in ((20, 30), (20, 30, 5)):
        stored = pixels(shape, dtype)
        more = {"planarconfig": "contig"} if len(shape) == 3 else {}
        path = write(tmp_path / "a.tif", stored, byteorder=">", **more)
        np.testing.assert_array_equal(read_image(path), stored)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("extra", [1, 2])
def test_bands_beside_rgb(tmp_path, dtype, extra):
    """Such as near infrared, which is no alpha."""
    stored = pixels((20, 30, 3 + extra), dtype)
    path = write(
        tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["unspecified"] * extra
    )
    np.testing.assert_array_equal(read_image(path), stored)


def test_sixteen_bit_colours_keep_their_depth(tmp_path):
    stored = pixels((20, 30, 3), "uint16")
    path = write(tmp_path / "a.tif", stored, photometric="rgb", tile=(16, 16), compression="zlib")
    np.testing.assert_array_equal(read_image(path), stored)
    np.testing.assert_array_equal(decode_image(path.read_bytes(), "bytes"), stored)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, orientation):
    stored = pixels((20, 30, 3), "uint16")
    path = write(
        tmp_path / "a.tif", stored, photometric="rgb", extratags=[(274, 3, 1, orientation, True)]
    )
    plain = Image.fromarray((stored >> 8).astype(np.uint8))
    plain.save(tmp_path / "b.tif", tiffinfo={274: orientation})
    np.testing.assert_array_equal(read_image(path) >> 8, read_image(tmp_path / "b.tif"))
    assert image_size(path) == read_image(path).shape[:2]


def test_cmyk_of_any_layout(tmp_path):
    inks = pixels((20, 30, 4), "uint8")
    colours = np.asarray(Image.fromarray(inks, "CMYK").convert("RGB"))
    path = write(tmp_path / "a.tif", inks, photometric="separated", planarconfig="separate")
    np.testing.assert_array_equal(read_image(path), colours)
    deep = write(tmp_path / "b.tif", inks.astype(np.uint16) * 257, photometric="separated")
    np.testing.assert_allclose(as_uint8_range(read_image(deep)), colours, atol=1)


@pytest.mark.parametrize("shape", [(4, 20, 30), (4, 20, 30, 3), (4, 20, 30, 5)])
def test_first_of_several_pages(tmp_path, caplog, shape):
    stored = pixels(shape, "uint16")
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for page in stored:
            tiff.write(page, photometric="minisblack", planarconfig="contig", contiguous=False)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), stored[0])
    assert "a.tif holds 4 frames: only the first is read" in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "rgb"},
        {"photometric": "rgb", "planarconfig": "separate"},
        {"photometric": "rgb", "compression": "zlib"},
        {"photometric": "rgb", "tile": (16, 16)},
    ],
)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_files_cut_short(tmp_path, options, dtype):
    whole = write(tmp_path / "a.tif", pixels((20, 30, 3), dtype), **options).read_bytes()
    cut = tmp_path / "cut.tif"
    for length in range(8, len(whole), len(whole) // 25):
        cut.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cut.tif"):
            read_image(cut)


def changed(content, change):
    """A little-endian TIFF with each (tag, type, count, value or place of values) of its first page
    as ``change`` returns it.
    """
    content = bytearray(content)
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        struct.pack_into(
            "<HHII", content, place, *change(*struct.unpack_from("<HHII", content, place))
        )
    return bytes(content)


OFFSETS, COUNTS = (273, 324), (279, 325)


@pytest.mark.parametrize(
    "options",
    [
        {"channels": ()},
        {"channels": (), "compression": "zlib"},
        {"channels": (), "tile": (16, 16)},
        {"channels": (3,), "photometric": "rgb"},
        {"channels": (3,), "planarconfig": "separate"},
        {"channels": (3,), "photometric": "rgb", "compression": "zlib"},
        {"channels": (3,), "photometric": "rgb", "tile": (16, 16)},
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
def test_missing_strips_and_tiles(tmp_path, options, dtype):
    """They would be black."""
    options = dict(options) if "tile" in options else {"rowsperstrip": 5, **options}
    array = pixels((40, 30, *options.pop("channels")), dtype)
    whole = write(tmp_path / "a.tif", array, metadata=None, **options).read_bytes()
    np.testing.assert_array_equal(decode_image(whole, "a.tif"), array)
    fewer = changed(
        whole,
        lambda tag, kind, count, value: (tag, kind, count - (tag in OFFSETS + COUNTS), value),
    )
    with pytest.raises(ValueError, match="a.tif"):
        decode_image(fewer, "a.tif")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 6])
def test_a_strip_that_lies_nowhere(tmp_path, dtype, channels):
    """It would be black, or the head of the file."""
    array = pixels((40, 30, channels) if channels > 1 else (40, 30), dtype)
    more = {"planarconfig": "contig"} if channels > 1 else {}
    path = write(tmp_path / "a.tif", array, metadata=None, rowsperstrip=10, **more)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages.first.tags["StripOffsets"]
        tag.overwrite((*tag.value[:2], 0, tag.value[3]))
    with pytest.raises(ValueError, match="a.tif"):
        read_image(path)


def test_tags_behind_one_that_cannot_be_read(tmp_path):
    """Pillow passes over them: floats would come out as integers."""
    array = pixels((20, 30), "float32")
    whole = write(tmp_path / "a.tif", array, metadata=None).read_bytes()
    np.testing.assert_array_equal(decode_image(whole, "a.tif"), array)
    harmed = changed(
        whole,
        # XResolution, whose value now lies behind the end
        lambda tag, kind, count, value: (tag, kind, count, value + 2**24 * (tag == 282)),
    )
    with pytest.warns(UserWarning), pytest.raises(ValueError, match=r"\[339\] cannot be read"):
        decode_image(harmed, "a.tif")


def test_images_of_no_pixels_are_refused(tmp_path):
    """Of a directory that is cut short, a width is left and no height."""
    path = write(tmp_path / "a.tif", pixels((20, 30, 3), "uint8"), photometric="rgb")
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, *struct.unpack_from("<I", content, 4), 1)
    path.write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(ValueError, match=r"a\.tif"):
            read(path)


def test_samples_that_contradict_each_other(tmp_path):
    array = pixels((20, 30, 3), "uint8")
    whole = write(tmp_path / "a.tif", array, metadata=None, photometric="rgb").read_bytes()
    one = changed(
        whole, lambda tag, kind, count, value: (tag, kind, count, 1 if tag == 277 else value)
    )
    with pytest.raises(ValueError, match="a.tif"):
        decode_image(one, "a.tif")


def test_the_most_pixels_hold_for_all_kinds(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    limit_pixels(598)
    for name, array in (
        ("bands", pixels((20, 30, 6), "uint8")),
        ("deep", pixels((20, 30, 3), "f8")),
    ):
        path = write(tmp_path / f"{name}.tif", array, planarconfig="contig")
        for read in (read_image, image_size):
            with pytest.raises(
                ValueError, match=f"{name}.tif .*20 x 30 px .*598 px .*IMAGE_MAX_PIXELS"
            ):
                read(path)
    limit_pixels(600)
    assert read_image(tmp_path / "bands.tif").shape == (20, 30, 6)


def test_colours_that_are_not_converted(tmp_path):
    path = write(tmp_path / "a.tif", pixels((20, 30, 3), "uint16"), photometric="cielab")
    with pytest.raises(ValueError, match="a.tif .*colours are CIELAB of 16 bits; save it as RGB"):
        read_image(path)


def test_bytes_that_are_no_image():
    for content in (b"", b"text", b"II*\0"):
        with pytest.raises(ValueError, match="the picture"):
            decode_image(content, "the picture")
    stream = io.BytesIO()
    Image.fromarray(pixels((6, 9), "uint8")).save(stream, "PNG")
    np.testing.assert_array_equal(decode_image(stream.getvalue(), ""), pixels((6, 9), "uint8"))

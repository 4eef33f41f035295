"""Images: files of all kinds, value ranges, channels and the mean pixel."""

import logging
import os
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mrcnn.data import images


def noise(*shape, seed=0):
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


# === Files ===


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 2), (6, 9, 3), (6, 9, 4), (1, 1, 3)])
def test_png_comes_back_as_stored(tmp_path, shape):
    pixels = noise(*shape)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        read = images.read_image(path)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_stays_sixteen_bit(tmp_path, suffix):
    # All below 256: it must not pass for an 8-bit image.
    pixels = np.arange(54, dtype=np.uint16).reshape(6, 9)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    read = images.read_image(tmp_path / f"a.{suffix}")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, pixels)


def test_palettes_become_colours(tmp_path):
    palette = Image.fromarray(noise(6, 9, 3)).quantize(8)
    palette.save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        images.read_image(tmp_path / "a.png"), np.array(palette.convert("RGB"))
    )
    palette.save(tmp_path / "b.png", transparency=0)
    assert images.read_image(tmp_path / "b.png").shape == (6, 9, 4)


def test_cmyk_becomes_rgb(tmp_path):
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red.save(tmp_path / "a.jpg", quality=100)
    read = images.read_image(tmp_path / "a.jpg")
    assert read.shape == (8, 8, 3)
    np.testing.assert_allclose(read, np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=3)


def test_one_bit_is_bool(tmp_path):
    pixels = noise(5, 11) > 99
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = images.read_image(tmp_path / "a.png")
    assert read.dtype == bool
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize(
    "orientation, turn",
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (4, np.flipud),
        (6, lambda a: np.rot90(a, -1)),
        (8, np.rot90),
    ],
)
def test_exif_orientation_is_applied(tmp_path, orientation, turn):
    pixels = noise(6, 9, 3)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), turn(pixels))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_the_size_is_that_of_the_pixels(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(noise(6, 9, 3)).save(tmp_path / f"a.{suffix}", exif=exif)
    assert (
        images.image_size(tmp_path / f"a.{suffix}")
        == images.read_image(tmp_path / f"a.{suffix}").shape[:2]
        == ((9, 6) if orientation >= 5 else (6, 9))
    )


def test_the_size_of_a_png_whose_exif_comes_after_its_pixels(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(noise(6, 9, 3)).save(tmp_path / "a.png", exif=exif)
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    last = content.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(
        content[:start] + content[end:last] + content[start:end] + content[last:]
    )
    assert (
        images.image_size(tmp_path / "a.png")
        == images.read_image(tmp_path / "a.png").shape[:2]
        == (9, 6)
    )


def test_the_size_of_a_png_is_known_without_its_pixels(tmp_path, monkeypatch):
    Image.fromarray(noise(6, 9, 3)).save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", None)  # which would be an error
    assert images.image_size(tmp_path / "a.png") == (6, 9)


def exif_block(*entries):
    """An EXIF block of (tag, type, the four bytes of its value) as a camera with a fault writes
    it.
    """
    rows = b"".join(
        struct.pack("<HHI4s", tag, kind, 4 if kind == 2 else 1, value)
        for tag, kind, value in entries
    )
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4)


@pytest.mark.parametrize(
    "entries, size",
    [
        ([(274, 2, b"six\0")], (6, 9)),  # which says nothing
        ([(274, 3, b"\6\0\0\0"), (282, 2, b"six\0")], (9, 6)),
        ([(274, 3, b"\6\0\0\0"), (282, 9, b"\xff" * 4)], (9, 6)),
    ],
    ids=["orientation", "resolution", "negative"],
)
def test_a_damaged_exif_block(tmp_path, entries, size):
    """One clear error, or the image; never an error of another kind, which would end a whole
    folder.
    """
    Image.fromarray(noise(6, 9, 3)).save(tmp_path / "a.jpg", exif=exif_block(*entries))
    for read in (images.read_image, lambda path: np.empty(images.image_size(path))):
        try:
            assert read(tmp_path / "a.jpg").shape[:2] == size
        except ValueError as error:
            assert "a.jpg" in str(error)


def test_first_of_several_frames_is_read_and_told(tmp_path, caplog):
    frames = [Image.fromarray(noise(6, 9, seed=i)) for i in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    with caplog.at_level(logging.WARNING):
        read = images.read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(read, np.array(frames[0]))
    assert "holds 3 frames" in caplog.text


@pytest.mark.parametrize(
    "shape, dtype",
    [((6, 5, 7), np.uint8), ((6, 5, 3), np.float32), ((6, 5), np.float64), ((6, 5), np.float32)],
)
def test_scientific_tiffs(tmp_path, shape, dtype):
    tifffile = pytest.importorskip("tifffile")
    pixels = (np.random.RandomState(2).rand(*shape) * 255).astype(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        planarconfig="contig",
        photometric="rgb" if shape[-1] == 3 else "minisblack",
    )
    read = images.read_image(tmp_path / "a.tif")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, pixels)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.png"):
        images.read_image(tmp_path / "nothing.png")
    with pytest.raises(ValueError, match="this is a folder"):
        images.read_image(tmp_path)
    with pytest.raises(ValueError, match="string or a path, got None"):
        images.read_image(None)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "gif"])
def test_damaged_files_are_named(tmp_path, suffix):
    path = tmp_path / f"whole.{suffix}"
    Image.fromarray(noise(40, 50, 3)).save(path)
    whole = path.read_bytes()
    for name, content in (
        ("cut", whole[: len(whole) // 2]),
        ("empty", b""),
        ("text", b"this is no image"),
        ("stub", whole[:12]),
    ):
        damaged = tmp_path / f"{name}.{suffix}"
        damaged.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.{suffix}"):
            images.read_image(damaged)
        try:  # the header may be whole
            assert images.image_size(damaged) == (40, 50)
        except ValueError as error:
            assert f"{name}.{suffix}" in str(error)


def test_rows_of_another_length_are_refused(tmp_path):
    """Of a path, Pillow would map them into memory, where they lie across each other."""
    path = tmp_path / "a.bmp"
    Image.fromarray(noise(24, 31)).save(path)
    content = bytearray(path.read_bytes())
    content[28] = 1  # bits of a pixel
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.bmp"):
        images.read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".gif"])
def test_the_numbers_of_a_palette(tmp_path, suffix):
    numbers = noise(6, 9) % 7
    image = Image.fromarray(numbers)
    image.putpalette([90, 9, 9, 200, 0, 0, 0, 200, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    image.save(tmp_path / f"a{suffix}")
    read = images.read_image(tmp_path / f"a{suffix}", indices=True)
    np.testing.assert_array_equal(read, numbers)
    np.testing.assert_array_equal(images.read_image(tmp_path / f"a{suffix}"), image.convert("RGB"))
    Image.fromarray(noise(6, 9, 3)).save(tmp_path / "rgb.png")  # others are as they were
    read = images.read_image(tmp_path / "rgb.png", indices=True)
    np.testing.assert_array_equal(read, noise(6, 9, 3))


def test_a_broken_file_is_closed(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(noise(40, 50, 3)).save(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError):
        images.read_image(path)
    os.remove(path)  # fails on Windows while the file is open


# === Values ===


@pytest.mark.parametrize(
    "given, expected",
    [
        (np.array([0, 7, 255], np.uint8), np.array([0, 7, 255], np.uint8)),
        (np.array([0, 128, 129, 257, 65535], np.uint16), np.array([0, 0, 1, 1, 255], np.uint8)),
        (np.array([0, 7, 255], np.int64), np.array([0, 7, 255], np.uint8)),
        (np.array([0, 257 * 9, 65535], np.int32), np.array([0, 9, 255], np.uint8)),
        (np.array([True, False]), np.array([255, 0], np.uint8)),
        (np.array([0, 0.5, 1], np.float32), np.array([0, 127.5, 255], np.float32)),
        (np.array([0, 0.5, 200], np.float64), np.array([0, 0.5, 200], np.float64)),
        (np.array([0.0]), np.array([0.0])),
    ],
)
def test_value_ranges(given, expected):
    made = images.as_uint8_range(given)
    assert made.dtype == expected.dtype
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize(
    "given, message",
    [
        (np.array([0.1, np.nan]), "NaN"),
        (np.array([0.1, np.inf]), r"0\.\.255"),
        (np.array([-0.1, 0.5]), r"got -0\.1\.\.0\.5"),
        (np.array([300.0]), r"0\.\.255"),
        (np.array([-1], np.int16), r"0\.\.65535"),
        (np.array([70000], np.int32), r"got 70000\.\.70000"),
        (np.array([1 + 2j]), "complex"),
        (np.zeros((0, 4), np.float32), r"no pixels: shape \(0, 4\)"),
    ],
)
def test_bad_values(given, message):
    with pytest.raises(ValueError, match=message):
        images.as_uint8_range(given)


# === Channels ===


def test_channels_that_fit_stay():
    for count in (1, 2, 3, 4, 7):
        image = noise(4, 5, count)
        np.testing.assert_array_equal(images.fit_channels(image, count), image)


def test_channels_are_added_and_dropped():
    grey, rgba, grey_alpha = noise(4, 5), noise(4, 5, 4), noise(4, 5, 2)
    thrice = np.stack([grey] * 3, axis=-1)
    np.testing.assert_array_equal(images.fit_channels(grey, 1), grey[..., np.newaxis])
    np.testing.assert_array_equal(images.fit_channels(grey, 3), thrice)
    np.testing.assert_array_equal(images.fit_channels(grey[..., np.newaxis], 3), thrice)
    np.testing.assert_array_equal(images.fit_channels(rgba, 3), rgba[..., :3])
    np.testing.assert_array_equal(images.fit_channels(grey_alpha, 1), grey_alpha[..., :1])
    np.testing.assert_array_equal(
        images.fit_channels(grey_alpha, 3), np.repeat(grey_alpha[..., :1], 3, axis=2)
    )
    assert images.fit_channels(grey, 3).dtype == np.uint8


def test_luminance_is_pillows():
    rgb = noise(30, 40, 3)
    made = images.fit_channels(rgb, 1)
    assert made.dtype == np.uint8 and made.shape == (30, 40, 1)
    expected = np.array(Image.fromarray(rgb).convert("L")).astype(int)
    assert abs(made[..., 0] - expected).max() <= 1  # Pillow works with integers
    np.testing.assert_array_equal(images.fit_channels(np.full((2, 2, 3), 255, np.uint8), 1), 255)
    halves = images.fit_channels(np.full((1, 1, 4), 0.5, np.float32), 1)
    assert halves.dtype == np.float32 and halves[0, 0, 0] == 0.5


@pytest.mark.parametrize("channels, count", [(3, 4), (1, 4), (5, 3), (3, 2), (7, 1)])
def test_channels_without_a_conversion(channels, count):
    with pytest.raises(ValueError, match=f"{channels} channels.*IMAGE_CHANNEL_COUNT = {count}"):
        images.fit_channels(noise(4, 5, channels), count)


def test_channels_need_an_image():
    with pytest.raises(ValueError, match=r"got shape \(2, 4, 5, 3\)"):
        images.fit_channels(noise(2, 4, 5, 3), 3)


# === Mean pixel ===


def test_molding_and_back():
    config = SimpleNamespace(MEAN_PIXEL=np.array([123.7, 116.8, 103.9]))
    image = noise(6, 7, 3)
    molded = images.mold_image(image, config)
    assert molded.dtype == np.float64
    np.testing.assert_array_equal(molded, image.astype(np.float32) - config.MEAN_PIXEL)
    rounded = images.mold_image(image, config, np.float32)
    assert rounded.dtype == np.float32
    np.testing.assert_array_equal(rounded, molded.astype(np.float32))
    restored = images.unmold_image(molded, config)
    assert restored.dtype == np.uint8
    assert abs(restored.astype(int) - image).max() <= 1  # cut off, as the original does


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 5, 3), (0, 4, 5, 3), (4, 0, 3)])
def test_molding_of_any_number_of_images(shape):
    config = SimpleNamespace(MEAN_PIXEL=[123.7, 116.8, 103.9])
    values = noise(*shape) + 0.3
    np.testing.assert_array_equal(
        images.mold_image(values, config), values.astype(np.float32) - config.MEAN_PIXEL
    )


def test_a_mean_pixel_of_the_wrong_length():
    config = SimpleNamespace(MEAN_PIXEL=np.array([123.7, 116.8, 103.9]))
    with pytest.raises(ValueError, match="MEAN_PIXEL has 3 values for images of 1 channels"):
        images.mold_image(noise(6, 7, 1), config)
    one = SimpleNamespace(MEAN_PIXEL=[100.0])
    assert images.mold_image(noise(6, 7, 1), one).shape == (6, 7, 1)


# === What is refused ===


@pytest.fixture
def pillows_limit(monkeypatch):
    """A limit of pixels that a test sets is that of no other."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for read in (images.read_image, images.image_size):
        with pytest.raises(ValueError, match="a pipe or a device: .*a.png"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize(
    "error",
    [IndexError, RuntimeError, KeyError, NotImplementedError, ZeroDivisionError, MemoryError],
)
def test_every_error_of_pillow_names_the_file(tmp_path, monkeypatch, error):
    Image.fromarray(noise(6, 9, 3)).save(tmp_path / "a.png")

    def fail(*args, **options):
        raise error("deep inside")

    monkeypatch.setattr(Image, "open", fail)
    for read in (images.read_image, images.image_size):
        with pytest.raises(ValueError, match=rf"a\.png \({error.__name__}: .*deep inside"):
            read(tmp_path / "a.png")


def test_the_most_pixels_may_be_set(tmp_path, pillows_limit):
    Image.fromarray(noise(100, 200, 3)).save(tmp_path / "a.png")
    images.limit_pixels(19_998)
    for read in (images.read_image, images.image_size):
        with pytest.raises(
            ValueError, match=r"more pixels than are allowed: .*a\.png .*IMAGE_MAX_PIXELS allows"
        ):
            read(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"b\.json: a\.png has 101 x 200 px .* 19,998 px are"):
        images.check_pixels(101, 200, "b.json: a.png")
    images.limit_pixels(20_000)
    assert images.read_image(tmp_path / "a.png").shape == (100, 200, 3)
    images.check_pixels(100, 200, "b.json: a.png")


@pytest.mark.parametrize("orientation", [0, 1, 5, 8, 9, 12, 65535])
def test_orientations_beyond_eight_mean_nothing(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(6, 9, 3)).save(tmp_path / "a.jpg", exif=exif)
    expected = (9, 6) if orientation in (5, 8) else (6, 9)
    assert images.image_size(tmp_path / "a.jpg") == expected
    assert images.read_image(tmp_path / "a.jpg").shape[:2] == expected

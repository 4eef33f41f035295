"""Damaged images of every format: read as Pillow alone reads them, or refused by name."""

import io
import logging
import struct
import warnings
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from mrcnn.data import images
from mrcnn.data.formats import open_dataset
from mrcnn.data.masks import mask_of_picture
from mrcnn.inference.sources import Source, find_sources, read_frames
from tests import tiff_twin
from tests.damage import (
    check_message,
    damaged,
    ended_with,
    rearranged,
    try_in_another_process,
    within_limits,
)

HEIGHT, WIDTH = 24, 31
NAME = "b.json: imageData"
# Of images that claim to be larger none is made, so that no test takes gigabytes.
MOST_PIXELS = 200_000


def pixels(*channels, dtype=np.uint8, seed=0):
    """A soft pattern with noise: what compresses, and has every value."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rng = np.random.RandomState(seed)
    pattern = (np.sin(x / 5) + np.cos(y / 4) + 2) / 4
    image = np.broadcast_to(pattern[(..., *(None for _ in channels))], (HEIGHT, WIDTH, *channels))
    image = np.clip(image + rng.rand(*image.shape) / 9 - 0.05, 0, 1)
    if np.dtype(dtype).kind == "f":
        return image.astype(dtype)
    return (image * np.iinfo(dtype).max).astype(dtype)


def by_pillow(ending, *channels, mode=None, dtype=np.uint8, frames=1, orientation=None, **options):
    """A maker of a file's bytes."""

    def make():
        made = [
            Image.fromarray(pixels(*channels, dtype=dtype, seed=seed)) for seed in range(frames)
        ]
        made = [image if mode is None else image.convert(mode) for image in made]
        if frames > 1:
            options.update(save_all=True, append_images=made[1:])
        if orientation is not None:
            options["exif"] = made[0].getexif()
            options["exif"][0x0112] = orientation
        stream = io.BytesIO()
        made[0].save(stream, ending, **options)
        return stream.getvalue()

    return make


def by_tifffile(*channels, dtype=np.uint8, **options):
    def make():
        import tifffile

        stream = io.BytesIO()
        options.setdefault("photometric", "minisblack")
        array = pixels(*channels, dtype=dtype)
        if options.get("planarconfig") == "separate":
            array = np.ascontiguousarray(np.moveaxis(array, -1, 0))
        tifffile.imwrite(stream, array, metadata=None, **options)
        return stream.getvalue()

    return make


def png_of_sixteen_bits(channels, *more):
    """Pillow writes no RGB of 16 bits, and no sBIT."""

    def make():
        array = pixels(channels, dtype=np.uint16).astype(">u2")
        rows = b"".join(b"\0" + row.tobytes() for row in array)
        colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
        header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, colour, 0, 0, 0)
        parts = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
        blocks = [
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in parts
        ]
        return b"\x89PNG\r\n\x1a\n" + b"".join(blocks)

    return make


KINDS = {
    "png": by_pillow("PNG", 3),
    "rgba.png": by_pillow("PNG", 4),
    "grey.png": by_pillow("PNG"),
    "alpha.png": by_pillow("PNG", 3, mode="LA"),
    "palette.png": by_pillow("PNG", 3, mode="P", transparency=3),
    "1bit.png": by_pillow("PNG", mode="1"),
    "exif.png": by_pillow("PNG", 3, orientation=6),
    "frames.png": by_pillow("PNG", 3, frames=3),
    "16.png": png_of_sixteen_bits(1),
    "12.png": png_of_sixteen_bits(1, (b"sBIT", b"\x0c")),
    "16rgb.png": png_of_sixteen_bits(3),
    "16rgba.png": png_of_sixteen_bits(4),
    "jpg": by_pillow("JPEG", 3, quality=90),
    "exif.jpg": by_pillow("JPEG", 3, orientation=8),
    "grey.jpg": by_pillow("JPEG"),
    "cmyk.jpg": by_pillow("JPEG", 3, mode="CMYK"),
    "progressive.jpg": by_pillow("JPEG", 3, progressive=True),
    "mpo.jpg": by_pillow("MPO", 3, frames=2),
    "gif": by_pillow("GIF", 3, mode="P", transparency=2),
    "frames.gif": by_pillow("GIF", 3, mode="P", frames=3),
    "bmp": by_pillow("BMP", 3),
    "grey.bmp": by_pillow("BMP"),
    "1bit.bmp": by_pillow("BMP", mode="1"),
    "webp": by_pillow("WEBP", 3),
    "lossless.webp": by_pillow("WEBP", 4, lossless=True),
    "exif.webp": by_pillow("WEBP", 3, orientation=3),
    "frames.webp": by_pillow("WEBP", 3, frames=3),
    "ppm": by_pillow("PPM", 3),
    "16.pgm": by_pillow("PPM", dtype=np.uint16),
    "pbm": by_pillow("PPM", mode="1"),
    "jp2": by_pillow("JPEG2000", 3),
    "avif": by_pillow("AVIF", 3),
    "exif.avif": by_pillow("AVIF", 3, orientation=6),
    "dds": by_pillow("DDS", 4),
    "dxt.dds": by_pillow("DDS", 4, pixel_format="DXT5"),
    "ico": by_pillow("ICO", 4),
    "tif": by_pillow("TIFF", 3),
    "lzw.tif": by_pillow("TIFF", 3, compression="tiff_lzw"),
    "jpeg.tif": by_pillow("TIFF", 3, compression="jpeg"),
    "bits.tif": by_pillow("TIFF", compression="packbits"),
    "fax.tif": by_pillow("TIFF", mode="1", compression="group4"),
    "palette.tif": by_pillow("TIFF", 3, mode="P"),
    "cmyk.tif": by_pillow("TIFF", 3, mode="CMYK"),
    "exif.tif": by_pillow("TIFF", 3, orientation=5),
    "strips.tif": by_tifffile(3, photometric="rgb", rowsperstrip=5),
    "tiles.tif": by_tifffile(3, photometric="rgb", tile=(16, 16)),
    "16tiles.tif": by_tifffile(dtype=np.uint16, tile=(16, 32), compression="zlib"),
    "16.tif": by_tifffile(dtype=np.uint16),
    "16rgb.tif": by_tifffile(3, dtype=np.uint16, photometric="rgb", rowsperstrip=7),
    "16deflate.tif": by_tifffile(
        3, dtype=np.uint16, photometric="rgb", compression="zlib", rowsperstrip=6
    ),
    "planes.tif": by_tifffile(3, photometric="rgb", planarconfig="separate", rowsperstrip=9),
    "bands.tif": by_tifffile(6, planarconfig="contig"),
    "bandplanes.tif": by_tifffile(5, dtype=np.int16, planarconfig="separate", rowsperstrip=8),
    "float.tif": by_tifffile(dtype=np.float32, rowsperstrip=8),
    "float64.tif": by_tifffile(3, dtype=np.float64, planarconfig="contig", rowsperstrip=8),
    "white.tif": by_tifffile(dtype=np.uint16, photometric="miniswhite"),
    "big.tif": by_tifffile(3, dtype=np.uint16, photometric="rgb", bigtiff=True),
    "motorola.tif": by_tifffile(6, dtype=np.uint16, byteorder=">", planarconfig="contig"),
}
# What a build of Pillow may lack.
NEEDS = {"webp": "webp", "avif": "avif", "jp2": "jpg_2000"}


@cache
def whole(kind):
    """The bytes of an undamaged file."""
    need = NEEDS.get(kind.rpartition(".")[2])
    if need is not None and not features.check(need):
        pytest.skip(f"this Pillow reads no {kind}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return KINDS[kind]()


def damage(kind, seed):
    """The bytes of a damaged file of a kind; a few are of two files."""
    if seed % 2:
        return damaged(whole(kind), seed)
    others = [name for name in KINDS if name.rpartition(".")[2] == kind.rpartition(".")[2]]
    return rearranged(whole(kind), whole(others[seed // 2 % len(others)]), seed)


# === Two readings ===


def pillows(content):
    """The RGB, or the one channel of more than 8 bits, that Pillow gives of an image by itself."""
    with Image.open(io.BytesIO(content)) as image:
        deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
        _ = getattr(image, "n_frames", 1)  # fails for one that is damaged beyond the first frame
        upright = ImageOps.exif_transpose(image)
        if image.mode == "P":
            upright = upright.convert("RGBA")
        return np.asarray(upright if deep else upright.convert("RGB"))


def right_pixels(content):
    """What is right for a file by another reading; None where none reads it, or not all of it."""
    is_tiff = content[:2] in (b"II", b"MM")
    if is_tiff:
        try:
            return tiff_twin.pixels_of(content)
        except tiff_twin.UnsupportedError as error:
            if error.deep:  # of which Pillow reads the upper bits
                return None
        except Exception:  # of a damaged file, any
            pass
    try:
        pixels = pillows(content)
    except Exception:
        return None
    # Pillow does not invert white-is-zero of more than 8 bits
    return None if is_tiff and pixels.dtype not in (np.uint8, bool) else pixels


def same(read, right):
    """Whether an array that `read_image` gave shows what another reading gave."""
    if read.shape == right.shape and np.array_equal(read, right, equal_nan=read.dtype.kind == "f"):
        return True
    if read.dtype not in (np.uint8, bool) or right.shape != (*read.shape[:2], 3):
        return False
    return np.array_equal(images.fit_channels(images.as_uint8_range(read), 3), right)


def attempt(names, what, read, *args):
    """What a reader returns, or None where it refuses a file as it should."""
    try:
        return read(*args)
    except Exception as error:
        check_message(error, names, what)
        return None


def try_damage(kind, seed, folder):
    """Read one damaged file in all ways; returns whether it was refused."""
    content, path = damage(kind, seed), Path(folder, f"damaged.{kind}")
    path.write_bytes(content)
    what = f"{kind} {seed}"
    images.limit_pixels(MOST_PIXELS)
    unreadable = []
    with within_limits(what):
        read = attempt([str(path)], what, images.read_image, path, True)
        size = attempt([str(path)], what, images.image_size, path)
        decoded = attempt(["b.json: imageData"], what, images.decode_image, content, NAME, True)
        scaled = attempt([str(path)], what, images.read_image, path)
        shown = list(read_frames([Source(str(path), "a", "image")], unreadable=unreadable))
    right = right_pixels(content)
    assert (read is None) == (decoded is None) == (scaled is None), what
    assert len(shown) + len(unreadable) == 1 and (shown == [] or scaled is not None), what
    if read is None:
        # Pillow alone takes a TIFF that lacks some of its strips
        assert right is None or content[:2] in (b"II", b"MM"), what
        return True
    np.testing.assert_array_equal(read, decoded, what)
    assert read.size and size == read.shape[:2], (what, size, read.shape)
    if right is not None and not same(read, right):
        np.testing.assert_array_equal(read, undamaged(kind), what)
    return False


@cache
def undamaged(kind):
    return images.decode_image(whole(kind), kind, as_stored=True)


@pytest.fixture(autouse=True)
def quiet(monkeypatch, caplog):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", MOST_PIXELS // 2)
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("kind", KINDS)
def test_undamaged_images(kind):
    """Both readings agree, so that what differs later is the damage's."""
    right = right_pixels(whole(kind))
    if right is None:
        assert kind == "big.tif"  # which Pillow gives with 8 bits, and the other reading not at all
    else:
        assert same(undamaged(kind), right)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_images_are_read_or_named(tmp_path, kind):
    refused = [try_damage(kind, seed, tmp_path) for seed in range(8)]
    assert any(refused)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_images(tmp_path, kind):
    whole(kind)  # skips what this Pillow lacks
    try_in_another_process(__name__, kind, range(1000, 2000), tmp_path)


# === A damaged file in a folder ===


def pair(folder, kind, number):
    """Paths of an image and of its mask of ids, or of the mask of its first object."""
    if kind == "objects":
        return folder / f"{number}/images/{number}.png", folder / f"{number}/masks/0.png"
    return folder / f"images/{number}.png", folder / f"masks/{number}.png"


def write_masks(folder, kind):
    """Three images with masks of a kind; returns the two masks of each, [height, width, 2]."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[2:9, 3:12], ids[12:20, 5:30] = 1, 2
    right = np.stack([ids == 1, ids == 2], axis=-1)
    for number in range(3):
        image, mask = pair(folder, kind, number)
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(3, seed=number)).save(image)
        picture = Image.fromarray(ids)
        if kind == "palette":
            picture.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
        elif kind == "classes":  # as KITTI has them: 256 * class + number
            picture = Image.fromarray(np.where(ids > 0, ids + np.uint16(256 * 24), 0))
        elif kind == "objects":
            picture = Image.fromarray(right[..., 0])
            Image.fromarray(right[..., 1]).save(mask.with_name("1.png"))
        picture.save(mask)
    return right


def masks_in(path, kind, right):
    """The masks of an image by another reading, [height, width, N]; ``right`` are undamaged."""
    with Image.open(path) as mask:
        values = np.asarray(mask)
    if kind == "objects":
        first = mask_of_picture(values)
        return right[..., 1:] if not first.any() else np.dstack([first, right[..., 1]])
    ids = [value for value in np.unique(values) if value]
    return np.moveaxis(np.array([values == value for value in ids], bool), 0, -1) if ids else None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["grey", "palette", "classes", "objects"])
@pytest.mark.parametrize("cases", [12, pytest.param(600, marks=pytest.mark.slow)])
def test_a_damaged_file_of_a_folder(tmp_path, kind, cases):
    """`check` names it and ends with 1, prediction passes over it, and the others are as before."""
    right = write_masks(tmp_path, kind)
    wholes = [path.read_bytes() for path in pair(tmp_path, kind, 1)]
    for seed in range(cases):
        what = f"{kind} {seed}"
        of_mask = seed % 2
        path, content = pair(tmp_path, kind, 1)[of_mask], wholes[of_mask]
        harm = damaged if seed % 4 < 2 else lambda content, seed: rearranged(content, content, seed)
        path.write_bytes(harm(content, seed))
        with within_limits(what):
            dataset = open_dataset(tmp_path)
            read = attempt([str(path)], what, dataset.load_image, 1)
            masks = attempt([str(path)], what, dataset.load_mask, 1)
            code, said = ended_with("check", str(tmp_path))
        assert code == (read is None or masks is None) and (not code or path.name in said), what
        for number in (0, 2):
            np.testing.assert_array_equal(dataset.load_image(number), pixels(3, seed=number))
            np.testing.assert_array_equal(dataset.load_mask(number)[0], right)
        if not of_mask:
            _predict(path, read, what)
        elif masks is not None:
            again = masks_in(path, kind, right)
            assert masks[0].size == 0 if again is None else np.array_equal(masks[0], again), what
        path.write_bytes(content)


def _predict(path, read, what):
    unreadable = []
    found, _ = find_sources(path.parent)
    shown = {frame.name: frame.image for frame in read_frames(found, unreadable=unreadable)}
    whole = [source.name for source in found if source.name != path.name]
    assert sorted(shown) == sorted([*whole, *([] if read is None else [path.name])]), what
    if read is None:
        assert [name for name, _ in unreadable] == [path.name] and str(path) in unreadable[0][1]
    else:
        np.testing.assert_array_equal(shown[path.name], read, what)

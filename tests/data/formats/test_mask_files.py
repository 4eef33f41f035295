"""What the values of mask files mean, whatever the file says of brightness and transparency."""

import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from mrcnn.data.formats.label_maps import LabelMaps
from mrcnn.data.formats.mask_files import ids_of, read_ids, read_object
from tests.data.formats.test_mask_png import IDS, id_folders
from tests.tiny import image


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int8", "bool"])
@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack"])
def test_values_of_a_tiff_are_those_that_are_stored(tmp_path, dtype, photometric):
    """As tifffile and skimage read it, which write masks so: 0 is no white."""
    path, stored = str(tmp_path / "a.tif"), IDS.astype(dtype)
    tifffile.imwrite(path, stored, photometric=photometric)
    np.testing.assert_array_equal(tifffile.imread(path), stored)
    np.testing.assert_array_equal(read_ids(path), stored)
    np.testing.assert_array_equal(read_object(path)[0], IDS != 0)


def test_bools_that_tifffile_writes(tmp_path):
    path = str(tmp_path / "a.tif")
    tifffile.imwrite(path, IDS == 7)  # white-is-zero, unless it is asked not to
    np.testing.assert_array_equal(read_ids(path), IDS == 7)
    np.testing.assert_array_equal(read_object(path)[0], IDS == 7)


def test_a_label_map_of_a_tiff_in_which_0_is_white(tmp_path):
    images, labels = id_folders(tmp_path, {}, images="a.png")
    tifffile.imwrite(f"{labels}/a.tif", IDS, photometric="miniswhite")
    dataset = LabelMaps()
    dataset.load(images, labels, class_names=list("abcdefg"))
    dataset.prepare()
    np.testing.assert_array_equal(dataset.load_labels(0), IDS)


def test_several_pages_are_no_mask(tmp_path):
    path = str(tmp_path / "a.tif")
    tifffile.imwrite(path, np.stack([IDS == 1, IDS == 7]).astype(np.uint8), photometric=1)
    for read in (read_ids, read_object):
        with pytest.raises(ValueError, match="a.tif holds 2 frames or pages, and a mask has one"):
            read(path)


def info_of(folder, ids, ignore=()):
    tifffile.imwrite(folder / "a.tif", ids, photometric="minisblack")
    return {"mask_path": str(folder / "a.tif"), "path": "a.png", "ignore": tuple(ignore)}


def test_negative_values_are_no_objects(tmp_path):
    ids = np.where(IDS == 0, -1, IDS.astype(np.int16))
    info = info_of(tmp_path, ids)
    with pytest.raises(ValueError, match=r"a.tif has the value -1, and ids are positive: .*\[-1\]"):
        ids_of(info, IDS.shape)
    np.testing.assert_array_equal(ids_of({**info, "ignore": (-1,)}, IDS.shape), IDS)


@pytest.mark.parametrize("colours", [255, 0])
@pytest.mark.parametrize("bands", [1, 3])
def test_a_cut_out_of_one_colour_is_what_is_opaque(tmp_path, colours, bands):
    grey = np.full_like(IDS, colours)
    Image.fromarray(np.stack([grey] * bands + [IDS], axis=-1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_ids(str(tmp_path / "a.png")), IDS)


def test_colours_are_no_ids(tmp_path):
    Image.fromarray(image(20, 30)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=re.escape("a.png must have one whole number a pixel")):
        read_ids(str(tmp_path / "a.png"))

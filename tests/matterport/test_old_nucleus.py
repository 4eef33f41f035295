"""The nucleus script: random crops of images enlarged twice, imgaug, pad64 for detection, a
submission.
"""

import csv

import numpy as np
import pytest
import skimage.io

from mrcnn import model as modellib
from mrcnn.config import Config
from tests.matterport.toy_network import ToyNetwork


class StartConfig(ToyNetwork, Config):
    NAME = "start"
    NUM_CLASSES = 5
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64


SIZES = {
    "cell0": (40, 56),
    "cell1": (48, 48),
    "cell2": (64, 40),
    "cell3": (50, 50),
    "cell4": (36, 70),
}


@pytest.fixture
def dataset(tmp_path, photo):
    """Folders as in the competition: an image and a mask file per object."""
    rng = np.random.RandomState(0)
    for subset in ("stage1_train", "stage1_test"):
        for seed, (name, (height, width)) in enumerate(SIZES.items()):
            if subset == "stage1_test" and seed > 1:
                break
            # many, so that every crop of 64 px has some
            boxes = [
                (y, x, y + rng.randint(7, 10), x + rng.randint(7, 10))
                for y in range(1, height - 10, 12)
                for x in range(1, width - 10, 12)
            ]
            folder = tmp_path / "nuclei" / subset / name
            (folder / "images").mkdir(parents=True)
            (folder / "masks").mkdir()
            skimage.io.imsave(
                folder / "images" / f"{name}.png",
                photo(height, width, boxes, seed),
                check_contrast=False,
            )
            for number, (y1, x1, y2, x2) in enumerate(boxes):
                mask = np.zeros((height, width), np.uint8)
                mask[y1:y2, x1:x2] = 255
                skimage.io.imsave(folder / "masks" / f"{number}.png", mask, check_contrast=False)
    return tmp_path / "nuclei"


def test_train_then_submit(script, dataset, tmp_path, eagerly, start_weights):
    start = tmp_path / "start.h5"
    start_weights(StartConfig(), start)
    names = script(
        "old_nucleus.py", "train", f"--dataset={dataset}", "--subset=train", f"--weights={start}"
    )
    model, config = names["model"], names["config"]
    assert model.epoch == 2 and model.find_last().endswith("mask_rcnn_nucleus_0002.h5")
    assert tuple(config.IMAGE_SHAPE) == (64, 64, 3)

    data = names["NucleusDataset"]()
    data.load_nucleus(str(dataset), "train")
    data.prepare()
    assert sorted(info["id"] for info in data.image_info) == ["cell0", "cell1", "cell2"]
    assert data.image_reference(0) == data.image_info[0]["id"]
    # the crop is a random one of the image at twice its size
    image_id = data.image_from_source_map["nucleus.cell0"]
    views = [modellib.load_image_gt(data, config, image_id) for _ in range(4)]
    assert all(
        view[0].shape == (64, 64, 3) and view[1][11] == 2.0 and len(view[2]) for view in views
    )
    assert any(not np.array_equal(views[0][0], view[0]) for view in views[1:])

    names = script(
        "old_nucleus.py", "detect", f"--dataset={dataset}", "--subset=stage1_test", "--weights=last"
    )
    folder, found = names["submit_dir"], names["found"]
    assert folder.startswith(str(tmp_path / "root" / "results" / "nucleus" / "submit_2"))
    assert set(found) == {"cell0", "cell1"} and all(
        len(result["rois"]) for result in found.values()
    )
    # 40 x 56 is enlarged to 80 x 112 and padded to 128 x 128
    molded, metas, windows = names["model"].mold_inputs([np.zeros((40, 56, 3), np.uint8)])
    assert (
        molded.shape == (1, 128, 128, 3)
        and windows[0].tolist() == [24, 8, 104, 120]
        and metas[0, 11] == 2.0
    )

    with open(f"{folder}/submit.csv") as file:
        rows = list(csv.reader(file, skipinitialspace=True))
    assert rows[0] == ["ImageId", "EncodedPixels"]
    for name, result in found.items():
        height, width = SIZES[name]
        assert result["masks"].shape == (height, width, len(result["rois"]))
        submitted = [
            names["rle_decode"](row[1], (height, width)) for row in rows[1:] if row[0] == name
        ]
        # together they cover what was found, and no two of them the same pixel
        total = np.sum(submitted, axis=0, initial=0)
        np.testing.assert_array_equal(total, result["masks"].any(axis=2))
        assert (skimage.io.imread(f"{folder}/{name}.png")).size > 1000

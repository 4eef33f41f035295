"""Files of the version before the modules moved into rooms: what still loads, and what is refused
with a sentence that says what to do.

The network is `tiny.TinyConfig`'s with `tiny.randomize`d weights.
"""

import re

import numpy as np
import pytest

import mrcnn
from mrcnn.config import Config
from mrcnn.config.file import read_config
from mrcnn.data.cache.dataset import RecordDataset
from tests import tiny
from tests.paths import ROOT

FOLDER = ROOT / "tests" / "before_the_move"


@pytest.fixture(scope="module")
def config():
    fields = read_config(FOLDER / "config.json")
    # functions are kept by their names alone
    assert fields["BACKBONE"] == "tiny:backbone"
    assert fields["COMPUTE_BACKBONE_SHAPE"] == "tiny:backbone_shapes"
    return Config.from_dict(
        {
            **fields,
            "BACKBONE": tiny.backbone,
            "COMPUTE_BACKBONE_SHAPE": tiny.backbone_shapes,
        }
    )


def test_config(config):
    made = tiny.tiny_config(CLASS_NAMES=["BG", "class 1", "class 2"])
    for field in read_config(FOLDER / "config.json"):
        if field not in ("BACKBONE", "COMPUTE_BACKBONE_SHAPE"):
            np.testing.assert_equal(getattr(config, field), getattr(made, field), field)


def test_weights_give_equal_detections(config, tmp_path):
    from mrcnn.model import MaskRCNN

    model = MaskRCNN("inference", config, str(tmp_path))
    model.load_weights(FOLDER / "weights.h5")
    found = model.detect([tiny.image(64, 64, 0), tiny.image(50, 90, 1)])
    with np.load(FOLDER / "detections.npz") as expected:
        for number, result in enumerate(found):
            for key in ("rois", "class_ids"):
                np.testing.assert_array_equal(result[key], expected[f"{key}{number}"])
            np.testing.assert_allclose(result["scores"], expected[f"scores{number}"], atol=1e-5)
            masks = expected[f"masks{number}"]
            assert result["masks"].shape == masks.shape and masks.any()
            # a pixel at the threshold of 0.5 may round otherwise on another processor
            assert np.count_nonzero(result["masks"] != masks) <= 3


def test_cache_is_refused():
    with pytest.raises(ValueError, match="of format 1, .* again, .*`mrcnn cache DATASET --output"):
        RecordDataset(FOLDER / "cache")


def test_keras_file_is_refused():
    path = FOLDER / "inference.keras"
    message = f"{re.escape(str(path))} was written by another version .*load_weights.*save_weights"
    with pytest.raises(ValueError, match=message):
        mrcnn.load_model(path)

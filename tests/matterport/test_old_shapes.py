"""The shapes notebook, run as a script."""

import os
import re

import numpy as np

from mrcnn.config import Config
from mrcnn.weights.h5_format import read_h5
from tests.matterport.toy_network import ToyNetwork


class StartConfig(ToyNetwork, Config):
    NAME = "coco"
    NUM_CLASSES = 6
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128


def test_shapes_notebook(script, start_weights, eagerly, tmp_path, capsys):
    coco = start_weights(StartConfig(), tmp_path / "coco.h5").keras_model
    names = script("old_shapes.py", tmp_path / "logs", tmp_path / "coco.h5")
    printed = capsys.readouterr().out
    trained, model = names["trained"], names["model"]
    folder = trained.log_dir
    assert os.path.dirname(folder) == str(tmp_path / "logs")
    assert sorted(name for name in os.listdir(folder) if name.endswith(".h5")) == [
        "mask_rcnn_shapes_0001.h5",
        "mask_rcnn_shapes_0002.h5",
    ]
    assert trained.epoch == 2

    # the first stage trained the heads alone, the second everything
    first, second = (
        read_h5(os.path.join(folder, f"mask_rcnn_shapes_000{epoch}.h5")) for epoch in (1, 2)
    )
    for layer, weights in second.items():
        changed = [
            name
            for (name, new), (_, old) in zip(weights, first[layer])
            if not np.array_equal(new, old)
        ]
        assert bool(changed) == bool(weights) and not any("moving" in name for name in changed), (
            layer
        )
    for layer, weights in first.items():
        if not layer.startswith(("mrcnn", "rpn", "fpn")):
            for (name, stored), value in zip(
                weights, coco.get_layer(layer).get_weights() if weights else ()
            ):
                np.testing.assert_array_equal(value, stored, err_msg=name)

    # find_last gave that file, and all of it went into the other model
    assert names["model_path"] == os.path.join(folder, "mask_rcnn_shapes_0002.h5")
    assert model.log_dir == folder and model.epoch == 2
    for layer in model.keras_model.layers:
        if layer.weights:
            assert all(
                np.array_equal(a, b)
                for a, b in zip(
                    layer.get_weights(),
                    trained.keras_model.get_layer(layer.name).get_weights(),
                    strict=True,
                )
            ), layer.name

    # the ground truth has the image's size; taken for a prediction it is perfect
    assert (
        names["gt_mask"].shape == (128, 128, len(names["gt_class_id"]))
        and names["gt_mask"].dtype == bool
    )
    assert names["image_meta"].shape == (12 + 4,) and names["gt_bbox"].dtype == np.int32
    assert names["perfect"] == [1.0] * 4
    assert len(names["APs"]) == 4 and all(0 <= ap <= 1 for ap in names["APs"])
    result = names["results"][0]
    assert set(result) == {"rois", "class_ids", "scores", "masks"} and len(result["rois"])
    assert result["masks"].shape == (128, 128, len(result["rois"]))
    assert os.path.getsize(tmp_path / "logs" / "instances.png") > 5000

    for line in (
        r"IMAGE_SHAPE +\[128 128 +3\]",
        r"original_image +shape: \(128, 128, 3\) +min: +\d+\.\d{5}  max: .*uint8",
        r"gt_bbox +shape: \(\d, 4\) .*int32",
        r"gt_mask .*bool",
        r"Processing 1 images",
        r"molded_images +shape: \(1, 128, 128, 3\)",
        r"mAP:  ",
    ):
        assert re.search(line, printed), line

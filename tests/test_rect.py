"""IMAGE_RESIZE_MODE "rect": what it finds is what "square" finds, in less area."""

import sys

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.data.load import load_image_gt
from mrcnn.model import MaskRCNN
from tests.paths import ROOT
from tests.tiny import tiny_config

sys.path.append(str(ROOT / "samples"))

import shapes

from tests.paths import ROOT


def detector(mode, folder):
    class WideConfig(shapes.ShapesDetectConfig):
        IMAGE_RESIZE_MODE = mode
        IMAGE_MIN_DIM, IMAGE_MAX_DIM = 0, 256

    model = MaskRCNN("inference", WideConfig(), str(folder))
    model.load_weights(str(ROOT / "weights" / "mask_rcnn_shapes.h5"))
    return model


@pytest.mark.parametrize("height, width", [(128, 256), (256, 128), (130, 250)])
def test_rect_finds_what_square_finds(height, width, tmp_path):
    dataset = shapes.ShapesDataset()
    dataset.load_shapes(4, height=height, width=width, seed=5)
    dataset.prepare()
    models = [detector(mode, tmp_path) for mode in ("square", "rect")]
    total = 0
    for image_id in dataset.image_ids:
        square, rect = (model.detect([dataset.load_image(image_id)])[0] for model in models)
        for mask, class_id in zip(
            np.moveaxis(dataset.load_mask(image_id)[0], -1, 0), dataset.load_mask(image_id)[1]
        ):
            # padding reaches into the features near the border, so scores and edges move a little
            if best_overlap(square, mask, class_id) > 0.8:
                total += 1
                assert best_overlap(rect, mask, class_id) > 0.8
    assert total >= 4


def best_overlap(result, mask, class_id):
    """IoU of a true object with the best detection of its class."""
    found = np.moveaxis(result["masks"], -1, 0)[result["class_ids"] == class_id]
    return max((np.sum(mask & other) / np.sum(mask | other) for other in found), default=0)


def test_features_away_from_the_padding_are_equal(tmp_path):
    height, width, side = 300, 640, 640
    image = np.random.RandomState(0).randint(0, 256, (height, width, 3)).astype(np.uint8)
    features, tops = {}, {}
    for mode in ("square", "rect"):
        model = MaskRCNN(
            "inference",
            tiny_config(IMAGE_RESIZE_MODE=mode, IMAGE_MIN_DIM=0, IMAGE_MAX_DIM=side),
            str(tmp_path),
        )
        molded, metas, windows = model.mold_inputs([image])
        tops[mode] = windows[0][0]
        outputs = [
            (name, model.keras_model.get_layer(name).output)
            for name in ("fpn_p2", "fpn_p3", "fpn_p4", "fpn_p5")
        ]
        features[mode] = model.run_graph(molded, outputs, image_metas=metas)
    assert features["rect"]["fpn_p2"].shape[1:3] == (384 // 4, 640 // 4)
    margin = 128  # px; no further does this small backbone see
    for name, stride in (("fpn_p2", 4), ("fpn_p3", 8), ("fpn_p4", 16), ("fpn_p5", 32)):
        inner = [
            features[mode][name][0, (top + margin) // stride : (top + height - margin) // stride]
            for mode, top in tops.items()
        ]
        assert inner[0].size and inner[0].std() > 0
        np.testing.assert_allclose(
            inner[1], inner[0], rtol=1e-4, atol=1e-4 * np.abs(inner[0]).max(), err_msg=name
        )


def test_training_takes_rect_for_square():
    class RectConfig(Config):
        NAME = "rect"
        NUM_CLASSES = 4
        IMAGE_MIN_DIM, IMAGE_MAX_DIM = 0, 128
        IMAGE_RESIZE_MODE = "rect"

    dataset = shapes.ShapesDataset()
    dataset.load_shapes(1, height=64, width=128)
    dataset.prepare()
    image, meta, _, _, masks = load_image_gt(dataset, RectConfig(), 0)
    assert image.shape == (128, 128, 3) and masks.shape[:2] == (128, 128)
    np.testing.assert_array_equal(meta[7:11], [32, 0, 96, 128])


def test_a_batch_may_hold_photos_of_both_orientations(tmp_path):
    model = detector("rect", tmp_path)
    images = [
        np.zeros(shape, np.uint8)
        for shape in ((100, 200, 3), (200, 100, 3), (256, 256, 3), (60, 200, 3))
    ]
    assert [result["masks"].shape[:2] for result in model.detect(images)] == [
        image.shape[:2] for image in images
    ]

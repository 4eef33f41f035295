"""The detections of torchvision's own networks, with the same random weights.

``benchmarks/torchvision_goldens.py`` recorded them.
"""

import keras
import numpy as np
import pytest

from mrcnn.config.presets import PRESETS
from mrcnn.inference.detect import mold_inputs
from mrcnn.model import MaskRCNN
from mrcnn.weights.torch_writer import write_torch
from tests.torchvision.random_model import (
    BATCH,
    FOLDER,
    IMAGES,
    SIZES,
    VERSIONS,
    scene,
    state_dict,
)

# The numbers need the networks as wide as torchvision's.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture(scope="module")
def goldens(version):
    return dict(np.load(FOLDER / f"{version}.npz"))


@pytest.fixture(scope="module")
def model(version, tmp_path_factory):
    """torchvision's preset for small images, with the random weights from a .pth file."""
    folder = tmp_path_factory.mktemp("torchvision")
    fields = {"IMAGE_MIN_DIM": SIZES[0], "IMAGE_MAX_DIM": SIZES[1], "IMAGES_PER_GPU": 1}
    config = type("Small", (PRESETS[f"torchvision_{version}"],), fields)()
    write_torch(folder / "weights.pth", state_dict(version))
    model = MaskRCNN("inference", config, str(folder))
    report = model.load_weights(folder / "weights.pth")
    assert report.initial == report.skipped_in_file == report.excluded == []
    return model


def detections(goldens, key, shape):
    """torchvision's: boxes [n, (y1, x1, y2, x2)] px, labels, scores, masks [h, w, n]."""
    boxes, labels, scores, packed = (
        goldens[f"{key}:{part}"] for part in ("boxes", "labels", "scores", "masks")
    )
    masks = np.unpackbits(packed, axis=1, count=shape[0] * shape[1]).astype(bool)
    masks = masks.reshape(-1, *shape[:2]).transpose(1, 2, 0)
    return boxes[:, [1, 0, 3, 2]], labels.astype(int), scores, masks


def compare(result, expected):
    """Match the detections of one image by class and box, and compare each pair."""
    boxes, labels, scores, masks = expected
    found = np.asarray(result.boxes)
    assert len(found) == len(boxes)
    distance = np.abs(found[:, None] - boxes).max(-1)
    distance[np.asarray(result["class_ids"])[:, None] != labels] = np.inf
    partner = distance.argmin(0)
    assert len(set(partner)) == len(boxes), "not one partner for each detection"
    pairs = distance[partner, np.arange(len(boxes))]
    errors = np.abs(result["scores"][partner] - scores)
    ours = result["masks"][:, :, partner]
    union = (ours | masks).sum((0, 1))
    iou = np.where(union, (ours & masks).sum((0, 1)) / np.maximum(union, 1), 1)
    print(f"box {pairs.max():.4f} px, score {errors.max():.1e}, mask IoU {iou.min():.5f}")
    assert pairs.max() < 0.05
    assert errors.max() < 1e-3
    assert (ours & masks).sum() / max((ours | masks).sum(), 1) > 0.999
    assert iou.min() > 0.98  # a mask of a hundred pixels may have one that another rounding decides


@pytest.mark.parametrize("name", IMAGES)
def test_detections_of_an_image(model, goldens, name):
    image = scene(*IMAGES[name])
    compare(model.detect([image])[0], detections(goldens, name, image.shape))


def test_detections_of_a_batch(model, goldens):
    images = [scene(*size) for size in BATCH.values()]
    model.config.IMAGES_PER_GPU = model.config.BATCH_SIZE = len(images)
    try:
        results = model.detect(images)
    finally:
        model.config.IMAGES_PER_GPU = model.config.BATCH_SIZE = 1
    for name, image, result in zip(BATCH, images, results, strict=True):
        compare(result, detections(goldens, f"{'+'.join(BATCH)}:{name}", image.shape))


def test_stages_of_an_image(model, goldens):
    """What the stages have in between, so that a difference shows where it begins."""
    expected = {
        name.split(":")[1]: value for name, value in goldens.items() if name.startswith("stages:")
    }
    image = scene(*IMAGES["wide"])
    molded = mold_inputs([image], model.config)[0]
    std = np.array([0.229, 0.224, 0.225])
    normalised = (molded[0] / (255 * std)).transpose(2, 0, 1)
    np.testing.assert_allclose(normalised[:, ::16, ::16], expected["molded"], atol=1e-4)
    outputs = ["rpn_class", "rpn_bbox", *(f"fpn_p{level}" for level in range(2, 7))]
    network = model.keras_model
    network = keras.Model(network.inputs[0], [network.get_layer(n).output for n in outputs])
    rpn_probs, deltas, *pyramid = (np.asarray(value) for value in network(molded, training=False))
    start = 0
    for level, features in enumerate(pyramid, 2):
        np.testing.assert_allclose(
            features[0, ::3, ::3, ::32].transpose(2, 0, 1), expected[f"p{level}"], atol=2e-3
        )
        height, width = features.shape[1:3]
        count = height * width * 3
        probs = rpn_probs[0, start : start + count, 1].reshape(height, width, 3)[::3, ::3]
        logits = expected[f"logits{level}"].transpose(1, 2, 0)
        np.testing.assert_allclose(probs, 1 / (1 + np.exp(-logits)), atol=1e-4)
        own = deltas[0, start : start + count].reshape(height, width, 3, 4)[::4, ::4]
        own = own[..., [1, 0, 3, 2]].reshape(*own.shape[:2], 12)
        np.testing.assert_allclose(own, expected[f"deltas{level}"].transpose(1, 2, 0), atol=1e-3)
        start += count
    assert start == deltas.shape[1]

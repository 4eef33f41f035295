"""DetectionTargetLayer: the original's numbers, its settings, and where gradients go."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.losses import BoxLoss
from mrcnn.networks.mask_rcnn.target_layer import DetectionTargetLayer
from tests import twins
from tests.networks import layer_cases as cases
from tests.paths import PARITY as PARITY_FOLDER

PARITY = np.load(PARITY_FOLDER / "layers_targets.npz")


def settings(**fields):
    return type("Settings", (cases.TinyConfig,), fields)()


def parity_masks():
    shape = PARITY["gt_masks_shape"]
    masks = np.unpackbits(PARITY["gt_masks_packed"])[: np.prod(shape)].reshape(shape).astype(bool)
    padding = PARITY["gt_boxes"].shape[1] - shape[-1]
    return np.pad(masks, [(0, 0)] * 3 + [(0, padding)])


def test_targets_are_the_originals():
    """A crowd in the second image; the original's shuffles were the identity."""
    inputs = [PARITY["proposals"], PARITY["gt_class_ids"], PARITY["gt_boxes"], parity_masks()]
    assert (PARITY["gt_class_ids"] < 0).any()
    rois, class_ids, deltas, masks = DetectionTargetLayer(
        settings(TRAIN_ROIS_PER_IMAGE=100), shuffle=False
    )(inputs)
    np.testing.assert_array_equal(rois, PARITY["rois"])
    np.testing.assert_array_equal(class_ids, PARITY["class_ids"])
    np.testing.assert_allclose(deltas, PARITY["deltas"], atol=1e-6)
    expected = np.unpackbits(PARITY["masks_packed"])[: masks.numpy().size].reshape(masks.shape)
    np.testing.assert_array_equal(masks, expected)


@pytest.mark.parametrize(
    "fields",
    [
        dict(),
        dict(TRAIN_ROIS_PER_IMAGE=5, ROI_POSITIVE_RATIO=0.5),
        dict(BBOX_STD_DEV=np.array([0.3, 0.2, 0.1, 0.4])),
        dict(MASK_SHAPE=[28, 28], USE_MINI_MASK=False),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_settings_are_those_of_the_config(fields, batch):
    config = settings(**fields)
    inputs = cases.target_inputs(np.random.RandomState(1), batch, 14)
    actual = DetectionTargetLayer(config, shuffle=False)(inputs)
    for image in range(batch):
        expected = twins.targets(
            *(part[image] for part in inputs),
            count=config.TRAIN_ROIS_PER_IMAGE,
            positive_ratio=config.ROI_POSITIVE_RATIO,
            std_dev=config.BBOX_STD_DEV,
            mask_shape=tuple(config.MASK_SHAPE),
            mini_masks=config.USE_MINI_MASK,
        )
        assert expected[1].any()
        for part, reference in zip(actual, expected):
            np.testing.assert_allclose(part[image], reference, atol=3e-5)


def test_shuffling_is_the_default():
    inputs = cases.target_inputs(np.random.RandomState(2), 1, 40)
    layer = DetectionTargetLayer(settings())
    assert layer.shuffle
    drawn = {layer(inputs)[0].numpy().tobytes() for _ in range(8)}
    assert len(drawn) > 1


def box_loss_gradient(stop):
    """Gradient of the box loss with respect to the proposals, and the same by finite
    differences.
    """
    config = settings(STOP_PROPOSAL_GRADIENT=stop)
    inputs = cases.target_inputs(np.random.RandomState(3), 2, 8)
    predicted = cases.normal(
        np.random.RandomState(4), 2, config.TRAIN_ROIS_PER_IMAGE, cases.CLASSES, 4
    )
    proposals = tf.Variable(inputs[0])
    with tf.GradientTape() as tape:
        _, class_ids, deltas, _ = DetectionTargetLayer(config, shuffle=False)(
            [proposals, *inputs[1:]]
        )
        value = BoxLoss()([deltas, class_ids, predicted])
    assert value > 0

    def loss(moved):
        images = [
            twins.targets(
                moved[image],
                inputs[1][image],
                inputs[2][image].astype(np.float64),
                inputs[3][image],
                count=config.TRAIN_ROIS_PER_IMAGE,
                positive_ratio=config.ROI_POSITIVE_RATIO,
                std_dev=config.BBOX_STD_DEV,
                mask_shape=(1, 1),
                mini_masks=True,
            )
            for image in range(2)
        ]
        return twins.bbox_loss(
            np.stack([parts[2] for parts in images]),
            np.stack([parts[1] for parts in images]),
            predicted,
        )

    return tape.gradient(value, proposals), twins.numeric_gradient(loss, inputs[0])


def test_the_box_loss_reaches_the_proposals_as_in_the_original():
    actual, expected = box_loss_gradient(stop=False)
    assert np.count_nonzero(expected) >= 16
    np.testing.assert_allclose(tf.convert_to_tensor(actual), expected, rtol=1e-3, atol=1e-4)


def test_the_box_loss_does_not_reach_them_where_that_is_stopped():
    actual, _ = box_loss_gradient(stop=True)
    assert actual is None

"""Proposals, against a loop over anchors."""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.proposals import ProposalLayer, generate_proposals
from tests import twins
from tests.networks import layer_cases as cases
from tests.paths import PARITY as PARITY_FOLDER

STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])


def material(seed, batch, anchors):
    random = np.random.RandomState(seed)
    foreground = random.uniform(size=(batch, anchors)).astype(np.float32)
    deltas = random.normal(0, 1, (batch, anchors, 4)).astype(np.float32)
    boxes = np.repeat(twins.random_boxes(random, 1, anchors) - np.float32(0.1), batch, axis=0)
    return np.stack([1 - foreground, foreground], axis=-1), deltas, boxes


@pytest.mark.parametrize(
    "batch, anchors, count, limit, threshold",
    [
        (1, 90, 40, 6000, 0.7),
        (2, 90, 10, 50, 0.7),
        (3, 90, 120, 60, 0.3),
        (2, 1, 4, 10, 0.7),
        (1, 90, 1, 90, 0.5),
    ],
)
def test_against_loops(batch, anchors, count, limit, threshold):
    probs, deltas, boxes = material(batch, batch, anchors)
    steps = generate_proposals(probs, deltas, boxes, count, threshold, limit, STD_DEV)
    rows = min(limit, anchors)
    assert steps.rois.dtype == tf.float32 and steps.rois.shape == (batch, count, 4)
    assert steps.nms_indices.shape == (batch, count)
    for image in range(batch):
        expected = twins.proposals(
            probs[image, :, 1], deltas[image], boxes[image], count, threshold, limit, STD_DEV
        )
        np.testing.assert_allclose(steps.rois[image], expected, atol=1e-6)
        best = np.argsort(-probs[image, :, 1])[:rows]
        np.testing.assert_array_equal(steps.pre_nms_anchors[image], boxes[image, best])
        refined = [twins.apply_deltas(boxes[image, i], deltas[image, i] * STD_DEV) for i in best]
        np.testing.assert_allclose(steps.refined_anchors[image], refined, atol=2e-6)
        clipped = [twins.clip(box, (0, 0, 1, 1)) for box in refined]
        np.testing.assert_allclose(steps.refined_anchors_clipped[image], clipped, atol=2e-6)


def test_the_indices_name_the_rows_of_the_proposals():
    probs, deltas, boxes = material(5, 2, 80)
    steps = generate_proposals(probs, deltas, boxes, 60, 0.5, 70, STD_DEV)
    for image in range(2):
        index = steps.nms_indices[image].numpy()
        kept = index[index >= 0]
        assert 0 < len(kept) < 60
        np.testing.assert_array_equal(
            steps.rois[image, : len(kept)], steps.refined_anchors_clipped.numpy()[image, kept]
        )
        np.testing.assert_array_equal(steps.rois[image, len(kept) :], 0)


def test_no_anchors_give_no_proposals():
    steps = generate_proposals(
        tf.zeros([2, 0, 2]), tf.zeros([2, 0, 4]), tf.zeros([2, 0, 4]), 5, 0.7, 100, STD_DEV
    )
    np.testing.assert_array_equal(steps.rois, np.zeros((2, 5, 4)))


def test_gradient_of_the_deltas_by_finite_differences():
    """The original's box loss reaches the RPN this way; probabilities get no gradient from
    boxes.
    """
    probs, deltas, boxes = material(7, 1, 12)
    weights = np.random.RandomState(8).normal(size=(1, 8, 4))
    variable, chances = tf.Variable(deltas), tf.Variable(probs)
    with tf.GradientTape() as tape:
        rois = generate_proposals(chances, variable, boxes, 8, 0.7, 10, STD_DEV).rois
        total = tf.reduce_sum(rois * weights.astype(np.float32))
    actual, none = tape.gradient(total, [variable, chances])

    def loss(moved):
        rois = twins.proposals(
            probs[0, :, 1], moved[0], boxes[0].astype(np.float64), 8, 0.7, 10, STD_DEV
        )
        return np.sum(rois * weights[0])

    expected = twins.numeric_gradient(loss, deltas)
    assert none is None and np.count_nonzero(expected) > 12
    np.testing.assert_allclose(tf.convert_to_tensor(actual), expected, atol=1e-5)


# === ProposalLayer ===

PARITY = np.load(PARITY_FOLDER / "layers_proposal.npz")


def test_proposals_are_the_originals():
    """1050 of its 3000 anchors, of which the limit takes the best 1000 as it did there."""

    class Settings(cases.TinyConfig):
        PRE_NMS_LIMIT = 1000

    foreground, expected = PARITY["foreground"], PARITY["rois"]
    layer = ProposalLayer(2000, 0.7, Settings())
    rois = layer(
        [np.stack([1 - foreground, foreground], axis=-1), PARITY["deltas"], PARITY["anchors"]]
    ).numpy()
    assert rois.shape == (2, 2000, 4)
    np.testing.assert_array_equal(rois[:, expected.shape[1] :], 0)
    np.testing.assert_allclose(rois[:, : expected.shape[1]], expected, atol=1e-6)


@pytest.mark.parametrize(
    "count, threshold, limit, std_dev",
    [
        (6, 0.7, 20, (0.1, 0.1, 0.2, 0.2)),
        (30, 0.3, 8, (0.1, 0.1, 0.2, 0.2)),
        (4, 0.5, 6000, (0.2, 0.1, 0.1, 0.3)),
    ],
)
def test_the_settings_are_those_of_the_config(count, threshold, limit, std_dev):
    class Settings(cases.TinyConfig):
        PRE_NMS_LIMIT = limit
        RPN_BBOX_STD_DEV = np.array(std_dev)

    probs, deltas, anchors = cases.proposal_inputs(np.random.RandomState(1), 2, 25)
    rois = ProposalLayer(count, threshold, Settings())([probs, deltas, anchors])
    for image in range(2):
        expected = twins.proposals(
            probs[image, :, 1], deltas[image], anchors[image], count, threshold, limit, std_dev
        )
        np.testing.assert_allclose(rois[image], expected, atol=1e-6)


def test_the_steps_end_in_the_output():
    inputs = cases.proposal_inputs(np.random.RandomState(2), 2, 25)
    layer = ProposalLayer(6, 0.7, cases.CONFIG)
    np.testing.assert_array_equal(layer.steps(inputs).rois, layer(inputs))

"""ProposalLayer: the original's numbers, and its settings."""

import numpy as np
import pytest

from mrcnn.networks.mask_rcnn.proposal_layer import ProposalLayer
from tests import twins
from tests.networks import layer_cases as cases
from tests.paths import PARITY as PARITY_FOLDER

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

"""Proposals, against a loop over anchors."""

import json

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.inputs import Anchors
from mrcnn.networks.mask_rcnn.proposals import ProposalLayer, generate_proposals
from mrcnn.ops.image_meta import compose_image_meta
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


# === Level by level, as in torchvision ===

SIZE = (96, 160)  # px of the molded images; P2 to P6 have 24 x 40, ..., 2 x 3 cells
WINDOWS = [(0, 0, 90, 160), (0, 0, 96, 130), (0, 0, 50, 70)]


class ByLevel(cases.TinyConfig):
    PROPOSALS_PER_LEVEL = True
    PRE_NMS_LIMIT = 30
    RPN_BBOX_STD_DEV = np.ones(4)
    BOX_SHIFT = 0
    BBOX_LOG_SCALE_LIMIT = 0.6
    PROPOSAL_MIN_SIZE = 6.0
    CLIP_PROPOSALS_TO_WINDOW = True


def settings(**fields):
    return type("Settings", (ByLevel,), fields)()


def level_inputs(config, batch, seed=0, spread=2.0):
    """All that the layer takes; anchors are the network's own."""
    random = np.random.RandomState(seed)
    sizes = [[-(-side // stride) for side in SIZE] for stride in (4, 8, 16, 32, 64)]
    maps = [np.zeros((batch, *size, 1), np.float32) for size in sizes]
    anchors = Anchors(config)([np.zeros((batch, *SIZE, 3), np.float32), *maps]).numpy()
    logits = random.normal(0, spread, (batch, anchors.shape[1], 2)).astype(np.float32)
    deltas = random.normal(0, 0.4, anchors.shape).astype(np.float32)
    metas = [
        compose_image_meta(0, (5, 5, 3), (*SIZE, 3), window, 1.0, [1] * cases.CLASSES)
        for window in WINDOWS[:batch]
    ]
    return [twins.softmax(logits), deltas, anchors, logits, np.float32(metas), *maps]


def by_level_in_loops(config, inputs, image, count, limit, threshold=0.7):
    """Boxes in normalised coordinates, and the level of each."""
    _, deltas, anchors, logits, metas, *maps = inputs
    rank = logits[image, :, 1] - logits[image, :, 0]
    shift, per_cell = config.BOX_SHIFT, len(config.RPN_ANCHOR_RATIOS)
    height, width = SIZE[0] - shift, SIZE[1] - shift
    window = (0, 0, 1, 1)
    if config.CLIP_PROPOSALS_TO_WINDOW:
        y1, x1, y2, x2 = metas[image, 7:11]
        window = (y1 / height, x1 / width, (y2 - shift) / height, (x2 - shift) / width)
    found, start = [], 0
    for level, each in enumerate(maps):
        rows, columns = (-(-side // config.RPN_ANCHOR_STRIDE) for side in each.shape[1:3])
        end = start + rows * columns * per_cell
        boxes, scores = [], []
        for index in sorted(range(start, end), key=lambda i: (-rank[i], i))[:limit]:
            delta = deltas[image, index] * config.RPN_BBOX_STD_DEV
            delta[2:] = np.minimum(delta[2:], config.BBOX_LOG_SCALE_LIMIT)
            box = twins.clip(twins.apply_deltas(anchors[image, index].astype(float), delta), window)
            sides = (box[2] - box[0]) * height + shift, (box[3] - box[1]) * width + shift
            if min(sides) >= config.PROPOSAL_MIN_SIZE:
                boxes.append(box)
                scores.append(rank[index])
        kept = twins.suppress(boxes, scores, count, threshold)
        found += [(scores[row], level, boxes[row]) for row in kept]
        start = end
    assert start == anchors.shape[1]
    best = sorted(found, key=lambda one: (-one[0], one[1]))[:count]
    rois = np.zeros((count, 4))
    rois[: len(best)] = [box for _, _, box in best]
    return rois, [level for _, level, _ in best]


@pytest.mark.parametrize(
    "batch, count, fields",
    [
        (1, 60, {}),
        (2, 200, {}),
        (3, 25, {"PRE_NMS_LIMIT": 7}),
        (2, 60, {"PRE_NMS_LIMIT": 5000, "RPN_ANCHOR_STRIDE": 2}),
        (1, 80, {"RPN_ANCHOR_RATIOS": [1.0], "PROPOSAL_MIN_SIZE": 0.0}),
        (2, 60, {"CLIP_PROPOSALS_TO_WINDOW": False, "BOX_SHIFT": 1}),
        (2, 60, {"BOX_SHIFT": 1, "PROPOSAL_MIN_SIZE": 9.0}),
        (1, 1, {}),
    ],
)
def test_level_by_level_against_loops(batch, count, fields):
    config = settings(**fields)
    inputs = level_inputs(config, batch, seed=count)
    layer = ProposalLayer(count, 0.7, config)
    rois = layer(inputs).numpy()
    levels = set()
    for image in range(batch):
        expected, origin = by_level_in_loops(config, inputs, image, count, config.PRE_NMS_LIMIT)
        np.testing.assert_allclose(rois[image], expected, atol=1e-6)
        levels.update(origin)
    assert count < 60 or levels >= {0, 1, 2, 3}  # P6 has few anchors
    np.testing.assert_array_equal(layer.steps(inputs).rois, rois)


@pytest.mark.parametrize(
    "field, other",
    [
        ("PROPOSALS_PER_LEVEL", False),
        ("PROPOSAL_MIN_SIZE", 12.0),
        ("CLIP_PROPOSALS_TO_WINDOW", False),
        ("BBOX_LOG_SCALE_LIMIT", 10.0),
        ("BOX_SHIFT", 1),
        ("PRE_NMS_LIMIT", 10),
        ("RPN_BBOX_STD_DEV", np.full(4, 0.5)),
    ],
)
def test_each_field_makes_a_difference(field, other):
    inputs = level_inputs(settings(), 2)
    rois, changed = (
        ProposalLayer(50, 0.7, config)(inputs).numpy()
        for config in (settings(), settings(**{field: other}))
    )
    assert np.abs(rois - changed).max() > 1e-3


@pytest.mark.parametrize("batch", [1, 2])
def test_least_size_and_window_over_all_levels(batch):
    config = settings(PROPOSALS_PER_LEVEL=False, PRE_NMS_LIMIT=60)
    inputs = level_inputs(config, batch)
    rois = ProposalLayer(40, 0.7, config)(inputs).numpy()
    for image in range(batch):
        whole = [*inputs[:5], np.zeros((batch, 1, inputs[0].shape[1], 1), np.float32)]
        one_ratio = settings(PROPOSALS_PER_LEVEL=False, RPN_ANCHOR_RATIOS=[1.0])
        expected, _ = by_level_in_loops(one_ratio, whole, image, 40, 60)
        np.testing.assert_allclose(rois[image], expected, atol=1e-6)


def test_a_limit_of_the_layers_own():
    """That of training, in training models."""
    inputs = level_inputs(settings(), 2)
    rois = ProposalLayer(90, 0.7, settings(), pre_nms_limit=45)(inputs)
    expected = ProposalLayer(90, 0.7, settings(PRE_NMS_LIMIT=45))(inputs)
    np.testing.assert_array_equal(rois, expected)
    assert not np.array_equal(rois, ProposalLayer(90, 0.7, settings())(inputs))


def test_probabilities_that_are_all_1_keep_the_order_of_their_logits():
    config = settings(PROPOSAL_MIN_SIZE=0.0)
    inputs = level_inputs(config, 2)
    inputs[3][..., 0] = 0
    inputs[3][..., 1] += 30
    inputs[0] = tf.nn.softmax(inputs[3]).numpy()
    assert (inputs[0][..., 1] == 1).all()
    rois = ProposalLayer(60, 0.7, config)(inputs)
    for image in range(2):
        expected, _ = by_level_in_loops(config, inputs, image, 60, 30)
        np.testing.assert_allclose(rois[image], expected, atol=1e-6)


def test_all_proposals_may_be_too_small():
    inputs = level_inputs(settings(), 2)
    steps = ProposalLayer(20, 0.7, settings(PROPOSAL_MIN_SIZE=500.0)).steps(inputs)
    np.testing.assert_array_equal(steps.rois, np.zeros((2, 20, 4)))
    np.testing.assert_array_equal(steps.nms_indices, np.full((2, 20), -1))


def test_steps_level_by_level():
    config = settings()
    inputs = level_inputs(config, 2)
    steps = ProposalLayer(60, 0.7, config).steps(inputs)
    # P6 has 2 x 3 cells of 3 anchors, fewer than the limit
    assert steps.pre_nms_anchors.shape == (2, 4 * 30 + 18, 4)
    rank = inputs[3][0, :, 1] - inputs[3][0, :, 0]
    starts = np.cumsum([0] + [3 * each.shape[1] * each.shape[2] for each in inputs[5:]])
    for level, start, end in zip(range(5), starts, starts[1:]):
        best = start + np.argsort(-rank[start:end])[:30]
        rows = slice(30 * level, 30 * level + len(best))
        np.testing.assert_array_equal(steps.pre_nms_anchors[0, rows], inputs[2][0, best])
    for image in range(2):
        index = steps.nms_indices[image].numpy()
        kept = index[index >= 0]
        assert len(set(kept)) == len(kept) > 20
        boxes = steps.refined_anchors_clipped.numpy()[image]
        np.testing.assert_array_equal(steps.rois[image, : len(kept)], boxes[kept])


def test_gradient_of_the_deltas_level_by_level():
    config = settings(PRE_NMS_LIMIT=4, PROPOSAL_MIN_SIZE=0.0, BBOX_LOG_SCALE_LIMIT=10.0)
    inputs = level_inputs(config, 1)
    weights = np.random.RandomState(8).normal(size=(1, 12, 4)).astype(np.float32)
    deltas, logits = tf.Variable(inputs[1]), tf.Variable(inputs[3])
    layer = ProposalLayer(12, 0.7, config)
    with tf.GradientTape() as tape:
        rois = layer([inputs[0], deltas, inputs[2], logits, *inputs[4:]])
        total = tf.reduce_sum(rois * weights)
    actual, none = tape.gradient(total, [deltas, logits])
    actual = tf.convert_to_tensor(actual).numpy()
    rows = np.unique(np.nonzero(actual)[1])
    assert none is None and 6 < len(rows) <= 12
    for row in rows:
        for column in range(4):
            sides = []
            for step in (-1e-2, 1e-2):
                moved = [part.copy() for part in inputs]
                moved[1][0, row, column] += step
                sides.append(np.sum(by_level_in_loops(config, moved, 0, 12, 4)[0] * weights[0]))
            expected = (sides[1] - sides[0]) / 2e-2
            # at a border of the window a box moves on one side only
            assert abs(actual[0, row, column] - expected) < 2e-3 or any(
                abs(side - np.sum(rois * weights)) < 1e-6 for side in sides
            )


def test_the_originals_path_does_not_look_at_the_further_tensors():
    inputs = level_inputs(cases.CONFIG, 2)
    layer = ProposalLayer(40, 0.7, cases.CONFIG)
    np.testing.assert_array_equal(layer(inputs), layer(inputs[:3]))


def test_three_tensors_are_too_few_where_levels_are_asked_for():
    with pytest.raises(ValueError, match="PROPOSALS_PER_LEVEL and .* more than 3 tensors.*P6"):
        ProposalLayer(40, 0.7, settings())(level_inputs(settings(), 1)[:3])


@pytest.mark.parametrize("batch", [1, 3])
def test_a_traced_and_restored_layer(batch):
    """Of any batch and size, and image by image."""
    layer = ProposalLayer(50, 0.6, settings(), pre_nms_limit=20, name="ROI")
    restored = ProposalLayer.from_config(json.loads(json.dumps(layer.get_config())))
    assert restored.get_config() == layer.get_config()
    inputs = level_inputs(settings(), batch)
    shapes = [[*[None] * (np.ndim(part) - 1), part.shape[-1]] for part in inputs]
    traced = tf.function(restored, input_signature=[[tf.TensorSpec(shape) for shape in shapes]])
    expected = layer(inputs)
    np.testing.assert_array_equal(traced(inputs), expected)
    single = [layer([part[image : image + 1] for part in inputs])[0] for image in range(batch)]
    np.testing.assert_allclose(single, expected, atol=1e-6)


def test_a_layer_of_an_earlier_version_is_the_originals():
    layer = ProposalLayer(50, 0.7, cases.CONFIG)
    stored = layer.get_config()
    del stored["pre_nms_limit"]
    stored["config"] = {
        name: stored["config"][name] for name in ("PRE_NMS_LIMIT", "RPN_BBOX_STD_DEV")
    }
    assert ProposalLayer.from_config(stored).settings == layer.settings

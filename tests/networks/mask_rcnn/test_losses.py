"""The losses, against loops over their terms, their gradients against finite differences; and their
layers, against the original's numbers.
"""

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.matterport.graph_functions import mrcnn_class_loss_graph
from mrcnn.networks.mask_rcnn import losses
from mrcnn.networks.mask_rcnn.losses import BoxLoss, ClassLoss, MaskLoss, RPNBoxLoss, RPNClassLoss
from tests import twins
from tests.networks import layer_cases as cases
from tests.paths import PARITY as PARITY_FOLDER


def rpn_material(seed, batch, anchors=14):
    random = np.random.RandomState(seed)
    match = random.choice([-1, 0, 0, 1], (batch, anchors)).astype(np.int32)
    match[:, 0] = 1
    return (
        match,
        random.normal(size=(batch, anchors, 2)).astype(np.float32),
        random.normal(0, 1.5, (batch, anchors, 4)).astype(np.float32),
        random.normal(0, 1.5, (batch, anchors, 4)).astype(np.float32),
    )


def head_material(seed, batch, rois=6, classes=4, side=3):
    random = np.random.RandomState(seed)
    class_ids = random.randint(0, classes, (batch, rois)).astype(np.int32)
    class_ids[0, 1] = 2
    return dict(
        class_ids=class_ids,
        logits=random.normal(0, 2, (batch, rois, classes)).astype(np.float32),
        target_bbox=random.normal(0, 1.5, (batch, rois, 4)).astype(np.float32),
        bbox=random.normal(0, 1.5, (batch, rois, classes, 4)).astype(np.float32),
        target_masks=(random.uniform(size=(batch, rois, side, side)) < 0.5).astype(np.float32),
        masks=random.uniform(0.02, 0.98, (batch, rois, side, side, classes)).astype(np.float32),
    )


def check(loss, twin, *arguments, differentiate):
    """Value and gradient with respect to one argument, given by its position."""
    inputs = [
        tf.Variable(part) if i == differentiate else tf.constant(part)
        for i, part in enumerate(arguments)
    ]
    with tf.GradientTape() as tape:
        value = loss(*inputs)
    gradient = tf.convert_to_tensor(tape.gradient(value, inputs[differentiate])).numpy()

    def twin_of(moved):
        return twin(
            *(moved if i == differentiate else np.asarray(part) for i, part in enumerate(arguments))
        )

    assert value.dtype == tf.float32 and value.shape == ()
    np.testing.assert_allclose(
        value, twin_of(np.float64(arguments[differentiate])), rtol=2e-6, atol=1e-7
    )
    expected = twins.numeric_gradient(twin_of, arguments[differentiate])
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=2e-6)
    return float(value), gradient


BATCHES = pytest.mark.parametrize("batch", [1, 2, 3])


# === Region proposal network ===


@BATCHES
def test_rpn_class_loss(batch):
    match, logits, _, _ = rpn_material(batch, batch)
    value, gradient = check(
        lambda m, p: losses.rpn_class_loss(m[..., tf.newaxis], p),
        twins.rpn_class_loss,
        match,
        logits,
        differentiate=1,
    )
    assert value > 0 and not gradient[match == 0].any() and gradient[match != 0].all()


@BATCHES
def test_rpn_bbox_loss(batch):
    match, _, target, predicted = rpn_material(batch, batch)
    value, gradient = check(
        lambda t, m, p: losses.rpn_bbox_loss(t, m[..., tf.newaxis], p),
        twins.rpn_bbox_loss,
        target,
        match,
        predicted,
        differentiate=2,
    )
    assert value > 0 and not gradient[match != 1].any()


def test_rpn_targets_are_matched_by_rank_within_their_image():
    match = tf.constant([[0, 1, -1, 1], [1, 0, 0, 0]])[..., tf.newaxis]
    target = np.zeros((2, 5, 4), np.float32)
    target[0, 0], target[0, 1], target[1, 0] = 1, 2, 3
    predicted = np.zeros((2, 4, 4), np.float32)
    predicted[0, 1], predicted[0, 3], predicted[1, 0] = 1, 2, 3
    assert losses.rpn_bbox_loss(tf.constant(target), match, tf.constant(predicted)).numpy() == 0


# === Heads ===


@BATCHES
@pytest.mark.parametrize("active", [(1, 1, 1, 1), (1, 1, 0, 1), (1, 0, 0, 0)])
@pytest.mark.parametrize("first_image_rules", [False, True])
def test_class_loss(batch, active, first_image_rules):
    data = head_material(batch, batch)
    flags = np.ones((batch, 4), np.float32)
    flags[0] = active
    _value, gradient = check(
        lambda *inputs: losses.mrcnn_class_loss(*inputs, first_image_rules=first_image_rules),
        lambda *inputs: twins.class_loss(*inputs, first_image_rules=first_image_rules),
        data["class_ids"],
        data["logits"],
        flags,
        differentiate=1,
    )
    deciding = flags[:1].repeat(batch, axis=0) if first_image_rules else flags
    predicted = data["logits"].argmax(axis=-1)
    ignored = np.take_along_axis(deciding, predicted, axis=1) == 0
    assert not gradient[ignored].any() and gradient[~ignored].any()


def test_class_loss_does_not_depend_on_the_order_of_two_sources():
    """By hand: of four RoIs the third is predicted to be what its image's data set does not label,
    and does not count. By the first image's data set alone, three RoIs would count, or two.
    """
    logits = np.log([[[0.5, 0.25, 0.25], [0.2, 0.7, 0.1]], [[0.2, 0.7, 0.1], [0.1, 0.1, 0.8]]])
    class_ids = np.array([[0, 1], [2, 2]])
    active = np.array([[1, 1, 0], [1, 0, 1]])
    expected = -(np.log(0.5) + np.log(0.7) + np.log(0.8)) / 3

    def loss(order, **options):
        tensors = (tf.constant(part[order]) for part in (class_ids, np.float32(logits), active))
        return float(losses.mrcnn_class_loss(*tensors, **options))

    for order in ([0, 1], [1, 0]):
        assert loss(order) == pytest.approx(expected, rel=1e-6)
    original = [loss(order, first_image_rules=True) for order in ([0, 1], [1, 0])]
    assert original == [
        pytest.approx(-(np.log(0.5) + np.log(0.7) + np.log(0.1)) / 3, rel=1e-6),
        pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2, rel=1e-6),
    ]


@BATCHES
@pytest.mark.parametrize("active", [(1, 1, 1, 1), (1, 1, 0, 1), (1, 0, 0, 0)])
def test_weighted_class_loss(batch, active):
    weights = [0.25, 1.0, 4.0, 0.0]
    data = head_material(batch, batch, rois=12)
    flags = np.tile(np.float32(active), (batch, 1))
    _value, gradient = check(
        lambda ids, logits, flags: losses.mrcnn_class_loss(ids, logits, flags, weights),
        lambda ids, logits, flags: twins.class_loss(ids, logits, flags, weights),
        data["class_ids"],
        data["logits"],
        flags,
        differentiate=1,
    )
    # each RoI's gradient is what it is without weights, times its factor
    _, plain = check(
        losses.mrcnn_class_loss,
        twins.class_loss,
        data["class_ids"],
        data["logits"],
        flags,
        differentiate=1,
    )
    np.testing.assert_allclose(
        gradient, plain * np.take(weights, data["class_ids"])[..., np.newaxis], atol=1e-8
    )


def test_class_weights_of_one_change_no_bit_and_none_adds_no_operation():
    data, flags = head_material(0, 2), tf.ones([2, 4])
    plain = losses.mrcnn_class_loss(data["class_ids"], data["logits"], flags)
    assert (
        plain.numpy()
        == losses.mrcnn_class_loss(data["class_ids"], data["logits"], flags, [1.0] * 4).numpy()
    )

    def operations(*options):
        graph = tf.function(
            lambda logits: losses.mrcnn_class_loss(data["class_ids"], logits, flags, *options)
        )
        return len(graph.get_concrete_function(data["logits"]).graph.get_operations())

    assert operations() == operations(None) < operations([1.0] * 4)


@BATCHES
def test_bbox_loss(batch):
    data = head_material(batch, batch)
    _, gradient = check(
        losses.mrcnn_bbox_loss,
        twins.bbox_loss,
        data["target_bbox"],
        data["class_ids"],
        data["bbox"],
        differentiate=2,
    )
    others = np.arange(4) != data["class_ids"][..., np.newaxis]
    assert (
        gradient.any() and not gradient[others].any() and not gradient[data["class_ids"] == 0].any()
    )


def test_bbox_loss_reaches_its_targets():
    """Without a stop the original trains the RPN through them."""
    data = head_material(4, 2)
    _, gradient = check(
        losses.mrcnn_bbox_loss,
        twins.bbox_loss,
        data["target_bbox"],
        data["class_ids"],
        data["bbox"],
        differentiate=0,
    )
    assert gradient.any()


@BATCHES
def test_mask_loss(batch):
    data = head_material(batch, batch)
    value, gradient = check(
        losses.mrcnn_mask_loss,
        twins.mask_loss,
        data["target_masks"],
        data["class_ids"],
        data["masks"],
        differentiate=2,
    )
    assert value > 0 and not gradient[data["class_ids"] == 0].any()
    ids = data["class_ids"][:, :, np.newaxis, np.newaxis, np.newaxis]
    own = np.take_along_axis(data["masks"], ids, axis=-1)[..., 0]
    of_own = losses.mrcnn_mask_loss(data["target_masks"], data["class_ids"], own)
    assert of_own.numpy() == np.float32(value)


def test_mask_loss_of_certain_pixels_is_finite():
    """Probabilities are kept off 0 and 1 by 1e-7, the original's epsilon."""
    right = losses.mrcnn_mask_loss(
        tf.constant([[[[0.0, 1.0]]]]),
        tf.constant([[1]]),
        tf.constant([[[[[0.5, 0.0], [0.5, 1.0]]]]]),
    )
    wrong = losses.mrcnn_mask_loss(
        tf.constant([[[[1.0, 0.0]]]]),
        tf.constant([[1]]),
        tf.constant([[[[[0.5, 0.0], [0.5, 1.0]]]]]),
    )
    assert 0 <= right.numpy() < 1e-6
    np.testing.assert_allclose(wrong, -np.log(1e-7), rtol=0.01)  # float32 has no 1 - 1e-7


# === The knee ===


def test_smooth_l1_around_its_knee():
    difference = np.array([0, 0.5, -0.5, 0.999, 1, -1, 1.001, 3, -40], np.float32)
    expected = [twins.smooth_l1(0, value) for value in difference]
    predicted = tf.Variable(difference)
    with tf.GradientTape() as tape:
        value = losses.smooth_l1(tf.zeros(9), predicted)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(
        tape.gradient(value, predicted), np.clip(difference, -1, 1), rtol=1e-6
    )


@pytest.mark.parametrize("beta", [1 / 9, 0.5, 3.0])
def test_smooth_l1_of_another_knee(beta):
    """Continuous in value and slope, and beta = 1 is the plain one."""
    difference = np.float32([0, 0.3, -0.9, 0.999, 1, 1.001, -2, 5]) * beta
    expected = [beta * twins.smooth_l1(0, value / beta) for value in difference]
    predicted = tf.Variable(difference.astype(np.float32))
    with tf.GradientTape() as tape:
        value = losses.smooth_l1(tf.zeros(8), predicted, beta)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(
        tape.gradient(value, predicted), np.clip(difference / beta, -1, 1), rtol=1e-5
    )


# === Boxes by their overlap ===

STD_DEV = [0.1, 0.1, 0.2, 0.2]


def giou(first, second):
    """Of two boxes, by its definition."""
    around = [min(first[0], second[0]), min(first[1], second[1])]
    around += [max(first[2], second[2]), max(first[3], second[3])]
    (area1, area2, whole) = (
        (box[2] - box[0]) * (box[3] - box[1]) for box in (first, second, around)
    )
    overlap = twins.iou(first, second)
    union = (area1 + area2) / (1 + overlap)
    return overlap - (whole - union) / whole


def giou_twin(truth, predicted, std_dev=STD_DEV):
    """Of boxes of any place and shape, which must not matter."""
    random = np.random.RandomState(3)
    terms = []
    for true, found in zip(np.float64(truth), np.float64(predicted)):
        corner, size = random.uniform(0, 50, 2), random.uniform(5, 60, 2)
        box = [*corner, *(corner + size)]
        terms.append(
            1 - giou(*(twins.apply_deltas(box, delta * std_dev) for delta in (true, found)))
        )
    return np.array(terms)


def test_giou_of_boxes_of_any_place_and_shape():
    random = np.random.RandomState(0)
    truth = np.float32(random.normal(0, 2, (40, 4)))
    predicted = truth + np.float32(random.normal(0, 3, (40, 4)))
    predicted[:3] += np.float32([40, 0, 0, 0])  # apart
    values = losses.giou_loss(truth, predicted, STD_DEV).numpy()
    np.testing.assert_allclose(values, giou_twin(truth, predicted), rtol=2e-5, atol=2e-6)
    assert (values[:3] > 1).all() and (values < 2).all() and (values[3:] < 1).any()
    np.testing.assert_allclose(losses.giou_loss(truth, truth, STD_DEV), 0, atol=1e-6)


def test_gradient_of_giou():
    random = np.random.RandomState(1)
    truth = np.float32(random.normal(0, 2, (6, 4)))
    predicted = tf.Variable(truth + np.float32(random.normal(0, 3, (6, 4))))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(losses.giou_loss(truth, predicted, STD_DEV))
    expected = twins.numeric_gradient(lambda moved: giou_twin(truth, moved).sum(), predicted)
    np.testing.assert_allclose(tape.gradient(value, predicted), expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["smooth_l1", "giou"])
@BATCHES
def test_losses_of_boxes_of_a_chosen_kind(kind, batch):
    """Means over the positives: of four numbers each, or of one."""
    match, _, target, predicted = rpn_material(batch, batch)
    data = head_material(batch, batch)
    options = dict(kind=kind, beta=0.5, std_dev=STD_DEV)
    rows = [
        (target[image, rank], predicted[image, anchor])
        for image in range(batch)
        for rank, anchor in enumerate(np.flatnonzero(match[image] == 1))
    ]
    of_rpn = RPNBoxLoss(**options)([target, match[..., np.newaxis], predicted])
    own = [
        (data["target_bbox"][place], data["bbox"][place][data["class_ids"][place]])
        for place in zip(*np.nonzero(data["class_ids"]))
    ]
    of_heads = BoxLoss(**options)([data["target_bbox"], data["class_ids"], data["bbox"]])
    for found, pairs in ((of_rpn, rows), (of_heads, own)):
        true, guess = (np.array(part) for part in zip(*pairs))
        if kind == "giou":
            expected = giou_twin(true, guess).mean()
        else:
            expected = np.mean(
                [0.5 * twins.smooth_l1(0, value / 0.5) for value in (true - guess).ravel()]
            )
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_loss_of_boxes_keeps_its_options():
    layer = BoxLoss(0.5, kind="giou", beta=2.0, std_dev=np.array(STD_DEV))
    again = BoxLoss.from_config(layer.get_config())
    assert again.options == layer.options == dict(kind="giou", beta=2.0, std_dev=STD_DEV)
    assert BoxLoss.from_config(dict(weight=0.5)).options["kind"] == "smooth_l1"  # of older files


# === Nothing to average ===

NOBODY = np.zeros((2, 6), np.int32)
EMPTY = {
    "no labelled anchor": lambda x: losses.rpn_class_loss(
        tf.zeros([2, 6, 1], tf.int32), x[..., :2]
    ),
    "no positive anchor": lambda x: losses.rpn_bbox_loss(
        tf.zeros([2, 5, 4]), -tf.ones([2, 6, 1], tf.int32), x
    ),
    "no active class": lambda x: losses.mrcnn_class_loss(NOBODY, x, tf.zeros([2, 4])),
    "no positive for giou": lambda x: BoxLoss(kind="giou")(
        [tf.zeros([2, 6, 4]), NOBODY, tf.stack([x] * 3, axis=2)]
    ),
    "no positive for boxes": lambda x: losses.mrcnn_bbox_loss(
        tf.zeros([2, 6, 4]), NOBODY, tf.stack([x] * 3, axis=2)
    ),
    "no positive for masks": lambda x: losses.mrcnn_mask_loss(
        tf.zeros([2, 6, 1, 1]), NOBODY, x[:, :, None, None]
    ),
    "no positive, compact": lambda x: losses.mrcnn_mask_loss(
        tf.zeros([2, 6, 1, 1]), NOBODY, x[0, :1, None, None]
    ),
}


@pytest.mark.parametrize("case", list(EMPTY))
def test_nothing_to_average_gives_zero_and_no_gradient(case):
    predicted = tf.Variable(np.random.RandomState(0).uniform(size=(2, 6, 4)).astype(np.float32))
    with tf.GradientTape() as tape:
        value = EMPTY[case](predicted)
    assert value.numpy() == 0
    gradient = tf.convert_to_tensor(tape.gradient(value, predicted))
    np.testing.assert_array_equal(gradient, np.zeros((2, 6, 4)))


def test_one_anchor_and_one_roi():
    assert losses.rpn_class_loss(
        tf.constant([[[1]]]), tf.constant([[[0.0, 0.0]]])
    ).numpy() == np.float32(np.log(2))
    logits = tf.constant([[[0.0, 0.0, 0.0]]])
    np.testing.assert_allclose(
        losses.mrcnn_class_loss(tf.constant([[2]]), logits, tf.ones([1, 3])), np.log(3)
    )


# === Their layers ===

PARITY = dict(np.load(PARITY_FOLDER / "layers_losses.npz"))
# === Regions that count, a softmax of masks ===


def random_part(data, seed):
    counted = np.random.RandomState(seed).uniform(size=data["class_ids"].shape) < 0.5
    counted[0, 1] = True
    return counted


@BATCHES
@pytest.mark.parametrize("first_image_rules", [False, True])
def test_class_loss_of_a_part(batch, first_image_rules):
    data = head_material(batch, batch)
    flags, counted = np.ones((batch, 4), np.float32), random_part(data, batch)
    flags[0, 3] = 0
    options, weights = dict(first_image_rules=first_image_rules), [1.0, 2.0, 0.5, 3.0]
    value, gradient = check(
        lambda ids, logits: losses.mrcnn_class_loss(
            ids, logits, flags, class_weights=weights, counted=tf.constant(counted), **options
        ),
        lambda ids, logits: twins.class_loss(
            ids, logits, flags, weights, counted=counted, **options
        ),
        data["class_ids"],
        data["logits"],
        differentiate=1,
    )
    assert value > 0 and not gradient[~counted].any()


@BATCHES
def test_bbox_loss_of_a_part(batch):
    data = head_material(batch, batch)
    counted = random_part(data, batch)
    value, gradient = check(
        lambda *inputs: losses.mrcnn_bbox_loss(*inputs, tf.constant(counted)),
        lambda *inputs: twins.bbox_loss(*inputs, counted),
        data["target_bbox"],
        data["class_ids"],
        data["bbox"],
        differentiate=2,
    )
    assert value > 0 and not gradient[~counted].any()


@pytest.mark.parametrize("counted", [True, False])
def test_losses_where_all_or_none_count(counted):
    data = head_material(0, 2)
    part, active = tf.fill([2, 6], counted), np.ones((2, 4), np.float32)
    for loss, inputs in (
        (losses.mrcnn_class_loss, (data["class_ids"], data["logits"], active)),
        (losses.mrcnn_bbox_loss, (data["target_bbox"], data["class_ids"], data["bbox"])),
    ):
        assert loss(*inputs, counted=part) == (loss(*inputs) if counted else 0)


def log_probabilities(logits, class_ids):
    """Of the background and of each region's class, [b, rois, h, w, 2]."""
    values = tf.nn.log_softmax(logits)
    own = tf.gather(values, class_ids, axis=-1, batch_dims=2)
    return tf.stack([values[..., 0], own], axis=-1)


@BATCHES
def test_mask_softmax_loss(batch):
    data = head_material(batch, batch, side=2)
    logits = np.random.RandomState(batch).normal(0, 2, (batch, 6, 2, 2, 4)).astype(np.float32)
    value, gradient = check(
        lambda masks, ids, values: losses.mrcnn_mask_softmax_loss(
            masks, ids, log_probabilities(values, ids)
        ),
        twins.mask_softmax_loss,
        data["target_masks"],
        data["class_ids"],
        logits,
        differentiate=2,
    )
    positive = data["class_ids"] > 0
    # all classes, the background too, exclude each other
    assert value > 0 and not gradient[~positive].any() and gradient[positive].all()


def test_mask_softmax_loss_of_no_object():
    inputs = tf.zeros([2, 3, 4, 4]), tf.zeros([2, 3], tf.int32), tf.zeros([2, 3, 4, 4, 2])
    with tf.GradientTape() as tape:
        tape.watch(inputs[2])
        value = losses.mrcnn_mask_softmax_loss(*inputs)
    assert value == 0 and not tf.convert_to_tensor(tape.gradient(value, inputs[2])).numpy().any()


# === Layers ===

LAYERS = ["RPNClassLoss", "RPNBoxLoss", "ClassLoss", "BoxLoss", "MaskLoss"]
EVERY_LAYER = pytest.mark.parametrize("name", LAYERS)


def parity(*names):
    return [PARITY[name] for name in names]


def parity_masks():
    """Target masks of all RoIs, and their own class's masks, 0 for background."""
    class_ids, own_class = parity("class_ids", "own_class_mask")
    shape = own_class.shape
    targets = np.zeros((*class_ids.shape, *shape[1:]), np.float32)
    targets[class_ids > 0] = np.unpackbits(PARITY["target_mask_packed"])[: own_class.size].reshape(
        shape
    )
    masks = np.zeros_like(targets)
    masks[class_ids > 0] = own_class
    return [targets, class_ids, masks]


@pytest.mark.parametrize(
    "layer, inputs, name",
    [
        (RPNClassLoss(), parity("rpn_match", "rpn_logits"), "loss_rpn_class"),
        (RPNBoxLoss(), parity("rpn_target", "rpn_match", "rpn_bbox"), "loss_rpn_bbox"),
        # whose two images have different active classes
        (
            ClassLoss(first_image_rules=True),
            parity("class_ids", "class_logits", "active"),
            "loss_mrcnn_class",
        ),
        (BoxLoss(), parity("target_bbox", "class_ids", "pred_bbox"), "loss_mrcnn_bbox"),
        (MaskLoss(), parity_masks(), "loss_mrcnn_mask"),
    ],
    ids=LAYERS,
)
def test_losses_are_the_originals(layer, inputs, name):
    np.testing.assert_allclose(layer(inputs), PARITY[name], rtol=2e-6)


def test_the_originals_function_keeps_its_rule():
    found = mrcnn_class_loss_graph(*parity("class_ids", "class_logits", "active"))
    np.testing.assert_allclose(found, PARITY["loss_mrcnn_class"], rtol=2e-6)


TWINS = {
    "RPNClassLoss": lambda match, logits: twins.rpn_class_loss(match[..., 0], logits),
    "RPNBoxLoss": lambda target, match, predicted: twins.rpn_bbox_loss(
        target, match[..., 0], predicted
    ),
    "ClassLoss": twins.class_loss,
    "BoxLoss": twins.bbox_loss,
    "MaskLoss": twins.mask_loss,
}


@EVERY_LAYER
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_against_loops(name, batch):
    case = cases.GRAPH_LAYERS[name]
    inputs = case.inputs(batch)
    np.testing.assert_allclose(case.make()(inputs), TWINS[name](*inputs), rtol=3e-6)


def test_class_weights():
    inputs, weights = cases.GRAPH_LAYERS["ClassLoss"].inputs(2), [0.5, 2.0, 3.0, 1.0]
    layer = ClassLoss(0.5, class_weights=weights)
    np.testing.assert_allclose(layer(inputs), twins.class_loss(*inputs, weights), rtol=3e-6)
    again = ClassLoss.from_config(layer.get_config())
    assert again(inputs) == layer(inputs) != ClassLoss(0.5)(inputs)


def test_the_first_image_rules_where_it_is_asked_for():
    ids, logits, active = (np.array(part) for part in cases.GRAPH_LAYERS["ClassLoss"].inputs(2))
    active[0] = [1, 0, 1, 0]
    layer = ClassLoss(first_image_rules=True)
    for made in (layer, ClassLoss.from_config(layer.get_config())):
        np.testing.assert_allclose(
            made([ids, logits, active]),
            twins.class_loss(ids, logits, active, first_image_rules=True),
            rtol=3e-6,
        )


@EVERY_LAYER
def test_the_output_is_not_weighted_and_the_weight_is_kept(name):
    case = cases.GRAPH_LAYERS[name]
    inputs = case.inputs(2)
    layer = type(case.make())(0.25, name="some_loss")
    np.testing.assert_allclose(layer(inputs), TWINS[name](*inputs), rtol=3e-6)
    assert type(layer).from_config(layer.get_config()).weight == 0.25
    assert layer.losses == [] and [metric.name for metric in layer.metrics] == ["some_loss"]

"""Hard examples: against loops, ties and padding, and what then trains."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.build import training_model
from mrcnn.networks.mask_rcnn.hard_examples import HardExamples, hard_examples
from mrcnn.networks.mask_rcnn.losses import giou_loss, smooth_l1
from mrcnn.training.data import training_data
from mrcnn.training.step import TrainingModel
from tests import twins
from tests.networks import layer_cases as cases
from tests.tiny import Rectangles, randomize, tiny_config, values


def material(batch, rois=12, seed=0):
    inputs = cases.hard_inputs(np.random.RandomState(seed + batch), batch, rois)
    inputs[3][0, 2] = 0  # a class that the first image's data set lacks
    return inputs


def expected_of(inputs, count):
    rois, *rest = inputs
    return twins.hard_examples(*rest, is_padding=~rois.any(axis=-1), count=count)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 4, 10, 12, 100])
def test_against_loops(batch, count):
    inputs = material(batch)
    found = HardExamples(count)(inputs)
    assert found.dtype == tf.bool
    np.testing.assert_array_equal(found, expected_of(inputs, count))
    # the last two are padding
    assert found.numpy().sum(axis=1).tolist() == [min(count, 10)] * batch


def test_boxes_count_beside_classes():
    """The hardest by class alone are others."""
    inputs = material(3)
    _, ids, logits, active, target, predicted = inputs
    found = HardExamples(4)(inputs)
    alone = HardExamples(4)([*inputs[:4], target, np.zeros_like(predicted) + target[:, :, None]])
    assert not np.array_equal(found, alone)
    entropy = -np.log(np.take_along_axis(twins.softmax(logits), ids[..., None], -1)[..., 0])
    entropy *= np.take_along_axis(active, logits.argmax(-1), axis=1)
    entropy[:, -2:] = -1
    for image in range(3):
        assert set(np.flatnonzero(alone[image])) == set(np.argsort(-entropy[image])[:4])


@pytest.mark.parametrize(
    "options", [dict(kind="giou", std_dev=[0.1, 0.1, 0.2, 0.2]), dict(beta=0.1)], ids=str
)
def test_other_losses(options):
    inputs, weights = material(2), [1.0, 5.0, 0.1, 2.0]
    layer = HardExamples(5, class_weights=weights, first_image_rules=True, **options)
    rois, ids, logits, active, target, predicted = inputs
    losses = np.zeros(ids.shape)
    for index in np.ndindex(ids.shape):
        if active[0][np.argmax(logits[index])]:
            losses[index] = weights[ids[index]] * twins.cross_entropy(logits[index], ids[index])
        if ids[index] > 0:
            pair = [target[index][None], predicted[index][ids[index]][None]]
            losses[index] += np.sum(box_loss(options)(*pair))
    losses[~rois.any(axis=-1)] = -1
    for image, chosen in enumerate(np.array(layer(inputs))):
        assert set(np.flatnonzero(chosen)) == set(np.argsort(-losses[image])[:5])
    again = HardExamples.from_config(layer.get_config())
    np.testing.assert_array_equal(again(inputs), layer(inputs))


def box_loss(options):
    """The function that `BoxLoss` has tests for."""
    if options.get("kind") == "giou":
        return lambda truth, predicted: giou_loss(truth, predicted, options["std_dev"]).numpy()
    return lambda truth, predicted: smooth_l1(truth, predicted, options["beta"]).numpy()


def test_of_equal_losses_the_first():
    rois = np.ones((2, 6, 4), np.float32)
    rois[1, 0] = 0
    found = hard_examples(rois, tf.ones([2, 6]), tf.zeros([2, 6]), 3)
    assert found.numpy().astype(int).tolist() == [[1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0]]


def test_no_object_and_nothing_but_padding():
    rois, ids, *others = material(2)
    rois[1] = 0
    found = HardExamples(4)([rois, np.zeros_like(ids), *others]).numpy()
    assert found.sum(axis=1).tolist() == [4, 0]


def test_no_gradient_passes_through_the_choice():
    rois, *losses = (tf.ones([1, 5, 4]), tf.random.uniform([1, 5]), tf.random.uniform([1, 5]))
    with tf.GradientTape() as tape:
        tape.watch(losses)
        total = tf.reduce_sum(tf.cast(hard_examples(rois, *losses, 2), tf.float32))
    assert tape.gradient(total, losses) == [None, None]


# === In the network ===


@pytest.fixture(scope="module")
def trained():
    """A model that learns of 3 hard examples, and a function that runs its parts."""
    config = tiny_config(HARD_EXAMPLES=3, ROI_POSITIVE_IOU=0.05)
    model = training_model(config, TrainingModel)
    randomize(model)
    inputs = training_data(model, Rectangles(), config, steps=1, shuffle=False, seed=0)[0][0]
    names = ["mrcnn_class_logits", "mrcnn_bbox", "mrcnn_class_loss", "mrcnn_bbox_loss"]
    layer = model.get_layer
    parts = [*layer("hard_examples").input, layer("hard_examples").output]
    probe = keras.Model(model.inputs, [*parts, *(layer(name).output for name in names)])

    def run():
        """On the same random regions each time."""
        layer("proposal_targets").seed_generator.state.assign([3, 0])
        return [np.array(part) for part in probe(list(inputs), training=False)]

    return model, run


def test_the_losses_of_a_network_are_of_them_alone(trained):
    _, run = trained
    *parts, chosen, logits, deltas, class_loss, box_loss = run()
    _, ids, own_logits, active, target, own_deltas = parts
    np.testing.assert_array_equal(logits, own_logits)
    np.testing.assert_array_equal(deltas, own_deltas)
    np.testing.assert_array_equal(chosen, expected_of(parts, 3))
    assert (chosen.sum(axis=1) == 3).all() and (ids[chosen] > 0).any()
    expected = twins.class_loss(ids, logits, active, counted=chosen)
    np.testing.assert_allclose(class_loss, expected, rtol=1e-5)
    assert class_loss > 1.1 * twins.class_loss(ids, logits, active)
    np.testing.assert_allclose(box_loss, twins.bbox_loss(target, ids, deltas, chosen), rtol=1e-5)


def test_only_they_have_gradients(trained):
    model, run = trained
    *parts, chosen, _, _, _, _ = run()
    names = ["mrcnn_class_loss", "mrcnn_bbox_loss"]
    losses = {name: model.get_layer(name) for name in names}
    logits, deltas = tf.constant(parts[2]), tf.constant(parts[5])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([logits, deltas])
        hard = model.get_layer("hard_examples")([*parts[:2], logits, *parts[3:5], deltas])
        class_loss = losses[names[0]]([parts[1], logits, parts[3], hard])
        box_loss = losses[names[1]]([parts[4], parts[1], deltas, hard])
    gradient = tape.gradient(class_loss, logits).numpy()
    assert gradient[chosen].any(axis=-1).all() and not gradient[~chosen].any()
    gradient = tf.convert_to_tensor(tape.gradient(box_loss, deltas)).numpy()
    assert gradient[chosen].any() and not gradient[~chosen].any()


def test_all_of_them_are_the_usual_losses():
    found, known = [], {}
    for count in (0, 6):
        config = tiny_config(
            HARD_EXAMPLES=count,
            TRAIN_ROIS_PER_IMAGE=6,
            ROI_POSITIVE_RATIO=0.5,
            ROI_POSITIVE_IOU=0.05,
        )
        model = training_model(config, TrainingModel)
        randomize(model)
        known = known or values(model)
        for variable in model.weights:  # their order differs
            variable.assign(known[variable.path])
        model.get_layer("proposal_targets").seed_generator.state.assign([3, 0])
        inputs = training_data(model, Rectangles(), config, steps=1, shuffle=False, seed=0)[0][0]
        *outputs, rois = keras.Model(
            model.inputs, [*model.outputs[-5:], model.get_layer("output_rois").output]
        )(list(inputs), training=True)
        assert np.array(rois).any(axis=-1).all()  # without padding
        found.append([float(loss) for loss in outputs])
    np.testing.assert_allclose(*found, rtol=1e-6)

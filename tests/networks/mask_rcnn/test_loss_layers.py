"""The loss layers: the original's numbers, and what they add to and log in a model."""

import keras
import numpy as np
import pytest

from mrcnn.networks.mask_rcnn.loss_layers import (
    BoxLoss,
    ClassLoss,
    MaskLoss,
    RPNBoxLoss,
    RPNClassLoss,
)
from tests import twins
from tests.networks import layer_cases as cases
from tests.paths import PARITY as PARITY_FOLDER

PARITY = dict(np.load(PARITY_FOLDER / "layers_losses.npz"))
LOSS_NAMES = ["RPNClassLoss", "RPNBoxLoss", "ClassLoss", "BoxLoss", "MaskLoss"]
EVERY_LOSS = pytest.mark.parametrize("name", LOSS_NAMES)


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
    "layer_class, inputs, name",
    [
        (RPNClassLoss, parity("rpn_match", "rpn_logits"), "loss_rpn_class"),
        (RPNBoxLoss, parity("rpn_target", "rpn_match", "rpn_bbox"), "loss_rpn_bbox"),
        (ClassLoss, parity("class_ids", "class_logits", "active"), "loss_mrcnn_class"),
        (BoxLoss, parity("target_bbox", "class_ids", "pred_bbox"), "loss_mrcnn_bbox"),
        (MaskLoss, parity_masks(), "loss_mrcnn_mask"),
    ],
    ids=LOSS_NAMES,
)
def test_losses_are_the_originals(layer_class, inputs, name):
    np.testing.assert_allclose(layer_class()(inputs), PARITY[name], rtol=2e-6)


TWINS = {
    "RPNClassLoss": lambda match, logits: twins.rpn_class_loss(match[..., 0], logits),
    "RPNBoxLoss": lambda target, match, predicted: twins.rpn_bbox_loss(
        target, match[..., 0], predicted
    ),
    "ClassLoss": twins.class_loss,
    "BoxLoss": twins.bbox_loss,
    "MaskLoss": twins.mask_loss,
}


@EVERY_LOSS
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_against_loops(name, batch):
    case = cases.GRAPH_LAYERS[name]
    inputs = case.inputs(batch)
    np.testing.assert_allclose(case.make()(inputs), TWINS[name](*inputs), rtol=3e-6)


def test_class_weights():
    inputs, weights = cases.GRAPH_LAYERS["ClassLoss"].inputs(2), [0.5, 2.0, 3.0, 1.0]
    layer = ClassLoss(0.5, class_weights=weights)
    np.testing.assert_allclose(layer(inputs), twins.class_loss(*inputs, weights), rtol=3e-6)
    np.testing.assert_allclose(layer.losses[0], 0.5 * twins.class_loss(*inputs, weights), rtol=3e-6)
    again = ClassLoss.from_config(layer.get_config())
    assert again(inputs) == layer(inputs) != ClassLoss(0.5)(inputs)


@EVERY_LOSS
def test_the_model_gets_the_weighted_loss_and_logs_it_by_name(name):
    case = cases.GRAPH_LAYERS[name]
    inputs, tensors = case.inputs(2), cases.symbolic(case.inputs(2))
    layer = type(case.make())(0.25, name="some_loss")
    model = keras.Model(tensors, layer(tensors))
    model.compile("sgd", jit_compile=False)
    plain = TWINS[name](*inputs)
    logs = model.evaluate(inputs, verbose=0, batch_size=2, return_dict=True)
    assert set(logs) == {"loss", "some_loss"}
    np.testing.assert_allclose([logs["loss"], logs["some_loss"]], 0.25 * plain, rtol=3e-6)
    np.testing.assert_allclose(model.predict(inputs, verbose=0, batch_size=2), plain, rtol=3e-6)


def test_the_log_is_the_mean_over_batches_and_starts_anew():
    layer = RPNClassLoss(2.0)
    batches = [[np.full((1, 1, 1), 1), np.float32([[[0, logit]]])] for logit in (0, 1)]
    values = [float(layer(batch)) for batch in batches]
    np.testing.assert_allclose(layer.tracker.result(), 2 * np.mean(values), rtol=1e-6)
    layer.tracker.reset_state()
    layer(batches[1])
    np.testing.assert_allclose(layer.tracker.result(), 2 * values[1], rtol=1e-6)


def test_several_losses_add_up():
    first, second = (
        cases.symbolic(cases.GRAPH_LAYERS[name].inputs(2)) for name in ("RPNClassLoss", "BoxLoss")
    )
    outputs = [RPNClassLoss(3.0, name="one")(first), BoxLoss(name="two")(second)]
    model = keras.Model([*first, *second], outputs)
    model.compile("sgd", jit_compile=False)
    inputs = [
        *cases.GRAPH_LAYERS["RPNClassLoss"].inputs(2),
        *cases.GRAPH_LAYERS["BoxLoss"].inputs(2),
    ]
    logs = model.evaluate(inputs, verbose=0, batch_size=2, return_dict=True)
    np.testing.assert_allclose(logs["loss"], logs["one"] + logs["two"], rtol=1e-6)

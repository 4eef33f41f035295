"""Feature maps computed again in the backward pass: the same losses, the same gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.networks.mask_rcnn.build import training_model
from mrcnn.networks.rematerialization import Rematerialized
from mrcnn.training.data import training_data
from mrcnn.training.step import TrainingModel
from tests.tiny import Rectangles, TinyConfig, tiny_config

RESNET = dict(BACKBONE="resnet50", COMPUTE_BACKBONE_SHAPE=None, BACKBONE_WIDTH=4)


def make(**fields):
    """A training model without chance in its targets, and a batch for it."""
    # regions of the generator, of which some are positive: those of an untrained RPN are not
    config = tiny_config(**{**RESNET, "USE_RPN_ROIS": False, **fields})
    keras.utils.set_random_seed(0)
    model = training_model(config, TrainingModel)
    model.get_layer("proposal_targets").shuffle = False
    data = training_data(model, Rectangles(), config, steps=1, shuffle=False, seed=0)
    return model, list(data[0][0])


def gradients(model, inputs):
    """The losses and the gradient of each weight, of one traced step, and the number of its
    convolutions.
    """

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            total = tf.add_n([*outputs[-5:], *model.losses])
        return outputs[-5:], tape.gradient(total, model.trainable_weights)

    losses, found = step()
    operations = step.get_concrete_function().graph.get_operations()
    return (
        np.array(losses),
        [np.asarray(gradient) for gradient in found],
        sum(operation.type == "Conv2D" for operation in operations),
    )


# bfloat16 rounds sums of gradients to 3 digits, and not in the same order
@pytest.mark.parametrize(
    "policy, tolerance, fields",
    [
        ("float32", 1e-5, {}),
        ("mixed_bfloat16", 0.05, {}),
        ("float32", 1e-5, {"STRIDE_IN_3X3": True}),
        ("float32", 1e-5, {"BACKBONE": "resnext50"}),
    ],
)
def test_same_losses_and_gradients(policy, tolerance, fields):
    model, inputs = make(IMAGES_PER_GPU=2, DTYPE_POLICY=policy, **fields)
    losses, expected, convolutions = gradients(model, inputs)
    model.rematerialized = Rematerialized(model)
    again, found, more = gradients(model, inputs)
    assert more > convolutions + 50  # those of the residual blocks, computed twice
    assert losses.all()
    np.testing.assert_allclose(again, losses, rtol=1e-5)
    assert len(found) == len(expected) and any(np.abs(gradient).max() > 0 for gradient in found)
    for weight, one, other in zip(model.trainable_weights, found, expected):
        assert np.linalg.norm(one - other) <= tolerance * max(np.linalg.norm(other), 1e-3), (
            weight.path
        )


def test_blocks_of_a_resnet():
    model, _ = make()
    found = Rematerialized(model)
    ends = [block.output_names for block in found.blocks]
    assert len(ends) == 3 + 4 + 6 + 3 and ends[0] == ["res2a_out"] and ends[-1] == ["res5c_out"]
    assert "conv1" in {layer.name for layer in found.blocks[0].layers}
    names = [layer.name for part in (*found.blocks, found.rest) for layer in part.layers]
    weighted = [layer.name for layer in model.layers if layer.weights]
    # each layer with weights is in one of them
    assert sorted(name for name in names if name in weighted) == sorted(weighted)


def test_a_backbone_without_known_blocks():
    with pytest.raises(
        ValueError, match="REMATERIALIZE is True.*no residual blocks.*set it to False"
    ):
        training_model(tiny_config(REMATERIALIZE=True))


def test_field_reaches_the_model_and_trains():
    model, inputs = make(REMATERIALIZE=True)
    assert model.rematerialized and make()[0].rematerialized is None
    model.compile("sgd")
    before = model.get_layer("res2a_branch2a").kernel.numpy()
    assert np.isfinite(model.train_on_batch(inputs)).all()
    assert (model.get_layer("res2a_branch2a").kernel.numpy() != before).any()


def test_outputs_without_training_are_the_same():
    model, inputs = make()
    expected = model(inputs, training=False)
    model.rematerialized = Rematerialized(model)
    for one, other in zip(model(inputs, training=False), expected):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("train_bn", [None, True])
def test_statistics_of_the_batch_are_refused(train_bn):
    with pytest.raises(ValueError, match="REMATERIALIZE is True.*TRAIN_BN"):
        tiny_config(REMATERIALIZE=True, TRAIN_BN=train_bn)
    assert TinyConfig.REMATERIALIZE is False

"""FREEZE_BACKBONE_STAGES: what it freezes in every backbone, and that no gradient is computed
there.
"""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.model import MaskRCNN
from mrcnn.networks.backbones.applications import application_graph
from mrcnn.networks.backbones.build import backbone_graph
from mrcnn.training import STAGES
from mrcnn.training.data import training_data
from mrcnn.training.stages import set_trainable
from tests.tiny import Rectangles, TinyConfig, tiny_config, values


def trained(model, pattern, frozen):
    set_trainable(model, pattern, frozen)
    return {
        layer.name
        for layer in model._flatten_layers()
        if layer.weights and layer.trainable and not isinstance(layer, keras.Model)
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return MaskRCNN("training", tiny_config(), str(tmp_path_factory.mktemp("logs"))).keras_model


def test_stages_of_the_resnet(tiny):
    everything = trained(tiny, ".*", 0)
    for frozen, expected in enumerate(
        [
            {"conv1", "bn_conv1"},
            {"res2a_branch2a", "bn2a_branch2a"},
            {"res3a_branch2a", "bn3a_branch2a"},
            {"res4a_branch2a", "bn4a_branch2a"},
            {"res5a_branch2a", "bn5a_branch2a"},
        ],
        1,
    ):
        assert trained(tiny, ".*", frozen - 1) - trained(tiny, ".*", frozen) == expected
    assert trained(tiny, ".*", 5) == trained(tiny, STAGES["heads"], 0) < everything
    # in the stages of a training too, and to the original's numbers of layers without the field
    assert trained(tiny, STAGES["3+"], 4) == trained(tiny, STAGES["5+"], 0)
    assert trained(tiny, STAGES["heads"], 2) == trained(tiny, STAGES["heads"], 0)


def test_the_original_resnet_counts():
    image = keras.Input((None, None, 3))
    config = type("C", (TinyConfig,), {"BACKBONE": "resnet50", "BACKBONE_WIDTH": 8})()
    model = keras.Model(image, backbone_graph(image, config))
    # layers with weights: conv1 and its norm; blocks of 4 + 3 * n pairs with n blocks a stage
    counts = [sum(train for _, train in _chosen(model, frozen)) for frozen in range(6)]
    pairs = [1, 3 * 3 + 1, 4 * 3 + 1, 6 * 3 + 1, 3 * 3 + 1]
    assert counts == [2 * sum(pairs[stage:]) for stage in range(6)]


def _chosen(model, frozen):
    from mrcnn.training.stages import trainable_layers

    return trainable_layers(model, ".*", frozen)


@pytest.mark.parametrize(
    "name, stem",
    [
        ("MobileNetV2", ["Conv1", "bn_Conv1", "expanded_conv_depthwise"]),
        ("MobileNetV3Small", ["conv", "conv_bn"]),
        ("ConvNeXtTiny", ["convnext_tiny_stem"]),
        ("VGG16", ["block1_conv1", "block1_conv2", "block2_conv1"]),
    ],
)
def test_stages_of_keras_applications(name, stem):
    image = keras.Input((None, None, 3))
    config = type("C", (TinyConfig,), {"BACKBONE": name})()
    model = keras.Model(image, application_graph(image, config))
    frozen = [
        {layer.name for layer, train in _chosen(model, stages) if not train} for stages in range(6)
    ]
    assert not frozen[0] and set(stem) <= frozen[1]
    for less, more in itertools.pairwise(frozen):
        # whose stride 32 is a pooling alone
        assert less < more or (name == "VGG16" and less == more == frozen[5])
    assert frozen[5] == {layer.name for layer, _ in _chosen(model, 0)}
    # what training stages call res3 and above stays trainable
    set_trainable(model, STAGES["3+"])
    above = {layer.name for layer, train in _chosen(model, 2) if train}
    assert above == {layer.name for layer, _ in _chosen(model, 0) if layer.trainable}


def test_a_backbone_without_the_names():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 3, name="mine")(image))
    with pytest.raises(
        ValueError, match="STAGES is 2, but the backbone has no layers of the names conv1"
    ):
        set_trainable(model, ".*", 2)


def test_a_stage_of_frozen_layers_only(tiny):
    with pytest.raises(ValueError, match="matches no layer above FREEZE_BACKBONE_STAGES = 3"):
        set_trainable(tiny, "res3.*", 3)


def _gradient_kernels(model, pattern, frozen):
    """Gradients of convolutions in a training step that what it gives and assigns depends on: the
    others do not run.
    """
    set_trainable(model, pattern, frozen)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    batch = tuple(map(tf.constant, training_data(model, Rectangles(2), tiny_config(), 1)[0][0]))
    graph = tf.function(lambda: model.train_step((batch,))).get_concrete_function().graph
    needed, waiting = set(), [*(output.op for output in graph.outputs), *graph.control_outputs]
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed.add(operation)
            waiting.extend([*(tensor.op for tensor in operation.inputs), *operation.control_inputs])
    return sum(operation.type.startswith("Conv2DBackprop") for operation in needed)


@pytest.mark.slow
def test_no_gradient_is_computed_in_frozen_stages(tiny):
    everything = _gradient_kernels(tiny, ".*", 0)
    # of conv1's kernel and the next one's input; then also of res2's and res3's kernels, of the
    # inputs of res3 and res4, and of those of the pyramid's convolutions on C2 and C3
    assert [everything - _gradient_kernels(tiny, ".*", frozen) for frozen in (1, 3)] == [2, 8]
    assert _gradient_kernels(tiny, ".*", 5) == _gradient_kernels(tiny, STAGES["heads"], 0)


def test_training_leaves_them_alone(tmp_path, eagerly, capsys):
    model = MaskRCNN(
        "training", tiny_config(FREEZE_BACKBONE_STAGES=2, STEPS_PER_EPOCH=1), str(tmp_path)
    )
    model.set_trainable(".*")
    assert "bn2a" not in capsys.readouterr().out
    before = values(model.keras_model)
    model.train(Rectangles(3), None, 0.01, 1, "all", verbose=0)
    moved = {
        name
        for name, value in values(model.keras_model).items()
        if not np.array_equal(value, before[name])
    }
    assert not any(name.startswith(("conv1", "bn_conv1", "res2", "bn2")) for name in moved)
    assert any(name.startswith("res3") for name in moved)

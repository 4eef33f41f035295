"""The two models against the original's: names, shapes, order, what each stage trains."""

import re

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.config import Config
from mrcnn.networks.layers.normalization import BatchNorm
from mrcnn.networks.mask_rcnn.build import inference_model, training_model
from mrcnn.ops.image_meta import compose_image_meta
from mrcnn.training.data import training_data
from mrcnn.training.stages import STAGES, alternating_stages, set_trainable
from mrcnn.training.step import TrainingModel
from mrcnn.weights.h5_format import read_h5
from mrcnn.weights.load import layer_weights
from tests.paths import PARITY
from tests.tiny import (
    TORCHVISION,
    TORCHVISION_RESNET,
    Rectangles,
    backbone,
    backbone_shapes,
    randomize,
    tiny_config,
    values,
)

INFERENCE_INPUTS = ["input_image", "input_image_meta", "input_anchors"]
TRAINING_INPUTS = {
    "input_image": "float32",
    "input_image_meta": "float32",
    "input_rpn_match": "int32",
    "input_rpn_bbox": "float32",
    "input_gt_class_ids": "int32",
    "input_gt_boxes": "float32",
    "input_gt_masks": "bool",
}
LOSSES = [
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
]
NAMED = {
    "ROI",
    "roi_align_classifier",
    "roi_align_mask",
    "pool_squeeze",
    "mrcnn_class",
    "mrcnn_bbox",
    "mrcnn_mask",
    "rpn_class",
    "rpn_bbox",
    "fpn_p6",
    "fpn_p5upsampled",
    "fpn_p4upsampled",
    "fpn_p3upsampled",
    "fpn_p4add",
    "fpn_p3add",
    "fpn_p2add",
    "input_image",
    "input_image_meta",
}

# layers -> tensors, parameters, tensors with weight decay: counted in the original, 81 classes
TRAINABLE = {
    "resnet101": {
        "heads": (54, 21494264, 42),
        "5+": (94, 36470264, 62),
        "4+": (374, 62597112, 202),
        "3+": (426, 63820280, 228),
        "all": (470, 64047096, 250),
    },
    "resnet50": {
        "heads": (54, 21494264, 42),
        "5+": (94, 36470264, 62),
        "4+": (170, 43578872, 100),
        "3+": (222, 44802040, 126),
        "all": (266, 45028856, 148),
    },
}
PARAMETERS = {"resnet101": 64158584, "resnet50": 45088120}


def original_layout(architecture):
    """layer -> [(weight name, shape)] of the original's files."""
    layout = {}
    for line in (PARITY / f"h5_layout_{architecture}.txt").read_text().splitlines()[1:]:
        layer, weights = line.split(": ", 1)
        layout[layer] = [
            (name, tuple(map(int, shape.split("x"))))
            for name, shape in (weight.split(" ") for weight in weights.split("; "))
        ]
    return layout


def own_layout(model):
    """The same of a model; a nested model's weights keep their layer's name."""
    layout = {}
    for layer in model.layers:
        if layer.weights:
            prefix = "" if isinstance(layer, keras.Model) else layer.name + "/"
            layout[layer.name] = [
                (name.removeprefix(prefix), tuple(variable.shape))
                for name, variable in layer_weights(layer)
            ]
    return layout


@pytest.fixture(scope="module", params=["resnet50", "resnet101"])
def full_size(request):
    config = type("FullSize", (Config,), {"BACKBONE": request.param, "NUM_CLASSES": 81})()
    return request.param, training_model(config)


def test_weights_are_the_originals(full_size):
    architecture, model = full_size
    assert own_layout(model) == original_layout(architecture)
    assert model.count_params() == PARAMETERS[architecture]


def test_what_each_stage_trains(full_size):
    architecture, model = full_size
    # up and down again: a stage does not depend on the one before
    for stage in ("heads", "all", "3+", "5+", "4+", "heads"):
        set_trainable(model, STAGES[stage])
        variables = model.trainable_variables
        found = (
            len(variables),
            sum(int(np.prod(variable.shape)) for variable in variables),
            sum(variable.regularizer is not None for variable in variables),
        )
        assert found == TRAINABLE[architecture][stage], stage
        untouched = [
            variable.path
            for variable in variables
            if re.match(r"(conv1|bn_conv1|res2|bn2)", variable.path)
        ]
        assert bool(untouched) == (stage == "all")


@pytest.fixture(scope="module")
def tiny_models():
    config = tiny_config(BACKBONE="resnet50")
    return config, training_model(config), inference_model(config)


def test_both_models_have_the_same_weights(tiny_models):
    _, trained, detecting = tiny_models
    assert own_layout(trained) == own_layout(detecting)
    assert trained.name == detecting.name == "mask_rcnn"


def test_named_layers(tiny_models):
    _, trained, detecting = tiny_models
    names = {layer.name for layer in trained.layers}
    assert (
        NAMED
        | set(TRAINING_INPUTS)
        | set(LOSSES)
        | {"anchors", "proposal_targets", "rpn_class_logits", "output_rois"}
        <= names
    )
    assert NAMED | {"input_anchors", "mrcnn_detection"} <= {
        layer.name for layer in detecting.layers
    }
    for stage in range(2, 6):
        assert f"res{stage}a_out" in names and f"res{stage}b_out" in names


def test_inference_inputs_and_outputs(tiny_models):
    config, _, model = tiny_models
    assert [(tensor.name, tensor.dtype) for tensor in model.inputs] == [
        (name, "float32") for name in INFERENCE_INPUTS
    ]
    assert model.output_names == [
        "mrcnn_detection",
        "mrcnn_class",
        "mrcnn_bbox",
        "mrcnn_mask",
        "ROI",
        "rpn_class",
        "rpn_bbox",
    ]
    anchors = 3 * (16 * 32 + 8 * 16 + 4 * 8 + 2 * 4 + 1 * 2)
    meta = np.zeros((3, config.IMAGE_META_SIZE), np.float32)
    meta[:, 4:11] = 64, 128, 3, 0, 0, 64, 128
    outputs = model(
        [np.zeros((3, 64, 128, 3), np.float32), meta, np.zeros((3, anchors, 4), np.float32)]
    )
    shapes = [
        (3, 10, 6),
        (3, 30, 3),
        (3, 30, 3, 4),
        (3, 10, 28, 28, 3),
        (3, 30, 4),
        (3, anchors, 2),
        (3, anchors, 4),
    ]
    assert [tuple(output.shape) for output in outputs] == shapes
    assert {output.dtype.name for output in outputs} == {"float32"}
    for symbolic, shape in zip(model.outputs, shapes):
        assert all(own in (None, size) for own, size in zip(symbolic.shape, shape, strict=True))


def training_arrays(model, batch, anchors=3 * (16**2 + 8**2 + 4**2 + 2**2 + 1)):
    """Images of 64 px with one object that covers most of each."""
    arrays = {
        "input_image": np.random.RandomState(0).randn(batch, 64, 64, 3) * 50,
        "input_image_meta": np.zeros((batch, 15)),
        "input_rpn_match": np.zeros((batch, anchors, 1)),
        "input_rpn_bbox": np.zeros((batch, 32, 4)),
        "input_gt_class_ids": np.zeros((batch, 5)),
        "input_gt_boxes": np.zeros((batch, 5, 4)),
        "input_gt_masks": np.ones((batch, 28, 28, 5)),
        "input_roi": np.full((batch, 60, 4), (5, 5, 60, 60)),
    }
    arrays["input_image_meta"][:, 4:] = 64, 64, 3, 0, 0, 64, 64, 1, 1, 1, 1
    arrays["input_rpn_match"][:, ::7] = -1
    arrays["input_rpn_match"][:, 3] = 1
    arrays["input_gt_class_ids"][:, 0] = 1
    arrays["input_gt_boxes"][:, 0] = 4, 4, 60, 60
    return [arrays[tensor.name].astype(tensor.dtype) for tensor in model.inputs]


def test_training_inputs_and_outputs(tiny_models):
    _, model, _ = tiny_models
    assert {tensor.name: tensor.dtype for tensor in model.inputs} == TRAINING_INPUTS
    assert [tensor.name for tensor in model.inputs] == list(TRAINING_INPUTS)
    assert model.output_names == [
        "rpn_class_logits",
        "rpn_class",
        "rpn_bbox",
        "mrcnn_class_logits",
        "mrcnn_class",
        "mrcnn_bbox",
        "mrcnn_mask",
        "ROI",
        "output_rois",
        *LOSSES,
    ]
    outputs = model(training_arrays(model, 3))
    anchors = 3 * (256 + 64 + 16 + 4 + 1)
    assert [tuple(output.shape) for output in outputs] == [
        (3, anchors, 2),
        (3, anchors, 2),
        (3, anchors, 4),
        (3, 20, 3),
        (3, 20, 3),
        (3, 20, 3, 4),
        (3, 20, 28, 28, 3),
        (3, 60, 4),
        (3, 20, 4),
        (),
        (),
        (),
        (),
        (),
    ]
    assert np.isfinite([float(loss) for loss in outputs[-5:]]).all()


def test_given_rois_are_an_input_and_are_used():
    model = training_model(tiny_config(USE_RPN_ROIS=False))
    assert [tensor.name for tensor in model.inputs] == [*TRAINING_INPUTS, "input_roi"]
    outputs = dict(zip(model.output_names, model(training_arrays(model, 2))))
    # (5, 5, 60, 60) px normalised: the second corner is moved by a pixel
    rois = outputs["output_rois"].numpy()
    np.testing.assert_allclose(
        rois[rois.any(-1)], [[5 / 63, 5 / 63, 59 / 63, 59 / 63]] * 12, rtol=1e-6
    )


def test_whole_masks_are_as_large_as_the_image():
    model = training_model(tiny_config(USE_MINI_MASK=False))
    assert model.inputs[6].shape == (None, 64, 64, None)


@pytest.mark.parametrize("train_bn", [False, None, True])
def test_train_bn_reaches_every_normalisation(train_bn):
    model = training_model(tiny_config(TRAIN_BN=train_bn))
    norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
    assert [layer.train_bn for layer in norms] == [train_bn] * (5 + 2 + 4)
    before = values(model)
    outputs = model(training_arrays(model, 2), training=True)
    after = values(model)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == (set() if train_bn is False else {name for name in before if "moving" in name})
    assert np.isfinite([float(loss) for loss in outputs[-5:]]).all()


@pytest.mark.parametrize("kind", ["training", "inference"])
def test_keras_file_round_trip(kind, tmp_path):
    """With ResNet's and the losses' layers registered, a whole model loads without
    custom_objects.
    """
    config = tiny_config(BACKBONE="resnet50", WEIGHT_DECAY=0.5)
    model = (training_model if kind == "training" else inference_model)(config)
    if kind == "training":
        arrays = training_arrays(model, 2)
    else:
        meta = np.zeros((1, 15), np.float32)
        meta[:, 4:11] = 64, 64, 3, 0, 0, 64, 64
        arrays = [
            np.random.RandomState(0).randn(1, 64, 64, 3).astype(np.float32),
            meta,
            np.random.RandomState(1).rand(1, 3 * 341, 4).astype(np.float32),
        ]
    randomize(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.output_names == model.output_names

    def run(model):
        if kind == "training":  # the seed of the RoIs that are trained on
            model.get_layer("proposal_targets").seed_generator.state.assign([3, 0])
        return [output.numpy() for output in model(arrays)], [float(loss) for loss in model.losses]

    (outputs, losses), (expected, expected_losses) = run(loaded), run(model)
    for name, output, other in zip(model.output_names, outputs, expected, strict=True):
        np.testing.assert_array_equal(output, other, err_msg=name)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    if kind == "training":
        assert sum(losses) > 1  # the weight decay came along
    else:
        assert outputs[0].any() and outputs[3].any()


def test_weights_of_the_keras_model_are_written_in_the_originals_layout(tmp_path):
    """Scripts say model.keras_model.save_weights(path), which Keras 3 refuses for such a name."""
    first, second = (inference_model(tiny_config()) for _ in range(2))
    path = str(tmp_path / "mask_rcnn.h5")
    first.save_weights(path)
    assert "rpn_model" in read_h5(path)
    with pytest.raises(FileExistsError, match="overwrite"):
        first.save_weights(path, overwrite=False)
    report = second.load_weights(path, by_name=True)
    assert report.initial == []
    with h5py.File(path, "a") as file:
        del file["mrcnn_mask"]
        file.attrs["layer_names"] = [
            name for name in file.attrs["layer_names"] if name != b"mrcnn_mask"
        ]
    with pytest.raises(ValueError, match="mrcnn_mask"):  # as with Keras, unless it is asked for
        second.load_weights(path)
    for ours, theirs in zip(first.get_weights(), second.get_weights()):
        np.testing.assert_array_equal(ours, theirs)
    own = str(tmp_path / "own.weights.h5")  # Keras' own layout
    first.save_weights(own)
    second.load_weights(own)
    before = second.get_weights()
    for variable in first.weights:  # the last of which is not finite
        variable.assign(keras.ops.ones_like(variable))
    first.weights[-1].assign(keras.ops.full_like(first.weights[-1], np.inf))
    first.save_weights(own)
    name = first.weights[-1].path
    with pytest.raises(ValueError, match=rf"own\.weights\.h5 has values that are NaN .*{name}"):
        second.load_weights(own)
    for ours, theirs in zip(before, second.get_weights()):
        np.testing.assert_array_equal(ours, theirs)


# === Functions of one's own ===


@pytest.mark.parametrize(
    "shapes, message",
    [
        (
            lambda image_shape: [[16, 16], [9, 8], [4, 4], [2, 2], [1, 2]],
            r"for images of 64 x 64 px, gives 9 x 8 cells to P3, which has 8 x 8; "
            r"1 x 2 cells to P6, which has 1 x 1",
        ),
        (
            lambda image_shape: backbone_shapes(image_shape)[:4],
            r"gives \[\[16, 16\].* of each of the levels P2 to P6, which are .*\[1, 1\]\]",
        ),
        (lambda image_shape: [[16], [8, 8]], r"gives \[\[16\], \[8, 8\]\]; it must"),
        (lambda image_shape: None, "gives None; it must"),
    ],
)
def test_shapes_that_do_not_fit_the_backbone(shapes, message):
    """Otherwise the first step ends in indices that are out of range."""
    with pytest.raises(ValueError, match=f"COMPUTE_BACKBONE_SHAPE, .*{message}"):
        training_model(tiny_config(COMPUTE_BACKBONE_SHAPE=shapes))


def test_shapes_are_of_the_images_that_are_trained_on():
    seen = []

    def shapes(image_shape):
        seen.append(tuple(map(int, image_shape)))
        return [tuple(row) for row in backbone_shapes(image_shape)]

    training_model(
        tiny_config(
            COMPUTE_BACKBONE_SHAPE=shapes,
            IMAGE_RESIZE_MODE="crop",
            IMAGE_MIN_DIM=128,
            IMAGE_MAX_DIM=192,
        )
    )
    assert seen == [(128, 128, 3)]


def test_a_backbone_without_staticmethod_gives_the_same_network():
    plain = training_model(tiny_config(BACKBONE=backbone, COMPUTE_BACKBONE_SHAPE=backbone_shapes))
    usual = training_model(tiny_config())
    assert [(w.path, w.shape) for w in plain.weights] == [(w.path, w.shape) for w in usual.weights]


# === As torchvision's ===


def test_everything_of_a_network_like_torchvisions_is_trained():
    """Each weight gets a gradient of the losses, also where a convolution was added."""
    config = tiny_config(**TORCHVISION_RESNET, ROI_POSITIVE_IOU=0.05, WEIGHT_DECAY=0.0)
    model = training_model(config, TrainingModel)
    randomize(model)
    inputs = training_data(model, Rectangles(), config, steps=1, shuffle=False, seed=0)[0][0]
    with tf.GradientTape() as tape:
        outputs = model(list(inputs), training=True)
        total = tf.add_n(outputs[-5:])
    assert all(np.isfinite(loss) and loss > 0 for loss in outputs[-5:])
    variables = {"/".join(each.path.split("/")[-2:]): each for each in model.trainable_variables}
    assert {
        "rpn_conv_shared2/kernel",
        "mrcnn_box_conv1/kernel",
        "mrcnn_box_conv2/kernel",
        "mrcnn_box_bn2/gamma",
    } <= set(variables)
    for name, gradient in zip(variables, tape.gradient(total, list(variables.values()))):
        gradient = np.asarray(tf.convert_to_tensor(gradient))
        assert np.isfinite(gradient).all() and gradient.any(), name


def test_stages_of_a_network_like_torchvisions():
    model = training_model(tiny_config(**TORCHVISION_RESNET), TrainingModel)
    added = {"rpn_conv_shared2", "mrcnn_box_conv1", "mrcnn_box_bn1", "mrcnn_box_conv2"}

    def trained(stage, frozen=0):
        set_trainable(model, STAGES[stage], frozen)
        paths = (variable.path for variable in model.trainable_variables)
        return {path.split("/")[-2] for path in paths}

    heads = trained("heads")
    assert added <= heads and not any(re.match("res|bn[0-9_]|conv1", name) for name in heads)
    assert "res4a_branch2b" in trained("4+") - trained("5+")
    frozen = trained("all", frozen=2)
    assert added <= frozen and not frozen & {"conv1", "bn_conv1", "res2a_branch2b"}
    rpn, box = {"rpn_conv_shared2"}, {"mrcnn_box_conv1", "mrcnn_box_bn1"}
    for stage, wanted in zip(alternating_stages(1), (rpn, box, rpn, box)):
        set_trainable(model, stage.layers)
        names = {variable.path.split("/")[-2] for variable in model.trainable_variables}
        assert names & (rpn | box) == wanted


def test_the_limit_before_nms_of_training():
    for limit, expected in ((None, 20), (40, 40)):
        config = tiny_config(PRE_NMS_LIMIT=20, PRE_NMS_LIMIT_TRAINING=limit)
        layer = training_model(config).get_layer("ROI")
        inputs = [tf.zeros([1, 255, 2]), tf.zeros([1, 255, 4]), tf.zeros([1, 255, 4])]
        assert layer.steps(inputs).pre_nms_anchors.shape == (1, expected, 4)
        detecting = inference_model(config).get_layer("ROI")
        assert detecting.steps(inputs).pre_nms_anchors.shape == (1, 20, 4)


def test_keras_file_of_a_network_like_torchvisions(tmp_path):
    model = inference_model(tiny_config(**TORCHVISION))
    randomize(model)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    shape, count = (96, 160, 3), 24 * 40 + 12 * 20 + 6 * 10 + 3 * 5 + 2 * 3
    meta = compose_image_meta(0, shape, shape, (0, 0, 90, 150), 1.0, [1] * 3)
    inputs = [
        np.random.RandomState(0).normal(0, 50, (2, *shape)).astype(np.float32),
        np.float32([meta] * 2),
        np.tile(np.float32([0.1, 0.1, 0.4, 0.3]), (2, 3 * count, 1)),
    ]
    for found, expected in zip(restored(inputs), model(inputs), strict=True):
        np.testing.assert_array_equal(found, expected)

"""The whole training network against numbers that the original's code gave: same weights, same
batch.

The random order in which DetectionTargetLayer takes RoIs is left out on both sides.
"""

import contextlib
import io
import tempfile
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mrcnn.config import Config
from mrcnn.data.images import mold_image
from mrcnn.model import MaskRCNN
from mrcnn.networks.mask_rcnn.box_head import FullyConnected
from mrcnn.training.stages import STAGES

HERE = Path(__file__).parent
REFERENCE = np.load(HERE / "network_training.npz")
INPUTS = np.load(HERE / "batch0_small.npz")
LOSSES = (
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
)


class NetworkConfig(Config):
    NAME = "toy"
    BACKBONE = "resnet50"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
    RPN_ANCHOR_SCALES = (16, 32, 64, 128, 256)


def batch(model):
    """The recorded batch, in the dtypes of the model's inputs."""
    images = np.stack(
        [np.asarray(Image.open(io.BytesIO(REFERENCE[f"image{i}_png"].tobytes()))) for i in range(2)]
    )
    masks = np.unpackbits(INPUTS["in_gt_masks_packed"], count=2 * 56 * 56 * 100).reshape(
        2, 56, 56, 100
    )
    arrays = [
        mold_image(images, NetworkConfig()),
        *(
            INPUTS[f"in_{name}"]
            for name in ("image_meta", "rpn_match", "rpn_bbox", "gt_class_ids", "gt_boxes")
        ),
        masks,
    ]
    return [
        tf.constant(np.asarray(array), tensor.dtype) for array, tensor in zip(arrays, model.inputs)
    ]


@pytest.fixture
def trainer(network_weights, tmp_path):
    def make(**fields):
        model = MaskRCNN("training", type("Chosen", (NetworkConfig,), fields)(), str(tmp_path))
        model.load_weights(network_weights, by_name=True)
        model.keras_model.get_layer("proposal_targets").shuffle = False
        return model

    return make


@pytest.mark.parametrize("stop, row", [(False, "total"), (True, "total_stopgrad_targets")])
def test_outputs_losses_and_gradients(trainer, stop, row):
    model = trainer(STOP_PROPOSAL_GRADIENT=stop).keras_model
    with tf.GradientTape(persistent=True) as tape:
        outputs = dict(zip(model.output_names, model(batch(model), training=True)))
        total = tf.add_n([*(outputs[name] for name in LOSSES), *model.losses])

    for name, step in (
        ("rpn_class_logits", 16),
        ("rpn_class", 16),
        ("rpn_bbox", 16),
        ("mrcnn_class_logits", 4),
        ("mrcnn_class", 4),
        ("mrcnn_bbox", 4),
        ("output_rois", 1),
    ):
        np.testing.assert_allclose(
            outputs[name][:, ::step], REFERENCE[name], atol=1e-3, err_msg=name
        )
    masks = tf.gather_nd(outputs["mrcnn_mask"], REFERENCE["positive_index"])
    np.testing.assert_allclose(masks[:, ::4, ::4], REFERENCE["mask_positive"], atol=1e-3)

    for name in LOSSES:
        np.testing.assert_allclose(outputs[name], REFERENCE[name], rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(total, REFERENCE["total_all"], rtol=1e-4)
    l2 = total - tf.add_n([outputs[name] for name in LOSSES])
    np.testing.assert_allclose(l2, REFERENCE["l2_all"], atol=2e-6)

    assert_norms(tape, total, model, row)
    if not stop:
        for name in LOSSES:
            assert_norms(tape, outputs[name], model, name)


def assert_norms(tape, loss, model, row):
    """Compare the gradient norm of every weight.

    1e-3 holds for all but a few. Those few are rounding, which puts an activation near 0 on the
    other side of a ReLU: the original's code (a TensorFlow 2.14 port) on the machine of these tests
    deviates from the recorded numbers by the same amounts, up to 2.6e-3 with oneDNN and 3.3e-3
    without. No code comes closer but by luck: pixels moved by one unit in their last place move the
    norms by up to 4e-3, in one of eight draws by 5e-2, and some draws meet the recorded norms to
    5e-4.
    """
    rows = list(REFERENCE["grad_norm_rows"])
    norms = dict(zip(map(str, REFERENCE["weight_names"]), REFERENCE["grad_norms"][rows.index(row)]))
    gradients = tape.gradient(loss, model.trainable_weights)
    ours = np.array([0 if gradient is None else np.linalg.norm(gradient) for gradient in gradients])
    theirs = np.array([norms[f"{variable.path}:0"] for variable in model.trainable_weights])
    assert (ours[theirs == 0] == 0).all(), row
    deviation = np.abs(ours[theirs > 0] / theirs[theirs > 0] - 1)
    assert np.quantile(deviation, 0.9) < 1e-3, row
    assert deviation.max() < 5e-3, row


# === Six steps ===
# Which RoIs are positive, and which proposals survive, hangs on the last digits, and the six steps
# on that: noise of 1e-6 on the pixels moves the sixth loss by up to 15 %. So here the box head goes
# the reference's way, as a convolution. What it does else is equal to 1e-5
# (tests/networks/mask_rcnn/test_box_head.py), and moves the sixth loss by up to 9 %. Even so, where
# all layers train, the same code parted from the reference at the sixth step on one processor and
# at the fourth on another.


@contextlib.contextmanager
def arithmetic_of_the_reference():
    convolution = keras.layers.Conv2D.convolution_op
    with mock.patch.object(FullyConnected, "convolution_op", convolution):
        yield


def take_six_steps(weights, stage, noise=None):
    """The total and the five losses before each of six optimizer steps on the batch: [6, 6]; the
    weights after them.

    noise: seed of what is added to the pixels, 1e-4 at most, which is their last digit; None adds
        nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = MaskRCNN(
            "training", type("Chosen", (NetworkConfig,), {"WEIGHT_DECAY": 0})(), folder
        )
    model.load_weights(weights, by_name=True)
    network = model.keras_model
    network.get_layer("proposal_targets").shuffle = False
    model.set_trainable(STAGES[stage], verbose=0)
    model.compile(0.001, 0.9)
    images, *others = batch(network)
    if noise is not None:
        images += np.random.RandomState(noise).uniform(-1e-4, 1e-4, images.shape).astype(np.float32)
    inputs = (images, *others)
    losses = []
    with arithmetic_of_the_reference():
        for _ in range(6):
            network.reset_metrics()
            logs = network.train_on_batch(inputs, return_dict=True)
            losses.append([logs[str(name)] for name in REFERENCE["six_steps_names"]])
    return np.array(losses), {weight.path: weight.numpy() for weight in network.weights}


def assert_losses(losses, reference, steps=6):
    """1e-3 in the first step and 2e-2 in ``steps`` of them; for one loss alone 5e-2, since it hangs
    on few RoIs.
    """
    assert list(REFERENCE["six_steps_names"]) == ["loss", *LOSSES]
    np.testing.assert_allclose(losses[0], reference[0], rtol=1e-3)
    np.testing.assert_allclose(losses[:steps, 0], reference[:steps, 0], rtol=2e-2)
    np.testing.assert_allclose(losses[:steps], reference[:steps], rtol=5e-2)
    # of those after them no more is determined than what noise leaves of them
    np.testing.assert_allclose(losses[steps:, 0], reference[steps:, 0], rtol=0.2)


# With TensorFlow 2.18 to 2.20 an optimised graph rounds otherwise: of 400 RoIs two that end at the
# image's edge read beyond it, which moves a loss of the first step by 5.6 %. Eagerly, as above,
# these versions give the reference's losses.
in_2_21 = pytest.mark.skipif(
    tuple(map(int, tf.__version__.split(".")[:2])) < (2, 21),
    reason="TensorFlow before 2.21 rounds RoIs at the image's edge otherwise in a graph",
)


@in_2_21
def test_six_steps_of_all_layers(with_avx2, network_weights):
    """Against a TensorFlow 2.14 port of the original, run for these tests."""
    # on a processor with AVX-512 single runs left the reference by 2.4 % at the third step
    draws = [with_avx2(take_six_steps, network_weights, "all", noise)[0] for noise in (1, 2, 3)]
    reference = np.load(HERE / "network_steps_all.npz")["losses"]
    assert_losses(np.median(draws, axis=0), reference, steps=2)


@in_2_21
def test_six_steps_of_the_heads(with_avx2, network_weights, trainer):
    # of single draws one in eight leaves the reference by 3.5 % at the fifth step
    draws = [with_avx2(take_six_steps, network_weights, "heads", noise) for noise in (1, 2, 3)]
    assert_losses(np.median([losses for losses, _ in draws], axis=0), REFERENCE["six_steps"])
    after = draws[0][1]
    before = {weight.path: weight.numpy() for weight in trainer().keras_model.weights}
    for path, value in after.items():
        layer = path.split("/")[0]
        if layer.startswith(("res", "bn", "conv1")):
            np.testing.assert_array_equal(value, before[path], err_msg=path)
        key = f"after6_{path.replace('/', '__')}_norm"
        if key in REFERENCE:
            np.testing.assert_allclose(
                np.linalg.norm(value), REFERENCE[key], rtol=1e-3, err_msg=path
            )

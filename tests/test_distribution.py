"""Training on two devices gives what one gives with the same batch; two logical CPUs stand for two GPUs.

The losses of a device are means over its own images, so the mean over devices is the loss of the whole
batch where each image has the same number of terms. That holds for

- the two class losses of any images: RPN_TRAIN_ANCHORS_PER_IMAGE anchors and, as all regions are
  taken (see EXACT), TRAIN_ROIS_PER_IMAGE regions, the padding included;
- all five losses where every image of the batch is the same one, with the same regions.

TensorFlow takes the number of devices only before it starts, so the training runs in a process of its own.
"""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

from mrcnn.distribution import device_strategy
from mrcnn.model import MaskRCNN
from tiny import tiny_config

TESTS = pathlib.Path(__file__).parent

PROGRAM = textwrap.dedent('''
    import json
    import sys
    import tempfile

    import keras
    import numpy as np
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_visible_devices([], "GPU")
    # the CPU kernel of crop_and_resize's gradient loses sums where its threads meet in one pixel, as in the
    # corner that all padding is cropped from
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

    from mrcnn.data import pipeline
    from mrcnn.model import MaskRCNN
    from mrcnn.parallel_model import ParallelModel
    from mrcnn.training import training_data
    from tiny import Rectangles, randomize, tiny_config, values

    LOSSES = ["rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"]
    CLIP, RATE, STEPS = 0.5, 0.02, 3
    # no anchor and no region is left out by lot: 1000 * 0.03 positives, 1 / 0.03 - 1 negatives to each
    EXACT = dict(POST_NMS_ROIS_TRAINING=30, TRAIN_ROIS_PER_IMAGE=1000, ROI_POSITIVE_RATIO=0.03,
                 GRADIENT_CLIP_NORM=CLIP, STEPS_PER_EPOCH=STEPS, USE_RPN_ROIS=False)


    class Weights(keras.callbacks.Callback):
        """The weights after each step."""

        def on_train_begin(self, logs=None):
            self.after = [values(self.model)]

        def on_train_batch_end(self, batch, logs=None):
            self.after.append(values(self.model))


    def train(gpus, images, count, **fields):
        config = tiny_config(GPU_COUNT=gpus, IMAGES_PER_GPU=images, **{**EXACT, **fields})
        model = MaskRCNN("training", config, tempfile.mkdtemp())
        randomize(model.keras_model)
        weights = Weights()
        history = model.train(Rectangles(count), None, RATE, 1, "all", custom_callbacks=[weights], verbose=0)
        return model, history.history, weights.after


    def difference(first, second):
        return max(float(np.abs(first[name] - second[name]).max()) for name in first)


    def norm(first, second):
        return float(np.sqrt(sum(np.square(first[name].astype(np.float64) - second[name]).sum() for name in first)))


    def compare(**options):
        one, one_losses, one_weights = train(1, 2, **options)
        two, two_losses, two_weights = train(2, 1, **options)
        replicas = [[np.asarray(local) for local in two._strategy.experimental_local_results(variable.value)]
                    for variable in two.keras_model.weights]
        return {
            "devices": two._strategy.num_replicas_in_sync,
            "same start": difference(one_weights[0], two_weights[0]),
            "difference": [difference(a, b) for a, b in zip(one_weights[1:], two_weights[1:], strict=True)],
            "moved": [difference(a, b) for a, b in zip(one_weights, one_weights[1:])],
            "first step": [norm(weights[0], weights[1]) for weights in (one_weights, two_weights)],
            "losses": {name: [one_losses[name][0], two_losses[name][0]] for name in ["loss", *LOSSES]},
            "copies": min(len(locals_) for locals_ in replicas),
            "replicas equal": all(np.array_equal(locals_[0], other) for locals_ in replicas for other in locals_[1:]),
        }


    def too_many():
        try:
            MaskRCNN("training", tiny_config(GPU_COUNT=3, IMAGES_PER_GPU=1), tempfile.mkdtemp())
        except ValueError as error:
            return str(error)


    def parallel():
        config = tiny_config()
        model = MaskRCNN("training", config, tempfile.mkdtemp()).keras_model
        randomize(model)
        start = values(model)
        wrapped = ParallelModel(model, gpu_count=2)
        wrapped.compile(keras.optimizers.SGD(RATE, global_clipnorm=CLIP), jit_compile=False)
        before = difference(start, values(wrapped.inner_model))
        history = wrapped.fit(training_data(model, Rectangles(4), config, 1), epochs=1, verbose=0)
        path = tempfile.mkdtemp() + "/parallel.weights.h5"
        wrapped.save_weights(path)
        again = MaskRCNN("training", config, tempfile.mkdtemp()).keras_model
        again.load_weights(path)
        return {"count": wrapped.gpu_count, "before": before, "moved": difference(start, values(wrapped.inner_model)),
                "loss": history.history["loss"][0], "saved": difference(values(again), values(wrapped.inner_model)),
                "layers": len(wrapped.layers) == len(model.layers)}


    others = dict.fromkeys(["rpn_bbox_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"], 0.0)
    report = {"too many": too_many(), "parallel": parallel(),
              "different images": compare(count=6, LOSS_WEIGHTS=others)}
    # from now on the same regions for every sample, half of them close to the object
    random_rois = pipeline.generate_random_rois

    def same_rois(shape, count, class_ids, boxes, rng):
        rng = np.random.RandomState(4)
        near = np.clip(boxes[0] + rng.randint(-3, 4, (count // 2, 4)), 0, 64)
        return np.concatenate([near, random_rois(shape, count - count // 2, class_ids, boxes, rng)]).astype(np.int32)

    pipeline.generate_random_rois = same_rois
    report["one image"] = compare(count=1, RPN_TRAIN_ANCHORS_PER_IMAGE=2000)
    with open(sys.argv[1], "w") as file:
        json.dump(report, file)
''')


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What the program above found."""
    folder = tmp_path_factory.mktemp("devices")
    program, path = folder / "program.py", folder / "report.json"
    program.write_text(PROGRAM)
    search = os.pathsep.join([str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, str(program), str(path)], capture_output=True, text=True, timeout=500,
                          env={**os.environ, "PYTHONPATH": search, "TF_CPP_MIN_LOG_LEVEL": "3"})
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(path.read_text())


@pytest.mark.parametrize("case", ["different images", "one image"])
def test_two_devices_train_as_one(report, case):
    found = report[case]
    assert found["devices"] == 2 and found["same start"] == 0
    # clipping is at work, on the gradient of the whole batch: the step is as long as it allows
    for length in found["first step"]:
        assert length == pytest.approx(0.02 * 0.5, rel=1e-4)
    for moved, difference in zip(found["moved"], found["difference"], strict=True):
        assert difference < 1e-6 < moved / 1000
    for name, (one, two) in found["losses"].items():
        assert two == pytest.approx(one, rel=1e-4), name
    trained = {name for name, (one, _) in found["losses"].items() if one > 0}
    assert trained == set(found["losses"]) - (
        {"rpn_bbox_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"} if case == "different images" else set())


@pytest.mark.parametrize("case", ["different images", "one image"])
def test_replicas_stay_equal(report, case):
    assert report[case]["copies"] == 2 and report[case]["replicas equal"]


def test_more_devices_than_there_are(report, tmp_path):
    assert "GPU_COUNT is 3, but TensorFlow sees 2 CPU device(s): set it to 2 or less" in report["too many"]
    with pytest.raises(ValueError, match=r"GPU_COUNT is 1000, but TensorFlow sees \d+ [CG]PU device"):
        MaskRCNN("training", tiny_config(GPU_COUNT=1000, IMAGES_PER_GPU=1), str(tmp_path))
    with pytest.raises(ValueError, match="GPU_COUNT is 1000"):
        device_strategy(1000)


def test_parallel_model_fits(report):
    found = report["parallel"]
    assert found["count"] == 2 and found["layers"]
    assert found["before"] == 0 < found["loss"] and found["saved"] == 0 < found["moved"]

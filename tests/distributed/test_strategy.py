"""Two devices train and detect as one does with the same batch; two logical CPUs stand for two
GPUs.

Each loss is divided by a count over all devices, so that equality is exact but for the order of
float32 sums. Which regions are sampled differs between devices, so none is left out by lot here
(see EXACT).

TensorFlow takes the number of devices only before it starts, so the training runs in a process of
its own.
"""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from mrcnn.distributed.strategy import device_strategy
from mrcnn.model import MaskRCNN
from tests.paths import ROOT
from tests.tiny import tiny_config

PROGRAM = textwrap.dedent('''
    import json
    import sys
    import tempfile
    import warnings

    import keras
    import numpy as np
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_visible_devices([], "GPU")
    # the CPU kernel of crop_and_resize's gradient loses sums where its threads meet in one pixel, as in the
    # corner that all padding is cropped from
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

    from mrcnn.model import MaskRCNN
    from mrcnn.parallel_model import ParallelModel
    from mrcnn.training.data import training_data
    from tests.tiny import Rectangles, image, randomize, tiny_config, values

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


    def found(results):
        return [[result[key].tolist() for key in ("rois", "class_ids", "scores", "masks")] for result in results]


    def detect():
        """Seven images of two sizes, up to four at a time (a graph for a single image rounds otherwise)."""
        images = [image(64, 64, seed) for seed in range(4)] + [image(40, 100, seed) for seed in range(3)]
        path, runs = tempfile.mkdtemp() + "/weights.h5", {}
        for gpus, each in ((1, 4), (2, 2)):
            config = tiny_config(GPU_COUNT=gpus, IMAGES_PER_GPU=each, IMAGE_RESIZE_MODE="pad64")
            model = MaskRCNN("inference", config, tempfile.mkdtemp())
            if gpus == 1:
                randomize(model.keras_model)
                model.save_weights(path)
            model.load_weights(path)
            runs[gpus, each] = model.detect(images)
            assert config.BATCH_SIZE == gpus * each
        one, two = map(found, runs.values())
        return {"objects": [len(result[0]) for result in one], "equal": one == two}


    def detect_on_fewer():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            MaskRCNN("inference", tiny_config(GPU_COUNT=3, IMAGES_PER_GPU=1), tempfile.mkdtemp())
        return [str(warning.message) for warning in caught if "GPU_COUNT" in str(warning.message)]


    def evaluate_while_training():
        config = tiny_config(GPU_COUNT=2, IMAGES_PER_GPU=1, STEPS_PER_EPOCH=1)
        model = MaskRCNN("training", config, tempfile.mkdtemp())
        history = model.train(Rectangles(4), Rectangles(3), RATE, 1, "heads", verbose=0, evaluate_every=1)
        return sorted(history.history)


    def statistics():
        """Of batch normalisation, where each device has images of its own."""
        model, _, weights = train(2, 1, 6, TRAIN_BN=None)
        copies = [[np.asarray(local) for local in model._strategy.experimental_local_results(variable.value)]
                  for variable in model.keras_model.weights if "moving_" in variable.path]
        moving = [name for name in weights[0] if "moving_" in name]
        return {"equal": all(np.array_equal(*locals_) for locals_ in copies), "count": len(copies),
                "moved": max(float(np.abs(weights[0][name] - weights[-1][name]).max()) for name in moving)}


    if sys.argv[2:] == ["slow"]:
        report = {"evaluate": evaluate_while_training()}
    else:
        report = {"statistics": statistics(), "too many": too_many(), "parallel": parallel(), "train": compare(count=6),
                  "detect": detect(), "fewer": detect_on_fewer()}
    with open(sys.argv[1], "w") as file:
        json.dump(report, file)
''')


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What the program above found."""
    return run(tmp_path_factory.mktemp("devices"))


def run(folder, *arguments):
    """What the program finds."""
    program, path = folder / "program.py", folder / "report.json"
    program.write_text(PROGRAM)
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(program), str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": search, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(path.read_text())


def test_two_devices_train_as_one(report):
    found = report["train"]
    assert found["devices"] == 2 and found["same start"] == 0
    # clipping is at work, on the gradient of the whole batch: the step is as long as it allows
    for length in found["first step"]:
        assert length == pytest.approx(0.02 * 0.5, rel=1e-4)
    for moved, difference in zip(found["moved"], found["difference"], strict=True):
        assert difference < 1e-6 < moved / 1000
    for name, (one, two) in found["losses"].items():
        assert two == pytest.approx(one, rel=1e-4) and one > 0, name


def test_replicas_stay_equal(report):
    assert report["train"]["copies"] == 2 and report["train"]["replicas equal"]


def test_statistics_stay_equal(report):
    found = report["statistics"]
    assert found["equal"] and found["count"] > 20 and found["moved"] > 0.001


def test_two_devices_detect_as_one(report):
    found = report["detect"]
    assert min(found["objects"]) > 0 and len(found["objects"]) == 7
    assert found["equal"]


def test_detection_takes_the_devices_that_there_are(report):
    (warning,) = report["fewer"]
    assert "GPU_COUNT is 3, but TensorFlow sees 2 CPU device(s): detecting on 2" in warning


@pytest.mark.slow
def test_evaluation_during_training_on_two_devices(tmp_path):
    assert {"val_segm_AP", "val_bbox_AP", "val_loss", "loss"} <= set(
        run(tmp_path, "slow")["evaluate"]
    )


def test_more_devices_than_there_are(report, tmp_path):
    assert (
        "GPU_COUNT is 3, but TensorFlow sees 2 CPU device(s): set it to 2 or less"
        in report["too many"]
    )
    with pytest.raises(
        ValueError, match=r"GPU_COUNT is 1000, but TensorFlow sees \d+ [CG]PU device"
    ):
        MaskRCNN("training", tiny_config(GPU_COUNT=1000, IMAGES_PER_GPU=1), str(tmp_path))
    with pytest.raises(ValueError, match="GPU_COUNT is 1000"):
        device_strategy(1000)


def test_parallel_model_fits(report):
    found = report["parallel"]
    assert found["count"] == 2 and found["layers"]
    assert found["before"] == 0 < found["loss"] and found["saved"] == 0 < found["moved"]

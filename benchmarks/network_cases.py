"""Cases that run the network, or feed it: detection, training steps, the input pipeline, building
and loading.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
import numpy as np


def detect(quick, repeats, backbone, side, detections, batch=1, filled=False, **fields):
    """MaskRCNN.detect of ``batch`` photos, with random weights.

    Those find more objects than are wanted, so DETECTION_MIN_CONFIDENCE is set to what leaves
    ``detections`` of each photo, of the 100 that there are slots for; the number really found is
    reported. ``filled`` takes photos of ``side`` px squared, others are of PHOTO_SIZE; ``fields``
    are of the config.
    """
    import flops

    setting = quick, backbone, side, batch, filled, fields
    scores = measure.in_own_process(_scores, *setting)
    model, images = _detector(*setting, measure.confidence_for(scores, batch, detections))
    network, inside, found = model.predict, [], []

    def timed_network(*arguments, **options):
        start = time.perf_counter()
        outputs = network(*arguments, **options)
        inside.append(time.perf_counter() - start)
        found.append(int(np.count_nonzero(outputs[0][..., 4])))
        return outputs

    model.predict = timed_network
    result = measure.repeat(lambda: model.detect(images), repeats)
    peak = measure.peak_bytes()
    inside = inside[1:]  # without the first call
    if len(inside) != repeats:
        raise ValueError(
            f"{repeats} calls of detect ran the network {len(inside)} times: the images did not "
            "make one batch"
        )
    molded, metas, _ = model.mold_inputs(images)
    inputs = [molded, metas, np.stack([model.get_anchors(molded.shape[1:])] * batch)]
    box_rois = flops.head_rois(model.keras_model, inputs)
    work = flops.count(
        model.keras_model, [np.shape(array) for array in inputs], box_rois, max(found[-1], 1)
    )
    outside = [total - network for total, network in zip(result["times"], inside)]
    return {
        **result,
        "images": batch,
        "molded": molded.shape,
        "peak_bytes": peak,
        "detections": found[-1],
        "rois": box_rois,
        "network_seconds": statistics.median(inside),
        "outside_seconds": statistics.median(outside),
        "outside_share": statistics.median(outside) / result["seconds"],
        **_gflop(work.forward, statistics.median(inside)),
    }


def _detector(quick, backbone, side, batch, filled, fields, confidence):
    """The model of `detect` and its photos."""
    import data_cases

    from mrcnn.model import MaskRCNN

    side = 384 if quick else side  # at which "rect" leaves something out
    config = measure.settings(
        quick, side, batch, BACKBONE=backbone, DETECTION_MIN_CONFIDENCE=confidence, **fields
    )
    with tempfile.TemporaryDirectory() as folder:
        model = MaskRCNN("inference", config, folder)
    size = (side, side) if filled else data_cases.PHOTO_SIZE
    return model, [measure.photo(*size, seed=number) for number in range(batch)]


def _scores(*setting):
    """Scores of all that is found at a confidence of 0."""
    model, images = _detector(*setting, 0.0)
    return [float(score) for result in model.detect(images) for score in result["scores"]]


def train_step(quick, repeats, backbone, side, batch, layers, many_positives=True, **fields):
    """One optimizer step on one batch that stays the same.

    The mask head runs on the positive RoIs alone, so their number decides on the cost.
    ``many_positives`` puts the objects where the untrained RPN's proposals are, so that
    every image has all the positives that ROI_POSITIVE_RATIO allows: the most expensive
    step. Otherwise the objects lie anywhere. The number is reported as mask_rois.
    ``fields`` are of the config.
    """
    import flops
    import keras
    from names import training_data

    from mrcnn.training import STAGES

    setting = quick, backbone, side, batch, fields
    # in a process of its own: what it takes is not a training's
    boxes = measure.in_own_process(_boxes_that_match_most, *setting) if many_positives else None
    model, images = _trainer(*setting)
    network, config = model.keras_model, model.config
    height, width = config.IMAGE_SHAPE[:2]
    if many_positives:
        masks = [measure.rectangles(each, height, width) for each in boxes]
    else:
        masks = [measure.ellipses(height, width, count=10, seed=number) for number in range(batch)]
    dataset = measure.scenes(images, masks, config.NUM_CLASSES - 1)
    data = training_data(network, dataset, config, steps=1, shuffle=False, seed=0)
    inputs = list(data[0][0])

    model.set_trainable(STAGES[layers], verbose=0)
    # hardly any learning, so that the proposals stay and every step costs the same
    model.compile(1e-9, config.LEARNING_MOMENTUM)
    losses = []
    result = measure.repeat(
        lambda: losses.append(network.train_on_batch(inputs, return_dict=True)["loss"]), repeats
    )
    peak = measure.peak_bytes()
    if not np.isfinite(losses).all():
        raise FloatingPointError(f"the losses are {losses}")

    targets = keras.Model(network.inputs, network.get_layer("proposal_targets").output[1])
    positives = int(np.count_nonzero(targets.predict_on_batch(inputs) > 0))
    box_rois = flops.head_rois(network, inputs)
    work = flops.count(network, [np.shape(array) for array in inputs], box_rois, max(positives, 1))
    return {
        **result,
        "images": batch,
        "peak_bytes": peak,
        "mask_rois": positives,
        "rois": box_rois,
        **_gflop(work.forward + work.backward, result["seconds"]),
    }


def _trainer(quick, backbone, side, batch, fields):
    """The model of `train_step`, with the same weights in every process, and its images."""
    from mrcnn.model import MaskRCNN

    config = measure.settings(quick, 128 if quick else side, batch, BACKBONE=backbone, **fields)
    with tempfile.TemporaryDirectory() as folder:
        model = MaskRCNN("training", config, folder)
    return model, [measure.photo(*config.IMAGE_SHAPE[:2], seed=number) for number in range(batch)]


def _boxes_that_match_most(*setting):
    """For each image `measure.boxes_that_match_most` of the network's proposals."""
    import keras

    from mrcnn.model import mold_image
    from mrcnn.utils import compute_overlaps, denorm_boxes

    model, images = _trainer(*setting)
    network, config = model.keras_model, model.config
    proposals = keras.Model(network.inputs[:2], network.get_layer("ROI").output)
    molded = mold_image(np.stack(images), config).astype(np.float32)
    meta = np.zeros((len(images), network.inputs[1].shape[-1]), np.float32)  # says nothing here
    return [
        measure.boxes_that_match_most(denorm_boxes(rois, config.IMAGE_SHAPE[:2]), compute_overlaps)
        for rois in proposals.predict_on_batch([molded, meta])
    ]


def feed(quick, repeats, mini_masks, workers, batches):
    """``batches`` batches of one image through ``fit`` of a model that does nothing: the input
    pipeline alone.
    """
    import data_cases
    import keras
    from names import TrainingBatches, TrainingData

    class Nothing(keras.Model):
        def train_step(self, data):
            return {"loss": 0.0}

    config, dataset = data_cases.samples(quick, mini_masks)
    source = TrainingBatches(dataset, config, seed=0)
    dtypes = ["uint8" if array.dtype == bool else array.dtype.name for array in source.batch(0)]
    model = Nothing()
    model.compile(jit_compile=False)
    result = measure.repeat(
        lambda: model.fit(
            TrainingData(source, batches, dtypes, workers=workers), shuffle=False, verbose=0
        ),
        repeats,
    )
    return {**result, "images": batches, "images_per_second": batches / result["seconds"]}


def build(quick, repeats, backbone, side):
    """A new process builds the inference model and loads an .h5 file of another one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.h5"
        # written elsewhere: in this process the model is built for the first time
        subprocess.run(
            [sys.executable, __file__, str(path), backbone, str(side), str(int(quick))], check=True
        )
        size = path.stat().st_size
        from mrcnn.model import MaskRCNN

        config = measure.settings(quick, side, BACKBONE=backbone)
        seconds, loading, peaks = [], [], []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            model = MaskRCNN("inference", config, folder)
            built = time.perf_counter()
            model.load_weights(str(path), by_name=True)
            loading.append(time.perf_counter() - built)
            seconds.append(time.perf_counter() - start)
            peaks.append(measure.peak_bytes())
    # what a user meets is the first time
    return {
        "peak_bytes": peaks[0],
        "first_call": seconds[0],
        "seconds": statistics.median(seconds[1:]),
        "times": seconds[1:],
        "first_load_seconds": loading[0],
        "load_seconds": statistics.median(loading[1:]),
        "file_bytes": size,
    }


def _write_weights(path, backbone, side, quick):
    from mrcnn.model import MaskRCNN

    config = measure.settings(bool(int(quick)), int(side), BACKBONE=backbone)
    MaskRCNN("inference", config, str(Path(path).parent)).save_weights(path)


def _gflop(flop, seconds):
    import flops

    total = sum(flop.values()) / 1e9
    return {
        "gflop": total,
        "gflop_per_second": total / seconds,
        "gflop_of_stages": {stage: value / 1e9 for stage, value in flops.stages(flop).items()},
    }


if __name__ == "__main__":
    _write_weights(*sys.argv[1:])

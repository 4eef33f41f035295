"""Cases that run the network: detection, training steps, building and loading."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import measure

# A RoI of at least this IoU is a positive (0.5) also after its object's box was rounded to pixels.
SURE_IOU = 0.6


def detect(quick, repeats, backbone, side, detections, batch=1):
    """MaskRCNN.detect of ``batch`` photos, with random weights.

    At a confidence of 0 random weights find more objects than are let through, so that
    DETECTION_MAX_INSTANCES is the number of detections; the number really found is reported.
    """
    import data_cases
    import flops
    from mrcnn.model import MaskRCNN

    config = measure.settings(quick, 128 if quick else side, batch, BACKBONE=backbone,
                              DETECTION_MAX_INSTANCES=detections, DETECTION_MIN_CONFIDENCE=0)
    with tempfile.TemporaryDirectory() as folder:
        model = MaskRCNN("inference", config, folder)
    images = [measure.photo(*data_cases.PHOTO_SIZE, seed=number) for number in range(batch)]
    network, inside, found = model.predict, [], []

    def timed_network(*arguments):
        start = time.perf_counter()
        outputs = network(*arguments)
        inside.append(time.perf_counter() - start)
        found.append(int(np.count_nonzero(outputs[0][..., 4])))
        return outputs

    model.predict = timed_network
    result = measure.repeat(lambda: model.detect(images), repeats)
    peak = measure.peak_bytes()
    inside = inside[1:]  # without the first call
    if len(inside) != repeats:
        raise ValueError(f"{repeats} calls of detect ran the network {len(inside)} times: the images did not "
                         "make one batch")
    shapes = [(batch, *config.IMAGE_SHAPE), (batch, config.IMAGE_META_SIZE),
              (batch, *model.get_anchors(config.IMAGE_SHAPE).shape)]
    work = flops.count(model.keras_model, shapes, mask_rois=max(found[-1], 1))
    outside = [total - network for total, network in zip(result["times"], inside)]
    return {**result, "images": batch, "peak_bytes": peak, "detections": found[-1],
            "network_seconds": statistics.median(inside),
            "outside_seconds": statistics.median(outside),
            "outside_share": statistics.median(outside) / result["seconds"],
            **_gflop(work.forward, statistics.median(inside))}


def train_step(quick, repeats, backbone, side, batch, layers, many_positives=True):
    """One optimizer step on one batch that stays the same.

    The mask head runs on the positive RoIs alone, so their number decides on the cost.
    ``many_positives`` puts the objects where the untrained RPN's proposals are, so that
    every image has all the positives that ROI_POSITIVE_RATIO allows: the most expensive
    step. Otherwise the objects lie anywhere. The number is reported as mask_rois.
    """
    import keras

    import flops
    from mrcnn import training
    from mrcnn.model import MaskRCNN

    config = measure.settings(quick, 128 if quick else side, batch, BACKBONE=backbone)
    height, width = config.IMAGE_SHAPE[:2]
    with tempfile.TemporaryDirectory() as folder:
        model = MaskRCNN("training", config, folder)
    network = model.keras_model
    images = [measure.photo(height, width, seed=number) for number in range(batch)]
    if many_positives:
        masks = [_rectangles(boxes, height, width) for boxes in _boxes_that_match_most(network, images, config)]
    else:
        masks = [measure.ellipses(height, width, count=10, seed=number) for number in range(batch)]
    dataset = measure.scenes(images, masks)
    data = training.training_data(network, dataset, config, steps=1, shuffle=False, seed=0)
    inputs = list(data[0][0])

    model.set_trainable(training.STAGES[layers], verbose=0)
    # hardly any learning, so that the proposals stay and every step costs the same
    model.compile(1e-9, config.LEARNING_MOMENTUM)
    losses = []
    result = measure.repeat(lambda: losses.append(network.train_on_batch(inputs, return_dict=True)["loss"]), repeats)
    peak = measure.peak_bytes()
    if not np.isfinite(losses).all():
        raise FloatingPointError(f"the losses are {losses}")

    targets = keras.Model(network.inputs, network.get_layer("proposal_targets").output[1])
    positives = int(np.count_nonzero(targets.predict_on_batch(inputs) > 0))
    work = flops.count(network, [np.shape(array) for array in inputs], mask_rois=max(positives, 1))
    return {**result, "images": batch, "peak_bytes": peak, "mask_rois": positives,
            **_gflop(work.forward + work.backward, result["seconds"])}


def _boxes_that_match_most(network, images, config, count=10):
    """For each image, int [count, 4] px: proposals of the network that many others overlap."""
    import keras

    from mrcnn.data.images import mold_image
    from mrcnn.ops.boxes_np import compute_overlaps, denorm_boxes

    proposals = keras.Model(network.inputs[0], network.get_layer("ROI").output)
    for rois in proposals.predict_on_batch(mold_image(np.stack(images), config).astype(np.float32)):
        boxes = denorm_boxes(rois, config.IMAGE_SHAPE[:2])
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= 8]
        near = compute_overlaps(boxes, boxes) >= SURE_IOU
        chosen = []
        for _ in range(count):
            chosen.append(near.sum(axis=0).argmax())
            near[near[:, chosen[-1]]] = False
        yield boxes[chosen]


def _rectangles(boxes, height, width):
    masks = np.zeros((height, width, len(boxes)), bool)
    for number, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, number] = True
    return masks


def build(quick, repeats, backbone, side):
    """A new process builds the inference model and loads an .h5 file of another one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.h5"
        # written elsewhere: in this process the model is built for the first time
        subprocess.run([sys.executable, __file__, str(path), backbone, str(side), str(int(quick))], check=True)
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
    return {"peak_bytes": peaks[0], "first_call": seconds[0], "seconds": statistics.median(seconds[1:]),
            "times": seconds[1:], "first_load_seconds": loading[0], "load_seconds": statistics.median(loading[1:]),
            "file_bytes": size}


def _write_weights(path, backbone, side, quick):
    from mrcnn.network.assemble import inference_model
    from mrcnn.weights import save_h5

    save_h5(inference_model(measure.settings(bool(int(quick)), int(side), BACKBONE=backbone)), path)


def _gflop(flop, seconds):
    import flops

    total = sum(flop.values()) / 1e9
    return {"gflop": total, "gflop_per_second": total / seconds,
            "gflop_of_stages": {stage: value / 1e9 for stage, value in flops.stages(flop).items()}}


if __name__ == "__main__":
    _write_weights(*sys.argv[1:])

"""matterport's own code, or a port in its layout, measured like our cases; `peers.py` runs this
with its interpreter.

    python matterport_peer.py CASE OPTIONS [--quick] RESULT.json

OPTIONS are the case's arguments as JSON. ``mrcnn`` is the package of that code: its folder is first
on PYTHONPATH.
"""

import inspect
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import data_cases
import measure
import numpy as np
import process_cases
import tensorflow as tf

from mrcnn import model as modellib
from mrcnn import utils

STAGES = {"heads": r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)", "all": ".*"}


# === Network ===


def detect(quick, repeats, backbone, side, detections, batch=1):
    """MaskRCNN.detect; arguments as of `network_cases.detect`. Its mask head runs on all 100
    slots.
    """
    setting = quick, backbone, side, batch
    model, images = _detector(
        *setting,
        measure.confidence_for(measure.in_own_process(_scores, *setting), batch, detections),
    )
    network, inside, found = model.keras_model.predict, [], []

    def timed_network(*arguments, **options):
        start = time.perf_counter()
        outputs = network(*arguments, **options)
        inside.append(time.perf_counter() - start)
        found.append(int(np.count_nonzero(outputs[0][..., 4])))
        return outputs

    model.keras_model.predict = timed_network
    result = measure.repeat(lambda: model.detect(images), repeats)
    outside = [total - network for total, network in zip(result["times"], inside[1:])]
    return {
        **result,
        "images": batch,
        "detections": found[-1],
        "network_seconds": statistics.median(inside[1:]),
        "outside_share": statistics.median(outside) / result["seconds"],
    }


def _detector(quick, backbone, side, batch, confidence):
    """The model of `detect` with the same random weights in every process, and its photos."""
    config = measure.settings(
        False, 128 if quick else side, batch, BACKBONE=backbone, DETECTION_MIN_CONFIDENCE=confidence
    )
    # initializers without a seed of their own take one from Python
    random.seed(0)
    np.random.seed(0)
    tf.compat.v1.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        model = modellib.MaskRCNN("inference", config, folder)
    return model, [measure.photo(*data_cases.PHOTO_SIZE, seed=number) for number in range(batch)]


def _scores(*setting):
    """Scores of all that is found at a confidence of 0."""
    model, images = _detector(*setting, 0.0)
    return [
        float(score) for result in model.detect(images, verbose=0) for score in result["scores"]
    ]


def train_step(quick, repeats, backbone, side, batch, layers):
    """One optimizer step on one batch; its mask head runs on all RoIs, so that objects do not
    change the cost.
    """
    config = measure.settings(False, 128 if quick else side, batch, BACKBONE=backbone)
    height, width = config.IMAGE_SHAPE[:2]
    with tempfile.TemporaryDirectory() as folder:
        model = modellib.MaskRCNN("training", config, folder)
    dataset = measure.scenes(
        [measure.photo(height, width, seed=number) for number in range(batch)],
        [measure.ellipses(height, width, count=10, seed=number) for number in range(batch)],
        config.NUM_CLASSES - 1,
        utils.Dataset,
    )
    batch_inputs = inputs(dataset, config)
    model.set_trainable(STAGES[layers], verbose=0)
    model.compile(1e-9, config.LEARNING_MOMENTUM)
    losses = []
    result = measure.repeat(
        lambda: losses.append(model.keras_model.train_on_batch(batch_inputs, [])), repeats
    )
    if not np.isfinite(np.hstack(losses)).all():
        raise FloatingPointError(f"the losses are {losses}")
    rois = batch * config.TRAIN_ROIS_PER_IMAGE
    return {**result, "images": batch, "mask_rois": rois, "rois": rois}


# === Data ===


def sample(quick, repeats, mini_masks):
    """load_image_gt."""
    config, dataset = data_cases.samples(quick, mini_masks, dataset_class=utils.Dataset)
    return {**measure.repeat(lambda: _load(dataset, config, 0), repeats), "images": 1}


def batch(quick, repeats, mini_masks):
    """load_image_gt, build_rpn_targets and mold_image for two images, stacked."""
    config, dataset = data_cases.samples(quick, mini_masks, 2, utils.Dataset)
    anchors = _anchors(config)
    return {**measure.repeat(lambda: inputs(dataset, config, anchors), repeats), "images": 2}


def mold(quick, repeats, side):
    """mold_inputs, which is a method of the model, but needs no network."""
    model = modellib.MaskRCNN.__new__(modellib.MaskRCNN)
    model.config = measure.settings(False, 128 if quick else side)
    images = [measure.photo(*data_cases.PHOTO_SIZE)]
    return {**measure.repeat(lambda: model.mold_inputs(images), repeats), "images": 1}


def unmold(quick, repeats, detections):
    """unmold_detections, likewise."""
    model = modellib.MaskRCNN.__new__(modellib.MaskRCNN)
    arguments = data_cases.network_outputs(detections)
    return measure.repeat(lambda: model.unmold_detections(*arguments), repeats)


def anchors(quick, repeats):
    """generate_pyramid_anchors."""
    config = measure.settings(False, 128 if quick else 1024)
    return measure.repeat(lambda: _anchors(config), repeats)


def mask_overlaps(quick, repeats):
    """compute_overlaps_masks."""
    arguments = data_cases.predictions(quick, utils.extract_bboxes)
    return measure.repeat(lambda: utils.compute_overlaps_masks(arguments[6], arguments[2]), repeats)


def average_precision(quick, repeats):
    """compute_ap."""
    arguments = data_cases.predictions(quick, utils.extract_bboxes)
    return measure.repeat(lambda: utils.compute_ap(*arguments), repeats)


def average_precision_range(quick, repeats):
    """compute_ap_range."""
    arguments = data_cases.predictions(quick, utils.extract_bboxes)
    return measure.repeat(lambda: utils.compute_ap_range(*arguments, verbose=0), repeats)


def _anchors(config):
    return utils.generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES,
        config.RPN_ANCHOR_RATIOS,
        modellib.compute_backbone_shapes(config, config.IMAGE_SHAPE),
        config.BACKBONE_STRIDES,
        config.RPN_ANCHOR_STRIDE,
    )


def _load(dataset, config, image_id):
    # some ports take it from the config alone
    has_argument = "use_mini_mask" in inspect.signature(modellib.load_image_gt).parameters
    options = {"use_mini_mask": config.USE_MINI_MASK} if has_argument else {}
    return modellib.load_image_gt(dataset, config, image_id, **options)


def inputs(dataset, config, anchors=None):
    """A batch of all images of a dataset: the training model's inputs, as its data generator makes
    them.

    Args:
        anchors: of the config, where they are at hand.
    """
    anchors = _anchors(config) if anchors is None else anchors
    rows = []
    for image_id in dataset.image_ids:
        image, meta, class_ids, boxes, masks = _load(dataset, config, image_id)
        match, deltas = modellib.build_rpn_targets(image.shape, anchors, class_ids, boxes, config)
        missing = config.MAX_GT_INSTANCES - len(class_ids)
        rows.append(
            (
                modellib.mold_image(image.astype(np.float32), config),
                meta,
                match[:, np.newaxis],
                deltas,
                np.pad(class_ids, (0, missing)),
                np.pad(boxes, ((0, missing), (0, 0))),
                np.pad(masks, ((0, 0), (0, 0), (0, missing))),
            )
        )
    return [np.stack(arrays) for arrays in zip(*rows)]


CASES = {
    function.__name__: function
    for function in (
        detect,
        train_step,
        sample,
        batch,
        mold,
        unmold,
        anchors,
        mask_overlaps,
        average_precision,
        average_precision_range,
        process_cases.photo,
        process_cases.first_step,
    )
}

if __name__ == "__main__":
    _, case, options, *quick, path = sys.argv
    found = CASES[case](quick=bool(quick), **json.loads(options))
    Path(path).write_text(
        json.dumps(
            {
                "peak_bytes": measure.peak_bytes(),
                "versions": {"tensorflow": tf.__version__},
                **found,
            }
        )
    )

"""What all cases share: timing, peak memory, settings and made-up images."""

import multiprocessing
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

# What --quick makes of a network: every part, at a size that takes no time.
SMALL_NETWORK = {
    "BACKBONE_WIDTH": 8,
    "TOP_DOWN_PYRAMID_SIZE": 16,
    "MASK_HEAD_CHANNELS": 16,
    "RPN_CONV_CHANNELS": 32,
    "FPN_CLASSIF_FC_LAYERS_SIZE": 32,
    "POST_NMS_ROIS_INFERENCE": 200,
    "POST_NMS_ROIS_TRAINING": 200,
    "TRAIN_ROIS_PER_IMAGE": 20,
}

# A RoI of at least this IoU is a positive (0.5) also after its object's box was rounded to pixels.
SURE_IOU = 0.6


def repeat(call, times):
    """Time one first call, then ``times`` more of the steady state.

    Returns:
        dict: first_call in seconds, times of the others, seconds as their median, and cpu_seconds
        as the median of what the cores of this process spent on each.
    """
    (first, _), *steady = [_seconds(call) for _ in range(times + 1)]
    seconds, spent = zip(*steady)
    return {
        "first_call": first,
        "seconds": statistics.median(seconds),
        "times": list(seconds),
        "cpu_seconds": statistics.median(spent),
    }


def _seconds(call):
    """(elapsed, of all cores) of a call."""
    start, spent = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - spent


def confidence_for(scores, images, detections):
    """The least confidence at which ``detections`` an image are found, on average.

    Args:
        scores: of all detections, without a least confidence.
        images: number of images they are of.
        detections: wanted for each image; where there are no more, the confidence is 0.
    """
    ordered = sorted(scores, reverse=True)
    place = images * detections
    return 0.0 if place >= len(ordered) else (ordered[place - 1] + ordered[place]) / 2


def in_own_process(function, *arguments):
    """What a function of an importable module returns, run by a process of its own, so that its
    memory is not ours.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_bytes():
    """The most memory that this process has held at once."""
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss of a child starts at its parent's, VmHWM at nothing
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def settings(quick=False, side=None, batch=1, preset=None, **fields):
    """A ``Config`` of 81 classes, of `config.presets` the ``preset``; ``side`` px square images,
    ``batch`` of them a step.
    """
    from mrcnn.config import Config

    if preset is not None:
        from mrcnn.config.presets import PRESETS

        Config = PRESETS[preset]

    fields = {
        "NAME": "benchmark",
        "NUM_CLASSES": 81,
        "IMAGES_PER_GPU": batch,
        "SEED": 0,
        **(SMALL_NETWORK if quick else {}),
        **fields,
    }
    if side is not None:
        fields.update(IMAGE_MIN_DIM=side, IMAGE_MAX_DIM=side)
    return type("Settings", (Config,), fields)()


def photo(height, width, seed=0):
    """uint8 [height, width, 3]: patches of colour under noise, so that no two cells are alike."""
    draw = np.random.RandomState(seed)
    patches = draw.randint(0, 200, (-(-height // 40), -(-width // 40), 3))
    image = patches.repeat(40, axis=0).repeat(40, axis=1)[:height, :width]
    return (image + draw.randint(0, 56, image.shape)).astype(np.uint8)


def ellipses(height, width, count, seed=0):
    """bool [height, width, count]: filled ellipses of a twelfth to a half of the image's sides."""
    draw = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width]
    masks = np.zeros((height, width, count), bool)
    for i in range(count):
        ry, rx = draw.uniform(1 / 24, 1 / 4, 2) * (height, width)
        cy, cx = draw.uniform(ry, height - ry), draw.uniform(rx, width - rx)
        masks[:, :, i] = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
    return masks


def labelled(side, batch, classes):
    """Molded images of `photo` with label maps of `ellipses`, of which a border is void.

    Returns:
        (images float32 [batch, side, side, 3], labels int32 [batch, side, side] below classes, and
        255).
    """
    images = np.stack([photo(side, side, seed=number) for number in range(batch)])
    labels = np.zeros((batch, side, side), np.int32)
    for number, label_map in enumerate(labels):
        masks = ellipses(side, side, count=10, seed=number)
        for object_number in range(masks.shape[2]):
            label_map[masks[:, :, object_number]] = 1 + object_number % (classes - 1)
    labels[:, : side // 16] = 255
    return images.astype(np.float32) - np.float32(127.5), labels


def rectangles(boxes, height, width):
    """bool [height, width, n]: the insides of boxes int [n, 4] (y1, x1, y2, x2) px."""
    masks = np.zeros((height, width, len(boxes)), bool)
    for number, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, number] = True
    return masks


def boxes_that_match_most(boxes, overlaps, count=10):
    """Those of a detector's proposals that many others overlap: objects there give a training step
    its most positives.

    Args:
        boxes: [n, 4] (y1, x1, y2, x2) px.
        overlaps: function (boxes [n, 4], boxes [m, 4]) -> IoU [n, m].
        count: how many to choose.

    Returns:
        int [count, 4] px.
    """
    boxes = np.round(boxes).astype(int)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= 8]
    near = np.asarray(overlaps(boxes, boxes)) >= SURE_IOU
    chosen = []
    for _ in range(count):
        chosen.append(near.sum(axis=0).argmax())
        near[near[:, chosen[-1]]] = False
    return boxes[chosen]


def scenes(images, masks, classes=80, dataset_class=None):
    """A prepared Dataset of given images [h, w, 3] with masks [h, w, n], each of a random class.

    Args:
        images, masks: lists of arrays.
        classes: how many there are beside the background.
        dataset_class: to derive it from; None takes the package's ``Dataset``.
    """
    if dataset_class is None:
        from names import Dataset as dataset_class

    class Scenes(dataset_class):
        def load_image(self, image_id):
            return images[image_id]

        def load_mask(self, image_id):
            count = masks[image_id].shape[2]
            return masks[image_id], np.random.RandomState(image_id).randint(
                1, classes + 1, count
            ).astype(np.int32)

    dataset = Scenes()
    for number in range(1, classes + 1):
        dataset.add_class("made up", number, f"class {number}")
    for number in range(len(images)):
        dataset.add_image("made up", number, path=None)
    dataset.prepare()
    return dataset

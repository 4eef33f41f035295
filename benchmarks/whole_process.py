"""One photo, or one training step, as a script of its own does it: the program that `process_cases`
measures.

    python whole_process.py FUNCTION OPTIONS RESULT.json

OPTIONS are the function's arguments as JSON. `photo` and `first_step` run with this package and
with matterport's code or a port of it, whichever ``mrcnn`` is first on PYTHONPATH; the other two
with torchvision. Each imports nothing but the standard library before its clock starts.
"""

import json
import random
import sys
import time
from pathlib import Path

OBJECTS = 10  # of each image that is trained on


class Clock:
    """Seconds of a process' parts, the end of each of which is marked."""

    PARTS = ("import", "build", "first")

    def __init__(self):
        self.times = [time.perf_counter()]

    def mark(self):
        self.times.append(time.perf_counter())

    def seconds(self):
        """{"import_seconds", "build_seconds", "first_seconds"}"""
        spans = [end - start for start, end in zip(self.times, self.times[1:])]
        return {f"{part}_seconds": span for part, span in zip(self.PARTS, spans, strict=True)}


def photo(small, backbone, side, confidence):
    """Detection in one photo by a network of random weights, the same in every process.

    Args:
        small: whether to take `measure.SMALL_NETWORK`.
        backbone, side: "resnet50" or "resnet101", side of the molded image in px.
        confidence: the least score of a detection.

    Returns:
        dict: seconds, and the scores of what was found.
    """
    clock = Clock()
    import data_cases
    import measure
    import numpy as np
    import tensorflow as tf

    from mrcnn.model import MaskRCNN

    clock.mark()
    config = measure.settings(small, side, BACKBONE=backbone, DETECTION_MIN_CONFIDENCE=confidence)
    # for matterport's code, which knows no SEED
    random.seed(0)
    np.random.seed(0)
    tf.compat.v1.set_random_seed(0)
    model = MaskRCNN("inference", config, "logs")
    clock.mark()
    found = model.detect([measure.photo(*data_cases.PHOTO_SIZE)])[0]
    clock.mark()
    return {**clock.seconds(), "scores": [float(score) for score in found["scores"]]}


def first_step(small, backbone, side, batch, original=False):
    """The first training step of all layers, on images whose objects lie anywhere.

    Args:
        small, backbone, side: as of `photo`.
        batch: images.
        original: whether ``mrcnn`` is matterport's code or a port.

    Returns:
        dict: seconds.
    """
    clock = Clock()
    import measure

    from mrcnn.model import MaskRCNN
    from mrcnn.utils import Dataset

    clock.mark()
    config = measure.settings(small, side, batch, BACKBONE=backbone)
    model = MaskRCNN("training", config, "logs")
    model.set_trainable(".*", verbose=0)
    model.compile(config.LEARNING_RATE, config.LEARNING_MOMENTUM)
    clock.mark()
    dataset = measure.scenes(*_images(measure, side, batch), dataset_class=Dataset)
    if original:
        import matterport_peer

        model.keras_model.train_on_batch(matterport_peer.inputs(dataset, config), [])
    else:
        from names import training_data

        data = training_data(model.keras_model, dataset, config, steps=1)
        model.keras_model.train_on_batch(list(data[0][0]))
    clock.mark()
    return clock.seconds()


def torchvision_photo(small, backbone, side, confidence):
    """`photo` by torchvision, which pads no image to a square."""
    del small  # of torchvision only the image is
    clock = Clock()
    import data_cases
    import measure
    import torch
    import torchvision_peer as peer

    clock.mark()
    model = peer.network(side, backbone, box_score_thresh=confidence).eval()
    clock.mark()
    with torch.inference_mode():
        found = model([peer.tensor(measure.photo(*data_cases.PHOTO_SIZE))])[0]
    clock.mark()
    return {**clock.seconds(), "scores": found["scores"].tolist()}


def torchvision_first_step(small, backbone, side, batch):
    """`first_step` by torchvision."""
    del small
    clock = Clock()
    import measure
    import torchvision_peer as peer

    clock.mark()
    model = peer.network(side, backbone, trainable_layers=5).train()
    optimizer = peer.optimizer(model)
    clock.mark()
    images, masks = _images(measure, side, batch)
    peer.step(
        model, optimizer, [peer.tensor(image) for image in images], [*map(peer.target, masks)]
    )
    clock.mark()
    return clock.seconds()


def _images(measure, side, batch):
    """Square photos and the masks of their objects, a list of each."""
    return (
        [measure.photo(side, side, seed=number) for number in range(batch)],
        [measure.ellipses(side, side, OBJECTS, seed=number) for number in range(batch)],
    )


if __name__ == "__main__":
    _, function, options, path = sys.argv
    result = globals()[function](**json.loads(options))
    import measure

    Path(path).write_text(json.dumps({"peak_bytes": measure.peak_bytes(), **result}))

"""Cases that evaluate: detection over a dataset, scored."""

import statistics
import tempfile
import time
from pathlib import Path

import measure
import numpy as np

# an ordinary COCO photo, and as many objects as one has on average
SIZE, OBJECTS = (480, 640), 7


def evaluate(quick, repeats, backbone, side, detections, images=32):
    """MaskRCNN.evaluate of JPEG files, with random weights; see `network_cases.detect` for
    ``detections``.

    Outside of the network: reading images and objects, molding, pasting masks, run lengths,
    matching and scoring.
    """
    from mrcnn.model import MaskRCNN

    images = 4 if quick else images
    config = measure.settings(
        quick,
        128 if quick else side,
        BACKBONE=backbone,
        DETECTION_MAX_INSTANCES=detections,
        DETECTION_MIN_CONFIDENCE=0,
    )
    inside, found = [], []
    with tempfile.TemporaryDirectory() as folder:
        model = MaskRCNN("inference", config, folder)
        dataset = _jpegs(Path(folder), images)
        network = model.predict

        def timed_network(*arguments, **options):
            start = time.perf_counter()
            outputs = network(*arguments, **options)
            inside[-1] += time.perf_counter() - start
            found[-1] += int(np.count_nonzero(outputs[0][..., 4]))
            return outputs

        model.predict = timed_network

        def run():
            inside.append(0.0)
            found.append(0)
            model.evaluate(dataset, verbose=0)

        result = measure.repeat(run, repeats)
    outside = [total - network for total, network in zip(result["times"], inside[1:])]
    return {
        **result,
        "images": images,
        "detections": found[-1],
        "network_seconds": statistics.median(inside[1:]),
        "outside_seconds": statistics.median(outside),
        "outside_share": statistics.median(
            part / total for part, total in zip(outside, result["times"])
        ),
    }


def _jpegs(folder, count):
    """A dataset of JPEG files whose objects are run lengths in memory, as those of COCO's json come
    to be.
    """
    from names import Dataset, decode_masks, encode_masks
    from PIL import Image

    class Photos(Dataset):
        def load_mask(self, image_id):
            draw = np.random.RandomState(image_id)
            return (
                decode_masks(self.image_info[image_id]["objects"], SIZE),
                draw.randint(1, self.num_classes, OBJECTS).astype(np.int32),
            )

    dataset = Photos()
    for number in range(1, 81):
        dataset.add_class("made up", number, f"class {number}")
    for number in range(count):
        path = folder / f"{number}.jpg"
        Image.fromarray(measure.photo(*SIZE, seed=number)).save(path, quality=90)
        dataset.add_image(
            "made up",
            number,
            str(path),
            objects=encode_masks(measure.ellipses(*SIZE, count=OBJECTS, seed=number)),
        )
    dataset.prepare()
    return dataset


def evaluate_label_maps(quick, repeats, images=1000, classes=21):
    """evaluate_labels of pairs of label maps of 512 px, with every measure but trimap_IoU; without
    a network.
    """
    from mrcnn.evaluation import evaluate_labels

    images, side = (10, 128) if quick else (images, 512)
    truth = measure.labelled(side, 1, classes)[1][0].astype(np.uint8)
    found = np.roll(np.where(truth == 255, 0, truth), side // 50, axis=1)
    names = [f"class {number}" for number in range(classes)]

    def run():
        evaluate_labels(((truth, found) for _ in range(images)), names, trimap=None, verbose=0)

    return {**measure.repeat(run, repeats), "images": images}

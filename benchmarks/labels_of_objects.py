"""Mask R-CNN's objects as label maps against a segmenter, on the scenes of samples/digits.py.

    python benchmarks/labels_of_objects.py --logs FOLDER

The kept weights of Mask R-CNN detect digits in held-out scenes, and `Result.to_labels` makes label
maps of them, at several least scores. A small U-Net is trained on other scenes of the same
generator. Both are measured by the same confusion matrix. Nothing is downloaded.
"""

import argparse
import os
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, ROOT)

from mrcnn.config import SegmentationConfig
from mrcnn.evaluation import evaluate_labels
from samples import digits


class ScenesConfig(SegmentationConfig):
    """A U-Net of 0.5 million weights for scenes of 128 px."""

    NAME = "digit_scenes"
    NUM_CLASSES = 1 + 10
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128
    IMAGES_PER_GPU = 8
    UNET_WIDTHS = (16, 32, 64, 128)
    OPTIMIZER = "Adam"
    LEARNING_RATE = 0.003
    LEARNING_RATE_SCHEDULE = "cosine"
    LEARNING_RATE_WARMUP_STEPS = 100
    SEED = 0


def scenes(subset, count):
    """A prepared data set of ``count`` scenes."""
    dataset = digits.DigitsDataset()
    dataset.load_digits(count, subset)
    dataset.prepare()
    return dataset


def labels_of_objects(dataset, logs, min_score):
    """What Mask R-CNN's detections give as label maps: a `LabelEvaluation`."""
    from mrcnn.model import MaskRCNN

    model = MaskRCNN("inference", digits.DigitsDetectConfig(), logs)
    model.load_weights(digits.DEFAULT_WEIGHTS)

    def pairs():
        for image_id in dataset.image_ids:
            found = model.detect([dataset.load_image(image_id)])[0]
            yield dataset.load_labels(image_id), found.to_labels(min_score=min_score)

    return evaluate_labels(pairs(), dataset.class_names, verbose=0)


def labels_of_pixels(dataset, logs, train_scenes, epochs):
    """What a `Segmenter` finds that was trained on other scenes: a `LabelEvaluation`."""
    from mrcnn.segmenter import Segmenter

    config = ScenesConfig()
    config.STEPS_PER_EPOCH = train_scenes // config.BATCH_SIZE
    model = Segmenter("training", config, logs)
    start = time.process_time()
    model.train(scenes("train", train_scenes), None, config.LEARNING_RATE, epochs, "all", verbose=2)
    print(f"trained in {time.process_time() - start:.0f} CPU seconds")
    return model.detector().evaluate(dataset, verbose=0)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--logs", required=True, metavar="FOLDER", help="of the training run")
    parser.add_argument("--scenes", type=int, default=200, metavar="N", help="held-out scenes")
    parser.add_argument(
        "--train-scenes", type=int, default=1500, metavar="N", help="scenes of an epoch"
    )
    parser.add_argument("--epochs", type=int, default=6, metavar="N", help="of the segmenter")
    args = parser.parse_args()
    held_out = scenes("val", args.scenes)
    rows = {
        f"Mask R-CNN, score from {score}": labels_of_objects(held_out, args.logs, score)
        for score in (0.3, 0.5, 0.7, 0.9)
    }
    rows["U-Net"] = labels_of_pixels(held_out, args.logs, args.train_scenes, args.epochs)
    names = ("mIoU", "foreground_mIoU", "pixel_accuracy", "trimap_IoU")
    print(f"{'':26}" + "".join(f"{name:>17}" for name in names))
    for row, measured in rows.items():
        print(f"{row:26}" + "".join(f"{measured[name]:17.3f}" for name in names))


if __name__ == "__main__":
    main()

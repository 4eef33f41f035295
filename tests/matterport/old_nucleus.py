"""Train on microscopy images with a mask file per nucleus; write a run-length encoded submission.

python old_nucleus.py train --dataset=<folder> --subset=train --weights=<file.h5>
python old_nucleus.py detect --dataset=<folder> --subset=stage1_test --weights=last
"""

import datetime
import os
import sys

import matplotlib.pyplot as plt
import numpy as np
import skimage.io
from imgaug import augmenters as iaa

ROOT_DIR = os.path.abspath("../../")
sys.path.append(ROOT_DIR)
from mrcnn import model as modellib
from mrcnn import (
    utils,
    visualize,
)
from mrcnn.config import Config
from tests.matterport.toy_network import ToyNetwork

DEFAULT_LOGS_DIR = os.path.join(ROOT_DIR, "logs")
RESULTS_DIR = os.path.join(ROOT_DIR, "results/nucleus/")
VAL_IMAGE_IDS = ["cell3", "cell4"]


class NucleusConfig(ToyNetwork, Config):
    NAME = "nucleus"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 1
    STEPS_PER_EPOCH = (5 - len(VAL_IMAGE_IDS)) // IMAGES_PER_GPU
    VALIDATION_STEPS = max(1, len(VAL_IMAGE_IDS) // IMAGES_PER_GPU)
    DETECTION_MIN_CONFIDENCE = 0
    BACKBONE = "resnet50"
    IMAGE_RESIZE_MODE = "crop"
    IMAGE_MIN_DIM = 64
    IMAGE_MAX_DIM = 64
    IMAGE_MIN_SCALE = 2.0
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    RPN_NMS_THRESHOLD = 0.9
    MEAN_PIXEL = np.array([43.53, 39.56, 48.22])
    USE_MINI_MASK = True


class NucleusInferenceConfig(NucleusConfig):
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    IMAGE_RESIZE_MODE = "pad64"
    RPN_NMS_THRESHOLD = 0.7


class NucleusDataset(utils.Dataset):
    def load_nucleus(self, dataset_dir, subset):
        self.add_class("nucleus", 1, "nucleus")
        assert subset in ["train", "val", "stage1_train", "stage1_test"]
        subset_dir = "stage1_train" if subset in ["train", "val"] else subset
        dataset_dir = os.path.join(dataset_dir, subset_dir)
        if subset == "val":
            image_ids = VAL_IMAGE_IDS
        else:
            image_ids = next(os.walk(dataset_dir))[1]
            if subset == "train":
                image_ids = list(set(image_ids) - set(VAL_IMAGE_IDS))
        for image_id in image_ids:
            self.add_image(
                "nucleus",
                image_id=image_id,
                path=os.path.join(dataset_dir, image_id, f"images/{image_id}.png"),
            )

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        mask_dir = os.path.join(os.path.dirname(os.path.dirname(info["path"])), "masks")
        mask = []
        for f in next(os.walk(mask_dir))[2]:
            if f.endswith(".png"):
                mask.append(skimage.io.imread(os.path.join(mask_dir, f)).astype(bool))
        mask = np.stack(mask, axis=-1)
        return mask, np.ones([mask.shape[-1]], dtype=np.int32)

    def image_reference(self, image_id):
        info = self.image_info[image_id]
        if info["source"] == "nucleus":
            return info["id"]
        return super(self.__class__, self).image_reference(image_id)


def train(model, dataset_dir, subset):
    dataset_train = NucleusDataset()
    dataset_train.load_nucleus(dataset_dir, subset)
    dataset_train.prepare()
    dataset_val = NucleusDataset()
    dataset_val.load_nucleus(dataset_dir, "val")
    dataset_val.prepare()
    augmentation = iaa.SomeOf(
        (0, 2),
        [
            iaa.Fliplr(0.5),
            iaa.Flipud(0.5),
            iaa.OneOf([iaa.Affine(rotate=90), iaa.Affine(rotate=180), iaa.Affine(rotate=270)]),
            iaa.Multiply((0.8, 1.5)),
            iaa.GaussianBlur(sigma=(0.0, 5.0)),
        ],
    )
    print("Train network heads")
    model.train(
        dataset_train,
        dataset_val,
        learning_rate=config.LEARNING_RATE,
        epochs=1,
        augmentation=augmentation,
        layers="heads",
    )
    print("Train all layers")
    model.train(
        dataset_train,
        dataset_val,
        learning_rate=config.LEARNING_RATE,
        epochs=2,
        augmentation=augmentation,
        layers="all",
    )


def rle_encode(mask):
    """Column-major runs, from 1: "start length start length ..."."""
    assert mask.ndim == 2
    m = np.concatenate([[0], mask.T.flatten(), [0]])
    g = np.where(m[1:] != m[:-1])[0].reshape([-1, 2]) + 1
    g[:, 1] = g[:, 1] - g[:, 0]
    return " ".join(map(str, g.flatten()))


def rle_decode(rle, shape):
    rle = list(map(int, rle.split()))
    rle = np.array(rle, dtype=np.int32).reshape([-1, 2])
    rle[:, 1] += rle[:, 0]
    rle -= 1
    mask = np.zeros([shape[0] * shape[1]], bool)
    for s, e in rle:
        mask[s:e] = 1
    return mask.reshape([shape[1], shape[0]]).T


def mask_to_rle(image_id, mask, scores):
    assert mask.ndim == 3
    if mask.shape[-1] == 0:
        return f"{image_id},"
    order = np.argsort(scores)[::-1] + 1  # 1-based, the surest first
    mask = np.max(mask * np.reshape(order, [1, 1, -1]), -1)
    lines = []
    for o in order:
        m = np.where(mask == o, 1, 0)
        if m.sum() == 0.0:
            continue
        lines.append(f"{image_id}, {rle_encode(m)}")
    return "\n".join(lines)


def detect(model, dataset_dir, subset):
    submit_dir = os.path.join(RESULTS_DIR, f"submit_{datetime.datetime.now():%Y%m%dT%H%M%S}")
    os.makedirs(submit_dir)
    dataset = NucleusDataset()
    dataset.load_nucleus(dataset_dir, subset)
    dataset.prepare()
    submission, found = [], {}
    for image_id in dataset.image_ids:
        image = dataset.load_image(image_id)
        r = model.detect([image], verbose=0)[0]
        source_id = dataset.image_info[image_id]["id"]
        submission.append(mask_to_rle(source_id, r["masks"], r["scores"]))
        found[source_id] = r
        visualize.display_instances(
            image,
            r["rois"],
            r["masks"],
            r["class_ids"],
            dataset.class_names,
            r["scores"],
            show_bbox=False,
            show_mask=False,
            title="Predictions",
        )
        plt.savefig(f"{submit_dir}/{source_id}.png")
    with open(os.path.join(submit_dir, "submit.csv"), "w") as f:
        f.write("ImageId,EncodedPixels\n" + "\n".join(submission))
    print("Saved to ", submit_dir)
    return submit_dir, found


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("command", metavar="<command>")
    parser.add_argument("--dataset")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--logs", default=DEFAULT_LOGS_DIR)
    parser.add_argument("--subset")
    args = parser.parse_args()

    config = NucleusConfig() if args.command == "train" else NucleusInferenceConfig()
    config.display()
    model = modellib.MaskRCNN(
        mode="training" if args.command == "train" else "inference",
        config=config,
        model_dir=args.logs,
    )
    weights_path = model.find_last() if args.weights.lower() == "last" else args.weights
    print("Loading weights ", weights_path)
    if args.weights.lower() == "last":
        model.load_weights(weights_path, by_name=True)
    else:
        model.load_weights(
            weights_path,
            by_name=True,
            exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"],
        )
    if args.command == "train":
        train(model, args.dataset, args.subset)
    elif args.command == "detect":
        submit_dir, found = detect(model, args.dataset, args.subset)

"""Train on COCO in three stages, and measure AP with pycocotools.

python old_coco.py train --dataset=<folder> --model=<file.h5>
python old_coco.py evaluate --dataset=<folder> --model=last
"""

import os
import sys
import time

import imgaug
import numpy as np
from pycocotools import mask as maskUtils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

ROOT_DIR = os.path.abspath("../../")
sys.path.append(ROOT_DIR)
from mrcnn import model as modellib
from mrcnn import utils
from mrcnn.config import Config
from tests.matterport.toy_network import ToyNetwork

COCO_MODEL_PATH = os.path.join(ROOT_DIR, "mask_rcnn_coco.h5")
DEFAULT_LOGS_DIR = os.path.join(ROOT_DIR, "logs")
DEFAULT_DATASET_YEAR = "2014"


class CocoConfig(ToyNetwork, Config):
    NAME = "coco"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 3
    IMAGE_MIN_DIM = 64
    IMAGE_MAX_DIM = 64


class CocoDataset(utils.Dataset):
    def load_coco(
        self,
        dataset_dir,
        subset,
        year=DEFAULT_DATASET_YEAR,
        class_ids=None,
        class_map=None,
        return_coco=False,
    ):
        coco = COCO(f"{dataset_dir}/annotations/instances_{subset}{year}.json")
        image_dir = f"{dataset_dir}/{subset}{year}"
        if not class_ids:
            class_ids = sorted(coco.getCatIds())
            image_ids = list(coco.imgs.keys())
        else:
            image_ids = []
            for id in class_ids:
                image_ids.extend(list(coco.getImgIds(catIds=[id])))
            image_ids = list(set(image_ids))
        for i in class_ids:
            self.add_class("coco", i, coco.loadCats(i)[0]["name"])
        for i in image_ids:
            self.add_image(
                "coco",
                image_id=i,
                path=os.path.join(image_dir, coco.imgs[i]["file_name"]),
                width=coco.imgs[i]["width"],
                height=coco.imgs[i]["height"],
                annotations=coco.loadAnns(
                    coco.getAnnIds(imgIds=[i], catIds=class_ids, iscrowd=None)
                ),
            )
        if return_coco:
            return coco

    def load_mask(self, image_id):
        image_info = self.image_info[image_id]
        if image_info["source"] != "coco":
            return super().load_mask(image_id)
        instance_masks, class_ids = [], []
        for annotation in image_info["annotations"]:
            class_id = self.map_source_class_id("coco.{}".format(annotation["category_id"]))
            if class_id:
                m = self.annToMask(annotation, image_info["height"], image_info["width"])
                if m.max() < 1:  # less than a pixel
                    continue
                if annotation["iscrowd"]:
                    class_id *= -1
                    if m.shape[0] != image_info["height"] or m.shape[1] != image_info["width"]:
                        m = np.ones([image_info["height"], image_info["width"]], dtype=bool)
                instance_masks.append(m)
                class_ids.append(class_id)
        if class_ids:
            return np.stack(instance_masks, axis=2).astype(bool), np.array(
                class_ids, dtype=np.int32
            )
        return super().load_mask(image_id)

    def image_reference(self, image_id):
        info = self.image_info[image_id]
        if info["source"] == "coco":
            return "http://cocodataset.org/#explore?id={}".format(info["id"])
        return super().image_reference(image_id)

    def annToRLE(self, ann, height, width):
        segm = ann["segmentation"]
        if isinstance(segm, list):
            return maskUtils.merge(maskUtils.frPyObjects(segm, height, width))
        if isinstance(segm["counts"], list):
            return maskUtils.frPyObjects(segm, height, width)
        return segm

    def annToMask(self, ann, height, width):
        return maskUtils.decode(self.annToRLE(ann, height, width))


def build_coco_results(dataset, image_ids, rois, class_ids, scores, masks):
    if rois is None:
        return []
    results = []
    for image_id in image_ids:
        for i in range(rois.shape[0]):
            class_id = class_ids[i]
            score = scores[i]
            bbox = np.around(rois[i], 1)
            mask = masks[:, :, i]
            results.append(
                {
                    "image_id": image_id,
                    "category_id": dataset.get_source_class_id(class_id, "coco"),
                    "bbox": [bbox[1], bbox[0], bbox[3] - bbox[1], bbox[2] - bbox[0]],
                    "score": score,
                    "segmentation": maskUtils.encode(np.asfortranarray(mask)),
                }
            )
    return results


def evaluate_coco(model, dataset, coco, eval_type="bbox", limit=0, image_ids=None):
    image_ids = image_ids or dataset.image_ids
    if limit:
        image_ids = image_ids[:limit]
    coco_image_ids = [dataset.image_info[id]["id"] for id in image_ids]
    t_prediction = 0
    results = []
    for i, image_id in enumerate(image_ids):
        image = dataset.load_image(image_id)
        t = time.time()
        r = model.detect([image], verbose=0)[0]
        t_prediction += time.time() - t
        results.extend(
            build_coco_results(
                dataset,
                coco_image_ids[i : i + 1],
                r["rois"],
                r["class_ids"],
                r["scores"],
                r["masks"].astype(np.uint8),
            )
        )
    coco_results = coco.loadRes(results)
    coco_eval = COCOeval(coco, coco_results, eval_type)
    coco_eval.params.imgIds = coco_image_ids
    coco_eval.evaluate()
    coco_eval.accumulate()
    coco_eval.summarize()
    print(f"Prediction time: {t_prediction}. Average {t_prediction / len(image_ids)}/image")
    return results, coco_eval


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("command", metavar="<command>")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--year", default=DEFAULT_DATASET_YEAR)
    parser.add_argument("--model", required=True)
    parser.add_argument("--logs", default=DEFAULT_LOGS_DIR)
    parser.add_argument("--limit", default=500)
    args = parser.parse_args()

    if args.command == "train":
        config = CocoConfig()
    else:

        class InferenceConfig(CocoConfig):
            GPU_COUNT = 1
            IMAGES_PER_GPU = 1
            DETECTION_MIN_CONFIDENCE = 0

        config = InferenceConfig()
    config.display()

    model = modellib.MaskRCNN(
        mode="training" if args.command == "train" else "inference",
        config=config,
        model_dir=args.logs,
    )
    if args.model.lower() == "coco":
        model_path = COCO_MODEL_PATH
    elif args.model.lower() == "last":
        model_path = model.find_last()
    elif args.model.lower() == "imagenet":
        model_path = model.get_imagenet_weights()
    else:
        model_path = args.model
    print("Loading weights ", model_path)
    model.load_weights(model_path, by_name=True)

    if args.command == "train":
        dataset_train = CocoDataset()
        dataset_train.load_coco(args.dataset, "train", year=args.year)
        dataset_train.prepare()
        dataset_val = CocoDataset()
        dataset_val.load_coco(args.dataset, "val", year=args.year)
        dataset_val.prepare()

        # right/left flip half of the time
        augmentation = imgaug.augmenters.Fliplr(0.5)
        print("Training network heads")
        model.train(
            dataset_train,
            dataset_val,
            learning_rate=config.LEARNING_RATE,
            epochs=1,
            layers="heads",
            augmentation=augmentation,
        )
        print("Fine tune Resnet stage 4 and up")
        model.train(
            dataset_train,
            dataset_val,
            learning_rate=config.LEARNING_RATE,
            epochs=3,
            layers="4+",
            augmentation=augmentation,
        )
        print("Fine tune all layers")
        model.train(
            dataset_train,
            dataset_val,
            learning_rate=config.LEARNING_RATE / 10,
            epochs=4,
            layers="all",
            augmentation=augmentation,
        )
    elif args.command == "evaluate":
        dataset_val = CocoDataset()
        coco = dataset_val.load_coco(args.dataset, "val", year=args.year, return_coco=True)
        dataset_val.prepare()
        print(f"Running COCO evaluation on {args.limit} images.")
        results, coco_eval = evaluate_coco(model, dataset_val, coco, "bbox", limit=int(args.limit))

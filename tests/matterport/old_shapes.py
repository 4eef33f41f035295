"""The cells of a notebook that trains on shapes: dataset inline, two stages, detect, AP.

python old_shapes.py <folder of the logs> <COCO weights>
"""

import os
import random
import sys

import matplotlib.pyplot as plt
import numpy as np
from skimage.draw import disk, polygon

from mrcnn import model as modellib
from mrcnn import utils, visualize
from mrcnn.config import Config
from mrcnn.model import log
from tests.matterport.toy_network import ToyNetwork

MODEL_DIR = sys.argv[1]
COCO_MODEL_PATH = sys.argv[2]


# %% Configurations


class ShapesConfig(ToyNetwork, Config):
    NAME = "shapes"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 3  # background + 3 shapes
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    STEPS_PER_EPOCH = 3


config = ShapesConfig()
config.display()


# %% Dataset


class ShapesDataset(utils.Dataset):
    def load_shapes(self, count, height, width):
        self.add_class("shapes", 1, "square")
        self.add_class("shapes", 2, "circle")
        self.add_class("shapes", 3, "triangle")
        for i in range(count):
            shapes = [self.random_shape(height, width) for _ in range(random.randint(1, 3))]
            ground = [random.randint(0, 255) for _ in range(3)]
            self.add_image(
                "shapes",
                image_id=i,
                path=None,
                width=width,
                height=height,
                bg_color=ground,
                shapes=shapes,
            )

    def load_image(self, image_id):
        info = self.image_info[image_id]
        image = np.ones([info["height"], info["width"], 3], dtype=np.uint8) * np.uint8(
            info["bg_color"]
        )
        for name, color, dims in info["shapes"]:
            image[self.pixels(name, dims, image.shape)] = color
        return image

    def image_reference(self, image_id):
        info = self.image_info[image_id]
        if info["source"] == "shapes":
            return info["shapes"]
        return super().image_reference(image_id)

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        shapes = info["shapes"]
        mask = np.zeros([info["height"], info["width"], len(shapes)], dtype=np.uint8)
        for i, (name, _, dims) in enumerate(shapes):
            rows, columns = self.pixels(name, dims, mask.shape)
            mask[rows, columns, :i] = 0  # what lies above hides
            mask[rows, columns, i] = 1
        class_ids = np.array([self.class_names.index(s[0]) for s in shapes])
        return mask.astype(bool), class_ids.astype(np.int32)

    def pixels(self, name, dims, shape):
        x, y, s = dims
        if name == "square":
            return polygon([y - s, y - s, y + s, y + s], [x - s, x + s, x + s, x - s], shape[:2])
        if name == "circle":
            return disk((y, x), s, shape=shape[:2])
        return polygon([y - s, y + s, y + s], [x, x - s, x + s], shape[:2])

    def random_shape(self, height, width):
        name = random.choice(["square", "circle", "triangle"])
        color = tuple(random.randint(0, 255) for _ in range(3))
        x, y = random.randint(20, width - 21), random.randint(20, height - 21)
        return name, color, (x, y, random.randint(12, height // 4))


random.seed(3)
dataset_train = ShapesDataset()
dataset_train.load_shapes(10, config.IMAGE_SHAPE[0], config.IMAGE_SHAPE[1])
dataset_train.prepare()
dataset_val = ShapesDataset()
dataset_val.load_shapes(5, config.IMAGE_SHAPE[0], config.IMAGE_SHAPE[1])
dataset_val.prepare()

for image_id in np.random.choice(dataset_train.image_ids, 4):
    image = dataset_train.load_image(image_id)
    mask, class_ids = dataset_train.load_mask(image_id)
    visualize.display_top_masks(image, mask, class_ids, dataset_train.class_names)

# %% Train the heads, then all layers; epochs are totals

model = modellib.MaskRCNN(mode="training", config=config, model_dir=MODEL_DIR)
init_with = "coco"  # imagenet, coco, or last
if init_with == "imagenet":
    model.load_weights(model.get_imagenet_weights(), by_name=True)
elif init_with == "coco":
    model.load_weights(
        COCO_MODEL_PATH,
        by_name=True,
        exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"],
    )
elif init_with == "last":
    model.load_weights(model.find_last(), by_name=True)

model.train(
    dataset_train, dataset_val, learning_rate=config.LEARNING_RATE, epochs=1, layers="heads"
)
model.train(
    dataset_train, dataset_val, learning_rate=config.LEARNING_RATE / 10, epochs=2, layers="all"
)

# saving by hand is not needed, callbacks save after every epoch
# model.keras_model.save_weights(os.path.join(MODEL_DIR, "mask_rcnn_shapes.h5"))


# %% Detect


class InferenceConfig(ShapesConfig):
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    DETECTION_MIN_CONFIDENCE = 0  # six steps do not make a network sure


inference_config = InferenceConfig()
trained = model
model = modellib.MaskRCNN(mode="inference", config=inference_config, model_dir=MODEL_DIR)
model_path = model.find_last()
print("Loading weights from ", model_path)
model.load_weights(model_path, by_name=True)

image_id = random.choice(dataset_val.image_ids)
original_image, image_meta, gt_class_id, gt_bbox, gt_mask = modellib.load_image_gt(
    dataset_val, inference_config, image_id, use_mini_mask=False
)
log("original_image", original_image)
log("image_meta", image_meta)
log("gt_class_id", gt_class_id)
log("gt_bbox", gt_bbox)
log("gt_mask", gt_mask)
visualize.display_instances(
    original_image, gt_bbox, gt_mask, gt_class_id, dataset_train.class_names, figsize=(8, 8)
)


def get_ax(rows=1, cols=1, size=8):
    _, ax = plt.subplots(rows, cols, figsize=(size * cols, size * rows))
    return ax


results = model.detect([original_image], verbose=1)
r = results[0]
visualize.display_instances(
    original_image,
    r["rois"],
    r["masks"],
    r["class_ids"],
    dataset_val.class_names,
    r["scores"],
    ax=get_ax(),
)
plt.savefig(os.path.join(MODEL_DIR, "instances.png"))

# %% Evaluation: mAP at IoU 0.5 of some images, drawn by lot

APs, perfect = [], []
for image_id in np.random.choice(dataset_val.image_ids, 4):
    image, image_meta, gt_class_id, gt_bbox, gt_mask = modellib.load_image_gt(
        dataset_val, inference_config, image_id, use_mini_mask=False
    )
    molded_images = np.expand_dims(modellib.mold_image(image, inference_config), 0)
    results = model.detect([image], verbose=0)
    r = results[0]
    AP, precisions, recalls, overlaps = utils.compute_ap(
        gt_bbox, gt_class_id, gt_mask, r["rois"], r["class_ids"], r["scores"], r["masks"]
    )
    APs.append(AP)
    perfect.append(
        utils.compute_ap(
            gt_bbox, gt_class_id, gt_mask, gt_bbox, gt_class_id, np.ones(len(gt_bbox)), gt_mask
        )[0]
    )
print("mAP: ", np.mean(APs))

"""A dataset of given label maps whose images say which they are."""

import numpy as np

from mrcnn.config import SegmentationConfig
from mrcnn.data.dataset import Dataset


class SmallSegmentation(SegmentationConfig):
    """A U-Net of 5 levels, so that sides are multiples of 16."""

    NAME = "small"
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    IMAGES_PER_GPU = 2


class Scenes(Dataset):
    """Image i is filled with the value i, and labelled as maps[i] says."""

    def __init__(self, maps):
        super().__init__()
        self.maps = [np.asarray(labels) for labels in maps]
        self.add_class("scenes", 1, "one")
        self.add_class("scenes", 2, "two")
        for i in range(len(maps)):
            self.add_image("scenes", i, path=f"folder/{i}.png")
        self.prepare()

    def load_image(self, image_id):
        return np.full((*self.maps[image_id].shape, 3), image_id, np.uint8)

    def load_labels(self, image_id, overlap="smaller", crowds="ignore"):
        return self.maps[image_id]

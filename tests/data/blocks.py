"""A dataset of rectangles whose images say which they are, for the pipeline's tests."""

import numpy as np

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset


class SmallConfig(Config):
    NAME = "small"
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 32
    TRAIN_ROIS_PER_IMAGE = 12
    MAX_GT_INSTANCES = 5
    MINI_MASK_SHAPE = (14, 20)
    IMAGES_PER_GPU = 2


class Blocks(Dataset):
    """Image i is filled with the value i and holds counts[i] rectangles."""

    def __init__(self, counts, source="blocks"):
        super().__init__()
        self.counts, self.loaded = counts, []
        self.add_class(source, 1, "one")
        self.add_class(source, 2, "two")
        for i in range(len(counts)):
            self.add_image(source, i, path=f"folder/{i}.png")
        self.prepare()

    def load_image(self, image_id):
        self.loaded.append(int(image_id))
        return np.full((64, 64, 3), image_id, dtype=np.uint8)

    def load_mask(self, image_id):
        count = self.counts[image_id]
        mask = np.zeros((64, 64, count), dtype=bool)
        for i in range(count):
            mask[2 + 3 * i : 20 + 4 * i, 4 + 2 * i + image_id : 30 + 3 * i + image_id, i] = True
        return mask, np.arange(count) % 2 + 1


def images_of(inputs):
    """Image ids of a batch, read back from the pixels."""
    pixels = inputs[0] + Config.MEAN_PIXEL
    assert np.ptp(pixels, axis=(1, 2, 3)).max() < 1e-4
    return np.rint(pixels[:, 0, 0, 0]).astype(int).tolist()

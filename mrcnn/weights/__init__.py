"""Files of weights: matterport's .h5 layout, torchvision's .pth, whole .keras models, published
files, statistics.

Importing the room brings no TensorFlow in.

``python -m mrcnn.weights file.h5`` shows what is in a file.
"""

from mrcnn.weights.load import LoadReport, load_h5, load_weights, save_h5
from mrcnn.weights.mismatch import CLASS_LAYERS
from mrcnn.weights.published import coco_weights, imagenet_weights, torchvision_weights

__all__ = [
    "CLASS_LAYERS",
    "LoadReport",
    "coco_weights",
    "imagenet_weights",
    "load_h5",
    "load_weights",
    "save_h5",
    "torchvision_weights",
]

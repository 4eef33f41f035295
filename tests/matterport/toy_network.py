"""What the scripts of this folder add to their configs, so that a network of seconds stands for the
real one.
"""

from mrcnn.config import Config


class ToyNetwork:
    """Sizes of a ResNet-50 Mask R-CNN; the images' sizes are the scripts' own."""

    BACKBONE = "resnet50"
    BACKBONE_WIDTH = 8
    TOP_DOWN_PYRAMID_SIZE = 16
    RPN_CONV_CHANNELS = 32
    FPN_CLASSIF_FC_LAYERS_SIZE = 32
    MASK_HEAD_CHANNELS = 16
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 32
    POST_NMS_ROIS_TRAINING = 300
    POST_NMS_ROIS_INFERENCE = 30
    TRAIN_ROIS_PER_IMAGE = 20
    MAX_GT_INSTANCES = 10
    MINI_MASK_SHAPE = (28, 28)
    DETECTION_MAX_INSTANCES = 10
    STEPS_PER_EPOCH = 2
    VALIDATION_STEPS = 1
    SEED = 0


class RectanglesConfig(ToyNetwork, Config):
    """For the notebooks: the classes of `tiny.Rectangles`."""

    NAME = "rectangles"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128
    DETECTION_MIN_CONFIDENCE = 0
    PRE_NMS_LIMIT = 500

"""A model that builds in a second and a dataset of rectangles, for tests of the whole."""

import numpy as np

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset


def backbone(input_image, stage5=True, train_bn=None):
    """Five convolutions of stride 2: the least that has C1..C5 and the stages' names."""
    # here, so that tests that take only the settings or the dataset need no Keras
    import keras

    from mrcnn.networks.layers.normalization import BatchNorm

    assert stage5
    x, stages = input_image, []
    for stage in range(1, 6):
        conv, norm = (
            (f"res{stage}a_branch2a", f"bn{stage}a_branch2a")
            if stage > 1
            else ("conv1", "bn_conv1")
        )
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=conv)(x)
        x = BatchNorm(train_bn, name=norm)(x)
        x = keras.layers.Activation("relu")(x)
        stages.append(x)
    return stages


def backbone_shapes(image_shape):
    """Heights and widths of P2..P6."""
    return np.array(
        [[-(-side // stride) for side in image_shape[:2]] for stride in (4, 8, 16, 32, 64)]
    )


class TinyConfig(Config):
    """3 classes, images of 64 px and a few proposals, on the backbone above."""

    NAME = "tiny"
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    BACKBONE = staticmethod(backbone)
    COMPUTE_BACKBONE_SHAPE = staticmethod(backbone_shapes)
    BACKBONE_WIDTH = 8
    TOP_DOWN_PYRAMID_SIZE = 16
    RPN_CONV_CHANNELS = 32
    FPN_CLASSIF_FC_LAYERS_SIZE = 32
    MASK_HEAD_CHANNELS = 16
    RPN_ANCHOR_SCALES = (8, 16, 32, 48, 64)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 32
    POST_NMS_ROIS_TRAINING = 60
    POST_NMS_ROIS_INFERENCE = 30
    TRAIN_ROIS_PER_IMAGE = 20
    MAX_GT_INSTANCES = 5
    MINI_MASK_SHAPE = (28, 28)
    DETECTION_MAX_INSTANCES = 10
    # untrained weights find nothing at 0.7
    DETECTION_MIN_CONFIDENCE = 0.0
    STEPS_PER_EPOCH = 2
    VALIDATION_STEPS = 1
    SEED = 0


# What makes a network compute as torchvision's second version does, at the sizes above.
TORCHVISION = {
    "RPN_CONV_LAYERS": 2,
    "RPN_ANCHOR_RATIOS": (2, 1, 0.5),
    "RPN_ANCHORS_ROUNDED": True,
    "RPN_STRIDES_FROM_SIZES": True,
    "RPN_BBOX_STD_DEV": np.ones(4),
    "BOX_SHIFT": 0,
    "BBOX_LOG_SCALE_LIMIT": 4.135,
    "PROPOSALS_PER_LEVEL": True,
    "PRE_NMS_LIMIT": 20,
    "PRE_NMS_LIMIT_TRAINING": 40,
    "PROPOSAL_MIN_SIZE": 0.001,
    "CLIP_PROPOSALS_TO_WINDOW": True,
    "ROI_LEVEL_FLOOR": True,
    "ROI_ALIGN": "sampled",
    "BOX_HEAD_CONVS": 2,
    "BOX_HEAD_CHANNELS": 8,
    "BOX_HEAD_FCS": 1,
    "DETECTION_MULTI_CLASS": True,
    "DETECTION_MIN_SIZE": 0.01,
}
# The same with a ResNet, whose stages are halved in their 3x3 convolutions.
TORCHVISION_RESNET = {
    **TORCHVISION,
    "BACKBONE": "resnet50",
    "COMPUTE_BACKBONE_SHAPE": None,
    "BACKBONE_WIDTH": 4,
    "STRIDE_IN_3X3": True,
}


def tiny_config(**fields):
    """A `TinyConfig` with some fields changed."""
    return type("ChosenConfig", (TinyConfig,), fields)()


class Rectangles(Dataset):
    """Images with a red rectangle (class 1), a blue one (class 2) or both on grey noise."""

    def __init__(self, count=4, size=(64, 64), seed=0):
        super().__init__()
        self.add_class("rectangles", 1, "red")
        self.add_class("rectangles", 2, "blue")
        rng = np.random.RandomState(seed)
        for number in range(count):
            objects = []
            for class_id in ((1,), (2,), (1, 2))[number % 3]:
                height, width = rng.randint(16, 33, 2)
                y, x = rng.randint(0, size[0] - height + 1), rng.randint(0, size[1] - width + 1)
                objects.append((class_id, y, x, y + height, x + width))
            self.add_image("rectangles", f"picture{number}", path=None, size=size, objects=objects)
        self.prepare()

    def load_image(self, image_id):
        info = self.image_info[image_id]
        image = (
            np.random.RandomState(image_id).randint(90, 130, (*info["size"], 3)).astype(np.uint8)
        )
        for class_id, y1, x1, y2, x2 in info["objects"]:
            image[y1:y2, x1:x2] = (220, 30, 30) if class_id == 1 else (30, 30, 220)
        return image

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        masks = np.zeros((*info["size"], len(info["objects"])), bool)
        for index, (_, y1, x1, y2, x2) in enumerate(info["objects"]):
            masks[y1:y2, x1:x2, index] = True
        return masks, np.array([class_id for class_id, *_ in info["objects"]], np.int32)


def randomize(keras_model, seed=1):
    """Give all weights random values of a size at which boxes, classes and masks come out
    moderate.
    """
    rng = np.random.RandomState(seed)
    for variable in keras_model.weights:
        if variable.name == "moving_variance":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name == "gamma":
            variable.assign(rng.uniform(0.8, 1.2, variable.shape))
        elif variable.name == "kernel":
            scale = 1
            if variable.path.startswith("conv1/"):
                scale = 0.01  # pixels are of size 100
            elif "rpn_bbox_pred" in variable.path or "mrcnn_bbox_fc" in variable.path:
                scale = 0.1  # deltas of 1 are large
            elif "rpn_class_raw" in variable.path or "mrcnn_class_logits" in variable.path:
                scale = 2  # clear scores: neither 1 nor alike
            variable.assign(
                rng.randn(*variable.shape) * scale * np.sqrt(2 / np.prod(variable.shape[:-1]))
            )
        else:
            variable.assign(rng.randn(*variable.shape) * 0.1)
            if "mrcnn_class_logits" in variable.path:
                # no RoI is background
                variable.assign(variable + 2 * (np.arange(variable.shape[0]) > 0))


def values(keras_model):
    """name -> array of every weight, nested models' too."""
    return {variable.path: variable.numpy() for variable in keras_model.weights}


def same(first, second):
    """Whether two lists of `detect` are equal, bit for bit."""
    return len(first) == len(second) and all(
        np.array_equal(a[key], b[key]) and a[key].dtype == b[key].dtype
        for a, b in zip(first, second)
        for key in ("rois", "class_ids", "scores", "masks")
    )


def image(height, width, seed=0, channels=3):
    """A uint8 image of large random blocks: noise of single pixels would average out."""
    rng = np.random.RandomState(seed)
    blocks = rng.randint(0, 256, (-(-height // 8), -(-width // 8), channels)).astype(np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]

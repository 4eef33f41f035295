"""One small working example of every layer: how to make it, and inputs for any batch size."""

from types import SimpleNamespace

import keras
import numpy as np

from mrcnn.config import Config
from mrcnn.networks.layers.normalization import BatchNorm
from mrcnn.networks.layers.upsampling import (
    BedOfNails,
    Bilinear,
    Interpolate,
    MaxPoolIndices,
    MaxUnpool,
)
from mrcnn.networks.mask_rcnn.box_head import DeltasOfClasses, FullyConnected
from mrcnn.networks.mask_rcnn.detections import DetectionLayer
from mrcnn.networks.mask_rcnn.hard_examples import HardExamples
from mrcnn.networks.mask_rcnn.inputs import Anchors, NormalizeBoxes
from mrcnn.networks.mask_rcnn.losses import (
    BoxLoss,
    ClassLoss,
    MaskLoss,
    MaskSoftmaxLoss,
    RPNBoxLoss,
    RPNClassLoss,
)
from mrcnn.networks.mask_rcnn.mask_head import MaskPrediction
from mrcnn.networks.mask_rcnn.proposals import ProposalLayer
from mrcnn.networks.mask_rcnn.roi_features import (
    PackedROIAlign,
    PyramidROIAlign,
    UnpackRows,
)
from mrcnn.networks.mask_rcnn.targets import DetectionTargetLayer
from mrcnn.networks.segmentation.losses import LabelLoss
from mrcnn.ops.image_meta import compose_image_meta
from mrcnn.ops.packed_rows import PackedRows
from tests import twins

CLASSES = 4
IMAGE_SHAPE = (100, 84, 3)  # no level divides evenly
LEVELS = [(25, 21), (13, 11), (7, 6), (4, 3)]
MASK = (6, 4)  # height and width


class TinyConfig(Config):
    """64 px, and few of everything."""

    NAME = "tiny"
    NUM_CLASSES = CLASSES
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 32, 48, 64)
    PRE_NMS_LIMIT = 20
    TRAIN_ROIS_PER_IMAGE = 12
    DETECTION_MAX_INSTANCES = 8
    DETECTION_MIN_CONFIDENCE = 0.3
    MASK_SHAPE = [28, 28]


CONFIG = TinyConfig()


def meta(batch, image_shape=IMAGE_SHAPE, classes=CLASSES):
    """float32 [batch, 12 + classes], with a window that leaves out the first and last rows."""
    window = (10, 0, image_shape[0] - 10, image_shape[1])
    row = compose_image_meta(7, (60, 84, 3), image_shape, window, 1.0, [1] * classes)
    return np.tile(row.astype(np.float32), (batch, 1))


def pyramid(random, batch, channels=2):
    return [random.normal(size=(batch, *shape, channels)).astype(np.float32) for shape in LEVELS]


def proposal_inputs(random, batch, rois):
    boxes = twins.random_boxes(random, batch, rois)
    return [
        twins.softmax(random.normal(size=(batch, rois, 2))),
        random.normal(size=(batch, rois, 4)).astype(np.float32),
        boxes,
    ]


def align_inputs(random, batch, rois):
    return [twins.random_boxes(random, batch, rois), meta(batch), *pyramid(random, batch)]


def class_ids(random, batch, rois):
    """int32 [batch, rois], half of them background; the first is an object."""
    ids = random.randint(0, CLASSES, (batch, rois)) * random.randint(0, 2, (batch, rois))
    ids[:, 0] = 1
    return ids.astype(np.int32)


def target_inputs(random, batch, rois):
    gt_boxes = twins.random_boxes(random, batch, 3, smallest=0.2)
    gt_boxes[:, 2] = 0
    proposals = twins.random_boxes(random, batch, rois)
    proposals[:, ::2] = gt_boxes[:, np.arange(len(proposals[0, ::2])) % 2] + np.float32(0.01)
    ids = np.tile(np.int32([1, 2, 0]), (batch, 1))
    return [proposals, ids, gt_boxes, random.uniform(size=(batch, 14, 14, 3)) < 0.6]


def detection_inputs(random, batch, rois):
    return [
        twins.random_boxes(random, batch, rois),
        twins.softmax(random.normal(0, 2, (batch, rois, CLASSES))),
        random.normal(size=(batch, rois, CLASSES, 4)).astype(np.float32),
        meta(batch),
    ]


def rpn_match(random, batch, rois):
    match = random.choice([-1, 0, 1], (batch, rois, 1)).astype(np.int32)
    match[:, :2, 0] = 1, -1
    return match


def normal(random, *shape):
    return random.normal(size=shape).astype(np.float32)


def mask_loss_inputs(random, batch, rois):
    return [
        (random.uniform(size=(batch, rois, 4, 4)) < 0.5).astype(np.float32),
        class_ids(random, batch, rois),
        random.uniform(0.1, 0.9, (batch, rois, 4, 4, CLASSES)).astype(np.float32),
    ]


def packed(ids, **options):
    """The two arrays of the `PackedRows` of class ids."""
    return [part.numpy() for part in PackedRows.objects(ids, **options)]


def unpool_inputs(random, batch, rois):
    """A map of odd sides with what was pooled from it."""
    large = normal(random, batch, 5, rois + 1, 3)
    return [*(part.numpy() for part in MaxPoolIndices()(large)), large]


def mask_inputs(random, batch, rois, size=MASK):
    rows, index = packed(class_ids(random, batch, rois))
    return [normal(random, len(rows), *size, 3), rows, index]


def hard_inputs(random, batch, rois):
    """Two rows of each image are padding."""
    regions = twins.random_boxes(random, batch, rois)
    regions[:, -2:] = 0
    return [
        regions,
        class_ids(random, batch, rois),
        normal(random, batch, rois, CLASSES),
        meta(batch)[:, 12:],
        normal(random, batch, rois, 4),
        normal(random, batch, rois, CLASSES, 4),
    ]


def case(make, inputs):
    return SimpleNamespace(
        make=make, inputs=lambda batch, rois=10: inputs(np.random.RandomState(0), batch, rois)
    )


# layers around kernels that XLA lacks, which always compute in float32
GRAPH_LAYERS = {
    "ProposalLayer": case(lambda: ProposalLayer(6, 0.7, CONFIG), proposal_inputs),
    "PyramidROIAlign": case(lambda: PyramidROIAlign([3, 2]), align_inputs),
    "PackedROIAlign": case(lambda: PackedROIAlign([3, 2], distinct=True), align_inputs),
    "DetectionTargetLayer": case(
        lambda: DetectionTargetLayer(CONFIG, shuffle=False), target_inputs
    ),
    "DetectionLayer": case(lambda: DetectionLayer(CONFIG), detection_inputs),
    "NormalizeBoxes": case(
        lambda: NormalizeBoxes(),
        lambda random, batch, rois: [
            random.randint(0, 80, (batch, rois, 4)).astype(np.float32),
            np.zeros((batch, *IMAGE_SHAPE), np.float32),
        ],
    ),
    "Anchors": case(
        lambda: Anchors(CONFIG),
        lambda random, batch, rois: [
            np.zeros((batch, side, side, 3), np.float32) for side in (64, 16, 8, 4, 2, 1)
        ],
    ),
    "RPNClassLoss": case(
        lambda: RPNClassLoss(0.5),
        lambda random, batch, rois: [
            rpn_match(random, batch, rois),
            normal(random, batch, rois, 2),
        ],
    ),
    "RPNBoxLoss": case(
        lambda: RPNBoxLoss(0.5),
        lambda random, batch, rois: [
            normal(random, batch, rois, 4),
            rpn_match(random, batch, rois),
            normal(random, batch, rois, 4),
        ],
    ),
    "ClassLoss": case(
        lambda: ClassLoss(0.5),
        lambda random, batch, rois: [
            class_ids(random, batch, rois),
            normal(random, batch, rois, CLASSES),
            meta(batch)[:, 12:],
        ],
    ),
    "BoxLoss": case(
        lambda: BoxLoss(0.5),
        lambda random, batch, rois: [
            normal(random, batch, rois, 4),
            class_ids(random, batch, rois),
            normal(random, batch, rois, CLASSES, 4),
        ],
    ),
    "MaskLoss": case(lambda: MaskLoss(0.5), mask_loss_inputs),
    "MaskSoftmaxLoss": case(
        lambda: MaskSoftmaxLoss(0.5),
        lambda random, batch, rois: [
            *mask_loss_inputs(random, batch, rois)[:2],
            np.log(random.uniform(0.1, 0.5, (batch, rois, 4, 4, 2))).astype(np.float32),
        ],
    ),
    "HardExamples": case(
        lambda: HardExamples(4, class_weights=[1.0, 2.0, 0.5, 3.0], kind="giou"), hard_inputs
    ),
    "DeltasOfClasses": case(
        lambda: DeltasOfClasses(CLASSES),
        lambda random, batch, rois: normal(random, batch, rois, 4),
    ),
    "LabelLoss": case(
        lambda: LabelLoss(0.5, "weighted_ce", {"weights": [1.0, 3.0, 2.0, 0.5]}),
        lambda random, batch, rois: [
            random.choice([*range(CLASSES), 255], (batch, rois, 6)).astype(np.int32),
            normal(random, batch, rois, 6, CLASSES),
        ],
    ),
}
OTHER_LAYERS = {
    "MaskPrediction": case(lambda: MaskPrediction(CLASSES), mask_inputs),
    "MaskPrediction of a softmax": case(
        lambda: MaskPrediction(CLASSES, activation="softmax"), mask_inputs
    ),
    "MaskPrediction for all classes": case(lambda: MaskPrediction(1, classes=CLASSES), mask_inputs),
    "MaskPrediction of vectors": case(
        lambda: MaskPrediction(CLASSES * 6, classes=CLASSES, size=(2, 3)),
        lambda *arguments: mask_inputs(*arguments, size=(1, 1)),
    ),
    "FullyConnected": case(
        lambda: FullyConnected(4, (2, 3)),
        lambda random, batch, rois: normal(random, batch, 2, 3, 5),
    ),
    "UnpackRows": case(
        lambda: UnpackRows(),
        lambda random, batch, rois: [
            normal(random, batch + 3, 1, 1, 4),
            np.zeros((batch + 3, 2), np.int32),
            random.randint(0, batch + 4, (batch, rois)).astype(np.int32),
        ],
    ),
    "BatchNorm": case(
        lambda: BatchNorm(beta_initializer="random_normal"),
        lambda random, batch, rois: normal(random, batch, 5, rois, 3),
    ),
    "BedOfNails": case(
        lambda: BedOfNails(3),
        lambda random, batch, rois: normal(random, batch, 5, rois, 3),
    ),
    "Interpolate": case(
        lambda: Interpolate(2, "bicubic"),
        lambda random, batch, rois: normal(random, batch, 5, rois, 3),
    ),
    "MaxPoolIndices": case(
        lambda: MaxPoolIndices(),
        lambda random, batch, rois: normal(random, batch, 5, rois + 1, 3),
    ),
    "MaxUnpool": case(lambda: MaxUnpool(), unpool_inputs),
    "Bilinear": case(
        lambda: Bilinear(),
        lambda random, batch, rois: [
            normal(random, batch, 5, rois, 3),
            normal(random, batch, 7, 4, 1),
        ],
    ),
}
# layers around kernels that XLA lacks, which follow the policy
WITHOUT_XLA = [
    *GRAPH_LAYERS,
    *(name for name in OTHER_LAYERS if name.startswith("MaskPrediction")),
    *("MaxPoolIndices", "MaxUnpool"),
]
ALL_LAYERS = {**GRAPH_LAYERS, **OTHER_LAYERS}


def symbolic(inputs):
    """keras.Input for each array; the first axis is free."""
    tensors = [
        keras.Input(part.shape[1:], dtype=str(part.dtype)) for part in keras.tree.flatten(inputs)
    ]
    return keras.tree.pack_sequence_as(inputs, tensors)

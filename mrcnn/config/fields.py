"""Every setting of the model, with its unit and its reason.

A project subclasses `Config` and overrides the fields it wants to change. The
defaults are those of matterport/Mask_RCNN, which reproduce the paper (He et
al. 2017, "Mask R-CNN") unless a comment says otherwise; fields that the
original lacks are in the last block and default to its behaviour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mrcnn.common.json_files import plain
from mrcnn.config.callables import CALLS, keep_functions
from mrcnn.config.derived import DERIVED_FIELDS, derive
from mrcnn.config.python_values import convert_attributes
from mrcnn.config.rules import TABLE, find_problems
from mrcnn.config.rules_of_several import RULES_OF_SEVERAL
from mrcnn.config.unknown_fields import warn_unknown_fields

if TYPE_CHECKING:
    from typing_extensions import Self


class Config:
    """Settings of one experiment; subclass it and override class attributes.

    Instances also have, computed from the fields:
        BATCH_SIZE: int, images of one step over all devices of this machine. Where several
            machines train together, a step has as many from each of them.
        IMAGE_SHAPE: int array [height, width, channels] of a molded image.
        IMAGE_META_SIZE: int, length of one row of image meta data.

    Raises:
        ValueError: on construction, listing every field with an impossible
            value and what would be right.

    Example:
        class BalloonConfig(Config):
            NAME = "balloon"
            NUM_CLASSES = 1 + 1  # background and balloon
    """

    # computed by __init__
    BATCH_SIZE: int
    IMAGE_SHAPE: np.ndarray
    IMAGE_META_SIZE: int

    # === Experiment ===

    # Name of the experiment; log folders and checkpoints have it in their names, in lower case. It
    # must be set to train, has at most 210 bytes, and no / or \ or control character.
    NAME: str | None = None
    # Devices to train and detect on: the first GPUs; 1 is a single GPU, or the CPU. When several
    # machines train together (see mrcnn/distributed/cluster.py), each uses this number of devices.
    GPU_COUNT = 1
    # Images per device and step. Two of 1024 px fit a 12 GB GPU.
    IMAGES_PER_GPU = 2
    # Steps (batches) between two checkpoints. Not tied to the size of the data set.
    STEPS_PER_EPOCH = 1000
    # Validation batches after each epoch: more make the losses steadier and take longer.
    VALIDATION_STEPS = 50

    # === Backbone and feature pyramid ===

    # "resnet50", "resnet101" (the paper's), "resnet152", "resnext50", "resnext101", "resnext152", a
    # class name of keras.applications, or a callable with the arguments of resnet_graph.
    BACKBONE: str | Callable[..., Any] | None = "resnet101"
    # callable(image_shape) -> int array [5, 2] of feature map sizes; only for a callable BACKBONE.
    COMPUTE_BACKBONE_SHAPE: Callable[[Any], np.ndarray] | None = None
    # Pixels of the image per cell of P2..P6, as a ResNet halves them. [4, 8, 16, 16, 32] dilates
    # the convolutions of its stage 5 instead of halving the map ("DC5"), [4, 8, 8, 8, 16] those of
    # stage 4 too: finer cells for large objects, for more time and memory.
    BACKBONE_STRIDES: Sequence[int] = [4, 8, 16, 32, 64]
    # Units of the two fully connected layers of the box head (FPN paper, section 5.2).
    FPN_CLASSIF_FC_LAYERS_SIZE = 1024
    # Channels of every pyramid level (FPN paper, section 3).
    TOP_DOWN_PYRAMID_SIZE = 256
    # Classes including the background, which is class 0.
    NUM_CLASSES = 1

    # === Region proposals ===

    # Side of a square anchor in pixels, one per pyramid level; halve them for small objects.
    RPN_ANCHOR_SCALES: Sequence[float] = (32, 64, 128, 256, 512)
    # Width / height of the anchors of a cell.
    RPN_ANCHOR_RATIOS: Sequence[float] = [0.5, 1, 2]
    # Cells between two anchors: 1 puts anchors on every cell, 2 on every other.
    RPN_ANCHOR_STRIDE = 1
    # IoU above which the lower-scored of two proposals is dropped; higher keeps more.
    RPN_NMS_THRESHOLD = 0.7
    # Anchors per image that enter the RPN's class loss, at most half of them positive.
    RPN_TRAIN_ANCHORS_PER_IMAGE = 256
    # Best-scored anchors kept before non-maximum suppression, to bound its time.
    PRE_NMS_LIMIT = 6000
    # Proposals kept after it. Training wants more, so that positives are among them.
    POST_NMS_ROIS_TRAINING = 2000
    POST_NMS_ROIS_INFERENCE = 1000

    # === Images and masks ===

    # Keep each training mask as a small crop of its box: 100 masks of 1024 px take 100 MB whole.
    USE_MINI_MASK = True
    # Height and width of that crop in pixels; twice MASK_SHAPE loses little.
    MINI_MASK_SHAPE: Sequence[int] = (56, 56)
    # "square": scale and pad to IMAGE_MAX_DIM; "rect": the same scale with less padding, which
    # saves a quarter of the time on a 3:2 photo (detection; training, whose batches have one
    # shape, takes it for "square"); "pad64": scale, pad to multiples of 64;
    # "crop": scale, then cut a random IMAGE_MIN_DIM square (training only);
    # "fit": torchvision's and Detectron's: the shorter side becomes MIN, by shrinking too, unless
    # the longer one would pass MAX; values stay float32, and MEAN_PIXEL fills up to multiples of 32
    # on the right and below (training: up to a square);
    # "none": leave as it is (both sides must then be multiples of 64).
    IMAGE_RESIZE_MODE = "square"
    # Pixels. The shorter side is scaled up to MIN unless the longer one would pass MAX.
    # MAX is a multiple of 64, because the pyramid halves the image six times.
    IMAGE_MIN_DIM: int | None = 800
    IMAGE_MAX_DIM = 1024
    # Lower bound of the scale factor; 2 doubles even large images. 0 sets no bound.
    IMAGE_MIN_SCALE: float = 0
    # Channels of an image: 3 for RGB, 1 for gray, 4 for RGB and depth.
    IMAGE_CHANNEL_COUNT = 3
    # (black, white): the values of images of other types than 8 bits, files and arrays alike, that
    # become 0 and 255; what lies beyond is cut off. (0, 4095) is for 12 bits in 16. None: what the
    # file says, else the range of the type (`data.images.as_uint8_range`), which ends at 65535 for
    # 16 bits, because a dark image cannot be told from one of fewer bits. Images of 8 bits stay.
    IMAGE_RANGE: Sequence[float] | None = None
    # Most pixels of an image file: a larger one is an error, since a small damaged or hostile file
    # may claim any size. It holds for the whole process; the default is Pillow's own.
    IMAGE_MAX_PIXELS = 178_956_970
    # Mean of each channel (RGB order, 0..255) over ImageNet, subtracted from every image.
    MEAN_PIXEL = np.array([123.7, 116.8, 103.9])

    # === Heads ===

    # RoIs per image that the heads train on. The paper takes 512; often the RPN
    # does not find enough positives to keep ROI_POSITIVE_RATIO at that number.
    TRAIN_ROIS_PER_IMAGE = 200
    # Share of positives among them: 1 in 3.
    ROI_POSITIVE_RATIO = 0.33
    # Side of the pooled features of the box head, in bins.
    POOL_SIZE = 7
    # Side of the pooled features of the mask head, in bins.
    MASK_POOL_SIZE = 14
    # Height and width of a predicted mask: the head doubles MASK_POOL_SIZE once; see
    # MASK_HEAD_DECONVS.
    MASK_SHAPE: Sequence[int] = [28, 28]
    # Most ground truth objects of a training image; of more, a random subset is taken.
    MAX_GT_INSTANCES = 100
    # Divisors of box deltas (dy, dx, log dh, log dw), so that targets have a spread near 1.
    RPN_BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
    BBOX_STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])

    # === Detection ===

    # Most objects returned per image; also the number of rows of the raw output.
    DETECTION_MAX_INSTANCES = 100
    # Least class probability of a returned object. 0 returns all, as COCO evaluation wants.
    DETECTION_MIN_CONFIDENCE: float | None = 0.7
    # IoU above which the lower-scored of two objects of one class is dropped.
    DETECTION_NMS_THRESHOLD = 0.3

    # === Optimiser ===

    # Step size of SGD. The paper's 0.02 (16 images a step) makes two images a step explode.
    LEARNING_RATE = 0.001
    # Momentum of SGD.
    LEARNING_MOMENTUM = 0.9
    # L2 penalty; divided by the size of each weight, so it is weaker than the paper's.
    WEIGHT_DECAY = 0.0001
    # Factor of each loss in the total; the factor of a loss that is not listed is 1.
    LOSS_WEIGHTS = {
        "rpn_class_loss": 1.0,
        "rpn_bbox_loss": 1.0,
        "mrcnn_class_loss": 1.0,
        "mrcnn_bbox_loss": 1.0,
        "mrcnn_mask_loss": 1.0,
    }
    # False feeds the heads with RoIs of the generator instead of the RPN's, to debug them.
    USE_RPN_ROIS = True
    # Batch norm statistics: False freezes them (right for small batches; gamma and beta
    # still train), None trains as usual, True always uses those of the batch.
    TRAIN_BN: bool | None = False
    # Largest L2 norm of all gradients together; None does not clip.
    GRADIENT_CLIP_NORM: float | None = 5.0

    # === Not in the original; the defaults keep its behaviour ===

    # Filters of conv1; every ResNet stage scales with it. 64 is the paper's, 16 makes a toy.
    BACKBONE_WIDTH = 64
    # Channels of the RPN's shared convolution.
    RPN_CONV_CHANNELS = 512
    # Channels of the mask head's convolutions.
    MASK_HEAD_CHANNELS = 256
    # True stops the box loss from reaching the RPN through the training targets, which the
    # paper's approximate joint training asks for and the original does not do.
    STOP_PROPOSAL_GRADIENT = False
    # IoU with an object from which on an anchor is positive, and below which with every object it
    # is negative; between them it is not trained on (Faster R-CNN, section 3.1.2). Each object has
    # its best anchors too, however low their IoU. Lower both for objects that no anchor fits well.
    RPN_POSITIVE_IOU = 0.7
    RPN_NEGATIVE_IOU = 0.3
    # IoU with an object from which on a region of interest is positive in the heads' training; of
    # the others the negatives are drawn (Fast R-CNN, section 2.3, Mask R-CNN, section 3).
    ROI_POSITIVE_IOU = 0.5
    # True counts a region in the heads' class loss by the classes that the data set of the batch's
    # first image labels, as the original does. False takes those of each image's own data set;
    # the two differ only where a batch mixes images of several sources.
    FIRST_IMAGE_RULES_CLASSES = False
    # Seed of weights, shuffling, augmentation and sampling; None draws a new seed each time.
    SEED: int | None = None
    # A class of keras.optimizers such as "AdamW", or a callable(learning_rate) that makes an
    # optimizer. WEIGHT_DECAY stays a part of the loss: set it to 0 if the optimizer has a weight
    # decay of its own.
    OPTIMIZER: str | Callable[[Any], Any] = "SGD"
    # Arguments of that class, such as {"weight_decay": 0.05}; the others keep Keras' defaults.
    OPTIMIZER_OPTIONS: dict[str, Any] = {}
    # How the learning rate changes over a stage's steps (batches), from the number that `train` is
    # given: None keeps it, as in the original; "multistep"; "cosine"; or a Keras schedule or a
    # callable(step), which gives the rate itself. Every stage starts its schedule again; a resumed
    # run continues it.
    LEARNING_RATE_SCHEDULE: str | Callable[..., Any] | None = None
    # Steps at the start of a stage over which the rate rises linearly, from the factor times the
    # rate; 0: no warmup. Layers that start to train, and Adam's averages, need some hundreds. Of a
    # stage that has no more steps than that it is half, with a warning.
    LEARNING_RATE_WARMUP_STEPS = 0
    LEARNING_RATE_WARMUP_FACTOR = 0.001
    # "multistep": the epochs after which the rate is multiplied by the factor, counted from the
    # start of the run; epochs before the stage's first one are ignored.
    LEARNING_RATE_DROP_EPOCHS: Sequence[int] = ()
    LEARNING_RATE_DROP_FACTOR = 0.1
    # "cosine": the rate at the end of the stage, as a share of the rate at its start.
    LEARNING_RATE_END_FACTOR = 0.0
    # Share of the old value in the moving average of the weights, such as 0.999; None keeps no
    # average. Checkpoints and validation use the average, and each stage ends with it as weights.
    EMA_MOMENTUM: float | None = None
    # Number of batches whose gradients are averaged for one update; use it when a larger batch does
    # not fit. The result equals that of a larger batch only if every batch has the same number of
    # RoIs, because each batch averages its losses over its own.
    GRADIENT_ACCUMULATION_STEPS = 1
    # "mixed_bfloat16" or "mixed_float16" halve a GPU's memory and time; weights, boxes and losses
    # stay float32. "float32", as in the original, keeps a policy that was set by keras.config.
    DTYPE_POLICY = "float32"
    # True computes the insides of ResNet blocks again in the backward pass instead of keeping
    # them: less memory, but a longer step, by one more forward pass of the backbone. It needs
    # TRAIN_BN = False and a ResNet or ResNeXt as BACKBONE.
    REMATERIALIZE = False
    # Stages of the backbone that are never trained: 1 is conv1, 2 adds res2, up to 5, all of it.
    FREEZE_BACKBONE_STAGES = 0
    # dict of class id, or name by CLASS_NAMES -> factor of the regions of that class in the heads'
    # class loss; the factor of the other classes is 1. Like Keras' class_weight it does not change
    # what the loss is divided by. None: all 1.
    CLASS_WEIGHTS: dict[int | str, float] | None = None
    # Which images a pass over the data takes: None takes each once; "balanced" takes those of rare
    # classes more often (repeat factors of Gupta et al. 2019, "LVIS"); a callable(dataset) returns
    # a weight for each image.
    IMAGE_SAMPLING: str | Callable[[Any], Any] | None = None
    # "balanced": classes on a smaller share of the images than this are rare. LVIS takes 0.001,
    # which is for a thousand classes; None takes the share of the most common class, so that it
    # suits any data.
    REPEAT_THRESHOLD: float | None = None
    # True trains on images without objects too: all of their anchors are background, and so are the
    # regions of the heads. The original skips such images, so it never learns from them.
    KEEP_EMPTY_IMAGES = False
    # (low, high): training scales each image by a factor drawn between them, on top of
    # IMAGE_RESIZE_MODE, and cuts or pads it to IMAGE_SHAPE at random. (0.1, 2) is large-scale
    # jitter (Ghiasi et al. 2021), (0.8, 1.25) the usual one; (0.8, 1) is training with shorter
    # sides of 640 to 800 px where IMAGE_MIN_DIM is 800. None: no jitter.
    SCALE_JITTER: Sequence[float] | None = None
    # Probability that objects of another random image, augmented in the same way, are pasted onto a
    # training image (Ghiasi et al. 2021). 0: never.
    COPY_PASTE = 0.0
    # State files of a run that are kept: the newest, each as large as the optimizer's memory.
    STATES_KEPT = 2
    # Name of each class, the background ("BG") first; results carry these names. None: unknown.
    CLASS_NAMES: Sequence[str] | None = None

    # === The modern recipe; the defaults are the original's, the presets collect the others ===

    # Name of the preset that the class was made of (`config.presets`): "matterport", "modern",
    # "torchvision_v1" or "torchvision_v2". It changes nothing; config.json keeps it, so that a
    # program knows what the class of a run was.
    PRESET = "matterport"

    # Groups of the 3x3 convolutions of a "resnext50" and so on, and the channels of each group in
    # stage 2, which double with every stage (Xie et al. 2017). 32 and 4 are the paper's; of the
    # depth of 101 layers torchvision has weights for 32 and 8, and for 64 and 4, which are those
    # of the best networks in the Mask R-CNN paper. 1 and 128 make a "wide" ResNet.
    RESNEXT_GROUPS = 32
    RESNEXT_WIDTH = 4
    # True is "ResNet v1.5" (torchvision's, Detectron's "stride in 3x3"): a stage halves the map in
    # its 3x3 convolution instead of its first 1x1 one, which then misses no cell. That convolution
    # and the pooling before are padded by one pixel on all sides. A ResNeXt always has it.
    STRIDE_IN_3X3 = False
    # 3x3 convolutions of the RPN in a row, each followed by a ReLU. torchvision's v2 has two.
    RPN_CONV_LAYERS = 1
    # True rounds the corners of the anchors around their centres to whole pixels, half to even.
    RPN_ANCHORS_ROUNDED = False
    # True takes the stride of a level's anchors from the sizes, image side // map side, instead of
    # BACKBONE_STRIDES: on P6 of an image of 800 px, which has 13 cells, it is 61.
    RPN_STRIDES_FROM_SIZES = False
    # Pixels that are taken off y2 and x2, and off the image's sides, before boxes are normalised: 1
    # as in the original, so that (0, 0, 1, 1) spans the pixels' centres and deltas are relative to
    # a side of one pixel less; 0 spans their edges, as in the papers.
    BOX_SHIFT = 1
    # log dh and log dw count up to here. The default only keeps exp finite; Detectron and
    # torchvision take log(1000 / 16): no box is more than 62.5 times its anchor.
    BBOX_LOG_SCALE_LIMIT = 10.0
    # True takes the best PRE_NMS_LIMIT anchors of each level and suppresses overlaps within a
    # level (FPN paper's code), then keeps the best of all levels. False does both over all levels,
    # where the many anchors of P2 crowd out the others.
    PROPOSALS_PER_LEVEL = False
    # PRE_NMS_LIMIT in training; None: the same. torchvision takes 2000, and 1000 to detect.
    PRE_NMS_LIMIT_TRAINING: int | None = None
    # Proposals with a side below this many pixels of the molded image are dropped before NMS.
    PROPOSAL_MIN_SIZE = 0.0
    # True cuts proposals to the image without its padding; False to the padded image.
    CLIP_PROPOSALS_TO_WINDOW = False
    # True takes the pyramid level of a region by floor, as the FPN paper's equation 1 says; False
    # rounds.
    ROI_LEVEL_FLOOR = False
    # How a region's features are pooled. "crop": one bilinear sample a bin, on a grid that includes
    # the region's edges, as the original does. "sampled": the mean of four samples inside each bin,
    # torchvision's RoIAlign with ``aligned=False``. "aligned": the same half a pixel up and left,
    # where the samples belong (Detectron2's default). "pool": RoIPool of Fast R-CNN, and "warp":
    # RoIWarp of MNC, for the comparison in table 2c of the Mask R-CNN paper.
    ROI_ALIGN = "crop"
    # 3x3 convolutions of the box head before its fully connected layers, their channels, and the
    # number of fully connected layers, of FPN_CLASSIF_FC_LAYERS_SIZE units. torchvision's v2 has 4
    # and 1 (Wu & He 2018, "Group Normalization", section 5.2).
    BOX_HEAD_CONVS = 0
    BOX_HEAD_CHANNELS = 256
    BOX_HEAD_FCS = 2
    # True makes a detection of every class of a region that has DETECTION_MIN_CONFIDENCE, each with
    # its own box; False of its most probable class alone, and none where that is the background.
    DETECTION_MULTI_CLASS = False
    # Detections with a side below this many pixels of the molded image are dropped before NMS.
    DETECTION_MIN_SIZE = 0.0
    # Sigma of soft-NMS (Bodla et al. 2017, Gaussian): a detection's score falls by how much it
    # overlaps better ones of its class, by exp(-IoU^2 / sigma), and DETECTION_NMS_THRESHOLD is not
    # used; 0.5 is the paper's. 0: an overlap above DETECTION_NMS_THRESHOLD drops it.
    SOFT_NMS_SIGMA = 0.0
    # True leaves anchors that cross the border of the padded image out of the RPN's losses (Faster
    # R-CNN, section 3.3). The FPN paper found no gain in it.
    RPN_IGNORE_CROSSING = False
    # True adds the objects' own boxes to the proposals that the heads are trained on (Fast R-CNN's
    # code), so that each object has a positive region from the first step on.
    ROI_ADD_GT = False
    # True fills the TRAIN_ROIS_PER_IMAGE regions up with negatives, as torchvision does, also of an
    # image without objects. False: at most as many as ROI_POSITIVE_RATIO leaves to the positives
    # that there are, as the original does.
    ROI_FILL_NEGATIVES = False
    # Where a region's target mask is sampled in the object's. "crop": on a grid that includes the
    # region's edges, as the original does; "sampled": at the centres of the cells, where
    # MASK_PASTE "padded" puts them again; "soft": the share of each cell that is the object's, as
    # torchvision has it, so that a cell on its edge says where the edge is.
    MASK_TARGETS = "crop"
    # Initial weights of the layers after the backbone. "glorot": Keras' default, uniform, of which
    # the mask head's loss stays at ln 2 for the first hundred steps; "torchvision": He et al. 2015
    # in the convolutions of the heads, a normal distribution of 0.01 in the RPN, and as
    # torchvision's elsewhere; "detectron2": the same, but the last layers draw from narrow normal
    # distributions (0.01 classes, 0.001 boxes and masks), so that training starts undecided: with
    # two classes torchvision's mask loss starts near 6, and this one at ln 2.
    HEAD_INIT = "glorot"
    # Loss of the boxes, of the RPN's and of the head's. "smooth_l1": of the deltas (Fast R-CNN,
    # equation 3); "giou": 1 - GIoU of the boxes (Rezatofighi et al. 2019).
    BBOX_LOSS = "smooth_l1"
    # "smooth_l1": the difference, in units of *_BBOX_STD_DEV, at which the loss turns from
    # quadratic to linear; torchvision's is 1 / 9.
    SMOOTH_L1_BETA = 1.0
    # How a mask is put into its box. "resize": resized to the box in whole pixels, its outermost
    # cells blended with nothing, as the original does. "padded": Detectron's and torchvision's: a
    # cell of nothing around the mask, the unrounded box enlarged by as much, cut to whole pixels.
    MASK_PASTE = "resize"
    # True also detects in the mirror image of each image and keeps the best detections of both:
    # what overlaps in two views is suppressed as DETECTION_NMS_THRESHOLD or SOFT_NMS_SIGMA says.
    # Networks that label pixels average the probabilities of the two. Twice the time.
    TEST_FLIPS = False
    # Factors of the size that IMAGE_RESIZE_MODE gives an image ("square", "rect" or "fit"), all of
    # which are detected at, with TEST_FLIPS each in the mirror too; (0.5, 1, 1.5) is 3 sizes. ():
    # 1 alone. The memory of the largest is that of a network of that size.
    TEST_SCALES: Sequence[float] = ()
    # True refines one box of a region, whatever its class, instead of one for each class.
    CLASS_AGNOSTIC_BOXES = False
    # True predicts one mask of a region, whatever its class. The Mask R-CNN paper loses 0.6 AP with
    # it (section 4.2, "Class-Specific vs. Class-Agnostic Masks").
    CLASS_AGNOSTIC_MASKS = False
    # "sigmoid": each class has a mask of its own, and a region's own class alone is trained.
    # "softmax": at each pixel the classes and the background exclude each other, as in FCN, and
    # both are trained; it is there for table 2b of the Mask R-CNN paper, where it loses 5.5 AP.
    MASK_LOSS = "sigmoid"
    # "fcn": four convolutions, then MASK_HEAD_DECONVS. "mlp": two fully connected layers of
    # FPN_CLASSIF_FC_LAYERS_SIZE units, then one that gives all cells of the masks of MASK_SHAPE,
    # for table 2e of the Mask R-CNN paper. Each of these two layers has batch norm, as all others.
    MASK_HEAD = "fcn"
    # Transposed convolutions of the mask head, each of which doubles the size: MASK_SHAPE is
    # MASK_POOL_SIZE times 2 ** MASK_HEAD_DECONVS. 2 gives masks of [56, 56].
    MASK_HEAD_DECONVS = 1
    # Of an image's TRAIN_ROIS_PER_IMAGE regions only this many, those of the largest loss of class
    # and box together, count in these two losses (Shrivastava et al. 2016, "OHEM", who take 64 of
    # about 2000 regions without ROI_POSITIVE_RATIO). 0: all.
    HARD_EXAMPLES = 0

    def __init__(self) -> None:
        self.settle()
        # The original ran a fractional number of steps to the next whole one.
        for field in ("STEPS_PER_EPOCH", "VALIDATION_STEPS"):
            value = getattr(self, field)
            if isinstance(value, float) and math.isfinite(value):
                setattr(self, field, math.ceil(value))
        for field in DERIVED_FIELDS:  # set by an earlier call
            vars(self).pop(field, None)
        self.validate()

        if self.TRAIN_BN is not None:
            self.TRAIN_BN = bool(self.TRAIN_BN)  # 0 and 1 too
        vars(self).update(derive(self))
        self._batch = self.IMAGES_PER_GPU, self.GPU_COUNT, self.BATCH_SIZE

    def validate(self) -> None:
        """Check all fields; call it again after changing fields of an instance.

        Warns of upper-case fields that look misspelt and of fields of the
        original's first version that do nothing. `settle` comes first.

        Raises:
            ValueError: one message with a line per wrong field.
        """
        self.settle()
        warn_unknown_fields(self, [*self.field_defaults(), *DERIVED_FIELDS])
        problems = self.field_problems()
        if problems:
            raise ValueError(
                "{} has {} wrong field{}:\n{}".format(
                    type(self).__name__,
                    len(problems),
                    "s" if len(problems) > 1 else "",
                    "\n".join("  - " + problem for problem in problems),
                )
            )

    @classmethod
    def field_defaults(cls) -> dict[str, Any]:
        """The default of each field; upper-case attributes of the user's own are none."""
        return {name: value for name, value in vars(Config).items() if name.isupper()}

    def field_problems(self) -> list[str]:
        """A sentence for each broken rule of the fields."""
        return find_problems(self, TABLE, RULES_OF_SEVERAL)

    def settle(self) -> None:
        """Make the attributes what the model and the files of a run take.

        NumPy's numbers become Python's, arrays become lists or tuples where those are a field's
        default, and a function of yours in a field of `CALLS` stays a function, where Python would
        make it a method of the config.
        """
        keep_functions(type(self))
        convert_attributes(self, self.field_defaults())

    def display(self) -> None:
        """Print every field and its value."""
        print("\nConfigurations:")
        for name in dir(self):
            if not name.startswith("_") and not callable(getattr(self, name)):
                print(f"{name:30} {getattr(self, name)}")
        print("\n")

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dict that `json.dump` takes.

        Arrays and tuples become lists, a callable in a field of `CALLS` becomes
        "module:qualname", and a value of the user's own that JSON has no type for
        becomes its `repr`.
        """
        fields = {}
        for name in dir(self):
            value = getattr(self, name)
            if name.startswith("_"):
                continue
            if not callable(value):
                fields[name] = plain(value)
            elif name in CALLS:
                kind = value if hasattr(value, "__qualname__") else type(value)
                fields[name] = f"{kind.__module__}:{kind.__qualname__}"
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """A validated instance with the values of `fields`, as `to_dict` returns them.

        Unknown keys become fields too; BATCH_SIZE, IMAGE_SHAPE,
        IMAGE_META_SIZE and properties are computed again. Nothing is imported:
        if the dict names a callable BACKBONE, replace the name by the callable
        first.

        Raises:
            ValueError: wrong values, as on construction.
            TypeError: `fields` is not a dict with str keys.
        """
        if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
            raise TypeError(
                f"Config.from_dict wants a dict of field names and values, "
                f"got {type(fields).__name__}"
            )
        config = cls.__new__(cls)
        for name, value in fields.items():
            default = getattr(cls, name, None)
            if name in DERIVED_FIELDS or isinstance(default, property):
                continue
            if isinstance(value, list) and isinstance(default, (np.ndarray, tuple)):
                value = tuple(value) if isinstance(default, tuple) else np.array(value)
            setattr(config, name, value)
        config.__init__()  # type: ignore[misc]  # a subclass keeps the signature
        return config

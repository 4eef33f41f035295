"""Settings of the networks that label pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mrcnn.config.fields import Config
from mrcnn.config.rules import find_problems
from mrcnn.config.rules_of_segmentation import RULES_OF_SEVERAL, TABLE


class SegmentationConfig(Config):
    """Settings of one experiment with a network that gives each pixel a class.

    What `Config` says of images, classes, data, optimiser, precision and devices holds here too;
    its fields of anchors, proposals, RoIs and masks are not read. A project subclasses it and
    overrides what it wants to change.

    Raises:
        ValueError: on construction, as of `Config`.

    Example:
        class PeopleConfig(SegmentationConfig):
            NAME, NUM_CLASSES = "people", 1 + 1  # background and person
            NETWORK, BACKBONE = "fcn8s", "resnet50"
            IMAGE_MAX_DIM = IMAGE_MIN_DIM = 256
    """

    # === Fields of Config with another default ===

    # None: an encoder of the network's own, which starts from random weights. Otherwise as in
    # Config, and ImageNet's or Mask R-CNN's weights load by name; a callable needs no
    # COMPUTE_BACKBONE_SHAPE. "plain" and "segnet" have their own alone.
    BACKBONE: str | Callable[..., Any] | None = None
    # Not read: the factors of the losses stand in LOSS.
    LOSS_WEIGHTS: dict[str, float] = {}
    # A label map covers the whole image.
    USE_MINI_MASK = False
    # An image without objects is a whole image of background.
    KEEP_EMPTY_IMAGES = True
    # TRAIN_BN is for the batch norm of BACKBONE. What the network adds starts from random weights,
    # so it normalises by the batch in training, whatever TRAIN_BN says; see BATCH_NORM.

    # === Network ===

    # "plain": convolutions without downsampling; "fcn32s", "fcn16s", "fcn8s" (Long et al. 2015);
    # "unet" (Ronneberger et al. 2015); "segnet" (Badrinarayanan et al. 2017); "pspnet" (Zhao et al.
    # 2017); "deeplab" (v3+, Chen et al. 2018).
    NETWORK = "unet"
    # Whether the network's own convolutions have batch norm. The originals of FCN and U-Net have
    # none and need pretrained weights or much patience; False is also right for batches of one or
    # two images. On several devices a batch is here the IMAGES_PER_GPU images of each device alone,
    # as with Keras' layer by default.
    BATCH_NORM = True
    # Share of the old value in the running statistics of these, which prediction uses. 0.9 follows
    # the weights within 50 steps. Keras' 0.99 is smoother, for trainings of thousands of steps;
    # after 200 an eighth of its statistics is still what they began with.
    BATCH_NORM_MOMENTUM = 0.9
    # Channels of the five blocks of FCN's, SegNet's, PSPNet's and DeepLab's own encoder, and their
    # convolutions: those of VGG-16. (24, 48, 96, 192, 256) and (2, 2, 2, 2, 2) do for digits.
    VGG_WIDTHS: Sequence[int] = (64, 128, 256, 512, 512)
    VGG_CONVOLUTIONS: Sequence[int] = (2, 2, 3, 3, 3)
    # FCN: channels of fc6 and fc7. None: 4096 as in VGG-16, that is eight times those of its last
    # block; after a BACKBONE a quarter of the channels of C5.
    FC_CHANNELS: int | None = None
    # FCN: factors of the features that pool4 and pool3 are scored by. (0.01, 0.0001) is FCN-8s "at
    # once", for VGG without batch norm, whose values reach hundreds. Features of size 1 then add
    # nothing: on scenes of digits FCN-8s came to a mean IoU of 0.09 with it, as FCN-32s did, and to
    # 0.59 without (1,200 steps of Adam from random weights). None: 1.
    SKIP_SCALES: Sequence[float] | None = None
    # U-Net: channels of each level, the image's own first; their number is that of the levels. With
    # a BACKBONE the first four are those of the decoder, from stride 2 to 16.
    UNET_WIDTHS: Sequence[int] = (64, 128, 256, 512, 1024)
    # U-Net: "same" pads with zeros; "valid" is the paper's, whose output is smaller than its input
    # (572 -> 388), so that no output pixel depends on padding.
    UNET_PADDING = "same"
    # How feature maps grow: "transposed" convolution, "bilinear", "bicubic", "nearest",
    # "bed_of_nails" (zeros between), or "unpool" (back to where the maximum was). None: the
    # network's own, which is "transposed" for FCN and U-Net, "unpool" for SegNet and "bilinear" for
    # PSPNet and DeepLab.
    UPSAMPLING: str | None = None
    # "transposed": False keeps the bilinear filters that FCN's convolutions begin with.
    LEARN_UPSAMPLING = True
    # PSPNet, DeepLab: pixels of the image per cell of C5. 16 and 8 dilate the convolutions of the
    # last stages of a ResNet or ResNeXt instead of halving the map: finer borders for more
    # time and memory.
    OUTPUT_STRIDE = 32
    # DeepLab: dilation rates of the 3x3 convolutions of its pyramid (ASPP), for a stride of 16;
    # double them for 8. ASPP_CHANNELS are those of each branch and of the decoder.
    ATROUS_RATES: Sequence[int] = (6, 12, 18)
    ASPP_CHANNELS = 256
    # PSPNet: bins per side of each pooled map.
    PSP_BINS: Sequence[int] = (1, 2, 3, 6)
    # Share of channels or values that are zeroed in training before the last layers. None: the
    # network's own, which is 0.5 for FCN, 0.1 for PSPNet and DeepLab, and 0 for the others.
    DROPOUT: float | None = None

    # === Labels and losses ===

    # The loss by its name, or a sum of several with factors, such as "0.5*focal+dice"; or a
    # function of labels int32 [b, h, w], logits float32 [b, h, w, K] and valid float32 [b, h, w],
    # 0 for void, that returns a scalar. config.json keeps the name of a function, "module:name",
    # which is enough to predict, but not to train on.
    LOSS: Any = "ce+dice"
    # dict of the name of a loss -> dict of its arguments, such as {"focal": {"gamma": 2.0}}.
    LOSS_OPTIONS: dict[str, Any] = {}
    # The value of pixels without a label ("void"); they count in no loss and in no metric. 65535
    # where there are more than 254 classes.
    IGNORE_LABEL = 255
    # Which class a pixel gets where objects of several overlap: that of the "smaller" object (a cup
    # on a table), of the "last" one, or "ignore": void.
    OVERLAP = "smaller"
    # Pixels of crowds, where no object is: "ignore" makes them void, "class" gives them their
    # class.
    CROWDS = "ignore"
    # True: images of several sources with different classes are taken together, and in those of one
    # the pixels of the others' classes are background. False refuses them, since a network would
    # learn that nobody's objects are background.
    MERGE_SOURCES = False
    # True: one sigmoid channel instead of a softmax over two. None: where NUM_CLASSES is 2.
    BINARY: bool | None = None

    # === Prediction ===

    # Side in pixels of the tiles that a large image is cut into, which is then not resized: for
    # images whose objects are as large in pixels as those of the training. None: the whole image at
    # once, resized as IMAGE_RESIZE_MODE says. With UNET_PADDING "valid" each tile has its own
    # mirror images around it, not what is beside it in the image: at its edge it may find other
    # labels than the whole image would have, which the overlap hides.
    TILE: int | None = None
    # Share of a tile that overlaps with the next one; what both find is averaged.
    TILE_OVERLAP = 0.5
    # Of Config, TEST_FLIPS averages the probabilities of an image and of its mirror image, and
    # TEST_SCALES those of several sizes, which TILE cannot have; and DETECTION_MAX_INSTANCES is
    # the most regions of an image, the largest ones, that `mrcnn predict` writes as objects.

    @classmethod
    def field_defaults(cls) -> dict[str, Any]:
        own = {name: value for name, value in vars(SegmentationConfig).items() if name.isupper()}
        return {**super().field_defaults(), **own}

    def field_problems(self) -> list[str]:
        return find_problems(self, TABLE, RULES_OF_SEVERAL)


def is_binary(config: SegmentationConfig) -> bool:
    """Whether the network has one sigmoid channel instead of a softmax over two classes."""
    return config.NUM_CLASSES == 2 if config.BINARY is None else bool(config.BINARY)


def output_channels(config: SegmentationConfig) -> int:
    """Channels of the network's logits: NUM_CLASSES, or 1 where it `is_binary`."""
    return 1 if is_binary(config) else config.NUM_CLASSES


# The fields of `Config` that are Mask R-CNN's alone: no network that labels pixels reads them.
NOT_READ = (
    *("COMPUTE_BACKBONE_SHAPE", "BACKBONE_STRIDES", "TOP_DOWN_PYRAMID_SIZE", "REMATERIALIZE"),
    *("RPN_ANCHOR_SCALES", "RPN_ANCHOR_RATIOS", "RPN_ANCHOR_STRIDE", "RPN_NMS_THRESHOLD"),
    *("RPN_TRAIN_ANCHORS_PER_IMAGE", "RPN_POSITIVE_IOU", "RPN_NEGATIVE_IOU", "RPN_CONV_CHANNELS"),
    *("PRE_NMS_LIMIT", "POST_NMS_ROIS_TRAINING", "POST_NMS_ROIS_INFERENCE", "USE_RPN_ROIS"),
    *("STOP_PROPOSAL_GRADIENT", "TRAIN_ROIS_PER_IMAGE", "ROI_POSITIVE_RATIO", "ROI_POSITIVE_IOU"),
    *("POOL_SIZE", "MASK_POOL_SIZE", "MASK_SHAPE", "USE_MINI_MASK", "MINI_MASK_SHAPE"),
    *("FPN_CLASSIF_FC_LAYERS_SIZE", "MASK_HEAD_CHANNELS", "RPN_BBOX_STD_DEV", "BBOX_STD_DEV"),
    *("MAX_GT_INSTANCES", "DETECTION_NMS_THRESHOLD"),
    *("LOSS_WEIGHTS", "CLASS_WEIGHTS", "FIRST_IMAGE_RULES_CLASSES"),
    *("RPN_CONV_LAYERS", "RPN_ANCHORS_ROUNDED", "RPN_STRIDES_FROM_SIZES", "BOX_SHIFT"),
    *("BBOX_LOG_SCALE_LIMIT", "PROPOSALS_PER_LEVEL", "PRE_NMS_LIMIT_TRAINING"),
    *("PROPOSAL_MIN_SIZE", "CLIP_PROPOSALS_TO_WINDOW", "ROI_LEVEL_FLOOR", "ROI_ALIGN"),
    *("BOX_HEAD_CONVS", "BOX_HEAD_CHANNELS", "BOX_HEAD_FCS", "DETECTION_MULTI_CLASS"),
    *("DETECTION_MIN_SIZE", "SOFT_NMS_SIGMA", "MASK_PASTE", "MASK_TARGETS"),
    *("RPN_IGNORE_CROSSING", "ROI_ADD_GT", "ROI_FILL_NEGATIVES", "HEAD_INIT", "BBOX_LOSS"),
    "SMOOTH_L1_BETA",
    *("CLASS_AGNOSTIC_BOXES", "CLASS_AGNOSTIC_MASKS", "MASK_LOSS", "MASK_HEAD"),
    *("MASK_HEAD_DECONVS", "HARD_EXAMPLES", "PRESET"),
)

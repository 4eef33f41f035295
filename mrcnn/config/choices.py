"""The names that fields of `Config` choose from.

They stand here, not beside what they name, so that reading a configuration imports no Keras.
"""

# PRESET; `config.presets` has them.
PRESET_NAMES = ("matterport", "modern", "torchvision_v1", "torchvision_v2")
# IMAGE_RESIZE_MODE; `data.resize.resize_image` does what they say.
RESIZE_MODES = ("square", "rect", "pad64", "crop", "fit", "none")
# ROI_ALIGN; `networks.mask_rcnn.roi_features` has them.
ROI_ALIGNS = ("crop", "sampled", "aligned", "pool", "warp")
# MASK_TARGETS; `networks.mask_rcnn.targets` does what they say.
MASK_TARGETS = ("crop", "sampled", "soft")
# HEAD_INIT; `networks.mask_rcnn.initial_values` has them.
HEAD_INITS = ("glorot", "torchvision", "detectron2")
# BBOX_LOSS; `networks.mask_rcnn.losses` has them.
BBOX_LOSSES = ("smooth_l1", "giou")
# MASK_LOSS; `networks.mask_rcnn.losses` has them.
MASK_LOSSES = ("sigmoid", "softmax")
# MASK_HEAD; `networks.mask_rcnn.mask_head` has them.
MASK_HEADS = ("fcn", "mlp")
# MASK_PASTE: `data.masks.unmold_masks` and `data.paste.paste_masks`.
MASK_PASTES = ("resize", "padded")

# Keys of LOSS_WEIGHTS.
LOSS_NAMES = (
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
)

# OPTIMIZER: classes of keras.optimizers (Keras 3.15). Wrappers of other optimizers are missing, and
# so is ScheduleFreeAdamW: its slots hold weights, so keeping them from stage to stage would undo
# what was loaded in between.
OPTIMIZERS = (
    "SGD",
    "RMSprop",
    "Adam",
    "AdamW",
    "Adadelta",
    "Adagrad",
    "Adamax",
    "Adafactor",
    "Nadam",
    "Ftrl",
    "Lion",
    "Lamb",
    "Muon",
)
# Those that divide each weight's step by the size of its gradients.
ADAMS = ("Adam", "AdamW", "Adamax", "Nadam", "Lamb", "Lion")
# Arguments of these classes that a field sets.
FIELDS_FOR_OPTIONS = {
    "learning_rate": "LEARNING_RATE or train(learning_rate=...)",
    "global_clipnorm": "GRADIENT_CLIP_NORM",
    "use_ema": "EMA_MOMENTUM",
    "ema_momentum": "EMA_MOMENTUM",
    "loss_scale_factor": "DTYPE_POLICY",
    "gradient_accumulation_steps": "GRADIENT_ACCUMULATION_STEPS",
}
SCHEDULES = ("multistep", "cosine")
DTYPE_POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")

# BACKBONE: classes of keras.applications (Keras 3.15) whose feature maps halve exactly at every
# stage.
APPLICATIONS = (
    "ConvNeXtTiny",
    "ConvNeXtSmall",
    "ConvNeXtBase",
    "ConvNeXtLarge",
    "ConvNeXtXLarge",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "EfficientNetV2B0",
    "EfficientNetV2B1",
    "EfficientNetV2B2",
    "EfficientNetV2B3",
    "EfficientNetV2S",
    "EfficientNetV2M",
    "EfficientNetV2L",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "MobileNetV3Large",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ResNet50V2",
    "ResNet101V2",
    "ResNet152V2",
    "VGG16",
    "VGG19",
)
# Classes of keras.applications that do not serve, and why.
_UNEVEN = (
    "its stem does not halve the image exactly, so it gives no pyramid of strides 4, 8, 16, 32"
)
_RESCALED = "Keras builds it with another input layer for ImageNet weights than without"
MISFITS = {
    **dict.fromkeys(
        ("InceptionV3", "InceptionResNetV2", "NASNetLarge", "NASNetMobile", "Xception"), _UNEVEN
    ),
    **dict.fromkeys((f"EfficientNetB{number}" for number in range(8)), _RESCALED),
}

# NETWORK of `SegmentationConfig`: networks that label pixels, `networks.segmentation` has them.
SEGMENTATION_NETWORKS = (
    "plain",
    "fcn32s",
    "fcn16s",
    "fcn8s",
    "unet",
    "segnet",
    "pspnet",
    "deeplab",
)
# UPSAMPLING: ways to enlarge a feature map, `networks.layers.upsampling` has them.
UPSAMPLINGS = ("transposed", "bilinear", "bicubic", "nearest", "bed_of_nails", "unpool")

"""The rules that the fields of a `Config` keep, and the words for a broken one."""

import difflib
import itertools
import numbers
import warnings

import numpy as np

from mrcnn.config.choices import RESIZE_MODES
from mrcnn.config.class_weights import class_weights
from mrcnn.config.optimizer_rules import check_optimizer
from mrcnn.config.value_kinds import is_count, is_int, is_number, numbers_in

LOSS_NAMES = (
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
)

# Classes of keras.applications (Keras 3.15) whose feature maps halve exactly at every stage.
# A tuple, so that reading a configuration does not import Keras.
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

# Fields of the original's first version, and what took their place.
RETIRED_FIELDS = {
    "IMAGE_PADDING": 'IMAGE_RESIZE_MODE = "square" pads, "none" does not',
    "BACKBONE_SHAPES": "the shapes follow from BACKBONE_STRIDES, "
    "or from COMPUTE_BACKBONE_SHAPE for a callable BACKBONE",
}

_COUNTS = (
    "GPU_COUNT",
    "IMAGES_PER_GPU",
    "STEPS_PER_EPOCH",
    "VALIDATION_STEPS",
    "FPN_CLASSIF_FC_LAYERS_SIZE",
    "TOP_DOWN_PYRAMID_SIZE",
    "RPN_ANCHOR_STRIDE",
    "RPN_TRAIN_ANCHORS_PER_IMAGE",
    "PRE_NMS_LIMIT",
    "POST_NMS_ROIS_TRAINING",
    "POST_NMS_ROIS_INFERENCE",
    "IMAGE_CHANNEL_COUNT",
    "TRAIN_ROIS_PER_IMAGE",
    "POOL_SIZE",
    "MASK_POOL_SIZE",
    "MAX_GT_INSTANCES",
    "DETECTION_MAX_INSTANCES",
    "BACKBONE_WIDTH",
    "RPN_CONV_CHANNELS",
    "MASK_HEAD_CHANNELS",
    "STATES_KEPT",
    "GRADIENT_ACCUMULATION_STEPS",
)
_SWITCHES = (
    "USE_MINI_MASK",
    "USE_RPN_ROIS",
    "STOP_PROPOSAL_GRADIENT",
    "KEEP_EMPTY_IMAGES",
    "REMATERIALIZE",
)


def find_problems(config):
    """All broken rules of `config` (a `Config`), as a list of str, one per field."""
    problems = []
    for check in (
        _check_derived,
        _check_numbers,
        _check_switches,
        _check_backbone,
        _check_anchors,
        _check_image_size,
        _check_mean_pixel,
        _check_masks,
        _check_optimiser,
        check_optimizer,
        _check_training_data,
    ):
        problems.extend(check(config))
    return problems


def _check_derived(config):
    """Fields that __init__ computed and that no longer fit what they came from."""
    computed = vars(config)
    shape, size = computed.get("IMAGE_SHAPE"), computed.get("IMAGE_META_SIZE")
    wrong = []
    if size is not None and size != 12 + config.NUM_CLASSES:
        wrong.append(
            f"IMAGE_META_SIZE is {size}, but NUM_CLASSES = {config.NUM_CLASSES} makes it "
            f"{12 + config.NUM_CLASSES}"
        )
    if shape is not None and config.IMAGE_RESIZE_MODE in ("square", "rect", "crop"):
        side = config.IMAGE_MIN_DIM if config.IMAGE_RESIZE_MODE == "crop" else config.IMAGE_MAX_DIM
        if tuple(shape) != (side, side, config.IMAGE_CHANNEL_COUNT):
            wrong.append(
                f"IMAGE_SHAPE is {tuple(map(int, shape))}, but the fields make it "
                f"{(side, side, config.IMAGE_CHANNEL_COUNT)}"
            )
    images, devices, batch = computed.get("_batch", (None,) * 3)
    if computed.get("BATCH_SIZE", 0) == batch and (images, devices) != (
        config.IMAGES_PER_GPU,
        config.GPU_COUNT,
    ):
        wrong.append(
            f"BATCH_SIZE is still {batch}, though IMAGES_PER_GPU is now {config.IMAGES_PER_GPU} "
            "and GPU_COUNT "
            f"{config.GPU_COUNT}"
        )
    for problem in wrong:
        yield problem + ": change fields in the class, or call __init__() again afterwards"


def warn_unknown_fields(config, base, derived):
    """Warn of upper-case fields that look like a misspelt field of `base`.

    config: instance; base: the `Config` class; derived: names set by its
    __init__. Other new upper-case fields belong to the user and pass.
    """
    known = [name for name in vars(base) if name.isupper()] + list(derived)
    for name in dir(config):
        if not name.isupper() or name.startswith("_") or name in known:
            continue
        owner = type(config).__name__
        if name in RETIRED_FIELDS:
            warnings.warn(f"{owner}.{name} does nothing: {RETIRED_FIELDS[name]}", stacklevel=4)
            continue
        meant = [field for field in known if _looks_like(name, field)]
        if meant:
            warnings.warn(
                f"{owner}.{name} is not a field that the model reads; "
                f"did you mean {' or '.join(meant)}?",
                stacklevel=4,
            )


def _looks_like(name, field):
    """True for a typing error, word by word: "TEST_ROIS" is not a misspelt "TRAIN_ROIS"."""
    if name.replace("_", "") == field.replace("_", ""):
        return True
    words, field_words = name.split("_"), field.split("_")
    if len(words) != len(field_words) or len(name) < 7:
        return False
    return all(
        difflib.SequenceMatcher(None, a, b).ratio() > 0.7 for a, b in zip(words, field_words)
    )


# === Checks: each yields a line per broken rule ===


def _check_numbers(config):
    for field in (*_COUNTS, "NUM_CLASSES"):
        value = getattr(config, field)
        if not is_count(value):
            hint = " (the background counts as one class)" if field == "NUM_CLASSES" else ""
            yield f"{field} is {value!r}; it must be an int of at least 1{hint}"
    for field in ("RPN_NMS_THRESHOLD", "DETECTION_NMS_THRESHOLD", "DETECTION_MIN_CONFIDENCE"):
        value = getattr(config, field)
        # None has the meaning of 0 there, as in the original
        if field == "DETECTION_MIN_CONFIDENCE" and value is None:
            continue
        if not (is_number(value) and 0 <= value <= 1):
            yield f"{field} is {value!r}; it must be a number from 0 to 1"
    ratio = config.ROI_POSITIVE_RATIO
    if not (is_number(ratio) and 0 < ratio <= 1):
        yield f"ROI_POSITIVE_RATIO is {ratio!r}; it must be a number above 0 and at most 1"
    scale = config.IMAGE_MIN_SCALE
    if scale is not None and not (is_number(scale) and scale >= 0):
        yield f"IMAGE_MIN_SCALE is {scale!r}; it must be 0 (no bound) or a positive number"
    for field in ("RPN_BBOX_STD_DEV", "BBOX_STD_DEV"):
        value = getattr(config, field)
        items = numbers_in(value)
        if items is None or len(items) != 4 or min(items) <= 0:
            yield f"{field} is {value!r}; it must be 4 positive numbers (dy, dx, dh, dw)"
    seed = config.SEED
    if seed is not None and not (is_int(seed) and 0 <= seed < 2**32):
        yield f"SEED is {seed!r}; it must be None or an int from 0 to 2**32 - 1"


def _check_switches(config):
    if config.NAME is not None and not isinstance(config.NAME, str):
        yield f"NAME is {config.NAME!r}; it must be a str (or None while nothing is trained)"
    names, count = config.CLASS_NAMES, config.NUM_CLASSES
    if names is not None:
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            yield (
                f"CLASS_NAMES is {names!r}; it must be None or a list of str, the background's "
                "first"
            )
        elif is_count(count) and len(names) != count:
            yield (
                f"CLASS_NAMES has {len(names)} names but NUM_CLASSES is {count}; it must have one "
                "for each class, "
                'the first of them "BG" for the background'
            )
    for field in _SWITCHES:
        value = getattr(config, field)
        # 0 and 1 equal False and True, and ran in the original
        if not (isinstance(value, (numbers.Integral, np.bool_)) and value in (0, 1)):
            yield f"{field} is {value!r}; it must be True or False"
    value = config.TRAIN_BN
    if value is not None and not (
        isinstance(value, (numbers.Integral, np.bool_)) and value in (0, 1)
    ):
        yield (
            f"TRAIN_BN is {value!r}; it must be None (train), False (freeze the "
            "statistics) or True (always the batch's statistics)"
        )
    elif config.REMATERIALIZE and (value is None or value):
        yield (
            f"REMATERIALIZE is True, and TRAIN_BN is {value!r}: the batch's statistics would be "
            "counted twice; "
            "set TRAIN_BN = False"
        )


def _check_backbone(config):
    backbone = config.BACKBONE
    if callable(backbone):
        if not callable(config.COMPUTE_BACKBONE_SHAPE):
            yield (
                f"COMPUTE_BACKBONE_SHAPE is {config.COMPUTE_BACKBONE_SHAPE!r}; a callable "
                "BACKBONE needs a callable(image_shape) that returns the [5, 2] heights "
                "and widths of its feature maps"
            )
        return
    names = ("resnet50", "resnet101", *APPLICATIONS)
    if isinstance(backbone, str) and backbone in names:
        return
    start = f"BACKBONE is {backbone!r}; "
    if isinstance(backbone, str) and backbone in MISFITS:
        yield start + f"{MISFITS[backbone]}; take one of {', '.join(names)}"
    elif isinstance(backbone, str) and ":" in backbone:
        yield start + (
            "that names a callable, and a configuration never imports code: "
            "set BACKBONE and COMPUTE_BACKBONE_SHAPE to the callables themselves"
        )
    elif isinstance(backbone, str):
        by_lower = {name.lower(): [n for n in names if n.lower() == name.lower()] for name in names}
        close = [
            name
            for match in difflib.get_close_matches(backbone.lower(), by_lower)
            for name in by_lower[match]
        ]
        yield start + (
            "did you mean " + ", ".join(close) + "?"
            if close
            else "it must be a callable or one of " + ", ".join(names)
        )
    else:
        yield start + "it must be a callable or one of " + ", ".join(names)


def _check_anchors(config):
    strides = config.BACKBONE_STRIDES
    items = numbers_in(strides)
    if (
        items is None
        or len(items) != 5
        or not all(map(is_count, items))
        or any(a >= b for a, b in itertools.pairwise(items))
    ):
        yield (
            f"BACKBONE_STRIDES is {strides!r}; it must be 5 increasing positive ints, "
            "one for each level P2 to P6, as [4, 8, 16, 32, 64]"
        )
    elif isinstance(config.BACKBONE, str) and list(items) != [4, 8, 16, 32, 64]:
        yield (
            f"BACKBONE_STRIDES is {strides!r}, but the levels of {config.BACKBONE} have the "
            "strides "
            "[4, 8, 16, 32, 64]; others are for a BACKBONE of your own"
        )
    scales = numbers_in(config.RPN_ANCHOR_SCALES)
    if scales is None or len(scales) != 5 or min(scales) <= 0:
        yield (
            f"RPN_ANCHOR_SCALES is {config.RPN_ANCHOR_SCALES!r}; it must be 5 positive "
            "numbers, one side in pixels for each of BACKBONE_STRIDES"
        )
    ratios = numbers_in(config.RPN_ANCHOR_RATIOS)
    if not ratios or min(ratios) <= 0:
        yield (
            f"RPN_ANCHOR_RATIOS is {config.RPN_ANCHOR_RATIOS!r}; it must be one or more "
            "positive numbers (width / height)"
        )


def _check_image_size(config):
    mode, low, high = config.IMAGE_RESIZE_MODE, config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM
    if not isinstance(mode, str) or mode not in RESIZE_MODES:
        yield f"IMAGE_RESIZE_MODE is {mode!r}; it must be one of {', '.join(RESIZE_MODES)}"
    if not is_count(high):
        yield f"IMAGE_MAX_DIM is {high!r}; it must be a positive int (pixels)"
    elif mode in ("square", "rect") and high % 64:
        yield (
            f"IMAGE_MAX_DIM is {high}; it must be a multiple of 64, because the pyramid "
            f"halves the image six times: {_multiples_of_64(high)}"
        )
    if mode == "crop" and not is_count(low):
        yield (
            f'IMAGE_MIN_DIM is {low!r}; IMAGE_RESIZE_MODE "crop" cuts squares of this '
            "size, so it must be a positive multiple of 64"
        )
    elif mode == "pad64" and low is None:
        yield (
            'IMAGE_MIN_DIM is None; IMAGE_RESIZE_MODE "pad64" wants 0 (do not scale up) '
            "or a multiple of 64"
        )
    elif low is not None and not (is_int(low) and low >= 0):
        yield f"IMAGE_MIN_DIM is {low!r}; it must be None, 0 or a positive int (pixels)"
    elif mode in ("crop", "pad64") and low % 64:
        yield (
            f'IMAGE_MIN_DIM is {low}; with IMAGE_RESIZE_MODE "{mode}" it must be a multiple '
            f"of 64: {_multiples_of_64(low)}"
        )
    elif mode in ("square", "rect") and low and is_count(high) and low > high:
        yield (
            f"IMAGE_MIN_DIM is {low} and IMAGE_MAX_DIM is {high}; the minimum must not "
            "be above the maximum (0 or None sets no minimum)"
        )


def _multiples_of_64(size):
    """The nearest multiples of 64, in words."""
    below, above = size // 64 * 64, size // 64 * 64 + 64
    return f"{below} or {above}" if below else f"{above}"


def _check_mean_pixel(config):
    mean, channels = config.MEAN_PIXEL, config.IMAGE_CHANNEL_COUNT
    if isinstance(mean, np.ndarray) and mean.ndim == 0:
        mean = mean.item()
    if is_number(mean) or not is_count(channels):
        return
    items = numbers_in(mean)
    if items is not None and len(items) == channels:
        return
    example = ", ".join(["123.7"] if channels == 1 else ["..."] * channels)
    yield (
        f"MEAN_PIXEL is {mean!r} but IMAGE_CHANNEL_COUNT is {channels}; it must be a number "
        f"or {channels} finite number{'s' if channels > 1 else ''}, one mean per channel. "
        f"Write in your class:\n"
        f"        IMAGE_CHANNEL_COUNT = {channels}\n"
        f"        MEAN_PIXEL = np.array([{example}])"
    )


def _check_masks(config):
    for field in ("MASK_SHAPE", "MINI_MASK_SHAPE"):
        value = getattr(config, field)
        if field == "MINI_MASK_SHAPE" and not config.USE_MINI_MASK:
            continue
        items = numbers_in(value)
        if items is None or len(items) != 2 or not all(map(is_count, items)):
            yield f"{field} is {value!r}; it must be 2 positive ints (height, width in pixels)"
        elif (
            field == "MASK_SHAPE"
            and is_count(config.MASK_POOL_SIZE)
            and any(item != 2 * config.MASK_POOL_SIZE for item in items)
        ):
            side = 2 * config.MASK_POOL_SIZE
            yield (
                f"MASK_SHAPE is {value!r} but MASK_POOL_SIZE is {config.MASK_POOL_SIZE}; the "
                f"mask head doubles the pooled size, so it must be [{side}, {side}]"
            )


def _check_optimiser(config):
    for field in ("LEARNING_RATE", "LEARNING_MOMENTUM", "WEIGHT_DECAY"):
        value = getattr(config, field)
        if not (is_number(value) and value >= 0):
            yield f"{field} is {value!r}; it must be a finite number of at least 0"
    clip = config.GRADIENT_CLIP_NORM
    if clip is not None and not (is_number(clip) and clip > 0):
        yield f"GRADIENT_CLIP_NORM is {clip!r}; it must be a positive number, or None for no clip"
    weights = config.LOSS_WEIGHTS
    if not isinstance(weights, dict):
        yield f"LOSS_WEIGHTS is {weights!r}; it must be a dict of loss names and factors"
        return
    for name, value in weights.items():
        if name not in LOSS_NAMES:
            yield f"LOSS_WEIGHTS has the key {name!r}; known are {', '.join(LOSS_NAMES)}"
        elif not (is_number(value) and value >= 0):
            yield (f"LOSS_WEIGHTS[{name!r}] is {value!r}; it must be a finite number of at least 0")


def _check_training_data(config):
    try:
        class_weights(config)
    except ValueError as error:
        yield str(error)
    sampling, threshold = config.IMAGE_SAMPLING, config.REPEAT_THRESHOLD
    # "module:function" is what a file of settings keeps of a callable
    if not (
        sampling is None
        or callable(sampling)
        or (isinstance(sampling, str) and (sampling == "balanced" or ":" in sampling))
    ):
        yield f"IMAGE_SAMPLING is {sampling!r}; it must be None, 'balanced' or a callable(dataset)"
    if threshold is not None and not (is_number(threshold) and 0 < threshold <= 1):
        yield (
            f"REPEAT_THRESHOLD is {threshold!r}; it must be None or a share of the images, above 0 "
            "and at most 1"
        )
    factors = config.SCALE_JITTER
    items = numbers_in(factors)
    if factors is not None and not (
        items is not None and len(items) == 2 and 0 < items[0] <= items[1]
    ):
        yield (
            f"SCALE_JITTER is {factors!r}; it must be None or the least and the largest factor, "
            "such as (0.8, 1.25)"
        )
    if not (is_number(config.COPY_PASTE) and 0 <= config.COPY_PASTE <= 1):
        yield f"COPY_PASTE is {config.COPY_PASTE!r}; it must be a probability from 0 to 1"

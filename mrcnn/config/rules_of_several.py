"""Rules of the `Config` fields that need several of them, or sentences of their own.

Each is a function from the values of its fields to a sentence for each broken rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from mrcnn.common.words import closest
from mrcnn.config.choices import (
    APPLICATIONS,
    FIELDS_FOR_OPTIONS,
    LOSS_NAMES,
    MISFITS,
    OPTIMIZERS,
)
from mrcnn.config.class_weights import class_factors
from mrcnn.config.resnets import RESNETS
from mrcnn.config.run_name import name_problem
from mrcnn.config.value_kinds import (
    function_or,
    is_count,
    is_not_negative,
    is_number,
    numbers_in,
    several,
)

STRIDES = [4, 8, 16, 32, 64]
# with the last stage, or the last two, dilated
DILATED_STRIDES = ([4, 8, 16, 16, 32], [4, 8, 8, 8, 16])
# Names of the fields, with spaces between, and what finds the problems of their values.
RuleOfSeveral = tuple[str, Callable[..., Iterable[str]]]


# === Experiment ===


def _name(name):
    problem = None if name is None else name_problem(name)
    if problem:
        yield problem


# === Classes and losses ===


def _class_names(names, count):
    if names is not None and len(names) != count:
        yield (
            f"CLASS_NAMES has {len(names)} names but NUM_CLASSES is {count}; it must have one for "
            'each class, the first of them "BG" for the background'
        )


def _class_weights(weights, names, count):
    try:
        class_factors(weights, names, count)
    except ValueError as error:
        yield str(error)


def _loss_weights(weights):
    if not isinstance(weights, dict):
        yield f"LOSS_WEIGHTS is {weights!r}; it must be a dict of loss names and factors"
        return
    for name, value in weights.items():
        if name not in LOSS_NAMES:
            yield f"LOSS_WEIGHTS has the key {name!r}; known are {', '.join(LOSS_NAMES)}"
        elif not is_not_negative(value):
            yield f"LOSS_WEIGHTS[{name!r}] is {value!r}; it must be a finite number of at least 0"


# === Network ===


def _backbone(backbone, shape_of):
    names = (*RESNETS, *APPLICATIONS)
    if callable(backbone):
        if not callable(shape_of):
            yield (
                f"COMPUTE_BACKBONE_SHAPE is {shape_of!r}; a callable BACKBONE needs a "
                "callable(image_shape) that returns the [5, 2] heights and widths of its feature "
                "maps"
            )
    elif not isinstance(backbone, str):
        yield f"BACKBONE is {backbone!r}; it must be a callable or one of {', '.join(names)}"
    elif backbone in MISFITS:
        yield f"BACKBONE is {backbone!r}; {MISFITS[backbone]}; take one of {', '.join(names)}"
    elif ":" in backbone:
        yield (
            f"BACKBONE is {backbone!r}; that names a callable, and a configuration never imports "
            "code: set BACKBONE and COMPUTE_BACKBONE_SHAPE to the callables themselves"
        )
    elif backbone not in names:
        near = closest(backbone, names)
        yield f"BACKBONE is {backbone!r}; " + (
            f"did you mean {', '.join(near)}?"
            if near
            else f"it must be a callable or one of {', '.join(names)}"
        )


def _strides(strides, backbone):
    if not isinstance(backbone, str) or list(strides) == STRIDES:
        return
    if backbone in RESNETS and list(strides) in DILATED_STRIDES:
        return
    also = ""
    if backbone in RESNETS:
        also = f" or, dilated, {' or '.join(map(str, DILATED_STRIDES))}"
    yield (
        f"BACKBONE_STRIDES is {strides!r}, but the levels of {backbone} have the strides "
        f"{STRIDES}{also}; others are for a BACKBONE of your own"
    )


def _rpn_matching(positive, negative):
    if negative > positive:
        yield (
            f"RPN_NEGATIVE_IOU is {negative} and RPN_POSITIVE_IOU is {positive}; the IoU below "
            "which an anchor is negative must not be above that from which on it is positive"
        )


def _rematerialize(rematerialize, train_bn):
    if rematerialize and (train_bn is None or train_bn):
        yield (
            f"REMATERIALIZE is True, and TRAIN_BN is {train_bn!r}: the batch's statistics would be "
            "counted twice; set TRAIN_BN = False"
        )


# === Images and masks ===


def _max_dim(high, mode):
    if mode in ("square", "rect") and high % 64:
        yield (
            f"IMAGE_MAX_DIM is {high}; it must be a multiple of 64, because the pyramid halves the "
            f"image six times: {_multiples_of_64(high)}"
        )


def _min_dim(low, mode):
    if mode == "crop" and not low:
        yield (
            f'IMAGE_MIN_DIM is {low!r}; IMAGE_RESIZE_MODE "crop" cuts squares of this size, so it '
            "must be a positive multiple of 64"
        )
    elif mode == "fit" and not low:
        yield (
            f'IMAGE_MIN_DIM is {low!r}; IMAGE_RESIZE_MODE "fit" resizes the shorter side to it, so '
            "it must be a positive int (pixels), such as 800"
        )
    elif mode == "pad64" and low is None:
        yield (
            'IMAGE_MIN_DIM is None; IMAGE_RESIZE_MODE "pad64" wants 0 (do not scale up) or a '
            "multiple of 64"
        )
    elif mode in ("crop", "pad64") and low % 64:
        yield (
            f'IMAGE_MIN_DIM is {low}; with IMAGE_RESIZE_MODE "{mode}" it must be a multiple of 64: '
            f"{_multiples_of_64(low)}"
        )


def _min_and_max_dim(low, high, mode):
    if mode in ("square", "rect") and low and low > high:
        yield (
            f"IMAGE_MIN_DIM is {low} and IMAGE_MAX_DIM is {high}; the minimum must not be above "
            "the maximum (0 or None sets no minimum)"
        )


def _test_scales(scales, mode):
    if len(scales) and mode in ("pad64", "none", "crop"):
        yield (
            f'TEST_SCALES is {scales!r}, but with IMAGE_RESIZE_MODE "{mode}" the sides do not set '
            "the size of what is detected in; take 'square', 'rect' or 'fit'"
        )


def _multiples_of_64(size):
    """The nearest multiples of 64, in words."""
    below, above = size // 64 * 64, size // 64 * 64 + 64
    return f"{below} or {above}" if below else f"{above}"


def _mean_pixel(mean, channels):
    if isinstance(mean, np.ndarray) and mean.ndim == 0:
        mean = mean.item()
    items = numbers_in(mean)
    if is_number(mean) or (items is not None and len(items) == channels):
        return
    example = ", ".join(["123.7"] if channels == 1 else ["..."] * min(channels, 8))
    yield (
        f"MEAN_PIXEL is {mean!r} but IMAGE_CHANNEL_COUNT is {channels}; it must be a number or "
        f"{channels} finite number{'s' if channels > 1 else ''}, one mean per channel. "
        f"Write in your class:\n"
        f"        IMAGE_CHANNEL_COUNT = {channels}\n"
        f"        MEAN_PIXEL = np.array([{example}])"
    )


def _mask_shape(shape, pool_size, deconvs, head):
    side = pool_size * 2**deconvs
    if head == "fcn" and list(shape) != [side, side]:
        yield (
            f"MASK_SHAPE is {shape!r} but MASK_POOL_SIZE is {pool_size} and MASK_HEAD_DECONVS is "
            f"{deconvs}; each of these doubles the pooled size, so it must be [{side}, {side}]"
        )


def _mask_loss(loss, agnostic):
    if loss == "softmax" and agnostic:
        yield (
            'MASK_LOSS is "softmax" and CLASS_AGNOSTIC_MASKS is True: a softmax is over several '
            'classes; set MASK_LOSS = "sigmoid" or CLASS_AGNOSTIC_MASKS = False'
        )


def _hard_examples(count, regions):
    if count > regions:
        yield (
            f"HARD_EXAMPLES is {count} and TRAIN_ROIS_PER_IMAGE is {regions}; it must be a part of "
            "these, or 0 for all"
        )


def _mini_mask(shape, used):
    if used and not several(is_count, 2)(shape):
        yield f"MINI_MASK_SHAPE is {shape!r}; it must be 2 positive ints (height, width in pixels)"


# === Optimiser ===


def _optimizer(optimizer):
    if not function_or(OPTIMIZERS)(optimizer):
        near = closest(str(optimizer), OPTIMIZERS)
        yield (
            f"OPTIMIZER is {optimizer!r}; it must be a callable(learning_rate) or one of "
            f"{', '.join(OPTIMIZERS)}" + (f": did you mean {near[0]}?" if near else "")
        )


def _optimizer_options(options, optimizer, clip):
    if options and not (isinstance(optimizer, str) and ":" not in optimizer):
        yield (
            f"OPTIMIZER_OPTIONS is {options!r}, but OPTIMIZER is a callable, which gives its "
            "arguments itself"
        )
        return
    for name in options:
        if name in FIELDS_FOR_OPTIONS:
            yield f"OPTIMIZER_OPTIONS has {name!r}; set {FIELDS_FOR_OPTIONS[name]} instead"
        elif name in ("clipnorm", "clipvalue") and clip is not None:
            yield (
                f"OPTIMIZER_OPTIONS has {name!r}, but gradients are clipped by GRADIENT_CLIP_NORM "
                f"= {clip}; set that to None"
            )


def _drop_epochs(epochs, schedule):
    if isinstance(schedule, str) and schedule == "multistep" and not len(epochs):
        yield (
            'LEARNING_RATE_DROP_EPOCHS is empty; LEARNING_RATE_SCHEDULE "multistep" needs the '
            "epochs of its drops"
        )


RULES_OF_SEVERAL: tuple[RuleOfSeveral, ...] = (
    ("NAME", _name),
    ("CLASS_NAMES NUM_CLASSES", _class_names),
    ("CLASS_WEIGHTS CLASS_NAMES NUM_CLASSES", _class_weights),
    ("LOSS_WEIGHTS", _loss_weights),
    ("BACKBONE COMPUTE_BACKBONE_SHAPE", _backbone),
    ("BACKBONE_STRIDES BACKBONE", _strides),
    ("RPN_POSITIVE_IOU RPN_NEGATIVE_IOU", _rpn_matching),
    ("REMATERIALIZE TRAIN_BN", _rematerialize),
    ("IMAGE_MAX_DIM IMAGE_RESIZE_MODE", _max_dim),
    ("IMAGE_MIN_DIM IMAGE_RESIZE_MODE", _min_dim),
    ("IMAGE_MIN_DIM IMAGE_MAX_DIM IMAGE_RESIZE_MODE", _min_and_max_dim),
    ("TEST_SCALES IMAGE_RESIZE_MODE", _test_scales),
    ("MEAN_PIXEL IMAGE_CHANNEL_COUNT", _mean_pixel),
    ("MASK_SHAPE MASK_POOL_SIZE MASK_HEAD_DECONVS MASK_HEAD", _mask_shape),
    ("MASK_LOSS CLASS_AGNOSTIC_MASKS", _mask_loss),
    ("HARD_EXAMPLES TRAIN_ROIS_PER_IMAGE", _hard_examples),
    ("MINI_MASK_SHAPE USE_MINI_MASK", _mini_mask),
    ("OPTIMIZER", _optimizer),
    ("OPTIMIZER_OPTIONS OPTIMIZER GRADIENT_CLIP_NORM", _optimizer_options),
    ("LEARNING_RATE_DROP_EPOCHS LEARNING_RATE_SCHEDULE", _drop_epochs),
)

"""The rules of the `Config` fields: a table of the single fields, and a list of the rules that
need more than one field or more than one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mrcnn.config.choices import (
    BBOX_LOSSES,
    DTYPE_POLICIES,
    HEAD_INITS,
    MASK_HEADS,
    MASK_LOSSES,
    MASK_PASTES,
    MASK_TARGETS,
    PRESET_NAMES,
    RESIZE_MODES,
    ROI_ALIGNS,
    SCHEDULES,
)
from mrcnn.config.derived import SOURCE_FIELDS, changed_fields
from mrcnn.config.rules_of_several import RuleOfSeveral
from mrcnn.config.value_kinds import (
    Kind,
    function_or,
    int_between,
    is_count,
    is_not_negative,
    is_number,
    is_options,
    is_positive,
    is_positive_share,
    is_rising,
    is_share,
    is_switch,
    is_text,
    numbers_in,
    one_of,
    optional,
    several,
)


class Rule(NamedTuple):
    """What the value of a field must be."""

    fields: str  # names with spaces between
    holds: Kind
    words: str  # after "FIELD is VALUE; it must be"


def _is_names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(is_text, value))


def _is_range(value: Any) -> bool:
    return several(is_positive, 2)(value) and value[0] <= value[1]


def _is_black_and_white(value: Any) -> bool:
    return several(is_number, 2)(value) and value[0] < value[1]


def _is_factors(value: Any) -> bool:
    items = numbers_in(value)
    return items is not None and all(map(is_positive, items))


def _is_epochs(value: Any) -> bool:
    return is_rising(value) and all(map(is_count, numbers_in(value) or ()))


TABLE = (
    # Experiment
    Rule("NAME", optional(is_text), "a str (or None while nothing is trained)"),
    Rule(
        "GPU_COUNT IMAGES_PER_GPU STEPS_PER_EPOCH VALIDATION_STEPS STATES_KEPT",
        is_count,
        "an int of at least 1",
    ),
    Rule("SEED", optional(int_between(0, 2**32 - 1)), "None or an int from 0 to 2**32 - 1"),
    # Classes
    Rule("NUM_CLASSES", is_count, "an int of at least 1 (the background counts as one class)"),
    Rule("CLASS_NAMES", optional(_is_names), "None or a list of str, the background's first"),
    # Network
    Rule(
        "BACKBONE_WIDTH TOP_DOWN_PYRAMID_SIZE RPN_CONV_CHANNELS FPN_CLASSIF_FC_LAYERS_SIZE "
        "MASK_HEAD_CHANNELS POOL_SIZE MASK_POOL_SIZE RPN_CONV_LAYERS BOX_HEAD_CHANNELS "
        "RESNEXT_GROUPS RESNEXT_WIDTH",
        is_count,
        "an int of at least 1",
    ),
    Rule(
        "BACKBONE_STRIDES",
        lambda value: several(is_count, 5)(value) and sorted(value) == list(value),
        "5 positive ints that do not fall, one for each level P2 to P6, as [4, 8, 16, 32, 64]",
    ),
    Rule(
        "FREEZE_BACKBONE_STAGES",
        int_between(0, 5),
        "an int from 0 (none) to 5 (the whole backbone)",
    ),
    Rule(
        "TRAIN_BN",
        optional(is_switch),
        "None (train), False (freeze the statistics) or True (always the batch's statistics)",
    ),
    Rule("DTYPE_POLICY", one_of(DTYPE_POLICIES), f"one of {', '.join(DTYPE_POLICIES)}"),
    Rule(
        "REMATERIALIZE USE_RPN_ROIS STOP_PROPOSAL_GRADIENT FIRST_IMAGE_RULES_CLASSES "
        "STRIDE_IN_3X3 RPN_ANCHORS_ROUNDED RPN_STRIDES_FROM_SIZES PROPOSALS_PER_LEVEL "
        "CLIP_PROPOSALS_TO_WINDOW ROI_LEVEL_FLOOR DETECTION_MULTI_CLASS RPN_IGNORE_CROSSING "
        "ROI_ADD_GT ROI_FILL_NEGATIVES TEST_FLIPS CLASS_AGNOSTIC_BOXES CLASS_AGNOSTIC_MASKS",
        is_switch,
        "True or False",
    ),
    Rule("PRESET", one_of(PRESET_NAMES), f"one of {', '.join(PRESET_NAMES)}"),
    Rule("ROI_ALIGN", one_of(ROI_ALIGNS), f"one of {', '.join(ROI_ALIGNS)}"),
    Rule("BOX_HEAD_CONVS HARD_EXAMPLES", int_between(0, float("inf")), "an int of at least 0"),
    Rule("BOX_HEAD_FCS", int_between(1, float("inf")), "an int of at least 1"),
    # Anchors, proposals, matching
    Rule("BOX_SHIFT", int_between(0, 1), "0 or 1 (pixels)"),
    Rule("BBOX_LOG_SCALE_LIMIT SMOOTH_L1_BETA", is_positive, "a positive number"),
    Rule("BBOX_LOSS", one_of(BBOX_LOSSES), f"one of {', '.join(BBOX_LOSSES)}"),
    Rule("HEAD_INIT", one_of(HEAD_INITS), f"one of {', '.join(HEAD_INITS)}"),
    Rule("PRE_NMS_LIMIT_TRAINING", optional(is_count), "None or an int of at least 1"),
    Rule(
        "PROPOSAL_MIN_SIZE DETECTION_MIN_SIZE SOFT_NMS_SIGMA",
        is_not_negative,
        "a finite number of at least 0",
    ),
    Rule(
        "RPN_ANCHOR_SCALES",
        several(is_positive, 5),
        "5 positive numbers, one side in pixels for each of BACKBONE_STRIDES",
    ),
    Rule(
        "RPN_ANCHOR_RATIOS",
        several(is_positive),
        "one or more positive numbers (width / height)",
    ),
    Rule(
        "RPN_ANCHOR_STRIDE RPN_TRAIN_ANCHORS_PER_IMAGE PRE_NMS_LIMIT POST_NMS_ROIS_TRAINING "
        "POST_NMS_ROIS_INFERENCE TRAIN_ROIS_PER_IMAGE MAX_GT_INSTANCES DETECTION_MAX_INSTANCES",
        is_count,
        "an int of at least 1",
    ),
    Rule(
        "RPN_NMS_THRESHOLD DETECTION_NMS_THRESHOLD RPN_NEGATIVE_IOU",
        is_share,
        "a number from 0 to 1",
    ),
    # None has the meaning of 0 there, as in the original
    Rule("DETECTION_MIN_CONFIDENCE", optional(is_share), "a number from 0 to 1"),
    Rule(
        "ROI_POSITIVE_RATIO ROI_POSITIVE_IOU RPN_POSITIVE_IOU",
        is_positive_share,
        "a number above 0 and at most 1",
    ),
    Rule(
        "RPN_BBOX_STD_DEV BBOX_STD_DEV",
        several(is_positive, 4),
        "4 positive numbers (dy, dx, dh, dw)",
    ),
    # Images and masks
    Rule("IMAGE_RESIZE_MODE", one_of(RESIZE_MODES), f"one of {', '.join(RESIZE_MODES)}"),
    Rule("MASK_TARGETS", one_of(MASK_TARGETS), f"one of {', '.join(MASK_TARGETS)}"),
    Rule("MASK_PASTE", one_of(MASK_PASTES), f"one of {', '.join(MASK_PASTES)}"),
    Rule("TEST_SCALES", _is_factors, "() or positive factors of the size, such as (0.5, 1, 1.5)"),
    Rule("MASK_LOSS", one_of(MASK_LOSSES), f"one of {', '.join(MASK_LOSSES)}"),
    Rule("MASK_HEAD", one_of(MASK_HEADS), f"one of {', '.join(MASK_HEADS)}"),
    Rule("MASK_HEAD_DECONVS", int_between(0, 4), "an int from 0 to 4"),
    Rule("IMAGE_MAX_DIM", is_count, "a positive int (pixels)"),
    Rule(
        "IMAGE_MIN_DIM",
        optional(int_between(0, float("inf"))),
        "None, 0 or a positive int (pixels)",
    ),
    Rule("IMAGE_MIN_SCALE", optional(is_not_negative), "0 (no bound) or a positive number"),
    Rule("IMAGE_CHANNEL_COUNT IMAGE_MAX_PIXELS", is_count, "an int of at least 1"),
    Rule(
        "IMAGE_RANGE",
        optional(_is_black_and_white),
        "None or the values of black and white, the first below the second, such as (0, 4095)",
    ),
    Rule("MASK_SHAPE", several(is_count, 2), "2 positive ints (height, width in pixels)"),
    Rule("USE_MINI_MASK KEEP_EMPTY_IMAGES", is_switch, "True or False"),
    # Optimiser
    Rule(
        "LEARNING_RATE LEARNING_MOMENTUM WEIGHT_DECAY",
        is_not_negative,
        "a finite number of at least 0",
    ),
    Rule("GRADIENT_CLIP_NORM", optional(is_positive), "a positive number, or None for no clip"),
    Rule("GRADIENT_ACCUMULATION_STEPS", is_count, "an int of at least 1"),
    Rule("OPTIMIZER_OPTIONS", is_options, "a dict of arguments of the class that OPTIMIZER names"),
    Rule(
        "EMA_MOMENTUM",
        optional(lambda value: is_number(value) and 0 < value < 1),
        "None or a number between 0 and 1, such as 0.999",
    ),
    Rule(
        "LEARNING_RATE_SCHEDULE",
        optional(function_or(SCHEDULES)),
        f"None, {' or '.join(map(repr, SCHEDULES))}, a schedule of keras.optimizers.schedules or "
        "a callable(step)",
    ),
    Rule(
        "LEARNING_RATE_WARMUP_STEPS",
        int_between(0, float("inf")),
        "an int of at least 0 (batches)",
    ),
    Rule(
        "LEARNING_RATE_WARMUP_FACTOR LEARNING_RATE_DROP_FACTOR LEARNING_RATE_END_FACTOR",
        is_share,
        "a number from 0 to 1",
    ),
    Rule(
        "LEARNING_RATE_DROP_EPOCHS",
        _is_epochs,
        "rising epochs of at least 1, such as (30, 40)",
    ),
    # Training data
    Rule(
        "IMAGE_SAMPLING",
        optional(function_or(("balanced",))),
        "None, 'balanced' or a callable(dataset)",
    ),
    Rule(
        "REPEAT_THRESHOLD",
        optional(is_positive_share),
        "None or a share of the images, above 0 and at most 1",
    ),
    Rule(
        "SCALE_JITTER",
        optional(_is_range),
        "None or the least and the largest factor, such as (0.8, 1.25)",
    ),
    Rule("COPY_PASTE", is_share, "a probability from 0 to 1"),
)


def find_problems(
    config: Any, table: Sequence[Rule], rules_of_several: Sequence[RuleOfSeveral]
) -> list[str]:
    """All broken rules of a `Config`, a sentence each.

    A rule of several fields is asked only where each of them is right by itself.
    """
    problems, broken = [], set()
    for rule in table:
        for field in rule.fields.split():
            value = getattr(config, field)
            if not rule.holds(value):
                problems.append(f"{field} is {value!r}; it must be {rule.words}")
                broken.add(field)
    for fields, find in rules_of_several:
        names = fields.split()
        if broken.isdisjoint(names):
            problems += find(*(getattr(config, name) for name in names))
    if broken.isdisjoint(SOURCE_FIELDS):
        problems += changed_fields(config)
    return problems

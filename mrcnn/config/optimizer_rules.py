"""The rules of the `Config` fields that say how a network is trained: optimizer, schedule,
precision, freezing.
"""

import difflib

from mrcnn.config.value_kinds import is_count, is_int, is_number, numbers_in

# Classes of keras.optimizers (Keras 3.15). Not those around other optimizers, nor
# ScheduleFreeAdamW, whose slots hold weights: to keep them from stage to stage would undo what was
# loaded in between.
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
# Arguments of theirs that have a place of their own.
_OPTIONS_OF_FIELDS = {
    "learning_rate": "LEARNING_RATE or train(learning_rate=...)",
    "global_clipnorm": "GRADIENT_CLIP_NORM",
    "use_ema": "EMA_MOMENTUM",
    "ema_momentum": "EMA_MOMENTUM",
    "loss_scale_factor": "DTYPE_POLICY",
    "gradient_accumulation_steps": "GRADIENT_ACCUMULATION_STEPS",
}
SCHEDULES = ("multistep", "cosine")
DTYPE_POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


def check_optimizer(config):
    """A line for each broken rule."""
    for check in (_optimizer_problems, _schedule_problems, _network_problems):
        yield from check(config)


def _optimizer_problems(config):
    optimizer, options = config.OPTIMIZER, config.OPTIMIZER_OPTIONS
    # "module:function" is what a file of settings keeps of a callable
    if not (
        callable(optimizer)
        or (isinstance(optimizer, str) and (optimizer in OPTIMIZERS or ":" in optimizer))
    ):
        by_lower = {name.lower(): name for name in OPTIMIZERS}
        near = difflib.get_close_matches(str(optimizer).lower(), by_lower)
        yield (
            f"OPTIMIZER is {optimizer!r}; it must be a callable(learning_rate) or one of "
            f"{', '.join(OPTIMIZERS)}" + (f": did you mean {by_lower[near[0]]}?" if near else "")
        )
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        yield (
            f"OPTIMIZER_OPTIONS is {options!r}; it must be a dict of arguments of the class that "
            "OPTIMIZER names"
        )
    elif options and not (isinstance(optimizer, str) and ":" not in optimizer):
        yield (
            f"OPTIMIZER_OPTIONS is {options!r}, but OPTIMIZER is a callable, which gives its "
            "arguments itself"
        )
    else:
        for name in options:
            if name in _OPTIONS_OF_FIELDS:
                yield f"OPTIMIZER_OPTIONS has {name!r}; set {_OPTIONS_OF_FIELDS[name]} instead"
            elif name in ("clipnorm", "clipvalue") and config.GRADIENT_CLIP_NORM is not None:
                yield (
                    f"OPTIMIZER_OPTIONS has {name!r}, but gradients are clipped by "
                    "GRADIENT_CLIP_NORM = "
                    f"{config.GRADIENT_CLIP_NORM}; set that to None"
                )
    momentum = config.EMA_MOMENTUM
    if momentum is not None and not (is_number(momentum) and 0 < momentum < 1):
        yield (
            f"EMA_MOMENTUM is {momentum!r}; it must be None or a number between 0 and 1, such as "
            "0.999"
        )


def _schedule_problems(config):
    schedule, epochs = config.LEARNING_RATE_SCHEDULE, config.LEARNING_RATE_DROP_EPOCHS
    if not (
        schedule is None
        or callable(schedule)
        or (isinstance(schedule, str) and (schedule in SCHEDULES or ":" in schedule))
    ):
        yield (
            f"LEARNING_RATE_SCHEDULE is {schedule!r}; it must be None, "
            f"{' or '.join(map(repr, SCHEDULES))}, a "
            "schedule of keras.optimizers.schedules or a callable(step)"
        )
    items = numbers_in(epochs)
    if items is None or not all(map(is_count, items)) or sorted(set(items)) != items:
        yield (
            f"LEARNING_RATE_DROP_EPOCHS is {epochs!r}; it must be rising epochs of at least 1, "
            "such as (30, 40)"
        )
    elif isinstance(schedule, str) and schedule == "multistep" and not items:
        yield (
            'LEARNING_RATE_DROP_EPOCHS is empty; LEARNING_RATE_SCHEDULE "multistep" needs the '
            "epochs of its drops"
        )
    steps = config.LEARNING_RATE_WARMUP_STEPS
    if not (is_int(steps) and steps >= 0):
        yield f"LEARNING_RATE_WARMUP_STEPS is {steps!r}; it must be an int of at least 0 (batches)"
    for field in (
        "LEARNING_RATE_WARMUP_FACTOR",
        "LEARNING_RATE_DROP_FACTOR",
        "LEARNING_RATE_END_FACTOR",
    ):
        value = getattr(config, field)
        if not (is_number(value) and 0 <= value <= 1):
            yield f"{field} is {value!r}; it must be a number from 0 to 1"


def _network_problems(config):
    policy, stages = config.DTYPE_POLICY, config.FREEZE_BACKBONE_STAGES
    if policy not in DTYPE_POLICIES:
        yield f"DTYPE_POLICY is {policy!r}; it must be one of {', '.join(DTYPE_POLICIES)}"
    if not (is_int(stages) and 0 <= stages <= 5):
        yield (
            f"FREEZE_BACKBONE_STAGES is {stages!r}; it must be an int from 0 (none) to 5 (the "
            "whole backbone)"
        )

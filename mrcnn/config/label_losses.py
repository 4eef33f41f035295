"""Names of the losses that train networks to label pixels, sums of them, and their options.

`networks.segmentation.losses` computes them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from mrcnn.common.words import closest
from mrcnn.config.value_kinds import (
    Kind,
    is_not_negative,
    is_positive,
    is_share,
    is_switch,
    numbers_in,
    optional,
    several,
)

LABEL_LOSSES = (
    "ce",
    "weighted_ce",
    "balanced_ce",
    "focal",
    "dice",
    "sensitivity_specificity",
    "log_cosh_dice",
    "hausdorff",
    "shape_aware",
    "combo",
    "exp_log",
)

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def loss_terms(text: str) -> list[tuple[float, str]]:
    """The terms of a sum of losses, such as "ce+dice" or "0.5*focal + dice".

    Args:
        text: names of `LABEL_LOSSES` with "+" between them, each with an optional factor and "*"
            in front.

    Returns:
        list of (factor, name), in the order given; the factor is 1.0 where there is none.

    Raises:
        ValueError: a name that no loss has, with the names that come near it; a name that comes
            twice; a factor that is not above 0; the name that a file of settings keeps of a
            function; or no such sum at all.
    """
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no text such as 'ce+dice'")
    if names_function(text):
        raise ValueError(
            f"{text!r} names a function, and a configuration never imports code: set LOSS to the "
            "function itself, or to a sum of names such as 'ce+dice'"
        )
    terms: list[tuple[float, str]] = []
    for part in _parts(text):
        factor, name = _term(part, text)
        if name in (known for _, known in terms):
            raise ValueError(f"{text!r} has {name!r} twice; give it one factor")
        terms.append((factor, name))
    return terms


def names_function(text: str) -> bool:
    """Whether a text is what a file of settings keeps of a function: "module:name"."""
    return re.fullmatch(r"[\w.]+:[\w.<>]+", text) is not None


def learns_nothing_from_empty(name: str, channels: int = 1) -> bool:
    """Whether a loss has no gradient for a batch without any object, so that a network which is
    trained with it alone may label anything in images of background.

    "ce+dice" does not have this fault, nor has any other sum with a term that learns.

    Args:
        name: one of `LABEL_LOSSES`.
        channels: of the network's output: 1 for object or background by a sigmoid. With several,
            means over classes are over those of the batch, and there are none.
    """
    several = ("sensitivity_specificity", "hausdorff") if channels > 1 else ()
    return name in ("balanced_ce", "dice", "log_cosh_dice", *several)


def all_learn_nothing_from_empty(
    loss: Any, options: dict[str, dict[str, Any]], channels: int
) -> bool:
    """Whether `learns_nothing_from_empty` is true of LOSS as a whole: of each of its terms.

    Args:
        loss: LOSS; of a function nobody knows, which counts as no.
        options: LOSS_OPTIONS. With ``smooth`` and one channel false alarms count in Dice's loss.
        channels: as of `learns_nothing_from_empty`.
    """
    return isinstance(loss, str) and all(
        learns_nothing_from_empty(name, channels)
        and not (channels == 1 and options.get(name, {}).get("smooth"))
        for _, name in loss_terms(loss)
    )


def unknown_loss(name: str) -> str:
    """The message about a name that no loss has."""
    near = closest(name, LABEL_LOSSES)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {_KNOWN}"
    return f"there is no loss {name!r}; {hint}"


_KNOWN = ", ".join(LABEL_LOSSES)


# === Options ===


class Option(NamedTuple):
    """What the value of a loss's option must be."""

    holds: Kind
    words: str  # after "it must be"


_SHARE = Option(is_share, "a number from 0 to 1")
_NOT_NEGATIVE = Option(is_not_negative, "a finite number of at least 0")
_POSITIVE = Option(is_positive, "a finite number above 0")
_SWITCH = Option(is_switch, "True or False")
_OF_DICE = {"squared": _SWITCH, "smooth": _NOT_NEGATIVE}
_factors = several(is_not_negative)

LABEL_LOSS_OPTIONS: dict[str, dict[str, Option]] = {
    **{name: {} for name in LABEL_LOSSES},
    "weighted_ce": {
        "weights": Option(
            lambda value: (
                value == "balanced"
                if isinstance(value, str)
                else is_positive(value) or _factors(value)
            ),
            "a number above 0, 'balanced' or a list of a factor of at least 0 for each class",
        ),
        "borders": Option(
            optional(several(is_positive, 2)), "None or 2 numbers above 0, such as (10, 5)"
        ),
    },
    "focal": {
        "gamma": _NOT_NEGATIVE,
        "alpha": Option(
            optional(lambda value: is_share(value) or _factors(value)),
            "None, a number from 0 to 1 or a list of a factor of at least 0 for each class",
        ),
    },
    "dice": _OF_DICE,
    "log_cosh_dice": _OF_DICE,
    "sensitivity_specificity": {"r": _SHARE},
    "hausdorff": {
        "alpha": _POSITIVE,
        "two_sided": Option(optional(is_switch), "None, True or False"),
    },
    "combo": {"a": _SHARE, "b": _SHARE},
    "exp_log": {"dice_weight": _SHARE, "power": _POSITIVE},
}
# Those that may have a factor for each class.
_OF_CLASSES = (("weighted_ce", "weights"), ("focal", "alpha"))


def option_problems(name: str, options: Any, classes: int | None = None) -> Iterator[str]:
    """A sentence for each wrong option of a loss.

    Args:
        name: one of `LABEL_LOSSES`.
        options: dict of its options; anything else is a problem.
        classes: their number with background; None where it is not known.
    """
    if not isinstance(options, dict):
        yield f"loss {name!r} has {options!r}; it must be a dict of its options and their values"
        return
    rules = LABEL_LOSS_OPTIONS[name]
    for option, value in options.items():
        if option not in rules:
            has = f"has {', '.join(sorted(rules))}" if rules else "has none"
            yield f"loss {name!r} has no option {option!r}; it {has}"
        elif not rules[option].holds(value):
            yield f"{option} of loss {name!r} is {value!r}; it must be {rules[option].words}"
        elif classes is not None and (name, option) in _OF_CLASSES:
            factors = numbers_in(value)
            if factors is not None and len(factors) != classes:
                yield (
                    f"{option} of loss {name!r} has {len(factors)} factors; there are {classes} "
                    "classes with background"
                )


# === Reading a sum ===


def _parts(text):
    """The texts between the plus signs, without those of exponents such as 1e+3."""
    return [part.strip() for part in re.split(r"(?<![\d.][eE])\+", text)]


def _term(part, text):
    """The factor and the name of one term."""
    if not part:
        raise ValueError(
            f"{text!r} lacks a loss; write a sum such as 'ce+dice' or '0.5*focal+dice'"
        )
    before, star, name = (piece.strip() for piece in part.rpartition("*"))
    if name not in LABEL_LOSSES:
        raise ValueError(f"{text!r}: {unknown_loss(name)}")
    if not star:
        return 1.0, name
    factor = float(before) if _NUMBER.fullmatch(before) else 0.0
    if not 0 < factor < math.inf:
        raise ValueError(f"{text!r}: the factor of {name!r} is {before!r}; it must be above 0")
    return factor, name

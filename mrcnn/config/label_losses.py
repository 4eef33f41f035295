"""Names of the losses that train networks to label pixels, and sums of them.

`networks.segmentation.losses` computes them.
"""

from __future__ import annotations

import math
import re

from mrcnn.common.words import closest

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
            twice; a factor that is not above 0; or no such sum at all.
    """
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no text such as 'ce+dice'")
    terms: list[tuple[float, str]] = []
    for part in _parts(text):
        factor, name = _term(part, text)
        if name in (known for _, known in terms):
            raise ValueError(f"{text!r} has {name!r} twice; give it one factor")
        terms.append((factor, name))
    return terms


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


def unknown_loss(name: str) -> str:
    """The message about a name that no loss has."""
    near = closest(name, LABEL_LOSSES)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {_KNOWN}"
    return f"there is no loss {name!r}; {hint}"


_KNOWN = ", ".join(LABEL_LOSSES)


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

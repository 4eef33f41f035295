"""Fields that may be callables."""

from __future__ import annotations

import inspect
from typing import Any

# Field -> what it is called with. A file of settings keeps the names of these callables.
CALLS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "BACKBONE": (("input_image",), {"stage5": True, "train_bn": False}),
    "COMPUTE_BACKBONE_SHAPE": (("image_shape",), {}),
    "OPTIMIZER": (("learning_rate",), {}),
    "LEARNING_RATE_SCHEDULE": (("step",), {}),
    "IMAGE_SAMPLING": (("dataset",), {}),
    "LOSS": (("labels", "logits", "valid"), {}),
}


def keep_functions(config_class: type) -> None:
    """Let the functions that a class has in these fields be called as they are.

    Without it ``BACKBONE = my_backbone`` is a method in Python, whose first argument is the config.
    What is written as a method, with an argument for the config, stays one.

    Args:
        config_class: `Config` or a subclass. The class of its that has such a function then has a
            staticmethod of it.
    """
    for field in CALLS:
        for owner in config_class.__mro__:
            if field in vars(owner):
                value = vars(owner)[field]
                if _would_be_bound(value) and _takes_call(value, field):
                    setattr(owner, field, staticmethod(value))
                break


def _would_be_bound(value):
    """Whether Python makes a method of a class attribute; also of objects of tf.function."""
    return (
        callable(value)
        and hasattr(type(value), "__get__")
        and not isinstance(value, (staticmethod, classmethod))
    )


def _takes_call(value, field):
    """Whether a callable takes what the field is called with and nothing before that."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # of some that are compiled
        return True
    arguments, options = CALLS[field]
    try:
        signature.bind(*arguments, **options)
    except TypeError:
        return False
    return next(iter(signature.parameters), None) != "self"

"""CLASS_WEIGHTS as one factor per class."""

import difflib

from mrcnn.config.value_kinds import is_int, is_number


def class_weights(config):
    """The factor of each class in the heads' class loss.

    Args:
        config: CLASS_WEIGHTS, CLASS_NAMES and NUM_CLASSES are read.

    Returns:
        list of NUM_CLASSES floats; None where CLASS_WEIGHTS is None.

    Raises:
        ValueError: CLASS_WEIGHTS is no dict, names a class that is not there, or twice, or a factor
            is wrong.
    """
    given = config.CLASS_WEIGHTS
    if given is None:
        return None
    if not isinstance(given, dict):
        raise ValueError(
            f"CLASS_WEIGHTS is {given!r}; it must be None or a dict of class ids or names and "
            "factors"
        )
    factors = {}
    for key, factor in given.items():
        class_id = _class_id(key, config.CLASS_NAMES, config.NUM_CLASSES)
        if class_id in factors:
            raise ValueError(f"CLASS_WEIGHTS has class {class_id} twice, once as {key!r}")
        if not is_number(factor) or factor < 0:
            raise ValueError(
                f"CLASS_WEIGHTS[{key!r}] is {factor!r}; it must be a finite number of at least 0"
            )
        factors[class_id] = float(factor)
    return [factors.get(class_id, 1.0) for class_id in range(config.NUM_CLASSES)]


def _class_id(key, names, count):
    """The class id of an id, a name or, as JSON has its keys, an id as text."""
    names = list(names) if isinstance(names, (list, tuple)) else []
    if isinstance(key, str) and key in names:
        return names.index(key)
    if isinstance(key, str) and not key.isdecimal():
        near = difflib.get_close_matches(key, names)
        raise ValueError(
            f"CLASS_WEIGHTS names the class {key!r}; "
            + (
                f"did you mean {' or '.join(map(repr, near))}?"
                if near
                else f"the classes are {', '.join(map(str, names))}"
                if names
                else "the names are not known: set CLASS_NAMES, or take class ids"
            )
        )
    if not (isinstance(key, str) or is_int(key)) or not 0 <= int(key) < count:
        raise ValueError(
            f"CLASS_WEIGHTS has the class {key!r}; class ids go from 0 (the background) to "
            f"{count - 1}"
        )
    return int(key)

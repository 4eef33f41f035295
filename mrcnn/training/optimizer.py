"""The optimizer: how it is made, and its state by name."""

import re

from mrcnn.distribution import SGD

# Not of a variable of the model: a new stage begins them anew.
COUNTERS = ("iteration", "learning_rate")


def make_optimizer(config, learning_rate, momentum):
    """A new optimizer: SGD whose gradients are clipped by their common norm."""
    return SGD(learning_rate, momentum, global_clipnorm=config.GRADIENT_CLIP_NORM)


def current_rate(optimizer):
    """The learning rate of the next step, on any device and by any schedule, as a float."""
    return float(optimizer.learning_rate.numpy())


def optimizer_state(optimizer):
    """name -> array of all variables of any Keras optimizer that is built.

    The names are Keras': "conv1_kernel_momentum" of the variable "conv1/kernel". Of equal ones, such
    as the "iteration" of an optimizer in another one, the second gets "#2".
    """
    return {name: variable.numpy() for name, variable in _named(optimizer)}


def restore_optimizer(optimizer, state, counters=True):
    """Give a built optimizer the values of an `optimizer_state`.

    What only one of the two has keeps its value, so that layers that begin to train begin without momentum.

    Args:
        counters: False leaves the number of steps and the learning rate as they are.

    Returns:
        Number of variables that got a value.
    """
    restored = 0
    for name, variable in _named(optimizer):
        value = state.get(name)
        if value is None or value.shape != tuple(variable.shape):
            continue
        if counters or name.partition("#")[0] not in COUNTERS:
            variable.assign(value)
            restored += 1
    return restored


def keep_slots(old, new, variables):
    """Build an optimizer, with the momentum that an earlier one had for the same variables.

    Args:
        old: the earlier optimizer, or None.
        new: a new optimizer of the same kind.
        variables: those that are now to be trained.
    """
    new.build(variables)
    if old is not None and old.built:
        restore_optimizer(new, optimizer_state(old), counters=False)


def numbered(pairs):
    """(name, value) pairs of which no two have the same name: the second "a" becomes "a#2"."""
    seen = {}
    for name, value in pairs:
        seen[name] = number = seen.get(name, 0) + 1
        yield name if number == 1 else f"{name}#{number}", value


def _named(optimizer):
    # Nadam has a variable without a name, which Keras then counts through the whole process
    return numbered((re.sub(r"^variable_\d+$", "variable", variable.name), variable)
                    for variable in optimizer.variables)

"""The optimizer: how it is made from the config, and its state by name."""

import re

import keras

from mrcnn.training.device_optimizers import LossScale, over_devices

# Of the steps of a stage, not of a variable of the model: a new stage begins them anew.
COUNTERS = ("iteration", "learning_rate")
ACCUMULATOR = "_gradient_accumulator"


def make_optimizer(config, learning_rate, momentum, policy="float32"):
    """A new optimizer, as OPTIMIZER and the fields around it say.

    Args:
        config: a ``Config``.
        learning_rate: a number, or a Keras schedule of the batches.
        momentum: of OPTIMIZER "SGD". RMSprop, which Keras has without one, takes it from
            OPTIMIZER_OPTIONS.
        policy: name of the network's dtype policy. With "mixed_float16" the loss is scaled, so that
            small gradients do not become 0, and an update whose gradient is not finite is left out.

    Returns:
        Optimizer of Keras. It clips the gradient that an update uses: summed over devices, and
        averaged over GRADIENT_ACCUMULATION_STEPS. A decay of its own leaves gamma and beta alone,
        as WEIGHT_DECAY does.

    Raises:
        ValueError: a field does not fit the others, or Keras refuses OPTIMIZER_OPTIONS.
        TypeError: OPTIMIZER is a callable that makes something else.
    """
    rate = learning_rate if callable(learning_rate) else float(learning_rate)
    optimizer = (
        _of_callable(config, rate)
        if callable(config.OPTIMIZER)
        else _of_name(config, rate, momentum)
    )
    if (
        optimizer.clipnorm is None
        and optimizer.clipvalue is None
        and optimizer.global_clipnorm is None
    ):
        optimizer.global_clipnorm = config.GRADIENT_CLIP_NORM
    if config.EMA_MOMENTUM is not None:
        optimizer.use_ema, optimizer.ema_momentum = True, config.EMA_MOMENTUM
    if config.GRADIENT_ACCUMULATION_STEPS > 1:
        optimizer.gradient_accumulation_steps = int(config.GRADIENT_ACCUMULATION_STEPS)
    return LossScale(optimizer) if policy == "mixed_float16" else optimizer


def _of_name(config, rate, momentum):
    name = config.OPTIMIZER
    if ":" in name:
        raise ValueError(
            f"OPTIMIZER is {name!r}, the name that a file of settings keeps of a callable; "
            "settings "
            "import no code: set OPTIMIZER to the callable itself"
        )
    if not hasattr(keras.optimizers, name):
        raise ValueError(
            f"OPTIMIZER is {name!r}, which Keras {keras.__version__} has not: a later one is needed"
        )
    options = {**({"momentum": momentum} if name == "SGD" else {}), **config.OPTIMIZER_OPTIONS}
    try:
        optimizer = over_devices(getattr(keras.optimizers, name))(rate, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"OPTIMIZER_OPTIONS is {config.OPTIMIZER_OPTIONS}, which keras.optimizers.{name} "
            "refuses: "
            f"{error}"
        ) from error
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta"])
    return optimizer


def _of_callable(config, rate):
    optimizer = config.OPTIMIZER(rate)
    wrappers = tuple(
        getattr(keras.optimizers, name)
        for name in ("LossScaleOptimizer", "MultiOptimizer")
        if hasattr(keras.optimizers, name)
    )
    if not isinstance(optimizer, keras.optimizers.Optimizer) or isinstance(optimizer, wrappers):
        raise TypeError(
            f"OPTIMIZER(learning_rate) gave {type(optimizer).__name__}; it must give one optimizer "
            "of "
            "Keras, without another one inside"
        )
    if optimizer.built:
        raise ValueError(
            "OPTIMIZER(learning_rate) gave an optimizer that is in use; every stage needs a new one"
        )
    optimizer.__class__ = over_devices(type(optimizer))
    return optimizer


def current_rate(optimizer, last=False):
    """The learning rate of the next batch, on any device and by any schedule, as a float.

    Args:
        last: the rate of the batch before, which a schedule gave it.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    schedule = inner._learning_rate
    if last and isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return float(
            keras.ops.convert_to_numpy(schedule(keras.ops.maximum(inner._iterations - 1, 0)))
        )
    return float(keras.ops.convert_to_numpy(inner.learning_rate))


def optimizer_state(optimizer):
    """name -> array of all variables of any Keras optimizer that is built.

    The names are Keras': "conv1_kernel_momentum" of the variable "conv1/kernel". Of equal ones,
    such as the "iteration" of the optimizer around another one, the second gets "#2".
    """
    return {name: variable.numpy() for name, variable in _named(optimizer)}


def restore_optimizer(optimizer, state, counters=True):
    """Give a built optimizer the values of an `optimizer_state`.

    What only one of the two has keeps its value, so that layers that begin to train begin without
    momentum.

    Args:
        counters: False leaves the number of steps, the learning rate and the gradients of an update
            that was not complete as they are.

    Returns:
        Number of variables that got a value.
    """
    restored = 0
    for name, variable in _named(optimizer):
        value = state.get(name)
        if value is None or value.shape != tuple(variable.shape):
            continue
        if counters or not (name.partition("#")[0] in COUNTERS or name.endswith(ACCUMULATOR)):
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
    inner = getattr(optimizer, "inner_optimizer", None)
    # the inner one's first: they have the same names with and without another optimizer around it
    variables = optimizer.variables if inner is None else [*inner.variables, *optimizer._variables]
    # Nadam has a variable without a name, which Keras then counts through the whole process
    return numbered(
        (re.sub(r"^variable_\d+$", "variable", variable.name), variable) for variable in variables
    )

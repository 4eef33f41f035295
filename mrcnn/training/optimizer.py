"""The optimizer: how it is made from the config, and its state by name."""

import re

import keras

# The variables of an optimizer that count the steps of a stage: a new stage begins them again.
COUNTERS = ("iteration", "learning_rate")


def make_optimizer(config, learning_rate, momentum, policy="float32"):
    """A new optimizer, as OPTIMIZER and the fields around it say.

    Args:
        config: a ``Config``.
        learning_rate: a number, or a Keras schedule of the batches.
        momentum: of OPTIMIZER "SGD". RMSprop, which Keras has without one, takes it from
            OPTIMIZER_OPTIONS.
        policy: name of the network's dtype policy. With "mixed_float16" the loss is scaled, so that
            small gradients do not become 0, and an update whose gradient is not finite is skipped.

    Returns:
        Optimizer of Keras, with GRADIENT_CLIP_NORM as its global_clipnorm. A decay of its own
        leaves gamma and beta alone, as WEIGHT_DECAY does.

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
    if policy == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _of_name(config, rate, momentum):
    name = config.OPTIMIZER
    if ":" in name:
        raise ValueError(
            f"OPTIMIZER is {name!r}, the name that a file of settings keeps of a callable; "
            "settings import no code: set OPTIMIZER to the callable itself"
        )
    if not hasattr(keras.optimizers, name):
        raise ValueError(
            f"OPTIMIZER is {name!r}, which Keras {keras.__version__} lacks: a later one is needed"
        )
    options = {**({"momentum": momentum} if name == "SGD" else {}), **config.OPTIMIZER_OPTIONS}
    try:
        optimizer = getattr(keras.optimizers, name)(rate, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"OPTIMIZER_OPTIONS is {config.OPTIMIZER_OPTIONS}, which keras.optimizers.{name} "
            f"refuses: {error}"
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
            "of Keras, without another one inside"
        )
    if optimizer.built:
        raise ValueError(
            "OPTIMIZER(learning_rate) gave an optimizer that is in use; every stage needs a new one"
        )
    if optimizer.gradient_accumulation_steps:
        raise ValueError(
            "OPTIMIZER(learning_rate) gave an optimizer with gradient_accumulation_steps = "
            f"{optimizer.gradient_accumulation_steps}: set GRADIENT_ACCUMULATION_STEPS instead, "
            "which the learning rate and checkpoints take into account"
        )
    if optimizer.use_ema:
        raise ValueError(
            "OPTIMIZER(learning_rate) gave an optimizer with use_ema: set EMA_MOMENTUM instead, "
            "whose averages validation and checkpoints show"
        )
    return optimizer


def optimizer_variables(optimizer):
    """name -> variable of all variables of any Keras optimizer that is built.

    The names are Keras': "conv1_kernel_momentum" of the variable "conv1/kernel". Of equal ones,
    such as the "iteration" of the optimizer around another one, the second gets "#2".
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    variables = optimizer.variables
    if inner is not None:
        # the inner one's first: they have the same names with and without another optimizer around
        known = {id(variable) for variable in inner.variables}
        own = [variable for variable in variables if id(variable) not in known]
        variables = [*inner.variables, *own]
    # Nadam has a variable without a name, which Keras then counts through the whole process
    return dict(
        numbered(
            (re.sub(r"^variable_\d+$", "variable", variable.name), variable)
            for variable in variables
        )
    )


def slots(optimizer):
    """The `optimizer_variables` that one stage hands on to the next: all but the counters of its
    steps.
    """
    return {
        name: variable
        for name, variable in optimizer_variables(optimizer).items()
        if name.partition("#")[0] not in COUNTERS
    }


def arrays(variables):
    """name -> array of the values of name -> variable."""
    return {name: variable.numpy() for name, variable in variables.items()}


def restore(variables, state):
    """Give variables the values of `arrays`.

    What only one of the two has keeps its value, so that layers that begin to train begin without
    momentum.

    Args:
        variables: name -> variable.
        state: name -> array.

    Returns:
        Number of variables that got a value.
    """
    fitting = [
        name
        for name, variable in variables.items()
        if name in state and state[name].shape == tuple(variable.shape)
    ]
    for name in fitting:
        variables[name].assign(state[name])
    return len(fitting)


def keep_slots(old, new, variables):
    """Build an optimizer, with the momentum that an earlier one of its class had for the same
    variables.

    Args:
        old: the earlier optimizer, or None. From one of another class nothing is taken: Adam's
            average of gradients has the name of SGD's momentum, which is in units of weights.
        new: the new optimizer.
        variables: those that are now to be trained.
    """
    new.build(variables)
    if old is not None and old.built and type(_innermost(old)) is type(_innermost(new)):
        restore(slots(new), arrays(slots(old)))


def _innermost(optimizer):
    return getattr(optimizer, "inner_optimizer", optimizer)


def numbered(pairs):
    """(name, value) pairs of which no two have the same name: the second "a" becomes "a#2"."""
    seen = {}
    for name, value in pairs:
        seen[name] = number = seen.get(name, 0) + 1
        yield name if number == 1 else f"{name}#{number}", value

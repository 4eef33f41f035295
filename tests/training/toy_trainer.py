"""A `TrainingModel` of four small variables, to update with gradients of one's own."""

import keras
import numpy as np

from mrcnn.networks.layers.weight_decay import add_weight_decay
from mrcnn.training.optimizer import make_optimizer
from mrcnn.training.step import TrainingModel

SHAPES = {"a/kernel": (3, 4), "a/bias": (4,), "bn/gamma": (4,), "bn/beta": (4,)}


def toy_trainer(config, policy="float32", make=make_optimizer, rate=0.1, decay=0.0):
    """A compiled model, the same each time.

    Args:
        config: a ``Config``, whose optimizer, accumulation and average it gets.
        policy, make, rate: policy and maker of the optimizer, and its learning rate; see
            `make_optimizer`.
        decay: WEIGHT_DECAY of kernel and bias.
    """
    image = keras.Input((3,))
    outputs = keras.layers.BatchNormalization(name="bn")(keras.layers.Dense(4, name="a")(image))
    model = TrainingModel(image, outputs)
    add_weight_decay(model, decay)
    rng = np.random.RandomState(0)
    for variable in model.trainable_variables:
        variable.assign(rng.randn(*variable.shape))
    model.compile(
        make(config, rate, 0.9, policy),
        accumulation=config.GRADIENT_ACCUMULATION_STEPS,
        average_momentum=config.EMA_MOMENTUM,
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def gradients(number, scale=10.0):
    """Gradients of a step: long enough to be clipped."""
    rng = np.random.RandomState(100 + number)
    return [
        keras.ops.convert_to_tensor(rng.randn(*shape) * scale, "float32")
        for shape in SHAPES.values()
    ]


def weights(model):
    """Arrays of the variables in training."""
    return [variable.numpy() for variable in model.trainable_variables]

"""Look inside a model: values of any layer for given images, and of the steps inside a layer."""

from collections import OrderedDict
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf


class Step(NamedTuple):
    """A value inside a layer: a token for `run` where a KerasTensor stands for a layer's output."""

    layer: str  # its name; the layer has a method ``steps``
    field: str  # of what ``steps`` returns


def check_inference_network(model, what):
    """Refuse a network without detections.

    Raises:
        ValueError: the keras.Model is not one of mode "inference".
    """
    if not any(layer.name == "mrcnn_detection" for layer in model.layers):
        raise ValueError(
            f"{what} needs a network of mode 'inference', which this one is not (detector() of a "
            "training model runs the training model's layers): make a MaskRCNN of mode 'inference' "
            "and load the weights into it"
        )


def run(model, inputs, outputs):
    """Compute tensors of a model.

    Args:
        model: a Keras model.
        inputs: list of arrays, in the order of the model's inputs.
        outputs: list of (name, KerasTensor or `Step`).

    Returns:
        OrderedDict of name -> array; the indices of a "nms_indices" step are those of the first
        image, without padding.

    Raises:
        ValueError: an output is None: it was looked up and not found.
    """
    missing = [name for name, tensor in outputs if tensor is None]
    if missing:
        raise ValueError(f"the outputs {missing} are None: no such tensor was found in the model")
    wanted = [tensor for _, tensor in outputs if not isinstance(tensor, Step)]
    for name in {tensor.layer for _, tensor in outputs if isinstance(tensor, Step)}:
        wanted.extend(model.get_layer(name).input)
    unique = list({id(tensor): tensor for tensor in wanted}.values())
    part = keras.Model(model.inputs, unique)
    inputs = [
        tf.convert_to_tensor(np.asarray(array), tensor.dtype)
        for array, tensor in zip(inputs, model.inputs)
    ]
    # Keras gives a list of one output as a tensor
    computed = dict(
        zip(map(id, unique), keras.tree.flatten(part(inputs, training=False)), strict=True)
    )

    values = OrderedDict()
    for name, tensor in outputs:
        if isinstance(tensor, Step):
            layer = model.get_layer(tensor.layer)
            value = getattr(
                layer.steps([computed[id(source)] for source in layer.input]), tensor.field
            ).numpy()
            values[name] = value[0][value[0] >= 0] if tensor.field == "nms_indices" else value
        else:
            values[name] = computed[id(tensor)].numpy()
    return values

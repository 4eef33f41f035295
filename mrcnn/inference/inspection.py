"""Look inside a model: values of any layer for given images, and the original's names for tensors.

The original found tensors by walking TensorFlow's graph. Keras 3 has no such graph to walk, so
`ancestor` gives a `Step` for the tensors inside a layer, and `run` knows how to compute it.
"""

import collections
import re

import keras
import numpy as np
import tensorflow as tf

from mrcnn.networks.mask_rcnn.detection_layer import DetectionLayer
from mrcnn.networks.mask_rcnn.detections import DetectionSteps
from mrcnn.networks.mask_rcnn.proposal_layer import ProposalLayer
from mrcnn.weights.load import layer_weights

# The steps inside a layer, by the name they have in `ancestor` and the field of what the layer's
# ``steps`` returns. Those of the proposal layer are what the original's notebooks ask for; the NMS
# kernel's name changed with TensorFlow's version.
_STEPS = {
    ProposalLayer: {
        r"pre_nms_anchors": "pre_nms_anchors",
        r"refined_anchors": "refined_anchors",
        r"refined_anchors_clipped": "refined_anchors_clipped",
        r"rpn_non_max_suppression(/NonMaxSuppression(V\d)?)?": "nms_indices",
    },
    DetectionLayer: {field: field for field in DetectionSteps._fields},
}


class Step(collections.namedtuple("Step", "layer field name")):
    """A value inside a layer: a token for `run`, in place of a tensor."""


def ancestor(model, tensor, name):
    """Find a tensor that another one is computed from, by the name it had in the original.

    Args:
        model: a Keras model.
        tensor: KerasTensor of the model to start from.
        name: such as "ROI/refined_anchors:0", "mrcnn_detection/refined_rois" or "res2c_out/Relu:0".

    Returns:
        `Step` for a value inside the proposal or the detection layer, the output of a layer of that
        name, or None where ``tensor`` does not depend on such a thing.
    """
    layer_name, _, inner = name.split(":")[0].partition("/")
    layer = next((layer for layer in model.layers if layer.name == layer_name), None)
    if layer is None or layer not in _layers_before(tensor):
        return None
    steps = next((known for kind, known in _STEPS.items() if isinstance(layer, kind)), None)
    if steps and inner:
        fields = [field for pattern, field in steps.items() if re.fullmatch(pattern, inner)]
        return Step(layer_name, fields[0], name) if fields else None
    return layer.output


def _layers_before(tensor):
    """The layers that a tensor depends on, its own included."""
    found, pending = set(), [tensor]
    while pending:
        operation, node_index, _ = pending.pop()._keras_history
        if operation not in found:
            found.add(operation)
            pending.extend(operation._inbound_nodes[node_index].input_tensors)
    return found


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
        ValueError: an output is None, as `ancestor` returns for what it does not find.
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

    values = collections.OrderedDict()
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


class LayerView:
    """A layer whose weights have the names of the original's files, such as "conv1/kernel:0".

    It passes for a layer of Keras' own class: a subclass of Conv2D made here reads "Conv2D".
    """

    def __init__(self, layer):
        object.__setattr__(self, "_layer", layer)

    @property  # type: ignore[misc]  # read-only: a view goes on as what it passes for
    def __class__(self):
        return next(cls for cls in type(self._layer).__mro__ if cls.__module__.startswith("keras"))

    @property
    def weights(self):
        """The variables, renamed."""
        return [WeightView(name, variable) for name, variable in layer_weights(self._layer)]

    def __getattr__(self, name):
        return getattr(self._layer, name)

    def __setattr__(self, name, value):
        setattr(self._layer, name, value)


class WeightView:
    """A variable under another name."""

    def __init__(self, name, variable):
        self.name = name
        self._variable = variable

    def __getattr__(self, name):
        return getattr(self._variable, name)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._variable, dtype)


class _IdentityOfKerasTensor(tf.__internal__.dispatch.OpDispatcher):
    """The inspection notebooks call tf.identity on a model's input, which Keras 3 refuses."""

    def handle(self, args, kwargs):
        tensor = args[0] if args else kwargs.get("input")
        return (
            keras.layers.Identity()(tensor)
            if isinstance(tensor, keras.KerasTensor)
            else self.NOT_SUPPORTED
        )


_IdentityOfKerasTensor().register(tf.identity)

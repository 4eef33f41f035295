"""The arithmetic of a Keras model: how many FLOP one run takes, layer by layer.

Counted are convolutions, transposed convolutions and dense layers, at 2 FLOP per
multiply-add; they are all but a percent of this network. The counts are made from the
layers and the shapes that really arise, the number of RoIs of the mask head included.
"""

import math
from collections import Counter
from typing import NamedTuple

import keras

# A layer belongs to the first stage whose prefix its name has; a nested backbone and the
# ResNets' own layers have none of these.
STAGES = {"FPN": ("fpn_",), "RPN": ("rpn_",), "mask head": ("mrcnn_mask",), "box head": ("mrcnn_",)}

DEPTHWISE = keras.layers.DepthwiseConv1D.__base__
CONVOLUTION = keras.layers.Conv2D.__base__
TRANSPOSED = keras.layers.Conv2DTranspose.__base__


class Work(NamedTuple):
    """FLOP by layer name: of the forward pass, and of the backward pass that training adds."""

    forward: Counter
    backward: Counter


def count(model, input_shapes, box_rois=0, mask_rois=0):
    """Count the FLOP of one run.

    Args:
        model: a functional keras.Model. Which of its weights are trainable decides on the
            backward pass: a layer whose kernel trains has the cost of its forward pass again
            for the kernel's gradient, and once more for its input's gradient if anything
            before it trains.
        input_shapes: the shape of every input, batch first, without None.
        box_rois, mask_rois: RoIs of the whole batch that the box head and the mask head run on; see
            `head_rois`.

    Returns:
        `Work`.

    Raises:
        ValueError: a layer has a kernel that this module cannot count.
    """
    work = Work(Counter(), Counter())
    tensors = [
        keras.KerasTensor(tuple(map(int, shape)), tensor.dtype)
        for shape, tensor in zip(input_shapes, model.inputs, strict=True)
    ]
    # layers whose batch axis is a number of RoIs, which no shape tells
    rows = {"roi_align_classifier": box_rois, "roi_align_mask": mask_rois}
    _walk(model, tensors, rows, work)
    return work


def head_rois(model, inputs):
    """RoIs of a batch that the box head runs on: by stored statistics all but repeated padding.

    Args:
        model: the training or inference model.
        inputs: its input arrays.
    """
    outputs = keras.tree.flatten(model.get_layer("roi_align_classifier").output)
    last = int(keras.Model(model.inputs, outputs[-1]).predict_on_batch(inputs).max())
    return last if len(outputs) == 3 else last + 1  # version 1.0.0 counted the places from 0


def stages(flop):
    """Sum a Counter of layers into {"backbone", "FPN", "RPN", "box head", "mask head"}."""
    sums = Counter({"backbone": 0})
    for name, value in flop.items():
        stage = next(
            (stage for stage, prefixes in STAGES.items() if name.startswith(prefixes)), "backbone"
        )
        sums[stage] += value
    return dict(sums)


def _walk(model, tensors, rows, work):
    """Trace the shapes of ``tensors`` through a model, adding to ``work``.

    A tensor carries ``needs_gradient`` when a trained weight comes before it.
    """

    def traced(operation):
        def run(*args, **kwargs):
            inputs = [
                tensor
                for tensor in keras.tree.flatten((args, kwargs))
                if isinstance(tensor, keras.KerasTensor)
            ]
            if isinstance(operation, keras.Model):
                return _walk(operation, inputs, rows, work)
            outputs = operation.compute_output_spec(*args, **kwargs)
            if operation.name in rows:
                first, *others = keras.tree.flatten(outputs)
                first = keras.KerasTensor((rows[operation.name], *first.shape[1:]), first.dtype)
                outputs = (first, *others) if others else first
            needs_gradient = any(getattr(tensor, "needs_gradient", False) for tensor in inputs)
            flop = layer_flop(operation, inputs, keras.tree.flatten(outputs)[0])
            if flop:
                work.forward[operation.name] += flop
                work.backward[operation.name] += flop * (
                    needs_gradient + operation.kernel.trainable
                )
            needs_gradient |= bool(getattr(operation, "trainable_variables", ()))
            for output in keras.tree.flatten(outputs):
                output.needs_gradient = needs_gradient
            return outputs

        return run

    return model._run_through_graph(tensors, operation_fn=traced)


def layer_flop(layer, inputs, output):
    """FLOP of one call of a layer; 0 for a layer without a kernel.

    Args:
        layer: a Keras layer or operation.
        inputs: its KerasTensors.
        output: the first of its results.
    """
    if not isinstance(layer, keras.layers.Layer):
        return 0
    if type(layer).__name__ == "MaskPrediction":
        # training and detection compute the own class of each row; the output has padding, the
        # input none; where masks come from vectors, each of their cells has a filter
        return 2 * math.prod(inputs[0].shape) * math.prod(getattr(layer, "size", None) or ())
    if isinstance(layer, TRANSPOSED):
        # every input cell meets every tap of the kernel
        return 2 * _cells(layer, inputs[0]) * math.prod(layer.kernel.shape)
    if isinstance(layer, (CONVOLUTION, DEPTHWISE)):
        return 2 * _cells(layer, output) * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Dense):
        return 2 * math.prod(output.shape[:-1]) * math.prod(layer.kernel.shape)
    if any(len(weight.shape) > 1 for weight in layer.trainable_weights):
        raise ValueError(
            f"layer {layer.name!r} is a {type(layer).__name__}, whose FLOP are not known here"
        )
    return 0


def _cells(layer, tensor):
    """Batch size times the spatial size of a feature map."""
    shape = tensor.shape
    cells = (shape[0], *(shape[2:] if layer.data_format == "channels_first" else shape[1:-1]))
    return math.prod(cells)

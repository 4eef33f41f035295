"""The inference model as one TensorFlow function."""

import contextlib
import threading

import keras
import tensorflow as tf

from mrcnn.networks.layers.folding import folded_normalization
from mrcnn.ops.packed_rows import real_rows, scatter_rows

# Held while a function is traced, which may happen in several threads.
_TRACING = threading.RLock()


def predict_function(keras_model, min_confidence=None, strategy=None, batch_size=None):
    """Trace what detection needs of the inference model, once for all image sizes.

    Args:
        keras_model: of `networks.mask_rcnn.build.inference_model`.
        min_confidence: least score of a detection, in place of the DETECTION_MIN_CONFIDENCE that
            the model was built with; None keeps that.
        strategy: the strategy that the model was made under: its devices of this machine share a
            batch; None: one device.
        batch_size: images of every batch; None allows any number. Of a single image the network
            does some convolutions in less time where it knows that there is one: see
            `networks.layers.convolution`.

    Returns:
        tf.function (image, image_meta, anchors) -> detections float32 [b, n, 6] and each one's mask
        of its own class, float32 [b, n, mask h, mask w].
    """
    operation, index, _ = keras_model.outputs[3]._keras_history
    mask_inputs = operation._inbound_nodes[index].input_tensors
    network = keras.Model(keras_model.inputs, [keras_model.outputs[0], *mask_inputs])
    devices = len(strategy.extended.worker_devices) if strategy is not None else 1
    signature = [
        tf.TensorSpec([batch_size, *tensor.shape[1:]], tensor.dtype)
        for tensor in keras_model.inputs
    ]

    @tf.function(input_signature=signature, autograph=False)
    def predict(*inputs):
        return run(*inputs) if devices == 1 else _shared(run, inputs, strategy, devices)

    def run(*inputs):
        with (
            _confidence(keras_model.get_layer("mrcnn_detection"), min_confidence),
            folded_normalization(),
        ):
            detections, features, rows = network(list(inputs), training=False)
        masks = operation.own_masks(features, rows, detections[..., 4])
        return detections, scatter_rows(masks, real_rows(rows), rows)

    return predict


def _shared(run, inputs, strategy, devices):
    """A function's outputs for a batch, a part of which each device works on; the last image fills
    up the parts.
    """
    batch = tf.shape(inputs[0])[0]
    each = (batch + devices - 1) // devices

    def part():
        device = tf.distribute.get_replica_context().replica_id_in_sync_group % devices
        rows = tf.minimum(device * each + tf.range(each), batch - 1)
        return run(*(tf.gather(tensor, rows) for tensor in inputs))

    return [
        tf.concat(strategy.experimental_local_results(output), axis=0)[:batch]
        for output in strategy.run(part)
    ]


@contextlib.contextmanager
def _confidence(layer, min_confidence):
    """Another least score of the detection layer, for what is traced meanwhile."""
    with _TRACING:
        before = dict(layer.settings)
        if min_confidence is not None:
            layer.settings["DETECTION_MIN_CONFIDENCE"] = min_confidence
        try:
            yield
        finally:
            layer.settings.update(before)

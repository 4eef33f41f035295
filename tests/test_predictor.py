"""The inference model as a function: each has its own least score, whichever threads make them."""

import threading
import time
import types

import tensorflow as tf

from mrcnn.predictor import predict_function


class Model:
    """As `predict_function` sees a model; its outputs are the least score that it was traced with."""

    inputs = [tf.TensorSpec([None, 2], tf.float32)]

    def __init__(self):
        self.layer = types.SimpleNamespace(settings={"DETECTION_MIN_CONFIDENCE": 0.7, "other": 1})

    def get_layer(self, name):
        return self.layer

    def __call__(self, inputs, training):
        time.sleep(0.2)  # so that the other threads come in between
        return [tf.constant(self.layer.settings["DETECTION_MIN_CONFIDENCE"])] * 4


def test_functions_traced_in_threads_at_once():
    model, found = Model(), {}

    def trace(min_confidence):
        found[min_confidence] = float(predict_function(model, min_confidence)(tf.zeros([1, 2]))[0])

    threads = [threading.Thread(target=trace, args=(value,)) for value in (0.125, None, 0.5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key: round(value, 6) for key, value in found.items()} == {0.125: 0.125, None: 0.7, 0.5: 0.5}
    assert model.layer.settings == {"DETECTION_MIN_CONFIDENCE": 0.7, "other": 1}

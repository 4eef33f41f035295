"""A network that labels pixels as one object: molded images in, probabilities out."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from mrcnn.distributed.strategy import split_batch


class Labeller:
    """The network from molded images to the probabilities of the classes.

    Called with tensors it is a function of TensorFlow that may stand inside another one. `predict`
    runs it on arrays, by one trace for a single image and one for any batch.

    Args:
        keras_model: of `networks.segmentation.build`, with or without losses, whose layers and
            weights it uses.
        strategy: the strategy that the model was made under, whose devices of this machine share a
            batch; None: one device.
    """

    def __init__(
        self, keras_model: keras.Model, strategy: tf.distribute.Strategy | None = None
    ) -> None:
        self.keras_model = keras_model
        self.network = keras.Model(keras_model.inputs[0], keras_model.get_layer("logits").output)
        self.strategy = strategy
        channels = keras_model.inputs[0].shape[-1]
        self._of_one, self._of_many = (
            tf.function(
                self._on_devices,
                input_signature=[tf.TensorSpec([batch, None, None, channels], tf.float32)],
                autograph=False,
            )
            for batch in (1, None)
        )

    def __call__(self, molded: tf.Tensor) -> tf.Tensor:
        """Probabilities float32 [b, h, w, K] of the classes for molded images [b, h, w, c]; of a
        network with one channel those of background and object.
        """
        logits = self.network(molded, training=False)
        if logits.shape[-1] > 1:
            return tf.nn.softmax(logits)
        return tf.concat([tf.sigmoid(-logits), tf.sigmoid(logits)], axis=-1)

    def predict(self, molded: np.ndarray) -> NDArray[np.float32]:
        """The same for arrays."""
        run = self._of_one if len(molded) == 1 and self.strategy is None else self._of_many
        return run(tf.constant(molded, tf.float32)).numpy()

    def _on_devices(self, molded):
        return split_batch(self.strategy, lambda batch: (self(batch),))(molded)[0]

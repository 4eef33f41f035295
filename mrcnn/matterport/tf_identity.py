"""``tf.identity`` of a model's input, which the original's notebooks call and Keras 3 refuses."""

import keras
import tensorflow as tf


class _IdentityOfKerasTensor(tf.__internal__.dispatch.OpDispatcher):
    """Asked by TensorFlow only after its own ``tf.identity`` has refused the arguments."""

    def handle(self, args, kwargs):
        tensor = args[0] if args else kwargs.get("input")
        return (
            keras.layers.Identity()(tensor)
            if isinstance(tensor, keras.KerasTensor)
            else self.NOT_SUPPORTED
        )


def take_keras_tensors() -> None:
    """Let ``tf.identity`` take a KerasTensor from now on, in the whole process."""
    _IdentityOfKerasTensor().register(tf.identity)

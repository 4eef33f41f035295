"""Training on several devices of one machine, by ``tf.distribute``."""

import contextlib

import keras
import tensorflow as tf

from mrcnn.layers.base import PACKAGE


def device_strategy(count):
    """What trains on ``count`` devices: a MirroredStrategy over the first GPUs, or CPUs where there is no GPU.

    Raises:
        ValueError: TensorFlow sees fewer devices.
    """
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if count > len(devices):
        raise ValueError(f"GPU_COUNT is {count}, but TensorFlow sees {len(devices)} {devices[0].device_type} device(s): "
                         f"set it to {len(devices)} or less, and IMAGES_PER_GPU to what one device's memory holds")
    return tf.distribute.MirroredStrategy([device.name for device in devices[:count]])


def scope(strategy):
    """The strategy's scope; for None, a scope that does nothing."""
    return strategy.scope() if strategy is not None else contextlib.nullcontext()


@keras.saving.register_keras_serializable(PACKAGE)
class SGD(keras.optimizers.SGD):
    """Keras' SGD, whose ``global_clipnorm`` on several devices is that of the summed gradient.

    Keras clips each device's own gradient before they are added up, so that training on two
    devices would differ from training on one with the same batch.
    """

    def _clip_gradients(self, gradients):
        context = tf.distribute.get_replica_context()
        devices = context.num_replicas_in_sync if context else 1
        if devices == 1:
            return super()._clip_gradients(gradients)
        summed = super()._clip_gradients(context.all_reduce(tf.distribute.ReduceOp.SUM, gradients))
        # Keras adds the devices' gradients once more
        return [gradient / devices for gradient in summed]

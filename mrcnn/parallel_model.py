"""ParallelModel: the original's model on several GPUs, by ``tf.distribute``.

``MaskRCNN`` does not need it: it trains on ``Config.GPU_COUNT`` devices by itself.
"""

import keras

from mrcnn.distributed.strategy import device_strategy


class ParallelModel:
    """A copy of a model whose variables are mirrored over several devices.

    ``fit`` splits each batch over them; loading and saving act on the one set of weights.
    Anything else that is asked of it is asked of the model.

    Args:
        keras_model: a built keras.Model.
        gpu_count: devices; the batch must be divisible by it.

    Raises:
        ValueError: TensorFlow sees fewer devices.
    """

    def __init__(self, keras_model, gpu_count):
        self.gpu_count = gpu_count
        self.strategy = device_strategy(gpu_count)
        self.inner_model = keras_model
        self.inner_model = self.make_parallel()

    def make_parallel(self):
        """The model's copy on the devices, with its weights."""
        with self.strategy.scope():
            mirrored = keras.models.clone_model(self.inner_model)
            mirrored.set_weights(self.inner_model.get_weights())
        return mirrored

    def compile(self, *args, **kwargs):
        """Keras' ``compile``, among the devices."""
        with self.strategy.scope():
            self.inner_model.compile(*args, **kwargs)

    def __getattr__(self, name):
        return getattr(self.inner_model, name)

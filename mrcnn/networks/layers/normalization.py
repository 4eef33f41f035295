"""Batch normalisation whose statistics can be frozen apart from its scale and shift."""

import keras
import tensorflow as tf

from mrcnn.distributed.reduce import mean_over_devices
from mrcnn.networks.layers.base import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class BatchNorm(keras.layers.BatchNormalization):
    """``BatchNormalization`` with ``Config.TRAIN_BN``'s meaning.

    Batches of two images are too few for statistics, so by default the stored ones are
    used in training too, and never updated, while gamma and beta still train.

    Args:
        train_bn: False uses the stored statistics always; True uses the batch's
            statistics always, at inference too; None follows Keras' training mode. A
            ``training`` given when a functional model is built means the same.
            As in Keras 2, and unlike Keras 3, a layer with ``trainable=False`` still
            normalises by the batch in training mode; it only keeps its stored statistics.

    The fused kernel is used throughout: Keras 3 would run a chain of element-wise
    operations at inference. With these a detection takes 3.8 -> 4.2 s and the first
    one 7.0 -> 10.2 s (ResNet-101 at 1024 px; AMD EPYC with AVX-512, 2 cores, at commit
    28596ff; no difference with ResNet-50 at 512 px).
    """

    def __init__(self, train_bn=None, **kwargs):
        super().__init__(**kwargs)
        self.train_bn = train_bn

    def __call__(self, inputs, training=None, **kwargs):
        # BatchNorm(...)(x, training=train_bn), as backbones of users call it. Keras would override
        # the recorded False in every training step.
        if training is not None and not self.built and isinstance(inputs, keras.KerasTensor):
            self.train_bn = training
        return super().__call__(inputs, training=training, **kwargs)

    def call(self, inputs, training=None, mask=None):
        # Keras' own graphs pass a mask; images have none
        del mask
        use_batch = training if self.train_bn is None else self.train_bn
        inputs = tf.cast(inputs, self.compute_dtype)
        arguments = dict(
            x=inputs,
            scale=tf.cast(self.gamma, tf.float32),
            offset=tf.cast(self.beta, tf.float32),
            epsilon=self.epsilon,
        )
        if not use_batch:
            return tf.raw_ops.FusedBatchNormV3(
                mean=tf.convert_to_tensor(self.moving_mean),
                variance=tf.convert_to_tensor(self.moving_variance),
                is_training=False,
                **arguments,
            )[0]
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            mean=tf.zeros([0]), variance=tf.zeros([0]), is_training=True, **arguments
        )
        if training and self.trainable:
            # of several devices all keep, and save, the same
            batches = mean_over_devices([mean, variance])
            for moving, batch in zip((self.moving_mean, self.moving_variance), batches):
                moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs

    def get_config(self):
        return {**super().get_config(), "train_bn": self.train_bn}

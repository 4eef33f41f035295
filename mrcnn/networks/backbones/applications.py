"""Any feature extractor of ``keras.applications`` as a backbone."""

import os
import sys

import keras
import numpy as np
import tensorflow as tf

from mrcnn.networks.layers.base import PACKAGE
from mrcnn.networks.layers.normalization import BatchNorm
from mrcnn.weights.load import save_h5

PROBE_SIZE = 256  # px; divisible by every stride that is looked for
STRIDES = (4, 8, 16, 32)


@keras.saving.register_keras_serializable(PACKAGE)
class ApplicationInput(keras.layers.Layer):
    """Molded images to what a network of ``keras.applications`` was trained on.

    Args:
        application: name of the class in ``keras.applications``.
        mean_pixel: MEAN_PIXEL, which molding subtracted.
    """

    def __init__(self, application, mean_pixel, **kwargs):
        super().__init__(**kwargs)
        self.application = application
        self.mean_pixel = [float(value) for value in mean_pixel]

    def call(self, images):
        preprocess = sys.modules[
            getattr(keras.applications, self.application).__module__
        ].preprocess_input
        return preprocess(images + tf.constant(self.mean_pixel, images.dtype))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "application": self.application,
            "mean_pixel": self.mean_pixel,
        }


def application_graph(input_image, config):
    """Build a network of ``keras.applications`` and tap the end of each of its stages.

    The network becomes one nested layer, named as Keras names it, whose BatchNormalization
    layers follow ``config.TRAIN_BN``. It is given RGB as it was trained with.

    Args:
        input_image: KerasTensor [b, h, w, 3], RGB minus MEAN_PIXEL.
        config: a ``Config`` whose BACKBONE names a class of ``keras.applications``.

    Returns:
        [C2, C3, C4, C5], of strides 4, 8, 16 and 32.

    Raises:
        ValueError: the images have not 3 channels, or the network lacks one of the strides.
    """
    name = config.BACKBONE
    if config.IMAGE_CHANNEL_COUNT != 3:
        raise ValueError(
            f"BACKBONE {name!r} takes images of 3 channels, IMAGE_CHANNEL_COUNT is "
            f"{config.IMAGE_CHANNEL_COUNT}; use 'resnet50', 'resnet101' or a callable"
        )
    features = build_features(name)

    def clone(layer):
        if isinstance(layer, keras.layers.BatchNormalization):
            return BatchNorm.from_config({**layer.get_config(), "train_bn": config.TRAIN_BN})
        return layer.__class__.from_config(layer.get_config())

    # the copy takes images of any size, and has its own normalisation layers
    features = keras.models.clone_model(features, keras.Input((None, None, 3)), clone)
    return list(
        features(
            ApplicationInput(name, np.broadcast_to(config.MEAN_PIXEL, 3), name="preprocessing")(
                input_image
            )
        )
    )


def build_features(name, weights=None):
    """A network of ``keras.applications`` cut off at [C2, C3, C4, C5], with its random or
    "imagenet" weights.
    """
    network = getattr(keras.applications, name)(
        include_top=False, weights=weights, input_shape=(PROBE_SIZE, PROBE_SIZE, 3)
    )
    return keras.Model(network.input, _last_of_each_stride(network), name=network.name)


def application_imagenet_weights(name, folder):
    """Path of a .h5 file with the ImageNet weights of a ``keras.applications`` backbone.

    Keras downloads its own file, and checks its hash, the first time.

    Raises:
        OSError: there is no network.
    """
    path = os.path.join(folder, f"mrcnn_{name.lower()}_imagenet.h5")
    if not os.path.exists(path):
        try:
            features = build_features(name, weights="imagenet")
        except Exception as error:  # Keras raises a plain Exception where a download fails
            raise OSError(f"the ImageNet weights of {name} could not be loaded: {error}") from error
        image = keras.Input((PROBE_SIZE, PROBE_SIZE, 3))
        os.makedirs(folder, exist_ok=True)
        save_h5(keras.Model(image, features(image)), path)
    return path


def _last_of_each_stride(network):
    found = {}
    for layer in network.layers:
        shape = getattr(layer.output, "shape", ())
        if len(shape) == 4 and shape[1]:
            found[PROBE_SIZE / shape[1]] = layer.output
    missing = [stride for stride in STRIDES if stride not in found]
    if missing:
        raise ValueError(
            f"BACKBONE {network.name!r} has no feature map of stride {missing}; it has "
            f"{sorted(found)}"
        )
    return [found[stride] for stride in STRIDES]

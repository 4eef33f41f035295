"""A Keras model that reads and writes weights in the original's .h5 layout."""

import os

import keras

from mrcnn.common.files import whole_file, write_whole
from mrcnn.common.keras_internals import weights_file
from mrcnn.networks.layers.base import PACKAGE
from mrcnn.weights.keras_file import whole_or_not
from mrcnn.weights.load import load_h5, save_h5


# under the name that it has in .keras files
@keras.saving.register_keras_serializable(PACKAGE, name="MaskRCNNModel")
class H5Model(keras.Model):
    """A functional model whose .h5 weights have the original's layout, which Keras 3 no longer
    writes.

    Attributes:
        rematerialized: what training calls in place of the model, or None for the model itself.
    """

    rematerialized = None

    def call(self, inputs, training=None, mask=None, **kwargs):
        if training and self.rematerialized is not None:
            return self.rematerialized(list(inputs), training)
        return super().call(inputs, training=training, mask=mask, **kwargs)

    def train_step(self, data):
        """A network by itself cannot be trained: the losses are outputs, which Keras ignores."""
        raise ValueError(
            "this network has no training step: train the keras_model of a MaskRCNN or Segmenter "
            "of mode 'training', or build it with training_model(config, "
            "mrcnn.training.step.TrainingModel)"
        )

    def save_weights(self, filepath, overwrite=True, **kwargs):
        """Keras' ``save_weights``; a name that ends in ".h5" but not in ".weights.h5" means the
        original's layout. A single file is written whole or not at all.
        """
        if _is_original_file(filepath):
            if os.path.exists(filepath) and not overwrite:
                raise FileExistsError(f"{filepath} exists, and overwrite is False")
            save_h5(self, filepath)
        elif _is_new_file(filepath, ".weights.h5", overwrite) and not kwargs:
            write_whole(filepath, weights_file(self).getbuffer())
        else:
            super().save_weights(filepath, overwrite=overwrite, **kwargs)

    def save(self, filepath, overwrite=True, **kwargs):
        """Keras' ``save``; a ".keras" file is written whole or not at all."""
        if _is_new_file(filepath, ".keras", overwrite) and not kwargs:
            with whole_file(filepath) as temporary:
                super().save(temporary)
        else:
            super().save(filepath, overwrite=overwrite, **kwargs)

    def load_weights(self, filepath, skip_mismatch=False, **kwargs):
        """Keras' ``load_weights``; a file in the original's layout is loaded by `weights.load_h5`,
        whole or by_name.

        An error, also of a file with NaN or infinite values, leaves the model as it was.
        """
        if skip_mismatch or not _is_original_file(filepath):
            with whole_or_not(self, filepath):
                return super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)
        return load_h5(self, filepath, **{"by_name": False, **kwargs})


def _is_new_file(filepath, ending, overwrite):
    """Whether it is the path of a file on this machine that may be written unasked."""
    path = os.fspath(filepath) if isinstance(filepath, (str, os.PathLike)) else ""
    is_local = path.endswith(ending) and "://" not in path
    return is_local and (overwrite or not os.path.exists(path))


def _is_original_file(filepath):
    return str(filepath).endswith(".h5") and not str(filepath).endswith(".weights.h5")

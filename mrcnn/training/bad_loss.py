"""What stops a training, and what it says of data that it could not use."""

import keras
import numpy as np


class TellWhatIsLeftOut(keras.callbacks.Callback):
    """Print at the end what of the data could not be used.

    Args:
        data: the `TrainingData` being trained on.
        validation: those of the validation data, or None.
    """

    def __init__(self, data, validation=None):
        super().__init__()
        self.training = data.batches
        self.validation = None if validation is None else validation.batches
        self.has_validated = False

    # Keras looks at a few batches before it begins

    def on_train_begin(self, logs=None):
        self.training.start_counting()

    def on_test_begin(self, logs=None):
        if self.validation is not None and not self.has_validated:
            self.validation.start_counting()
        self.has_validated = self.validation is not None

    def on_train_end(self, logs=None):
        sets = {
            "": self.training,
            **({"Of the validation data: ": self.validation} if self.has_validated else {}),
        }
        for whose, batches in sets.items():
            for sentence in batches.passed_over():
                print(f"{whose}{sentence}")
            if len(getattr(batches.dataset, "left_out", ())):
                print(
                    f"{whose}left out of {type(batches.dataset).__name__}: "
                    f"{batches.dataset.left_out}"
                )


class StopOnBadLoss(keras.callbacks.Callback):
    """Raise at the first loss, of training or validation, that is NaN or infinite.

    Weights that are not finite, or whose loss was not, are not saved. Those of an epoch are saved
    before its validation, so there are weights, but no state file, where that one went wrong.

    Args:
        data: the `TrainingData` being trained on, to name the images and what is on them.
        last_checkpoint: function that gives the path of the last whole checkpoint, or None.
    """

    def __init__(self, data, last_checkpoint=lambda: None):
        super().__init__()
        self.data = data
        self.last_checkpoint = last_checkpoint

    def on_train_batch_end(self, batch, logs=None):
        bad = _not_finite(logs)
        if bad:
            raise FloatingPointError(
                "\n".join(
                    [
                        f"{bad} in step {batch + 1} of epoch {self.data.epoch + 1}, on the images "
                        f"{self._ids(batch)}:",
                        *(
                            self._image(sample)
                            for number in self.data.numbers(batch)
                            for sample in self.data.batches.samples(number)
                        ),
                        "Lower LEARNING_RATE, and look at these images' "
                        f"{self.data.batches.annotations}. {self._what_is_kept()}",
                    ]
                )
            )
        if batch + 1 == self.data.steps:
            self._check_weights(self.data.epoch)

    def on_test_begin(self, logs=None):
        self._check_weights(self.data.epoch)

    def on_epoch_end(self, epoch, logs=None):
        self._check_weights(epoch)
        bad = _not_finite(logs)
        if bad:
            raise FloatingPointError(
                f"{bad} on the validation images after epoch {epoch + 1}. Lower LEARNING_RATE. "
                f"{self._what_is_kept()}"
            )

    def _check_weights(self, epoch):
        # the last step's loss was finite, but what it made of the weights has been in no loss yet
        bad = [
            variable.path
            for variable in self.model.weights
            if not np.isfinite(variable.numpy()).all()
        ]
        if bad:
            images = self._ids(self.data.steps - 1)
            raise FloatingPointError(
                f"The last step of epoch {epoch + 1}, on the images {images}, left NaN or infinite "
                f"values in {bad[:5]}. Lower LEARNING_RATE. {self._what_is_kept()}"
            )

    def _ids(self, step):
        batches = self.data.batches
        return [
            batches.dataset.image_info[image]["id"]
            for number in self.data.numbers(step)
            for image in batches.image_ids(number)
        ]

    def _image(self, sample):
        """A line for an image of the batch: its id and what the network was given of it."""
        batches = self.data.batches
        image_id = batches.dataset.image_info[sample.image_id]["id"]
        return f"  {image_id!r} with {batches.describe(sample)}"

    def _what_is_kept(self):
        path = self.last_checkpoint()
        return f"The last good checkpoint is {path}" if path else "There is no checkpoint yet"


def _not_finite(logs):
    return {name: float(value) for name, value in (logs or {}).items() if not np.isfinite(value)}

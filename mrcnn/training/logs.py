"""What a training tells while it runs: images per second, a table of all epochs, pictures."""

import csv
import importlib.util
import os
import time
import warnings

import keras
import numpy as np
import tensorflow as tf

from mrcnn.common.files import whole_file
from mrcnn.common.keras_internals import learning_rate
from mrcnn.data.drawing import write_picture
from mrcnn.data.load import describe_image


class ImagesPerSecond(keras.callbacks.Callback):
    """Put ``images_per_second`` of the epoch so far into the logs of each step, for the progress
    bar.

    Args:
        batch_size: images of a step.
    """

    def __init__(self, batch_size):
        super().__init__()
        self.batch_size = batch_size
        self.value = None  # of the last step; in images per second
        self._first = True

    def on_epoch_begin(self, epoch, logs=None):
        self._start, self._steps = time.perf_counter(), 0

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        self._steps += 1
        self.value = self._steps * self.batch_size / max(now - self._start, 1e-9)
        if self._first:  # it built the graph, which says nothing of the others
            self._first = False
            self._start, self._steps = now, 0
        if logs is not None:
            logs["images_per_second"] = self.value


class LossTable(keras.callbacks.Callback):
    """``losses.csv``: a line for each epoch of a run with all that is logged, and the learning
    rate.

    Columns that an epoch has no value for are empty, so that stages with and without validation
    line up. A run that goes on after a kill writes its epochs again, in place of the lines they
    had.

    Args:
        path: of the file.
        speed: `ImagesPerSecond`.
    """

    def __init__(self, path, speed):
        super().__init__()
        self.path = path
        self.speed = speed
        self.rows = []

    def on_train_begin(self, logs=None):
        if os.path.exists(self.path):
            with open(self.path, newline="", encoding="utf8") as file:
                self.rows = [
                    row for row in csv.DictReader(file) if (row.get("epoch") or "").isdigit()
                ]

    def on_epoch_begin(self, epoch, logs=None):
        self.rows = [row for row in self.rows if int(row["epoch"]) < epoch]

    def on_epoch_end(self, epoch, logs=None):
        rate = learning_rate(self.model.optimizer, updates_ago=1)
        self.rows.append(
            {
                "epoch": epoch,
                **(logs or {}),
                "learning_rate": rate,
                "images_per_second": self.speed.value,
            }
        )
        columns = list(dict.fromkeys(name for row in self.rows for name in row if name is not None))
        try:
            with (
                whole_file(self.path) as temporary,
                open(temporary, "w", newline="", encoding="utf8") as file,
            ):
                writer = csv.DictWriter(file, columns, extrasaction="ignore")
                writer.writeheader()
                writer.writerows(self.rows)
        except OSError as error:
            warnings.warn(
                f"{self.path} could not be written; training goes on: {error}", stacklevel=2
            )


class Pictures(keras.callbacks.Callback):
    """A few images with what the network finds beside the truth, every few epochs.

    They are written to ``<log_dir>/pictures/epoch_0007_<number>.png``, and into TensorBoard's log
    where that is installed.

    Args:
        detector: function that gives an object with ``picture`` as `MaskRCNN` has it.
        dataset: a prepared ``Dataset``.
        log_dir: of the run.
        is_due: function of the epoch, from 0.
        count: number of images; the same ones each time, spread over the set.
    """

    def __init__(self, detector, dataset, log_dir, is_due, count=3):
        super().__init__()
        self.detector, self.dataset, self.log_dir, self.is_due = detector, dataset, log_dir, is_due
        ids = dataset.image_ids
        self.image_ids = [
            ids[index] for index in np.unique(np.linspace(0, len(ids) - 1, count).astype(int))
        ]

    def on_epoch_end(self, epoch, logs=None):
        if not self.is_due(epoch):
            return
        pictures = []
        for image_id in self.image_ids:
            try:
                pictures.append(self.detector().picture(self.dataset, image_id))
            except (OSError, ValueError) as error:
                warnings.warn(
                    f"there is no picture of {describe_image(self.dataset, image_id)}; training "
                    f"goes on: {error}",
                    stacklevel=2,
                )
        folder = os.path.join(self.log_dir, "pictures")
        try:
            os.makedirs(folder, exist_ok=True)
            for number, picture in enumerate(pictures):
                write_picture(os.path.join(folder, f"epoch_{epoch + 1:04d}_{number}.png"), picture)
        except OSError as error:
            warnings.warn(
                f"the pictures of epoch {epoch + 1} could not be written; training goes on: "
                f"{error}",
                stacklevel=2,
            )
        if tensorboard_is_installed():
            with tf.summary.create_file_writer(os.path.join(self.log_dir, "pictures")).as_default(
                step=epoch
            ):
                for number, picture in enumerate(pictures):
                    tf.summary.image(f"found and truth {number}", picture[np.newaxis])


def tensorboard_is_installed():
    """Whether the package, which TensorFlow does not need, is there."""
    return importlib.util.find_spec("tensorboard") is not None

"""Labels and logits of a batch, as the losses need them."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from mrcnn.distributed.reduce import sum_over_devices


class Pixels:
    """The labels of a batch, or of a device's part of it, and a network's logits for them.

    Sums and means are over the pixels of the whole batch that are not void.

    Args:
        labels: int [b, h, w], as in `networks.segmentation.losses`.
        logits: float [b, h, w, K].
        void: label of the pixels that are ignored.

    Attributes:
        labels: int32 [b, h, w], 0 for void.
        valid: bool [b, h, w], False for void.
        logits: float32 [b, h, w, K].
        binary: whether there is one channel, object against background.
        classes: their number with background.
    """

    def __init__(self, labels: tf.Tensor, logits: tf.Tensor, void: int):
        labels = tf.cast(labels, tf.int32)
        channels = logits.shape[-1]
        self.logits = tf.cast(logits, tf.float32)
        self.binary = channels == 1
        self.classes = max(channels, 2)
        self.valid = labels != void
        labels = tf.where(self.valid, labels, 0)
        self.labels = tf.minimum(labels, 1) if self.binary else labels

    def entropy(self) -> tf.Tensor:
        """-ln of the probability of each pixel's label: float32 [b, h, w]."""
        if self.binary:
            truth = tf.cast(self.labels, tf.float32)
            return tf.nn.sigmoid_cross_entropy_with_logits(truth, self.logits[..., 0])
        return tf.nn.sparse_softmax_cross_entropy_with_logits(self.labels, self.logits)

    def found(self) -> tf.Tensor:
        """The most probable class of each pixel: int32 [b, h, w]."""
        if self.binary:
            return tf.cast(self.logits[..., 0] > 0, tf.int32)
        return tf.argmax(self.logits, axis=-1, output_type=tf.int32)

    def truth(self) -> tf.Tensor:
        """1 for the pixels of each class, otherwise 0: float32 [b, h, w, classes]."""
        return tf.one_hot(tf.where(self.valid, self.labels, -1), self.classes)

    def probabilities(self) -> tf.Tensor:
        """Those of each class: float32 [b, h, w, classes]."""
        if self.binary:
            return tf.sigmoid(tf.concat([-self.logits, self.logits], axis=-1))
        return tf.nn.softmax(self.logits)

    def errors(self, truth: tf.Tensor, p: tf.Tensor) -> tf.Tensor:
        """Probability less truth, 0 for void."""
        # By products Dice takes 59 ms of a thread, with its gradient, and by selections 117 (21
        # classes, 512 x 512 px, AVX-512, TensorFlow 2.21).
        return (p - truth) * tf.cast(self.valid, tf.float32)[..., tf.newaxis]

    def counts(self) -> tf.Tensor:
        """The number of pixels of each class: float32 [classes]."""
        numbers = tf.where(self.valid, self.labels, self.classes)
        counts = tf.math.bincount(numbers, minlength=self.classes, maxlength=self.classes)
        return sum_over_devices(tf.cast(counts, tf.float32))

    def mean(self, values: tf.Tensor) -> tf.Tensor:
        """The mean of values [b, h, w]."""
        total = tf.reduce_sum(tf.where(self.valid, values, 0.0))
        number = tf.reduce_sum(tf.cast(self.valid, tf.float32))
        return tf.math.divide_no_nan(*whole_sums(total, number))

    def mean_over_classes(self, values: tf.Tensor, counts: tf.Tensor, first: int = 0) -> tf.Tensor:
        """The mean of a value for each class over the classes that count, 0 where none does.

        They are those that have a pixel; where there is one channel all, if there is any pixel, so
        that false alarms in a batch without objects count.

        Args:
            values, counts: float32 [classes], the latter as from `counts`.
            first: 1 leaves out the background.
        """
        present = counts > 0
        if self.binary:
            present = tf.fill(tf.shape(counts), tf.reduce_any(present))
        present = tf.cast(present[first:], tf.float32)
        total = tf.reduce_sum(values[first:] * present)
        return tf.math.divide_no_nan(total, tf.reduce_sum(present))

    def factors(
        self, factors: float | Sequence[float], background: float, name: str
    ) -> list[float]:
        """A factor for each class.

        Args:
            factors: of each, or of all above 0.
            background: the factor of class 0, in the second case.
            name: of the option.

        Raises:
            ValueError: there are more or fewer of them than classes.
        """
        given = np.asarray(factors, np.float64)
        if given.ndim == 0:
            return [float(background), *[float(given)] * (self.classes - 1)]
        if len(given) != self.classes:
            raise ValueError(
                f"{name} has {len(given)} factors; there are {self.classes} classes with background"
            )
        return given.tolist()


def whole_sums(*sums: tf.Tensor) -> list[tf.Tensor]:
    """The sums of the whole batch, of those of a device's part of it; all of one shape."""
    return tf.unstack(sum_over_devices(tf.stack(sums)))

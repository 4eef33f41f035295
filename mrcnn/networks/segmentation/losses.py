"""The losses of networks that label pixels, each a scalar function of labels and logits.

The choice is that of Jadon's survey (2020, arXiv 2006.14822); its code has another sign or
direction in places, which the functions name.

All take

* ``labels``, int [b, h, w], the classes from 0, which is background, and ``void`` for pixels that
  are ignored;
* ``logits``, float [b, h, w, K]. One channel stands for object against background by a sigmoid,
  and every label above 0 is object. Several are a channel for each class by a softmax, and labels
  are below K;
* options, among them ``void``, 255 by default;

and return a float32 scalar, which is computed in float32 whatever the logits are. A mean over
pixels is over those that are not void. A mean over classes is over those above 0, and where there
are several over those that the batch's labels have. Either is over the whole batch, also where
several devices share it: each device then returns the loss of the whole batch
(`distributed.reduce.sum_over_devices`). Value and gradient are finite for finite logits, and 0
where every pixel is void.

In the formulas y is the label, p a probability, g 1 for the pixels of a class and otherwise 0, N
the number of pixels, f the share of a class in them, and a sum without index is over pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from mrcnn.config.label_losses import option_problems, unknown_loss
from mrcnn.networks.layers.base import PACKAGE
from mrcnn.networks.layers.loss import LossLayer
from mrcnn.networks.segmentation import distances
from mrcnn.networks.segmentation.pixels import Pixels, whole_sums

VOID = 255  # `data.labels.VOID`; label maps of 16 bits have 65535

# Added to what a root is taken of, whose gradient is infinite at 0.
ROOT_EPSILON = 1e-6


# === Losses of pixels ===


def ce(labels: tf.Tensor, logits: tf.Tensor, void: int = VOID) -> tf.Tensor:
    """Cross-entropy: -1/N sum ln p_y."""
    pixels = Pixels(labels, logits, void)
    return pixels.mean(pixels.entropy())


def weighted_ce(
    labels: tf.Tensor,
    logits: tf.Tensor,
    weights: float | str | Sequence[float] = 2.0,
    borders: tuple[float, float] | None = None,
    void: int = VOID,
) -> tf.Tensor:
    """Cross-entropy with a factor for each class: -1/N sum w_y ln p_y.

    It is divided by the number of pixels and not by the sum of factors, as `CLASS_WEIGHTS` are in
    Mask R-CNN.

    Args:
        weights: the factor of all classes above 0, where that of background is 1; or a list of one
            for each class, two where there is one channel; or "balanced", N / (K n_k) for a class
            of n_k pixels in the batch.
        borders: (w0, s) adds w0 exp(-(d1 + d2)^2 / (2 s^2)) to the factor of background pixels,
            where d1 and d2 are the distances to the two nearest objects, in pixels. U-Net
            (Ronneberger 2015) has (10, 5), to learn the gaps between cells. It takes a distance
            transform for each object (`distances.distances_to_two_objects`).
    """
    pixels = Pixels(labels, logits, void)
    if not isinstance(weights, str):
        factors = pixels.factors(weights, 1.0, "weights")
    elif weights == "balanced":
        counts = pixels.counts()
        factors = tf.math.divide_no_nan(tf.reduce_sum(counts) / pixels.classes, counts)
    else:
        raise ValueError(f"weights is {weights!r}; it must be 'balanced', a number or a list")
    factors = tf.gather(factors, pixels.labels)
    if borders is not None:
        highest, width = borders
        distance = distances.distances_to_two_objects(pixels.labels, pixels.valid)
        factors += highest * tf.exp(-(distance**2) / (2 * width**2))
    return pixels.mean(factors * pixels.entropy())


def balanced_ce(labels: tf.Tensor, logits: tf.Tensor, void: int = VOID) -> tf.Tensor:
    """Cross-entropy with the share of all other classes as factor: -1/N sum (1 - f_y) ln p_y.

    Holistically-nested edge detection (Xie and Tu 2015), with the shares of the batch. It is 0 for
    a batch of background.
    """
    pixels = Pixels(labels, logits, void)
    counts = pixels.counts()
    factors = 1.0 - tf.math.divide_no_nan(counts, tf.reduce_sum(counts))
    return pixels.mean(tf.gather(factors, pixels.labels) * pixels.entropy())


def focal(
    labels: tf.Tensor,
    logits: tf.Tensor,
    gamma: float = 2.0,
    alpha: float | Sequence[float] | None = None,
    void: int = VOID,
) -> tf.Tensor:
    """Cross-entropy in which pixels that are easy count less: -1/N sum a_y (1 - p_y)^gamma ln p_y.

    Lin et al. 2017, who divide by the number of objects and not by N.

    Args:
        gamma: at least 0, which gives the cross-entropy.
        alpha: the factor of all classes above 0, where that of background is 1 - alpha; or a list
            of one for each class. None: 0.25 where there is one channel, otherwise all are 1.
    """
    pixels = Pixels(labels, logits, void)
    if alpha is None:
        alpha = 0.25 if pixels.binary else [1.0] * pixels.classes
    background = 0.0 if isinstance(alpha, Sequence) else 1.0 - alpha
    factors = pixels.factors(alpha, background, "alpha")
    entropy = pixels.entropy()
    # 1 - p_y; a gamma below 1 has an infinite gradient at 0
    wrong = tf.maximum(-tf.math.expm1(-entropy), ROOT_EPSILON)
    return pixels.mean(tf.gather(factors, pixels.labels) * wrong**gamma * entropy)


def shape_aware(labels: tf.Tensor, logits: tf.Tensor, void: int = VOID) -> tf.Tensor:
    """Cross-entropy in which wrong pixels count more the farther they are from where they would be
    right: -1/N sum (1 + E) ln p_y.

    E is the distance in pixels to the nearest one of another class where a pixel's most probable
    class is wrong, and otherwise 0. After Al Arif et al. 2017, whose E is a mean distance of the
    outlines. It takes a distance transform for each class of each image
    (`distances.distances_to_other_class`).
    """
    # Jadon's table has -CE - E CE, which grows as the network gets better.
    pixels = Pixels(labels, logits, void)
    distance = distances.distances_to_other_class(pixels.labels, pixels.valid)
    distance = tf.where(pixels.found() == pixels.labels, 0.0, distance)
    return pixels.mean((1.0 + distance) * pixels.entropy())


# === Losses of regions ===


def dice(
    labels: tf.Tensor,
    logits: tf.Tensor,
    squared: bool = True,
    smooth: float = 0.0,
    void: int = VOID,
) -> tf.Tensor:
    """1 - Dice's coefficient: 1 - 2 sum p g / (sum p^2 + sum g^2), a mean over classes.

    V-Net (Milletari et al. 2016). A batch without objects teaches nothing (0), and neither does
    one in which every pixel is certain and wrong (1): add a cross-entropy.

    Args:
        squared: False takes sum p + sum g below the line, as Keras' ``Dice`` does.
        smooth: added above and below the line. 1, which is Jadon's, makes false alarms in a batch
            without objects count, where there is one channel.
    """
    pixels = Pixels(labels, logits, void)
    errors, overlaps = _overlaps(pixels, squared)
    losses = tf.math.divide_no_nan(errors, errors + overlaps + smooth)
    counts = pixels.counts()
    if not smooth:  # the coefficient of an absent class is 0, whatever is predicted
        losses = tf.where(counts > 0, losses, 0.0)
    return pixels.mean_over_classes(losses, counts, first=1)


def log_cosh_dice(labels: tf.Tensor, logits: tf.Tensor, **options: Any) -> tf.Tensor:
    """ln cosh of `dice`, whose options it has (Jadon 2020)."""
    # cosh x - 1 is exact for a small x, where cosh x is rounded to 1
    return tf.math.log1p(2.0 * tf.sinh(0.5 * dice(labels, logits, **options)) ** 2)


def sensitivity_specificity(
    labels: tf.Tensor, logits: tf.Tensor, r: float = 0.05, void: int = VOID
) -> tf.Tensor:
    """Squared errors of the pixels of a class, and of all others, each relative to their number:
    r sum (g - p)^2 g / sum g + (1 - r) sum (g - p)^2 (1 - g) / sum (1 - g), a mean over classes.

    Brosch et al. 2015.

    Args:
        r: the weight of sensitivity, from 0 to 1.
    """
    # Jadon's table has r sensitivity + (1 - r) specificity, which grows as the network gets better.
    pixels = Pixels(labels, logits, void)
    truth = pixels.truth()
    squares = pixels.errors(truth, pixels.probabilities()) ** 2
    missed, alarms = _class_sums(squares * truth), _class_sums(squares * (1.0 - truth))
    missed, alarms = whole_sums(missed, alarms)
    counts = pixels.counts()
    others = tf.reduce_sum(counts) - counts
    losses = r * tf.math.divide_no_nan(missed, counts)
    losses += (1.0 - r) * tf.math.divide_no_nan(alarms, others)
    return pixels.mean_over_classes(losses, counts, first=1)


def hausdorff(
    labels: tf.Tensor,
    logits: tf.Tensor,
    alpha: float = 2.0,
    two_sided: bool | None = None,
    void: int = VOID,
) -> tf.Tensor:
    """Squared errors times their distance to the outlines: 1/N sum (p - g)^2 (d_g^alpha +
    d_p^alpha), a mean over classes.

    Karimi and Salcudean 2019, an estimate of the Hausdorff distance. d_g and d_p are the distances
    in pixels to the border of the true mask and of the predicted one, p > 0.5; they are 0 for a
    mask of all pixels or none. Nothing is differentiated through them.

    The distances cost four transforms for each image and class, two of them for d_p
    (`distances.distances_to_border`): with images of 512 x 512 px 55 ms of CPU time each, which
    no GPU shortens.

    Args:
        alpha: the power of the distances.
        two_sided: False leaves d_p out. None: True where there are at most 4 classes.
    """
    pixels = Pixels(labels, logits, void)
    truth, p = pixels.truth(), pixels.probabilities()
    if two_sided is None:
        two_sided = pixels.classes <= 4
    distance = distances.distances_to_border(truth[..., 1:] > 0, pixels.valid) ** alpha
    if two_sided:
        distance += distances.distances_to_border(p[..., 1:] > 0.5, pixels.valid) ** alpha
    errors = pixels.errors(truth, p)[..., 1:]
    (sums,) = whole_sums(_class_sums(errors**2 * distance))
    counts = pixels.counts()
    losses = tf.math.divide_no_nan(sums, tf.reduce_sum(counts))
    return pixels.mean_over_classes(tf.concat([[0.0], losses], axis=0), counts, first=1)


# === Losses of both ===


def combo(
    labels: tf.Tensor, logits: tf.Tensor, a: float = 0.5, b: float = 0.5, void: int = VOID
) -> tf.Tensor:
    """a CE_b + (1 - a) (1 - Dice): cross-entropy with the factor b for objects and 1 - b for
    background, and `dice` of p, not squared, with smooth 1.

    Taghanaki et al. 2018, who have -Dice: the same but for a constant.
    """
    # Their published code multiplies both terms by b, because of a parenthesis.
    pixels = Pixels(labels, logits, void)
    factors = tf.gather(pixels.factors(b, 1.0 - b, "b"), pixels.labels)
    entropy = pixels.mean(factors * pixels.entropy())
    return a * entropy + (1.0 - a) * dice(labels, logits, squared=False, smooth=1.0, void=void)


def exp_log(
    labels: tf.Tensor,
    logits: tf.Tensor,
    dice_weight: float = 0.8,
    power: float = 0.3,
    void: int = VOID,
) -> tf.Tensor:
    """Powers of logarithms: dice_weight mean (-ln Dice_k)^power + (1 - dice_weight)/N sum w_y
    (-ln p_y)^power, with w_k = (1 / f_k)^0.5.

    Wong et al. 2018. Background counts as a class; Dice is that of p, not squared, with smooth 1.
    The gradient of such a power is infinite where the network is certain and right, so 1e-6 is
    added to what it is taken of. A perfect result therefore costs about 0.02.
    """
    # SegLossOdyssey's code has no power in the second term.
    pixels = Pixels(labels, logits, void)
    errors, overlaps = _overlaps(pixels, squared=False)
    counts = pixels.counts()
    # -ln ((overlaps + 1) / (errors + overlaps + 1))
    regions = (tf.math.log1p(errors / (overlaps + 1.0)) + ROOT_EPSILON) ** power
    regions = pixels.mean_over_classes(regions, counts)
    factors = tf.sqrt(tf.math.divide_no_nan(tf.reduce_sum(counts), counts))
    entropy = tf.gather(factors, pixels.labels) * (pixels.entropy() + ROOT_EPSILON) ** power
    return dice_weight * regions + (1.0 - dice_weight) * pixels.mean(entropy)


def _overlaps(pixels, squared):
    """Of each class, in the whole batch, two float32 [classes]: sum (p - g)^2 and 2 sum p g; not
    squared, sum |p - g| and 2 sum p g.

    Together they are what stands below Dice's line, and the first is that less what stands above:
    so neither 1 - Dice nor -ln Dice is a difference of nearly equal numbers.
    """
    truth, p = pixels.truth(), pixels.probabilities()
    errors = pixels.errors(truth, p)
    errors = errors**2 if squared else tf.abs(errors)
    return whole_sums(_class_sums(errors), 2.0 * _class_sums(p * truth))


def _class_sums(values):
    """Sums over pixels, [b, h, w, classes] to [classes].

    One axis after another: over all at once TensorFlow adds a million numbers one by one on a CPU,
    and four digits are left.
    """
    for _ in range(3):
        values = tf.reduce_sum(values, axis=-2)
    return values


LOSSES: dict[str, Callable[..., tf.Tensor]] = {
    function.__name__: function
    for function in (
        *(ce, weighted_ce, balanced_ce, focal, dice, sensitivity_specificity),
        *(log_cosh_dice, hausdorff, shape_aware, combo, exp_log),
    )
}


@keras.saving.register_keras_serializable(PACKAGE)
class LabelLoss(LossLayer):
    """Call arguments: [labels, logits], see the module; the output is a scalar.

    Args:
        weight: the factor of this term in the sum that is trained; the output is not multiplied.
        loss: a name of `LOSSES`, or a function of labels, logits and valid. For it the logits are
            float32, and valid, float32 [b, h, w], is 0 for void and otherwise 1. On several devices
            it sees the part of each: what is trained is the mean of its results. To be saved it
            must be registered in Keras, as custom losses must.
        options: dict of the named function's options besides void.
        void: label of the pixels that are ignored.

    Raises:
        ValueError: there is no such loss, or it does not have such an option.
    """

    def __init__(
        self,
        weight: float = 1.0,
        loss: str | Callable[..., tf.Tensor] = "ce",
        options: dict[str, Any] | None = None,
        void: int = VOID,
        **kwargs: Any,
    ):
        super().__init__(weight, **kwargs)
        self.loss = loss
        self.options = dict(options or {})
        self.void = void
        _check_options(loss, self.options)

    def function(self, labels, logits):
        if isinstance(self.loss, str):
            return LOSSES[self.loss](labels, logits, void=self.void, **self.options)
        labels, logits = tf.cast(labels, tf.int32), tf.cast(logits, tf.float32)
        valid = tf.cast(labels != self.void, tf.float32)
        return tf.cast(self.loss(labels, logits, valid, **self.options), tf.float32)

    def get_config(self):
        loss = self.loss
        return {
            **super().get_config(),
            "loss": loss if isinstance(loss, str) else keras.saving.serialize_keras_object(loss),
            "options": dict(self.options),
            "void": self.void,
        }

    @classmethod
    def from_config(cls, config):
        if not isinstance(config["loss"], str):
            config = {**config, "loss": keras.saving.deserialize_keras_object(config["loss"])}
        return cls(**config)


def _check_options(loss, options):
    if not isinstance(loss, str):
        return
    if loss not in LOSSES:
        raise ValueError(unknown_loss(loss))
    for problem in option_problems(loss, options):
        raise ValueError(problem)

"""The losses of label maps once more: the formulas in float64, by loops over classes and pixels."""

import numpy as np


class Material:
    """What the formulas are written in, of the pixels that are not void.

    Attributes:
        y: classes [n].
        p: probabilities [n, classes].
        classes: the classes of a mean over classes.
        images: for each image the class and the probabilities of its pixels by place.
    """

    def __init__(self, labels, logits, void):
        labels = np.asarray(labels, np.int64)
        logits = np.asarray(logits, np.float64)
        self.binary = logits.shape[-1] == 1
        if self.binary:
            labels = np.where(labels == void, void, labels != 0)
            logits = np.concatenate([0 * logits, logits], axis=-1)
        p = np.exp(logits - logits.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        self.count = p.shape[-1]
        self.y, self.p = labels[labels != void], p[labels != void]
        self.classes = [k for k in range(1, self.count) if self.binary or (self.y == k).any()]
        self.images = [
            {tuple(place): (label[tuple(place)], of[tuple(place)]) for place in places}
            for label, of in zip(labels, p, strict=True)
            for places in [np.argwhere(label != void)]
        ]

    def g(self, k):
        return (self.y == k) * 1.0

    def log_p(self):
        """Natural logarithms of the probabilities of the labels."""
        return np.log([of[k] for of, k in zip(self.p, self.y, strict=True)])

    def dice(self, k, squared, smooth):
        p, g = self.p[:, k], self.g(k)
        below = (p**2).sum() + (g**2).sum() if squared else p.sum() + g.sum()
        return (2 * (p * g).sum() + smooth) / (below + smooth + 1e-12)


def distance(place, places):
    """From a pixel to the nearest of others; 0 where there are none."""
    return min((np.hypot(place[0] - y, place[1] - x) for y, x in places), default=0.0)


def to_border(mask):
    """{place: distance to the nearest place with another value}."""
    return {
        place: distance(place, [other for other in mask if mask[other] != value])
        for place, value in mask.items()
    }


def ce(m):
    return -m.log_p().mean()


def weighted_ce(m, weights=2.0, borders=None):
    if isinstance(weights, str):
        sizes = [(m.y == k).sum() for k in range(m.count)]
        weights = [len(m.y) / (m.count * size) if size else np.nan for size in sizes]
    elif np.ndim(weights) == 0:
        weights = [1.0] + [weights] * (m.count - 1)
    return -(np.array([weights[k] for k in m.y]) * m.log_p()).mean()


def balanced_ce(m):
    shares = [(m.y == k).mean() for k in range(m.count)]
    return -(np.array([1 - shares[k] for k in m.y]) * m.log_p()).mean()


def focal(m, gamma=2.0, alpha=None):
    if alpha is None:
        alpha = [0.75, 0.25] if m.binary else [1.0] * m.count
    elif np.ndim(alpha) == 0:
        alpha = [1 - alpha] + [alpha] * (m.count - 1)
    p = np.exp(m.log_p())
    return -(np.array([alpha[k] for k in m.y]) * (1 - p) ** gamma * np.log(p)).mean()


def dice(m, squared=True, smooth=0.0):
    losses = [
        1 - m.dice(k, squared, smooth) if smooth or (m.y == k).any() else 0.0 for k in m.classes
    ]
    return np.mean(losses) if losses else 0.0


def log_cosh_dice(m, **options):
    return np.log(np.cosh(dice(m, **options)))


def sensitivity_specificity(m, r=0.05):
    losses = []
    for k in m.classes:
        g, squares = m.g(k), (m.g(k) - m.p[:, k]) ** 2
        inside = (squares * g).sum() / g.sum() if g.any() else 0.0
        outside = (squares * (1 - g)).sum() / (1 - g).sum() if (g == 0).any() else 0.0
        losses.append(r * inside + (1 - r) * outside)
    return np.mean(losses) if losses else 0.0


class Hausdorff:
    """With the distances to predicted outlines of the first logits that it is called with, for
    nothing is differentiated through them.
    """

    def __init__(self):
        self.distances = None

    def __call__(self, m, alpha=2.0, two_sided=None):
        if two_sided is None:
            two_sided = m.count <= 4
        if self.distances is None:
            self.distances = [
                {k: self.weights(image, k, alpha, two_sided) for k in m.classes}
                for image in m.images
            ]
        losses = [
            sum(
                (of[k] - (label == k)) ** 2 * weights[k][place]
                for image, weights in zip(m.images, self.distances, strict=True)
                for place, (label, of) in image.items()
            )
            / len(m.y)
            for k in m.classes
        ]
        return np.mean(losses) if losses else 0.0

    @staticmethod
    def weights(image, k, alpha, two_sided):
        true = to_border({place: label == k for place, (label, _) in image.items()})
        found = to_border({place: of[k] > 0.5 for place, (_, of) in image.items()})
        return {
            place: true[place] ** alpha + (found[place] ** alpha if two_sided else 0.0)
            for place in image
        }


def shape_aware(m):
    total = 0.0
    for image in m.images:
        far = to_border({place: label for place, (label, _) in image.items()})
        for place, (label, of) in image.items():
            total -= np.log(of[label]) * (1 + (of.argmax() != label) * far[place])
    return total / len(m.y)


def combo(m, a=0.5, b=0.5):
    entropy = -(np.where(m.y > 0, b, 1 - b) * m.log_p()).mean()
    losses = [1 - m.dice(k, squared=False, smooth=1.0) for k in m.classes]
    return a * entropy + (1 - a) * (np.mean(losses) if losses else 0.0)


def exp_log(m, dice_weight=0.8, power=0.3):
    classes = [k for k in range(m.count) if m.binary or (m.y == k).any()]
    regions = [(1e-6 - np.log(m.dice(k, False, 1.0))) ** power for k in classes]
    sizes = [(m.y == k).sum() for k in range(m.count)]
    weights = np.array([np.sqrt(len(m.y) / sizes[k]) for k in m.y])
    entropy = (weights * (1e-6 - m.log_p()) ** power).mean()
    return dice_weight * np.mean(regions) + (1 - dice_weight) * entropy


TWINS = {
    function.__name__: function
    for function in (
        *(ce, weighted_ce, balanced_ce, focal, dice, sensitivity_specificity, log_cosh_dice),
        *(shape_aware, combo, exp_log),
    )
}


def twin(name, labels, void=255, **options):
    """The loss as a function of logits alone."""
    function = Hausdorff() if name == "hausdorff" else TWINS[name]
    return lambda logits: function(Material(labels, logits, void), **options)


def slopes(function, logits, places, step=1e-6):
    """Central differences of a function of logits at some places."""
    found = []
    for place in places:
        values = []
        for sign in (1, -1):
            moved = np.array(logits, np.float64)
            moved[tuple(place)] += sign * step
            values.append(function(moved))
        found.append((values[0] - values[1]) / (2 * step))
    return np.array(found)

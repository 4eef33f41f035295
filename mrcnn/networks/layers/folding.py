"""Which batch normalisations a network does as a part of the convolution before them."""

import contextlib
import threading

_traced = threading.local()


@contextlib.contextmanager
def folded_normalization():
    """Meanwhile a `networks.layers.convolution.Conv2D` takes over the
    `networks.layers.normalization.BatchNorm` it was linked to.

    For the tracing of a whole network of which nothing but the end is asked for: what lies between
    two such layers is no longer the convolution's own result. In this thread alone.
    """
    _traced.folded = set()
    try:
        yield
    finally:
        del _traced.folded


def take_over(norm, training):
    """Whether a convolution may do a BatchNorm's work here; from then on that layer hands on what
    it gets.

    Not where the layer normalises by the batch.
    """
    folded = getattr(_traced, "folded", None)
    if folded is None or (training if norm.train_bn is None else norm.train_bn):
        return False
    folded.add(norm.name)
    return True


def is_taken_over(norm):
    return norm.name in getattr(_traced, "folded", ())

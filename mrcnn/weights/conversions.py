"""Layers of other sources and for other images: kernels and names as the original has them."""

from __future__ import annotations

import re

import numpy as np

from mrcnn.config.resnets import block_name
from mrcnn.weights.h5_format import Layers


def adapt_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """The kernel of a first convolution, for images of another number of channels.

    Fewer channels take the sums of the old ones, so grey gets that of red, green and blue; more
    channels take the old ones in turn and share their weight. Either way an image whose channels
    are all alike gives what it gave before.

    Args:
        kernel: [h, w, old channels, filters].
        channels: number of channels wanted.

    Returns:
        [h, w, channels, filters], same dtype.
    """
    old = kernel.shape[2]
    if channels < old:
        return np.stack(
            [kernel[:, :, first::channels].sum(axis=2) for first in range(channels)], axis=2
        )
    turns = np.arange(channels) % old
    shares = np.bincount(turns)[turns].astype(kernel.dtype)
    return kernel[:, :, turns] / shares[:, np.newaxis]


def rename_keras_resnet(layers: Layers) -> Layers:
    """Layer names of keras.applications' ResNet50/101/152 to the original's.

    conv1_conv -> conv1, conv1_bn -> bn_conv1; in stage s, block number 1, 2, ..
    becomes the letter a, b, ..: conv<s>_block<n>_<1|2|3>_conv -> res<s><n>_branch2<a|b|c>,
    the shortcut conv<s>_block<n>_0_conv -> res<s><n>_branch1, and *_bn -> bn...

    Args:
        layers: dict as of `read_h5`; other names stay as they are.

    Returns:
        dict in the same order with the same values.
    """
    branches = {"0": "branch1", "1": "branch2a", "2": "branch2b", "3": "branch2c"}
    fixed = {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}

    def rename(name):
        found = re.fullmatch(r"conv([2-5])_block(\d+)_([0-3])_(conv|bn)", name)
        if not found:
            return fixed.get(name, name)
        stage, block, branch, kind = found.groups()
        letters = block_name(int(block) - 1)
        return f"{'res' if kind == 'conv' else 'bn'}{stage}{letters}_{branches[branch]}"

    return {rename(name): weights for name, weights in layers.items()}

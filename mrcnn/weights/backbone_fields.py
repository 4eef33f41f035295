"""Which ResNet a file's layers are of."""

from __future__ import annotations

from typing import Any

from mrcnn.config.resnets import BLOCKS, block_name
from mrcnn.weights.h5_format import Layers


def resnet_fields(layers: Layers) -> dict[str, Any]:
    """BACKBONE of a file whose backbone has the original's layer names, and RESNEXT_GROUPS and
    RESNEXT_WIDTH where it is no plain ResNet.

    Args:
        layers: of `h5_format.read_h5`, those of a ResNet among them.
    """
    depth = next(
        (
            depth
            for depth, blocks in reversed(BLOCKS.items())
            if f"res4{block_name(blocks[2] - 1)}_branch2a" in layers
        ),
        "50",
    )
    middle, first = (_shape(layers, name) for name in ("res5a_branch2b", "conv1"))
    if len(middle) == 4 and len(first) == 4:
        width, groups = first[3], middle[3] // max(middle[2], 1)
        if groups > 1 or middle[3] != 8 * width:
            # a group of stage 5 has 8 times the channels of one of stage 2
            return {
                "BACKBONE": f"resnext{depth}",
                "RESNEXT_GROUPS": groups,
                "RESNEXT_WIDTH": max(middle[2] * 8 // width, 1),
            }
    return {"BACKBONE": f"resnet{depth}"}


def _shape(layers, name):
    return layers[name][0][1].shape if layers.get(name) else ()

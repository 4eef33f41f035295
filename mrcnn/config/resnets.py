"""The ResNets that BACKBONE chooses from, and how their blocks are called.

They stand here, where both the networks and the files of weights find them without importing Keras.
"""

from typing import TypeGuard

# Blocks of the stages 2 to 5 of each depth (He et al. 2015, table 1).
BLOCKS = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}
RESNETS = tuple(f"{kind}{depth}" for kind in ("resnet", "resnext") for depth in BLOCKS)


def is_resnext(name: object) -> TypeGuard[str]:
    """Whether a BACKBONE is a ResNeXt."""
    return name in RESNETS and str(name).startswith("resnext")


def blocks_of(name: str) -> tuple[int, ...]:
    """Blocks of the stages 2 to 5 of one of `RESNETS`."""
    return BLOCKS[name.removeprefix("resnet").removeprefix("resnext")]


def block_name(number: int) -> str:
    """What the original calls the block of a stage, counted from 0: "a" to "z"; and "aa", "ab" and
    so on, which the original needs not.
    """
    letter = chr(ord("a") + number % 26)
    return letter if number < 26 else block_name(number // 26 - 1) + letter


def group_width(width: int, resnext_width: int) -> int:
    """Channels of each group of a ResNeXt's convolutions.

    Args:
        width: filters that the 3x3 convolutions of a ResNet of this size have in the stage: 64 in
            stage 2 of the paper's.
        resnext_width: RESNEXT_WIDTH, the channels of a group where that is 64.
    """
    return max(width * resnext_width // 64, 1)

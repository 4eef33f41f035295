"""The rules of the fields of `SegmentationConfig`: those of `Config`, and its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mrcnn.config import rules, rules_of_several
from mrcnn.config.choices import SEGMENTATION_NETWORKS, UPSAMPLINGS
from mrcnn.config.label_losses import loss_terms, names_function, option_problems
from mrcnn.config.resnets import RESNETS
from mrcnn.config.rules import Rule
from mrcnn.config.rules_of_several import RuleOfSeveral
from mrcnn.config.value_kinds import (
    int_between,
    is_count,
    is_options,
    is_positive,
    is_share,
    is_switch,
    one_of,
    optional,
    several,
)

OVERLAPS = ("smaller", "last", "ignore")
CROWDS = ("ignore", "class")
PADDINGS = ("same", "valid")
# Networks whose encoder can be a BACKBONE, and those that read its last map alone or nearly so.
WITH_BACKBONE = ("fcn32s", "fcn16s", "fcn8s", "unet", "pspnet", "deeplab")
ATROUS = ("pspnet", "deeplab")


def _is_share_below_1(value):
    return is_share(value) and value < 1


TABLE = (
    *rules.TABLE,
    # Network
    Rule("NETWORK", one_of(SEGMENTATION_NETWORKS), f"one of {', '.join(SEGMENTATION_NETWORKS)}"),
    Rule("VGG_WIDTHS VGG_CONVOLUTIONS", several(is_count, 5), "5 positive ints, one a block"),
    Rule(
        "UNET_WIDTHS",
        lambda value: several(is_count)(value) and len(value) >= 2,
        "2 or more positive ints, one a level, such as (64, 128, 256, 512, 1024)",
    ),
    Rule("UNET_PADDING", one_of(PADDINGS), " or ".join(PADDINGS)),
    Rule("ATROUS_RATES PSP_BINS", several(is_count), "one or more positive ints"),
    Rule("ASPP_CHANNELS", is_count, "an int of at least 1"),
    Rule("FC_CHANNELS TILE", optional(is_count), "None or an int of at least 1"),
    Rule(
        "SKIP_SCALES",
        optional(several(is_positive, 2)),
        "None or 2 positive numbers, for pool4 and pool3, such as (0.01, 0.0001)",
    ),
    Rule("UPSAMPLING", optional(one_of(UPSAMPLINGS)), f"None or one of {', '.join(UPSAMPLINGS)}"),
    Rule("OUTPUT_STRIDE", lambda value: value in (8, 16, 32), "8, 16 or 32"),
    Rule("DROPOUT", optional(_is_share_below_1), "None or a number from 0 to below 1, such as 0.5"),
    Rule("BATCH_NORM LEARN_UPSAMPLING MERGE_SOURCES", is_switch, "True or False"),
    Rule("BATCH_NORM_MOMENTUM", _is_share_below_1, "a number from 0 to below 1, such as 0.9"),
    # Labels and losses
    Rule(
        "LOSS",
        lambda value: isinstance(value, str) or callable(value),
        "the name of a loss or a sum of names, such as 'ce+dice', or a function of yours",
    ),
    Rule("LOSS_OPTIONS", is_options, "a dict of names of losses and their arguments"),
    Rule("IGNORE_LABEL", int_between(1, 65535), "an int from 1 to 65535"),
    Rule("OVERLAP", one_of(OVERLAPS), f"one of {', '.join(OVERLAPS)}"),
    Rule("CROWDS", one_of(CROWDS), " or ".join(CROWDS)),
    Rule("BINARY", optional(is_switch), "None, True or False"),
    # Prediction
    Rule("TILE_OVERLAP", _is_share_below_1, "a number from 0 to below 1"),
)

_OF_CONFIG = dict(rules_of_several.RULES_OF_SEVERAL)


def _backbone(backbone, shape_of):
    if backbone is not None and not callable(backbone):
        yield from _OF_CONFIG["BACKBONE COMPUTE_BACKBONE_SHAPE"](backbone, shape_of)


def _max_dim(high, mode):
    """Any size: the network's input is padded to what it needs."""
    del high, mode
    return ()


def _min_dim(low, mode):
    if mode == "crop" and low:
        return ()
    return _OF_CONFIG["IMAGE_MIN_DIM IMAGE_RESIZE_MODE"](low, mode)


def _own_encoder(network, backbone):
    if backbone is not None and network not in WITH_BACKBONE:
        yield (
            f"BACKBONE is {backbone!r}, but NETWORK {network!r} has an encoder of its own: set "
            f"BACKBONE = None, or take one of {', '.join(WITH_BACKBONE)}"
        )


def _output_stride(stride, network, backbone):
    if stride == 32:
        return
    if network not in ATROUS:
        yield (
            f"OUTPUT_STRIDE is {stride}, but NETWORK is {network!r}; 8 and 16 are for "
            f"{' and '.join(ATROUS)}"
        )
    elif backbone not in RESNETS:
        yield (
            f"OUTPUT_STRIDE is {stride}, but BACKBONE is {backbone!r}; 8 and 16 need the dilated "
            f"convolutions of {' or '.join(map(repr, RESNETS))}"
        )


def _upsampling(how, network):
    if how is None:
        return
    if (how == "unpool") != (network == "segnet") or network == "plain":
        own = {"segnet": "unpool", "plain": "none"}.get(network, "any but unpool")
        yield f"UPSAMPLING is {how!r}, but NETWORK {network!r} can have {own}: set it to None"


def _unet_padding(padding, network, backbone):
    if network == "unet" and padding == "valid" and backbone is not None:
        yield (
            'UNET_PADDING is "valid", which is for U-Net\'s own encoder, but BACKBONE is '
            f"{backbone!r}: set one of them to its default"
        )


def _unet_widths(widths, network, backbone):
    if network == "unet" and backbone is not None and len(widths) < 4:
        yield (
            f"UNET_WIDTHS is {widths!r}, but with a BACKBONE the decoder has 4 levels: it must have"
            " at least 4 ints"
        )


def _loss(loss, options, count):
    if callable(loss) or names_function(loss):  # without the function labels are predicted too
        return
    try:
        names = [name for _, name in loss_terms(loss)]
    except ValueError as error:
        yield f"LOSS: {error}"
        return
    for name, own in options.items():
        if name not in names:
            yield f"LOSS_OPTIONS has {name!r}, which is no loss of LOSS = {loss!r}"
        else:
            # one channel tells two classes apart
            yield from (f"LOSS_OPTIONS: {why}" for why in option_problems(name, own, max(count, 2)))


def _ignore_label(label, count):
    if label < count:
        yield (
            f"IGNORE_LABEL is {label}, which is a class, as NUM_CLASSES is {count}; it must be at "
            "least NUM_CLASSES, such as 65535"
        )


def _binary(binary, count):
    if binary and count != 2:
        yield f"BINARY is True, but NUM_CLASSES is {count}; one channel tells 2 classes apart"


def _tiles_of_one_size(tile, scales):
    if tile and len(scales):
        yield (
            f"TEST_SCALES is {scales!r}, but TILE is {tile}, and tiles have the size that they have"
            " in the image: set one of them to its default"
        )


# In place of the rules of Config for the same fields, or beside them.
_OWN: dict[str, Callable[..., Iterable[str]]] = {
    "BACKBONE COMPUTE_BACKBONE_SHAPE": _backbone,
    "IMAGE_MAX_DIM IMAGE_RESIZE_MODE": _max_dim,
    "IMAGE_MIN_DIM IMAGE_RESIZE_MODE": _min_dim,
    "NETWORK BACKBONE": _own_encoder,
    "OUTPUT_STRIDE NETWORK BACKBONE": _output_stride,
    "UPSAMPLING NETWORK": _upsampling,
    "UNET_PADDING NETWORK BACKBONE": _unet_padding,
    "UNET_WIDTHS NETWORK BACKBONE": _unet_widths,
    "LOSS LOSS_OPTIONS NUM_CLASSES": _loss,
    "IGNORE_LABEL NUM_CLASSES": _ignore_label,
    "BINARY NUM_CLASSES": _binary,
    "TILE TEST_SCALES": _tiles_of_one_size,
}
RULES_OF_SEVERAL: tuple[RuleOfSeveral, ...] = tuple({**_OF_CONFIG, **_OWN}.items())

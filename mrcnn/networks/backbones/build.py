"""The backbone that a ``Config`` names."""

from mrcnn.config.resnets import RESNETS
from mrcnn.networks.backbones.applications import application_graph
from mrcnn.networks.backbones.resnet import resnet_graph


def backbone_graph(input_image, config, output_stride=32):
    """Build the backbone that ``config.BACKBONE`` names.

    Args:
        input_image: KerasTensor [b, h, w, c], RGB minus MEAN_PIXEL; h and w divisible by the
            strides of what is built on the maps: 64 for the pyramid, 32 for C5 alone.
        config: a ``Config``.
        output_stride: 16 or 8 for a ResNet whose last stages are dilated, see `resnet_graph`.

    Returns:
        [C2, C3, C4, C5], of strides 4, 8, 16 and 32, but none above output_stride.

    Raises:
        ValueError: an output_stride that the backbone cannot have.
    """
    if not callable(config.BACKBONE) and config.BACKBONE in RESNETS:
        return resnet_graph(
            input_image,
            config.BACKBONE,
            stage5=True,
            train_bn=config.TRAIN_BN,
            width=config.BACKBONE_WIDTH,
            output_stride=output_stride,
            stride_in_3x3=config.STRIDE_IN_3X3,
            groups=config.RESNEXT_GROUPS,
            width_of_group=config.RESNEXT_WIDTH,
        )[1:]
    if output_stride != 32:
        raise ValueError(
            f"BACKBONE {config.BACKBONE!r} has the stride 32; an output_stride of {output_stride} "
            f"needs the dilated convolutions of {' or '.join(map(repr, RESNETS))}"
        )
    if callable(config.BACKBONE):
        return list(config.BACKBONE(input_image, stage5=True, train_bn=config.TRAIN_BN))[1:]
    return application_graph(input_image, config)

"""The backbone that a ``Config`` names."""

from mrcnn.networks.backbones.applications import application_graph
from mrcnn.networks.backbones.resnet import BLOCKS_OF_STAGE_4, resnet_graph


def backbone_graph(input_image, config):
    """Build the backbone that ``config.BACKBONE`` names.

    Args:
        input_image: KerasTensor [b, h, w, c], RGB minus MEAN_PIXEL; h and w divisible by 64.
        config: a ``Config``.

    Returns:
        [C2, C3, C4, C5], of strides 4, 8, 16 and 32.
    """
    if callable(config.BACKBONE):
        return list(config.BACKBONE(input_image, stage5=True, train_bn=config.TRAIN_BN))[1:]
    if config.BACKBONE in BLOCKS_OF_STAGE_4:
        return resnet_graph(
            input_image,
            config.BACKBONE,
            stage5=True,
            train_bn=config.TRAIN_BN,
            width=config.BACKBONE_WIDTH,
        )[1:]
    return application_graph(input_image, config)

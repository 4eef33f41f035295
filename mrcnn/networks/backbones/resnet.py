"""ResNet-50 and ResNet-101 (He et al. 2015) under the layer names of the published weights."""

import keras

from mrcnn.networks.layers.compute_after import ComputeAfter
from mrcnn.networks.layers.normalization import BatchNorm

BLOCKS_OF_STAGE_4 = {"resnet50": 5, "resnet101": 22}
# Dilation of the 3x3 convolutions of stages 4 and 5 for each stride of the last map.
DILATIONS = {32: (1, 1), 16: (1, 2), 8: (2, 4)}


def resnet_graph(
    input_image, architecture, stage5=False, train_bn=True, width=64, output_stride=32
):
    """ResNet v1 with the stride of a stage on its first 1x1 convolution.

    Args:
        input_image: KerasTensor [b, h, w, c].
        architecture: "resnet50" or "resnet101".
        stage5: whether to build the last stage.
        train_bn: see `networks.layers.normalization.BatchNorm`.
        width: filters of the first convolution, 64 in the paper; all stages follow it.
        output_stride: 16 or 8 dilates stage 5, or stages 4 and 5, instead of halving the map: the
            same weights give the same values at the places that the strides keep, and those between
            too (Chen et al. 2017, "Rethinking Atrous Convolution", section 3.1).

    Returns:
        [C1, C2, C3, C4, C5] of strides 2 (after pooling 4), 4, 8, 16 and 32, but none above
        output_stride; C5 is None without stage5.

    Raises:
        ValueError: for an unknown architecture or output_stride.
    """
    if architecture not in BLOCKS_OF_STAGE_4:
        raise ValueError(
            f"architecture {architecture!r} is unknown; use one of {sorted(BLOCKS_OF_STAGE_4)}"
        )
    if output_stride not in DILATIONS:
        raise ValueError(f"output_stride is {output_stride}; it must be 8, 16 or 32")
    dilation_4, dilation_5 = DILATIONS[output_stride]
    x = keras.layers.ZeroPadding2D((3, 3))(input_image)
    x = keras.layers.Conv2D(width, (7, 7), strides=(2, 2), name="conv1")(x)
    x = BatchNorm(train_bn, name="bn_conv1")(x)
    x = keras.layers.Activation("relu")(x)
    c1 = x = keras.layers.MaxPooling2D((3, 3), strides=(2, 2), padding="same")(x)
    c2 = _stage(x, 2, "abc", width, (1, 1), train_bn)
    c3 = _stage(c2, 3, "abcd", 2 * width, (2, 2), train_bn)
    letters = [chr(ord("a") + block) for block in range(BLOCKS_OF_STAGE_4[architecture] + 1)]
    c4 = _stage(c3, 4, letters, 4 * width, _strides(dilation_4), train_bn, dilation_4)
    c5 = None
    if stage5:
        strides = _strides(dilation_5)
        c5 = _stage(c4, 5, "abc", 8 * width, strides, train_bn, dilation_5)
    return [c1, c2, c3, c4, c5]


def _strides(dilation):
    """Of a stage: it is dilated instead of halving the map."""
    return (2, 2) if dilation == 1 else (1, 1)


def _stage(x, stage, blocks, width, strides, train_bn, dilation=1):
    filters = [width, width, 4 * width]
    options = {"train_bn": train_bn, "dilation": dilation}
    x = conv_block(x, 3, filters, stage, blocks[0], strides=strides, **options)
    for block in blocks[1:]:
        x = identity_block(x, 3, filters, stage, block, **options)
    return x


def identity_block(
    input_tensor,
    kernel_size,
    filters,
    stage,
    block,
    use_bias=True,
    train_bn=True,
    dilation=1,
):
    """A bottleneck whose shortcut is the identity.

    Args:
        input_tensor: KerasTensor [b, h, w, filters[2]].
        kernel_size: of the middle convolution.
        filters: three counts, of the 1x1, the middle and the last 1x1 convolution.
        stage, block: 2..5 and "a".., for the names "res2b_branch2a", "bn2b_branch2a", "res2b_out".
        use_bias: whether the convolutions have a bias.
        train_bn: see `networks.layers.normalization.BatchNorm`.
        dilation: of the middle convolution: its weights are so many cells apart.
    """
    x = _branch2(
        input_tensor, kernel_size, filters, stage, block, (1, 1), use_bias, train_bn, dilation
    )
    return _sum(x, input_tensor, stage, block)


def conv_block(
    input_tensor,
    kernel_size,
    filters,
    stage,
    block,
    strides=(2, 2),
    use_bias=True,
    train_bn=True,
    dilation=1,
):
    """A bottleneck whose shortcut is a 1x1 convolution; arguments as in `identity_block`."""
    x = _branch2(
        input_tensor, kernel_size, filters, stage, block, strides, use_bias, train_bn, dilation
    )
    # batches of two at 1024 px need 11 % less memory so (ResNet-101, AVX-512, after ae36c90)
    input_tensor = ComputeAfter()([input_tensor, x])
    shortcut = keras.layers.Conv2D(
        filters[2],
        (1, 1),
        strides=strides,
        use_bias=use_bias,
        name=f"res{stage}{block}_branch1",
    )(input_tensor)
    shortcut = BatchNorm(train_bn, name=f"bn{stage}{block}_branch1")(shortcut)
    return _sum(x, shortcut, stage, block)


def _branch2(x, kernel_size, filters, stage, block, strides, use_bias, train_bn, dilation):
    def convolved(x, part, *args, **kwargs):
        name = f"{stage}{block}_branch2{part}"
        x = keras.layers.Conv2D(*args, use_bias=use_bias, name="res" + name, **kwargs)(x)
        return BatchNorm(train_bn, name="bn" + name)(x)

    x = keras.layers.Activation("relu")(convolved(x, "a", filters[0], (1, 1), strides=strides))
    x = convolved(x, "b", filters[1], kernel_size, padding="same", dilation_rate=dilation)
    x = keras.layers.Activation("relu")(x)
    return convolved(x, "c", filters[2], (1, 1))


def _sum(x, shortcut, stage, block):
    x = keras.layers.Add()([x, shortcut])
    return keras.layers.Activation("relu", name=f"res{stage}{block}_out")(x)

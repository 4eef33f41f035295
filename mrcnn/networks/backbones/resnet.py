"""ResNets (He et al. 2015) and ResNeXts (Xie et al. 2017) under the layer names of the published
weights.
"""

import keras

from mrcnn.config.resnets import RESNETS, block_name, blocks_of, group_width, is_resnext
from mrcnn.networks.layers.compute_after import ComputeAfter
from mrcnn.networks.layers.grouped_convolution import GroupedConv2D
from mrcnn.networks.layers.normalization import BatchNorm

# Dilation of the 3x3 convolutions of stages 4 and 5 for each stride of the last map.
DILATIONS = {32: (1, 1), 16: (1, 2), 8: (2, 4)}


def resnet_graph(
    input_image,
    architecture,
    stage5=False,
    train_bn=True,
    width=64,
    output_stride=32,
    stride_in_3x3=False,
    groups=32,
    width_of_group=4,
):
    """ResNet v1, by default with the stride of a stage on its first 1x1 convolution.

    A ResNeXt has it on the 3x3 one, as in its paper; it differs from the ResNet of its depth only
    in these 3x3 convolutions, which are in groups, and in their width.

    Args:
        input_image: KerasTensor [b, h, w, c].
        architecture: one of `config.resnets.RESNETS`.
        stage5: whether to build the last stage.
        train_bn: see `networks.layers.normalization.BatchNorm`.
        width: filters of the first convolution, 64 in the paper; all stages follow it.
        output_stride: 16 or 8 dilates stage 5, or stages 4 and 5, instead of halving the map: the
            same weights give the same values at the places that the strides keep, and those between
            too (Chen et al. 2017, "Rethinking Atrous Convolution", section 3.1).
        stride_in_3x3: "ResNet v1.5": the stride of a stage is on its first 3x3 convolution. That
            convolution and the pooling after conv1 are padded by one cell on all sides, where
            padding "same" puts none above and on the left. Names and weights stay the same.
            A ResNeXt always has it.
        groups, width_of_group: of a ResNeXt, RESNEXT_GROUPS and RESNEXT_WIDTH.

    Returns:
        [C1, C2, C3, C4, C5] of strides 2 (after pooling 4), 4, 8, 16 and 32, but none above
        output_stride; C5 is None without stage5.

    Raises:
        ValueError: for an unknown architecture or output_stride.
    """
    if architecture not in RESNETS:
        raise ValueError(f"architecture {architecture!r} is unknown; use one of {sorted(RESNETS)}")
    if output_stride not in DILATIONS:
        raise ValueError(f"output_stride is {output_stride}; it must be 8, 16 or 32")
    dilation_4, dilation_5 = DILATIONS[output_stride]
    x = keras.layers.ZeroPadding2D((3, 3))(input_image)
    x = keras.layers.Conv2D(width, (7, 7), strides=(2, 2), name="conv1")(x)
    x = BatchNorm(train_bn, name="bn_conv1")(x)
    x = keras.layers.Activation("relu")(x)
    padding = "same"
    stride_in_3x3 = stride_in_3x3 or is_resnext(architecture)
    if stride_in_3x3:
        # zeros are as good as any padding of a maximum: after the ReLU no value is below
        x, padding = keras.layers.ZeroPadding2D((1, 1))(x), "valid"
    c1 = x = keras.layers.MaxPooling2D((3, 3), strides=(2, 2), padding=padding)(x)
    options = {"train_bn": train_bn, "stride_in_3x3": stride_in_3x3}
    if is_resnext(architecture):
        options |= {"groups": groups, "width_of_group": width_of_group}
    stages = [[block_name(number) for number in range(count)] for count in blocks_of(architecture)]
    c2 = _stage(x, 2, stages[0], width, stride=1, **options)
    c3 = _stage(c2, 3, stages[1], 2 * width, stride=2, **options)
    c4 = _stage(c3, 4, stages[2], 4 * width, 2, dilation_4, 1, **options)
    c5 = None
    if stage5:
        c5 = _stage(c4, 5, stages[3], 8 * width, 2, dilation_5, dilation_4, **options)
    return [c1, c2, c3, c4, c5]


def _stage(
    x,
    stage,
    blocks,
    width,
    stride,
    dilation=1,
    dilation_before=1,
    *,
    train_bn,
    stride_in_3x3,
    groups=1,
    width_of_group=None,
):
    """One stage; it is dilated instead of halving the map.

    Args:
        x: KerasTensor, what the stage before gives.
        stage, blocks, width: its number, the letters of its blocks and the filters of their 3x3
            convolutions.
        stride: of the stage where dilation is 1.
        dilation, dilation_before: of the 3x3 convolutions of this stage, and of the stage before.
        groups, width_of_group: of a ResNeXt.
    """
    inner = width
    if width_of_group is not None:
        inner = groups * group_width(width, width_of_group)
    filters = [inner, inner, 4 * width]
    x = conv_block(
        x,
        3,
        filters,
        stage,
        blocks[0],
        strides=(stride, stride) if dilation == 1 else (1, 1),
        train_bn=train_bn,
        # a convolution that has the stride still sees the cells of the stage before
        dilation=dilation_before if stride_in_3x3 else dilation,
        stride_in_3x3=stride_in_3x3,
        groups=groups,
    )
    for block in blocks[1:]:
        x = identity_block(
            x, 3, filters, stage, block, train_bn=train_bn, dilation=dilation, groups=groups
        )
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
    groups=1,
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
        groups: of its channels, each of which sees its own part of the input.
    """
    x = _branch2(
        input_tensor,
        kernel_size,
        filters,
        stage,
        block,
        (1, 1),
        use_bias,
        train_bn,
        dilation,
        groups=groups,
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
    stride_in_3x3=False,
    groups=1,
):
    """A bottleneck whose shortcut is a 1x1 convolution; arguments as in `identity_block`.

    Args:
        strides: of the shortcut and of the first 1x1 convolution; or, with ``stride_in_3x3``, of
            the middle one.
    """
    x = _branch2(
        input_tensor,
        kernel_size,
        filters,
        stage,
        block,
        strides,
        use_bias,
        train_bn,
        dilation,
        stride_in_3x3,
        groups,
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


def _branch2(
    x,
    kernel_size,
    filters,
    stage,
    block,
    strides,
    use_bias,
    train_bn,
    dilation,
    stride_in_3x3=False,
    groups=1,
):
    def convolved(x, part, *args, **kwargs):
        name = f"{stage}{block}_branch2{part}"
        layer = GroupedConv2D if kwargs.get("groups", 1) > 1 else keras.layers.Conv2D
        x = layer(*args, use_bias=use_bias, name="res" + name, **kwargs)(x)
        return BatchNorm(train_bn, name="bn" + name)(x)

    outer, middle = (1, strides) if stride_in_3x3 else (strides, 1)
    x = keras.layers.Activation("relu")(convolved(x, "a", filters[0], (1, 1), strides=outer))
    padding = "same"
    if middle not in (1, (1, 1)):
        # "same" would put nothing above and on the left of a map of even sides
        x, padding = keras.layers.ZeroPadding2D(kernel_size // 2)(x), "valid"
    x = convolved(
        x,
        "b",
        filters[1],
        kernel_size,
        strides=middle,
        padding=padding,
        dilation_rate=dilation,
        groups=groups,
    )
    x = keras.layers.Activation("relu")(x)
    return convolved(x, "c", filters[2], (1, 1))


def _sum(x, shortcut, stage, block):
    x = keras.layers.Add()([x, shortcut])
    return keras.layers.Activation("relu", name=f"res{stage}{block}_out")(x)

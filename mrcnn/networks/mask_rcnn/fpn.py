"""Feature pyramid network (Lin et al. 2017)."""

import keras


def fpn_graph(stages, channels, strides=None):
    """Merge the backbone's stages from the top down.

    Args:
        stages: [C2, C3, C4, C5].
        channels: of every level of the pyramid.
        strides: of C2 to C5, each the one before or twice that; None: 4, 8, 16 and 32.

    Returns:
        [P2, P3, P4, P5, P6]; P6 has half the cells of P5 along each side.
    """
    strides = strides or (4, 8, 16, 32)
    c2, c3, c4, c5 = stages
    p5 = keras.layers.Conv2D(channels, (1, 1), name="fpn_c5p5")(c5)
    p4 = _merge(p5, c4, channels, above=5, factor=strides[3] // strides[2])
    p3 = _merge(p4, c3, channels, above=4, factor=strides[2] // strides[1])
    p2 = _merge(p3, c2, channels, above=3, factor=strides[1] // strides[0])
    p2, p3, p4, p5 = (
        keras.layers.Conv2D(channels, (3, 3), padding="same", name=f"fpn_p{level}")(merged)
        for level, merged in enumerate((p2, p3, p4, p5), 2)
    )
    p6 = keras.layers.MaxPooling2D((1, 1), strides=2, name="fpn_p6")(p5)
    return [p2, p3, p4, p5, p6]


def _merge(upper, lateral, channels, above, factor):
    level = above - 1
    if factor > 1:
        upper = keras.layers.UpSampling2D(factor, name=f"fpn_p{above}upsampled")(upper)
    lateral = keras.layers.Conv2D(channels, (1, 1), name=f"fpn_c{level}p{level}")(lateral)
    return keras.layers.Add(name=f"fpn_p{level}add")([upper, lateral])

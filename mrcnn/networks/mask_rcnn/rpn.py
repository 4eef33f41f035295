"""Region proposal network (Faster R-CNN, section 3.1), one head shared by all levels."""

import keras


def rpn_graph(feature_map, anchors_per_location, anchor_stride, filters=512, convolutions=1):
    """Score and refine the anchors of one level.

    Args:
        feature_map: KerasTensor [b, h, w, c].
        anchors_per_location: k, the number of anchor ratios.
        anchor_stride: 1 for anchors at every cell, 2 for every other.
        filters: of the shared 3x3 convolutions.
        convolutions: their number; the first one has the anchor stride.

    Returns:
        logits [b, h * w * k, 2], probabilities of background and object [b, h * w * k, 2],
        refinements [b, h * w * k, 4], all float32.
    """
    shared = feature_map
    for number in range(1, convolutions + 1):
        shared = keras.layers.Conv2D(
            filters,
            (3, 3),
            padding="same",
            activation="relu",
            strides=anchor_stride if number == 1 else 1,
            name="rpn_conv_shared" + (str(number) if number > 1 else ""),
        )(shared)
    x = keras.layers.Conv2D(
        2 * anchors_per_location, (1, 1), dtype="float32", name="rpn_class_raw"
    )(shared)
    logits = keras.layers.Reshape((-1, 2), dtype="float32")(x)
    probs = keras.layers.Softmax(dtype="float32", name="rpn_class_xxx")(logits)
    x = keras.layers.Conv2D(
        4 * anchors_per_location, (1, 1), dtype="float32", name="rpn_bbox_pred"
    )(shared)
    return [logits, probs, keras.layers.Reshape((-1, 4), dtype="float32")(x)]


def build_rpn_model(anchor_stride, anchors_per_location, depth, filters=512, convolutions=1):
    """The RPN as a model "rpn_model" of one feature map of ``depth`` channels, to call on every
    level.
    """
    feature_map = keras.Input((None, None, depth), name="input_rpn_feature_map")
    outputs = rpn_graph(feature_map, anchors_per_location, anchor_stride, filters, convolutions)
    return keras.Model(feature_map, outputs, name="rpn_model")


def rpn_over_pyramid(pyramid, config):
    """Run the RPN on every level and join the levels' anchors.

    Args:
        pyramid: [P2, P3, P4, P5, P6].
        config: a ``Config``.

    Returns:
        KerasTensors "rpn_class_logits" [b, anchors, 2], "rpn_class" [b, anchors, 2] and
        "rpn_bbox" [b, anchors, 4], anchors in the order of `ops.anchors`.
    """
    rpn = build_rpn_model(
        config.RPN_ANCHOR_STRIDE,
        len(config.RPN_ANCHOR_RATIOS),
        config.TOP_DOWN_PYRAMID_SIZE,
        config.RPN_CONV_CHANNELS,
        config.RPN_CONV_LAYERS,
    )
    levels = zip(*(rpn(level) for level in pyramid))
    names = ("rpn_class_logits", "rpn_class", "rpn_bbox")
    return [
        keras.layers.Concatenate(axis=1, name=name, dtype="float32")(list(parts))
        for name, parts in zip(names, levels)
    ]

"""A classifier of patches that becomes a network for images of any size.

A dense layer on a map of h x w is a convolution of h x w, and one on a vector a convolution of 1 x
1 (Lin et al. 2013, "Network in Network"; Long et al. 2015, section 3.1). The convolution gives at
once what the classifier would give patch by patch.
"""

import itertools

import keras

# Layers that treat all places of a map alike, so that a larger map has more of them.
ANYWHERE = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.Softmax,
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.Rescaling,
)


def patch_classifier(size=32, num_classes=2, channels=3, width=16, hidden=64, dropout=0.5):
    """A small classifier of patches, all of whose convolutions are "valid".

    Args:
        size: side of a patch in pixels, at least 16.
        num_classes: with the background.
        channels: of a patch.
        width: channels of the first two convolutions; the next two have twice as many.
        hidden: units of the dense layer between.
        dropout: share of them that is zeroed in training.

    Returns:
        keras.Model "patch_classifier": float32 [b, size, size, channels], pixels minus MEAN_PIXEL,
        to logits float32 [b, num_classes].

    Raises:
        ValueError: a size of which nothing is left after the convolutions.
    """
    if size < 16:
        raise ValueError(f"a patch of {size} px is too small; it must have at least 16")
    layers = [keras.Input((size, size, channels), name="input_patch")]
    layers.append(keras.layers.Rescaling(1 / 127.5, name="scale"))
    for number in range(1, 5):
        filters = width if number < 3 else 2 * width
        layers.append(
            keras.layers.Conv2D(filters, 3, activation="relu", name=f"patch_conv{number}")
        )
        if number % 2 == 0:
            layers.append(keras.layers.MaxPooling2D(2, name=f"patch_pool{number // 2}"))
    layers += [
        keras.layers.Flatten(name="patch_flatten"),
        keras.layers.Dense(hidden, activation="relu", name="patch_dense"),
        keras.layers.Dropout(dropout, name="patch_dropout"),
        keras.layers.Dense(num_classes, dtype="float32", name="patch_logits"),
    ]
    x = layers[0]
    for layer in layers[1:]:
        x = layer(x)
    return keras.Model(layers[0], x, name="patch_classifier")


def convolutionalize(model):
    """The same weights as a network for images of any size from that of a patch on.

    Where convolutions and poolings are "valid", the value at row i and column j of the result is
    what the classifier gives for the patch that begins at (stride * i, stride * j); the stride is
    the product of all strides, 4 for `patch_classifier`. With "same" padding the two differ near
    the borders of patches, where the classifier saw zeros and the network sees the image.

    Args:
        model: keras.Model of a single row of layers: [b, h, w, c] to [b, n].

    Returns:
        keras.Model of the same name and weights, [b, H, W, c] to [b, rows, columns, n]. ``Flatten``
        is gone and dense layers are convolutions, under their own names.

    Raises:
        ValueError: the model has branches, or a layer that mixes places in a way that no
            convolution does, such as global pooling, or Flatten without Dense.
    """
    layers = _row(model)
    x = image = keras.Input((None, None, model.input_shape[-1]), name=layers[0].name)
    weights, flattened = [], None  # the map's sides between Flatten and the next dense layer
    for layer in layers[1:]:
        if isinstance(layer, keras.layers.Flatten) and flattened is None:
            flattened = layer.input.shape[1:3]
            continue
        if isinstance(layer, keras.layers.Dense):
            copy = _as_convolution(layer, flattened or (1, 1))
            flattened = None
        elif isinstance(layer, keras.layers.Dropout if flattened else ANYWHERE):
            copy = layer.__class__.from_config(layer.get_config())
        else:
            raise ValueError(
                f"layer {layer.name!r} is a {type(layer).__name__}, which has no meaning on a map "
                "of another size there; what can be made a convolution are Flatten and then Dense, "
                "after convolutions, poolings and activations"
            )
        x = copy(x)
        weights.append((copy, layer))
    if flattened:
        raise ValueError(f"model {model.name!r} has no dense layer after Flatten")
    network = keras.Model(image, x, name=model.name)
    for copy, layer in weights:
        values = layer.get_weights()
        if isinstance(layer, keras.layers.Dense):
            values[0] = values[0].reshape(copy.kernel.shape)
        copy.set_weights(values)
    return network


def _row(model):
    """The layers of a model, each of which has the one before it as its only input."""
    layers = model.layers
    if not isinstance(layers[0], keras.layers.InputLayer):  # a Sequential hides it
        layers = keras.Model(model.inputs, model.outputs).layers
    for before, layer in itertools.pairwise(layers):
        if layer.input is not before.output:
            raise ValueError(
                f"model {model.name!r} is no single row of layers: the input of {layer.name!r} is "
                f"not the output of {before.name!r} alone"
            )
    return layers


def _as_convolution(layer, kernel):
    """A ``Conv2D`` for the weights of a ``Dense``."""
    settings = layer.get_config()
    same = ("name", "trainable", "dtype", "activation", "use_bias")
    return keras.layers.Conv2D(
        settings["units"], kernel, padding="valid", **{key: settings[key] for key in same}
    )

"""DTYPE_POLICY, the precision that a network computes in, and what it needs of Keras' settings."""

import functools

import keras

from mrcnn.config.choices import DTYPE_POLICIES


def under_policy(build):
    """For a function of a ``Config`` that builds a network: its layers get DTYPE_POLICY.

    "float32", the default, leaves the policy that ``keras.config.set_dtype_policy`` has set. Layers
    that compute boxes, proposals and losses are float32 under any
    (`networks.layers.base.GraphLayer`), and so are weights.

    Raises:
        ValueError: see `check_keras`.
    """

    @functools.wraps(build)
    def built(config, *args, **kwargs):
        check_keras(config)
        if config.DTYPE_POLICY == "float32":
            return build(config, *args, **kwargs)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(config.DTYPE_POLICY)
        try:
            return build(config, *args, **kwargs)
        finally:
            keras.config.set_dtype_policy(before)

    return built


def check_keras(config) -> None:
    """Refuse settings of Keras that no network here can be built under.

    Raises:
        ValueError: another backend than TensorFlow, channels first, or a policy of weights that are
            not float32.
    """
    if keras.config.backend() != "tensorflow":
        raise ValueError(
            f"Keras runs on {keras.config.backend()}, and these networks on TensorFlow alone: set "
            "the environment variable KERAS_BACKEND to tensorflow before Keras is imported"
        )
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            f"keras.config.image_data_format() is {keras.config.image_data_format()!r}, and images "
            "here have their channels last: call "
            'keras.config.set_image_data_format("channels_last"), or set it so in keras.json'
        )
    policy = keras.config.dtype_policy()
    if config.DTYPE_POLICY == "float32" and policy.name not in DTYPE_POLICIES:
        raise ValueError(
            f"Keras' dtype policy is {policy.name!r} (floatx is {keras.config.floatx()!r}), and it "
            f"must be one of {', '.join(DTYPE_POLICIES)}: call keras.config.set_dtype_policy, and "
            "set floatx to 'float32'"
        )
